//! XEP-0045: Multi-User Chat, the service. The rooms themselves are the dialogs' ([`crate::dialog`]).

use super::chain::{Facts, Watch};
use super::{Extension, Spec};
use crate::effect::Site;
use crate::error::Condition;
use crate::jid::user::{AppId, DialogId, RoomJid};
use crate::model::directory::dialogs;
use crate::ns;
use crate::row::{Reads, Rows};
use crate::rsm::{self, Paging};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer};

pub(super) static MULTI_USER_CHAT: Extension =
    Extension { name: "Multi-User Chat", spec: Spec::Xep(45, "1.35.1"), ..Extension::NONE };

pub(super) static CHAT_MARKERS: Extension = Extension {
    name: "Chat Markers",
    spec: Spec::Xep(333, "1.0.0"),
    messages: &[Watch::facts(
        ns::CHAT_MARKERS,
        &["received", "displayed", "acknowledged"],
        Facts::MARKER.and(Facts::SAYS),
    )],
    ..Extension::NONE
};

/// The rooms answer: [`crate::dialog`].
pub(super) static SELF_PING: Extension =
    Extension { name: "MUC Self-Ping", spec: Spec::Xep(410, "1.1.0"), ..Extension::NONE };

/// The rooms show them: [`crate::dialog`].
pub(super) static OCCUPANT_IDS: Extension =
    Extension { name: "Occupant identifiers", spec: Spec::Xep(421, "1.0.1"), ..Extension::NONE };

/// The rooms do it, by the operation that the API has for it: [`crate::dialog`].
pub(super) static RETRACTION: Extension =
    Extension { name: "Message Retraction (in rooms)", spec: Spec::Xep(424, "0.4.2"), ..Extension::NONE };

/// The rooms keep them: [`crate::dialog`].
pub(super) static AVATARS: Extension =
    Extension { name: "MUC Avatars", spec: Spec::Xep(486, "0.1.0"), ..Extension::NONE };

/// As [`RETRACTION`], for those who may moderate.
pub(super) static MODERATED_RETRACTION: Extension =
    Extension { name: "Moderated Message Retraction", spec: Spec::Xep(425, "0.3.0"), ..Extension::NONE };

/// Rooms that one answer lists.
const ROOMS_MAX: usize = 200;

/// Which rooms are asked for. The list is paged through forwards, XEP-0059 §2.2; what a client cannot have is refused.
struct Page {
    after: Option<DialogId>,
    max: usize,
}

impl Page {
    fn read(payload: Element<'_>) -> Result<Page, Condition> {
        let paging = Paging::read(payload)?;
        if paging.backwards || paging.by_index {
            return Err(Condition::FeatureNotImplemented);
        }
        let after = match &paging.after {
            Some(room) => {
                let local = room.split_once('@').map_or(room.as_str(), |(local, _)| local);
                Some(RoomJid::parse_local(local).ok_or(Condition::ItemNotFound)?.dialog)
            }
            None => None,
        };
        Ok(Page { after, max: paging.max.unwrap_or(ROOMS_MAX).min(ROOMS_MAX) })
    }
}

/// The rows for [`service`]: the public rooms of the asking user's app, and of no other. Server notes §1.
pub(crate) fn service_reads(app: AppId, kind: IqKind, payload: Element<'_>) -> Reads {
    match kind {
        IqKind::Get if payload.is("query", ns::DISCO_ITEMS) => match Page::read(payload) {
            // One more tells whether there are more.
            Ok(page) => dialogs::reads(app, page.after, page.max + 1),
            Err(_) => Reads::none(),
        },
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
            return Err(Condition::ItemNotFound.into());
        }
        (ns::DISCO_INFO, "query", IqKind::Get) => {
            xml.open("query").ns(ns::DISCO_INFO);
            xml.leaf("identity", &[("category", "conference"), ("type", "text"), ("name", "Rookery")]);
            for feature in [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::MUC, ns::RSM, ns::PING, ns::OCCUPANT_ID, ns::VCARD] {
                xml.leaf("feature", &[("var", feature)]);
            }
            xml.close();
        }
        (ns::DISCO_ITEMS, "query", IqKind::Get) => {
            let page = Page::read(payload)?;
            let mut rooms = dialogs::listed(&mut rows).map_err(|_| Condition::InternalServerError)?;
            let has_more = rooms.len() > page.max;
            rooms.truncate(page.max);
            let jid = |dialog: DialogId| format!("{}@{}", RoomJid { app, dialog }, site.muc_domain);
            xml.open("query").ns(ns::DISCO_ITEMS);
            for (dialog, name) in &rooms {
                xml.leaf("item", &[("jid", &jid(*dialog)), ("name", name)]);
            }
            // How many there are in all, nobody counts. A client that has never heard of pages sees the first of them.
            if has_more || page.after.is_some() || payload.child("set", ns::RSM).is_some() {
                let ends = rooms.first().zip(rooms.last()).map(|((first, _), (last, _))| (jid(*first), jid(*last)));
                rsm::write(ends.as_ref().map(|(first, last)| (first.as_str(), last.as_str())), None, &mut xml);
            }
            xml.close();
        }
        (ns::PING, "ping", IqKind::Get) => {}
        (_, _, _) => return Err(Condition::ServiceUnavailable.into()),
    }
    drop(xml);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::ObjectId;
    use crate::owner::Owner;
    use crate::row::{Found, Key};
    use crate::xml::{Context, Limits, Nodes};

    const APP: AppId = AppId(7);

    /// What a client is told of rooms that the store gives for its question.
    fn asked(set: &str, found: &[u8]) -> Result<String, Condition> {
        let source = format!("<query xmlns='{}'>{set}</query>", ns::DISCO_ITEMS);
        let mut nodes = Nodes::new();
        let payload = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("XML");
        let row = |n: &u8| {
            let key = Key::of(&Owner::App(APP)).bytes(&[*n; 12]);
            (key, crate::row::encode(1, &format!("room {n}")))
        };
        let rows = Rows::new(vec![Found::Page(found.iter().map(row).collect())]);
        let answer =
            service(APP, IqKind::Get, payload, rows, &Site::of("localhost")).map_err(|refusal| refusal.condition)?;
        Ok(String::from_utf8(answer).expect("text"))
    }

    fn jid(n: u8) -> String {
        format!("{}@muc.localhost", RoomJid { app: APP, dialog: DialogId(ObjectId([n; 12])) })
    }

    #[test]
    fn many_rooms_come_in_pages() {
        let whole = asked("", &[1, 2]).expect("rooms");
        assert!(whole.contains(&jid(2)) && !whole.contains("<set"), "{whole}");
        // The store gives one more than was asked for.
        let set = format!("<set xmlns='{}'><max>2</max><after>{}</after></set>", ns::RSM, jid(1));
        let page = asked(&set, &[2, 3, 4]).expect("rooms");
        let ends = format!("<set xmlns=\"{}\"><first>{}</first><last>{}</last></set>", ns::RSM, jid(2), jid(3));
        assert!(page.contains(&ends) && !page.contains(&jid(4)), "{page}");
        let end = asked(&set, &[]).expect("no rooms");
        assert!(end.contains("<set xmlns=\"http://jabber.org/protocol/rsm\"/>"), "{end}");
    }

    #[test]
    fn pages_that_cannot_be_had_are_refused() {
        for (set, condition) in [
            ("<before/>", Condition::FeatureNotImplemented),
            ("<index>3</index>", Condition::FeatureNotImplemented),
            ("<after>lobby</after>", Condition::ItemNotFound),
            ("<max>-1</max>", Condition::BadRequest),
        ] {
            assert_eq!(asked(&format!("<set xmlns='{}'>{set}</set>", ns::RSM), &[]), Err(condition), "{set}");
        }
    }
}
