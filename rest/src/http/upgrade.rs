//! The WebSocket opening handshake (RFC 6455 §4.2, RFC 7395 §3.1).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Method, Request, Response, Status, Version};
use crate::problem::Problem;

/// A valid request to speak XMPP over WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketUpgrade {
    accept: String,
}

/// The subprotocol of RFC 7395.
const SUBPROTOCOL: &str = "xmpp";
/// RFC 6455 §1.3.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

impl Request {
    /// Whether this asks for a WebSocket, and if so whether it does it properly; `Err` is the answer to an improper one.
    ///
    /// Which paths take one, and from which `Origin`, is the caller's business.
    pub fn websocket_upgrade(&self) -> Option<Result<WebSocketUpgrade, Response>> {
        self.header_has("upgrade", "websocket").then(|| self.read_upgrade())
    }

    fn read_upgrade(&self) -> Result<WebSocketUpgrade, Response> {
        if self.method() != Method::Get || self.version() != Version::Http11 {
            return Err(refusal("A WebSocket begins with a GET of HTTP/1.1"));
        }
        if !self.header_has("connection", "upgrade") {
            return Err(refusal("A WebSocket needs the header Connection: Upgrade"));
        }
        if !self.body().is_empty() {
            return Err(refusal("A WebSocket handshake has no body"));
        }
        if self.header("sec-websocket-version").map(str::trim) != Some("13") {
            // RFC 6455 §4.4.
            let problem = Problem::list(Status::UpgradeRequired, "Only version 13 of WebSocket is spoken here");
            return Err(offer(problem.into_response()));
        }
        let mut keys = self.header_values("sec-websocket-key");
        let key = match (keys.next(), keys.next()) {
            (Some(key), None) => key.trim(),
            _ => return Err(refusal("A WebSocket handshake has one Sec-WebSocket-Key")),
        };
        if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == KEY_BYTES) {
            return Err(refusal("Sec-WebSocket-Key is not 16 bytes in base64"));
        }
        // RFC 7395 §3.1: the client MUST offer it.
        if !self.header_has("sec-websocket-protocol", SUBPROTOCOL) {
            return Err(refusal("The only WebSocket subprotocol here is xmpp"));
        }
        Ok(WebSocketUpgrade { accept: accept(key) })
    }
}

impl WebSocketUpgrade {
    /// The 101 after which both sides speak WebSocket.
    pub fn response(&self) -> Response {
        Response::plain(Status::SwitchingProtocols, "", "")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Accept", self.accept.as_str())
            .header("Sec-WebSocket-Protocol", SUBPROTOCOL)
    }
}

impl Response {
    /// 426: this path speaks WebSocket and the request did not ask for it.
    pub fn websocket_required() -> Response {
        offer(Problem::list(Status::UpgradeRequired, "This path speaks WebSocket").into_response())
    }
}

fn offer(response: Response) -> Response {
    response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13")
}

fn refusal(text: &'static str) -> Response {
    Problem::malformed(text).into_response()
}

fn accept(key: &str) -> String {
    let text = [key.as_bytes(), KEY_SUFFIX].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_the_specification() {
        // RFC 6455 §1.3.
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
