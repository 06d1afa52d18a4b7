//! `cargo fuzz run jid`; see `src/jid.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::jid::run);
