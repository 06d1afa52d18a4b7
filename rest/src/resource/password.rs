//! Password reset: a mail with a link, and the page behind it. Server notes §8.3, wire notes §4.
//!
//! The link holds a code: app, user, and 128 random bits. Only its digest is stored, it is good for an hour and once, and a new
//! one replaces it. Within a minute nobody gets a second mail, whoever asks.

use proto::jid::user::{AppId, UserId};
use proto::model::account;
use proto::model::directory::{self, Command, Refusal, members};
use proto::model::profile::{Name, NameKind, Profile};
use proto::model::token::push_hex;
use proto::owner::AccountId;
use proto::sasl::credentials::TokenDigest;

use super::users;
use crate::flow::work::{self, Password};
use crate::flow::{Flow, Mail, Moment, Step, ask_account, ask_directory, done, read};
use crate::http::{Method, Response, Status};
use crate::problem::Problem;
use crate::route::{Call, Need, Route, Segment};

const RESET: &[Segment] = &[Segment::Is("users"), Segment::Is("password"), Segment::Is("reset")];
/// As one of the references writes it.
const RESET_SHORT: &[Segment] = &[Segment::Is("password"), Segment::Is("reset")];
const NEW: &[Segment] = &[Segment::Is("users"), Segment::Is("password"), Segment::Is("new")];

pub(super) static ROUTES: &[Route] = &[
    Route { method: Method::Get, path: RESET, need: Need::Token, handler: reset },
    Route { method: Method::Get, path: RESET_SHORT, need: Need::Token, handler: reset },
    Route { method: Method::Get, path: NEW, need: Need::Nothing, handler: form },
    Route { method: Method::Post, path: NEW, need: Need::Nothing, handler: submit },
];

const RANDOM_BYTES: usize = 16;
const APP_DIGITS: usize = 8;
const USER_DIGITS: usize = 16;
const CODE_DIGITS: usize = APP_DIGITS + USER_DIGITS + 2 * RANDOM_BYTES;

/// A code as the link has it.
struct Code {
    id: AccountId,
    text: String,
}

impl Code {
    fn draw(id: AccountId, moment: &mut Moment<'_>) -> Code {
        let mut text = String::with_capacity(CODE_DIGITS);
        push_hex(&mut text, &id.app.0.to_be_bytes());
        push_hex(&mut text, &id.user.0.to_be_bytes());
        push_hex(&mut text, &moment.random.array::<RANDOM_BYTES>());
        Code { id, text }
    }

    fn parse(text: &str) -> Option<Code> {
        let digits = text.len() == CODE_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return None;
        }
        let (app, rest) = text.split_at(APP_DIGITS);
        let app = AppId(u32::from_str_radix(app, 16).ok()?);
        let user = UserId(u64::from_str_radix(&rest[..USER_DIGITS], 16).ok()?);
        Some(Code { id: AccountId { app, user }, text: text.to_owned() })
    }

    fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.text)
    }
}

fn reset(call: Call, _: &mut Moment<'_>) -> Flow {
    let app = call.session()?.token.app();
    let email = call.params.text("email").unwrap_or_default();
    if email.trim().is_empty() {
        return Err(Problem::field("email", "can't be blank").into());
    }
    let name = Name::fold(NameKind::Email, &email).ok_or_else(Problem::user_not_found)?;
    read(members::read_name(app, &name), move |rows, moment| {
        let user = members::found_name(rows)?.ok_or_else(Problem::user_not_found)?;
        let code = Code::draw(AccountId { app, user }, moment);
        let command = Command::OfferReset { user, code: code.digest() };
        ask_directory(app, command, move |answer, moment| match answer {
            directory::Answer::User(profile) => {
                let answered = Step::Done(Response::empty(Status::Ok));
                Ok(match mail(&profile, &code, moment) {
                    Some(mail) => Step::Mail(mail, Box::new(answered)),
                    None => answered,
                })
            }
            // One is on its way already.
            directory::Answer::Refused(Refusal::ResetOffered) => done(Response::empty(Status::Ok)),
            directory::Answer::Refused(refusal) => Err(users::problem_of(refusal).into()),
            directory::Answer::Done | directory::Answer::App(_) | directory::Answer::Session(_) => {
                Err(Problem::internal().into())
            }
        })
    })
}

/// None when the user has given the address up since it was looked up.
fn mail(profile: &Profile, code: &Code, moment: &Moment<'_>) -> Option<Mail> {
    let to = profile.fields.email.clone()?;
    let link = format!("{}/users/password/new?code={}", moment.settings.api_endpoint, code.text);
    let text = format!(
        "Somebody, probably you, asked for a new password for your account at {}.\n\n\
         To set one, open this link within an hour:\n\n{link}\n\n\
         If it was not you, there is nothing to do: your password stays as it is.\n",
        moment.site.domain
    );
    Some(Mail { to, subject: format!("Set a new password for {}", moment.site.domain), text })
}

fn form(call: Call, _: &mut Moment<'_>) -> Flow {
    match call.params.text("code").and_then(|code| Code::parse(&code)) {
        Some(code) => done(page(Status::Ok, &form_html(&code, ""))),
        None => done(spent()),
    }
}

fn submit(call: Call, _: &mut Moment<'_>) -> Flow {
    let Some(code) = call.params.text("code").and_then(|code| Code::parse(&code)) else { return done(spent()) };
    let password = call.params.text("password").unwrap_or_default();
    match users::check_password(&password) {
        Ok(password) => set(code, password),
        Err(texts) => {
            let fault = format!("The password {}.", texts.join(" and "));
            done(page(Status::UnprocessableEntity, &form_html(&code, &fault)))
        }
    }
}

/// Derives with the salt that the user has, so that tokens of live sessions stay good.
fn set(code: Code, password: Password) -> Flow {
    let id = code.id;
    // Checked before the hashing, which whoever has no code should not be able to ask for; decided by the directory.
    read(directory::members::read_reset(id.app, id.user), move |rows, moment| {
        if !members::is_offered(rows, &code.digest(), moment.stamp())? {
            return done(spent());
        }
        read(account::load_reads(id), move |rows, _| {
            let Some(row) = account::load(rows)? else { return done(spent()) };
            work::derive(password, *row.credentials.salt(), move |credentials, _| {
                let command =
                    Command::TakeReset { user: id.user, code: code.digest(), credentials: credentials.clone() };
                ask_directory(id.app, command, move |answer, _| match answer {
                    directory::Answer::User(profile) => {
                        let secret = Some((profile.secret_version, credentials));
                        let command = account::RecordCommand::Revise { card: profile.card(), secret };
                        ask_account(id, command, |_, _| done(page(Status::Ok, CHANGED)))
                    }
                    directory::Answer::Refused(_) => done(spent()),
                    directory::Answer::Done | directory::Answer::App(_) | directory::Answer::Session(_) => {
                        Err(Problem::internal().into())
                    }
                })
            })
        })
    })
}

const CHANGED: &str = "<h1>Password changed</h1><p>You can log in with it now.</p>";
const SPENT: &str =
    "<h1>This link is no longer good</h1><p>It was used, is too old, or was cut short. Ask for another one.</p>";

fn spent() -> Response {
    page(Status::NotFound, SPENT)
}

/// Nothing in here comes from the request but the code, which is hex digits.
fn form_html(code: &Code, fault: &str) -> String {
    format!(
        "<h1>Set a new password</h1><p role=\"alert\">{fault}</p>\
         <form method=\"post\" action=\"/users/password/new\">\
         <input type=\"hidden\" name=\"code\" value=\"{}\">\
         <label>New password <input type=\"password\" name=\"password\" autocomplete=\"new-password\" minlength=\"8\" maxlength=\"40\" required></label> \
         <button>Set password</button></form>",
        code.text
    )
}

/// A page that nobody keeps, frames, or learns the address of.
fn page(status: Status, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Password</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body>{body}</body></html>"
    );
    Response::plain(status, "text/html; charset=utf-8", html)
        .header("Cache-Control", "no-store")
        .header("Referrer-Policy", "no-referrer")
        .header("X-Frame-Options", "DENY")
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::flow::world::World;

    const ASK: &str = "/users/password/reset.json?email=bob%40example.com";

    fn world_with_bob() -> (World, u64, String) {
        let mut world = World::new();
        let token = world.app_token(1);
        let body = "user[email]=Bob%40Example.com&user[password]=password-bob";
        let user = world.call("POST", "/users.json", &token, body).expect(201).at("/user/id");
        (world, user.as_u64().expect("a number"), token)
    }

    /// The path of the link in the last mail.
    fn link(world: &World) -> String {
        let mail = world.mails.last().expect("a mail");
        assert_eq!(mail.to, "Bob@Example.com");
        let line = mail.text.lines().find(|line| line.starts_with("https://api.example.com:8443/")).expect("a link");
        line.trim_start_matches("https://api.example.com:8443").to_owned()
    }

    fn submit(world: &mut World, link: &str, password: &str) -> u16 {
        let code = link.split_once("code=").expect("a code").1;
        world.call("POST", "/users/password/new", "", &format!("code={code}&password={password}")).code
    }

    #[test]
    fn a_mailed_link_sets_a_new_password_once() {
        let (mut world, user, token) = world_with_bob();
        assert_eq!(world.get(ASK, &token).expect(200).text, "");
        let link = link(&world);
        let page = world.get(&link, "").expect(200);
        assert!(page.text.contains("<form method=\"post\""));
        assert_eq!(page.response.header_value("Referrer-Policy"), Some("no-referrer"));
        assert_eq!(submit(&mut world, &link, "short"), 422);
        assert_eq!(submit(&mut world, &link, "password-new"), 200);
        assert!(world.logs_in(1, user, "password-new") && !world.logs_in(1, user, "password-bob"));
        assert_eq!(submit(&mut world, &link, "password-other"), 404);
        assert!(world.logs_in(1, user, "password-new"));
        let code = link.split_once("code=").expect("a code").1;
        assert!(!world.has_stored(code.as_bytes()));
    }

    #[test]
    fn a_code_ends_after_an_hour_or_with_the_next_one() {
        let (mut world, user, token) = world_with_bob();
        world.get(ASK, &token).expect(200);
        let first = link(&world);
        world.pass(Duration::from_secs(3600));
        assert_eq!(submit(&mut world, &first, "password-new"), 404);
        world.get(ASK, &token).expect(200);
        let second = link(&world);
        world.pass(Duration::from_secs(60));
        world.get(ASK, &token).expect(200);
        assert_eq!(submit(&mut world, &second, "password-new"), 404);
        assert!(world.logs_in(1, user, "password-bob"));
        let third = link(&world);
        assert_eq!(submit(&mut world, &third, "password-new"), 200);
    }

    #[test]
    fn nobody_gets_two_mails_in_a_minute() {
        let (mut world, _, token) = world_with_bob();
        for _ in 0..5 {
            world.get(ASK, &token).expect(200);
        }
        assert_eq!(world.mails.len(), 1);
    }

    #[test]
    fn unknown_addresses_and_bad_codes_are_refused() {
        let (mut world, user, token) = world_with_bob();
        world.get("/users/password/reset.json?email=x%40example.com", &token).expect(404);
        world.get("/password/reset.json?email=x%40example.com", &token).expect(404);
        world.get("/users/password/reset.json", &token).expect(422);
        let computed = world.computed;
        for code in ["", "0", &"0".repeat(56), &"g".repeat(56), "%22%3E%3Cscript%3E"] {
            let reply = world.get(&format!("/users/password/new?code={code}"), "");
            assert!(!reply.text.contains("<script"));
            assert_eq!(submit(&mut world, &format!("?code={code}"), "password-new"), 404);
        }
        assert_eq!(world.computed, computed, "nobody without a code makes the server hash");
        assert!(world.logs_in(1, user, "password-bob"));
    }
}
