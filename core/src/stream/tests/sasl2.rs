//! SASL2, Bind 2 and tokens on the stream.

use super::*;
use crate::sasl::{HashedToken, Seed};

/// XEP-0388, example 3.
pub(super) const AGENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const BIND_2: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>";
const SASL_2: &str = "xmlns='urn:xmpp:sasl:2'";

/// `<authenticate/>` with PLAIN, and what else it holds.
fn authenticate(password: &str, more: &str) -> String {
    with_mechanism("PLAIN", format!("\x001-7\0{password}").as_bytes(), more)
}

fn with_mechanism(mechanism: &str, initial: &[u8], more: &str) -> String {
    format!(
        "<authenticate {SASL_2} mechanism='{mechanism}'><initial-response>{}</initial-response>{more}</authenticate>",
        BASE64.encode(initial)
    )
}

fn agent() -> String {
    format!("<user-agent id='{AGENT}'><software>AwesomeXMPP</software><device>Kiva's Phone</device></user-agent>")
}

/// The message of HT-SHA-256, and the answer to it.
fn hashed(name: &str, token: &str, binding: &[u8]) -> (Vec<u8>, String) {
    let initiator = mac(token.as_bytes(), &[b"Initiator", binding].concat());
    let responder = mac(token.as_bytes(), &[b"Responder", binding].concat());
    ([name.as_bytes(), b"\0", &initiator].concat(), BASE64.encode(responder))
}

fn token(seed: u8) -> String {
    let account = AccountId { app: AppId(7), user: UserId(1) };
    Seed::new([seed; 16]).token(&[9; 32], account).to_string()
}

fn kept(seed: u8, mechanism: HashedToken) -> TokenKept {
    TokenKept { seed: Seed::new([seed; 16]), mechanism, expired: false }
}

#[test]
fn is_offered_inside_tls_after_the_old_way() {
    let mut pair = Pair::tls();
    let said = pair.says(HEADER);
    let offer = concat!(
        r#"<authentication xmlns="urn:xmpp:sasl:2"><mechanism>SCRAM-SHA-256-PLUS</mechanism>"#,
        "<mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>",
        "<mechanism>PLAIN</mechanism><inline>",
        r#"<fast xmlns="urn:xmpp:fast:0"><mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>"#,
        "</inline></authentication>",
    );
    assert!(said.contains(offer), "{said}");
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    assert!(at("</mechanisms>") < at("<authentication"));
    assert!(said.contains(r#"<channel-binding type="tls-exporter"/>"#), "XEP-0440");

    let mut plain = Pair::plain();
    plain.tls_required = false;
    assert!(!plain.says(HEADER).contains("urn:xmpp:sasl:2"));
    assert!(plain.says(&authenticate("secret", "")).contains("<encryption-required "));
}

// §5.1
#[test]
fn without_wishes_features_follow_success_and_a_resource_is_bound_as_ever() {
    let mut pair = Pair::opened();
    let said = pair.says(&authenticate("secret", &agent()));
    assert_eq!(pair.asks, ["credentials", "password", "move"]);
    let success = concat!(
        r#"<success xmlns="urn:xmpp:sasl:2"><authorization-identifier>1-7@localhost</authorization-identifier></success>"#,
        r#"<stream:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/><session "#,
    );
    assert!(said.starts_with(success), "{said}");
    assert!(pair.says(BIND).contains("<jid>1-7@localhost/desk</jid>"));
    pair.says("<presence/>");
    assert_eq!(pair.heard, ["<presence/>"]);
    assert_eq!(pair.stream.deadline(), None);
}

#[test]
fn a_challenge_and_its_response_are_of_sasl2_too() {
    let mut pair = Pair::opened();
    let bare = "n=1-7,r=abcdefgh";
    let said = pair.says(&with_mechanism("SCRAM-SHA-256", format!("n,,{bare}").as_bytes(), &agent()));
    // The server has -PLUS, and the client says that it knows of none.
    let challenge = BASE64.decode(between(&said, "<challenge xmlns=\"urn:xmpp:sasl:2\">", "</challenge>")).unwrap();
    let last = client_final(bare, str::from_utf8(&challenge).unwrap(), "secret");
    let said = pair.says(&format!("<response {SASL_2}>\n  {}\n</response>", BASE64.encode(last)));
    let additional = BASE64.decode(between(&said, "<additional-data>", "</additional-data>")).unwrap();
    assert!(additional.starts_with(b"v="), "{said}");
    assert!(said.contains("<authorization-identifier>1-7@localhost</authorization-identifier>"), "{said}");
    assert_eq!(pair.asks, ["credentials", "move"]);
}

// XEP-0386 §3.2
#[test]
fn a_resource_is_bound_with_the_login() {
    let mut pair = Pair::opened();
    let all = [authenticate("secret", &(agent() + BIND_2)).as_str(), "<presence/>"].concat();
    let said = pair.says(&all);
    assert_eq!(pair.asks, ["credentials", "password", "move", "enter"]);
    let jid = pair.stream.jid().expect("it is bound").to_string();
    assert!(jid.starts_with("1-7@localhost/AwesomeXMPP/") && !jid.contains("d4565fa7"), "{jid}");
    assert_eq!(
        said,
        format!(
            "<success xmlns=\"urn:xmpp:sasl:2\"><authorization-identifier>{jid}</authorization-identifier>\
             <bound xmlns=\"urn:xmpp:bind:0\"/></success><stream:features>\
             <ver xmlns=\"urn:xmpp:features:rosterver\"/><early xmlns=\"urn:x\">after</early></stream:features>"
        )
    );
    assert_eq!(pair.heard, ["<presence/>"], "stanzas may come with it");
    assert_eq!(pair.stream.deadline(), None);
    assert_eq!(pair.entries[0].secret_version, Some(1));
    assert!(pair.says(BIND).contains("<not-allowed "), "one stream, one resource");

    // The same client gets the same resource; with another tag, or without one, the end of it stays.
    let address = |more: &str| {
        let mut pair = Pair::opened();
        pair.says(&authenticate("secret", more));
        pair.stream.jid().unwrap_or_else(|| panic!("{more}")).resource().to_owned()
    };
    assert_eq!(format!("1-7@localhost/{}", address(&(agent() + BIND_2))), jid);
    let part = jid.rsplit('/').next().unwrap();
    assert_eq!(address(&(agent() + "<bind xmlns='urn:xmpp:bind:0'/>")), part);
    assert_eq!(address(&(agent() + &BIND_2.replace("AwesomeXMPP", "x"))), format!("x/{part}"));
    assert_ne!(address(BIND_2).rsplit('/').next().unwrap(), part, "a client that does not say which it is");
    for tag in ["x".repeat(1023), "\u{6dd}".to_owned(), " ".to_owned()] {
        let bind = format!("<bind xmlns='urn:xmpp:bind:0'><tag>{tag}</tag></bind>");
        assert_eq!(address(&(agent() + &bind)), part, "{tag}");
    }
}

#[test]
fn what_is_switched_on_stands_in_bound_and_is_not_announced_again() {
    let mut pair = Pair::opened();
    pair.bound = "<enabled xmlns=\"urn:x\"/>";
    let wish = "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:x'/></bind>";
    let said = pair.says(&authenticate("secret", wish));
    assert!(said.contains("<bound xmlns=\"urn:xmpp:bind:0\"><enabled xmlns=\"urn:x\"/></bound></success>"), "{said}");
    assert!(
        said.ends_with("<stream:features><ver xmlns=\"urn:xmpp:features:rosterver\"/></stream:features>"),
        "{said}"
    );
    let request = &pair.entries[0].bind.as_ref().unwrap().request;
    assert_eq!(str::from_utf8(request).unwrap(), wish);
}

// XEP-0484 §3.2 and §3.3
#[test]
fn a_token_is_given_where_one_is_asked_for() {
    let ask = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>";
    let mut pair = Pair::opened();
    let said = pair.says(&authenticate("secret", &(agent() + ask)));
    let entry = &pair.entries[0];
    assert_eq!((entry.wanted, entry.bind.is_some()), (Some(HashedToken::Unbound), false));
    let token = entry.fresh.token(&[9; 32], AccountId { app: AppId(7), user: UserId(1) });
    let given =
        format!("<token xmlns=\"urn:xmpp:fast:0\" token=\"{}\" expiry=\"2020-03-11T14:56:15Z\"/></success>", *token);
    assert!(said.contains(&given), "{said}");

    // Not to whom cannot be known again, not for what is not offered, and not for what ends sooner itself.
    for (password, more) in [
        ("secret", ask.to_owned()),
        ("secret", agent() + &ask.replace("-NONE", "-ENDP")),
        ("secret", agent() + &ask.replace("HT-", "XT-")),
        (TOKEN, agent() + ask),
    ] {
        let mut pair = Pair::opened();
        let said = pair.says(&authenticate(password, &more));
        assert!(said.starts_with("<success ") && !said.contains("<token"), "{more}: {said}");
        assert!(pair.entries.is_empty());
    }
}

// XEP-0484 §3.4 and §3.6
#[test]
fn a_token_logs_its_client_in() {
    let fast = "<fast xmlns='urn:xmpp:fast:0'/>";
    let mut pair = Pair::opened();
    pair.tokens = vec![kept(4, HashedToken::Exporter), kept(3, HashedToken::Unbound)];
    let (message, answer) = hashed("1-7", &token(3), &[]);
    let said = pair.says(&with_mechanism("HT-SHA-256-NONE", &message, &(agent() + fast + BIND_2)));
    assert_eq!(pair.asks, ["tokens", "move", "enter"]);
    assert!(said.contains(&format!("<additional-data>{answer}</additional-data>")), "{said}");
    assert!(pair.stream.jid().is_some());
    let shown = Shown { seed: Seed::new([3; 16]), count: None, invalidate: false };
    assert_eq!((pair.entries[0].shown, pair.entries[0].secret_version), (Some(shown), None));

    let (message, _) = hashed("1-7", &token(4), &[7; 32]);
    let mut pair = Pair::opened();
    pair.tokens = vec![kept(4, HashedToken::Exporter)];
    let last = "<fast xmlns='urn:xmpp:fast:0' count='123' invalidate='true'/>";
    let said = pair.says(&with_mechanism("HT-SHA-256-EXPR", &message, &(agent() + last)));
    assert!(said.starts_with("<success "), "{said}");
    assert_eq!(pair.entries[0].shown, Some(Shown { seed: Seed::new([4; 16]), count: Some(123), invalidate: true }));

    // In its own message too, as the old mechanisms can.
    let mut pair = Pair::opened();
    pair.tokens = vec![kept(4, HashedToken::Exporter)];
    let first = format!("<authenticate {SASL_2} mechanism='HT-SHA-256-EXPR'>{}{fast}</authenticate>", agent());
    assert_eq!(pair.says(&first), "<challenge xmlns=\"urn:xmpp:sasl:2\"></challenge>");
    let response = format!("<response {SASL_2}>{}</response>", BASE64.encode(&message));
    assert!(pair.says(&response).starts_with("<success "));
}

#[test]
fn a_token_that_is_none_logs_nobody_in() {
    let (right, _) = hashed("1-7", &token(3), &[]);
    let fast = "<fast xmlns='urn:xmpp:fast:0'/>";
    let other = agent().replace("d4565fa7", "00000000");
    let refused = |mechanism: &str, message: &[u8], more: &str| {
        let mut pair = Pair::opened();
        pair.tokens = vec![kept(3, HashedToken::Unbound), TokenKept { expired: true, ..kept(5, HashedToken::Unbound) }];
        let said = pair.says(&with_mechanism(mechanism, message, more));
        assert!(pair.entries.is_empty() && !said.contains("success"), "{said}");
        between(&said, "<failure xmlns=\"urn:xmpp:sasl:2\"><", " xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/>")
            .to_owned()
    };
    let with_agent = agent() + fast;
    let none = "HT-SHA-256-NONE";
    for (mechanism, message, more, condition) in [
        (none, hashed("1-7", &token(4), &[]).0, &with_agent, "not-authorized"),
        (none, hashed("2-7", &token(3), &[]).0, &with_agent, "not-authorized"),
        (none, hashed("nobody", &token(3), &[]).0, &with_agent, "not-authorized"),
        (none, right.clone(), &(other + fast), "not-authorized"),
        (none, hashed("1-7", &token(5), &[]).0, &with_agent, "credentials-expired"),
        (none, right.clone(), &agent(), "malformed-request"),
        (none, right.clone(), &fast.to_owned(), "malformed-request"),
        (none, b"1-7".to_vec(), &with_agent, "malformed-request"),
        (none, right.clone(), &(agent() + &fast.replace("/>", " count='0'/>")), "malformed-request"),
        (none, right.clone(), &(agent() + &fast.replace("/>", " count='4294967296'/>")), "malformed-request"),
        (none, right.clone(), &(agent() + &fast.replace("/>", " invalidate='yes'/>")), "malformed-request"),
        ("HT-SHA-256-EXPR", hashed("1-7", &token(3), &[7; 32]).0, &with_agent, "not-authorized"),
        ("HT-SHA-256-ENDP", right.clone(), &with_agent, "invalid-mechanism"),
        ("HT-SHA-512-NONE", right.clone(), &with_agent, "invalid-mechanism"),
    ] {
        assert_eq!(refused(mechanism, &message, more), condition, "{mechanism} {more}");
    }
    // The old profile has no such mechanism.
    let auth = format!("<auth {SASL} mechanism='{none}'>{}</auth>", BASE64.encode(&right));
    assert!(Pair::opened().says(&auth).contains("<invalid-mechanism/>"));
    // It was there when it was shown and gone when it was used.
    let mut pair = Pair::opened();
    pair.tokens = vec![kept(3, HashedToken::Unbound)];
    pair.refuse_bind = Some(Condition::NotAuthorized);
    assert!(pair.says(&with_mechanism(none, &right, &with_agent)).contains("<not-authorized "));
    pair.unavailable = true;
    assert!(pair.says(&with_mechanism(none, &right, &with_agent)).contains("<temporary-auth-failure "));
}

// XEP-0198 §9.2
#[test]
fn a_client_comes_back_to_its_session_with_the_login() {
    let known = format!("<resume xmlns='urn:xmpp:sm:3' h='5' previd='known'/>{BIND_2}");
    let mut pair = Pair::opened();
    let said = pair.says(&(authenticate("secret", &(agent() + &known)) + "<presence/>"));
    assert_eq!(pair.asks, ["credentials", "password", "move", "resume"], "no resource is bound");
    assert_eq!(
        said,
        "<success xmlns=\"urn:xmpp:sasl:2\"><authorization-identifier>1-7@localhost/back</authorization-identifier>\
         <resumed xmlns=\"urn:xmpp:sm:3\" h=\"345\" previd=\"known\"/></success>",
        "and no features follow"
    );
    assert_eq!((pair.heard.len(), pair.stream.deadline()), (1, None));

    let mut pair = Pair::opened();
    let said = pair.says(&authenticate("secret", &known.replace("known", "unknown")));
    assert_eq!(pair.asks, ["credentials", "password", "move", "resume", "enter"]);
    let failed = "<failed xmlns=\"urn:xmpp:sm:3\" h=\"5\"><item-not-found xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></failed>";
    assert!(
        said.contains(&format!(
            "</authorization-identifier>{failed}<bound xmlns=\"urn:xmpp:bind:0\"/></success><stream:features>"
        )),
        "{said}"
    );

    // Without a wish for a resource one is bound as ever, or another try is made.
    let mut pair = Pair::opened();
    let resume = "<resume xmlns='urn:xmpp:sm:3' h='5' previd='unknown'/>";
    let said = pair.says(&authenticate("secret", resume));
    assert!(
        said.contains(&format!("<authorization-identifier>1-7@localhost</authorization-identifier>{failed}</success>")),
        "{said}"
    );
    assert!(said.contains("<bind xmlns=\"urn:ietf:params:xml:ns:xmpp-bind\"/>"), "{said}");
    assert_eq!(
        pair.says(&resume.replace("unknown", "known")),
        "<resumed xmlns=\"urn:xmpp:sm:3\" h=\"345\" previd=\"known\"/>"
    );
    // What cannot be asked for is not there.
    for resume in [
        "<resume xmlns='urn:xmpp:sm:3' previd='known'/>",
        "<resume xmlns='urn:xmpp:sm:3' h='x' previd='known'/>",
        "<resume xmlns='urn:xmpp:sm:3' h='1'/>",
    ] {
        let mut pair = Pair::opened();
        let said = pair.says(&authenticate("secret", resume));
        assert!(
            said.contains(&failed.replace(" h=\"5\"", "")) && pair.asks.last() == Some(&"move"),
            "{resume}: {said}"
        );
    }
    let mut pair = Pair::new(Transport::Bosh, Security::Tls(Box::new(ChannelBindings::NONE)));
    pair.messages(OPEN);
    let said = pair.messages(&authenticate("secret", &known));
    assert!(said[0].contains("<failed ") && said[0].contains("<bound "), "{said:?}");
}

#[test]
fn a_token_is_used_before_it_brings_anything_about() {
    let wishes = format!(
        "{}<fast xmlns='urn:xmpp:fast:0'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>{BIND_2}",
        agent()
    );
    let login = |token_to_resume: &str, refuse: Option<Condition>| {
        let mut pair = Pair::opened();
        pair.tokens = vec![kept(3, HashedToken::Unbound)];
        pair.refuse_bind = refuse;
        let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='5' previd='{token_to_resume}'/>");
        let (message, _) = hashed("1-7", &token(3), &[]);
        let said = pair.says(&with_mechanism("HT-SHA-256-NONE", &message, &(wishes.clone() + &resume)));
        (pair, said)
    };
    let (pair, said) = login("known", None);
    assert_eq!(pair.asks, ["tokens", "move", "enter", "resume"]);
    assert!(pair.entries[0].bind.is_none() && pair.entries[0].shown.is_some());
    assert!(said.contains("<resumed ") && said.contains("<token ") && !said.contains("<bound"), "{said}");
    let (pair, said) = login("unknown", None);
    assert_eq!(pair.asks, ["tokens", "move", "enter", "resume", "enter"]);
    let [first, second] = &pair.entries[..] else { panic!("{:?}", pair.entries) };
    assert!(first.wanted.is_some() && second.wanted.is_none() && second.shown.is_none() && second.bind.is_some());
    assert_eq!(
        (first.secret_version, second.secret_version),
        (None, Some(4)),
        "a password changed between them is noticed"
    );
    let given = first.fresh.token(&[9; 32], AccountId { app: AppId(7), user: UserId(1) });
    assert!(said.contains("<failed ") && said.contains("<bound ") && said.contains(&*given), "{said}");
    let (pair, said) = login("known", Some(Condition::NotAuthorized));
    assert_eq!(pair.asks, ["tokens", "move", "enter"]);
    assert!(said.contains("<not-authorized "), "{said}");
}

#[test]
fn a_resource_is_bound_for_the_password_that_let_the_client_in() {
    let (mut old, mut new, mut with_token) = (Pair::authenticated(), Pair::opened(), Pair::opened());
    new.says(&authenticate("secret", "<resume xmlns='urn:xmpp:sm:3' h='5' previd='unknown'/>"));
    with_token.tokens = vec![kept(3, HashedToken::Unbound)];
    let (message, _) = hashed("1-7", &token(3), &[]);
    with_token.says(&with_mechanism("HT-SHA-256-NONE", &message, &(agent() + "<fast xmlns='urn:xmpp:fast:0'/>")));
    for (pair, version) in [(&mut old, 1), (&mut new, 1), (&mut with_token, 4)] {
        assert!(pair.says(BIND).contains("<jid>1-7@localhost/desk</jid>"));
        assert_eq!(pair.binds, [Some(version)]);
    }
}

// §2.6.2
#[test]
fn failures_leave_the_stream_as_it_was() {
    let cases: &[(&str, &str)] = &[
        ("<authenticate SASL_2/>", "invalid-mechanism"),
        ("<authenticate SASL_2 mechanism='DIGEST-MD5'/>", "invalid-mechanism"),
        (
            "<authenticate SASL_2 mechanism='PLAIN'><initial-response>=</initial-response></authenticate>",
            "incorrect-encoding",
        ),
        ("<authenticate SASL_2 mechanism='PLAIN'><initial-response/></authenticate>", "malformed-request"),
        ("<authenticate SASL_2 mechanism='PLAIN'><user-agent id='me'/></authenticate>", "malformed-request"),
        ("<authenticate SASL_2 mechanism='PLAIN'/><abort SASL_2/>", "aborted"),
        ("<authenticate SASL_2 mechanism='PLAIN'/><response SASL_2>AAAA</response>", "malformed-request"),
        ("<authenticate SASL_2 mechanism='PLAIN'/><authenticate SASL_2 mechanism='PLAIN'/>", "malformed-request"),
        ("<authenticate SASL_2 mechanism='PLAIN'/><next SASL_2 task='TOTP'/>", "malformed-request"),
        ("<response SASL_2>AAAA</response>", "malformed-request"),
        ("<task-data SASL_2/>", "malformed-request"),
        ("<abort SASL_2/>", "aborted"),
    ];
    for (input, condition) in cases {
        let mut pair = Pair::opened();
        let said = pair.says(&input.replace("SASL_2", SASL_2));
        let failure = format!(
            "<failure xmlns=\"urn:xmpp:sasl:2\"><{condition} xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/><text "
        );
        assert!(said.contains(&failure) && said.ends_with("</failure>"), "{input}: {said}");
        assert!(pair.says(&authenticate("secret", BIND_2)).contains("<bound "), "{input}");
    }
    let mut pair = Pair::opened();
    pair.refuse_bind = Some(Condition::ResourceConstraint);
    assert!(pair.says(&authenticate("secret", BIND_2)).contains("<temporary-auth-failure "));
    pair.refuse_bind = None;
    assert!(pair.says(&authenticate("secret", BIND_2)).contains("<bound "));
}

// §2.4, §4.10
#[test]
fn nothing_comes_between_and_nothing_twice() {
    let begin = format!("<authenticate {SASL_2} mechanism='PLAIN'/>");
    let done = authenticate("secret", "");
    let bound = authenticate("secret", BIND_2);
    let old = plain_auth("secret");
    for (before, input) in [
        (&begin, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"),
        (&begin, old.as_str()),
        (&begin, "<r xmlns='urn:xmpp:sm:3'/>"),
        (&done, done.as_str()),
        (&bound, done.as_str()),
        (&done, old.as_str()),
    ] {
        let mut pair = Pair::opened();
        pair.says(before);
        let said = pair.says(input);
        assert!(said.contains("<stream:error><policy-violation ") && pair.is_closed(), "{before} {input}: {said}");
    }
    // One way on one connection, and as many tries on both as on one.
    let wrong = [authenticate("wrong", ""), plain_auth("wrong")];
    for (first, second) in [(0, 1), (1, 0)] {
        let mut pair = Pair::opened();
        assert!(pair.says(&wrong[first]).contains("<not-authorized"));
        assert!(pair.says(&wrong[second].replace("wrong", "secret")).contains("<malformed-request"));
        assert!(pair.says(&wrong[first]).contains("<policy-violation"));
    }
}

// §2.3
#[test]
fn who_acts_is_who_opened_the_stream() {
    for (from, authzid, lets_in) in [
        ("1-7@localhost", "1-7@localhost", true),
        ("1-7@localhost/x", "1-7@localhost", true),
        ("2-7@localhost", "1-7@localhost", false),
        ("2-7@localhost", "", true),
        ("not a jid@@", "1-7@localhost", true),
    ] {
        let mut pair = Pair::tls();
        pair.says(&HEADER.replace("to=", &format!("from='{from}' to=")));
        let message = format!("{authzid}\x001-7\0secret");
        let said = pair.says(&with_mechanism("PLAIN", message.as_bytes(), ""));
        assert_eq!(said.starts_with("<success "), lets_in, "{from} {authzid}: {said}");
        assert!(lets_in || said.contains("<invalid-authzid "), "{said}");
    }
}

// RFC 7395 §3.3.3
#[test]
fn over_websocket_success_and_features_are_two_messages_and_no_open_follows() {
    let mut pair = Pair::websocket();
    pair.messages(OPEN);
    let said = pair.messages(&authenticate("secret", &(agent() + BIND_2)));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("<success xmlns=\"urn:xmpp:sasl:2\">"), "{said:?}");
    assert!(said[1].starts_with("<stream:features xmlns:stream=\"http://etherx.jabber.org/streams\">"), "{said:?}");
    pair.messages("<presence xmlns='jabber:client'/>");
    assert_eq!(pair.heard.len(), 1);
    let mut pair = Pair::new(Transport::Bosh, Security::Tls(Box::new(ChannelBindings::NONE)));
    pair.messages(OPEN);
    assert_eq!(pair.messages(&authenticate("secret", BIND_2)).len(), 2);
    assert!(pair.stream.jid().is_some());
}

#[test]
fn every_split_of_a_login_says_the_same() {
    let sent = [HEADER.to_owned(), authenticate("secret", &(agent() + BIND_2)) + "<presence/>"];
    let mut whole = Pair::tls();
    let expected: Vec<String> = sent.iter().map(|step| whole.says(step)).collect();
    for split in 1..sent[1].len() {
        let mut pair = Pair::tls();
        assert_eq!(pair.says(&sent[0]), expected[0]);
        assert_eq!(pair.says(&sent[1][..split]) + &pair.says(&sent[1][split..]), expected[1], "{split}");
        assert_eq!(pair.heard, whole.heard);
    }
}
