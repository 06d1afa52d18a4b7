//! Forwarding by copying: the start tag is written anew, the payload is copied untouched, children are appended.
//!
//! What comes out takes `jabber:client` for granted, as a TCP client stream declares it; WebSocket and BOSH, whose
//! messages stand alone, add it with [`with_namespace`].

use memchr::{memchr, memchr3, memmem};

use crate::ns;

use super::parser::{Attribute, BindingId, CONTEXT_NODE, NO_NS, Uri, XML_NS};
use super::writer::escape_attribute;
use super::{Element, Writer};

/// Attributes to set or, with `None`, to remove; all others stay as they are.
pub type Attrs<'a> = &'a [(&'static str, Option<&'a str>)];

/// Appends a stanza with some attributes replaced and children added at its end.
///
/// Payload bytes are copied as they are. Prefixes that the sender's stream header declared and the stanza uses are
/// declared on its root, `xmlns="jabber:client"` on the root is dropped, and a root that has a prefix, or whose
/// children would land in another namespace, is written without one.
///
/// ```
/// # use rookery_core::xml::{Context, Limits, Nodes, splice};
/// let mut nodes = Nodes::new();
/// let source = br#"<message to='b@x' xmlns='jabber:client' xml:lang='en'><body>Hi</body></message>"#;
/// let message = nodes.parse(source, &Context::CLIENT, &Limits::STANZA).unwrap();
/// let mut out = Vec::new();
/// splice::forward(message, &[("from", Some("a@x/r"))], |xml| { xml.simple("thread", "1"); }, &mut out);
/// assert_eq!(out, br#"<message from="a@x/r" to='b@x' xml:lang='en'><body>Hi</body><thread>1</thread></message>"#);
/// ```
pub fn forward(stanza: Element<'_>, set: Attrs<'_>, append: impl FnOnce(&mut Writer<'_>), out: &mut Vec<u8>) {
    forward_into(stanza, set, None, |_| {}, append, out);
}

/// As [`forward`], and also adds to the end of one of the stanza's children.
///
/// `child` must be a child of `stanza`. What `inside` writes without a namespace of its own is in that of `child`, and
/// what `append` writes is in `jabber:client`.
pub fn forward_into(
    stanza: Element<'_>,
    set: Attrs<'_>,
    child: Option<Element<'_>>,
    inside: impl FnOnce(&mut Writer<'_>),
    append: impl FnOnce(&mut Writer<'_>),
    out: &mut Vec<u8>,
) {
    debug_assert!(child.is_none_or(|child| child.parent().is_some_and(|parent| parent.index == stanza.index)));
    out.reserve(stanza.raw().len() + START_TAG_BYTES_LIKELY);
    let mut xml = Writer::new(out);
    let root_stands = stanza.prefix().is_empty() && stanza.ns() == ns::CLIENT;
    // `<c:extraParams xmlns:c="jabber:client" xmlns="other">` would swallow what is put into it.
    let child_stands = child.is_none_or(|child| child.default_ns() == child.ns());
    if !(root_stands && child_stands) {
        return rewrite(stanza, set, child, inside, append, &mut xml);
    }
    xml.open_checked(stanza.name());
    write_set(set, &mut xml);
    for attribute in stanza.attributes().iter().filter(|attribute| !is_set(stanza, attribute, set)) {
        xml.attr_raw(attribute.raw(stanza.text));
    }
    declare_own(stanza, &mut xml);
    declare_outer(stanza, &mut xml);
    let content = stanza.inner_raw();
    match child {
        None => {
            if !content.is_empty() {
                xml.raw(content);
            }
        }
        Some(child) => {
            let (outer, inner) = (stanza.node(), child.node());
            xml.raw(&stanza.text[outer.inner_start as usize..inner.start as usize]);
            extend(child, inside, &mut xml);
            xml.raw(&stanza.text[inner.end as usize..outer.inner_end as usize]);
        }
    }
    append(&mut xml);
    xml.close();
}

/// Room for what a forwarded start tag gains.
const START_TAG_BYTES_LIKELY: usize = 160;

/// The child as it stands, with more at its end.
fn extend(child: Element<'_>, inside: impl FnOnce(&mut Writer<'_>), xml: &mut Writer<'_>) {
    let node = child.node();
    // The start tag without its `>` or `/>`; the writer ends it either way.
    let tag = &child.text[node.start as usize..node.inner_start as usize];
    let name = child.qualified_name();
    let rest = tag[1 + name.len()..].trim_end_matches('>').trim_end_matches('/').trim();
    xml.open_checked(name);
    if !rest.is_empty() {
        xml.attr_raw(rest);
    }
    if !child.inner_raw().is_empty() {
        xml.raw(child.inner_raw());
    }
    inside(xml);
    xml.close();
}

/// Appends an element to a place where `default_ns` is the default namespace and no prefix is declared.
///
/// The copy means what the element meant: namespaces it got from outside are declared on its start tag.
pub fn copy(element: Element<'_>, default_ns: &str, out: &mut Vec<u8>) {
    let node = element.node();
    let own_default = node.bindings.indices().contains(&(node.default as usize));
    let foreign_default = !own_default && element.default_ns() != default_ns;
    if !foreign_default && !element.nodes.uses_prefixes {
        out.extend_from_slice(element.raw().as_bytes());
        return;
    }
    copy_declaring(element, foreign_default.then(|| element.default_ns()), out);
}

/// As [`copy`] to a place where nothing is declared, and puts the element into `jabber:client`, with all it holds that says
/// nothing else: for a child of a BOSH body whose client left that out.
///
/// `element` has no prefix and no `xmlns` of its own.
pub fn copy_into_client(element: Element<'_>, out: &mut Vec<u8>) {
    debug_assert!(element.prefix().is_empty() && element.declares().all(|(prefix, _)| !prefix.is_empty()));
    copy_declaring(element, Some(ns::CLIENT), out);
}

/// Appends the element with this default namespace, if one is given, and the prefixes it takes from outside.
fn copy_declaring(element: Element<'_>, default: Option<&str>, out: &mut Vec<u8>) {
    let node = element.node();
    let mut xml = Writer::new(out);
    xml.open_checked(element.qualified_name());
    if let Some(uri) = default {
        xml.ns(uri);
    }
    declare_outer(element, &mut xml);
    // What is left of the source after its name, with the end tag in it, fits what has been written.
    let after_name = node.start as usize + 1 + element.qualified_name().len();
    xml.finish_from_source(&element.text[after_name..node.end as usize]);
}

/// The element with another namespace in the place of `from` where that is declared on an element that is concerned; none where
/// nothing is. Neither name may hold a character that XML escapes.
pub fn with_ns_renamed(
    element: Element<'_>,
    from: &str,
    to: &str,
    concerns: impl Fn(Element<'_>) -> bool,
) -> Option<Vec<u8>> {
    let text = element.text;
    let (mut out, mut copied) = (Vec::new(), element.node().start as usize);
    // In the order in which they stand in the text.
    for binding in &element.nodes.bindings {
        let Uri::Frame(uri) = binding.uri else { continue };
        if uri.of(text) == from && concerns(Element { index: binding.node, ..element }) {
            out.extend_from_slice(&text.as_bytes()[copied..uri.start as usize]);
            out.extend_from_slice(to.as_bytes());
            copied = uri.end as usize;
        }
    }
    if out.is_empty() {
        return None;
    }
    out.extend_from_slice(&text.as_bytes()[copied..element.node().end as usize]);
    Some(out)
}

/// Carriage returns in the text of an element as references, so that they are still there when it has been read: a parser takes a
/// line's bare end for a line feed. XML 1.0 §2.11. None where there are none.
///
/// ```
/// # use rookery_core::xml::splice;
/// let kept = splice::with_returns(b"<sdp a='\r'>v=0\r\n<![CDATA[\r]]></sdp>");
/// assert_eq!(kept.as_deref(), Some(&b"<sdp a='\r'>v=0&#13;\n<![CDATA[]]>&#13;<![CDATA[]]></sdp>"[..]));
/// assert_eq!(splice::with_returns(b"<sdp\r/>"), None);
/// ```
pub fn with_returns(element: &[u8]) -> Option<Vec<u8>> {
    const CDATA: &[u8] = b"<![CDATA[";
    const CDATA_END: &[u8] = b"]]>";
    memchr(b'\r', element)?;
    let mut out = Vec::with_capacity(element.len() + element.len() / 8);
    let (mut rest, mut changed) = (element, false);
    while let Some(&first) = rest.first() {
        let (piece, reference) = if first != b'<' {
            (&rest[..memchr(b'<', rest).unwrap_or(rest.len())], &b"&#13;"[..])
        } else if rest.starts_with(CDATA) {
            let end = memmem::find(rest, CDATA_END).map_or(rest.len(), |at| at + CDATA_END.len());
            (&rest[..end], &b"]]>&#13;<![CDATA["[..])
        } else {
            let piece = &rest[..tag_len(rest)];
            out.extend_from_slice(piece);
            rest = &rest[piece.len()..];
            continue;
        };
        rest = &rest[piece.len()..];
        let mut parts = piece.split(|&byte| byte == b'\r');
        out.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            changed = true;
            out.extend_from_slice(reference);
            out.extend_from_slice(part);
        }
    }
    changed.then_some(out)
}

/// Where the tag that `markup` begins with ends; a `>` may stand in an attribute's value.
fn tag_len(markup: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = memchr3(b'>', b'"', b'\'', &markup[at..]) {
        let quote = markup[at + length];
        at += length + 1;
        if quote == b'>' {
            return at;
        }
        at += memchr(quote, &markup[at..]).map_or(markup.len() - at, |length| length + 1);
    }
    markup.len()
}

/// Appends one element that takes `jabber:client` for granted, and says so on its start tag: for WebSocket messages
/// (RFC 7395 §3.3.3) and BOSH bodies (XEP-0124 §7), and for `<forwarded/>` (XEP-0297 §3).
///
/// `element` is what [`forward`] or a [`Writer`] made, so its root has no `xmlns` yet.
pub fn with_namespace(element: &[u8], out: &mut Vec<u8>) {
    const DECLARATION: &[u8] = b" xmlns=\"jabber:client\"";
    let name_end = memchr3(b' ', b'/', b'>', element).unwrap_or(element.len());
    out.reserve(element.len() + DECLARATION.len());
    out.extend_from_slice(&element[..name_end]);
    out.extend_from_slice(DECLARATION);
    out.extend_from_slice(&element[name_end..]);
}

/// Appends one element with an attribute more, which its start tag must not have yet.
///
/// `element` is what [`forward`] or a [`Writer`] made. For the many copies of one presence that differ in `to` alone.
pub fn with_attribute(element: &[u8], name: &'static str, value: &str, out: &mut Vec<u8>) {
    let name_end = memchr3(b' ', b'/', b'>', element).unwrap_or(element.len());
    out.reserve(element.len() + name.len() + value.len() + 4);
    out.extend_from_slice(&element[..name_end]);
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escape_attribute(value, out);
    out.push(b'"');
    out.extend_from_slice(&element[name_end..]);
}

fn write_set(set: Attrs<'_>, xml: &mut Writer<'_>) {
    for &(name, value) in set {
        xml.attr_opt(name, value);
    }
}

fn is_set(element: Element<'_>, attribute: &Attribute, set: Attrs<'_>) -> bool {
    attribute.ns == NO_NS && {
        let name = attribute.local(element.text);
        set.iter().any(|&(set, _)| set == name)
    }
}

/// The element's own declarations of prefixes, as they stand.
fn declare_own(element: Element<'_>, xml: &mut Writer<'_>) {
    for binding in element.node().bindings.indices() {
        let prefix = element.nodes.prefix(element.text, element.context, binding as BindingId);
        if !prefix.is_empty() {
            declare(element, binding as BindingId, xml);
        }
    }
}

fn declare(element: Element<'_>, binding: BindingId, xml: &mut Writer<'_>) {
    let prefix = element.nodes.prefix(element.text, element.context, binding);
    let uri = element.nodes.uri(element.text, element.context, binding);
    xml.declare_prefix(prefix, uri);
}

/// Declares the prefixes that the element or its descendants use and something around it declared.
fn declare_outer(element: Element<'_>, xml: &mut Writer<'_>) {
    if !element.nodes.uses_prefixes {
        return;
    }
    let nodes = element.nodes;
    let range = element.index as usize..element.node().next as usize;
    let of_elements = nodes.nodes[range.clone()].iter().filter(|node| node.prefix_len > 0).map(|node| node.ns);
    let first = nodes.nodes[range.start].attributes.start as usize;
    let last = nodes.nodes[range.end - 1].attributes.end as usize;
    let of_attributes = nodes.attributes[first..last].iter().map(|attribute| attribute.ns);
    let mut declared: smallvec::SmallVec<[BindingId; 4]> = smallvec::SmallVec::new();
    for binding in of_elements.chain(of_attributes) {
        let home = nodes.bindings[binding as usize].node;
        let outer = home == CONTEXT_NODE || home < element.index;
        if outer && !matches!(binding, NO_NS | XML_NS) && !declared.contains(&binding) {
            declared.push(binding);
            declare(element, binding, xml);
        }
    }
}

/// Writes a stanza in the plainest form: no element has a prefix, and each says its namespace where it changes.
///
/// Text, CDATA and attribute values stay as they are. Prefixes on attributes stay too, declared where they are used.
fn rewrite(
    stanza: Element<'_>,
    set: Attrs<'_>,
    child: Option<Element<'_>>,
    inside: impl FnOnce(&mut Writer<'_>),
    append: impl FnOnce(&mut Writer<'_>),
    xml: &mut Writer<'_>,
) {
    let mut inside = Some(inside);
    // The open elements, outermost first, each with the default namespace written for its content; their number is
    // bounded by the depth limit of parsing.
    let mut open: Vec<(Element<'_>, &str)> = Vec::new();
    let mut at = 0;
    for index in stanza.index..stanza.node().next {
        let element = Element { index, ..stanza };
        let start = element.node().start;
        while let Some(&(innermost, _)) = open.last()
            && innermost.node().end <= start
        {
            at = close_rewritten(innermost, at, child, &mut inside, xml);
            open.pop();
        }
        if !open.is_empty() {
            raw_text(&stanza.text[at as usize..start as usize], xml);
        }
        let around = open.last().map_or(ns::CLIENT, |&(_, default)| default);
        let set = if index == stanza.index { set } else { &[] };
        let default = open_rewritten(element, around, set, xml);
        at = element.node().inner_start;
        open.push((element, default));
    }
    while open.len() > 1 {
        if let Some((innermost, _)) = open.pop() {
            at = close_rewritten(innermost, at, child, &mut inside, xml);
        }
    }
    raw_text(&stanza.text[at as usize..stanza.node().inner_end as usize], xml);
    append(xml);
    xml.close();
}

/// Copies the text between two tags; none at all leaves an empty element empty.
fn raw_text(source: &str, xml: &mut Writer<'_>) {
    if !source.is_empty() {
        xml.raw(source);
    }
}

/// Ends an element and returns where the source goes on.
fn close_rewritten(
    element: Element<'_>,
    at: u32,
    child: Option<Element<'_>>,
    inside: &mut Option<impl FnOnce(&mut Writer<'_>)>,
    xml: &mut Writer<'_>,
) -> u32 {
    raw_text(&element.text[at as usize..element.node().inner_end as usize], xml);
    if child.is_some_and(|child| child.index == element.index)
        && let Some(inside) = inside.take()
    {
        inside(xml);
    }
    xml.close();
    element.node().end
}

/// Opens an element without its prefix and returns the default namespace of its content.
fn open_rewritten<'e>(element: Element<'e>, around: &'e str, set: Attrs<'_>, xml: &mut Writer<'_>) -> &'e str {
    let nodes = element.nodes;
    // `xml` is the one prefix whose namespace can be no default (Namespaces in XML §3).
    let keeps_prefix = element.node().ns == XML_NS;
    let default = if keeps_prefix { around } else { element.ns() };
    xml.open_checked(if keeps_prefix { element.qualified_name() } else { element.name() });
    if default != around {
        xml.ns(default);
    }
    declare_own(element, xml);
    write_set(set, xml);
    let mut declared: smallvec::SmallVec<[BindingId; 4]> = smallvec::SmallVec::new();
    for attribute in element.attributes().iter().filter(|attribute| !is_set(element, attribute, set)) {
        let home = nodes.bindings[attribute.ns as usize].node;
        let fixed = matches!(nodes.bindings[attribute.ns as usize].uri, Uri::None | Uri::Xml);
        if !fixed && home != element.index && !declared.contains(&attribute.ns) {
            declared.push(attribute.ns);
            declare(element, attribute.ns, xml);
        }
        xml.attr_raw(attribute.raw(element.text));
    }
    default
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    const FROM: Attrs<'static> = &[("from", Some("a@x/r"))];

    fn context(header: &str) -> Context {
        Context::declared_by(Nodes::new().parse_header(header.as_bytes(), &Limits::NEGOTIATION).unwrap())
    }

    fn forwarded(source: &str, context: &Context) -> String {
        let mut nodes = Nodes::new();
        let stanza = nodes.parse(source.as_bytes(), context, &Limits::STANZA).unwrap();
        let mut out = Vec::new();
        let child = stanza.child("extraParams", ns::CLIENT);
        let inside = |xml: &mut Writer<'_>| {
            xml.simple("dialog_id", "7");
        };
        let append = |xml: &mut Writer<'_>| {
            xml.empty("delay", ns::DELAY);
        };
        forward_into(stanza, FROM, child, inside, append, &mut out);
        // Whatever comes out must read as a stanza in a plain client stream.
        let mut nodes = Nodes::new();
        let again = nodes.parse(&out, &Context::CLIENT, &Limits::STANZA).unwrap();
        assert!(again.is(stanza.name(), ns::CLIENT));
        assert_eq!(again.prefix(), "");
        if let Some(params) = again.child("extraParams", ns::CLIENT) {
            assert_eq!(params.child("dialog_id", ns::CLIENT).unwrap().text(), "7");
        }
        assert!(again.child("delay", ns::DELAY).is_some());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn forwards_the_payload_as_it_came() {
        let cases = [
            ("<message/>", r#"<message from="a@x/r">¤</message>"#),
            ("<message  to = 'b' ></message >", r#"<message from="a@x/r" to = 'b'>¤</message>"#),
            (
                "<message from='me' xmlns='jabber:client' to=\"b\" xml:lang='en' x='1'>\n<body>a&lt;<![CDATA[<]]></body></message>",
                "<message from=\"a@x/r\" to=\"b\" xml:lang='en' x='1'>\n<body>a&lt;<![CDATA[<]]></body>¤</message>",
            ),
            (
                "<message xmlns:p='urn:p'><p:x p:y='1'/></message>",
                r#"<message from="a@x/r" xmlns:p="urn:p"><p:x p:y='1'/>¤</message>"#,
            ),
            (
                "<message><extraParams/>x</message>",
                r#"<message from="a@x/r"><extraParams><dialog_id>7</dialog_id></extraParams>x¤</message>"#,
            ),
            (
                "<message>x<extraParams xmlns='jabber:client' a='/'><k>v</k></extraParams><y/></message>",
                "<message from=\"a@x/r\">x<extraParams xmlns='jabber:client' a='/'><k>v</k><dialog_id>7</dialog_id></extraParams><y/>¤</message>",
            ),
        ];
        for (source, expected) in cases {
            let expected = expected.replace('¤', r#"<delay xmlns="urn:xmpp:delay"/>"#);
            assert_eq!(forwarded(source, &Context::CLIENT), expected, "{source}");
        }
    }

    #[test]
    fn declares_what_the_senders_stream_header_declared() {
        let header =
            "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:p='a&amp;b' xmlns:q='q'>";
        let xml = forwarded("<message><p:x><p:y q:z='1'/></p:x></message>", &context(header));
        assert!(
            xml.starts_with(r#"<message from="a@x/r" xmlns:p="a&amp;b" xmlns:q="q"><p:x><p:y q:z='1'/></p:x>"#),
            "{xml}"
        );
    }

    #[test]
    fn writes_stanzas_with_prefixes_or_other_defaults_in_the_plain_form() {
        let cases = [
            (
                "<c:message xmlns:c='jabber:client' xmlns='urn:other' to='b'>t<c:body c:a='1'>x&amp;</c:body><o><c:i/></o></c:message>",
                "<message xmlns:c=\"jabber:client\" from=\"a@x/r\" to='b'>t<body xmlns:c=\"jabber:client\" c:a='1'>x&amp;</body><o xmlns=\"urn:other\"><i xmlns=\"jabber:client\"/></o>¤</message>",
            ),
            (
                "<message><q:extraParams xmlns:q='jabber:client' xmlns='u'>a<b/>c</q:extraParams></message>",
                "<message from=\"a@x/r\"><extraParams xmlns:q=\"jabber:client\">a<b xmlns=\"u\"/>c<dialog_id>7</dialog_id></extraParams>¤</message>",
            ),
        ];
        for (source, expected) in cases {
            let expected = expected.replace('¤', r#"<delay xmlns="urn:xmpp:delay"/>"#);
            assert_eq!(forwarded(source, &Context::CLIENT), expected, "{source}");
        }
        let prefixed = context("<stream xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>");
        assert_eq!(
            forwarded("<c:message><c:body>x</c:body></c:message>", &prefixed),
            r#"<message from="a@x/r"><body>x</body><delay xmlns="urn:xmpp:delay"/></message>"#
        );
    }

    #[test]
    fn sets_keeps_and_removes_attributes() {
        let mut nodes = Nodes::new();
        let source = b"<iq type='set' id='1' to='b' from='c' stream:to='kept'/>";
        let iq = nodes.parse(source, &Context::CLIENT, &Limits::STANZA).unwrap();
        let mut out = Vec::new();
        forward(iq, &[("from", None), ("to", Some("d'\"<")), ("type", Some("error"))], |_| {}, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"<iq to="d&apos;&quot;&lt;" type="error" id='1' stream:to='kept' xmlns:stream="http://etherx.jabber.org/streams"/>"#
        );
    }

    #[test]
    fn copies_an_element_with_the_namespaces_it_had() {
        let cases = [
            ("<iq><q xmlns='u'><a/></q></iq>", "", "<q xmlns='u'><a/></q>"),
            ("<iq><q/></iq>", ns::CLIENT, "<q/>"),
            ("<iq><q a='1'>x</q></iq>", "", r#"<q xmlns="jabber:client" a='1'>x</q>"#),
            ("<iq xmlns:p='v'><p:q/></iq>", ns::CLIENT, r#"<p:q xmlns:p="v"/>"#),
            (
                "<iq xmlns:p='v'><q xmlns='u'><a p:b=''/></q></iq>",
                ns::CLIENT,
                r#"<q xmlns:p="v" xmlns='u'><a p:b=''/></q>"#,
            ),
            ("<iq xmlns:p='v'><p:q xmlns:p='w'/></iq>", ns::CLIENT, "<p:q xmlns:p='w'/>"),
        ];
        for (source, default_ns, expected) in cases {
            let mut nodes = Nodes::new();
            let iq = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).unwrap();
            let mut out = Vec::new();
            copy(iq.first_child().unwrap(), default_ns, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn says_the_namespace_where_a_message_stands_alone() {
        for (plain, expected) in [
            ("<a/>", r#"<a xmlns="jabber:client"/>"#),
            ("<a>x</a>", r#"<a xmlns="jabber:client">x</a>"#),
            ("<a b='/>'/>", r#"<a xmlns="jabber:client" b='/>'/>"#),
        ] {
            let mut out = b"before".to_vec();
            with_namespace(plain.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
        }
    }
}
