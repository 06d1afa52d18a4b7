//! What is known of something that is open or closed while requests to change it are under way.
//!
//! A change is known to hold from the moment at which somebody was told so, and unknown from the moment at which it was asked for.
//! Of changes that were under way at the same time nobody knows which came last.

/// Whether something is open, as far as anyone can know from outside.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// None: it may be either.
    state: Option<bool>,
    /// Since when that is so.
    since: u64,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
struct Change {
    number: usize,
    to: bool,
    /// What was known before, if nothing else was under way.
    before: Option<(bool, u64)>,
    /// The opposite was asked for meanwhile.
    contested: bool,
}

impl Gate {
    pub fn new(open: bool) -> Gate {
        Gate { state: Some(open), since: 0, pending: Vec::new() }
    }

    /// Somebody asks for a change.
    pub fn begin(&mut self, number: usize, to: bool, now: u64) {
        let before = self.state.filter(|_| self.pending.is_empty()).map(|state| (state, self.since));
        let mut contested = false;
        for other in self.pending.iter_mut().filter(|other| other.to != to) {
            (other.contested, contested) = (true, true);
        }
        self.pending.push(Change { number, to, before, contested });
        if self.state != Some(to) {
            self.set(None, now);
        }
    }

    /// Somebody was told that the change was made, or that it was not.
    pub fn end(&mut self, number: usize, made: bool, now: u64) {
        let Some(at) = self.pending.iter().position(|change| change.number == number) else { return };
        let change = self.pending.remove(at);
        match change.before {
            _ if made && !change.contested => {
                self.lose_sight();
                self.set(Some(change.to), now);
            }
            Some((state, since)) if !made && !change.contested && self.pending.is_empty() => {
                (self.state, self.since) = (Some(state), since);
            }
            Some(_) | None => {}
        }
    }

    /// Nobody will be told any more.
    pub fn lose_all(&mut self, now: u64) {
        if !self.pending.is_empty() {
            self.pending.clear();
            self.set(None, now);
        }
    }

    /// From now on it may be either.
    pub fn forget(&mut self, now: u64) {
        self.lose_sight();
        self.set(None, now);
    }

    /// What was known before those changes that are under way is not so any more.
    fn lose_sight(&mut self) {
        self.pending.iter_mut().for_each(|change| change.before = None);
    }

    fn set(&mut self, state: Option<bool>, now: u64) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    /// Whether this change is under way.
    pub fn is_asked(&self, number: usize) -> bool {
        self.pending.iter().any(|change| change.number == number)
    }

    /// Whether it is open, if that is known.
    pub fn is_open(&self) -> Option<bool> {
        self.state
    }

    /// Whether it is known to have been open all the time since then.
    pub fn was_open_since(&self, then: u64) -> bool {
        self.state == Some(true) && self.since <= then
    }

    /// Whether it is known to have been closed all the time since then.
    pub fn was_closed_since(&self, then: u64) -> bool {
        self.state == Some(false) && self.since <= then
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_unknown_until_somebody_is_told() {
        let mut gate = Gate::new(false);
        gate.begin(1, true, 5);
        assert_eq!(gate.is_open(), None);
        gate.end(1, true, 7);
        assert!(gate.was_open_since(7) && !gate.was_open_since(6));
        gate.begin(2, true, 8);
        assert!(gate.was_open_since(7), "no change");
        gate.begin(3, false, 9);
        gate.end(3, false, 10);
        assert_eq!(gate.is_open(), None, "another one was under way");
    }

    #[test]
    fn of_two_at_once_nobody_knows_the_last() {
        let mut gate = Gate::new(false);
        gate.begin(1, true, 1);
        gate.begin(2, false, 2);
        gate.end(1, true, 3);
        gate.end(2, true, 4);
        assert_eq!(gate.is_open(), None);
        gate.begin(3, false, 5);
        gate.end(3, true, 6);
        assert!(gate.was_closed_since(6));
        gate.begin(4, true, 7);
        gate.end(4, false, 8);
        assert!(gate.was_closed_since(6), "refused: as before");
        gate.begin(5, true, 9);
        gate.lose_all(10);
        assert_eq!(gate.is_open(), None);
    }

    #[test]
    fn a_refusal_does_not_bring_back_what_was_before_another_change() {
        let mut gate = Gate::new(true);
        gate.begin(1, false, 10);
        gate.begin(2, false, 11);
        gate.end(2, true, 12);
        gate.end(1, false, 13);
        assert!(gate.was_closed_since(12), "the second has done it, and so there was nothing to do for the first");
        let mut gate = Gate::new(true);
        gate.begin(1, false, 10);
        gate.forget(11);
        gate.end(1, false, 12);
        assert_eq!(gate.is_open(), None);
    }
}
