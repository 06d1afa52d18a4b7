//! Connected users talk: a warm-up, a measured stretch, and then the wait for what is still under way.
//!
//! Who speaks to whom is a [`Company`]'s business.

use std::io;
use std::mem;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::stages::{Passed, Span, Stages};
use super::{Bench, RunError, answer};
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::ledger::Ledger;
use crate::report::{Phase, Progress};

/// How much they say, and for how long.
#[derive(Args, Clone)]
pub struct Pace {
    /// Messages a second, all users together: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Messages in flight per pair or room in the closed loop.
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Bytes of the body.
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    #[command(flatten)]
    span: Span,
    /// Ask for the messages to be kept in the history (`save_to_history`).
    #[arg(long)]
    pub save: bool,
}

impl Pace {
    /// For the report, with what the scenario itself has to say.
    pub fn parameters(&self, own: Value) -> Value {
        let mut all = json!({
            "rate": self.rate, "window": self.rate.is_none().then_some(self.window), "body_bytes": self.size,
            "secs": self.span.secs, "warmup_secs": self.span.warmup_secs, "save": self.save,
        });
        if let (Value::Object(all), Value::Object(own)) = (&mut all, own) {
            all.extend(own);
        }
        all
    }
}

/// Users who have something to say to each other.
pub trait Company {
    /// What an arrival is called in the report.
    const ARRIVAL: &'static str;

    /// Arrivals of one message.
    fn readers(&self) -> usize;

    /// Sends the first messages of a closed loop.
    fn begin(&mut self, engine: &mut Engine, ledger: &mut Ledger, now: Instant);

    /// Sends one message, whoever's turn it is in the open loop.
    fn speak(&mut self, engine: &mut Engine, ledger: &mut Ledger, due: Instant);

    /// Books a message that came; with `goes_on`, sends the one that a closed loop has waiting for it.
    fn arrive(&mut self, engine: &mut Engine, ledger: &mut Ledger, arrival: Arrival<'_>, goes_on: bool);
}

/// A message at one of the connections.
pub struct Arrival<'a> {
    pub id: ConnId,
    pub stanza: &'a [u8],
    pub now: Instant,
}

/// Lets them talk. Gives the measured stretch, and sentences about what went wrong.
pub fn talk<C: Company>(
    bench: &mut Bench,
    pace: &Pace,
    company: &mut C,
    ledger: Ledger,
) -> Result<(Phase, Vec<String>), RunError> {
    let now = Instant::now();
    let mut talk = Talk {
        company,
        ledger,
        schedule: pace.rate.map(|rate| Schedule::new(now, rate)),
        stages: Stages::new(&bench.server, "talk", C::ARRIVAL, &pace.span, now),
        measured: None,
        refused: Mishaps::default(),
        closed: Mishaps::default(),
        fatal: None,
        progress: &mut bench.progress,
    };
    if talk.schedule.is_none() {
        talk.company.begin(&mut bench.engine, &mut talk.ledger, now);
    }
    let outcome = bench.engine.run(&mut talk, bench.deadline)?;
    if let Some(e) = talk.fatal {
        return Err(e.into());
    }
    let mut failures = talk.ledger.failures();
    failures.extend(talk.closed.sentence("connections were closed"));
    failures.extend(talk.refused.sentence("messages came back as errors"));
    let mut phase = match (talk.measured, outcome) {
        (Some(phase), Outcome::Finished) => phase,
        _ if !failures.is_empty() => return Err(RunError::Talk(failures.join("; "))),
        _ => return Err(RunError::TimedOut("they talk")),
    };
    phase.counts.insert("sent_in_all", talk.ledger.sent);
    phase.counts.insert("received_in_all", talk.ledger.received);
    phase.counts.insert("lost", talk.ledger.missing());
    phase.counts.insert("errors", talk.refused.count);
    Ok((phase, failures))
}

struct Talk<'a, C> {
    company: &'a mut C,
    ledger: Ledger,
    schedule: Option<Schedule>,
    stages: Stages<'a>,
    measured: Option<Phase>,
    refused: Mishaps,
    closed: Mishaps,
    fatal: Option<io::Error>,
    progress: &'a mut Progress,
}

/// How often something went wrong, and what the first time looked like.
#[derive(Default)]
struct Mishaps {
    count: u64,
    first: Option<String>,
}

impl Mishaps {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(what);
    }

    fn sentence(&self, what: &str) -> Option<String> {
        self.first.as_ref().map(|first| format!("{} {what}, the first: {first}", self.count))
    }
}

impl<C: Company> Talk<'_, C> {
    /// Goes to the next stage when its time has come; true at the end of the last.
    fn advance(&mut self, now: Instant) -> io::Result<bool> {
        match self.stages.advance(now, self.ledger.received)? {
            Passed::Nothing => {}
            Passed::Warmup => self.ledger.latencies = Latencies::default(),
            Passed::Measured(mut phase) => {
                phase.latency_us = mem::take(&mut self.ledger.latencies).summary();
                self.measured = Some(*phase);
                return Ok(false);
            }
            Passed::Drain => return Ok(true),
        }
        let refused = self.refused.count * self.company.readers() as u64;
        Ok(self.stages.drains() && self.ledger.missing() <= refused)
    }
}

impl<C: Company> Handler for Talk<'_, C> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        if framer::name(stanza) != b"message" {
            return answer(engine, id, stanza);
        }
        if framer::attribute(stanza, b"type") == Some(b"error") {
            return self.refused.add(|| String::from_utf8_lossy(stanza).into_owned());
        }
        // A room's late subject, say, is nobody's message.
        if memchr::memmem::find(stanza, b"<body").is_some() {
            let goes_on = self.schedule.is_none() && !self.stages.drains();
            let arrival = Arrival { id, stanza, now: Instant::now() };
            self.company.arrive(engine, &mut self.ledger, arrival, goes_on);
        }
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.closed.add(|| why.to_string());
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        // Without all connections the numbers mean nothing.
        if self.closed.count > 0 {
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
        match &mut self.schedule {
            Some(schedule) if !self.stages.drains() => {
                while let Some(due) = schedule.take(now) {
                    self.company.speak(engine, &mut self.ledger, due);
                }
                Next::At(schedule.due())
            }
            _ => Next::Wait,
        }
    }
}
