//! Entering the room: who is there, what was said, what it is about. XEP-0045 §7.2.

use crate::account::Progress;
use crate::effect::{SessionId, Turn};
use crate::error::Condition;
use crate::jid::user::UserId;
use crate::limits::{ROOM_HISTORY_STANZAS, ROOM_HISTORY_STANZAS_MAX};
use crate::model::dialog::{self, Body, HIDDEN, MESSAGES, MessageRow, mark_key, order_of};
use crate::ns;
use crate::row::Reads;
use crate::stanza::Parcel;
use crate::time::Timestamp;
use crate::xml::{Element, Nodes, Writer, splice};

use super::occupants::Guise;
use super::wire::{occupant_id, room_jid, seat_of, stanza_of, to_one};
use super::{Dialog, Flow};

/// How much of the history one who enters asks for. XEP-0045 §7.2.14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    stanzas: usize,
    bytes: usize,
    since: Timestamp,
}

impl Wanted {
    /// What is asked for; a bad request when that is no number or no time.
    fn read(presence: Option<Element<'_>>, now: Timestamp) -> Result<Wanted, Condition> {
        let history =
            presence.and_then(|presence| presence.child("x", ns::MUC)).and_then(|x| x.child("history", ns::MUC));
        let said = |name: &str| history.and_then(|history| history.attr(name));
        let number = |name: &str| said(name).map(|text| number(text.trim()).ok_or(Condition::BadRequest)).transpose();
        let (most, bytes, ago) = (number("maxstanzas")?, number("maxchars")?, number("seconds")?);
        let since = said("since").map(|text| Timestamp::parse_iso(text.trim()).ok_or(Condition::BadRequest));
        let since = since.transpose()?;
        let narrowed = bytes.is_some() || ago.is_some() || since.is_some();
        let usual = if narrowed { ROOM_HISTORY_STANZAS_MAX } else { ROOM_HISTORY_STANZAS };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let ago = ago.map(|secs| Timestamp::from_secs(now.secs().saturating_sub(secs)));
        Ok(Wanted {
            stanzas: most.map_or(usual, size).min(ROOM_HISTORY_STANZAS_MAX),
            bytes: bytes.map_or(usize::MAX, size),
            since: ago.max(since).unwrap_or_default(),
        })
    }
}

/// A count, however large.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
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
        let wanted = match Wanted::read(presence, turn.now.stamp) {
            Ok(wanted) => wanted,
            Err(condition) => {
                self.turn_away(session, &parcel, condition, "This is no way to ask for history.", turn);
                return Ok(Progress::Done);
            }
        };
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
        let script = self.room.guise_of(user, session) == Some(Guise::Script);
        if !script {
            to_one(seat_of(session, parcel), self.subject(turn), turn);
        }
        Ok(Progress::Done)
    }

    /// Messages, the newest first, as stanzas, the oldest first: as many of the newest as fit.
    fn replay(&self, messages: &[MessageRow], bytes_max: usize, turn: &Turn<'_>) -> Vec<Vec<u8>> {
        let room = room_jid(self.app, self.id, turn.site);
        let mut stanzas = Vec::new();
        let mut bytes = 0;
        // XEP-0424 §5: what was taken back is not told any more, but that it was.
        for row in messages.iter().filter(|row| !matches!(row.body, Body::Retracted(_))) {
            let stanza = stanza_of(self.app, self.id, row, turn.site);
            let mut nodes = Nodes::new();
            let Some(message) = nodes.reread(&stanza) else { continue };
            let mut out = Vec::with_capacity(stanza.len() + 128);
            let at = row.created_at.iso_millis().to_string();
            let add = |xml: &mut Writer<'_>| {
                xml.open("delay").ns(ns::DELAY).attr("from", &room).attr("stamp", &at).close();
                let of_room = message.attr("from").is_none_or(|from| !from.contains('/'));
                if !of_room && message.child("occupant-id", ns::OCCUPANT_ID).is_none() {
                    occupant_id(&self.occupant_id(row.sender, turn.site), xml);
                }
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

    /// What the room is about; said even when it is about nothing, because general clients wait for it (XEP-0045 §7.2.15), and not
    /// to a client that would show it as a message without a text.
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
            occupant_id(&self.occupant_id(subject.by, turn.site), &mut xml);
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
        for wrong in [
            "maxstanzas='-1'",
            "maxstanzas='ten'",
            "maxstanzas=''",
            "maxchars='1e3'",
            "maxchars='+1'",
            "seconds='0x10'",
            "since='yesterday'",
            "since=''",
            "since='2010-13-01T00:00:00Z'",
            "maxstanzas='0' since='1'",
        ] {
            assert_eq!(wanted(&format!("<history {wrong}/>")), Err(Condition::BadRequest), "{wrong}");
        }
        let wanted = |history: &str| wanted(history).expect(history);
        assert_eq!(wanted("").stanzas, ROOM_HISTORY_STANZAS);
        assert_eq!(wanted("<history maxstanzas='0'/>").stanzas, 0);
        assert_eq!(wanted("<history maxstanzas='1000000'/>").stanzas, ROOM_HISTORY_STANZAS_MAX);
        assert_eq!(wanted("<history maxstanzas='99999999999999999999999'/>").stanzas, ROOM_HISTORY_STANZAS_MAX);
        assert_eq!(
            wanted("<history maxchars='65000'/>"),
            Wanted { stanzas: ROOM_HISTORY_STANZAS_MAX, bytes: 65_000, since: Timestamp::default() }
        );
        assert_eq!(wanted("<history seconds='180'/>").since, Timestamp::from_secs(999_820));
        assert_eq!(wanted("<history seconds='99999999999'/>").since, Timestamp::default());
        assert_eq!(wanted("<history since='1970-01-12T13:46:39Z'/>").since, Timestamp::from_secs(999_999));
    }
}
