//! What owners ask for, in the order in which they asked: at once, or when the writes before it are on disk.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use proto::canary::{Rule, is_broken};
use proto::effect::{Effect, Note, Seat};
use proto::owner::Owner;
use proto::row::Batch;
use proto::xml::splice;
use store::StoreError;

use super::desk::{Desk, Ticket};
use super::mesh::Letter;
use super::outbox::Piece;
use super::owners::Held;
use super::{Shard, Waiting};

impl<D: Desk> Shard<D> {
    /// Lets the effects happen that may, and holds back those behind a write.
    pub(super) fn release(&mut self, owner: Owner) {
        if self.effects.is_empty() {
            return;
        }
        let mut effects = mem::take(&mut self.effects);
        for effect in effects.drain() {
            let holding =
                self.owners.get(&owner).is_some_and(|slot| !slot.held.is_empty()) && !is_broken(Rule::WriteBeforeWord);
            match effect {
                Effect::Write(batch) => {
                    let ticket = self.write(owner, batch);
                    if let Some(slot) = self.owners.get_mut(&owner) {
                        slot.held.push_back(Held::Until(ticket));
                    }
                }
                Effect::WriteBehind(batch) => {
                    self.write(owner, batch);
                }
                effect if holding => {
                    if let Some(slot) = self.owners.get_mut(&owner) {
                        slot.held.push_back(Held::Effect(effect));
                    }
                }
                effect => self.perform(owner, effect),
            }
        }
        // What was pushed meanwhile belongs to nobody's turn; there is nothing of the kind, and the capacity is kept.
        debug_assert!(self.effects.is_empty(), "effects are performed, they make none");
        self.effects = effects;
    }

    fn write(&mut self, owner: Owner, batch: Batch) -> Ticket {
        let ticket = self.ticket(Waiting::Commit(owner));
        if let Some(slot) = self.owners.get_mut(&owner) {
            slot.unwritten.add(ticket, &batch.0);
        }
        self.desk.commit(ticket, batch);
        ticket
    }

    /// One of the owner's batches is on disk: what waited for it happens.
    pub(super) fn written(&mut self, owner: Owner, ticket: Ticket, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::error!(%error, "a write failed");
            return self.abandon(owner);
        }
        let Some(slot) = self.owners.get_mut(&owner) else { return };
        slot.unwritten.written(ticket);
        if matches!(slot.held.front(), Some(Held::Until(first)) if *first == ticket) {
            slot.held.pop_front();
        }
        self.let_go(owner);
    }

    /// Performs what is held back up to the next write that is not done.
    fn let_go(&mut self, owner: Owner) {
        while let Some(slot) = self.owners.get_mut(&owner) {
            match slot.held.front() {
                // An owner that waits for nothing holds no memory for it.
                None => {
                    slot.held = VecDeque::new();
                    return;
                }
                Some(Held::Until(_)) => return,
                Some(Held::Resume) if !slot.unwritten.is_empty() => return,
                Some(Held::Resume) => {
                    slot.held.pop_front();
                    slot.busy = false;
                    self.work_off(owner);
                }
                Some(Held::Effect(_)) => {
                    if let Some(Held::Effect(effect)) = slot.held.pop_front() {
                        self.perform(owner, effect);
                    }
                }
            }
        }
    }

    /// Does one thing that an owner asked for.
    pub(super) fn perform(&mut self, owner: Owner, effect: Effect) {
        match effect {
            Effect::Deliver(session, stanza) => self.deliver(session, stanza),
            Effect::Entrust(session, message) => self.entrust(owner, session, message),
            Effect::Await(session, given, awaited) => self.await_taken(owner, session, given, awaited),
            Effect::Nonza(session, element) => self.nonza(session, Piece::Nonza(element)),
            Effect::Track(session, element) => self.nonza(session, Piece::Track(element)),
            Effect::Acked(session, count) => self.acked(owner, session, count),
            Effect::Resumed(session, count, element) => self.resumed(session, count, element),
            Effect::Sleeps(session, until) => self.sleeps(session, until),
            Effect::Guard(session, on) => self.guard(session, on),
            Effect::Send(to, note) => self.send(to, note),
            Effect::Fanout(stanza, seats) => self.fan_out(owner, &stanza, &seats),
            Effect::Answer(reply, answer) => self.reply(reply, answer),
            Effect::Ask(number, question) => self.find_out(owner, number, question),
            Effect::WhenFlushed(session, note) => self.when_flushed(owner, session, note),
            Effect::End(session, ending) => self.end_session(session, ending),
            Effect::RemoveFiles(files) => self.remove_files(files),
            Effect::Link(word) => self.desk.link(word),
            Effect::Write(batch) | Effect::WriteBehind(batch) => {
                self.write(owner, batch);
            }
        }
    }

    /// Queues a stanza for sessions of many accounts: here at once, elsewhere with one letter a shard.
    pub(super) fn fan_out(&mut self, from: Owner, stanza: &Bytes, seats: &[Seat]) {
        let mut elsewhere: Vec<Vec<Seat>> = Vec::new();
        for seat in seats {
            let place = self.places.of(&Owner::Account(seat.account));
            if place == self.me {
                self.seat(from, stanza, seat);
            } else {
                elsewhere.resize_with(self.letters.len(), Vec::new);
                elsewhere[usize::from(place)].push(seat.clone());
            }
        }
        for (letters, seats) in self.letters.iter_mut().zip(elsewhere) {
            if !seats.is_empty() {
                letters.push(Letter::Fanout(from, stanza.clone(), seats));
            }
        }
    }

    /// Queues a stanza of a dialog for a session that should be here.
    pub(super) fn seat(&mut self, from: Owner, stanza: &Bytes, seat: &Seat) {
        if !self.links.knows(seat.session) {
            let note = Note::Absent { account: seat.account, session: seat.session };
            return self.send(from, note);
        }
        let mut addressed = Vec::with_capacity(stanza.len() + seat.jid.len() + 8);
        splice::with_attribute(stanza, "to", &seat.jid, &mut addressed);
        self.deliver_from_dialog(seat.session, addressed.into());
    }
}
