//! Disks that are full, read-only or damaged, and descriptors that have run out: the server goes on with what it can do, or says in a
//! sentence what to do, and everything that was acknowledged is there afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rookery_tests::client::{Client, attribute};
use rookery_tests::http::{self, Account, Answer, Connection};
use rookery_tests::server::{DOMAIN, Server, new_directory, rookery_after};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// A small disk of its own, in memory. Only root may have one.
struct Disk(PathBuf);

impl Disk {
    /// Under the data directory of a server that is to be; `None` where nothing may be mounted.
    fn mount(directory: &Path, mib: usize) -> Option<Disk> {
        let data = directory.join("data");
        fs::create_dir(&data).expect("the directory is new");
        let options = format!("size={mib}m,mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "rookery-test"]).arg(&data).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Disk(data));
        }
        eprintln!("not tested: a disk of its own cannot be mounted here (is this root?)");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(done.expect("mount can be run").success());
    }

    /// Leaves so many bytes.
    fn fill_up(&self, left: usize) {
        let mut file = File::create(self.0.join("filling")).expect("there is room for a file");
        while file.write_all(&[b'x'; 64 * 1024]).is_ok() {}
        let bytes = file.stream_position().expect("a file has a position") as usize;
        file.set_len(bytes.saturating_sub(left) as u64).expect("a file can be cut");
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filling")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(
            gone.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "{} stays mounted",
            self.0.display()
        );
        // The server's directory could not be removed around it.
        let _gone = self.0.parent().map(fs::remove_dir_all);
    }
}

fn session(server: &Server, account: &Account) -> String {
    let request = http::session_request(&server.app, Some((&account.login, &account.password)));
    let answer = call(server, "POST", "/session.json", None, &request);
    answer.json()["session"]["token"].as_str().unwrap_or_else(|| panic!("no session: {answer:?}")).to_owned()
}

fn call(server: &Server, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let mut connection = Connection::open(server.ports.http).expect("the server listens");
    connection.call(method, path, token, body).expect("the server answers")
}

/// Writes message after message until one is refused, and gives the ids of those that were taken.
fn write_until_refused(server: &Server, token: &str, to: &Account) -> (Vec<String>, Answer) {
    let mut connection = Connection::open(server.ports.http).expect("the server listens");
    let mut taken = Vec::new();
    loop {
        let body = json!({"recipient_id": to.id, "message": "m".repeat(20_000)});
        let answer = connection.call("POST", "/chat/Message.json", Some(token), &body).expect("the server answers");
        if answer.status != 201 {
            return (taken, answer);
        }
        taken.push(answer.json()["_id"].as_str().expect("an id").to_owned());
        assert!(taken.len() < 20_000, "the disk never fills up");
    }
}

fn is_there(server: &Server, token: &str, message: &str) -> bool {
    call(server, "GET", &format!("/chat/Message/{message}.json?mark_as_read=0"), Some(token), &Value::Null).status
        == 200
}

/// Sends one message to somebody who is away, and says whether it was counted as taken care of.
fn is_acknowledged(client: &mut Client, to: &Account) -> bool {
    let body = "<body>is this kept?</body>";
    let sent = client
        .send(&format!("<message to='{}@{DOMAIN}' type='chat'>{body}</message><r xmlns='urn:xmpp:sm:3'/>", to.node));
    let deadline = Instant::now() + Duration::from_secs(5);
    while sent.is_ok() && Instant::now() < deadline {
        match client.element_within(Duration::from_secs(1)) {
            Ok(answer) if answer.starts_with("<a ") => return attribute(&answer, "h") != Some("0"),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(_) => return false,
        }
    }
    false
}

#[test]
fn a_full_disk_ends_writing_with_advice_and_loses_nothing() {
    let directory = new_directory();
    let Some(disk) = Disk::mount(directory.path(), 96) else { return };
    let mut server = Server::start_in(directory, "", "");
    let [writer, reader] = ["writer", "reader"].map(|name| http::new_account(server.ports.http, &server.app, name));
    let token = session(&server, &writer);
    let mut client = Client::login(server.ports, &writer).expect("the account exists");
    client.send("<enable xmlns='urn:xmpp:sm:3'/>").expect("the connection is open");
    disk.fill_up(6 * MIB);
    let (taken, refused) = write_until_refused(&server, &token, &reader);
    assert!(!taken.is_empty() && refused.status == 503, "{} taken, then {refused:?}", taken.len());

    // It is there for reading, says what to do, and acknowledges nothing that it cannot keep.
    assert_eq!(http::get(server.ports.http, "/healthz").expect("the server answers").status, 200);
    let ready = http::get(server.ports.http, "/readyz").expect("the server answers");
    let said = String::from_utf8_lossy(&ready.body).into_owned();
    assert_eq!(ready.status, 503);
    assert!(said.contains("is full") && said.contains("free some space, then restart the server"), "{said}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.log().contains("free some space, then restart the server") {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(taken.iter().rev().take(20).all(|id| is_there(&server, &token, id)), "what was taken can be read");
    assert!(!is_acknowledged(&mut client, &reader), "acknowledged and not kept");
    let body = json!({"recipient_id": reader.id, "message": "more"});
    assert_eq!(call(&server, "POST", "/chat/Message.json", Some(&token), &body).status, 503);
    assert!(server.is_running());

    disk.make_room();
    server.kill();
    server.restart();
    let token = session(&server, &writer);
    let lost: Vec<&String> = taken.iter().filter(|id| !is_there(&server, &token, id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged messages are lost", lost.len(), taken.len());
    assert_eq!(call(&server, "POST", "/chat/Message.json", Some(&token), &body).status, 201);
    let mut client = Client::login(server.ports, &reader).expect("the account exists");
    client.come_online().expect("presence is echoed");
    drop(server);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_with_advice() {
    let directory = new_directory();
    let Some(disk) = Disk::mount(directory.path(), 96) else { return };
    let mut server = Server::start_in(directory, "", "");
    let account = http::new_account(server.ports.http, &server.app, "kept");
    assert!(server.stop().success());
    disk.remount("ro");
    let refused = server.rookery(&[]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.err.contains("Read-only file system") && refused.err.contains("write access to it"), "{refused:?}");
    assert_eq!(refused.err.trim().lines().count(), 1, "one sentence: {refused:?}");
    disk.remount("rw");
    server.restart();
    Client::login(server.ports, &account).expect("everything is as it was");
    drop(server);
}

/// The newest log of the store.
fn newest_log(server: &Server) -> PathBuf {
    let entries = fs::read_dir(server.directory().join("data/store")).expect("the store is there");
    let logs = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.max_by_key(|path| fs::metadata(path).and_then(|found| found.modified()).expect("a file has a time"))
        .expect("a log")
}

#[test]
fn a_log_whose_last_block_is_garbled_opens_with_all_that_was_before() {
    let mut server = Server::start();
    let account = |server: &Server, name: &str| http::new_account(server.ports.http, &server.app, name);
    let early: Vec<Account> = (0..20).map(|n| account(&server, &format!("early{n}"))).collect();
    // What comes now is in a log of its own, and in its last block.
    assert!(server.stop().success());
    server.restart();
    account(&server, "late");
    server.kill();
    let log = newest_log(&server);
    let bytes = fs::metadata(&log).expect("the log is there").len();
    let from = bytes.saturating_sub(200);
    let mut file = OpenOptions::new().write(true).open(&log).expect("the log can be opened");
    file.seek(SeekFrom::Start(from)).expect("a file can be sought in");
    file.write_all(&vec![0xa5; (bytes - from) as usize]).expect("a file can be written");
    drop(file);
    server.restart();
    for account in &early {
        Client::login(server.ports, account).expect("everything before the damage is there");
    }
    // Of what was in the block all is there or nothing.
    let mut connection = Connection::open(server.ports.http).expect("the server listens");
    let token = http::app_session(&mut connection, &server.app).expect("the server answers");
    let again = http::sign_up(&mut connection, &server.app, &token, "late").expect("the server answers");
    assert!(
        again.is_ok_and(|account| Client::login(server.ports, &account).is_ok()) || {
            let found = connection.call("GET", "/users/by_login.json?login=late", Some(&token), &Value::Null);
            found.is_ok_and(|answer| answer.status == 200)
        }
    );
    account(&server, "latest");
}

#[test]
fn too_few_descriptors_are_refused_with_advice() {
    let mut server = Server::start();
    assert!(server.stop().success());
    let refused = rookery_after("ulimit -n 64", server.directory(), &[]);
    assert!(!refused.status.success());
    assert!(
        refused.err.contains("only 64 files may be open") && refused.err.contains("LimitNOFILE=65536"),
        "{refused:?}"
    );
    server.restart();
}

/// Connections cannot take the descriptors that the store needs for its files: they are turned away before.
#[test]
fn clients_that_take_every_descriptor_leave_the_store_its_own() {
    let server = Server::start_in(new_directory(), "ulimit -n 1024", "");
    let [writer, reader] = ["writer", "reader"].map(|name| http::new_account(server.ports.http, &server.app, name));
    let token = session(&server, &writer);
    let mut kept = Connection::open(server.ports.http).expect("the server listens");
    let body = json!({"recipient_id": reader.id, "message": "m".repeat(40_000)});
    let mut write = |status: u16| {
        let answer = kept.call("POST", "/chat/Message.json", Some(&token), &body).expect("the server answers");
        assert_eq!(answer.status, status, "{answer:?}");
    };
    write(201);
    let held: Vec<TcpStream> =
        (0..1_500).filter_map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, server.ports.xmpp)).ok()).collect();
    // More than fits into memory, so that the store has to make files.
    for _ in 0..1_200 {
        write(201);
    }
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(30);
    while http::get(server.ports.http, "/readyz").map_or(true, |answer| answer.status != 200) {
        assert!(Instant::now() < deadline, "not ready: {}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(1500));
    let metrics = server.metrics();
    assert!(metrics.sum("rookery_turned_away_total") > 0.0, "they were turned away");
    assert_eq!(metrics.sum("rookery_accept_failures_total"), 0.0, "before the system had to");
    assert_eq!(metrics.sum("rookery_panics_total"), 0.0);
    let mut client = Client::login(server.ports, &reader).expect("there is room again");
    client.come_online().expect("presence is echoed");
}
