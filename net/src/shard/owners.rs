//! The owners of a shard: loaded when they are needed, one input at a time, effects in order, evicted when quiet.
//!
//! An owner's inputs are taken one after another. While one waits for rows, the others queue up behind it. Effects happen in
//! the order in which they were asked for; whatever follows a write waits until that is on disk, also for later inputs of the
//! same owner. So what an owner has told anybody is never ahead of what the disk would tell after a crash.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use proto::account::Account;
use proto::component::Component;
use proto::dialog::Dialog;
use proto::effect::{Effect, Note, SessionId};
use proto::jid::FullJid;
use proto::model::directory::{self, Directory};
use proto::owner::Owner;
use proto::row::{Change, Found, Key, Read, Reads, Rows, Unreadable};
use proto::stanza::Remains;
use proto::stream::Entry;
use proto::time::Instant;

use super::conns::ConnId;
use super::desk::Ticket;

/// An owner's state in memory.
pub(super) enum State {
    Account(Account),
    Directory(Directory),
    Dialog(Dialog),
    Component(Component),
}

/// Something for an owner to take.
pub(super) enum Input {
    Note(Note),
    /// A stanza that had to wait; it takes a client stream's declarations for granted.
    Stanza(SessionId, Bytes),
    /// A client that has logged in while this was the version of its password, and wants a resource.
    Attach(ConnId, FullJid, Option<u64>),
    /// A client that has logged in, with what it wishes.
    Enter(ConnId, Box<Entry>),
    /// A connection whose client comes back with this, having taken so many stanzas.
    Reattach(ConnId, Box<str>, u32),
    Detach(SessionId, Remains),
    /// A connection of a component that has shown its secret.
    Connect(ConnId),
    /// A dialog goes on with the input in hand once it has these rows.
    Resume(Reads),
}

/// An effect that waits for a write before it.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are effects; a box would be one more allocation for each"
)]
pub(super) enum Held {
    Effect(Effect),
    Until(Ticket),
    /// The next input needs ranges read, which have to wait for every write.
    Resume,
}

/// One owner.
pub(super) struct Slot {
    /// Taken out while an input is applied, and absent while it is loaded.
    pub state: Option<Box<State>>,
    /// The input that waits for rows; nothing else is taken meanwhile.
    pub reading: Option<Box<Reading>>,
    /// Rows are on their way, for the state or for the input.
    pub busy: bool,
    pub inbox: VecDeque<Input>,
    pub held: VecDeque<Held>,
    pub unwritten: Unwritten,
    pub used: Instant,
}

/// An input and what is newer than the rows that are being read for it.
pub(super) struct Reading {
    pub input: Input,
    pub overlay: Overlay,
}

/// For each read, the row as an unfinished write has it.
type Overlay = Vec<Option<Option<Bytes>>>;

impl Slot {
    pub fn new(now: Instant) -> Slot {
        Slot {
            state: None,
            reading: None,
            busy: true,
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            unwritten: Unwritten::default(),
            used: now,
        }
    }

    /// Whether the state is gone: it was out for a turn, and that turn panicked.
    pub fn is_lost(&self) -> bool {
        !self.busy && self.state.is_none()
    }

    /// Takes the oldest input that waits. Nothing waits most of the time, and then the queue holds no memory.
    pub fn next_input(&mut self) -> Option<Input> {
        let input = self.inbox.pop_front();
        if input.is_none() {
            self.inbox = VecDeque::new();
        }
        input
    }

    /// Whether an input can be applied right now.
    pub fn is_free(&self) -> bool {
        !self.busy && self.inbox.is_empty() && self.state.is_some()
    }

    /// Whether the owner can be forgotten: nobody is connected, nothing is under way, and it was quiet for a while.
    pub fn is_quiet(&self, since: Instant) -> bool {
        let connected = match self.state.as_deref() {
            Some(State::Account(account)) => !account.sessions().is_empty(),
            Some(State::Directory(_)) => false,
            Some(State::Dialog(dialog)) => dialog.is_occupied() || dialog.is_unsettled(),
            Some(State::Component(component)) => component.session().is_some(),
            None => true,
        };
        // A name that was asked for and is no dialog's takes no room.
        let fleeting = matches!(self.state.as_deref(), Some(State::Dialog(dialog)) if !dialog.exists());
        !connected
            && !self.busy
            && self.inbox.is_empty()
            && self.held.is_empty()
            && self.unwritten.is_empty()
            && (self.used < since || fleeting)
    }
}

/// Writes that are not on disk yet. Rows read meanwhile are corrected by them, so that an owner sees its own writes.
#[derive(Default)]
pub(super) struct Unwritten {
    rows: HashMap<(&'static str, Key), (Ticket, Option<Bytes>), RandomState>,
    tickets: Vec<Ticket>,
    /// Range deletions under way: reads wait for those.
    ranges: Vec<Ticket>,
}

impl Unwritten {
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    pub fn add(&mut self, ticket: Ticket, changes: &[Change]) {
        self.tickets.push(ticket);
        for change in changes {
            match change {
                Change::Put(table, key, value) => {
                    self.rows.insert((table.name(), key.clone()), (ticket, Some(value.clone())));
                }
                Change::Delete(table, key) => {
                    self.rows.insert((table.name(), key.clone()), (ticket, None));
                }
                Change::DeleteRange(..) => {
                    self.ranges.push(ticket);
                }
            }
        }
    }

    /// A batch is on disk. It need not be one of those here: rows are written for an owner that is not in memory, which may be there by
    /// the time they are.
    pub fn written(&mut self, ticket: Ticket) {
        let Some(at) = self.tickets.iter().position(|known| *known == ticket) else { return };
        self.tickets.remove(at);
        self.ranges.retain(|&range| range != ticket);
        if self.tickets.is_empty() {
            // Gives the memory back too: an idle owner holds none for this.
            *self = Unwritten::default();
        } else {
            self.rows.retain(|_, (last, _)| *last != ticket);
        }
    }

    /// Whether these reads can be corrected: single rows can, ranges have to wait for what is being written.
    pub fn can_correct(&self, reads: &Reads) -> bool {
        self.is_empty() || (self.ranges.is_empty() && reads.0.iter().all(|read| matches!(read, Read::Get(..))))
    }

    pub fn overlay(&self, reads: &Reads) -> Overlay {
        if self.is_empty() {
            return Vec::new();
        }
        let newer = |read: &Read| match read {
            Read::Get(table, key) => self.rows.get(&(table.name(), key.clone())).map(|(_, value)| value.clone()),
            Read::Scan { .. } => None,
        };
        reads.0.iter().map(newer).collect()
    }
}

/// The rows as the owner's own unfinished writes leave them.
pub(super) fn corrected(mut found: Vec<Found>, overlay: Overlay) -> Rows {
    for (found, newer) in found.iter_mut().zip(overlay) {
        if let Some(value) = newer {
            *found = Found::Row(value);
        }
    }
    Rows::new(found)
}

/// The rows an owner is made of.
pub(super) fn load_reads(owner: &Owner) -> Reads {
    match owner {
        Owner::Account(id) => Account::load_reads(*id),
        Owner::App(app) => directory::load_reads(*app),
        Owner::Dialog(app, id) => Dialog::load_reads(*app, *id),
        Owner::Component(_) => Reads::none(),
    }
}

/// The owner in its rows.
pub(super) fn load(owner: &Owner, domain: &str, rows: Rows) -> Result<Option<State>, Unreadable> {
    Ok(match owner {
        Owner::Account(id) => Some(State::Account(Account::load(*id, domain, rows)?)),
        Owner::App(app) => Some(State::Directory(Directory::load(*app, rows)?)),
        Owner::Dialog(app, id) => Some(State::Dialog(Dialog::load(*app, *id, rows)?)),
        Owner::Component(id) => Some(State::Component(Component::new(*id))),
    })
}
