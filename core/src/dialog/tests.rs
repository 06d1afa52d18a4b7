//! A dialog with its rows, without a server: plays, counted rows, and any interleaving against a small model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::effect::{Effects, Random, Seat, SessionId, Site};
use crate::jid::user::MessageId;
use crate::model::dialog::{
    Change, Content, Delivery, DialogKind, Draft, MESSAGES, Marks, MessageRow, RECEIPTS, Reader, Receipt as Mark, Which,
};
use crate::model::directory::{MEMBERS, members};
use crate::model::inbox::{self, INBOX};
use crate::model::profile::{Fields, Profile};
use crate::row::{Change as RowChange, Found, Key, Read};
use crate::stanza::{IqKind, MessageKind, PresenceKind, Sender};
use crate::time::{Now, Timestamp};

mod cards;
mod clients;
mod invitations;
mod model;
mod pages;
mod rooms;

const APP: AppId = AppId(7);
const START: u64 = 1_700_000_000;
const GROUP: &str = "53aaa06f535c12cea9007496";

struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        let source = self.0.to_be_bytes();
        for (byte, from) in bytes.iter_mut().zip(source.iter().cycle()) {
            *byte = *from;
        }
    }
}

/// Rows, one dialog over them, and what it wrote to sessions.
struct House {
    rows: BTreeMap<(&'static str, Vec<u8>), Bytes>,
    site: Site,
    now: Timestamp,
    random: Counting,
    id: DialogId,
    dialog: Option<Dialog>,
    /// Stanzas by the session's number, with `to` as it is delivered.
    said: Vec<(u64, String)>,
    /// Stanzas for accounts.
    sent: Vec<(u64, Parcel)>,
    /// Commands for other dialogs.
    passed_on: Vec<(DialogId, Command)>,
    answers: Vec<Answered>,
    handled: Vec<u32>,
    /// Sender and recipient of what nothing came of.
    dropped: Vec<(u64, u64)>,
    gets: usize,
    scans: usize,
    /// Rows of the dialog that were written, and rows of lists.
    written: usize,
    listed: usize,
}

impl House {
    fn new(id: DialogId, users: u64) -> House {
        let mut house = House {
            rows: BTreeMap::new(),
            site: Site::of("localhost"),
            now: Timestamp::from_secs(START),
            random: Counting(0),
            id,
            dialog: None,
            said: Vec::new(),
            sent: Vec::new(),
            passed_on: Vec::new(),
            answers: Vec::new(),
            handled: Vec::new(),
            dropped: Vec::new(),
            gets: 0,
            scans: 0,
            written: 0,
            listed: 0,
        };
        for user in 1..=users {
            let profile = Profile {
                id: UserId(user),
                fields: Fields::default(),
                created_at: house.now,
                updated_at: house.now,
                last_request_at: None,
                version: 1,
                secret_version: 1,
            };
            let key = members::key(APP, UserId(user)).as_slice().to_vec();
            house.rows.insert((MEMBERS.name(), key), profile.row());
        }
        house
    }

    fn group(members: u64) -> House {
        let mut house = House::new(GROUP.parse().expect("an id"), members);
        let occupants = (2..=members).map(UserId).collect();
        let answer = house.ask(Command::Create {
            by: UserId(1),
            kind: DialogKind::Group,
            name: Some("Lunch".into()),
            photo: None,
            occupants,
            data: None,
        });
        assert!(matches!(answer, Answer::Dialog { .. }), "{answer:?}");
        house
    }

    fn private() -> House {
        House::new(DialogId::private(&Site::of("localhost").pairs, APP, UserId(1), UserId(2)), 3)
    }

    fn read(&mut self, reads: &Reads) -> Rows {
        let key_of = |table: &'static str, key: &Key| (table, key.as_slice().to_vec());
        let mut found = Vec::new();
        for read in &reads.0 {
            match read {
                Read::Get(table, key) => {
                    self.gets += 1;
                    found.push(Found::Row(self.rows.get(&key_of(table.name(), key)).cloned()));
                }
                Read::Scan { table, range, limit, backwards } => {
                    self.scans += 1;
                    let rows = self.rows.range(key_of(table.name(), &range.start)..key_of(table.name(), &range.end));
                    let row = |((_, key), row): (&(&str, Vec<u8>), &Bytes)| (Key::from_bytes(key), row.clone());
                    let page = if *backwards {
                        rows.rev().take(*limit).map(row).collect()
                    } else {
                        rows.take(*limit).map(row).collect()
                    };
                    found.push(Found::Page(page));
                }
            }
        }
        Rows::new(found)
    }

    fn commit(&mut self, batch: Batch) {
        for change in batch.0 {
            let (RowChange::Put(table, ..) | RowChange::Delete(table, _) | RowChange::DeleteRange(table, _)) = &change;
            if **table == INBOX {
                self.listed += 1
            } else {
                self.written += 1
            }
            match change {
                RowChange::Put(table, key, row) => drop(self.rows.insert((table.name(), key.as_slice().to_vec()), row)),
                RowChange::Delete(table, key) => drop(self.rows.remove(&(table.name(), key.as_slice().to_vec()))),
                RowChange::DeleteRange(table, range) => self.rows.retain(|(name, key), _| {
                    *name != table.name() || &**key < range.start.as_slice() || range.end.as_slice() <= &**key
                }),
            }
        }
    }

    fn reload(&mut self) {
        if self.dialog.as_ref().is_none_or(|dialog| !dialog.is_occupied()) {
            self.dialog = None;
        }
    }

    fn note(&mut self, note: Note) {
        let mut dialog = match self.dialog.take() {
            Some(dialog) => dialog,
            None => {
                let rows = self.read(&Dialog::load_reads(APP, self.id));
                Dialog::load(APP, self.id, rows).expect("as it was written")
            }
        };
        let mut out = Effects::new();
        let mut rows = None;
        let mut note = Some(note);
        loop {
            let instant = crate::time::Instant::START;
            let mut turn = Turn {
                now: Now { instant, stamp: self.now },
                site: &self.site,
                random: &mut self.random,
                out: &mut out,
            };
            let progress = match note.take() {
                Some(note) => dialog.note(note, &mut turn),
                None => dialog.resume(rows.take().expect("rows were asked for"), &mut turn),
            };
            match progress.expect("as it was written") {
                Progress::Done => break,
                Progress::Needs(reads) => {
                    assert!(out.is_empty(), "nothing happens before the rows are there");
                    rows = Some(self.read(&reads));
                }
            }
        }
        self.dialog = Some(dialog);
        for effect in out.drain() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Write(batch) | Effect::WriteBehind(batch) => self.commit(batch),
            Effect::Fanout(stanza, seats) => {
                for Seat { session, jid, .. } in seats.iter() {
                    let mut bytes = Vec::new();
                    crate::xml::splice::with_attribute(&stanza, "to", jid, &mut bytes);
                    let mut nodes = crate::xml::Nodes::new();
                    let parsed = nodes.parse(&bytes, &crate::xml::Context::CLIENT, &crate::xml::Limits::STANZA);
                    assert!(parsed.is_ok(), "{}", String::from_utf8_lossy(&bytes));
                    self.said.push((session.0, String::from_utf8(bytes).expect("text")));
                }
            }
            Effect::Send(Owner::Account(id), Note::Stanza(parcel)) => self.sent.push((id.user.0, parcel)),
            Effect::Send(Owner::Account(id), Note::Dropped(from)) => self.dropped.push((from.0, id.user.0)),
            Effect::Send(Owner::Account(_), Note::Handled { seq, .. }) => self.handled.push(seq),
            Effect::Send(
                Owner::Account(id),
                Note::Command { command: AnyCommand::Account(crate::model::account::Command::Inbox(command)), .. },
            ) => {
                let mut out = Effects::new();
                let now = Now { instant: crate::time::Instant::START, stamp: self.now };
                let mut turn = Turn { now, site: &self.site, random: &mut self.random, out: &mut out };
                inbox::apply(id, command, false, &mut turn);
                for effect in out.drain() {
                    self.perform(effect);
                }
            }
            Effect::Send(Owner::App(_), Note::Command { .. }) => {}
            Effect::Send(Owner::Dialog(_, to), Note::Command { command: AnyCommand::Dialog(command), .. }) => {
                self.passed_on.push((to, command));
            }
            Effect::Answer(_, AnyAnswer::Dialog(answer)) => self.answers.push(*answer),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn ask(&mut self, command: Command) -> Answer {
        let reply = Some(ReplyTo { shard: 0, ticket: 1 });
        self.note(Note::Command { command: AnyCommand::Dialog(command), reply, job: None });
        self.answers.pop().expect("an answer").answer
    }

    fn from(&self, user: u64) -> Sender {
        let jid = format!("{user}-7@localhost/d{user}").into();
        Sender { jid, account: Some(AccountId { app: APP, user: UserId(user) }) }
    }

    /// A stanza as the sender's account passes it on to the room.
    fn visit(&mut self, user: u64, session: u64, nick: Option<&str>, kind: Kind, stanza: &str) {
        let stamped =
            stanza.replacen(' ', &format!(" from=\"{}@muc.localhost/{user}\" ", dialog::room(APP, self.id)), 1);
        let parcel = Parcel::new(self.from(user), nick.map(Into::into), kind, stamped.into_bytes().into());
        self.note(Note::Visit { session: SessionId(session), id_used: false, parcel });
    }

    /// What shows whose words something is.
    fn occupant(&self, user: u64) -> String {
        let id = self.site.occupants.id(APP, self.id, UserId(user));
        format!("<occupant-id xmlns=\"urn:xmpp:occupant-id:0\" id=\"{id}\"/>")
    }

    /// Enters as clients do that are no SDKs.
    fn enter(&mut self, user: u64, session: u64) {
        self.visit(
            user,
            session,
            Some(&user.to_string()),
            PRESENCE,
            "<presence id='e'><x xmlns='http://jabber.org/protocol/muc'><history maxchars='0'/></x></presence>",
        );
    }

    /// Enters as the SDK for JavaScript does.
    fn join(&mut self, user: u64, session: u64) {
        let stanza =
            "<presence id='j:join'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>";
        self.visit(user, session, Some(&user.to_string()), PRESENCE, stanza);
    }

    fn groupchat(&mut self, user: u64, session: u64, stanza: &str) {
        self.visit(user, session, None, GROUPCHAT, stanza);
    }

    /// What a session heard since this was last asked.
    fn heard(&mut self, session: u64) -> Vec<String> {
        let (own, others) = std::mem::take(&mut self.said).into_iter().partition(|(to, _)| *to == session);
        self.said = others;
        let own: Vec<(u64, String)> = own;
        own.into_iter().map(|(_, stanza)| stanza).collect()
    }

    /// A chat message as the sender's account passes it on.
    fn private_message(&mut self, from: u64, to: u64, attributes: &str, children: &str) {
        let stanza = format!(
            "<message from=\"{from}-7@localhost/d{from}\" to='{to}-7@localhost' type='chat' {attributes}>{children}</message>"
        );
        let kind = Kind::Message { kind: MessageKind::Chat, lasting: true };
        let parcel = Parcel::new(self.from(from), None, kind, stanza.into_bytes().into());
        let to = AccountId { app: APP, user: UserId(to) };
        self.note(Note::Round { to, parcel: Parcel { way: Way::ToKeep, ..parcel } });
    }

    fn save(&mut self, by: u64, text: &str) -> MessageId {
        let id = MessageId::drawn(self.now, self.random.0.wrapping_mul(77).to_be_bytes());
        self.random.0 += 1;
        let content = Content { text: Some(text.into()), ..Content::default() };
        let draft =
            Draft { by: UserId(by), id, to: None, content, markable: false, delivery: Delivery::None, admitted: true };
        assert!(matches!(self.ask(Command::Save(draft)), Answer::Message { .. }));
        id
    }

    /// The history as the API has it.
    fn messages(&self) -> Vec<(u64, MessageRow)> {
        self.archive().into_iter().filter(|(_, row)| row.is_message()).collect()
    }

    /// The history with all that archives have besides.
    fn archive(&self) -> Vec<(u64, MessageRow)> {
        let of = |name| self.rows.range((name, Vec::new())..(name, vec![0xff; 40]));
        let row = |((_, key), row): (&(&str, Vec<u8>), &Bytes)| {
            (dialog::order_of(&Key::from_bytes(key)).unwrap(), MessageRow::decode(row).unwrap())
        };
        of(MESSAGES.name()).map(row).collect()
    }

    /// The two rows that tell what a user has not read.
    fn unread(&mut self, user: u64) -> u64 {
        let reads = dialog::view::unread_reads(APP, self.id, UserId(user));
        assert!(reads.0.len() == 2 && reads.0.iter().all(|read| matches!(read, Read::Get(..))));
        let mut rows = self.read(&reads);
        dialog::view::unread(&mut rows).unwrap()
    }

    fn lists(&mut self, user: u64) -> Vec<inbox::Entry> {
        let id = AccountId { app: APP, user: UserId(user) };
        let mut rows = self.read(&inbox::reads(id, 100));
        inbox::listed(&mut rows).unwrap()
    }
}

const PRESENCE: Kind = Kind::Presence { kind: PresenceKind::Available, directed: true };
const GONE: Kind = Kind::Presence { kind: PresenceKind::Unavailable, directed: true };
const GROUPCHAT: Kind = Kind::Message { kind: MessageKind::Groupchat, lasting: true };
const CHAT: Kind = Kind::Message { kind: MessageKind::Chat, lasting: true };
const SAVED: &str = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>";

fn ids(numbers: &[u64]) -> Vec<UserId> {
    numbers.iter().copied().map(UserId).collect()
}

#[test]
fn a_saved_message_goes_out_with_what_the_server_says_of_it() {
    let mut house = House::private();
    let id = "54789d5e6df5e6f921b7acda";
    let children = format!(
        "<body>Hi</body><markable xmlns='urn:xmpp:chat-markers:0'/>\
         <extraParams xmlns='jabber:client'><save_to_history>0</save_to_history><dialog_id>null</dialog_id><age>25</age>\
         <date_sent>{}</date_sent><message_id>x</message_id><sender_id>99</sender_id><attachment type='photo' id='1'/></extraParams>",
        START - 3
    );
    house.private_message(1, 2, &format!("id='{id}' xml:lang='en'"), &children);
    let (to, parcel) = house.sent.pop().expect("a delivery");
    assert_eq!(to, 2);
    let dialog = house.id;
    assert_eq!(
        std::str::from_utf8(&parcel.stanza).unwrap(),
        format!(
            "<message from=\"1-7@localhost/d1\" to='2-7@localhost' type='chat' id='{id}' xml:lang='en'><body>Hi</body>\
             <markable xmlns='urn:xmpp:chat-markers:0'/><extraParams xmlns='jabber:client'><save_to_history>0</save_to_history>\
             <age>25</age><sender_id>99</sender_id><attachment type='photo' id='1'/><date_sent>{}</date_sent>\
             <dialog_id>{dialog}</dialog_id><message_id>{id}</message_id></extraParams>\
             <stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"2-7@localhost\" id=\"{id}\"/></message>",
            START - 3
        )
    );
    let (_, row) = house.messages().pop().unwrap();
    assert_eq!((row.id.to_string().as_str(), row.sender, row.recipient), (id, UserId(1), Some(UserId(2))));
    assert_eq!(row.date_sent, START - 3);
    let content = row.content();
    assert_eq!(content.custom, [("age".to_owned(), "25".to_owned())]);
    assert_eq!((house.unread(1), house.unread(2)), (0, 1));
    let record = house.dialog.as_ref().unwrap().record().unwrap();
    assert_eq!((record.kind, record.owner, &*record.occupants), (DialogKind::Private, UserId(1), &*ids(&[1, 2])));
    assert_eq!((house.lists(1).len(), house.lists(2).len()), (1, 1));

    // The same id is the same message, whoever has forgotten what in the meantime.
    house.private_message(1, 2, &format!("id='{id}'"), SAVED);
    assert!(house.sent.is_empty());
    house.reload();
    house.private_message(1, 2, &format!("id='{id}'"), SAVED);
    assert_eq!(house.sent.len(), 1, "what a crash may have kept from the recipient goes out again");
    assert_eq!(house.sent[0].1.stanza, parcel.stanza);
    assert_eq!((house.messages().len(), house.unread(2)), (1, 1));

    // The other's use of the id is another message.
    house.private_message(2, 1, &format!("id='{id}'"), SAVED);
    assert_eq!((house.messages().len(), house.unread(1), house.unread(2)), (2, 1, 1));
    house.private_message(2, 1, "id='no hex'", SAVED);
    assert_eq!(house.messages().len(), 3);
}

#[test]
fn nobody_writes_to_users_who_do_not_exist() {
    let mut house = House::new(DialogId::private(&Site::of("localhost").pairs, APP, UserId(1), UserId(9)), 3);
    house.private_message(1, 9, "id='a'", SAVED);
    assert!(house.sent.is_empty() && house.messages().is_empty() && !house.dialog.as_ref().unwrap().exists());
    assert_eq!(house.dropped, [(1, 9)]);
}

#[test]
fn a_private_dialog_is_found_instead_of_made_twice_and_comes_back() {
    let mut house = House::private();
    let create = |by: u64, others: &[u64]| Command::Create {
        by: UserId(by),
        kind: DialogKind::Private,
        name: Some("ignored".into()),
        photo: None,
        occupants: ids(others),
        data: None,
    };
    assert_eq!(house.ask(create(1, &[])), Answer::Refused(Refusal::WrongOccupants));
    assert_eq!(house.ask(create(1, &[2, 3])), Answer::Refused(Refusal::TooManyForPrivate));
    assert_eq!(house.ask(create(1, &[3])), Answer::Refused(Refusal::Taken));
    let Answer::Dialog { record, .. } = house.ask(create(1, &[2, 1])) else { panic!("made") };
    assert_eq!((record.owner, record.name), (UserId(1), None));
    let Answer::Dialog { record, .. } = house.ask(create(2, &[1])) else { panic!("found") };
    assert_eq!(record.owner, UserId(1));

    assert_eq!(house.ask(Command::Delete { by: UserId(2), force: false }), Answer::Done);
    assert_eq!((house.lists(1).len(), house.lists(2).len()), (1, 0));
    house.save(1, "hello");
    assert_eq!((house.lists(1).len(), house.lists(2).len()), (1, 1), "a message brings it back");
    house.ask(Command::Delete { by: UserId(2), force: false });
    house.save(1, "within the same second");
    assert_eq!(house.lists(2).len(), 1);
    house.ask(Command::Delete { by: UserId(2), force: false });
    house.ask(create(2, &[1]));
    assert_eq!(house.lists(2).len(), 1, "so does making it again");
    assert_eq!(house.ask(Command::Delete { by: UserId(2), force: true }), Answer::Refused(Refusal::Forbidden));
    assert_eq!(house.ask(Command::Delete { by: UserId(3), force: false }), Answer::Refused(Refusal::Forbidden));
    let moves = Change { push: ids(&[3]), ..Change::default() };
    assert_eq!(house.ask(Command::Update { by: UserId(1), change: moves }), Answer::Refused(Refusal::WrongOccupants));
    assert_eq!(house.ask(Command::Delete { by: UserId(1), force: true }), Answer::Done);
    assert!(house.messages().is_empty() && house.lists(1).is_empty() && house.lists(2).is_empty());
    assert_eq!(house.ask(Command::Delete { by: UserId(1), force: true }), Answer::Refused(Refusal::NoDialog));
}

#[test]
fn a_group_changes_by_its_rules() {
    let mut house = House::group(4);
    let update = |house: &mut House, by: u64, push: &[u64], pull: &[u64]| {
        let change = Change { push: ids(push), pull: ids(pull), ..Change::default() };
        match house.ask(Command::Update { by: UserId(by), change }) {
            Answer::Dialog { record, .. } => Ok(record.occupants.iter().map(|user| user.0).collect::<Vec<_>>()),
            Answer::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(update(&mut house, 2, &[], &[3]), Err(Refusal::Forbidden));
    assert_eq!(update(&mut house, 5, &[5], &[]), Err(Refusal::Forbidden));
    assert_eq!(update(&mut house, 2, &[99], &[]), Err(Refusal::UnknownUsers));
    assert_eq!(update(&mut house, 1, &[], &[3, 77]), Ok(vec![1, 2, 4]));
    assert!(house.lists(3).is_empty());
    assert_eq!(update(&mut house, 2, &[3, 1], &[]), Ok(vec![1, 2, 3, 4]));
    assert_eq!(house.lists(3).len(), 1);
    assert_eq!(update(&mut house, 4, &[], &[4]), Ok(vec![1, 2, 3]));
    assert_eq!(house.ask(Command::Delete { by: UserId(3), force: false }), Answer::Done);
    assert_eq!(house.ask(Command::Delete { by: UserId(2), force: true }), Answer::Refused(Refusal::Forbidden));
    let change = Change { name: Some("New".into()), photo: Some(Some("1".into())), ..Change::default() };
    let Answer::Dialog { record, .. } = house.ask(Command::Update { by: UserId(2), change }) else { panic!("changed") };
    assert_eq!((record.name.as_deref(), record.photo.as_deref()), (Some("New"), Some("1")));
    house.ask(Command::Delete { by: UserId(1), force: false });
    house.ask(Command::Delete { by: UserId(2), force: false });
    assert!(!house.dialog.as_ref().unwrap().exists(), "the last one takes it along");
}

#[test]
fn marks_count_once_and_only_for_occupants() {
    let mut house = House::group(3);
    let one = house.save(1, "one");
    let two = house.save(1, "two");
    let mark = |by: u64, ids: &[MessageId], read: Option<bool>| Command::Mark {
        by: UserId(by),
        which: Which::Ids(ids.to_vec()),
        marks: Marks { read, delivered: read.is_none() },
        astray: false,
    };
    assert_eq!(house.ask(mark(9, &[one], Some(true))), Answer::Refused(Refusal::Forbidden));
    let nowhere = MessageId::drawn(Timestamp::default(), [9; 8]);
    let answer = house.ask(mark(2, &[one, nowhere, one], Some(true)));
    assert_eq!(answer, Answer::Sorted { done: vec![one], denied: vec![], missing: vec![nowhere] });
    house.ask(mark(2, &[one], Some(true)));
    assert_eq!((house.unread(1), house.unread(2), house.unread(3)), (0, 1, 2));
    house.ask(mark(1, &[one, two], Some(false)));
    assert_eq!(house.unread(1), 0, "one's own are never unread");
    house.ask(mark(2, &[one], Some(false)));
    assert_eq!(house.unread(2), 2);
    house.ask(mark(2, &[one], None));
    assert_eq!(house.unread(2), 2, "delivered is not read");
    let before = house.written;
    house.ask(mark(3, &[two], Some(true)));
    assert_eq!(house.written - before, 2, "a mark and a reader, and no message");
    // A marker over XMPP, with nobody waiting.
    house.note(Note::Command { command: mark(3, &[one], Some(true)).into(), reply: None, job: None });
    assert_eq!(house.unread(3), 0);
}

#[test]
fn a_marker_that_names_no_dialog_finds_its_message_in_a_group() {
    let mut house = House::group(3);
    let message = house.save(1, "hi");
    let group = house.id;
    // It came to the dialog of the two, which does not exist.
    house.dialog = None;
    house.id = DialogId::private(&Site::of("localhost").pairs, APP, UserId(1), UserId(2));
    let marks = Marks { read: Some(true), delivered: true };
    let mark = |by, id| Command::Mark { by: UserId(by), which: Which::Ids(vec![id]), marks, astray: true };
    let note = |command: Command| Note::Command { command: AnyCommand::Dialog(command), reply: None, job: None };
    house.note(note(mark(2, message)));
    let passed_on = std::mem::take(&mut house.passed_on);
    assert_eq!(passed_on.len(), 1);
    assert_eq!(passed_on[0].0, group);
    // Who is not in the group, and what nobody has sent.
    house.note(note(mark(9, message)));
    house.note(note(mark(2, MessageId::drawn(house.now, [9; 8]))));
    assert!(house.passed_on.is_empty());
    house.dialog = None;
    house.id = group;
    house.note(note(passed_on.into_iter().next().unwrap().1));
    assert_eq!(house.unread(2), 0);
    assert_eq!(house.unread(3), 1);
}

#[test]
fn saving_costs_the_same_in_a_dialog_of_two_and_of_ten_thousand() {
    let mut costs = Vec::new();
    for members in [2, 10_000] {
        let mut house = House::group(members);
        house.save(1, "the first says that lists are behind");
        let (written, gets, scans, listed) = (house.written, house.gets, house.scans, house.listed);
        house.now = Timestamp::from_secs(START + 10);
        house.save(1, "hello");
        costs.push((house.written - written, house.gets - gets, house.scans - scans));
        // In small groups lists are reordered too: one row goes and one comes.
        assert_eq!(house.listed - listed, if members > 300 { 0 } else { 2 * members as usize });
        assert_eq!(house.unread(2), 2);
    }
    // Only whether its id is new is asked of the store: the sender spoke before.
    assert_eq!(costs, [(4, 1, 0), (4, 1, 0)]);
}

#[test]
fn rest_messages_go_out_like_any_other() {
    let mut house = House::group(2);
    house.join(2, 22);
    house.said.clear();
    let id: MessageId = "546dbf438c54ad2aded63b25".parse().unwrap();
    let content = Content {
        text: Some("a<b".into()),
        custom: vec![("age".into(), "25".into()), ("read".into(), "1".into())],
        ..Content::default()
    };
    let draft =
        Draft { by: UserId(1), id, to: None, content, markable: true, delivery: Delivery::Chat, admitted: true };
    let Answer::Message { row, .. } = house.ask(Command::Save(draft.clone())) else { panic!("saved") };
    assert_eq!(row.content().custom.len(), 1);
    let heard = house.heard(22);
    assert_eq!(
        heard[0],
        format!(
            "<message to=\"2-7@localhost/d2\" from=\"7_{GROUP}@muc.localhost/1\" type=\"groupchat\" id=\"{id}\">\
             <markable xmlns=\"urn:xmpp:chat-markers:0\"/><body>a&lt;b</body><extraParams xmlns=\"jabber:client\">\
             <save_to_history>1</save_to_history><age>25</age><date_sent>{START}</date_sent><application_id>7</application_id>\
             <dialog_id>{GROUP}</dialog_id><message_id>{id}</message_id></extraParams>\
             <stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"7_{GROUP}@muc.localhost\" id=\"{id}\"/>{}</message>",
            house.occupant(1)
        )
    );
    let Answer::Message { row: again, .. } = house.ask(Command::Save(draft.clone())) else { panic!("found") };
    assert_eq!(again, row);
    assert!(house.said.is_empty() && house.messages().len() == 1);
    let notice = Draft { id: MessageId::drawn(house.now, [3; 8]), delivery: Delivery::System, ..draft };
    house.ask(Command::Save(notice));
    let (to, parcel) = house.sent.pop().unwrap();
    let stanza = std::str::from_utf8(&parcel.stanza).unwrap();
    assert!(
        to == 2 && stanza.contains("type=\"headline\"") && stanza.contains("<moduleIdentifier>SystemNotifications")
    );
    assert_eq!(house.messages().len(), 1, "a notification is not kept");
}
