//! HTTP/1.1 as a server speaks it (RFC 9110, RFC 9112), without sockets.
//!
//! [`Connection`] owns the framing: one request at a time, in order, with bounds and deadlines. A [`Request`] is what it yields;
//! BOSH, the probes and WebSocket upgrades arrive the same way as API calls. A [`Response`] is the only thing that can be written.

mod chunked;
mod connection;
mod head;
mod percent;
mod request;
mod response;
mod status;
mod target;
mod upgrade;

pub use connection::{After, Connection, Reason, Step};
pub use request::{Method, Request, Version};
pub use response::Response;
pub use status::Status;
pub use upgrade::WebSocketUpgrade;

pub(crate) use percent::decode_form;
