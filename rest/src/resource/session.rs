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
    let timestamp = params.int("timestamp").and_then(|secs| u64::try_from(secs).ok()).ok_or_else(Problem::bad_timestamp)?;
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
                Some(account) => {
                    tell_account(account, RecordCommand::RemoveToken { digest: token.digest() }, refused)
                }
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
