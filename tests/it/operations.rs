//! What those who run the server rely on: health, numbers, SIGHUP, and logs that may be shown around.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rookery_tests::client::{Client, Mechanism};
use rookery_tests::http::{self, Connection};
use rookery_tests::server::{DOMAIN, Server};
use serde_json::json;

const RELOAD_SECS_MAX: u64 = 10;
/// The numbers are renewed every second.
const RENEWED: Duration = Duration::from_millis(1500);

#[test]
fn health_and_readiness_are_told_on_the_api_listener() {
    let server = Server::start();
    for (path, said) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = http::get(server.ports.http, path).expect("the server answers");
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).trim()), (200, said), "{path}");
    }
}

#[test]
fn the_metrics_count_what_happened() {
    let server = Server::start();
    let account = http::new_account(server.ports.http, &server.app, "counted");
    let mut wrong = Client::connect(server.ports).expect("the server listens");
    wrong.authenticate(&account, "not-the-password", Mechanism::Plain).expect_err("a wrong password");
    let mut client = Client::login(server.ports, &account).expect("the account exists");
    client.come_online().expect("presence is echoed");
    for n in 0..10 {
        client.send(&format!("<message to='{}' type='chat' id='{n}'><body>{n}</body></message>", client.jid)).unwrap();
    }
    client.iq("get", DOMAIN, "<ping xmlns='urn:xmpp:ping'/>").expect("the server answers");
    let mut garbage = TcpStream::connect((Ipv4Addr::LOCALHOST, server.ports.xmpps)).unwrap();
    garbage.write_all(b"this is no TLS handshake at all").unwrap();
    let _closed = garbage.read(&mut [0; 64]);
    std::thread::sleep(RENEWED);

    let metrics = server.metrics();
    for (name, at_least) in [
        ("rookery_connections", 1.0),
        ("rookery_sessions", 1.0),
        ("rookery_stanzas_in_total", 12.0),
        ("rookery_stanzas_out_total", 12.0),
        ("rookery_logins_total", 1.0),
        ("rookery_login_failures_total", 1.0),
        ("rookery_api_calls_total", 2.0),
        ("rookery_tls_handshake_failures_total", 1.0),
        ("rookery_store_commits_total", 1.0),
        ("rookery_resident_bytes", 1e6),
    ] {
        assert!(metrics.sum(name) >= at_least, "{name} is {}\n{}", metrics.sum(name), metrics.text);
    }
    for name in ["rookery_panics_total", "rookery_unreadable_rows_total", "rookery_store_refused_total"] {
        assert_eq!(metrics.sum(name), 0.0, "{name}");
    }
    assert!(metrics.text.trim_end().ends_with("# EOF"), "whole, as OpenMetrics has it");

    client.close().expect("the stream ends in order");
    drop(wrong);
    std::thread::sleep(RENEWED);
    assert_eq!(server.metrics().sum("rookery_sessions"), 0.0, "who has left is not counted");
}

/// Sends SIGHUP and waits until the log has said so.
fn reload(server: &Server, said: &str) {
    let count = || server.whole_log().matches(said).count();
    let before = count();
    server.signal(libc::SIGHUP);
    let deadline = Instant::now() + Duration::from_secs(RELOAD_SECS_MAX);
    while count() == before {
        assert!(Instant::now() < deadline, "{said:?} never came\n{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

const RELOADED: &str = "the configuration was reloaded";

#[test]
fn sighup_reloads_limits_log_level_and_certificates() {
    let server = Server::start();
    let account = http::new_account(server.ports.http, &server.app, "reload");
    let ping = |bytes: usize| format!("<ping xmlns='urn:xmpp:ping'>{}</ping>", " ".repeat(bytes));
    let certificate = || {
        let mut client = Client::connect(server.ports).expect("the server listens");
        client.open().expect("the stream opens");
        client.certificate()
    };
    let garbage = || {
        let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, server.ports.xmpps)).unwrap();
        tcp.write_all(b"this is no TLS handshake at all").unwrap();
        let _closed = tcp.read(&mut [0; 64]);
    };
    let mut old = Client::login(server.ports, &account).expect("the account exists");
    assert!(old.iq("get", DOMAIN, &ping(20_000)).expect("within the limits").contains("result"));
    let first = certificate();
    garbage();

    let other = Server::start();
    for name in ["cert.pem", "key.pem"] {
        fs::copy(other.directory().join("data/tls").join(name), server.directory().join(name)).unwrap();
    }
    let command =
        "<command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#add-user'/>";
    assert!(old.iq("set", DOMAIN, command).expect("nobody administers the app").contains("forbidden"));
    let admins = format!("admins = [\"{}@{DOMAIN}\"]\n", account.node);
    server.configure(&(admins + "[limits]\nstanza_bytes_max = 10000\n[log]\nlevel = \"debug\"\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\""));
    assert!(!server.whole_log().contains("DEBUG"));
    reload(&server, RELOADED);

    let mut new = Client::login(server.ports, &account).expect("new connections work");
    let error = new.iq("get", DOMAIN, &ping(20_000)).expect_err("beyond the new limit");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "the stream ends: {error}");
    assert!(new.element().is_ok_and(|error| error.contains("policy-violation")), "and says why");
    assert_ne!(certificate(), first, "the new certificate is shown");
    assert!(old.iq("get", DOMAIN, &ping(10)).expect("old connections live on").contains("result"));
    assert!(old.iq("set", DOMAIN, command).expect("the user administers the app").contains("executing"));
    garbage();
    std::thread::sleep(Duration::from_millis(200));
    assert!(server.whole_log().contains("DEBUG"), "the log tells more now\n{}", server.log());

    server.configure("[limits]\nstanza_bytes_mux = 10000");
    reload(&server, "the configuration was not reloaded");
    assert!(server.log().contains("`stanza_bytes_max`"), "what is wrong\n{}", server.log());
    assert!(old.iq("get", DOMAIN, &ping(10)).expect("and goes on as it was").contains("result"));

    server.configure("");
    reload(&server, RELOADED);
    assert!(old.iq("get", DOMAIN, &ping(20_000)).expect("the limits of before").contains("result"));
    assert!(old.iq("set", DOMAIN, command).expect("nobody administers the app any more").contains("forbidden"));
}

/// At the most talkative level, with everything that is private going wrong in every place where it could be shown.
#[test]
fn the_log_never_shows_passwords_tokens_or_bodies() {
    let mut server = Server::start_with("[log]\nlevel = \"trace\"");
    let account = http::new_account(server.ports.http, &server.app, "discreet");
    let mut rest = Connection::open(server.ports.http).expect("the server listens");
    let request = http::session_request(&server.app, Some((&account.login, &account.password)));
    let answer = rest.call("POST", "/session.json", None, &request).unwrap();
    let token = answer.json()["session"]["token"].as_str().expect("a session has a token").to_owned();
    let app_token = http::app_session(&mut rest, &server.app).unwrap();

    const BODY: &str = "Heimlichkeit-47";
    const GUESS: &str = "guessed-password-11";
    const REPLACED: &str = "replaced-password-12";
    for mechanism in [Mechanism::Plain, Mechanism::Scram, Mechanism::ScramPlus] {
        for secret in [GUESS, &account.password, &token] {
            let mut client = Client::connect(server.ports).expect("the server listens");
            let _refused = client.authenticate(&account, secret, mechanism);
        }
    }
    // Said properly, to somebody absent, to nobody, too long, and in XML that breaks off.
    let absent = http::new_account(server.ports.http, &server.app, "absent");
    for stanza in [
        format!("<message to='{}@{DOMAIN}' type='chat'><body>{BODY}</body></message>", account.node),
        format!("<message to='{}@{DOMAIN}' type='chat'><body>{BODY}</body></message>", absent.node),
        format!("<message to='999999-1@{DOMAIN}' type='chat'><body>{BODY}</body></message>"),
        format!("<message to='{BODY}@@'><body>{BODY}</body></message>"),
        format!("<iq type='set' id='{BODY}'><query xmlns='jabber:iq:private'><a xmlns='u'>{BODY}</a></query></iq>"),
        format!("<message><body>{}</body></message>", BODY.repeat(30_000)),
        format!("<message><body>{BODY}</message>"),
        format!("<{BODY}>{BODY}&{BODY};"),
    ] {
        let mut client = Client::login(server.ports, &account).expect("the account exists");
        client.come_online().expect("presence is echoed");
        // Too much may be refused before it is all sent.
        let _sent = client.send(&stanza);
        let _answered = client.iq("get", DOMAIN, "<ping xmlns='urn:xmpp:ping'/>");
    }
    let change = json!({"user": {"password": REPLACED, "old_password": GUESS}});
    for (method, path, token, body) in [
        ("PUT", format!("/users/{}.json", account.id), &token, &change),
        ("POST", "/login.json".to_owned(), &app_token, &json!({"login": account.login, "password": GUESS})),
        ("POST", "/login.json".to_owned(), &app_token, &json!([GUESS, {"password": GUESS}])),
        (
            "POST",
            "/users.json".to_owned(),
            &app_token,
            &json!({"user": {"login": "x", "password": GUESS, "email": GUESS}}),
        ),
        ("GET", format!("/users.json?token={app_token}&filter[]={GUESS}"), &app_token, &json!(null)),
        ("GET", format!("/{BODY}?password={GUESS}"), &token, &json!({"password": GUESS})),
    ] {
        rest.call(method, &path, Some(token), body).expect("the server answers");
    }
    let mut raw = TcpStream::connect((Ipv4Addr::LOCALHOST, server.ports.http)).unwrap();
    write!(raw, "POST /session.json HTTP/1.1\r\nHost: x\r\n{BODY} : {GUESS}\r\nQB-Token: {token}\r\n\r\n").unwrap();
    let _answered = raw.read(&mut [0; 1024]);
    let mut first_app = server.app.clone();
    first_app.auth_secret = server.create_app("second").auth_secret;
    let forged = http::session_request(&first_app, Some((&account.login, &account.password)));
    assert_eq!(rest.call("POST", "/session.json", None, &forged).unwrap().status, 422);
    assert!(server.rookery(&["demo"]).status.success());
    assert!(server.stop().success());

    let log = server.whole_log();
    // The box of the first start is for the operator's eyes, and is no log.
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert!(
        lines.iter().any(|line| line.contains("TRACE") || line.contains("DEBUG")),
        "the log was as talkative as asked"
    );
    let operator = fs::read_to_string(server.directory().join("data/admin.token")).expect("the server made one");
    for secret in [
        BODY,
        GUESS,
        REPLACED,
        &account.password,
        &absent.password,
        &token,
        &app_token,
        &server.app.auth_secret,
        &first_app.auth_secret,
        operator.trim(),
        "But, soft!",
        "-and-the-other-",
    ] {
        let shown = lines.iter().find(|line| line.contains(secret));
        assert!(shown.is_none(), "{secret:?} is in the log: {shown:?}");
    }
}
