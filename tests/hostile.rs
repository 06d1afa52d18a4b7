//! Hostile clients against the real server: `e2e/python/hostile*.py`, and the list of all that a server has to survive, `hostile.md`.
//!
//! A test program of its own, since `cargo test` runs one after the other: these clients fill memory and processors on purpose and
//! look at what others feel of it, so nothing else may run beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rookery_tests::server::{Server, app_environment};
use rookery_tests::suite;

const SUITE_SECS_MAX: u64 = 600;
const SUITES: &str = "hostile hostile_accounts hostile_acks hostile_rooms hostile_rest hostile_tls";

/// Every kind of input there is a code for: letters, and how many there are of each.
const CODES: [(&str, usize); 10] =
    [("X", 21), ("S", 7), ("B", 16), ("M", 7), ("G", 5), ("W", 3), ("R", 7), ("Q", 7), ("D", 6), ("H", 8)];

#[test]
fn hostile_clients_harm_nobody_else() {
    let server = Server::start();
    let second_app = app_environment("APP2_", &server.create_app("second"));
    suite::python(&server, SUITES, &second_app, SUITE_SECS_MAX);
    // The numbers are renewed every second.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let metrics = server.metrics();
    assert_eq!(metrics.sum("rookery_panics_total"), 0.0, "something panicked");
    assert_eq!(metrics.sum("rookery_unreadable_rows_total"), 0.0, "something was stored that cannot be read");
    for counted in
        ["rookery_login_failures_total", "rookery_slow_readers_total", "rookery_tls_handshake_failures_total"]
    {
        assert!(metrics.sum(counted) > 0.0, "{counted}: what was done is not counted");
    }
}

/// The list names tests that are there, and leaves out no code.
#[test]
fn every_hostile_input_has_its_test() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository");
    let list = fs::read_to_string(home.join("tests/hostile.md")).expect("the list is there");
    let mut tested = BTreeMap::new();
    for line in list.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, code, what, tests, _] = cells[..] else { continue };
        if !code.ends_with(|last: char| last.is_ascii_digit()) {
            continue;
        }
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!what.is_empty() && !names.is_empty(), "{code} names no test");
        for name in &names {
            check_name(home, code, name);
        }
        assert!(tested.insert(code.to_owned(), names.len()).is_none(), "{code} is there twice");
    }
    let wanted = CODES.iter().flat_map(|(letter, count)| (1..=*count).map(move |n| format!("{letter}{n:02}")));
    for code in wanted {
        assert!(tested.remove(&code).is_some(), "{code} is not in tests/hostile.md");
    }
    assert!(tested.is_empty(), "codes that nobody knows: {tested:?}");
}

/// `PATH::NAME` is a function of that name, `PATH` alone a file.
fn check_name(home: &Path, code: &str, name: &str) {
    let (path, function) = name.split_once("::").map_or((name, None), |(path, function)| (path, Some(function)));
    let text = fs::read_to_string(home.join(path)).unwrap_or_else(|error| panic!("{code}: {path}: {error}"));
    if let Some(function) = function {
        let is_there = ["fn ", "def "].iter().any(|word| text.contains(&format!("{word}{function}(")));
        assert!(is_there, "{code}: there is no {function} in {path}");
    }
}
