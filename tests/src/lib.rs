//! rookery-tests: what the plays and the end-to-end tests in `it/` stand on.
//!
//! - [`world`]: a whole server in memory, with a clock, chance and faults that a test decides on.
//! - [`play`]: plays, which say in text what clients say and hear in such a world.
//! - [`server`]: the real binary on a data directory and ports of its own, started, stopped and killed by process id.
//! - [`sim`]: random histories in such a world, compared with a small model.
//! - [`client`]: a small blocking XMPP client, so that a test can see every byte and count every acknowledgement.
//! - [`http`]: as much HTTP as it takes to sign users up.
//! - [`scram`]: SCRAM from the client's side, written apart from the server's.
//! - [`suite`]: the suites of clients written elsewhere (`tests/e2e`), run as child processes with a time limit.
//!
//! But for `world`, `play` and `sim`, nothing here knows the server's code: what those tests see is what any client sees.

pub mod client;
pub mod http;
pub mod play;
pub mod scram;
pub mod server;
pub mod sim;
pub mod suite;
pub mod world;
