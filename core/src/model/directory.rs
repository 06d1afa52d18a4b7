//! The directory of an app: the serialising owner of what is unique or listed in it. And, as the directory of app 0, of the apps.
//!
//! It keeps the [members] with the names that lead to them, the [sessions] of the REST API with their nonces, and counters. What
//! also concerns the account of the user goes there in one of two ways:
//!
//! | Change | Order | A crash in between leaves |
//! |---|---|---|
//! | sign-up, update, new password | directory, with a job for the account | the job, which is repeated; the caller was not answered |
//! | removal | directory, with a job | a login that still works until the job is done, right after the restart |
//! | a session becomes a user's | account, then directory | a token that nobody was told is the user's; it expires |
//! | a session stops being a user's | account, then directory | a REST session that its holder, who was not answered, ends again |
//!
//! In the two first rows the REST call also asks the account itself and answers when that has committed too: who was told of a
//! change finds it everywhere. Commands to accounts carry versions, so the job that arrives later changes nothing.
//!
//! User numbers and session numbers are never used twice: the counters' row is written with whatever needed a number.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::effect::Turn;
use crate::jid::user::{AppId, DialogId, UserId};
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::sasl::credentials::{Credentials, TokenDigest};
use crate::time::Timestamp;

use super::account::RecordCommand;
use super::profile::{Field, NameKind, Profile};

pub mod apps;
pub mod dialogs;
pub mod members;
pub mod sessions;

pub use apps::{ACCOUNT_KEYS, APPS, AppKeys, AppRecord};
pub use dialogs::PUBLIC_DIALOGS;
pub use members::{MEMBERS, NAMES, RESETS};
pub use sessions::{NONCES, SESSIONS, SessionRow};

/// app → the last numbers given out.
pub static COUNTERS: Table = Table::new("counters");

const COUNTERS_VERSION: u8 = 1;

/// The directory that keeps the apps themselves. No user and no session belongs to it.
pub const SERVER: AppId = AppId(0);

/// Something for a directory to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Makes an app; for the directory of [`SERVER`]. The keys say which: asked again, it answers with the app that has them.
    CreateApp {
        /// For people.
        name: String,
        /// Drawn by the caller.
        keys: AppKeys,
    },
    /// Makes a user.
    Register {
        /// What is set; the rest is empty.
        fields: Vec<Field>,
        /// The first password.
        credentials: Credentials,
    },
    /// Changes a user.
    Update {
        /// Whom.
        user: UserId,
        /// What.
        fields: Vec<Field>,
        /// A new password.
        secret: Option<NewSecret>,
    },
    /// Removes a user. The number stays used.
    Remove {
        /// Whom.
        user: UserId,
        /// The sessions that end with the user.
        sessions: Vec<TokenDigest>,
    },
    /// The user did something (came online, called REST).
    Seen {
        /// Who.
        user: UserId,
    },
    /// Begins a session.
    OpenSession {
        /// Its token.
        token: TokenDigest,
        /// Whose it is; none makes an application session.
        user: Option<UserId>,
        /// The caller's nonce and Unix seconds: the pair is good once.
        nonce: i64,
        /// As above.
        timestamp: u64,
    },
    /// A session was used.
    TouchSession {
        /// Which.
        token: TokenDigest,
        /// Whose it was when it was used.
        user: Option<UserId>,
    },
    /// A session changes hands: to a user, or back to the application alone.
    AssignSession {
        /// Which.
        token: TokenDigest,
        /// To whom.
        user: Option<UserId>,
    },
    /// Ends sessions.
    CloseSessions {
        /// Which.
        tokens: Vec<TokenDigest>,
    },
    /// Lets whoever has the code set a new password, once, for an hour. A user has one such code; a new one replaces it.
    OfferReset {
        /// For whom.
        user: UserId,
        /// The digest of the code.
        code: TokenDigest,
    },
    /// Sets a new password by a code.
    TakeReset {
        /// For whom.
        user: UserId,
        /// The digest of the code.
        code: TokenDigest,
        /// The new password.
        credentials: Credentials,
    },
    /// A public dialog has this name, or is no more.
    ListDialog {
        /// Which.
        dialog: DialogId,
        /// Its name; none takes it off the list.
        name: Option<String>,
    },
}

impl From<Command> for crate::command::Command {
    fn from(command: Command) -> crate::command::Command {
        crate::command::Command::Directory(command)
    }
}

/// A new password in the place of one that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSecret {
    /// The new one.
    pub credentials: Credentials,
    /// The version of the one that the caller proved to know. If it is no longer the user's, nothing changes.
    pub replaces: u64,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is as the command says.
    Done,
    /// The app.
    App(AppRecord),
    /// The user as they are now.
    User(Box<Profile>),
    /// The session as it is now.
    Session(SessionRow),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a directory changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Other users have these names.
    Taken(Vec<NameKind>),
    /// Neither a login nor an e-mail would be left to log in with.
    Nameless,
    /// The nonce was used with this timestamp before.
    NonceUsed,
    /// There is no such session, or it is over.
    NoSession,
    /// There is no such user.
    NoUser,
    /// The password that was checked is no longer the user's.
    SecretChanged,
    /// The code is wrong, used or too old.
    NoReset,
    /// The user was offered a reset moments ago; a mail is on its way.
    ResetOffered,
    /// Apps are made in the directory of [`SERVER`], and nothing else is.
    WrongDirectory,
}

/// The last numbers given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counters {
    app: u32,
    user: u64,
    session: u64,
    job: u64,
}

/// The state of a directory in memory. Lives on the shard that owns the app.
#[derive(Debug)]
pub struct Directory {
    app: AppId,
    counters: Counters,
    nonces_pruned_at: Timestamp,
}

/// The rows that [`Directory::load`] needs.
pub fn load_reads(app: AppId) -> Reads {
    Reads::get(&COUNTERS, Key::of(&Owner::App(app)))
}

/// The rows that a command needs.
pub fn plan(app: AppId, command: &Command) -> Reads {
    match command {
        Command::CreateApp { keys, .. } => apps::plan_create(keys),
        Command::Register { fields, .. } => members::plan_names(app, fields, Reads::none()),
        Command::Update { user, fields, .. } => members::plan_names(app, fields, members::read(app, *user)),
        Command::Remove { user, .. } | Command::Seen { user } => members::read(app, *user),
        Command::OpenSession { token, user, nonce, timestamp } => {
            sessions::plan_open(app, token, *user, (*nonce, *timestamp))
        }
        Command::TouchSession { token, user } | Command::AssignSession { token, user } => {
            sessions::plan_session(app, token, *user)
        }
        Command::CloseSessions { .. } | Command::ListDialog { .. } => Reads::none(),
        Command::OfferReset { user, .. } | Command::TakeReset { user, .. } => members::plan_reset(app, *user),
    }
}

impl Directory {
    /// The directory as its rows have it; one that has none begins empty.
    pub fn load(app: AppId, mut rows: Rows) -> Result<Directory, Unreadable> {
        let counters = rows.decoded(COUNTERS_VERSION)?.unwrap_or_default();
        Ok(Directory { app, counters, nonces_pruned_at: Timestamp::default() })
    }

    /// Applies a command to the rows that [`plan`] asked for.
    pub fn apply(&mut self, turn: &mut Turn<'_>, command: Command, rows: &mut Rows) -> Result<Answer, Unreadable> {
        let makes_app = matches!(command, Command::CreateApp { .. });
        if makes_app != (self.app == SERVER) {
            return Ok(Answer::Refused(Refusal::WrongDirectory));
        }
        match command {
            Command::CreateApp { name, keys } => self.create_app(turn, name, keys, rows),
            Command::Register { fields, credentials } => self.register(turn, fields, credentials, rows),
            Command::Update { user, fields, secret } => self.update(turn, user, fields, secret, rows),
            Command::Remove { user, sessions } => self.remove(turn, user, &sessions, rows),
            Command::Seen { .. } => self.seen(turn, rows),
            Command::OpenSession { token, user, nonce, timestamp } => {
                self.open_session(turn, token, user, (nonce, timestamp), rows)
            }
            Command::TouchSession { token, user } => self.touch_session(turn, token, user, rows),
            Command::AssignSession { token, user } => self.assign_session(turn, token, user, rows),
            Command::CloseSessions { tokens } => Ok(self.close_sessions(turn, &tokens)),
            Command::OfferReset { code, .. } => self.offer_reset(turn, code, rows),
            Command::TakeReset { code, credentials, .. } => self.take_reset(turn, code, credentials, rows),
            Command::ListDialog { dialog, name } => Ok(self.list_dialog(turn, dialog, name)),
        }
    }

    fn owner(&self) -> Owner {
        Owner::App(self.app)
    }

    /// Adds the counters' row to the batch that needed a number.
    fn keep_counters(&self, batch: &mut Batch) {
        batch.put(&COUNTERS, Key::of(&self.owner()), row::encode(COUNTERS_VERSION, &self.counters));
    }

    /// Commits the batch and sees to it that the account does its part.
    fn write_and_tell(&mut self, turn: &mut Turn<'_>, mut batch: Batch, user: UserId, command: RecordCommand) {
        self.counters.job += 1;
        self.keep_counters(&mut batch);
        let to = Owner::Account(AccountId { app: self.app, user });
        turn.out.send_surely(self.owner(), self.counters.job, batch, to, command.into());
    }
}

/// A row that only marks its key.
fn mark() -> Bytes {
    row::encode(1, &())
}
