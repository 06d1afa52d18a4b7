//! Kill -9 under load: what was acknowledged is there afterwards, exactly once.
//!
//! Acknowledged is: a message to somebody offline that `<a h='…'/>` (XEP-0198) has counted, saved in the history or not, a user whose
//! sign-up was answered 201, a roster item whose iq was answered with a result, and what [`writes`] says of the rest. What was sent and
//! not acknowledged may be there or not, but never twice. ROOKERY_CRASH_ROUNDS sets how often the server is killed,
//! ROOKERY_CRASH_SEED repeats a run's moments.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rookery_tests::client::{Client, attribute};
use rookery_tests::http::{self, Account, Connection};
use rookery_tests::server::{App, DOMAIN, Ports, Server};
use serde_json::{Value, json};

mod writes;

use writes::{Pair, Written};

const ROUNDS: u64 = 5;
const SENDERS: usize = 3;
/// Messages between two requests for an acknowledgement.
const BURST: usize = 8;
/// Rounds after which others write: each kill leaves a slot for a file unused, and nobody may have too many of those.
const PAIRS_LAST: u64 = 20;
const SAVED: &str = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>";
/// Between two bursts: what a round sends stays far below what may wait for one user.
const PAUSE: Duration = Duration::from_millis(3);
/// Contacts in the roster, whose names change over and over.
const CONTACTS: u64 = 200;
const LOAD_MILLIS_MIN: u64 = 300;
const LOAD_MILLIS_MAX: u64 = 1500;

/// What one sender knows of its messages, by id in the order sent.
struct Sent {
    ids: Vec<String>,
    acknowledged: usize,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_comes_twice() {
    let rounds = setting("ROOKERY_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let seed = setting("ROOKERY_CRASH_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    println!("seed {seed}: ROOKERY_CRASH_SEED={seed} repeats the moments of the kills");
    let mut moments = Moments(seed | 1);

    let mut server = Server::start();
    let (ports, app) = (server.ports, server.app.clone());
    let account = |name: String| http::new_account(ports.http, &app, &name);
    let senders: Vec<Account> = (0..SENDERS).map(|n| account(format!("sender{n}"))).collect();
    let absent: Vec<Account> = (0..SENDERS).map(|n| account(format!("absent{n}"))).collect();
    let keeper = account("keeper".to_owned());
    // Dialogs and messages, marks, files, and talk: each has a pair of its own.
    let loads: [Load; 4] = [Pair::writes, Pair::marks, Pair::uploads, Pair::talks];
    let mut pairs: Vec<Pair> = Vec::new();
    let mut roster = Roster::default();
    let mut users = Vec::new();
    let mut seen_before = BTreeSet::new();
    let mut totals = (0, 0, 0);

    for round in 0..rounds {
        if round % PAIRS_LAST == 0 {
            let new = |n| Pair {
                ports,
                app: app.clone(),
                writer: account(format!("writer{round}x{n}")),
                reader: account(format!("reader{round}x{n}")),
            };
            pairs = (0..loads.len()).map(new).collect();
        }
        let killed = Arc::new(AtomicBool::new(false));
        let sending: Vec<_> = senders
            .iter()
            .cloned()
            .zip(&absent)
            .enumerate()
            .map(|(n, (sender, recipient))| {
                let to = jid(recipient);
                let name = format!("r{round}s{n}");
                worker(
                    &killed,
                    move |sent| send_messages(ports, &sender, &to, &name, sent),
                    Sent { ids: Vec::new(), acknowledged: 0 },
                )
            })
            .collect();
        let keeping = {
            let keeper = keeper.clone();
            worker(&killed, move |roster| change_roster(ports, &keeper, round, roster), std::mem::take(&mut roster))
        };
        let signing_up = {
            let app = app.clone();
            worker(&killed, move |made| sign_users_up(ports, &app, round, made), Vec::new())
        };

        let writing: Vec<_> = pairs
            .iter()
            .cloned()
            .zip(loads)
            .map(|(pair, load)| worker(&killed, move |written| load(&pair, round, written), Written::default()))
            .collect();

        thread::sleep(Duration::from_millis(moments.next()));
        killed.store(true, Ordering::SeqCst);
        server.kill();
        let sent: Vec<Sent> = sending.into_iter().map(join).collect();
        roster = join(keeping);
        let made = join(signing_up);
        let written: Vec<Written> = writing.into_iter().map(join).collect();
        assert!(!made.is_empty(), "round {round}: no user was acknowledged before the kill, the load was none");
        server.restart();

        for (n, (sent, recipient)) in sent.iter().zip(&absent).enumerate() {
            let got = collect(ports, recipient);
            let what = format!("round {round}, sender {n}, seed {seed}");
            check_messages(sent, &got, &seen_before, &what);
            check_history(ports, &app, (&senders[n], recipient), sent, &what);
            seen_before.extend(got);
            totals.0 += sent.acknowledged;
            totals.1 += sent.ids.len();
        }
        for (pair, written) in pairs.iter().zip(&written) {
            totals.2 += pair.check(&format!("round {round}, seed {seed}"), written);
        }
        check_roster(ports, &keeper, &mut roster, round);
        check_users(ports, &app, &made, round);
        users.extend(made);
    }
    check_users(ports, &app, &users, rounds);
    println!(
        "{rounds} kills: {} of {} messages acknowledged, {} other writes, {} users, {} roster items",
        totals.0,
        totals.1,
        totals.2,
        users.len(),
        roster.names.len()
    );
    assert!(totals.0 > 0, "no message was ever acknowledged: the test showed nothing");
}

type Load = fn(&Pair, u64, &mut Written) -> io::Result<()>;

/// Runs `load` until the connection dies, and hands back what it noted. A load that fails before the kill is a failure.
fn worker<T: Send + 'static>(
    killed: &Arc<AtomicBool>,
    mut load: impl FnMut(&mut T) -> io::Result<()> + Send + 'static,
    mut notes: T,
) -> thread::JoinHandle<T> {
    let killed = Arc::clone(killed);
    thread::spawn(move || {
        let error = load(&mut notes).expect_err("a load runs until the server is gone");
        assert!(killed.load(Ordering::SeqCst), "the load broke off before the server was killed: {error}");
        notes
    })
}

fn join<T>(worker: thread::JoinHandle<T>) -> T {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Messages in bursts, each followed by a request for the count.
fn send_messages(ports: Ports, sender: &Account, to: &str, name: &str, sent: &mut Sent) -> io::Result<()> {
    let mut client = Client::login(ports, sender)?;
    client.send("<enable xmlns='urn:xmpp:sm:3'/>")?;
    let enabled = client.wait_for(|element| element.contains("urn:xmpp:sm:3"))?;
    assert!(enabled.starts_with("<enabled"), "{enabled}");
    loop {
        let mut burst = String::new();
        for _ in 0..BURST {
            let id = format!("{name}n{}", sent.ids.len());
            // Every other one is for the history as well.
            let wish = if sent.ids.len().is_multiple_of(2) { SAVED } else { "" };
            burst += &format!("<message to='{to}' type='chat' id='{id}'><body>{id}</body>{wish}</message>");
            sent.ids.push(id);
        }
        client.send(&burst)?;
        client.send("<r xmlns='urn:xmpp:sm:3'/>")?;
        let answer = client.wait_for(|element| element.starts_with("<a "))?;
        let counted = attribute(&answer, "h").and_then(|h| h.parse().ok()).unwrap_or_else(|| panic!("no h: {answer}"));
        // Counted are the stanzas since <enable/>, and those are our messages alone.
        assert!(counted <= sent.ids.len() && counted >= sent.acknowledged, "h={counted} of {}", sent.ids.len());
        sent.acknowledged = counted;
        thread::sleep(PAUSE);
    }
}

/// What the roster must hold: the acknowledged name of each contact, and the one that may or may not have got through.
#[derive(Default)]
struct Roster {
    names: BTreeMap<String, String>,
    unanswered: Option<(String, String)>,
}

/// Sets item after item; after a while the same contacts again under new names, as a roster has a bound.
fn change_roster(ports: Ports, keeper: &Account, round: u64, roster: &mut Roster) -> io::Result<()> {
    let mut client = Client::login(ports, keeper)?;
    for n in 0.. {
        // Of the same application, as contacts are, but nobody needs to be there.
        let contact = format!("{}-{}@{DOMAIN}", 1_000_000 + n % CONTACTS, app_of(keeper));
        let name = format!("name {round}.{n}.");
        let set = format!("<query xmlns='jabber:iq:roster'><item jid='{contact}' name='{name}'/></query>");
        roster.unanswered = Some((contact.clone(), name.clone()));
        let answer = client.iq("set", "", &set)?;
        assert_eq!(attribute(&answer, "type"), Some("result"), "{answer}");
        roster.names.insert(contact, name);
        roster.unanswered = None;
    }
    unreachable!("the count of changes has no end")
}

fn sign_users_up(ports: Ports, app: &App, round: u64, made: &mut Vec<Account>) -> io::Result<()> {
    let mut connection = Connection::open(ports.http)?;
    let token = http::app_session(&mut connection, app)?;
    for n in 0.. {
        match http::sign_up(&mut connection, app, &token, &format!("crash{round}x{n}"))? {
            Ok(account) => made.push(account),
            Err(answer) => panic!("POST /users: {} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        }
    }
    unreachable!("the count of users has no end")
}

/// Logs in, becomes available and takes what has waited, in order; ends the stream so that it counts as taken.
fn collect(ports: Ports, recipient: &Account) -> Vec<String> {
    let mut client = Client::login(ports, recipient).expect("an acknowledged account can log in");
    client.send("<presence/>").expect("the connection is open");
    let mut ids = Vec::new();
    loop {
        match client.element_within(Duration::from_millis(700)) {
            Ok(element) if element.starts_with("<message") => {
                ids.push(attribute(&element, "id").expect("messages keep their id").to_owned());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            Err(error) => panic!("while collecting: {error}"),
        }
    }
    client.close().expect("the stream ends in order");
    ids
}

fn check_messages(sent: &Sent, got: &[String], before: &BTreeSet<String>, what: &str) {
    let unique: BTreeSet<&String> = got.iter().collect();
    assert_eq!(unique.len(), got.len(), "{what}: something came twice: {got:?}");
    let again: Vec<&String> = got.iter().filter(|id| before.contains(*id)).collect();
    assert!(again.is_empty(), "{what}: delivered in an earlier round and again: {again:?}");
    let lost: Vec<&String> = sent.ids[..sent.acknowledged].iter().filter(|id| !unique.contains(id)).collect();
    assert!(
        lost.is_empty(),
        "{what}: {} of {} acknowledged messages are lost: {lost:?}",
        lost.len(),
        sent.acknowledged
    );
    let order: Vec<usize> = got
        .iter()
        .map(|id| sent.ids.iter().position(|own| own == id).unwrap_or_else(|| panic!("{what}: {id} was never sent")))
        .collect();
    assert!(order.is_sorted(), "{what}: out of order: {got:?}");
}

/// What was to be saved is in the history, once and in order.
fn check_history(ports: Ports, app: &App, (sender, recipient): (&Account, &Account), sent: &Sent, what: &str) {
    let mut connection = Connection::open(ports.http).expect("the server listens");
    let session = http::session_request(app, Some((&sender.login, &sender.password)));
    let token = connection.call("POST", "/session.json", None, &session).expect("the server answers").json();
    let token = token["session"]["token"].as_str().expect("a token");
    let mut call = |method: &str, path: &str, body: Value| {
        connection.call(method, path, Some(token), &body).expect("the server answers").json()
    };
    let dialog = call("POST", "/chat/Dialog.json", json!({"type": 3, "occupants_ids": [recipient.id]}));
    let dialog = dialog["_id"].as_str().expect("the two have a dialog");
    let mut kept: Vec<String> = Vec::new();
    for skip in (0..).step_by(100) {
        let page = format!(
            "/chat/Message.json?chat_dialog_id={dialog}&mark_as_read=0&sort_desc=date_sent&limit=100&skip={skip}"
        );
        let items = call("GET", &page, Value::Null)["items"].clone();
        let texts =
            items.as_array().expect("a list").iter().map(|item| item["message"].as_str().expect("a text").to_owned());
        let of_this_round: Vec<String> = texts.filter(|text| sent.ids.contains(text)).collect();
        if of_this_round.is_empty() {
            break;
        }
        kept.extend(of_this_round);
    }
    kept.reverse();
    let positions: Vec<usize> =
        kept.iter().map(|id| sent.ids.iter().position(|own| own == id).expect("it is one of this round's")).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{what}: the history has something twice or out of order: {kept:?}");
    let lost: Vec<usize> = (0..sent.acknowledged).step_by(2).filter(|at| !positions.contains(at)).collect();
    assert!(lost.is_empty(), "{what}: acknowledged and not in the history: {lost:?} of {}", sent.acknowledged);
}

fn check_roster(ports: Ports, keeper: &Account, expected: &mut Roster, round: u64) {
    let mut client = Client::login(ports, keeper).expect("an acknowledged account can log in");
    let roster = client.iq("get", "", "<query xmlns='jabber:iq:roster'/>").expect("the server answers");
    let name_in_roster = |contact: &str| {
        assert!(roster.matches(contact).count() < 2, "round {round}: {contact} is in the roster more than once");
        let item = roster.split("<item").find(|item| item.contains(contact))?;
        attribute(&format!("<item{item}"), "name").map(str::to_owned)
    };
    // The change that was under way when the server was killed: from now on what it came to is what it must stay.
    if let Some((contact, name)) = expected.unanswered.take()
        && name_in_roster(&contact).as_ref() == Some(&name)
    {
        expected.names.insert(contact, name);
    }
    for (contact, name) in &expected.names {
        assert_eq!(name_in_roster(contact).as_ref(), Some(name), "round {round}: {contact}");
    }
}

fn check_users(ports: Ports, app: &App, users: &[Account], round: u64) {
    let mut connection = Connection::open(ports.http).expect("the server listens");
    let token = http::app_session(&mut connection, app).expect("the server answers");
    for account in users {
        for path in [format!("/users/{}.json", account.id), format!("/users/by_login.json?login={}", account.login)] {
            let answer = connection.call("GET", &path, Some(&token), &Value::Null).expect("the server answers");
            assert_eq!(answer.status, 200, "round {round}: GET {path}: {}", String::from_utf8_lossy(&answer.body));
            let user = &answer.json()["user"];
            assert_eq!((user["id"].as_u64(), user["login"].as_str()), (Some(account.id), Some(account.login.as_str())));
        }
    }
    let ids: BTreeSet<u64> = users.iter().map(|account| account.id).collect();
    assert_eq!(ids.len(), users.len(), "round {round}: an id was given twice");
    // The password is as durable as the rest.
    let last = users.last().expect("every round signs somebody up");
    Client::login(ports, last).expect("an acknowledged account can log in").close().expect("the stream ends in order");
}

fn jid(account: &Account) -> String {
    format!("{}@{DOMAIN}", account.node)
}

fn app_of(account: &Account) -> &str {
    account.node.split_once('-').expect("a node is ID-APP").1
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// When to kill: pseudo-random from a seed (xorshift64), so that a run can be repeated.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        LOAD_MILLIS_MIN + self.0 % (LOAD_MILLIS_MAX - LOAD_MILLIS_MIN)
    }
}
