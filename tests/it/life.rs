//! The life of a server process: first start, orderly end, the next start on the same data.

use std::time::Duration;

use rookery_tests::client::Client;
use rookery_tests::http;
use rookery_tests::server::Server;

#[test]
fn the_first_start_prints_what_an_app_needs() {
    let server = Server::start();
    let log = server.log();
    for value in [&server.app.auth_key, &server.app.auth_secret, &server.app.id.to_string()] {
        assert!(log.contains(value.as_str()), "{value} is not in what the first start printed:\n{log}");
    }
}

#[test]
fn sigterm_ends_every_stream_properly_and_the_process_with_success() {
    let mut server = Server::start();
    let account = http::new_account(server.ports.http, &server.app, "drain");
    let mut client = Client::login(server.ports, &account).expect("the account exists");
    client.come_online().expect("presence is echoed");

    let status = server.stop();
    assert!(status.success(), "{status}\n{}", server.log());

    let mut last = String::new();
    let end = loop {
        match client.element_within(Duration::from_secs(5)) {
            Ok(element) => last = element,
            Err(error) => break error,
        }
    };
    assert_eq!(end.to_string(), "</stream:stream>", "the stream was cut; the last element was {last}");
    assert!(last.contains("system-shutdown"), "the last element was {last}");
}

#[test]
fn users_sessions_rosters_and_waiting_messages_outlive_a_restart() {
    let mut server = Server::start();
    let here = http::new_account(server.ports.http, &server.app, "here");
    let absent = http::new_account(server.ports.http, &server.app, "absent");
    let absent_jid = format!("{}@{}", absent.node, rookery_tests::server::DOMAIN);
    let mut client = Client::login(server.ports, &here).expect("the account exists");
    client.come_online().expect("presence is echoed");
    client
        .send(&format!("<message to='{absent_jid}' type='chat' id='kept'><body>for later</body></message>"))
        .expect("the connection is open");
    let item = format!("<query xmlns='jabber:iq:roster'><item jid='{absent_jid}' name='Absent'/></query>");
    let answer = client.iq("set", "", &item).expect("the server answers");
    assert!(answer.contains("type='result'") || answer.contains("type=\"result\""), "{answer}");

    assert!(server.stop().success());
    server.restart();

    let mut client = Client::login(server.ports, &here).expect("the account is still there");
    let roster = client.iq("get", "", "<query xmlns='jabber:iq:roster'/>").expect("the server answers");
    assert!(roster.contains(&absent_jid) && roster.contains("Absent"), "{roster}");
    let mut client = Client::login(server.ports, &absent).expect("the account is still there");
    client.send("<presence/>").expect("the connection is open");
    let kept = client.wait_for(|element| element.starts_with("<message")).expect("the message has waited");
    assert!(kept.contains("for later") && kept.contains("urn:xmpp:delay"), "{kept}");
}

#[test]
fn a_second_server_on_the_same_data_refuses_to_start() {
    let mut server = Server::start();
    let twin = server.rookery(&[]);
    assert!(!twin.status.success(), "two servers on one data directory: {twin:?}");
    assert!(twin.err.contains("in use by another server"), "{twin:?}");
    assert!(server.is_running(), "the first server has to go on");
    http::new_account(server.ports.http, &server.app, "unimpressed");
}

#[test]
fn sighup_leaves_connections_alone() {
    let server = Server::start();
    let account = http::new_account(server.ports.http, &server.app, "reload");
    let mut client = Client::login(server.ports, &account).expect("the account exists");
    server.signal(libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    let answer =
        client.iq("get", rookery_tests::server::DOMAIN, "<ping xmlns='urn:xmpp:ping'/>").expect("still connected");
    assert!(!answer.contains("error"), "{answer}");
    Client::login(server.ports, &account).expect("new connections work");
}
