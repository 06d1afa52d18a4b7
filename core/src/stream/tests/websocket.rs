//! Streams over WebSocket and BOSH, whose elements come one by one.

use super::*;

// RFC 7395 §3.4
#[test]
fn a_websocket_login_is_one_element_a_message() {
    let mut pair = Pair::websocket();
    let said = pair.messages(OPEN);
    assert_eq!(said.len(), 2);
    assert!(said[0].starts_with("<open xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" id=\""), "{}", said[0]);
    assert!(said[1].starts_with("<stream:features xmlns:stream=\"http://etherx.jabber.org/streams\"><mechanisms "));
    assert!(!said[1].contains("starttls"));
    assert_eq!(pair.messages(&plain_auth(TOKEN)), ["<success xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/>"]);
    assert_eq!(pair.messages(OPEN).len(), 2);
    let bind = BIND.replace("<iq", "<iq xmlns='jabber:client'");
    let said = pair.messages(&bind);
    assert!(said[0].starts_with("<iq xmlns=\"jabber:client\" type=\"result\" id=\"b1\">"), "{said:?}");
    assert!(pair.messages("<presence xmlns='jabber:client'/>").is_empty());
    assert!(pair.messages("  ").is_empty());
    assert_eq!(pair.heard, ["<presence xmlns='jabber:client'/>"]);
    assert_eq!(
        pair.messages("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"),
        ["<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\"/>"]
    );
    assert!(pair.is_closed());
}

#[test]
fn a_bosh_session_may_restart_before_login_a_few_times() {
    let mut pair = Pair::new(Transport::Bosh, Security::Tls(Box::new(ChannelBindings::NONE)));
    let features = pair.messages(OPEN).pop();
    assert_eq!(pair.messages(OPEN), [features.unwrap()], "the same features, and no second opening");
    assert_eq!(pair.messages(&plain_auth(TOKEN)), ["<success xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/>"]);
    for (message, condition) in
        [(OPEN.to_owned(), "policy-violation"), (OPEN.replace("localhost", "other.example"), "host-unknown")]
    {
        let mut pair = Pair::new(Transport::Bosh, Security::Tls(Box::new(ChannelBindings::NONE)));
        pair.messages(OPEN);
        let mut said = Vec::new();
        while !pair.is_closed() {
            said = pair.messages(&message);
        }
        assert!(said[0].contains(condition), "{said:?}");
    }
    let mut pair = Pair::websocket();
    pair.messages(OPEN);
    pair.messages(OPEN);
    assert!(pair.is_closed(), "RFC 7395 knows no such thing");
}

#[test]
fn websocket_messages_that_are_not_one_element_end_the_stream() {
    let cases: &[(&str, &str, &str)] = &[
        ("", HEADER, "not-well-formed"),
        ("", "<open xmlns='urn:other' to='localhost' version='1.0'/>", "invalid-namespace"),
        ("", "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='x.example' version='1.0'/>", "host-unknown"),
        (OPEN, "<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>", "not-well-formed"),
        (OPEN, "<presence xmlns='jabber:client'>", "not-well-formed"),
        (OPEN, "<presence/>", "unsupported-stanza-type"),
        (OPEN, "<presence xmlns='jabber:client'/>", "not-authorized"),
        (OPEN, OPEN, "unsupported-stanza-type"),
        (OPEN, "<!DOCTYPE a><a/>", "restricted-xml"),
    ];
    for (before, message, condition) in cases {
        let mut pair = Pair::websocket();
        pair.messages(before);
        let said = pair.messages(message);
        let error = &said[said.len() - 2];
        let start = "<stream:error xmlns:stream=\"http://etherx.jabber.org/streams\">";
        assert!(error.starts_with(&format!("{start}<{condition} ")), "{message}: {said:?}");
        assert!(said.last().unwrap().starts_with("<close ") && pair.is_closed());
        // RFC 7395 §3.4: an error in the opening comes after our own <open/>.
        assert_eq!(said.len(), if before.is_empty() { 3 } else { 2 }, "{said:?}");
    }
}
