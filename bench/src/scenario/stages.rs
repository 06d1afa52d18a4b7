//! The stages of a scenario that goes on for a while: a warm-up, the measured stretch, and the wait for what is still under way.

use std::io;
use std::time::{Duration, Instant};

use clap::Args;

use crate::procfs::Server;
use crate::report::{Meter, Phase};

/// How long each of them takes.
#[derive(Args, Clone)]
pub struct Span {
    /// The measured time.
    #[arg(long, default_value_t = 10)]
    pub secs: u64,
    /// Time before it, not measured.
    #[arg(long, default_value_t = 2)]
    pub warmup_secs: u64,
    /// How long to wait for what is still under way at the end.
    #[arg(long, default_value_t = 5)]
    pub drain_secs: u64,
}

/// Which of them it is at.
pub struct Stages<'a> {
    server: &'a Server,
    name: &'static str,
    operation: &'static str,
    secs: Duration,
    drain: Duration,
    stage: Stage,
}

enum Stage {
    Warmup { until: Instant },
    Measure { until: Instant, meter: Meter, before: u64 },
    Drain { until: Instant },
}

/// What has just come to pass.
pub enum Passed {
    /// Nothing new.
    Nothing,
    /// The measured stretch begins: what was gathered before does not count.
    Warmup,
    /// It is over, and was this; of what was gathered, latencies are the caller's to add.
    Measured(Box<Phase>),
    /// What is still under way is not waited for any more.
    Drain,
}

impl<'a> Stages<'a> {
    /// Begins with the warm-up. The phase gets this name; `operation` is what is counted, in the singular.
    pub fn new(server: &'a Server, name: &'static str, operation: &'static str, span: &Span, now: Instant) -> Self {
        Self {
            server,
            name,
            operation,
            secs: Duration::from_secs(span.secs),
            drain: Duration::from_secs(span.drain_secs),
            stage: Stage::Warmup { until: now + Duration::from_secs(span.warmup_secs) },
        }
    }

    /// Goes to the next stage when its time has come. `count` is how many operations there were so far.
    pub fn advance(&mut self, now: Instant, count: u64) -> io::Result<Passed> {
        match &self.stage {
            Stage::Warmup { until } if now >= *until => {
                let meter = Meter::start(self.server, self.name, self.operation)?;
                self.stage = Stage::Measure { until: now + self.secs, meter, before: count };
                Ok(Passed::Warmup)
            }
            Stage::Measure { until, meter, before } if now >= *until => {
                let phase = meter.stop(self.server, count - before)?;
                self.stage = Stage::Drain { until: now + self.drain };
                Ok(Passed::Measured(Box::new(phase)))
            }
            Stage::Drain { until } if now >= *until => Ok(Passed::Drain),
            Stage::Warmup { .. } | Stage::Measure { .. } | Stage::Drain { .. } => Ok(Passed::Nothing),
        }
    }

    /// Whether nothing new is begun any more.
    pub fn drains(&self) -> bool {
        matches!(self.stage, Stage::Drain { .. })
    }
}
