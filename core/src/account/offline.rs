//! What waits for a user who is away. XEP-0160, XEP-0203.
//!
//! Messages are kept in the order in which they came and handed to the first resource that becomes available, once. Their rows
//! go after they were queued for that resource: a crash between the two shows a message again rather than never.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Note, SessionId, Turn};
use crate::error::Condition;
use crate::limits::{OFFLINE_PAGE_ROWS, OFFLINE_STANZAS_MAX};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Range, Reads, Rows, Table, Unreadable};
use crate::stanza::{Kind, MessageKind, Parcel};
use crate::time::Timestamp;
use crate::xml::{Nodes, splice};

use super::Account;
use super::incoming::reread;

/// account, order → a stanza that waits.
pub static OFFLINE: Table = Table::new("offline");

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    /// How many waited before it, so that the last row tells how long the queue is.
    position: u32,
    at: Timestamp,
    #[serde(borrow)]
    stanza: &'a [u8],
}

/// What is known of the queue without reading it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    /// The order of the newest row.
    last: u64,
    /// How many rows there are.
    length: u32,
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
        Ok(Queue { last: order_of(&key)?, length: kept.position + 1 })
    }

    /// The rows that come next.
    pub fn page(&self, id: AccountId) -> Reads {
        Reads::scan(&OFFLINE, all(id), OFFLINE_PAGE_ROWS)
    }

    fn push(&mut self, now: Timestamp) -> (u64, u32) {
        // The clock may be set back; the order never is.
        self.last = (self.last + 1).max(now.millis() << 12);
        self.length += 1;
        (self.last, self.length - 1)
    }
}

impl Account {
    /// Keeps a message until the user comes.
    pub(super) fn keep(&mut self, parcel: &Parcel, turn: &mut Turn<'_>) {
        if self.queue.length as usize >= OFFLINE_STANZAS_MAX {
            // XEP-0160 §3: the sender hears of a full queue.
            if !matches!(parcel.kind, Kind::Message { kind: MessageKind::Error, .. }) {
                self.return_to_sender(parcel, Condition::ServiceUnavailable, turn);
            }
            return;
        }
        self.keep_bytes(&parcel.stanza, turn);
    }

    /// Keeps a stanza that came back from a connection that ended before it had it.
    pub(super) fn keep_again(&mut self, stanza: Bytes, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let lasting = reread(&mut nodes, &stanza).is_ok_and(|element| {
            let kind = MessageKind::read(element.attr("type").as_deref());
            element.is("message", ns::CLIENT)
                && matches!(kind, MessageKind::Chat | MessageKind::Normal)
                && !(element.first_child().is_some() && element.children().all(crate::ext::is_chat_state))
        });
        if lasting && (self.queue.length as usize) < OFFLINE_STANZAS_MAX {
            self.keep_bytes(&stanza, turn);
        }
    }

    pub(super) fn keep_bytes(&mut self, stanza: &[u8], turn: &mut Turn<'_>) {
        let at = turn.now.stamp;
        let (order, position) = self.queue.push(at);
        let mut batch = Batch::default();
        batch.put(&OFFLINE, key(self.id, order), row::encode(VERSION, &Kept { position, at, stanza }));
        turn.out.write(batch);
    }

    /// The session is the first to want what waits, if anything does.
    pub(super) fn start_draining(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        if self.queue.length > 0 && self.draining.is_none() {
            self.draining = Some(session);
            turn.out.send(Owner::Account(self.id), Note::Drain(session));
        }
    }

    /// Hands over one page of what waits.
    pub(super) fn drain(&mut self, session: SessionId, mut rows: Rows, turn: &mut Turn<'_>) -> Result<(), Unreadable> {
        let page = rows.page();
        let mut batch = Batch::default();
        for (key, value) in &page {
            let kept: Kept<'_> = row::decode_borrowed(VERSION, value)?;
            turn.out.deliver(session, delayed(&kept, &turn.site.domain));
            batch.delete(&OFFLINE, key.clone());
        }
        self.queue.length = self.queue.length.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        turn.out.push(Effect::WriteBehind(batch));
        if page.len() < OFFLINE_PAGE_ROWS {
            self.queue.length = 0;
            self.draining = None;
        } else {
            turn.out.push(Effect::WhenFlushed(session, Note::Drain(session)));
        }
        Ok(())
    }
}

/// The stanza with a note of when it came. A stanza that has one from us already keeps it.
fn delayed(kept: &Kept<'_>, domain: &str) -> Bytes {
    let mut nodes = Nodes::new();
    let Ok(stanza) = reread(&mut nodes, kept.stanza) else { return Bytes::copy_from_slice(kept.stanza) };
    let known = stanza.children().any(|child| child.is("delay", ns::DELAY) && child.attr("from").as_deref() == Some(domain));
    if known {
        return Bytes::copy_from_slice(kept.stanza);
    }
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
