//! The nodes of an account and the items on them, as rows and as what an account in use knows by heart.
//!
//! In memory is what a node is like: its configuration, how much is on it, which item is the newest. The items are rows alone; what a
//! handler must know of them it plans to read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Condition, Refusal};
use crate::ext::avatar::Avatar;
use crate::limits::{PEP_BYTES_MAX, PEP_ITEM_BYTES_MAX, PEP_NODE_BYTES_MAX, PEP_NODES_MAX};
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::time::Timestamp;

use super::Config;

/// account, node → [`Node`]; account, empty → [`Avatar`].
pub(super) static PEP_NODES: Table = Table::new("pep_nodes");
/// account, node, item → [`Item`].
pub(super) static PEP_ITEMS: Table = Table::new("pep_items");
/// account, node, order → [`Entry`].
pub(super) static PEP_ORDER: Table = Table::new("pep_order");

const VERSION: u8 = 1;

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// How it is configured.
    pub config: Config,
    /// How many items it has.
    pub items: u32,
    /// How much they are.
    bytes: u64,
    /// The order of the newest item that it has ever had.
    order: u64,
    /// The id of the newest item that it has.
    pub last: Option<String>,
    /// Who has subscribed by name, besides those who see it because they see the user's presence.
    pub subscribers: Vec<String>,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item<'a> {
    /// Its place among the items of its node.
    pub order: u64,
    /// When it was published.
    pub at: Timestamp,
    /// The element in it, fit to stand anywhere; empty for none.
    pub payload: &'a str,
}

impl<'a> Item<'a> {
    /// The item in a row of [`read_item`].
    pub fn read(row: &'a [u8]) -> Result<Item<'a>, Unreadable> {
        row::decode_borrowed(VERSION, row)
    }
}

/// Which item has a place, and how much it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The item's id.
    pub id: String,
    bytes: u64,
}

/// An [`Entry`] and its place.
pub(crate) type Placed = (u64, Entry);

/// What a publication has to know of the items that are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The item of the same id: its order and size.
    same: Option<(u64, u64)>,
    /// The oldest, where one has to go.
    oldest: Option<Placed>,
}

impl Standing {
    /// Takes the answers to [`Pep::read_standing`].
    pub fn of(item: &str, rows: &mut Rows) -> Result<Standing, Unreadable> {
        let same = rows.row();
        let same = same.as_deref().map(Item::read).transpose()?;
        let same = same.map(|old| (old.order, size(item, old.payload)));
        Ok(Standing { same, oldest: entries(rows)?.into_iter().next() })
    }

    /// The same for an item that takes the place of this one, or of none, on a node that has room.
    pub fn replacing(item: &str, old: Option<&Item<'_>>) -> Standing {
        Standing { same: old.map(|old| (old.order, size(item, old.payload))), oldest: None }
    }

    /// The same from all that is on a node.
    pub fn among(item: &str, all: Vec<Placed>) -> Standing {
        let same = all.iter().find(|(_, entry)| entry.id == item).map(|(order, entry)| (*order, entry.bytes));
        Standing { same, oldest: all.into_iter().next() }
    }
}

/// Something to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication<'a> {
    /// Where.
    pub node: &'a str,
    /// As what.
    pub item: &'a str,
    /// What.
    pub payload: &'a str,
}

/// All nodes of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pep {
    nodes: BTreeMap<Box<str>, Node>,
    /// What the newest item about the user's picture says.
    pub avatar: Avatar,
}

impl Pep {
    /// The rows of all nodes.
    pub fn reads(id: AccountId) -> Reads {
        Reads::scan(&PEP_NODES, own(id).all_below(), PEP_NODES_MAX + 1)
    }

    /// Takes the answer to [`Pep::reads`]; none for a user who has never published anything.
    pub fn load(id: AccountId, rows: &mut Rows) -> Result<Option<Box<Pep>>, Unreadable> {
        let mut pep = Pep::default();
        let page = rows.page();
        if page.is_empty() {
            return Ok(None);
        }
        let prefix = own(id).as_slice().len();
        for (key, value) in page {
            let name = key.text_after(prefix).ok_or(Unreadable::Malformed)?;
            if name.is_empty() {
                pep.avatar = row::decode(VERSION, &value)?;
            } else {
                pep.nodes.insert(name.into(), row::decode(VERSION, &value)?);
            }
        }
        Ok(Some(Box::new(pep)))
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The same with the name, as it is kept.
    pub fn named(&self, name: &str) -> Option<(&str, &Node)> {
        self.nodes.get_key_value(name).map(|(name, node)| (&**name, node))
    }

    /// All nodes by their names.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(name, node)| (&**name, node))
    }

    /// What [`Standing::of`] is made from.
    pub fn read_standing(&self, id: AccountId, node: &str, item: &str) -> Reads {
        read_item(id, node, item).and(read_oldest(id, node, 1))
    }

    /// Whether one node more is one too many.
    fn has_room(&self) -> Result<(), Refusal> {
        if self.nodes.len() < PEP_NODES_MAX { Ok(()) } else { Err(Condition::ResourceConstraint.into()) }
    }

    /// Makes a node. XEP-0060 §8.1
    pub fn create(&mut self, id: AccountId, name: &str, config: Config, batch: &mut Batch) -> Result<(), Refusal> {
        if self.nodes.contains_key(name) {
            return Err(Condition::Conflict.into());
        }
        self.has_room()?;
        self.keep(id, name, Node { config, ..Node::default() }, batch);
        Ok(())
    }

    /// Puts an item on a node, which is made with `config` if there is none. What was there under the same id makes way, and what is
    /// one too many. Nothing has changed when that is refused.
    pub fn publish(
        &mut self,
        id: AccountId,
        publication: &Publication<'_>,
        config: Config,
        standing: Standing,
        at: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let &Publication { node: name, item, payload } = publication;
        if payload.len() > PEP_ITEM_BYTES_MAX {
            return Err(super::PAYLOAD_TOO_BIG.into());
        }
        let mut node = match self.nodes.get(name) {
            Some(node) => node.clone(),
            None => {
                self.has_room()?;
                Node { config, ..Node::default() }
            }
        };
        if !node.config.persist {
            if !self.nodes.contains_key(name) {
                self.keep(id, name, node, batch);
            }
            return Ok(());
        }
        let full = standing.same.is_none() && node.items >= node.config.max_items;
        let evicted = standing.oldest.filter(|_| full);
        let added = size(item, payload);
        let freed = standing.same.map_or(0, |(_, bytes)| bytes) + evicted.as_ref().map_or(0, |(_, old)| old.bytes);
        let others = self.nodes.iter().filter(|(other, _)| ***other != *name).map(|(_, node)| node.bytes).sum::<u64>();
        let bytes = (node.bytes + added).saturating_sub(freed);
        if bytes > PEP_NODE_BYTES_MAX || others + bytes > PEP_BYTES_MAX {
            return Err(Condition::ResourceConstraint.into());
        }
        if let Some((order, _)) = standing.same {
            batch.delete(&PEP_ORDER, order_key(id, name, order));
        } else {
            node.items += 1;
        }
        if let Some((order, old)) = evicted {
            remove(id, name, order, &old.id, batch);
            node.items -= 1;
        }
        node.bytes = bytes;
        node.order += 1;
        node.last = Some(item.to_owned());
        let row = Item { order: node.order, at, payload };
        batch.put(&PEP_ITEMS, item_key(id, name, item), row::encode(VERSION, &row));
        let entry = Entry { id: item.to_owned(), bytes: added };
        batch.put(&PEP_ORDER, order_key(id, name, node.order), row::encode(VERSION, &entry));
        self.keep(id, name, node, batch);
        Ok(())
    }

    /// Takes an item away. `last` is the newest of those that are left.
    pub fn retract(
        &mut self,
        id: AccountId,
        name: &str,
        item: &str,
        old: &Item<'_>,
        last: Option<String>,
        batch: &mut Batch,
    ) {
        let Some(node) = self.nodes.get(name) else { return };
        let mut node = node.clone();
        remove(id, name, old.order, item, batch);
        node.items = node.items.saturating_sub(1);
        node.bytes = node.bytes.saturating_sub(size(item, old.payload));
        node.last = last;
        self.keep(id, name, node, batch);
    }

    /// Takes all items away. XEP-0060 §8.5
    pub fn purge(&mut self, id: AccountId, name: &str, batch: &mut Batch) {
        let Some(node) = self.nodes.get(name) else { return };
        let node = Node { items: 0, bytes: 0, last: None, ..node.clone() };
        batch.delete_range(&PEP_ITEMS, node_key(id, name).all_below());
        batch.delete_range(&PEP_ORDER, node_key(id, name).all_below());
        self.keep(id, name, node, batch);
    }

    /// Takes the node away with all that is on it, and returns what it was. XEP-0060 §8.4
    pub fn delete(&mut self, id: AccountId, name: &str, batch: &mut Batch) -> Option<Node> {
        let node = self.nodes.remove(name)?;
        batch.delete_range(&PEP_ITEMS, node_key(id, name).all_below());
        batch.delete_range(&PEP_ORDER, node_key(id, name).all_below());
        batch.delete(&PEP_NODES, node_key(id, name));
        Some(node)
    }

    /// Configures a node anew; `oldest` are those of its items that are too many for that.
    pub fn configure(&mut self, id: AccountId, name: &str, config: Config, oldest: Vec<Placed>, batch: &mut Batch) {
        if !config.persist {
            self.purge(id, name, batch);
        }
        let Some(node) = self.nodes.get(name) else { return };
        let mut node = Node { config, ..node.clone() };
        for (order, old) in oldest {
            if node.items <= node.config.max_items {
                break;
            }
            remove(id, name, order, &old.id, batch);
            node.items -= 1;
            node.bytes = node.bytes.saturating_sub(old.bytes);
        }
        self.keep(id, name, node, batch);
    }

    /// Sets who has subscribed to a node.
    pub fn subscribe(&mut self, id: AccountId, name: &str, subscribers: Vec<String>, batch: &mut Batch) {
        let Some(node) = self.nodes.get(name) else { return };
        let node = Node { subscribers, ..node.clone() };
        self.keep(id, name, node, batch);
    }

    /// Sets what is known of the user's picture.
    pub fn set_avatar(&mut self, id: AccountId, avatar: Avatar, batch: &mut Batch) {
        batch.put(&PEP_NODES, node_key(id, ""), row::encode(VERSION, &avatar));
        self.avatar = avatar;
    }

    fn keep(&mut self, id: AccountId, name: &str, node: Node, batch: &mut Batch) {
        batch.put(&PEP_NODES, node_key(id, name), row::encode(VERSION, &node));
        self.nodes.insert(name.into(), node);
    }
}

fn remove(id: AccountId, node: &str, order: u64, item: &str, batch: &mut Batch) {
    batch.delete(&PEP_ITEMS, item_key(id, node, item));
    batch.delete(&PEP_ORDER, order_key(id, node, order));
}

fn size(item: &str, payload: &str) -> u64 {
    (item.len() + payload.len()) as u64
}

/// One item. [`Item::read`]
pub(crate) fn read_item(id: AccountId, node: &str, item: &str) -> Reads {
    Reads::get(&PEP_ITEMS, item_key(id, node, item))
}

/// All items of a node, by their ids. [`page`]
pub(crate) fn read_items(id: AccountId, node: &str, most: usize) -> Reads {
    Reads::scan(&PEP_ITEMS, node_key(id, node).all_below(), most)
}

/// Which items a node has, the oldest first. [`entries`]
pub(crate) fn read_oldest(id: AccountId, node: &str, most: usize) -> Reads {
    Reads::scan(&PEP_ORDER, node_key(id, node).all_below(), most)
}

/// Which items a node has, the newest first. [`entries`]
pub(super) fn read_newest(id: AccountId, node: &str, most: usize) -> Reads {
    Reads::none().and_scan_back(&PEP_ORDER, node_key(id, node).all_below(), most)
}

/// Takes an answer to [`read_oldest`] or [`read_newest`].
pub(crate) fn entries(rows: &mut Rows) -> Result<Vec<Placed>, Unreadable> {
    let entry = |(key, value): (Key, bytes::Bytes)| {
        let order = key.as_slice().last_chunk().ok_or(Unreadable::Malformed)?;
        Ok((u64::from_be_bytes(*order), row::decode(VERSION, &value)?))
    };
    rows.page().into_iter().map(entry).collect()
}

/// Takes an answer to [`read_items`]: the items' ids and rows.
pub(crate) fn page(id: AccountId, node: &str, rows: &mut Rows) -> Result<Vec<(String, bytes::Bytes)>, Unreadable> {
    let prefix = node_key(id, node).as_slice().len();
    let item = |(key, value): (Key, bytes::Bytes)| {
        Ok((key.text_after(prefix).ok_or(Unreadable::Malformed)?.to_owned(), value))
    };
    rows.page().into_iter().map(item).collect()
}

fn own(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}

fn node_key(id: AccountId, node: &str) -> Key {
    own(id).text(node)
}

fn item_key(id: AccountId, node: &str, item: &str) -> Key {
    node_key(id, node).text(item)
}

fn order_key(id: AccountId, node: &str, order: u64) -> Key {
    node_key(id, node).u64(order)
}
