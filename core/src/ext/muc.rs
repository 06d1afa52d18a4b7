//! XEP-0045: Multi-User Chat, the service. The rooms themselves are the dialogs' ([`crate::dialog`]).

use super::{Extension, Spec};
use crate::effect::Site;
use crate::error::Condition;
use crate::jid::user::{AppId, RoomJid};
use crate::model::directory::dialogs;
use crate::ns;
use crate::row::{Reads, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer};

pub(super) static MULTI_USER_CHAT: Extension =
    Extension { name: "Multi-User Chat", spec: Spec::Xep(45, "1.35.1"), ..Extension::NONE };

pub(super) static CHAT_MARKERS: Extension =
    Extension { name: "Chat Markers", spec: Spec::Xep(333, "1.0.0"), ..Extension::NONE };

/// Rooms that one answer lists.
const ROOMS_MAX: usize = 200;

/// The rows for [`service`]: the public rooms of the asking user's app, and of no other. Server notes §1.
pub(crate) fn service_reads(app: AppId, kind: IqKind, payload: Element<'_>) -> Reads {
    match kind {
        IqKind::Get if payload.is("query", ns::DISCO_ITEMS) => dialogs::reads(app, None, ROOMS_MAX),
        IqKind::Get | IqKind::Set | IqKind::Result | IqKind::Error => Reads::none(),
    }
}

/// Answers a request to the service that holds the rooms.
pub(crate) fn service(app: AppId, kind: IqKind, payload: Element<'_>, mut rows: Rows, site: &Site) -> IqAnswer {
    let node = payload.attr("node").filter(|node| !node.is_empty());
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    match (payload.ns(), payload.name(), kind) {
        (ns::DISCO_INFO | ns::DISCO_ITEMS, "query", IqKind::Get) if node.is_some() => {
            return Err(Condition::ItemNotFound);
        }
        (ns::DISCO_INFO, "query", IqKind::Get) => {
            xml.open("query").ns(ns::DISCO_INFO);
            xml.leaf("identity", &[("category", "conference"), ("type", "text"), ("name", "Rookery")]);
            for feature in [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::MUC, ns::PING] {
                xml.leaf("feature", &[("var", feature)]);
            }
            xml.close();
        }
        (ns::DISCO_ITEMS, "query", IqKind::Get) => {
            let rooms = dialogs::listed(&mut rows).map_err(|_| Condition::InternalServerError)?;
            xml.open("query").ns(ns::DISCO_ITEMS);
            for (dialog, name) in rooms {
                let jid = format!("{}@{}", RoomJid { app, dialog }, site.muc_domain);
                xml.leaf("item", &[("jid", &jid), ("name", &name)]);
            }
            xml.close();
        }
        (ns::PING, "ping", IqKind::Get) => {}
        (_, _, _) => return Err(Condition::ServiceUnavailable),
    }
    drop(xml);
    Ok(out)
}
