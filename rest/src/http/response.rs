//! An answer, and the one place that writes status lines and headers.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::{Method, Request, Status};
use crate::problem::Problem;

/// An answer to one request.
///
/// `Content-Length`, CORS, `Connection` and, for API answers, `Status` and `QuickBlox-REST-API-Version` are written by the
/// connection; what is set here is the rest.
#[derive(Clone, Debug)]
pub struct Response {
    status: Status,
    content_type: Cow<'static, str>,
    body: Bytes,
    headers: Vec<(&'static str, String)>,
    family: Family,
    close: bool,
    /// The body comes in pieces, from elsewhere, and has this many bytes.
    stream_bytes: Option<u64>,
}

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// A QuickBlox SDK, which looks for `Status` and `QuickBlox-REST-API-Version`.
    Api,
    /// Anyone else: BOSH clients, probes, browsers, WebSocket handshakes.
    Plain,
}

/// What the connection adds to an answer.
pub(super) struct Framing {
    /// The request was HEAD: headers as for GET, no body (RFC 9110 §9.3.2).
    pub head_only: bool,
    /// What to write as `Connection`, if anything.
    pub connection: Option<&'static str>,
}

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const METHODS: &str = "GET, POST, PUT, DELETE, OPTIONS";
/// What the SDKs send (quickblox-wire.md §2.2); used when a preflight does not say what it wants.
const ALLOWED_HEADERS: &str = "QB-Token, QB-SDK, QB-OS, QB-Account-Key, QuickBlox-REST-API-Version, Content-Type, \
                               Authorization, X-Requested-With, X-Request-Id, Range";
const EXPOSED_HEADERS: &str = "QB-Token-ExpirationDate";
const ASKED_HEADERS_BYTES_MAX: usize = 1024;
const REQUEST_ID_BYTES_MAX: usize = 128;

impl Response {
    /// An API answer whose body is `value` as JSON.
    pub fn json(status: Status, value: &impl Serialize) -> Response {
        match serde_json::to_vec(value) {
            Ok(body) => Response::new(status, JSON, body.into(), Family::Api),
            // Only a map with keys that are no text gets here: our own fault, and the client is told so.
            Err(_) => Problem::internal().into_response(),
        }
    }

    /// An API answer whose body is JSON already.
    pub fn json_bytes(status: Status, body: impl Into<Bytes>) -> Response {
        Response::new(status, JSON, body.into(), Family::Api)
    }

    /// An API answer without a body, as updates and deletes give it.
    ///
    /// The type is HTML because clients parse what calls itself JSON (quickblox-server.md §7).
    pub fn empty(status: Status) -> Response {
        Response::new(status, HTML, Bytes::new(), Family::Api)
    }

    /// An API answer of any type: a file, the XML an upload is answered with.
    pub fn bytes(status: Status, content_type: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Response {
        Response::new(status, content_type, body.into(), Family::Api)
    }

    /// An answer outside the API: BOSH, probes, metrics, pages.
    pub fn plain(status: Status, content_type: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Response {
        Response::new(status, content_type, body.into(), Family::Plain)
    }

    /// The head of an answer outside the API whose body, of so many bytes, the caller sends after it: see
    /// [`After::Stream`](super::After::Stream).
    pub fn stream(status: Status, content_type: impl Into<Cow<'static, str>>, bytes: u64) -> Response {
        let response = Response::new(status, content_type, Bytes::new(), Family::Plain);
        Response { stream_bytes: Some(bytes), ..response }
    }

    /// The answer to a CORS preflight, or to any other `OPTIONS`, on every path.
    pub fn preflight(request: &Request) -> Response {
        let asked = request
            .header("access-control-request-headers")
            .filter(|asked| asked.len() <= ASKED_HEADERS_BYTES_MAX && asked.bytes().all(in_header_list));
        let response = Response::new(Status::Ok, HTML, Bytes::new(), Family::Plain)
            .header("Access-Control-Allow-Methods", METHODS)
            .header("Access-Control-Allow-Headers", asked.unwrap_or(ALLOWED_HEADERS))
            .header("Access-Control-Max-Age", "86400");
        match request.method() {
            Method::Options => response.header("Allow", METHODS),
            Method::Get | Method::Head | Method::Post | Method::Put | Method::Patch | Method::Delete => response,
        }
    }

    fn new(status: Status, content_type: impl Into<Cow<'static, str>>, body: Bytes, family: Family) -> Response {
        Response {
            status,
            content_type: content_type.into(),
            body,
            headers: Vec::new(),
            family,
            close: false,
            stream_bytes: None,
        }
    }

    /// Adds a header. Control characters in `value` become blanks, so a value can never begin another header or the body.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds `QB-Token-ExpirationDate`, by which the SDKs renew sessions; `value` is [`proto::time::Timestamp::header`].
    pub fn token_expires(self, value: impl Into<String>) -> Response {
        self.header("QB-Token-ExpirationDate", value)
    }

    /// Adds `X-Request-Id`, unless `id` is longer than 128 bytes or has anything but visible ASCII.
    pub fn request_id(self, id: &str) -> Response {
        if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return self;
        }
        self.header("X-Request-Id", id)
    }

    /// Ends the connection after this answer.
    pub fn closing(mut self) -> Response {
        self.close = true;
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The body, which HEAD leaves out.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The first value set for a header of this name, in any case of letters.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a body is to follow that is not here.
    pub(super) fn is_streamed(&self) -> bool {
        self.stream_bytes.is_some_and(|bytes| bytes > 0)
    }

    pub(super) fn closes(&self) -> bool {
        self.close
    }

    /// Appends the whole answer.
    pub(super) fn write(&self, framing: &Framing, out: &mut Vec<u8>) {
        out.reserve(512 + if framing.head_only { 0 } else { self.body.len() });
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.line().as_bytes());
        out.extend_from_slice(b"\r\n");
        // RFC 9110 §15.4.5: what is not sent again is not described again.
        if !matches!(self.status, Status::SwitchingProtocols | Status::NotModified) {
            let bytes = self.stream_bytes.unwrap_or(self.body.len() as u64);
            write_header(out, "Content-Type", &self.content_type);
            write_header(out, "Content-Length", &bytes.to_string());
        }
        match self.family {
            Family::Api => {
                write_header(out, "Status", self.status.line());
                write_header(out, "QuickBlox-REST-API-Version", "0.1.1");
            }
            Family::Plain => {}
        }
        // On errors too: without these a browser hides the body from the app (quickblox-wire.md §2.2).
        write_header(out, "Access-Control-Allow-Origin", "*");
        write_header(out, "Access-Control-Expose-Headers", EXPOSED_HEADERS);
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        if let Some(value) = framing.connection {
            write_header(out, "Connection", value);
        }
        out.extend_from_slice(b"\r\n");
        if !framing.head_only {
            out.extend_from_slice(&self.body);
        }
    }
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let clean = value.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte });
    out.extend(clean);
    out.extend_from_slice(b"\r\n");
}

fn in_header_list(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_,. ".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: &Response, head_only: bool) -> String {
        let mut out = Vec::new();
        response.write(&Framing { head_only, connection: None }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn api_answers_repeat_the_status_line_and_allow_every_origin() {
        let text =
            written(&Response::json(Status::Unauthorized, &serde_json::json!({"errors": ["Unauthorized"]})), false);
        assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"));
        for line in [
            "Content-Type: application/json; charset=utf-8",
            "Content-Length: 27",
            "Status: 401 Unauthorized",
            "QuickBlox-REST-API-Version: 0.1.1",
            "Access-Control-Allow-Origin: *",
            "Access-Control-Expose-Headers: QB-Token-ExpirationDate",
        ] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
        }
        assert!(text.ends_with("\r\n\r\n{\"errors\":[\"Unauthorized\"]}"));
    }

    #[test]
    fn head_has_the_same_headers_and_no_body() {
        let response = Response::plain(Status::Ok, "text/plain", "hello");
        let (get, head) = (written(&response, false), written(&response, true));
        assert_eq!(get, format!("{head}hello"));
        assert!(head.contains("Content-Length: 5\r\n"));
    }

    #[test]
    fn an_empty_answer_has_a_length_and_is_not_called_json() {
        let text = written(&Response::empty(Status::Ok), false);
        assert!(text.contains("Content-Length: 0\r\n"));
        assert!(text.contains("Content-Type: text/html"));
    }

    #[test]
    fn a_header_value_cannot_begin_another_header() {
        let evil = "a\r\nSet-Cookie: x=1\r\n\r\n<script>\0\x7f";
        let text = written(&Response::plain(Status::Found, evil, "").header("Location", evil), false);
        let lines: Vec<_> = text.split("\r\n").filter(|line| line.starts_with("Set-Cookie")).collect();
        assert!(lines.is_empty(), "{text}");
        assert_eq!(text.matches("\r\n\r\n").count(), 1);
    }

    #[test]
    fn only_a_plain_request_id_is_echoed() {
        let ok = Response::empty(Status::Ok).request_id("7f3a-01");
        assert_eq!(ok.header_value("x-request-id"), Some("7f3a-01"));
        for bad in ["", "a b", "a\r\nb", &"x".repeat(129)] {
            assert_eq!(Response::empty(Status::Ok).request_id(bad).header_value("X-Request-Id"), None);
        }
    }
}
