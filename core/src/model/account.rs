//! What an account keeps of its user for logging in and chatting: credentials, a copy of the profile, live tokens.
//!
//! A live REST session of a user is also a password for XMPP, so the account has a row for its token, with SCRAM keys derived
//! from the user's own salt. The token enters here *before* the directory says that the session is the user's, and leaves here
//! *before* the directory says that it is not: whatever a crash leaves between the two, a token that the client was told is
//! alive works, and one that it was told is dead does not. A token that entered and whose session never came to be is known to
//! nobody and expires.

use serde::{Deserialize, Serialize};

use super::dialog::Draft;
use super::directory::{self, MEMBERS, members};
use crate::command::Command as AnyCommand;
use crate::effect::{Effect, Note, Turn};
use crate::jid::user::DialogId;
use crate::limits::TOKENS_PER_USER_MAX;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::sasl::credentials::{Credentials, TokenDigest, TokenRecord};
use crate::time::Timestamp;

/// account → [`AccountRow`].
pub static USERS: Table = Table::new("users");
/// account, token digest → [`TokenRow`].
pub static TOKENS: Table = Table::new("tokens");

const USER_VERSION: u8 = 1;
const TOKEN_VERSION: u8 = 1;

/// The version of a user's first password.
pub const FIRST_SECRET: u64 = 1;

/// What the account keeps of the user. The account exists while this row does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountRow {
    /// For SASL and for REST logins.
    pub credentials: Credentials,
    /// Which password of the user that is, counted by the directory.
    pub secret_version: u64,
    /// The copy of the profile.
    pub card: Card,
}

impl AccountRow {
    /// Reads a row of [`USERS`].
    pub fn read(value: &[u8]) -> Result<AccountRow, Unreadable> {
        row::decode(USER_VERSION, value)
    }
}

/// The part of a profile that chat needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which state of the profile this is, counted by the directory.
    pub version: u64,
    /// The login.
    pub login: Option<String>,
    /// The name shown to others.
    pub full_name: Option<String>,
    /// When the user signed up.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Card(version {}, private)", self.version)
    }
}

/// A live session token of the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Its digest and keys.
    pub record: TokenRecord,
    /// When it came to this user.
    pub created_at: Timestamp,
    /// When it stops being a password.
    pub expires_at: Timestamp,
}

/// Something for an account to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Changes what this module keeps.
    Record(RecordCommand),
    /// A step of the subscription protocol that another account took (RFC 6121 §3, appendix A). The roster's engine applies it.
    Subscription(Subscription),
    /// Changes the list of the user's dialogs.
    Inbox(super::inbox::Command),
    /// A message that another user sends over REST. Unless this one keeps the other away, it goes back to their dialog, which
    /// answers. XEP-0016
    Judge {
        /// The dialog of the two.
        dialog: DialogId,
        /// The message.
        draft: Draft,
    },
    /// A file comes over HTTP.
    Upload(super::upload::Command),
    /// A step that is a request of this number, or answers one.
    Numbered(Subscription, u64),
    /// Says how things stand; the answer is a [`Report`].
    Report,
    /// Ends the user's session with this resource, or all of them. The answer is a [`Report`] with those that ended.
    EndSessions {
        /// The resource.
        resource: Option<String>,
    },
}

impl Command {
    /// A step of the subscription protocol; zero is no number.
    pub fn step(step: Subscription, number: u64) -> Command {
        if number == 0 { Command::Subscription(step) } else { Command::Numbered(step, number) }
    }
}

/// How things stand with an account, for those who administer the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether there is such a user.
    pub exists: bool,
    /// The resources that are connected.
    pub resources: Vec<String>,
    /// How many contacts the user has.
    pub contacts: usize,
}

/// A presence subscription stanza on its way to its other side, repeated until that side has stored what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// The bare JID of the sender.
    pub from: String,
    /// Which of the four.
    pub kind: SubscriptionKind,
    /// The stanza as it is delivered.
    pub stanza: Vec<u8>,
}

/// The four presence types that change subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants are the values of the type attribute")]
pub enum SubscriptionKind {
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
}

/// A change of what this module keeps. Each can be applied twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RecordCommand {
    /// The directory has a new user.
    Create {
        /// The copy of the profile.
        card: Card,
        /// The first password.
        credentials: Credentials,
    },
    /// The directory has changed a user; what is older than the account's own is ignored, each part by its own version.
    Revise {
        /// The copy of the profile.
        card: Card,
        /// A new password and its version.
        secret: Option<(u64, Credentials)>,
    },
    /// A session becomes the user's. Beyond [`TOKENS_PER_USER_MAX`] the one ends that was not used for the longest time.
    AddToken {
        /// Digest and keys.
        record: TokenRecord,
        /// When it stops being a password, if nobody uses it before.
        expires_at: Timestamp,
    },
    /// The session was used.
    ExtendToken {
        /// Which.
        digest: TokenDigest,
        /// Its new end.
        expires_at: Timestamp,
    },
    /// The session is no longer the user's.
    RemoveToken {
        /// Which.
        digest: TokenDigest,
    },
    /// The directory has removed the user: everything the account has goes.
    Delete,
}

impl RecordCommand {
    /// Whether the user has another password afterwards; `now` is the version of the one there is.
    pub fn renews_secret(&self, now: Option<u64>) -> bool {
        match self {
            RecordCommand::Revise { secret: Some((version, _)), .. } => now.is_some_and(|now| *version > now),
            RecordCommand::Revise { secret: None, .. }
            | RecordCommand::Create { .. }
            | RecordCommand::AddToken { .. }
            | RecordCommand::ExtendToken { .. }
            | RecordCommand::RemoveToken { .. }
            | RecordCommand::Delete => false,
        }
    }
}

impl From<RecordCommand> for AnyCommand {
    fn from(command: RecordCommand) -> AnyCommand {
        AnyCommand::Account(Command::Record(command))
    }
}

impl From<Command> for AnyCommand {
    fn from(command: Command) -> AnyCommand {
        AnyCommand::Account(command)
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is as the command says.
    Done,
    /// There is no such account, and nothing to change.
    NoAccount,
}

/// Where the account's row is.
pub fn user_key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}

/// Where the row of one token is.
pub fn token_key(id: AccountId, digest: &TokenDigest) -> Key {
    Key::of(&Owner::Account(id)).bytes(digest.as_bytes())
}

/// The account's row, for whoever loads the account (or only looks at it).
pub fn load_reads(id: AccountId) -> Reads {
    Reads::get(&USERS, user_key(id))
}

/// Takes the answer to [`load_reads`].
pub fn load(rows: &mut Rows) -> Result<Option<AccountRow>, Unreadable> {
    rows.decoded(USER_VERSION)
}

/// The rows that a command needs besides the account's own, which its owner keeps.
pub fn plan(id: AccountId, command: &RecordCommand) -> Reads {
    match command {
        RecordCommand::Create { .. } => Reads::get(&MEMBERS, members::key(id.app, id.user)),
        RecordCommand::AddToken { .. } | RecordCommand::Delete => all_tokens(id),
        RecordCommand::ExtendToken { digest, .. } => Reads::get(&TOKENS, token_key(id, digest)),
        RecordCommand::Revise { .. } | RecordCommand::RemoveToken { .. } => Reads::none(),
    }
}

fn all_tokens(id: AccountId) -> Reads {
    // One more than there may be: a token that is being added can be there already.
    Reads::scan(&TOKENS, user_key(id).all_below(), TOKENS_PER_USER_MAX + 1)
}

/// Applies a command. `row` is the account's own row as its owner has it; what the command makes of it is left there, and the
/// write that makes it durable is in the turn's effects.
///
/// [`RecordCommand::Delete`] removes the rows of this module; the owner adds the ranges of its other tables and ends the
/// account's streams.
pub fn apply(
    id: AccountId,
    command: RecordCommand,
    rows: &mut Rows,
    row: &mut Option<AccountRow>,
    turn: &mut Turn<'_>,
) -> Result<Answer, Unreadable> {
    match command {
        RecordCommand::Create { card, credentials } => {
            // A repeated Create that arrives after the user was removed again must not bring the account back.
            let member = rows.row().is_some();
            if row.is_some() || !member {
                return Ok(if member { Answer::Done } else { Answer::NoAccount });
            }
            put(id, row.insert(AccountRow { credentials, secret_version: FIRST_SECRET, card }), turn);
            Ok(Answer::Done)
        }
        RecordCommand::Revise { card, secret } => {
            let Some(row) = row else { return Ok(Answer::NoAccount) };
            if revise(row, card, secret) {
                put(id, row, turn);
            }
            Ok(Answer::Done)
        }
        RecordCommand::AddToken { record, expires_at } => {
            let tokens = tokens_of(rows.page())?;
            if row.is_none() {
                return Ok(Answer::NoAccount);
            }
            add_token(id, tokens, record, expires_at, turn);
            Ok(Answer::Done)
        }
        RecordCommand::ExtendToken { digest, expires_at } => {
            if let Some(mut token) = rows.decoded::<TokenRow>(TOKEN_VERSION)?
                && token.expires_at < expires_at
            {
                token.expires_at = expires_at;
                let mut batch = Batch::default();
                batch.put(&TOKENS, token_key(id, &digest), row::encode(TOKEN_VERSION, &token));
                turn.out.push(Effect::WriteBehind(batch));
            }
            Ok(Answer::Done)
        }
        RecordCommand::RemoveToken { digest } => {
            let mut batch = Batch::default();
            batch.delete(&TOKENS, token_key(id, &digest));
            turn.out.write(batch);
            Ok(Answer::Done)
        }
        RecordCommand::Delete => {
            let tokens = tokens_of(rows.page())?;
            if row.take().is_none() {
                return Ok(Answer::NoAccount);
            }
            let mut batch = Batch::default();
            batch.delete(&USERS, user_key(id));
            batch.delete_range(&TOKENS, user_key(id).all_below());
            turn.out.write(batch);
            close(id, tokens.iter().map(|token| *token.record.digest()).collect(), turn);
            Ok(Answer::Done)
        }
    }
}

/// Takes over what is newer; says whether anything was.
fn revise(row: &mut AccountRow, card: Card, secret: Option<(u64, Credentials)>) -> bool {
    let newer_card = card.version > row.card.version;
    if newer_card {
        row.card = card;
    }
    match secret {
        Some((version, credentials)) if version > row.secret_version => {
            row.secret_version = version;
            row.credentials = credentials;
            true
        }
        Some(_) | None => newer_card,
    }
}

fn add_token(
    id: AccountId,
    mut tokens: Vec<TokenRow>,
    record: TokenRecord,
    expires_at: Timestamp,
    turn: &mut Turn<'_>,
) {
    let now = turn.now.stamp;
    tokens.retain(|token| !token.record.digest().matches(record.digest()));
    let (mut live, expired): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| token.expires_at > now);
    // What was used last goes last: a session lives for a time after each use.
    live.sort_by_key(|token| (token.expires_at, token.created_at));
    let surplus = (live.len() + 1).saturating_sub(TOKENS_PER_USER_MAX);
    let ended: Vec<TokenDigest> = live.drain(..surplus).map(|token| *token.record.digest()).collect();

    let mut batch = Batch::default();
    for digest in expired.iter().map(|token| token.record.digest()).chain(&ended) {
        batch.delete(&TOKENS, token_key(id, digest));
    }
    let key = token_key(id, record.digest());
    batch.put(&TOKENS, key, row::encode(TOKEN_VERSION, &TokenRow { record, created_at: now, expires_at }));
    turn.out.write(batch);
    close(id, ended, turn);
}

/// Tells the directory that sessions are over. Nobody repeats this if it is lost: such a session no longer logs in over XMPP and
/// ends by itself two hours after its last use.
fn close(id: AccountId, tokens: Vec<TokenDigest>, turn: &mut Turn<'_>) {
    if tokens.is_empty() {
        return;
    }
    let command = AnyCommand::Directory(directory::Command::CloseSessions { tokens });
    turn.out.send(Owner::App(id.app), Note::Command { command, reply: None, job: None });
}

fn put(id: AccountId, row: &AccountRow, turn: &mut Turn<'_>) {
    let mut batch = Batch::default();
    batch.put(&USERS, user_key(id), row::encode(USER_VERSION, row));
    turn.out.write(batch);
}

fn tokens_of(page: Vec<(Key, bytes::Bytes)>) -> Result<Vec<TokenRow>, Unreadable> {
    page.iter().map(|(_, value)| row::decode(TOKEN_VERSION, value)).collect()
}

/// What SASL needs to know of a user.
#[derive(Clone, Debug)]
pub struct LoginFacts {
    /// Salt, rounds and the password's keys.
    pub credentials: Credentials,
    /// The live tokens, those used last first, at most [`TOKENS_PER_USER_MAX`].
    pub tokens: Vec<TokenRecord>,
    /// Which password of the user that is.
    pub secret_version: u64,
}

/// The rows for [`login_facts`]; any shard may look.
pub fn login_reads(id: AccountId) -> Reads {
    Reads::get(&USERS, user_key(id)).and_scan(&TOKENS, user_key(id).all_below(), TOKENS_PER_USER_MAX + 1)
}

/// What SASL needs; `None` when there is no such account.
pub fn login_facts(now: Timestamp, mut rows: Rows) -> Result<Option<LoginFacts>, Unreadable> {
    let row: Option<AccountRow> = rows.decoded(USER_VERSION)?;
    let mut tokens = tokens_of(rows.page())?;
    let Some(row) = row else { return Ok(None) };
    tokens.retain(|token| token.expires_at > now);
    tokens.sort_by_key(|token| std::cmp::Reverse((token.expires_at, token.created_at)));
    tokens.truncate(TOKENS_PER_USER_MAX);
    let tokens = tokens.into_iter().map(|token| token.record).collect();
    Ok(Some(LoginFacts { credentials: row.credentials, tokens, secret_version: row.secret_version }))
}

/// The digests of a user's tokens, dead ones included, from the page of a scan over [`TOKENS`].
pub fn digests(page: Vec<(Key, bytes::Bytes)>) -> Result<Vec<TokenDigest>, Unreadable> {
    Ok(tokens_of(page)?.iter().map(|token| *token.record.digest()).collect())
}

/// The scan for [`digests`].
pub fn digest_reads(id: AccountId) -> Reads {
    all_tokens(id)
}
