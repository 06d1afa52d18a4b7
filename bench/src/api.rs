//! Rookery's REST API as the driver uses it: HTTP/1.1 with keep-alive, over TLS or not, and signed
//! sessions.
//!
//! QuickBlox on the wire §3.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use clap::Args;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use thiserror::Error;

use crate::client::{Account, Place, tls_config};
use crate::report;

/// Where the API is and the keys to an application.
#[derive(Args, Clone)]
pub struct Access {
    /// The REST API, `http://HOST:PORT` or `https://HOST:PORT`; any certificate is believed.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub api: String,
    /// The application's id.
    #[arg(long)]
    pub app: u64,
    /// Its authorization key.
    #[arg(long)]
    pub key: String,
    /// Its authorization secret.
    #[arg(long)]
    pub secret: String,
}

/// Why the API did not do what was asked.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The address is not `http://HOST:PORT` or `https://HOST:PORT`.
    #[error("--api must be http://HOST:PORT or https://HOST:PORT")]
    Api,
    /// The network, or an answer that is not HTTP.
    #[error("the API does not answer: {0}")]
    Io(#[from] io::Error),
    /// Any other status than the call's own.
    #[error("{call} was answered {status}: {body}")]
    Refused { call: &'static str, status: u16, body: String },
    /// The users file has somebody whose JID does not begin with a user's number.
    #[error("{0} is no user of Rookery")]
    Stranger(String),
    /// The users file is too short.
    #[error("rooms of {members} members cannot be made of {users} users")]
    Members { members: usize, users: usize },
    /// The answer lacks a field.
    #[error("the answer to {call} has no {field}: {body}")]
    Field { call: &'static str, field: &'static str, body: String },
}

impl Access {
    /// Where the API is.
    pub fn place(&self) -> Result<Place, ApiError> {
        place(&self.api)
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.api.split(':').next().unwrap_or_default()
    }

    /// A connection for calls one after the other.
    pub fn connect(&self) -> Result<Http, ApiError> {
        Http::connect(&self.api)
    }
}

fn place(api: &str) -> Result<Place, ApiError> {
    let (tls, rest) = match (api.strip_prefix("http://"), api.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(ApiError::Api),
    };
    let host = rest.trim_end_matches('/');
    let (name, _) = host.rsplit_once(':').filter(|_| !host.contains('/')).ok_or(ApiError::Api)?;
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = host.to_socket_addrs()?.next().ok_or(ApiError::Api)?;
    Ok(Place { address, host: host.into(), name, tls })
}

/// The user's number, which begins the name in its JID.
pub fn user_id(account: &Account) -> Result<u64, ApiError> {
    let number = account.user.split('-').next().unwrap_or_default();
    number.parse().map_err(|_| ApiError::Stranger(account.jid()))
}

/// The token of a session of a user, whose login the file of users does not have; `app` is the application's token.
pub fn sign_in(http: &mut Http, access: &Access, app: &str, account: &Account) -> Result<String, ApiError> {
    const CALL: &str = "GET /users/ID.json";
    let answer = http.get(CALL, &format!("/users/{}.json", user_id(account)?), app)?;
    let login = text_of(&answer["user"]["login"], CALL, "login", &answer)?;
    session(http, access, Some((&login, &account.password)))
}

/// The token of a new session: a user's with a login and a password, else the application's.
pub fn session(http: &mut Http, access: &Access, user: Option<(&str, &str)>) -> Result<String, ApiError> {
    const CALL: &str = "POST /session.json";
    let mut random = [0; 4];
    rand::fill(&mut random).expect("the operating system gives random bytes");
    let nonce = u32::from_le_bytes(random) >> 1;
    let timestamp = report::unix_secs();
    let mut text = format!("application_id={}&auth_key={}&nonce={nonce}&timestamp={timestamp}", access.app, access.key);
    let mut body = json!({
        "application_id": access.app, "auth_key": access.key, "nonce": nonce, "timestamp": timestamp,
    });
    if let Some((login, password)) = user {
        text += &format!("&user[login]={login}&user[password]={password}");
        body["user"] = json!({ "login": login, "password": password });
    }
    body["signature"] = json!(signature(&access.secret, &text));
    let answer = http.post(CALL, "/session.json", None, &body)?;
    text_of(&answer["session"]["token"], CALL, "token", &answer)
}

/// A field of an answer that must be a text.
pub fn text_of(value: &Value, call: &'static str, field: &'static str, answer: &Value) -> Result<String, ApiError> {
    value.as_str().map(str::to_owned).ok_or_else(|| ApiError::Field { call, field, body: answer.to_string() })
}

/// HMAC-SHA1 over the sorted fields, in lowercase hex.
fn signature(secret: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One connection that is kept alive.
pub struct Http {
    host: String,
    stream: BufReader<Box<dyn Stream>>,
}

/// A socket, encrypted or not.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

const ANSWER_BYTES_MAX: usize = 1 << 20;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

impl Http {
    /// Connects to `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn connect(api: &str) -> Result<Self, ApiError> {
        let place = place(api)?;
        let socket = TcpStream::connect(place.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let stream: Box<dyn Stream> = match place.tls {
            false => Box::new(socket),
            true => {
                let name = ServerName::try_from(place.name).map_err(|_| ApiError::Api)?;
                let tls = ClientConnection::new(tls_config(false), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(tls, socket))
            }
        };
        Ok(Self { host: place.host, stream: BufReader::new(stream) })
    }

    /// A call with a body, which is answered 201.
    pub fn post(
        &mut self,
        call: &'static str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let body = body.to_string();
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.call(call, &format!("POST {path}"), token, &head, &body, 201)
    }

    /// A call without one, which is answered 200.
    pub fn get(&mut self, call: &'static str, path: &str, token: &str) -> Result<Value, ApiError> {
        self.call(call, &format!("GET {path}"), Some(token), "", "", 200)
    }

    fn call(
        &mut self,
        call: &'static str,
        target: &str,
        token: Option<&str>,
        head: &str,
        body: &str,
        expected: u16,
    ) -> Result<Value, ApiError> {
        let token = token.map(|token| format!("QB-Token: {token}\r\n")).unwrap_or_default();
        let request = format!("{target} HTTP/1.1\r\nHost: {}\r\n{token}{head}\r\n{body}", self.host);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, body) = self.answer()?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status != expected {
            return Err(ApiError::Refused { call, status, body: text });
        }
        serde_json::from_slice(&body).map_err(|_| ApiError::Field { call, field: "JSON", body: text })
    }

    /// Status and body; only `Content-Length` bodies, which is what such short answers have.
    fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        self.line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("no HTTP status"))?;
        let mut length = None;
        loop {
            self.line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok().filter(|length| *length <= ANSWER_BYTES_MAX);
            }
        }
        let mut body = vec![0; length.ok_or_else(|| bad("no usable Content-Length"))?];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn line(&mut self, line: &mut String) -> io::Result<()> {
        const LINE_BYTES_MAX: u64 = 16 << 10;
        line.clear();
        (&mut self.stream).take(LINE_BYTES_MAX).read_line(line)?;
        if !line.ends_with('\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is cut off"));
        }
        line.truncate(line.trim_end().len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_the_api_is() {
        let found = place("https://127.0.0.1:8443/").unwrap();
        assert_eq!((found.host.as_str(), found.name.as_str(), found.tls), ("127.0.0.1:8443", "127.0.0.1", true));
        let found = place("http://[::1]:80").unwrap();
        assert_eq!((found.name.as_str(), found.address.port(), found.tls), ("::1", 80, false));
        for bad in ["ftp://x:1", "http://localhost", "http://localhost:1/path", "127.0.0.1:80"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_the_users_number_from_the_jid() {
        assert_eq!(user_id(&Account::parse("17-92@localhost pw").unwrap()).unwrap(), 17);
        let stranger = Account::parse("anna@localhost pw").unwrap();
        assert!(matches!(user_id(&stranger), Err(ApiError::Stranger(_))));
    }

    #[test]
    fn signs_with_hmac_sha1_in_lowercase_hex() {
        // RFC 2202 §3, case 2.
        assert_eq!(signature("Jefe", "what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
