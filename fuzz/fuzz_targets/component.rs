//! `cargo fuzz run component`; see `src/component.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::component::run);
