//! Connections of components: their streams, and how a component comes by its connection. XEP-0114
//!
//! Any shard may accept one. Once the component has shown its secret, the connection moves to the shard where the component lives, as
//! a client's moves to its account, and what the component sends is taken there.

use std::mem;

use bytes::Bytes;

use proto::component::stream::{Ask, Host};
use proto::component::{Component, Stream};
use proto::effect::SessionId;
use proto::error::{StreamCondition, StreamError};
use proto::ns;
use proto::owner::{ComponentId, Owner};
use proto::stanza::Remains;
use proto::stream::Flow;
use proto::xml::{Element, Writer};

use super::Shard;
use super::conns::{ConnId, Directive, Line};
use super::desk::Desk;
use super::outbox::Piece;
use super::owners::{Input, State};

impl<D: Desk> Shard<D> {
    pub(super) fn component_line(&self) -> Line {
        Line::Component(Box::new(Stream::new(self.now.instant, &self.terms.site.limits)))
    }

    /// How many components are connected here.
    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// Feeds a component's stream; its line is taken out of the connection meanwhile.
    pub(super) fn feed_component(&mut self, id: ConnId, mut stream: Box<Stream>, bytes: &[u8]) -> usize {
        let terms = self.terms.clone();
        let mut nodes = mem::take(&mut self.nodes);
        let mut out = Vec::new();
        let (now, mut random) = (self.now.instant, self.chance.lend());
        let mut host = Host { now, site: &terms.site, random: &mut random, out: &mut out };
        let had_failed = stream.has_failed();
        let fed = stream.feed(bytes, &mut host, &mut nodes, &mut |element| self.component_stanza(id, element));
        if stream.has_failed() && !had_failed {
            self.counts.login_failures += 1;
            let peer = self.conns.get_mut(id).map(|conn| conn.peer);
            tracing::warn!(?peer, "a component has shown a wrong secret");
        }
        self.nodes = nodes;
        self.put_back(id, Line::Component(stream));
        self.component_said(id, out);
        self.obey_component(id, fed.ask);
        fed.consumed
    }

    fn component_said(&mut self, id: ConnId, out: Vec<u8>) {
        if !out.is_empty() {
            self.conns.push(id, Piece::Raw(out.into()));
        }
    }

    /// Has a component's stream do something, and sees to what follows.
    fn with_component(&mut self, id: ConnId, act: impl FnOnce(&mut Stream, &mut Host<'_>) -> Option<Ask>) {
        let terms = self.terms.clone();
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Line::Component(stream) = &mut conn.line else { return };
        let (mut out, mut random) = (Vec::new(), self.chance.lend());
        let mut host = Host { now: self.now.instant, site: &terms.site, random: &mut random, out: &mut out };
        let ask = act(stream, &mut host);
        self.component_said(id, out);
        self.obey_component(id, ask);
    }

    fn obey_component(&mut self, id: ConnId, ask: Option<Ask>) {
        match ask {
            None => {}
            Some(Ask::Close) => self.conns.direct(id, Directive::Close),
            Some(Ask::Connect(component)) => {
                let place = self.places.of(&Owner::Component(component));
                if place == self.me {
                    self.component_moved(id, component);
                } else {
                    self.conns.direct(id, Directive::Move(place));
                }
            }
        }
    }

    /// The connection is on its component's shard.
    pub(super) fn component_moved(&mut self, id: ConnId, component: ComponentId) {
        self.offer(Owner::Component(component), Input::Connect(id));
    }

    /// A component takes a connection, unless it has one. That one may be dead without anybody having noticed: it is asked.
    pub(super) fn connect_component(&mut self, owner: Owner, component: &mut Component, id: ConnId) {
        let (Owner::Component(component_id), Some(_)) = (owner, self.conns.get_mut(id)) else { return };
        let session = SessionId(self.last_session + 1);
        let taken = component.connect(session);
        if taken {
            self.last_session += 1;
            self.links.add(session, owner, id);
            self.components.insert(id, (session, component_id));
            self.counts.logins += 1;
        } else if let Some(other) = component.session().and_then(|session| self.links.conn(session)) {
            self.ping_component(other);
        }
        tracing::info!(domain = self.component_domain(component_id).as_deref(), taken, "a component connects");
        self.with_component(id, |stream, host| stream.connected(taken, host));
        self.attached.push((id, None));
    }

    fn component_domain(&self, id: ComponentId) -> Option<String> {
        self.terms.site.component_with(id).map(|component| component.domain.to_string())
    }

    /// An element from a connected component.
    fn component_stanza(&mut self, id: ConnId, element: Element<'_>) -> Flow {
        self.counts.stanzas_in += 1;
        let Some(&(_, component)) = self.components.get(&id) else {
            return Flow::End(StreamCondition::InternalServerError.into());
        };
        let owner = Owner::Component(component);
        let now = self.now.instant;
        let state = self.owners.get_mut(&owner).and_then(|slot| {
            slot.used = now;
            slot.state.take()
        });
        let Some(state) = state else {
            self.abandon(owner);
            return Flow::End(StreamCondition::InternalServerError.into());
        };
        self.forget_effects();
        let before = self.feeding.replace(id);
        let result = match &*state {
            State::Component(component) => self.turn(|turn| component.stanza(element, turn)),
            State::Account(_) | State::Directory(_) | State::Dialog(_) => Ok(()),
        };
        if let Some(slot) = self.owners.get_mut(&owner) {
            slot.state = Some(state);
        }
        self.release(owner);
        self.settle();
        self.feeding = before;
        match (self.fault.take(), result) {
            (_, Err(error)) | (Some(error), Ok(())) => Flow::End(error),
            (None, Ok(())) => Flow::Continue,
        }
    }

    /// Ends a component's stream with an error.
    pub(super) fn close_component(&mut self, id: ConnId, error: StreamError) {
        self.with_component(id, |stream, host| stream.close(error, host));
    }

    /// A connection is gone; perhaps it was that of a component.
    pub(super) fn component_closed(&mut self, id: ConnId, remains: Remains) {
        let Some((session, component)) = self.components.remove(&id) else { return };
        self.links.remove(session);
        tracing::info!(domain = self.component_domain(component).as_deref(), "a component is gone");
        self.offer(Owner::Component(component), Input::Detach(session, remains));
    }

    /// Its deadline, and its silence.
    pub(super) fn check_component(&mut self, id: ConnId) {
        let now = self.now.instant;
        let limits = &self.terms.site.limits;
        let (idle_time_max, ping_time_max) = (limits.idle_time_max, limits.ping_time_max);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Line::Component(stream) = &conn.line else { return };
        if stream.deadline().is_some_and(|at| at <= now) {
            return self.with_component(id, |stream, host| stream.expired(host));
        }
        if stream.is_closed() || !self.components.contains_key(&id) {
            return;
        }
        match conn.pinged {
            None if now.since(conn.heard) >= idle_time_max => self.ping_component(id),
            Some(at) if now.since(at) >= ping_time_max => {
                let error = StreamError::new(StreamCondition::ConnectionTimeout, "Nothing was heard for too long.");
                self.close_component(id, error);
            }
            Some(_) | None => {}
        }
    }

    /// XEP-0199 §4.2. Any sign of life answers it.
    fn ping_component(&mut self, id: ConnId) {
        let now = self.now.instant;
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.pinged.is_none()) else { return };
        let Some(&(_, component)) = self.components.get(&id) else { return };
        conn.pinged = Some(now);
        let Some(domain) = self.component_domain(component) else { return };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("iq").attr("type", "get").attr("id", "ping").attr("from", &self.terms.site.domain).attr("to", &domain);
        xml.empty("ping", ns::PING).close();
        drop(xml);
        self.conns.push(id, Piece::Raw(Bytes::from(bytes)));
    }
}
