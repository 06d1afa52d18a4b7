//! What waits for a user who is away. XEP-0160, XEP-0203.
//!
//! Messages are kept in the order in which they came and handed to the first resource that becomes available, once. Their rows
//! go after that resource has taken them: a crash between the two shows a message again rather than never.
//!
//! Every message for the account has an order number, whether it is kept or not. A resource that is *live since* n has been
//! given all messages above n as they came; so what another resource did not take before its connection ended, and what it had
//! not been given yet, goes to exactly those who lack it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::canary::{Rule, is_broken};
use crate::effect::{Effect, Note, SessionId, Turn};
use crate::error::Condition;
use crate::ext::CHAIN;
use crate::ext::chain::Giving;
use crate::limits::{OFFLINE_BYTES_MAX, OFFLINE_HANDOVER_BYTES, OFFLINE_PAGE_ROWS, OFFLINE_STANZAS_MAX, REISSUED_MAX};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Range, Reads, Rows, Table, Unreadable};
use crate::stanza::{Backing, Entrusted, Kind, MessageKind, Parcel};
use crate::time::Timestamp;
use crate::xml::{Element, Nodes, splice};

use super::acks::report_awaited;
use super::{Account, LIVE_SPELLS_MAX, Session};

/// account, order → a stanza that waits.
pub static OFFLINE: Table = Table::new("offline");

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    /// How many waited before it, and how much, so that the last row tells how long the queue is.
    position: u32,
    bytes_before: u64,
    at: Timestamp,
    reach: Reach,
    #[serde(borrow)]
    stanza: &'a [u8],
}

/// Whom a kept stanza was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reach {
    /// The account: resources that were live when it came have had it.
    Account,
    /// A resource that was still being given older ones: nobody has had it.
    Resource,
}

/// What is known of the queue without reading it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    /// The order of the newest message, kept or not.
    last: u64,
    /// How many rows there are, or a few more after a restart.
    length: u32,
    /// How many bytes they hold, or more: what is handed over counts until the queue is empty.
    bytes: u64,
}

impl Queue {
    /// The newest row tells all.
    pub fn reads(id: AccountId) -> Reads {
        Reads::none().and_scan_back(&OFFLINE, all(id), 1)
    }

    /// Takes the answer to [`Queue::reads`].
    pub fn load(rows: &mut Rows) -> Result<Queue, Unreadable> {
        let Some((key, value)) = rows.page().pop() else { return Ok(Queue::default()) };
        let kept: Kept<'_> = row::decode_borrowed(VERSION, &value)?;
        let bytes = kept.bytes_before.saturating_add(kept.stanza.len() as u64);
        Ok(Queue { last: order_of(&key)?, length: kept.position.saturating_add(1), bytes })
    }

    /// A number for a message that comes now.
    pub(super) fn next_order(&mut self, now: Timestamp) -> u64 {
        // The clock may be set back; the order never is.
        self.last = self.last.saturating_add(1).max(now.millis() << 12);
        self.last
    }

    /// The order of the newest message, kept or not.
    pub(super) fn newest(&self) -> u64 {
        self.last
    }

    /// How many messages wait, or a few more.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    fn has_room(&self, stanza: &[u8]) -> bool {
        (self.length as usize) < OFFLINE_STANZAS_MAX && self.bytes + stanza.len() as u64 <= OFFLINE_BYTES_MAX
    }

    fn shrink(&mut self, rows: usize) {
        self.length = self.length.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
    }
}

/// What became of a message that came back from one resource and may come back from another.
#[derive(Debug, Default)]
pub(super) struct Reissue {
    /// It was given again in these orders: sessions that were live then have it, as those have that were when it came.
    again: Vec<u64>,
    /// It waits, or somebody has had it from where it waited.
    kept: bool,
}

/// The handing over of what waits to one session.
#[derive(Debug)]
pub(super) struct Drain {
    session: SessionId,
    /// The rows that the session was given and has not yet taken, as far as anybody knows.
    handed: Vec<u64>,
    /// The newest row that was looked at.
    seen: u64,
    /// The session takes no messages any more.
    stopping: bool,
}

impl Reissue {
    fn gives(&mut self, order: u64) {
        if self.again.len() >= LIVE_SPELLS_MAX {
            self.again.remove(0);
        }
        self.again.push(order);
    }
}

impl Drain {
    fn is_at(&self, session: SessionId, seen: u64) -> bool {
        self.session == session && self.seen == seen
    }
}

impl Account {
    /// Keeps a message until the user comes; returns its order.
    pub(super) fn keep(&mut self, parcel: &Parcel, reach: Reach, turn: &mut Turn<'_>) -> Option<u64> {
        if !self.has_room_for(&parcel.stanza) {
            // XEP-0160 §3: the sender hears of a full queue.
            if !matches!(parcel.kind, Kind::Message { kind: MessageKind::Error, .. }) {
                self.return_to_sender(parcel, Condition::ServiceUnavailable, turn);
            }
            return None;
        }
        let mut batch = Batch::default();
        let order = self.keep_stanza(&parcel.stanza, reach, &mut batch, turn);
        turn.out.write(batch);
        Some(order)
    }

    /// Whether one more stanza may wait.
    pub(super) fn has_room_for(&self, stanza: &[u8]) -> bool {
        self.queue.has_room(stanza)
    }

    /// Adds the row of a stanza that waits; returns its order.
    pub(super) fn keep_stanza(&mut self, stanza: &[u8], reach: Reach, batch: &mut Batch, turn: &Turn<'_>) -> u64 {
        let at = turn.now.stamp;
        let order = self.queue.next_order(at);
        let kept = Kept { position: self.queue.length, bytes_before: self.queue.bytes, at, reach, stanza };
        self.queue.length += 1;
        self.queue.bytes += stanza.len() as u64;
        batch.put(&OFFLINE, key(self.id, order), row::encode(VERSION, &kept));
        order
    }

    /// Should the message of this order come back, it need not be kept again: a session that is given what waits comes to it, and
    /// nobody else's having it is a reason for its row to go.
    pub(super) fn waits_already(&mut self, given: u64) {
        self.reissue(given).kept = true;
    }

    /// What became of a message that another resource may bring back. Of too many the oldest is forgotten, and would be shown again.
    fn reissue(&mut self, given: u64) -> &mut Reissue {
        if self.reissued.len() >= REISSUED_MAX && !self.reissued.contains_key(&given) {
            self.reissued.pop_first();
        }
        self.reissued.entry(given).or_default()
    }

    /// Whether the message of this order need not be kept.
    pub(super) fn is_kept_already(&self, given: u64) -> bool {
        self.reissued.get(&given).is_some_and(|reissue| reissue.kept)
    }

    /// Its row is gone, because somebody lacks it.
    pub(super) fn waits_no_more(&mut self, given: u64) {
        if let Some(reissue) = self.reissued.get_mut(&given) {
            reissue.kept = false;
        }
    }

    /// Whether a session was given the message of this order, then or later.
    pub(super) fn was_given(&self, session: &Session, given: u64) -> bool {
        if is_broken(Rule::GivenOnce) {
            return false;
        }
        session.was_given(given)
            || self
                .reissued
                .get(&given)
                .is_some_and(|reissue| reissue.again.iter().any(|again| session.was_given(*again)))
    }

    /// Messages that came back from a connection that ended before it had taken them: they go to whoever lacks them, and wait
    /// if nobody is there.
    pub(super) fn returned(&mut self, messages: Vec<Entrusted>, turn: &mut Turn<'_>) {
        if !self.exists() {
            return messages.into_iter().for_each(|message| report_awaited(message.awaited, turn));
        }
        for Entrusted { stanza, backing, mut awaited } in messages {
            let first = match backing {
                Backing::Others(order) if self.parked.row_of(order).is_none() && !self.is_kept_already(order) => order,
                // It waits already; it may have come back before, from another resource.
                Backing::Row(_) | Backing::Parked { .. } | Backing::Others(_) => {
                    report_awaited(awaited, turn);
                    continue;
                }
            };
            let order = self.queue.next_order(turn.now.stamp);
            let given = if first > 0 { first } else { order };
            let (mut shown, mut again, mut drained) = (None, false, false);
            let mut held = Vec::new();
            for session in &self.sessions {
                if self.keeps_from(session.id, &stanza, turn.site) {
                    continue;
                }
                if self.was_given(session, first) {
                    match session.is_awake() {
                        true => shown = Some(session.id),
                        false => held.push(session.id),
                    }
                } else if session.live_since.is_some() {
                    let (stanza, backing) = (stanza.clone(), Backing::Others(given));
                    turn.out.entrust(session.id, Entrusted { stanza, backing, awaited: awaited.take() });
                    again = true;
                } else if self.is_draining(session.id) {
                    drained = true;
                }
            }
            if again && first > 0 {
                self.reissue(given).gives(order);
            }
            // A full queue has no one to tell: the sender has long been told that the message is taken care of.
            if drained || !(shown.is_some() || again) {
                self.waits_already(given);
                if lasts(&stanza) {
                    let mut batch = Batch::default();
                    let row = self.keep_stanza(&stanza, Reach::Account, &mut batch, turn);
                    turn.out.write(batch);
                    if !drained {
                        self.is_left(first, &stanza);
                    }
                    if !drained && !held.is_empty() {
                        self.parked.insert(row, given, None);
                        held.into_iter().for_each(|session| self.parked.hold(row, session));
                    }
                }
                report_awaited(awaited, turn);
            } else if let Some((session, awaited)) = shown.zip(awaited) {
                // That one may not have taken it yet.
                turn.out.push(Effect::Await(session, given, awaited));
            }
        }
    }

    /// Whether a session is being given what waits, so that more of it reaches that session.
    pub(super) fn feeds_drain(&self) -> bool {
        self.draining.as_ref().is_some_and(|drain| !drain.stopping)
    }

    /// The session that is being given what waits, so that more of it reaches that session.
    pub(super) fn fed(&self) -> Option<&Session> {
        let drain = self.draining.as_ref().filter(|drain| !drain.stopping)?;
        self.session(drain.session)
    }

    pub(super) fn is_draining(&self, session: SessionId) -> bool {
        self.draining.as_ref().is_some_and(|drain| drain.session == session && !drain.stopping)
    }

    /// The session wants messages from now on; if it is the first since some began to wait, those come first.
    pub(super) fn starts_taking(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        let order = self.queue.last;
        if self.session(session).is_some_and(|session| !session.is_awake()) {
            // When its client is back.
            return;
        }
        if self.queue.length > 0 && self.draining.is_none() {
            return self.start_drain(session, turn);
        }
        if let Some(session) = self.session_mut(session) {
            session.live_since = Some(order);
        }
    }

    /// The session wants no messages any more.
    pub(super) fn stops_taking(&mut self, session: SessionId) {
        let last = self.queue.last;
        if let Some(session) = self.session_mut(session) {
            session.stop_live(last);
        }
        if let Some(drain) = self.draining.as_mut().filter(|drain| drain.session == session) {
            // What it was given it may still take.
            drain.stopping = true;
        }
    }

    fn start_drain(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.draining = Some(Box::new(Drain { session, handed: Vec::new(), seen: 0, stopping: false }));
        turn.out.send(Owner::Account(self.id), Note::Drain(session, 0));
    }

    pub(super) fn plan_drain(&self, session: SessionId, seen: u64) -> Reads {
        match &self.draining {
            Some(drain) if drain.is_at(session, seen) && self.has_more(drain) => {
                let range = Range { start: key(self.id, drain.seen.saturating_add(1)), end: all(self.id).end };
                Reads::scan(&OFFLINE, range, OFFLINE_PAGE_ROWS)
            }
            Some(_) | None => Reads::none(),
        }
    }

    fn has_more(&self, drain: &Drain) -> bool {
        !drain.stopping && self.queue.length as usize > drain.handed.len()
    }

    /// The session has taken what it was given: those rows go, and it gets the next page.
    pub(super) fn drain(
        &mut self,
        session: SessionId,
        seen: u64,
        mut rows: Rows,
        turn: &mut Turn<'_>,
    ) -> Result<(), Unreadable> {
        // It may be about a drain of this session that was ended meanwhile.
        let Some(mut drain) = self.draining.take_if(|drain| drain.is_at(session, seen)) else { return Ok(()) };
        let page = if self.has_more(&drain) { rows.page() } else { Vec::new() };
        let empty = page.is_empty();
        let mut given = 0;
        self.forget(&drain.handed, turn);
        drain.handed.clear();
        for (key, value) in page {
            let kept: Kept<'_> = row::decode_borrowed(VERSION, &value)?;
            let order = order_of(&key)?;
            drain.seen = order;
            let came = self.parked.given(order).unwrap_or(order);
            let had = self.parked.is_held_by(order, session)
                || self
                    .session(session)
                    .is_some_and(|it| order <= it.handed || kept.reach == Reach::Account && self.was_given(it, came));
            if had && self.parked.contains(order) {
                // It is on its way to the session, and goes when the client has acknowledged it.
                continue;
            }
            drain.handed.push(order);
            if !had && let Some(stanza) = self.given(&kept, turn) {
                given += stanza.len();
                turn.out.entrust(session, Entrusted::new(stanza, Backing::Row(order)));
            }
            if given >= OFFLINE_HANDOVER_BYTES {
                // The rest of the page is read again once this is taken: an outbox has a limit, and a queue has a higher one.
                break;
            }
        }
        if !empty {
            turn.out.push(Effect::WhenFlushed(session, Note::Drain(session, drain.seen)));
            self.draining = Some(drain);
        } else if drain.stopping {
            self.pass_on_drain(turn);
        } else {
            // All that is left is what clients have that have not said so yet.
            self.queue.length = u32::try_from(self.parked.len()).unwrap_or(u32::MAX);
            if self.parked.len() == 0 {
                self.queue.bytes = 0;
            }
            let order = self.queue.last;
            if let Some(session) = self.session_mut(session) {
                session.live_since = Some(order);
            }
            self.has_all();
        }
        Ok(())
    }

    /// A stanza that waited, as it is given out; none if an extension ends it.
    fn given(&mut self, kept: &Kept<'_>, turn: &mut Turn<'_>) -> Option<Bytes> {
        let mut nodes = Nodes::new();
        let Some(stanza) = nodes.reread(kept.stanza) else { return Some(Bytes::copy_from_slice(kept.stanza)) };
        let kind = MessageKind::read(stanza.attr("type").as_deref());
        let look = turn.site.chain.look(kind, stanza);
        if look.has_hooks() && !self.before_giving(&Giving { message: stanza, at: kept.at }, look, turn) {
            return None;
        }
        Some(delayed(stanza, kept, &turn.site.domain))
    }

    /// The session takes no more; of what it was given, these rows came back. Returns the order up to which it was given what waited.
    pub(super) fn end_drain_of(&mut self, session: SessionId, returned: &[u64], turn: &mut Turn<'_>) -> u64 {
        let Some(drain) = self.draining.take_if(|drain| drain.session == session) else { return 0 };
        // In order: what comes back is the end of what was given. If nothing does, it may not have been queued yet.
        let taken = drain.handed.iter().position(|order| returned.contains(order)).unwrap_or(0);
        let is_gone = |(at, row): (usize, &u64)| (at < taken || self.parked.is_taken(*row)).then_some(*row);
        let gone: Vec<u64> = drain.handed.iter().enumerate().filter_map(is_gone).collect();
        self.forget(&gone, turn);
        self.pass_on_drain(turn);
        drain.seen
    }

    /// Whether a row goes once the session that is being given what waits has taken it.
    pub(super) fn is_handed_out(&self, order: u64) -> bool {
        self.draining.as_ref().is_some_and(|drain| drain.handed.contains(&order))
    }

    /// What is left goes to another session that takes messages, if there is one.
    fn pass_on_drain(&mut self, turn: &mut Turn<'_>) {
        let (last, waits) = (self.queue.last, self.queue.length > 0);
        let takes = |session: &&mut Session| waits && session.live_since.is_some() && session.is_awake();
        if let Some(session) = self.sessions.iter_mut().find(takes) {
            session.stop_live(last);
            let session = session.id;
            self.start_drain(session, turn);
        } else {
            self.lacks_some();
        }
    }

    pub(super) fn forget(&mut self, orders: &[u64], turn: &mut Turn<'_>) {
        let mut batch = Batch::default();
        for &order in orders {
            if let Some(given) = self.parked.given(order) {
                self.waits_already(given);
            }
            self.parked.remove(order);
            batch.delete(&OFFLINE, key(self.id, order));
        }
        self.queue.shrink(orders.len());
        if !batch.is_empty() {
            turn.out.push(Effect::WriteBehind(batch));
        }
    }
}

/// Whether a message is of use to a user who comes later.
pub(super) fn lasts(stanza: &[u8]) -> bool {
    let mut nodes = Nodes::new();
    nodes.reread(stanza).is_some_and(|message| {
        let kind = MessageKind::read(message.attr("type").as_deref());
        message.is("message", ns::CLIENT)
            && matches!(kind, MessageKind::Chat | MessageKind::Normal)
            && CHAIN.look(kind, message).is_lasting()
    })
}

/// The stanza with a note of when it came.
fn delayed(stanza: Element<'_>, kept: &Kept<'_>, domain: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(kept.stanza.len() + 128);
    let add = |xml: &mut crate::xml::Writer<'_>| {
        xml.open("delay").ns(ns::DELAY).attr("from", domain).attr("stamp", &kept.at.iso_millis().to_string());
        xml.text("Offline Storage - ").text(domain).close();
    };
    splice::forward(stanza, &[], add, &mut bytes);
    bytes.into()
}

fn all(id: AccountId) -> Range {
    Key::of(&Owner::Account(id)).all_below()
}

fn key(id: AccountId, order: u64) -> Key {
    Key::of(&Owner::Account(id)).u64(order)
}

fn order_of(key: &Key) -> Result<u64, Unreadable> {
    let bytes = key.as_slice().last_chunk::<8>().ok_or(Unreadable::Malformed)?;
    Ok(u64::from_be_bytes(*bytes))
}
