//! `cargo fuzz run stream`; see `src/stream.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::stream::run);
