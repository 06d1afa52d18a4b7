use super::*;
use crate::ext::stage::{ADAM, BOB, EVE, Stage, condition};
use crate::limits::AMP_RULES_MAX;
use crate::owner::AccountId;
use crate::time::Timestamp;

const AMP_NS: &str = "http://jabber.org/protocol/amp";

/// A message of a type with these rules: action, condition, value.
fn message(to: &str, kind: &str, rules: &[(&str, &str, &str)]) -> String {
    let rules: String = rules
        .iter()
        .map(|(action, condition, value)| format!("<rule action='{action}' condition='{condition}' value='{value}'/>"))
        .collect();
    format!("<message to='{to}' type='{kind}' id='m1'><body>x</body><amp xmlns='{AMP_NS}'>{rules}</amp></message>")
}

/// Adam sees Bob's presence.
fn friends() -> Stage {
    let mut stage = Stage::new();
    stage.ask(ADAM, "<presence/>");
    stage.subscribe(ADAM, BOB);
    stage
}

fn to(given: &[(AccountId, String)], whom: AccountId) -> Vec<&str> {
    given.iter().filter(|(to, _)| *to == whom).map(|(_, stanza)| &**stanza).collect()
}

/// What the sender hears of a rule: alert, error, notify or nothing; and whether the recipient gets the message.
fn outcome(stage: &mut Stage, to_whom: &str, kind: &str, rule: (&str, &str, &str)) -> (Vec<String>, bool) {
    let given = stage.say(ADAM, &message(to_whom, kind, &[rule]));
    let heard = to(&given, ADAM).iter().map(|stanza| status(stanza)).collect();
    (heard, !to(&given, BOB).is_empty())
}

fn status(stanza: &str) -> String {
    let (_, rest) = stanza.split_once("status=\"").unwrap_or_else(|| panic!("no report of a rule: {stanza}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}

const NONE: [String; 0] = [];

#[test]
fn disco_tells_what_rules_there_can_be() {
    let mut stage = Stage::new();
    let ask = |node: &str| {
        format!(
            "<iq type='get' id='1' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'{node}/></iq>"
        )
    };
    assert!(stage.ask(ADAM, &ask("")).contains(r#"<feature var="http://jabber.org/protocol/amp"/>"#));
    let node = stage.ask(ADAM, &ask(&format!(" node='{AMP_NS}'")));
    for action in Action::ALL {
        assert!(node.contains(&format!("{AMP_NS}?action={}\"", action.as_str())), "{node}");
    }
    for condition in ["deliver", "expire-at", "match-resource"] {
        assert!(node.contains(&format!("{AMP_NS}?condition={condition}\"")), "{node}");
    }
    assert_eq!(condition(&stage.ask(ADAM, &ask(" node='x'"))), "item-not-found");
}

/// §3.4 and example 8.
#[test]
fn an_alert_says_what_became_of_the_message() {
    let mut stage = friends();
    let given = stage.say(ADAM, &message("2-1@localhost", "chat", &[("alert", "deliver", "stored")]));
    let expected = concat!(
        r#"<message from="localhost" to="1-1@localhost/r" id="m1"><amp xmlns="http://jabber.org/protocol/amp" status="alert" "#,
        r#"from="1-1@localhost/r" to="2-1@localhost"><rule action="alert" condition="deliver" value="stored"/></amp></message>"#
    );
    assert_eq!(given, [(ADAM, expected.to_owned())]);
    assert_eq!(stage.rows_in("offline"), 0, "it behaves as drop");
}

#[test]
fn an_error_names_the_rule_that_failed() {
    let mut stage = friends();
    let given = stage.say(ADAM, &message("2-1@localhost", "chat", &[("error", "deliver", "stored")]));
    let [(ADAM, error)] = &given[..] else { panic!("{given:?}") };
    assert_eq!(condition(error), "undefined-condition");
    assert!(
        error.contains(r#"<failed-rules xmlns="http://jabber.org/protocol/amp#errors"><rule action="error""#),
        "{error}"
    );
    assert!(error.contains(r#"type="modify""#) && !error.contains("<body>"), "{error}");
    assert_eq!(stage.rows_in("offline"), 0);
}

#[test]
fn rules_hold_for_how_a_message_is_delivered() {
    let cases: &[(bool, &str, &str, &str, &str, bool)] = &[
        // Is Bob there? Address, type, condition, value, is the rule met?
        (true, "2-1@localhost", "chat", "deliver", "direct", true),
        (true, "2-1@localhost/r", "normal", "deliver", "direct", true),
        (true, "2-1@localhost", "chat", "deliver", "stored", false),
        (true, "2-1@localhost", "chat", "deliver", "none", false),
        (true, "2-1@localhost", "chat", "deliver", "forward", false),
        (true, "2-1@localhost", "chat", "deliver", "gateway", false),
        (true, "2-1@localhost", "chat", "match-resource", "any", true),
        (true, "2-1@localhost", "chat", "match-resource", "exact", false),
        (true, "2-1@localhost", "chat", "match-resource", "other", true),
        (true, "2-1@localhost/r", "chat", "match-resource", "exact", true),
        (true, "2-1@localhost/r", "chat", "match-resource", "other", false),
        (true, "2-1@localhost/gone", "chat", "match-resource", "exact", false),
        (true, "2-1@localhost/gone", "chat", "match-resource", "other", true),
        (true, "2-1@localhost/gone", "headline", "deliver", "none", true),
        (true, "2-1@localhost", "chat", "expire-at", "2016-01-01T00:00:00Z", true),
        (true, "2-1@localhost", "chat", "expire-at", "2036-01-01T00:00:00Z", false),
        (false, "2-1@localhost", "chat", "deliver", "stored", true),
        (false, "2-1@localhost", "normal", "deliver", "stored", true),
        (false, "2-1@localhost", "headline", "deliver", "none", true),
        (false, "2-1@localhost", "headline", "deliver", "stored", false),
        (false, "2-1@localhost", "chat", "match-resource", "any", false),
        (false, "2-1@localhost", "chat", "match-resource", "exact", true),
        (false, "2-1@localhost", "chat", "expire-at", "2016-01-01T00:00:00Z", true),
    ];
    for &(online, address, kind, condition, value, met) in cases {
        for action in Action::ALL.map(Action::as_str) {
            let mut stage = friends();
            if online {
                stage.ask(BOB, "<presence/>");
            }
            if address.contains("/r") && !online {
                continue;
            }
            let given = stage.say(ADAM, &message(address, kind, &[(action, condition, value)]));
            let (heard, got) = (to(&given, ADAM), to(&given, BOB));
            let case = format!("{online} {address} {kind} {action} {condition} {value}: {given:?}");
            let said: Vec<_> = heard.iter().filter(|stanza| stanza.contains("status=")).map(|it| status(it)).collect();
            let expected: &[&str] = if met && action != "drop" { &[action] } else { &[] };
            assert_eq!(said, expected, "{case}");
            let ended = met && action != "notify";
            // A headline for a resource that is gone goes back or nowhere, whatever the rules.
            let reachable = online && (kind == "chat" || !address.contains("gone"));
            assert_eq!(!got.is_empty(), reachable && !ended, "{case}");
            let kept = !online && kind != "headline" && !ended;
            assert_eq!(stage.rows_in("offline"), usize::from(kept), "{case}");
        }
    }
}

#[test]
fn the_first_rule_that_ends_it_ends_it() {
    let mut stage = friends();
    let rules = [
        ("notify", "deliver", "stored"),
        ("drop", "deliver", "direct"),
        ("notify", "match-resource", "exact"),
        ("alert", "deliver", "stored"),
        ("error", "deliver", "stored"),
    ];
    let given = stage.say(ADAM, &message("2-1@localhost", "chat", &rules));
    let heard: Vec<_> = to(&given, ADAM).iter().map(|stanza| status(stanza)).collect();
    assert_eq!(heard, ["notify", "notify", "alert"]);
}

#[test]
fn the_recipient_sees_whose_rules_they_are() {
    let mut stage = friends();
    stage.ask(BOB, "<presence/>");
    let forged = message("2-1@localhost", "chat", &[("drop", "deliver", "none")])
        .replace("<amp ", "<amp from='2-1@localhost/x' to='nobody@localhost' per-hop='true' ");
    let given = stage.say(ADAM, &forged);
    let amp = concat!(
        r#"<amp xmlns="http://jabber.org/protocol/amp" from="1-1@localhost/r" to="2-1@localhost" per-hop="true">"#,
        r#"<rule action="drop" condition="deliver" value="none"/></amp></message>"#
    );
    assert!(to(&given, BOB)[0].ends_with(amp), "{given:?}");
    assert!(to(&given, BOB)[0].contains("<body>x</body>"));
}

/// §6
#[test]
fn rules_that_cannot_be_carried_out_come_back_before_anything_happens() {
    let chat = |rules: &[(&str, &str, &str)]| message("2-1@localhost", "chat", rules);
    let fine = ("drop", "deliver", "stored");
    let many: Vec<_> = std::iter::repeat_n(fine, AMP_RULES_MAX + 1).collect();
    let with_amp = |amp: &str| format!("<message to='2-1@localhost' id='m1'>{amp}</message>");
    for (stanza, expected, names) in [
        (chat(&[fine, ("forward", "deliver", "stored")]), "bad-request", "unsupported-actions"),
        (chat(&[("", "deliver", "stored")]), "bad-request", "unsupported-actions"),
        (chat(&[("drop", "moon", "full"), fine]), "bad-request", "unsupported-conditions"),
        (chat(&[("drop", "deliver", "someday")]), "not-acceptable", "invalid-rules"),
        (chat(&[("drop", "deliver", "")]), "not-acceptable", "invalid-rules"),
        (chat(&[("drop", "match-resource", "Exact")]), "not-acceptable", "invalid-rules"),
        (chat(&[("drop", "expire-at", "tomorrow")]), "not-acceptable", "invalid-rules"),
        (chat(&[("drop", "expire-at", "2036-01-01")]), "not-acceptable", "invalid-rules"),
        (chat(&[("drop", "expire-at", "2036-01-01T00:00:00+01:00")]), "not-acceptable", "invalid-rules"),
        (chat(&[("drop", "expire-at", "2036-01-01T00:00:00")]), "not-acceptable", "invalid-rules"),
        (chat(&many), "not-acceptable", "invalid-rules"),
        (chat(&[]), "bad-request", ""),
        (chat(&[fine]).replace(" id='m1'", ""), "bad-request", ""),
        (chat(&[fine]).replace(" id='m1'", " id=''"), "bad-request", ""),
        (chat(&[fine]).replace("<amp ", "<amp per-hop='maybe' "), "bad-request", ""),
        (with_amp(&format!("<amp xmlns='{AMP_NS}'/><amp xmlns='{AMP_NS}'/>")), "bad-request", ""),
        // Only the server reports what became of rules.
        (chat(&[("alert", "deliver", "stored")]).replace("<amp ", "<amp status='alert' "), "bad-request", ""),
    ] {
        let mut stage = friends();
        let given = stage.say(ADAM, &stanza);
        let [(ADAM, error)] = &given[..] else { panic!("{stanza}: {given:?}") };
        assert_eq!(condition(error), expected, "{error}");
        assert!(error.contains(&format!("<{names}")) && !error.contains("<body>"), "{error}");
        assert!(error.starts_with(r#"<message from="localhost" to="1-1@localhost/r" type="error""#), "{error}");
        assert_eq!(stage.rows_in("offline"), 0, "{stanza}");
    }
}

/// §9
#[test]
fn strangers_learn_nothing() {
    for action in ["alert", "error", "notify"] {
        for (condition_name, value) in
            [("deliver", "stored"), ("match-resource", "any"), ("expire-at", "2016-01-01T00:00:00Z")]
        {
            let rule = [("drop", "deliver", "gateway"), (action, condition_name, value)];
            let mut answers = Vec::new();
            // Bob is away, Bob is there, nobody has that number, the user is of another app, the name is none.
            for (address, online) in [
                ("2-1@localhost", false),
                ("2-1@localhost", true),
                ("2-1@localhost/r", true),
                ("77-1@localhost", false),
                ("1-2@localhost", false),
                ("romeo@localhost", false),
            ] {
                let mut stage = Stage::new();
                stage.ask(ADAM, "<presence/>");
                if online {
                    stage.ask(BOB, "<presence/>");
                }
                let given = stage.say(ADAM, &message(address, "chat", &rule));
                assert!(to(&given, BOB).is_empty() && to(&given, EVE).is_empty(), "{given:?}");
                answers.push(to(&given, ADAM).concat());
            }
            assert_eq!(condition(&answers[0]), "not-acceptable");
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        }
    }
}

#[test]
fn anyone_may_have_a_message_dropped() {
    let mut stage = Stage::new();
    stage.ask(ADAM, "<presence/>");
    assert_eq!(outcome(&mut stage, "2-1@localhost", "chat", ("drop", "deliver", "stored")), (NONE.to_vec(), false));
    assert_eq!(stage.rows_in("offline"), 0);
    assert_eq!(outcome(&mut stage, "77-1@localhost", "chat", ("drop", "deliver", "stored")), (NONE.to_vec(), false));
    assert_eq!(outcome(&mut stage, "1-2@localhost", "chat", ("drop", "deliver", "stored")), (NONE.to_vec(), false));
}

#[test]
fn one_may_ask_about_oneself() {
    let mut stage = Stage::new();
    stage.ask(ADAM, "<presence/>");
    let given = stage.say(ADAM, &message("1-1@localhost", "chat", &[("notify", "deliver", "direct")]));
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!(given.iter().filter(|(_, stanza)| stanza.contains("status=\"notify\"")).count(), 1);
}

#[test]
fn what_waited_too_long_is_not_given_out() {
    for (action, heard, given_out) in
        [("drop", "", false), ("alert", "alert", false), ("error", "error", false), ("notify", "notify", true)]
    {
        let mut stage = friends();
        let soon = Timestamp::from_secs(stage.now.stamp.secs() + 60);
        let soon = soon.iso().to_string();
        let rules = [("drop", "deliver", "none"), (action, "expire-at", &*soon)];
        assert!(stage.say(ADAM, &message("2-1@localhost", "chat", &rules)).is_empty());
        assert!(
            stage.say(ADAM, "<message to='2-1@localhost' type='chat' id='m2'><body>later</body></message>").is_empty()
        );
        assert_eq!(stage.rows_in("offline"), 2);
        stage.now.stamp = Timestamp::from_secs(stage.now.stamp.secs() + 60);
        let given = stage.say(BOB, "<presence/>");
        let got: Vec<_> = to(&given, BOB).into_iter().filter(|stanza| stanza.starts_with("<message")).collect();
        assert_eq!(got.len(), 1 + usize::from(given_out), "{action} {given:?}");
        assert!(got.last().is_some_and(|last| last.contains("later")), "what is not expired comes, {got:?}");
        let said: String = to(&given, ADAM).iter().filter(|it| it.contains("status=")).map(|it| status(it)).collect();
        assert_eq!(said, heard);
        assert_eq!(stage.rows_in("offline"), 0, "what is not given out waits no longer");
    }
}

#[test]
fn what_did_not_wait_too_long_is_given_out() {
    let mut stage = friends();
    let soon = Timestamp::from_secs(stage.now.stamp.secs() + 60).iso().to_string();
    stage.say(ADAM, &message("2-1@localhost", "chat", &[("alert", "expire-at", &soon)]));
    stage.now.stamp = Timestamp::from_secs(stage.now.stamp.secs() + 59);
    let given = stage.say(BOB, "<presence/>");
    assert!(
        to(&given, BOB).iter().any(|stanza| stanza.contains("<body>x</body>") && stanza.contains("urn:xmpp:delay"))
    );
    assert!(!to(&given, ADAM).iter().any(|stanza| stanza.contains("<amp")), "{given:?}");
}

#[test]
fn one_who_sees_the_user_no_more_hears_no_more() {
    let mut stage = friends();
    let soon = Timestamp::from_secs(stage.now.stamp.secs() + 60).iso().to_string();
    stage.say(ADAM, &message("2-1@localhost", "chat", &[("alert", "expire-at", &soon)]));
    stage.ask(BOB, "<presence type='unsubscribed' to='1-1@localhost'/>");
    stage.now.stamp = Timestamp::from_secs(stage.now.stamp.secs() + 61);
    let given = stage.say(BOB, "<presence/>");
    assert!(!given.iter().any(|(_, stanza)| stanza.starts_with("<message")), "{given:?}");
}

/// A report waits for a sender who is away, and causes nothing when it is given out.
#[test]
fn a_report_never_causes_another() {
    let mut stage = friends();
    let soon = Timestamp::from_secs(stage.now.stamp.secs() + 60).iso().to_string();
    stage.say(ADAM, &message("2-1@localhost", "chat", &[("notify", "expire-at", &soon)]));
    stage.ask(ADAM, "<presence type='unavailable'/>");
    stage.subscribe(BOB, ADAM);
    stage.now.stamp = Timestamp::from_secs(stage.now.stamp.secs() + 61);
    // The named resource is still connected and gets it, though it is not available.
    let given = stage.say(BOB, "<presence/>");
    assert_eq!(to(&given, ADAM).iter().filter(|it| it.contains("status=\"notify\"")).count(), 1, "{given:?}");
    // An error that repeats somebody's rules is no order.
    let error = message("2-1@localhost/r", "error", &[("notify", "deliver", "direct")]);
    let given = stage.say(ADAM, &error);
    assert!(to(&given, ADAM).is_empty() && to(&given, BOB).len() == 1, "{given:?}");
}
