//! What a shard does when its own code fails: one turn is lost, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proto::effect::{Random, Site};
use proto::ext::Uploads;
use proto::jid::Domain;
use proto::jid::user::{AppId, UserId};
use proto::limits::Limits;
use proto::link_local::Word;
use proto::model::directory;
use proto::model::token::Token;
use proto::model::upload::{self, FileId, Slot, SlotKey, Upload};
use proto::owner::{AccountId, Owner};
use proto::row::{Batch, Found, Reads};
use proto::sasl::{Credentials, ITERATIONS};
use proto::time::{Now, Timestamp};
use rest::flow::{Mail, Moment, Step, Work, Worked};
use rest::http::Response;
use rest::problem::Problem;
use rest::settings::Settings;
use store::{Backend, Memory, StoreError};

use crate::files::{Errand, Files};

use super::{Arrival, ConnId, Desk, Directive, Outcome, Places, Port, Shard, Task, Terms, Ticket};

/// A desk over rows in memory, whose chance can fail.
struct FragileDesk {
    rows: Memory,
    commits: Vec<Ticket>,
    tasks: Vec<(Ticket, Task)>,
    chance: FragileChance,
}

struct FragileChance {
    broken: bool,
    drawn: u8,
}

impl Random for FragileChance {
    fn fill(&mut self, bytes: &mut [u8]) {
        assert!(!self.broken, "a fault for the test");
        self.drawn = self.drawn.wrapping_add(1);
        bytes.fill(self.drawn);
    }
}

impl Desk for FragileDesk {
    fn cached(&mut self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        Some(self.rows.read(reads))
    }

    fn read(&mut self, _: Ticket, _: Reads) {
        unreachable!("everything is in memory");
    }

    fn commit(&mut self, ticket: Ticket, batch: Batch) {
        self.rows.commit(&[batch]).expect("memory takes writes");
        self.commits.push(ticket);
    }

    fn compute(&mut self, ticket: Ticket, task: Task) {
        self.tasks.push((ticket, task));
    }

    fn mail(&mut self, _: Mail) {}

    fn link(&mut self, _: Box<Word>) {}

    fn errand(&mut self, errand: Errand) {
        errand.run();
    }

    fn page(&mut self, _: &str) -> Option<Response> {
        None
    }

    fn random(&mut self) -> &mut dyn Random {
        // Handlers draw from this in the middle of their turn.
        &mut self.chance
    }

    fn is_congested(&self) -> bool {
        false
    }
}

fn shard() -> Shard<FragileDesk> {
    shard_with(None, Limits::default())
}

fn shard_with(files: Option<Files>, limits: Limits) -> Shard<FragileDesk> {
    let uploads = Uploads {
        domain: "upload.localhost".into(),
        base: "https://localhost/upload/".into(),
        file_bytes_max: 1_000_000,
        user_bytes_max: 1_000_000,
        day_bytes_max: 1_000_000,
        kept_for: None,
    };
    let site = Site { uploads: Some(Arc::new(uploads)), limits, ..Site::of("localhost") };
    let terms = Terms {
        features: proto::ext::stream_features(&site),
        site,
        settings: Settings {
            api_endpoint: "https://localhost".to_owned(),
            chat_endpoint: "localhost".to_owned(),
            turnserver_endpoint: "localhost".to_owned(),
            s3_bucket_name: "rookery".to_owned(),
            admin_token: None,
        },
        domain: Domain::parse("localhost").expect("a domain"),
        tls_required: true,
        files,
        decoy_secret: [7; 32],
    };
    let tables: Vec<_> = proto::model::TABLES.iter().copied().chain(proto::ext::tables()).collect();
    let chance = FragileChance { broken: false, drawn: 0 };
    let desk = FragileDesk { rows: Memory::new(&tables), commits: Vec::new(), tasks: Vec::new(), chance };
    Shard::new(0, Places::new(1), Arc::new(terms), desk)
}

#[test]
fn an_owner_whose_turn_panics_begins_again_from_its_rows() {
    let mut shard = shard();
    let now = Now { stamp: Timestamp::from_secs(1_700_000_000), ..Now::default() };
    let server = Owner::App(directory::SERVER);
    let create = |name: &str, number: u8| {
        let mut chance = FragileChance { broken: false, drawn: number };
        let keys = directory::AppKeys::draw(&mut chance);
        directory::Command::CreateApp { name: name.to_owned(), keys }.into()
    };
    shard.command(now, server, create("first", 10));
    assert_eq!(shard.desk().commits.len(), 1);

    // The state is out and effects are half made when the fault comes.
    let lost = catch_unwind(AssertUnwindSafe(|| {
        let slot = shard.owners.get_mut(&server).expect("it is loaded");
        slot.state = None;
        slot.held.clear();
        let mut stray = Batch::default();
        stray.delete(&proto::model::jobs::JOBS, proto::row::Key::of(&Owner::App(AppId(9))));
        shard.effects.write(stray);
        panic!("a fault for the test");
    }));
    assert!(lost.is_err());

    shard.command(now, server, create("second", 20));
    let commits = shard.desk().commits.len();
    assert_eq!(commits, 2, "the second app is written, and what the broken turn had asked for is not");
    let found = shard.desk().rows.read(&directory::apps::read_all()).expect("rows");
    let mut rows = proto::row::Rows::new(found);
    assert_eq!(rows.page().len(), 2);
}

/// A shard that takes files, and a slot for one of this size.
struct Shelf {
    shard: Shard<FragileDesk>,
    home: tempfile::TempDir,
    file: FileId,
    path: String,
    bytes: usize,
}

const NOW: u64 = 1_700_000_000;

impl Shelf {
    fn new(bytes: usize) -> Shelf {
        let home = tempfile::tempdir().expect("a directory");
        let mut shard = shard_with(Some(Files::open(home.path().to_owned()).expect("a directory")), Limits::default());
        let now = Timestamp::from_secs(NOW);
        let mut chance = FragileChance { broken: false, drawn: 0 };
        let (file, key) = (FileId::draw(&mut chance, None), SlotKey::draw(&mut chance));
        let slot = Slot { key, begins_by: now, name: "a".to_owned(), content_type: None };
        let upload = Upload { bytes: bytes as u64, given: now, until: None, slot: Some(slot) };
        let mut batch = Batch::default();
        upload::put(AccountId { app: AppId(1), user: UserId(5) }, file, &upload, &mut batch);
        shard.desk().rows.commit(&[batch]).expect("memory takes writes");
        Shelf { shard, home, file, path: format!("/upload/{file}/a?5-1-{key}"), bytes }
    }

    fn now() -> Now {
        Now { stamp: Timestamp::from_secs(NOW), ..Now::default() }
    }

    fn comes(&mut self) -> ConnId {
        let arrival = Arrival { port: Port::Http, peer: [127, 0, 0, 1].into(), secured: None };
        self.shard.open(Shelf::now(), arrival)
    }

    /// A connection that has sent this much of the file.
    fn sends(&mut self, body: &[u8]) -> ConnId {
        let conn = self.comes();
        let head = format!("PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", self.path, self.bytes);
        self.shard.received(Shelf::now(), conn, head.as_bytes());
        for piece in body.chunks(8 * 1024) {
            self.settle();
            self.shard.received(Shelf::now(), conn, piece);
        }
        conn
    }

    /// Commits and the disk are done with what they have.
    fn settle(&mut self) {
        while let Some((ticket, task)) = self.next_task() {
            self.shard.worked(Shelf::now(), ticket, task.run());
        }
    }

    fn next_task(&mut self) -> Option<(Ticket, Task)> {
        for ticket in std::mem::take(&mut self.shard.desk().commits) {
            self.shard.committed(Shelf::now(), ticket, Ok(()));
        }
        self.shard.desk().tasks.pop()
    }

    fn answer(&mut self, conn: ConnId) -> String {
        let mut out = Vec::new();
        self.shard.output(Shelf::now(), conn, &mut out, usize::MAX);
        String::from_utf8(out).expect("text")
    }

    /// What lies about, but for the directories.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let directories = std::fs::read_dir(self.home.path()).expect("a directory");
        let inside = directories.flat_map(|entry| std::fs::read_dir(entry.expect("an entry").path()).expect("one"));
        inside.map(|entry| entry.expect("an entry").path()).collect()
    }
}

#[test]
fn a_client_that_hangs_up_while_the_disk_is_at_work_leaves_nothing() {
    let mut shelf = Shelf::new(5);
    // With a part of the file, and with all of it.
    for body in [&b"hel"[..], b"hello"] {
        let conn = shelf.sends(body);
        let (ticket, task) = shelf.next_task().expect("a piece is written");
        shelf.shard.closed(Shelf::now(), conn);
        shelf.shard.worked(Shelf::now(), ticket, task.run());
        shelf.settle();
        assert_eq!(shelf.files(), Vec::<std::path::PathBuf>::new(), "{body:?}");
    }
    // Between two pieces.
    let conn = shelf.sends(b"hel");
    shelf.settle();
    assert_eq!(shelf.files().len(), 1);
    shelf.shard.closed(Shelf::now(), conn);
    assert_eq!(shelf.files(), Vec::<std::path::PathBuf>::new());
    // Nobody was told anything, so it can come again.
    let conn = shelf.sends(b"hello");
    shelf.settle();
    assert!(shelf.answer(conn).starts_with("HTTP/1.1 201 "));
    assert!(shelf.files()[0].ends_with(shelf.file.to_string()));
}

#[test]
fn of_two_at_once_one_brings_the_file() {
    let mut shelf = Shelf::new(5);
    let (first, second) = (shelf.sends(b"hel"), shelf.sends(b"hello"));
    shelf.settle();
    assert!(shelf.answer(second).starts_with("HTTP/1.1 409 "));
    assert_eq!(shelf.shard.directive(second), Some(Directive::Close), "its body must not look like a request");
    shelf.shard.received(Shelf::now(), first, b"lo");
    shelf.settle();
    assert!(shelf.answer(first).starts_with("HTTP/1.1 201 "));
}

#[test]
fn a_client_that_does_not_take_its_file_is_hung_up_on() {
    let mut shelf = Shelf::new(500_000);
    let conn = shelf.sends(&vec![b'x'; 500_000]);
    shelf.settle();
    assert!(shelf.answer(conn).starts_with("HTTP/1.1 201 "));
    let get = format!("GET /upload/{}/a HTTP/1.1\r\nHost: x\r\n\r\n", shelf.file);
    shelf.shard.received(Shelf::now(), conn, get.as_bytes());
    shelf.settle();
    // One piece is ready, and while nobody takes it no other is read.
    assert!(shelf.shard.has_output(conn) && shelf.shard.desk().tasks.is_empty());
    let at = |secs| Now { instant: Shelf::now().instant + std::time::Duration::from_secs(secs), ..Shelf::now() };
    shelf.shard.tick(at(30));
    assert_eq!(shelf.shard.directive(conn), None);
    shelf.shard.tick(at(100));
    assert_eq!(shelf.shard.directive(conn), Some(Directive::Close));
    // One who takes it gets all of it.
    let conn = shelf.comes();
    shelf.shard.received(Shelf::now(), conn, get.as_bytes());
    let mut got = 0;
    loop {
        shelf.settle();
        match shelf.answer(conn).bytes().filter(|&byte| byte == b'x').count() {
            0 => break,
            some => got += some,
        }
    }
    // One is in the value of a header.
    assert!((500_000..500_020).contains(&got), "{got}");
    assert_eq!(shelf.shard.directive(conn), None, "the connection goes on");
}

/// Thousands fit into one read. Each is taken up when the answer to the one before is gone: nothing grows with their number, and the
/// shard has time for others in between.
#[test]
fn requests_that_were_sent_ahead_wait_for_their_turn() {
    const REQUESTS: usize = 5_000;
    let ahead = b"GET / HTTP/1.1\r\nHost:\r\n\r\n".repeat(REQUESTS);
    for ends in [false, true] {
        let mut shard = shard();
        let conn = shard.open(Shelf::now(), Arrival { port: Port::Http, peer: [10, 0, 0, 9].into(), secured: None });
        for piece in ahead.chunks(64 * 1024) {
            shard.received(Shelf::now(), conn, piece);
        }
        if ends {
            shard.ended(Shelf::now(), conn);
        }
        assert_eq!(shard.counts().calls, 1, "nobody has taken an answer yet");
        let mut answers = 0;
        while shard.has_output(conn) {
            assert!(!shard.is_behind(conn), "not before the answer is taken");
            let mut out = Vec::new();
            shard.output(Shelf::now(), conn, &mut out, usize::MAX);
            let now = String::from_utf8(out).expect("text").matches("HTTP/1.1 404 ").count();
            assert_eq!(now, 1);
            answers += now;
            shard.go_on(Shelf::now(), conn);
        }
        assert_eq!(answers, REQUESTS);
        assert_eq!(shard.directive(conn), ends.then_some(Directive::Close));
    }
}

/// A session costs its client one request: who never logs in may not have them without end, and keeps nobody else out.
#[test]
fn bosh_sessions_without_a_login_are_bounded() {
    let mut shard = shard_with(None, Limits { bosh_early_max: 30, ..Limits::default() });
    let begins = |shard: &mut Shard<FragileDesk>, now: Now, from: [u8; 4]| {
        let conn = shard.open(now, Arrival { port: Port::Http, peer: from.into(), secured: None });
        let body = "<body rid='1' to='localhost' hold='0' wait='0' ver='1.6' xmlns='http://jabber.org/protocol/httpbind' \
                    xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0'/>";
        let request = format!("POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        shard.received(now, conn, request.as_bytes());
        shard.take_touched(|_| ());
        let mut out = Vec::new();
        shard.output(now, conn, &mut out, usize::MAX);
        let answer = String::from_utf8(out).expect("text");
        shard.closed(now, conn);
        assert!(answer.contains(" sid=") != answer.contains("policy-violation"), "{answer}");
        answer.contains(" sid=")
    };
    let now = Shelf::now();
    let from_one = (0..10).filter(|_| begins(&mut shard, now, [10, 0, 0, 1])).count();
    assert_eq!(from_one, 3, "a tenth of all");
    let from_many = (2..40).filter(|&n| begins(&mut shard, now, [10, 0, 0, n])).count();
    assert_eq!(from_many, 27);
    assert!(!begins(&mut shard, now, [127, 0, 0, 1]));
    assert_eq!(shard.counts().bosh_turned_away, 7 + 11 + 1);
    // They are over when nobody has logged in for long enough, and there is room again.
    for secs in [40, 70, 101, 102] {
        let later = Now { instant: now.instant + std::time::Duration::from_secs(secs), ..now };
        shard.tick(later);
        shard.take_touched(|_| ());
    }
    let later = Now { instant: now.instant + std::time::Duration::from_secs(103), ..now };
    shard.tick(later);
    assert!(begins(&mut shard, later, [10, 0, 0, 1]));
}

/// A call with a wrong password, from that address.
fn signs_in(shard: &mut Shard<FragileDesk>, from: [u8; 4]) {
    let conn = shard.open(Shelf::now(), Arrival { port: Port::Http, peer: from.into(), secured: None });
    let work = Work::SignIn {
        password: proto::sasl::prepare_password("wrong").expect("a password"),
        credentials: Box::new(Credentials::without_password([0; 16], ITERATIONS)),
        token: Token::draw(AppId(1), &mut FragileChance { broken: false, drawn: 0 }),
    };
    let done = |worked, _: &mut Moment<'_>| {
        assert!(matches!(worked, Worked::SignedIn(None)));
        Step::Done(Problem::unauthorized().into_response())
    };
    shard.step(conn, Step::Compute(work, Box::new(done)));
}

#[test]
fn guesses_over_the_api_take_turns() {
    let mut shard = shard();
    let wrong = |shard: &mut Shard<FragileDesk>| {
        let (ticket, _) = shard.desk().tasks.pop().expect("a password is checked");
        shard.worked(Shelf::now(), ticket, Outcome::Api(Worked::SignedIn(None)));
    };
    let free = Limits::default().login_failures_free;
    for _ in 0..free {
        signs_in(&mut shard, [10, 0, 0, 9]);
        wrong(&mut shard);
    }
    assert_eq!(shard.counts().login_failures, u64::from(free));
    signs_in(&mut shard, [10, 0, 0, 9]);
    wrong(&mut shard);
    // From now on one a second, and some wait.
    for _ in 0..15 {
        signs_in(&mut shard, [10, 0, 0, 9]);
    }
    // This one is turned away.
    signs_in(&mut shard, [10, 0, 0, 9]);
    assert!(shard.desk().tasks.is_empty(), "nothing is checked before its turn");
    signs_in(&mut shard, [10, 0, 0, 8]);
    wrong(&mut shard);
    assert_eq!(shard.counts().logins_held, 16);
    let later = Now { instant: Shelf::now().instant + std::time::Duration::from_secs(2), ..Shelf::now() };
    shard.tick(later);
    assert_eq!(shard.desk().tasks.len(), 2);
    let much_later = Now { instant: Shelf::now().instant + std::time::Duration::from_secs(60), ..Shelf::now() };
    shard.tick(much_later);
    assert_eq!(shard.desk().tasks.len(), 15, "all but the one that was turned away");
}
