//! rookery-tests: what the end-to-end tests in `it/` stand on.
//!
//! - [`server`]: the real binary on a data directory and ports of its own, started, stopped and killed by process id.
//! - [`client`]: a small blocking XMPP client, so that a test can see every byte and count every acknowledgement.
//! - [`http`]: as much HTTP as it takes to sign users up.
//! - [`scram`]: SCRAM from the client's side, written apart from the server's.
//! - [`suite`]: the suites of clients written elsewhere (`tests/e2e`), run as child processes with a time limit.
//!
//! Nothing here knows the server's code: what these tests see is what any client sees.

pub mod client;
pub mod http;
pub mod scram;
pub mod server;
pub mod suite;
