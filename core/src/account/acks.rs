//! Counting stanzas for XEP-0198: a stanza is acknowledged once everything it brought about is on disk, and so nothing of it is
//! lost should the server crash.
//!
//! A message to a user who is there need not be on disk: it is taken care of when one of his clients has taken it, which is when it
//! has acknowledged it or, if it counts nothing, when the message was written to its connection. A client that takes long is not
//! waited for: after about a second the message goes into a row of the offline queue as well (`Account::takes_long`), until that
//! client has taken it.

use std::collections::{BTreeSet, VecDeque};

use crate::effect::{Note, SessionId, Turn};
use crate::ns;
use crate::owner::Owner;
use crate::stanza::{Awaited, Receipt};
use crate::xml::Writer;

use super::Account;

/// The incoming half of one session's stream management.
#[derive(Debug, Default)]
pub struct Acks {
    /// Stanzas taken from the client, modulo 2³². XEP-0198 §4.
    taken: u32,
    /// All stanzas up to here are taken care of.
    handled: u32,
    /// Numbers above `handled` that were taken care of out of order.
    early: BTreeSet<u32>,
    /// Stanzas that several have to take care of, and how many still have to.
    shared: Vec<(u32, usize)>,
    /// The client has asked when this many were taken, and waits; once for each question.
    asked: VecDeque<u32>,
}

impl Acks {
    /// The number of the stanza that comes next.
    pub fn next(&self) -> u32 {
        self.taken.wrapping_add(1)
    }

    /// How many stanzas are not yet taken care of.
    pub fn outstanding(&self) -> u32 {
        self.taken.wrapping_sub(self.handled)
    }

    /// How many stanzas are taken care of.
    pub fn handled(&self) -> u32 {
        self.handled
    }

    /// Nobody waits for an answer any more.
    pub fn forget_questions(&mut self) {
        self.asked.clear();
    }

    fn take(&mut self) {
        self.taken = self.next();
    }

    fn share(&mut self, seq: u32, among: usize) {
        if among > 1 {
            self.shared.push((seq, among));
        }
    }

    fn settle(&mut self, seq: u32) {
        if let Some(at) = self.shared.iter().position(|(shared, _)| *shared == seq) {
            self.shared[at].1 -= 1;
            if self.shared[at].1 > 0 {
                return;
            }
            self.shared.swap_remove(at);
        }
        self.early.insert(seq);
        while self.early.remove(&self.handled.wrapping_add(1)) {
            self.handled = self.handled.wrapping_add(1);
        }
    }

    fn ask(&mut self) {
        if self.asked.len() < QUESTIONS_MAX {
            self.asked.push_back(self.taken);
        }
    }

    /// The count to tell the client now, if it has asked and all it had sent by then is taken care of.
    fn due(&mut self) -> Option<u32> {
        let asked = *self.asked.front()?;
        // Sequence arithmetic: `handled` is at or past `asked`, though both may have wrapped.
        if self.handled.wrapping_sub(asked) > u32::MAX / 2 {
            return None;
        }
        self.asked.pop_front();
        Some(self.handled)
    }
}

impl Account {
    /// Starts counting. XEP-0198 §3; false when it is on already.
    pub fn enable_acks(&mut self, session: SessionId) -> bool {
        match self.session_mut(session) {
            Some(session) if session.acks.is_none() => {
                session.acks = Some(Box::default());
                true
            }
            Some(_) | None => false,
        }
    }

    /// The client wants to know how many stanzas are taken care of; the answer waits until it is exact.
    pub fn wants_ack(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        if let Some(acks) = self.session_mut(session).and_then(|session| session.acks.as_mut()) {
            acks.ask();
            self.acknowledge(session, turn);
        }
    }

    /// Counts a stanza; one that nobody else will report as handled is so once the turn's writes are on disk.
    pub(super) fn count_in(&mut self, receipt: Receipt, passed_on: bool, turn: &mut Turn<'_>) {
        if let Some(acks) = self.session_mut(receipt.session).and_then(|session| session.acks.as_mut()) {
            acks.take();
        }
        if !passed_on {
            report(receipt, turn);
        }
    }

    /// A stanza is taken care of once so many have said so.
    pub(crate) fn shares(&mut self, receipt: Receipt, among: usize) {
        if let Some(acks) = self.session_mut(receipt.session).and_then(|session| session.acks.as_mut()) {
            acks.share(receipt.seq, among);
        }
    }

    /// A stanza is taken care of.
    pub(super) fn handled(&mut self, session: SessionId, seq: u32, turn: &mut Turn<'_>) {
        if let Some(acks) = self.session_mut(session).and_then(|session| session.acks.as_mut()) {
            acks.settle(seq);
            self.acknowledge(session, turn);
            self.lets_in(session, turn);
        }
    }

    fn acknowledge(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        while let Some(count) = self.session_mut(id).and_then(|session| session.acks.as_mut()?.due()) {
            let mut bytes = Vec::new();
            Writer::new(&mut bytes).open("a").ns(ns::SM).attr_int("h", count).close();
            turn.out.nonza(id, bytes.into());
        }
    }
}

/// Tells the sender's account that a stanza is taken care of, after everything that was asked for before.
pub(crate) fn report(receipt: Receipt, turn: &mut Turn<'_>) {
    let note = Note::Handled { session: receipt.session, seq: receipt.seq };
    turn.out.send(Owner::Account(receipt.account), note);
}

/// The same of a message that is in a row now or goes nowhere, unless its sender was told so when it became overdue.
pub(super) fn report_awaited(awaited: Option<Box<Awaited>>, turn: &mut Turn<'_>) {
    if let Some(awaited) = awaited.filter(|awaited| !awaited.overdue) {
        report(awaited.receipt, turn);
    }
}

/// Questions of one client that may wait for their answers; more are answered with these.
const QUESTIONS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledges_only_without_gaps() {
        let mut acks = Acks::default();
        for _ in 0..3 {
            acks.take();
        }
        acks.ask();
        acks.settle(3);
        acks.settle(1);
        assert_eq!((acks.due(), acks.outstanding()), (None, 2));
        acks.settle(2);
        assert_eq!((acks.due(), acks.outstanding()), (Some(3), 0));
        assert_eq!(acks.due(), None, "one answer for one question");
    }

    #[test]
    fn a_stanza_for_several_is_acknowledged_with_the_last_of_them() {
        let mut acks = Acks::default();
        acks.share(1, 3);
        acks.take();
        acks.take();
        acks.ask();
        for seq in [1, 2, 1] {
            acks.settle(seq);
            assert_eq!(acks.due(), None);
        }
        acks.settle(1);
        assert_eq!((acks.due(), acks.outstanding()), (Some(2), 0));
        assert!(acks.shared.is_empty());
    }

    #[test]
    fn counts_past_the_end_of_its_range() {
        let mut acks = Acks { taken: u32::MAX - 1, handled: u32::MAX - 1, ..Acks::default() };
        for seq in [u32::MAX, 0, 1] {
            assert_eq!(acks.next(), seq);
            acks.take();
        }
        acks.ask();
        for seq in [u32::MAX, 0, 1] {
            assert_eq!(acks.due(), None);
            acks.settle(seq);
        }
        assert_eq!(acks.due(), Some(1));
    }
}
