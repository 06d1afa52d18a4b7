//! What is held against the lists.

use crate::account::Account;
use crate::account::acks::report_awaited;
use crate::account::incoming::settle;
use crate::account::rounds::never_copied;
use crate::command::Answer as AnyAnswer;
use crate::effect::{Effect, Note, ReplyTo, SessionId, Site, Turn};
use crate::error::{Condition, ErrorType, StanzaError};
use crate::jid::Jid;
use crate::jid::user::DialogId;
use crate::model::dialog::{self, Answered, Refusal};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::stanza::{Backing, Entrusted, IqKind, Kind, MessageKind, Parcel, PresenceKind, Way};
use crate::xml::{Element, Nodes};

use super::lists::Traffic;
use super::{bare, domain};

impl Account {
    /// Whether what comes from another user may come in.
    pub(in crate::account) fn admits(&self, parcel: &Parcel) -> bool {
        if !self.has_lists_in_force() || is_servers_word(parcel) {
            return true;
        }
        let from = &*parcel.from.jid;
        let session = parcel.resource.as_deref().and_then(|resource| self.by_resource(resource));
        match (parcel.kind, session) {
            (Kind::Message { .. }, None) => self.lets_message_in(from),
            // Each session's list is asked as it is delivered.
            (Kind::Presence { kind: PresenceKind::Available | PresenceKind::Unavailable, .. }, None) => true,
            (kind, session) => self.may(session, incoming(kind), from),
        }
    }

    /// Whether a message may come in that is for all of the user's resources.
    fn lets_message_in(&self, from: &str) -> bool {
        let mut takers = self.sessions.iter().filter(|session| session.takes_messages()).peekable();
        match takers.peek() {
            Some(_) => takers.any(|session| self.may(Some(session.id), Traffic::Message, from)),
            None => self.may(None, Traffic::Message, from),
        }
    }

    /// What may not come in. XEP-0016 §2.14, XEP-0191 §3.3.
    pub(in crate::account) fn turns_away(&mut self, parcel: &Parcel, turn: &mut Turn<'_>) {
        let was_kept = match parcel.way {
            Way::Straight | Way::ToKeep | Way::ToKeepAnew => false,
            Way::Round => {
                if let Some(from) = parcel.from.account {
                    self.dropped(from.user);
                }
                is_kept(&parcel.stanza, &self.jid)
            }
            Way::Dialog => true,
        };
        let is_answered = match parcel.kind {
            // It is in the history and not lost; it is only not shown.
            Kind::Message { kind, .. } => kind != MessageKind::Error && !was_kept,
            Kind::Iq(kind) => kind.is_request(),
            // To the sender the user is away.
            Kind::Presence { .. } => false,
        };
        if is_answered {
            self.return_to_sender(parcel, Condition::ServiceUnavailable, turn);
        }
        if was_kept {
            settle(parcel, self.id, turn);
        } else {
            never_copied(parcel, self.id, turn);
            settle(&Parcel { copied: false, ..parcel.clone() }, self.id, turn);
        }
    }

    /// A message that another user sends over REST: it goes back to the dialog of the two, or its sender is refused.
    pub(in crate::account) fn judges_draft(
        &self,
        dialog: DialogId,
        draft: dialog::Draft,
        reply: Option<ReplyTo>,
        turn: &mut Turn<'_>,
    ) {
        let by = AccountId { app: self.id.app, user: draft.by };
        if self.lets_message_in(&format!("{by}@{}", turn.site.domain)) {
            let command = dialog::Command::Save(dialog::Draft { admitted: true, ..draft }).into();
            turn.out.send(Owner::Dialog(self.id.app, dialog), Note::Command { command, reply, job: None });
        } else if let Some(reply) = reply {
            let answered = Answered { answer: dialog::Answer::Refused(Refusal::Forbidden), inbox: None };
            turn.out.push(Effect::Answer(reply, AnyAnswer::Dialog(Box::new(answered))));
        }
    }

    /// Whether what the account is about to tell a session is not for it: what comes to the account goes to all of its sessions,
    /// and they need not have the same list.
    pub(in crate::account) fn keeps_from(&self, session: SessionId, stanza: &[u8], site: &Site) -> bool {
        if self.privacy.as_ref().is_none_or(|privacy| privacy.rules(Some(session)).is_none()) {
            return false;
        }
        let mut nodes = Nodes::new();
        let Some(stanza) = nodes.reread(stanza) else { return false };
        let Some(from) = stanza.attr("from") else { return false };
        let Some(traffic) = shown(stanza, &from) else { return false };
        !self.is_own_place(&from, site) && !self.may(Some(session), traffic, &from)
    }

    /// A message that is not for the session it was to be given to. One that other resources may lack goes to them.
    pub(in crate::account) fn passes_over(&mut self, session: SessionId, message: Entrusted, turn: &mut Turn<'_>) {
        let Entrusted { stanza, backing, awaited } = message;
        if let Backing::Parked { row, given } = backing
            && self.unpark(session, row, given, turn)
        {
            return self.returned(vec![Entrusted { stanza, backing: Backing::Others(given), awaited }], turn);
        }
        report_awaited(awaited, turn);
    }

    /// Whether the session's list can be about those in rooms.
    pub(in crate::account) fn filters_rooms(&self, session: SessionId, site: &Site) -> bool {
        let rules = self.privacy.as_ref().and_then(|privacy| privacy.rules(Some(session)));
        rules.is_some_and(|rules| rules.touch_rooms(&site.muc_domain))
    }

    /// The user's own place in some room.
    fn is_own_place(&self, jid: &str, site: &Site) -> bool {
        let place = jid.split_once('/').filter(|(room, _)| domain(room) == &*site.muc_domain);
        place.is_some_and(|(_, nick)| nick.parse() == Ok(self.id.user))
    }

    /// Whether a session may send this to that address.
    pub(in crate::account) fn may_send(&self, session: SessionId, traffic: Traffic, to: Option<&Jid<'_>>) -> bool {
        to.is_none_or(|to| self.may(Some(session), traffic, to.as_str()))
    }
}

/// What a session gets back that wrote to somebody whom its list denies. XEP-0016 §2.14, XEP-0191 §3.3
pub(in crate::account) fn blocked() -> StanzaError<'static> {
    StanzaError {
        kind: ErrorType::Cancel,
        detail: Some(("blocked", ns::BLOCKING_ERRORS)),
        ..StanzaError::new(Condition::NotAcceptable, "You have blocked this user.")
    }
}

/// An answer that the other account itself gave to something that was sent there, not its user.
fn is_servers_word(parcel: &Parcel) -> bool {
    let is_answer = match parcel.kind {
        Kind::Message { kind, .. } => kind == MessageKind::Error,
        Kind::Iq(kind) => !kind.is_request(),
        Kind::Presence { kind, .. } => kind == PresenceKind::Error,
    };
    is_answer && parcel.way != Way::Dialog && bare(&parcel.from.jid) == &*parcel.from.jid
}

fn incoming(kind: Kind) -> Traffic {
    match kind {
        Kind::Message { .. } => Traffic::Message,
        Kind::Iq(_) => Traffic::Iq,
        Kind::Presence { kind: PresenceKind::Available | PresenceKind::Unavailable, .. } => Traffic::PresenceIn,
        // XEP-0016 §2: presence notifications are none but those.
        Kind::Presence { kind: PresenceKind::Subscription(_) | PresenceKind::Probe | PresenceKind::Error, .. } => {
            Traffic::Other
        }
    }
}

/// What kind of traffic a stanza is that several sessions get. What is sent to one resource was looked at as it came in; errors
/// and answers are sent to one.
fn shown(stanza: Element<'_>, from: &str) -> Option<Traffic> {
    let kind = stanza.attr("type");
    match stanza.name() {
        "message" => Some(Traffic::Message).filter(|_| MessageKind::read(kind.as_deref()) != MessageKind::Error),
        "presence" => match PresenceKind::read(kind.as_deref())? {
            PresenceKind::Available => Some(Traffic::PresenceIn),
            // From an account as such, it is the server that says that the user will see no more of it.
            PresenceKind::Unavailable => Some(Traffic::PresenceIn).filter(|_| bare(from) != from),
            PresenceKind::Subscription(_) => Some(Traffic::Other),
            PresenceKind::Probe | PresenceKind::Error => None,
        },
        "iq" if IqKind::read(kind.as_deref()).is_some_and(IqKind::is_request) => Some(Traffic::Iq),
        _ => None,
    }
}

/// Whether a message is in the account's archive: only the server says so in it. XEP-0359 §5
fn is_kept(stanza: &[u8], archive: &str) -> bool {
    let mut nodes = Nodes::new();
    nodes.reread(stanza).is_some_and(|message| {
        let mut ids = message.children().filter(|child| child.is("stanza-id", ns::STANZA_ID));
        ids.any(|id| id.attr("by").as_deref() == Some(archive))
    })
}
