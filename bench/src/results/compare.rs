//! Two results side by side: how many times the first is the second, phase by phase and figure by figure.

use super::{ResultsError, Stored, StoredPhase, short};

/// What was found.
pub struct Comparison {
    /// For people.
    pub text: String,
    /// Sentences about figures that are worse by more than was allowed.
    pub worse: Vec<String>,
}

/// One number that two phases have.
struct Figure {
    name: &'static str,
    unit: &'static str,
    of: fn(&StoredPhase) -> Option<f64>,
    /// Whether it is better to have more of it.
    more_is_better: bool,
    /// A single bad moment decides it, so that it says little about the server.
    erratic: bool,
}

const FIGURES: [Figure; 8] = [
    Figure { name: "rate", unit: "/s", of: StoredPhase::rate, more_is_better: true, erratic: false },
    Figure { name: "CPU each", unit: "µs", of: StoredPhase::cpu_us, more_is_better: false, erratic: false },
    Figure {
        name: "RSS",
        unit: "MiB",
        of: |phase| phase.server.as_ref().map(|cost| cost.rss_after_bytes as f64 / f64::from(1 << 20)),
        more_is_better: false,
        erratic: false,
    },
    latency("p50", |phase| phase.latency_us.as_ref().map(|latency| ms(latency.p50)), false),
    latency("p90", |phase| phase.latency_us.as_ref().map(|latency| ms(latency.p90)), false),
    latency("p99", |phase| phase.latency_us.as_ref().map(|latency| ms(latency.p99)), false),
    latency("p99.9", |phase| phase.latency_us.as_ref().map(|latency| ms(latency.p999)), false),
    latency("max", |phase| phase.latency_us.as_ref().map(|latency| ms(latency.max)), true),
];

const fn latency(name: &'static str, of: fn(&StoredPhase) -> Option<f64>, erratic: bool) -> Figure {
    Figure { name, unit: "ms", of, more_is_better: false, erratic }
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// Compares; with `worse_than`, looks for figures that are worse in the second by more than so many percent. Fails if
/// the two are of different scenarios, or have no phase in common.
pub fn compare(first: &Stored, second: &Stored, worse_than: Option<f64>) -> Result<Comparison, ResultsError> {
    if first.scenario != second.scenario {
        return Err(ResultsError::Scenarios(first.scenario.clone(), second.scenario.clone()));
    }
    let mut text = format!("A: {} {}\nB: {} {}\n", first.server, first.label(), second.server, second.label());
    for name in first.parameters.keys().chain(second.parameters.keys().filter(|n| !first.parameters.contains_key(*n))) {
        let of = |run: &Stored| run.parameters.get(name).map_or("none".to_owned(), ToString::to_string);
        if of(first) != of(second) {
            text += &format!("{name} differs: {} in A, {} in B\n", of(first), of(second));
        }
    }
    for (letter, run) in [("A", first), ("B", second)] {
        text.extend(run.failures.iter().map(|failure| format!("FAILED in {letter}: {failure}\n")));
    }
    text += &format!("{:<12} {:<10} {:>12} {:>12} {:>8}\n", "phase", "", "A", "B", "B/A");
    let (mut worse, mut common) = (Vec::new(), 0);
    for a in &first.phases {
        let Some(b) = second.phases.iter().find(|b| b.name == a.name) else {
            text += &format!("{:<12} only in A\n", a.name);
            continue;
        };
        common += 1;
        for figure in &FIGURES {
            let (Some(one), Some(other)) = ((figure.of)(a), (figure.of)(b)) else { continue };
            let cell = |number| format!("{} {}", short(number), figure.unit);
            let ratio = if one > 0.0 { format!("{:.2}×", other / one) } else { "–".into() };
            text += &format!("{:<12} {:<10} {:>12} {:>12} {ratio:>8}\n", a.name, figure.name, cell(one), cell(other));
            let percent = worse_by(figure, one, other);
            if worse_than.is_some_and(|allowed| !figure.erratic && percent > allowed) {
                worse.push(format!("{}: {} is {percent:.0} % worse", a.name, figure.name));
            }
        }
    }
    for b in second.phases.iter().filter(|b| first.phases.iter().all(|a| a.name != b.name)) {
        text += &format!("{:<12} only in B\n", b.name);
    }
    if common == 0 {
        return Err(ResultsError::Phases);
    }
    Ok(Comparison { text, worse })
}

/// By how many percent `other` is worse than `one`; negative if it is better.
fn worse_by(figure: &Figure, one: f64, other: f64) -> f64 {
    let (good, bad) = if figure.more_is_better { (other, one) } else { (one, other) };
    match (good > 0.0, bad > 0.0) {
        (true, _) => (bad / good - 1.0) * 100.0,
        (false, true) => f64::INFINITY,
        (false, false) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    #[test]
    fn gives_the_ratio_of_each_figure_and_what_differs() {
        let (first, mut second) = (run("ours", None, 10.0, 100), run("theirs", None, 25.0, 100));
        second.parameters.insert("rate".into(), 4000.0.into());
        let found = compare(&first, &second, None).unwrap();
        let line = found.text.lines().find(|line| line.contains("CPU each")).unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["talk", "CPU", "each", "10.0", "µs", "25.0", "µs", "2.50×"]
        );
        assert!(found.text.contains("rate differs: 2000.0 in A, 4000.0 in B"), "{}", found.text);
        assert!(found.text.contains("talk         p99.9"), "{}", found.text);
        assert!(found.worse.is_empty());
    }

    #[test]
    fn calls_worse_what_is_worse_by_more_than_was_allowed() {
        let (first, mut second) = (run("a", None, 10.0, 100), run("b", None, 10.5, 100));
        assert!(compare(&first, &second, Some(5.1)).unwrap().worse.is_empty());
        assert_eq!(compare(&first, &second, Some(4.9)).unwrap().worse, ["talk: CPU each is 5 % worse"]);
        // Better CPU is never worse; half the rate is twice as bad; the longest latency of all decides nothing.
        second = run("b", None, 1.0, 100);
        second.phases[0].figures.insert("operations_per_sec".into(), 1_000.0);
        second.phases[0].latency_us.as_mut().unwrap().max *= 100;
        assert_eq!(compare(&first, &second, Some(5.0)).unwrap().worse, ["talk: rate is 100 % worse"]);
    }

    #[test]
    fn refuses_what_has_nothing_in_common() {
        let (first, mut second) = (run("a", None, 1.0, 1), run("b", None, 1.0, 1));
        second.phases[0].name = "other".into();
        assert!(matches!(compare(&first, &second, None), Err(ResultsError::Phases)));
        second.scenario = "muc".into();
        assert!(matches!(compare(&first, &second, None), Err(ResultsError::Scenarios(..))));
    }
}
