//! For tests: a second opinion on what is well-formed, by a strict parser from other hands (`rxml`).
//!
//! The fuzz targets include this file too.

use std::collections::BTreeMap;

use rxml::{Event, Options, Parse, Parser, WithOptions};

use super::Element;

/// What an element means, however it is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    pub ns: String,
    pub name: String,
    /// Values by namespace and name.
    pub attributes: BTreeMap<(String, String), String>,
    /// The character data directly in the element.
    pub text: String,
    pub children: Vec<Meaning>,
}

impl Meaning {
    /// As our view shows it.
    pub fn of(element: Element<'_>) -> Meaning {
        Meaning {
            ns: element.ns().into(),
            name: element.name().into(),
            attributes: element.attrs().map(|a| ((a.ns.into(), a.name.into()), a.value().into_owned())).collect(),
            text: element.text().into_owned(),
            children: element.children().map(Meaning::of).collect(),
        }
    }

    /// Whether the oracle's refusal counts: it leaves U+FDF0 to U+FFFD out of names, which XML 1.0 §2.3 has in.
    pub fn oracle_can_judge(document: &[u8]) -> bool {
        !String::from_utf8_lossy(document).contains(|c| matches!(c, '\u{FDF0}'..='\u{FFFD}'))
    }

    /// As the oracle reads the document; none if it refuses it.
    pub fn by_oracle(document: &[u8]) -> Option<Meaning> {
        // The oracle refuses carriage returns; XML 1.0 §2.11 has them replaced before parsing.
        let document = String::from_utf8(document.to_vec()).ok()?.replace("\r\n", "\n").replace('\r', "\n");
        let options = Options { max_token_length: 1 << 20, ..Options::default() };
        let mut parser = Parser::with_options(options);
        let mut rest = document.as_bytes();
        let mut open: Vec<Meaning> = Vec::new();
        let mut root = None;
        while let Some(event) = parser.parse(&mut rest, true).ok()? {
            match event {
                Event::XmlDeclaration(..) => {}
                Event::StartElement(_, (ns, name), attributes) => open.push(Meaning {
                    ns: ns.as_str().into(),
                    name: name.as_str().into(),
                    attributes: attributes
                        .iter()
                        .map(|((ns, name), value)| ((ns.as_str().into(), name.as_str().into()), value.clone()))
                        .collect(),
                    ..Meaning::default()
                }),
                Event::Text(_, text) => open.last_mut()?.text.push_str(&text),
                Event::EndElement(_) => {
                    let closed = open.pop()?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(closed),
                        None => root = Some(closed),
                    }
                }
            }
        }
        root
    }
}
