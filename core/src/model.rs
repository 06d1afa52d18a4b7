//! Rows that XMPP and REST share, and the commands that change them.
//!
//! Two kinds of owner keep a user. The [`directory`] of the app has what must be unique or listed: names, profiles,
//! REST sessions, counters. The [`account`] has what logging in and chatting need. What two or more of them share is a
//! [`dialog`]'s, and their lists of those are in the [`inbox`]. None writes the other's rows. The order
//! in which a change reaches the two is written at each command, chosen so that a crash between them leaves something that is
//! safe and that a repetition completes; where the second step must happen, a [job](jobs) sees to it.
//!
//! *Invariants.* An owner's commands are applied one after another, and the rows planned for one show the writes of those
//! before it. A command that travels as a job can be applied twice, and late, without harm.

use crate::row::Table;

pub mod account;
pub mod dialog;
pub mod directory;
pub mod inbox;
pub mod jobs;
pub mod profile;
pub mod token;
pub mod upload;

/// The tables of these modules, for whoever opens the store.
pub static TABLES: &[&Table] = &[
    &account::USERS,
    &account::TOKENS,
    &directory::APPS,
    &directory::ACCOUNT_KEYS,
    &directory::COUNTERS,
    &directory::MEMBERS,
    &directory::NAMES,
    &directory::RESETS,
    &directory::SESSIONS,
    &directory::NONCES,
    &directory::PUBLIC_DIALOGS,
    &jobs::JOBS,
    &dialog::DIALOGS,
    &dialog::HEADS,
    &dialog::MESSAGES,
    &dialog::MESSAGE_IDS,
    &dialog::RECEIPTS,
    &dialog::READERS,
    &dialog::HIDDEN,
    &dialog::CARDS,
    &dialog::DIRTY,
    &inbox::INBOX,
    &inbox::NOTIFICATIONS,
];

#[cfg(test)]
mod tests;
