//! What is refused before a resource is bound, and how: TLS, logging in, binding.

use super::*;

// S02, RFC 6120 §5.4.2.2
#[test]
fn starttls_is_refused_where_it_is_not_offered() {
    for mut pair in [Pair::opened(), Pair::authenticated(), Pair::bound()] {
        let said = pair.says(STARTTLS);
        assert_eq!(said, "<failure xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"/></stream:stream>");
        assert!(pair.is_closed());
    }
    // Inside an iq it is just an early iq.
    let mut pair = Pair::plain();
    pair.says(HEADER);
    assert!(pair.says(&format!("<iq type='set' id='x'>{STARTTLS}</iq>")).contains("<not-authorized "));
}

#[test]
fn login_needs_tls_where_it_is_required() {
    let mut pair = Pair::plain();
    pair.says(HEADER);
    assert!(
        pair.says(&plain_auth(TOKEN))
            .contains("<failure xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"><encryption-required/>")
    );
    assert!(pair.says(STARTTLS).contains("<proceed"));
}

// X17: SDKs 2.3 to 2.10 enable carbons before they log in.
#[test]
fn an_early_iq_is_refused_and_the_stream_stays() {
    let carbons = "<iq type='set' from='' id='u:enableCarbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
    let mut pair = Pair::opened();
    assert_eq!(
        pair.says(carbons),
        "<iq from=\"localhost\" type=\"error\" id=\"u:enableCarbons\"><enable xmlns='urn:xmpp:carbons:2'/>\
         <error code=\"401\" type=\"auth\"><not-authorized xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/>\
         <text xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\" xml:lang=\"en\">Log in and bind a resource first.</text></error></iq>"
    );
    // In the middle of an exchange too.
    pair.says(&format!("<auth {SASL} mechanism='PLAIN'/>"));
    assert!(pair.says(carbons).contains("<not-authorized "));
    let auth = plain_auth(TOKEN);
    let response = format!("<response {SASL}>{}</response>", between(&auth, ">", "<"));
    assert!(pair.says(&response).contains("<success"));
    assert!(pair.says(HEADER).contains("<bind"));
    // The third is one too many, after login as before.
    let said = pair.says("<iq type='get' id='3'><query xmlns='jabber:iq:roster'/></iq>");
    assert!(said.contains("<stream:error><policy-violation ") && pair.is_closed(), "{said}");
}

#[test]
fn answers_before_login_are_not_answered() {
    let mut pair = Pair::opened();
    assert_eq!(pair.says("<iq type='result' id='1'/><iq type='error' id='2'/>"), "");
    assert!(pair.says("<iq type='result' id='3'/>").contains("<policy-violation "));
}

// X20
#[test]
fn compression_is_refused() {
    let compress = "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>";
    for mut pair in [Pair::opened(), Pair::authenticated(), Pair::bound()] {
        let said = pair.says(compress);
        assert_eq!(said, "<failure xmlns=\"http://jabber.org/protocol/compress\"><unsupported-method/></failure>");
        assert!(!pair.stream.is_closed());
    }
}

// S04, S05
#[test]
fn sasl_failures_name_their_reason_and_leave_the_stream_open() {
    let cases: &[(&str, &str)] = &[
        ("<auth SASL/>", "invalid-mechanism"),
        ("<auth SASL mechanism='DIGEST-MD5'/>", "invalid-mechanism"),
        ("<auth SASL mechanism='plain'>AGEAYg==</auth>", "invalid-mechanism"),
        ("<auth SASL mechanism='PLAIN'>?</auth>", "incorrect-encoding"),
        ("<auth SASL mechanism='PLAIN'>AGE</auth>", "incorrect-encoding"),
        ("<auth SASL mechanism='PLAIN'>=</auth>", "malformed-request"),
        ("<auth SASL mechanism='PLAIN'>AAAA</auth>", "malformed-request"),
        ("<response SASL>AGE=</response>", "malformed-request"),
        ("<response SASL/>", "malformed-request"),
        ("<abort SASL/>", "aborted"),
        ("<auth SASL mechanism='SCRAM-SHA-1'/><abort SASL/>", "aborted"),
        ("<auth SASL mechanism='SCRAM-SHA-1'/><response SASL/>", "malformed-request"),
        ("<auth SASL mechanism='SCRAM-SHA-1'/><response SASL>%</response>", "incorrect-encoding"),
    ];
    for (input, condition) in cases {
        let mut pair = Pair::opened();
        let said = pair.says(&input.replace("SASL", SASL));
        let failure = format!("<failure xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"><{condition}/><text ");
        assert!(said.contains(&failure) && said.ends_with("</failure>"), "{input}: {said}");
        assert!(pair.says(&plain_auth(TOKEN)).contains("<success"), "{input}");
    }
    // S03: somebody else's authzid.
    let auth = format!("<auth {SASL} mechanism='PLAIN'>{}</auth>", BASE64.encode("2-7@localhost\x001-7\0secret"));
    assert!(Pair::opened().says(&auth).contains("<invalid-authzid/>"));
}

// S06
#[test]
fn unknown_users_fail_like_wrong_passwords() {
    let attempt = |name: &str| {
        let mut pair = Pair::opened();
        let first =
            format!("<auth {SASL} mechanism='SCRAM-SHA-256'>{}</auth>", BASE64.encode(format!("n,,n={name},r=abc")));
        let said = pair.says(&first);
        let challenge = BASE64.decode(between(&said, "xmpp-sasl\">", "</challenge>")).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        let last = client_final(&format!("n={name},r=abc"), &challenge, "wrong");
        pair.says(&format!("<response {SASL}>{}</response>", BASE64.encode(last)))
    };
    let known = attempt("1-7");
    assert!(known.contains("<not-authorized/>"), "{known}");
    for name in ["2-7", "1-8", "nobody", "1-7@elsewhere"] {
        assert_eq!(attempt(name), known, "{name}");
    }
    let plain = |name: &str| {
        Pair::opened()
            .says(&format!("<auth {SASL} mechanism='PLAIN'>{}</auth>", BASE64.encode(format!("\0{name}\0wrong"))))
    };
    assert_eq!(plain("1-7"), known);
    assert_eq!(plain("2-7"), known);
    assert_eq!(plain("nobody"), known);
}

// S07
#[test]
fn guessing_ends_after_a_few_failures() {
    let mut pair = Pair::opened();
    for _ in 0..2 {
        assert!(pair.says(&plain_auth("wrong")).ends_with("</failure>"));
    }
    let said = pair.says(&plain_auth("wrong"));
    assert!(
        said.contains("<not-authorized/>") && said.contains("</failure><stream:error><policy-violation "),
        "{said}"
    );
    assert!(pair.is_closed());
}

#[test]
fn a_store_that_cannot_be_read_is_not_a_wrong_password() {
    let mut pair = Pair::opened();
    pair.unavailable = true;
    assert!(pair.says(&plain_auth("secret")).contains("<temporary-auth-failure/>"));
    pair.unavailable = false;
    assert!(pair.says(&plain_auth("secret")).contains("<success"));
}

// B01, RFC 6120 §7.6 and §7.7
#[test]
fn binding_refuses_what_no_address_can_be_made_of() {
    let bind = |content: &str| {
        format!("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{content}</bind></iq>")
    };
    for resource in ["x".repeat(1024), "a\u{200e}\u{6dd}".to_owned(), "\t".to_owned()] {
        let mut pair = Pair::authenticated();
        let said = pair.says(&bind(&format!("<resource>{resource}</resource>")));
        assert!(said.contains("type=\"error\" id=\"b\"") && said.contains("<bad-request "), "{resource:?}: {said}");
        assert!(pair.says(&bind("<resource>ok</resource>")).contains("<jid>1-7@localhost/ok</jid>"));
    }
    for content in ["", "<resource/>", "<resource></resource>"] {
        let said = Pair::authenticated().says(&bind(content));
        assert_eq!(between(&said, "localhost/", "<").len(), 24, "{said}");
    }
    let mut pair = Pair::authenticated();
    assert!(pair.says(&bind("").replace("'set'", "'get'")).contains("<bad-request "));
    pair.refuse_bind = Some(Condition::ResourceConstraint);
    let said = pair.says(&bind(""));
    assert!(said.contains("<iq type=\"error\" id=\"b\"><bind ") && said.contains("<resource-constraint "), "{said}");
    pair.refuse_bind = None;
    assert!(pair.says(&bind("")).contains("type=\"result\""));
    assert!(pair.says(&bind("<resource>two</resource>")).contains("<not-allowed "));
    assert!(pair.heard.is_empty());
}
