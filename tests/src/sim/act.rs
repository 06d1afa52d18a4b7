//! What can be done. Clients, messages and requests go by numbers that are theirs whatever else is done.

use std::fmt;

use super::dialogs::{Mark, Place};
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
        /// The number of the presence that it sends at once, if it does.
        presence: Option<usize>,
        /// Whether it wants copies of what the user's other clients send. XEP-0280
        carbons: bool,
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
        /// The presence's number.
        number: usize,
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
        /// The change's number.
        change: usize,
    },
    /// It wants to hear nothing from another, or to hear from him again. XEP-0191
    Block {
        /// Who.
        who: usize,
        /// The request's number.
        id: usize,
        /// From whom.
        other: usize,
        /// Nothing, or all.
        block: bool,
    },
    /// It makes a privacy list the default one that denies somebody, or none. XEP-0016
    Deny {
        /// Who.
        who: usize,
        /// The request's number.
        id: usize,
        /// Whom.
        other: Option<usize>,
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
    /// It goes into a group's room, or says there that it is there.
    Enter {
        /// Who.
        who: usize,
        /// Which group's.
        group: usize,
        /// Whether it wants to be told what was said.
        history: bool,
    },
    /// It goes out of a room.
    Exit {
        /// Who.
        who: usize,
        /// Which group's.
        group: usize,
    },
    /// It says something in a room.
    Say {
        /// Who.
        who: usize,
        /// Which group's.
        group: usize,
        /// The message's number.
        number: usize,
        /// It is to be kept.
        save: bool,
    },
    /// It sends a message that its user has sent before, with the same id.
    Again {
        /// Who.
        who: usize,
        /// The message's number.
        number: usize,
    },
    /// It says in a room that it has shown a message.
    Displayed {
        /// Who.
        who: usize,
        /// The change's number.
        call: usize,
        /// The message's number.
        number: usize,
    },
    /// A user makes a group, over the API as in all that follows.
    Create {
        /// The call's number.
        call: usize,
        /// Which user.
        by: usize,
        /// The group's number.
        group: usize,
        /// The others in it.
        others: Vec<usize>,
    },
    /// A user takes others into a group, or out of it.
    Change {
        /// The call's number.
        call: usize,
        /// Which user.
        by: usize,
        /// Which group.
        group: usize,
        /// Who comes in.
        push: Option<usize>,
        /// Who goes out.
        pull: Option<usize>,
    },
    /// A user leaves a group, or ends it.
    Delete {
        /// The call's number.
        call: usize,
        /// Which user.
        by: usize,
        /// Which group.
        group: usize,
        /// For all.
        force: bool,
    },
    /// A user writes a message.
    Post {
        /// The call's number.
        call: usize,
        /// Which user.
        by: usize,
        /// The message's number.
        message: usize,
        /// Where.
        place: Place,
        /// Whether it goes out to clients.
        live: bool,
    },
    /// A user has got or read a message, or all of a dialog, or has not.
    Read {
        /// The call's number.
        call: usize,
        /// Which user.
        by: usize,
        /// Where.
        place: Place,
        /// The message's number.
        message: Option<usize>,
        /// What of it.
        mark: Mark,
    },
    /// A user takes a message away.
    Remove {
        /// The call's number.
        call: usize,
        /// Which user.
        by: usize,
        /// The message's number.
        message: usize,
        /// For all.
        force: bool,
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
    /// The calendar is set to another time.
    Clock {
        /// So much later, or earlier.
        secs: i64,
    },
    /// From now on nothing can be written, until the server is killed.
    BreakDisk,
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
            | Act::Block { who, .. }
            | Act::Deny { who, .. }
            | Act::Ask { who, .. }
            | Act::Count { who }
            | Act::Leave { who }
            | Act::Enter { who, .. }
            | Act::Exit { who, .. }
            | Act::Say { who, .. }
            | Act::Again { who, .. }
            | Act::Displayed { who, .. }
            | Act::Cut { who }
            | Act::Stall { who, .. } => Some(who),
            Act::Create { .. }
            | Act::Change { .. }
            | Act::Delete { .. }
            | Act::Post { .. }
            | Act::Read { .. }
            | Act::Remove { .. }
            | Act::Pass { .. }
            | Act::Clock { .. }
            | Act::BreakDisk
            | Act::Crash => None,
        }
    }

    /// Whether something breaks.
    pub fn is_fault(&self) -> bool {
        matches!(self, Act::Cut { .. } | Act::Stall { .. } | Act::Clock { .. } | Act::BreakDisk | Act::Crash)
    }
}

/// As much as a reader of a history needs.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Arrive { who, user, resource, presence, carbons, resumable } => {
                let carbons = if *carbons { ", with copies" } else { "" };
                let presence = if presence.is_some() { ", with presence" } else { "" };
                let resumable = if *resumable { ", to come back" } else { "" };
                write!(
                    f,
                    "client {who} arrives as {}/{}{presence}{carbons}{resumable}",
                    NAMES[*user], RESOURCES[*resource]
                )
            }
            Act::ComeBack { who } => write!(f, "client {who} comes back"),
            Act::Message { who, number, to, resource, save } => {
                let resource = resource.map(|resource| format!("/{}", RESOURCES[resource])).unwrap_or_default();
                let save = if *save { ", to be kept" } else { "" };
                write!(f, "client {who} sends message {number} to {}{resource}{save}", NAMES[*to])
            }
            Act::Presence { who, kind, .. } => write!(f, "client {who} sends presence {kind}"),
            Act::Subscription { who, to, kind, .. } => write!(f, "client {who} sends {kind} to {}", NAMES[*to]),
            Act::Forget { who, contact, .. } => write!(f, "client {who} removes {}", NAMES[*contact]),
            Act::Ask { who, id, kind, about } => {
                write!(f, "client {who} asks question {kind} about {} (q{id})", NAMES[*about])
            }
            Act::Enter { who, group, history } => {
                let history = if *history { ", and wants to hear what was said" } else { "" };
                write!(f, "client {who} enters the room of g{group}{history}")
            }
            Act::Exit { who, group } => write!(f, "client {who} leaves the room of g{group}"),
            Act::Say { who, group, number, save } => {
                let save = if *save { ", to be kept" } else { "" };
                write!(f, "client {who} says {number} in g{group}{save}")
            }
            Act::Again { who, number } => write!(f, "client {who} sends message {number} again"),
            Act::Displayed { who, number, .. } => write!(f, "client {who} says that it has shown {number}"),
            Act::Create { by, group, others, .. } => {
                let others: Vec<&str> = others.iter().map(|user| NAMES[*user]).collect();
                write!(f, "{} makes g{group} with {}", NAMES[*by], others.join(", "))
            }
            Act::Change { by, group, push, pull, .. } => {
                let name = |user: &Option<usize>| user.map_or("nobody", |user| NAMES[user]);
                write!(f, "{} takes {} into g{group} and {} out", NAMES[*by], name(push), name(pull))
            }
            Act::Delete { by, group, force: true, .. } => write!(f, "{} ends g{group}", NAMES[*by]),
            Act::Delete { by, group, force: false, .. } => write!(f, "{} leaves g{group}", NAMES[*by]),
            Act::Post { by, message, place, live, .. } => {
                write!(f, "{} posts {message} to {place:?}{}", NAMES[*by], if *live { ", live" } else { "" })
            }
            Act::Read { by, place, message, mark, .. } => {
                let which = message.map_or_else(|| format!("all of {place:?}"), |number| number.to_string());
                write!(f, "{} marks {which}: {mark:?}", NAMES[*by])
            }
            Act::Remove { by, message, force, .. } => {
                write!(f, "{} takes {message} away{}", NAMES[*by], if *force { " for all" } else { "" })
            }
            Act::Count { who } => write!(f, "client {who} asks for a count"),
            Act::Leave { who } => write!(f, "client {who} leaves"),
            Act::Cut { who } => write!(f, "client {who} is cut off"),
            Act::Stall { who, stalled: true } => write!(f, "client {who} stops reading"),
            Act::Stall { who, stalled: false } => write!(f, "client {who} reads again"),
            Act::Block { who, other, block, .. } => {
                write!(f, "client {who} {}blocks {}", if *block { "" } else { "un" }, NAMES[*other])
            }
            Act::Deny { who, other, .. } => {
                write!(
                    f,
                    "client {who} makes a list the default that denies {}",
                    other.map_or("nobody", |it| NAMES[it])
                )
            }
            Act::Clock { secs } => write!(f, "the calendar is set {secs} seconds on"),
            Act::BreakDisk => write!(f, "the disk breaks"),
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
