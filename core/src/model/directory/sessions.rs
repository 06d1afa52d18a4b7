//! The sessions of the REST API. Server notes §8.1.
//!
//! A session's row is found by the digest of its token, which any shard may read. It dies two hours after the last call, but
//! not every call writes: a call tells the directory when the row's `touched_at` is more than [`TOUCH_PAUSE_MIN`] old, and the
//! session ends [`IDLE_TIME_MAX`] plus that pause after `touched_at`. So it lives for two hours after any call at least, and a
//! minute longer at most.
//!
//! Dead rows need no index and no scan of everything: one in `SWEEP_EVERY` new sessions looks at the `SWEPT_ROWS` that
//! follow its own random key and removes the dead among them. That is four rows for each new session, so as many die as come
//! when a quarter of all rows is dead. Not every new session does it, because whoever reads a range has to wait for the writes
//! before it, and sessions are begun in bursts.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Answer, Directory, Refusal, mark, members};
use crate::command::Command as AnyCommand;
use crate::effect::{Effect, Note, Turn};
use crate::jid::object::ObjectId;
use crate::jid::user::{AppId, UserId};
use crate::model::account::RecordCommand;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Range, Reads, Rows, Table, Unreadable};
use crate::sasl::credentials::TokenDigest;
use crate::time::Timestamp;

/// app, token digest → [`SessionRow`].
pub static SESSIONS: Table = Table::new("sessions");
/// app, timestamp, nonce, user → nothing: that they were used. The SDKs draw nonces from ten thousand: of a hundred users who log in
/// in one second two would have the same every other time. Who is to have the session is signed as well.
pub static NONCES: Table = Table::new("nonces");

/// How long a session lives after the last call with it.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// How exact the time of the last call is.
pub const TOUCH_PAUSE_MIN: Duration = Duration::from_secs(60);
/// How far the timestamp of a new session may be from the server's, either way.
pub const TIMESTAMP_OFF_MAX: Duration = Duration::from_secs(60 * 60);

/// One in so many new sessions removes dead rows.
const SWEEP_EVERY: u8 = 32;
/// Rows that it looks at.
const SWEPT_ROWS: usize = 128;
/// How often used nonces are thrown out.
const PRUNE_PAUSE: Duration = Duration::from_secs(10 * 60);
/// How long they are kept: no request passes with a timestamp as old as that, even after the clock was set back by an hour.
const NONCE_TIME: Duration = Duration::from_secs(2 * 60 * 60);

const _: () = assert!(NONCE_TIME.as_secs() >= TIMESTAMP_OFF_MAX.as_secs());

const SESSION_VERSION: u8 = 1;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// A running number.
    pub id: u64,
    /// The `_id`.
    pub object: ObjectId,
    /// Whose it is; none for an application session.
    pub user: Option<UserId>,
    /// What the client began it with.
    pub nonce: i64,
    /// As above, in Unix seconds.
    pub timestamp: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it changed hands last.
    pub updated_at: Timestamp,
    /// The last call, less [`TOUCH_PAUSE_MIN`] at most.
    pub touched_at: Timestamp,
}

impl SessionRow {
    /// Reads a row of [`SESSIONS`].
    pub fn read(value: &[u8]) -> Result<SessionRow, Unreadable> {
        row::decode(SESSION_VERSION, value)
    }

    /// Whether it can still be used.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < ends_after(self.touched_at)
    }

    /// Whether the directory should hear that it is being used.
    pub fn wants_touch(&self, now: Timestamp) -> bool {
        now.since(self.touched_at) >= TOUCH_PAUSE_MIN
    }
}

/// When a session that was touched at that time ends, if nobody uses it.
pub fn ends_after(touched_at: Timestamp) -> Timestamp {
    touched_at.after(IDLE_TIME_MAX).after(TOUCH_PAUSE_MIN)
}

/// A session, as [`found`] takes it.
pub fn read(app: AppId, token: &TokenDigest) -> Reads {
    Reads::get(&SESSIONS, key(app, token))
}

/// The session that [`read`] found, dead or alive.
pub fn found(rows: &mut Rows) -> Result<Option<SessionRow>, Unreadable> {
    rows.row().map(|row| SessionRow::read(&row)).transpose()
}

fn key(app: AppId, token: &TokenDigest) -> Key {
    Key::of(&Owner::App(app)).bytes(token.as_bytes())
}

fn nonce_key(app: AppId, (nonce, timestamp): (i64, u64), user: Option<UserId>) -> Key {
    let user = user.map_or(0, |user| user.0);
    Key::of(&Owner::App(app)).u64(timestamp).bytes(&nonce.to_be_bytes()).u64(user)
}

/// Decided by the end of the digest, which says nothing about where among the others the key lies.
fn sweeps(token: &TokenDigest) -> bool {
    token.as_bytes().last().is_some_and(|byte| byte % SWEEP_EVERY == 0)
}

/// Whether the nonce was used, the user who is to have the session, and perhaps some rows to sweep.
pub(super) fn plan_open(app: AppId, token: &TokenDigest, user: Option<UserId>, used: (i64, u64)) -> Reads {
    let reads = and_user(Reads::get(&NONCES, nonce_key(app, used, user)), app, user);
    if !sweeps(token) {
        return reads;
    }
    let following = Range { start: key(app, token), end: Key::of(&Owner::App(app)).all_below().end };
    reads.and_scan(&SESSIONS, following, SWEPT_ROWS)
}

fn and_user(reads: Reads, app: AppId, user: Option<UserId>) -> Reads {
    match user {
        Some(user) => reads.and_get(&members::MEMBERS, members::key(app, user)),
        None => reads,
    }
}

/// The session, and the user who uses it or is to have it.
pub(super) fn plan_session(app: AppId, token: &TokenDigest, user: Option<UserId>) -> Reads {
    and_user(read(app, token), app, user)
}

fn sweep(batch: &mut Batch, now: Timestamp, page: Vec<(Key, Bytes)>) -> Result<(), Unreadable> {
    for (key, row) in page {
        if !SessionRow::read(&row)?.is_live(now) {
            batch.delete(&SESSIONS, key);
        }
    }
    Ok(())
}

impl Directory {
    pub(super) fn open_session(
        &mut self,
        turn: &mut Turn<'_>,
        token: TokenDigest,
        user: Option<UserId>,
        (nonce, timestamp): (i64, u64),
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let nonce_used = rows.row().is_some();
        let profile = if user.is_some() { members::found(rows)? } else { None };
        let swept = if sweeps(&token) { rows.page() } else { Vec::new() };
        if nonce_used {
            return Ok(Answer::Refused(Refusal::NonceUsed));
        }
        // Sessions are not given to a user who was removed while the password was being checked.
        if user.is_some() && profile.is_none() {
            return Ok(Answer::Refused(Refusal::NoUser));
        }
        let now = turn.now.stamp;
        let mut batch = Batch::default();
        sweep(&mut batch, now, swept)?;
        self.mark_seen(&mut batch, now, profile);
        self.prune_nonces(&mut batch, now);

        self.counters.session += 1;
        let machine = turn.random.array();
        let session = SessionRow {
            id: self.counters.session,
            // The low half of the number alone: with the second and five random bytes it never meets itself again.
            object: ObjectId::new(now.secs() as u32, machine, self.counters.session as u32),
            user,
            nonce,
            timestamp,
            created_at: now,
            updated_at: now,
            touched_at: now,
        };
        batch.put(&NONCES, nonce_key(self.app, (nonce, timestamp), user), mark());
        self.put(&mut batch, &token, &session);
        self.keep_counters(&mut batch);
        turn.out.write(batch);
        Ok(Answer::Session(session))
    }

    fn prune_nonces(&mut self, batch: &mut Batch, now: Timestamp) {
        if now.since(self.nonces_pruned_at) < PRUNE_PAUSE {
            return;
        }
        self.nonces_pruned_at = now;
        let start = Key::of(&self.owner()).u64(0);
        let end = Key::of(&self.owner()).u64(now.secs().saturating_sub(NONCE_TIME.as_secs()));
        batch.delete_range(&NONCES, Range { start, end });
    }

    pub(super) fn touch_session(
        &self,
        turn: &mut Turn<'_>,
        token: TokenDigest,
        user: Option<UserId>,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let now = turn.now.stamp;
        let session = found(rows)?;
        let profile = if user.is_some() { members::found(rows)? } else { None };
        let Some(mut session) = session.filter(|session| session.is_live(now) && session.wants_touch(now)) else {
            return Ok(Answer::Done);
        };
        let mut batch = Batch::default();
        session.touched_at = now;
        self.put(&mut batch, &token, &session);
        self.mark_seen(&mut batch, now, profile);
        turn.out.push(Effect::WriteBehind(batch));
        if let Some(user) = session.user {
            let command = RecordCommand::ExtendToken { digest: token, expires_at: ends_after(now) };
            let to = Owner::Account(AccountId { app: self.app, user });
            turn.out.send(to, Note::Command { command: AnyCommand::from(command), reply: None, job: None });
        }
        Ok(Answer::Done)
    }

    pub(super) fn assign_session(
        &self,
        turn: &mut Turn<'_>,
        token: TokenDigest,
        user: Option<UserId>,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let now = turn.now.stamp;
        let session = found(rows)?;
        let profile = if user.is_some() { members::found(rows)? } else { None };
        let Some(mut session) = session.filter(|session| session.is_live(now)) else {
            return Ok(Answer::Refused(Refusal::NoSession));
        };
        if user.is_some() && profile.is_none() {
            return Ok(Answer::Refused(Refusal::NoUser));
        }
        session.user = user;
        session.updated_at = now;
        session.touched_at = now;
        let mut batch = Batch::default();
        self.put(&mut batch, &token, &session);
        self.mark_seen(&mut batch, now, profile);
        turn.out.write(batch);
        Ok(Answer::Session(session))
    }

    pub(super) fn close_sessions(&self, turn: &mut Turn<'_>, tokens: &[TokenDigest]) -> Answer {
        let mut batch = Batch::default();
        self.delete_sessions(&mut batch, tokens);
        turn.out.write(batch);
        Answer::Done
    }

    pub(super) fn delete_sessions(&self, batch: &mut Batch, tokens: &[TokenDigest]) {
        for token in tokens {
            batch.delete(&SESSIONS, key(self.app, token));
        }
    }

    fn put(&self, batch: &mut Batch, token: &TokenDigest, session: &SessionRow) {
        batch.put(&SESSIONS, key(self.app, token), row::encode(SESSION_VERSION, session));
    }
}
