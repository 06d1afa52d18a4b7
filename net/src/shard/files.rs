//! Files on their way through a connection: what comes goes to the disk piece by piece, and what goes comes from there.
//!
//! One piece is under way at a time. While it is with the disk the client is not read from, and while the client has not taken it
//! nothing more is read from the disk, so a connection holds one piece of a file, however large that is.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use proto::model::upload::{Day, FileId, SLOWEST_BYTES_PER_SEC};
use proto::time::Instant;
use rest::flow::{Incoming, Opened, Received, Then};
use rest::http::{After, Response, Step as Read};
use rest::problem::Problem;

use super::conns::{ConnId, Conns, Directive, Line};
use super::desk::{Desk, Task};
use super::http::HttpLine;
use super::outbox::Piece;
use super::{Shard, Waiting};
use crate::files::{Chore, Errand, Outcome, Reading, Writing};

/// The files that are on their way, by the connection whose request they are about.
#[derive(Default)]
pub(super) struct Transfers(HashMap<ConnId, Transfer, RandomState>);

/// A file that comes or goes.
enum Transfer {
    /// It is being looked for.
    Opening(Then<Opened>),
    /// It is there.
    Opened(Reading),
    /// It comes. What is written to is with the disk now and then.
    Receiving { then: Then<Received>, writing: Option<Writing> },
    /// It goes. What is read from is with the disk now and then.
    Sending { reading: Option<Reading>, rest: Range<u64>, since: Instant, sent: u64 },
}

impl Transfers {
    /// Whether something is to be done for a connection once it has taken what there was.
    pub fn are_under_way(&self, id: ConnId) -> bool {
        self.0.contains_key(&id)
    }

    /// Whether a client does not take what it asked for.
    pub fn is_stalled(&self, id: ConnId, now: Instant, time: Duration) -> bool {
        match self.0.get(&id) {
            Some(Transfer::Sending { since, sent, .. }) => {
                *since + time + Duration::from_secs(sent / SLOWEST_BYTES_PER_SEC) <= now
            }
            Some(Transfer::Opening(_) | Transfer::Opened(_) | Transfer::Receiving { .. }) | None => false,
        }
    }
}

/// What is read of a file at once. Larger pieces bring nothing but memory that the allocator keeps.
const PIECE_BYTES: u64 = 32 * 1024;

impl<D: Desk> Shard<D> {
    /// The body of the upload in hand becomes a file.
    pub(super) fn receive_file(&mut self, id: ConnId, incoming: Incoming, then: Then<Received>) {
        let Some(files) = self.terms.files.clone() else {
            let step = self.moment(|moment| then(Received::Failed, moment));
            return self.step(id, step);
        };
        if self.begin(id, Transfer::Receiving { then, writing: None }) {
            self.chore(id, Chore::Create(files, incoming));
        }
    }

    /// A file is looked for.
    pub(super) fn open_file(&mut self, id: ConnId, file: FileId, then: Then<Opened>) {
        let Some(files) = self.terms.files.clone() else {
            let step = self.moment(|moment| then(Opened::Nothing, moment));
            return self.step(id, step);
        };
        if self.begin(id, Transfer::Opening(then)) {
            self.chore(id, Chore::Open(files, file));
        }
    }

    /// A part of the file that was opened is the body of this answer.
    pub(super) fn send_file(&mut self, id: ConnId, response: &Response, rest: Range<u64>) {
        let now = self.now.instant;
        let Some(line) = http_line(&mut self.conns, id) else { return };
        let Some(Transfer::Opened(reading)) = self.transfers.0.remove(&id) else {
            debug_assert!(false, "only a file that was opened is sent");
            return self.respond(id, &Problem::internal().into_response());
        };
        let mut out = Vec::new();
        let after = line.machine.respond(now, response, &mut out);
        self.conns.push(id, Piece::Raw(out.into()));
        if after != After::Stream {
            return self.answered_with(id, after);
        }
        self.counts.files_out += 1;
        let reading = Some(reading);
        self.transfers.0.insert(id, Transfer::Sending { reading, rest, since: now, sent: 0 });
        self.send_more(id);
    }

    /// Files that nobody wants.
    pub(super) fn remove_files(&mut self, ids: Vec<FileId>) {
        if let Some(files) = self.terms.files.clone() {
            self.desk.errand(Errand::Remove(files, ids));
        }
    }

    /// Files of days that are over.
    pub(super) fn sweep_files(&mut self) {
        if let Some(files) = self.terms.files.clone() {
            self.desk.errand(Errand::Sweep(files, Day::of(self.now.stamp)));
        }
    }

    /// Takes what has come of a body to the disk.
    pub(super) fn receive_more(&mut self, id: ConnId) {
        let Some(Transfer::Receiving { writing, .. }) = self.transfers.0.get_mut(&id) else { return };
        let Some(line) = http_line(&mut self.conns, id) else { return };
        if writing.is_some()
            && let Some((piece, last)) = line.machine.take_body()
            && let Some(writing) = writing.take()
        {
            self.counts.file_bytes_in += piece.len() as u64;
            self.chore(id, Chore::Write(writing, piece, last));
        }
    }

    /// Reads on once the client has taken what there was.
    pub(super) fn send_more(&mut self, id: ConnId) {
        let now = self.now.instant;
        let Some(Transfer::Sending { reading, rest, .. }) = self.transfers.0.get_mut(&id) else { return };
        if rest.is_empty() {
            self.transfers.0.remove(&id);
            let Some(line) = http_line(&mut self.conns, id) else { return };
            let after = line.machine.finish_stream(now);
            return self.answered_with(id, after);
        }
        if let Some(reading) = reading.take() {
            let bytes = (rest.end - rest.start).min(PIECE_BYTES);
            let chore = Chore::Read(reading, rest.start, usize::try_from(bytes).unwrap_or(0));
            self.chore(id, chore);
        }
    }

    /// The disk is done with a piece.
    pub(super) fn file_worked(&mut self, id: ConnId, outcome: Outcome) {
        match outcome {
            Outcome::Writing(writing) => self.can_write(id, writing),
            Outcome::Received(file, received) => self.has_received(id, file, received),
            Outcome::Opened(reading, opened) => {
                let Some(Transfer::Opening(then)) = self.transfers.0.remove(&id) else { return };
                if let Some(reading) = reading {
                    self.begin(id, Transfer::Opened(reading));
                }
                let step = self.moment(|moment| then(opened, moment));
                self.step(id, step);
            }
            Outcome::Read(read) => self.has_read(id, read),
        }
    }

    fn can_write(&mut self, id: ConnId, ready: Writing) {
        let now = self.now.instant;
        let (Some(Transfer::Receiving { writing, .. }), Some(line)) =
            (self.transfers.0.get_mut(&id), http_line(&mut self.conns, id))
        else {
            return self.desk.errand(Errand::Abandon(ready));
        };
        *writing = Some(ready);
        let mut out = Vec::new();
        let step = match line.machine.accept_body(now, &mut out) {
            Read::More => line.machine.more_body(),
            step => step,
        };
        self.went(id, out, step);
        // It may be read from again.
        self.conns.touch(id);
    }

    fn has_received(&mut self, id: ConnId, file: FileId, received: Received) {
        if let Some(Transfer::Receiving { then, .. }) = self.transfers.0.remove(&id) {
            self.counts.files_in += u64::from(received == Received::Kept);
            let step = self.moment(|moment| then(received, moment));
            self.step(id, step);
        } else if received == Received::Kept {
            // Its client left and was told nothing: it can come again.
            self.remove_files(vec![file]);
        }
    }

    fn has_read(&mut self, id: ConnId, read: Option<(Reading, Bytes)>) {
        let Some(Transfer::Sending { reading, rest, sent, .. }) = self.transfers.0.get_mut(&id) else { return };
        // A body that breaks off is all that can be said: the head is out.
        let Some((ready, bytes)) = read else { return self.conns.direct(id, Directive::Close) };
        *reading = Some(ready);
        rest.start += bytes.len() as u64;
        *sent += bytes.len() as u64;
        self.counts.file_bytes_out += bytes.len() as u64;
        self.conns.push(id, Piece::Raw(bytes));
    }

    /// A connection that is gone, or was answered otherwise, leaves nothing behind.
    pub(super) fn drop_transfer(&mut self, id: ConnId) {
        if let Some(Transfer::Receiving { writing: Some(writing), .. }) = self.transfers.0.remove(&id) {
            self.desk.errand(Errand::Abandon(writing));
        }
    }

    fn chore(&mut self, id: ConnId, chore: Chore) {
        let ticket = self.ticket(Waiting::File(id));
        self.desk.compute(ticket, Task::File(chore));
    }

    /// False when the connection is gone.
    fn begin(&mut self, id: ConnId, transfer: Transfer) -> bool {
        let is_there = http_line(&mut self.conns, id).is_some();
        if is_there {
            self.transfers.0.insert(id, transfer);
        }
        is_there
    }
}

fn http_line(conns: &mut Conns, id: ConnId) -> Option<&mut HttpLine> {
    match &mut conns.get_mut(id)?.line {
        Line::Http(line) => Some(line),
        Line::Tcp(_) | Line::WebSocket(_) | Line::Bosh(_) | Line::Component(_) | Line::AtWork => None,
    }
}
