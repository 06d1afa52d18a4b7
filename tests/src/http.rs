//! As much HTTP/1.1 as it takes to sign users up and look at answers: one blocking connection on the plain loopback port.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::server::App;

const ANSWER_SECS_MAX: u64 = 10;

/// One response.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, read to its `Content-Length`.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; panics, showing it, when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: HTTP {} {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

/// A kept-alive connection to the plain HTTP port of a server on this machine.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECS_MAX)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// One call with a JSON body, or none when it is null. An error means that nothing is known of its fate.
    pub fn call(&mut self, method: &str, path: &str, token: Option<&str>, body: &Value) -> io::Result<Answer> {
        let payload = if body.is_null() { String::new() } else { body.to_string() };
        let token = token.map(|token| format!("QB-Token: {token}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            payload.len()
        );
        self.reader.get_mut().write_all(format!("{head}{payload}").as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let malformed = |line: &str| io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {line:?}"));
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| malformed(&first))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| malformed(&line))?;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// One GET on a connection of its own.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    Connection::open(port)?.call("GET", path, None, &Value::Null)
}

/// The body of `POST /session`, signed; with `user` = (login, password) for a user session.
pub fn session_request(app: &App, user: Option<(&str, &str)>) -> Value {
    static NONCE: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    // Unique in this process by the counter, between processes by their ids.
    let nonce = (NONCE.fetch_add(1, Ordering::Relaxed) << 22) | u64::from(std::process::id() & 0x3f_ffff);
    let mut pairs = vec![
        format!("application_id={}", app.id),
        format!("auth_key={}", app.auth_key),
        format!("nonce={nonce}"),
        format!("timestamp={}", now.as_secs()),
    ];
    let mut request =
        json!({"application_id": app.id, "auth_key": app.auth_key, "nonce": nonce, "timestamp": now.as_secs()});
    if let Some((login, password)) = user {
        pairs.push(format!("user[login]={login}"));
        pairs.push(format!("user[password]={password}"));
        request["user"] = json!({"login": login, "password": password});
    }
    pairs.sort();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, app.auth_secret.as_bytes());
    let signature = hmac::sign(&key, pairs.join("&").as_bytes());
    request["signature"] = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    request
}

/// The token of a new application session.
pub fn app_session(connection: &mut Connection, app: &App) -> io::Result<String> {
    let answer = connection.call("POST", "/session.json", None, &session_request(app, None))?;
    assert_eq!(answer.status, 201, "POST /session: {}", String::from_utf8_lossy(&answer.body));
    let token = answer.json()["session"]["token"].as_str().expect("a session has a token").to_owned();
    Ok(token)
}

/// An account, as a test has signed it up.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user id, the part of the JID before the dash.
    pub id: u64,
    /// The local part of the JID: `ID-APP`.
    pub node: String,
    /// The login, for REST.
    pub login: String,
    /// The password, for both.
    pub password: String,
}

/// Signs a user up. `Ok(Err(answer))` is a refusal; an outer error means that nothing is known of its fate.
pub fn sign_up(
    connection: &mut Connection,
    app: &App,
    token: &str,
    login: &str,
) -> io::Result<Result<Account, Answer>> {
    let password = format!("Secret1{login}");
    let password: String = password.chars().take(40).collect();
    let answer = connection.call(
        "POST",
        "/users.json",
        Some(token),
        &json!({"user": {"login": login, "password": password}}),
    )?;
    if answer.status != 201 {
        return Ok(Err(answer));
    }
    let id = answer.json()["user"]["id"].as_u64().expect("a user has an id");
    Ok(Ok(Account { id, node: format!("{id}-{}", app.id), login: login.to_owned(), password }))
}

/// Signs up a user that must be accepted.
pub fn new_account(port: u16, app: &App, login: &str) -> Account {
    let mut connection = Connection::open(port).expect("the server listens");
    let token = app_session(&mut connection, app).expect("the server answers");
    sign_up(&mut connection, app, &token, login)
        .expect("the server answers")
        .unwrap_or_else(|answer| panic!("POST /users: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
}
