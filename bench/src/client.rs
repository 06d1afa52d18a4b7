//! A lean client: many connections on one thread, over nonblocking sockets.
//!
//! [`Engine`] owns the connections and their logins; a [`Handler`] is the scenario's own part and sees only connections
//! that are ready, whole stanzas and whole answers.
//!
//! - `line`, `tls`: bytes over a socket;
//! - `websocket`, `framer`: stanzas out of bytes, over WebSocket or TCP; `http`: answers;
//! - `login`, `scram`: from an open socket to a bound resource.

mod connection;
mod engine;
pub mod framer;
mod http;
mod line;
mod login;
pub mod scram;
mod timer;
mod tls;
mod websocket;

pub use engine::{Account, Closed, ConnId, Engine, EngineError, Handler, Next, Outcome, Place, Target};
pub use http::Answer;
pub use login::{Mechanism, Security};
pub use tls::tls_config;
