//! `session`: signed requests for a token, and its end. Wire notes §3, server notes §8.1.
//!
//! The signature is checked before anything is looked up for the user, the nonce last of all: who cannot sign learns nothing
//! and uses nothing up.

use std::time::Duration;

use aws_lc_rs::hmac;
use proto::jid::user::AppId;
use proto::model::account::RecordCommand;
use proto::model::directory::{self, AppRecord, Command, Refusal, SessionRow, apps, sessions};
use proto::model::token::Token;
use proto::owner::AccountId;
use proto::time::Timestamp;
use serde::Serialize;

use super::login::{self, SignIn};
use crate::flow::{Flow, Moment, ask_account, ask_directory, done, read, tell_account};
use crate::http::{Method, Response, Status};
use crate::params::Params;
use crate::problem::Problem;
use crate::route::{Call, Need, Route, Segment, Session};

const PATH: &[Segment] = &[Segment::Is("session")];

pub(super) static ROUTES: &[Route] = &[
    Route { method: Method::Post, path: PATH, need: Need::Nothing, handler: create },
    Route { method: Method::Get, path: PATH, need: Need::Token, handler: show },
    Route { method: Method::Delete, path: PATH, need: Need::Token, handler: end },
];

/// The record on the wire.
#[derive(Serialize)]
struct Wrapped {
    session: Record,
}

#[derive(Serialize)]
struct Record {
    _id: String,
    application_id: u32,
    created_at: String,
    device_id: u8,
    nonce: i64,
    token: String,
    ts: u64,
    updated_at: String,
    /// 0 for an application session.
    user_id: u64,
    id: u64,
}

impl Wrapped {
    fn of(token: &Token, row: &SessionRow) -> Wrapped {
        let session = Record {
            _id: row.object.to_string(),
            application_id: token.app().0,
            created_at: row.created_at.iso().to_string(),
            // Sessions are not bound to devices.
            device_id: 0,
            nonce: row.nonce,
            token: token.as_str().to_owned(),
            ts: row.timestamp,
            updated_at: row.updated_at.iso().to_string(),
            user_id: row.user.map_or(0, |user| user.0),
            id: row.id,
        };
        Wrapped { session }
    }
}

/// A request for a session whose signature is still to be checked.
struct Claim {
    params: Params,
    sign_in: Option<SignIn>,
}

fn create(call: Call, _: &mut Moment<'_>) -> Flow {
    let params = call.params;
    login::refuse_providers(&params)?;
    let app = app_id(&params)?;
    let sign_in = if params.has("user") { Some(SignIn::from(&params)?) } else { None };
    let claim = Claim { params, sign_in };
    read(apps::read(app), move |rows, moment| {
        let app = rows.row().map(|row| AppRecord::read(&row)).transpose()?.ok_or_else(Problem::no_application)?;
        let proof = check(&app, &claim.params, moment.stamp())?;
        let token = Token::draw(app.id, moment.random);
        match claim.sign_in {
            None => open(token, None, proof),
            Some(sign_in) => {
                let given = token.clone();
                sign_in.run(token, moment, move |account, _| open(given, Some(account), proof))
            }
        }
    })
}

fn app_id(params: &Params) -> Result<AppId, Problem> {
    let text = params.text("application_id").ok_or_else(Problem::no_application)?;
    text.trim().parse().map_err(|_| Problem::no_application())
}

/// Nonce and timestamp of a request that was signed by the app.
struct Proof {
    nonce: i64,
    timestamp: u64,
}

fn check(app: &AppRecord, params: &Params, now: Timestamp) -> Result<Proof, Problem> {
    let auth_key = params.text("auth_key").unwrap_or_default();
    if !app.has_auth_key(&auth_key) {
        return Err(Problem::no_application());
    }
    let signature = params.text("signature").unwrap_or_default();
    if !is_signed(&signed_text(params), &signature, &app.keys.auth_secret) {
        return Err(Problem::unexpected_signature());
    }
    let timestamp =
        params.int("timestamp").and_then(|secs| u64::try_from(secs).ok()).ok_or_else(Problem::bad_timestamp)?;
    let off = Duration::from_secs(now.secs().abs_diff(timestamp));
    if off > sessions::TIMESTAMP_OFF_MAX {
        return Err(Problem::bad_timestamp());
    }
    // Read as written: two numbers too large for us must not become the same one.
    let nonce = params.text("nonce").and_then(|text| text.trim().parse().ok());
    let nonce = nonce.ok_or_else(|| Problem::base(Status::UnprocessableEntity, "Nonce is not a whole number"))?;
    Ok(Proof { nonce, timestamp })
}

/// What the client signs: all parameters but the signature, `name=value` sorted by bytes and joined, nothing encoded.
fn signed_text(params: &Params) -> String {
    let pairs = params.pairs().into_iter().filter(|(name, _)| name != "signature");
    pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Whether `signature` is the HMAC of the text in hex: 40 digits of SHA-1 or 64 of SHA-256. Compared in constant time.
fn is_signed(text: &str, signature: &str, secret: &str) -> bool {
    let algorithm = match signature.len() {
        40 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        64 => hmac::HMAC_SHA256,
        _ => return false,
    };
    let Some(tag) = bytes_of_hex(signature) else { return false };
    hmac::verify(&hmac::Key::new(algorithm, secret.as_bytes()), text.as_bytes(), &tag).is_ok()
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// Makes the session. The user's account, if there is one, has the token already.
fn open(token: Token, account: Option<AccountId>, proof: Proof) -> Flow {
    let Proof { nonce, timestamp } = proof;
    let user = account.map(|account| account.user);
    let command = Command::OpenSession { token: token.digest(), user, nonce, timestamp };
    ask_directory(token.app(), command, move |answer, moment| match answer {
        directory::Answer::Session(row) => {
            let expires = moment.stamp().after(sessions::IDLE_TIME_MAX).header();
            done(Response::json(Status::Created, &Wrapped::of(&token, &row)).token_expires(expires))
        }
        directory::Answer::Refused(refusal) => {
            let refused = Err(refusal_of(refusal).into());
            match account {
                None => refused,
                Some(account) => tell_account(account, RecordCommand::RemoveToken { digest: token.digest() }, refused),
            }
        }
        directory::Answer::Done | directory::Answer::App(_) | directory::Answer::User(_) => {
            Err(Problem::internal().into())
        }
    })
}

fn refusal_of(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NonceUsed => Problem::bad_timestamp(),
        Refusal::NoUser => Problem::unauthorized(),
        Refusal::NoSession => Problem::session_required(),
        Refusal::Taken(_)
        | Refusal::Nameless
        | Refusal::SecretChanged
        | Refusal::NoReset
        | Refusal::ResetOffered
        | Refusal::WrongDirectory => Problem::internal(),
    }
}

fn show(call: Call, _: &mut Moment<'_>) -> Flow {
    let session = call.session()?;
    done(Response::json(Status::Ok, &Wrapped::of(&session.token, &session.row)))
}

fn end(call: Call, moment: &mut Moment<'_>) -> Flow {
    let session = call.session()?.clone();
    disown(&session.clone(), moment, move |_| {
        let tokens = vec![session.token.digest()];
        ask_directory(session.token.app(), Command::CloseSessions { tokens }, |_, _| done(Response::empty(Status::Ok)))
    })
}

/// Takes the token away from the session's user, if there is one, and goes on.
pub(super) fn disown(
    session: &Session,
    moment: &mut Moment<'_>,
    then: impl FnOnce(&mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let Some(account) = session.account() else { return then(moment) };
    let command = RecordCommand::RemoveToken { digest: session.token.digest() };
    ask_account(account, command, |_, moment| then(moment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::world::{World, token_of};

    const HOUR: i64 = 3600;

    fn post(world: &mut World, body: &str) -> crate::flow::world::Reply {
        world.call("POST", "/session.json", "", body)
    }

    #[test]
    fn the_signature_is_over_the_raw_sorted_text() {
        // quickblox-wire.md §3, with nested names and a blank in a value.
        let body = "user[password]=secret%20pass&nonce=4162&application_id=92&user%5Blogin%5D=bob\
                    &timestamp=1458750000&auth_key=abc&signature=x";
        let params = Params::from_parts("", Some("application/x-www-form-urlencoded"), &bytes::Bytes::from(body))
            .expect("a form");
        let text =
            "application_id=92&auth_key=abc&nonce=4162&timestamp=1458750000&user[login]=bob&user[password]=secret pass";
        assert_eq!(signed_text(&params), text);
        let json = r#"{"timestamp":1458750000,"application_id":92,"auth_key":"abc","nonce":4162,
                       "user":{"password":"secret pass","login":"bob"},"signature":"x"}"#;
        let params = Params::from_parts("", Some("application/json"), &bytes::Bytes::from(json)).expect("JSON");
        assert_eq!(signed_text(&params), text);
    }

    #[test]
    fn both_hashes_are_told_apart_by_length() {
        let tag = |algorithm| {
            let tag = hmac::sign(&hmac::Key::new(algorithm, b"secret"), b"text");
            tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let (sha1, sha256) = (tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY), tag(hmac::HMAC_SHA256));
        assert!(is_signed("text", &sha1, "secret") && is_signed("text", &sha256, "secret"));
        for bad in
            ["", "0", &sha1[1..], &sha256[..40], &sha1.replace(|c: char| c.is_ascii_digit(), "g"), &"é".repeat(20)]
        {
            assert!(!is_signed("text", bad, "secret"), "{bad}");
        }
        assert!(!is_signed("text", &sha1, "Secret") && !is_signed("texT", &sha256, "secret"));
    }

    #[test]
    fn an_application_session_has_every_field() {
        let mut world = World::new();
        let app = world.app(1);
        let body = world.signed_with(&app, -77, 1_458_750_000, &[]);
        let reply = post(&mut world, &body).expect(201);
        let session = reply.at("/session");
        assert_eq!(session["application_id"], 1);
        assert_eq!(session["user_id"], 0);
        assert_eq!(session["device_id"], 0);
        assert_eq!(session["nonce"], -77);
        assert_eq!(session["ts"], 1_458_750_000);
        assert_eq!(session["id"], 1);
        assert_eq!(session["created_at"], "2016-03-23T16:20:00Z");
        assert_eq!(session["_id"].as_str().map(str::len), Some(24));
        assert_eq!(session["token"].as_str().map(str::len), Some(40));
        assert_eq!(reply.response.header_value("QB-Token-ExpirationDate"), Some("2016-03-23 18:20:00 UTC"));
        let again = world.get("/session.json", &token_of(&reply)).expect(200);
        assert_eq!(again.json(), reply.json());
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_is_made() {
        let mut world = World::new();
        let app = world.app(1);
        let now = world.now.secs() as i64;
        let good = world.signed_with(&app, 1, now, &[]);
        let cases = [
            (good.replace("application_id=1", "application_id=9"), "No Application Found"),
            (good.replace("application_id=1", "application_id=0"), "No Application Found"),
            (good.replace("application_id=1", "application_id=-1"), "No Application Found"),
            (good.replace("application_id=1&", ""), "No Application Found"),
            (good.replace(&app.keys.auth_key, "other"), "No Application Found"),
            (good.replace("nonce=1", "nonce=2"), "Unexpected signature"),
            (good.replace("signature=", "signature=0"), "Unexpected signature"),
            (good.split("&signature").next().expect("a part").to_owned(), "Unexpected signature"),
            (format!("{good}&more=1"), "Unexpected signature"),
            (world.signed_with(&app, 1, now + HOUR + 1, &[]), "Bad timestamp"),
            (world.signed_with(&app, 1, now - HOUR - 1, &[]), "Bad timestamp"),
            (world.signed_with(&app, 1, -5, &[]), "Bad timestamp"),
            (world.signed_with(&app, 1, now, &["provider=facebook"]), "identity provider"),
            (String::new(), "No Application Found"),
        ];
        for (body, text) in cases {
            let reply = post(&mut world, &body).expect(422);
            let base = reply.at("/errors/base/0");
            assert!(base.as_str().is_some_and(|base| base.contains(text)), "{body}: {base}");
        }
        assert_eq!(world.rows_of("sessions"), 0);
        post(&mut world, &good).expect(201);
        for edge in [now + HOUR, now - HOUR] {
            let body = world.signed_with(&app, 5, edge, &[]);
            post(&mut world, &body).expect(201);
        }
    }

    #[test]
    fn a_nonce_that_is_no_number_is_refused_even_when_signed() {
        let mut world = World::new();
        let app = world.app(1);
        let secs = world.now.secs();
        let text =
            format!("application_id=1&auth_key={}&nonce=99999999999999999999&timestamp={secs}", app.keys.auth_key);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, app.keys.auth_secret.as_bytes()), text.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        post(&mut world, &format!("{text}&signature={hex}")).expect(422);
    }

    #[test]
    fn a_nonce_is_good_once_with_its_timestamp() {
        let mut world = World::new();
        let app = world.app(1);
        let now = world.now.secs() as i64;
        let body = world.signed_with(&app, 7, now, &[]);
        post(&mut world, &body).expect(201);
        let reply = post(&mut world, &body).expect(422);
        assert_eq!(reply.at("/errors/base/0"), "Bad timestamp");
        let other = world.signed_with(&app, 7, now + 1, &[]);
        post(&mut world, &other).expect(201);
        let second = world.create_app("second");
        let other = world.signed_with(&second, 7, now, &[]);
        post(&mut world, &other).expect(201);
    }

    #[test]
    fn a_session_of_a_user_is_made_at_once() {
        let mut world = World::new();
        let user = world.sign_up(1, "Bob");
        for name in ["Bob", "BOB"] {
            let extra = [format!("user[login]={name}"), "user[password]=password-Bob".to_owned()];
            let body = world.signed(1, &extra.each_ref().map(String::as_str));
            let reply = post(&mut world, &body).expect(201);
            assert_eq!(reply.at("/session/user_id"), user);
            assert!(world.logs_in(1, user, &token_of(&reply)), "the token is a password of the account");
        }
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_look_and_cost_the_same() {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let sessions = world.rows_of("sessions");
        for extra in [
            ["user[login]=bob", "user[password]=wrong-password"],
            ["user[login]=nobody", "user[password]=password-bob"],
        ] {
            let body = world.signed(1, &extra);
            let before = world.computed;
            let reply = post(&mut world, &body).expect(401);
            assert_eq!(reply.text, r#"{"errors":["Unauthorized"]}"#);
            assert_eq!(world.computed - before, 1);
        }
        for extra in [
            ["user[login]=bob", "x=1"],
            ["user[password]=password-bob", "x=1"],
            ["user[login]=%20", "user[password]=a"],
        ] {
            let body = world.signed(1, &extra);
            assert!(matches!(post(&mut world, &body).code, 401 | 422));
        }
        assert_eq!(world.rows_of("sessions"), sessions);
        assert_eq!(world.login_facts(1, user).expect("the user").tokens.len(), 0);
    }

    #[test]
    fn a_refused_session_leaves_no_token_with_the_account() {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let body = world.signed(1, &["user[login]=bob", "user[password]=password-bob"]);
        post(&mut world, &body).expect(201);
        post(&mut world, &body).expect(422);
        assert_eq!(world.login_facts(1, user).expect("the user").tokens.len(), 1);
    }

    #[test]
    fn an_ended_session_is_dead_everywhere() {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let (first, second) = (world.user_token(1, "bob"), world.user_token(1, "bob"));
        let reply = world.call("DELETE", "/session.json", &first, "").expect(200);
        assert_eq!(reply.text, "");
        world.get("/session.json", &first).expect(401);
        assert!(!world.logs_in(1, user, &first));
        world.get("/session.json", &second).expect(200);
        assert!(world.logs_in(1, user, &second));
    }

    #[test]
    fn a_user_has_so_many_sessions_and_the_oldest_goes() {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let mut tokens = Vec::new();
        for _ in 0..=proto::limits::TOKENS_PER_USER_MAX {
            tokens.push(world.user_token(1, "bob"));
            world.pass(Duration::from_secs(1));
        }
        world.get("/session.json", &tokens[0]).expect(401);
        assert!(!world.logs_in(1, user, &tokens[0]));
        for token in &tokens[1..] {
            world.get("/session.json", token).expect(200);
            assert!(world.logs_in(1, user, token));
        }
    }

    #[test]
    fn dead_rows_go_as_new_ones_come() {
        let mut world = World::new();
        for round in 0..10 {
            for _ in 0..300 {
                world.app_token(1);
            }
            let (sessions, nonces) = (world.rows_of("sessions"), world.rows_of("nonces"));
            assert!(sessions <= 900 && nonces <= 600, "round {round}: {sessions} sessions, {nonces} nonces");
            world.pass(Duration::from_secs(3 * 3600));
        }
    }

    #[test]
    fn neither_token_nor_keys_are_stored() {
        let mut world = World::new();
        world.sign_up(1, "bob");
        let token = world.user_token(1, "bob");
        assert!(!world.has_stored(token.as_bytes()) && !world.has_stored(&token.as_bytes()[8..]));
        assert!(!world.has_stored(b"password-bob"));
    }
}
