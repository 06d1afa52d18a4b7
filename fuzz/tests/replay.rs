//! Replays every committed input on a stable toolchain: what a fuzzer once found stays found.

use std::fs;
use std::path::Path;

#[test]
fn every_committed_input_still_holds() {
    for (target, run) in rookery_fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut inputs = 0;
        for entry in fs::read_dir(&corpus).expect("every target has a corpus") {
            let path = entry.expect("the corpus can be read").path();
            println!("{}", path.display());
            run(&fs::read(&path).expect("an input can be read"));
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", corpus.display());
    }
}
