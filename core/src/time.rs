//! Time as the protocol sees it: handed in, never asked for.
//!
//! [`Instant`] counts from the start of the process and only moves forward; deadlines use it. [`Timestamp`] is the calendar
//! clock, which an operator or NTP may set back; stored rows and stamps on the wire use it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since the server (or the test) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The beginning of the run.
    pub const START: Instant = Instant(0);

    /// The instant `micros` microseconds after the beginning.
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since the beginning.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it is in the future.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(micros))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A timestamp from Unix milliseconds.
    pub const fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis)
    }

    /// A timestamp from Unix seconds.
    pub const fn from_secs(secs: u64) -> Timestamp {
        Timestamp(secs.saturating_mul(1000))
    }

    /// Unix milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole Unix seconds.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment moved forward by `duration`.
    pub fn after(self, duration: Duration) -> Timestamp {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was; zero when it is in the future.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// A moment as XEP-0082 §2 writes it, not before 1970; `None` for anything else.
    pub fn parse_iso(text: &str) -> Option<Timestamp> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(Timestamp)
    }

    /// As [`Timestamp::parse_iso`], for bounds of a range: a moment before 1970 is its beginning, and one at the end of the
    /// calendar is later than everything.
    pub fn parse_iso_bound(text: &str) -> Option<Timestamp> {
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return Some(Timestamp(u64::try_from(stamp.as_millisecond()).unwrap_or(0)));
        }
        // The last day of the year 9999 is too late for the library's instants, and what some clients say for "for ever".
        let civil: jiff::civil::DateTime = text.strip_suffix('Z')?.parse().ok()?;
        (civil.year() == 9999).then_some(Timestamp::from_millis(u64::MAX))
    }

    fn civil(self) -> jiff::civil::DateTime {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        jiff::tz::Offset::UTC.to_datetime(stamp)
    }

    /// ISO 8601 without fractions, as the REST API writes it: `2016-03-23T17:00:42Z`.
    pub fn iso(self) -> Iso {
        Iso { at: self, millis: false }
    }

    /// ISO 8601 with milliseconds, as XEP-0082 and stored `delay` stamps have it: `2016-03-23T17:00:42.123Z`.
    pub fn iso_millis(self) -> Iso {
        Iso { at: self, millis: true }
    }

    /// `2016-03-04 20:55:48 UTC`: the shape of the header `QB-Token-ExpirationDate`.
    pub fn header(self) -> String {
        let t = self.civil();
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }
}

/// A timestamp that displays as ISO 8601 in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Iso {
    at: Timestamp,
    millis: bool,
}

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.at.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )?;
        if self.millis {
            write!(f, ".{:03}", self.at.0 % 1000)?;
        }
        f.write_str("Z")
    }
}

/// The two clocks of one moment, as every input of the server carries them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For rows and stamps.
    pub stamp: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_have_the_shapes_of_the_wire() {
        let at = Timestamp::from_millis(1_458_752_442_123);
        assert_eq!(at.iso().to_string(), "2016-03-23T17:00:42Z");
        assert_eq!(at.iso_millis().to_string(), "2016-03-23T17:00:42.123Z");
        assert_eq!(at.header(), "2016-03-23 17:00:42 UTC");
        assert_eq!(Timestamp::parse_iso("2016-03-23T17:00:42.123Z"), Some(at));
        assert_eq!(Timestamp::parse_iso("2016-03-23T18:00:42.123+01:00"), Some(at));
        assert_eq!([Timestamp::parse_iso("1969-12-31T23:59:59Z"), Timestamp::parse_iso("42")], [None, None]);
        let bound = Timestamp::parse_iso_bound;
        assert_eq!(bound("2016-03-23T17:00:42.123Z"), Some(at));
        assert_eq!(bound("0001-01-01T00:00:00Z"), Some(Timestamp::default()));
        assert_eq!(bound("9999-12-31T23:59:59.999Z"), Some(Timestamp::from_millis(u64::MAX)));
        assert_eq!([bound("42"), bound("Z"), bound("9999-13-01T00:00:00Z"), bound("99999-01-01T00:00:00Z")], [None; 4]);
    }

    #[test]
    fn far_future_does_not_overflow() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert!(end.iso().to_string().ends_with('Z'));
        assert_eq!(Instant::START.since(Instant::from_micros(5)), Duration::ZERO);
    }
}
