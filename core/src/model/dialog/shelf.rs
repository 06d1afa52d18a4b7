//! A user's dialogs as a list: his own, and all public ones of the app. Server notes §9.2.
//!
//! A [`Shelf`] says which rows it needs next and takes them until it is done. Ordered by the last message and without a filter
//! it reads the dialogs of the page alone, out of any number, besides the list itself and what stands in no order there: large
//! and public dialogs. With a filter, or another order, it reads them all.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use super::view::{Seen, seen, seen_reads};
use super::{HEADS, found_head, key};
use crate::jid::user::DialogId;
use crate::model::directory::dialogs;
use crate::model::inbox::{self, Standing};
use crate::owner::AccountId;
use crate::row::{Reads, Rows, Unreadable};

/// Dialogs of one user that are listed.
pub const DIALOGS_MAX: usize = 20_000;
/// Public dialogs of one app that are listed.
pub const PUBLIC_DIALOGS_MAX: usize = 2_000;
/// Dialogs read in one step.
const CHUNK_DIALOGS: usize = 1_000;

/// A filter.
pub type Keep = Box<dyn Fn(&Seen) -> bool>;
/// Which of two comes first.
pub type Order = Box<dyn Fn(&Seen, &Seen) -> Ordering>;

/// What to show.
pub struct Wanted {
    /// Whose list it is.
    pub viewer: AccountId,
    /// How many to pass over.
    pub skip: usize,
    /// How many to show.
    pub limit: usize,
    /// Which; without a filter all.
    pub keep: Option<Keep>,
    /// In which order; without one the newest last message first.
    pub order: Option<Order>,
}

/// A page of dialogs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The dialogs in order.
    pub items: Vec<Seen>,
    /// How many there are in all.
    pub total: usize,
}

enum Step {
    List,
    /// Those of no order of their own: where they stand has to be looked up.
    Unordered(Vec<DialogId>),
    Dialogs,
    Done,
}

/// A search in one user's dialogs.
pub struct Shelf {
    wanted: Wanted,
    /// By last message.
    ordered: Vec<(u32, DialogId)>,
    /// What is still to be read, the next one last.
    left: Vec<DialogId>,
    page: Page,
    step: Step,
}

impl Shelf {
    /// A search.
    pub fn new(wanted: Wanted) -> Shelf {
        Shelf { wanted, ordered: Vec::new(), left: Vec::new(), page: Page::default(), step: Step::List }
    }

    /// What to read next; none when the search is over.
    pub fn next(&self) -> Option<Reads> {
        let AccountId { app, user } = self.wanted.viewer;
        Some(match &self.step {
            Step::List => {
                inbox::reads(self.wanted.viewer, DIALOGS_MAX).and(dialogs::reads(app, None, PUBLIC_DIALOGS_MAX))
            }
            Step::Unordered(ids) => ids.iter().fold(Reads::none(), |reads, &id| reads.and_get(&HEADS, key(app, id))),
            Step::Dialogs => {
                let chunk = self.left.iter().rev().take(CHUNK_DIALOGS);
                chunk.fold(Reads::none(), |reads, &id| reads.and(seen_reads(app, id, user)))
            }
            Step::Done => return None,
        })
    }

    /// Takes what [`Shelf::next`] asked for.
    pub fn take(&mut self, mut rows: Rows) -> Result<(), Unreadable> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::List => {
                let unordered = self.take_list(&mut rows)?;
                if unordered.is_empty() {
                    self.choose();
                } else {
                    self.step = Step::Unordered(unordered);
                }
            }
            Step::Unordered(ids) => {
                for id in ids {
                    let head = found_head(&mut rows)?;
                    self.ordered.push((head.map_or(0, |head| head.at()), id));
                }
                // Those of the same second keep the order of their ids, as in the list.
                self.ordered.sort_by_key(|&(at, id)| (Reverse(at), id));
                self.choose();
            }
            Step::Dialogs => self.take_dialogs(&mut rows)?,
            Step::Done => {}
        }
        Ok(())
    }

    /// The list, and what stands in no order there. A crash can have left a dialog behind twice: the first one counts.
    fn take_list(&mut self, rows: &mut Rows) -> Result<Vec<DialogId>, Unreadable> {
        let mut known = BTreeSet::new();
        let mut unordered = Vec::new();
        for entry in inbox::listed(rows)?.into_iter().filter(|entry| known.insert(entry.dialog)) {
            match entry.standing {
                Standing::At(secs) => self.ordered.push((secs, entry.dialog)),
                Standing::Large => unordered.push(entry.dialog),
            }
        }
        unordered.extend(dialogs::listed(rows)?.into_iter().map(|(id, _)| id).filter(|id| known.insert(*id)));
        Ok(unordered)
    }

    /// What has to be read: the page, or everything.
    fn choose(&mut self) {
        self.page.total = self.ordered.len();
        let all = self.wanted.keep.is_some() || self.wanted.order.is_some();
        let (skip, limit) = if all { (0, usize::MAX) } else { (self.wanted.skip, self.wanted.limit) };
        self.left = self.ordered.iter().skip(skip).take(limit).map(|(_, id)| *id).collect();
        self.left.reverse();
        self.step = if self.left.is_empty() { Step::Done } else { Step::Dialogs };
        if all {
            self.page.total = 0;
        }
    }

    fn take_dialogs(&mut self, rows: &mut Rows) -> Result<(), Unreadable> {
        let user = self.wanted.viewer.user;
        let rest = self.left.len().saturating_sub(CHUNK_DIALOGS);
        for id in self.left.split_off(rest).into_iter().rev() {
            let Some(seen) = seen(id, user, rows)? else { continue };
            // The list may be behind; the dialog itself is not.
            if seen.record.is_listed_by(user) && self.wanted.keep.as_ref().is_none_or(|keep| keep(&seen)) {
                self.page.items.push(seen);
            }
        }
        if self.left.is_empty() {
            self.arrange();
        } else {
            self.step = Step::Dialogs;
        }
        Ok(())
    }

    fn arrange(&mut self) {
        if self.wanted.keep.is_none() && self.wanted.order.is_none() {
            return;
        }
        self.page.total = self.page.items.len();
        if let Some(order) = &self.wanted.order {
            self.page.items.sort_by(order);
        }
        let end = self.wanted.skip.saturating_add(self.wanted.limit).min(self.page.items.len());
        self.page.items.truncate(end);
        self.page.items.drain(..self.wanted.skip.min(end));
    }

    /// What was found.
    pub fn into_page(self) -> Page {
        self.page
    }
}
