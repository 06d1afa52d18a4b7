//! The extensions: one file each, one line in [`EXTENSIONS`] each.
//!
//! From the table come the routing of iqs, the [`chain`] of those that look at messages, what disco#info announces, the stream
//! features and the column families. Tests over the table catch two owners of one element, and a route that disco does not
//! announce.

use std::borrow::Cow;

use crate::account::Account;
use crate::effect::{SessionId, Site, Turn};
use crate::error::Condition;
use crate::row::{Reads, Rows, Table};
use crate::stanza::{IqAnswer, IqKind, Sender};
use crate::stream::{Feature, Features};
use crate::xml::{Element, Writer};

pub(crate) mod addressing;
mod amp;
pub(crate) mod archive;
pub(crate) mod avatar;
mod between_clients;
mod bind2;
mod blocking;
mod bookmarks;
pub(crate) mod caps;
pub(crate) mod carbons;
pub mod chain;
mod chat_states;
mod client_state;
mod commands;
mod components;
mod contact_addresses;
mod delayed_delivery;
mod disco;
mod entity_time;
mod external_services;
pub mod fast;
pub(crate) mod form;
mod hints;
mod last_activity;
pub(crate) mod link_local;
pub(crate) mod muc;
mod offline_messages;
pub(crate) mod pep;
mod ping;
mod privacy_lists;
mod private_storage;
pub(crate) mod push;
mod registration;
pub(crate) mod roster;
mod session;
mod software_version;
#[cfg(test)]
mod stage;
mod stream_limits;
mod stream_management;
pub(crate) mod upload;
mod vcard;

pub use archive::{Ends, Usual};
use chain::{Chain, Watch};
pub(crate) use components::answer_component;
pub use contact_addresses::Contacts;
pub use external_services::{Access, Secret, Service, ServiceKind, ServiceTransport};
pub use push::Included;
pub use upload::{Uploads, is_media_type, path_segment};

/// Every extension the server has. The order is that of the README's list; of two that look at the same stanza the first
/// comes first.
pub static EXTENSIONS: &[&Extension] = &[
    &session::SESSION,
    &roster::ROSTER,
    &roster::VERSIONING,
    &disco::DISCO,
    // Before all that looks at what others send: the account holds it against the lists before anything is done with it.
    &privacy_lists::PRIVACY_LISTS,
    &blocking::BLOCKING,
    &last_activity::LAST_ACTIVITY,
    &private_storage::PRIVATE_STORAGE,
    &vcard::VCARD,
    &registration::REGISTRATION,
    &amp::AMP,
    // After the rules of a message: bad ones are refused once, and not for each copy.
    &addressing::ADDRESSING,
    &software_version::SOFTWARE_VERSION,
    &stream_management::STREAM_MANAGEMENT,
    &chat_states::CHAT_STATES,
    &between_clients::BYTESTREAMS,
    &between_clients::RECEIPTS,
    &between_clients::INVITATION,
    &between_clients::CORRECTION,
    &between_clients::RETRACTION,
    &between_clients::REACTIONS,
    &between_clients::REPLIES,
    &caps::CAPS,
    &components::COMPONENTS,
    &contact_addresses::CONTACT_ADDRESSES,
    &offline_messages::OFFLINE_MESSAGES,
    &ping::PING,
    &entity_time::ENTITY_TIME,
    &delayed_delivery::DELAYED_DELIVERY,
    &external_services::EXTERNAL_SERVICES,
    &muc::MULTI_USER_CHAT,
    &muc::SELF_PING,
    &muc::OCCUPANT_IDS,
    &muc::RETRACTION,
    &muc::MODERATED_RETRACTION,
    &muc::AVATARS,
    &muc::CHAT_MARKERS,
    &archive::RESULT_SETS,
    &archive::ARCHIVE,
    &archive::PREFERENCES,
    &archive::STANZA_IDS,
    &pep::PUBLISH_SUBSCRIBE,
    &pep::PERSONAL_EVENTING,
    &pep::PRIVATE_DATA,
    &avatar::AVATAR,
    &avatar::VCARD_AVATAR,
    &avatar::CONVERSION,
    &bookmarks::BOOKMARKS,
    &pep::DISPLAYED,
    &carbons::CARBONS,
    &hints::HINTS,
    &client_state::CLIENT_STATE,
    &push::PUSH,
    &bind2::BIND_2,
    &bind2::SASL_2,
    &bind2::CHANNEL_BINDINGS,
    &bind2::SRV_RECORDS,
    &upload::UPLOAD,
    &commands::COMMANDS,
    &commands::ADMINISTRATION,
    &link_local::LINK_LOCAL,
    &stream_limits::STREAM_LIMITS,
    &fast::FAST,
];

/// Those of them that look at messages.
pub static CHAIN: Chain = Chain::of(EXTENSIONS);

/// Where an extension is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// An XEP, and the version that was read.
    Xep(u16, &'static str),
    /// A section of an RFC.
    Rfc(u16, &'static str),
}

/// One extension: what it announces and what it answers.
#[derive(Debug)]
pub struct Extension {
    /// Its name, for the README's list.
    pub name: &'static str,
    /// Where it is written down.
    pub spec: Spec,
    /// What disco#info of the server announces.
    pub server_features: &'static [&'static str],
    /// As what disco#info shows the server, besides as a server: category and type.
    pub server_identities: &'static [(&'static str, &'static str)],
    /// As what disco#info shows an account, besides as an account.
    pub account_identities: &'static [(&'static str, &'static str)],
    /// What disco#info of the server says besides features. XEP-0128
    pub server_forms: &'static [ServerForm],
    /// The nodes of the server at which disco#info says more.
    pub server_nodes: &'static [ServerNode],
    /// What disco#info of an account announces.
    pub account_features: &'static [&'static str],
    /// What the stream features announce.
    pub stream_features: &'static [Feature],
    /// The rows it keeps of an account, under the account's key: with the account they go.
    pub tables: &'static [&'static Table],
    /// The iqs it answers.
    pub iq: &'static [IqRoute],
    /// The children of messages that concern it.
    pub messages: &'static [Watch],
    /// The elements beside stanzas that it takes from a client.
    pub nonzas: &'static [Nonza],
    /// What a client can have done for its session as it binds its resource: what is sent to it stands in `<bound/>`. XEP-0386
    pub inline: &'static [Nonza],
}

impl Extension {
    /// An extension that does nothing, to build on.
    pub const NONE: Extension = Extension {
        name: "",
        spec: Spec::Rfc(6120, ""),
        server_features: &[],
        server_identities: &[],
        account_identities: &[],
        server_forms: &[],
        server_nodes: &[],
        account_features: &[],
        stream_features: &[],
        tables: &[],
        iq: &[],
        messages: &[],
        nonzas: &[],
        inline: &[],
    };
}

/// A node of the server, for disco#info.
#[derive(Clone, Copy, Debug)]
pub struct ServerNode {
    /// Its name.
    pub node: &'static str,
    /// What it announces.
    pub features: &'static [&'static str],
}

/// Writes a data form that says something of the server, or nothing when there is nothing to say.
pub type ServerForm = fn(&Site, &mut Writer<'_>);

/// Whom an iq must be addressed to for a route to take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The sender's own account (or no address).
    Account,
    /// The server.
    Server,
    /// Either of them.
    Home,
    /// Any account of the app, the own one included; answered on behalf of its user.
    AnyAccount,
    /// The service that takes files. XEP-0363
    Uploads,
    /// The bridge to the local link. XEP-0174
    Link,
}

/// Where an iq was addressed to that an account answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The asking user's own account.
    Own,
    /// Somebody else's account.
    Other,
    /// The server.
    Server,
    /// The service that takes files.
    Uploads,
    /// The bridge to the local link.
    Link,
}

impl At {
    fn takes(self, place: Place) -> bool {
        match self {
            At::Account => place == Place::Own,
            At::Server => place == Place::Server,
            At::Home => matches!(place, Place::Own | Place::Server),
            At::AnyAccount => matches!(place, Place::Own | Place::Other),
            At::Uploads => place == Place::Uploads,
            At::Link => place == Place::Link,
        }
    }
}

/// One iq that an extension answers.
#[derive(Clone, Copy)]
pub struct IqRoute {
    /// The addresses it answers at.
    pub at: At,
    /// `get` or `set`.
    pub kind: IqKind,
    /// The payload's namespace.
    pub ns: &'static str,
    /// The payload's name.
    pub name: &'static str,
    /// The rows it needs.
    pub plan: fn(&Request<'_>, &Account) -> Reads,
    /// What it does.
    pub apply: fn(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer,
}

impl std::fmt::Debug for IqRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {} {}", self.at, self.kind, self.name, self.ns)
    }
}

/// An element beside the three stanzas that an extension takes from a client.
#[derive(Clone, Copy)]
pub struct Nonza {
    /// Its name.
    pub name: &'static str,
    /// Its namespace.
    pub ns: &'static str,
    /// What it does; an error ends the stream.
    pub apply: fn(&mut Account, SessionId, Element<'_>, &mut Turn<'_>) -> Result<(), crate::error::StreamCondition>,
}

impl std::fmt::Debug for Nonza {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.ns)
    }
}

/// An iq request that has found its account.
pub struct Request<'a> {
    /// The whole iq.
    pub iq: Element<'a>,
    /// Its only child.
    pub payload: Element<'a>,
    /// Who asks.
    pub from: &'a Sender,
    /// The session that asks, when it is one of this account.
    pub session: Option<SessionId>,
    /// Where it is addressed to.
    pub place: Place,
}

impl Request<'_> {
    /// Whether the account's own user asks.
    pub fn is_own(&self) -> bool {
        self.session.is_some()
    }

    /// An attribute of the payload.
    pub fn attr(&self, name: &str) -> Option<Cow<'_, str>> {
        self.payload.attr(name)
    }
}

/// For routes that need no rows.
pub fn nothing(_: &Request<'_>, _: &Account) -> Reads {
    Reads::none()
}

/// The route for an iq, or why there is none.
pub fn find(kind: IqKind, payload: Element<'_>, place: Place) -> Result<&'static IqRoute, Condition> {
    let (name, ns) = (payload.name(), payload.ns());
    let mut wrong_kind = false;
    for route in EXTENSIONS.iter().flat_map(|extension| extension.iq) {
        if route.name != name || route.ns != ns || !route.at.takes(place) {
            continue;
        }
        if route.kind == kind {
            return Ok(route);
        }
        wrong_kind = true;
    }
    // RFC 6120 §8.2.3 leaves it open; a payload that is known but cannot be set (or got) is a bad request, the rest is unknown.
    Err(if wrong_kind { Condition::BadRequest } else { Condition::ServiceUnavailable })
}

/// What takes an element that is not a stanza.
pub fn nonza(element: Element<'_>) -> Option<&'static Nonza> {
    let mut all = EXTENSIONS.iter().flat_map(|extension| extension.nonzas);
    all.find(|nonza| element.is(nonza.name, nonza.ns))
}

/// What does something for a session that is being bound.
pub fn inline(element: Element<'_>) -> Option<&'static Nonza> {
    let mut all = EXTENSIONS.iter().flat_map(|extension| extension.inline);
    all.find(|inline| element.is(inline.name, inline.ns))
}

/// The features that a stream announces besides what it negotiates itself.
pub fn stream_features(site: &Site) -> Features {
    Features::of(EXTENSIONS.iter().flat_map(|extension| extension.stream_features), site)
}

/// All tables that extensions keep.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    EXTENSIONS.iter().flat_map(|extension| extension.tables.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ns;
    use std::collections::HashSet;

    #[test]
    fn no_iq_has_two_owners() {
        let routes: Vec<_> = EXTENSIONS.iter().flat_map(|extension| extension.iq).collect();
        for (index, one) in routes.iter().enumerate() {
            for two in &routes[index + 1..] {
                let same = (one.kind, one.ns, one.name) == (two.kind, two.ns, two.name);
                let overlap = [Place::Own, Place::Other, Place::Server, Place::Uploads, Place::Link]
                    .iter()
                    .any(|&place| one.at.takes(place) && two.at.takes(place));
                assert!(!(same && overlap), "{one:?} and {two:?}");
            }
        }
    }

    #[test]
    fn what_is_answered_is_announced() {
        let mut announced: HashSet<&str> = HashSet::new();
        for extension in EXTENSIONS {
            announced.extend(extension.server_features);
            announced.extend(extension.account_features);
            announced.extend(extension.stream_features.iter().map(|feature| feature.ns));
        }
        // RFC 6121 §2.1: every server has rosters, they are not announced. Registration is there only to be refused.
        let silent = [ns::ROSTER, ns::REGISTER];
        // The services say themselves what they do.
        let is_services = |route: &&IqRoute| matches!(route.at, At::Uploads | At::Link);
        let routes = EXTENSIONS.iter().flat_map(|extension| extension.iq).filter(|route| !is_services(route));
        for route in routes {
            assert!(announced.contains(route.ns) || silent.contains(&route.ns), "{route:?}");
        }
    }

    #[test]
    fn tables_have_one_owner() {
        let mut names = HashSet::new();
        assert!(tables().all(|table| names.insert(table.name())));
    }
}
