//! The two clocks, as one call.

use std::time::{SystemTime, UNIX_EPOCH};

use proto::time::{Instant, Now, Timestamp};

/// Counts from when the server started; the same for all its shards.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    /// The time since the start, which never goes back, and the calendar, which may.
    pub fn now(&self) -> Now {
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { instant: self.instant(), stamp: Timestamp::from_millis(calendar.as_millis() as u64) }
    }

    /// The time since the start alone.
    pub fn instant(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as u64)
    }
}
