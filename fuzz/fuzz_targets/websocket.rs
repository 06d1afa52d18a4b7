//! `cargo fuzz run websocket`; see `src/websocket.rs` for what must hold.
#![cfg_attr(fuzzing, no_main)]

rookery_fuzz::target!(rookery_fuzz::websocket::run);
