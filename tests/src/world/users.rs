//! Users of a world's apps, made and changed as apps do it: over the REST API, through a connection like any other.

use aws_lc_rs::hmac;
use net::shard::Port;
use proto::jid::user::AppId;
use proto::model::directory::AppKeys;
use serde_json::Value;

use super::client::find;
use super::{DOMAIN, World};

/// Someone with an account.
#[derive(Clone, Debug)]
pub struct User {
    /// The name by which tests call the user, and the login.
    pub name: String,
    /// The app.
    pub app: AppId,
    /// The number within the app.
    pub id: u64,
    /// The bare JID.
    pub jid: String,
    /// The password.
    pub password: String,
}

/// A call of the API that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(usize);

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub code: u16,
    /// The body, which is text everywhere in the API.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Takes a whole answer off the front of what came.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Answer> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let len = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, len)| len.trim().parse().expect("a length"));
        if bytes.len() < end + len {
            return None;
        }
        let body = String::from_utf8(bytes[end..end + len].to_vec()).expect("answers are text");
        bytes.drain(..end + len);
        Some(Answer { code, body })
    }
}

impl World {
    /// The user of this name, who signs up with the first app when nobody of that name has.
    pub fn user(&mut self, name: &str) -> User {
        if let Some(user) = self.users.iter().find(|user| user.name == name) {
            return user.clone();
        }
        let keys = self.keys().clone();
        self.sign_up(name, AppId(1), &keys)
    }

    /// Signs a user up with an app.
    pub fn sign_up(&mut self, name: &str, app: AppId, keys: &AppKeys) -> User {
        let token = self.session(app, keys, &[]);
        let password = format!("password-{name}");
        let body = format!("user[login]={name}&user[password]={password}");
        let answer = self.call("POST", "/users.json", &token, &body);
        assert_eq!(answer.code, 201, "{}", answer.body);
        let id = answer.json().pointer("/user/id").and_then(Value::as_u64).expect("a number");
        let jid = format!("{id}-{app}@{DOMAIN}");
        let user = User { name: name.to_owned(), app, id, jid, password };
        self.users.push(user.clone());
        user
    }

    /// Changes the user's password.
    pub fn change_password(&mut self, name: &str, password: &str) {
        let user = self.user(name);
        let token = self.user_session(name);
        let body = format!("user[password]={password}&user[old_password]={}", user.password);
        let answer = self.call("PUT", &format!("/users/{}.json", user.id), &token, &body);
        assert_eq!(answer.code, 200, "{}", answer.body);
        if let Some(user) = self.users.iter_mut().find(|user| user.name == name) {
            user.password = password.to_owned();
        }
    }

    /// From now on clients of the user log in with this, which the server takes as well: a session's token.
    pub fn set_password(&mut self, name: &str, password: &str) {
        if let Some(user) = self.users.iter_mut().find(|user| user.name == name) {
            user.password = password.to_owned();
        }
    }

    /// Removes the user. The name can be taken again.
    pub fn remove_user(&mut self, name: &str) {
        let user = self.user(name);
        let token = self.user_session(name);
        let answer = self.call("DELETE", &format!("/users/{}.json", user.id), &token, "");
        assert_eq!(answer.code, 200, "{}", answer.body);
        self.users.retain(|user| user.name != name);
    }

    /// The token of a new session of a user of the first app.
    pub fn user_session(&mut self, name: &str) -> String {
        let keys = self.keys().clone();
        self.session_of(name, &keys)
    }

    /// The token of a new session of a user of the app with these keys.
    pub fn session_of(&mut self, name: &str, keys: &AppKeys) -> String {
        let user = self.user(name);
        let fields = [format!("user[login]={name}"), format!("user[password]={}", user.password)];
        self.session(user.app, keys, &fields.each_ref().map(String::as_str))
    }

    fn session(&mut self, app: AppId, keys: &AppKeys, fields: &[&str]) -> String {
        let nonce = self.chance.number() >> 33;
        let mut pairs = vec![
            format!("application_id={app}"),
            format!("auth_key={}", keys.auth_key),
            format!("nonce={nonce}"),
            format!("timestamp={}", self.now().stamp.secs()),
        ];
        pairs.extend(fields.iter().map(|pair| (*pair).to_owned()));
        pairs.sort();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, keys.auth_secret.as_bytes());
        let tag = hmac::sign(&key, pairs.join("&").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.push(format!("signature={hex}"));
        let answer = self.call("POST", "/session.json", "", &pairs.join("&"));
        assert_eq!(answer.code, 201, "{}", answer.body);
        answer.json().pointer("/session/token").and_then(Value::as_str).expect("a token").to_owned()
    }

    /// Makes a call of the API on a connection of its own, and waits for the answer.
    pub fn call(&mut self, method: &str, target: &str, token: &str, body: &str) -> Answer {
        let call = self.ask(method, target, token, body);
        self.settle();
        self.answer(call).unwrap_or_else(|| panic!("{method} {target} was not answered"))
    }

    /// Makes a call of the API on a connection of its own, and lets nothing happen yet.
    pub fn ask(&mut self, method: &str, target: &str, token: &str, body: &str) -> Call {
        let pipe = self.open(Port::Http, true);
        let token = if token.is_empty() { String::new() } else { format!("QB-Token: {token}\r\n") };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {DOMAIN}\r\n{token}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.pipes[pipe].to_server.extend_from_slice(request.as_bytes());
        Call(pipe)
    }

    /// What came of a call, if it has come, also when the connection was gone right after it.
    pub fn answer(&mut self, call: Call) -> Option<Answer> {
        let answer = Answer::take(&mut self.pipes[call.0].to_client)?;
        self.cut(call.0);
        Some(answer)
    }
}
