//! Sessions whose client was cut off and may come back. XEP-0198 §5.
//!
//! A session sleeps while it has no connection: it stays available to everybody, and what it is given waits here, in order. When
//! its client comes back it says how much it has taken, and gets the rest. When it does not come back in time the session ends, and what
//! waited goes where it would have gone without it: messages to the user's other resources or on the offline queue, requests back
//! to their senders; the rest is dropped.
//!
//! A message that no connected resource has, or that none has taken while its sender waits to hear of it, is kept in a row of the
//! offline queue as well before the sender does (*parked*): a crash loses no more than one of an ordinary user who is away. The row
//! goes when any client has taken the message.
//!
//! What waits for one session is bounded like what waits for a connection; beyond that the session ends early.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::effect::{Effect, Ending, Note, SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::jid::Jid;
use crate::model::token::push_hex;
use crate::ns;
use crate::owner::Owner;
use crate::route::target;
use crate::row::Batch;
use crate::stanza::{Backing, Entrusted, IqKind, Kind, Leftover, Parcel, Receipt, Remains};
use crate::time::Instant;
use crate::xml::{Nodes, Writer};

use super::acks::{report, report_awaited};
use super::offline::{Reach, lasts};
use super::parked::UNGIVEN;
use super::{Account, Session};

/// What a session is told to come back with.
const TOKEN_BYTES: usize = 16;
/// What each waiting stanza costs besides its bytes, about.
const OVERHEAD_BYTES: usize = 96;
/// The row of a message that had one, until somebody took it.
const GONE: u64 = 0;
/// Of how many sessions that ended without their clients their counts are remembered.
const ENDED_MAX: usize = 8;

/// A session that can be resumed.
#[derive(Debug)]
pub(super) struct Resumption {
    token: Box<str>,
    asleep: Option<Asleep>,
    /// The count of the last stanza that the client was given again when it came back.
    again: u32,
}

/// What a session without a connection was to be given.
#[derive(Debug)]
struct Asleep {
    until: Instant,
    /// The count of stanzas before the first of `sent`.
    acked: u32,
    /// What the client was sent: each is one stanza that it may have counted.
    sent: VecDeque<Leftover>,
    waiting: VecDeque<Leftover>,
    bytes: usize,
    /// How many of those that come first had waited before.
    again: usize,
    /// The client is back and has taken so many. It is let in once all that it sent before is taken care of.
    back: Option<u32>,
}

impl Asleep {
    /// Returns whether it has not waited before.
    fn push(&mut self, leftover: Leftover) -> bool {
        let is_new = self.again == 0;
        self.again = self.again.saturating_sub(1);
        self.bytes += leftover.bytes() + OVERHEAD_BYTES;
        self.waiting.push_back(leftover);
        is_new
    }
}

/// A session that ended while its client was away: what its client may still ask for.
#[derive(Debug)]
pub(super) struct Ended {
    token: Box<str>,
    handled: u32,
}

/// Why a session cannot be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoResumption {
    /// There is no such session, or none any more; with the count of what it had handled if that is still known.
    Unknown(Option<u32>),
    /// The client claims to have taken more than the so many it was sent.
    TooMany(u32),
}

impl Session {
    /// Whether it has a connection, as far as the account knows.
    pub(super) fn is_awake(&self) -> bool {
        self.resumption.as_ref().is_none_or(|resumption| resumption.asleep.is_none())
    }

    fn asleep_mut(&mut self) -> Option<&mut Asleep> {
        self.resumption.as_mut()?.asleep.as_mut()
    }
}

impl Account {
    /// Lets a session be resumed, and returns what its client is to come back with; none where that is not possible.
    pub fn make_resumable(&mut self, id: SessionId, turn: &mut Turn<'_>) -> Option<Box<str>> {
        if turn.site.limits.resume_time_max.is_zero() {
            return None;
        }
        let token = hex(&turn.random.array::<TOKEN_BYTES>());
        let session = self.session_mut(id).filter(|session| session.replaceable)?;
        session.resumption = Some(Box::new(Resumption { token: token.clone(), asleep: None, again: 0 }));
        Some(token)
    }

    /// The client says how many stanzas it has taken. Only of a session that can be resumed anything hangs on it; SDKs that count
    /// wrongly ask for none.
    pub fn acknowledged(&self, id: SessionId, count: u32, turn: &mut Turn<'_>) {
        if self.session(id).is_some_and(|session| session.resumption.is_some()) {
            turn.out.push(Effect::Acked(id, count));
        }
    }

    /// The connection of a session is gone, or was taken from it.
    pub fn detach(&mut self, id: SessionId, remains: Remains, turn: &mut Turn<'_>) {
        self.held_back(turn, |account, turn| {
            account.is_cut(id);
            let can_sleep = account.session(id).is_some_and(|session| session.resumption.is_some());
            match remains.resumable && can_sleep {
                true => account.falls_asleep(id, remains, turn),
                false => account.ends(id, remains, turn),
            }
        });
    }

    fn ends(&mut self, id: SessionId, remains: Remains, turn: &mut Turn<'_>) {
        if remains.resumable {
            // It ended while its connection did; the shard holds its place.
            turn.out.push(Effect::End(id, Ending::PolicyViolation));
        }
        let left: Vec<Leftover> = remains.sent.into_iter().chain(remains.waiting).collect();
        self.unbind(id, turn);
        self.end_drain_of(id, &rows(&left), turn);
        self.scatter(id, left, turn);
    }

    fn falls_asleep(&mut self, id: SessionId, remains: Remains, turn: &mut Turn<'_>) {
        // XEP-0352 §5: a client that comes back is active until it says otherwise.
        self.becomes_active(id, turn);
        let came_back: Vec<u64> = remains.sent.iter().chain(&remains.waiting).filter_map(Leftover::row).collect();
        let until = turn.now.instant + turn.site.limits.resume_time_max;
        let Some(session) = self.session_mut(id) else { return };
        if let Some(acks) = &mut session.acks {
            acks.forget_questions();
        }
        let Some(resumption) = &mut session.resumption else { return };
        // One that the client has acknowledged seems to be far ahead.
        let again = Some(resumption.again.wrapping_sub(remains.acked)).filter(|again| *again <= u32::MAX / 2);
        resumption.asleep = Some(Asleep {
            until,
            acked: remains.acked,
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            again: again.unwrap_or(0) as usize,
            back: None,
        });
        turn.out.push(Effect::Sleeps(id, until));
        let sent = remains.sent.len();
        for leftover in remains.sent.into_iter().chain(remains.waiting) {
            self.waits_for(id, leftover, turn);
        }
        // The first of them are those that the client may have counted.
        if let Some(asleep) = self.session_mut(id).and_then(Session::asleep_mut) {
            asleep.sent = asleep.waiting.drain(..sent.min(asleep.waiting.len())).collect();
        }
        let handed = self.end_drain_of(id, &came_back, turn);
        if let Some(session) = self.session_mut(id) {
            session.handed = session.handed.max(handed);
        }
    }

    /// Something for a session without a connection.
    pub(super) fn waits_for(&mut self, id: SessionId, leftover: Leftover, turn: &mut Turn<'_>) {
        let leftover = match leftover {
            Leftover::Entrusted(message) => Leftover::Entrusted(self.park(id, message, turn)),
            stanza @ Leftover::Stanza(_) => stanza,
        };
        let max = turn.site.limits.outbox_bytes_max;
        let Some(asleep) = self.session_mut(id).and_then(Session::asleep_mut) else {
            // It was too much already, and the session is over.
            return self.scatter(id, vec![leftover], turn);
        };
        let stanza = match &leftover {
            Leftover::Stanza(stanza) => Some(stanza.clone()),
            // It is told of when it is parked.
            Leftover::Entrusted(_) => None,
        };
        let is_new = asleep.push(leftover);
        let is_too_much = asleep.bytes > max && asleep.back.is_none();
        if let Some(stanza) = stanza.filter(|_| is_new) {
            self.passes(id, &stanza);
        }
        if is_too_much {
            self.gives_up(id, turn);
        }
    }

    /// Keeps a message that this session holds in a row, if no connected resource has it or somebody waits to hear that it is taken
    /// care of.
    fn park(&mut self, holder: SessionId, message: Entrusted, turn: &mut Turn<'_>) -> Entrusted {
        let Entrusted { stanza, backing, awaited } = self.with_row(holder, message);
        let backing = match backing {
            Backing::Others(given) => {
                let has_it = |session: &Session| session.is_awake() && self.was_given(session, given);
                let is_safe = awaited.is_none() && given > 0 && self.sessions.iter().any(has_it);
                let is_kept = given > 0 && self.is_kept_already(given);
                if is_safe || is_kept || !lasts(&stanza) || !self.has_room_for(&stanza) {
                    backing
                } else {
                    self.is_left(given, &stanza);
                    self.park_now(holder, &stanza, given, None, turn)
                }
            }
            Backing::Row(row) => {
                self.parked.insert(row, UNGIVEN, None);
                self.parked.hold(row, holder);
                Backing::Parked { row, given: UNGIVEN }
            }
            Backing::Parked { given, .. } => {
                if awaited.as_ref().is_some_and(|awaited| awaited.overdue) {
                    // It had a row before anybody knew that the client was away.
                    self.is_left(given, &stanza);
                }
                backing
            }
        };
        report_awaited(awaited, turn);
        Entrusted::new(stanza, backing)
    }

    /// Writes the row of a message that this session holds.
    fn park_now(
        &mut self,
        holder: SessionId,
        stanza: &Bytes,
        given: u64,
        receipt: Option<Receipt>,
        turn: &mut Turn<'_>,
    ) -> Backing {
        let reach = if given > 0 { Reach::Account } else { Reach::Resource };
        let mut batch = Batch::default();
        let row = self.keep_stanza(stanza, reach, &mut batch, turn);
        turn.out.write(batch);
        self.parked.insert(row, given, receipt);
        self.parked.hold(row, holder);
        Backing::Parked { row, given }
    }

    /// A connected session takes long over messages whose senders wait: each goes into a row as well, and they need wait no more. How
    /// much that can be is bounded by what may wait for a connection.
    pub(super) fn takes_long(&mut self, holder: SessionId, messages: Vec<Entrusted>, turn: &mut Turn<'_>) {
        for Entrusted { stanza, backing, awaited } in messages {
            let Some(receipt) = awaited.map(|awaited| awaited.receipt) else { continue };
            if let Backing::Others(given) = backing {
                match self.parked.row_of(given) {
                    Some(row) => {
                        self.parked.insert(row, given, Some(receipt));
                        self.parked.hold(row, holder);
                    }
                    None if given > 0 && self.is_kept_already(given) => {}
                    None => {
                        self.park_now(holder, &stanza, given, Some(receipt), turn);
                    }
                }
            }
            report(receipt, turn);
        }
    }

    /// The same, with the row that was made for it meanwhile, perhaps on behalf of another session.
    fn with_row(&mut self, holder: SessionId, message: Entrusted) -> Entrusted {
        let Entrusted { stanza, backing, awaited } = message;
        let backing = match backing {
            Backing::Others(given) => {
                let overdue = awaited.as_ref().filter(|awaited| awaited.overdue);
                let for_waiting = || Some(self.parked.row_for(&overdue?.receipt).unwrap_or(GONE));
                match self.parked.row_of(given).or_else(for_waiting) {
                    Some(row) => Backing::Parked { row, given },
                    None => backing,
                }
            }
            Backing::Row(_) | Backing::Parked { .. } => backing,
        };
        if let Backing::Parked { row, .. } = backing {
            self.parked.hold(row, holder);
        }
        Entrusted { stanza, backing, awaited }
    }

    /// The session that a client may come back to with this.
    pub fn resumable(&self, token: &str) -> Result<SessionId, NoResumption> {
        let is_it = |session: &&Session| session.resumption.as_ref().is_some_and(|known| *known.token == *token);
        match self.sessions.iter().find(is_it) {
            Some(session) => Ok(session.id),
            None => Err(NoResumption::Unknown(self.handled_by(token))),
        }
    }

    fn handled_by(&self, token: &str) -> Option<u32> {
        self.ended.iter().find(|ended| *ended.token == *token).map(|ended| ended.handled)
    }

    /// The client of a session that sleeps is back, and has taken so many stanzas.
    pub fn resume(&mut self, id: SessionId, count: u32, turn: &mut Turn<'_>) -> Result<(), NoResumption> {
        self.held_back(turn, |account, turn| {
            let Some(asleep) = account.session_mut(id).and_then(Session::asleep_mut) else {
                return Err(NoResumption::Unknown(None));
            };
            let taken = count.wrapping_sub(asleep.acked) as usize;
            if taken > asleep.sent.len() {
                return Err(NoResumption::TooMany(asleep.acked.wrapping_add(asleep.sent.len() as u32)));
            }
            let taken: Vec<Leftover> = asleep.sent.drain(..taken).collect();
            (asleep.acked, asleep.back) = (count, Some(count));
            let row_of = |leftover| match leftover {
                Leftover::Entrusted(message) => Leftover::Entrusted(account.with_row(id, message)).row(),
                Leftover::Stanza(_) => None,
            };
            let rows: Vec<u64> = taken.into_iter().filter_map(row_of).collect();
            account.taken(rows, &[], turn);
            account.lets_in(id, turn);
            Ok(())
        })
    }

    /// Lets a client that is back into its session, once the count of what it sent is exact: what is not in it, it sends again.
    pub(super) fn lets_in(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        if session.acks.as_ref().is_some_and(|acks| acks.outstanding() > 0) {
            return;
        }
        let handled = session.acks.as_ref().map_or(0, |acks| acks.handled());
        let wants_messages = session.takes_messages() && session.live_since.is_none();
        let Some(resumption) = &mut session.resumption else { return };
        let Some(asleep) = resumption.asleep.take_if(|asleep| asleep.back.is_some()) else { return };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("resumed").ns(ns::SM).attr_int("h", handled).attr("previd", &resumption.token).close();
        drop(xml);
        let again = asleep.sent.len() + asleep.waiting.len();
        resumption.again = asleep.acked.wrapping_add(again as u32);
        turn.out.push(Effect::Resumed(id, asleep.acked, bytes.into()));
        for leftover in asleep.sent.into_iter().chain(asleep.waiting) {
            match leftover {
                Leftover::Stanza(stanza) => turn.out.deliver(id, stanza),
                Leftover::Entrusted(message) => turn.out.entrust(id, self.with_row(id, message)),
            }
        }
        if wants_messages {
            self.starts_taking(id, turn);
        }
    }

    /// The client was let in, but its connection is gone again.
    pub(super) fn cut_again(&mut self, id: SessionId, acked: u32, turn: &mut Turn<'_>) {
        let remains = Remains { resumable: true, acked, ..Remains::default() };
        if self.session(id).is_some() {
            self.falls_asleep(id, remains, turn);
        }
    }

    /// Something for a session that could not be queued.
    pub(super) fn late(&mut self, id: SessionId, leftover: Leftover, turn: &mut Turn<'_>) {
        match (self.session(id).is_some(), leftover) {
            // It sleeps, or the account is to see it first: what is said to sessions is looked at before it goes out.
            (true, Leftover::Stanza(stanza)) => turn.out.deliver(id, stanza),
            (true, Leftover::Entrusted(message)) => turn.out.entrust(id, message),
            (false, leftover) => self.scatter(id, vec![leftover], turn),
        }
    }

    /// A client has taken messages that were parked, or were to be.
    pub(super) fn taken(&mut self, mut rows: Vec<u64>, receipts: &[Receipt], turn: &mut Turn<'_>) {
        rows.extend(receipts.iter().filter_map(|receipt| self.parked.row_for(receipt)));
        // One that was handed out goes when it comes back.
        rows.retain(|row| self.parked.take(*row) && !self.is_handed_out(*row));
        self.forget(&rows, turn);
    }

    /// The time for the client of a session to come back is over, if it has not come.
    pub(super) fn expired(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        let asleep = self.session_mut(id).and_then(Session::asleep_mut);
        if asleep.is_some_and(|asleep| asleep.back.is_none() && asleep.until <= now) {
            self.gives_up(id, turn);
        }
    }

    /// Ends a session that sleeps.
    fn gives_up(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        self.unbind(id, turn);
        turn.out.push(Effect::End(id, Ending::PolicyViolation));
    }

    /// A new resource takes the place of the one that has slept longest, if there is one.
    pub(super) fn makes_room(&mut self, turn: &mut Turn<'_>) -> bool {
        let asleep = |session: &Session| Some((session.resumption.as_ref()?.asleep.as_ref()?.until, session.id));
        let Some((_, id)) = self.sessions.iter().filter_map(asleep).min() else { return false };
        self.gives_up(id, turn);
        true
    }

    /// The session is over: what waited for it goes elsewhere.
    pub(super) fn gives_back(&mut self, session: &mut Session, turn: &mut Turn<'_>) {
        let Some(resumption) = session.resumption.take() else { return };
        let Some(asleep) = resumption.asleep else { return };
        let handled = session.acks.as_ref().map_or(0, |acks| acks.handled());
        if self.ended.len() >= ENDED_MAX {
            self.ended.remove(0);
        }
        self.ended.push(Ended { token: resumption.token, handled });
        self.scatter(session.id, asleep.sent.into_iter().chain(asleep.waiting).collect(), turn);
    }

    /// What a session has not taken that is over now.
    fn scatter(&mut self, id: SessionId, left: Vec<Leftover>, turn: &mut Turn<'_>) {
        let (mut back, mut was_parked) = (Vec::new(), false);
        for leftover in left {
            match leftover {
                Leftover::Stanza(stanza) => self.bounce(&stanza, turn),
                Leftover::Entrusted(message) => match self.with_row(id, message) {
                    Entrusted { stanza, backing: Backing::Parked { row, given }, awaited } => {
                        let is_overdue = awaited.as_ref().is_some_and(|awaited| awaited.overdue);
                        if self.unpark(id, row, given, turn) {
                            was_parked |= given == 0 && !is_overdue;
                            // Its row was all that the sender waited for.
                            let awaited = awaited.filter(|awaited| !awaited.overdue);
                            back.push(Entrusted { stanza, backing: Backing::Others(given), awaited });
                        } else {
                            if is_overdue {
                                self.is_left(given, &stanza);
                            }
                            report_awaited(awaited, turn);
                        }
                    }
                    message => back.push(message),
                },
            }
        }
        self.returned(back, turn);
        if was_parked {
            // It goes to others under a new number.
            self.is_told();
        }
    }

    /// The session that a message was parked for is over. Returns whether somebody connected may lack it, and then its row is gone.
    pub(super) fn unpark(&mut self, id: SessionId, row: u64, given: u64, turn: &mut Turn<'_>) -> bool {
        let is_other = |holder: &SessionId| *holder != id && self.session(*holder).is_some();
        if self.parked.holders(row).iter().any(is_other) {
            return false;
        }
        if self.is_handed_out(row) || !self.parked.contains(row) {
            // Somebody has it.
            return false;
        }
        let is_lacked = given != UNGIVEN && self.sessions.iter().any(|session| session.live_since.is_some());
        if is_lacked {
            self.parked.remove(row);
            self.waits_no_more(given);
            self.forget(&[row], turn);
        } else {
            self.parked.leave(row);
            if given != 0 && given != UNGIVEN {
                self.waits_already(given);
            }
        }
        is_lacked
    }

    /// A request that nobody will answer. RFC 6120 §8.2.3
    fn bounce(&mut self, stanza: &Bytes, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let Some(iq) = nodes.reread(stanza).filter(|stanza| stanza.is("iq", ns::CLIENT)) else { return };
        let is_request = IqKind::read(iq.attr("type").as_deref()).is_some_and(IqKind::is_request);
        let (Some(from), Some(me)) = (iq.attr("from"), iq.attr("to")) else { return };
        let Ok(from) = Jid::parse(&from) else { return };
        let Some((owner, resource)) = target(Some(&from), self.id, turn.site).other() else { return };
        // An account itself has asked for nothing.
        let has_asked = resource.is_some() || matches!(owner, Owner::Component(_));
        if is_request && has_asked {
            let mut bytes = Vec::new();
            let error = StanzaError::from(Condition::RecipientUnavailable);
            error.write_reply(iq, Some(&me), Some(from.as_str()), &mut bytes);
            let kind = Kind::Iq(IqKind::Error);
            let parcel = Parcel::new(self.sender(), resource.map(Into::into), kind, bytes.into());
            turn.out.send(owner, Note::Stanza(parcel));
        }
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text.into()
}

/// The rows of those that have one.
fn rows(leftovers: &[Leftover]) -> Vec<u64> {
    leftovers.iter().filter_map(Leftover::row).collect()
}
