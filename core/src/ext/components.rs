//! XEP-0114: Jabber Component Protocol. What the server has to say of it; the protocol itself is in [`component`](crate::component).

use super::{Extension, Spec, disco, software_version};
use crate::component::Settings;
use crate::effect::Turn;
use crate::error::Condition;
use crate::ns;
use crate::xml::Element;

pub(super) static COMPONENTS: Extension =
    Extension { name: "Jabber Component Protocol", spec: Spec::Xep(114, "1.6"), ..Extension::NONE };

/// What the server answers when a component asks it something. Most of what it does for users, it does for accounts.
pub(crate) fn answer_component(payload: Element<'_>, asking: &Settings, turn: &Turn<'_>) -> Result<Vec<u8>, Condition> {
    let node = payload.attr("node");
    let node = node.as_deref().filter(|node| !node.is_empty());
    match (payload.name(), payload.ns()) {
        ("ping", ns::PING) => Ok(Vec::new()),
        ("query", ns::DISCO_INFO) => disco::server_info(node, turn.site),
        ("query", ns::DISCO_ITEMS) => disco::server_items(node, turn.site, |component| asking.meets(component), None),
        ("query", ns::VERSION) => Ok(software_version::of_server(turn.site)),
        _ => Err(Condition::ServiceUnavailable),
    }
}
