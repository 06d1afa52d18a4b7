//! The view takes what a strict parser by other hands takes, means the same by it, and forwarding keeps the meaning.

use proto::ns;
use proto::xml::{Context, Limits, Nodes, Writer, XmlError, framer, splice};

use crate::oracle::Meaning;

/// The input is one element, or is not.
pub fn run(data: &[u8]) {
    let limits = &Limits::STANZA;
    let mut nodes = Nodes::new();
    let theirs = || Meaning::by_oracle(data);
    let root = match nodes.parse(data, &Context::ALONE, limits) {
        Ok(root) => root,
        Err(error) => {
            let oversight = error == XmlError::DuplicateAttribute && declares_twice(data);
            assert!(oversight || is_ours_to_refuse(error) || theirs().is_none(), "the oracle takes it: {error:?}");
            return;
        }
    };
    let meaning = Meaning::of(root);
    if Meaning::oracle_can_judge(data) {
        assert_eq!(Some(&meaning), theirs().as_ref());
    }
    assert_eq!(framer::only_element(data, limits), Ok(data));

    let mut out = Vec::new();
    let set = [("from", Some("a@b")), ("to", None)];
    let append = |xml: &mut Writer<'_>| {
        xml.empty("delay", ns::DELAY);
    };
    splice::forward(root, &set, append, &mut out);
    let mut forwarded = Nodes::new();
    let forwarded = forwarded.parse(&out, &Context::CLIENT, &wider(limits)).expect("forwarding keeps XML well-formed");
    let mut expected = Meaning::of(root);
    expected.attributes.insert((String::new(), "from".into()), "a@b".into());
    expected.attributes.remove(&(String::new(), "to".into()));
    expected.children.push(Meaning { ns: ns::DELAY.into(), name: "delay".into(), ..Meaning::default() });
    assert_eq!(Meaning::of(forwarded), expected);

    for (child, expected) in root.children().zip(&meaning.children) {
        let mut out = Vec::new();
        splice::copy(child, ns::CLIENT, &mut out);
        let mut copied = Nodes::new();
        let copied = copied.parse(&out, &Context::CLIENT, &wider(limits)).expect("a copy stays well-formed");
        assert_eq!(&Meaning::of(copied), expected);
    }
}

/// Room for what the copy declares anew.
fn wider(limits: &Limits) -> Limits {
    Limits {
        element_bytes_max: 100 * limits.element_bytes_max,
        depth_max: limits.depth_max + 1,
        attributes_max: 2 * limits.attributes_max,
        attribute_bytes_max: 6 * limits.attribute_bytes_max,
        prefixes_max: 2 * limits.prefixes_max,
        ..*limits
    }
}

/// Whether it may be a namespace that is declared twice in one tag, which the oracle does not mind (Namespaces in XML 1.0 §6.3).
fn declares_twice(data: &[u8]) -> bool {
    data.windows(5).filter(|window| window == b"xmlns").count() > 1
}

/// Limits, and what the oracle leaves to its caller: what stands around the element.
fn is_ours_to_refuse(error: XmlError) -> bool {
    match error {
        XmlError::TextOutsideElement
        | XmlError::ContentAfterEnd
        | XmlError::ProcessingInstruction
        | XmlError::TooBig
        | XmlError::TooDeep
        | XmlError::TooManyAttributes
        | XmlError::AttributeTooLong
        | XmlError::NameTooLong
        | XmlError::TooManyPrefixes => true,
        XmlError::Syntax
        | XmlError::Truncated
        | XmlError::MismatchedTag
        | XmlError::DuplicateAttribute
        | XmlError::CdataEndInText
        | XmlError::ForbiddenCharacter
        | XmlError::MalformedReference
        | XmlError::UndeclaredPrefix
        | XmlError::ReservedNamespace
        | XmlError::BadDeclaration
        | XmlError::Encoding
        | XmlError::NotUtf8
        | XmlError::Dtd
        | XmlError::Comment
        | XmlError::Entity => false,
    }
}
