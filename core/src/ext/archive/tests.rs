//! Archives over rows, without a server: against a small model, counted, and as stanzas.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::search::{Keep, Page, Scope, Search, Window};
use crate::effect::{Effect, Site};
use crate::error::Condition;
use crate::ext::stage::{self, ADAM, BOB, EVE, Stage};
use crate::jid::user::{AppId, DialogId, MessageId, ObjectId, UserId};
use crate::limits::ARCHIVE_PAGE_BYTES_MAX;
use crate::model::dialog::{
    self, Body, Content, DialogKind, DialogRow, HIDDEN, Head, Last, MessageRow, Place, mark_key,
};
use crate::model::inbox::{self, Standing};
use crate::owner::AccountId;
use crate::row::{Batch, Read};
use crate::time::Timestamp;

const APP: AppId = AppId(1);
/// The stage's clock.
const NOW: u64 = 1_458_750_000;

/// A message as the model knows it.
#[derive(Clone, Debug)]
struct Known {
    at: Timestamp,
    dialog: DialogId,
    order: u64,
    id: MessageId,
    hidden: bool,
}

/// A stage with histories, and what is in them.
struct Library {
    stage: Stage,
    heads: BTreeMap<DialogId, Head>,
    known: Vec<Known>,
    reads: usize,
    rounds: usize,
}

impl Library {
    fn new() -> Library {
        Library { stage: Stage::new(), heads: BTreeMap::new(), known: Vec::new(), reads: 0, rounds: 0 }
    }

    /// The dialog's record, as it comes to be.
    fn open(&mut self, dialog: DialogId, kind: DialogKind, occupants: &[u64]) {
        let at = Timestamp::from_secs(NOW);
        let record = DialogRow {
            parted: Vec::new(),
            kind,
            owner: UserId(occupants[0]),
            name: None,
            photo: None,
            occupants: occupants.iter().copied().map(UserId).collect(),
            data: None,
            subject: None,
            large: false,
            created_at: at,
            updated_at: at,
        };
        let mut batch = Batch::default();
        dialog::put(&mut batch, APP, dialog, &record);
        self.stage.given(|turn| turn.out.write(batch));
    }

    fn private(&mut self, one: u64, other: u64) -> DialogId {
        let dialog = DialogId::private(&Site::of("localhost").pairs, APP, UserId(one), UserId(other));
        if !self.heads.contains_key(&dialog) {
            self.open(dialog, DialogKind::Private, &[one.min(other), one.max(other)]);
        }
        dialog
    }

    /// Saves a message as a dialog does, and tells the lists of `members` of it.
    fn save(&mut self, dialog: DialogId, row: MessageRow, members: &[u64]) {
        let head = self.heads.entry(dialog).or_default();
        let from = Standing::At(head.at());
        let order = head.next_order(row.date_sent);
        let last = Last { id: row.id, order, sender: row.sender, date_sent: row.date_sent, text: None };
        *head = Head { count: head.count + 1, order, last: Some(last), updated_at: row.created_at, beside: 0 };
        let mut batch = Batch::default();
        row.put(&mut batch, APP, dialog, order);
        dialog::put_place(&mut batch, APP, dialog, row.id, &Place::of_message(order, row.sender));
        dialog::put_head(&mut batch, APP, dialog, head);
        let to = Standing::At(head.at());
        self.known.push(Known { at: row.created_at, dialog, order, id: row.id, hidden: false });
        self.stage.given(|turn| {
            turn.out.write(batch);
            for &member in members {
                let command = inbox::Command::Place { dialog, from: Some(from), to };
                inbox::apply(AccountId { app: APP, user: UserId(member) }, command, false, turn);
            }
        });
    }

    /// One user writes another, so many milliseconds after the beginning; the sender's clock is off by `skew` seconds.
    fn chat(&mut self, from: u64, to: u64, millis: u64, skew: i64) -> MessageId {
        let dialog = self.private(from, to);
        let row = row(self.known.len(), from, Some(to), millis, skew, "Hi");
        let id = row.id;
        self.save(dialog, row, &[from, to]);
        id
    }

    /// The user deletes the message for himself.
    fn hide(&mut self, index: usize, user: u64) {
        let known = &mut self.known[index];
        known.hidden = true;
        let mut batch = Batch::default();
        batch.put(&HIDDEN, mark_key(APP, known.dialog, known.order, UserId(user)), Vec::new());
        self.stage.given(|turn| turn.out.write(batch));
    }

    fn search(&mut self, scope: Scope, window: Window) -> Result<Page, Condition> {
        self.search_for(scope, Keep::All, window)
    }

    fn search_for(&mut self, scope: Scope, keep: Keep, window: Window) -> Result<Page, Condition> {
        (self.reads, self.rounds) = (0, 0);
        let mut search = Search::new(BOB, scope, keep, window);
        while let Some(reads) = search.next()? {
            self.rounds += 1;
            self.reads += reads.0.iter().map(|read| if let Read::Scan { .. } = read { 10 } else { 1 }).sum::<usize>();
            search.take(self.stage.read(&reads)).expect("rows as they were written");
        }
        Ok(search.into_page())
    }
}

fn row(number: usize, from: u64, to: Option<u64>, millis: u64, skew: i64, text: &str) -> MessageRow {
    let created_at = Timestamp::from_millis(NOW * 1_000 + millis);
    let content = Content { text: Some(text.to_owned()), ..Content::default() };
    MessageRow {
        id: MessageId(ObjectId::new(7, [0; 5], number as u32)),
        sender: UserId(from),
        recipient: to.map(UserId),
        date_sent: created_at.secs().saturating_add_signed(skew),
        created_at,
        updated_at: created_at,
        body: Body::Plain { content, markable: false },
    }
}

fn ids(page: &Page) -> Vec<MessageId> {
    page.hits.iter().map(|hit| hit.row.id).collect()
}

/// What a window shows of messages in the order of the archive.
fn expected(known: &[Known], window: &Window) -> (Vec<MessageId>, bool) {
    let place = |id: &MessageId| known.iter().position(|one| one.id == *id).expect("a known message");
    let inside = |(index, one): &(usize, &Known)| {
        !one.hidden
            && window.after.iter().all(|id| place(id) < *index)
            && window.before.iter().all(|id| *index < place(id))
            && window.ids.as_ref().is_none_or(|ids| ids.contains(&one.id))
            && window.start.is_none_or(|start| start <= one.at)
            && window.end.is_none_or(|end| one.at <= end)
    };
    let mut found: Vec<MessageId> = known.iter().enumerate().filter(inside).map(|(_, one)| one.id).collect();
    let complete = found.len() <= window.max;
    if window.backwards {
        found.drain(..found.len().saturating_sub(window.max));
    } else {
        found.truncate(window.max);
    }
    (found, complete)
}

/// Messages between BOB and others: with whom, by whom, how long after the last one, and how wrong the sender's clock was.
fn conversations() -> impl Strategy<Value = Vec<(u64, bool, u64, i64, bool)>> {
    let message = (3u64..9, any::<bool>(), 0u64..4_000, -5i64..6, prop::bool::weighted(0.2));
    prop::collection::vec(message, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_page_is_that_of_one_list_by_time(
        messages in conversations(),
        (after, before, start, end) in any::<(Option<prop::sample::Index>, Option<prop::sample::Index>, Option<prop::sample::Index>, Option<prop::sample::Index>)>(),
        named in prop::option::weighted(0.2, prop::collection::vec(any::<prop::sample::Index>(), 1..6)),
        backwards in any::<bool>(),
        max in 1usize..20,
    ) {
        let mut library = Library::new();
        let mut millis = 0;
        for (index, (other, own, later, skew, hidden)) in messages.into_iter().enumerate() {
            millis += later;
            let (from, to) = if own { (2, other) } else { (other, 2) };
            library.chat(from, to, millis, skew);
            if hidden {
                library.hide(index, 2);
            }
        }
        // Groups are in the list too, and no part of this archive.
        let group = DialogId(ObjectId([7; 12]));
        library.open(group, DialogKind::Group, &[2, 3]);
        let in_group = row(500, 3, None, millis / 2, 0, "not here");
        let group_id = in_group.id;
        library.save(group, in_group, &[2, 3]);
        library.known.pop();
        library.known.sort_by_key(|one| (one.at, one.dialog, one.order));

        let known = library.known.clone();
        let id = |index: Option<prop::sample::Index>| index.map(|index| index.get(&known).id).into_iter().collect::<Vec<_>>();
        let at = |index: Option<prop::sample::Index>| index.map(|index| index.get(&known).at);
        let window = Window {
            after: id(after),
            before: id(before),
            ids: named.map(|named| named.iter().map(|index| index.get(&known).id).collect()),
            start: at(start),
            end: at(end),
            backwards,
            max,
        };
        let page = library.search(Scope::Private, window.clone()).expect("a page");
        prop_assert_eq!((ids(&page), page.complete), expected(&known, &window));

        // The same of one conversation.
        let one = known[0].dialog;
        let of_one: Vec<Known> = known.iter().filter(|message| message.dialog == one).cloned().collect();
        let mine = |ids: &[MessageId]| ids.iter().all(|id| of_one.iter().any(|message| message.id == *id));
        let inside = mine(&window.after) && mine(&window.before) && window.ids.iter().all(|ids| mine(ids));
        let page = library.search(Scope::One(one), window.clone());
        if inside {
            let page = page.expect("a page");
            prop_assert_eq!((ids(&page), page.complete), expected(&of_one, &window));
        } else {
            prop_assert_eq!(page, Err(Condition::ItemNotFound));
        }

        let unknown = Window { after: vec![group_id], max, ..Window::default() };
        prop_assert_eq!(library.search(Scope::Private, unknown), Err(Condition::ItemNotFound));
    }

    #[test]
    fn pages_in_a_row_show_everything_once(messages in conversations(), max in 1usize..7, backwards in any::<bool>()) {
        let mut library = Library::new();
        let mut millis = 0;
        for (other, own, later, skew, _) in messages {
            millis += later;
            let (from, to) = if own { (2, other) } else { (other, 2) };
            library.chat(from, to, millis, skew);
        }
        library.known.sort_by_key(|one| (one.at, one.dialog, one.order));
        let mut seen: Vec<MessageId> = Vec::new();
        loop {
            let mut window = Window { backwards, max, ..Window::default() };
            if backwards {
                window.before.extend(seen.first());
            } else {
                window.after.extend(seen.last());
            }
            let page = library.search(Scope::Private, window).expect("a page");
            let found = ids(&page);
            prop_assert!(page.complete || found.len() == max);
            let at = if backwards { 0 } else { seen.len() };
            seen.splice(at..at, found);
            if page.complete {
                break;
            }
        }
        prop_assert_eq!(seen, library.known.iter().map(|one| one.id).collect::<Vec<_>>());
    }
}

#[test]
fn the_newest_page_looks_into_the_dialogs_on_it_and_a_few_more() {
    let mut costs = Vec::new();
    for others in [30, 300] {
        let mut library = Library::new();
        for n in 0..others {
            library.chat(10 + n, 2, n * 60_000, 0);
        }
        let newest = Window { backwards: true, max: 10, ..Window::default() };
        let page = library.search(Scope::Private, newest).expect("a page");
        assert_eq!(page.hits.len(), 10);
        costs.push(library.reads);
        // A client that was away reads where there is news.
        let known = library.known[library.known.len() - 3].id;
        let news = Window { after: vec![known], max: 50, ..Window::default() };
        let page = library.search(Scope::Private, news).expect("a page");
        assert_eq!((page.hits.len(), page.complete), (2, true));
        costs.push(library.reads);
    }
    // Weighed: ten for a scan, one for a row. The list itself is read in pieces of 256.
    assert_eq!(costs[0], costs[2], "the newest page, whatever the number of dialogs");
    assert!(costs[0] <= 250, "{costs:?}");
    assert!(costs[3] <= costs[1] + 10 + 256, "{costs:?}");
}

#[test]
fn a_page_of_one_conversation_costs_the_same_at_any_length() {
    let mut costs = Vec::new();
    for messages in [200, 2_000] {
        let mut library = Library::new();
        for n in 0..messages {
            library.chat(3, 2, n * 1_000, 0);
        }
        let dialog = library.known[0].dialog;
        let middle = library.known[library.known.len() / 2].id;
        for backwards in [false, true] {
            let window = Window { after: vec![], before: vec![middle], backwards, max: 50, ..Window::default() };
            assert_eq!(library.search(Scope::One(dialog), window).expect("a page").hits.len(), 50);
            costs.push((library.reads, library.rounds));
        }
    }
    assert_eq!(costs[..2], costs[2..]);
    assert!(costs[0].0 < 100, "{costs:?}");
}

#[test]
fn a_page_of_large_messages_ends_early_and_the_next_goes_on() {
    let mut library = Library::new();
    let dialog = library.private(3, 2);
    let text = "x".repeat(ARCHIVE_PAGE_BYTES_MAX / 3);
    for n in 0..5 {
        library.save(dialog, row(n, 3, Some(2), n as u64 * 10, 0, &text), &[2, 3]);
    }
    for scope in [Scope::One(dialog), Scope::Private] {
        let mut seen = Vec::new();
        loop {
            let window = Window { after: seen.last().copied().into_iter().collect(), max: 100, ..Window::default() };
            let page = library.search(scope, window).expect("a page");
            assert!(!page.hits.is_empty() && page.hits.len() <= 3);
            seen.extend(ids(&page));
            if page.complete {
                break;
            }
        }
        assert_eq!(seen.len(), 5);
    }
}

#[test]
fn orders_rule_within_a_dialog_whatever_the_clock_did() {
    let mut library = Library::new();
    let times = [5_000_000, 5_001_000, 1_000_000, 1_001_000, 6_000_000];
    for millis in times {
        library.chat(3, 2, millis, 0);
    }
    let dialog = library.known[0].dialog;
    let all: Vec<MessageId> = library.known.iter().map(|one| one.id).collect();
    for scope in [Scope::One(dialog), Scope::Private] {
        for backwards in [false, true] {
            let page = library.search(scope, Window { backwards, max: 50, ..Window::default() }).expect("a page");
            assert_eq!(ids(&page), all);
            let after = Window { after: vec![all[2]], backwards, max: 50, ..Window::default() };
            assert_eq!(ids(&library.search(scope, after).expect("a page")), all[3..]);
            let before = Window { before: vec![all[2]], backwards, max: 50, ..Window::default() };
            assert_eq!(ids(&library.search(scope, before).expect("a page")), all[..2]);
        }
    }
}

fn query(inside: &str) -> String {
    format!("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='f27'>{inside}</query></iq>")
}

fn filter(var: &str, value: &str) -> String {
    let kind = "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>";
    let field = format!("<field var='{var}'><value>{value}</value></field>");
    format!("<x xmlns='jabber:x:data' type='submit'>{kind}{field}</x>")
}

fn page(inside: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>")
}

const EMPTY: &str = r#"<iq type="result" id="q" to="2-1@localhost/r"><fin xmlns="urn:xmpp:mam:2" complete="true"><set xmlns="http://jabber.org/protocol/rsm"/></fin></iq>"#;

#[test]
fn messages_come_before_the_result_in_the_order_of_time() {
    let mut library = Library::new();
    assert_eq!(library.stage.ask(BOB, &query("")), EMPTY);
    assert_eq!(
        library.stage.ask(BOB, "<iq type='get' id='q'><metadata xmlns='urn:xmpp:mam:2'/></iq>"),
        r#"<iq type="result" id="q" to="2-1@localhost/r"><metadata xmlns="urn:xmpp:mam:2"/></iq>"#
    );
    let (first, second, third) = (library.chat(1, 2, 0, 0), library.chat(2, 1, 1_500, 0), library.chat(5, 2, 2_000, 0));
    let got = library.stage.ask(BOB, &query(&filter("with", "1-1@localhost")));
    let dialog = DialogId::private(&Site::of("localhost").pairs, APP, UserId(1), UserId(2));
    let result = |id: MessageId, from: u64, to: u64, at: &str, secs: u64| {
        format!(
            "<message from=\"2-1@localhost\" to=\"2-1@localhost/r\"><result xmlns=\"urn:xmpp:mam:2\" queryid=\"f27\" id=\"{id}\">\
             <forwarded xmlns=\"urn:xmpp:forward:0\"><delay xmlns=\"urn:xmpp:delay\" stamp=\"{at}\"/>\
             <message xmlns=\"jabber:client\" from=\"{from}-1@localhost\" to=\"{to}-1@localhost\" type=\"chat\" id=\"{id}\"><body>Hi</body>\
             <extraParams xmlns=\"jabber:client\"><save_to_history>1</save_to_history><date_sent>{secs}</date_sent>\
             <application_id>1</application_id><dialog_id>{dialog}</dialog_id><message_id>{id}</message_id></extraParams>\
             <stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"2-1@localhost\" id=\"{id}\"/></message></forwarded></result></message>"
        )
    };
    let fin = |first: MessageId, last: MessageId, complete: &str, count: &str| {
        format!(
            "<iq type=\"result\" id=\"q\" to=\"2-1@localhost/r\"><fin xmlns=\"urn:xmpp:mam:2\"{complete}>\
             <set xmlns=\"http://jabber.org/protocol/rsm\"><first>{first}</first><last>{last}</last>{count}</set></fin></iq>"
        )
    };
    let one = result(first, 1, 2, "2016-03-23T16:20:00.000Z", NOW);
    let two = result(second, 2, 1, "2016-03-23T16:20:01.500Z", NOW + 1);
    let done = " complete=\"true\"";
    assert_eq!(got, [&*one, &two, &fin(first, second, done, "<count>2</count>")].concat());

    let last = library.stage.ask(BOB, &query(&page("<max>2</max><before/>")));
    assert!(last.starts_with(&two) && last.ends_with(&fin(second, third, "", "")), "{last}");
    let flipped = library.stage.ask(BOB, &query(&format!("{}<flip-page/>", filter("with", "1-1@localhost"))));
    assert_eq!(flipped, [&*two, &one, &fin(first, second, done, "<count>2</count>")].concat());
    let count = library.stage.ask(BOB, &query(&(filter("with", "1-1@localhost") + &page("<max>0</max>"))));
    assert_eq!(
        count,
        r#"<iq type="result" id="q" to="2-1@localhost/r"><fin xmlns="urn:xmpp:mam:2"><set xmlns="http://jabber.org/protocol/rsm"><count>2</count></set></fin></iq>"#
    );
    let named = library.stage.ask(BOB, &query(&filter("ids", &second.to_string())));
    assert_eq!(named, [&*two, &fin(second, second, done, "")].concat());
    let since = library.stage.ask(BOB, &query(&filter("start", "2016-03-23T16:20:01.501Z")));
    assert!(since.contains(&third.to_string()) && !since.contains(&second.to_string()));

    let ends = library.stage.ask(BOB, "<iq type='get' id='q'><metadata xmlns='urn:xmpp:mam:2'/></iq>");
    assert_eq!(
        ends,
        format!(
            "<iq type=\"result\" id=\"q\" to=\"2-1@localhost/r\"><metadata xmlns=\"urn:xmpp:mam:2\">\
             <start id=\"{first}\" timestamp=\"2016-03-23T16:20:00.000Z\"/><end id=\"{third}\" timestamp=\"2016-03-23T16:20:02.000Z\"/></metadata></iq>"
        )
    );
}

#[test]
fn archives_are_their_owners_alone() {
    let mut library = Library::new();
    let secret = library.chat(1, 5, 0, 0);
    library.chat(1, 2, 0, 0);
    for iq in [query(""), "<iq type='get' id='q'><metadata xmlns='urn:xmpp:mam:2'/></iq>".to_owned()] {
        for asker in [BOB, EVE] {
            for address in ["1-1@localhost", "77-1@localhost", "localhost"] {
                let iq = iq.replace("<iq ", &format!("<iq to='{address}' "));
                let condition = stage::condition(&library.stage.ask(asker, &iq));
                assert_eq!(condition, "service-unavailable", "{iq}");
            }
        }
    }
    // Neither by name nor by id.
    assert_eq!(library.stage.ask(BOB, &query(&filter("with", "5-1@localhost"))), EMPTY);
    for query in [
        query(&filter("ids", &secret.to_string())),
        query(&page(&format!("<after>{secret}</after>"))),
        query(&(filter("with", "5-1@localhost") + &page(&format!("<before>{secret}</before>")))),
        query(&(filter("with", "example.com") + &page(&format!("<before>{secret}</before>")))),
    ] {
        assert_eq!(stage::condition(&library.stage.ask(BOB, &query)), "item-not-found", "{query}");
    }
    assert!(
        library
            .stage
            .ask(EVE, &query(""))
            .contains("complete=\"true\"><set xmlns=\"http://jabber.org/protocol/rsm\"/>")
    );
    assert_eq!(library.stage.ask(ADAM, &query("")).matches("<result").count(), 2);
}

#[test]
fn with_is_whoever_the_conversation_is_with() {
    let mut library = Library::new();
    library.chat(1, 2, 0, 0);
    let dialog = library.known[0].dialog;
    let stanza = "<message from='1-1@localhost/phone' to='2-1@localhost' type='chat'><body>Hi</body></message>";
    let stanza = MessageRow { body: Body::Stanza(stanza.into()), ..row(7, 1, Some(2), 10, 0, "") };
    library.save(dialog, stanza, &[1, 2]);
    let group: DialogId = "53aaa06f535c12cea9007496".parse().expect("an id");
    library.open(group, DialogKind::Group, &[1, 2]);
    library.save(group, row(8, 1, None, 20, 0, "to all"), &[1, 2]);
    library.save(group, row(9, 2, None, 30, 0, "to all"), &[1, 2]);
    let strange: DialogId = "53aaa06f535c12cea9007497".parse().expect("an id");
    library.open(strange, DialogKind::Group, &[1, 5]);

    let room = format!("1_{group}@muc.localhost");
    for (with, results) in [
        ("1-1@localhost", 2),
        ("1-1@localhost/phone", 1),
        ("1-1@localhost/tablet", 0),
        ("2-1@localhost", 0),
        ("2-1@localhost/r", 0),
        ("77-1@localhost", 0),
        ("1-2@localhost", 0),
        ("localhost", 0),
        ("example.com", 0),
        (&room, 2),
        (&format!("{room}/1"), 1),
        (&format!("{room}/one"), 0),
    ] {
        let got = library.stage.ask(BOB, &query(&filter("with", with)));
        assert_eq!(
            (got.matches("<result").count(), got.contains("complete=\"true\"")),
            (results, true),
            "{with}: {got}"
        );
    }
    let private = format!("1_{dialog}@muc.localhost");
    for with in [
        &private,
        &format!("1_{strange}@muc.localhost"),
        "1_53aaa06f535c12cea9007498@muc.localhost",
        "lobby@muc.localhost",
    ] {
        let got = library.stage.ask(BOB, &query(&filter("with", with)));
        assert_eq!(stage::condition(&got), "item-not-found", "{with}");
    }
    let got = library.stage.ask(BOB, &query(&filter("with", &room)));
    assert!(got.contains(&format!("from=\"{room}/1\"")), "{got}");
    let item = r#"<x xmlns="http://jabber.org/protocol/muc#user"><item affiliation="owner" jid="1-1@localhost"/></x>"#;
    assert!(got.contains(item), "{got}");
}

#[test]
fn the_ids_of_the_others_archive_are_replaced_by_ones_own() {
    let mut library = Library::new();
    let dialog = library.private(1, 2);
    let stanza = "<message from='2-1@localhost/r' to='1-1@localhost' type='chat'><stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='x'/>\
                  <origin-id xmlns='urn:xmpp:sid:0' id='o'/><body>Hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='1-1@localhost' id='i'/></message>";
    let row = row(7, 2, Some(1), 10, 0, "");
    let id = row.id;
    let stanza = stanza.replace("'i'", &format!("'{id}'"));
    let row = MessageRow { body: Body::Stanza(stanza.into()), ..row };
    library.save(dialog, row, &[1, 2]);
    let sent = library.stage.ask(BOB, &query(""));
    assert!(
        sent.contains(&format!(
            "<body>Hi</body><stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"2-1@localhost\" id=\"{id}\"/>"
        )),
        "{sent}"
    );
    assert!(!sent.contains("by='1-1@localhost'") && sent.contains("by='a@b'") && sent.contains("origin-id"), "{sent}");
    let received = library.stage.ask(ADAM, &query(""));
    assert!(received.contains("<message xmlns=\"jabber:client\" from='2-1@localhost/r'"), "{received}");
    assert!(received.contains(&format!("by='1-1@localhost' id='{id}'")), "{received}");
}

// Hostile inputs B15.
#[test]
fn absurd_questions_are_refused_and_change_nothing() {
    let mut library = Library::new();
    library.chat(1, 2, 0, 0);
    let known = library.known[0].id;
    let two_sets = page("") + &page("");
    for (inside, condition) in [
        (page("<max>-1</max>"), "bad-request"),
        (page("<max>NaN</max>"), "bad-request"),
        (page("<index>0</index>"), "feature-not-implemented"),
        (page("<after>nothing</after>"), "item-not-found"),
        (page("<before>000000000000000000000000</before>"), "item-not-found"),
        (two_sets, "bad-request"),
        (filter("start", "0000-00-00T00:00:00Z"), "bad-request"),
        (filter("end", "99999-01-01T00:00:00Z"), "bad-request"),
        (filter("with", "a@@b"), "jid-malformed"),
        (filter("ids", "x"), "item-not-found"),
        (filter("colour", "red"), "feature-not-implemented"),
        (filter("start", "2016-03-23T17:00:00Z").replace("submit", "form"), "bad-request"),
    ] {
        let got = library.stage.ask(BOB, &query(&inside));
        assert_eq!(stage::condition(&got), condition, "{inside}");
    }
    for inside in [
        page("<max>18446744073709551616</max>"),
        page("<max>4294967295</max><before/>"),
        page("<after/>"),
        filter("start", "0001-01-01T00:00:00Z"),
        filter("end", "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(library.stage.ask(BOB, &query(&inside)).matches("<result").count(), 1, "{inside}");
    }
    for inside in [
        filter("start", "9999-12-31T23:59:59Z"),
        filter("end", "1970-01-01T00:00:00Z"),
        page(&format!("<after>{known}</after>")),
        page(&format!("<before>{known}</before>")),
        page(&format!("<before>{known}</before><after>{known}</after>")),
    ] {
        assert_eq!(library.stage.ask(BOB, &query(&inside)), EMPTY, "{inside}");
    }
    let form = library.stage.ask(BOB, "<iq type='get' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>");
    assert!(form.contains("var=\"ids\""), "{form}");
    for wrong in [
        "<iq type='set' id='q'><metadata xmlns='urn:xmpp:mam:2'/></iq>",
        "<iq type='get' id='q'><fin xmlns='urn:xmpp:mam:2'/></iq>",
    ] {
        assert!(library.stage.ask(BOB, wrong).contains("type=\"error\""), "{wrong}");
    }
    library.stage.given(|turn| assert!(!turn.out.as_slice().iter().any(|effect| matches!(effect, Effect::Write(_)))));
}
