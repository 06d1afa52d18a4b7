//! Addresses in tables, and against the `jid` crate.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Text, local part, domain, resource, and whether the text was normal already.
type Case = (&'static str, Option<&'static str>, &'static str, Option<&'static str>, bool);

#[rustfmt::skip]
const GOOD: &[Case] = &[
    ("chat.example", None, "chat.example", None, true),
    ("55-92@chat.example", Some("55-92"), "chat.example", None, true),
    ("55-92@chat.example/phone", Some("55-92"), "chat.example", Some("phone"), true),
    ("chat.example/phone", None, "chat.example", Some("phone"), true),
    // The resource begins at the first slash, whatever follows.
    ("chat.example/a@b/c", None, "chat.example", Some("a@b/c"), true),
    ("a@chat.example/b@c/d", Some("a"), "chat.example", Some("b@c/d"), true),
    ("a@chat.example/ b  c ", Some("a"), "chat.example", Some(" b  c "), true),
    ("a!#$%()*+,-.;=?[\\]^_`{|}~@b", Some("a!#$%()*+,-.;=?[\\]^_`{|}~"), "b", None, true),
    ("Romeo@Chat.Example/Balcony", Some("romeo"), "chat.example", Some("Balcony"), false),
    ("romeo@chat.example./x", Some("romeo"), "chat.example", Some("x"), false),
    ("a@localhost", Some("a"), "localhost", None, true),
    ("a@my_host-1", Some("a"), "my_host-1", None, true),
    ("a@127.0.0.1", Some("a"), "127.0.0.1", None, true),
    ("a@[::1]/b", Some("a"), "[::1]", Some("b"), true),
    ("a@[2001:DB8:0:0::1]", Some("a"), "[2001:db8::1]", None, false),
    // Fullwidth letters, a sharp s, and a Roman numeral, each with another fate.
    ("ＪＵＬＩＥＴ@example.com", Some("juliet"), "example.com", None, false),
    ("straße@example.com", Some("strasse"), "example.com", None, false),
    ("a@example.com/Ⅳ", Some("a"), "example.com", Some("IV"), false),
    ("a@straße.example", Some("a"), "straße.example", None, true),
    ("a@xn--strae-oqa.example", Some("a"), "straße.example", None, false),
    ("a@XN--STRAE-OQA.Example", Some("a"), "straße.example", None, false),
    ("a@ＥＸＡＭＰＬＥ。com", Some("a"), "example.com", None, false),
    ("a@bücher.example。", Some("a"), "bücher.example", None, false),
    ("Иван@пример.рф/Дом", Some("иван"), "пример.рф", Some("Дом"), false),
    ("עברית@example.com", Some("עברית"), "example.com", None, true),
    ("a@b/😀 phone", Some("a"), "b", Some("😀 phone"), true),
    ("a@b/Ⅳ😀Ⅳ", Some("a"), "b", Some("IV😀IV"), false),
];

#[test]
fn reads_the_parts_and_their_normal_form() {
    for &(text, local, domain, resource, normal) in GOOD {
        let jid = Jid::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((jid.local(), jid.domain(), jid.resource()), (local, domain, resource), "{text}");
        assert_eq!(matches!(jid.text, Cow::Borrowed(_)), normal, "{text}");
        assert_eq!(jid.is_bare(), resource.is_none(), "{text}");
        assert_eq!(Jid::from_parts(local, domain, resource).unwrap(), jid, "{text}");
        assert_eq!(Jid::parse(jid.as_str()).unwrap(), jid, "{text}");
    }
}

#[rustfmt::skip]
const BAD: &[(&str, JidError)] = &[
    ("", JidError::DomainEmpty),
    ("@", JidError::LocalEmpty),
    ("@b", JidError::LocalEmpty),
    ("a@", JidError::DomainEmpty),
    ("a@/b", JidError::DomainEmpty),
    ("/b", JidError::DomainEmpty),
    ("a@b/", JidError::ResourceEmpty),
    ("b/", JidError::ResourceEmpty),
    ("a@.", JidError::DomainEmpty),
    ("a@b..", JidError::LabelEmpty),
    ("a@b..c", JidError::LabelEmpty),
    ("a@.b", JidError::LabelEmpty),
    ("a@b。。c", JidError::LabelEmpty),
    ("a@-b", JidError::DomainForbidden),
    ("a@b-", JidError::DomainForbidden),
    ("a@b c", JidError::DomainForbidden),
    ("a@b:5222", JidError::DomainForbidden),
    ("a@b@c", JidError::DomainForbidden),
    ("a@b<", JidError::DomainForbidden),
    ("a@b\0", JidError::DomainForbidden),
    ("a@é b", JidError::DomainForbidden),
    ("a@xn--a", JidError::DomainForbidden),
    ("a@xn--\u{e9}", JidError::DomainForbidden),
    ("a@[::1", JidError::AddressLiteral),
    ("a@[]", JidError::AddressLiteral),
    ("a@[1.2.3.4]", JidError::AddressLiteral),
    ("a@[::1%eth0]", JidError::AddressLiteral),
    ("a@[::1].", JidError::AddressLiteral),
    ("a b@c", JidError::LocalForbidden),
    ("a\"b@c", JidError::LocalForbidden),
    ("a&b@c", JidError::LocalForbidden),
    ("a'b@c", JidError::LocalForbidden),
    ("a:b@c", JidError::LocalForbidden),
    ("<a>@c", JidError::LocalForbidden),
    ("a\u{7f}@c", JidError::LocalForbidden),
    ("a\u{a0}b@c", JidError::LocalForbidden),
    ("a\u{ff20}b@c", JidError::LocalForbidden),
    ("\u{ad}@c", JidError::LocalEmpty),
    ("א1a@c", JidError::LocalForbidden),
    ("a@b/\u{1}", JidError::ResourceForbidden),
    ("a@b/\u{85}", JidError::ResourceForbidden),
    ("a@b/\u{e000}", JidError::ResourceForbidden),
    ("a@b/\u{fdd0}😀", JidError::ResourceForbidden),
    ("a@b/\u{ad}", JidError::ResourceEmpty),
];

#[test]
fn names_the_cause_of_each_refusal() {
    for &(text, error) in BAD {
        assert_eq!(Jid::parse(text).map(Jid::into_owned), Err(error), "{text:?}");
    }
}

// RFC 7622 §3.1
#[test]
fn bounds_each_part_and_the_whole() {
    let fits = "a".repeat(1023);
    let over = "a".repeat(1024);
    let labels = vec!["a".repeat(63); 16].join(".");
    assert_eq!(labels.len(), 1023);
    let jid = format!("{fits}@{labels}/{fits}");
    assert_eq!(Jid::parse(&jid).unwrap().as_str().len(), JID_BYTES_MAX);
    let cases = [
        (format!("{over}@b"), JidError::LocalTooLong),
        (format!("a@{labels}.a"), JidError::DomainTooLong),
        (format!("a@{}", "a".repeat(64)), JidError::LabelTooLong),
        (format!("a@{}", "é".repeat(60)), JidError::LabelTooLong),
        (format!("a@b/{over}"), JidError::ResourceTooLong),
        (format!("a@b/{}", "é".repeat(512)), JidError::ResourceTooLong),
        // These would grow and shrink in preparation.
        (format!("a@b/{}", "\u{fdfa}".repeat(341)), JidError::ResourceTooLong),
        (format!("{}@b", "ａ".repeat(342)), JidError::LocalTooLong),
    ];
    for (text, error) in cases {
        assert_eq!(Jid::parse(&text).map(Jid::into_owned), Err(error));
    }
    assert!(Jid::parse(&format!("{}@{labels}./a", "ａ".repeat(341))).is_ok());
}

#[test]
fn tells_bare_from_full_from_domain() {
    let full = FullJid::parse("A@B/c").unwrap();
    let bare = full.to_bare();
    assert_eq!((bare.as_str(), full.bare_str(), full.resource()), ("a@b", "a@b", "c"));
    assert_eq!(bare.with_resource("c"), Ok(full.clone()));
    assert_eq!(bare.with_resource(""), Err(JidError::ResourceEmpty));
    assert_eq!(full.as_jid().to_full(), Some(full.clone()));
    assert_eq!(bare.as_jid().to_full(), None);
    assert_eq!(BareJid::parse("a@b/c"), Err(JidError::ResourceUnexpected));
    assert_eq!(FullJid::parse("a@b"), Err(JidError::ResourceMissing));
    assert_eq!(Domain::parse("a@b"), Err(JidError::NotDomain));
    assert_eq!(Domain::parse("b/c"), Err(JidError::NotDomain));
    assert_eq!(Domain::parse("B.").unwrap().to_bare(), BareJid::parse("b").unwrap());
}

#[test]
fn finds_a_kept_jid_by_its_text() {
    let mut map = HashMap::new();
    map.insert(FullJid::parse("A@b/C").unwrap(), 1);
    assert_eq!(map.get("a@b/C"), Some(&1));
    assert_eq!(map.get("a@b/c"), None);
}

#[test]
fn writes_and_reads_a_jid_as_its_text() {
    let jid = BareJid::parse("55-92@chat.example").unwrap();
    let bytes = postcard::to_allocvec(&jid).unwrap();
    assert_eq!(postcard::from_bytes::<BareJid>(&bytes), Ok(jid));
    let broken = postcard::to_allocvec("a b@c").unwrap();
    assert!(postcard::from_bytes::<BareJid>(&broken).is_err());
}

/// Text that looks like an address, with the characters that decide things.
fn addresses() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[a-zA-Z0-9.@/ \\[\\]:_-]{0,30}",
        "[a-zßé😀ａⅣא\u{ad}\u{300}\u{3002}A-Z0-9]{0,6}@[a-zßéא\u{3002}.A-Z0-9-]{1,12}/[\\PC]{0,8}",
        "[a-z]{1,3}@xn--[a-z0-9-]{1,12}(/[\\PC]{1,8})?",
    ]
}

proptest! {
    #[test]
    fn what_parses_is_in_normal_form(text in addresses()) {
        if let Ok(jid) = Jid::parse(&text) {
            let again = Jid::parse(jid.as_str()).unwrap();
            prop_assert!(matches!(again.text, Cow::Borrowed(_)));
            prop_assert_eq!(
                (again.local(), again.domain(), again.resource()),
                (jid.local(), jid.domain(), jid.resource())
            );
            let joined = Jid::from_parts(jid.local(), jid.domain(), jid.resource()).unwrap();
            prop_assert_eq!(joined, jid);
        }
    }

    /// Domains are left out where the crate keeps a final dot, `xn--` labels and signs that host names have not. It
    /// refuses resources with characters that only Unicode 4 and later know.
    #[test]
    fn agrees_with_the_jid_crate(
        local in proptest::option::of("[\\PC]{0,12}"),
        domain in "([a-wA-W0-9]{1,6}[.]){0,3}[a-wA-W0-9]{1,6}|[a-w.-]{0,9}[a-w]",
        resource in proptest::option::of("[\\PC]{0,12}"),
    ) {
        let mut text = local.map_or(String::new(), |local| format!("{}@", local.replace(['/', '@'], "")));
        text.push_str(&domain);
        if let Some(resource) = &resource {
            text.push('/');
            text.push_str(resource);
        }
        let young = |text: &str| text.chars().any(stringprep::tables::unassigned_code_point);
        match (Jid::parse(&text), ::jid::Jid::new(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.as_str(), theirs.as_str()),
            (Err(_), Err(_)) => {}
            (Ok(ours), Err(_)) => prop_assert!(
                ours.resource().is_some_and(young) || text.contains("--"), "{ours}"
            ),
            // Hyphens at the edges aside, only a text whose preparation is not stable.
            (Err(ours), Ok(theirs)) => prop_assert!(
                ours == JidError::DomainForbidden
                    || ::jid::Jid::new(theirs.as_str()).ok().as_ref() != Some(&theirs),
                "{text:?}: {ours}"
            ),
        }
    }
}
