//! The log: for people on a terminal, JSON elsewhere, and never in the way of an executor.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{self, LogFormat};

/// The log while it is open. What is written last is on its way until this is dropped.
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    _writer: WorkerGuard,
}

impl Log {
    /// Opens the log of this process, on its standard error.
    ///
    /// # Panics
    /// When there is one already.
    pub fn open(settings: &config::Log) -> Log {
        // Lines that the terminal does not take are dropped, and counted; a shard does not wait for them.
        let (writer, guard): (NonBlocking, WorkerGuard) =
            NonBlockingBuilder::default().buffered_lines_limit(LINES_MAX).finish(io::stderr());
        let (filter, handle) = reload::Layer::new(filter(&settings.level));
        let pretty = match settings.format {
            LogFormat::Auto => io::stderr().is_terminal(),
            LogFormat::Pretty => true,
            LogFormat::Json => false,
        };
        let lines = if pretty {
            fmt::layer().with_writer(writer).with_target(false).with_ansi(io::stderr().is_terminal()).boxed()
        } else {
            fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        log_panics();
        Log { filter: handle, _writer: guard }
    }

    /// Logs more or less from now on.
    pub fn set_level(&self, level: &str) {
        if let Err(error) = self.filter.reload(filter(level)) {
            tracing::error!(%error, "the log level cannot be changed");
        }
    }
}

/// Libraries that handle what clients say would log it word for word if asked for everything.
fn filter(level: &str) -> EnvFilter {
    format!("{level},tungstenite=warn,rustls=warn,glommio=warn").parse().unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Panics go to the log like everything else: where, but not with what, since a message may quote a client's data.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(%place, %backtrace, "a fault in the server; what led to it is ended, the rest goes on");
    }));
}

/// Lines that may wait for a slow terminal.
const LINES_MAX: usize = 10_000;
