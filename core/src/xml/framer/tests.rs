//! Streams that are fine and streams that are not, at every split.

use super::*;

const LIMITS: Limits = Limits {
    element_bytes_max: 400,
    depth_max: 5,
    attributes_max: 6,
    attribute_bytes_max: 64,
    name_bytes_max: 24,
    prefixes_max: 8,
};

/// Frames as text, white space left out, since how many frames it makes depends on the split.
fn frames(framer: &mut Framer, pieces: &[&[u8]]) -> (Vec<String>, Option<XmlError>) {
    let mut seen = Vec::new();
    for piece in pieces {
        let result = framer.feed(piece, &LIMITS, |frame| {
            match frame {
                Frame::Header(bytes) => seen.push(format!("H {}", String::from_utf8_lossy(bytes))),
                Frame::Element(bytes) => seen.push(format!("E {}", String::from_utf8_lossy(bytes))),
                Frame::End => seen.push("end".into()),
                Frame::Whitespace => {}
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = result {
            return (seen, Some(error));
        }
    }
    (seen, None)
}

/// Streams that are fine, and streams with what they are refused for.
fn streams() -> Vec<(Vec<u8>, Option<XmlError>)> {
    let header = "<stream:stream to='x' xmlns='jabber:client' xmlns:stream='s'>";
    let inside = |content: &str| format!("{header}{content}").into_bytes();
    let long = "a".repeat(400);
    vec![
        (inside("<a/><b x='1'>t</b> \n<c><d/><e>&amp;</e></c></stream:stream>"), None),
        (format!("<?xml version='1.0' encoding=\"utf-8\" standalone='yes' ?>\n{header}").into(), None),
        (format!(" \n<?xml version=\"1.0\"?>{header}<a/>").into(), None),
        (inside("<a x=\"'>\" y='\"/>'>]]&gt;</a>"), None),
        (inside("<a><![CDATA[</a>]]]]><![CDATA[>]]]></a>"), None),
        (inside("<é ü='ö'>ä€😀</é >"), None),
        (inside("<a\n\tx = 'y'\r\n/>"), None),
        (b"<s/>".to_vec(), None),
        (inside("</stream:stream> <a/>"), Some(XmlError::ContentAfterEnd)),
        (inside("x<a/>"), Some(XmlError::TextOutsideElement)),
        (inside("</stream>"), Some(XmlError::MismatchedTag)),
        (inside("</stream:streams>"), Some(XmlError::MismatchedTag)),
        (inside("<a/>&amp;"), Some(XmlError::TextOutsideElement)),
        (inside("<![CDATA[x]]>"), Some(XmlError::TextOutsideElement)),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(XmlError::TextOutsideElement)),
        (b"\x16\x03\x01\x02\0".to_vec(), Some(XmlError::TextOutsideElement)),
        (b"\xEF\xBB\xBF<a>".to_vec(), Some(XmlError::TextOutsideElement)),
        (b"\xFF\xFE<\0a\0".to_vec(), Some(XmlError::Encoding)),
        (b"\xFE\xFF\0<\0a".to_vec(), Some(XmlError::Encoding)),
        (b"<\0?\0x\0m\0l\0".to_vec(), Some(XmlError::Encoding)),
        (b"\0<\0?\0x\0m\0l".to_vec(), Some(XmlError::Encoding)),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><a>".to_vec(), Some(XmlError::Encoding)),
        (b"<?xml version='1.0' encoding='UTF-16'?><a>".to_vec(), Some(XmlError::Encoding)),
        (b"<?xml version='1.1'?><a>".to_vec(), Some(XmlError::BadDeclaration)),
        (b"<?xml encoding='UTF-8'?><a>".to_vec(), Some(XmlError::BadDeclaration)),
        (b"<?xml version='1.0'encoding='UTF-8'?><a>".to_vec(), Some(XmlError::BadDeclaration)),
        (b"<?xml version='1.0' version='1.0'?><a>".to_vec(), Some(XmlError::BadDeclaration)),
        (b"<?xml ?><a>".to_vec(), Some(XmlError::BadDeclaration)),
        (b"<?xml version='1.0'><a>".to_vec(), Some(XmlError::BadDeclaration)),
        (format!("<?xml version='1.0' {long}").into(), Some(XmlError::BadDeclaration)),
        (b"<?xml version='1.0'?><?xml version='1.0'?>".to_vec(), Some(XmlError::ProcessingInstruction)),
        (b"<?xml-stylesheet href='x'?>".to_vec(), Some(XmlError::ProcessingInstruction)),
        (inside("<?xml version='1.0'?>"), Some(XmlError::ProcessingInstruction)),
        (inside("<a><?php ?></a>"), Some(XmlError::ProcessingInstruction)),
        (b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>".to_vec(), Some(XmlError::Dtd)),
        (inside("<!DOCTYPE a>"), Some(XmlError::Dtd)),
        (inside("<a><!DOCTYPE a></a>"), Some(XmlError::Dtd)),
        (inside("<!-- x -->"), Some(XmlError::Comment)),
        (inside("<a><!-- x --></a>"), Some(XmlError::Comment)),
        (inside("<a><!ELEMENT a></a>"), Some(XmlError::Syntax)),
        (inside("<a><![CDATX[ ]]></a>"), Some(XmlError::Syntax)),
        (b"</a>".to_vec(), Some(XmlError::MismatchedTag)),
        (inside("< a/>"), Some(XmlError::Syntax)),
        (inside("<a x='1'y='2'/>"), Some(XmlError::Syntax)),
        (inside("<a x=1/>"), Some(XmlError::Syntax)),
        (inside("<a x/>"), Some(XmlError::Syntax)),
        (inside("<a x='<'/>"), Some(XmlError::Syntax)),
        (inside("<a / >"), Some(XmlError::Syntax)),
        (inside("<a<b/>"), Some(XmlError::Syntax)),
        (inside("<a></a<"), Some(XmlError::Syntax)),
        (format!("<s {}", "x='1' ".repeat(7)).into(), Some(XmlError::TooManyAttributes)),
        (inside(&format!("<a {}>", "x='1' ".repeat(7))), Some(XmlError::TooManyAttributes)),
        (inside(&"<a>".repeat(6)), Some(XmlError::TooDeep)),
        (inside("<a><a><a><a><a><b/>"), Some(XmlError::TooDeep)),
        (inside("<a><a><a><a><b/></a></a></a></a>"), None),
        (inside(&format!("<{}>", "n".repeat(25))), Some(XmlError::NameTooLong)),
        (inside(&format!("<a {}='1'>", "n".repeat(25))), Some(XmlError::NameTooLong)),
        (inside(&format!("<{} {}='{}'/>", "n".repeat(24), "m".repeat(24), "v".repeat(64))), None),
        (inside(&format!("<a x='{}'>", "v".repeat(65))), Some(XmlError::AttributeTooLong)),
        (format!("<s x='{long}").into(), Some(XmlError::AttributeTooLong)),
        (inside(&format!("<a>{long}</a>")), Some(XmlError::TooBig)),
        (inside(&format!("<a>{long}")), Some(XmlError::TooBig)),
        (inside(&format!("<a{long}")), Some(XmlError::NameTooLong)),
        (inside(&format!("<a>{}</a>", "x".repeat(393))), None),
        (inside(&format!("<a>{}</a>", "x".repeat(394))), Some(XmlError::TooBig)),
        (inside(&format!("<a>{}<!-- -->", "x".repeat(394))), Some(XmlError::Comment)),
        (inside(&format!("<a>{}<!-- -->", "x".repeat(395))), Some(XmlError::TooBig)),
    ]
}

#[test]
fn hands_out_frames_and_refuses_what_no_stream_may_hold() {
    for (stream, expected) in streams() {
        let (_, error) = frames(&mut Framer::new(), &[&stream]);
        assert_eq!(error, expected, "{}", String::from_utf8_lossy(&stream));
    }
    let (seen, _) = frames(&mut Framer::new(), &[&streams()[0].0]);
    assert_eq!(
        seen,
        [
            "H <stream:stream to='x' xmlns='jabber:client' xmlns:stream='s'>",
            "E <a/>",
            "E <b x='1'>t</b>",
            "E <c><d/><e>&amp;</e></c>",
            "end"
        ]
    );
}

#[test]
fn every_split_gives_the_same_frames_and_the_same_refusal() {
    for (stream, expected) in streams() {
        let whole = frames(&mut Framer::new(), &[&stream]);
        for split in 0..=stream.len() {
            let (left, right) = stream.split_at(split);
            assert_eq!(frames(&mut Framer::new(), &[left, right]), whole, "split at {split}: {expected:?}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(frames(&mut Framer::new(), &bytes), whole, "byte by byte: {expected:?}");
    }
}

#[test]
fn hands_out_whole_elements_where_they_lie_and_keeps_nothing() {
    let input = b"<s><a/><b>x";
    let mut framer = Framer::new();
    let mut rest = &input[..];
    let Ok(Some(Frame::Header(header))) = framer.next(&mut rest, &LIMITS) else { panic!("no header") };
    assert_eq!(header.as_ptr(), input.as_ptr());
    let Ok(Some(Frame::Element(a))) = framer.next(&mut rest, &LIMITS) else { panic!("no element") };
    assert_eq!(a.as_ptr(), input[3..].as_ptr());
    assert!(framer.is_idle());
    assert_eq!(framer.next(&mut rest, &LIMITS), Ok(None));
    assert!(!framer.is_idle());
    assert_eq!(framer.feed(b"</b>", &LIMITS, |_| ControlFlow::Continue(())), Ok(4));
    assert!(framer.is_idle());
    assert_eq!(framer.tail.capacity(), 0);
}

#[test]
fn stops_after_the_frame_that_asks_for_it_and_begins_anew() {
    let mut framer = Framer::new();
    let input = b"<s><starttls/>\x16\x03\x01";
    let mut seen = 0;
    let used = framer.feed(input, &LIMITS, |frame| {
        seen += 1;
        if matches!(frame, Frame::Element(_)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((used, seen), (Ok(14), 2));
    framer.reset();
    let (seen, error) = frames(&mut framer, &[b"\n<?xml version='1.0'?>", b"<s>", b"<a/>"]);
    assert_eq!((seen, error), (vec!["H <s>".to_string(), "E <a/>".to_string()], None));
}

#[test]
fn an_empty_header_ends_the_stream_at_once() {
    let (seen, error) = frames(&mut Framer::new(), &[b"<s/>"]);
    assert_eq!((seen, error), (vec!["H <s/>".to_string(), "end".to_string()], None));
}

#[test]
fn a_fragment_needs_no_header() {
    let (seen, error) = frames(&mut Framer::fragment(), &[b"<a/><b><c/>", b"</b>", b"</s>"]);
    assert_eq!(seen, ["E <a/>", "E <b><c/></b>"]);
    assert_eq!(error, Some(XmlError::MismatchedTag));
}

#[test]
fn a_message_of_one_element_holds_exactly_that() {
    let cases: &[(&str, Result<&str, XmlError>)] = &[
        ("<a>x</a>", Ok("<a>x</a>")),
        (" \n<?xml version='1.0'?>\n<a/> ", Ok("<a/>")),
        ("", Err(XmlError::Truncated)),
        ("  ", Err(XmlError::Truncated)),
        ("<a>", Err(XmlError::Truncated)),
        ("<a/><b/>", Err(XmlError::ContentAfterEnd)),
        ("<a/>x", Err(XmlError::TextOutsideElement)),
        ("<a/><", Err(XmlError::Truncated)),
        ("</a>", Err(XmlError::MismatchedTag)),
    ];
    for (message, expected) in cases {
        assert_eq!(only_element(message.as_bytes(), &LIMITS), expected.map(str::as_bytes), "{message}");
    }
}

#[test]
fn an_endless_header_dies_at_the_limit_with_bounded_memory() {
    let mut framer = Framer::new();
    let keep = |framer: &mut Framer, piece: &[u8]| framer.feed(piece, &LIMITS, |_| ControlFlow::Continue(()));
    assert_eq!(keep(&mut framer, b"<s x='"), Ok(6));
    let pieces = (0..).take_while(|_| keep(&mut framer, b"0123456789").is_ok()).count();
    assert_eq!(pieces, LIMITS.attribute_bytes_max / 10);
    assert!(framer.tail.capacity() <= 2 * LIMITS.element_bytes_max);
}
