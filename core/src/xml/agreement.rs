//! The view and the oracle agree: on which documents are well-formed, and on what they mean.

use proptest::prelude::*;

use super::oracle::Meaning;
use super::{Context, Limits, Nodes, XmlError, framer, splice};

/// Bits of XML that are right as often as they are wrong together.
const PIECES: &[&str] = &[
    "<a>",
    "</a>",
    "<b x='1'>",
    "</b>",
    "<c/>",
    "<p:d xmlns:p='u'>",
    "</p:d>",
    "<p:e/>",
    "<a xmlns='v'>",
    "<a xmlns:p='w' p:x='&lt;' y=\"'\t'\">",
    "text",
    " ",
    "\r\n",
    "&amp;",
    "&#65;",
    "&#x0;",
    "&foo;",
    "&",
    "]]>",
    "<![CDATA[",
    "]]",
    ">",
    "<",
    "é",
    "€",
    "\u{fffe}",
    "\u{1}",
    "<é ö='ü'/>",
    "<a x='1' x='2'/>",
    "</a >",
    "<xml:a/>",
    "<a xml:lang='x'/>",
    "<a xmlns:q='u' xmlns:r='u' q:x='' r:x=''/>",
    "<a xmlns:p=''/>",
    "='",
    "'",
    "\"",
    "<a xmlns=''>",
    "<a.-1/>",
    "<_/>",
    "<1/>",
    "<a:/>",
    "<:a/>",
    "<a:b:c/>",
    "/",
    " x='y'",
];

fn agree(document: &str) -> Result<(), TestCaseError> {
    let mut nodes = Nodes::new();
    let ours = nodes.parse(document.as_bytes(), &Context::ALONE, &Limits::STANZA);
    let theirs = Meaning::by_oracle(document.as_bytes());
    match ours {
        Ok(root) => {
            let meaning = Meaning::of(root);
            if Meaning::oracle_can_judge(document.as_bytes()) {
                prop_assert_eq!(Some(&meaning), theirs.as_ref());
            }
            prop_assert_eq!(framer::only_element(document.as_bytes(), &Limits::STANZA), Ok(document.as_bytes()));
            let mut out = Vec::new();
            splice::forward(root, &[], |_| {}, &mut out);
            let mut again = Nodes::new();
            let again = again.parse(&out, &Context::CLIENT, &Limits::STANZA);
            prop_assert_eq!(again.map(Meaning::of), Ok(meaning));
        }
        // Limits, and what the oracle leaves to its caller: content around the element.
        Err(XmlError::TextOutsideElement | XmlError::ContentAfterEnd) => {}
        Err(error) => prop_assert!(theirs.is_none(), "refused with {error:?}, but the oracle takes it"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_view_and_the_oracle_agree(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        agree(&pieces.concat())?;
        agree(&format!("<root>{}</root>", pieces.concat()))?;
    }

    #[test]
    fn they_agree_on_damaged_documents(at in 0usize..120, byte in prop::char::range('\0', '\u{7f}')) {
        let mut document: Vec<char> = "<m xmlns='jabber:client' xmlns:p=\"u\" p:to='a&amp;b'><p:b>x &lt;<![CDATA[]]]]>\
                                       </p:b><c xml:lang='en'/>\u{20ac}<d xmlns=''><p:e/></d></m>".chars().collect();
        let at = at % document.len();
        document[at] = byte;
        agree(&document.into_iter().collect::<String>())?;
    }
}
