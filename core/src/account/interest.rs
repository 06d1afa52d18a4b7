//! What the user's clients want to hear of: the `+notify` features of XEP-0163 §3.4, known by way of XEP-0115.
//!
//! A client's presence names what it can do. What that means the account asks the client itself, once, and remembers for as long as it
//! is in use; what checks out against its hash goes for all of the user's clients. When a client has come and it is known what it wants,
//! the accounts of the contacts (and the own one) are asked for the newest of that, and events that come are handed to those who want them.

use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{Note, SessionId, Turn};
use crate::ext::caps;
use crate::limits::{CAPS_BYTES_MAX, CAPS_KNOWN_MAX, INTEREST_BYTES_MAX};
use crate::ns;
use crate::owner::Owner;
use crate::stanza::{IqKind, Parcel, Topic};
use crate::xml::{Element, Writer};

use super::presence::addressed;
use super::{Account, Session};

/// What a session's client can do, by its own name for that, and what it wants.
#[derive(Debug)]
pub(super) struct Interest {
    caps: Caps,
    /// The nodes that it wants to hear of, with line feeds between them; none before it has said.
    nodes: Option<Arc<str>>,
}

/// What a presence says of what a client can do. XEP-0115 §4
#[derive(Clone, Debug, PartialEq, Eq)]
struct Caps {
    /// `node#ver`.
    node: Box<str>,
    ver_at: usize,
    /// Whether `ver` is a hash that can be checked.
    hashed: bool,
}

impl Caps {
    fn read(presence: Element<'_>) -> Option<Caps> {
        let caps = presence.child("c", ns::CAPS)?;
        let (node, ver) = (caps.attr("node")?, caps.attr("ver")?);
        if node.len() + ver.len() > CAPS_BYTES_MAX {
            return None;
        }
        let hashed = caps.attr("hash").as_deref() == Some("sha-1");
        Some(Caps { node: format!("{node}#{ver}").into(), ver_at: node.len() + 1, hashed })
    }

    fn ver(&self) -> &str {
        &self.node[self.ver_at..]
    }

    /// The id of the question what it means.
    fn question(&self) -> String {
        format!("caps {}", self.node)
    }
}

/// What is known to be meant by a hash, the newest last.
#[derive(Debug, Default)]
pub(super) struct KnownCaps(Vec<(Box<str>, Arc<str>)>);

impl KnownCaps {
    fn find(&self, caps: &Caps) -> Option<Arc<str>> {
        let known = |(ver, _): &&(Box<str>, Arc<str>)| caps.hashed && **ver == *caps.ver();
        self.0.iter().find(known).map(|(_, nodes)| Arc::clone(nodes))
    }

    fn learn(&mut self, ver: &str, nodes: &Arc<str>) {
        if self.0.len() >= CAPS_KNOWN_MAX {
            self.0.remove(0);
        }
        self.0.push((ver.into(), Arc::clone(nodes)));
    }
}

impl Session {
    fn wants(&self, node: &str) -> bool {
        self.wanted().is_some_and(|nodes| holds(nodes, node))
    }

    /// The nodes that an available resource wants to hear of, as far as is known.
    fn wanted(&self) -> Option<&Arc<str>> {
        self.interest.as_deref().filter(|_| self.presence.is_some())?.nodes.as_ref()
    }
}

fn holds(nodes: &str, node: &str) -> bool {
    nodes.split('\n').any(|known| known == node)
}

impl Account {
    /// A presence to all says what its client can do. `first` when it was not available before.
    pub(super) fn reads_caps(&mut self, from: SessionId, presence: Element<'_>, first: bool, turn: &mut Turn<'_>) {
        let caps = Caps::read(presence);
        let known = caps.as_ref().and_then(|caps| self.known_caps.find(caps));
        let Some(session) = self.session_mut(from) else { return };
        let before = session.interest.take();
        let Some(caps) = caps else { return };
        let same = before.filter(|before| before.caps == caps);
        let is_new = same.is_none();
        let interest = same.unwrap_or_else(|| Box::new(Interest { caps, nodes: known }));
        let (question, nodes) = (interest.caps.question(), interest.nodes.clone());
        let node = interest.caps.hashed.then(|| interest.caps.node.clone());
        session.interest = Some(interest);
        match nodes {
            Some(nodes) if first || is_new => self.asks_for_last(from, &nodes, turn),
            Some(_) => {}
            None if is_new => self.asks_caps(from, &question, node.as_deref(), turn),
            // It was asked already.
            None => {}
        }
    }

    /// XEP-0115 §6.2; what is named without a hash is asked for as it is now.
    fn asks_caps(&self, session: SessionId, question: &str, node: Option<&str>, turn: &mut Turn<'_>) {
        let Some(session) = self.session(session) else { return };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("iq").attr("type", "get").attr("id", question).attr("from", &self.jid).attr("to", &session.jid);
        xml.open("query").ns(ns::DISCO_INFO).attr_opt("node", node);
        drop(xml);
        turn.out.deliver(session.id, bytes.into());
    }

    /// An answer from an own client to its own account: perhaps to the question what it can do.
    pub(super) fn hears_answer(&mut self, from: SessionId, kind: IqKind, iq: Element<'_>, turn: &mut Turn<'_>) {
        let Some(interest) = self.session_mut(from).and_then(|session| session.interest.as_deref_mut()) else { return };
        if interest.nodes.is_some() || iq.attr("id").as_deref() != Some(&*interest.caps.question()) {
            return;
        }
        let query = iq.child("query", ns::DISCO_INFO).filter(|_| kind == IqKind::Result);
        let nodes: Arc<str> = query.map(interests).unwrap_or_default().into();
        interest.nodes = Some(Arc::clone(&nodes));
        let caps = interest.caps.clone();
        // §5.4: a hash that does not check out may have been made for others to believe.
        if let Some(query) = query
            && caps.hashed
            && caps::verification(query).as_deref() == Some(caps.ver())
        {
            self.known_caps.learn(caps.ver(), &nodes);
        }
        if self.session(from).is_some_and(Session::is_available) {
            self.asks_for_last(from, &nodes, turn);
        }
    }

    /// Asks everybody whose presence the user sees, and the own account, for the newest items that a session wants.
    fn asks_for_last(&self, session: SessionId, nodes: &Arc<str>, turn: &mut Turn<'_>) {
        if nodes.is_empty() {
            return;
        }
        if self.pep.is_some() {
            self.asks_account(session, self.owner(), nodes, turn);
        }
        for contact in self.roster.watched() {
            if let Some(account) = self.contact_account(contact, turn) {
                self.asks_account(session, Owner::Account(account), nodes, turn);
            }
        }
    }

    /// The user now sees this contact's presence, and so what the contact publishes.
    pub(super) fn asks_contact_for_last(&self, contact: &str, turn: &mut Turn<'_>) {
        let Some(account) = self.contact_account(contact, turn) else { return };
        for session in &self.sessions {
            if let Some(nodes) = session.wanted().filter(|nodes| !nodes.is_empty()) {
                self.asks_account(session.id, Owner::Account(account), nodes, turn);
            }
        }
    }

    fn asks_account(&self, session: SessionId, account: Owner, nodes: &Arc<str>, turn: &mut Turn<'_>) {
        if let Some(from) = self.full_sender(session) {
            turn.out.send(account, Note::Wants { from, nodes: Arc::clone(nodes) });
        }
    }

    /// Something has happened on a node of the account itself.
    pub(super) fn hears_event(&self, node: &str, event: &Bytes, turn: &mut Turn<'_>) {
        for session in self.sessions.iter().filter(|session| session.wants(node)) {
            turn.out.deliver(session.id, addressed(event, &session.jid));
        }
    }

    /// Something has happened on a node of somebody else. What nobody asked for goes to nobody: the product's SDKs fall over headlines
    /// of this kind. Wire notes §19.
    pub(super) fn takes_event(&self, parcel: &Parcel, topic: &Topic, turn: &mut Turn<'_>) {
        let from = parcel.from.bare();
        let is_own = parcel.from.account == Some(self.id);
        if !(is_own || topic.by_name || self.roster.watches(from)) {
            return;
        }
        let meant = |session: &&Session| {
            parcel.resource.as_deref().is_none_or(|resource| session.resource() == resource) && session.is_available()
        };
        let wanting = |session: &&Session| session.wants(&topic.node);
        let mut told = false;
        for session in self.sessions.iter().filter(meant).filter(wanting) {
            turn.out.deliver(session.id, addressed(&parcel.stanza, &session.jid));
            told = true;
        }
        // XEP-0163 §4.3.2: who has subscribed by name may have clients that do not filter, but do say what they can do.
        if topic.by_name && !told {
            for session in self.sessions.iter().filter(meant).filter(|session| session.interest.is_some()) {
                turn.out.deliver(session.id, addressed(&parcel.stanza, &session.jid));
            }
        }
    }
}

/// The nodes that an answer to disco#info says its sender wants to hear of.
fn interests(query: Element<'_>) -> String {
    let mut nodes = String::new();
    for feature in query.children().filter(|child| child.is("feature", ns::DISCO_INFO)) {
        let Some(var) = feature.attr("var") else { continue };
        let Some(node) = var.strip_suffix("+notify").filter(|node| !node.is_empty() && !node.contains('\n')) else {
            continue;
        };
        if nodes.len() + node.len() < INTEREST_BYTES_MAX && !holds(&nodes, node) {
            if !nodes.is_empty() {
                nodes.push('\n');
            }
            nodes.push_str(node);
        }
    }
    nodes
}
