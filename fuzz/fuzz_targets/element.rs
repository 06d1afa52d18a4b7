//! `cargo fuzz run element`; see `src/element.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::element::run);
