//! A question to the running server, over HTTP on this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::config::Config;
use crate::data_dir::{self, Run};
use crate::listen::Kind;

/// The running server, and the right to administrate it.
pub(super) struct Running {
    /// What it says of itself.
    pub run: Run,
    http: SocketAddr,
    token: String,
}

impl Running {
    /// Finds the server that runs with this configuration.
    pub fn find(config: &Config) -> Result<Running, String> {
        let run = Run::read(&config.data_dir)?;
        let http = run.local(Kind::Http).ok_or(
            "the server has no HTTP listener, which commands reach it by: set `http` under [listen] to an address of this \
             machine, such as 127.0.0.1:8080",
        )?;
        Ok(Running { run, http, token: data_dir::read_admin_token(&config.data_dir)? })
    }

    /// Sends a request of the operator's. Answers with what the server said, if it was not an error.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let (status, answer) = self.exchange(method, path, body).map_err(|error| {
            format!("the server does not answer at {}: {error}. Is it running? Start it with `rookery`", self.http)
        })?;
        let value: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(value);
        }
        Err(match value.get("errors") {
            Some(errors) => complaint(errors),
            None => format!("the server answered with status {status}"),
        })
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, Vec<u8>)> {
        let mut socket = TcpStream::connect_timeout(&self.http, TIME_MAX)?;
        socket.set_read_timeout(Some(TIME_MAX))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.http,
            self.token,
            body.len()
        );
        socket.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        parsed(&answer).ok_or_else(|| std::io::Error::other("that is no HTTP answer"))
    }
}

/// Status and body. The server names the length or closes, and the whole answer is here.
fn parsed(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

/// Errors of the API as a sentence: `login has already been taken`.
fn complaint(errors: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    match errors {
        Value::Object(fields) => {
            let all = fields.iter().map(|(field, what)| match &field[..] {
                "base" => text(what),
                field => format!("{field} {}", text(what)),
            });
            all.collect::<Vec<_>>().join("; ")
        }
        other => text(other),
    }
}

const TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_an_answer() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parsed(answer), Some((201, b"{}".to_vec())));
        assert_eq!(parsed(b"SSH-2.0"), None);
    }

    #[test]
    fn complains_in_sentences() {
        assert_eq!(complaint(&json!({"login": ["has already been taken"]})), "login has already been taken");
        assert_eq!(complaint(&json!({"base": ["Token is required"]})), "Token is required");
        assert_eq!(complaint(&json!(["a", "b"])), "a, b");
    }
}
