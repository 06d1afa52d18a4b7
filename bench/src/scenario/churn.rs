//! `churn`: connect, TLS, authenticate, bind, presence, close; again and again. What does a login cost?
//!
//! Without `--rate` it is a closed loop of `--logins` at once. With `--rate` it is an open loop: logins begin at their
//! time however many are under way, and latency counts from that time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{Bench, Findings, RunError, answer};
use crate::client::{Closed, ConnId, Engine, EngineError, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::report::{Meter, Progress};

/// Parameters of `churn`.
#[derive(Args, Clone)]
pub struct Churn {
    /// Logins a second: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Stop after so many logins.
    #[arg(long, default_value_t = 2_000)]
    count: u64,
    /// Or after so long.
    #[arg(long, default_value_t = 30)]
    secs: u64,
}

/// Logs in over all users in turn.
pub fn run(bench: &mut Bench, churn: &Churn) -> Result<Findings, RunError> {
    bench.need_accounts(bench.logins)?;
    bench.settle()?;
    let mut meter = Meter::start(&bench.server, "logins", "login")?;
    let mut handler = Turnstile {
        next_account: 0,
        left: churn.count,
        stop_at: meter.began() + Duration::from_secs(churn.secs),
        at_once: bench.logins,
        schedule: churn.rate.map(|rate| Schedule::new(meter.began(), rate)),
        under_way: HashMap::new(),
        done: 0,
        failed: 0,
        first_failure: None,
        latencies: Latencies::default(),
        fatal: None,
        progress: &mut bench.progress,
    };
    let outcome = bench.engine.run(&mut handler, bench.deadline)?;
    let Turnstile { done, failed, first_failure, latencies, fatal, .. } = handler;
    if let Some(e) = fatal {
        return Err(e.into());
    }
    meter.work_done();
    bench.settle()?;
    let mut phase = meter.stop(&bench.server, done)?;
    phase.latency_us = latencies.summary();
    phase.counts.insert("failed", failed);
    let mut failures: Vec<String> =
        first_failure.iter().map(|why| format!("{failed} logins failed, the first: {why}")).collect();
    if outcome == Outcome::TimedOut {
        failures.push("time was up before the last login had ended".into());
    }
    Ok(Findings {
        parameters: json!({
            "count": churn.count, "secs": churn.secs, "rate": churn.rate,
            "at_once": churn.rate.is_none().then_some(bench.logins),
        }),
        phases: vec![phase],
        failures,
    })
}

struct Turnstile<'a> {
    next_account: usize,
    left: u64,
    stop_at: Instant,
    at_once: usize,
    schedule: Option<Schedule>,
    /// Since when.
    under_way: HashMap<ConnId, Instant>,
    done: u64,
    failed: u64,
    first_failure: Option<String>,
    latencies: Latencies,
    fatal: Option<EngineError>,
    progress: &'a mut Progress,
}

impl Turnstile<'_> {
    /// Since when the next login counts, if it is to begin now.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        match &mut self.schedule {
            Some(schedule) => schedule.take(now),
            None => (self.under_way.len() < self.at_once).then_some(now),
        }
    }
}

impl Handler for Turnstile<'_> {
    fn ready(&mut self, engine: &mut Engine, id: ConnId) {
        if let Some(began) = self.under_way.get(&id) {
            self.latencies.record(began.elapsed());
        }
        engine.close(id);
    }

    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        answer(engine, id, stanza);
    }

    fn closed(&mut self, _: &mut Engine, id: ConnId, why: Closed) {
        self.under_way.remove(&id);
        match why {
            Closed::Asked => self.done += 1,
            Closed::ByServer
            | Closed::Stream(_)
            | Closed::Login(_)
            | Closed::Framing(_)
            | Closed::Http(_)
            | Closed::Io(_) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| why.to_string());
            }
        }
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        if now >= self.stop_at {
            self.left = 0;
        }
        while self.left > 0
            && let Some(due) = self.due(now)
        {
            let account = self.next_account;
            self.next_account = (account + 1) % engine.accounts().len();
            match engine.connect(account, "bench".into()) {
                Ok(id) => drop(self.under_way.insert(id, due)),
                Err(e) => {
                    self.fatal = Some(e);
                    return Next::Done;
                }
            }
            self.left -= 1;
        }
        let (done, failed) = (self.done, self.failed);
        self.progress.show(now, || format!("{done} logins, {failed} failed"));
        match &self.schedule {
            _ if self.left == 0 && self.under_way.is_empty() => Next::Done,
            Some(schedule) if self.left > 0 => Next::At(schedule.due()),
            Some(_) | None => Next::Wait,
        }
    }
}
