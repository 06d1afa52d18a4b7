//! Creates users through the REST API, as an app would: an application session, then `POST /users.json` for each.
//!
//! QuickBlox on the wire §3 and §4. HTTP/1.1 over plain TCP with keep-alive, on as many connections as asked for.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use clap::Args;
use serde_json::{Value, json};
use thiserror::Error;

use crate::client::Account;
use crate::report;

/// Parameters of `users rookery`.
#[derive(Args, Clone)]
pub struct Rookery {
    /// The REST API over plain HTTP.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    api: String,
    /// The application's id.
    #[arg(long)]
    app: u64,
    /// Its authorization key.
    #[arg(long)]
    key: String,
    /// Its authorization secret.
    #[arg(long)]
    secret: String,
    /// The domain of the JIDs.
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// How many users.
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Everybody's password.
    #[arg(long, default_value = "rookery-bench")]
    password: String,
    /// Logins begin with this; by default with the time, so that a second run makes further users.
    #[arg(long)]
    prefix: Option<String>,
    /// Connections at once.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Where the users are written, one `user@domain password` a line.
    #[arg(long)]
    pub out: std::path::PathBuf,
}

/// Why users could not be made.
#[derive(Debug, Error)]
pub enum UsersError {
    /// The address is not `http://HOST:PORT`.
    #[error("--api must be http://HOST:PORT, without TLS")]
    Api,
    /// The network, or an answer that is not HTTP.
    #[error("the API does not answer: {0}")]
    Io(#[from] io::Error),
    /// Any other status than the call's own.
    #[error("{call} was answered {status}: {body}")]
    Refused { call: &'static str, status: u16, body: String },
    /// The answer lacks a field.
    #[error("the answer to {call} has no {field}: {body}")]
    Field { call: &'static str, field: &'static str, body: String },
}

/// Makes the users; in the order of their ids on each connection.
pub fn create(wish: &Rookery) -> Result<Vec<Account>, UsersError> {
    let prefix = wish.prefix.clone().unwrap_or_else(|| format!("bench{}", report::unix_secs()));
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(u64, Account)>, UsersError> {
        let mut http = Http::connect(&wish.api)?;
        let token = session(&mut http, wish)?;
        let mut made = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= wish.count {
                return Ok(made);
            }
            let id = user(&mut http, &token, &format!("{prefix}-{number}"), &wish.password)?;
            let user = format!("{id}-{}", wish.app);
            let account = Account { user, domain: wish.domain.clone(), password: wish.password.clone() };
            made.push((id, account));
        }
    };
    let mut made = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..wish.connections.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            made.extend(worker.join().expect("a worker does not panic")?);
        }
        Ok::<(), UsersError>(())
    })?;
    made.sort_by_key(|(id, _)| *id);
    Ok(made.into_iter().map(|(_, account)| account).collect())
}

fn session(http: &mut Http, wish: &Rookery) -> Result<String, UsersError> {
    const CALL: &str = "POST /session.json";
    let mut random = [0; 4];
    rand::fill(&mut random).expect("the operating system gives random bytes");
    let nonce = u32::from_le_bytes(random) >> 1;
    let timestamp = report::unix_secs();
    let text = format!("application_id={}&auth_key={}&nonce={nonce}&timestamp={timestamp}", wish.app, wish.key);
    let body = json!({
        "application_id": wish.app, "auth_key": wish.key, "nonce": nonce, "timestamp": timestamp,
        "signature": signature(&wish.secret, &text),
    });
    let answer = http.post(CALL, "/session.json", None, &body, 201)?;
    let token = answer["session"]["token"].as_str();
    token.map(str::to_owned).ok_or_else(|| UsersError::Field { call: CALL, field: "token", body: answer.to_string() })
}

/// HMAC-SHA1 over the sorted fields, in lowercase hex.
fn signature(secret: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn user(http: &mut Http, token: &str, login: &str, password: &str) -> Result<u64, UsersError> {
    const CALL: &str = "POST /users.json";
    let body = json!({ "user": { "login": login, "password": password } });
    let answer = http.post(CALL, "/users.json", Some(token), &body, 201)?;
    let id = answer["user"]["id"].as_u64();
    id.ok_or_else(|| UsersError::Field { call: CALL, field: "id", body: answer.to_string() })
}

/// One connection that is kept alive.
struct Http {
    host: String,
    stream: BufReader<TcpStream>,
}

const ANSWER_BYTES_MAX: usize = 1 << 20;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

impl Http {
    fn connect(api: &str) -> Result<Self, UsersError> {
        let host = api.strip_prefix("http://").ok_or(UsersError::Api)?.trim_end_matches('/');
        if host.contains('/') || !host.contains(':') {
            return Err(UsersError::Api);
        }
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        Ok(Self { host: host.into(), stream: BufReader::new(stream) })
    }

    fn post(
        &mut self,
        call: &'static str,
        path: &str,
        token: Option<&str>,
        body: &Value,
        expected: u16,
    ) -> Result<Value, UsersError> {
        let body = body.to_string();
        let token = token.map(|token| format!("QB-Token: {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{token}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, body) = self.answer()?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status != expected {
            return Err(UsersError::Refused { call, status, body: text });
        }
        serde_json::from_slice(&body).map_err(|_| UsersError::Field { call, field: "JSON", body: text })
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
    fn signs_with_hmac_sha1_in_lowercase_hex() {
        // RFC 2202 §3, case 2.
        assert_eq!(signature("Jefe", "what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn speaks_http_on_a_connection_that_stays() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut seen = Vec::new();
            for answer in [r#"{"user":{"id":7}}"#, r#"{"errors":["no"]}"#] {
                let (mut line, mut length, mut head) = (String::new(), 0, String::new());
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                    head += &line;
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                seen.push((head, String::from_utf8(body).unwrap()));
                let status = if answer.contains("errors") { "422 Unprocessable Entity" } else { "201 Created" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            seen
        });
        let mut http = Http::connect(&api).unwrap();
        assert_eq!(user(&mut http, "abc", "anna", "pw").unwrap(), 7);
        let refused = user(&mut http, "abc", "anna", "pw").unwrap_err();
        assert!(matches!(refused, UsersError::Refused { status: 422, .. }));
        let seen = server.join().unwrap();
        assert!(seen[0].0.contains("QB-Token: abc\r\n"));
        assert_eq!(seen[0].1, r#"{"user":{"login":"anna","password":"pw"}}"#);
    }
}
