//! A server in this process: what a listener does before the protocol begins.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rookery::listen::Kind;
use rookery::{Config, Server};

fn config(directory: &Path, settings: &str) -> Config {
    let text = format!(
        "data_dir = \"{}\"\n[listen]\nxmpp = [\"127.0.0.1:0\"]\nxmpps = [\"127.0.0.1:0\"]\nwebsocket = []\nbosh = []\n\
         https = []\nhttp = [\"127.0.0.1:0\"]\n{settings}",
        directory.join("data").display()
    );
    Config::parse(&text, Path::new("test.toml")).expect("a sound configuration")
}

fn start(directory: &Path, settings: &str) -> Server {
    Server::start(config(directory, settings)).expect("a server")
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    socket
}

/// Reads until the server closes.
fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ended = socket.read_to_end(&mut bytes);
    bytes
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = connect(address);
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
    String::from_utf8_lossy(&rest(&mut socket)).into_owned()
}

#[test]
fn starts_stops_and_is_the_same_afterwards() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), "");
    assert!(server.is_new());
    let app = server.app().clone();
    let http = server.addresses().of(Kind::Http).expect("it was asked for");
    assert!(get(http, "/readyz").starts_with("HTTP/1.1 200"));
    server.stop().expect("a clean end");
    assert!(TcpStream::connect(http).is_err(), "nobody listens any more");

    let server = start(home.path(), "");
    assert!(!server.is_new());
    assert_eq!(server.app(), &app);
    let second = Config { data_dir: home.path().join("data"), ..Config::default() };
    let said = Server::start(second).expect_err("the directory is in use").to_string();
    assert!(said.contains("in use by another server"), "{said}");
}

#[test]
fn turns_away_who_comes_too_often() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), "[limits]\nconnections_per_address_max = 2");
    let xmpp = server.addresses().of(Kind::Xmpp).expect("it was asked for");
    let header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
    let mut guests: Vec<TcpStream> = (0..2).map(|_| connect(xmpp)).collect();
    for guest in &mut guests {
        guest.write_all(header).expect("room in the socket");
        let mut answer = [0; 100];
        assert!(guest.read(&mut answer).expect("an answer") > 0);
    }
    assert!(rest(&mut connect(xmpp)).is_empty(), "the third is closed without a word");
    drop(guests);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut again = connect(xmpp);
        again.write_all(header).expect("room in the socket");
        let mut answer = [0; 100];
        if again.read(&mut answer).is_ok_and(|read| read > 0) {
            break;
        }
        assert!(Instant::now() < deadline, "who has left is forgotten");
    }
}

// hostile-inputs H01, H02
#[test]
fn a_handshake_that_is_never_finished_ends_in_time_and_disturbs_nobody() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), "[limits]\nlogin_secs_max = 1");
    let xmpps = server.addresses().of(Kind::Xmpps).expect("it was asked for");
    let http = server.addresses().of(Kind::Http).expect("it was asked for");
    let mut silent: Vec<TcpStream> = (0..200).map(|_| connect(xmpps)).collect();
    for (number, socket) in silent.iter_mut().enumerate() {
        // The beginning of a hello, cut anywhere.
        socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252][..number % 10]).expect("room in the socket");
    }
    let begun = Instant::now();
    assert!(get(http, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < Duration::from_secs(1));
    for socket in &mut silent {
        assert!(rest(socket).is_empty());
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn new_settings_are_taken_while_it_runs() {
    let home = tempfile::tempdir().unwrap();
    let server = start(home.path(), "");
    let reload = |settings: &str| server.reload(config(home.path(), settings));
    reload("[limits]\nconnections_per_address_max = 1").expect("limits can change");
    let said = reload("[shards]\ncount = 7").expect_err("shards cannot").to_string();
    assert!(said.contains("`shards` can only be changed by a restart"), "{said}");
    let broken = home.path().join("broken.pem");
    std::fs::write(&broken, "nothing").unwrap();
    let tls = format!("[tls]\ncert = \"{0}\"\nkey = \"{0}\"", broken.display());
    reload(&tls).expect_err("a broken certificate is refused, and the old one stays");
}
