//! What waits to be written to one connection.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::effect::Note;
use proto::ns;
use proto::owner::Owner;
use proto::stanza::{Awaited, Backing, Entrusted, Leftover, Remains};
use proto::time::Instant;
use proto::xml::Writer;

/// Output in order. A quiet connection's holds no heap.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Piece>,
    bytes: usize,
    /// [`Piece::End`] is in the queue.
    ended: bool,
    /// What an owner wants to hear once all of this is taken.
    when_flushed: Option<Box<(Owner, Note)>>,
    /// Keeps what was sent until it is acknowledged, for a session that can be resumed.
    tracker: Option<Box<Tracker>>,
    /// Of how many messages in here the senders wait to hear that they are taken, and their rows are not asked for.
    awaited: u32,
}

/// What a client has taken, for those who have to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Rows that may go.
    pub rows: Vec<u64>,
    /// Whoever waited.
    pub awaited: Vec<Awaited>,
}

/// What was sent to a client that acknowledges what it takes. XEP-0198 §4
#[derive(Debug, Default)]
struct Tracker {
    /// The client has acknowledged so many stanzas, modulo 2³².
    acked: u32,
    /// The stanzas that were sent after those.
    sent: VecDeque<Leftover>,
    bytes: usize,
    /// The client was asked and has not answered.
    asked: bool,
    /// The stream was ended: nobody comes back to it.
    over: bool,
}

/// One thing to write whole.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes as they go out: what a stream or an HTTP machine said.
    Raw(Bytes),
    /// A stanza, shared with whoever else gets it; framed when it is taken.
    Stanza(Bytes),
    /// The same, to go back to the account if nobody takes it.
    Entrusted(Entrusted),
    /// An element beside stanzas, which is not counted.
    Nonza(Bytes),
    /// The same; what comes after it is kept until it is acknowledged.
    Track(Bytes),
    /// An element of a stream's own, declared to stand alone.
    Message(Bytes),
    /// The end of the stream is before this. What follows is never sent, but what was entrusted goes back.
    End,
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Raw(bytes)
            | Piece::Stanza(bytes)
            | Piece::Nonza(bytes)
            | Piece::Track(bytes)
            | Piece::Message(bytes) => bytes.len(),
            Piece::Entrusted(message) => message.stanza.len(),
            Piece::End => 0,
        }
    }
}

impl Outbox {
    pub fn push(&mut self, piece: Piece) {
        self.bytes += piece.len();
        if let Piece::Entrusted(message) = &piece {
            self.awaited += u32::from(is_due(&message.awaited));
        }
        self.queue.push_back(piece);
    }

    /// Keeps a stanza that comes after the end of the stream.
    pub fn push_late(&mut self, piece: Piece) {
        if !std::mem::replace(&mut self.ended, true) {
            self.queue.push_back(Piece::End);
        }
        self.push(piece);
    }

    /// How much waits to be written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much is kept: what waits, and what is not acknowledged.
    pub fn kept_bytes(&self) -> usize {
        self.bytes + self.tracker.as_ref().map_or(0, |tracker| tracker.bytes)
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        matches!(self.queue.front(), None | Some(Piece::End))
    }

    /// Takes the next thing. A message that somebody still waits for is taken with that: no client will acknowledge it.
    pub fn pop(&mut self) -> Option<Piece> {
        if self.is_empty() {
            return None;
        }
        let mut piece = self.queue.pop_front()?;
        self.bytes -= piece.len();
        match &mut piece {
            Piece::Stanza(stanza) => self.sent(|| Leftover::Stanza(stanza.clone())),
            Piece::Entrusted(message) if self.tracker.is_some() => {
                let awaited = message.awaited.take();
                self.sent(|| Leftover::Entrusted(Entrusted { awaited, ..message.clone() }));
            }
            Piece::Entrusted(message) => self.awaited -= u32::from(is_due(&message.awaited)),
            Piece::Track(_) => self.tracker = Some(Box::default()),
            Piece::Raw(_) | Piece::Nonza(_) | Piece::Message(_) | Piece::End => {}
        }
        if self.queue.is_empty() && self.queue.capacity() > KEPT_SLOTS_MAX {
            self.queue = VecDeque::new();
        }
        Some(piece)
    }

    /// Gives back the memory of the queue itself, once nothing waits.
    pub fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Keeps what is sent from now on until it is acknowledged; the client has taken so many stanzas before.
    pub fn track_from(&mut self, acked: u32) {
        self.tracker = Some(Box::new(Tracker { acked, ..Tracker::default() }));
    }

    /// Whether somebody may come back for what is in here.
    pub fn is_resumable(&self) -> bool {
        self.tracker.as_ref().is_some_and(|tracker| !tracker.over)
    }

    /// Whether the stream was ended, so that nobody will come back.
    pub fn set_over(&mut self, over: bool) {
        if let Some(tracker) = &mut self.tracker {
            tracker.over = over;
        }
    }

    fn sent(&mut self, leftover: impl FnOnce() -> Leftover) {
        if let Some(tracker) = &mut self.tracker {
            let leftover = leftover();
            tracker.bytes += leftover.bytes();
            tracker.sent.push_back(leftover);
            self.ask();
        }
    }

    /// Asks the client what it has taken, after what waits: at the end of that, or when much is not acknowledged.
    fn ask(&mut self) {
        let Some(tracker) = &mut self.tracker else { return };
        let due = self.queue.is_empty() || tracker.sent.len() >= UNASKED_MAX;
        if due && !tracker.asked && !tracker.over && !tracker.sent.is_empty() {
            tracker.asked = true;
            let mut question = Vec::new();
            Writer::new(&mut question).empty("r", ns::SM);
            self.push(Piece::Nonza(question.into()));
        }
    }

    /// The client has taken so many stanzas. An error says how many it was sent.
    pub fn acked(&mut self, count: u32) -> Result<Taken, u32> {
        let Some(tracker) = &mut self.tracker else { return Ok(Taken::default()) };
        let taken = count.wrapping_sub(tracker.acked) as usize;
        if taken > tracker.sent.len() {
            return Err(tracker.acked.wrapping_add(tracker.sent.len() as u32));
        }
        tracker.acked = count;
        tracker.asked = false;
        let mut all = Taken::default();
        for leftover in tracker.sent.drain(..taken) {
            tracker.bytes -= leftover.bytes();
            all.rows.extend(leftover.row());
            if let Some(awaited) = leftover.awaited() {
                self.awaited -= u32::from(!awaited.overdue);
                all.awaited.push(*awaited);
            }
        }
        if tracker.sent.is_empty() {
            tracker.sent = VecDeque::new();
        }
        self.ask();
        Ok(all)
    }

    /// What was entrusted and is not taken as far as is known, in order.
    fn messages_mut(&mut self) -> impl Iterator<Item = &mut Entrusted> {
        let sent = self.tracker.iter_mut().flat_map(|tracker| &mut tracker.sent);
        let sent = sent.filter_map(|leftover| match leftover {
            Leftover::Entrusted(message) => Some(message),
            Leftover::Stanza(_) => None,
        });
        let waiting = self.queue.iter_mut().filter_map(|piece| match piece {
            Piece::Entrusted(message) => Some(message),
            Piece::Raw(_) | Piece::Stanza(_) | Piece::Nonza(_) | Piece::Track(_) | Piece::Message(_) | Piece::End => {
                None
            }
        });
        sent.chain(waiting)
    }

    /// Messages that were to be taken before `due` and are not, while their senders wait: each once.
    pub fn overdue(&mut self, due: Instant) -> Vec<Entrusted> {
        if self.awaited == 0 {
            return Vec::new();
        }
        let late: Vec<Entrusted> = self.messages_mut().filter_map(|message| become_overdue(message, due)).collect();
        self.awaited -= late.len() as u32;
        late
    }

    /// Has somebody hear of it when the message that was given in this order is taken. If nobody has to wait for that any more, or
    /// somebody does already, the one who would wait comes back.
    pub fn await_taken(&mut self, given: u64, awaited: Box<Awaited>) -> Option<Box<Awaited>> {
        let due = u32::from(!awaited.overdue);
        let not_there = wait_with(self.messages_mut(), given, awaited);
        if not_there.is_none() {
            self.awaited += due;
        }
        not_there
    }

    /// Takes out what nobody took.
    pub fn remains(&mut self) -> Remains {
        self.bytes = 0;
        self.awaited = 0;
        self.when_flushed = None;
        let left = |piece| match piece {
            Piece::Entrusted(message) => Some(Leftover::Entrusted(message)),
            Piece::Stanza(stanza) => Some(Leftover::Stanza(stanza)),
            Piece::Raw(_) | Piece::Nonza(_) | Piece::Track(_) | Piece::Message(_) | Piece::End => None,
        };
        let waiting = std::mem::take(&mut self.queue).into_iter().filter_map(left).collect();
        let resumable = self.is_resumable();
        let tracker = self.tracker.take().unwrap_or_default();
        Remains { resumable, acked: tracker.acked, sent: tracker.sent.into(), waiting }
    }

    /// Whether all is taken, as far as anybody can know.
    pub fn is_flushed(&self) -> bool {
        self.queue.is_empty() && self.tracker.as_ref().is_none_or(|tracker| tracker.sent.is_empty())
    }

    pub fn set_when_flushed(&mut self, owner: Owner, note: Note) {
        self.when_flushed = Some(Box::new((owner, note)));
    }

    pub fn take_when_flushed(&mut self) -> Option<(Owner, Note)> {
        if self.is_flushed() { self.when_flushed.take().map(|boxed| *boxed) } else { None }
    }
}

fn is_due(awaited: &Option<Box<Awaited>>) -> bool {
    awaited.as_ref().is_some_and(|awaited| !awaited.overdue)
}

/// Has somebody wait with the message that was given in this order, if it is among these and nobody does.
pub(super) fn wait_with<'a>(
    mut messages: impl Iterator<Item = &'a mut Entrusted>,
    given: u64,
    awaited: Box<Awaited>,
) -> Option<Box<Awaited>> {
    let is_it = |message: &&mut Entrusted| message.backing == Backing::Others(given) && message.awaited.is_none();
    match messages.find(is_it) {
        Some(message) => {
            message.awaited = Some(awaited);
            None
        }
        None => Some(awaited),
    }
}

/// A copy of the message, once, if somebody waits for it since before `due`.
pub(super) fn become_overdue(message: &mut Entrusted, due: Instant) -> Option<Entrusted> {
    let awaited = message.awaited.as_mut().filter(|awaited| !awaited.overdue && awaited.since < due)?;
    awaited.overdue = true;
    Some(message.clone())
}

/// So many stanzas are not acknowledged before a client that is always busy is asked.
const UNASKED_MAX: usize = 64;
/// Room for this many pieces is kept while a connection is busy.
const KEPT_SLOTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proto::effect::SessionId;
    use proto::owner::AccountId;
    use proto::stanza::Receipt;

    use super::*;

    fn stanza(text: &'static str) -> Piece {
        Piece::Stanza(Bytes::from_static(text.as_bytes()))
    }

    fn message(row: u64) -> Piece {
        let stanza = Bytes::from_static(b"<message/>");
        Piece::Entrusted(Entrusted::new(stanza, Backing::Row(row)))
    }

    /// An outbox that has sent these; returns how often the client was asked.
    fn sent(outbox: &mut Outbox, pieces: impl IntoIterator<Item = Piece>) -> usize {
        pieces.into_iter().for_each(|piece| outbox.push(piece));
        std::iter::from_fn(|| outbox.pop()).filter(|piece| matches!(piece, Piece::Nonza(_))).count()
    }

    #[test]
    fn what_is_not_tracked_is_gone_once_it_is_sent() {
        let mut outbox = Outbox::default();
        assert_eq!(sent(&mut outbox, [stanza("<presence/>"), message(1)]), 0);
        assert!(outbox.is_flushed());
        assert_eq!(outbox.acked(7), Ok(Taken::default()));
        let remains = outbox.remains();
        assert!(!remains.resumable && remains.sent.is_empty() && remains.waiting.is_empty());
    }

    #[test]
    fn what_is_tracked_is_kept_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        let track = Piece::Track(Bytes::from_static(b"<enabled/>"));
        assert_eq!(sent(&mut outbox, [stanza("<presence/>"), track]), 0, "what came before does not count");
        assert_eq!(sent(&mut outbox, [stanza("<iq/>"), message(1), message(2)]), 1, "asked once, at the end");
        assert!(!outbox.is_flushed());
        assert_eq!(outbox.bytes(), 0);
        assert_eq!(outbox.kept_bytes(), 25);
        assert_eq!(outbox.acked(2).map(|taken| taken.rows), Ok(vec![1]));
        assert_eq!(sent(&mut outbox, []), 1, "asked again for the rest");
        assert_eq!(outbox.acked(4), Err(3), "more than there was");
        outbox.push(message(3));
        let remains = outbox.remains();
        assert!(remains.resumable);
        let rows = |left: &[Leftover]| left.iter().filter_map(Leftover::row).collect::<Vec<_>>();
        assert_eq!((remains.acked, rows(&remains.sent), rows(&remains.waiting)), (2, vec![2], vec![3]));
    }

    #[test]
    fn counts_go_around() {
        let mut outbox = Outbox::default();
        outbox.track_from(u32::MAX);
        sent(&mut outbox, [message(1), message(2), message(3)]);
        assert_eq!(outbox.acked(u32::MAX - 1), Err(2), "less than before is far more");
        assert_eq!(outbox.acked(0).map(|taken| taken.rows), Ok(vec![1]));
        assert_eq!(outbox.acked(3), Err(2));
        assert_eq!(outbox.acked(2).map(|taken| taken.rows), Ok(vec![2, 3]));
        assert_eq!(sent(&mut outbox, []), 1, "after the answer that left something");
        assert!(outbox.is_flushed());
        assert_eq!(outbox.kept_bytes(), 0);
    }

    #[test]
    fn a_client_that_is_always_busy_is_asked_in_between() {
        let mut outbox = Outbox::default();
        outbox.track_from(0);
        for row in 0..UNASKED_MAX as u64 {
            outbox.push(message(row));
            outbox.push(message(row));
            let piece = outbox.pop();
            assert!(matches!(piece, Some(Piece::Entrusted(_))), "not before so many: {row}");
        }
        let asked = std::iter::from_fn(|| outbox.pop()).filter(|piece| matches!(piece, Piece::Nonza(_))).count();
        assert_eq!(asked, 1, "and not twice before it answers");
    }

    #[test]
    fn what_ended_is_not_come_back_to_and_is_asked_nothing() {
        let mut outbox = Outbox::default();
        outbox.track_from(0);
        outbox.set_over(true);
        assert_eq!(sent(&mut outbox, [message(1)]), 0);
        outbox.push_late(message(2));
        assert!(outbox.is_empty(), "too late to be sent");
        let remains = outbox.remains();
        assert!(!remains.resumable);
        assert_eq!((remains.sent.len(), remains.waiting.len()), (1, 1));
    }

    #[test]
    fn nobody_waits_for_what_was_taken_out() {
        let mut outbox = Outbox::default();
        outbox.track_from(0);
        sent(&mut outbox, [message(1)]);
        outbox.set_when_flushed(Owner::App(proto::jid::user::AppId(1)), Note::Taken(Vec::new(), Vec::new()));
        assert!(outbox.take_when_flushed().is_none());
        let _remains = outbox.remains();
        assert!(outbox.is_flushed() && outbox.take_when_flushed().is_none());
    }

    /// A message whose sender waits to hear of it since then.
    fn awaited(seq: u32, since: u64) -> Piece {
        let account = AccountId { app: proto::jid::user::AppId(1), user: proto::jid::user::UserId(1) };
        let receipt = Receipt { account, session: SessionId(1), seq };
        let awaited = Awaited { receipt, since: Instant::from_micros(since), overdue: false };
        let stanza = Bytes::from_static(b"<message/>");
        let backing = Backing::Others(u64::from(seq));
        Piece::Entrusted(Entrusted { stanza, backing, awaited: Some(Box::new(awaited)) })
    }

    fn seqs<'a>(all: impl IntoIterator<Item = &'a Awaited>) -> Vec<(u32, bool)> {
        all.into_iter().map(|awaited| (awaited.receipt.seq, awaited.overdue)).collect()
    }

    #[test]
    fn a_sender_waits_for_what_is_written_or_acknowledged() {
        let mut outbox = Outbox::default();
        outbox.push(awaited(1, 0));
        let Some(Piece::Entrusted(message)) = outbox.pop() else { panic!("a message waits") };
        assert!(message.awaited.is_some(), "it is taken now: nobody will acknowledge it");
        assert!(outbox.overdue(Instant::from_micros(u64::MAX)).is_empty());

        outbox.track_from(0);
        outbox.push(awaited(2, 0));
        let Some(Piece::Entrusted(message)) = outbox.pop() else { panic!("a message waits") };
        assert!(message.awaited.is_none(), "not yet");
        let taken = outbox.acked(1).expect("so much was sent");
        assert_eq!(seqs(&taken.awaited), [(2, false)]);
    }

    #[test]
    fn what_takes_long_is_told_once() {
        let mut outbox = Outbox::default();
        outbox.track_from(0);
        sent(&mut outbox, [awaited(1, 10)]);
        outbox.push(awaited(2, 20));
        outbox.push(awaited(3, 30));
        let overdue = |outbox: &mut Outbox, due| {
            seqs(outbox.overdue(Instant::from_micros(due)).iter().filter_map(|message| message.awaited.as_deref()))
        };
        assert_eq!(overdue(&mut outbox, 10), []);
        assert_eq!(overdue(&mut outbox, 21), [(1, true), (2, true)], "what is sent and what waits");
        assert_eq!(overdue(&mut outbox, 21), []);
        assert_eq!(overdue(&mut outbox, 31), [(3, true)]);
        sent(&mut outbox, []);
        assert_eq!(seqs(&outbox.acked(3).expect("so much was sent").awaited), [(1, true), (2, true), (3, true)]);
        assert_eq!(outbox.awaited, 0);
    }

    #[test]
    fn one_who_comes_to_wait_later_waits_for_what_is_there() {
        let mut outbox = Outbox::default();
        outbox.push(Piece::Entrusted(Entrusted::new(Bytes::from_static(b"<message/>"), Backing::Others(5))));
        let Piece::Entrusted(Entrusted { awaited: Some(waits), .. }) = awaited(1, 0) else { panic!("it is awaited") };
        assert!(outbox.await_taken(4, waits.clone()).is_some(), "another message");
        assert!(outbox.await_taken(5, waits.clone()).is_none());
        assert!(outbox.await_taken(5, waits.clone()).is_some(), "somebody waits already");
        let Some(Piece::Entrusted(message)) = outbox.pop() else { panic!("a message waits") };
        assert_eq!(message.awaited, Some(waits.clone()));
        assert!(outbox.await_taken(5, waits).is_some(), "it is taken");
    }
}
