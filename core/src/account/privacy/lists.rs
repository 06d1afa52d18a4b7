//! A user's privacy lists as they are kept: one row, which is read with the account. XEP-0016 §2.1; the blocklist of XEP-0191 is
//! a view of the list that applies by default.

use serde::{Deserialize, Serialize};

use crate::account::roster::Subscription;
use crate::error::Condition;
use crate::limits::{PRIVACY_BYTES_MAX, PRIVACY_ITEMS_MAX, PRIVACY_LISTS_MAX};
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};

/// account → [`Lists`]; no row for a user who has none.
pub static PRIVACY: Table = Table::new("privacy");

const VERSION: u8 = 1;

/// The list that a first blocked address makes. XEP-0191 §4
const BLOCKED: &str = "blocked";

/// All lists of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lists {
    /// Which of them applies where no other does.
    pub default: Option<String>,
    /// In the order in which they were made, each name once.
    pub lists: Vec<List>,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    /// What its user calls it.
    pub name: String,
    /// In their order; there is at least one.
    pub items: Vec<Item>,
}

/// One rule of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Its place; each is there once in a list.
    pub order: u32,
    /// Whom it is about.
    pub who: Who,
    /// Whether it keeps away or lets pass.
    pub deny: bool,
    /// What it is about.
    pub what: What,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Who {
    /// This address in normal form, and those below it.
    Jid(String),
    /// Contacts in this group of the roster.
    Group(String),
    /// Contacts with exactly this subscription; none for all who are no contacts, too.
    Subscription(Subscription),
    /// Everybody.
    Anyone,
}

/// What passes between a user and others, as rules tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// A message to the user.
    Message,
    /// An iq to the user.
    Iq,
    /// That somebody else is there, or gone.
    PresenceIn,
    /// That the user is there, or gone.
    PresenceOut,
    /// Everything else, in both directions: only rules about everything are about it.
    Other,
}

impl Traffic {
    pub const ALL: [Traffic; 5] =
        [Traffic::Message, Traffic::Iq, Traffic::PresenceIn, Traffic::PresenceOut, Traffic::Other];

    /// The child of an item that names it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Traffic::Message => Some("message"),
            Traffic::Iq => Some("iq"),
            Traffic::PresenceIn => Some("presence-in"),
            Traffic::PresenceOut => Some("presence-out"),
            Traffic::Other => None,
        }
    }
}

/// Which traffic a rule is about: a bit for each kind, and none of them for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct What(u8);

impl What {
    pub const EVERYTHING: What = What(0);

    pub fn add(&mut self, traffic: Traffic) {
        self.0 |= 1 << traffic as u8;
    }

    /// Whether it is named.
    pub fn names(self, traffic: Traffic) -> bool {
        self.0 & (1 << traffic as u8) != 0
    }

    pub fn covers(self, traffic: Traffic) -> bool {
        self == What::EVERYTHING || self.names(traffic)
    }
}

impl Item {
    /// The address that the item blocks altogether. XEP-0191 §4
    pub fn blocked(&self) -> Option<&str> {
        match &self.who {
            Who::Jid(jid) if self.is_block() => Some(jid),
            _ => None,
        }
    }

    fn is_block(&self) -> bool {
        self.deny && self.what == What::EVERYTHING
    }
}

impl Lists {
    /// The row they are in.
    pub fn reads(id: AccountId) -> Reads {
        Reads::get(&PRIVACY, key(id))
    }

    /// Takes the answer to [`Lists::reads`].
    pub fn load(rows: &mut Rows) -> Result<Lists, Unreadable> {
        Ok(rows.decoded(VERSION)?.unwrap_or_default())
    }

    /// Adds the row to a batch.
    pub fn keep(&self, id: AccountId, batch: &mut Batch) {
        if self.lists.is_empty() {
            batch.delete(&PRIVACY, key(id));
        } else {
            batch.put(&PRIVACY, key(id), row::encode(VERSION, self));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The list of this name.
    pub fn list(&self, name: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.name == name)
    }

    /// The list that applies where no other does.
    pub fn default_list(&self) -> Option<&List> {
        self.list(self.default.as_deref()?)
    }

    /// Sets a list: a new one comes last.
    pub fn set(&mut self, list: List) {
        match self.lists.iter_mut().find(|known| known.name == list.name) {
            Some(known) => *known = list,
            None => self.lists.push(list),
        }
    }

    /// Takes a list away; false when it is not there.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(at) = self.lists.iter().position(|list| list.name == name) else { return false };
        self.lists.remove(at);
        self.default.take_if(|default| default == name);
        true
    }

    /// The addresses that are blocked. XEP-0191 §4
    pub fn blocked(&self) -> impl Iterator<Item = &str> {
        self.default_list().into_iter().flat_map(|list| &list.items).filter_map(Item::blocked)
    }

    /// Blocks these addresses. XEP-0191 §4: such items are the first, so that nothing before them lets anything pass.
    pub fn block(&mut self, jids: Vec<String>) {
        let list = self.make_default();
        let mut at = list.items.iter().take_while(|item| item.deny && matches!(item.who, Who::Jid(_))).count();
        for jid in jids {
            if list.items.iter().any(|item| item.blocked() == Some(&jid)) {
                continue;
            }
            // The order comes below.
            list.items.insert(at, Item { order: 0, who: Who::Jid(jid), deny: true, what: What::EVERYTHING });
            at += 1;
        }
        list.renumber();
    }

    /// Lets these addresses pass again, or all. A list that holds nothing any more goes.
    pub fn unblock(&mut self, only: Option<&[String]>) {
        let Some(name) = self.default.clone() else { return };
        let Some(list) = self.lists.iter_mut().find(|list| list.name == name) else { return };
        list.items.retain(|item| match (item.blocked(), only) {
            (Some(jid), Some(only)) => only.iter().all(|unblocked| unblocked != jid),
            (Some(_), None) => false,
            (None, _) => true,
        });
        if list.items.is_empty() {
            self.remove(&name);
        }
    }

    fn make_default(&mut self) -> &mut List {
        let name = match self.default.take() {
            Some(name) => name,
            None => self.unused_name(),
        };
        self.default = Some(name.clone());
        let at = match self.lists.iter().position(|list| list.name == name) {
            Some(at) => at,
            None => {
                self.lists.push(List { name, items: Vec::new() });
                self.lists.len() - 1
            }
        };
        &mut self.lists[at]
    }

    fn unused_name(&self) -> String {
        let numbered = (2..).map(|number| format!("{BLOCKED} {number}"));
        let mut names = std::iter::once(BLOCKED.to_owned()).chain(numbered);
        names.find(|name| self.list(name).is_none()).unwrap_or_default()
    }

    /// Whether there are too many, or they are too large.
    pub fn check(&self) -> Result<(), Condition> {
        let items = self.lists.iter().flat_map(|list| &list.items);
        let (count, bytes) = items.fold((0, 0), |(count, bytes), item| (count + 1, bytes + item.bytes()));
        let fits = self.lists.len() <= PRIVACY_LISTS_MAX && count <= PRIVACY_ITEMS_MAX && bytes <= PRIVACY_BYTES_MAX;
        if fits { Ok(()) } else { Err(Condition::ResourceConstraint) }
    }
}

impl List {
    /// Gives the items numbers in their order, where they do not have such.
    fn renumber(&mut self) {
        if self.items.windows(2).all(|pair| pair[0].order < pair[1].order) {
            return;
        }
        for (order, item) in (1..).zip(&mut self.items) {
            item.order = order;
        }
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match &self.who {
            Who::Jid(text) | Who::Group(text) => text.len(),
            Who::Subscription(_) | Who::Anyone => 1,
        }
    }
}

fn key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}
