//! Ways of logging in that no client library of the other suites has: channel binding by `tls-exporter` above all.

use std::io;

use rookery_tests::client::{Client, Mechanism};
use rookery_tests::http::{self, Connection};
use rookery_tests::server::Server;

const MECHANISMS: [Mechanism; 3] = [Mechanism::Plain, Mechanism::Scram, Mechanism::ScramPlus];

#[test]
fn every_mechanism_takes_the_password_and_a_session_token_over_both_kinds_of_tls() {
    let server = Server::start();
    let account = http::new_account(server.ports.http, &server.app, "mechanisms");
    let mut rest = Connection::open(server.ports.http).expect("the server listens");
    let request = http::session_request(&server.app, Some((&account.login, &account.password)));
    let session = rest.call("POST", "/session.json", None, &request).expect("the server answers");
    assert_eq!(session.status, 201, "{}", String::from_utf8_lossy(&session.body));
    let token = session.json()["session"]["token"].as_str().expect("a session has a token").to_owned();

    for connect in [Client::connect, Client::connect_starttls] {
        for mechanism in MECHANISMS {
            for secret in [&account.password, &token] {
                let mut client = connect(server.ports).expect("the server listens");
                client
                    .authenticate(&account, secret, mechanism)
                    .unwrap_or_else(|error| panic!("{mechanism:?}: {error}"));
                client.bind().expect("a fresh session can bind");
                assert!(client.jid.starts_with(&format!("{}@", account.node)), "{}", client.jid);
                client.close().expect("the stream ends in order");
            }
            let mut client = connect(server.ports).expect("the server listens");
            let refused = client.authenticate(&account, "not-the-password", mechanism).expect_err("a wrong password");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{mechanism:?}: {refused}");
            assert!(refused.to_string().contains("<not-authorized"), "{mechanism:?}: {refused}");
        }
    }
}
