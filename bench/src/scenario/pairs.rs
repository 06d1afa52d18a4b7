//! `pairs`: two by two, users send each other chat messages. What does a message cost, how long does it take, how many
//! a second are too many?
//!
//! Without `--rate` it is a closed loop: each pair keeps `--window` messages in flight, every arrival sends one back.
//! With `--rate` it is an open loop over all connections in turn, and latency counts from the scheduled time.

use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::talk::{Arrival, Company, Pace, talk};
use super::{Bench, Findings, Letter, RunError, bring_up};
use crate::client::framer;
use crate::client::{ConnId, Engine};
use crate::ledger::Ledger;

/// Parameters of `pairs`.
#[derive(Args, Clone)]
pub struct Pairs {
    /// How many pairs, of two users each.
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    #[command(flatten)]
    pace: Pace,
}

/// Logs the pairs in and lets them talk.
pub fn run(bench: &mut Bench, args: &Pairs) -> Result<Findings, RunError> {
    let users = 2 * args.pairs;
    bench.need_accounts(users)?;
    let accounts: Vec<usize> = (0..users).collect();
    let (connections, _) = bring_up(bench, &accounts)?;
    bench.settle()?;

    let letter = |user: usize| Letter::new(&bench.engine.accounts()[user ^ 1].jid(), args.pace.size, args.pace.save);
    let letters = (0..users).map(letter).collect();
    let mut user_of = vec![0; connections.iter().max().map_or(0, |id| id + 1)];
    for (user, id) in connections.iter().enumerate() {
        user_of[*id] = user;
    }
    let mut couples = Couples { connections, user_of, letters, window: args.pace.window, turn: 0 };
    let (phase, failures) = talk(bench, &args.pace, &mut couples, Ledger::new(users))?;
    let parameters = args.pace.parameters(json!({ "pairs": args.pairs }));
    Ok(Findings { parameters, phases: vec![phase], failures })
}

struct Couples {
    /// Connections by user; user `u` talks with user `u ^ 1`, in a flow of his own.
    connections: Vec<ConnId>,
    user_of: Vec<usize>,
    letters: Vec<Letter>,
    window: usize,
    /// The user whose turn it is in the open loop.
    turn: usize,
}

impl Couples {
    fn send(&self, engine: &mut Engine, ledger: &mut Ledger, user: usize, due: Instant) {
        let id = ledger.send(user, due);
        self.letters[user].write(&id, engine.out(self.connections[user]));
    }
}

impl Company for Couples {
    const ARRIVAL: &'static str = "message";

    fn readers(&self) -> usize {
        1
    }

    fn begin(&mut self, engine: &mut Engine, ledger: &mut Ledger, now: Instant) {
        for i in 0..self.window {
            for pair in 0..self.connections.len() / 2 {
                // Half of the messages start on either side.
                self.send(engine, ledger, 2 * pair + i % 2, now);
            }
        }
    }

    fn speak(&mut self, engine: &mut Engine, ledger: &mut Ledger, due: Instant) {
        let user = self.turn;
        // First all left halves of the pairs, then all right ones.
        self.turn = match user + 2 {
            next if next < self.connections.len() => next,
            _ => (user + 1) % 2,
        };
        self.send(engine, ledger, user, due);
    }

    fn arrive(&mut self, engine: &mut Engine, ledger: &mut Ledger, arrival: Arrival<'_>, goes_on: bool) {
        let user = self.user_of[arrival.id];
        let flow = ledger.receive(framer::attribute(arrival.stanza, b"id"), arrival.now);
        if flow.is_some_and(|flow| flow != user ^ 1) {
            ledger.strays += 1;
        }
        if flow.is_some() && goes_on {
            self.send(engine, ledger, user, arrival.now);
        }
    }
}
