//! `cargo fuzz run http`; see `src/http.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::http::run);
