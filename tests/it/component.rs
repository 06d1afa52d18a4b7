//! External components (XEP-0114) against the real binary: slixmpp, and what a restart, a stop and strangers make of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use rookery_tests::server::{Server, app_environment};
use rookery_tests::suite;
use rookery_tests::world::client::component::handshake;

const SECRET: &str = "0c2e1d8f4a5b69788796a5b4";

/// A component for every app, and one for the second.
fn settings() -> String {
    format!(
        "[[components]]\ndomain = \"echo.localhost\"\nsecret = \"{SECRET}\"\n\n\
         [[components]]\ndomain = \"other.localhost\"\nsecret = \"{SECRET}\"\napps = [2]\n"
    )
}

/// A connection of a component, and what was read from it that nobody has looked at.
struct Component {
    socket: TcpStream,
    heard: String,
}

impl Component {
    fn open(server: &Server, domain: &str) -> Component {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, server.ports.component)).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit can be set");
        let mut component = Component { socket, heard: String::new() };
        component.say(&format!(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
        ));
        component
    }

    fn connect(server: &Server, domain: &str) -> Component {
        let mut component = Component::open(server, domain);
        let header = component.until(">", 2);
        let id = header.split_once(" id=\"").and_then(|(_, rest)| rest.split('"').next()).expect("a stream has an id");
        component.say(&format!("<handshake>{}</handshake>", handshake(id, SECRET)));
        component.until("<handshake/>", 1);
        component
    }

    fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("the server reads");
    }

    /// Reads until this has come so many times, and takes it out with all before it.
    fn until(&mut self, end: &str, times: usize) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some((at, found)) = self.heard.match_indices(end).nth(times - 1) {
                let rest = self.heard.split_off(at + found.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let read = self.socket.read(&mut buffer).expect("the server answers in time");
            assert!(read > 0, "the connection ended, and no {end} had come: {}", self.heard);
            self.heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    /// Reads to the end of the connection.
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset after the last words is an end as well.
        let _end = self.socket.read_to_end(&mut rest);
        std::mem::take(&mut self.heard) + &String::from_utf8_lossy(&rest)
    }
}

/// The metrics are a second old at most.
fn await_metric(server: &Server, name: &str, value: f64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.metrics().sum(name) != value {
        assert!(Instant::now() < deadline, "{name} is not {value}\n{}", server.metrics().text);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn slixmpp_is_a_component() {
    let server = Server::start_with(&settings());
    let mut environment = app_environment("APP2_", &server.create_app("second"));
    environment.push(("ROOKERY_COMPONENT_SECRET".to_owned(), SECRET.to_owned()));
    suite::python(&server, "slix_component", &environment, 300);
}

#[test]
fn a_component_comes_back_after_a_restart() {
    let mut server = Server::start_with(&settings());
    let ask = "<iq from='echo.localhost' to='localhost' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";
    let mut echo = Component::connect(&server, "echo.localhost");
    let mut other = Component::connect(&server, "other.localhost");
    echo.say(ask);
    assert!(echo.until("/>", 1).contains("type=\"result\""));
    // Between two components, wherever each of them lives.
    other.say("<message from='other.localhost' to='bot@echo.localhost' id='2'><body>x</body></message>");
    assert!(echo.until("</message>", 1).contains("<body>x</body>"));
    await_metric(&server, "rookery_components", 2.0);
    drop(other);
    assert!(server.stop().success());
    assert!(echo.rest().contains("<system-shutdown "), "it is told why");
    server.restart();
    let mut echo = Component::connect(&server, "echo.localhost");
    echo.say(ask);
    assert!(echo.until("/>", 1).contains("type=\"result\""));
    // Killed, there is nobody to tell it.
    server.kill();
    echo.rest();
    server.restart();
    Component::connect(&server, "echo.localhost");
    assert!(!server.whole_log().contains(SECRET), "no log shows a secret");
}

#[test]
fn strangers_on_the_port_of_components_get_nowhere() {
    let server = Server::start_with(&settings());
    let giant = "x".repeat(1 << 20);
    for (attack, condition) in [
        (format!("<handshake>{giant}</handshake>"), "policy-violation"),
        ("<a>".repeat(100_000), "policy-violation"),
        (format!("<handshake {giant}='1'/>"), "policy-violation"),
        ("<message from='echo.localhost' to='1-1@localhost'><body>x</body></message>".to_owned(), "not-authorized"),
        (format!("<handshake>{}</handshake>", handshake("", SECRET)), "not-authorized"),
        ("<!DOCTYPE a [<!ENTITY b 'b'>]>".to_owned(), "restricted-xml"),
    ] {
        let mut stranger = Component::open(&server, "echo.localhost");
        // The server may have hung up before all of it is sent.
        let _sent = stranger.socket.write_all(attack.as_bytes());
        let said = stranger.rest();
        assert!(said.is_empty() || said.contains(&format!("<{condition} ")), "{condition}: {said}");
    }
    // Clients have no business there, nor components elsewhere.
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, server.ports.component)).expect("the server listens");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit can be set");
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
    client.write_all(header.as_bytes()).expect("the server reads");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("the server says why and hangs up");
    assert!(said.contains("<invalid-namespace "), "{said}");
    let mut echo = Component::connect(&server, "echo.localhost");
    echo.say("<iq from='echo.localhost' to='localhost' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(echo.until("/>", 1).contains("type=\"result\""), "others are served as before");
    await_metric(&server, "rookery_login_failures_total", 1.0);
}
