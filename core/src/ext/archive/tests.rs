//! Archives over rows, without a server.
