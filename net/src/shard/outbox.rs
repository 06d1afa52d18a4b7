//! What waits to be written to one connection.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::effect::Note;
use proto::owner::Owner;
use proto::stanza::Entrusted;

/// Output in order. A quiet connection's holds no heap.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Piece>,
    bytes: usize,
    /// [`Piece::End`] is in the queue.
    ended: bool,
    /// What an owner wants to hear once all of this is taken.
    when_flushed: Option<Box<(Owner, Note)>>,
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
    /// An element of a stream's own, declared to stand alone.
    Message(Bytes),
    /// The end of the stream is before this. What follows is never sent, but what was entrusted goes back.
    End,
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Raw(bytes) | Piece::Stanza(bytes) | Piece::Message(bytes) => bytes.len(),
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

    /// How much waits.
    pub fn bytes(&self) -> usize {
        self.bytes
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

    /// The entrusted messages that nobody took.
    pub fn undelivered(&mut self) -> Vec<Entrusted> {
        self.bytes = 0;
        let message = |piece| match piece {
            Piece::Entrusted(message) => Some(message),
            Piece::Raw(_) | Piece::Stanza(_) | Piece::Message(_) | Piece::End => None,
        };
        std::mem::take(&mut self.queue).into_iter().filter_map(message).collect()
    }

    pub fn set_when_flushed(&mut self, owner: Owner, note: Note) {
        self.when_flushed = Some(Box::new((owner, note)));
    }

    pub fn take_when_flushed(&mut self) -> Option<(Owner, Note)> {
        if self.queue.is_empty() { self.when_flushed.take().map(|boxed| *boxed) } else { None }
    }
}

/// Room for this many pieces is kept while a connection is busy.
const KEPT_SLOTS_MAX: usize = 64;
