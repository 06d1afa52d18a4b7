//! The messages that tell of what happens on a node. XEP-0060 §7.1.2, §7.2.2, §8.2.5, §8.4.2, §8.5.2

use bytes::Bytes;

use crate::effect::Turn;
use crate::ns;
use crate::time::Timestamp;
use crate::xml::Writer;

use super::{Config, Publication};

/// An item was published; `at` is when, for those who hear of it later. XEP-0163 §4.3.4
pub(crate) fn published(
    account: &str,
    config: &Config,
    publication: &Publication<'_>,
    at: Option<Timestamp>,
    turn: &mut Turn<'_>,
) -> Bytes {
    let &Publication { node, item, payload } = publication;
    let write = |xml: &mut Writer<'_>| {
        xml.open("items").attr("node", node).open("item").attr("id", item);
        if config.payloads && !payload.is_empty() {
            xml.raw(payload);
        }
        xml.close().close();
    };
    event(account, write, at, turn)
}

/// An item is no longer there.
pub(crate) fn retracted(account: &str, node: &str, item: &str, turn: &mut Turn<'_>) -> Bytes {
    let write = |xml: &mut Writer<'_>| {
        xml.open("items").attr("node", node).leaf("retract", &[("id", item)]).close();
    };
    event(account, write, None, turn)
}

/// No item is there any more.
pub(super) fn purged(account: &str, node: &str, turn: &mut Turn<'_>) -> Bytes {
    event(account, |xml| _ = xml.leaf("purge", &[("node", node)]), None, turn)
}

/// The node itself is no longer there.
pub(super) fn deleted(account: &str, node: &str, turn: &mut Turn<'_>) -> Bytes {
    event(account, |xml| _ = xml.leaf("delete", &[("node", node)]), None, turn)
}

/// The node is configured anew.
pub(super) fn configured(account: &str, node: &str, config: &Config, turn: &mut Turn<'_>) -> Bytes {
    let write = |xml: &mut Writer<'_>| {
        xml.open("configuration").attr("node", node);
        if config.payloads {
            config.write_result(xml);
        }
        xml.close();
    };
    event(account, write, None, turn)
}

/// A message from the account that says nothing of its recipient yet.
fn event(account: &str, write: impl FnOnce(&mut Writer<'_>), at: Option<Timestamp>, turn: &mut Turn<'_>) -> Bytes {
    let id = random_id(turn);
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("message").attr("from", account).attr("type", "headline").attr("id", &id);
    xml.open("event").ns(ns::PUBSUB_EVENT);
    write(&mut xml);
    xml.close();
    if let Some(at) = at {
        xml.open("delay").ns(ns::DELAY).attr("from", account).attr("stamp", &at.iso_millis().to_string()).close();
    }
    xml.close();
    drop(xml);
    bytes.into()
}

/// An id that nothing else has.
pub(crate) fn random_id(turn: &mut Turn<'_>) -> String {
    format!("{:024x}", u128::from_be_bytes(turn.random.array()) >> 32)
}
