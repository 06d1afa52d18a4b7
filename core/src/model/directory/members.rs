//! The users of an app: their records, the names that lead to them, and what lets them back in without a password.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, Directory, NewSecret, Refusal};
use crate::effect::{Effect, Turn};
use crate::jid::user::{AppId, UserId};
use crate::model::account::{FIRST_SECRET, RecordCommand};
use crate::model::profile::{Field, Fields, Name, NameKind, Profile, names_in};
use crate::owner::Owner;
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::sasl::credentials::{Credentials, TokenDigest};
use crate::time::Timestamp;

/// app, user → [`Profile`].
pub static MEMBERS: Table = Table::new("members");
/// app, kind, folded name → user.
pub static NAMES: Table = Table::new("names");
/// app, user → the code that resets the password.
pub static RESETS: Table = Table::new("resets");

/// How long a reset code is good.
pub const RESET_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// How often one user can be sent a code: anybody who knows an address can ask for one.
pub const RESET_PAUSE_MIN: Duration = Duration::from_secs(60);
/// How exact `last_request_at` is; spares a write for every call.
pub const SEEN_PAUSE_MIN: Duration = Duration::from_secs(60);

const NAME_VERSION: u8 = 1;
const RESET_VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct ResetRow {
    code: TokenDigest,
    created_at: Timestamp,
}

/// Where a user's record is.
pub fn key(app: AppId, user: UserId) -> Key {
    Key::of(&Owner::App(app)).u64(user.0)
}

/// One user's record, as [`found`] takes it.
pub fn read(app: AppId, user: UserId) -> Reads {
    Reads::get(&MEMBERS, key(app, user))
}

/// The record that [`read`] found.
pub fn found(rows: &mut Rows) -> Result<Option<Profile>, Unreadable> {
    rows.row().map(|row| Profile::read(&row)).transpose()
}

/// The next `limit` users after `last`, by number; all of them in that order when repeated.
pub fn read_after(app: AppId, last: UserId, limit: usize) -> Reads {
    let mut range = Key::of(&Owner::App(app)).all_below();
    range.start = key(app, UserId(last.0.saturating_add(1)));
    Reads::scan(&MEMBERS, range, limit)
}

/// The `limit` users before `first`, the nearest first.
pub fn read_before(app: AppId, first: UserId, limit: usize) -> Reads {
    let mut range = Key::of(&Owner::App(app)).all_below();
    range.end = key(app, first);
    Reads::none().and_scan_back(&MEMBERS, range, limit)
}

/// Who has a name, as [`found_name`] takes it.
pub fn read_name(app: AppId, name: &Name) -> Reads {
    Reads::get(&NAMES, name_key(app, name))
}

/// Who [`read_name`] found.
pub fn found_name(rows: &mut Rows) -> Result<Option<UserId>, Unreadable> {
    rows.decoded(NAME_VERSION)
}

fn name_key(app: AppId, name: &Name) -> Key {
    Key::of(&Owner::App(app)).u8(name.kind as u8).text(&name.text)
}

/// `reads`, and who has the names among `fields`.
pub(super) fn plan_names(app: AppId, fields: &[Field], reads: Reads) -> Reads {
    names_in(fields).iter().fold(reads, |reads, name| reads.and_get(&NAMES, name_key(app, name)))
}

/// A user's reset code, as [`is_offered`] takes it.
pub fn read_reset(app: AppId, user: UserId) -> Reads {
    Reads::get(&RESETS, key(app, user))
}

/// Whether the code that [`read_reset`] found is this one, and still good.
pub fn is_offered(rows: &mut Rows, code: &TokenDigest, now: Timestamp) -> Result<bool, Unreadable> {
    let reset = rows.decoded::<ResetRow>(RESET_VERSION)?;
    Ok(reset.is_some_and(|reset| reset.code.matches(code) && now.since(reset.created_at) < RESET_TIME_MAX))
}

/// The user and the code that is out.
pub(super) fn plan_reset(app: AppId, user: UserId) -> Reads {
    read(app, user).and_get(&RESETS, key(app, user))
}

/// The kinds of the names among `fields` that others have.
fn taken(fields: &[Field], by_others_than: Option<UserId>, rows: &mut Rows) -> Result<Vec<NameKind>, Unreadable> {
    let mut kinds = Vec::new();
    for name in names_in(fields) {
        let holder = found_name(rows)?;
        if holder.is_some() && holder != by_others_than {
            kinds.push(name.kind);
        }
    }
    Ok(kinds)
}

impl Directory {
    pub(super) fn register(
        &mut self,
        turn: &mut Turn<'_>,
        fields: Vec<Field>,
        credentials: Credentials,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let kinds = taken(&fields, None, rows)?;
        if !kinds.is_empty() {
            return Ok(Answer::Refused(Refusal::Taken(kinds)));
        }
        self.counters.user += 1;
        let mut profile = Profile {
            id: UserId(self.counters.user),
            fields: Fields::default(),
            created_at: turn.now.stamp,
            updated_at: turn.now.stamp,
            last_request_at: None,
            version: 1,
            secret_version: FIRST_SECRET,
        };
        fields.into_iter().for_each(|field| profile.fields.set(field));
        let mut batch = Batch::default();
        self.rename(&mut batch, profile.id, &Fields::default(), &profile.fields);
        batch.put(&MEMBERS, key(self.app, profile.id), profile.row());
        self.write_and_tell(turn, batch, profile.id, RecordCommand::Create { card: profile.card(), credentials });
        Ok(Answer::User(Box::new(profile)))
    }

    pub(super) fn update(
        &mut self,
        turn: &mut Turn<'_>,
        user: UserId,
        fields: Vec<Field>,
        secret: Option<NewSecret>,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let Some(mut profile) = found(rows)? else { return Ok(Answer::Refused(Refusal::NoUser)) };
        let kinds = taken(&fields, Some(user), rows)?;
        if !kinds.is_empty() {
            return Ok(Answer::Refused(Refusal::Taken(kinds)));
        }
        if secret.as_ref().is_some_and(|secret| secret.replaces != profile.secret_version) {
            return Ok(Answer::Refused(Refusal::SecretChanged));
        }
        let before = profile.clone();
        fields.into_iter().for_each(|field| profile.fields.set(field));
        if profile.fields.login.is_none() && profile.fields.email.is_none() {
            return Ok(Answer::Refused(Refusal::Nameless));
        }
        let mut batch = Batch::default();
        self.rename(&mut batch, user, &before.fields, &profile.fields);
        self.commit(turn, batch, before, profile, secret.map(|secret| secret.credentials))
    }

    /// Writes a changed record, and tells the account if it is concerned: most updates are about fields that chat never shows.
    fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        mut batch: Batch,
        before: Profile,
        mut profile: Profile,
        secret: Option<Credentials>,
    ) -> Result<Answer, Unreadable> {
        let concerned = secret.is_some() || profile.card() != before.card();
        profile.updated_at = turn.now.stamp;
        profile.version += 1;
        if secret.is_some() {
            profile.secret_version += 1;
        }
        batch.put(&MEMBERS, key(self.app, profile.id), profile.row());
        if concerned {
            let secret = secret.map(|credentials| (profile.secret_version, credentials));
            self.write_and_tell(turn, batch, profile.id, RecordCommand::Revise { card: profile.card(), secret });
        } else {
            turn.out.write(batch);
        }
        Ok(Answer::User(Box::new(profile)))
    }

    pub(super) fn remove(
        &mut self,
        turn: &mut Turn<'_>,
        user: UserId,
        sessions: &[TokenDigest],
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let Some(profile) = found(rows)? else { return Ok(Answer::Refused(Refusal::NoUser)) };
        let mut batch = Batch::default();
        self.rename(&mut batch, user, &profile.fields, &Fields::default());
        batch.delete(&MEMBERS, key(self.app, user));
        batch.delete(&RESETS, key(self.app, user));
        self.delete_sessions(&mut batch, sessions);
        self.write_and_tell(turn, batch, user, RecordCommand::Delete);
        Ok(Answer::Done)
    }

    /// Lets go of the names that only `before` has, and takes those that only `after` has.
    fn rename(&self, batch: &mut Batch, user: UserId, before: &Fields, after: &Fields) {
        let (before, after) = (before.names(), after.names());
        for name in before.iter().filter(|name| !after.contains(name)) {
            batch.delete(&NAMES, name_key(self.app, name));
        }
        for name in after.iter().filter(|name| !before.contains(name)) {
            batch.put(&NAMES, name_key(self.app, name), row::encode(NAME_VERSION, &user));
        }
    }

    pub(super) fn seen(&self, turn: &mut Turn<'_>, rows: &mut Rows) -> Result<Answer, Unreadable> {
        let mut batch = Batch::default();
        self.mark_seen(&mut batch, turn.now.stamp, found(rows)?);
        if !batch.is_empty() {
            turn.out.push(Effect::WriteBehind(batch));
        }
        Ok(Answer::Done)
    }

    /// Moves `last_request_at`, unless it was moved moments ago.
    pub(super) fn mark_seen(&self, batch: &mut Batch, now: Timestamp, profile: Option<Profile>) {
        let Some(mut profile) = profile else { return };
        if profile.last_request_at.is_some_and(|at| now.since(at) < SEEN_PAUSE_MIN) {
            return;
        }
        profile.last_request_at = Some(now);
        batch.put(&MEMBERS, key(self.app, profile.id), profile.row());
    }

    pub(super) fn offer_reset(
        &self,
        turn: &mut Turn<'_>,
        code: TokenDigest,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let Some(profile) = found(rows)? else { return Ok(Answer::Refused(Refusal::NoUser)) };
        let now = turn.now.stamp;
        if let Some(reset) = rows.decoded::<ResetRow>(RESET_VERSION)?
            && now.since(reset.created_at) < RESET_PAUSE_MIN
        {
            return Ok(Answer::Refused(Refusal::ResetOffered));
        }
        let mut batch = Batch::default();
        batch.put(&RESETS, key(self.app, profile.id), row::encode(RESET_VERSION, &ResetRow { code, created_at: now }));
        turn.out.write(batch);
        Ok(Answer::User(Box::new(profile)))
    }

    pub(super) fn take_reset(
        &mut self,
        turn: &mut Turn<'_>,
        code: TokenDigest,
        credentials: Credentials,
        rows: &mut Rows,
    ) -> Result<Answer, Unreadable> {
        let profile = found(rows)?;
        let good = is_offered(rows, &code, turn.now.stamp)?;
        let Some(profile) = profile.filter(|_| good) else { return Ok(Answer::Refused(Refusal::NoReset)) };
        let mut batch = Batch::default();
        batch.delete(&RESETS, key(self.app, profile.id));
        self.commit(turn, batch, profile.clone(), profile, Some(credentials))
    }
}
