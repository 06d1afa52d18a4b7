//! `pairs`: two by two, users send each other chat messages. What does a message cost, how long does it take, how many
//! a second are too many?
//!
//! Without `--rate` it is a closed loop: each pair keeps `--window` messages in flight, every arrival sends one back.
//! With `--rate` it is an open loop over all connections in turn, and latency counts from the scheduled time.

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{Bench, Findings, Letter, RunError, answer, bring_up};
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::ledger::Ledger;
use crate::procfs::Server;
use crate::report::{Meter, Phase, Progress};

/// Parameters of `pairs`.
#[derive(Args, Clone)]
pub struct Pairs {
    /// How many pairs, of two users each.
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// Messages a second, all pairs together: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Messages in flight per pair in the closed loop.
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Bytes of the body.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// The measured time.
    #[arg(long, default_value_t = 10)]
    secs: u64,
    /// Time before it, not measured.
    #[arg(long, default_value_t = 2)]
    warmup_secs: u64,
    /// How long to wait for what is still under way at the end.
    #[arg(long, default_value_t = 5)]
    drain_secs: u64,
    /// Ask for the messages to be kept in the history (`save_to_history`).
    #[arg(long)]
    save: bool,
}

/// Logs the pairs in and lets them talk.
pub fn run(bench: &mut Bench, pairs: &Pairs) -> Result<Findings, RunError> {
    let users = 2 * pairs.pairs;
    bench.need_accounts(users)?;
    let accounts: Vec<usize> = (0..users).collect();
    let (connections, _) = bring_up(bench, &accounts)?;
    bench.settle()?;

    let letters =
        (0..users).map(|user| Letter::new(&bench.engine.accounts()[user ^ 1].jid(), pairs.size, pairs.save)).collect();
    let mut user_of = vec![0; connections.iter().max().map_or(0, |id| id + 1)];
    for (user, id) in connections.iter().enumerate() {
        user_of[*id] = user;
    }
    let now = Instant::now();
    let mut talk = Talk {
        server: &bench.server,
        connections,
        user_of,
        letters,
        ledger: Ledger::new(users),
        schedule: pairs.rate.map(|rate| Schedule::new(now, rate)),
        turn: 0,
        stage: Stage::Warmup { until: now + Duration::from_secs(pairs.warmup_secs) },
        secs: Duration::from_secs(pairs.secs),
        drain: Duration::from_secs(pairs.drain_secs),
        measured: None,
        errors: 0,
        closed: 0,
        first_closed: None,
        fatal: None,
        progress: &mut bench.progress,
    };
    if pairs.rate.is_none() {
        talk.fill_windows(&mut bench.engine, pairs.window);
    }
    let outcome = bench.engine.run(&mut talk, bench.deadline)?;
    if let Some(e) = talk.fatal {
        return Err(e.into());
    }
    let mut failures = talk.ledger.failures();
    failures.extend(talk.first_closed.map(|why| format!("{} connections were closed, the first: {why}", talk.closed)));
    if talk.errors > 0 {
        failures.push(format!("{} messages came back as errors", talk.errors));
    }
    let mut phase = match (talk.measured, outcome) {
        (Some(phase), Outcome::Finished) => phase,
        _ => return Err(RunError::TimedOut("pairs talk")),
    };
    phase.counts.insert("sent_in_all", talk.ledger.sent);
    phase.counts.insert("received_in_all", talk.ledger.received);
    phase.counts.insert("lost", talk.ledger.missing());
    phase.counts.insert("errors", talk.errors);
    Ok(Findings {
        parameters: json!({
            "pairs": pairs.pairs, "rate": pairs.rate, "window": pairs.rate.is_none().then_some(pairs.window),
            "body_bytes": pairs.size, "secs": pairs.secs, "warmup_secs": pairs.warmup_secs, "save": pairs.save,
        }),
        phases: vec![phase],
        failures,
    })
}

struct Talk<'a> {
    server: &'a Server,
    /// Connections by user; user `u` talks with user `u ^ 1`.
    connections: Vec<ConnId>,
    user_of: Vec<usize>,
    letters: Vec<Letter>,
    /// A flow per sender.
    ledger: Ledger,
    schedule: Option<Schedule>,
    turn: usize,
    stage: Stage,
    secs: Duration,
    drain: Duration,
    measured: Option<Phase>,
    errors: u64,
    closed: u64,
    first_closed: Option<String>,
    fatal: Option<io::Error>,
    progress: &'a mut Progress,
}

enum Stage {
    Warmup { until: Instant },
    Measure { until: Instant, meter: Meter, received_before: u64 },
    Drain { until: Instant },
}

impl Talk<'_> {
    fn fill_windows(&mut self, engine: &mut Engine, window: usize) {
        for i in 0..window {
            for pair in 0..self.connections.len() / 2 {
                // Half of the messages start on either side.
                self.send(engine, 2 * pair + i % 2, Instant::now());
            }
        }
    }

    fn send(&mut self, engine: &mut Engine, user: usize, due: Instant) {
        let id = self.ledger.send(user, due);
        self.letters[user].write(&id, engine.out(self.connections[user]));
    }

    /// Goes to the next stage when its time has come.
    fn advance(&mut self, now: Instant) -> io::Result<bool> {
        match &self.stage {
            Stage::Warmup { until } if now >= *until => {
                self.ledger.latencies = Latencies::default();
                let meter = Meter::start(self.server, "talk", "message")?;
                self.stage = Stage::Measure { until: now + self.secs, meter, received_before: self.ledger.received };
            }
            Stage::Measure { until, meter, received_before } if now >= *until => {
                let mut phase = meter.stop(self.server, self.ledger.received - received_before)?;
                phase.latency_us = mem::take(&mut self.ledger.latencies).summary();
                self.measured = Some(phase);
                self.stage = Stage::Drain { until: now + self.drain };
            }
            Stage::Drain { until } => return Ok(now >= *until || self.ledger.missing() <= self.errors),
            Stage::Warmup { .. } | Stage::Measure { .. } => {}
        }
        Ok(false)
    }
}

impl Handler for Talk<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        if framer::name(stanza) != b"message" {
            return answer(engine, id, stanza);
        }
        let now = Instant::now();
        if framer::attribute(stanza, b"type") == Some(b"error") {
            self.errors += 1;
            return;
        }
        let user = self.user_of[id];
        let flow = self.ledger.receive(framer::attribute(stanza, b"id"), now);
        if flow.is_some_and(|flow| flow != user ^ 1) {
            self.ledger.strays += 1;
        }
        let talking = !matches!(self.stage, Stage::Drain { .. });
        if flow.is_some() && talking && self.schedule.is_none() {
            self.send(engine, user, now);
        }
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.closed += 1;
        self.first_closed.get_or_insert_with(|| why.to_string());
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        // Without all connections the numbers mean nothing.
        if self.closed > 0 {
            return Next::Done;
        }
        match self.advance(now) {
            Ok(false) => {}
            Ok(true) => return Next::Done,
            Err(e) => {
                self.fatal = Some(e);
                return Next::Done;
            }
        }
        let (sent, received) = (self.ledger.sent, self.ledger.received);
        self.progress.show(now, || format!("{sent} messages sent, {received} received"));
        if matches!(self.stage, Stage::Drain { .. }) {
            return Next::Wait;
        }
        let Some(mut schedule) = self.schedule.take() else { return Next::Wait };
        while let Some(due) = schedule.take(now) {
            let user = self.turn;
            // First all left halves of the pairs, then all right ones.
            self.turn = match user + 2 {
                next if next < self.connections.len() => next,
                _ => (user + 1) % 2,
            };
            self.send(engine, user, due);
        }
        let next = Next::At(schedule.due());
        self.schedule = Some(schedule);
        next
    }
}
