//! Changing a few children of a stanza that is on its way, and leaving every other byte as it came.

use crate::ns;
use crate::xml::{Element, Writer};

/// What to change inside one child of a message.
pub(crate) struct Inside<'a> {
    /// The child.
    pub child: Element<'a>,
    /// Which of its children go.
    pub drop: &'a dyn Fn(Element<'_>) -> bool,
    /// What comes after the rest.
    pub append: &'a dyn Fn(&mut Writer<'_>),
}

/// The message (or whatever element) without the children that `drop` names, with `inside` changed and `append` at its end.
///
/// It must stand for itself in a stream whose default namespace is `jabber:client`, as
/// [`splice::forward`](crate::xml::splice::forward) writes it. What is appended inside a child is in `jabber:client` too,
/// whatever prefix the child has.
pub(crate) fn rewritten(
    message: Element<'_>,
    drop: &dyn Fn(Element<'_>) -> bool,
    inside: Option<Inside<'_>>,
    append: &dyn Fn(&mut Writer<'_>),
) -> Vec<u8> {
    let text = message.raw();
    let mut out = Vec::with_capacity(text.len() + ADDED_BYTES_LIKELY);
    let content = message.inner_raw();
    if content.is_empty() {
        // `<message/>` or `<message></message>`: the start tag alone, open.
        let tag = match text.strip_suffix("/>") {
            Some(tag) => tag,
            None => text.rfind("</").map_or(text, |end| text[..end].trim_end_matches('>')),
        };
        out.extend_from_slice(tag.as_bytes());
        out.push(b'>');
    } else {
        let start = offset(text, content);
        out.extend_from_slice(&text.as_bytes()[..start]);
    }
    let mut at = 0;
    for child in message.children() {
        let place = offset(content, child.raw());
        if drop(child) {
            out.extend_from_slice(&content.as_bytes()[at..place]);
            at = place + child.raw().len();
        } else if let Some(inside) =
            inside.as_ref().filter(|inside| inside.child.raw().as_ptr() == child.raw().as_ptr())
        {
            out.extend_from_slice(&content.as_bytes()[at..place]);
            extend(inside, &mut out);
            at = place + child.raw().len();
        }
    }
    out.extend_from_slice(&content.as_bytes()[at..]);
    append(&mut Writer::new(&mut out));
    out.extend_from_slice(b"</");
    out.extend_from_slice(message.qualified_name().as_bytes());
    out.push(b'>');
    out
}

const ADDED_BYTES_LIKELY: usize = 320;

fn extend(inside: &Inside<'_>, out: &mut Vec<u8>) {
    let child = inside.child;
    let (text, content) = (child.raw(), child.inner_raw());
    if content.is_empty() {
        // Whoever asks for a change has found something in it; an empty one stays as it is.
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let start = offset(text, content);
    out.extend_from_slice(&text.as_bytes()[..start]);
    let mut at = 0;
    for grandchild in child.children().filter(|&grandchild| (inside.drop)(grandchild)) {
        let place = offset(content, grandchild.raw());
        out.extend_from_slice(&content.as_bytes()[at..place]);
        at = place + grandchild.raw().len();
    }
    out.extend_from_slice(&content.as_bytes()[at..]);
    (inside.append)(&mut Writer::new(out));
    out.extend_from_slice(&text.as_bytes()[start + content.len()..]);
}

/// Writes a child of `extraParams`, in `jabber:client` whatever the default namespace is there.
pub(super) fn param(params: Element<'_>, name: &'static str, value: &str, xml: &mut Writer<'_>) {
    xml.open(name);
    if params.default_ns() != ns::CLIENT {
        xml.ns(ns::CLIENT);
    }
    xml.text(value).close();
}

/// Where a part of a text begins.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    fn changed(source: &str) -> String {
        let mut nodes = Nodes::new();
        let message = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(source);
        let params = message.child("extraParams", ns::CLIENT);
        let drop_param = |child: Element<'_>| child.is("dialog_id", ns::CLIENT);
        let append = |xml: &mut Writer<'_>| {
            if let Some(params) = params {
                param(params, "dialog_id", "7", xml);
            }
        };
        let inside = params.map(|child| Inside { child, drop: &drop_param, append: &append });
        let out = rewritten(message, &|child| child.is("delay", ns::DELAY), inside, &|xml| {
            xml.empty("x", "urn:x");
        });
        assert!(nodes.parse(&out, &Context::CLIENT, &Limits::STANZA).is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replaces_children_and_leaves_the_rest() {
        for (source, expected) in [
            ("<message/>", r#"<message><x xmlns="urn:x"/></message>"#),
            ("<message to='a'></message>", r#"<message to='a'><x xmlns="urn:x"/></message>"#),
            (
                "<message> <delay xmlns='urn:xmpp:delay'/>t<body>a&amp;b</body></message>",
                r#"<message> t<body>a&amp;b</body><x xmlns="urn:x"/></message>"#,
            ),
            (
                "<message><extraParams xmlns='jabber:client'>a<dialog_id>1</dialog_id>b<c/><dialog_id/></extraParams ><b/></message>",
                r#"<message><extraParams xmlns='jabber:client'>ab<c/><dialog_id>7</dialog_id></extraParams ><b/><x xmlns="urn:x"/></message>"#,
            ),
            (
                "<message><c:extraParams xmlns:c='jabber:client' xmlns='u'><c:dialog_id/><dialog_id/></c:extraParams></message>",
                r#"<message><c:extraParams xmlns:c='jabber:client' xmlns='u'><dialog_id/><dialog_id xmlns="jabber:client">7</dialog_id></c:extraParams><x xmlns="urn:x"/></message>"#,
            ),
        ] {
            assert_eq!(changed(source), expected, "{source}");
        }
    }
}
