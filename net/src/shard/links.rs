//! Which connection a session is on, and what becomes of it when that is cut. XEP-0198 §5.
//!
//! What is said to a session goes to its connection's outbox. It goes to the account instead ([`Note::Late`]) while the session has
//! none, and while the account wants to see what dialogs write (its *guard*); then it comes back, or is kept. The order stays
//! the same: as long as anything is on that way, what follows takes it too.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use proto::account::Account;
use proto::account::resumption::NoResumption;
use proto::effect::{Note, SessionId};
use proto::error::{StreamCondition, StreamError};
use proto::jid::{FullJid, Jid};
use proto::owner::Owner;
use proto::stanza::{Awaited, Entrusted, Leftover};
use proto::stream::Reply;
use proto::time::Instant;

use super::conns::{ConnId, Directive};
use super::desk::Desk;
use super::outbox::{Piece, Taken};
use super::owners::Input;
use super::{Line, Shard};

/// Senders who want to know wait so long for a client to take their message; then it goes into a row.
const TAKING_TIME_MAX: Duration = Duration::from_secs(1);

/// Where a session is.
pub(super) struct Link {
    pub owner: Owner,
    /// None while its client is away.
    conn: Option<ConnId>,
    /// A connection whose client is back, and waits to be let in.
    back: Option<Box<(ConnId, FullJid)>>,
    /// What dialogs write goes to the account.
    guarded: bool,
    /// How much is on its way to the account.
    late: u32,
}

/// The sessions of a shard's accounts and components.
#[derive(Default)]
pub(super) struct Links {
    by_session: HashMap<SessionId, Link, RandomState>,
    /// When the time of sessions without a connection is over.
    expiries: BTreeSet<(Instant, SessionId)>,
}

impl Links {
    pub fn add(&mut self, session: SessionId, owner: Owner, conn: ConnId) {
        let link = Link { owner, conn: Some(conn), back: None, guarded: false, late: 0 };
        self.by_session.insert(session, link);
    }

    pub fn remove(&mut self, session: SessionId) -> Option<Link> {
        self.by_session.remove(&session)
    }

    /// Whether there is such a session, connected or not.
    pub fn knows(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_session.len()
    }

    /// The connection of a session.
    pub fn conn(&self, session: SessionId) -> Option<ConnId> {
        self.by_session.get(&session)?.conn
    }

    /// The sessions of an owner.
    pub fn of(&self, owner: Owner) -> Vec<SessionId> {
        let theirs = self.by_session.iter().filter(|(_, link)| link.owner == owner);
        theirs.map(|(session, _)| *session).collect()
    }

    /// A session has no connection any more.
    pub fn cut(&mut self, session: SessionId) {
        if let Some(link) = self.by_session.get_mut(&session) {
            link.conn = None;
        }
    }
}

impl<D: Desk> Shard<D> {
    /// Queues a stanza for a session.
    pub(super) fn deliver(&mut self, session: SessionId, stanza: Bytes) {
        match self.links.by_session.get(&session).map(|link| (link.conn, link.owner)) {
            // Whoever sent too much hears of it, and not the component, which everybody else talks to as well.
            Some((Some(id), Owner::Component(_))) if !self.has_room(id, &stanza) => {
                self.late(session, Leftover::Stanza(stanza))
            }
            Some((Some(id), _)) => self.queue_piece(id, Piece::Stanza(stanza)),
            Some((None, _)) => self.late(session, Leftover::Stanza(stanza)),
            None => {}
        }
    }

    /// Whether one stanza more may wait for a connection.
    fn has_room(&mut self, id: ConnId, stanza: &[u8]) -> bool {
        let max = self.terms.site.limits.outbox_bytes_max;
        self.conns.get_mut(id).is_some_and(|conn| conn.outbox.bytes() + stanza.len() <= max)
    }

    /// As [`Shard::deliver`], and the account has the message back should it not be taken.
    pub(super) fn entrust(&mut self, owner: Owner, session: SessionId, message: Entrusted) {
        match self.links.by_session.get(&session).map(|link| link.conn) {
            Some(Some(id)) => self.queue_piece(id, Piece::Entrusted(message)),
            Some(None) => self.late(session, Leftover::Entrusted(message)),
            // The session ended and the account had not heard of it yet, or this waited for the disk meanwhile.
            None => self.local.push_back((owner, Note::Late(session, Leftover::Entrusted(message)))),
        }
    }

    /// Queues what a dialog writes to a session that is here.
    pub(super) fn deliver_from_dialog(&mut self, session: SessionId, stanza: Bytes) {
        let Some(link) = self.links.by_session.get(&session) else { return };
        match link.conn {
            Some(id) if !link.guarded && link.late == 0 => self.queue_piece(id, Piece::Stanza(stanza)),
            Some(_) | None => self.late(session, Leftover::Stanza(stanza)),
        }
    }

    pub(super) fn nonza(&mut self, session: SessionId, piece: Piece) {
        let Some(id) = self.links.conn(session) else { return };
        // After the end of a stream there is nothing to say about it.
        if self.conns.get_mut(id).is_some_and(|conn| conn.directive != Some(Directive::Close)) {
            self.conns.push(id, piece);
        }
    }

    fn late(&mut self, session: SessionId, leftover: Leftover) {
        if let Some(link) = self.links.by_session.get_mut(&session) {
            link.late += 1;
            self.local.push_back((link.owner, Note::Late(session, leftover)));
        }
    }

    /// The account takes what was late.
    pub(super) fn took_late(&mut self, session: SessionId) {
        if let Some(link) = self.links.by_session.get_mut(&session) {
            link.late = link.late.saturating_sub(1);
        }
    }

    pub(super) fn guard(&mut self, session: SessionId, on: bool) {
        if let Some(link) = self.links.by_session.get_mut(&session) {
            link.guarded = on;
        }
    }

    /// A session goes to sleep until then.
    pub(super) fn sleeps(&mut self, session: SessionId, until: Instant) {
        if self.links.by_session.get(&session).is_some_and(|link| link.conn.is_none()) {
            self.links.expiries.insert((until, session));
        }
    }

    /// Tells the accounts whose sessions have slept too long.
    pub(super) fn expire_sessions(&mut self) {
        while let Some(&(at, session)) = self.links.expiries.first().filter(|(at, _)| *at <= self.now.instant) {
            self.links.expiries.remove(&(at, session));
            if let Some(link) = self.links.by_session.get(&session).filter(|link| link.conn.is_none()) {
                self.local.push_back((link.owner, Note::Expired(session)));
            }
        }
    }

    /// A client acknowledges stanzas.
    pub(super) fn acked(&mut self, owner: Owner, session: SessionId, count: u32) {
        let Some(id) = self.links.conn(session) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.outbox.acked(count) {
            Ok(taken) => {
                let flushed = conn.outbox.take_when_flushed();
                self.conns.touch(id);
                self.taken(owner, taken);
                if let Some((owner, note)) = flushed {
                    self.send(owner, note);
                }
            }
            Err(sent) => self.end_stream(session, StreamError::handled_too_many(count, sent)),
        }
    }

    /// Tells those who have to know what a client of that owner has taken.
    pub(super) fn taken(&mut self, owner: Owner, taken: Taken) {
        let Taken { rows, awaited } = taken;
        let mut overdue = Vec::new();
        for Awaited { receipt, overdue: is_overdue, .. } in awaited {
            match is_overdue {
                // The sender hears of it from the owner, who has a row for it.
                true => overdue.push(receipt),
                false => {
                    let note = Note::Handled { session: receipt.session, seq: receipt.seq };
                    self.send(Owner::Account(receipt.account), note);
                }
            }
        }
        if !(rows.is_empty() && overdue.is_empty()) {
            self.send(owner, Note::Taken(rows, overdue));
        }
    }

    /// Somebody waits for a message that the session was given, and may have taken.
    pub(super) fn await_taken(&mut self, owner: Owner, session: SessionId, given: u64, awaited: Box<Awaited>) {
        let mut not_there = Some(awaited);
        if let Some(conn) = self.links.conn(session).and_then(|id| self.conns.get_mut(id)) {
            not_there = not_there.and_then(|awaited| conn.outbox.await_taken(given, awaited));
            if let Line::Bosh(line) = &mut conn.line {
                not_there = not_there.and_then(|awaited| line.await_taken(given, awaited));
            }
        }
        self.taken(owner, Taken { rows: Vec::new(), awaited: not_there.into_iter().map(|awaited| *awaited).collect() });
    }

    /// Tells an account of what the client of a session is long in taking while somebody waits.
    pub(super) fn ask_for_rows(&mut self, id: ConnId) {
        let due = Instant::from_micros(self.now.instant.micros().saturating_sub(TAKING_TIME_MAX.as_micros() as u64));
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some((session, account)) = conn.session else { return };
        let mut late = conn.outbox.overdue(due);
        if let Line::Bosh(line) = &mut conn.line {
            late.splice(..0, line.overdue(due));
        }
        if !late.is_empty() {
            self.offer(Owner::Account(account), Input::Note(Note::Overdue(session, late)));
        }
    }

    /// A client is back and asks for its session.
    pub(super) fn reattach(&mut self, account: &mut Account, conn: ConnId, token: &str, count: u32) {
        if self.conns.get_mut(conn).is_none() {
            return;
        }
        let resumed = account.resumable(token).and_then(|session| {
            self.take_over(account, session);
            self.turn(|turn| account.resume(session, count, turn)).map(|()| session)
        });
        match resumed {
            Ok(session) => {
                let jid = account.session(session).and_then(|session| Jid::parse(session.jid()).ok()?.to_full());
                if let (Some(link), Some(jid)) = (self.links.by_session.get_mut(&session), jid) {
                    link.back = Some(Box::new((conn, jid)));
                }
            }
            Err(NoResumption::Unknown(handled)) => self.attached.push((conn, Some(Reply::NotResumed(handled)))),
            Err(NoResumption::TooMany(sent)) => self.end_conn(conn, StreamError::handled_too_many(count, sent)),
        }
    }

    /// A connection that was not known to be gone makes way. XEP-0198 §5
    fn take_over(&mut self, account: &mut Account, session: SessionId) {
        let Some(old) = self.links.conn(session) else { return };
        let Some(conn) = self.conns.get_mut(old) else { return };
        let remains = conn.outbox.remains();
        conn.session = None;
        // What it has brought since its client asked is not counted as had, so that the client sends it again.
        if let Some(slot) = self.owners.get_mut(&Owner::Account(account.id())) {
            slot.inbox.retain(|input| !matches!(input, Input::Stanza(of, _) if *of == session));
        }
        if remains.resumable {
            self.links.cut(session);
        } else {
            self.links.remove(session);
        }
        self.conns.count_bound(-1);
        self.end_conn(old, StreamError::new(StreamCondition::Conflict, "The session was resumed elsewhere."));
        self.turn(|turn| account.detach(session, remains, turn));
    }

    /// The session is its client's again, on the connection that waits for it.
    pub(super) fn resumed(&mut self, session: SessionId, count: u32, element: Bytes) {
        let Some(link) = self.links.by_session.get_mut(&session) else { return };
        let owner = link.owner;
        let Owner::Account(account) = owner else { return };
        let back = link.back.take().map(|back| *back);
        if let Some((id, jid)) = back
            && let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.directive != Some(Directive::Close))
        {
            link.conn = Some(id);
            conn.session = Some((session, account));
            conn.outbox.track_from(count);
            self.conns.count_bound(1);
            // At once: what the session was not given yet follows in the same breath.
            self.with_stream(id, |stream, host| stream.answer(Reply::Resumed { jid, element }, host));
            self.attached.push((id, None));
        } else {
            self.local.push_back((owner, Note::CutAgain(session, count)));
        }
    }

    /// A session is over that has no connection, or has lost it.
    pub(super) fn forget_session(&mut self, session: SessionId) {
        if let Some((conn, _)) = self.links.remove(session).and_then(|link| link.back).map(|back| *back) {
            self.attached.push((conn, Some(Reply::NotResumed(None))));
        }
    }

    /// Ends a connection's stream with an error, if there is saying more on it.
    pub(super) fn end_conn(&mut self, id: ConnId, error: StreamError) {
        if self.feeding == Some(id) {
            // Its own stanza led to this: the stream says it when it is done with that.
            self.fault = Some(error);
            return;
        }
        match self.conns.get_mut(id).map(|conn| &conn.line) {
            Some(Line::AtWork) => self.conns.direct(id, Directive::Close),
            Some(Line::Component(_)) => self.close_component(id, error),
            Some(_) => self.with_stream(id, |stream, host| stream.close(error, host)),
            None => {}
        }
    }
}
