//! A dialog with its rows, without a server: plays, counted rows, and any interleaving against a small model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

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
    assert_eq!(costs, [(4, 2, 0), (4, 2, 0)]);
}

#[test]
fn the_room_shows_who_comes_and_goes_as_the_sdks_expect() {
    let mut house = House::group(3);
    house.join(1, 11);
    let heard = house.heard(11);
    let room = format!("7_{GROUP}@muc.localhost");
    assert_eq!(
        heard[0],
        format!(
            "<presence to=\"1-7@localhost/d1\" from=\"{room}/1\" id=\"j:join\"><x xmlns=\"http://jabber.org/protocol/muc#user\">\
             <item affiliation=\"owner\" role=\"moderator\" nick=\"1\" jid=\"1-7@localhost/d1\"/><status code=\"110\"/></x>{}</presence>",
            house.occupant(1)
        )
    );
    assert_eq!(heard.len(), 1, "a subject would be shown as a message: {heard:?}");
    house.join(2, 22);
    let heard = house.heard(22);
    assert_eq!(heard.len(), 2);
    assert!(
        heard[0].contains(&format!("from=\"{room}/1\"")) && !heard[0].contains("<status"),
        "others first: {heard:?}"
    );
    assert!(heard[0].contains(" id="), "the SDK reads it without a check");
    assert!(heard[1].contains("<status code=\"110\"/>"));
    let told = house.heard(11);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!("from=\"{room}/2\"")) && !told[0].contains("<status"));
    // A second device of the same user is nobody new.
    house.join(2, 23);
    assert_eq!((house.heard(11).len(), house.heard(22).len(), house.heard(23).len()), (0, 0, 2));
    house.visit(2, 22, Some("2"), GONE, "<presence type='unavailable'/>");
    let heard = house.heard(22);
    assert!(heard[0].contains("type=\"unavailable\"") && heard[0].contains("<status code=\"110\"/>"));
    assert!(house.heard(11).is_empty());
    house.note(Note::Absent { account: AccountId { app: APP, user: UserId(2) }, session: SessionId(23) });
    let heard = house.heard(11);
    assert!(heard[0].contains("type=\"unavailable\"") && !heard[0].contains("<status"), "{heard:?}");
    // Again while in: the same answer. Another nick: one's own, said so after 110.
    house.join(1, 11);
    assert!(house.heard(11)[0].contains("id=\"j:join\""));
    house.visit(
        3,
        33,
        Some("romeo"),
        PRESENCE,
        "<presence id='x'><show>away</show><x xmlns='http://jabber.org/protocol/muc'/></presence>",
    );
    let heard = house.heard(33);
    assert!(
        heard[1].contains(&format!("from=\"{room}/3\""))
            && heard[1].contains("<status code=\"110\"/><status code=\"100\"/><status code=\"210\"/>")
    );
    assert!(heard[1].contains("<show>away</show>"));
}

#[test]
fn nobody_else_comes_in() {
    let mut house = House::group(2);
    house.join(3, 33);
    let heard = house.heard(33);
    assert!(
        heard[0]
            .contains("type=\"error\" id=\"j:join\"><x xmlns=\"http://jabber.org/protocol/muc\"/><error code=\"500\""),
        "{heard:?}"
    );
    assert!(heard[0].contains("<registration-required"));
    let mut nowhere = House::new(DialogId::private(&Site::of("localhost").pairs, APP, UserId(5), UserId(6)), 2);
    nowhere.join(1, 11);
    assert!(nowhere.heard(11)[0].contains("<item-not-found"));
    nowhere.groupchat(1, 11, "<message id='m' type='groupchat'><body>x</body></message>");
    let heard = nowhere.heard(11);
    assert!(
        heard[0].contains("There is no such room.")
            && heard[0].contains("<body>x</body>")
            && heard[0].contains("id=\"m\"")
    );
    // A private dialog has no room, not even for its two.
    let mut private = House::private();
    private.private_message(1, 2, "id='a'", SAVED);
    private.join(1, 11);
    assert!(private.heard(11)[0].contains("<item-not-found"));
}

#[test]
fn what_is_said_in_the_room_reaches_all_and_is_kept_if_asked() {
    let mut house = House::group(3);
    for (user, session) in [(1, 11), (2, 22), (2, 23)] {
        house.join(user, session);
    }
    house.said.clear();
    house.groupchat(
        1,
        11,
        "<message id='c' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    );
    assert_eq!((house.heard(11).len(), house.heard(22).len(), house.heard(23).len()), (1, 1, 1));
    assert!(house.messages().is_empty());
    let id = "546dbf438c54ad2aded63b25";
    let saved = format!(
        "<message id='{id}' type='groupchat'><body>Hi</body><delay xmlns='urn:xmpp:delay' stamp='x'/>{SAVED}</message>"
    );
    house.groupchat(2, 22, &saved);
    let heard = house.heard(22);
    let room = format!("7_{GROUP}@muc.localhost");
    assert_eq!(
        heard[0],
        format!(
            "<message to=\"2-7@localhost/d2\" from=\"{room}/2\" id='{id}' type='groupchat'><body>Hi</body>\
             <extraParams xmlns='jabber:client'><save_to_history>1</save_to_history><date_sent>{START}</date_sent>\
             <dialog_id>{GROUP}</dialog_id><message_id>{id}</message_id></extraParams>\
             <stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"{room}\" id=\"{id}\"/>{}</message>",
            house.occupant(2)
        )
    );
    assert_eq!((house.heard(11).len(), house.heard(23).len()), (1, 1));
    assert_eq!((house.unread(1), house.unread(2), house.unread(3)), (1, 0, 1));
    // Sent again: only its sender hears it.
    house.groupchat(2, 22, &saved);
    assert_eq!((house.heard(11).len(), house.heard(22).len(), house.heard(23).len()), (0, 1, 0));
    assert_eq!(house.messages().len(), 1);
    // Not in the room, or in no dialog.
    house.groupchat(3, 33, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(33)[0].contains("<not-acceptable"));
    house.groupchat(9, 99, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(99)[0].contains("Insufficient privileges to send groupchat message."));
    house.visit(1, 11, Some("2"), GROUPCHAT, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(11)[0].contains("<bad-request"));
    assert!(house.said.is_empty());
    // A word in private.
    let chat = Kind::Message { kind: MessageKind::Chat, lasting: true };
    house.visit(1, 11, Some("2"), chat, "<message id='p' type='chat'><body>psst</body></message>");
    let occupant = house.occupant(1);
    assert!(house.heard(22)[0].contains(&format!("<x xmlns=\"http://jabber.org/protocol/muc#user\"/>{occupant}")));
    assert_eq!(house.heard(23).len(), 1);
    house.visit(1, 11, Some("3"), chat, "<message id='p' type='chat'><body>psst</body></message>");
    assert!(house.heard(11)[0].contains("<item-not-found"));
}

#[test]
fn a_room_keeps_all_that_is_said_where_the_operator_wants_that() {
    let mut house = House::group(2);
    house.join(1, 11);
    let say = |house: &mut House, children: &str| {
        house.groupchat(1, 11, &format!("<message type='groupchat' id='m'>{children}</message>"))
    };
    say(&mut house, "<body>before</body>");
    house.site.archiving.rooms = true;
    say(&mut house, "<body>after</body>");
    say(&mut house, "<composing xmlns='http://jabber.org/protocol/chatstates'/>");
    say(&mut house, "<body>hush</body><no-store xmlns='urn:xmpp:hints'/>");
    let kept: Vec<_> = house.messages().into_iter().map(|(_, row)| row.content().text.clone()).collect();
    assert_eq!(kept, [Some("after".to_owned())]);
    let heard = house.heard(11).concat();
    assert!(["before", "after", "hush"].iter().all(|text| heard.contains(text)), "{heard}");
    assert_eq!(heard.matches("<stanza-id").count(), 1);
}

#[test]
fn whoever_is_taken_out_is_out_of_the_room_at_once() {
    let mut house = House::group(3);
    for (user, session) in [(1, 11), (2, 22), (3, 33)] {
        house.join(user, session);
    }
    house.said.clear();
    let change = Change { pull: ids(&[2]), ..Change::default() };
    house.ask(Command::Update { by: UserId(1), change });
    let heard = house.heard(22);
    assert!(heard[0].contains("type=\"unavailable\""));
    assert!(heard[0].contains("<item affiliation=\"none\" role=\"none\" nick=\"2\"><actor jid=\"1-7@localhost\"/></item><status code=\"301\"/>"));
    let others = house.heard(33);
    assert!(others[0].contains("type=\"unavailable\"") && !others[0].contains("<status"));
    house.join(2, 22);
    assert!(house.heard(22)[0].contains("type=\"error\""));
    house.groupchat(2, 22, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(22)[0].contains("type=\"error\""));
    house.ask(Command::Delete { by: UserId(1), force: true });
    let heard = house.heard(33);
    assert!(
        heard[0].contains("<destroy>")
            && heard[0].contains("<actor jid=\"1-7@localhost\"/>")
            && heard[0].contains("<status code=\"301\"/>")
    );
    assert!(!house.dialog.as_ref().unwrap().is_occupied());
}

#[test]
fn history_on_join_is_the_one_history() {
    let mut house = House::group(2);
    for number in 1..=30 {
        house.now = Timestamp::from_secs(START + number);
        house.save(1 + number % 2, &format!("m{number}"));
    }
    let last = house.messages().pop().unwrap().1.id;
    house.ask(Command::Remove { by: UserId(2), ids: vec![last], force: false });
    let mut asked = |history: &str| {
        let stanza = format!("<presence id='j'><x xmlns='http://jabber.org/protocol/muc'>{history}</x></presence>");
        house.visit(2, 22, Some("2"), PRESENCE, &stanza);
        let heard = house.heard(22);
        let bodies = heard.iter().filter_map(|stanza| stanza.split("<body>").nth(1)?.split('<').next());
        bodies.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(asked("<history maxstanzas='0'/>"), Vec::<String>::new());
    assert_eq!(asked("<history maxstanzas='3'/>"), ["m28", "m29"], "what one has deleted does not come back");
    assert_eq!(asked("<history seconds='2'/>"), ["m28", "m29"]);
    assert_eq!(asked("").len(), 19);
    assert_eq!(asked("<history maxstanzas='1000000' since='1970-01-01T00:00:00Z'/>").len(), 29);
    assert_eq!(asked("<history maxchars='900'/>"), ["m29"]);
}

#[test]
fn the_room_answers_questions() {
    let mut house = House::group(2);
    house.join(1, 11);
    house.join(2, 22);
    house.said.clear();
    let mut asked = |user: u64, kind: IqKind, nick: Option<&str>, payload: &str| {
        let attribute = if kind == IqKind::Get { "get" } else { "set" };
        house.visit(user, user * 11, nick, Kind::Iq(kind), &format!("<iq type='{attribute}' id='q'>{payload}</iq>"));
        house.heard(user * 11).pop().unwrap()
    };
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let answer = asked(2, IqKind::Get, None, info);
    assert!(
        answer.contains("type=\"result\" id=\"q\"")
            && answer.contains("name=\"Lunch\"")
            && answer.contains("muc_membersonly")
    );
    assert!(asked(3, IqKind::Get, None, info).contains("There is no such room."));
    let items = asked(2, IqKind::Get, None, "<query xmlns='http://jabber.org/protocol/disco#items'/>");
    assert_eq!(items.matches("<item ").count(), 2);
    let members = "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member'/></query>";
    assert!(asked(2, IqKind::Get, None, members).contains("jid=\"2-7@localhost\""));
    assert!(asked(3, IqKind::Get, None, members).contains("item-not-found"));
    let owner = "<query xmlns='http://jabber.org/protocol/muc#owner'/>";
    assert!(asked(2, IqKind::Get, None, owner).contains("<forbidden"));
    assert!(asked(1, IqKind::Get, None, owner).contains("muc#roomconfig_membersonly"));
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    assert!(asked(1, IqKind::Get, Some("1"), ping).contains("type=\"result\""));
    assert!(asked(3, IqKind::Get, Some("1"), ping).contains("type=\"error\""));
}

/// Sends an order of two: one of a user, and what came of it.
fn order(house: &mut House, user: u64, space: &str, inside: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#{space}'>{inside}</query>");
    house.visit(user, user * 11, None, Kind::Iq(IqKind::Set), &format!("<iq type='set' id='o'>{query}</iq>"));
    let heard = house.heard(user * 11);
    heard.into_iter().find(|stanza| stanza.starts_with("<iq")).expect("every order is answered")
}

#[test]
fn orders_in_the_room_are_changes_of_the_dialog() {
    let mut house = House::group(6);
    for user in 1..=3 {
        house.join(user, user * 11);
    }
    house.said.clear();
    let members = |house: &House| -> Vec<u64> {
        house.dialog.as_ref().unwrap().record().unwrap().occupants.iter().map(|user| user.0).collect()
    };
    let out: String = [4, 5, 6].iter().map(|user| format!("<item affiliation='none' nick='{user}'/>")).collect();
    assert!(order(&mut house, 2, "admin", &out).contains("<forbidden"));
    assert!(order(&mut house, 1, "admin", &out).contains("type=\"result\""));
    assert_eq!(members(&house), [1, 2, 3]);
    // Any occupant adds; only the owner takes others out.
    let add = "<item affiliation='member' jid='5-7@localhost'/><item affiliation='member' nick='6'/>";
    assert!(order(&mut house, 2, "admin", add).contains("type=\"result\""));
    assert_eq!(members(&house), [1, 2, 3, 5, 6]);
    let take = "<item affiliation='none' jid='3-7@localhost/any'/><item affiliation='none' nick='6'/>";
    assert!(order(&mut house, 2, "admin", take).contains("<forbidden"));
    assert!(order(&mut house, 1, "admin", take).contains("type=\"result\""));
    assert_eq!(members(&house), [1, 2, 5]);
    let told = house.heard(33).concat();
    assert!(told.contains("<status code=\"301\"/>") && told.contains("affiliation=\"none\""), "{told}");
    // Out of the room, and in again.
    assert!(order(&mut house, 2, "admin", "<item role='none' nick='1'/>").contains("<forbidden"));
    assert!(order(&mut house, 1, "admin", "<item role='none' nick='1'/>").contains("<not-allowed"));
    assert!(order(&mut house, 1, "admin", "<item role='none' nick='2'/>").contains("type=\"result\""));
    let told = house.heard(22).concat();
    assert!(told.contains("<status code=\"307\"/>") && told.contains("affiliation=\"member\""), "{told}");
    assert_eq!(members(&house), [1, 2, 5]);
    house.join(2, 22);
    house.said.clear();
    // Another name, which everybody is told of.
    let form = |fields: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x>"
        )
    };
    let name = form(
        "<field var='muc#roomconfig_roomname'><value>Supper</value></field><field var='muc#roomconfig_membersonly'><value>1</value></field><field var='muc#roomconfig_lang'><value>en</value></field>",
    );
    assert!(order(&mut house, 2, "owner", &name).contains("<forbidden"));
    assert!(order(&mut house, 1, "owner", &name).contains("type=\"result\""));
    assert_eq!(house.dialog.as_ref().unwrap().record().unwrap().name.as_deref(), Some("Supper"));
    assert!(house.heard(22).concat().contains("<status code=\"104\"/>"));
    for same in [name.as_str(), "<x xmlns='jabber:x:data' type='submit'/>", "<x xmlns='jabber:x:data' type='cancel'/>"]
    {
        assert!(order(&mut house, 1, "owner", same).contains("type=\"result\""), "{same}");
        assert_eq!(house.heard(22), Vec::<String>::new());
    }
    // What a dialog has no place for.
    for (space, inside, condition) in [
        ("admin", "<item affiliation='outcast' nick='2'/>", "not-allowed"),
        ("admin", "<item affiliation='admin' nick='2'/>", "not-allowed"),
        ("admin", "<item affiliation='owner' nick='2'/>", "not-allowed"),
        ("admin", "<item role='visitor' nick='2'/>", "not-allowed"),
        ("admin", "<item affiliation='member' jid='999-7@localhost'/>", "item-not-found"),
        ("admin", "<item affiliation='member' jid='2-8@localhost'/>", "item-not-found"),
        ("admin", "<item affiliation='member' jid='@'/>", "jid-malformed"),
        ("admin", "<item affiliation='member' role='none' nick='2'/>", "bad-request"),
        ("admin", "<item affiliation='none' nick='2'/><item role='none' nick='5'/>", "bad-request"),
        ("admin", "<item affiliation='member'/>", "bad-request"),
        ("admin", "", "bad-request"),
        ("owner", "", "not-allowed"),
        ("owner", &form("<field var='muc#roomconfig_membersonly'><value>0</value></field>"), "not-acceptable"),
        ("owner", &form("<field var='muc#roomconfig_whois'><value>moderators</value></field>"), "not-acceptable"),
        ("owner", &form("<field var='muc#roomconfig_roomname'><value> </value></field>"), "not-acceptable"),
    ] {
        let answer = order(&mut house, 1, space, inside);
        assert!(answer.contains(&format!("<{condition}")), "{inside}: {answer}");
    }
    assert_eq!(members(&house), [1, 2, 5]);
    // One takes himself out; the owner ends it.
    assert!(order(&mut house, 2, "admin", "<item affiliation='none' nick='2'/>").contains("type=\"result\""));
    assert_eq!(members(&house), [1, 5]);
    assert!(order(&mut house, 2, "owner", "<destroy/>").contains("There is no such room."));
    assert!(order(&mut house, 1, "owner", "<destroy/>").contains("type=\"result\""));
    assert!(!house.dialog.as_ref().unwrap().exists());
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

/// One message of the reference model.
#[derive(Debug, Default)]
struct Said {
    id: Option<MessageId>,
    sender: u64,
    text: String,
    date: u64,
    read: BTreeSet<u64>,
    hidden: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Save(u64),
    Mark(u64, usize, bool),
    Got(u64, usize),
    MarkAll(u64, bool),
    Hide(u64, usize),
    Remove(u64, usize),
    Edit(u64, usize),
    Pull(u64),
    Push(u64),
    Reload,
    Wait,
}

fn op() -> impl Strategy<Value = Op> {
    let user = 1u64..5;
    let which = 0usize..12;
    prop_oneof![
        4 => user.clone().prop_map(Op::Save),
        4 => (user.clone(), which.clone(), any::<bool>()).prop_map(|(user, which, read)| Op::Mark(user, which, read)),
        1 => (user.clone(), which.clone()).prop_map(|(user, which)| Op::Got(user, which)),
        1 => (user.clone(), any::<bool>()).prop_map(|(user, read)| Op::MarkAll(user, read)),
        2 => (user.clone(), which.clone()).prop_map(|(user, which)| Op::Hide(user, which)),
        2 => (user.clone(), which.clone()).prop_map(|(user, which)| Op::Remove(user, which)),
        1 => (user.clone(), which).prop_map(|(user, which)| Op::Edit(user, which)),
        1 => (2u64..5).prop_map(Op::Pull),
        1 => user.prop_map(Op::Push),
        1 => Just(Op::Reload),
        1 => Just(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_leaves_what_a_small_model_says(ops in proptest::collection::vec(op(), 1..60)) {
        let mut house = House::group(4);
        let mut members: BTreeSet<u64> = (1..=4).collect();
        let mut model: Vec<Said> = Vec::new();
        for op in ops {
            let at = |model: &Vec<Said>, which: usize| (!model.is_empty()).then(|| which % model.len().max(1));
            match op {
                Op::Save(by) if members.contains(&by) => {
                    let text = format!("t{}", model.len());
                    let id = house.save(by, &text);
                    model.push(Said { id: Some(id), sender: by, text, date: house.now.secs(), ..Said::default() });
                }
                Op::Mark(by, which, read) => {
                    let Some(which) = at(&model, which) else { continue };
                    let marks = Marks { read: Some(read), delivered: false };
                    let ids = vec![model[which].id.unwrap()];
                    house.ask(Command::Mark { by: UserId(by), which: Which::Ids(ids), marks, astray: false });
                    if members.contains(&by) {
                        if read { model[which].read.insert(by); } else { model[which].read.remove(&by); }
                    }
                }
                Op::Got(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    let ids = vec![model[which].id.unwrap()];
                    house.ask(Command::Mark { by: UserId(by), which: Which::Ids(ids), marks: Marks { read: None, delivered: true }, astray: false });
                }
                Op::MarkAll(by, read) => {
                    let marks = Marks { read: Some(read), delivered: false };
                    house.ask(Command::Mark { by: UserId(by), which: Which::All, marks, astray: false });
                    if members.contains(&by) {
                        for said in &mut model {
                            if read { said.read.insert(by); } else { said.read.remove(&by); }
                        }
                    }
                }
                Op::Hide(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    house.ask(Command::Remove { by: UserId(by), ids: vec![model[which].id.unwrap()], force: false });
                    if members.contains(&by) {
                        model[which].hidden.insert(by);
                    }
                }
                Op::Remove(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    house.ask(Command::Remove { by: UserId(by), ids: vec![model[which].id.unwrap()], force: true });
                    if members.contains(&by) && model[which].sender == by {
                        model.remove(which);
                    }
                }
                Op::Edit(by, which) => {
                    let Some(which) = at(&model, which) else { continue };
                    house.ask(Command::Edit { by: UserId(by), ids: vec![model[which].id.unwrap()], text: "edited".into() });
                    if members.contains(&by) && model[which].sender == by {
                        model[which].text = "edited".into();
                    }
                }
                Op::Pull(user) => {
                    let change = Change { pull: ids(&[user]), ..Change::default() };
                    house.ask(Command::Update { by: UserId(1), change });
                    members.remove(&user);
                }
                Op::Push(user) => {
                    let change = Change { push: ids(&[user]), ..Change::default() };
                    house.ask(Command::Update { by: UserId(1), change });
                    members.insert(user);
                }
                Op::Reload => house.reload(),
                Op::Wait => house.now = house.now.after(std::time::Duration::from_millis(700)),
                Op::Save(_) => continue,
            }
            let kept = house.messages();
            let texts: Vec<_> = kept.iter().map(|(_, row)| (row.id, row.sender.0, row.content().text.clone().unwrap())).collect();
            let expected: Vec<_> = model.iter().map(|said| (said.id.unwrap(), said.sender, said.text.clone())).collect();
            prop_assert_eq!(texts, expected, "the history in order");
            for user in 1..=4 {
                let unread = model.iter().filter(|said| {
                    said.sender != user && !said.read.contains(&user) && !said.hidden.contains(&user)
                }).count() as u64;
                prop_assert_eq!(house.unread(user), unread, "unread of {}", user);
                let mut rows = house.read(&Reader::reads(APP, house.id, UserId(user)));
                let reader = Reader::found(&mut rows).unwrap();
                prop_assert_eq!(reader.hidden, model.iter().filter(|said| said.hidden.contains(&user)).count() as u64);
                for ((order, row), said) in kept.iter().zip(&model) {
                    let key = dialog::mark_key(APP, house.id, *order, UserId(user));
                    let receipt = house.rows.get(&(RECEIPTS.name(), key.as_slice().to_vec())).map(|row| Mark::decode(row).unwrap());
                    let read = row.sender.0 != user && reader.has_read(*order, receipt.as_ref());
                    prop_assert_eq!(read, row.sender.0 != user && said.read.contains(&user));
                }
                let standing = inbox::Standing::At(model.last().map_or(0, |said| said.date as u32));
                let listed = if members.contains(&user) { vec![inbox::Entry { standing, dialog: house.id }] } else { vec![] };
                prop_assert_eq!(house.lists(user), listed, "the list of {}", user);
            }
            let mut rows = house.read(&dialog::load_reads(APP, house.id));
            let (record, head) = dialog::load(&mut rows).unwrap().unwrap();
            prop_assert_eq!(record.occupants.iter().map(|user| user.0).collect::<BTreeSet<_>>(), members.clone());
            let last = head.last.map(|last| (last.id, last.sender.0, last.text.unwrap(), last.date_sent));
            let expected = model.last().map(|said| (said.id.unwrap(), said.sender, said.text.clone(), said.date));
            prop_assert_eq!(last, expected, "the last message");
        }
    }
}

mod pages {
    use super::*;
    use crate::model::dialog::page::{Order, Pager, Wanted};
    use crate::model::dialog::shelf::{self, Shelf};

    impl House {
        fn page(&mut self, wanted: Wanted) -> dialog::page::Page {
            let mut rows = self.read(&dialog::load_reads(APP, self.id));
            let (record, head) = dialog::load(&mut rows).unwrap().unwrap();
            let mut pager = Pager::new(APP, self.id, &record, &head, wanted);
            while let Some(reads) = pager.next() {
                let rows = self.read(&reads);
                pager.take(rows).unwrap();
            }
            pager.into_page()
        }

        fn shelf(&mut self, wanted: shelf::Wanted) -> shelf::Page {
            let mut shelf = Shelf::new(wanted);
            while let Some(reads) = shelf.next() {
                let rows = self.read(&reads);
                shelf.take(rows).unwrap();
            }
            shelf.into_page()
        }
    }

    fn plain(viewer: u64, skip: usize, limit: usize) -> Wanted {
        Wanted {
            viewer: UserId(viewer),
            from: None,
            to: None,
            order: Order::DateSent,
            newest_first: false,
            skip,
            limit,
            count: false,
            keep: None,
        }
    }

    #[test]
    fn a_page_shows_who_has_read_what_and_costs_what_it_shows() {
        let mut house = House::group(3);
        let ids: Vec<MessageId> = (0..40)
            .map(|number| {
                house.now = Timestamp::from_secs(START + number);
                house.save(1 + number % 2, &format!("m{number}"))
            })
            .collect();
        let marks = Marks { read: Some(true), delivered: false };
        house.ask(Command::Mark { by: UserId(3), which: Which::Ids(vec![ids[0]]), marks, astray: false });
        house.ask(Command::Mark { by: UserId(2), which: Which::All, marks, astray: false });
        house.ask(Command::Remove { by: UserId(3), ids: vec![ids[1]], force: false });
        let page = house.page(plain(3, 0, 2));
        let texts = |page: &dialog::page::Page| -> Vec<String> {
            page.items.iter().map(|shown| shown.row.content().text.clone().unwrap()).collect()
        };
        assert_eq!(texts(&page), ["m0", "m2"]);
        assert_eq!(page.items[0].read_ids, super::ids(&[1, 2, 3]));
        assert_eq!(page.items[1].read_ids, super::ids(&[1, 2]));
        assert!(
            !page.items[0].is_read() && page.items[0].is_read_by(UserId(3)) && !page.items[1].is_read_by(UserId(3))
        );
        assert_eq!(texts(&house.page(Wanted { newest_first: true, ..plain(3, 1, 2) })), ["m38", "m37"]);
        let counted = Wanted { count: true, ..plain(3, 0, 100) };
        assert_eq!(house.page(counted).count, 39);
        let keep: dialog::page::Keep = Box::new(|shown| shown.row.sender == UserId(2));
        let found = house.page(Wanted { keep: Some(keep), ..plain(1, 3, 2) });
        assert_eq!(texts(&found), ["m7", "m9"]);
        let keep: dialog::page::Keep = Box::new(|shown| shown.row.date_sent >= START + 38);
        let hinted = Wanted { keep: Some(keep), from: Some(START + 38), count: true, ..plain(1, 0, 0) };
        assert_eq!(house.page(hinted).count, 2);
        let orders: Vec<u64> = house.messages().iter().map(|(order, _)| *order).collect();
        let mut rows = house.read(&dialog::load_reads(APP, house.id));
        let (record, head) = dialog::load(&mut rows).unwrap().unwrap();
        let wanted = Wanted { newest_first: true, ..plain(3, 0, 10) };
        let some = vec![orders[0], orders[1], orders[30], orders[0], 5];
        let mut pager = Pager::new(APP, house.id, &record, &head, wanted).among(some);
        while let Some(reads) = pager.next() {
            let rows = house.read(&reads);
            pager.take(rows).unwrap();
        }
        let page = pager.into_page();
        assert_eq!(texts(&page), ["m30", "m0"]);
        assert_eq!(page.items[1].read_ids, super::ids(&[1, 2, 3]));
        assert!(house.page(plain(1, 100, 10)).items.is_empty() && house.page(plain(1, 0, 0)).items.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Senders' clocks differ by a few seconds from one another's and the server's.
        #[test]
        fn pages_are_cut_out_of_the_whole_in_its_order(
            messages in proptest::collection::vec((0u64..4, 0u64..11), 0..80),
            limit in 1usize..30,
            newest_first: bool,
        ) {
            let mut house = House::private();
            let mut expected = Vec::new();
            for (number, (pause, ahead)) in messages.into_iter().enumerate() {
                house.now = house.now.after(std::time::Duration::from_secs(pause));
                let date = house.now.secs() + ahead - 5;
                let params = format!(
                    "<body>{number}</body><extraParams xmlns='jabber:client'><save_to_history/><date_sent>{date}</date_sent></extraParams>"
                );
                house.private_message(1 + number as u64 % 2, 2 - number as u64 % 2, "", &params);
                expected.push((date, number.to_string()));
            }
            for order in [Order::DateSent, Order::Arrival] {
                let mut expected: Vec<_> = expected.clone();
                if order == Order::DateSent {
                    expected.sort_by_key(|(date, _)| *date);
                }
                if newest_first {
                    expected.reverse();
                }
                let mut found = Vec::new();
                while !expected.is_empty() {
                    let page = house.page(Wanted { order, newest_first, ..plain(1, found.len(), limit) });
                    let texts = page.items.iter().map(|shown| (shown.row.date_sent, shown.row.content().text.clone().unwrap()));
                    found.extend(texts);
                    prop_assert!(page.items.len() <= limit);
                    if page.items.len() < limit {
                        break;
                    }
                }
                prop_assert_eq!(found, expected, "{:?}", order);
            }
        }
    }

    #[test]
    fn the_first_page_costs_the_same_whatever_is_behind_it() {
        let mut costs = Vec::new();
        for messages in [100, 1_000] {
            let mut house = House::group(2);
            for number in 0..messages {
                house.save(1, &format!("m{number}"));
            }
            let before = (house.gets, house.scans);
            let page = house.page(Wanted { newest_first: true, ..plain(2, 0, 50) });
            assert_eq!(page.items.len(), 50);
            costs.push((house.gets - before.0, house.scans - before.1));
        }
        assert_eq!(costs[0], costs[1]);
    }

    #[test]
    fn a_page_of_dialogs_reads_the_page_alone() {
        let mut house = House::group(2);
        let mut made = Vec::new();
        for number in 0..300u64 {
            house.dialog = None;
            house.id = DialogId::drawn(Timestamp::from_secs(number), [number as u8; 8]);
            let others = super::ids(&[2]);
            let name = Some(format!("d{number}"));
            house.ask(Command::Create {
                by: UserId(1),
                kind: DialogKind::Group,
                name,
                photo: None,
                occupants: others,
                data: None,
            });
            house.now = Timestamp::from_secs(START + (number * 7) % 300);
            house.save(1, "x");
            made.push(((number * 7) % 300, house.id));
        }
        made.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let viewer = AccountId { app: APP, user: UserId(2) };
        let wanted = |skip, limit| shelf::Wanted { viewer, skip, limit, keep: None, order: None };
        let before = house.gets;
        let page = house.shelf(wanted(10, 100));
        assert_eq!(house.gets - before, 300, "three rows a dialog, of those that are shown");
        let shown: Vec<DialogId> = page.items.iter().map(|seen| seen.id).collect();
        let expected: Vec<DialogId> = made[10..110].iter().map(|(_, id)| *id).collect();
        assert_eq!((shown, page.total), (expected, 301));
        assert!(page.items.iter().all(|seen| seen.unread == 1));
        let keep: shelf::Keep = Box::new(|seen| seen.record.name.as_deref().is_some_and(|name| name.ends_with('7')));
        let order: shelf::Order = Box::new(|one, two| one.record.name.cmp(&two.record.name));
        let page = house.shelf(shelf::Wanted { keep: Some(keep), order: Some(order), ..wanted(1, 2) });
        assert_eq!(page.total, 30);
        let names: Vec<_> = page.items.iter().map(|seen| seen.record.name.clone().unwrap()).collect();
        assert_eq!(names, ["d117", "d127"]);
    }
}
