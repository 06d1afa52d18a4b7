//! `cargo fuzz run framer`; see `src/framer.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::framer::run);
