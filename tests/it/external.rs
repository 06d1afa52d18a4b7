//! Clients and scripts in `tests/e2e`, each suite against a server of its own.

use std::sync::{PoisonError, RwLock};

use rookery_tests::server::{Server, app_environment};
use rookery_tests::suite;

/// The hostile suite fills memory and cores on purpose and measures what others feel: nothing runs beside it.
static QUIET: RwLock<()> = RwLock::new(());

const SUITE_SECS_MAX: u64 = 300;

/// The second application, for what must not pass between two.
fn second_app(server: &Server) -> Vec<(String, String)> {
    let app = server.create_app("second");
    app_environment("APP2_", &app).map(|(name, value)| (format!("ROOKERY_{name}"), value)).into()
}

fn beside_others<T>(run: impl FnOnce() -> T) -> T {
    let _shared = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    run()
}

#[test]
fn the_quickblox_sdk_works_unmodified() {
    beside_others(|| suite::node(&Server::start(), "quickblox.test.mjs", &[], SUITE_SECS_MAX));
}

#[test]
fn xmpp_js_works_over_starttls_tls_and_websocket() {
    beside_others(|| suite::node(&Server::start(), "xmppjs.test.mjs", &[], SUITE_SECS_MAX));
}

#[test]
fn slixmpp_works_over_starttls_and_tls() {
    beside_others(|| suite::python(&Server::start(), "slix", &[], SUITE_SECS_MAX));
}

#[test]
fn bosh_works_request_by_request() {
    beside_others(|| suite::python(&Server::start(), "bosh", &[], SUITE_SECS_MAX));
}

#[test]
fn the_rest_api_answers_as_specified() {
    beside_others(|| {
        let server = Server::start();
        suite::python(&server, "rest", &second_app(&server), SUITE_SECS_MAX);
    });
}

#[test]
fn slow_clients_run_into_time_limits() {
    beside_others(|| {
        let limits = "[limits]\nlogin_secs_max = 4\nrequest_secs_max = 4\nkeep_alive_secs_max = 4\nidle_secs_max = 4\nping_secs_max = 4";
        let server = Server::start_with(limits);
        suite::python(&server, "slow", &[], SUITE_SECS_MAX);
    });
}

#[test]
fn hostile_clients_harm_nobody_else() {
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start();
    suite::python(&server, "hostile", &second_app(&server), 2 * SUITE_SECS_MAX);
}
