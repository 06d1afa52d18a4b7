//! `cargo fuzz run rows`; see `src/rows.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::rows::run);
