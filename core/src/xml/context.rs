//! What a stream header declares for everything inside the stream.

use crate::ns;

use super::Element;

/// The namespaces and the language that top-level elements inherit. Small, and without heap for the usual header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    scope: Scope,
    lang: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// `xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams"`, as nearly every client writes it.
    Client,
    /// Nothing: every element stands alone, as in a WebSocket message or a BOSH body.
    Alone,
    Declared(Box<Declared>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Declared {
    default: Box<str>,
    prefixes: Box<[(Box<str>, Box<str>)]>,
}

impl Scope {
    fn declared_by(header: Element<'_>, reads: impl Fn(&str) -> &str) -> Scope {
        let mut default = "".into();
        let mut prefixes = Vec::new();
        for (prefix, uri) in header.declares() {
            let uri = reads(uri);
            match prefix {
                "" => default = uri.into(),
                // The prefix `xml` is bound everywhere.
                "xml" => {}
                _ => prefixes.push((prefix.into(), uri.into())),
            }
        }
        let declared = Declared { default, prefixes: prefixes.into() };
        match (&*declared.default, &*declared.prefixes) {
            (ns::CLIENT, [(prefix, uri)]) if &**prefix == "stream" && &**uri == ns::STREAMS => Scope::Client,
            ("", []) => Scope::Alone,
            _ => Scope::Declared(Box::new(declared)),
        }
    }
}

impl Context {
    /// The usual client stream.
    pub const CLIENT: Context = Context { scope: Scope::Client, lang: None };

    /// No surroundings: for WebSocket messages (RFC 7395 §3.3) and BOSH bodies (XEP-0124).
    pub const ALONE: Context = Context { scope: Scope::Alone, lang: None };

    /// What the given start tag declares: the stream header, or a BOSH `<body/>`.
    pub fn declared_by(header: Element<'_>) -> Context {
        let scope = Scope::declared_by(header, |uri| uri);
        Context { scope, lang: header.lang().map(|lang| lang.into_owned().into()) }
    }

    /// The same namespaces, but for `from`, in whose place elements are read as if it were `to`. For streams whose content namespace
    /// is another than `jabber:client` and means the same.
    pub fn declared_with(header: Element<'_>, from: &str, to: &'static str) -> Context {
        let scope = Scope::declared_by(header, |uri| if uri == from { to } else { uri });
        Context { scope, lang: None }
    }

    /// The default namespace; empty for none.
    pub fn default_ns(&self) -> &str {
        match &self.scope {
            Scope::Client => ns::CLIENT,
            Scope::Alone => "",
            Scope::Declared(declared) => &declared.default,
        }
    }

    /// The language of everything that does not name its own (RFC 6120 §4.7.4).
    pub fn lang(&self) -> Option<&str> {
        self.lang.as_deref()
    }

    /// How many prefixes are declared.
    pub(super) fn prefix_count(&self) -> usize {
        match &self.scope {
            Scope::Client => 1,
            Scope::Alone => 0,
            Scope::Declared(declared) => declared.prefixes.len(),
        }
    }

    /// One declared prefix and its namespace. `index` is below [`Context::prefix_count`].
    pub(super) fn prefix(&self, index: usize) -> (&str, &str) {
        match &self.scope {
            Scope::Client | Scope::Alone => ("stream", ns::STREAMS),
            Scope::Declared(declared) => {
                let (prefix, uri) = &declared.prefixes[index];
                (prefix, uri)
            }
        }
    }
}
