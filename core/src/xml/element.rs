//! A view of one element in place: names, attributes, children and text, all borrowing the stanza's bytes.

use std::borrow::Cow;
use std::fmt;

use crate::ns;

use super::parser::{Attribute, NO_NS, Node, Nodes};
use super::{Context, chars};

/// One element of a parsed stanza. Cheap to copy; lives as long as the bytes, the table and the context.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) text: &'a str,
    pub(super) context: &'a Context,
    pub(super) index: u32,
}

impl<'a> Element<'a> {
    pub(super) fn new(nodes: &'a Nodes, text: &'a str, context: &'a Context, index: u32) -> Element<'a> {
        Element { nodes, text, context, index }
    }

    pub(super) fn node(self) -> &'a Node {
        &self.nodes.nodes[self.index as usize]
    }

    /// The local name, without prefix.
    pub fn name(self) -> &'a str {
        let node = self.node();
        let end = node.start as usize + 1 + node.name_len();
        &self.text[end - usize::from(node.local_len)..end]
    }

    /// The prefix as written; empty if there is none.
    pub fn prefix(self) -> &'a str {
        let node = self.node();
        &self.text[node.start as usize + 1..][..usize::from(node.prefix_len)]
    }

    /// The name as written, prefix included.
    pub fn qualified_name(self) -> &'a str {
        let node = self.node();
        &self.text[node.start as usize + 1..][..node.name_len()]
    }

    /// The namespace; empty for none.
    pub fn ns(self) -> &'a str {
        self.nodes.uri(self.text, self.context, self.node().ns)
    }

    /// The default namespace that children without a prefix and without an `xmlns` have.
    pub fn default_ns(self) -> &'a str {
        self.nodes.uri(self.text, self.context, self.node().default)
    }

    /// Whether this is the named element.
    pub fn is(self, name: &str, ns: &str) -> bool {
        self.name() == name && self.ns() == ns
    }

    /// How deep the element lies; the root is at 1.
    pub fn depth(self) -> u32 {
        self.node().depth
    }

    /// The value of an attribute without namespace: references decoded, white space normalised (XML 1.0 §3.3.3).
    pub fn attr(self, name: &str) -> Option<Cow<'a, str>> {
        let found = self.attributes().iter().find(|a| a.ns == NO_NS && a.local(self.text) == name)?;
        Some(chars::attribute_value(found.value.of(self.text)))
    }

    /// The value of an attribute in a namespace.
    pub fn attr_ns(self, name: &str, ns: &str) -> Option<Cow<'a, str>> {
        self.attrs().find(|attr| attr.name == name && attr.ns == ns).map(|attr| attr.value())
    }

    /// All attributes in order, without namespace declarations.
    pub fn attrs(self) -> impl Iterator<Item = Attr<'a>> {
        self.attributes().iter().map(move |attribute| Attr {
            name: attribute.local(self.text),
            ns: match attribute.ns {
                NO_NS => "",
                ns => self.nodes.uri(self.text, self.context, ns),
            },
            raw_value: attribute.value.of(self.text),
        })
    }

    /// The namespace declarations on this start tag as (prefix, namespace); the default's prefix is empty.
    pub fn declares(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.node().bindings.indices().map(move |binding| {
            let binding = binding as u32;
            (self.nodes.prefix(self.text, self.context, binding), self.nodes.uri(self.text, self.context, binding))
        })
    }

    /// The language: that of the nearest `xml:lang`, here, further out or on the stream (XML 1.0 §2.12).
    pub fn lang(self) -> Option<Cow<'a, str>> {
        let mut element = self;
        loop {
            if let Some(lang) = element.attr_ns("lang", ns::XML) {
                return Some(lang);
            }
            match element.parent() {
                Some(parent) => element = parent,
                None => return self.context.lang().map(Cow::Borrowed),
            }
        }
    }

    /// The element around this one; none for the root.
    pub fn parent(self) -> Option<Element<'a>> {
        let parent = self.node().parent;
        (parent != self.index).then_some(Element { index: parent, ..self })
    }

    /// The child elements in order.
    pub fn children(self) -> Children<'a> {
        Children { of: self, next: self.index + 1, end: self.node().next }
    }

    /// The first child with the given name and namespace.
    pub fn child(self, name: &str, ns: &str) -> Option<Element<'a>> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The first child element, whatever it is.
    pub fn first_child(self) -> Option<Element<'a>> {
        self.children().next()
    }

    /// The character data directly in this element, joined and decoded; CDATA sections are text like any other.
    pub fn text(self) -> Cow<'a, str> {
        let inner = self.inner_raw();
        if chars::is_plain_text(inner) {
            return Cow::Borrowed(inner);
        }
        let mut text = String::with_capacity(inner.len());
        let node = self.node();
        let mut from = node.inner_start;
        for child in self.children() {
            let child = child.node();
            chars::push_text(&self.text[from as usize..child.start as usize], &mut text);
            from = child.end;
        }
        chars::push_text(&self.text[from as usize..node.inner_end as usize], &mut text);
        Cow::Owned(text)
    }

    /// The source of the whole element, both tags included.
    pub fn raw(self) -> &'a str {
        let node = self.node();
        &self.text[node.start as usize..node.end as usize]
    }

    /// The source between the tags; empty for an empty element.
    pub fn inner_raw(self) -> &'a str {
        let node = self.node();
        &self.text[node.inner_start as usize..node.inner_end as usize]
    }

    /// What the stream around the element declares.
    pub fn context(self) -> &'a Context {
        self.context
    }

    pub(super) fn attributes(self) -> &'a [Attribute] {
        &self.nodes.attributes[self.node().attributes.indices()]
    }
}

/// For debugging only: stanzas hold what people say, so this shows the shape and not the content.
impl fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Element")
            .field("name", &self.name())
            .field("ns", &self.ns())
            .field("bytes", &self.raw().len())
            .finish()
    }
}

/// One attribute.
#[derive(Clone, Copy)]
pub struct Attr<'a> {
    /// The local name.
    pub name: &'a str,
    /// The namespace; empty for the usual attribute without prefix.
    pub ns: &'a str,
    raw_value: &'a str,
}

impl<'a> Attr<'a> {
    /// The value: references decoded, white space normalised.
    pub fn value(self) -> Cow<'a, str> {
        chars::attribute_value(self.raw_value)
    }
}

/// The children of an element; see [`Element::children`].
#[derive(Clone)]
pub struct Children<'a> {
    of: Element<'a>,
    next: u32,
    end: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.next >= self.end {
            return None;
        }
        let child = Element { index: self.next, ..self.of };
        self.next = child.node().next;
        Some(child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, XmlError};

    fn with<R>(source: &str, look: impl FnOnce(Element<'_>) -> R) -> R {
        let mut nodes = Nodes::new();
        look(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).unwrap())
    }

    #[test]
    fn shows_names_attributes_and_children() {
        let source = "<message to='a@b' id=\"1\" xml:lang='de' stream:x='y' xmlns:p='urn:p'>\
                      <body>Hi</body><p:markable p:a='&lt;'/><body xmlns='urn:other'/></message>";
        with(source, |message| {
            assert!(message.is("message", "jabber:client"));
            assert_eq!(message.prefix(), "");
            assert_eq!(message.attr("to").as_deref(), Some("a@b"));
            assert_eq!(message.attr("x"), None);
            assert_eq!(message.attr("lang"), None);
            assert_eq!(message.attr_ns("x", ns::STREAMS).as_deref(), Some("y"));
            assert_eq!(message.lang().as_deref(), Some("de"));
            assert_eq!(message.declares().collect::<Vec<_>>(), [("p", "urn:p")]);
            let names: Vec<_> = message.children().map(|child| (child.qualified_name(), child.ns())).collect();
            assert_eq!(names, [("body", "jabber:client"), ("p:markable", "urn:p"), ("body", "urn:other")]);
            assert_eq!(message.child("body", "urn:other").unwrap().raw(), "<body xmlns='urn:other'/>");
            let markable = message.child("markable", "urn:p").unwrap();
            assert_eq!((markable.name(), markable.prefix(), markable.depth()), ("markable", "p", 2));
            assert_eq!(markable.attr_ns("a", "urn:p").as_deref(), Some("<"));
            assert_eq!(markable.attr("a"), None);
            assert_eq!(markable.lang().as_deref(), Some("de"));
            assert_eq!(message.first_child().unwrap().text(), "Hi");
            assert_eq!(message.raw(), source);
        });
    }

    #[test]
    fn joins_text_around_children_and_takes_cdata_as_text() {
        with("<a>1&amp;<b>no</b>2<![CDATA[<c/>&amp;]]>\r\n3<d/>\u{e9}&#x20AC;</a>", |a| {
            assert_eq!(a.text(), "1&2<c/>&amp;\n3\u{e9}\u{20ac}");
            assert_eq!(a.first_child().unwrap().text(), "no");
            assert_eq!(a.children().count(), 2);
        });
        with("<a/>", |a| assert_eq!((a.text().as_ref(), a.inner_raw()), ("", "")));
        with("<a> </a>", |a| assert!(matches!(a.text(), Cow::Borrowed(" "))));
    }

    #[test]
    fn resolves_namespaces_by_the_innermost_declaration() {
        let source = "<a xmlns='u1' xmlns:p='v1'><p:b xmlns:p='v2'><p:c/></p:b><p:d/><e xmlns=''><f/></e><g/></a>";
        with(source, |a| {
            fn walk(element: Element<'_>, seen: &mut Vec<String>) {
                seen.push(format!("{}={}", element.name(), element.ns()));
                element.children().for_each(|child| walk(child, seen));
            }
            let mut seen = Vec::new();
            walk(a, &mut seen);
            assert_eq!(seen, ["a=u1", "b=v2", "c=v2", "d=v1", "e=", "f=", "g=u1"]);
        });
    }

    #[test]
    fn inherits_what_the_stream_header_declares() {
        let mut header_nodes = Nodes::new();
        let header = b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:q='a&amp;b' \
                       xml:lang='fr'>";
        let header = header_nodes.parse_header(header, &Limits::NEGOTIATION).unwrap();
        let context = Context::declared_by(header);
        let mut nodes = Nodes::new();
        let iq = nodes.parse(b"<iq><q:x/></iq>", &context, &Limits::STANZA).unwrap();
        assert!(iq.is("iq", "jabber:client"));
        assert!(iq.first_child().unwrap().is("x", "a&b"));
        assert_eq!(iq.lang().as_deref(), Some("fr"));
        let refused = nodes.parse(b"<stream:error/>", &context, &Limits::STANZA).err();
        assert_eq!(refused, Some(XmlError::UndeclaredPrefix));
    }

    #[test]
    fn the_usual_header_costs_no_heap() {
        let mut nodes = Nodes::new();
        let header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
        let header = nodes.parse_header(header, &Limits::NEGOTIATION).unwrap();
        assert_eq!(Context::declared_by(header), Context::CLIENT);
        assert!(size_of::<Context>() <= 32);
    }

    #[test]
    fn says_nothing_of_the_content_when_printed() {
        with("<a x='secret'>secret</a>", |a| assert!(!format!("{a:?}").contains("secret")));
    }
}
