//! Whatever is written is read back as it was meant, and is well-formed however the writer is used.

use proto::xml::{Context, Limits, Name, Nodes, Writer};

use crate::oracle::Meaning;

const NAMES: [&str; 4] = ["message", "body", "x", "item"];

/// The input is a list of calls: a byte that says which, and for some a string with its length before it.
pub fn run(data: &[u8]) {
    let mut calls = Calls { data };
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("root").ns("urn:root");
    // The open elements, outermost first.
    let mut open = vec![Meaning { ns: "urn:root".into(), name: "root".into(), ..Meaning::default() }];
    let mut in_tag = true;
    while let Some(call) = calls.byte() {
        let depth = open.len();
        let here = open.last_mut().expect("the root stays open");
        match call % 6 {
            0 if depth < 32 => {
                let name = NAMES[usize::from(call / 6) % NAMES.len()];
                let ns = here.ns.clone();
                xml.open(name);
                open.push(Meaning { ns, name: name.into(), ..Meaning::default() });
                in_tag = true;
            }
            1 if in_tag => {
                let name = NAMES[usize::from(call / 6) % NAMES.len()];
                let value = calls.string();
                if here.attributes.insert((String::new(), name.into()), readable(&value)).is_none() {
                    xml.attr(name, &value);
                } else {
                    return;
                }
            }
            2 => {
                let text = calls.string();
                xml.text(&text);
                here.text.push_str(&readable(&text));
                in_tag = false;
            }
            3 if depth > 1 => {
                xml.close();
                in_tag = false;
                let closed = open.pop().expect("more than one is open");
                open.last_mut().expect("the root stays open").children.push(closed);
            }
            4 => {
                let text = calls.string();
                xml.simple("simple", &text);
                let child =
                    Meaning { ns: here.ns.clone(), name: "simple".into(), text: readable(&text), ..Meaning::default() };
                here.children.push(child);
                in_tag = false;
            }
            5 => {
                let name = calls.string();
                if let Some(name) = Name::new(&name) {
                    xml.open_name(name).close();
                    let child = Meaning { ns: here.ns.clone(), name: name.as_str().into(), ..Meaning::default() };
                    here.children.push(child);
                    in_tag = false;
                }
            }
            _ => {}
        }
    }
    drop(xml);
    while open.len() > 1 {
        let closed = open.pop().expect("more than one is open");
        open.last_mut().expect("the root stays open").children.push(closed);
    }
    let expected = open.pop().expect("the root stays open");
    let limits =
        Limits { element_bytes_max: 1 << 24, attribute_bytes_max: 1 << 16, name_bytes_max: 1 << 12, ..Limits::STANZA };
    let mut nodes = Nodes::new();
    let root = nodes.parse(&out, &Context::ALONE, &limits).expect("what is written is well-formed");
    assert_eq!(Meaning::of(root), expected);
    if Meaning::oracle_can_judge(&out) {
        assert_eq!(Meaning::by_oracle(&out), Some(expected));
    }
}

/// The characters that XML can hold.
fn readable(text: &str) -> String {
    let fits = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    text.chars().filter(fits).collect()
}

struct Calls<'d> {
    data: &'d [u8],
}

impl Calls<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(first)
    }

    fn string(&mut self) -> String {
        let length = usize::from(self.byte().unwrap_or(0)).min(self.data.len());
        let (string, rest) = self.data.split_at(length);
        self.data = rest;
        String::from_utf8_lossy(string).into_owned()
    }
}
