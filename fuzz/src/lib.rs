//! What must hold for any input: the bodies of the fuzz targets, as plain functions that tests can call as well.
//!
//! To fuzz: `RUSTC_BOOTSTRAP=1 cargo fuzz run framer`. To replay the corpora on a stable toolchain: `cargo test`.
//!
//! A new target is a file here with `pub fn run(data: &[u8])`, two lines in `fuzz_targets/`, its `[[bin]]`, its line in
//! [`TARGETS`], and a folder of a few inputs in `corpus/`.

pub mod bosh;
pub mod component;
pub mod element;
pub mod framer;
pub mod http;
pub mod jid;
pub mod link_local;
#[path = "../../core/src/xml/oracle.rs"]
#[allow(missing_docs, reason = "documented for the crate it belongs to")]
pub mod oracle;
pub mod params;
pub mod rows;
pub mod sasl;
pub mod stream;
pub mod websocket;
pub mod writer;

// The oracle names it from its parent module, as it does in `core`.
use proto::xml::Element;

/// The body of a target: what it is given must hold, or it panics.
pub type Run = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Run)] = &[
    ("framer", framer::run),
    ("element", element::run),
    ("writer", writer::run),
    ("stream", stream::run),
    ("sasl", sasl::run),
    ("jid", jid::run),
    ("link_local", link_local::run),
    ("bosh", bosh::run),
    ("component", component::run),
    ("websocket", websocket::run),
    ("rows", rows::run),
    ("http", http::run),
    ("params", params::run),
];

/// The program of a target: libFuzzer's when fuzzing, otherwise one that replays the files it is given.
#[macro_export]
macro_rules! target {
    ($run:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $run(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $run(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}
