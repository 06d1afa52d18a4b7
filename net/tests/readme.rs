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

/// What XEP-0479 (the compliance suites of 2023) asks of servers at the advanced level: the suite, the feature, and who provides it.
const SUITES: &[(&str, &str, &[u16])] = &[
    ("Core", "Direct TLS", &[368]),
    ("Core", "Feature discovery", &[30]),
    ("Core", "Feature broadcasts", &[115]),
    ("Core", "Server extensibility", &[114]),
    ("Core", "Event publishing", &[163]),
    ("Web", "Connection mechanisms", &[124, 206]),
    ("IM", "User avatar compatibility", &[153, 398]),
    ("IM", "vcard-temp", &[54]),
    ("IM", "Outbound message synchronization", &[280]),
    ("IM", "User blocking", &[191]),
    ("IM", "Group chat", &[45, 249]),
    ("IM", "Advanced group chat", &[49, 313, 402, 410]),
    ("IM", "Persistent storage of private data via PubSub", &[223]),
    ("IM", "Private XML storage", &[49]),
    ("IM", "Stream management", &[198]),
    ("IM", "History storage and retrieval", &[313]),
    ("IM", "File upload", &[363]),
    ("Mobile", "Stream management", &[198]),
    ("Mobile", "Client state indication", &[352]),
    ("Mobile", "Third-party push notifications", &[357]),
    ("Calls", "STUN and TURN server discovery", &[215]),
];

/// BOSH is a transport, and so not in the table of extensions.
const TRANSPORTS: &[u16] = &[124, 206];

/// Which of them hold.
fn suites() -> String {
    let is_there = |number: &u16| {
        let listed = EXTENSIONS.iter().any(|extension| matches!(extension.spec, Spec::Xep(it, _) if it == *number));
        listed || TRANSPORTS.contains(number)
    };
    let mut list = String::from("| suite | feature | by | holds |\n|---|---|---|---|\n");
    for (suite, feature, by) in SUITES {
        let holds = if by.iter().all(is_there) { "yes" } else { "no" };
        let by: Vec<String> = by.iter().map(|number| format!("XEP-{number:04}")).collect();
        writeln!(list, "| {suite} | {feature} | {} | {holds} |", by.join(", ")).expect("memory takes everything");
    }
    list
}

/// Compares a list in the README, or writes it anew.
fn check(name: &str, list: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let readme = std::fs::read_to_string(path()).expect("the README is there");
    let (before, rest) = readme.split_once(&begin).expect("the README marks where the list begins");
    let (found, after) = rest.split_once(&end).expect("the README marks where the list ends");
    if std::env::var_os("ROOKERY_UPDATE").is_some() {
        std::fs::write(path(), format!("{before}{begin}{list}{end}{after}")).expect("the README can be written");
    } else {
        assert_eq!(found, list, "write it anew: ROOKERY_UPDATE=1 cargo test --release -p rookery readme");
    }
}

#[test]
fn readme_lists_the_extensions_there_are() {
    // One after the other: both may write the file.
    check("extensions", &extensions());
    check("suites", &suites());
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
