//! The plays of `plays/`, each over every transport; see `src/play.rs` for how they are written.

use std::path::PathBuf;

use rookery_tests::play::perform;
use rookery_tests::world::{Transport, World};

fn perform_all(transport: Transport) {
    let only = std::env::var("PLAY").unwrap_or_default();
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default().join("plays");
    let mut plays: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the plays are there").map(|entry| entry.expect("a file").path()).collect();
    plays.retain(|path| path.extension().is_some_and(|ext| ext == "play") && path.to_string_lossy().contains(&only));
    plays.sort();
    let mut failures = Vec::new();
    for path in &plays {
        let text = std::fs::read_to_string(path).expect("a play is text");
        if transport == Transport::Bosh && text.contains("# Not over BOSH: ") {
            continue;
        }
        let attempt = std::panic::catch_unwind(|| perform(path, World::new(2), transport));
        if attempt.is_err() {
            failures.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    assert!(failures.is_empty(), "over {transport:?}: {failures:?}");
}

#[test]
fn over_tls() {
    perform_all(Transport::Tls);
}

#[test]
fn over_starttls() {
    perform_all(Transport::StartTls);
}

#[test]
fn over_websocket() {
    perform_all(Transport::WebSocket);
}

#[test]
fn over_bosh() {
    perform_all(Transport::Bosh);
}
