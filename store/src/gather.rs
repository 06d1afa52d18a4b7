//! Whether to wait for company before a sync.
//!
//! A sync costs the same for one batch as for fifty. While it runs, others gather by themselves, but a quick disk is done before
//! they come: at a few thousand commits a second nearly each had a sync of its own, which was most of what it cost. So a group
//! waits for a moment, if experience says that others come in that moment. Experience comes from a *trial* now and then, a group
//! that waits the whole moment whatever happens. Whoever waits for its own answer before it sends more (a lone client, an
//! importer) has no company, and then nothing waits but the rare trial.

use std::time::Duration;

/// How long a group waits for company at most.
pub(crate) const GATHER_TIME_MAX: Duration = Duration::from_millis(2);
/// Company beyond this makes nothing cheaper.
const COMPANY_MAX: usize = 64;
/// Groups from one trial to the next while company comes.
const TRIAL_EVERY: u32 = 32;
/// The same while none does: each trial in vain doubles it, up to this.
const TRIAL_EVERY_MAX: u32 = 1024;

/// What is known of the company that groups have had.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// So many batches come in the moment that a group may wait; one is none but the first.
    expected: usize,
    /// Groups until the next trial.
    until_trial: u32,
    trial_every: u32,
    on_trial: bool,
}

impl Default for Gathering {
    fn default() -> Gathering {
        Gathering { expected: 1, until_trial: TRIAL_EVERY, trial_every: TRIAL_EVERY, on_trial: false }
    }
}

impl Gathering {
    /// How many batches the next group waits for, for [`GATHER_TIME_MAX`] at most. `quiet` is how long no group has ended.
    pub fn begin(&mut self, quiet: Duration) -> usize {
        self.on_trial = false;
        if quiet >= GATHER_TIME_MAX {
            // Nobody was there for as long as it would wait.
            return 1;
        }
        self.until_trial = self.until_trial.saturating_sub(1);
        self.on_trial = self.until_trial == 0;
        if self.on_trial { COMPANY_MAX } else { self.expected }
    }

    /// So many batches were there when the group began to be written; `waited` says that its time was up.
    pub fn end(&mut self, batches: usize, waited: bool) {
        let batches = batches.min(COMPANY_MAX);
        if self.on_trial {
            self.expected = batches;
            self.trial_every = if batches > 1 { TRIAL_EVERY } else { (self.trial_every * 2).min(TRIAL_EVERY_MAX) };
            self.until_trial = self.trial_every;
        } else if waited {
            // Fewer come than did.
            self.expected = batches.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Duration = Duration::from_micros(100);

    /// Lets groups go by in which `in_moment` batches come in the whole moment; returns the batches of each group.
    fn groups(gathering: &mut Gathering, count: usize, in_moment: usize) -> Vec<usize> {
        let group = |_| {
            let wanted = gathering.begin(BUSY);
            let came = wanted.min(in_moment);
            gathering.end(came, came < wanted);
            came
        };
        (0..count).map(group).collect()
    }

    #[test]
    fn a_lone_client_waits_only_for_rare_trials() {
        let mut gathering = Gathering::default();
        let waits = (0..10_000).filter(|_| {
            let waits = gathering.begin(BUSY) > 1;
            gathering.end(1, waits);
            waits
        });
        assert!(waits.count() < 20);
    }

    #[test]
    fn company_is_found_and_waited_for() {
        let mut gathering = Gathering::default();
        let groups = groups(&mut gathering, 1_000, 4);
        assert!(groups[..TRIAL_EVERY as usize - 1].iter().all(|&batches| batches == 1));
        assert!(groups[TRIAL_EVERY as usize..].iter().all(|&batches| batches == 4), "{groups:?}");
    }

    #[test]
    fn nobody_is_waited_for_once_nobody_comes() {
        let mut gathering = Gathering::default();
        groups(&mut gathering, 100, 50);
        assert_eq!(gathering.begin(BUSY), 50);
        gathering.end(1, true);
        assert_eq!(gathering.begin(BUSY), 1);
    }

    #[test]
    fn after_a_quiet_time_the_first_goes_at_once() {
        let mut gathering = Gathering::default();
        groups(&mut gathering, 100, 50);
        assert_eq!(gathering.begin(GATHER_TIME_MAX), 1);
        assert_eq!(gathering.begin(BUSY), 50);
    }
}
