//! What waits to be written to one connection.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::effect::Note;
use proto::ns;
use proto::owner::Owner;
use proto::stanza::{Entrusted, Leftover, Remains};
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

    /// Takes the next thing.
    pub fn pop(&mut self) -> Option<Piece> {
        if self.is_empty() {
            return None;
        }
        let piece = self.queue.pop_front()?;
        self.bytes -= piece.len();
        match &piece {
            Piece::Stanza(stanza) => self.sent(|| Leftover::Stanza(stanza.clone())),
            Piece::Entrusted(message) => self.sent(|| Leftover::Entrusted(message.clone())),
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

    /// The client has taken so many stanzas: returns the rows of those. An error says how many it was sent.
    pub fn acked(&mut self, count: u32) -> Result<Vec<u64>, u32> {
        let Some(tracker) = &mut self.tracker else { return Ok(Vec::new()) };
        let taken = count.wrapping_sub(tracker.acked) as usize;
        if taken > tracker.sent.len() {
            return Err(tracker.acked.wrapping_add(tracker.sent.len() as u32));
        }
        tracker.acked = count;
        tracker.asked = false;
        let mut rows = Vec::new();
        for leftover in tracker.sent.drain(..taken) {
            tracker.bytes -= leftover.bytes();
            rows.extend(leftover.row());
        }
        if tracker.sent.is_empty() {
            tracker.sent = VecDeque::new();
        }
        self.ask();
        Ok(rows)
    }

    /// Takes out what nobody took.
    pub fn remains(&mut self) -> Remains {
        self.bytes = 0;
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

/// So many stanzas are not acknowledged before a client that is always busy is asked.
const UNASKED_MAX: usize = 64;
/// Room for this many pieces is kept while a connection is busy.
const KEPT_SLOTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proto::stanza::Backing;

    use super::*;

    fn stanza(text: &'static str) -> Piece {
        Piece::Stanza(Bytes::from_static(text.as_bytes()))
    }

    fn message(row: u64) -> Piece {
        let stanza = Bytes::from_static(b"<message/>");
        Piece::Entrusted(Entrusted { stanza, backing: Backing::Row(row) })
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
        assert_eq!(outbox.acked(7), Ok(Vec::new()));
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
        assert_eq!(outbox.acked(2), Ok(vec![1]));
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
        assert_eq!(outbox.acked(0), Ok(vec![1]));
        assert_eq!(outbox.acked(3), Err(2));
        assert_eq!(outbox.acked(2), Ok(vec![2, 3]));
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
        outbox.set_when_flushed(Owner::App(proto::jid::user::AppId(1)), Note::Taken(Vec::new()));
        assert!(outbox.take_when_flushed().is_none());
        let _remains = outbox.remains();
        assert!(outbox.is_flushed() && outbox.take_when_flushed().is_none());
    }
}
