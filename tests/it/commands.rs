//! The command line beside a running server, and without one.

use std::fs;

use rookery_tests::client::Client;
use rookery_tests::http::{self, Account, Connection};
use rookery_tests::server::{DOMAIN, Server, rookery};
use serde_json::Value;

#[test]
fn the_demo_shows_two_users_talking_online_and_offline() {
    let server = Server::start();
    for round in ["the first time", "again, beside the users of the first time"] {
        let shown = server.rookery(&["demo"]);
        assert!(shown.status.success(), "{round}: {shown:?}");
        for part in ["romeo signs up", "juliet → romeo", "it waits", "delivered on her return"] {
            assert!(shown.out.contains(part), "{round}: {part:?} is missing in\n{}", shown.out);
        }
    }
}

#[test]
fn an_app_that_was_created_serves_its_own_users() {
    let server = Server::start();
    let app = server.create_app("shop");
    assert_ne!(app.id, server.app.id);
    let account = http::new_account(server.ports.http, &app, "customer");
    assert!(account.node.ends_with(&format!("-{}", app.id)));
    let mut client = Client::login(server.ports, &account).expect("a user of the new app can log in");
    client.come_online().expect("presence is echoed");

    let listed = server.rookery(&["app", "list", "--json"]).json();
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|app| app["name"].as_str()).collect();
    assert_eq!(names.last(), Some(&"shop"), "{listed}");
    assert_eq!(listed[1]["auth_secret"].as_str(), Some(app.auth_secret.as_str()));
    let plain = server.rookery(&["app", "list"]);
    assert!(plain.status.success() && plain.out.contains(&app.auth_key) && plain.out.contains("shop"), "{plain:?}");

    let nameless = server.rookery(&["app", "create", ""]);
    assert!(!nameless.status.success() && nameless.err.contains("name can't be blank"), "{nameless:?}");
}

#[test]
fn a_user_that_was_created_logs_in_over_rest_and_xmpp() {
    let server = Server::start();
    let app = server.app.id.to_string();
    let create = |login: &str, password: &str| {
        server.rookery(&["user", "create", "--app", &app, "--login", login, "--password", password, "--json"])
    };
    let made = create("romeo", "wherefore-art").json();
    let id = made["id"].as_u64().expect("a user has an id");
    let account =
        Account { id, node: format!("{id}-{app}"), login: "romeo".to_owned(), password: "wherefore-art".to_owned() };
    Client::login(server.ports, &account).expect("over XMPP").close().expect("in order");
    let request = http::session_request(&server.app, Some(("romeo", "wherefore-art")));
    let session = Connection::open(server.ports.http).unwrap().call("POST", "/session.json", None, &request).unwrap();
    assert_eq!((session.status, session.json()["session"]["user_id"].as_u64()), (201, Some(id)));

    for (refused, why) in [
        (create("romeo", "wherefore-art"), "login has already been taken"),
        (create("juliet", "short"), "password is too short"),
        (server.rookery(&["user", "create", "--app", "99", "--login", "x", "--password", "long-enough"]), "not found"),
    ] {
        assert!(!refused.status.success() && refused.err.contains(why), "{why}: {refused:?}");
        assert!(refused.out.is_empty(), "{refused:?}");
    }
    let told = server.rookery(&["user", "create", "--app", &app, "--login", "nurse", "--password", "long-enough"]);
    assert!(told.out.contains(&format!("-{app}@{DOMAIN}")), "whom to chat with: {told:?}");
}

#[test]
fn without_a_running_server_commands_say_how_to_start_one() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("rookery.toml"), "data_dir = \"nothing-here\"\n").unwrap();
    for arguments in [&["demo"][..], &["app", "list"], &["app", "create", "x"]] {
        let said = rookery(home.path(), arguments);
        assert!(!said.status.success() && said.err.contains("start one with `rookery`"), "{arguments:?}: {said:?}");
    }
    assert!(!home.path().join("nothing-here").exists(), "asking makes no data directory");
}

#[test]
fn mistakes_in_the_configuration_are_named_with_their_line() {
    let home = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        fs::write(home.path().join("rookery.toml"), text).unwrap();
        rookery(home.path(), &["check-config"])
    };
    let fine = check("domain = \"chat.example.com\"\n");
    assert!(fine.status.success() && fine.out.contains("fine"), "{fine:?}");
    for (text, said) in [
        ("domain = \"x\"\n\n[limits]\nstanza_byte_max = 5\n", ["rookery.toml:4", "`stanza_bytes_max`"]),
        ("[limits]\nstanza_bytes_max = \"many\"\n", ["rookery.toml:2", "\"many\""]),
        ("[listen\n", ["rookery.toml:1", ""]),
        ("\n[listen]\nxmpp = [\"localhost\"]\n", ["rookery.toml:3", ""]),
    ] {
        let found = check(text);
        assert!(!found.status.success(), "{text}: {found:?}");
        assert!(said.iter().all(|part| found.err.contains(part)), "{text}: {said:?} in {found:?}");
        // A server does not start with it either.
        let started = rookery(home.path(), &[]);
        assert!(!started.status.success() && started.err.contains(said[0]), "{started:?}");
    }
    let all = {
        check("domain = \"chat.example.com\"\n");
        rookery(home.path(), &["check-config", "--print"])
    };
    assert!(all.status.success() && all.out.contains("chat.example.com") && all.out.contains("stanza_bytes_max"));
    // What it prints is a configuration.
    let again = check(&all.out);
    assert!(again.status.success(), "{again:?}");
}

#[test]
fn only_the_operator_may_administrate() {
    let server = Server::start();
    for path in ["/admin/apps", "/admin/apps/1/users"] {
        let answer = Connection::open(server.ports.http).unwrap().call("POST", path, None, &Value::Null).unwrap();
        assert_eq!(answer.status, 401, "{path}");
    }
}
