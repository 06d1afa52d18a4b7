//! What the protocols mean: XML streams, JIDs, SASL, stanzas, presence, rosters, and the XMPP extensions.
//!
//! This crate is a set of state machines. Bytes, rows, time and random bytes come in as arguments; bytes and effects go out.
//! It knows no sockets, no clock, no threads and no source of randomness, so a whole server can run inside one plain test.
//!
//! The route of a message through it: [`xml`] finds and reads a stanza, [`stream`] says whether it may be here, [`account`]
//! stamps who sent it, [`route`] says who owns the recipient, and the recipient's [`account`] turns it into [`effect`]s.
//!
//! *Architecture invariant:* nothing here awaits, and nothing here reads a row by itself: a handler says which rows it needs
//! ([`row::Reads`]) and is called again with them.

pub mod account;
pub mod bosh;
pub mod canary;
pub mod command;
pub mod component;
pub mod dialog;
pub mod effect;
pub mod error;
pub mod ext;
pub mod jid;
pub mod limits;
pub mod link_local;
pub mod model;
pub mod ns;
pub mod owner;
pub mod route;
pub mod row;
mod rsm;
pub mod sasl;
pub mod stanza;
pub mod stream;
pub mod time;
pub mod websocket;
pub mod xml;
