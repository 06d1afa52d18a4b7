//! Results as a table in markdown: a line for each phase of each run.

use super::{Stored, StoredPhase, short};

const HEAD: &str = "\
| scenario | phase | server | done | /s | CPU each, µs | p50, ms | p90 | p99 | p99.9 | RSS, MiB |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// The whole table, then what failed.
pub fn table(runs: &[Stored]) -> String {
    let mut text = HEAD.to_owned();
    for run in runs {
        text.extend(run.phases.iter().map(|phase| line(run, phase)));
    }
    let failures =
        runs.iter().flat_map(|run| run.failures.iter().map(|f| format!("\n- {}, {}: {f}", run.server, run.label())));
    let failures: String = failures.collect();
    if !failures.is_empty() {
        text += &failures;
        text.push('\n');
    }
    text
}

fn line(run: &Stored, phase: &StoredPhase) -> String {
    let cell = |number: Option<f64>| number.map_or("–".to_owned(), short);
    let latency = phase.latency_us.as_ref();
    let ms = |micros: Option<u64>| cell(micros.map(|micros| micros as f64 / 1000.0));
    let rss = phase.server.as_ref().map(|cost| cost.rss_after_bytes as f64 / f64::from(1 << 20));
    let plain = |text: &str| text.replace('|', "\\|");
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        plain(&run.label()),
        plain(&phase.name),
        plain(&run.server),
        phase.operations,
        cell(phase.rate()),
        cell(phase.cpu_us()),
        ms(latency.map(|l| l.p50)),
        ms(latency.map(|l| l.p90)),
        ms(latency.map(|l| l.p99)),
        ms(latency.map(|l| l.p999)),
        cell(rss),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    #[test]
    fn has_a_line_for_each_phase_with_as_many_cells_as_the_head() {
        let mut other = run("a|b", Some("x"), 12.34, 1_500);
        other.phases[0].latency_us = None;
        other.phases[0].server = None;
        other.failures.push("3 messages were lost".into());
        let text = table(&[run("ours", Some("rate"), 12.34, 1_500), other]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "| rate | talk | ours | 1000 | 2000 | 12.3 | 1.50 | 3.00 | 7.50 | 30.0 | 3.00 |");
        assert_eq!(lines[3], "| x | talk | a\\|b | 1000 | 2000 | – | – | – | – | – | – |");
        assert_eq!(lines[5], "- a|b, x: 3 messages were lost");
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(lines[1..4].iter().all(|line| cells(line) == cells(lines[0])));
    }
}
