//! A lean XMPP client: many connections on one thread, over nonblocking sockets.
//!
//! [`Engine`] owns the sockets, TLS and logins; a [`Handler`] is the scenario's own part and sees only connections that
//! are ready and whole stanzas.

mod connection;
mod engine;
pub mod framer;
mod login;
pub mod scram;
mod timer;

pub use connection::tls_config;
pub use engine::{Account, Closed, ConnId, Engine, EngineError, Handler, Next, Outcome, Target};
pub use login::{Mechanism, Security};
