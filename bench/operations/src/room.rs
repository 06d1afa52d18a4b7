//! A message in a room, from the sender's account's note to the bytes of each recipient.

use std::hint::black_box;

use bytes::Bytes;
use proto::account::Progress;
use proto::dialog::Dialog;
use proto::effect::{Effect, Effects, Note, SessionId, Site, Turn};
use proto::jid::user::{DialogId, UserId};
use proto::model::dialog;
use proto::owner::AccountId;
use proto::stanza::{Kind, MessageKind, Parcel, PresenceKind, Sender};
use proto::time::Now;
use proto::xml::splice;

use crate::stored::{self, APP, Drawer, Zeros};
use crate::{Operation, keep};

const SIZES: [u64; 3] = [10, 100, 1000];

pub(super) fn add(all: &mut Vec<Operation>) {
    for members in SIZES {
        let fan_out = move || {
            let mut room = Room::new(members);
            let stanza = room.message();
            move || assert_eq!(room.say(black_box(&stanza)), members)
        };
        all.push(Operation::new(format!("room/fan-out/{members}"), fan_out).of_parts(members));
    }
}

/// A dialog whose members are all in its room, each with one session.
struct Room {
    site: Site,
    id: DialogId,
    dialog: Dialog,
    drawer: Drawer,
    out: Effects,
    copy: Vec<u8>,
}

impl Room {
    fn new(members: u64) -> Room {
        let mut drawer = Drawer::default();
        let id = stored::dialog(1, members, 0, |batch| drawer.commit(batch));
        let rows = drawer.read(&Dialog::load_reads(APP, id));
        let dialog = Dialog::load(APP, id, rows).expect("rows that were just written");
        let site = Site::of("localhost");
        let mut room = Room { site, id, dialog, drawer, out: Effects::new(), copy: Vec::new() };
        for user in 1..=members {
            room.enter(user);
        }
        room
    }

    fn enter(&mut self, user: u64) {
        let kind = Kind::Presence { kind: PresenceKind::Available, directed: true };
        let stanza = format!(
            "<presence id=\"j\" from=\"{}@muc.localhost/{user}\"><x xmlns=\"http://jabber.org/protocol/muc\">\
             <history maxstanzas=\"0\"/></x></presence>",
            dialog::room(APP, self.id)
        );
        self.visit(user, Some(&user.to_string()), kind, stanza.into());
        self.out.drain();
    }

    /// What the first member says, as that account passes it on.
    fn message(&self) -> Bytes {
        let room = dialog::room(APP, self.id);
        let text = "Hello, how are you? Shall we meet at the old mill at seven, or is that too early for the others?";
        format!(
            "<message id=\"54789d5e6df5e6f921b7acda\" from=\"{room}@muc.localhost/1\" type=\"groupchat\">\
             <body>{text}</body></message>"
        )
        .into()
    }

    /// Brings a message to everybody; gives how many copies there were.
    fn say(&mut self, stanza: &Bytes) -> u64 {
        self.visit(1, None, Kind::Message { kind: MessageKind::Groupchat, lasting: true }, stanza.clone());
        let mut copies = 0;
        for effect in self.out.drain() {
            let Effect::Fanout(stanza, seats) = effect else { panic!("only what is said goes out: {effect:?}") };
            for seat in seats.iter() {
                self.copy.clear();
                splice::with_attribute(&stanza, "to", &seat.jid, &mut self.copy);
                keep(self.copy.len());
                copies += 1;
            }
        }
        copies
    }

    fn visit(&mut self, user: u64, nick: Option<&str>, kind: Kind, stanza: Bytes) {
        let account = AccountId { app: APP, user: UserId(user) };
        let from = Sender { jid: format!("{account}@localhost/bench").into(), account: Some(account) };
        let parcel = Parcel::new(from, nick.map(Into::into), kind, stanza);
        let note = Note::Visit { session: SessionId(user), id_used: false, parcel };
        let mut turn = Turn { now: Now::default(), site: &self.site, random: &mut Zeros, out: &mut self.out };
        let mut progress = self.dialog.note(note, &mut turn).expect("rows that were just written");
        while let Progress::Needs(reads) = progress {
            progress = self.dialog.resume(self.drawer.read(&reads), &mut turn).expect("rows that were just written");
        }
    }
}
