//! `cargo fuzz run sasl`; see `src/sasl.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::sasl::run);
