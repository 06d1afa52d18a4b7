//! Which messages wait in rows for the sake of sessions without a connection.

use std::collections::BTreeMap;

use crate::effect::SessionId;
use crate::stanza::Receipt;

/// The `given` of a row that has been there for nobody in particular.
pub(super) const UNGIVEN: u64 = u64::MAX;

/// Rows of the offline queue, each of a message that a session holds as well, or several do.
#[derive(Debug, Default)]
pub(super) struct Parked {
    rows: BTreeMap<u64, Copies>,
    /// The row of each message that live sessions were given, by the order in which they were.
    by_given: BTreeMap<u64, u64>,
    /// The row of each message that a connected session took too long to take, by what its sender waits for.
    by_receipt: BTreeMap<Receipt, u64>,
    /// When the message of each row that is for nobody in particular any more was given to sessions that were live: before there
    /// was a row.
    left: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Copies {
    /// The order in which the message was given to sessions that were live; zero when it was for one resource.
    given: u64,
    /// The sessions that get it from elsewhere than the row.
    holders: Vec<SessionId>,
    /// One of them has taken it.
    taken: bool,
    /// What the sender has waited for, if that is why there is a row.
    receipt: Option<Receipt>,
}

impl Parked {
    /// A row for what live sessions were given in this order. It may be there already.
    pub fn insert(&mut self, row: u64, given: u64, receipt: Option<Receipt>) {
        let copies = self.rows.entry(row).or_insert(Copies { given, holders: Vec::new(), taken: false, receipt: None });
        if is_one(given) {
            self.by_given.insert(given, row);
        }
        if let (Some(receipt), None) = (receipt, copies.receipt) {
            copies.receipt = Some(receipt);
            self.by_receipt.insert(receipt, row);
        }
    }

    /// The row of a message that a connected session took too long to take.
    pub fn row_for(&self, receipt: &Receipt) -> Option<u64> {
        self.by_receipt.get(receipt).copied()
    }

    /// A session has the message of this row.
    pub fn hold(&mut self, row: u64, session: SessionId) {
        if let Some(copies) = self.rows.get_mut(&row)
            && !copies.holders.contains(&session)
        {
            copies.holders.push(session);
        }
    }

    pub fn is_held_by(&self, row: u64, session: SessionId) -> bool {
        self.holders(row).contains(&session)
    }

    pub fn holders(&self, row: u64) -> &[SessionId] {
        self.rows.get(&row).map_or(&[], |copies| &copies.holders)
    }

    /// A session has taken the message. Whether the row was there.
    pub fn take(&mut self, row: u64) -> bool {
        self.rows.get_mut(&row).map(|copies| copies.taken = true).is_some()
    }

    pub fn is_taken(&self, row: u64) -> bool {
        self.rows.get(&row).is_some_and(|copies| copies.taken)
    }

    /// The row is for whoever comes, from now on.
    pub fn leave(&mut self, row: u64) {
        let given = self.given(row);
        self.remove(row);
        self.left.extend(given.map(|given| (row, given)));
    }

    /// Whether the row was there.
    pub fn remove(&mut self, row: u64) -> bool {
        self.left.remove(&row);
        let copies = self.rows.remove(&row);
        if let Some(copies) = &copies {
            self.by_given.remove(&copies.given);
            if let Some(receipt) = &copies.receipt {
                self.by_receipt.remove(receipt);
            }
        }
        copies.is_some()
    }

    /// When the message of this row was given to sessions that were live, if it was.
    pub fn given(&self, row: u64) -> Option<u64> {
        let given = self.rows.get(&row).map(|copies| copies.given).or_else(|| self.left.get(&row).copied());
        given.filter(|given| is_one(*given))
    }

    pub fn contains(&self, row: u64) -> bool {
        self.rows.contains_key(&row)
    }

    /// The row of the message that live sessions were given in this order.
    pub fn row_of(&self, given: u64) -> Option<u64> {
        self.by_given.get(&given).copied()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

fn is_one(given: u64) -> bool {
    given != 0 && given != UNGIVEN
}
