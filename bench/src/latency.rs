//! Latencies from the moment something *should* have happened.
//!
//! An open loop sends message k at `start + k / rate`, whether or not earlier ones have arrived, and counts from that
//! moment: a server (or a driver) that falls behind shows it in every later message instead of hiding it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer times are counted as this one.
const LATENCY_MAX: Duration = Duration::from_secs(600);

/// The times at which an open loop sends.
pub struct Schedule {
    start: Instant,
    interval_nanos: f64,
    sent: u64,
}

impl Schedule {
    /// `rate` per second, the first at `start`.
    pub fn new(start: Instant, rate: f64) -> Self {
        Self { start, interval_nanos: 1e9 / rate, sent: 0 }
    }

    /// When the next one is due.
    pub fn due(&self) -> Instant {
        // From the count, not from the last one: no rounding adds up.
        self.start + Duration::from_nanos((self.sent as f64 * self.interval_nanos) as u64)
    }

    /// The due time of the next one if it has come, and moves on.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due();
        (due <= now).then(|| {
            self.sent += 1;
            due
        })
    }
}

/// A histogram of latencies.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, LATENCY_MAX.as_micros() as u64, 3)
                .expect("one microsecond to ten minutes with three digits is a valid range"),
        )
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record((latency.as_micros() as u64).max(1));
    }

    /// What to report; `None` without a single latency.
    pub fn summary(&self) -> Option<Summary> {
        let histogram = &self.0;
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Summary {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        })
    }
}

/// Latencies in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 90 of 100 were at most this.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1,000.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_schedule_however_late_it_is_asked() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 2_000.0);
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start + Duration::from_micros(499)), None);
        // A stall of ten intervals: ten are due at once, each with its own time.
        let late = start + Duration::from_micros(5_000);
        let mut latencies = Latencies::default();
        let mut due = Vec::new();
        while let Some(at) = schedule.take(late) {
            latencies.record(late - at);
            due.push(at);
        }
        assert_eq!(due.len(), 10);
        assert_eq!(due[0], start + Duration::from_micros(500));
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.count, 10);
        // Three digits: a bucket here is a few microseconds wide.
        assert!(summary.max.abs_diff(4_500) < 5, "the first of the ten waited longest: {summary:?}");
        assert!(summary.p50.abs_diff(2_000) < 5, "{summary:?}");
    }

    #[test]
    fn does_not_drift_over_a_long_run() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 3_000.0);
        let end = start + Duration::from_secs(100);
        let mut count = 0u64;
        while schedule.take(end).is_some() {
            count += 1;
        }
        assert_eq!(count, 300_001);
    }

    #[test]
    fn has_no_summary_of_nothing_and_counts_the_endless_as_the_maximum() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), None);
        latencies.record(Duration::from_secs(10_000));
        latencies.record(Duration::ZERO);
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.count, 2);
        assert!(summary.max >= 600_000_000);
    }
}
