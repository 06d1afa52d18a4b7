//! The plays of `plays/`, each over every transport (see `src/play.rs` for how they are written), and what needs numbers rather than
//! words.

use std::path::PathBuf;
use std::time::Duration;

use proto::account::offline::OFFLINE;
use proto::limits::{Limits, OFFLINE_STANZAS_MAX, RESOURCES_MAX};
use proto::time::Timestamp;
use rookery_tests::client::attribute;
use rookery_tests::play::perform;
use rookery_tests::world::users::Answer;
use rookery_tests::world::{Client, DOMAIN, Dice, SECRET, Transport, World};

fn perform_all(transport: Transport) {
    let only = std::env::var("PLAY").unwrap_or_default();
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("plays");
    let mut plays: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the plays are there").map(|entry| entry.expect("a file").path()).collect();
    plays.retain(|path| path.extension().is_some_and(|ext| ext == "play") && path.to_string_lossy().contains(&only));
    plays.sort();
    let mut failures = Vec::new();
    for path in &plays {
        let text = std::fs::read_to_string(path).expect("a play is text");
        if transport == Transport::Bosh && text.contains("# Not over BOSH: ") {
            continue;
        }
        let attempt = std::panic::catch_unwind(|| perform(path, World::new(2), transport));
        if attempt.is_err() {
            failures.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    assert!(failures.is_empty(), "over {transport:?}: {failures:?}");
}

#[test]
fn over_tls() {
    perform_all(Transport::Tls);
}

#[test]
fn over_starttls() {
    perform_all(Transport::StartTls);
}

#[test]
fn over_websocket() {
    perform_all(Transport::WebSocket);
}

#[test]
fn over_bosh() {
    perform_all(Transport::Bosh);
}

#[test]
fn a_client_without_a_wish_gets_a_resource() {
    let mut world = World::new(2);
    let [one, two] = [(); 2].map(|()| world.login("romeo", None));
    let resource = |jid: &str| jid.split_once('/').expect("a full address").1.to_owned();
    let (one, two) = (resource(world.jid(one)), resource(world.jid(two)));
    assert!(one.len() >= 16 && one != two, "{one} and {two} cannot be guessed");
}

#[test]
fn an_account_has_so_many_resources_and_no_more() {
    let mut world = World::new(2);
    let clients: Vec<Client> =
        (0..RESOURCES_MAX).map(|number| world.login("romeo", Some(&number.to_string()))).collect();
    let late = world.connect(Transport::Tls);
    let refused = world.log_in(late, "romeo", Some("late")).expect_err("there is no room");
    assert!(refused.0.contains("<resource-constraint"), "{refused:?}");
    // Room is made, and the same stream tries again.
    world.disconnect(clients[0]);
    assert_eq!(world.bind(late, Some("late")), Ok(()));
}

#[test]
fn a_wrong_password_is_no_password() {
    let mut world = World::new(2);
    let romeo = world.user("romeo");
    for (jid, password) in
        [(&*romeo.jid, "wrong"), (&*romeo.jid, "password-juliet"), ("999-1@localhost", "password-romeo")]
    {
        let client = world.connect(Transport::Tls);
        let refused = world.authenticate(client, jid, password).expect_err("nobody gets in like this");
        assert!(refused.0.contains("<not-authorized/>"), "{jid}: {refused:?}");
    }
}

#[test]
fn who_guesses_waits_for_the_next_try() {
    let limits = Limits { login_failures_free: 3, ..Limits::default() };
    let mut world = World::with(1, None, limits);
    let romeo = world.user("romeo");
    for _ in 0..3 {
        let client = world.connect(Transport::Tls);
        let refused = world.authenticate(client, &romeo.jid, "guess").expect_err("a guess");
        assert!(refused.0.contains("<not-authorized/>"), "{refused:?}");
    }
    // The right password waits like any other, as it would tell the guesser which it is.
    let tries: Vec<Client> = (0..20).map(|number| world.rush("romeo", &number.to_string(), "")).collect();
    world.settle();
    let heard = |world: &mut World, client| world.received(client).join("");
    let at_once: Vec<String> = tries.iter().map(|client| heard(&mut world, *client)).collect();
    assert!(at_once[0].contains("<success"), "the first has its turn: {}", at_once[0]);
    let held = at_once.iter().filter(|heard| !heard.contains("<success") && !heard.contains("<failure"));
    assert_eq!(held.count(), 15, "one a second, up to the longest wait");
    for late in &at_once[16..] {
        assert!(late.contains("<temporary-auth-failure/>"), "turned away: {late}");
    }
    world.pass(Duration::from_secs(5));
    let let_in = tries[1..16].iter().filter(|client| heard(&mut world, **client).contains("<success")).count();
    assert_eq!(let_in, 5);
    world.login("juliet", None);
    // Nor is he, a while later.
    world.pass(Duration::from_secs(16 * 60));
    world.login("romeo", None);
}

#[test]
fn the_token_of_a_session_is_a_password_while_the_session_lives() {
    let mut world = World::new(2);
    let romeo = world.user("romeo");
    let token = world.user_session("romeo");
    let client = world.connect(Transport::WebSocket);
    assert_eq!(world.authenticate(client, &romeo.jid, &token), Ok(()));
    assert_eq!(world.call("DELETE", "/session.json", &token, "").code, 200);
    let client = world.connect(Transport::WebSocket);
    assert!(world.authenticate(client, &romeo.jid, &token).is_err());
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let mut world = World::new(2);
    let juliet = world.user("juliet").jid;
    let romeo = world.login("romeo", Some("a"));
    let message = |number: usize| format!("<message to='{juliet}' type='chat' id='{number}'><body>x</body></message>");
    for first in (0..OFFLINE_STANZAS_MAX).step_by(500) {
        let page: String = (first..first + 500).map(message).collect();
        world.send(romeo, &page);
    }
    assert_eq!(world.received(romeo), Vec::<String>::new());
    world.send(romeo, &message(OFFLINE_STANZAS_MAX));
    let refused = world.received(romeo);
    assert!(refused.len() == 1 && refused[0].contains("<service-unavailable"), "{refused:?}");
    let client = world.login("juliet", Some("a"));
    world.send(client, "<presence/>");
    let received = world.received(client);
    let messages = received.iter().filter(|element| element.starts_with("<message"));
    assert!(messages.clone().enumerate().all(|(at, message)| message.contains(&format!(" id='{at}'"))), "out of order");
    assert_eq!(messages.count(), OFFLINE_STANZAS_MAX);
    assert!(world.table(&OFFLINE).is_empty(), "what was taken is gone");
}

#[test]
fn accounts_that_nobody_uses_leave_memory() {
    let mut world = World::new(1);
    let juliet = world.user("juliet").jid;
    let romeo = world.login("romeo", Some("a"));
    world.send(romeo, &format!("<message to='{juliet}' type='chat'><body>x</body></message>"));
    assert!(world.owners() > 1);
    world.pass(Duration::from_secs(90));
    assert_eq!(world.owners(), 1, "only the one who is connected");
    world.disconnect(romeo);
    world.pass(Duration::from_secs(90));
    assert_eq!(world.owners(), 0);
}

/// The calendar goes back an hour and forward a day: ids stay apart and messages in order, sessions of the API end by what it says,
/// and one who was cut off is waited for as long as it really takes.
#[test]
fn a_calendar_that_jumps_confuses_nobody() {
    let mut world = World::new(2);
    let juliet = world.user("juliet");
    let [romeos, juliets] = ["romeo", "juliet"].map(|name| world.login(name, Some("a")));
    world.send(juliets, "<enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/>");
    let received = world.received(juliets);
    let enabled = received.iter().find(|element| element.starts_with("<enabled")).expect("it is");
    let resume = attribute(enabled, "id").expect("an id").to_owned();
    world.cut_off(juliets);

    let start = world.now().stamp;
    let private = format!("recipient_id={}&send_to_chat=1&message=", juliet.id);
    let saved = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>";
    let (mut said, mut dialog, mut first_session) = (Vec::new(), String::new(), String::new());
    for (round, secs) in
        [start.secs(), start.secs() - 3_600, start.secs() + 86_400, start.secs() + 60].into_iter().enumerate()
    {
        world.set_calendar(Timestamp::from_secs(secs));
        let session = world.user_session("romeo");
        assert_eq!(world.call("GET", "/session.json", &session, "").code, 200);
        if round == 0 {
            first_session.clone_from(&session);
        }
        for part in 0..3 {
            let text = format!("{round}.{part}");
            if part == 1 {
                world.send(
                    romeos,
                    &format!("<message to='{}' type='chat'><body>{text}</body>{saved}</message>", juliet.jid),
                );
            } else {
                let answer = world.call("POST", "/chat/Message.json", &session, &format!("{private}{text}")).json();
                dialog = answer["chat_dialog_id"].as_str().expect("an id").to_owned();
            }
            said.push(text);
        }
        let alive = world.call("GET", "/session.json", &first_session, "").code;
        assert_eq!(
            alive,
            if round == 2 { 401 } else { 200 },
            "a day later the session of before is over, in round {round}"
        );
    }
    let session = world.user_session("romeo");
    let history = format!("/chat/Message.json?mark_as_read=0&chat_dialog_id={dialog}");
    let items = world.call("GET", &history, &session, "").json()["items"].clone();
    let of = |name: &str| -> Vec<String> {
        let items = items.as_array().expect("a list");
        items.iter().map(|item| item[name].as_str().expect("a text").to_owned()).collect()
    };
    let ids: std::collections::BTreeSet<String> = of("_id").into_iter().collect();
    assert_eq!(ids.len(), said.len());
    assert_eq!(of("message").into_iter().collect::<std::collections::BTreeSet<_>>(), said.iter().cloned().collect());

    // She comes back, a moment later for all clocks that count: everything is there, in order.
    let juliets = world.come_back("juliet", "a", &resume, 1);
    world.settle();
    let heard = world.received(juliets).concat();
    assert!(heard.contains("<resumed "), "{heard}");
    let bodies: Vec<&str> = heard.split("<body>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    assert_eq!(bodies, said);
}

/// Bodies or ids of what a client has received, by the sign of an error.
fn ids(received: &[String], errors: bool) -> Vec<u32> {
    let messages =
        received.iter().filter(|element| element.starts_with("<message") && element.contains("<error") == errors);
    let id =
        |message: &String| message.split_once(" id=\"m").and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
    messages.map(|message| id(message).unwrap_or_else(|| panic!("no id: {message}"))).collect()
}

fn to_echo(number: u32, body: &str) -> String {
    format!("<message to=\"echo.{DOMAIN}\" id=\"m{number}\" type=\"chat\"><body>{body}</body></message>")
}

#[test]
fn a_component_that_reads_nothing_costs_nobody_a_message() {
    let limits = Limits { outbox_bytes_max: 64 * 1024, stanza_bytes_max: 20_000, ..Limits::default() };
    let mut world = World::with(2, None, limits);
    let echo = world.connect_component(&format!("echo.{DOMAIN}"), SECRET).expect("it knows the secret");
    let romeo = world.login("romeo", Some("a"));
    world.set_stalled(echo, true);
    let body = "x".repeat(8_000);
    for number in 0..20 {
        world.send(romeo, &to_echo(number, &body));
    }
    let refused = ids(&world.received(romeo), true);
    assert!(refused.len() > 10 && !world.is_over(echo), "{refused:?}");
    world.set_stalled(echo, false);
    world.settle();
    let taken = ids(&world.received(echo), false);
    assert_eq!([taken, refused].concat(), (0..20).collect::<Vec<_>>(), "in order, each once");
    world.send(romeo, &to_echo(20, "more"));
    assert_eq!(ids(&world.received(echo), false), [20]);
}

/// Whatever the order in which things happen: each message reaches the component once, or comes back once.
#[test]
fn a_component_that_comes_and_goes_loses_nobody_a_message() {
    for seed in 0..40 {
        let mut world = World::seeded(3, seed);
        let mut dice = Dice::new(seed);
        let users = ["romeo", "juliet"].map(|name| world.login(name, Some("a")));
        let mut echo = None;
        let mut gone: Vec<Client> = Vec::new();
        let mut sent: [Vec<u32>; 2] = Default::default();
        for number in 0..120 {
            match (dice.below(10), echo) {
                (0, Some(client)) => {
                    world.cut_off(client);
                    gone.push(client);
                    echo = None;
                }
                (1, None) => {
                    let connected = world.connect_component(&format!("echo.{DOMAIN}"), SECRET);
                    echo = Some(connected.unwrap_or_else(|refused| panic!("seed {seed}: {refused:?}")));
                }
                _ => {
                    let who = dice.below(2);
                    world.say(users[who], &to_echo(number, "x"));
                    sent[who].push(number);
                }
            }
            for _ in 0..dice.below(12) {
                world.step();
            }
        }
        world.settle();
        let mut taken: Vec<u32> = Vec::new();
        for client in gone.into_iter().chain(echo) {
            taken.extend(ids(&world.received(client), false));
        }
        for (user, sent) in users.into_iter().zip(sent) {
            let mut all = ids(&world.received(user), true);
            let theirs: Vec<u32> = taken.iter().copied().filter(|number| sent.contains(number)).collect();
            assert!(theirs.is_sorted(), "seed {seed}: out of order: {theirs:?}");
            all.extend(theirs);
            all.sort_unstable();
            assert_eq!(all, sent, "seed {seed}");
        }
    }
}

/// XEP-0016 §2.2 over REST, server notes §3.4: what is denied is neither shown nor kept nor counted.
#[test]
fn one_who_is_blocked_cannot_write_over_rest_either() {
    let mut world = World::new(2);
    let [romeo, juliet] = ["romeo", "juliet"].map(|name| world.user(name));
    let [hers, his] = ["juliet", "romeo"].map(|name| world.user_session(name));
    let client = world.login("juliet", Some("a"));
    world.send(client, "<presence/>");
    let list = format!(
        "<list name='l'><item type='jid' value='{}' action='deny' order='1'><message/></item></list>",
        romeo.jid
    );
    for child in [&*list, "<default name='l'/>"] {
        world.send(client, &format!("<iq type='set' id='1'><query xmlns='jabber:iq:privacy'>{child}</query></iq>"));
    }
    world.received(client);
    let ways = ["", "&send_to_chat=1", "&system=1"];
    let private = format!("message=hello&recipient_id={}", juliet.id);
    for more in ways {
        assert_eq!(world.call("POST", "/chat/Message.json", &his, &format!("{private}{more}")).code, 403, "{more}");
    }
    // A dialog that is there already makes no difference.
    let id = |answer: Answer| answer.json()["_id"].as_str().expect("an id").to_owned();
    let dialog = id(world.call("POST", "/chat/Dialog.json", &hers, &format!("type=3&occupants_ids={}", romeo.id)));
    for more in ways {
        let body = format!("message=hello&chat_dialog_id={dialog}{more}");
        assert_eq!(world.call("POST", "/chat/Message.json", &his, &body).code, 403, "{more}");
    }
    assert_eq!(world.received(client), Vec::<String>::new());
    let unread = world.call("GET", &format!("/chat/Message/unread.json?chat_dialog_ids={dialog}"), &hers, "").json();
    assert_eq!((&unread["total"], &unread[&dialog]), (&0.into(), &0.into()));
    let history = format!("/chat/Message.json?chat_dialog_id={dialog}");
    assert_eq!(world.call("GET", &history, &hers, "").json()["items"], serde_json::json!([]));
    // She still writes to him, and he to her once the list is declined.
    let farewell = format!("message=farewell&send_to_chat=1&recipient_id={}", romeo.id);
    assert_eq!(world.call("POST", "/chat/Message.json", &hers, &farewell).code, 201);
    world.send(client, "<iq type='set' id='1'><query xmlns='jabber:iq:privacy'><default/></query></iq>");
    world.received(client);
    assert_eq!(world.call("POST", "/chat/Message.json", &his, &format!("{private}&send_to_chat=1")).code, 201);
    assert!(world.received(client).concat().contains("<body>hello</body>"));
    // Nobody in a group is asked: its messages are everybody's.
    world.send(client, "<iq type='set' id='1'><query xmlns='jabber:iq:privacy'><default name='l'/></query></iq>");
    let group = format!("type=2&name=g&occupants_ids={}", juliet.id);
    let group = id(world.call("POST", "/chat/Dialog.json", &his, &group));
    let body = format!("chat_dialog_id={group}&message=hello");
    assert_eq!(world.call("POST", "/chat/Message.json", &his, &body).code, 201);
}
