//! XEP-0163: Personal Eventing, the part of XEP-0060 that it is made of, and what lives on it: private data (XEP-0223) and how far a
//! user has read (XEP-0490).
//!
//! Every account is a publish-subscribe service. Its nodes and items are the account's, and what the account decides is who may see
//! them. What a *contact's* clients want to hear of, the contact's account knows: it has asked them (see
//! `account::interest`). So an event goes to the account of every contact who may see it, and that account hands it to those of
//! its sessions that want it; and when one of them comes, its account asks for the newest items. Neither has to know what is the other's.
//!
//! Strangers, who do not see the user's presence, find open nodes. Of all else they learn as little as of a user who does not exist.
//!
//! | subject | file |
//! |---|---|
//! | how a node is configured | `config` |
//! | nodes and items, their rows and bounds | `node` |
//! | publishing and retracting | `publish` |
//! | retrieving items | `items` |
//! | creating, configuring, purging, deleting | `manage` |
//! | subscribing by name | `subscribe` |
//! | service discovery | `disco` |
//! | the messages that tell of all that | `event` |

use std::borrow::Cow;

use super::{At, Extension, IqRoute, Request, Spec};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, ErrorType, Refusal};
use crate::limits::PEP_NAME_BYTES_MAX;
use crate::ns;
use crate::row::{Reads, Rows};
use crate::stanza::{IqAnswer, IqKind, Sender};
use crate::xml::Element;

mod config;
mod disco;
mod event;
mod items;
mod manage;
mod node;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

pub(crate) use config::{Access, Config, SendLast};
pub(super) use disco::{Node as DiscoNode, discover, plan as plan_disco, write_nodes};
pub(crate) use event::{published, random_id, retracted};
pub(crate) use node::{Item, Node, Pep, Publication, Standing, entries, page, read_item, read_items, read_oldest};

use node::{PEP_ITEMS, PEP_NODES, PEP_ORDER};

pub(super) static PUBLISH_SUBSCRIBE: Extension = Extension {
    name: "Publish-Subscribe (the part that personal eventing uses)",
    spec: Spec::Xep(60, "1.30.0"),
    // XEP-0223 §5 has clients ask the server, XEP-0163 §7.1 the account.
    server_features: FEATURES,
    account_features: FEATURES,
    tables: &[&PEP_NODES, &PEP_ITEMS, &PEP_ORDER],
    iq: &[
        route(IqKind::Get, ns::PUBSUB),
        route(IqKind::Set, ns::PUBSUB),
        route(IqKind::Get, ns::PUBSUB_OWNER),
        route(IqKind::Set, ns::PUBSUB_OWNER),
    ],
    ..Extension::NONE
};

pub(super) static PERSONAL_EVENTING: Extension = Extension {
    name: "Personal Eventing Protocol",
    spec: Spec::Xep(163, "1.2.2"),
    server_identities: &[("pubsub", "pep")],
    account_identities: &[("pubsub", "pep")],
    ..Extension::NONE
};

/// What it asks of a server is that of the two above.
pub(super) static PRIVATE_DATA: Extension = Extension {
    name: "Persistent Storage of Private Data via PubSub",
    spec: Spec::Xep(223, "1.1.1"),
    ..Extension::NONE
};

/// The node is the clients' business; only who sees it is not left to chance: [`usual`].
pub(super) static DISPLAYED: Extension =
    Extension { name: "Message Displayed Synchronization", spec: Spec::Xep(490, "1.0.1"), ..Extension::NONE };

/// XEP-0060 §10
const FEATURES: &[&str] = &[
    ns::PUBSUB,
    ns::PUBSUB_OWNER,
    "http://jabber.org/protocol/pubsub#access-open",
    "http://jabber.org/protocol/pubsub#access-presence",
    "http://jabber.org/protocol/pubsub#access-roster",
    "http://jabber.org/protocol/pubsub#access-whitelist",
    "http://jabber.org/protocol/pubsub#auto-create",
    "http://jabber.org/protocol/pubsub#auto-subscribe",
    "http://jabber.org/protocol/pubsub#config-node",
    "http://jabber.org/protocol/pubsub#config-node-max",
    "http://jabber.org/protocol/pubsub#create-and-configure",
    "http://jabber.org/protocol/pubsub#create-nodes",
    "http://jabber.org/protocol/pubsub#delete-items",
    "http://jabber.org/protocol/pubsub#delete-nodes",
    "http://jabber.org/protocol/pubsub#filtered-notifications",
    "http://jabber.org/protocol/pubsub#item-ids",
    "http://jabber.org/protocol/pubsub#last-published",
    "http://jabber.org/protocol/pubsub#meta-data",
    "http://jabber.org/protocol/pubsub#multi-items",
    "http://jabber.org/protocol/pubsub#persistent-items",
    "http://jabber.org/protocol/pubsub#presence-subscribe",
    "http://jabber.org/protocol/pubsub#publish",
    ns::PUBSUB_PUBLISH_OPTIONS,
    "http://jabber.org/protocol/pubsub#purge-nodes",
    "http://jabber.org/protocol/pubsub#retrieve-affiliations",
    "http://jabber.org/protocol/pubsub#retrieve-default",
    "http://jabber.org/protocol/pubsub#retrieve-items",
    "http://jabber.org/protocol/pubsub#retrieve-subscriptions",
    "http://jabber.org/protocol/pubsub#rsm",
    "http://jabber.org/protocol/pubsub#subscribe",
];

const fn route(kind: IqKind, ns: &'static str) -> IqRoute {
    IqRoute { at: At::AnyAccount, kind, ns, name: "pubsub", plan, apply }
}

/// Why something is refused, in the words of XEP-0060.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reason {
    condition: Condition,
    kind: ErrorType,
    name: &'static str,
    feature: Option<&'static str>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal::from(reason.condition).of_kind(reason.kind).with(|xml| {
            xml.open(reason.name).ns(ns::PUBSUB_ERRORS).attr_opt("feature", reason.feature);
        })
    }
}

const fn reason(condition: Condition, name: &'static str) -> Reason {
    Reason { condition, kind: condition.kind(), name, feature: None }
}

const fn unsupported(feature: &'static str) -> Reason {
    Reason { feature: Some(feature), ..reason(Condition::FeatureNotImplemented, "unsupported") }
}

const CLOSED_NODE: Reason = reason(Condition::NotAllowed, "closed-node");
const INVALID_JID: Reason = reason(Condition::BadRequest, "invalid-jid");
const INVALID_OPTIONS: Reason = reason(Condition::BadRequest, "invalid-options");
const INVALID_PAYLOAD: Reason = reason(Condition::BadRequest, "invalid-payload");
const ITEM_REQUIRED: Reason = reason(Condition::BadRequest, "item-required");
const NODE_ID_REQUIRED: Reason = reason(Condition::BadRequest, "nodeid-required");
const NO_INSTANT_NODES: Reason = reason(Condition::NotAcceptable, "nodeid-required");
const NOT_IN_ROSTER_GROUP: Reason = reason(Condition::NotAuthorized, "not-in-roster-group");
/// §6.2.3.2 has another type for it than the condition usually has.
const NOT_SUBSCRIBED: Reason =
    Reason { kind: ErrorType::Cancel, ..reason(Condition::UnexpectedRequest, "not-subscribed") };
const PAYLOAD_REQUIRED: Reason = reason(Condition::BadRequest, "payload-required");
const PAYLOAD_TOO_BIG: Reason = reason(Condition::NotAcceptable, "payload-too-big");
const PRESENCE_REQUIRED: Reason = reason(Condition::NotAuthorized, "presence-subscription-required");
const PRECONDITION_NOT_MET: Reason = reason(Condition::Conflict, "precondition-not-met");
/// §6.1.3.9
const TOO_MANY_SUBSCRIPTIONS: Reason =
    Reason { kind: ErrorType::Wait, ..reason(Condition::PolicyViolation, "too-many-subscriptions") };
const UNSUPPORTED_ACCESS: Reason = reason(Condition::NotAcceptable, "unsupported-access-model");

/// What a `<pubsub/>` can ask for.
struct Action {
    kind: IqKind,
    ns: &'static str,
    name: &'static str,
    plan: fn(&Ask<'_>, &Account) -> Reads,
    apply: fn(&Ask<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer,
}

static ACTIONS: &[&Action] = &[
    &publish::PUBLISH,
    &publish::RETRACT,
    &items::ITEMS,
    &manage::CREATE,
    &manage::CONFIGURATION,
    &manage::CONFIGURE,
    &manage::DEFAULTS,
    &manage::PURGE,
    &manage::DELETE,
    &subscribe::SUBSCRIBE,
    &subscribe::UNSUBSCRIBE,
    &subscribe::SUBSCRIPTIONS,
    &subscribe::AFFILIATIONS,
    &subscribe::SUBSCRIBERS,
    &subscribe::PUBLISHERS,
];

/// What is known and not done, and the feature that it belongs to.
static UNSUPPORTED: &[(&str, &str, &str)] = &[
    (ns::PUBSUB, "options", "subscription-options"),
    (ns::PUBSUB, "default", "retrieve-default-sub"),
    (ns::PUBSUB_OWNER, "affiliations", "modify-affiliations"),
    (ns::PUBSUB_OWNER, "subscriptions", "manage-subscriptions"),
];

/// A request, and the element in it that says what it is about.
struct Ask<'a> {
    request: &'a Request<'a>,
    element: Element<'a>,
}

impl<'a> Ask<'a> {
    fn from(&self) -> &'a Sender {
        self.request.from
    }

    /// The node it is about.
    fn node(&self) -> Result<Cow<'a, str>, Refusal> {
        let node = self.element.attr("node").filter(|node| !node.is_empty()).ok_or(NODE_ID_REQUIRED)?;
        if node.len() > PEP_NAME_BYTES_MAX {
            return Err(Condition::NotAcceptable.into());
        }
        Ok(node)
    }

    /// What stands beside the element.
    fn beside(&self, name: &str) -> Option<Element<'a>> {
        self.request.payload.child(name, self.request.payload.ns())
    }

    /// Nobody changes what is another's.
    fn only_own(&self, account: &Account) -> Result<(), Refusal> {
        if self.request.is_own() { Ok(()) } else { Err(strange(self.from(), account, Condition::Forbidden.into())) }
    }
}

fn plan(request: &Request<'_>, account: &Account) -> Reads {
    match find(request) {
        Ok((action, ask)) => (action.plan)(&ask, account),
        Err(_) => Reads::none(),
    }
}

fn apply(request: &Request<'_>, account: &mut Account, rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    match find(request) {
        Ok((action, ask)) => (action.apply)(&ask, account, rows, turn),
        Err(refusal) => Err(strange(request.from, account, refusal)),
    }
}

fn find<'a>(request: &'a Request<'a>) -> Result<(&'static Action, Ask<'a>), Refusal> {
    let element = request.payload.first_child().ok_or(Condition::BadRequest)?;
    let kind = IqKind::read(request.iq.attr("type").as_deref()).ok_or(Condition::BadRequest)?;
    let found = ACTIONS.iter().find(|action| action.kind == kind && element.is(action.name, action.ns));
    if let (Some(action), true) = (found, element.ns() == request.payload.ns()) {
        return Ok((action, Ask { request, element }));
    }
    let known = UNSUPPORTED.iter().find(|(ns, name, _)| element.is(name, ns));
    Err(known.map_or(Condition::BadRequest.into(), |(_, _, feature)| unsupported(feature).into()))
}

/// What somebody is told: strangers no more than if there were no such user.
fn strange(from: &Sender, account: &Account, refusal: Refusal) -> Refusal {
    let known = from.account == Some(account.id()) || account.roster().is_watched_by(from.bare());
    if known { refusal } else { Condition::ServiceUnavailable.into() }
}

/// The node, for one who may see what is on it. XEP-0060 §6.5.2
fn visible<'a>(account: &'a Account, name: &str, from: &Sender) -> Result<&'a Node, Refusal> {
    let node = account.pep().and_then(|pep| pep.node(name)).ok_or(Condition::ItemNotFound);
    let node = node.map_err(|condition| strange(from, account, condition.into()))?;
    match may_see(account, &node.config, from) {
        Ok(()) => Ok(node),
        Err(refusal) => Err(strange(from, account, refusal)),
    }
}

/// Whether somebody may see what is on a node that is so configured.
pub(crate) fn may_see(account: &Account, config: &Config, who: &Sender) -> Result<(), Refusal> {
    if who.account == Some(account.id()) {
        return Ok(());
    }
    let roster = account.roster();
    let watches = roster.is_watched_by(who.bare());
    match config.access {
        Access::Open => Ok(()),
        Access::Whitelist => Err(CLOSED_NODE.into()),
        Access::Presence if watches => Ok(()),
        Access::Presence => Err(PRESENCE_REQUIRED.into()),
        Access::Roster => {
            let groups = roster.item(who.bare()).map_or(&[][..], |item| &item.groups);
            let among = groups.iter().any(|group| config.groups.contains(group));
            if watches && among { Ok(()) } else { Err(NOT_IN_ROSTER_GROUP.into()) }
        }
    }
}

/// How a node is made that nobody configures. What concerns the user's own clients is nobody else's, also when a client forgets to
/// say so. XEP-0163 §6, XEP-0223 §2, XEP-0490 §5.2
pub(crate) fn usual(node: &str) -> Config {
    match node {
        ns::BOOKMARKS | ns::BOOKMARKS_LEGACY | "urn:xmpp:mds:displayed:0" => Config::private(),
        _ => Config::default(),
    }
}
