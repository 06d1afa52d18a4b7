//! Clients and scripts in `tests/e2e`, each suite against a server of its own.

use rookery_tests::server::{Server, app_environment};
use rookery_tests::suite;

const SUITE_SECS_MAX: u64 = 300;

/// Time limits so short that a test can wait for them.
const SHORT: &str =
    "[limits]\nlogin_secs_max = 4\nrequest_secs_max = 4\nkeep_alive_secs_max = 4\nidle_secs_max = 4\nping_secs_max = 4";

#[test]
fn the_quickblox_sdk_works_unmodified() {
    suite::node(&Server::start(), "quickblox.test.mjs", &[], SUITE_SECS_MAX);
}

#[test]
fn the_quickblox_sdk_has_dialogs_history_and_rooms() {
    suite::node(&Server::start(), "quickblox-dialogs.test.mjs", &[], SUITE_SECS_MAX);
}

#[test]
fn xmpp_js_works_over_starttls_tls_and_websocket() {
    suite::node(&Server::start(), "xmppjs.test.mjs", &[], SUITE_SECS_MAX);
}

#[test]
fn slixmpp_works_over_starttls_and_tls() {
    suite::python(&Server::start(), "slix", &[], SUITE_SECS_MAX);
}

#[test]
fn slixmpp_publishes_avatars_bookmarks_and_moods() {
    suite::python(&Server::start(), "slix_pep", &[], SUITE_SECS_MAX);
}

#[test]
fn slixmpp_knows_occupants_and_takes_messages_back() {
    suite::python(&Server::start(), "slix_rooms", &[], SUITE_SECS_MAX);
}

#[test]
fn an_announcement_is_a_system_message_to_the_quickblox_sdk() {
    let server = Server::start_with("admins = [\"1-1@localhost\"]");
    suite::node(&server, "quickblox-announced.test.mjs", &[], SUITE_SECS_MAX);
}

#[test]
fn slixmpp_gives_an_administrators_commands() {
    let server = Server::start_with("admins = [\"1-1@localhost\"]");
    // What must not pass between two applications.
    let second_app = app_environment("APP2_", &server.create_app("second"));
    suite::python(&server, "slix_admin", &second_app, SUITE_SECS_MAX);
}

#[test]
fn slixmpp_resumes_sessions() {
    suite::python(&Server::start(), "slix_resume", &[], SUITE_SECS_MAX);
}

#[test]
fn slixmpp_blocks_and_keeps_privacy_lists() {
    suite::python(&Server::start(), "slix_privacy", &[], SUITE_SECS_MAX);
}

#[test]
fn the_quickblox_sdk_keeps_privacy_lists() {
    suite::node(&Server::start(), "quickblox-privacy.test.mjs", &[], SUITE_SECS_MAX);
}

#[test]
fn slixmpp_sends_files_and_messages_with_rules_and_addresses() {
    suite::python(&Server::start(), "slix_messages", &[], SUITE_SECS_MAX);
}

#[test]
fn bosh_works_request_by_request() {
    suite::python(&Server::start(), "bosh", &[], SUITE_SECS_MAX);
}

#[test]
fn the_rest_api_answers_as_specified() {
    let server = Server::start();
    // What must not pass between two applications.
    let second_app = app_environment("APP2_", &server.create_app("second"));
    suite::python(&server, "rest", &second_app, SUITE_SECS_MAX);
}

#[test]
fn the_product_page_works_with_curl_as_it_is_printed() {
    suite::python(&Server::start(), "page", &[], SUITE_SECS_MAX);
}

#[test]
fn slow_clients_run_into_time_limits() {
    suite::python(&Server::start_with(SHORT), "slow", &[], SUITE_SECS_MAX);
}

/// A push service may connect.
const WITH_PUSH: &str = "[[components]]\ndomain = \"push.localhost\"\nsecret = \"what the push service knows\"";

fn push_environment() -> Vec<(String, String)> {
    let set = [("DOMAIN", "push.localhost"), ("SECRET", "what the push service knows")];
    set.map(|(name, value)| (format!("ROOKERY_COMPONENT_{name}"), value.to_owned())).into()
}

#[test]
fn a_push_service_hears_of_messages_for_users_who_are_away() {
    suite::python(&Server::start_with(WITH_PUSH), "slix_push.Push", &push_environment(), SUITE_SECS_MAX);
}

#[test]
fn a_push_service_hears_of_each_message_once_across_sigkill() {
    let mut server = Server::start_with(WITH_PUSH);
    let notes = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut environment = push_environment();
    environment.push(("ROOKERY_NOTES".to_owned(), notes.path().display().to_string()));
    suite::python(&server, "slix_push.Before", &environment, SUITE_SECS_MAX);
    server.kill();
    server.restart();
    suite::python(&server, "slix_push.After", &environment, SUITE_SECS_MAX);
}
