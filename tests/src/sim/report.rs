//! Histories of many seeds, counted; of the first that fails, the seed and the shortest form found.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{AddAssign, RangeInclusive};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use super::shrink::shrink;
use super::{Faults, Sim, Step};

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Histories.
    pub histories: u64,
    /// What clients did.
    pub acts: u64,
    /// What happened in the server and on its connections, one thing at a time.
    pub steps: u64,
    /// Connections cut or stalled, clocks set, disks broken, crashes.
    pub faults: u64,
    /// Sessions that went on over another connection.
    pub resumed: u64,
    /// Messages sent.
    pub messages: u64,
    /// Messages of which the server said that it has them.
    pub acknowledged: u64,
    /// Messages that came to a client, and were checked.
    pub delivered: u64,
    /// Presences of others that came to a client, and were checked.
    pub presences: u64,
    /// Requests that were, or had to be, answered.
    pub requests: u64,
    /// Calls of the API that raced with the rest.
    pub calls: u64,
    /// Dialogs that were looked through in the end, each through every member's eyes.
    pub views: u64,
    /// Elements that clients heard.
    pub heard: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.histories += other.histories;
        self.acts += other.acts;
        self.steps += other.steps;
        self.faults += other.faults;
        self.resumed += other.resumed;
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.presences += other.presences;
        self.requests += other.requests;
        self.calls += other.calls;
        self.views += other.views;
        self.heard += other.heard;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { histories, acts, steps, faults, resumed, .. } = self;
        write!(f, "{histories} histories, {acts} acts, {steps} steps, {faults} faults, {resumed} sessions resumed; ")?;
        let Counts { messages, acknowledged, delivered, presences, requests, calls, views, .. } = self;
        write!(
            f,
            "{messages} messages sent, {acknowledged} acknowledged, {delivered} deliveries and {presences} presences checked; "
        )?;
        write!(f, "{requests} requests and {calls} calls; {views} dialogs looked through")
    }
}

/// A history in which a promise was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its kind.
    pub faults: Faults,
    /// Its seed.
    pub seed: u64,
    /// The promise, and how it was broken.
    pub message: String,
    /// Where in the code that came out.
    pub(super) place: String,
    /// What was done.
    pub steps: Vec<Step>,
    /// How many acts the history had that was found first.
    pub acts: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { faults, seed, message, place, steps, acts } = self;
        writeln!(f, "{faults:?} fails with SIM_SEED={seed}, at {place}: {message}")?;
        writeln!(f, "The shortest history found, {} of {acts} acts:", steps.len())?;
        steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

/// The history of one seed, told aloud; a failure is a panic.
pub fn run_one(faults: Faults, seed: u64, acts: usize) -> Counts {
    Sim::new(seed, faults, true).write(acts, &mut Vec::new())
}

/// The histories of these seeds. Stops at the first that fails, and returns it in the shortest form found.
pub fn run_many(faults: Faults, seeds: RangeInclusive<u64>, acts: usize) -> Result<Counts, Box<Failure>> {
    let mut all = Counts::default();
    for seed in seeds {
        let mut steps = Vec::new();
        match attempt(|| Sim::new(seed, faults, false).write(acts, &mut steps)) {
            Ok(counts) => all += Counts { histories: 1, ..counts },
            Err((message, place)) => {
                let acts = steps.len();
                return Err(Box::new(shrink(Failure { faults, seed, message, place, steps, acts })));
            }
        }
    }
    Ok(all)
}

/// What comes of a history that was written before: nothing, or a message and a place.
pub(super) fn replay(faults: Faults, seed: u64, steps: &[Step]) -> Result<Counts, (String, String)> {
    attempt(|| Sim::new(seed, faults, false).replay(steps))
}

thread_local! {
    /// Set while a panic of this thread is no news.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<(String, String)> = const { RefCell::new((String::new(), String::new())) };
}

/// Runs something, and says of a panic only what it said and where.
fn attempt<T>(act: impl FnOnce() -> T) -> Result<T, (String, String)> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| if QUIET.get() { note(info) } else { usual(info) }));
    });
    QUIET.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(act));
    QUIET.set(false);
    done.map_err(|_| LAST.take())
}

fn note(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    let place = info.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
    LAST.set((text, place));
}
