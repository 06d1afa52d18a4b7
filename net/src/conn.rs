//! What lies between a socket and a shard: TLS, and the frames of a WebSocket. Both work on memory and know no sockets.

pub mod tls;
pub mod ws;
