//! What a dialog can be asked to do, and what it answers. Each command can be applied twice.

use serde::{Deserialize, Serialize};

use super::{Content, Data, DialogKind, DialogRow, Head, MessageRow, Receipt};
use crate::jid::user::{MessageId, UserId};
use crate::model::inbox;

/// Something for a dialog to do. Whoever is `by` is a user of the dialog's app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the dialog. If it is there already, it is shown again to `by` and answered as it is; one that is there with another
    /// kind or for others is refused.
    Create {
        /// Who makes it; an occupant, unless it is public.
        by: UserId,
        /// Which kind. The id of a private one is [`crate::jid::user::DialogId::private`]'s.
        kind: DialogKind,
        /// For groups.
        name: Option<String>,
        /// For groups.
        photo: Option<String>,
        /// The others, in any order; `by` may be among them.
        occupants: Vec<UserId>,
        /// Custom parameters.
        data: Option<Data>,
    },
    /// Changes it.
    Update {
        /// Who.
        by: UserId,
        /// What.
        change: Change,
    },
    /// Takes it away: from the sight of `by`, or with `force` for all.
    Delete {
        /// Who.
        by: UserId,
        /// For all, with its history.
        force: bool,
    },
    /// Adds a message to the history, and sends it to those it is for if that is asked.
    Save(Draft),
    /// Changes what `by` has read or received.
    Mark {
        /// Who.
        by: UserId,
        /// Of which messages.
        which: Which,
        /// What.
        marks: Marks,
        /// What is not in this dialog may be in another one of the user's, which is to be found.
        astray: bool,
    },
    /// Changes the text of messages of `by`.
    Edit {
        /// Who.
        by: UserId,
        /// Which.
        ids: Vec<MessageId>,
        /// The new text.
        text: String,
    },
    /// Takes messages away: from the sight of `by`, or with `force` for all.
    Remove {
        /// Who.
        by: UserId,
        /// Which.
        ids: Vec<MessageId>,
        /// For all; messages of `by` alone.
        force: bool,
    },
    /// Tells the members' lists again where the dialog stands; after a restart.
    Announce,
}

impl From<Command> for crate::command::Command {
    fn from(command: Command) -> crate::command::Command {
        crate::command::Command::Dialog(command)
    }
}

/// What an update changes; what is not there stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The name.
    pub name: Option<String>,
    /// The photo; the inner `None` takes it away.
    pub photo: Option<Option<String>>,
    /// Custom parameters, each of which replaces the one of its name.
    pub data: Option<Data>,
    /// Who comes in.
    pub push: Vec<UserId>,
    /// Who goes out.
    pub pull: Vec<UserId>,
}

/// A message to be saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Who sends it.
    pub by: UserId,
    /// The id it is to have. Whoever repeats a command draws it before.
    pub id: MessageId,
    /// Of a private dialog that may not be there yet, the other one.
    pub to: Option<UserId>,
    /// What it says.
    pub content: Content,
    /// It asks for markers. XEP-0333.
    pub markable: bool,
    /// Whether it also goes out over XMPP.
    pub delivery: Delivery,
    /// In a private dialog, the other one's account has let it pass. XEP-0016
    pub admitted: bool,
}

/// How a message that came over REST goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// Not at all: it is only added to the history.
    None,
    /// As a message of the conversation.
    Chat,
    /// As a system notification to each of the others, and it is not saved. Server notes §3.9.
    System,
}

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// These; those that are not in the dialog are passed over.
    Ids(Vec<MessageId>),
    /// All there are.
    All,
}

/// What to mark; what is not said stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Read (and so delivered), or no longer read.
    pub read: Option<bool>,
    /// Delivered.
    pub delivered: bool,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The answer itself.
    pub answer: Answer,
    /// What the list of the one who asked becomes. It is on its way there; whoever wants to be sure that it has arrived asks the
    /// account to do it once more.
    pub inbox: Option<inbox::Command>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The dialog as it is now, and what the one who asked has not read in it.
    Dialog {
        /// What it is.
        record: Box<DialogRow>,
        /// Its last message.
        head: Box<Head>,
        /// Messages to read.
        unread: u64,
    },
    /// The message as it is now, and the marks of the one who asked. Of a new one the sender is the only reader.
    Message {
        /// The message.
        row: Box<MessageRow>,
        /// Its kind of dialog: in public ones nobody is listed as a reader.
        kind: DialogKind,
        /// Set when the sender has said something of it.
        receipt: Option<Receipt>,
    },
    /// What became of each message named.
    Sorted {
        /// It is as the command says.
        done: Vec<MessageId>,
        /// Not for this user.
        denied: Vec<MessageId>,
        /// Not in this dialog, or not in the user's sight.
        missing: Vec<MessageId>,
    },
    /// It is as the command says.
    Done,
    /// Nothing has changed.
    Refused(Refusal),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such dialog.
    #[error("the dialog does not exist")]
    NoDialog,
    /// Not for this user.
    #[error("the user has no right to do that")]
    Forbidden,
    /// Some of the users named do not exist.
    #[error("occupants that do not exist")]
    UnknownUsers,
    /// A private dialog is for two.
    #[error("too many occupants for a private dialog")]
    TooManyForPrivate,
    /// Nobody else is named, or a user of a private dialog is to come or go.
    #[error("wrong occupants")]
    WrongOccupants,
    /// More than [`crate::limits::OCCUPANTS_MAX`].
    #[error("too many occupants")]
    TooManyOccupants,
    /// The id is that of a message of another user, or of another kind of dialog.
    #[error("the id is taken")]
    Taken,
}
