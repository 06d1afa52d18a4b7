//! End to end: the real server binary, real sockets, clients that were written elsewhere, and SIGKILL.

mod crash;
mod external;
mod life;
mod login;
