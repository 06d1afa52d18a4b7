//! Putting the page together: which dialogs to look into, which message comes next, and whether the viewer still has it.

use std::collections::VecDeque;

use super::{Asked, CHUNK_ROWS, Found, Hit, Keep, OPENED_AT_ONCE, PROBE_ROWS, STEP_ROWS, Scope, Search, Spot, Stream};
use crate::jid::user::DialogId;
use crate::limits::ARCHIVE_PAGE_BYTES_MAX;
use crate::model::dialog::{
    Body, DATE_SENT_SECS_MAX, HIDDEN, MESSAGES, MessageRow, first_order, mark_key, order_key, order_of, orders,
};
use crate::row::{Reads, Rows, Unreadable};
use crate::time::Timestamp;
use crate::xml::Nodes;

impl Search {
    /// Puts the page together.
    pub(super) fn gather(&mut self) -> Option<Reads> {
        if self.window.max == 0 {
            return None;
        }
        while self.complete.is_none() {
            // One more than the page holds says whether it is the last.
            let enough = self.hits.len() + self.pending.len() > self.window.max;
            if enough || self.pending.len() >= CHUNK_ROWS {
                return Some(self.check());
            }
            if let Some(reads) = self.refill() {
                return Some(reads);
            }
            if self.must_open() {
                if self.opened >= self.shelf.len() {
                    return Some(self.ask_shelf());
                }
                self.open();
                continue;
            }
            match self.pop() {
                Some(found) => self.pending.push(found),
                None if self.pending.is_empty() => self.complete = Some(true),
                None => return Some(self.check()),
            }
        }
        None
    }

    /// Reads on in the dialogs of which nothing is left in memory: what comes next is not known without them.
    fn refill(&mut self) -> Option<Reads> {
        self.streams.retain(|stream| stream.left.is_some() || !stream.found.is_empty());
        let wanted = (self.window.max + 1).saturating_sub(self.hits.len() + self.pending.len()).max(1);
        let (mut streams, mut reads, mut rows) = (Vec::new(), Reads::none(), 0);
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let Some((first, last)) = stream.left.filter(|_| stream.found.is_empty()) else { continue };
            let limit = stream.next_rows.min(wanted);
            if rows + limit > STEP_ROWS {
                break;
            }
            rows += limit;
            stream.next_rows = CHUNK_ROWS;
            streams.push((index, limit));
            let range = orders(self.viewer.app, stream.dialog, first, last);
            reads = if self.window.backwards {
                reads.and_scan_back(&MESSAGES, range, limit)
            } else {
                reads.and_scan(&MESSAGES, range, limit)
            };
        }
        (!streams.is_empty()).then(|| self.ask(Asked::Messages(streams), reads))
    }

    pub(super) fn take_messages(&mut self, index: usize, limit: usize, rows: &mut Rows) -> Result<(), Unreadable> {
        let page = rows.page();
        self.looked_at += page.len().max(1);
        let dialog = self.streams[index].dialog;
        let mut left = self.streams[index].left.filter(|_| page.len() == limit);
        for (key, value) in page {
            let order = order_of(&key)?;
            left = left.and_then(|(first, last)| {
                let rest =
                    if self.window.backwards { (first, order.checked_sub(1)?) } else { (order.checked_add(1)?, last) };
                (rest.0 <= rest.1).then_some(rest)
            });
            let row = MessageRow::decode(&value)?;
            if !self.is_of_archive(&row) {
                left = None;
                break;
            }
            let spot = Spot::of(&row, dialog, order);
            if self.fits(&spot) && self.keeps(&row) {
                // Out of many dialogs few messages come to be on the page; of one, most do.
                let bytes = weight(&row);
                let at_hand = self.scope != Scope::Private && self.kept_bytes + bytes <= 2 * ARCHIVE_PAGE_BYTES_MAX;
                self.kept_bytes += if at_hand { bytes } else { 0 };
                self.streams[index].found.push_back(Found { spot, row: at_hand.then_some(row) });
            }
        }
        self.streams[index].left = left;
        Ok(())
    }

    fn keeps(&self, row: &MessageRow) -> bool {
        match &self.keep {
            Keep::All => true,
            Keep::Of(user) => row.sender == *user,
            Keep::Address(address) => {
                let (Body::Stanza(stanza) | Body::Aside(stanza)) = &row.body else { return false };
                let mut nodes = Nodes::new();
                let Some(message) = nodes.reread(stanza) else { return false };
                ["from", "to"].into_iter().any(|side| message.attr(side).is_some_and(|side| *side == **address))
            }
        }
    }

    /// Whether the next message may be in a dialog that was not looked into.
    fn must_open(&self) -> bool {
        let unopened = match self.shelf.get(self.opened) {
            Some(&(secs, _)) => secs,
            None if self.shelf_end => return false,
            // What the list has further down is not newer than the last of what was read of it.
            None => match self.shelf.last() {
                Some(&(secs, _)) => secs,
                None => return true,
            },
        };
        // The list goes by `date_sent`.
        let newest = unopened.saturating_add(DATE_SENT_SECS_MAX);
        if newest < self.since().secs() {
            return false;
        }
        let best = self.best().map(|best| self.streams[best].found[0].spot.at);
        !self.window.backwards || best.is_none_or(|best| best < Timestamp::from_secs(newest.saturating_add(1)))
    }

    /// Nothing before this is in the window.
    fn since(&self) -> Timestamp {
        let after = self.bounds.iter().flat_map(|bounds| &bounds.after).map(|spot| spot.at);
        after.chain(self.window.start).max().unwrap_or_default()
    }

    fn open(&mut self) {
        for _ in 0..OPENED_AT_ONCE {
            if !self.must_open() {
                return;
            }
            let Some(&(_, dialog)) = self.shelf.get(self.opened) else { return };
            self.opened += 1;
            let next_rows = if self.scope == Scope::Private { PROBE_ROWS } else { CHUNK_ROWS };
            self.streams.push(Stream { dialog, left: self.range(dialog), next_rows, found: VecDeque::new() });
        }
    }

    /// The orders of a dialog's messages that can be in the window; [`Search::fits`] looks more closely.
    fn range(&self, dialog: DialogId) -> Option<(u64, u64)> {
        let bounds = self.bounds.as_ref()?;
        let earliest = |at: Timestamp| first_order(at.secs().saturating_sub(DATE_SENT_SECS_MAX));
        let latest = |at: Timestamp| match at.secs().saturating_add(DATE_SENT_SECS_MAX + 1) {
            secs if secs >= u64::from(u32::MAX) => u64::MAX,
            secs => first_order(secs),
        };
        let (mut first, mut last) = (self.window.start.map_or(0, earliest), self.window.end.map_or(u64::MAX, latest));
        for after in &bounds.after {
            first = first.max(if after.dialog == dialog { after.order.checked_add(1)? } else { earliest(after.at) });
        }
        for before in &bounds.before {
            last = last.min(if before.dialog == dialog { before.order.checked_sub(1)? } else { latest(before.at) });
        }
        (first <= last).then_some((first, last))
    }

    /// The stream whose next message comes first.
    fn best(&self) -> Option<usize> {
        let mut best: Option<(usize, &Spot)> = None;
        for (index, stream) in self.streams.iter().enumerate() {
            let Some(Found { spot, .. }) = stream.found.front() else { continue };
            let better =
                best.is_none_or(
                    |(_, other)| {
                        if self.window.backwards { other.is_before(spot) } else { spot.is_before(other) }
                    },
                );
            if better {
                best = Some((index, spot));
            }
        }
        best.map(|(index, _)| index)
    }

    fn pop(&mut self) -> Option<Found> {
        let best = self.best()?;
        self.streams[best].found.pop_front()
    }

    /// Reads what is missing of the next messages, and whether the viewer has deleted them.
    fn check(&mut self) -> Reads {
        let (app, user) = (self.viewer.app, self.viewer.user);
        let mut reads = Reads::none();
        for Found { spot, row } in &self.pending {
            if row.is_none() {
                reads = reads.and_get(&MESSAGES, order_key(app, spot.dialog, spot.order));
            }
            reads = reads.and_get(&HIDDEN, mark_key(app, spot.dialog, spot.order, user));
        }
        self.looked_at += self.pending.len();
        self.ask(Asked::Check, reads)
    }

    pub(super) fn take_checked(&mut self, rows: &mut Rows) -> Result<(), Unreadable> {
        for Found { spot, row } in std::mem::take(&mut self.pending) {
            let row = match row {
                Some(row) => Some(row),
                None => rows.row().map(|row| MessageRow::decode(&row)).transpose()?,
            };
            let hidden = rows.row().is_some();
            let Some(row) = row.filter(|_| !hidden) else { continue };
            let bytes = weight(&row);
            if self.hits.len() >= self.window.max
                || (!self.hits.is_empty() && self.bytes + bytes > ARCHIVE_PAGE_BYTES_MAX)
            {
                self.complete = Some(false);
                return Ok(());
            }
            self.bytes += bytes;
            self.hits.push(Hit { dialog: spot.dialog, at: spot.at, row });
        }
        Ok(())
    }
}

/// About how many bytes a message takes.
fn weight(row: &MessageRow) -> usize {
    match &row.body {
        Body::Stanza(bytes) | Body::Aside(bytes) => bytes.len(),
        Body::Retracted(retraction) => retraction.reason.as_ref().map_or(0, String::len),
        Body::Plain { content, .. } => {
            let pair = |(name, value): &(String, String)| name.len() + value.len();
            let files = content.attachments.iter().flat_map(|file| &file.0).map(pair).sum::<usize>();
            content.text.as_ref().map_or(0, String::len) + content.custom.iter().map(pair).sum::<usize>() + files
        }
    }
}
