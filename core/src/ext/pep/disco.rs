//! What disco says of nodes. XEP-0060 §5.1 to §5.5, XEP-0163 §7

use crate::account::Account;
use crate::error::Condition;
use crate::ext::form;
use crate::limits::PEP_ITEMS_MAX;
use crate::ns;
use crate::row::{Reads, Rows};
use crate::stanza::{IqAnswer, Sender};
use crate::xml::Writer;

use super::node::{entries, read_oldest};
use super::{may_see, visible};

/// What is asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ext) enum Node {
    /// What it is. §5.3, §5.4
    Info,
    /// What is on it. §5.5
    Items,
}

/// What [`discover`] has to see.
pub(in crate::ext) fn plan(account: &Account, what: Node, name: &str, from: &Sender) -> Reads {
    match (what, visible(account, name, from)) {
        (Node::Items, Ok(_)) => read_oldest(account.id(), name, PEP_ITEMS_MAX),
        (Node::Items, Err(_)) | (Node::Info, _) => Reads::none(),
    }
}

/// The answer to a question about a node.
pub(in crate::ext) fn discover(account: &Account, what: Node, name: &str, from: &Sender, mut rows: Rows) -> IqAnswer {
    let node = visible(account, name, from)?;
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    match what {
        Node::Info => {
            xml.open("query").ns(ns::DISCO_INFO).attr("node", name);
            xml.leaf("identity", &[("category", "pubsub"), ("type", "leaf")]);
            xml.leaf("feature", &[("var", ns::PUBSUB)]);
            metadata(account, node, &mut xml);
        }
        Node::Items => {
            xml.open("query").ns(ns::DISCO_ITEMS).attr("node", name);
            for (_, entry) in entries(&mut rows).map_err(|_| Condition::InternalServerError)? {
                xml.leaf("item", &[("jid", account.jid()), ("name", &entry.id)]);
            }
        }
    }
    drop(xml);
    Ok(out)
}

/// §5.4
fn metadata(account: &Account, node: &super::Node, xml: &mut Writer<'_>) {
    let config = &node.config;
    let said = [
        ("pubsub#type", &*config.kind),
        ("pubsub#title", &*config.title),
        ("pubsub#description", &*config.description),
        ("pubsub#owner", &**account.jid()),
        ("pubsub#access_model", config.access.as_str()),
        ("pubsub#max_items", &config.max_items.to_string()),
    ];
    form::open_result(xml, ns::PUBSUB_META_DATA);
    for (name, value) in said.into_iter().filter(|(_, value)| !value.is_empty()) {
        form::field(xml, name, [value]);
    }
    xml.close();
}

/// The nodes that this asker may see, among the items of the account. XEP-0163 §7.2
pub(in crate::ext) fn write_nodes(account: &Account, from: &Sender, xml: &mut Writer<'_>) {
    for (name, node) in account.pep().into_iter().flat_map(|pep| pep.nodes()) {
        if may_see(account, &node.config, from).is_ok() {
            xml.leaf("item", &[("jid", account.jid()), ("node", name)]);
        }
    }
}
