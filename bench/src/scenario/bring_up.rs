//! Many logins, so many at a time, before the measured part begins.

use std::collections::HashMap;
use std::time::Instant;

use super::{Bench, RunError, answer};
use crate::client::{Closed, ConnId, Engine, EngineError, Handler, Next, Outcome};
use crate::report::Progress;

/// Failed attempts before we give up; each is tried again.
const FAILURES_MAX: u64 = 100;

/// Logs in one connection for each entry of `accounts` (an account may come more than once) and gives the connections in
/// the same order, and how many attempts failed on the way.
pub fn bring_up(bench: &mut Bench, accounts: &[usize]) -> Result<(Vec<ConnId>, u64), RunError> {
    let mut handler = BringUp {
        accounts,
        waiting: (0..accounts.len()).rev().collect(),
        under_way: HashMap::new(),
        places: HashMap::new(),
        logins: bench.logins,
        failures: 0,
        fatal: None,
        progress: &mut bench.progress,
    };
    let outcome = bench.engine.run(&mut handler, bench.deadline)?;
    match handler.fatal {
        Some(Fatal::Engine(e)) => return Err(e.into()),
        Some(Fatal::Closed(why)) => return Err(RunError::Logins(why)),
        None if outcome == Outcome::TimedOut => return Err(RunError::TimedOut("users log in")),
        None => {}
    }
    let mut ids = vec![0; accounts.len()];
    for (id, place) in &handler.places {
        ids[*place] = *id;
    }
    Ok((ids, handler.failures))
}

struct BringUp<'a> {
    accounts: &'a [usize],
    waiting: Vec<usize>,
    under_way: HashMap<ConnId, usize>,
    places: HashMap<ConnId, usize>,
    logins: usize,
    failures: u64,
    fatal: Option<Fatal>,
    progress: &'a mut Progress,
}

enum Fatal {
    Engine(EngineError),
    Closed(String),
}

impl Handler for BringUp<'_> {
    fn ready(&mut self, _: &mut Engine, id: ConnId) {
        if let Some(place) = self.under_way.remove(&id) {
            self.places.insert(id, place);
        }
    }

    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        answer(engine, id, stanza);
    }

    fn closed(&mut self, _: &mut Engine, id: ConnId, why: Closed) {
        self.failures += 1;
        let place = self.under_way.remove(&id).or_else(|| self.places.remove(&id));
        self.waiting.extend(place);
        // A wrong password or a missing mechanism does not get better.
        if matches!(why, Closed::Login(_)) || self.failures >= FAILURES_MAX {
            self.fatal = Some(Fatal::Closed(why.to_string()));
        }
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        while self.fatal.is_none() && self.under_way.len() < self.logins {
            let Some(place) = self.waiting.pop() else { break };
            match engine.connect(self.accounts[place], format!("bench-{place}")) {
                Ok(id) => drop(self.under_way.insert(id, place)),
                Err(e) => self.fatal = Some(Fatal::Engine(e)),
            }
        }
        let (done, all) = (self.places.len(), self.accounts.len());
        self.progress.show(now, || format!("logging in: {done} of {all}"));
        if self.fatal.is_some() || (self.waiting.is_empty() && self.under_way.is_empty()) {
            return Next::Done;
        }
        Next::Wait
    }
}
