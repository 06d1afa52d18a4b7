//! What a run found: one JSON object, and lines for people.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::latency::Summary;
use crate::procfs::{Server, Usage};

/// The whole result.
#[derive(Serialize)]
pub struct Report {
    /// `rookery-bench` and its version.
    pub tool: String,
    /// What the caller named the server.
    pub server: String,
    /// Which scenario.
    pub scenario: String,
    /// What the caller named the run, in tables and charts.
    pub label: Option<String>,
    /// Unix seconds at the end of the run.
    pub ended_at: u64,
    /// Where it ran.
    pub machine: Machine,
    /// As given or by default.
    pub parameters: Value,
    /// In order.
    pub phases: Vec<Phase>,
    /// Sentences about what should not have happened; empty in a good run.
    pub failures: Vec<String>,
}

/// The machine, shared by driver and server.
#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    memory_bytes: u64,
    /// Over the last minute, before the run.
    load: f64,
}

/// A measured stretch of time.
#[derive(Serialize)]
pub struct Phase {
    /// Its name within the scenario.
    pub name: &'static str,
    /// What is counted, in the singular.
    pub operation: &'static str,
    /// How many of them were done.
    pub operations: u64,
    /// Wall time.
    pub secs: f64,
    /// CPU time and memory of the server, if its process is known.
    pub server: Option<Cost>,
    /// Microseconds, from the scheduled time where there is a schedule.
    pub latency_us: Option<Summary>,
    /// Everything else that was counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// Derived numbers, units in their names.
    pub figures: BTreeMap<&'static str, f64>,
}

/// What a phase cost the server.
#[derive(Clone, Serialize, Deserialize)]
pub struct Cost {
    /// In user mode.
    pub cpu_user_secs: f64,
    /// In the kernel.
    pub cpu_system_secs: f64,
    /// Both, per operation.
    pub cpu_us_per_operation: Option<f64>,
    /// Resident memory when the phase began.
    pub rss_before_bytes: u64,
    /// And when it ended.
    pub rss_after_bytes: u64,
}

/// Samples the server around a phase.
pub struct Meter {
    name: &'static str,
    operation: &'static str,
    began: Instant,
    work_secs: Option<f64>,
    before: Option<Usage>,
}

impl Meter {
    /// Begins a phase now.
    pub fn start(server: &Server, name: &'static str, operation: &'static str) -> io::Result<Self> {
        let before = if server.is_unknown() { None } else { Some(server.sample()?) };
        Ok(Self { name, operation, began: Instant::now(), work_secs: None, before })
    }

    /// When the phase began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The clock stops here; CPU time counts on until [`Meter::stop`], for what the server puts off.
    pub fn work_done(&mut self) {
        self.work_secs = Some(self.began.elapsed().as_secs_f64());
    }

    /// Ends it after `operations`.
    pub fn stop(&self, server: &Server, operations: u64) -> io::Result<Phase> {
        let secs = self.work_secs.unwrap_or_else(|| self.began.elapsed().as_secs_f64());
        let cost = match self.before {
            None => None,
            Some(before) => {
                let after = server.sample()?;
                let cpu = after - before;
                Some(Cost {
                    cpu_user_secs: cpu.user_secs,
                    cpu_system_secs: cpu.system_secs,
                    cpu_us_per_operation: (operations > 0).then(|| cpu.secs() * 1e6 / operations as f64),
                    rss_before_bytes: before.rss_bytes,
                    rss_after_bytes: after.rss_bytes,
                })
            }
        };
        Ok(Phase {
            name: self.name,
            operation: self.operation,
            operations,
            secs,
            server: cost,
            latency_us: None,
            counts: BTreeMap::new(),
            figures: BTreeMap::from([("operations_per_sec", operations as f64 / secs.max(1e-9))]),
        })
    }
}

impl Phase {
    /// A part of what happened in `secs`, which alone has no cost that could be known.
    pub fn part(name: &'static str, operation: &'static str, secs: f64, latencies: Summary) -> Self {
        let operations = latencies.count;
        Self {
            name,
            operation,
            operations,
            secs,
            server: None,
            latency_us: Some(latencies),
            counts: BTreeMap::new(),
            figures: BTreeMap::from([("operations_per_sec", operations as f64 / secs.max(1e-9))]),
        }
    }

    /// CPU microseconds of the whole phase.
    pub fn cpu_us(&self) -> Option<f64> {
        self.server.as_ref().map(|cost| (cost.cpu_user_secs + cost.cpu_system_secs) * 1e6)
    }

    fn line(&self) -> String {
        let mut line = format!(
            "  {:<12} {:>9} {} in {:>6.2} s ({:.0}/s)",
            self.name,
            self.operations,
            plural(self.operation),
            self.secs,
            self.operations as f64 / self.secs.max(1e-9)
        );
        if let Some(cost) = &self.server {
            let cpu = cost.cpu_user_secs + cost.cpu_system_secs;
            line += &format!("; server CPU {cpu:.2} s");
            if let Some(each) = cost.cpu_us_per_operation {
                line += &format!(" = {each:.1} µs each");
            }
            line += &format!("; RSS {:.1} MiB", cost.rss_after_bytes as f64 / f64::from(1 << 20));
        }
        if let Some(l) = &self.latency_us {
            let ms = |us: u64| us as f64 / 1000.0;
            line += &format!(
                "; p50 {:.2} p90 {:.2} p99 {:.2} p99.9 {:.2} max {:.2} ms",
                ms(l.p50),
                ms(l.p90),
                ms(l.p99),
                ms(l.p999),
                ms(l.max)
            );
        }
        for (name, count) in self.counts.iter().filter(|(_, count)| **count > 0) {
            line += &format!("; {name} {count}");
        }
        for (name, figure) in self.figures.iter().filter(|(name, _)| **name != "operations_per_sec") {
            line += &format!("; {name} {figure:.2}");
        }
        line
    }
}

fn plural(word: &str) -> String {
    word.strip_suffix('y').map_or_else(|| format!("{word}s"), |stem| format!("{stem}ies"))
}

impl Report {
    /// The lines for people.
    pub fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.server, self.scenario);
        for phase in &self.phases {
            text += &phase.line();
            text.push('\n');
        }
        for failure in &self.failures {
            text += &format!("  FAILED: {failure}\n");
        }
        text
    }

    /// Writes the JSON form, whole or not at all.
    pub fn write(&self, path: &std::path::Path) -> io::Result<()> {
        let partial = path.with_extension("partial");
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        fs::write(&partial, bytes)?;
        fs::rename(partial, path)
    }
}

impl Machine {
    /// Reads /proc; what cannot be read is left empty.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .map(|rest| rest.trim_start_matches([' ', '\t', ':']).trim().to_owned())
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: memory.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) << 10,
            load: read("/proc/loadavg").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// Unix seconds.
pub fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A line on stderr, once a second on a terminal and every ten seconds in a log.
pub struct Progress {
    terminal: bool,
    next: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self { terminal: io::stderr().is_terminal(), next: Instant::now() }
    }
}

impl Progress {
    /// Shows the line if it is time to.
    pub fn show(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_secs(if self.terminal { 1 } else { 10 });
        let mut stderr = io::stderr().lock();
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Nobody to show it to is no reason to stop measuring.
        drop(write!(stderr, "{before}{}{after}", line()));
        drop(stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}
