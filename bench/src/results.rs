//! Results that were written with `--json`, read again: compared, in a table, in a chart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::latency::Summary;
use crate::report::Cost;

pub mod chart;
pub mod compare;
pub mod table;

/// Why results cannot be used.
#[derive(Debug, Error)]
pub enum ResultsError {
    /// No such file, or none that can be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// Not what `--json` writes.
    #[error("{0}: not a result of rookery-bench: {1}")]
    Format(PathBuf, serde_json::Error),
    /// Different things were measured.
    #[error("{0} and {1} cannot be compared")]
    Scenarios(String, String),
    /// No phase is in both.
    #[error("the two have no phase in common")]
    Phases,
}

/// One run.
#[derive(Clone, Deserialize)]
pub struct Stored {
    /// What the caller named the server.
    pub server: String,
    /// Which scenario.
    pub scenario: String,
    /// What the caller named the run.
    label: Option<String>,
    /// As given or by default.
    pub parameters: BTreeMap<String, Value>,
    /// In order.
    pub phases: Vec<StoredPhase>,
    /// What should not have happened.
    pub failures: Vec<String>,
}

/// One phase of it.
#[derive(Clone, Deserialize)]
pub struct StoredPhase {
    /// Its name within the scenario.
    pub name: String,
    /// What is counted, in the singular.
    pub operation: String,
    /// How many of them were done.
    pub operations: u64,
    /// CPU time and memory of the server.
    pub server: Option<Cost>,
    /// Microseconds.
    pub latency_us: Option<Summary>,
    /// Derived numbers, units in their names.
    pub figures: BTreeMap<String, f64>,
}

impl Stored {
    /// Reads one file.
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let bytes = fs::read(path).map_err(|e| ResultsError::Io(path.into(), e))?;
        serde_json::from_slice(&bytes).map_err(|e| ResultsError::Format(path.into(), e))
    }

    /// Reads them all, in the order of their labels and, within one, of the files.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>, ResultsError> {
        let all = paths.iter().map(|path| Self::read(path)).collect::<Result<Vec<_>, _>>()?;
        let mut labels: Vec<String> = Vec::new();
        for label in all.iter().map(Self::label) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        let mut all = all;
        all.sort_by_key(|run| labels.iter().position(|label| *label == run.label()));
        Ok(all)
    }

    /// What the caller named the run, else the scenario and what makes it another one than by default.
    pub fn label(&self) -> String {
        if let Some(label) = &self.label {
            return label.clone();
        }
        let mut label = self.scenario.clone();
        let text = |name: &str| self.parameters.get(name).and_then(Value::as_str);
        if let Some(rate) = self.parameters.get("rate").and_then(Value::as_f64) {
            label += &format!(", {rate}/s");
        }
        if text("transport") == Some("websocket") {
            label += ", WebSocket";
        }
        if text("tls") == Some("plain") {
            label += ", no TLS";
        }
        if text("api") == Some("http") {
            label += ", http";
        }
        if self.parameters.get("save").and_then(Value::as_bool) == Some(true) {
            label += ", saved";
        }
        label
    }
}

impl StoredPhase {
    /// CPU microseconds of the server for one operation.
    pub fn cpu_us(&self) -> Option<f64> {
        self.server.as_ref().and_then(|cost| cost.cpu_us_per_operation)
    }

    /// Operations a second.
    pub fn rate(&self) -> Option<f64> {
        self.figures.get("operations_per_sec").copied()
    }
}

/// A number with three digits that count, as people write it.
pub fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.2}"),
        size if size >= 0.001 => format!("{number:.3}"),
        _ => format!("{number:.1e}"),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run of one phase that costs so much CPU and has such latencies.
    pub fn run(server: &str, label: Option<&str>, cpu: f64, p50: u64) -> Stored {
        let result = serde_json::json!({
            "server": server, "scenario": "pairs", "label": label, "failures": [],
            "parameters": { "rate": 2000.0, "tls": "plain", "transport": "websocket", "save": true },
            "phases": [{
                "name": "talk", "operation": "message", "operations": 1_000, "secs": 1.0, "counts": {},
                "server": {
                    "cpu_user_secs": 0.1, "cpu_system_secs": 0.1, "cpu_us_per_operation": cpu,
                    "rss_before_bytes": 1 << 20, "rss_after_bytes": 3 << 20,
                },
                "latency_us": {
                    "count": 1_000, "mean": 1.0, "p50": p50, "p90": 2 * p50, "p99": 5 * p50, "p999": 20 * p50,
                    "max": 90 * p50,
                },
                "figures": { "operations_per_sec": 2_000.0 },
            }],
        });
        serde_json::from_value(result).unwrap()
    }

    #[test]
    fn names_runs_by_what_sets_them_apart() {
        assert_eq!(run("a", None, 1.0, 1).label(), "pairs, 2000/s, WebSocket, no TLS, saved");
        assert_eq!(run("a", Some("mine"), 1.0, 1).label(), "mine");
    }

    #[test]
    fn reads_what_a_report_writes_and_says_which_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        let phase = crate::report::Phase::part(
            "talk",
            "message",
            2.0,
            run("a", None, 1.0, 7).phases[0].latency_us.clone().unwrap(),
        );
        let report = crate::report::Report {
            tool: "t".into(),
            server: "ours".into(),
            scenario: "pairs".into(),
            label: None,
            ended_at: 0,
            machine: crate::report::Machine::here(),
            parameters: serde_json::json!({ "tls": "direct" }),
            phases: vec![phase],
            failures: Vec::new(),
        };
        report.write(&path).unwrap();
        let read = Stored::read(&path).unwrap();
        assert_eq!((read.server.as_str(), read.label().as_str()), ("ours", "pairs"));
        assert_eq!(read.phases[0].rate(), Some(500.0));
        fs::write(&path, "{}").unwrap();
        assert!(Stored::read(&path).err().unwrap().to_string().contains("a.json"));
        assert!(matches!(Stored::read(&directory.path().join("b")), Err(ResultsError::Io(..))));
    }

    #[test]
    fn writes_numbers_with_three_digits() {
        let written = [0.0, 1234.5, 12.345, 1.2345, 0.0123, 0.0001].map(short);
        assert_eq!(written, ["0", "1234", "12.3", "1.23", "0.012", "1.0e-4"]);
    }
}
