//! Hostile clients against the real server: `e2e/python/hostile.py`.
//!
//! A test program of its own, since `cargo test` runs one after the other: these clients fill memory and processors on purpose and
//! measure what others feel of it, so nothing else may run beside them.

use std::time::Duration;

use rookery_tests::server::{Server, app_environment};
use rookery_tests::suite;

const SUITE_SECS_MAX: u64 = 300;

#[test]
fn hostile_clients_harm_nobody_else() {
    let server = Server::start();
    let second_app = app_environment("APP2_", &server.create_app("second"));
    suite::python(&server, "hostile", &second_app, SUITE_SECS_MAX);
    // The numbers are renewed every second.
    std::thread::sleep(Duration::from_millis(1500));
    let metrics = server.metrics();
    assert_eq!(metrics.sum("rookery_panics_total"), 0.0, "something panicked");
    assert_eq!(metrics.sum("rookery_unreadable_rows_total"), 0.0, "something was stored that cannot be read");
    assert!(metrics.sum("rookery_login_failures_total") > 0.0, "the guesses were not counted");
}
