//! A stretch of calls of one kind, in a closed loop (each connection makes its next call when the last is answered) or
//! in an open one (`--rate`, over all connections in turn; latency counts from the scheduled time).

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use clap::Args;

use super::lines::Lines;
use crate::client::framer;
use crate::client::{Answer, Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::report::{Meter, Phase, Progress};
use crate::scenario::stages::{Passed, Span, Stages};
use crate::scenario::{Bench, RunError, answer};

/// How many calls, and for how long.
#[derive(Args, Clone)]
pub struct Pace {
    /// Calls a second, all users together: an open loop.
    #[arg(long)]
    pub rate: Option<f64>,
    #[command(flatten)]
    pub span: Span,
}

/// How long nothing may come before a fixed number of calls is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is called.
pub struct Plan<'a> {
    /// The phase's name.
    pub name: &'static str,
    /// What one call is, in the singular.
    pub operation: &'static str,
    /// How a call that was carried out is answered.
    pub status: u16,
    /// The bytes of call `n` of a line.
    pub request: &'a dyn Fn(usize, u64) -> Vec<u8>,
}

/// What is to be measured of it.
pub enum Extent<'a> {
    /// So many calls on each connection, and what the server puts off.
    Each(u64),
    /// A stretch of time.
    Time(&'a Pace),
}

/// What came of it.
pub struct Called {
    /// The measured stretch.
    pub phase: Phase,
    /// Calls that were carried out, the ones around the measured stretch included.
    pub done: u64,
    /// Messages that came to users over XMPP meanwhile, by account.
    pub heard: Vec<u64>,
    /// Sentences.
    pub failures: Vec<String>,
}

/// Makes the calls; `expected` messages are to come of each, which are waited for at the end.
pub fn make(
    bench: &mut Bench,
    ids: &[ConnId],
    plan: &Plan<'_>,
    extent: &Extent<'_>,
    expected: u64,
) -> Result<Called, RunError> {
    let now = Instant::now();
    let (rate, each, meter, stages) = match extent {
        Extent::Each(count) => (None, *count, Some(Meter::start(&bench.server, plan.name, plan.operation)?), None),
        Extent::Time(pace) => {
            let stages = Stages::new(&bench.server, plan.name, plan.operation, &pace.span, now);
            (pace.rate, u64::MAX, None, Some(stages))
        }
    };
    let mut calling = Calling {
        plan,
        lines: Lines::new(ids),
        made: vec![0; ids.len()],
        each,
        schedule: rate.map(|rate| Schedule::new(now, rate)),
        turn: 0,
        stages,
        expected,
        done: 0,
        bytes: 0,
        heard: vec![0; bench.engine.accounts().len()],
        latencies: Latencies::default(),
        measured: None,
        refused: None,
        refusals: 0,
        closed: None,
        fatal: None,
        last: now,
        progress: &mut bench.progress,
    };
    if calling.schedule.is_none() {
        (0..ids.len()).for_each(|line| calling.next(&mut bench.engine, line, now));
    }
    let outcome = bench.engine.run(&mut calling, bench.deadline)?;
    let Calling { done, bytes, heard, latencies, measured, refused, refusals, closed, fatal, .. } = calling;
    if let Some(e) = fatal {
        return Err(e.into());
    }
    if let Some(why) = closed {
        return Err(RunError::Talk(why));
    }
    let mut phase = match (measured, meter, outcome) {
        (Some(phase), _, Outcome::Finished) => phase,
        (None, Some(mut meter), Outcome::Finished) => {
            meter.work_done();
            bench.settle()?;
            let mut phase = meter.stop(&bench.server, done)?;
            phase.latency_us = latencies.summary();
            phase
        }
        _ => return Err(RunError::TimedOut("calls are made")),
    };
    phase.counts.insert("refused", refusals);
    phase.figures.insert("bytes_per_answer", bytes as f64 / (done + refusals).max(1) as f64);
    let mut failures: Vec<String> = refused
        .iter()
        .map(|first| format!("{}: {refusals} calls were refused, the first: {first}", plan.name))
        .collect();
    let lost = (done * expected).saturating_sub(heard.iter().sum());
    if lost > 0 {
        failures.push(format!("{}: {lost} messages of {done} calls did not come", plan.name));
    }
    Ok(Called { phase, done, heard, failures })
}

struct Calling<'a> {
    plan: &'a Plan<'a>,
    /// Calls by their number on their line.
    lines: Lines<u64>,
    /// How many were made or wait, by line.
    made: Vec<u64>,
    each: u64,
    schedule: Option<Schedule>,
    /// The line whose turn it is in the open loop.
    turn: usize,
    /// None where so many calls are made, however long that takes.
    stages: Option<Stages<'a>>,
    expected: u64,
    done: u64,
    bytes: u64,
    heard: Vec<u64>,
    latencies: Latencies,
    measured: Option<Phase>,
    refused: Option<String>,
    refusals: u64,
    closed: Option<String>,
    fatal: Option<io::Error>,
    /// When something came last.
    last: Instant,
    progress: &'a mut Progress,
}

impl Calling<'_> {
    fn next(&mut self, engine: &mut Engine, line: usize, due: Instant) {
        if self.made[line] == self.each || self.drains() {
            return;
        }
        let call = self.made[line];
        self.made[line] += 1;
        self.lines.ask(engine, line, due, call, |call| (self.plan.request)(line, call));
    }

    /// Goes to the next stage when its time has come; true at the end of the last.
    fn advance(&mut self, now: Instant) -> io::Result<bool> {
        let Some(stages) = &mut self.stages else {
            return Ok(self.lines.is_idle() && self.made.iter().all(|made| *made == self.each));
        };
        match stages.advance(now, self.done)? {
            Passed::Nothing => {}
            Passed::Warmup => self.latencies = Latencies::default(),
            Passed::Measured(mut phase) => {
                phase.latency_us = mem::take(&mut self.latencies).summary();
                self.measured = Some(*phase);
                return Ok(false);
            }
            Passed::Drain => return Ok(true),
        }
        let all_came = self.heard.iter().sum::<u64>() >= self.done * self.expected;
        Ok(self.drains() && self.lines.is_idle() && all_came)
    }

    fn drains(&self) -> bool {
        self.stages.as_ref().is_some_and(Stages::drains)
    }
}

impl Handler for Calling<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        if framer::name(stanza) != b"message" {
            return answer(engine, id, stanza);
        }
        if memchr::memmem::find(stanza, b"<body").is_some() {
            self.heard[engine.account_of(id)] += 1;
        }
    }

    fn answer(&mut self, engine: &mut Engine, id: ConnId, answer: Answer<'_>) {
        let now = Instant::now();
        self.last = now;
        self.bytes += answer.body.len() as u64;
        if answer.status == self.plan.status {
            self.done += 1;
        } else {
            self.refusals += 1;
            let text = || format!("{} {}", answer.status, String::from_utf8_lossy(answer.body));
            self.refused.get_or_insert_with(text);
        }
        let Some((line, due, _)) = self.lines.answered(engine, id, self.plan.request) else { return };
        self.latencies.record(now.saturating_duration_since(due));
        if self.schedule.is_none() {
            self.next(engine, line, now);
        }
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.closed.get_or_insert_with(|| why.to_string());
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        if self.closed.is_some() {
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
        if self.schedule.is_none() && now.saturating_duration_since(self.last) > PATIENCE {
            self.closed = Some("calls are not answered".into());
            return Next::Done;
        }
        let (name, done) = (self.plan.name, self.done);
        self.progress.show(now, || format!("{name}: {done} calls answered"));
        if self.drains() {
            return Next::Wait;
        }
        let Some(schedule) = &mut self.schedule else { return Next::Wait };
        let mut due = Vec::new();
        while let Some(at) = schedule.take(now) {
            due.push(at);
        }
        let wake = schedule.due();
        for at in due {
            let line = self.turn;
            self.turn = (line + 1) % self.lines.count();
            self.next(engine, line, at);
        }
        Next::At(wake)
    }
}
