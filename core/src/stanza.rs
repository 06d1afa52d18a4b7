//! Stanzas on their way between owners.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::effect::SessionId;
use crate::error::Refusal;
use crate::ext::chain::Look;
use crate::owner::AccountId;
use crate::time::Instant;

/// The `type` of a message. RFC 6121 §5.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// A message of a one-to-one conversation.
    Chat,
    /// An error about an earlier message.
    Error,
    /// A message of a room.
    Groupchat,
    /// News, signals and system notifications, of no use later.
    Headline,
    /// A single message; also whatever type we do not know (RFC 6121 §5.2.2).
    Normal,
}

impl MessageKind {
    /// What the attribute says; absent and unknown mean `normal`.
    pub fn read(kind: Option<&str>) -> MessageKind {
        match kind {
            Some("chat") => MessageKind::Chat,
            Some("error") => MessageKind::Error,
            Some("groupchat") => MessageKind::Groupchat,
            Some("headline") => MessageKind::Headline,
            Some(_) | None => MessageKind::Normal,
        }
    }
}

/// The id of a presence whose sender gave it none. The product's SDKs look into a presence's id without asking whether there is one.
/// Wire notes §13.8.
pub const PRESENCE_ID: &str = "presence";

/// The `type` of a presence. RFC 6121 §4.7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PresenceKind {
    /// No type: the resource is there.
    Available,
    /// The resource is gone.
    Unavailable,
    /// A request to see another's presence, or an answer to one.
    Subscription(Subscription),
    /// A server's question for someone's presence.
    Probe,
    /// An error about an earlier presence.
    Error,
}

impl PresenceKind {
    /// What the attribute says, or nothing for a type that does not exist.
    pub fn read(kind: Option<&str>) -> Option<PresenceKind> {
        Some(match kind {
            None => PresenceKind::Available,
            Some("unavailable") => PresenceKind::Unavailable,
            Some("probe") => PresenceKind::Probe,
            Some("error") => PresenceKind::Error,
            Some(other) => PresenceKind::Subscription(Subscription::read(other)?),
        })
    }
}

pub use crate::model::account::SubscriptionKind as Subscription;

/// The `type` of an iq. RFC 6120 §8.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IqKind {
    /// A question.
    Get,
    /// An order.
    Set,
    /// The answer.
    Result,
    /// The refusal.
    Error,
}

impl IqKind {
    /// What the attribute says, or nothing for a type that does not exist.
    pub fn read(kind: Option<&str>) -> Option<IqKind> {
        match kind? {
            "get" => Some(IqKind::Get),
            "set" => Some(IqKind::Set),
            "result" => Some(IqKind::Result),
            "error" => Some(IqKind::Error),
            _ => None,
        }
    }

    /// Whether it waits for an answer.
    pub fn is_request(self) -> bool {
        match self {
            IqKind::Get | IqKind::Set => true,
            IqKind::Result | IqKind::Error => false,
        }
    }
}

/// Which stanza a parcel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `<message/>`
    Message {
        /// Its type.
        kind: MessageKind,
        /// Whether it waits for a user who is away: true for all but those that hold nothing but a chat state, or ask for that.
        lasting: bool,
    },
    /// `<presence/>`
    Presence {
        /// Its type.
        kind: PresenceKind,
        /// Sent to this very address, rather than to all who are subscribed. RFC 6121 §4.6.
        directed: bool,
    },
    /// `<iq/>`
    Iq(IqKind),
}

/// The sender's session waits to hear that the stanza it counted as `seq` is taken care of. XEP-0198 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt {
    /// The sender.
    pub account: AccountId,
    /// Which of the sender's sessions.
    pub session: SessionId,
    /// The stanza's number in that session.
    pub seq: u32,
}

/// Who sent a stanza, as the server knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender {
    /// The address as it stands in `from`.
    pub jid: Arc<str>,
    /// The account behind it, when it is one of ours.
    pub account: Option<AccountId>,
}

impl Sender {
    /// The address without its resource.
    pub fn bare(&self) -> &str {
        self.jid.split_once('/').map_or(&*self.jid, |(bare, _)| bare)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.jid)
    }
}

/// A stanza for an account, ready to be delivered: `from` is stamped, and the bytes stand for themselves in a stream
/// whose default namespace is `jabber:client`.
#[derive(Clone)]
pub struct Parcel {
    /// Who sent it.
    pub from: Sender,
    /// The resource it is addressed to; none for the account itself.
    pub resource: Option<Box<str>>,
    /// What it is.
    pub kind: Kind,
    /// The stanza.
    pub stanza: Bytes,
    /// Whoever waits to hear that it is taken care of.
    pub receipt: Option<Receipt>,
    /// How far it has come.
    pub way: Way,
    /// The sender's account waits to have it back as it is taken, for copies.
    pub copied: bool,
    /// What it is, if it is a message that a client or a component has sent.
    pub look: Look,
    /// What it tells of, when it is an event (XEP-0163). It says nothing of its recipient then.
    pub topic: Option<Arc<Topic>>,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The node.
    pub node: Box<str>,
    /// The recipient has subscribed to the node by its name, rather than to presence alone.
    pub by_name: bool,
}

/// The way of a stanza from one user to another. A message that is kept makes a round from the recipient's account by the dialog of
/// the two, and what comes after it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// From the sender to the recipient's account, or after another on a round.
    #[default]
    Straight,
    /// The same, and the dialog keeps it.
    ToKeep,
    /// The same, and the dialog keeps it under another id: the sender has used this one for a message to somebody else.
    ToKeepAnew,
    /// Back from the round.
    Round,
    /// From the dialog itself, which has kept what it should.
    Dialog,
}

impl Parcel {
    /// A stanza that nobody waits to hear of.
    pub fn new(from: Sender, resource: Option<Box<str>>, kind: Kind, stanza: Bytes) -> Parcel {
        Parcel {
            from,
            resource,
            kind,
            stanza,
            receipt: None,
            way: Way::Straight,
            copied: false,
            look: Look::default(),
            topic: None,
        }
    }
}

impl fmt::Debug for Parcel {
    /// Without the stanza: bodies do not go into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {:?} ({} bytes)", self.kind, self.from, self.stanza.len())
    }
}

/// A message on its way to a session, which the account wants back should the session end before it takes the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Entrusted {
    /// The stanza.
    pub stanza: Bytes,
    /// What else there is of it.
    pub backing: Backing,
    /// Whoever waits to hear that it is taken care of. With one of the sessions that are given the message.
    pub awaited: Option<Box<Awaited>>,
}

impl Entrusted {
    /// A message that nobody waits to hear of.
    pub fn new(stanza: Bytes, backing: Backing) -> Entrusted {
        Entrusted { stanza, backing, awaited: None }
    }
}

/// The sender of a message that is in no row waits to hear that it is taken care of: that a client has taken it, or that it is in a
/// row after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Of the sender.
    pub receipt: Receipt,
    /// Since when.
    pub since: Instant,
    /// It took too long: the account was asked to keep the message in a row, and tells the sender.
    pub overdue: bool,
}

impl fmt::Debug for Entrusted {
    /// Without the stanza, as [`Parcel`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.backing, self.stanza.len())
    }
}

/// Where a message is besides the queue of the session it was entrusted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// It still waits in the offline row of this order.
    Row(u64),
    /// With every resource that has taken messages since before this order; zero for nobody else.
    Others(u64),
    /// It was kept in a row, for the sake of a client that was cut off and may resume its session.
    Parked {
        /// The order of that row.
        row: u64,
        /// As in `Others`.
        given: u64,
    },
}

/// Something that a session was to be given, and has not taken as far as is known.
#[derive(Clone, Debug)]
pub enum Leftover {
    /// Of no use to another session.
    Stanza(Bytes),
    /// A message that must not be lost.
    Entrusted(Entrusted),
}

impl Leftover {
    /// How much it is.
    pub fn bytes(&self) -> usize {
        match self {
            Leftover::Stanza(stanza) | Leftover::Entrusted(Entrusted { stanza, .. }) => stanza.len(),
        }
    }

    /// Whoever waits to hear that it is taken care of.
    pub fn awaited(self) -> Option<Box<Awaited>> {
        match self {
            Leftover::Entrusted(message) => message.awaited,
            Leftover::Stanza(_) => None,
        }
    }

    /// The row that goes once it is taken.
    pub fn row(&self) -> Option<u64> {
        match self {
            Leftover::Entrusted(Entrusted { backing: Backing::Row(row) | Backing::Parked { row, .. }, .. }) => {
                Some(*row)
            }
            Leftover::Entrusted(_) | Leftover::Stanza(_) => None,
        }
    }
}

/// What is left of a session when its connection ends.
#[derive(Debug, Default)]
pub struct Remains {
    /// Whether its client may come back and go on with it. XEP-0198 §5
    pub resumable: bool,
    /// The count of stanzas that the client has acknowledged.
    pub acked: u32,
    /// What was sent after those, in order.
    pub sent: Vec<Leftover>,
    /// What was still to be sent.
    pub waiting: Vec<Leftover>,
}

/// What a handler answers an iq with: the payload of the result (empty for none), or the reason why not.
pub type IqAnswer = Result<Vec<u8>, Refusal>;
