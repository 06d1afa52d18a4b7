//! Entering the room: who is there, what was said, what it is about. XEP-0045 §7.2.

use crate::account::Progress;
use crate::effect::{SessionId, Turn};
use crate::jid::user::UserId;
use crate::limits::{ROOM_HISTORY_STANZAS, ROOM_HISTORY_STANZAS_MAX};
use crate::model::dialog::{self, HIDDEN, MESSAGES, MessageRow, mark_key, order_of};
use crate::ns;
use crate::row::Reads;
use crate::stanza::Parcel;
use crate::time::Timestamp;
use crate::xml::{Element, Nodes, Writer, splice};

use super::wire::{room_jid, seat_of, stanza_of, to_one};
use super::{Dialog, Flow};

/// How much of the history one who enters asks for. XEP-0045 §7.2.14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    stanzas: usize,
    bytes: usize,
    since: Timestamp,
}

impl Wanted {
    fn read(presence: Option<Element<'_>>, now: Timestamp) -> Wanted {
        let history =
            presence.and_then(|presence| presence.child("x", ns::MUC)).and_then(|x| x.child("history", ns::MUC));
        let number = |name: &str| {
            history.and_then(|history| history.attr(name)).and_then(|value| value.trim().parse::<u64>().ok())
        };
        let narrowed =
            ["maxchars", "seconds", "since"].into_iter().any(|name| history.is_some_and(|h| h.attr(name).is_some()));
        let usual = if narrowed { ROOM_HISTORY_STANZAS_MAX } else { ROOM_HISTORY_STANZAS };
        let stanzas = number("maxstanzas").map_or(usual, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let ago = number("seconds").map(|secs| Timestamp::from_secs(now.secs().saturating_sub(secs)));
        let since =
            history.and_then(|history| history.attr("since")).and_then(|since| Timestamp::parse_iso(since.trim()));
        Wanted {
            stanzas: stanzas.min(ROOM_HISTORY_STANZAS_MAX),
            bytes: number("maxchars").map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)),
            since: ago.max(since).unwrap_or_default(),
        }
    }
}

impl Dialog {
    /// One who may comes in.
    pub(super) fn enters(&mut self, session: SessionId, parcel: Parcel, user: UserId, turn: &mut Turn<'_>) -> Flow {
        let mut nodes = Nodes::new();
        let presence = nodes.reread(&parcel.stanza);
        let joins = presence.is_some_and(|presence| presence.child("x", ns::MUC).is_some());
        if self.room.has(user, session) && !joins {
            // Not an entrance: it says something new about itself.
            self.seats(session, &parcel, user, turn);
            return Ok(Progress::Done);
        }
        let wanted = Wanted::read(presence, turn.now.stamp);
        if wanted.stanzas == 0 || wanted.bytes == 0 || self.head.count == 0 {
            return self.welcomes(session, &parcel, user, Vec::new(), turn);
        }
        let mut range = dialog::key(self.app, self.id).all_below();
        // A message's order is never below what its sender says of the time; what is too old is left out once more below.
        let first = wanted.since.secs().saturating_sub(dialog::DATE_SENT_SECS_MAX);
        range.start = dialog::order_key(self.app, self.id, dialog::first_order(first));
        let reads = Reads::none().and_scan_back(&MESSAGES, range, wanted.stanzas);
        self.read(reads, turn, move |dialog, mut rows, turn| {
            let mut messages = Vec::new();
            let mut reads = Reads::none();
            for (key, value) in rows.page() {
                let order = order_of(&key)?;
                reads = reads.and_get(&HIDDEN, mark_key(dialog.app, dialog.id, order, user));
                messages.push(MessageRow::decode(&value)?);
            }
            dialog.read(reads, turn, move |dialog, mut rows, turn| {
                messages.retain(|row| rows.row().is_none() && row.created_at >= wanted.since);
                dialog.welcomes(session, &parcel, user, dialog.replay(&messages, wanted.bytes, turn), turn)
            })
        })
    }

    /// The order of XEP-0045 §7.2: the others, oneself, what was said, what it is about.
    fn welcomes(
        &mut self,
        session: SessionId,
        parcel: &Parcel,
        user: UserId,
        history: Vec<Vec<u8>>,
        turn: &mut Turn<'_>,
    ) -> Flow {
        self.seats(session, parcel, user, turn);
        for stanza in history {
            to_one(seat_of(session, parcel), stanza, turn);
        }
        to_one(seat_of(session, parcel), self.subject(turn), turn);
        Ok(Progress::Done)
    }

    /// Messages, the newest first, as stanzas, the oldest first: as many of the newest as fit.
    fn replay(&self, messages: &[MessageRow], bytes_max: usize, turn: &Turn<'_>) -> Vec<Vec<u8>> {
        let room = room_jid(self.app, self.id, turn.site);
        let mut stanzas = Vec::new();
        let mut bytes = 0;
        for row in messages {
            let stanza = stanza_of(self.app, self.id, row, turn.site);
            let mut nodes = Nodes::new();
            let Some(message) = nodes.reread(&stanza) else { continue };
            let mut out = Vec::with_capacity(stanza.len() + 128);
            let at = row.created_at.iso_millis().to_string();
            let add = |xml: &mut Writer<'_>| {
                xml.open("delay").ns(ns::DELAY).attr("from", &room).attr("stamp", &at).close();
            };
            splice::forward(message, &[("to", None)], add, &mut out);
            bytes += out.len();
            if bytes > bytes_max {
                break;
            }
            stanzas.push(out);
        }
        stanzas.reverse();
        stanzas
    }

    /// What the room is about; said even when it is about nothing, because general clients wait for it. XEP-0045 §7.2.15.
    fn subject(&self, turn: &Turn<'_>) -> Vec<u8> {
        let room = room_jid(self.app, self.id, turn.site);
        let subject = self.record.as_ref().and_then(|record| record.subject.as_ref());
        let from = subject.map_or_else(|| room.clone(), |subject| format!("{room}/{}", subject.by));
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("message").attr("from", &from).attr("type", "groupchat");
        xml.simple("subject", subject.map_or("", |subject| &subject.text));
        if let Some(subject) = subject {
            let at = subject.at.iso_millis().to_string();
            xml.open("delay").ns(ns::DELAY).attr("from", &room).attr("stamp", &at).close();
        }
        xml.close();
        drop(xml);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits};

    #[test]
    fn asks_for_no_more_than_there_may_be() {
        let now = Timestamp::from_secs(1_000_000);
        let wanted = |history: &str| {
            let source = format!("<presence><x xmlns='http://jabber.org/protocol/muc'>{history}</x></presence>");
            let mut nodes = Nodes::new();
            Wanted::read(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).ok(), now)
        };
        assert_eq!(wanted("").stanzas, ROOM_HISTORY_STANZAS);
        assert_eq!(wanted("<history maxstanzas='0'/>").stanzas, 0);
        assert_eq!(wanted("<history maxstanzas='1000000'/>").stanzas, ROOM_HISTORY_STANZAS_MAX);
        assert_eq!(wanted("<history maxstanzas='-1'/>").stanzas, ROOM_HISTORY_STANZAS);
        assert_eq!(
            wanted("<history maxchars='65000'/>"),
            Wanted { stanzas: ROOM_HISTORY_STANZAS_MAX, bytes: 65_000, since: Timestamp::default() }
        );
        assert_eq!(wanted("<history seconds='180'/>").since, Timestamp::from_secs(999_820));
        assert_eq!(wanted("<history seconds='99999999999'/>").since, Timestamp::default());
        assert_eq!(wanted("<history since='1970-01-12T13:46:39Z'/>").since, Timestamp::from_secs(999_999));
        assert_eq!(wanted("<history since='yesterday'/>").since, Timestamp::default());
    }
}
