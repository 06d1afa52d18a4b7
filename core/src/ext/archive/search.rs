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
use crate::limits::{ARCHIVE_DIALOGS_MAX, ARCHIVE_ROWS_MAX};
use crate::model::dialog::{self, DATE_SENT_SECS_MAX, MESSAGES, MessageRow, order_key, order_secs};
use crate::model::inbox::{self, Entry, Standing};
use crate::owner::AccountId;
use crate::row::{Reads, Rows, Unreadable};
use crate::time::Timestamp;

mod gather;

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
                    if let Some(place) = dialog::found_entry(&mut rows)? {
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
}
