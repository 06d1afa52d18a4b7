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
            (
                self.nodes.prefix(self.text, self.context, binding),
                self.nodes.uri(self.text, self.context, binding),
            )
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
