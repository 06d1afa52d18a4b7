//! The REST API under load: calls of users with sessions, on connections that stay open.
//!
//! - `lines`: one call after the other on each connection;
//! - `calls`: a measured stretch of calls;
//! - `read`, `write`: the scenarios.

use serde_json::json;

use super::{Bench, RunError};
use crate::api::{Access, ApiError, Http, session, sign_in, text_of, user_id};
use crate::client::{ConnId, Place};

pub mod calls;
pub mod lines;
pub mod read;
pub mod write;

/// Users with sessions, each with a connection of its own.
pub struct Apps {
    /// The name of the server, for `Host`.
    host: String,
    /// By user.
    tokens: Vec<String>,
    /// By user.
    pub lines: Vec<ConnId>,
    /// For calls before the measured part.
    pub http: Http,
}

impl Apps {
    /// Signs in these accounts.
    pub fn open(bench: &mut Bench, access: &Access, accounts: &[usize]) -> Result<Self, RunError> {
        let place: Place = access.place()?;
        let mut http = access.connect()?;
        let app = session(&mut http, access, None)?;
        let users = bench.engine.accounts();
        let tokens: Result<Vec<_>, ApiError> =
            accounts.iter().map(|account| sign_in(&mut http, access, &app, &users[*account])).collect();
        let lines: Result<Vec<_>, _> = accounts.iter().map(|account| bench.engine.call(*account, &place)).collect();
        Ok(Self { host: place.host, tokens: tokens?, lines: lines?, http })
    }

    /// The token of a user.
    pub fn token(&self, user: usize) -> &str {
        &self.tokens[user]
    }

    /// The bytes of a call without a body.
    pub fn get(&self, user: usize, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nQB-Token: {}\r\n\r\n", self.host, self.tokens[user]).into_bytes()
    }

    /// The bytes of a call with a body of JSON.
    pub fn post(&self, user: usize, path: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nQB-Token: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            self.tokens[user],
            body.len()
        )
        .into_bytes()
    }

    /// Writes a first message to somebody, which makes their dialog; gives its id.
    pub fn begin_dialog(&mut self, bench: &Bench, user: usize, other: usize) -> Result<String, ApiError> {
        const CALL: &str = "POST /chat/Message.json";
        let recipient = user_id(&bench.engine.accounts()[other])?;
        let body = json!({ "recipient_id": recipient, "message": "Hello" });
        let answer = self.http.post(CALL, "/chat/Message.json", Some(&self.tokens[user]), &body)?;
        text_of(&answer["chat_dialog_id"], CALL, "chat_dialog_id", &answer)
    }
}

/// A body of so many bytes, as JSON for a message to a dialog.
pub fn message_to(dialog: &str, bytes: usize, to_chat: bool) -> String {
    let text: String = "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(bytes).collect();
    json!({ "chat_dialog_id": dialog, "message": text, "send_to_chat": u8::from(to_chat) }).to_string()
}
