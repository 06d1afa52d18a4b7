//! What the view refuses, limit by limit and rule by rule.

use super::*;

fn refusal(source: &[u8], limits: &Limits) -> Option<XmlError> {
    Nodes::new().parse(source, &Context::CLIENT, limits).err()
}

#[test]
fn refuses_what_is_not_namespace_well_formed() {
    let cases: &[(&str, XmlError)] = &[
        ("", XmlError::Truncated),
        ("<", XmlError::Truncated),
        ("<a", XmlError::Truncated),
        ("<a ", XmlError::Truncated),
        ("<a/", XmlError::Truncated),
        ("<a x", XmlError::Truncated),
        ("<a x=", XmlError::Truncated),
        ("<a x='", XmlError::Truncated),
        ("<a x='y'", XmlError::Truncated),
        ("<a>", XmlError::Truncated),
        ("<a>text", XmlError::Truncated),
        ("<a>&amp;", XmlError::Truncated),
        ("<a><", XmlError::Truncated),
        ("<a><b></b>", XmlError::Truncated),
        ("<a></a", XmlError::Truncated),
        ("<a><![CDATA[x]]", XmlError::Truncated),
        ("x<a/>", XmlError::TextOutsideElement),
        (" <a/>", XmlError::TextOutsideElement),
        ("<a/> ", XmlError::ContentAfterEnd),
        ("<a></a>x", XmlError::ContentAfterEnd),
        ("<a/><b/>", XmlError::ContentAfterEnd),
        ("</a>", XmlError::MismatchedTag),
        ("<a></b>", XmlError::MismatchedTag),
        ("<a><b></a></b>", XmlError::MismatchedTag),
        ("<a></ab>", XmlError::MismatchedTag),
        ("<ab></a>", XmlError::MismatchedTag),
        ("<a></ a>", XmlError::MismatchedTag),
        ("<a></a x='1'>", XmlError::MismatchedTag),
        ("<p:a xmlns:p='u' xmlns:q='u'></q:a>", XmlError::MismatchedTag),
        ("<1a/>", XmlError::Syntax),
        ("< a/>", XmlError::Syntax),
        ("<-a/>", XmlError::Syntax),
        ("<:a/>", XmlError::Syntax),
        ("<a:/>", XmlError::Syntax),
        ("<a:b:c/>", XmlError::Syntax),
        ("<stream:1/>", XmlError::Syntax),
        ("<a\u{d7}/>", XmlError::Syntax),
        ("<a :x='1'/>", XmlError::Syntax),
        ("<a x='1'y='2'/>", XmlError::Syntax),
        ("<a x=1/>", XmlError::Syntax),
        ("<a x/>", XmlError::Syntax),
        ("<a ='1'/>", XmlError::Syntax),
        ("<a x='<'/>", XmlError::Syntax),
        ("<a / >", XmlError::Syntax),
        ("<a/ >", XmlError::Syntax),
        ("<a><!ELEMENT x></a>", XmlError::Syntax),
        ("<a><![cdata[x]]></a>", XmlError::Syntax),
        ("<a>]]></a>", XmlError::CdataEndInText),
        ("<a>x]]]>y</a>", XmlError::CdataEndInText),
        ("<a><![CDATA[x]]>]]></a>", XmlError::CdataEndInText),
        ("<a x='1' x='2'/>", XmlError::DuplicateAttribute),
        ("<a xmlns='u' xmlns='u'/>", XmlError::DuplicateAttribute),
        ("<a xmlns:p='u' xmlns:p='v'/>", XmlError::DuplicateAttribute),
        ("<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>", XmlError::DuplicateAttribute),
        ("<a xmlns:p='&#117;' xmlns:q='u' p:x='1' q:x='2'/>", XmlError::DuplicateAttribute),
        ("<a b='' c='' d='' e='' f='' g='' h='' i='' j='' b=''/>", XmlError::DuplicateAttribute),
        ("<p:a/>", XmlError::UndeclaredPrefix),
        ("<a p:x='1'/>", XmlError::UndeclaredPrefix),
        ("<a><b xmlns:p='u'/><p:c/></a>", XmlError::UndeclaredPrefix),
        ("<xmlns:a/>", XmlError::UndeclaredPrefix),
        ("<a xmlns:p=''/>", XmlError::ReservedNamespace),
        ("<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", XmlError::ReservedNamespace),
        ("<a xmlns:xmlns='u'/>", XmlError::ReservedNamespace),
        ("<a xmlns:xml='u'/>", XmlError::ReservedNamespace),
        ("<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>", XmlError::ReservedNamespace),
        ("<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", XmlError::ReservedNamespace),
        ("<a xmlns='http://www.w3.org/XML/1998/namespace'/>", XmlError::ReservedNamespace),
        ("<a xmlns='http://www.w3.org/2000/xml&#110;s/'/>", XmlError::ReservedNamespace),
        ("<a>\u{0}</a>", XmlError::ForbiddenCharacter),
        ("<a>\u{1b}</a>", XmlError::ForbiddenCharacter),
        ("<a>\u{ffff}</a>", XmlError::ForbiddenCharacter),
        ("<a x='\u{fffe}'/>", XmlError::ForbiddenCharacter),
        ("<a><![CDATA[\u{8}]]></a>", XmlError::ForbiddenCharacter),
        ("<a>&#0;</a>", XmlError::ForbiddenCharacter),
        ("<a x='&#x8;'/>", XmlError::ForbiddenCharacter),
        ("<a>&#xDFFF;</a>", XmlError::ForbiddenCharacter),
        ("<a>& </a>", XmlError::MalformedReference),
        ("<a>&amp</a>", XmlError::MalformedReference),
        ("<a x='&'/>", XmlError::MalformedReference),
        ("<a x='&amp' y=';'/>", XmlError::MalformedReference),
        ("<a>&nbsp;</a>", XmlError::Entity),
        ("<a x='&lol;'/>", XmlError::Entity),
        ("<!DOCTYPE a><a/>", XmlError::Dtd),
        ("<a><!DOCTYPE a></a>", XmlError::Dtd),
        ("<a><!-- --></a>", XmlError::Comment),
        ("<!-- --><a/>", XmlError::Comment),
        ("<?xml version='1.0'?><a/>", XmlError::ProcessingInstruction),
        ("<a><?x ?></a>", XmlError::ProcessingInstruction),
    ];
    for (source, expected) in cases {
        assert_eq!(refusal(source.as_bytes(), &Limits::STANZA), Some(*expected), "{source}");
    }
}

#[test]
fn refuses_bytes_that_are_not_utf8() {
    for bytes in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"] {
        let source = [b"<a>", bytes, b"</a>"].concat();
        assert_eq!(refusal(&source, &Limits::STANZA), Some(XmlError::NotUtf8), "{bytes:x?}");
    }
}

#[test]
fn every_part_of_an_element_is_refused() {
    let source = "<a xmlns='u' xmlns:p='v' p:x = '&lt;'>t<p:b/>&#65;<![CDATA[]]]]><c>é</c ></a>";
    assert_eq!(refusal(source.as_bytes(), &Limits::STANZA), None);
    for end in 0..source.len() {
        assert!(refusal(&source.as_bytes()[..end], &Limits::STANZA).is_some(), "{end}");
    }
}

#[test]
fn keeps_every_limit() {
    let limits = Limits {
        element_bytes_max: 100,
        depth_max: 3,
        attributes_max: 3,
        attribute_bytes_max: 10,
        name_bytes_max: 8,
        prefixes_max: 3,
    };
    let cases: &[(&str, Option<XmlError>)] = &[
        ("<a><b><c/></b></a>", None),
        ("<a><b><c><d/></c></b></a>", Some(XmlError::TooDeep)),
        ("<a b='' c='' xmlns='u'/>", None),
        ("<a b='' c='' d='' xmlns='u'/>", Some(XmlError::TooManyAttributes)),
        ("<a b='1234567890'/>", None),
        ("<a b='12345678901'/>", Some(XmlError::AttributeTooLong)),
        ("<abcdefgh/>", None),
        ("<abcdefghi/>", Some(XmlError::NameTooLong)),
        ("<a abcdefghi=''/>", Some(XmlError::NameTooLong)),
        // The stream header of these tests declares one prefix.
        ("<a xmlns:p='u'><b xmlns:q='v'/><b xmlns:q='v'/></a>", None),
        ("<a xmlns:p='u' xmlns:q='v'><b xmlns:r='w'/></a>", Some(XmlError::TooManyPrefixes)),
    ];
    for (source, expected) in cases {
        assert_eq!(refusal(source.as_bytes(), &limits), *expected, "{source}");
    }
    assert_eq!(refusal(format!("<a>{}</a>", "x".repeat(94)).as_bytes(), &limits), Some(XmlError::TooBig));
}

#[test]
fn wide_and_deep_and_crowded_elements_take_linear_time() {
    let none = Limits {
        element_bytes_max: usize::MAX,
        depth_max: usize::MAX,
        attributes_max: usize::MAX,
        attribute_bytes_max: usize::MAX,
        name_bytes_max: usize::MAX,
        prefixes_max: 32,
    };
    let numbered = |count: usize, piece: &dyn Fn(usize) -> String| (0..count).map(piece).collect::<String>();
    let attributes = numbered(30_000, &|n| format!(" a{n}='{n}'"));
    let children = numbered(50_000, &|n| format!("<b xmlns='u{n}'/>"));
    let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
    let references = "&#0000000000000000000000000000000000000000000000000065;".repeat(20_000);
    let mut nodes = Nodes::new();
    for source in [
        format!("<a{attributes}/>"),
        format!("<a>{children}</a>"),
        deep,
        format!("<a b='{references}'>{references}</a>"),
        format!("<a>{}</a>", ">]".repeat(100_000)),
    ] {
        assert!(nodes.parse(source.as_bytes(), &Context::CLIENT, &none).is_ok());
    }
    let prefixes = numbered(20_000, &|n| format!(" xmlns:p{n}='u'"));
    assert_eq!(refusal(format!("<a{prefixes}/>").as_bytes(), &none), Some(XmlError::TooManyPrefixes));
    // What one huge stanza needed is given back with the next.
    assert!(nodes.parse(b"<a/>", &Context::CLIENT, &none).is_ok());
    assert!(nodes.nodes.capacity() <= NODES_KEPT_MAX);
}

#[test]
fn names_longer_than_the_table_can_hold_are_refused_whatever_the_limit() {
    let none = Limits { name_bytes_max: usize::MAX, element_bytes_max: usize::MAX, ..Limits::STANZA };
    let source = format!("<{}/>", "n".repeat(NAME_BYTES_CEILING + 1));
    assert_eq!(refusal(source.as_bytes(), &none), Some(XmlError::NameTooLong));
}

#[test]
fn reads_a_header_without_its_end_tag() {
    let mut nodes = Nodes::new();
    let header = nodes
        .parse_header(b"<stream:stream to='x' xmlns:stream='s' xmlns='jabber:client'>", &Limits::NEGOTIATION)
        .unwrap();
    assert!(header.is("stream", "s"));
    assert_eq!(header.attr("to").unwrap(), "x");
    assert_eq!(header.default_ns(), "jabber:client");
    assert_eq!(header.inner_raw(), "");
    assert_eq!(nodes.parse_header(b"<s><a/>", &Limits::NEGOTIATION).err(), Some(XmlError::ContentAfterEnd));
    assert_eq!(nodes.parse_header(b"<stream:stream>", &Limits::NEGOTIATION).err(), Some(XmlError::UndeclaredPrefix));
}
