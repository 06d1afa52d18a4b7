//! `users`: sign-up, records, changes, removal. Wire notes §4, server notes §8.2. Lists and searches are in `list`.

use std::borrow::Cow;

use proto::jid::user::{AppId, UserId};
use proto::model::account::{self, RecordCommand};
use proto::model::directory::{self, Command, NewSecret, Refusal, members};
use proto::model::profile::{Name, NameKind, Profile};
use proto::owner::AccountId;
use proto::sasl::credentials::Credentials;
use serde::Serialize;

use crate::flow::work::{self, Password};
use crate::flow::{Flow, Halt, Moment, ask_account, ask_directory, done, read};
use crate::http::{Method, Response, Status};
use crate::params::Params;
use crate::problem::{Problem, Text};
use crate::route::{Call, Need, Route, Segment};

mod fields;
mod filter;
mod list;
#[cfg(test)]
mod tests;

pub(super) use fields::{Draft, check_password};

const USERS: Segment = Segment::Is("users");
const ALL: &[Segment] = &[USERS];
const ONE: &[Segment] = &[USERS, Segment::Id];
const EXTERNAL: &[Segment] = &[USERS, Segment::Is("external"), Segment::Id];

const fn named(segments: &'static [Segment], handler: crate::route::Handler) -> Route {
    Route { method: Method::Get, path: segments, need: Need::Token, handler }
}

pub(super) static ROUTES: &[Route] = &[
    Route { method: Method::Post, path: ALL, need: Need::Token, handler: create },
    Route { method: Method::Get, path: ONE, need: Need::Token, handler: show },
    Route { method: Method::Put, path: ONE, need: Need::User, handler: update },
    Route { method: Method::Delete, path: ONE, need: Need::User, handler: remove },
    Route { method: Method::Get, path: EXTERNAL, need: Need::Token, handler: show_external },
    Route { method: Method::Delete, path: EXTERNAL, need: Need::User, handler: remove_external },
    named(ALL, list::all),
    named(&[USERS, Segment::Is("by_full_name")], list::by_full_name),
    named(&[USERS, Segment::Is("by_tags")], list::by_tags),
    named(&[USERS, Segment::Is("by_login")], |call, _| by_name(&call, NameKind::Login, &["login"])),
    named(&[USERS, Segment::Is("by_email")], |call, _| by_name(&call, NameKind::Email, &["email"])),
    named(&[USERS, Segment::Is("by_facebook_id")], |call, _| by_name(&call, NameKind::Facebook, &["facebook_id"])),
    named(&[USERS, Segment::Is("by_twitter_id")], |call, _| by_name(&call, NameKind::Twitter, &["twitter_id"])),
    named(&[USERS, Segment::Is("by_twitter_digits_id")], |call, _| {
        by_name(&call, NameKind::TwitterDigits, &["twitter_digits_id"])
    }),
    named(&[USERS, Segment::Is("by_external_id")], |call, _| {
        by_name(&call, NameKind::External, &["external_user_id", "external_id"])
    }),
    named(&[USERS, Segment::Is("phone")], |call, _| by_name(&call, NameKind::Phone, PHONE)),
    named(&[USERS, Segment::Is("by_phone_number")], |call, _| by_name(&call, NameKind::Phone, PHONE)),
];

const PHONE: &[&str] = &["phone", "phone_number"];

/// `{"user":{…}}`.
#[derive(Serialize)]
pub(super) struct Wrapped<'a> {
    user: Record<'a>,
}

/// A user on the wire: every field is there, in older and newer shape alike.
#[derive(Serialize)]
struct Record<'a> {
    id: u64,
    /// The account that the app belongs to; an app is an account of its own.
    owner_id: u32,
    full_name: Option<&'a str>,
    email: Option<&'a str>,
    login: Option<&'a str>,
    phone: Option<&'a str>,
    website: Option<&'a str>,
    created_at: String,
    updated_at: String,
    last_request_at: Option<String>,
    external_user_id: Option<u64>,
    facebook_id: Option<&'a str>,
    twitter_id: Option<&'a str>,
    twitter_digits_id: Option<&'a str>,
    blob_id: Option<u64>,
    custom_data: Option<&'a str>,
    /// Superseded by `blob_id`; readers expect it to be there and null.
    avatar: Option<&'a str>,
    age_over16: Option<bool>,
    allow_statistics_analysis: Option<bool>,
    allow_sales_activities: Option<bool>,
    parents_contacts: Option<&'a str>,
    /// One text with commas, or null.
    user_tags: Option<String>,
}

impl<'a> Wrapped<'a> {
    pub(super) fn of(app: AppId, profile: &'a Profile) -> Wrapped<'a> {
        let fields = &profile.fields;
        let user = Record {
            id: profile.id.0,
            owner_id: app.0,
            full_name: fields.full_name.as_deref(),
            email: fields.email.as_deref(),
            login: fields.login.as_deref(),
            phone: fields.phone.as_deref(),
            website: fields.website.as_deref(),
            created_at: profile.created_at.iso().to_string(),
            updated_at: profile.updated_at.iso().to_string(),
            last_request_at: profile.last_request_at.map(|at| at.iso().to_string()),
            external_user_id: fields.external_user_id,
            facebook_id: fields.facebook_id.as_deref(),
            twitter_id: fields.twitter_id.as_deref(),
            twitter_digits_id: fields.twitter_digits_id.as_deref(),
            blob_id: fields.blob_id,
            custom_data: fields.custom_data.as_deref(),
            avatar: None,
            age_over16: fields.age_over16,
            allow_statistics_analysis: fields.allow_statistics_analysis,
            allow_sales_activities: fields.allow_sales_activities,
            parents_contacts: fields.parents_contacts.as_deref(),
            user_tags: (!fields.tags.is_empty()).then(|| fields.tags.join(",")),
        };
        Wrapped { user }
    }
}

/// The answer with one user.
pub(super) fn record(app: AppId, profile: &Profile, status: Status) -> Response {
    Response::json(status, &Wrapped::of(app, profile))
}

fn create(call: Call, moment: &mut Moment<'_>) -> Flow {
    create_in(call.session()?.token.app(), &call.params, moment)
}

/// Signs a user up: checks, hashes, and answers when both the directory and the account have the user on disk.
pub(super) fn create_in(app: AppId, params: &Params, moment: &mut Moment<'_>) -> Flow {
    let draft = Draft::of_new(params)?;
    let fields = draft.fields;
    work::derive(draft.password, moment.random.array(), move |credentials, _| {
        let command = Command::Register { fields, credentials: credentials.clone() };
        ask_directory(app, command, move |answer, _| {
            let profile = user_or_refusal(answer)?;
            let id = AccountId { app, user: profile.id };
            let create = RecordCommand::Create { card: profile.card(), credentials };
            ask_account(id, create, move |_, _| done(record(app, &profile, Status::Created)))
        })
    })
}

fn user_or_refusal(answer: directory::Answer) -> Result<Profile, Halt> {
    match answer {
        directory::Answer::User(profile) => Ok(*profile),
        directory::Answer::Refused(refusal) => Err(problem_of(refusal).into()),
        directory::Answer::Done | directory::Answer::App(_) | directory::Answer::Session(_) => {
            Err(Problem::internal().into())
        }
    }
}

pub(super) fn problem_of(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Taken(kinds) => Problem::Field(
            kinds
                .into_iter()
                .map(|kind| (Text::from(field_of(kind)), vec![Text::from("has already been taken")]))
                .collect(),
        ),
        Refusal::Nameless => fields::nameless(),
        Refusal::NoUser => Problem::user_not_found(),
        Refusal::SecretChanged => fields::wrong_old_password(),
        Refusal::NonceUsed
        | Refusal::NoSession
        | Refusal::NoReset
        | Refusal::ResetOffered
        | Refusal::WrongDirectory => Problem::internal(),
    }
}

fn field_of(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Login => "login",
        NameKind::Email => "email",
        NameKind::External => "external_user_id",
        NameKind::Facebook => "facebook_id",
        NameKind::Twitter => "twitter_id",
        NameKind::TwitterDigits => "twitter_digits_id",
        NameKind::Phone => "phone",
    }
}

fn show(call: Call, _: &mut Moment<'_>) -> Flow {
    show_user(call.session()?.token.app(), call.user_id()?)
}

fn show_user(app: AppId, user: UserId) -> Flow {
    read(members::read(app, user), move |rows, _| {
        let profile = members::found(rows)?.ok_or_else(Problem::user_not_found)?;
        done(record(app, &profile, Status::Ok))
    })
}

fn show_external(call: Call, _: &mut Moment<'_>) -> Flow {
    let app = call.session()?.token.app();
    with_name(app, Name::fold(NameKind::External, &call.id()?.to_string()), move |user| show_user(app, user))
}

/// One user by a name that is a parameter; any of `parameters` may carry it.
fn by_name(call: &Call, kind: NameKind, parameters: &[&'static str]) -> Flow {
    let app = call.session()?.token.app();
    let text = parameters.iter().find_map(|name| call.params.text(name)).unwrap_or(Cow::Borrowed(""));
    if text.trim().is_empty() {
        let first = parameters.first().copied().unwrap_or("base");
        return Err(Problem::field(first, "can't be blank").into());
    }
    with_name(app, Name::fold(kind, &text), move |user| show_user(app, user))
}

fn with_name(app: AppId, name: Option<Name>, then: impl FnOnce(UserId) -> Flow + 'static) -> Flow {
    let name = name.ok_or_else(Problem::user_not_found)?;
    read(members::read_name(app, &name), move |rows, _| {
        then(members::found_name(rows)?.ok_or_else(Problem::user_not_found)?)
    })
}

fn update(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    // Whether there is another user of that number is nothing to tell.
    if call.user_id()? != id.user {
        return Err(Problem::forbidden().into());
    }
    let draft = Draft::of_change(&call.params)?;
    let fields = draft.fields;
    match draft.secret {
        None => revise(id, Command::Update { user: id.user, fields, secret: None }, None),
        Some((old, new)) => with_new_secret(id, old, new, move |credentials, replaces| {
            let secret = Some(NewSecret { credentials: credentials.clone(), replaces });
            revise(id, Command::Update { user: id.user, fields, secret }, Some(credentials))
        }),
    }
}

/// Checks the present password and derives what is stored for the new one.
fn with_new_secret(
    id: AccountId,
    old: Password,
    new: Password,
    then: impl FnOnce(Credentials, u64) -> Flow + 'static,
) -> Flow {
    read(account::load_reads(id), move |rows, _| {
        let row = account::load(rows)?.ok_or_else(Problem::session_required)?;
        let replaces = row.secret_version;
        work::change(old, new, row.credentials, move |credentials, _| {
            then(credentials.ok_or_else(fields::wrong_old_password)?, replaces)
        })
    })
}

/// Has the directory change the user, and then the account: the job says the same, but who is answered finds it done.
pub(super) fn revise(id: AccountId, command: Command, secret: Option<Credentials>) -> Flow {
    ask_directory(id.app, command, move |answer, _| {
        let profile = user_or_refusal(answer)?;
        let secret = secret.map(|credentials| (profile.secret_version, credentials));
        let command = RecordCommand::Revise { card: profile.card(), secret };
        ask_account(id, command, move |_, _| done(record(id.app, &profile, Status::Ok)))
    })
}

fn remove(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    remove_if_own(id, call.user_id()?)
}

fn remove_external(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let name = Name::fold(NameKind::External, &call.id()?.to_string());
    with_name(id.app, name, move |user| remove_if_own(id, user))
}

/// The directory lets the user go, with every session, and then the account does.
fn remove_if_own(id: AccountId, user: UserId) -> Flow {
    if user != id.user {
        return Err(Problem::forbidden().into());
    }
    read(account::digest_reads(id), move |rows, _| {
        let command = Command::Remove { user, sessions: account::digests(rows.page())? };
        ask_directory(id.app, command, move |answer, _| match answer {
            directory::Answer::Done => ask_account(id, RecordCommand::Delete, |_, _| done(Response::empty(Status::Ok))),
            directory::Answer::Refused(refusal) => Err(problem_of(refusal).into()),
            directory::Answer::App(_) | directory::Answer::User(_) | directory::Answer::Session(_) => {
                Err(Problem::internal().into())
            }
        })
    })
}
