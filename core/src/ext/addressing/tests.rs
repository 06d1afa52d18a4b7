use crate::ext::stage::{ADAM, BOB, EVE, Stage, condition};
use crate::owner::AccountId;

const NS: &str = "http://jabber.org/protocol/address";

fn stage() -> Stage {
    let mut stage = Stage::new();
    for who in [ADAM, BOB, EVE] {
        stage.ask(who, "<presence/>");
    }
    stage
}

/// A message to the server with these addresses: type and the other attributes.
fn message(addresses: &[(&str, &str)]) -> String {
    let addresses: String = addresses.iter().map(|(kind, rest)| format!("<address type='{kind}' {rest}/>")).collect();
    format!(
        "<message to='localhost' id='m1'><addresses xmlns='{NS}'>{addresses}</addresses><body>Hello, World!</body></message>"
    )
}

fn to(given: &[(AccountId, String)], whom: AccountId) -> Vec<&str> {
    given.iter().filter(|(to, _)| *to == whom).map(|(_, stanza)| &**stanza).collect()
}

/// §7, the example flow.
#[test]
fn each_gets_one_copy_and_sees_what_it_may() {
    let mut stage = stage();
    let given = stage.say(
        ADAM,
        &message(&[
            ("to", "jid='2-1@localhost/r' desc='Bob &amp; co' node='n'"),
            ("cc", "jid='2-1@LOCALHOST/r'"),
            ("bcc", "jid='1-1@localhost'"),
            ("bcc", "jid='77-1@localhost'"),
            ("replyroom", "jid='room@conference.example.com'"),
            ("noreply", ""),
        ]),
    );
    let open = concat!(
        r#"<address type="to" jid="2-1@localhost/r" node="n" desc="Bob &amp; co" delivered="true"/>"#,
        r#"<address type="cc" jid="2-1@LOCALHOST/r" delivered="true"/>"#
    );
    let others = r#"<address type="replyroom" jid="room@conference.example.com"/><address type="noreply"/>"#;
    let copy = |to: &str, blind: &str| {
        format!(
            r#"<message from="1-1@localhost/r" to="{to}" id='m1'><body>Hello, World!</body><addresses xmlns="{NS}">{open}{blind}{others}</addresses></message>"#
        )
    };
    assert_eq!(to(&given, BOB), [copy("2-1@localhost/r", "")]);
    assert_eq!(to(&given, ADAM), [copy("1-1@localhost", r#"<address type="bcc" jid="1-1@localhost"/>"#)]);
    assert_eq!(given.len(), 2, "{given:?}");
}

#[test]
fn what_is_marked_as_delivered_is_not_delivered_again() {
    let mut stage = stage();
    let given =
        stage.say(ADAM, &message(&[("to", "jid='2-1@localhost' delivered='true'"), ("to", "jid='1-1@localhost'")]));
    assert!(to(&given, BOB).is_empty() && to(&given, ADAM).len() == 1, "{given:?}");
    let again = to(&given, ADAM)[0].split("<addresses").nth(1).expect("addresses").to_owned();
    // What came of it, sent once more: nobody is left.
    let again = format!("<message to='localhost' id='m2'><addresses{again}");
    assert!(stage.say(ADAM, &again).is_empty());
}

#[test]
fn nothing_goes_out_unless_everything_can() {
    let good = ("to", "jid='2-1@localhost'");
    let mut many: Vec<(&str, &str)> = vec![good; 50];
    assert_eq!(to(&stage().say(ADAM, &message(&many)), BOB).len(), 1, "fifty times the same is once");
    many.push(good);
    let thousands: Vec<(&str, &str)> = vec![good; 3_000];
    let inside = |extra: &str| message(&[good]).replace("</addresses>", &format!("</addresses>{extra}"));
    for (stanza, expected) in [
        (message(&many), "not-acceptable"),
        (message(&thousands), "not-acceptable"),
        (message(&[good, ("to", "jid='@localhost'")]), "jid-malformed"),
        (message(&[good, ("replyto", "jid='a b@localhost'")]), "jid-malformed"),
        (message(&[good, ("to", "uri='sip:bob@example.com'")]), "jid-malformed"),
        (message(&[good, ("to", "uri='sip:bob@example.com' jid='2-1@localhost'")]), "bad-request"),
        (message(&[good, ("to", "uri='sip:bob@example.com' node='n'")]), "bad-request"),
        (message(&[good, ("to", "desc='Foo Group'")]), "bad-request"),
        (message(&[good, ("cc", "")]), "bad-request"),
        (message(&[good, ("", "jid='2-1@localhost'")]), "bad-request"),
        (message(&[good, ("friend", "jid='2-1@localhost'")]), "bad-request"),
        (message(&[good]).replace(" type='to'", ""), "bad-request"),
        (message(&[]), "bad-request"),
        (inside(&format!("<addresses xmlns='{NS}'/>")), "bad-request"),
        (message(&[good, ("to", "jid='bob@example.com'")]), "forbidden"),
        (message(&[good, ("to", "jid='localhost'")]), "forbidden"),
        (message(&[good, ("to", "jid='muc.localhost'")]), "forbidden"),
        (message(&[good, ("to", "jid='no@muc.localhost'")]), "forbidden"),
    ] {
        let given = stage().say(ADAM, &stanza);
        let [(ADAM, error)] = &given[..] else { panic!("{stanza}: {given:?}") };
        assert_eq!(condition(error), expected, "{error}");
        assert!(error.starts_with(r#"<message from="localhost" to="1-1@localhost/r" type="error" id="m1""#), "{error}");
    }
}

#[test]
fn a_large_stanza_is_for_few() {
    let large = |addresses: &[(&str, &str)]| message(addresses).replace("Hello", &"x".repeat(250_000));
    let addresses: Vec<String> = (1..=5).map(|n| format!("jid='2-1@localhost/{n}'")).collect();
    let all: Vec<(&str, &str)> = addresses.iter().map(|address| ("to", &**address)).collect();
    assert_eq!(condition(&stage().say(ADAM, &large(&all))[0].1), "not-acceptable");
    let given = stage().say(ADAM, &large(&all[..4]));
    assert_eq!(given.len(), 4, "four resources that are not there, each in its own name");
    assert!(to(&given, ADAM).iter().all(|error| condition(error) == "recipient-unavailable"));
}

#[test]
fn only_the_server_itself_is_the_service() {
    let mut stage = stage();
    // To a user, addresses are what the clients make of them.
    let direct = message(&[("to", "jid='1-1@localhost'"), ("bcc", "uri='sip:x'")])
        .replace("to='localhost'", "to='2-1@localhost'");
    let given = stage.say(ADAM, &direct);
    assert!(given.len() == 1 && to(&given, BOB)[0].contains("uri='sip:x'"), "{given:?}");
    let addressed = message(&[("to", "jid='2-1@localhost'")]);
    assert!(stage.say(ADAM, &addressed.replace("to='localhost'", "to='localhost/x'")).is_empty());
    // An error that repeats what had addresses is no order, and nested ones are none.
    assert!(stage.say(ADAM, &addressed.replace("id=", "type='error' id=")).is_empty());
    let nested = format!(
        "<message to='localhost' id='m1'><x xmlns='urn:x'><addresses xmlns='{NS}'><address type='to' jid='2-1@localhost'/></addresses></x></message>"
    );
    assert!(stage.say(ADAM, &nested).is_empty());
    let nested = message(&[("to", "jid='2-1@localhost'")]).replace(
        "/></addresses>",
        &format!("><addresses xmlns='{NS}'><address type='to' jid='1-1@localhost'/></addresses></address></addresses>"),
    );
    let given = stage.say(ADAM, &nested);
    assert_eq!(given.len(), 1, "{given:?}");
    assert!(to(&given, BOB)[0].contains("1-1@localhost'/>"), "what extends an address is left as it is");
}

#[test]
fn apps_never_meet() {
    let mut stage = stage();
    let given = stage.say(ADAM, &message(&[("to", "jid='1-2@localhost'"), ("to", "jid='2-1@localhost'")]));
    assert!(given.len() == 1 && !to(&given, BOB).is_empty(), "{given:?}");
}

#[test]
fn rules_of_delivery_are_for_each_copy() {
    let mut stage = stage();
    stage.ask(BOB, "<presence type='unavailable'/>");
    let rule = "<rule action='drop' condition='deliver' value='stored'/>";
    let amp = format!("</addresses><amp xmlns='http://jabber.org/protocol/amp'>{rule}</amp>");
    let both = message(&[("to", "jid='2-1@localhost'"), ("to", "jid='1-1@localhost'")]).replace("</addresses>", &amp);
    let given = stage.say(ADAM, &both);
    assert_eq!(given.len(), 1, "{given:?}");
    assert!(to(&given, ADAM)[0].contains(r#"to="1-1@localhost"><rule"#), "{given:?}");
    assert_eq!(stage.rows_in("offline"), 0);
    let bad = both.replace("stored", "never");
    let given = stage.say(ADAM, &bad);
    assert_eq!((given.len(), condition(&given[0].1)), (1, "not-acceptable".to_owned()), "once, not for each copy");
}

/// §6.1
#[test]
fn presence_that_was_shown_is_taken_back() {
    let mut stage = stage();
    let presence = |kind: &str, address: &str| {
        format!(
            "<presence to='localhost'{kind}><addresses xmlns='{NS}'><address type='bcc' jid='{address}'/></addresses><status>here</status></presence>"
        )
    };
    let given = stage.say(ADAM, &presence("", "2-1@localhost"));
    let [(BOB, shown)] = &given[..] else { panic!("{given:?}") };
    assert!(shown.starts_with(r#"<presence from="1-1@localhost/r" to="2-1@localhost""#), "{shown}");
    assert!(shown.contains("<status>here</status>") && shown.contains(r#"type="bcc" jid="2-1@localhost""#), "{shown}");
    let given = stage.say(ADAM, "<presence type='unavailable'/>");
    assert!(to(&given, BOB).iter().any(|gone| gone.contains(r#"type='unavailable'"#)), "{given:?}");
    // What is no presence of one's own is not shown to anybody.
    for kind in [" type='subscribe'", " type='probe'", " type='error'"] {
        assert!(to(&stage.say(ADAM, &presence(kind, "2-1@localhost")), BOB).is_empty(), "{kind}");
    }
    assert_eq!(condition(&stage.say(ADAM, &presence("", "x@example.com"))[0].1), "forbidden");
    assert!(stage.say(ADAM, "<presence to='localhost'/>").is_empty());
}
