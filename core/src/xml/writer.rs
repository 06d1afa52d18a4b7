//! The one place that makes XML.
//!
//! A [`Writer`] appends to the caller's buffer, escapes everything it is given and closes what it opened: whatever is
//! still open when it is dropped is closed then, so that tags always balance.
//!
//! ```
//! # use rookery_core::{ns, xml::Writer};
//! let mut out = Vec::new();
//! let mut xml = Writer::new(&mut out);
//! xml.open("iq").attr("type", "result").attr_opt("id", Some("a1"));
//! xml.open("query").ns(ns::DISCO_INFO);
//! xml.leaf("feature", &[("var", ns::PING)]);
//! xml.close().close();
//! drop(xml);
//! assert_eq!(out, br#"<iq type="result" id="a1"><query xmlns="http://jabber.org/protocol/disco#info"><feature var="urn:xmpp:ping"/></query></iq>"#);
//! ```

use smallvec::SmallVec;
use xmlparser::XmlCharExt;

/// Appends XML to a buffer. Methods that write into the open start tag panic in debug builds when there is none.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Where the names of the open elements lie in `out`.
    open: SmallVec<[Place; 8]>,
    /// Whether the innermost start tag still lacks its `>`.
    in_tag: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    len: usize,
}

impl<'o> Writer<'o> {
    /// Appends to what `out` already holds.
    pub fn new(out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer { out, open: SmallVec::new(), in_tag: false }
    }

    /// Opens an element in the namespace around it. Follow with [`Writer::ns`] for another one.
    pub fn open(&mut self, name: &'static str) -> &mut Self {
        debug_assert!(is_qualified_name(name), "{name:?} is no XML name");
        self.open_checked(name)
    }

    /// Opens an element whose name came from outside.
    pub fn open_name(&mut self, name: Name<'_>) -> &mut Self {
        self.open_checked(name.0)
    }

    /// Opens an element by a name that has been parsed or checked.
    pub(super) fn open_checked(&mut self, name: &str) -> &mut Self {
        self.end_tag_start();
        self.out.push(b'<');
        self.open.push(Place { start: self.out.len(), len: name.len() });
        self.out.extend_from_slice(name.as_bytes());
        self.in_tag = true;
        self
    }

    /// Declares the namespace of the element just opened.
    pub fn ns(&mut self, uri: &str) -> &mut Self {
        self.attr("xmlns", uri)
    }

    /// Sets an attribute of the element just opened.
    pub fn attr(&mut self, name: &'static str, value: &str) -> &mut Self {
        debug_assert!(is_qualified_name(name), "{name:?} is no XML name");
        self.attr_checked(name, value)
    }

    pub(super) fn attr_checked(&mut self, name: &str, value: &str) -> &mut Self {
        debug_assert!(self.in_tag, "an attribute outside of a start tag");
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"=\"");
        escape_attribute(value, self.out);
        self.out.push(b'"');
        self
    }

    /// Sets an attribute whose name came from outside.
    pub fn attr_name(&mut self, name: Name<'_>, value: &str) -> &mut Self {
        self.attr_checked(name.0, value)
    }

    /// Sets an attribute if there is a value for it.
    pub fn attr_opt(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Sets an attribute to a number.
    pub fn attr_int(&mut self, name: &'static str, value: impl Into<i128>) -> &mut Self {
        self.attr(name, &value.into().to_string())
    }

    /// Copies an attribute, or several, from validated source.
    pub(super) fn attr_raw(&mut self, source: &str) -> &mut Self {
        debug_assert!(self.in_tag, "an attribute outside of a start tag");
        self.out.push(b' ');
        self.out.extend_from_slice(source.as_bytes());
        self
    }

    /// Declares a parsed prefix.
    pub(super) fn declare_prefix(&mut self, prefix: &str, uri: &str) -> &mut Self {
        debug_assert!(self.in_tag, "a declaration outside of a start tag");
        self.out.extend_from_slice(b" xmlns:");
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.extend_from_slice(b"=\"");
        escape_attribute(uri, self.out);
        self.out.push(b'"');
        self
    }

    /// Ends the innermost element with validated source: the rest of its start tag, its content and its end tag.
    pub(super) fn finish_from_source(&mut self, source: &str) {
        debug_assert!(self.in_tag, "the rest of a start tag outside of one");
        self.out.extend_from_slice(source.as_bytes());
        self.in_tag = false;
        self.open.pop();
    }

    /// Appends character data.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.end_tag_start();
        escape_text(text, self.out);
        self
    }

    /// Copies XML that has already been parsed here, such as [`super::Element::raw`] or what a `Writer` made.
    ///
    /// The caller answers for its namespaces: see [`super::splice::copy`], which looks after them.
    pub fn raw(&mut self, source: &str) -> &mut Self {
        self.end_tag_start();
        self.out.extend_from_slice(source.as_bytes());
        self
    }

    /// As [`Writer::raw`], for bytes that a `Writer` made or that were checked when they were stored.
    pub fn raw_bytes(&mut self, source: &[u8]) -> &mut Self {
        self.end_tag_start();
        self.out.extend_from_slice(source);
        self
    }

    /// Copies a parsed element into this place, where the given default namespace is in scope.
    pub fn copy(&mut self, element: super::Element<'_>, default_ns: &str) -> &mut Self {
        self.end_tag_start();
        super::splice::copy(element, default_ns, self.out);
        self
    }

    /// Closes the innermost open element; one without content becomes an empty-element tag.
    pub fn close(&mut self) -> &mut Self {
        let place = self.open.pop();
        debug_assert!(place.is_some(), "nothing is open");
        if let Some(Place { start, len }) = place {
            if self.in_tag {
                self.in_tag = false;
                self.out.extend_from_slice(b"/>");
            } else {
                self.out.extend_from_slice(b"</");
                self.out.extend_from_within(start..start + len);
                self.out.push(b'>');
            }
        }
        self
    }

    /// An element without content.
    pub fn leaf(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.open(name);
        for &(name, value) in attributes {
            self.attr(name, value);
        }
        self.close()
    }

    /// An element without attributes or content, in a namespace of its own.
    pub fn empty(&mut self, name: &'static str, ns: &str) -> &mut Self {
        self.open(name).ns(ns).close()
    }

    /// An element that holds text alone.
    pub fn simple(&mut self, name: &'static str, text: &str) -> &mut Self {
        self.open(name).text(text).close()
    }

    /// An element, its attributes and its content as the closure writes them, closed afterwards.
    pub fn element(&mut self, name: &'static str, content: impl FnOnce(&mut Writer<'o>)) -> &mut Self {
        self.open(name);
        let depth = self.open.len();
        content(self);
        debug_assert!(self.open.len() == depth, "the closure must close what it opens, and only that");
        while self.open.len() >= depth {
            self.close();
        }
        self
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Ends the start tag just opened and leaves its element, and those around it, open for good.
    ///
    /// For the stream header, the one element that outlives its writer; [`end_tag`] ends it.
    pub fn leave_open(mut self) {
        self.end_tag_start();
        self.open.clear();
    }

    fn end_tag_start(&mut self) {
        if self.in_tag {
            self.in_tag = false;
            self.out.push(b'>');
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        while !self.open.is_empty() {
            self.close();
        }
    }
}

/// Appends an XML declaration, which may stand before a stream header (RFC 6120 §11.5).
pub fn declaration(out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version=\"1.0\"?>");
}

/// Appends the end tag of an element that was left open.
pub fn end_tag(name: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

/// A name from outside that is fit to name an element or an attribute: an NCName of Namespaces in XML §3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Checks a name; prefixes are not allowed.
    pub fn new(name: &'a str) -> Option<Name<'a>> {
        let mut chars = name.chars();
        let first = chars.next()?;
        let fits = first != ':' && first.is_xml_name_start() && chars.all(|c| c != ':' && c.is_xml_name());
        // XML 1.0 §2.3 reserves names that begin with these letters, and `xmlns` would be a declaration.
        let reserved = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("xml"));
        (fits && !reserved).then_some(Name(name))
    }

    /// The name.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

fn is_qualified_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_xml_name_start()) && chars.all(|c| c.is_xml_name())
    };
    let mut parts = name.split(':');
    parts.next().is_some_and(is_part) && parts.next().is_none_or(is_part) && parts.next().is_none()
}

/// What to do with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    /// `&`, `<` and `>`, everywhere; carriage return too, or it would be read as a line feed.
    Always,
    /// Quotes, tabs and line feeds, in attributes.
    InAttribute,
    /// Characters XML cannot hold.
    Drop,
    /// May start U+FFFE or U+FFFF, which XML cannot hold.
    Look,
}

const ESCAPES: [Escape; 256] = {
    let mut table = [Escape::No; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = Escape::Drop;
        byte += 1;
    }
    table[b'\t' as usize] = Escape::InAttribute;
    table[b'\n' as usize] = Escape::InAttribute;
    table[b'"' as usize] = Escape::InAttribute;
    table[b'\'' as usize] = Escape::InAttribute;
    table[b'\r' as usize] = Escape::Always;
    table[b'&' as usize] = Escape::Always;
    table[b'<' as usize] = Escape::Always;
    table[b'>' as usize] = Escape::Always;
    table[0xEF] = Escape::Look;
    table
};

/// Appends an attribute value; all white space but blanks becomes references, or parsing would make it blanks.
pub(super) fn escape_attribute(value: &str, out: &mut Vec<u8>) {
    escape(value, out, |escape| escape != Escape::No);
}

/// Appends character data.
fn escape_text(text: &str, out: &mut Vec<u8>) {
    escape(text, out, |escape| !matches!(escape, Escape::No | Escape::InAttribute));
}

fn escape(text: &str, out: &mut Vec<u8>, is_special: impl Fn(Escape) -> bool) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len());
    let mut from = 0;
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|&byte| is_special(ESCAPES[byte as usize])) {
        at += length;
        let skipped = match ESCAPES[bytes[at] as usize] {
            Escape::Look if !matches!(bytes[at + 1..], [0xBF, 0xBE | 0xBF, ..]) => {
                at += 3;
                continue;
            }
            Escape::Look => 3,
            Escape::No | Escape::Always | Escape::InAttribute | Escape::Drop => 1,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(reference(bytes[at]));
        at += skipped;
        from = at;
    }
    out.extend_from_slice(&bytes[from..]);
}

/// What stands for a special byte; nothing for those to be dropped.
fn reference(byte: u8) -> &'static [u8] {
    match byte {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'"' => b"&quot;",
        b'\'' => b"&apos;",
        b'\t' => b"&#9;",
        b'\n' => b"&#10;",
        b'\r' => b"&#13;",
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::{Context, Limits, Nodes, chars};

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        String::from_utf8(out).expect("a writer makes UTF-8")
    }

    #[test]
    fn closes_whatever_was_left_open() {
        let xml = written(|xml| {
            xml.open("a").attr("x", "1").open("b").text("t").open("c");
        });
        assert_eq!(xml, r#"<a x="1"><b>t<c/></b></a>"#);
    }

    #[test]
    fn reads_like_the_stanza_it_writes() {
        let xml = written(|xml| {
            xml.element("message", |xml| {
                xml.attr("to", "a@b").attr_opt("id", None).attr_int("n", 7u32);
                xml.simple("body", "1 < 2").empty("markable", "urn:x");
                xml.leaf("item", &[("jid", "a&b")]);
            });
        });
        assert_eq!(
            xml,
            r#"<message to="a@b" n="7"><body>1 &lt; 2</body><markable xmlns="urn:x"/><item jid="a&amp;b"/></message>"#
        );
    }

    #[test]
    fn leaves_a_stream_header_open() {
        let mut out = Vec::new();
        declaration(&mut out);
        let mut xml = Writer::new(&mut out);
        xml.open("stream:stream").attr("id", "1");
        xml.leave_open();
        end_tag("stream:stream", &mut out);
        assert_eq!(out, br#"<?xml version="1.0"?><stream:stream id="1"></stream:stream>"#);
    }

    #[test]
    fn drops_what_xml_cannot_hold() {
        let hostile = "a\0b\u{b}c\u{fffe}d\u{ffff}e\u{fffd}ｆ";
        let xml = written(|xml| {
            xml.open("a").attr("v", hostile).text(hostile);
        });
        assert_eq!(xml, "<a v=\"abcde\u{fffd}ｆ\">abcde\u{fffd}ｆ</a>");
    }

    #[test]
    fn names_from_outside_are_checked() {
        for bad in ["", "1a", "a b", "a:b", ":a", "a>", "a=", "-a", "xmlns", "XmlFoo", "a\0", "é\u{d7}"] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
        for good in ["a", "_a", "a-1.b", "été", "save_to_history", "名前"] {
            assert_eq!(Name::new(good).map(Name::as_str), Some(good));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in "\\PC{0,40}|[\0-\u{7f}]{0,40}", text in "(?s).{0,60}|[\0-\u{7f}]{0,40}") {
            let source = written(|xml| {
                xml.open("a").attr("v", &value).text(&text);
            });
            let mut nodes = Nodes::new();
            let root = nodes.parse(source.as_bytes(), &Context::ALONE, &Limits::STANZA).unwrap();
            let allowed = |text: &str| text.chars().filter(|&c| chars::is_allowed(c)).collect::<String>();
            prop_assert_eq!(root.attr("v").unwrap(), allowed(&value));
            prop_assert_eq!(root.text(), allowed(&text));
        }
    }
}
