//! `cargo fuzz run params`; see `src/params.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::params::run);
