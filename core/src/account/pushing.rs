//! What push services are told while the user looks at none of his clients. XEP-0357
//!
//! A session is *looked at* when it is connected and its client has not said that it is inactive (XEP-0352). A message that such a
//! session is given is nobody else's business. Of all others the services hear, each once a turn at most:
//!
//! | what | when |
//! |---|---|
//! | a message that waits for the user, or for a client that was cut off | when it comes |
//! | one that a client had been given when it was cut off | when that shows, unless another session has it |
//! | one for inactive clients | when it comes; of the session whose own client named the service, once until it is active again |
//! | one that waits behind others for a session | when the session ends without it |
//! | what is said in a room to a client that is inactive or cut off, and a call for it | when it comes |
//!
//! Which messages are news at all is [`push::is_news`]'s. What privacy lists deny has not come.
//!
//! A message is told of once: all up to a certain order have been told of, however often they come back from clients; and what waits in
//! a row was told of when it got that row, also after a restart. What is lost in a crash is not told of again: it waits, and so the
//! next one brings the client here.
//!
//! Nothing waits for a service. It is told after the message is on disk, and one that does not answer is told no more for a while
//! ([`PUSH_UNANSWERED_MAX`]); what it was not told meanwhile it hears at once when it answers.

use std::mem;

use bytes::Bytes;

use crate::effect::{Note, SessionId, Site, Turn};
use crate::error::Condition;
use crate::ext::push::{self, Service};
use crate::jid::Jid;
use crate::limits::{PUSH_ANSWER_TIME_MAX, PUSH_NODES_MAX, PUSH_UNANSWERED_MAX};
use crate::ns;
use crate::row::{Batch, Rows, Unreadable};
use crate::stanza::{IqKind, Kind, Parcel, Sender};
use crate::time::Instant;
use crate::xml::Nodes;

use super::{Account, Session};

/// The services of one user.
#[derive(Debug, Default)]
pub(super) struct Push {
    services: Vec<Known>,
    /// All messages up to this order have been told of, or need not be.
    told: u64,
    /// What there is to tell of in this turn.
    news: Option<Bytes>,
    /// Waits behind others for a session that is looked at.
    behind: Option<Bytes>,
    /// What comes back in this turn was told of as it came.
    muted: bool,
    /// How many notifications there were.
    count: u32,
}

/// One service, and what it has been told.
#[derive(Debug)]
struct Known {
    service: Service,
    /// The session that named it.
    session: Option<SessionId>,
    /// It was told of something since that session became inactive.
    hinted: bool,
    unanswered: u8,
    /// When it was told the last time.
    told_at: Instant,
    /// It was not told of something, because it does not answer.
    owed: bool,
}

impl Push {
    /// Takes the answer to [`push::reads`]; none for a user whose clients have named no service.
    pub fn load(rows: &mut Rows) -> Result<Option<Box<Push>>, Unreadable> {
        let services: Vec<Known> = push::load(rows)?.into_iter().map(|service| Known::new(service, None)).collect();
        Ok((!services.is_empty()).then(|| Box::new(Push { services, ..Push::default() })))
    }

    fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().map(|known| &known.service)
    }
}

impl Known {
    fn new(service: Service, session: Option<SessionId>) -> Known {
        Known { service, session, hinted: false, unanswered: 0, told_at: Instant::START, owed: false }
    }

    /// Whether it may be told of something now; if so, it is.
    fn takes_news(&mut self, now: Instant) -> bool {
        if now.since(self.told_at) >= PUSH_ANSWER_TIME_MAX {
            self.unanswered = 0;
        }
        self.owed = self.unanswered >= PUSH_UNANSWERED_MAX;
        if !self.owed {
            self.unanswered += 1;
            self.told_at = now;
        }
        !self.owed
    }
}

impl Session {
    /// Whether somebody sees what it is given, as far as the server can know.
    fn is_looked_at(&self) -> bool {
        self.is_awake() && self.held.is_none()
    }
}

impl Account {
    /// A client names a service, or says anew what it wants to have with each notification.
    pub(crate) fn names_service(
        &mut self,
        service: Service,
        session: Option<SessionId>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        let told = self.queue.newest();
        let push = self.push.get_or_insert_with(|| Box::new(Push { told, ..Push::default() }));
        let is_full = push.services.len() >= PUSH_NODES_MAX;
        match push.services.iter_mut().find(|known| known.service.has_place_of(&service)) {
            Some(known) if known.service.options == service.options => {
                // Clients say it each time they come.
                (known.session, known.hinted) = (session, false);
                return Ok(());
            }
            None if is_full => return Err(Condition::ResourceConstraint),
            Some(_) | None => {}
        }
        push.services.retain(|known| !known.service.has_place_of(&service));
        // What an earlier service of the same name answers is not about this one.
        let last = push.services().map(|service| service.id).max().unwrap_or(0);
        let id = (last + 1).max(turn.now.stamp.millis());
        push.services.push(Known::new(Service { id, ..service }, session));
        let mut batch = Batch::default();
        push::keep(self.id, push.services(), &mut batch);
        turn.out.write(batch);
        Ok(())
    }

    /// Drops services. Returns whether there were any; the batch gets what is left.
    pub(crate) fn drops_services(&mut self, is_one: impl Fn(&Service) -> bool, batch: &mut Batch) -> bool {
        let Some(push) = &mut self.push else { return false };
        let before = push.services.len();
        push.services.retain(|known| !is_one(&known.service));
        if push.services.len() == before {
            return false;
        }
        push::keep(self.id, push.services(), batch);
        if push.services.is_empty() {
            self.push = None;
        }
        true
    }

    /// Drops all of them: they were named by those who knew a password that is no more.
    pub(super) fn forgets_services(&mut self, batch: &mut Batch) {
        self.drops_services(|_| true, batch);
    }

    /// A message has come for all resources that take messages, and it is on its way or kept.
    pub(super) fn comes(&mut self, stanza: &Bytes, site: &Site) {
        if self.push.is_none() {
            return;
        }
        let shows = |session: &Session| session.is_looked_at() && !self.keeps_from(session.id, stanza, site);
        if self.sessions.iter().any(|session| session.live_since.is_some() && shows(session)) {
            return;
        }
        match self.fed().is_some_and(shows) {
            true => self.comes_behind(stanza),
            false => self.goes_unseen(stanza),
        }
    }

    /// A message has come for one session. Of what is kept for a client that was cut off see [`Account::is_left`].
    pub(super) fn comes_to(&mut self, id: SessionId, stanza: &Bytes) {
        if self.push.is_none() {
            return;
        }
        match self.session(id) {
            Some(session) if session.is_looked_at() && self.is_draining(id) => self.comes_behind(stanza),
            Some(session) if session.is_awake() && !session.is_looked_at() => self.goes_unseen(stanza),
            Some(_) | None => {}
        }
    }

    /// A message is kept because the session that had it was cut off, or another one that was given it in this order.
    pub(super) fn is_left(&mut self, given: u64, stanza: &Bytes) {
        if self.push.as_ref().is_some_and(|push| !push.muted && (given == 0 || given > push.told)) {
            self.goes_unseen(stanza);
        }
    }

    /// Something is given to a session, or waits for its client, that is lost if the session ends.
    pub(super) fn passes(&mut self, id: SessionId, stanza: &Bytes) {
        let is_told = self.push.as_ref().is_none_or(|push| push.muted);
        if is_told || self.session(id).is_none() || self.sessions.iter().any(Session::is_looked_at) {
            return;
        }
        self.goes_unseen(stanza);
    }

    fn goes_unseen(&mut self, stanza: &Bytes) {
        if let Some(push) = &mut self.push
            && push::is_news(stanza, &self.jid, self.id.user)
        {
            push.news = Some(stanza.clone());
        }
    }

    fn comes_behind(&mut self, stanza: &Bytes) {
        if let Some(push) = &mut self.push {
            push.behind = Some(stanza.clone());
        }
    }

    /// A session was given all that waited.
    pub(super) fn has_all(&mut self) {
        if let Some(push) = &mut self.push {
            push.behind = None;
        }
    }

    /// A session is given no more of what waits, and no other is there that could be.
    pub(super) fn lacks_some(&mut self) {
        if let Some(stanza) = self.push.as_mut().and_then(|push| push.behind.take()) {
            self.goes_unseen(&stanza);
        }
    }

    /// A session loses its connection.
    pub(super) fn is_cut(&mut self, id: SessionId) {
        let is_inactive = self.session(id).is_some_and(|session| session.held.is_some());
        if let Some(push) = &mut self.push {
            push.muted = is_inactive;
        }
    }

    /// Somebody looks at a session again.
    pub(super) fn looks_again(&mut self, id: SessionId) {
        let services = self.push.iter_mut().flat_map(|push| &mut push.services);
        services.filter(|known| known.session == Some(id)).for_each(|known| known.hinted = false);
    }

    /// All that has come has been told of.
    pub(super) fn is_told(&mut self) {
        if let Some(push) = &mut self.push {
            push.told = self.queue.newest();
        }
    }

    /// Tells the services of what has come in this turn.
    pub(super) fn tells_services(&mut self, turn: &mut Turn<'_>) {
        let Some(push) = &mut self.push else { return };
        push.muted = false;
        let Some(news) = push.news.take() else { return };
        push.told = self.queue.newest();
        let from = Sender { jid: self.jid.clone(), account: Some(self.id) };
        let waiting = self.queue.length();
        for known in &mut push.services {
            let is_awake = |session: &Session| Some(session.id) == known.session && session.is_awake();
            if self.sessions.iter().any(is_awake) && mem::replace(&mut known.hinted, true) {
                continue;
            }
            if known.takes_news(turn.now.instant) {
                push.count = push.count.wrapping_add(1);
                publish(&known.service, push.count, &from, waiting, Some(&news), turn);
            }
        }
    }

    /// An answer to the account itself: from a service, or of no concern.
    pub(super) fn service_answers(&mut self, parcel: &Parcel, kind: IqKind, turn: &mut Turn<'_>) {
        let Some(id) = asked(parcel) else { return };
        let is_it = |service: &Service| service.id == id && *service.jid == *parcel.from.jid;
        // §7.1
        if kind == IqKind::Error && !is_passing(parcel) {
            let mut batch = Batch::default();
            if self.drops_services(is_it, &mut batch) {
                turn.out.write(batch);
            }
            return;
        }
        let from = self.sender();
        let (waiting, now) = (self.queue.length(), turn.now.instant);
        let Some(push) = &mut self.push else { return };
        let Some(known) = push.services.iter_mut().find(|known| is_it(&known.service)) else { return };
        known.unanswered = known.unanswered.saturating_sub(1);
        if mem::take(&mut known.owed) && waiting > 0 && known.takes_news(now) {
            push.count = push.count.wrapping_add(1);
            publish(&known.service, push.count, &from, waiting, None, turn);
        }
    }
}

/// Sends a notification, if the service is still one of this user's app.
fn publish(service: &Service, count: u32, from: &Sender, waiting: u32, news: Option<&Bytes>, turn: &mut Turn<'_>) {
    let (Some(account), Ok(jid)) = (from.account, Jid::parse(&service.jid)) else { return };
    let Ok(owner) = push::behind(&jid, account, turn.site) else { return };
    let id = format!("{ID}{}-{count}", service.id);
    let stanza = push::notification(service, &id, &from.jid, waiting, news.map(|news| &**news), turn.site.pushed);
    turn.out.send(owner, Note::Stanza(Parcel::new(from.clone(), None, Kind::Iq(IqKind::Set), stanza)));
}

/// Whether this could be the end of a service: of such an answer also an account hears that nobody uses.
pub(super) fn may_end_service(parcel: &Parcel) -> bool {
    parcel.kind == Kind::Iq(IqKind::Error)
        && parcel.resource.is_none()
        && parcel.from.account.is_none()
        && asked(parcel).is_some()
        && !is_passing(parcel)
}

/// The service that was told of something, if this is the answer to that.
fn asked(parcel: &Parcel) -> Option<u64> {
    let mut nodes = Nodes::new();
    let id = nodes.reread(&parcel.stanza)?.attr("id")?;
    let (service, _) = id.strip_prefix(ID)?.split_once('-')?;
    service.parse().ok()
}

/// Whether the error that a service answers may be gone the next time.
fn is_passing(parcel: &Parcel) -> bool {
    let mut nodes = Nodes::new();
    let iq = nodes.reread(&parcel.stanza);
    let kind = iq.and_then(|iq| iq.child("error", ns::CLIENT)?.attr("type"));
    kind.as_deref() == Some("wait")
}

/// What the ids of all notifications begin with.
const ID: &str = "push-";
