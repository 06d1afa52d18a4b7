//! `cargo fuzz run link_local`; see `src/link_local.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::link_local::run);
