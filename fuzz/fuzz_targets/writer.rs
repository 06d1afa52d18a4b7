//! `cargo fuzz run writer`; see `src/writer.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::writer::run);
