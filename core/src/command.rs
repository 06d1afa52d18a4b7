//! What owners can be asked to do, besides carrying stanzas: by REST, by the command line, and by one another.
//!
//! Commands are data that can be stored (a job repeats its command until it is confirmed) and that can be applied twice without
//! harm.

use serde::{Deserialize, Serialize};

use crate::error::Condition;
use crate::jid::user::UserId;
use crate::model::{account, dialog, directory, upload};
use crate::stream::Entered;

/// Something to do, by the kind of owner that does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// For an app directory.
    Directory(directory::Command),
    /// For an account.
    Account(account::Command),
    /// For a dialog.
    Dialog(dialog::Command),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// From an app directory.
    Directory(directory::Answer),
    /// From an account.
    Account(account::Answer),
    /// From a dialog.
    Dialog(Box<dialog::Answered>),
    /// From an account, to a client that wants to come in; not to a command.
    Entry(Box<Result<Entered, Condition>>),
    /// From an account, about a file.
    Upload(upload::Answer),
    /// From an account, about itself.
    Report(account::Report),
    /// From all shards: the users of an app who are connected.
    Online(Vec<UserId>),
    /// The store refuses writes or a row cannot be read; nothing was changed.
    Unavailable,
}
