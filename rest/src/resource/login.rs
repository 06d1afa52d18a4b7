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

#[cfg(test)]
mod tests {
    use crate::flow::world::World;

    #[test]
    fn login_upgrades_the_session_and_logout_downgrades_it() {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let token = world.app_token(1);
        let reply = world.call("POST", "/login.json", &token, "login=bob&password=password-bob").expect(202);
        assert_eq!(reply.at("/user/id"), user);
        assert!(!reply.at("/user/last_request_at").is_null());
        assert_eq!(world.get("/session.json", &token).at("/session/user_id"), user);
        assert!(world.logs_in(1, user, &token));

        let reply = world.call("DELETE", "/login.json", &token, "").expect(200);
        assert_eq!(reply.text, "");
        assert_eq!(world.get("/session.json", &token).expect(200).at("/session/user_id"), 0);
        assert!(!world.logs_in(1, user, &token));
        world.call("DELETE", "/login.json", &token, "").expect(422);
    }

    #[test]
    fn every_form_of_login_that_clients_send_works() {
        let mut world = World::new();
        let app = world.app_token(1);
        world
            .call(
                "POST",
                "/users.json",
                &app,
                "user[login]=eve&user[email]=Eve%40example.com&user[password]=password-eve",
            )
            .expect(201);
        let forms = [
            "login=eve&password=password-eve",
            "email=eve%40example.com&password=password-eve",
            "user[login]=EVE&user[password]=password-eve",
            "user[email]=EVE%40EXAMPLE.COM&user[password]=password-eve",
            r#"{"login":"eve","password":"password-eve"}"#,
            r#"{"user":{"email":"eve@example.com","password":"password-eve"}}"#,
            // quickblox-server.md §15.1: the UI kit sends a whole record.
            "id=0&user_tags=null&custom_data=null&created_at=&login=eve&email=&password=password-eve",
        ];
        for form in forms {
            let token = world.app_token(1);
            world.call("POST", "/login.json", &token, form).expect(202);
        }
    }

    #[test]
    fn a_wrong_login_is_unauthorized_and_changes_nothing() {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let token = world.app_token(1);
        for form in [
            "login=bob&password=wrong-password",
            "login=nobody&password=password-bob",
            "login=bob",
            "password=x",
            "",
            "login=bob&password=a%00b",
        ] {
            let reply = world.call("POST", "/login.json", &token, form).expect(401);
            assert_eq!(reply.text, r#"{"errors":["Unauthorized"]}"#, "{form}");
        }
        world.call("POST", "/login.json", &token, "provider=facebook&keys[token]=x").expect(422);
        assert_eq!(world.get("/session.json", &token).at("/session/user_id"), 0);
        assert!(!world.logs_in(1, user, &token));
        let kept = world.user_token(1, "bob");
        world.call("POST", "/login.json", &kept, "login=bob&password=wrong-password").expect(401);
        assert!(world.logs_in(1, user, &kept), "a failed attempt does not log the user out");
    }

    #[test]
    fn a_session_that_changes_hands_is_the_new_users_alone() {
        let mut world = World::new();
        let (bob, eve) = (world.sign_up(1, "bob"), world.sign_up(1, "eve"));
        let token = world.user_token(1, "bob");
        world.call("POST", "/login.json", &token, "login=eve&password=password-eve").expect(202);
        assert!(!world.logs_in(1, bob, &token));
        assert!(world.logs_in(1, eve, &token));
        world.call("POST", "/login.json", &token, "login=eve&password=password-eve").expect(202);
        assert!(world.logs_in(1, eve, &token));
    }

    /// Whatever the crash leaves: who was answered is right, and who was not can ask again.
    #[test]
    fn a_crash_at_any_commit_of_a_login_or_logout_leaves_a_usable_session() {
        for commits in 0..4 {
            let mut world = World::new();
            let user = world.sign_up(1, "bob");
            let token = world.app_token(1);
            let headers = [("QB-Token", token.as_str())];
            world.crash_after(commits);
            let answered =
                world.try_call("POST", "/login.json?login=bob&password=password-bob", &headers, "").is_some();
            world.restart();
            let owner = world.get("/session.json", &token).expect(200).at("/session/user_id");
            assert!(!answered || (owner == user && world.logs_in(1, user, &token)), "{commits}");
            assert!(
                owner == 0 || world.logs_in(1, user, &token),
                "{commits}: the session is the user's, so it is a password"
            );
            world.call("POST", "/login.json", &token, "login=bob&password=password-bob").expect(202);

            world.crash_after(commits);
            let answered = world.try_call("DELETE", "/login.json", &headers, "").is_some();
            world.restart();
            assert!(!answered || !world.logs_in(1, user, &token), "{commits}");
            if !answered {
                world.call("DELETE", "/login.json", &token, "");
            }
            assert_eq!(world.get("/session.json", &token).expect(200).at("/session/user_id"), 0);
            assert!(!world.logs_in(1, user, &token), "{commits}");
        }
    }
}
