//! What can be done. Clients, messages and requests go by numbers that are theirs whatever else is done.

use std::fmt;

use super::{NAMES, RESOURCES};

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A client logs in and binds a resource, which may be another's.
    Arrive {
        /// Its number.
        who: usize,
        /// Whose it is.
        user: usize,
        /// Which resource it wants.
        resource: usize,
        /// Whether it sends presence at once.
        presence: bool,
        /// Whether it wants to come back after a cut.
        resumable: bool,
    },
    /// It goes on with its session, whether or not its last connection is known to be gone.
    ComeBack {
        /// Who.
        who: usize,
    },
    /// It sends a message.
    Message {
        /// Who.
        who: usize,
        /// The message's number.
        number: usize,
        /// To whom.
        to: usize,
        /// To which resource alone.
        resource: Option<usize>,
        /// It is to be kept, and takes the way by the dialog of the two.
        save: bool,
    },
    /// It sends presence.
    Presence {
        /// Who.
        who: usize,
        /// Which of a few.
        kind: usize,
    },
    /// It wants to see another's presence, or lets another see it, or no longer.
    Subscription {
        /// Who.
        who: usize,
        /// Whose, or whom.
        to: usize,
        /// The presence's type.
        kind: &'static str,
    },
    /// It takes a contact off its roster.
    Forget {
        /// Who.
        who: usize,
        /// The request's number.
        id: usize,
        /// Whom.
        contact: usize,
    },
    /// It asks something.
    Ask {
        /// Who.
        who: usize,
        /// The request's number.
        id: usize,
        /// Which of a few questions.
        kind: usize,
        /// About whom.
        about: usize,
    },
    /// It wants to know what has been taken care of.
    Count {
        /// Who.
        who: usize,
    },
    /// It leaves in good order.
    Leave {
        /// Who.
        who: usize,
    },
    /// Its connection breaks.
    Cut {
        /// Who.
        who: usize,
    },
    /// It takes nothing any more, or takes things again.
    Stall {
        /// Who.
        who: usize,
        /// Which of the two.
        stalled: bool,
    },
    /// Time passes. Accounts that nobody uses leave memory, and silent clients are asked whether they are there.
    Pass {
        /// How much.
        secs: u64,
    },
    /// The server is killed, and starts again.
    Crash,
}

impl Act {
    /// Which client does it.
    pub fn who(&self) -> Option<usize> {
        match *self {
            Act::Arrive { who, .. }
            | Act::ComeBack { who }
            | Act::Message { who, .. }
            | Act::Presence { who, .. }
            | Act::Subscription { who, .. }
            | Act::Forget { who, .. }
            | Act::Ask { who, .. }
            | Act::Count { who }
            | Act::Leave { who }
            | Act::Cut { who }
            | Act::Stall { who, .. } => Some(who),
            Act::Pass { .. } | Act::Crash => None,
        }
    }

    /// Whether something breaks.
    pub fn is_fault(&self) -> bool {
        matches!(self, Act::Cut { .. } | Act::Stall { .. } | Act::Crash)
    }
}

/// As much as a reader of a history needs.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Arrive { who, user, resource, presence, resumable } => {
                let presence = if *presence { ", with presence" } else { "" };
                let resumable = if *resumable { ", to come back" } else { "" };
                write!(f, "client {who} arrives as {}/{}{presence}{resumable}", NAMES[*user], RESOURCES[*resource])
            }
            Act::ComeBack { who } => write!(f, "client {who} comes back"),
            Act::Message { who, number, to, resource, save } => {
                let resource = resource.map(|resource| format!("/{}", RESOURCES[resource])).unwrap_or_default();
                let save = if *save { ", to be kept" } else { "" };
                write!(f, "client {who} sends message {number} to {}{resource}{save}", NAMES[*to])
            }
            Act::Presence { who, kind } => write!(f, "client {who} sends presence {kind}"),
            Act::Subscription { who, to, kind } => write!(f, "client {who} sends {kind} to {}", NAMES[*to]),
            Act::Forget { who, contact, .. } => write!(f, "client {who} removes {}", NAMES[*contact]),
            Act::Ask { who, id, kind, about } => {
                write!(f, "client {who} asks question {kind} about {} (q{id})", NAMES[*about])
            }
            Act::Count { who } => write!(f, "client {who} asks for a count"),
            Act::Leave { who } => write!(f, "client {who} leaves"),
            Act::Cut { who } => write!(f, "client {who} is cut off"),
            Act::Stall { who, stalled: true } => write!(f, "client {who} stops reading"),
            Act::Stall { who, stalled: false } => write!(f, "client {who} reads again"),
            Act::Pass { secs } => write!(f, "{secs} seconds pass"),
            Act::Crash => write!(f, "the server crashes"),
        }
    }
}

/// An act, and how the world goes on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// The seed of all chance until the next one.
    pub chance: u64,
    /// How many things may happen until then.
    pub deeds: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.act)?;
        match self.deeds {
            0 => Ok(()),
            deeds => write!(f, "; {deeds} deeds of chance {:x}", self.chance),
        }
    }
}
