//! Creates users through the REST API, as an app would: an application session, then `POST /users.json` for each.
//!
//! QuickBlox on the wire §4; on as many connections as asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use serde_json::json;

use crate::api::{Access, ApiError, Http, session};
use crate::client::Account;
use crate::report;

/// Parameters of `users rookery`.
#[derive(Args, Clone)]
pub struct Rookery {
    #[command(flatten)]
    access: Access,
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

/// Makes the users; in the order of their ids on each connection.
pub fn create(wish: &Rookery) -> Result<Vec<Account>, ApiError> {
    let prefix = wish.prefix.clone().unwrap_or_else(|| format!("bench{}", report::unix_secs()));
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(u64, Account)>, ApiError> {
        let mut http = wish.access.connect()?;
        let token = session(&mut http, &wish.access, None)?;
        let mut made = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= wish.count {
                return Ok(made);
            }
            let id = user(&mut http, &token, &format!("{prefix}-{number}"), &wish.password)?;
            let user = format!("{id}-{}", wish.access.app);
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
        Ok::<(), ApiError>(())
    })?;
    made.sort_by_key(|(id, _)| *id);
    Ok(made.into_iter().map(|(_, account)| account).collect())
}

fn user(http: &mut Http, token: &str, login: &str, password: &str) -> Result<u64, ApiError> {
    const CALL: &str = "POST /users.json";
    let body = json!({ "user": { "login": login, "password": password } });
    let answer = http.post(CALL, "/users.json", Some(token), &body)?;
    let id = answer["user"]["id"].as_u64();
    id.ok_or_else(|| ApiError::Field { call: CALL, field: "id", body: answer.to_string() })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    use super::*;

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
        assert!(matches!(refused, ApiError::Refused { status: 422, .. }));
        let seen = server.join().unwrap();
        assert!(seen[0].0.contains("QB-Token: abc\r\n"));
        assert_eq!(seen[0].1, r#"{"user":{"login":"anna","password":"pw"}}"#);
    }
}
