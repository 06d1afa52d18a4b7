//! A page of a dialog's history as one user sees it.
//!
//! A [`Pager`] says which rows it needs next ([`Pager::next`]) and takes them ([`Pager::take`]) until it is done. Without a
//! filter it reads as many messages as are skipped and shown, wherever in the history they are; with one it looks through the
//! history piece by piece, through [`MESSAGES_LOOKED_AT_MAX`] messages at most.
//!
//! Messages stand in the history in the order in which they came, and are shown by what their senders say of the time, which may
//! differ from that by a few seconds. So a page is not cut where the reading stops: it takes a message once nothing that is still
//! to be read can stand before it.

use std::collections::BTreeMap;

use super::{
    DATE_SENT_SECS_MAX, DialogKind, DialogRow, HIDDEN, Head, MESSAGES, MessageRow, READERS, RECEIPTS, Reader, Receipt,
    first_order, key, mark_key, mark_of, order_of, order_secs, orders, reader_of,
};
use crate::jid::user::{AppId, DialogId, UserId};
use crate::limits::OCCUPANTS_MAX;
use crate::row::{Range, Reads, Rows, Unreadable};
use crate::time::Timestamp;

/// Messages that one search looks at.
pub const MESSAGES_LOOKED_AT_MAX: usize = 200_000;
/// Messages read in one step.
const CHUNK_ROWS: usize = 500;
/// Messages that wait for others to be read which might stand before them; more are not waited for.
const WAITING_MAX: usize = 5_000;
/// Messages read in one step at least.
const CHUNK_ROWS_MIN: usize = 16;
/// Marks read for one step; beyond them readers are not listed.
const RECEIPTS_MAX: usize = 200_000;

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The message.
    pub row: MessageRow,
    /// Where it is.
    pub order: u64,
    /// Ascending; the sender among them. None in a public dialog.
    pub read_ids: Vec<UserId>,
    /// Ascending; the sender among them. None in a public dialog.
    pub delivered_ids: Vec<UserId>,
    /// When it or one of its marks last changed.
    pub updated_at: Timestamp,
}

impl Shown {
    /// A message that nobody but its sender has marked, as it is right after it was saved.
    pub fn unmarked(row: MessageRow, kind: DialogKind) -> Shown {
        let ids = if kind == DialogKind::Public { Vec::new() } else { vec![row.sender] };
        Shown { order: 0, read_ids: ids.clone(), delivered_ids: ids, updated_at: row.updated_at, row }
    }

    /// The deprecated flag: in a private dialog, whether the other one has read it.
    pub fn is_read(&self) -> bool {
        self.row.recipient.is_some_and(|recipient| self.read_ids.contains(&recipient))
    }

    /// Whether the user has read it, or sent it.
    pub fn is_read_by(&self, user: UserId) -> bool {
        self.row.sender == user || self.read_ids.binary_search(&user).is_ok()
    }
}

/// A filter.
pub type Keep = Box<dyn Fn(&Shown) -> bool>;

/// What a page is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What the senders say of the time; of the same second, by arrival.
    #[default]
    DateSent,
    /// Arrival.
    Arrival,
}

/// What to show.
pub struct Wanted {
    /// Who looks; what he has deleted for himself is not there.
    pub viewer: UserId,
    /// Only messages sent at these Unix seconds or later, when the filter says so: spares reading the others.
    pub from: Option<u64>,
    /// Only messages sent at these Unix seconds or earlier.
    pub to: Option<u64>,
    /// In which order.
    pub order: Order,
    /// From the newest backwards.
    pub newest_first: bool,
    /// How many to pass over.
    pub skip: usize,
    /// How many to show.
    pub limit: usize,
    /// Only count them all.
    pub count: bool,
    /// Which; without a filter all. A range of time above is a hint, the filter still has to say so.
    pub keep: Option<Keep>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The messages, in the order asked for.
    pub items: Vec<Shown>,
    /// How many there are in all, when that was asked for.
    pub count: u64,
}

enum Step {
    Readers,
    Messages,
    Marks(Vec<(u64, MessageRow)>),
    PageMarks,
    Done,
}

/// A search in the history of one dialog.
pub struct Pager {
    app: AppId,
    id: DialogId,
    kind: DialogKind,
    wanted: Wanted,
    /// What is left of the history to look at.
    range: Range,
    /// Not the range but these orders, while they are still to be read.
    only: Option<Vec<u64>>,
    looked_at: usize,
    passed_over: usize,
    /// What was read and may still have to stand behind something else, by what the page is ordered by.
    waiting: BTreeMap<(u64, u64), Shown>,
    readers: BTreeMap<UserId, Reader>,
    page: Page,
    step: Step,
}

impl Pager {
    /// A search in a dialog that `record` and `head` are of. Whether the viewer may look is not asked here.
    pub fn new(app: AppId, id: DialogId, record: &DialogRow, head: &Head, wanted: Wanted) -> Pager {
        let mut range = key(app, id).all_below();
        if let Some(from) = wanted.from {
            range.start = super::order_key(app, id, first_order(from.saturating_sub(2 * DATE_SENT_SECS_MAX)));
        }
        if let Some(to) = wanted.to {
            range.end = super::order_key(app, id, first_order(to.saturating_add(2 * DATE_SENT_SECS_MAX + 1)));
        }
        let mut pager = Pager {
            app,
            id,
            kind: record.kind,
            wanted,
            range,
            only: None,
            looked_at: 0,
            passed_over: 0,
            waiting: BTreeMap::new(),
            readers: BTreeMap::new(),
            page: Page::default(),
            step: Step::Readers,
        };
        if pager.wanted.count && pager.wanted.keep.is_none() {
            pager.page.count = head.count;
        } else if head.count == 0 || (pager.wanted.limit == 0 && !pager.wanted.count) {
            pager.step = Step::Done;
        }
        pager
    }

    /// The same search among the messages at these orders alone, which spares looking for them.
    #[must_use]
    pub fn among(mut self, mut orders: Vec<u64>) -> Pager {
        orders.sort_unstable();
        orders.dedup();
        if self.wanted.newest_first {
            orders.reverse();
        }
        self.only = Some(orders);
        self
    }

    /// What to read next; none when the search is over.
    pub fn next(&self) -> Option<Reads> {
        Some(match &self.step {
            Step::Readers if self.lists_readers() => {
                Reads::scan(&READERS, key(self.app, self.id).all_below(), 2 * OCCUPANTS_MAX)
            }
            Step::Readers => Reader::reads(self.app, self.id, self.wanted.viewer),
            Step::Messages => {
                if let Some(only) = &self.only {
                    return Some(only.iter().fold(Reads::none(), |reads, &order| {
                        reads.and_get(&MESSAGES, super::order_key(self.app, self.id, order))
                    }));
                }
                let limit = self.chunk();
                if self.wanted.newest_first {
                    Reads::none().and_scan_back(&MESSAGES, self.range.clone(), limit)
                } else {
                    Reads::scan(&MESSAGES, self.range.clone(), limit)
                }
            }
            Step::Marks(rows) => {
                let hidden = rows.iter().fold(Reads::none(), |reads, (order, _)| {
                    reads.and_get(&HIDDEN, mark_key(self.app, self.id, *order, self.wanted.viewer))
                });
                match self.wanted.keep {
                    Some(_) => hidden.and(self.receipt_reads(rows.iter().map(|(order, _)| *order))),
                    None => hidden,
                }
            }
            Step::PageMarks => self.receipt_reads(self.page.items.iter().map(|shown| shown.order)),
            Step::Done => return None,
        })
    }

    fn chunk(&self) -> usize {
        match self.wanted.keep {
            Some(_) => CHUNK_ROWS,
            None => self.missing().saturating_sub(self.waiting.len()).clamp(CHUNK_ROWS_MIN, CHUNK_ROWS),
        }
    }

    /// How many messages the page still needs, those to be passed over among them.
    fn missing(&self) -> usize {
        self.wanted.skip - self.passed_over + self.wanted.limit - self.page.items.len()
    }

    fn lists_readers(&self) -> bool {
        self.kind != DialogKind::Public && !(self.wanted.count && self.wanted.keep.is_none())
    }

    fn receipt_reads(&self, all: impl Iterator<Item = u64> + Clone) -> Reads {
        if self.only.is_some() {
            return all.fold(Reads::none(), |reads, order| {
                reads.and_scan(&RECEIPTS, super::order_key(self.app, self.id, order).all_below(), OCCUPANTS_MAX)
            });
        }
        let (first, last) = (all.clone().min().unwrap_or(0), all.max().unwrap_or(0));
        Reads::scan(&RECEIPTS, orders(self.app, self.id, first, last), RECEIPTS_MAX)
    }

    /// Takes what [`Pager::next`] asked for.
    pub fn take(&mut self, mut rows: Rows) -> Result<(), Unreadable> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Readers => {
                if self.lists_readers() {
                    for (key, value) in rows.page() {
                        self.readers.insert(reader_of(&key)?, Reader::decode(&value)?);
                    }
                    self.step = Step::Messages;
                } else {
                    let reader = Reader::found(&mut rows)?;
                    if self.wanted.count && self.wanted.keep.is_none() {
                        self.page.count -= reader.hidden.min(self.page.count);
                    } else {
                        self.step = Step::Messages;
                    }
                }
            }
            Step::Messages => self.take_messages(&mut rows)?,
            Step::Marks(messages) => self.take_marks(messages, &mut rows)?,
            Step::PageMarks => {
                let receipts = self.receipts(self.page.items.len(), &mut rows)?;
                let items = std::mem::take(&mut self.page.items);
                self.page.items =
                    items.into_iter().map(|shown| self.shown(shown.order, shown.row, &receipts)).collect();
            }
            Step::Done => {}
        }
        Ok(())
    }

    fn take_messages(&mut self, rows: &mut Rows) -> Result<(), Unreadable> {
        let mut messages = Vec::new();
        if let Some(only) = &mut self.only {
            for order in std::mem::take(only) {
                if let Some(value) = rows.row() {
                    messages.push((order, MessageRow::decode(&value)?));
                }
            }
            self.looks_at(messages);
            return Ok(());
        }
        for (key, value) in rows.page() {
            let order = order_of(&key)?;
            messages.push((order, MessageRow::decode(&value)?));
            if self.wanted.newest_first {
                self.range.end = key;
            } else {
                self.range.start = key.u8(0);
            }
        }
        self.looks_at(messages);
        Ok(())
    }

    fn looks_at(&mut self, messages: Vec<(u64, MessageRow)>) {
        self.looked_at += messages.len();
        if messages.is_empty() {
            self.finish();
        } else {
            self.step = Step::Marks(messages);
        }
    }

    fn take_marks(&mut self, messages: Vec<(u64, MessageRow)>, rows: &mut Rows) -> Result<(), Unreadable> {
        let hidden: Vec<bool> = messages.iter().map(|_| rows.row().is_some()).collect();
        let receipts = if self.wanted.keep.is_some() { self.receipts(messages.len(), rows)? } else { Receipts::new() };
        let horizon = messages.last().map(|(order, row)| self.horizon(*order, row));
        for ((order, row), hidden) in messages.into_iter().zip(hidden) {
            if hidden || !row.is_message() {
                continue;
            }
            let shown = match &self.wanted.keep {
                Some(keep) => {
                    let shown = self.shown(order, row, &receipts);
                    if !keep(&shown) {
                        continue;
                    }
                    shown
                }
                None => {
                    Shown { order, read_ids: Vec::new(), delivered_ids: Vec::new(), updated_at: row.updated_at, row }
                }
            };
            if self.wanted.count {
                self.page.count += 1;
            } else {
                let by = match self.wanted.order {
                    Order::DateSent => shown.row.date_sent,
                    Order::Arrival => 0,
                };
                self.waiting.insert((by, order), shown);
            }
        }
        let sparing = self.wanted.keep.is_some() && self.looked_at >= MESSAGES_LOOKED_AT_MAX;
        self.fill(horizon.filter(|_| self.waiting.len() <= self.missing() + WAITING_MAX));
        if self.is_full() || sparing || self.only.is_some() {
            self.finish();
        } else {
            self.step = Step::Messages;
        }
        Ok(())
    }

    /// Nothing that comes behind this message in the reading stands before this second.
    fn horizon(&self, order: u64, row: &MessageRow) -> u64 {
        match (self.wanted.order, self.wanted.newest_first) {
            (Order::Arrival, _) => 0,
            // An order is never below its message's time.
            (Order::DateSent, true) => order_secs(order),
            // What came later says at least this of the time, or the server had put its own.
            (Order::DateSent, false) => row.created_at.secs().saturating_sub(DATE_SENT_SECS_MAX),
        }
    }

    /// Takes into the page what waits up to the horizon; without one, whatever waits.
    fn fill(&mut self, horizon: Option<u64>) {
        while !self.is_full() {
            let next = if self.wanted.newest_first { self.waiting.last_entry() } else { self.waiting.first_entry() };
            let Some(next) = next else { return };
            let (by, _) = *next.key();
            let is_due = horizon.is_none_or(|at| if self.wanted.newest_first { by >= at } else { by <= at });
            if !is_due {
                return;
            }
            let shown = next.remove();
            if self.passed_over < self.wanted.skip {
                self.passed_over += 1;
            } else {
                self.page.items.push(shown);
            }
        }
    }

    fn is_full(&self) -> bool {
        !self.wanted.count && self.page.items.len() >= self.wanted.limit
    }

    fn finish(&mut self) {
        self.fill(None);
        self.step = Step::Done;
        if self.wanted.keep.is_none() && !self.page.items.is_empty() && self.kind != DialogKind::Public {
            self.step = Step::PageMarks;
        }
    }

    fn shown(&self, order: u64, row: MessageRow, receipts: &Receipts) -> Shown {
        let mut shown =
            Shown { order, read_ids: Vec::new(), delivered_ids: Vec::new(), updated_at: row.updated_at, row };
        if self.kind == DialogKind::Public {
            return shown;
        }
        let sender = shown.row.sender;
        shown.read_ids.push(sender);
        shown.delivered_ids.push(sender);
        for (&user, reader) in self.readers.iter().filter(|(user, _)| **user != sender) {
            let receipt = receipts.get(&(order, user));
            if reader.has_got(order, receipt) {
                shown.delivered_ids.push(user);
                let at = receipt.map_or(Timestamp::default(), |receipt| receipt.at);
                let line =
                    if order <= reader.line_to.max(reader.delivered_to) { reader.at } else { Timestamp::default() };
                shown.updated_at = shown.updated_at.max(at).max(line);
            }
            if reader.has_read(order, receipt) {
                shown.read_ids.push(user);
            }
        }
        shown.read_ids.sort_unstable();
        shown.delivered_ids.sort_unstable();
        shown
    }

    /// Takes the answer to [`Pager::receipt_reads`] of so many messages.
    fn receipts(&self, messages: usize, rows: &mut Rows) -> Result<Receipts, Unreadable> {
        let scans = if self.only.is_some() { messages } else { 1 };
        let mut receipts = Receipts::new();
        for _ in 0..scans {
            for (key, value) in rows.page() {
                receipts.insert(mark_of(&key)?, Receipt::decode(&value)?);
            }
        }
        Ok(receipts)
    }

    /// What was found.
    pub fn into_page(self) -> Page {
        self.page
    }
}

type Receipts = BTreeMap<(u64, UserId), Receipt>;
