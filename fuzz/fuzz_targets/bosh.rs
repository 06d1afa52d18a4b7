//! `cargo fuzz run bosh`; see `src/bosh.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::bosh::run);
