//! `muc`: rooms full of members who all listen while one after another speaks. What does a delivery cost, how long does it
//! take?
//!
//! A message to a room of M members is M deliveries, the sender's echo among them. Without `--rate` it is a closed loop:
//! each room keeps `--window` messages in flight, and the next member speaks when all copies of one have come. With
//! `--rate` it is an open loop over all rooms in turn, and latency counts from the scheduled time to each copy. The driver
//! is one thread: of a room's M copies the last waits until the others are decrypted, on every server alike.
//!
//! - `rooms`: who is in which room;
//! - `join`: everybody enters.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{Bench, Findings, Letter, RunError, answer, bring_up};
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::ledger::{FLOWS_MAX, Ledger};
use crate::procfs::Server;
use crate::report::{self, Meter, Phase, Progress};

mod join;
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
    /// Messages a second, all rooms together: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Messages in flight per room in the closed loop.
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

/// Logs everybody in, lets them enter, and lets them talk.
pub fn run(bench: &mut Bench, muc: &Muc) -> Result<Findings, RunError> {
    let seats = muc.rooms.saturating_mul(muc.members);
    if seats == 0 || seats > FLOWS_MAX {
        return Err(RunError::Rooms(format!("there must be between 1 and {FLOWS_MAX} seats in all rooms together")));
    }
    bench.need_accounts(muc.members)?;
    let users = seats.min(bench.engine.accounts().len());
    let jids = match &muc.rooms_file {
        Some(path) => rooms::read(path, muc.rooms)?,
        // New rooms for every run: nothing is left in them.
        None => (0..muc.rooms).map(|n| format!("bench-{}-{n}@{}", report::unix_secs(), muc.muc)).collect(),
    };
    let rooms = Rooms::new(jids, muc.members, users);
    let (connections, _) = bring_up(bench, &(0..users).collect::<Vec<_>>())?;
    bench.settle()?;

    let mut meter = Meter::start(&bench.server, "join", "join")?;
    enter(bench, &rooms, &connections)?;
    meter.work_done();
    // Also lets the rooms' subjects come.
    bench.settle()?;
    let join = meter.stop(&bench.server, seats as u64)?;

    let now = Instant::now();
    let mut talk = Talk {
        server: &bench.server,
        letters: rooms.jids().iter().map(|jid| Letter::to_room(jid, muc.size, muc.save)).collect(),
        circles: vec![Circle::default(); muc.rooms],
        ledger: Ledger::with_readers(seats, muc.members),
        rooms: &rooms,
        connections: &connections,
        schedule: muc.rate.map(|rate| Schedule::new(now, rate)),
        turn: 0,
        stage: Stage::Warmup { until: now + Duration::from_secs(muc.warmup_secs) },
        secs: Duration::from_secs(muc.secs),
        drain: Duration::from_secs(muc.drain_secs),
        measured: None,
        errors: 0,
        first_error: None,
        closed: 0,
        first_closed: None,
        fatal: None,
        progress: &mut bench.progress,
    };
    if talk.schedule.is_none() {
        for room in (0..muc.rooms).flat_map(|room| std::iter::repeat_n(room, muc.window)) {
            talk.speak(&mut bench.engine, room, now);
        }
    }
    let outcome = bench.engine.run(&mut talk, bench.deadline)?;
    if let Some(e) = talk.fatal {
        return Err(e.into());
    }
    let mut failures = talk.ledger.failures();
    failures.extend(talk.first_closed.map(|why| format!("{} connections were closed, the first: {why}", talk.closed)));
    failures
        .extend(talk.first_error.map(|why| format!("{} messages came back as errors, the first: {why}", talk.errors)));
    let mut phase = match (talk.measured, outcome) {
        (Some(phase), Outcome::Finished) => phase,
        _ if !failures.is_empty() => return Err(RunError::Rooms(failures.join("; "))),
        _ => return Err(RunError::TimedOut("rooms talk")),
    };
    phase.counts.insert("sent_in_all", talk.ledger.sent);
    phase.counts.insert("received_in_all", talk.ledger.received);
    phase.counts.insert("lost", talk.ledger.missing());
    phase.counts.insert("errors", talk.errors);
    let members = muc.members as f64;
    phase.figures.insert("messages_per_sec", phase.operations as f64 / phase.secs.max(1e-9) / members);
    if let (Some(cpu), true) = (phase.cpu_us(), phase.operations > 0) {
        phase.figures.insert("cpu_us_per_message", cpu / phase.operations as f64 * members);
    }
    Ok(Findings {
        parameters: json!({
            "rooms": muc.rooms, "members": muc.members, "users": users, "rate": muc.rate,
            "window": muc.rate.is_none().then_some(muc.window), "body_bytes": muc.size, "secs": muc.secs,
            "warmup_secs": muc.warmup_secs, "save": muc.save, "rooms_exist": muc.rooms_file.is_some(),
        }),
        phases: vec![join, phase],
        failures,
    })
}

struct Talk<'a> {
    server: &'a Server,
    /// To each room.
    letters: Vec<Letter>,
    circles: Vec<Circle>,
    /// A flow per seat as a sender, a reader per member.
    ledger: Ledger,
    rooms: &'a Rooms,
    /// By account.
    connections: &'a [ConnId],
    schedule: Option<Schedule>,
    /// The room whose turn it is in the open loop.
    turn: usize,
    stage: Stage,
    secs: Duration,
    drain: Duration,
    measured: Option<Phase>,
    errors: u64,
    first_error: Option<String>,
    closed: u64,
    first_closed: Option<String>,
    fatal: Option<io::Error>,
    progress: &'a mut Progress,
}

/// Whose turn it is in a room.
#[derive(Clone, Default)]
struct Circle {
    speaker: usize,
    /// Deliveries that no message has been sent for yet.
    arrived: usize,
}

enum Stage {
    Warmup { until: Instant },
    Measure { until: Instant, meter: Meter, received_before: u64 },
    Drain { until: Instant },
}

impl Talk<'_> {
    /// The next member of a room says something.
    fn speak(&mut self, engine: &mut Engine, room: usize, due: Instant) {
        let speaker = self.circles[room].speaker;
        self.circles[room].speaker = (speaker + 1) % self.rooms.members();
        let id = self.ledger.send(self.rooms.seat(room, speaker), due);
        self.letters[room].write(&id, engine.out(self.connections[self.rooms.account(room, speaker)]));
    }

    fn arrive(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let now = Instant::now();
        let place = self.rooms.place(stanza, engine.account_of(id));
        let Some((room, reader)) = place else { return self.ledger.strays += 1 };
        let flow = self.ledger.receive_at(reader, framer::attribute(stanza, b"id"), now);
        if flow.is_some_and(|flow| self.rooms.room_of_seat(flow) != room) {
            self.ledger.strays += 1;
        }
        if flow.is_none() || self.schedule.is_some() || matches!(self.stage, Stage::Drain { .. }) {
            return;
        }
        self.circles[room].arrived += 1;
        if self.circles[room].arrived == self.rooms.members() {
            self.circles[room].arrived = 0;
            self.speak(engine, room, now);
        }
    }

    /// Goes to the next stage when its time has come.
    fn advance(&mut self, now: Instant) -> io::Result<bool> {
        match &self.stage {
            Stage::Warmup { until } if now >= *until => {
                self.ledger.latencies = Latencies::default();
                let meter = Meter::start(self.server, "talk", "delivery")?;
                self.stage = Stage::Measure { until: now + self.secs, meter, received_before: self.ledger.received };
            }
            Stage::Measure { until, meter, received_before } if now >= *until => {
                let mut phase = meter.stop(self.server, self.ledger.received - received_before)?;
                phase.latency_us = mem::take(&mut self.ledger.latencies).summary();
                self.measured = Some(phase);
                self.stage = Stage::Drain { until: now + self.drain };
            }
            Stage::Drain { until } => {
                let refused = self.errors * self.rooms.members() as u64;
                return Ok(now >= *until || self.ledger.missing() <= refused);
            }
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
        if framer::attribute(stanza, b"type") == Some(b"error") {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| String::from_utf8_lossy(stanza).into_owned());
            return;
        }
        // A late subject is nobody's message.
        if memchr::memmem::find(stanza, b"<body").is_some() {
            self.arrive(engine, id, stanza);
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
        self.progress.show(now, || format!("{sent} messages sent, {received} deliveries"));
        if matches!(self.stage, Stage::Drain { .. }) {
            return Next::Wait;
        }
        let Some(mut schedule) = self.schedule.take() else { return Next::Wait };
        while let Some(due) = schedule.take(now) {
            self.speak(engine, self.turn, due);
            self.turn = (self.turn + 1) % self.rooms.jids().len();
        }
        let next = Next::At(schedule.due());
        self.schedule = Some(schedule);
        next
    }
}
