//! `idle`: so many connections that are logged in, available and silent. What does one of them weigh?

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Bench, Findings, RunError, bring_up};
use crate::report::Meter;

/// Parameters of `idle`.
#[derive(Args, Clone)]
pub struct Idle {
    /// How many connections; beyond the number of users, users get further resources.
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// How long they stay silent before memory is read again.
    #[arg(long, default_value_t = 10)]
    hold_secs: u64,
}

/// Logs everybody in, waits, reads memory.
pub fn run(bench: &mut Bench, idle: &Idle) -> Result<Findings, RunError> {
    bench.need_accounts(1)?;
    let users = bench.engine.accounts().len();
    let accounts: Vec<usize> = (0..idle.connections).map(|i| i % users).collect();

    bench.settle()?;
    let mut meter = Meter::start(&bench.server, "login", "login")?;
    let (_, failed) = bring_up(bench, &accounts)?;
    meter.work_done();
    bench.settle()?;
    let mut login = meter.stop(&bench.server, idle.connections as u64)?;
    login.counts.insert("failed_attempts", failed);

    let meter = Meter::start(&bench.server, "hold", "connection")?;
    let rest = bench.rest(Duration::from_secs(idle.hold_secs))?;
    let mut hold = meter.stop(&bench.server, idle.connections as u64)?;
    hold.counts.insert("closed", rest.closed);
    hold.counts.insert("stanzas", rest.stanzas);
    if let (Some(before), Some(after)) = (&login.server, &hold.server) {
        let per = |bytes: u64| bytes.saturating_sub(before.rss_before_bytes) as f64 / 1024.0 / idle.connections as f64;
        login.figures.insert("rss_kib_per_connection", per(before.rss_after_bytes));
        hold.figures.insert("rss_kib_per_connection", per(after.rss_after_bytes));
        let cpu = (after.cpu_user_secs + after.cpu_system_secs) / hold.secs;
        hold.figures.insert("cpu_percent", cpu * 100.0);
    }
    let mut failures = Vec::new();
    if rest.closed > 0 {
        failures.push(format!("{} idle connections were closed", rest.closed));
    }
    Ok(Findings {
        parameters: json!({ "connections": idle.connections, "hold_secs": idle.hold_secs }),
        phases: vec![login, hold],
        failures,
    })
}
