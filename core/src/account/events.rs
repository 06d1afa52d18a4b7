//! What happens on the account's nodes, told to those who may know: personal eventing, as its owner sees it. XEP-0163 §4
//!
//! Who of them wants to know is the business of those who are told: `interest`.

use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{Note, Turn};
use crate::ext::avatar::{Avatar, advertised};
use crate::ext::pep::{self, Access, Config, Item, Node, Pep, Publication, SendLast};
use crate::jid::Jid;
use crate::ns;
use crate::owner::Owner;
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::stanza::{Kind, MessageKind, Parcel, PresenceKind, Sender, Topic};

use super::Account;
use super::presence::addressed;
use super::privacy::lists::Traffic;

impl Account {
    /// The nodes and what is known of them; none for a user who has never had any.
    pub(crate) fn pep(&self) -> Option<&Pep> {
        self.pep.as_deref()
    }

    /// The nodes, to be changed.
    pub(crate) fn pep_mut(&mut self) -> &mut Pep {
        self.pep.get_or_insert_default()
    }

    /// Tells of an item that was published.
    pub(crate) fn tells_published(&self, publication: &Publication<'_>, turn: &mut Turn<'_>) {
        let Some(node) = self.pep().and_then(|pep| pep.node(publication.node)) else { return };
        let event = pep::published(&self.jid, &node.config, publication, None, turn);
        self.tells_of(publication.node, node, &event, turn);
    }

    /// Tells of something that has happened on a node.
    pub(crate) fn tells(&self, name: &str, event: &Bytes, turn: &mut Turn<'_>) {
        if let Some(node) = self.pep().and_then(|pep| pep.node(name)) {
            self.tells_of(name, node, event, turn);
        }
    }

    /// The same of a node that may be no more.
    pub(crate) fn tells_of(&self, name: &str, node: &Node, event: &Bytes, turn: &mut Turn<'_>) {
        if !node.config.notify {
            return;
        }
        self.hears_event(name, event, turn);
        let topic = Arc::new(Topic { node: name.into(), by_name: false });
        for contact in self.audience(&node.config) {
            // Those who have subscribed by name are told as such, and once.
            if !node.subscribers.iter().any(|subscriber| subscriber == contact) {
                self.tells_about(contact, None, &topic, event, turn);
            }
        }
        let topic = Arc::new(Topic { node: name.into(), by_name: true });
        for subscriber in &node.subscribers {
            let Ok(jid) = Jid::parse(subscriber) else { continue };
            let who = Sender { jid: subscriber.as_str().into(), account: None };
            if pep::may_see(self, &node.config, &who).is_ok() {
                self.tells_about(jid.bare_str(), jid.resource(), &topic, event, turn);
            }
        }
    }

    /// Tells one who has just subscribed, or one of the user's own clients that has.
    pub(crate) fn tells_one(&self, jid: &str, name: &str, event: &Bytes, turn: &mut Turn<'_>) {
        let Ok(jid) = Jid::parse(jid) else { return };
        if jid.bare_str() == &*self.jid {
            return self.hears_event(name, event, turn);
        }
        let topic = Arc::new(Topic { node: name.into(), by_name: true });
        self.tells_about(jid.bare_str(), jid.resource(), &topic, event, turn);
    }

    /// The contacts who see what is on a node without having subscribed to it.
    fn audience(&self, config: &Config) -> impl Iterator<Item = &str> {
        self.roster.watchers().filter(move |contact| match config.access {
            Access::Open | Access::Presence => true,
            Access::Roster => self
                .roster
                .item(contact)
                .is_some_and(|item| item.groups.iter().any(|group| config.groups.contains(group))),
            Access::Whitelist => false,
        })
    }

    fn tells_about(&self, to: &str, resource: Option<&str>, topic: &Arc<Topic>, event: &Bytes, turn: &mut Turn<'_>) {
        // XEP-0016 §2.1: what is like presence goes to those who may see that.
        if !self.may(None, Traffic::PresenceOut, to) {
            return;
        }
        let Some(owner) = self.contact_owner(to, turn) else { return };
        let kind = Kind::Message { kind: MessageKind::Headline, lasting: false };
        let parcel = match owner {
            // Nobody keeps what a component wants to hear of: it has subscribed by name, or hears nothing.
            Owner::Component(_) if !topic.by_name => return,
            Owner::Component(_) => {
                let to = resource.map_or_else(|| to.to_owned(), |resource| format!("{to}/{resource}"));
                Parcel::new(self.sender(), None, kind, addressed(event, &to))
            }
            Owner::Account(_) | Owner::App(_) | Owner::Dialog(..) => {
                let parcel = Parcel::new(self.sender(), resource.map(Into::into), kind, event.clone());
                Parcel { topic: Some(Arc::clone(topic)), ..parcel }
            }
        };
        turn.out.send(owner, Note::Stanza(parcel));
    }

    /// The nodes of which a resource that has come gets the newest item: those that it wants to hear of and may see.
    fn due<'a>(&'a self, to: &Sender, wanted: &str) -> impl Iterator<Item = (&'a str, &'a Node, &'a str)> {
        let wanted = wanted.split('\n').filter_map(|name| self.pep()?.named(name));
        wanted.filter_map(move |(name, node)| {
            let config = &node.config;
            let sent = config.notify && config.send_last == SendLast::OnSubAndPresence;
            let last = node.last.as_deref().filter(|_| sent)?;
            pep::may_see(self, config, to).is_ok().then_some((name, node, last))
        })
    }

    /// The rows that [`Account::sends_last`] needs.
    pub(super) fn plan_last(&self, to: &Sender, wanted: &str) -> Reads {
        self.due(to, wanted)
            .fold(Reads::none(), |reads, (name, _, last)| reads.and(pep::read_item(self.id, name, last)))
    }

    /// Somebody's resource has come, and wants to hear of these nodes: it gets the newest item of each. XEP-0163 §4.3.4
    pub(super) fn sends_last(
        &self,
        to: &Sender,
        wanted: &str,
        mut rows: Rows,
        turn: &mut Turn<'_>,
    ) -> Result<(), Unreadable> {
        let (Some(account), Some((_, resource))) = (to.account, to.jid.split_once('/')) else { return Ok(()) };
        if !self.may(None, Traffic::PresenceOut, &to.jid) {
            return Ok(());
        }
        for (name, node, last) in self.due(to, wanted) {
            let Some(row) = rows.row() else { continue };
            let item = Item::read(&row)?;
            let publication = Publication { node: name, item: last, payload: item.payload };
            let event = pep::published(&self.jid, &node.config, &publication, Some(item.at), turn);
            let kind = Kind::Message { kind: MessageKind::Headline, lasting: false };
            let parcel = Parcel::new(self.sender(), Some(resource.into()), kind, event);
            let topic = Arc::new(Topic { node: name.into(), by_name: false });
            self.post(account, Parcel { topic: Some(topic), ..parcel }, turn);
        }
        Ok(())
    }

    /// What the user's picture is from now on; true when that is news.
    pub(crate) fn takes_avatar(&mut self, avatar: Avatar, batch: &mut Batch) -> bool {
        let id = self.id;
        let pep = self.pep_mut();
        let new = pep.avatar != avatar;
        if new {
            pep.set_avatar(id, avatar, batch);
        }
        new
    }

    /// An item of a node is gone, or all of them; true when with it went the user's picture.
    pub(crate) fn loses_avatar(&mut self, node: &str, item: Option<&str>, batch: &mut Batch) -> bool {
        let Some(Avatar::Image { id, .. }) = self.pep().map(|pep| &pep.avatar) else { return false };
        let is_avatars = matches!(node, ns::AVATAR_DATA | ns::AVATAR_METADATA);
        is_avatars && item.is_none_or(|item| item == id) && self.takes_avatar(Avatar::None, batch)
    }

    /// The presence that a client has sent, with what the server has to say of the user's picture.
    pub(super) fn advertises(&self, presence: Bytes) -> Bytes {
        match self.pep() {
            Some(pep) => advertised(presence, &pep.avatar),
            None => presence,
        }
    }

    /// The picture is another: everybody who sees the user's presence sees that.
    pub(crate) fn shows_avatar(&mut self, turn: &mut Turn<'_>) {
        for at in 0..self.sessions.len() {
            let session = &self.sessions[at];
            let Some(presence) = &session.presence else { continue };
            let (id, stanza) = (session.id, self.advertises(presence.stanza.clone()));
            if stanza == presence.stanza {
                continue;
            }
            self.broadcast(&stanza, id, PresenceKind::Available, turn);
            if let Some(presence) = &mut self.sessions[at].presence {
                presence.stanza = stanza;
            }
        }
    }
}
