//! Making, removing and changing users. What REST does for users themselves and for operators is done here by the same commands to the
//! same owners, in the same order.

use super::asking::{Tally, Target, ask_account, ask_directory, ask_report, mismatch, no_user, read, unreadable};
use super::{Filled, bad_payload, completed, form, note};
use crate::account::Account;
use crate::effect::{Learned, Question, Turn};
use crate::error::{Condition, Refusal};
use crate::ext::Request;
use crate::ext::form::Blank;
use crate::model::account::{self, AccountRow, RecordCommand};
use crate::model::directory::{self, Answer, NewSecret, Refusal as Refused};
use crate::model::profile::rules::{self, Fault};
use crate::model::profile::{Field, Profile};
use crate::ns;
use crate::owner::AccountId;
use crate::stanza::IqAnswer;

/// Addresses are the server's to give: what is asked for as one is the login.
pub(super) const ADD: &[Blank] = &[
    Blank::new(
        "accountjid",
        "jid-single",
        "The login, or an address that begins with it (the server gives the address itself)",
    ),
    Blank::new("password", "text-private", "The password"),
    Blank::new("password-verify", "text-private", "The password once more"),
    Blank::new("email", "text-single", "E-mail address").optional(),
    Blank::new("given_name", "text-single", "Given name").optional(),
    Blank::new("surname", "text-single", "Family name").optional(),
];

pub(super) const DELETE: &[Blank] = &[Blank::new("accountjids", "jid-multi", "The users to delete")];

pub(super) const END: &[Blank] =
    &[Blank::new("accountjids", "jid-multi", "The users whose sessions are to end; with a resource, only that one")];

pub(super) const PASSWORD: &[Blank] = &[
    Blank::new("accountjid", "jid-single", "The user whose password is to change"),
    Blank::new("password", "text-private", "The new password"),
];

pub(super) fn add(filled: &Filled, _: &Request<'_>, account: &mut Account, turn: &mut Turn<'_>) -> IqAnswer {
    let (fields, password) = sign_up(filled)?;
    let question = Question::Credentials(password, turn.random.array());
    account.ask(question, |learned, _, account, _| {
        let Learned::Credentials(credentials) = learned else { return Err(mismatch()) };
        let command = directory::Command::Register { fields, credentials: (*credentials).clone() };
        ask_directory(account, command, |answer, _, account, _| {
            let profile = user(answer)?;
            let id = AccountId { app: account.id().app, user: profile.id };
            let create = RecordCommand::Create { card: profile.card(), credentials: *credentials };
            ask_account(account, id, create, move |request, _, turn| {
                let jid = format!("{id}@{}", turn.site.domain);
                completed(request, turn, |xml| {
                    form::open_result(xml, ns::ADMIN);
                    form::field(xml, "accountjid", [jid.as_str()]);
                    xml.close();
                    note(xml, "info", &format!("The user's address is {jid}."));
                })
            })
        })
    })
}

type Password = zeroize::Zeroizing<String>;

/// What is known of a new user; or all that is wrong with it.
fn sign_up(filled: &Filled) -> Result<(Vec<Field>, Password), Refusal> {
    let text = |var: &str| Ok::<_, Refusal>(filled.one(var)?.unwrap_or_default().to_owned());
    let asked = text("accountjid")?;
    let login = asked.split('@').next().unwrap_or_default().to_owned();
    // As they were written: white space is part of a password.
    let raw = |var: &str| filled.fields.iter().find(|field| field.var == var).and_then(|field| field.values.first());
    let password = raw("password").cloned().unwrap_or_default();
    let mut faults = Vec::new();
    complain(&mut faults, "The login", rules::login(&login));
    let mut fields = vec![Field::Login(Some(login))];
    let email = text("email")?;
    if !email.is_empty() {
        complain(&mut faults, "The e-mail address", rules::email(&email));
        fields.push(Field::Email(Some(email)));
    }
    let name = format!("{} {}", text("given_name")?, text("surname")?).trim().to_owned();
    if !name.is_empty() {
        complain(&mut faults, "The name", rules::line(&name));
        fields.push(Field::FullName(Some(name)));
    }
    if raw("password-verify") != Some(&password) {
        faults.push("The passwords differ.".to_owned());
    }
    match new_password(&password) {
        Ok(password) if faults.is_empty() => return Ok((fields, password)),
        Ok(_) => {}
        Err(more) => faults.extend(more),
    }
    Err(bad_payload(faults.join(" ")))
}

fn new_password(text: &str) -> Result<Password, Vec<String>> {
    rules::password(text).map_err(|wrong| {
        let mut faults = Vec::new();
        complain(&mut faults, "The password", wrong);
        faults
    })
}

fn complain(faults: &mut Vec<String>, of: &str, wrong: Vec<Fault>) {
    faults.extend(wrong.into_iter().map(|fault| format!("{of} {fault}.")));
}

/// The user in the directory's answer, or why there is none. XEP-0133 §5
fn user(answer: Answer) -> Result<Profile, Refusal> {
    match answer {
        Answer::User(profile) => Ok(*profile),
        Answer::Refused(Refused::Taken(_)) => {
            Err(Refusal::new(Condition::Conflict, "Another user has this login or e-mail address."))
        }
        Answer::Refused(Refused::SecretChanged) => {
            Err(Refusal::new(Condition::Conflict, "The password was changed by somebody else just now."))
        }
        Answer::Refused(_) | Answer::Done | Answer::App(_) | Answer::Session(_) => {
            Err(Condition::InternalServerError.into())
        }
    }
}

pub(super) fn delete(filled: &Filled, request: &Request<'_>, account: &mut Account, turn: &mut Turn<'_>) -> IqAnswer {
    let tally = Tally::of(&filled.values("accountjids"), account, turn.site)?;
    delete_next(tally, request, account, turn)
}

/// The directory lets a user go, with every session of the API, and then the account does.
fn delete_next(mut tally: Tally, request: &Request<'_>, account: &mut Account, turn: &mut Turn<'_>) -> IqAnswer {
    let Some((target, id)) = tally.next() else { return tally.completes(request, turn) };
    // Among them the one who asks. The operator has to take such a user off the list first.
    if turn.site.is_admin(id) {
        tally.fails(format!("{} administers the app.", target.jid));
        return delete_next(tally, request, account, turn);
    }
    read(account, account::digest_reads(id), move |mut rows, _, account, _| {
        let sessions = account::digests(rows.page()).map_err(unreadable)?;
        let command = directory::Command::Remove { user: id.user, sessions };
        ask_directory(account, command, move |answer, request, account, turn| match answer {
            Answer::Done => ask_account(account, id, RecordCommand::Delete, move |request, account, turn| {
                tally.did(target.jid);
                delete_next(tally, request, account, turn)
            }),
            Answer::Refused(Refused::NoUser) => {
                tally.misses(&target.jid);
                delete_next(tally, request, account, turn)
            }
            Answer::Refused(_) | Answer::App(_) | Answer::User(_) | Answer::Session(_) => {
                Err(Condition::InternalServerError.into())
            }
        })
    })
}

pub(super) fn end_sessions(
    filled: &Filled,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    let tally = Tally::of(&filled.values("accountjids"), account, turn.site)?;
    end_next(tally, request, account, turn)
}

fn end_next(mut tally: Tally, request: &Request<'_>, account: &mut Account, turn: &mut Turn<'_>) -> IqAnswer {
    let Some((Target { jid, resource, .. }, id)) = tally.next() else { return tally.completes(request, turn) };
    let command = account::Command::EndSessions { resource };
    ask_report(account, id, command, move |report, request, account, turn| {
        match (report.exists, report.resources.is_empty()) {
            (false, _) => tally.misses(&jid),
            (true, true) => tally.fails(format!("{jid} is not connected.")),
            (true, false) => tally.did(jid),
        }
        end_next(tally, request, account, turn)
    })
}

/// The user's sessions end with the old one, and so do the tokens for logging in again.
pub(super) fn change_password(
    filled: &Filled,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    let Target { jid, id, .. } = Target::read(filled.one("accountjid")?.unwrap_or_default(), account, turn.site)?;
    let text = filled.fields.iter().find(|field| field.var == "password").and_then(|field| field.values.first());
    let password = new_password(text.map_or("", String::as_str)).map_err(|faults| bad_payload(faults.join(" ")))?;
    let Some(id) = id else { return nobody(&jid, request, turn) };
    read(account, account::load_reads(id), move |mut rows, request, account, turn| {
        match account::load(&mut rows).map_err(unreadable)? {
            Some(row) => set_password(id, password, &row, account),
            None => nobody(&jid, request, turn),
        }
    })
}

/// With the salt that the user's tokens are derived with, and only in the place of the password that was there just now.
fn set_password(id: AccountId, password: Password, row: &AccountRow, account: &mut Account) -> IqAnswer {
    let replaces = row.secret_version;
    account.ask(Question::Credentials(password, *row.credentials.salt()), move |learned, _, account, _| {
        let Learned::Credentials(credentials) = learned else { return Err(mismatch()) };
        let secret = Some(NewSecret { credentials: (*credentials).clone(), replaces });
        let command = directory::Command::Update { user: id.user, fields: Vec::new(), secret };
        ask_directory(account, command, move |answer, _, account, _| {
            let profile = user(answer)?;
            let secret = Some((profile.secret_version, *credentials));
            let revise = RecordCommand::Revise { card: profile.card(), secret };
            ask_account(account, id, revise, |request, _, turn| completed(request, turn, |_| {}))
        })
    })
}

/// The end of a command about a user who does not exist.
pub(super) fn nobody(jid: &str, request: &Request<'_>, turn: &mut Turn<'_>) -> IqAnswer {
    completed(request, turn, |xml| note(xml, "error", &no_user(jid)))
}
