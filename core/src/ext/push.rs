//! XEP-0357: Push Notifications. A client names a push service, which wakes it up while it is not here.
//!
//! When the services are told of something is the account's: `crate::account::pushing`. What they are told:
//!
//! ```text
//! <iq type="set" from="the user" to="the service"><pubsub><publish node="the client's"><item><notification>
//!   message-count: how many messages wait
//!   last-message-sender, last-message-body: where the operator wants that (§11: it goes through third parties)
//! </notification></item></publish><publish-options>what the client gave</publish-options></pubsub></iq>
//! ```
//!
//! It is said in the name of the user, so that the answer comes to the account. An error that does not say `wait` is the end of the
//! service's node, and so is its word that the user may publish there no more (§8).
//!
//! A push service is a component of this server that serves the user's app (XEP-0114): there are no connections to other
//! servers, so any other could never be told of anything. Who names one hears that at once (§5 says nothing of it), rather than to
//! believe himself called and never to be. Of our own addresses none is a push service, whoever they belong to.

use serde::{Deserialize, Serialize};

use super::chain::{Facts, Hooks, Look, Taking, Verdict, Watch};
use super::{At, CHAIN, Extension, IqRoute, Request, Spec, form, nothing};
use crate::account::Account;
use crate::effect::{Site, Turn};
use crate::error::Condition;
use crate::jid::Jid;
use crate::jid::user::UserId;
use crate::limits::{PUSH_BODY_BYTES_MAX, PUSH_NODE_BYTES_MAX, PUSH_OPTIONS_BYTES_MAX};
use crate::model::dialog;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::route::{Target, target};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::stanza::{IqAnswer, IqKind, MessageKind};
use crate::xml::{Element, Nodes, Writer, splice};

#[cfg(test)]
mod tests;

pub(super) static PUSH: Extension = Extension {
    name: "Push Notifications",
    spec: Spec::Xep(357, "0.4.1"),
    account_features: &[ns::PUSH],
    tables: &[&SERVICES],
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::PUSH, name: "enable", plan: nothing, apply: on_enable },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::PUSH, name: "disable", plan: nothing, apply: on_disable },
    ],
    messages: &[Watch {
        hooks: Hooks { takes: Some(on_affiliation), ..Hooks::NONE },
        ..Watch::facts(ns::PUBSUB, &["pubsub"], Facts::SAYS)
    }],
    ..Extension::NONE
};

/// account → its [`Service`]s.
static SERVICES: Table = Table::new("push");

const VERSION: u8 = 1;

/// A node of a push service that a client has named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// Its number among those of the account.
    pub id: u64,
    /// The service.
    pub jid: String,
    /// The node; none where the service has but one.
    pub node: Option<String>,
    /// The form that it wants to have with each notification, fit to stand in `<publish-options/>`.
    pub options: Option<String>,
}

impl Service {
    /// Whether it is the same node of the same service.
    pub fn has_place_of(&self, other: &Service) -> bool {
        (&self.jid, &self.node) == (&other.jid, &other.node)
    }
}

/// What a notification says of the last message, besides that there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Included {
    /// The sender's address.
    pub sender: bool,
    /// The text.
    pub body: bool,
}

/// The row of an account's services.
pub(crate) fn reads(account: AccountId) -> Reads {
    Reads::get(&SERVICES, key(account))
}

/// Takes the answer to [`reads`].
pub(crate) fn load(rows: &mut Rows) -> Result<Vec<Service>, Unreadable> {
    Ok(rows.decoded(VERSION)?.unwrap_or_default())
}

/// Keeps these services, and no others.
pub(crate) fn keep<'s>(account: AccountId, services: impl Iterator<Item = &'s Service>, batch: &mut Batch) {
    let services: Vec<&Service> = services.collect();
    match services.is_empty() {
        true => batch.delete(&SERVICES, key(account)),
        false => batch.put(&SERVICES, key(account), row::encode(VERSION, &services)),
    }
}

fn key(account: AccountId) -> Key {
    Key::of(&Owner::Account(account))
}

/// §5
fn on_enable(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let jid = service_in(request)?;
    let node = node_in(request)?;
    behind(&jid, account.id(), turn.site)?;
    let options = options_in(request.payload)?;
    let service = Service { id: 0, jid: jid.as_str().to_owned(), node, options };
    account.names_service(service, request.session, turn)?;
    Ok(Vec::new())
}

/// §6. What is not there need not be disabled.
fn on_disable(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let jid = service_in(request)?;
    let node = node_in(request)?;
    let mut batch = Batch::default();
    account
        .drops_services(|service| service.jid == jid.as_str() && (node.is_none() || service.node == node), &mut batch);
    turn.out.write(batch);
    Ok(Vec::new())
}

fn service_in(request: &Request<'_>) -> Result<Jid<'static>, Condition> {
    let jid = request.attr("jid").filter(|jid| !jid.is_empty()).ok_or(Condition::BadRequest)?;
    Jid::parse(&jid).map(Jid::into_owned).map_err(|_| Condition::JidMalformed)
}

fn node_in(request: &Request<'_>) -> Result<Option<String>, Condition> {
    match request.attr("node").filter(|node| !node.is_empty()) {
        Some(node) if node.len() > PUSH_NODE_BYTES_MAX => Err(Condition::NotAcceptable),
        node => Ok(node.map(|node| node.into_owned())),
    }
}

/// What the service wants to have with each notification, as the client gave it.
fn options_in(enable: Element<'_>) -> Result<Option<String>, Condition> {
    form::submitted(enable, ns::PUBSUB_PUBLISH_OPTIONS)?;
    let Some(form) = enable.child("x", ns::DATA_FORMS) else { return Ok(None) };
    let mut options = Vec::new();
    splice::copy(form, ns::PUBSUB, &mut options);
    if options.len() > PUSH_OPTIONS_BYTES_MAX {
        return Err(Condition::NotAcceptable);
    }
    String::from_utf8(options).map(Some).map_err(|_| Condition::BadRequest)
}

/// Who gets what is sent to a push service.
pub(crate) fn behind(jid: &Jid<'_>, account: AccountId, site: &Site) -> Result<Owner, Condition> {
    match target(Some(jid), account, site) {
        Target::Component(component) => Ok(Owner::Component(component)),
        Target::Elsewhere => Err(Condition::RemoteServerNotFound),
        // The same for all of them, so that nobody learns who there is.
        Target::Own
        | Target::Server
        | Target::User(..)
        | Target::Uploads
        | Target::Link(_)
        | Target::RoomService
        | Target::Dialog(..)
        | Target::Room
        | Target::Nobody => Err(Condition::ItemNotFound),
    }
}

/// §8: a service says that the user publishes on one of its nodes no more.
fn on_affiliation(taking: &Taking<'_>, account: &mut Account, turn: &mut Turn<'_>) -> Verdict {
    let from = &taking.parcel.from;
    let pubsub = taking.message.child("pubsub", ns::PUBSUB).filter(|_| from.account.is_none());
    let Some(pubsub) = pubsub else { return Verdict::On };
    let is_end = |child: Element<'_>| {
        child.is("affiliation", ns::PUBSUB)
            && child.attr("jid").as_deref() == Some(account.jid())
            && matches!(child.attr("affiliation").as_deref(), Some("none" | "outcast"))
    };
    if !pubsub.children().any(is_end) {
        return Verdict::On;
    }
    let node = pubsub.attr("node");
    let mut batch = Batch::default();
    let is_it = |service: &Service| *service.jid == *from.jid && service.node.as_deref() == node.as_deref();
    if !account.drops_services(is_it, &mut batch) {
        return Verdict::On;
    }
    turn.out.write(batch);
    Verdict::Ended
}

/// Whether a user who is away would want to be called for this stanza.
pub(crate) fn is_news(stanza: &[u8], own: &str, user: UserId) -> bool {
    let mut nodes = Nodes::new();
    let Some(stanza) = nodes.reread(stanza) else { return false };
    let from = stanza.attr("from");
    let (bare, resource) = from.as_deref().and_then(|from| from.split_once('/')).unwrap_or_default();
    if bare == own || from.as_deref() == Some(own) {
        return false;
    }
    let kind = stanza.attr("type");
    match stanza.name() {
        "message" => match MessageKind::read(kind.as_deref()) {
            kind @ (MessageKind::Chat | MessageKind::Normal) => {
                let look = CHAIN.look(kind, stanza);
                look.is_lasting() && (has_text(stanza) || is_saved(look, stanza) || calls(stanza))
            }
            // The nicks of our rooms are users' numbers; what comes with a stamp was said before.
            MessageKind::Groupchat => {
                has_text(stanza)
                    && resource.parse() != Ok(user)
                    && stanza.child("subject", ns::CLIENT).is_none()
                    && stanza.child("delay", ns::DELAY).is_none()
            }
            MessageKind::Headline | MessageKind::Error => false,
        },
        "iq" if IqKind::read(kind.as_deref()) == Some(IqKind::Set) => stanza
            .child("jingle", ns::JINGLE)
            .is_some_and(|jingle| jingle.attr("action").as_deref() == Some("session-initiate")),
        _ => false,
    }
}

fn has_text(message: Element<'_>) -> bool {
    message.child("body", ns::CLIENT).is_some_and(|body| !body.text().trim().is_empty())
}

/// A message of the product that may have nothing but a picture.
fn is_saved(look: Look, message: Element<'_>) -> bool {
    look.is(Facts::PARAMS) && !look.is(Facts::MARKER) && dialog::saved_params(message).is_some()
}

/// Without a text that anybody could read: secret messages, calls, invitations.
fn calls(message: Element<'_>) -> bool {
    message.children().any(|child| match (child.ns(), child.name()) {
        // One without a payload hands over keys only.
        (ns::OMEMO, "encrypted") | (ns::OMEMO_2, "encrypted") => child.child("payload", child.ns()).is_some(),
        (ns::OPENPGP, "openpgp") | (ns::ENCRYPTED, "x") | (ns::JINGLE_MESSAGE, "propose") | (ns::CONFERENCE, "x") => {
            true
        }
        (ns::MUC_USER, "x") => child.child("invite", ns::MUC_USER).is_some(),
        _ => false,
    })
}

/// Tells a service that messages wait, and what the operator has it told of the last of them.
pub(crate) fn notification(
    service: &Service,
    id: &str,
    from: &str,
    waiting: u32,
    last: Option<&[u8]>,
    included: Included,
) -> bytes::Bytes {
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("iq").attr("type", "set").attr("id", id).attr("from", from).attr("to", &service.jid);
    xml.open("pubsub").ns(ns::PUBSUB);
    xml.open("publish").attr_opt("node", service.node.as_deref()).open("item");
    xml.open("notification").ns(ns::PUSH);
    summary(waiting, last, included, &mut xml);
    xml.close().close().close();
    if let Some(options) = &service.options {
        xml.open("publish-options").raw(options).close();
    }
    xml.close().close();
    drop(xml);
    bytes.into()
}

/// §7. One message at least: it may be one that a client has been given, and has not looked at.
fn summary(waiting: u32, last: Option<&[u8]>, included: Included, xml: &mut Writer<'_>) {
    form::open_submit(xml, ns::PUSH_SUMMARY);
    form::field(xml, "message-count", [&*waiting.max(1).to_string()]);
    let mut nodes = Nodes::new();
    if let Some(message) = last.and_then(|last| nodes.reread(last)) {
        if let Some(sender) = message.attr("from").filter(|_| included.sender) {
            form::field(xml, "last-message-sender", [&*sender]);
        }
        if let Some(body) = message.child("body", ns::CLIENT).filter(|_| included.body) {
            form::field(xml, "last-message-body", [shortened(&body.text())]);
        }
    }
    xml.close();
}

/// As much of a text as a notification takes.
fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(PUSH_BODY_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
