//! A page of an archive: which messages are on it, found with as few rows as the page needs.
//!
//! The archive of a room, or of a user's conversation with one other, is one dialog's history: a page is read from where it
//! begins, and costs what it holds. A user's whole archive is that of all private dialogs in the user's list, merged by time.
//! There is no copy of it; a page is put together from the dialogs:
//!
//! - *Backwards* the list gives the dialogs by their last message, and one is looked into only when its last message may belong
//!   before what was found already. The newest page looks into the dialogs that are on it and a few more; an older page into
//!   those that have had a message since.
//! - *Forwards* every dialog with a message since the page's beginning is looked into: those with news for a client that was
//!   away, and all of them for one that begins at the beginning.
//! - A message that is named by its id alone is looked for in the dialogs one after another, the busiest first.
//!
//! Looking into a dialog is one short scan. All of it is bounded by [`ARCHIVE_DIALOGS_MAX`] and [`ARCHIVE_ROWS_MAX`]; who has
//! more asks for one conversation, or for a time, and is told so with `resource-constraint`.
//!
//! Messages are ordered by when they were saved, and those of one dialog by their place in it. (By `date_sent`, which senders
//! may set up to five seconds off, a message could come to lie before one that a client has seen already, and be missed.)

use std::collections::{BTreeSet, VecDeque};

use crate::error::Condition;
use crate::jid::user::{DialogId, MessageId, ObjectId, UserId};
use crate::limits::{ARCHIVE_DIALOGS_MAX, ARCHIVE_PAGE_BYTES_MAX, ARCHIVE_ROWS_MAX};
use crate::model::dialog::{
    self, Body, DATE_SENT_SECS_MAX, HIDDEN, MESSAGES, MessageRow, first_order, mark_key, order_key, order_of,
    order_secs, orders, reread,
};
use crate::model::inbox::{self, Entry, Standing};
use crate::owner::AccountId;
use crate::row::{Reads, Rows, Unreadable};
use crate::time::Timestamp;
use crate::xml::Nodes;

/// Rows of messages read in one step: what is in memory at once stays small, however large they are.
const STEP_ROWS: usize = 64;
/// Messages read from one dialog at once.
const CHUNK_ROWS: usize = 32;
/// Messages read from a dialog of many at first.
const PROBE_ROWS: usize = 2;
/// Dialogs of which the first messages are read in one step.
const OPENED_AT_ONCE: usize = 16;
/// Dialogs read from the user's list at once.
const SHELF_ROWS: usize = 256;
/// Places of messages looked up in one step.
const PLACES_AT_ONCE: usize = 256;

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In no dialog: nothing there can match.
    Nothing,
    /// In this dialog.
    One(DialogId),
    /// In all private dialogs of the viewer's list.
    Private,
}

/// Which messages of the dialog match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All.
    All,
    /// Those of this sender.
    Of(UserId),
    /// Those to or from exactly this address. XEP-0313 §4.1.1.
    Address(String),
}

/// Which part of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Only messages after each of these.
    pub after: Vec<MessageId>,
    /// Only messages before each of these.
    pub before: Vec<MessageId>,
    /// Only these.
    pub ids: Option<Vec<MessageId>>,
    /// Only messages saved then or later.
    pub start: Option<Timestamp>,
    /// Only messages saved then or earlier.
    pub end: Option<Timestamp>,
    /// The last rather than the first of them.
    pub backwards: bool,
    /// At most so many.
    pub max: usize,
}

/// A message that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    /// The dialog it is of.
    pub dialog: DialogId,
    /// When it was saved.
    pub at: Timestamp,
    /// The message.
    pub row: MessageRow,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    /// In the order of time.
    pub hits: Vec<Hit>,
    /// No matching message lies beyond the page, in the direction of the search.
    pub complete: bool,
}

/// A place in an archive.
#[derive(Clone, Copy, Debug)]
struct Spot {
    at: Timestamp,
    dialog: DialogId,
    order: u64,
}

impl Spot {
    fn of(row: &MessageRow, dialog: DialogId, order: u64) -> Spot {
        // Orders are never more than this ahead of the clock, unless it was set back; then they, and not it, say what came when.
        let least = order_secs(order).saturating_sub(DATE_SENT_SECS_MAX);
        Spot { at: row.created_at.max(Timestamp::from_secs(least)), dialog, order }
    }

    /// In one dialog its order rules; across dialogs time does.
    fn is_before(&self, other: &Spot) -> bool {
        if self.dialog == other.dialog {
            self.order < other.order
        } else {
            (self.at, self.dialog) < (other.at, other.dialog)
        }
    }
}

/// A message that belongs on the page if the viewer has not deleted it.
struct Found {
    spot: Spot,
    /// None when it was not kept, to be read again.
    row: Option<MessageRow>,
}

/// What is left to look at in one dialog.
struct Stream {
    dialog: DialogId,
    /// The orders that were not read yet, both inside; none when all were.
    left: Option<(u64, u64)>,
    next_rows: usize,
    found: VecDeque<Found>,
}

/// A message that is named, and where it is.
struct Named {
    id: MessageId,
    spot: Option<Spot>,
}

/// What the rows that come next are.
enum Asked {
    Nothing,
    Shelf,
    Places(Vec<(DialogId, MessageId)>),
    Named(Vec<(MessageId, DialogId, u64)>),
    /// Of these streams, so many rows each.
    Messages(Vec<(usize, usize)>),
    Check,
}

/// The search for a page; see the module. [`Search::next`] says which rows it needs, and [`Search::take`] takes them.
pub(crate) struct Search {
    viewer: AccountId,
    scope: Scope,
    keep: Keep,
    window: Window,
    /// Dialogs to look into, by the seconds of their last messages, the newest first.
    shelf: Vec<(u64, DialogId)>,
    shelf_end: bool,
    shelf_last: Option<Entry>,
    seen: BTreeSet<DialogId>,
    /// So many of the shelf were asked for the messages that are named.
    asked_for: usize,
    /// So many of the shelf are streams.
    opened: usize,
    named: Vec<Named>,
    placed: Vec<(MessageId, DialogId, u64)>,
    bounds: Option<Bounds>,
    streams: Vec<Stream>,
    pending: Vec<Found>,
    hits: Vec<Hit>,
    bytes: usize,
    kept_bytes: usize,
    looked_at: usize,
    complete: Option<bool>,
    asked: Asked,
}

/// The window with places for names.
struct Bounds {
    after: Vec<Spot>,
    before: Vec<Spot>,
}

impl Search {
    /// A search for what `viewer` may see; whether that is anything is not asked here.
    pub fn new(viewer: AccountId, scope: Scope, keep: Keep, window: Window) -> Search {
        let shelf = match scope {
            Scope::Nothing | Scope::Private => Vec::new(),
            // Its newest message may be as new as can be.
            Scope::One(dialog) => vec![(u64::MAX / 2, dialog)],
        };
        let mut ids: Vec<MessageId> = window.after.iter().chain(&window.before).copied().collect();
        ids.extend(window.ids.iter().flatten());
        ids.sort_unstable();
        ids.dedup();
        Search {
            viewer,
            keep,
            window,
            shelf,
            shelf_end: scope != Scope::Private,
            scope,
            // The large dialogs stand in front, and none of them is private.
            shelf_last: Some(Entry { standing: Standing::Large, dialog: DialogId(ObjectId([0xff; 12])) }),
            seen: BTreeSet::new(),
            asked_for: 0,
            opened: 0,
            named: ids.into_iter().map(|id| Named { id, spot: None }).collect(),
            placed: Vec::new(),
            bounds: None,
            streams: Vec::new(),
            pending: Vec::new(),
            hits: Vec::new(),
            bytes: 0,
            kept_bytes: 0,
            looked_at: 0,
            complete: None,
            asked: Asked::Nothing,
        }
    }

    /// The rows that are needed next; none when the page is there. Refuses a window that names a message which is not in the
    /// archive, and one that would take more work than one query may.
    pub fn next(&mut self) -> Result<Option<Reads>, Condition> {
        if self.looked_at > ARCHIVE_ROWS_MAX || self.shelf.len() > ARCHIVE_DIALOGS_MAX {
            // A short page is a page; with nothing on it the client would not know how to go on.
            return if self.hits.is_empty() { Err(Condition::ResourceConstraint) } else { Ok(None) };
        }
        if self.bounds.is_none() {
            if let Some(reads) = self.locate()? {
                return Ok(Some(reads));
            }
            self.begin();
        }
        Ok(self.gather())
    }

    /// Takes the rows that [`Search::next`] asked for.
    pub fn take(&mut self, mut rows: Rows) -> Result<(), Unreadable> {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => Ok(()),
            Asked::Shelf => self.take_shelf(&mut rows),
            Asked::Places(pairs) => {
                for (dialog, id) in pairs {
                    if let Some(place) = dialog::found_place(&mut rows)? {
                        self.placed.push((id, dialog, place.order));
                    }
                }
                Ok(())
            }
            Asked::Named(placed) => self.take_named(placed, &mut rows),
            Asked::Messages(streams) => {
                streams.into_iter().try_for_each(|(index, limit)| self.take_messages(index, limit, &mut rows))
            }
            Asked::Check => self.take_checked(&mut rows),
        }
    }

    /// The page, once [`Search::next`] asks for no more rows.
    pub fn into_page(mut self) -> Page {
        if self.window.backwards {
            self.hits.reverse();
        }
        Page { hits: self.hits, complete: self.complete.unwrap_or(false) }
    }

    fn ask(&mut self, asked: Asked, reads: Reads) -> Reads {
        self.asked = asked;
        reads
    }

    /// More of the user's list.
    fn ask_shelf(&mut self) -> Reads {
        let reads = match &self.shelf_last {
            Some(last) => inbox::reads_after(self.viewer, last, SHELF_ROWS),
            None => inbox::reads(self.viewer, SHELF_ROWS),
        };
        self.ask(Asked::Shelf, reads)
    }

    fn take_shelf(&mut self, rows: &mut Rows) -> Result<(), Unreadable> {
        let entries = inbox::listed(rows)?;
        self.shelf_end = entries.len() < SHELF_ROWS;
        self.shelf_last = entries.last().copied();
        self.looked_at += entries.len();
        for entry in entries {
            match entry.standing {
                // A crash can leave a dialog in the list twice.
                Standing::At(secs) if self.seen.insert(entry.dialog) => {
                    self.shelf.push((u64::from(secs), entry.dialog))
                }
                Standing::At(_) | Standing::Large => {}
            }
        }
        Ok(())
    }

    /// Looks for the messages that are named; none once all are found.
    fn locate(&mut self) -> Result<Option<Reads>, Condition> {
        if !self.placed.is_empty() {
            let placed = std::mem::take(&mut self.placed);
            let app = self.viewer.app;
            let read = |reads: Reads, &(_, dialog, order): &(_, DialogId, u64)| {
                reads.and_get(&MESSAGES, order_key(app, dialog, order))
            };
            let reads = placed.iter().fold(Reads::none(), read);
            return Ok(Some(self.ask(Asked::Named(placed), reads)));
        }
        let missing: Vec<MessageId> =
            self.named.iter().filter(|named| named.spot.is_none()).map(|named| named.id).collect();
        if missing.is_empty() {
            return Ok(None);
        }
        let dialogs = self.shelf.get(self.asked_for..).unwrap_or_default();
        let dialogs = &dialogs[..dialogs.len().min((PLACES_AT_ONCE / missing.len()).max(1))];
        if dialogs.is_empty() {
            // XEP-0313 §4.1.3 and §5.1.1
            return if self.shelf_end { Err(Condition::ItemNotFound) } else { Ok(Some(self.ask_shelf())) };
        }
        let pairs: Vec<(DialogId, MessageId)> =
            dialogs.iter().flat_map(|&(_, dialog)| missing.iter().map(move |&id| (dialog, id))).collect();
        self.asked_for += dialogs.len();
        self.looked_at += pairs.len();
        let app = self.viewer.app;
        let read = |reads: Reads, &(dialog, id): &(DialogId, MessageId)| reads.and(dialog::read_place(app, dialog, id));
        let reads = pairs.iter().fold(Reads::none(), read);
        Ok(Some(self.ask(Asked::Places(pairs), reads)))
    }

    fn take_named(&mut self, placed: Vec<(MessageId, DialogId, u64)>, rows: &mut Rows) -> Result<(), Unreadable> {
        for (id, dialog, order) in placed {
            let Some(row) = rows.row() else { continue };
            let row = MessageRow::decode(&row)?;
            if !self.is_of_archive(&row) {
                continue;
            }
            if let Some(named) = self.named.iter_mut().find(|named| named.id == id) {
                named.spot = Some(Spot::of(&row, dialog, order));
            }
        }
        Ok(())
    }

    /// The user's list has groups too; their messages are in their rooms' archives.
    fn is_of_archive(&self, row: &MessageRow) -> bool {
        match self.scope {
            Scope::Nothing | Scope::One(_) => true,
            Scope::Private => {
                row.recipient.is_some_and(|recipient| self.viewer.user == recipient || self.viewer.user == row.sender)
            }
        }
    }

    /// All that is named has its place.
    fn begin(&mut self) {
        let spot_of = |id: &MessageId| self.named.iter().find(|named| named.id == *id).and_then(|named| named.spot);
        let places = |ids: &[MessageId]| ids.iter().filter_map(spot_of).collect::<Vec<Spot>>();
        let bounds = Bounds { after: places(&self.window.after), before: places(&self.window.before) };
        if let Some(ids) = &self.window.ids {
            let mut spots: Vec<Spot> = places(ids);
            spots.sort_unstable_by_key(|spot| (spot.at, spot.dialog, spot.order));
            spots.dedup_by_key(|spot| (spot.dialog, spot.order));
            if self.window.backwards {
                spots.reverse();
            }
            self.bounds = Some(bounds);
            spots.retain(|spot| self.fits(spot));
            let found = spots.into_iter().map(|spot| Found { spot, row: None }).collect();
            let dialog = DialogId(ObjectId([0; 12]));
            self.streams = vec![Stream { dialog, left: None, next_rows: 0, found }];
            self.shelf.clear();
            self.shelf_end = true;
        } else {
            self.bounds = Some(bounds);
        }
    }

    /// Whether a message at this place is in the window.
    fn fits(&self, spot: &Spot) -> bool {
        let Some(bounds) = &self.bounds else { return false };
        self.window.start.is_none_or(|start| start <= spot.at)
            && self.window.end.is_none_or(|end| spot.at <= end)
            && bounds.after.iter().all(|after| after.is_before(spot))
            && bounds.before.iter().all(|before| spot.is_before(before))
    }

    /// Puts the page together.
    fn gather(&mut self) -> Option<Reads> {
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

    fn take_messages(&mut self, index: usize, limit: usize, rows: &mut Rows) -> Result<(), Unreadable> {
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
                let Body::Stanza(stanza) = &row.body else { return false };
                let mut nodes = Nodes::new();
                let Some(message) = reread(&mut nodes, stanza) else { return false };
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

    fn take_checked(&mut self, rows: &mut Rows) -> Result<(), Unreadable> {
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
        Body::Stanza(bytes) => bytes.len(),
        Body::Plain { content, .. } => {
            let pair = |(name, value): &(String, String)| name.len() + value.len();
            let files = content.attachments.iter().flat_map(|file| &file.0).map(pair).sum::<usize>();
            content.text.as_ref().map_or(0, String::len) + content.custom.iter().map(pair).sum::<usize>() + files
        }
    }
}
