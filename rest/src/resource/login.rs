//! `login`: ties a user to the session of the token, and unties them. Wire notes §3, server notes §8.1.
//!
//! The token stays the same both ways. It becomes a password of the user's account before the session is the user's, and stops
//! being one before the session is not.

use proto::jid::user::UserId;
use proto::model::account::{self, RecordCommand};
use proto::model::directory::{self, Command, Refusal, members, sessions};
use proto::model::profile::{Name, NameKind};
use proto::model::token::Token;
use proto::owner::AccountId;
use proto::sasl::credentials::{Credentials, prepare_password};

use super::session::disown;
use super::users::record;
use crate::flow::work::{self, Password};
use crate::flow::{Flow, Moment, ask_account, ask_directory, done, read, tell_account};
use crate::http::{Method, Response, Status};
use crate::params::Params;
use crate::problem::Problem;
use crate::route::{Call, Need, Route, Segment, Session};

const PATH: &[Segment] = &[Segment::Is("login")];

pub(super) static ROUTES: &[Route] = &[
    Route { method: Method::Post, path: PATH, need: Need::Token, handler: log_in },
    Route { method: Method::Delete, path: PATH, need: Need::User, handler: log_out },
];

/// Login or e-mail and a password, still to be checked.
pub(super) struct SignIn {
    name: Name,
    password: Password,
}

impl SignIn {
    /// From `user[…]`, or from the top level where the UI kit puts it among all the fields of a user. A name or password that
    /// nobody can have is as wrong as one that nobody has.
    pub(super) fn from(params: &Params) -> Result<SignIn, Problem> {
        let nested = params.map("user").is_some();
        let text = |field: &str| {
            let found = if nested { params.text(&format!("user[{field}]")) } else { params.text(field) };
            found.filter(|text| !text.is_empty())
        };
        let login = text("login").and_then(|login| Name::fold(NameKind::Login, &login));
        let email = || text("email").and_then(|email| Name::fold(NameKind::Email, &email));
        let name = login.or_else(email).ok_or_else(Problem::unauthorized)?;
        let password = text("password").and_then(|password| prepare_password(&password).ok());
        Ok(SignIn { name, password: password.ok_or_else(Problem::unauthorized)? })
    }

    /// Checks the password and gives the account the token of a session that is about to be the user's. Then the caller makes
    /// it so in the directory; whoever cannot takes the token back.
    pub(super) fn run(
        self,
        token: Token,
        moment: &mut Moment<'_>,
        then: impl FnOnce(AccountId, &mut Moment<'_>) -> Flow + 'static,
    ) -> Flow {
        // Whoever does not exist costs the same reads and the same PBKDF2 as whoever does. User 0 never exists.
        let decoy = Credentials::decoy(&moment.random.array(), &self.name.text);
        read(members::read_name(token.app(), &self.name), move |rows, _| {
            let user = members::found_name(rows)?.unwrap_or(UserId(0));
            let id = AccountId { app: token.app(), user };
            read(account::load_reads(id), move |rows, _| {
                let credentials = account::load(rows)?.map_or(decoy, |row| row.credentials);
                work::sign_in(self.password, credentials, token, move |record, moment| {
                    let record = record.ok_or_else(Problem::unauthorized)?;
                    let expires_at = sessions::ends_after(moment.stamp());
                    let command = RecordCommand::AddToken { record, expires_at };
                    ask_account(id, command, move |answer, moment| match answer {
                        account::Answer::Done => then(id, moment),
                        account::Answer::NoAccount => Err(Problem::unauthorized().into()),
                    })
                })
            })
        })
    }
}

/// Users of other services: this server asks nobody about them.
pub(super) fn refuse_providers(params: &Params) -> Result<(), Problem> {
    match params.text("provider").filter(|provider| !provider.is_empty()) {
        None => Ok(()),
        Some(_) => Err(Problem::base(
            Status::UnprocessableEntity,
            "Login with an identity provider is not available on this server; use login or email, and password",
        )),
    }
}

fn log_in(call: Call, moment: &mut Moment<'_>) -> Flow {
    refuse_providers(&call.params)?;
    let session = call.session()?.clone();
    let sign_in = SignIn::from(&call.params)?;
    sign_in.run(session.token.clone(), moment, move |account, moment| {
        if session.account().is_none_or(|before| before == account) {
            return assign(&session.token, account);
        }
        // Another user's session: the token leaves that account before it leaves that user.
        disown(&session.clone(), moment, move |_| assign(&session.token, account))
    })
}

fn assign(token: &Token, account: AccountId) -> Flow {
    let digest = token.digest();
    let command = Command::AssignSession { token: digest, user: Some(account.user) };
    ask_directory(account.app, command, move |answer, _| {
        let problem = match answer {
            directory::Answer::Session(_) => return accepted(account),
            directory::Answer::Refused(Refusal::NoUser) => Problem::unauthorized(),
            directory::Answer::Refused(_) => Problem::session_required(),
            directory::Answer::Done | directory::Answer::App(_) | directory::Answer::User(_) => Problem::internal(),
        };
        tell_account(account, RecordCommand::RemoveToken { digest }, Err(problem.into()))
    })
}

fn accepted(account: AccountId) -> Flow {
    read(members::read(account.app, account.user), move |rows, _| {
        let profile = members::found(rows)?.ok_or_else(Problem::unauthorized)?;
        // 202 is what was on the wire; the documents say 200. Server notes §7.
        done(record(account.app, &profile, Status::Accepted))
    })
}

fn log_out(call: Call, moment: &mut Moment<'_>) -> Flow {
    let session: Session = call.session()?.clone();
    disown(&session.clone(), moment, move |_| {
        let command = Command::AssignSession { token: session.token.digest(), user: None };
        ask_directory(session.token.app(), command, |answer, _| match answer {
            directory::Answer::Session(_) => done(Response::empty(Status::Ok)),
            directory::Answer::Refused(_) => Err(Problem::session_required().into()),
            directory::Answer::Done | directory::Answer::App(_) | directory::Answer::User(_) => {
                Err(Problem::internal().into())
            }
        })
    })
}
