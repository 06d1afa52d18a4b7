//! End to end: the real server binary, real sockets, clients that were written elsewhere, and SIGKILL.

mod commands;
mod component;
mod crash;
mod disk;
mod external;
mod life;
mod link_local;
mod login;
mod operations;
mod upload;
