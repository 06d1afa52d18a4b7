//! How fast a client may send: what it sends beyond its rate makes its reads pause, and nothing is thrown away.

use proto::time::Instant;

/// What one connection may still send, by a rate that is looked up at each use. A pause lasts until it is made up for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Bytes that may come; below zero, bytes that came too early.
    allowance: i64,
    since: Instant,
}

impl Pace {
    /// A connection that has sent nothing yet.
    pub fn new(now: Instant) -> Pace {
        Pace { allowance: 0, since: now }
    }

    /// Counts what came. The first second's worth is free, as is whatever was saved up in a second of silence.
    pub fn count(&mut self, now: Instant, bytes: usize, per_sec: u64) {
        if per_sec == 0 {
            return;
        }
        self.refill(now, per_sec);
        self.allowance = self.allowance.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Whether more may come now.
    pub fn allows(&mut self, now: Instant, per_sec: u64) -> bool {
        if per_sec == 0 {
            return true;
        }
        self.refill(now, per_sec);
        self.allowance > -i64::try_from(per_sec).unwrap_or(i64::MAX)
    }

    fn refill(&mut self, now: Instant, per_sec: u64) {
        let micros = now.since(self.since).as_micros();
        let earned = micros.saturating_mul(u128::from(per_sec)) / 1_000_000;
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(i64::try_from(earned).unwrap_or(i64::MAX)).min(0);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_flood_comes_at_the_rate_that_is_allowed() {
        let mut pace = Pace::new(at(0));
        let mut taken = 0;
        for millis in 0..10_000 {
            while pace.allows(at(millis), 1_000) {
                pace.count(at(millis), 100, 1_000);
                taken += 100;
            }
        }
        assert!((10_000..=11_200).contains(&taken), "{taken} bytes in ten seconds");
    }

    #[test]
    fn no_rate_is_no_limit_and_silence_saves_nothing_up() {
        let mut pace = Pace::new(at(0));
        pace.count(at(0), usize::MAX, 0);
        assert!(pace.allows(at(0), 0));
        let mut pace = Pace::new(at(0));
        pace.count(at(60_000), 1_000, 1_000);
        assert!(!pace.allows(at(60_000), 1_000));
        assert!(pace.allows(at(60_500), 1_000));
    }
}
