//! Turns one whole element into a table of offsets, and refuses everything that is not namespace-well-formed.
//!
//! `xmlparser` holds the place and reads names, `=` and quotes, except for the plain spelling nearly everyone uses, which
//! a byte loop sees through; runs of text and attribute values are skipped by `memchr`. What `xmlparser` leaves open is
//! checked here: end tags, duplicate attributes, references, prefixes, characters, the end of the input.

use std::mem;

use memchr::memmem;
use xmlparser::Stream;

use crate::ns;

use super::{Context, Element, Limits, NAME_BYTES_CEILING, XmlError, chars};

/// The reusable table behind [`Element`]: parsing a stanza allocates nothing once the table has grown.
///
/// Lives on the shard that reads; one is enough for all its connections.
#[derive(Debug, Default)]
pub struct Nodes {
    pub(super) nodes: Vec<Node>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) bindings: Vec<Binding>,
    /// Bindings of prefixes (never the default) in scope at the current place.
    scope: Vec<BindingId>,
    /// Namespace names that are written with references, decoded.
    pub(super) decoded: String,
    /// Scratch for finding duplicates among many attributes.
    sorted: Vec<u32>,
    /// Whether any element or attribute uses a prefix other than `xml`.
    pub(super) uses_prefixes: bool,
}

/// One element. Nodes stand in document order, so the descendants of `n` are `n + 1 .. nodes[n].next`.
#[derive(Debug)]
pub(super) struct Node {
    /// Offsets of `<`, of the content, of the content's end and of the element's end.
    pub start: u32,
    pub inner_start: u32,
    pub inner_end: u32,
    pub end: u32,
    pub ns: BindingId,
    /// The default namespace inside this element.
    pub default: BindingId,
    pub attributes: Range,
    pub bindings: Range,
    /// The node after the last descendant.
    pub next: u32,
    /// The element around this one; itself for the root.
    pub parent: u32,
    pub prefix_len: u16,
    pub local_len: u16,
    pub depth: u32,
}

/// One attribute that is not a namespace declaration.
#[derive(Debug)]
pub(super) struct Attribute {
    pub start: u32,
    pub prefix_len: u16,
    pub local_len: u16,
    pub value: Span,
    pub ns: BindingId,
}

/// One namespace declaration.
#[derive(Debug)]
pub(super) struct Binding {
    pub prefix: Span,
    pub uri: Uri,
    /// The element that carries it.
    pub node: u32,
}

/// Where a namespace name is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Uri {
    Frame(Span),
    Decoded(Span),
    /// The context's default namespace.
    ContextDefault,
    /// The context's prefix of this index.
    ContextPrefix(u32),
    None,
    Xml,
}

/// An index into [`Nodes::bindings`].
pub(super) type BindingId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// Indices into one of the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

impl Range {
    pub(super) fn indices(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Uri {
    fn text<'a>(self, text: &'a str, nodes: &'a Nodes, context: &'a Context) -> &'a str {
        match self {
            Uri::Frame(span) => span.of(text),
            Uri::Decoded(span) => span.of(&nodes.decoded),
            Uri::ContextDefault => context.default_ns(),
            Uri::ContextPrefix(index) => context.prefix(index as usize).1,
            Uri::None => "",
            Uri::Xml => ns::XML,
        }
    }
}

/// The fixed bindings at the head of the table.
pub(super) const NO_NS: BindingId = 0;
pub(super) const XML_NS: BindingId = 1;
const CONTEXT_DEFAULT: BindingId = 2;

/// A binding's `node` when the context declares it.
pub(super) const CONTEXT_NODE: u32 = u32::MAX;

/// Offsets have 32 bits.
const FRAME_BYTES_CEILING: usize = u32::MAX as usize;

/// What a table may keep between stanzas; one wide stanza must not cost its memory for ever.
const NODES_KEPT_MAX: usize = 4096;

impl Nodes {
    /// An empty table.
    pub const fn new() -> Nodes {
        Nodes {
            nodes: Vec::new(),
            attributes: Vec::new(),
            bindings: Vec::new(),
            scope: Vec::new(),
            decoded: String::new(),
            sorted: Vec::new(),
            uses_prefixes: false,
        }
    }

    /// Reads one whole element, as the framer hands it out.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8, not namespace-well-formed, not exactly one element, holds what RFC 6120 §11.1 forbids, or
    /// exceeds a limit.
    pub fn parse<'a>(
        &'a mut self,
        frame: &'a [u8],
        context: &'a Context,
        limits: &Limits,
    ) -> Result<Element<'a>, XmlError> {
        let text = self.read(frame, context, limits, false)?;
        Ok(Element::new(self, text, context, 0))
    }

    /// Reads a stanza again that was checked on its way in: one on its way through the server, or a kept one. `None`
    /// would mean that the server itself has written it badly.
    pub fn reread<'a>(&'a mut self, stanza: &'a [u8]) -> Option<Element<'a>> {
        self.parse(stanza, &Context::CLIENT, &Limits::OWN).ok()
    }

    /// Reads a start tag alone, the stream header, as an element without content.
    ///
    /// # Errors
    ///
    /// As [`Nodes::parse`].
    pub fn parse_header<'a>(&'a mut self, header: &'a [u8], limits: &Limits) -> Result<Element<'a>, XmlError> {
        let text = self.read(header, &Context::ALONE, limits, true)?;
        Ok(Element::new(self, text, &Context::ALONE, 0))
    }

    fn read<'a>(
        &mut self,
        frame: &'a [u8],
        context: &Context,
        limits: &Limits,
        header: bool,
    ) -> Result<&'a str, XmlError> {
        if frame.len() > limits.element_bytes_max.min(FRAME_BYTES_CEILING) {
            return Err(XmlError::TooBig);
        }
        let text = simdutf8::basic::from_utf8(frame).map_err(|_| XmlError::NotUtf8)?;
        if !chars::all_allowed(text) {
            return Err(XmlError::ForbiddenCharacter);
        }
        self.clear(context);
        Reading { nodes: self, text, context, limits, stream: Stream::from(text), open: None }.run(header)?;
        Ok(text)
    }

    fn clear(&mut self, context: &Context) {
        if self.nodes.capacity().max(self.attributes.capacity()).max(self.bindings.capacity()) > NODES_KEPT_MAX {
            *self = Nodes::new();
        }
        self.nodes.clear();
        self.attributes.clear();
        self.bindings.clear();
        self.scope.clear();
        self.decoded.clear();
        self.uses_prefixes = false;
        let nowhere = Span { start: 0, end: 0 };
        for uri in [Uri::None, Uri::Xml, Uri::ContextDefault] {
            self.bindings.push(Binding { prefix: nowhere, uri, node: CONTEXT_NODE });
        }
        for index in 0..context.prefix_count() as u32 {
            self.scope.push(self.bindings.len() as BindingId);
            self.bindings.push(Binding { prefix: nowhere, uri: Uri::ContextPrefix(index), node: CONTEXT_NODE });
        }
    }

    /// The namespace name of a binding.
    pub(super) fn uri<'a>(&'a self, text: &'a str, context: &'a Context, binding: BindingId) -> &'a str {
        self.bindings[binding as usize].uri.text(text, self, context)
    }

    /// The prefix of a binding; empty for the default namespace.
    pub(super) fn prefix<'a>(&'a self, text: &'a str, context: &'a Context, binding: BindingId) -> &'a str {
        let binding = &self.bindings[binding as usize];
        match binding.uri {
            Uri::ContextPrefix(index) => context.prefix(index as usize).0,
            Uri::Xml => "xml",
            Uri::Frame(_) | Uri::Decoded(_) | Uri::ContextDefault | Uri::None => binding.prefix.of(text),
        }
    }
}

/// One pass over one element.
struct Reading<'n, 't> {
    nodes: &'n mut Nodes,
    text: &'t str,
    context: &'n Context,
    limits: &'n Limits,
    stream: Stream<'t>,
    /// The innermost open element.
    open: Option<u32>,
}

impl Reading<'_, '_> {
    fn run(&mut self, header: bool) -> Result<(), XmlError> {
        match self.text.as_bytes() {
            [b'<', b'/', ..] => return Err(XmlError::MismatchedTag),
            [b'<', next, ..] => refuse_markup(*next, self.text)?,
            [b'<'] | [] => return Err(XmlError::Truncated),
            _ => return Err(XmlError::TextOutsideElement),
        }
        self.start_tag()?;
        if header {
            return self.end_of_header();
        }
        while self.open.is_some() {
            self.character_data()?;
            let bytes = self.text.as_bytes();
            let at = self.stream.pos();
            match bytes.get(at + 1) {
                Some(b'/') => self.end_tag()?,
                Some(b'!') if bytes[at..].starts_with(b"<![CDATA[") => self.cdata()?,
                Some(&next) => {
                    refuse_markup(next, &self.text[at..])?;
                    self.start_tag()?;
                }
                None => return Err(XmlError::Truncated),
            }
        }
        self.expect_end()
    }

    fn expect_end(&self) -> Result<(), XmlError> {
        if self.stream.at_end() { Ok(()) } else { Err(XmlError::ContentAfterEnd) }
    }

    /// A header is a start tag alone: it ends where its content would begin.
    fn end_of_header(&mut self) -> Result<(), XmlError> {
        if self.open.take().is_some() {
            let end = self.stream.pos() as u32;
            let root = &mut self.nodes.nodes[0];
            (root.inner_end, root.end) = (end, end);
        }
        self.expect_end()
    }

    /// Skips text up to the next `<`. XML 1.0 §2.4.
    fn character_data(&mut self) -> Result<(), XmlError> {
        let at = self.stream.pos();
        let rest = &self.text.as_bytes()[at..];
        let length = chars::find(b'<', rest).ok_or(XmlError::Truncated)?;
        let run = &self.text[at..at + length];
        let mut from = 0;
        while let Some(found) = chars::find2(b'&', b'>', &run.as_bytes()[from..]) {
            let here = from + found;
            if run.as_bytes()[here] == b'&' {
                from = here + chars::reference_len(&run[here..])?;
            } else if run[..here].ends_with("]]") {
                return Err(XmlError::CdataEndInText);
            } else {
                from = here + 1;
            }
        }
        self.stream.advance(length);
        Ok(())
    }

    /// Skips a CDATA section. XML 1.0 §2.7.
    fn cdata(&mut self) -> Result<(), XmlError> {
        let rest = &self.text.as_bytes()[self.stream.pos()..];
        let end = memmem::find(rest, b"]]>").ok_or(XmlError::Truncated)?;
        self.stream.advance(end + 3);
        Ok(())
    }

    /// Reads a start tag or an empty-element tag. XML 1.0 §3.1.
    fn start_tag(&mut self) -> Result<(), XmlError> {
        let start = self.stream.pos();
        let index = self.nodes.nodes.len() as u32;
        let depth = self.open.map_or(1, |open| self.nodes.nodes[open as usize].depth + 1);
        if depth as usize > self.limits.depth_max {
            return Err(XmlError::TooDeep);
        }
        self.stream.advance(1);
        let (prefix_len, local_len) = self.name()?;
        let first_attribute = self.nodes.attributes.len() as u32;
        let first_binding = self.nodes.bindings.len() as u32;
        let inherited = self.open.map_or(CONTEXT_DEFAULT, |open| self.nodes.nodes[open as usize].default);
        self.nodes.nodes.push(Node {
            start: start as u32,
            inner_start: 0,
            inner_end: 0,
            end: 0,
            ns: NO_NS,
            default: inherited,
            attributes: Range { start: first_attribute, end: first_attribute },
            bindings: Range { start: first_binding, end: first_binding },
            next: index + 1,
            parent: self.open.unwrap_or(index),
            prefix_len,
            local_len,
            depth,
        });
        let empty = self.attributes(index)?;
        self.resolve(index)?;
        let at = self.stream.pos() as u32;
        let node = &mut self.nodes.nodes[index as usize];
        node.inner_start = at;
        if empty {
            (node.inner_end, node.end) = (at, at);
            self.close(index);
        } else {
            self.open = Some(index);
        }
        Ok(())
    }

    /// Reads attributes up to and with the end of the tag; true if the tag was an empty-element tag.
    fn attributes(&mut self, index: u32) -> Result<bool, XmlError> {
        let bytes = self.text.as_bytes();
        let mut count = 0;
        loop {
            let at = self.stream.pos();
            self.stream.skip_spaces();
            let spaced = self.stream.pos() > at;
            match &bytes[self.stream.pos()..] {
                [b'>', ..] => {
                    self.stream.advance(1);
                    return Ok(false);
                }
                [b'/', b'>', ..] => {
                    self.stream.advance(2);
                    return Ok(true);
                }
                [] | [b'/'] => return Err(XmlError::Truncated),
                _ if !spaced => return Err(XmlError::Syntax),
                _ => {}
            }
            count += 1;
            if count > self.limits.attributes_max {
                return Err(XmlError::TooManyAttributes);
            }
            self.attribute(index)?;
        }
    }

    fn attribute(&mut self, index: u32) -> Result<(), XmlError> {
        let start = self.stream.pos();
        let (prefix_len, local_len) = self.name()?;
        let name = &self.text[start..self.stream.pos()];
        let quote = self.equals_and_quote()?;
        let value_start = self.stream.pos();
        let rest = &self.text.as_bytes()[value_start..];
        let length = chars::find2(quote, b'<', rest).ok_or(XmlError::Truncated)?;
        if rest[length] == b'<' {
            return Err(XmlError::Syntax);
        }
        if length > self.limits.attribute_bytes_max {
            return Err(XmlError::AttributeTooLong);
        }
        let value = Span { start: value_start as u32, end: (value_start + length) as u32 };
        chars::check_references(value.of(self.text))?;
        self.stream.advance(length + 1);
        match name.strip_prefix("xmlns") {
            Some("") => self.declare_default(index, start, value),
            Some(prefix) if prefix.starts_with(':') => {
                self.declare(index, Span { start: start as u32 + 6, end: (start + name.len()) as u32 }, value)
            }
            Some(_) | None => {
                self.nodes.attributes.push(Attribute { start: start as u32, prefix_len, local_len, value, ns: NO_NS });
                self.nodes.nodes[index as usize].attributes.end += 1;
                Ok(())
            }
        }
    }

    /// The `=` after an attribute's name, the opening quote, and the white space around them.
    fn equals_and_quote(&mut self) -> Result<u8, XmlError> {
        if let [b'=', quote @ (b'"' | b'\''), ..] = self.text.as_bytes()[self.stream.pos()..] {
            self.stream.advance(2);
            return Ok(quote);
        }
        self.stream.consume_eq().map_err(syntax)?;
        self.stream.consume_quote().map_err(syntax)
    }

    /// A qualified name: the lengths of its prefix (0 if none) and its local part. Namespaces in XML §4.
    fn name(&mut self) -> Result<(u16, u16), XmlError> {
        let start = self.stream.pos();
        let bytes = &self.text.as_bytes()[start..];
        let plain = bytes.iter().take_while(|&&byte| chars::is_plain_name_byte(byte)).count();
        let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        if plain > 0
            && plain <= self.limits.name_bytes_max.min(NAME_BYTES_CEILING)
            && is_start(bytes[0])
            && matches!(bytes.get(plain), Some(b'=' | b'>' | b' ' | b'/'))
        {
            self.stream.advance(plain);
            return Ok((0, plain as u16));
        }
        let (prefix, local) = self.stream.consume_qname().map_err(syntax)?;
        if self.stream.pos() - start > self.limits.name_bytes_max.min(NAME_BYTES_CEILING) {
            return Err(XmlError::NameTooLong);
        }
        // `:name` has a colon but no prefix.
        if prefix.as_str().is_empty() && local.start() != start {
            return Err(XmlError::Syntax);
        }
        Ok((prefix.as_str().len() as u16, local.as_str().len() as u16))
    }

    /// `xmlns="…"`. Namespaces in XML §6.2; an empty value takes the default away.
    fn declare_default(&mut self, index: u32, start: usize, value: Span) -> Result<(), XmlError> {
        let uri = self.namespace_name(value);
        if matches!(self.uri_text(uri), ns::XML | ns::XMLNS) {
            return Err(XmlError::ReservedNamespace);
        }
        let node = &self.nodes.nodes[index as usize];
        let own = node.bindings.indices();
        if own.contains(&(node.default as usize)) {
            return Err(XmlError::DuplicateAttribute);
        }
        let prefix = Span { start: start as u32, end: start as u32 };
        let binding = self.bind(index, prefix, uri);
        self.nodes.nodes[index as usize].default = binding;
        Ok(())
    }

    /// `xmlns:prefix="…"`. Namespaces in XML §3 (NSC: Reserved Prefixes and Namespace Names) and §6.1.
    fn declare(&mut self, index: u32, prefix: Span, value: Span) -> Result<(), XmlError> {
        let uri = self.namespace_name(value);
        let name = prefix.of(self.text);
        match (name, self.uri_text(uri)) {
            // Already bound, and bound for good.
            ("xml", ns::XML) => {}
            ("xml" | "xmlns", _) | (_, ns::XML | ns::XMLNS | "") => return Err(XmlError::ReservedNamespace),
            _ => {}
        }
        if self.nodes.scope.len() >= self.limits.prefixes_max {
            return Err(XmlError::TooManyPrefixes);
        }
        let own = self.nodes.nodes[index as usize].bindings.start;
        for &other in self.nodes.scope.iter().rev().take_while(|&&other| other >= own) {
            if self.nodes.prefix(self.text, self.context, other) == name {
                return Err(XmlError::DuplicateAttribute);
            }
        }
        let binding = self.bind(index, prefix, uri);
        self.nodes.scope.push(binding);
        Ok(())
    }

    fn bind(&mut self, index: u32, prefix: Span, uri: Uri) -> BindingId {
        let binding = self.nodes.bindings.len() as BindingId;
        self.nodes.bindings.push(Binding { prefix, uri, node: index });
        self.nodes.nodes[index as usize].bindings.end += 1;
        binding
    }

    /// A declared name as it reads, which is nearly always as it is written.
    fn namespace_name(&mut self, value: Span) -> Uri {
        match chars::attribute_value(value.of(self.text)) {
            std::borrow::Cow::Borrowed(_) => Uri::Frame(value),
            std::borrow::Cow::Owned(name) => {
                let start = self.nodes.decoded.len() as u32;
                self.nodes.decoded.push_str(&name);
                Uri::Decoded(Span { start, end: self.nodes.decoded.len() as u32 })
            }
        }
    }

    fn uri_text(&self, uri: Uri) -> &str {
        uri.text(self.text, self.nodes, self.context)
    }

    /// Gives the element and its attributes their namespaces, once all of its declarations are known.
    fn resolve(&mut self, index: u32) -> Result<(), XmlError> {
        let node = &self.nodes.nodes[index as usize];
        let name = node.start + 1;
        let own = node.attributes.indices();
        let ns = match node.prefix_len {
            0 => node.default,
            length => self.lookup(Span { start: name, end: name + u32::from(length) })?,
        };
        self.nodes.nodes[index as usize].ns = ns;
        for at in own.clone() {
            let attribute = &self.nodes.attributes[at];
            if attribute.prefix_len > 0 {
                let prefix = Span { start: attribute.start, end: attribute.start + u32::from(attribute.prefix_len) };
                self.nodes.attributes[at].ns = self.lookup(prefix)?;
            }
        }
        self.check_duplicates(own)
    }

    /// The binding of a prefix. Namespaces in XML §5 (NSC: Prefix Declared).
    fn lookup(&mut self, prefix: Span) -> Result<BindingId, XmlError> {
        let prefix = prefix.of(self.text);
        if prefix == "xml" {
            return Ok(XML_NS);
        }
        self.nodes.uses_prefixes = true;
        // `xmlns` is never in scope, so elements that use it as a prefix fail here too.
        let nodes = &*self.nodes;
        let found = nodes.scope.iter().rev().find(|&&id| nodes.prefix(self.text, self.context, id) == prefix);
        found.copied().ok_or(XmlError::UndeclaredPrefix)
    }

    /// XML 1.0 §3.1 (WFC: Unique Att Spec), Namespaces in XML §6.3 (NSC: Attributes Unique).
    fn check_duplicates(&mut self, own: std::ops::Range<usize>) -> Result<(), XmlError> {
        /// Up to here comparing all pairs is cheaper than sorting.
        const PAIRS_MAX: usize = 8;
        let duplicate = if own.len() <= PAIRS_MAX {
            own.clone().any(|a| (own.start..a).any(|b| self.expanded(a) == self.expanded(b)))
        } else {
            let mut sorted = mem::take(&mut self.nodes.sorted);
            sorted.clear();
            sorted.extend(own.map(|at| at as u32));
            sorted.sort_unstable_by(|&a, &b| self.expanded(a as usize).cmp(&self.expanded(b as usize)));
            let duplicate =
                sorted.windows(2).any(|pair| self.expanded(pair[0] as usize) == self.expanded(pair[1] as usize));
            self.nodes.sorted = sorted;
            duplicate
        };
        if duplicate { Err(XmlError::DuplicateAttribute) } else { Ok(()) }
    }

    /// An attribute's local name and namespace.
    fn expanded(&self, attribute: usize) -> (&str, &str) {
        let attribute = &self.nodes.attributes[attribute];
        let ns = match attribute.ns {
            NO_NS => "",
            ns => self.nodes.uri(self.text, self.context, ns),
        };
        (attribute.local(self.text), ns)
    }

    /// Reads an end tag. XML 1.0 §3 (WFC: Element Type Match).
    fn end_tag(&mut self) -> Result<(), XmlError> {
        let Some(open) = self.open else { return Err(XmlError::MismatchedTag) };
        let at = self.stream.pos();
        let node = &self.nodes.nodes[open as usize];
        let bytes = self.text.as_bytes();
        let name = &bytes[node.start as usize + 1..][..node.name_len()];
        let after = bytes[at + 2..].strip_prefix(name).ok_or(XmlError::MismatchedTag)?;
        let spaces = after.iter().take_while(|&&byte| chars::is_space(byte)).count();
        match after.get(spaces) {
            Some(b'>') => {}
            Some(_) => return Err(XmlError::MismatchedTag),
            None => return Err(XmlError::Truncated),
        }
        self.stream.advance(2 + name.len() + spaces + 1);
        let node = &mut self.nodes.nodes[open as usize];
        node.inner_end = at as u32;
        node.end = self.stream.pos() as u32;
        self.close(open);
        Ok(())
    }

    /// Leaves an element: its parent is open again and its prefixes are out of scope.
    fn close(&mut self, index: u32) {
        let next = self.nodes.nodes.len() as u32;
        let node = &mut self.nodes.nodes[index as usize];
        node.next = next;
        self.open = (node.parent != index).then_some(node.parent);
        if node.bindings.start < node.bindings.end {
            let own = node.bindings.start;
            while self.nodes.scope.pop_if(|binding| *binding >= own).is_some() {}
        }
    }
}

impl Node {
    pub(super) fn name_len(&self) -> usize {
        let colon = usize::from(self.prefix_len > 0);
        usize::from(self.prefix_len) + colon + usize::from(self.local_len)
    }
}

impl Attribute {
    pub(super) fn local<'a>(&self, text: &'a str) -> &'a str {
        let colon = u32::from(self.prefix_len > 0);
        let start = self.start + u32::from(self.prefix_len) + colon;
        Span { start, end: start + u32::from(self.local_len) }.of(text)
    }

    /// The attribute as written, quotes included.
    pub(super) fn raw<'a>(&self, text: &'a str) -> &'a str {
        Span { start: self.start, end: self.value.end + 1 }.of(text)
    }
}

/// Refuses markup that RFC 6120 §11.1 keeps out of streams; `next` follows the `<` that `rest` starts with.
fn refuse_markup(next: u8, rest: &str) -> Result<(), XmlError> {
    match next {
        b'?' => Err(XmlError::ProcessingInstruction),
        b'!' if rest.starts_with("<!--") => Err(XmlError::Comment),
        b'!' if rest.starts_with("<!D") => Err(XmlError::Dtd),
        b'!' => Err(XmlError::Syntax),
        _ => Ok(()),
    }
}

/// `xmlparser` says where and what in detail; a stream error has one word for all of it.
fn syntax(error: xmlparser::StreamError) -> XmlError {
    match error {
        xmlparser::StreamError::UnexpectedEndOfStream => XmlError::Truncated,
        _ => XmlError::Syntax,
    }
}

#[cfg(test)]
mod tests;
