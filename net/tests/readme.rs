//! The README says what is true: its list of extensions is the table's, and it knows every key of the configuration.

use std::fmt::Write;
use std::path::PathBuf;

use proto::ext::{EXTENSIONS, Spec};
use rookery::Config;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// The list as it should be.
fn extensions() -> String {
    let mut list = String::from("| | | version |\n|---|---|---|\n");
    for extension in EXTENSIONS {
        let (number, version) = match extension.spec {
            Spec::Xep(number, version) => (format!("XEP-{number:04}"), version.to_owned()),
            Spec::Rfc(number, section) => (format!("RFC {number}"), format!("§{section}")),
        };
        writeln!(list, "| {number} | {} | {version} |", extension.name).expect("memory takes everything");
    }
    list
}

#[test]
fn readme_lists_the_extensions_there_are() {
    const BEGIN: &str = "<!-- extensions -->\n";
    const END: &str = "<!-- /extensions -->";
    let readme = std::fs::read_to_string(path()).expect("the README is there");
    let (before, rest) = readme.split_once(BEGIN).expect("the README marks where the list begins");
    let (list, after) = rest.split_once(END).expect("the README marks where the list ends");
    if std::env::var_os("ROOKERY_UPDATE").is_some() {
        let new = format!("{before}{BEGIN}{}{END}{after}", extensions());
        std::fs::write(path(), new).expect("the README can be written");
    } else {
        assert_eq!(list, extensions(), "write it anew: ROOKERY_UPDATE=1 cargo test --release -p rookery readme");
    }
}

#[test]
fn readme_knows_every_key() {
    let readme = std::fs::read_to_string(path()).expect("the README is there");
    // Keys without a default do not show in what is printed.
    let without = ["muc_domain", "cert", "key", "count", "pin", "endpoint", "turn_server", "from", "services"];
    let printed = Config::default().to_toml();
    let keys = printed.lines().filter_map(|line| line.split_once(" = ").map(|(key, _)| key));
    for key in keys.chain(without) {
        assert!(readme.contains(&format!("`{key}`")) || readme.contains(&format!("[[{key}]]")), "{key}");
    }
}
