//! `muc`: rooms full of members who all listen while one after another speaks. What does a delivery cost, how long does
//! it take?
//!
//! A message to a room of M members is M deliveries, the sender's echo among them. Without `--rate` it is a closed
//! loop: each room keeps `--window` messages in flight, and the next member speaks when all copies of one have come.
//! With `--rate` it is an open loop over all rooms in turn, and latency counts from the scheduled time to each copy.
//! The driver is one thread: of a room's M copies the last waits until the others are decrypted, on every server alike.
//!
//! - `rooms`: who is in which room;
//! - `join`: everybody enters.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::talk::{Arrival, Company, Pace, talk};
use super::{Bench, Findings, Letter, RunError, bring_up};
use crate::client::framer;
use crate::client::{ConnId, Engine};
use crate::ledger::{FLOWS_MAX, Ledger};
use crate::report::{self, Meter};

pub mod join;
pub mod rooms;

use join::enter;
use rooms::Rooms;

/// Parameters of `muc`.
#[derive(Args, Clone)]
pub struct Muc {
    /// How many rooms.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Members of each; when there are fewer users than seats, users are in several rooms.
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Rooms that exist, one JID a line (`rookery-bench rooms` writes such a file); they know their members already.
    #[arg(long, conflicts_with = "muc")]
    rooms_file: Option<PathBuf>,
    /// The domain of rooms that are made by entering them.
    #[arg(long, default_value = "conference.localhost")]
    muc: String,
    #[command(flatten)]
    pace: Pace,
}

/// Logs everybody in, lets them enter, and lets them talk.
pub fn run(bench: &mut Bench, args: &Muc) -> Result<Findings, RunError> {
    let seats = args.rooms.saturating_mul(args.members);
    if seats == 0 || seats > FLOWS_MAX {
        return Err(RunError::Rooms(format!("there must be between 1 and {FLOWS_MAX} seats in all rooms together")));
    }
    bench.need_accounts(args.members)?;
    let users = seats.min(bench.engine.accounts().len());
    let jids = match &args.rooms_file {
        Some(path) => rooms::read(path, args.rooms)?,
        // New rooms for every run: nothing is left in them.
        None => (0..args.rooms).map(|n| format!("bench-{}-{n}@{}", report::unix_secs(), args.muc)).collect(),
    };
    let rooms = Rooms::new(jids, args.members, users);
    let (connections, _) = bring_up(bench, &(0..users).collect::<Vec<_>>())?;
    bench.settle()?;

    let mut meter = Meter::start(&bench.server, "join", "join")?;
    enter(bench, &rooms, &connections)?;
    meter.work_done();
    // Also lets the rooms' subjects come.
    bench.settle()?;
    let join = meter.stop(&bench.server, seats as u64)?;

    let mut circles = Circles {
        letters: rooms.jids().iter().map(|jid| Letter::to_room(jid, args.pace.size, args.pace.save)).collect(),
        circles: vec![Circle::default(); args.rooms],
        rooms: &rooms,
        connections: &connections,
        window: args.pace.window,
        turn: 0,
    };
    let (mut phase, failures) = talk(bench, &args.pace, &mut circles, Ledger::with_readers(seats, args.members))?;
    let members = args.members as f64;
    phase.figures.insert("messages_per_sec", phase.operations as f64 / phase.secs.max(1e-9) / members);
    if let (Some(cpu), true) = (phase.cpu_us(), phase.operations > 0) {
        phase.figures.insert("cpu_us_per_message", cpu / phase.operations as f64 * members);
    }
    let parameters = args.pace.parameters(json!({
        "rooms": args.rooms, "members": args.members, "users": users, "rooms_exist": args.rooms_file.is_some(),
    }));
    Ok(Findings { parameters, phases: vec![join, phase], failures })
}

struct Circles<'a> {
    /// To each room.
    letters: Vec<Letter>,
    circles: Vec<Circle>,
    rooms: &'a Rooms,
    /// By account.
    connections: &'a [ConnId],
    window: usize,
    /// The room whose turn it is in the open loop.
    turn: usize,
}

/// Whose turn it is in a room.
#[derive(Clone, Default)]
struct Circle {
    speaker: usize,
    /// Deliveries that no message has been sent for yet.
    arrived: usize,
}

impl Circles<'_> {
    /// The next member of a room says something, in the flow of his seat.
    fn speak_in(&mut self, room: usize, engine: &mut Engine, ledger: &mut Ledger, due: Instant) {
        let speaker = self.circles[room].speaker;
        self.circles[room].speaker = (speaker + 1) % self.rooms.members();
        let id = ledger.send(self.rooms.seat(room, speaker), due);
        self.letters[room].write(&id, engine.out(self.connections[self.rooms.account(room, speaker)]));
    }
}

impl Company for Circles<'_> {
    const ARRIVAL: &'static str = "delivery";

    fn readers(&self) -> usize {
        self.rooms.members()
    }

    fn begin(&mut self, engine: &mut Engine, ledger: &mut Ledger, now: Instant) {
        for room in 0..self.rooms.jids().len() {
            for _ in 0..self.window {
                self.speak_in(room, engine, ledger, now);
            }
        }
    }

    fn speak(&mut self, engine: &mut Engine, ledger: &mut Ledger, due: Instant) {
        let room = self.turn;
        self.turn = (room + 1) % self.rooms.jids().len();
        self.speak_in(room, engine, ledger, due);
    }

    fn arrive(&mut self, engine: &mut Engine, ledger: &mut Ledger, arrival: Arrival<'_>, goes_on: bool) {
        let place = self.rooms.place(arrival.stanza, engine.account_of(arrival.id));
        let Some((room, reader)) = place else { return ledger.strays += 1 };
        let flow = ledger.receive_at(reader, framer::attribute(arrival.stanza, b"id"), arrival.now);
        if flow.is_some_and(|flow| self.rooms.room_of_seat(flow) != room) {
            ledger.strays += 1;
        }
        if flow.is_none() || !goes_on {
            return;
        }
        self.circles[room].arrived += 1;
        if self.circles[room].arrived == self.rooms.members() {
            self.circles[room].arrived = 0;
            self.speak_in(room, engine, ledger, arrival.now);
        }
    }
}
