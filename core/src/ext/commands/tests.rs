use super::*;
use crate::ext::stage::{self, ADAM, BOB, EVE, Stage};
use crate::jid::user::AppId;
use crate::limits::{ANNOUNCEMENT_BYTES_MAX, INQUIRIES_MAX};
use crate::xml::{Context, Limits, Nodes};

/// Adam administers the first app.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.site.admins = [ADAM].into();
    stage
}

fn iq(name: &str, attributes: &str, inside: &str) -> String {
    let node = format!("{}#{name}", ns::ADMIN);
    let command = format!("<command xmlns='{}' node='{node}' {attributes}>{inside}</command>", ns::COMMANDS);
    format!("<iq type='set' id='1' to='localhost'>{command}</iq>")
}

/// A form that was filled in.
fn form(fields: &[(&str, &[&str])]) -> String {
    let field = |(var, values): &(&str, &[&str])| {
        let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
        format!("<field var='{var}'>{values}</field>")
    };
    let fields: String = fields.iter().map(field).collect();
    let kind = format!("<field var='FORM_TYPE' type='hidden'><value>{}</value></field>", ns::ADMIN);
    format!("<x xmlns='jabber:x:data' type='submit'>{kind}{fields}</x>")
}

fn session(answer: &str) -> String {
    let after = answer.split("sessionid=\"").nth(1).expect(answer);
    after.split('"').next().expect("a quote").to_owned()
}

/// Begins a command and gives it its form.
fn done(stage: &mut Stage, name: &str, fields: &[(&str, &[&str])]) -> String {
    step(stage, name, "", fields)
}

fn step(stage: &mut Stage, name: &str, action: &str, fields: &[(&str, &[&str])]) -> String {
    let begun = stage.ask(ADAM, &iq(name, "action='execute'", ""));
    assert!(begun.contains("status=\"executing\""), "{begun}");
    let attributes = format!("sessionid='{}' {action}", session(&begun));
    stage.ask(ADAM, &iq(name, &attributes, &form(fields)))
}

/// The values of a field of an answer.
fn values(answer: &str, var: &str) -> Vec<String> {
    let mut nodes = Nodes::new();
    let stanza = nodes.parse(answer.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("a stanza");
    let command = stanza.child("command", ns::COMMANDS).expect(answer);
    let form = command.child("x", ns::DATA_FORMS).expect(answer);
    let field = form.children().find(|field| field.attr("var").as_deref() == Some(var)).expect(answer);
    field.children().map(|value| value.text().into_owned()).collect()
}

/// The condition, and the one that is XEP-0050's own.
fn conditions(answer: &str) -> (String, Option<&'static str>) {
    let all = ["malformed-action", "bad-action", "bad-locale", "bad-payload", "bad-sessionid", "session-expired"];
    let own = all.into_iter().find(|name| answer.contains(&format!("<{name} xmlns=\"{}\"/>", ns::COMMANDS)));
    (stage::condition(answer), own)
}

fn disco(kind: &str, node: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/disco#{kind}' node='{node}'/>");
    format!("<iq type='get' id='1' to='localhost'>{query}</iq>")
}

#[test]
fn nobody_else_sees_a_command() {
    let mut stage = stage();
    for user in [BOB, EVE] {
        let listed = stage.ask(user, &disco("items", ns::COMMANDS));
        assert!(listed.contains("type=\"result\"") && !listed.contains("<item"), "{listed}");
        let node = format!("{}#add-user", ns::ADMIN);
        assert_eq!(stage::condition(&stage.ask(user, &disco("info", &node))), "forbidden");
        assert_eq!(stage::condition(&stage.ask(user, &disco("items", &node))), "forbidden");
        // Also not which commands there are.
        for name in ["add-user", "announce", "nothing"] {
            assert_eq!(stage::condition(&stage.ask(user, &iq(name, "", ""))), "forbidden", "{name}");
        }
        let with_form =
            iq("delete-user", "sessionid='delete-user:ffffffff:0'", &form(&[("accountjids", &["2-1@localhost"])]));
        assert_eq!(stage::condition(&stage.ask(user, &with_form)), "forbidden");
    }
    stage.site.admins = [].into();
    assert_eq!(stage::condition(&stage.ask(ADAM, &iq("add-user", "", ""))), "forbidden");
}

#[test]
fn an_administrator_finds_the_commands() {
    let mut stage = stage();
    let listed = stage.ask(ADAM, &disco("items", ns::COMMANDS));
    assert_eq!(listed.matches("<item ").count(), ALL.len());
    for command in ALL {
        let item = format!("jid=\"localhost\" node=\"{}\" name=\"{}\"", command.node(), command.title);
        assert!(listed.contains(&item), "{listed}");
        let info = stage.ask(ADAM, &disco("info", &command.node()));
        assert!(info.contains("category=\"automation\" type=\"command-node\""), "{info}");
        assert!(info.contains("<feature var=\"jabber:x:data\"/>"), "{info}");
    }
    let info = stage.ask(ADAM, &disco("info", ns::COMMANDS));
    assert!(info.contains("category=\"automation\" type=\"command-list\""), "{info}");
    assert!(stage.ask(ADAM, &disco("info", "")).contains(&format!("<feature var=\"{}\"/>", ns::COMMANDS)));
    let other = format!("{}#nothing", ns::ADMIN);
    assert_eq!(stage::condition(&stage.ask(ADAM, &disco("info", &other))), "item-not-found");
    assert_eq!(stage::condition(&stage.ask(ADAM, &iq("nothing", "", ""))), "item-not-found");
}

#[test]
fn what_is_no_step_of_the_command_is_refused() {
    let mut stage = stage();
    let bad = |own| ("bad-request".to_owned(), Some(own));
    let begun = stage.ask(ADAM, &iq("add-user", "", ""));
    assert!(begun.contains("<actions execute=\"complete\"><complete/></actions>"), "{begun}");
    assert!(begun.contains("<field var=\"password\" type=\"text-private\" label=\"The password\"><required/></field>"));
    let id = session(&begun);
    let good =
        form(&[("accountjid", &["romeo"]), ("password", &["wherefore-art"]), ("password-verify", &["wherefore-art"])]);
    for (attributes, inside, expected) in [
        (format!("sessionid='{id}' action='destroy'"), good.clone(), bad("malformed-action")),
        ("action=''".to_owned(), String::new(), bad("malformed-action")),
        (format!("sessionid='{id}' action='next'"), good.clone(), bad("bad-action")),
        (format!("sessionid='{id}' action='prev'"), good.clone(), bad("bad-action")),
        ("action='complete'".to_owned(), good.clone(), bad("bad-sessionid")),
        ("action='cancel'".to_owned(), String::new(), bad("bad-sessionid")),
        ("sessionid=''".to_owned(), good.clone(), bad("bad-sessionid")),
        ("sessionid='add-user'".to_owned(), good.clone(), bad("bad-sessionid")),
        (format!("sessionid='{}'", id.replace("add", "delete")), good.clone(), bad("bad-sessionid")),
        (format!("sessionid='{}0'", id), good.clone(), bad("bad-sessionid")),
        // Good for ever, for all it says.
        (format!("sessionid='add-user:ffffffffff:{}'", "0".repeat(24)), good.clone(), bad("bad-sessionid")),
        (format!("sessionid='add-user:fffffffffffffffffff:{}'", "0".repeat(24)), good.clone(), bad("bad-sessionid")),
        (format!("sessionid='{id}' xml:lang='fr-CA'"), good.clone(), bad("bad-locale")),
        (format!("sessionid='{id}' xml:lang='!'"), good.clone(), bad("bad-locale")),
        (format!("sessionid='{id}'"), String::new(), bad("bad-payload")),
        (format!("sessionid='{id}'"), good.repeat(2), bad("bad-payload")),
        (format!("sessionid='{id}'"), good.replace("submit", "form"), bad("bad-payload")),
        (format!("sessionid='{id}'"), good.replace(ns::ADMIN, "urn:other"), bad("bad-payload")),
        (format!("sessionid='{id}'"), good.replace("<value>romeo</value>", ""), bad("bad-payload")),
        (format!("sessionid='{id}'"), good.replace("<value>romeo", "<value>a</value><value>b"), bad("bad-payload")),
    ] {
        let answer = stage.ask(ADAM, &iq("add-user", &attributes, &inside));
        assert_eq!(conditions(&answer), expected, "{attributes} {inside}");
    }
    let canceled = stage.ask(ADAM, &iq("add-user", &format!("sessionid='{id}' action='cancel'"), ""));
    assert!(canceled.contains("status=\"canceled\""), "{canceled}");
    assert_eq!(stage.rows_in("members"), 3, "nobody was made");
    stage.now.stamp = stage.now.stamp.after(COMMAND_TIME_MAX + std::time::Duration::from_secs(2));
    let late = stage.ask(ADAM, &iq("add-user", &format!("sessionid='{id}'"), &good));
    assert_eq!(conditions(&late), ("not-allowed".to_owned(), Some("session-expired")));
}

#[test]
fn a_user_is_on_disk_before_the_administrator_hears_of_it() {
    let mut stage = stage();
    let fields: &[(&str, &[&str])] = &[
        ("accountjid", &["romeo@localhost"]),
        ("password", &["wherefore-art"]),
        ("password-verify", &["wherefore-art"]),
        ("email", &["romeo@montague.example"]),
        ("given_name", &["Romeo"]),
        ("surname", &["Montague"]),
    ];
    let made = done(&mut stage, "add-user", fields);
    assert!(made.contains("status=\"completed\"") && made.contains("xml:lang=\"en\""), "{made}");
    assert_eq!(values(&made, "accountjid"), ["3-1@localhost"]);
    let log = stage.log().join(", ");
    assert!(log.ends_with("deliver 1-1") && log.contains("write users"), "{log}");
    let twice = done(&mut stage, "add-user", fields);
    assert_eq!(stage::condition(&twice), "conflict");
    assert_eq!(stage.rows_in("members"), 4);
}

#[test]
fn a_user_follows_the_rules_of_the_api() {
    let mut stage = stage();
    let long = "x".repeat(51);
    for (login, password, verify, said) in [
        ("ab", "wherefore-art", "wherefore-art", "The login is too short"),
        (long.as_str(), "wherefore-art", "wherefore-art", "The login is too long"),
        ("romeo", "short", "short", "The password is too short"),
        ("romeo", "wherefore-art", "wherefore-art-thou", "The passwords differ."),
        ("@localhost", "wherefore-art", "wherefore-art", "The login is too short"),
    ] {
        let fields: &[(&str, &[&str])] =
            &[("accountjid", &[login]), ("password", &[password]), ("password-verify", &[verify])];
        let answer = done(&mut stage, "add-user", fields);
        assert_eq!(conditions(&answer).1, Some("bad-payload"), "{answer}");
        assert!(answer.contains(said), "{answer}");
    }
    let fields: &[(&str, &[&str])] = &[
        ("accountjid", &["romeo"]),
        ("password", &["wherefore-art"]),
        ("password-verify", &["wherefore-art"]),
        ("email", &["nobody"]),
    ];
    assert!(done(&mut stage, "add-user", fields).contains("The e-mail address should look like"));
    assert_eq!(stage.rows_in("members"), 3);
}

#[test]
fn users_go_and_those_of_other_apps_do_not() {
    let mut stage = stage();
    let all: &[&str] = &["2-1@localhost", "1-2@localhost", "9-1@localhost", "1-1@localhost", "2-1@elsewhere"];
    let gone = done(&mut stage, "delete-user", &[("accountjids", all)]);
    assert_eq!(values(&gone, "accountjids"), ["2-1@localhost"]);
    for said in [
        "There is no user 1-2@localhost.",
        "There is no user 9-1@localhost.",
        "There is no user 2-1@elsewhere.",
        "1-1@localhost administers the app.",
    ] {
        assert!(gone.contains(&format!("<note type=\"error\">{said}</note>")), "{said} {gone}");
    }
    assert!(stage.log().contains(&"end 2-1".to_owned()), "{:?}", stage.log());
    assert_eq!(stage.rows_in("members"), 2);
    assert_eq!(stage.rows_in("users"), 2);
    let again = done(&mut stage, "delete-user", &[("accountjids", &["2-1@localhost"])]);
    assert!(again.contains("There is no user 2-1@localhost."), "{again}");
    let answer = done(&mut stage, "delete-user", &[("accountjids", &["@@"])]);
    assert_eq!(conditions(&answer).1, Some("bad-payload"));
    let many: Vec<String> = (0..101).map(|n| format!("{n}-1@localhost")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = done(&mut stage, "delete-user", &[("accountjids", &many)]);
    assert_eq!(conditions(&answer).1, Some("bad-payload"));
}

#[test]
fn sessions_end_one_or_all() {
    let mut stage = stage();
    let ended = |stage: &mut Stage, jid: &str| done(stage, "end-user-session", &[("accountjids", &[jid])]);
    for (jid, said) in [
        ("2-1@localhost/x", "2-1@localhost/x is not connected."),
        ("1-2@localhost", "There is no user 1-2@localhost."),
        ("9-1@localhost", "There is no user 9-1@localhost."),
    ] {
        let answer = ended(&mut stage, jid);
        assert!(answer.contains(said), "{answer}");
        assert!(!stage.log().iter().any(|line| line.starts_with("end")), "{:?}", stage.log());
    }
    let answer = ended(&mut stage, "2-1@localhost/r");
    assert_eq!(values(&answer, "accountjids"), ["2-1@localhost/r"]);
    assert!(stage.log().contains(&"end 2-1".to_owned()), "{:?}", stage.log());
    assert!(ended(&mut stage, "2-1@localhost").contains("is not connected."));
}

#[test]
fn a_new_password_takes_the_place_of_the_old_one() {
    let mut stage = stage();
    let change = |stage: &mut Stage, jid: &str, password: &str| {
        done(stage, "change-user-password", &[("accountjid", &[jid]), ("password", &[password])])
    };
    let answer = change(&mut stage, "2-1@localhost", "wherefore-art");
    assert!(answer.contains("status=\"completed\"") && !answer.contains("<note"), "{answer}");
    assert!(stage.log().contains(&"end 2-1".to_owned()), "{:?}", stage.log());
    for jid in ["9-1@localhost", "1-2@localhost"] {
        assert!(change(&mut stage, jid, "wherefore-art").contains(&format!("There is no user {jid}.")));
    }
    assert_eq!(conditions(&change(&mut stage, "2-1@localhost", "short")).1, Some("bad-payload"));
}

#[test]
fn an_administrator_knows_users_of_the_app_alone() {
    let mut stage = stage();
    let add = "<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='1-1@localhost' name='A'><group>G</group></item></query></iq>";
    stage.ask(BOB, add);
    stage.ask(EVE, add);
    let roster = done(&mut stage, "get-user-roster", &[("accountjids", &["2-1@localhost"])]);
    let item = "<query xmlns=\"jabber:iq:roster\"><item jid=\"1-1@localhost\" name=\"A\" subscription=\"none\"><group>G</group></item></query>";
    assert!(roster.contains(item), "{roster}");
    let statistics = done(&mut stage, "user-stats", &[("accountjid", &["2-1@localhost"])]);
    assert_eq!(values(&statistics, "rostersize"), ["1"]);
    assert_eq!(values(&statistics, "onlineresources"), ["r"]);
    let login = done(&mut stage, "get-user-lastlogin", &[("accountjids", &["2-1@localhost"])]);
    assert!(login.contains("2-1@localhost has never been here."), "{login}");
    for (name, var) in
        [("get-user-roster", "accountjids"), ("user-stats", "accountjid"), ("get-user-lastlogin", "accountjids")]
    {
        let asked = |stage: &mut Stage, jid: &str| done(stage, name, &[(var, &[jid])]).replace(jid, "JID");
        let (strange, nobody) = (asked(&mut stage, "1-2@localhost"), asked(&mut stage, "9-1@localhost"));
        assert_eq!(strange, nobody, "{name}");
        assert!(strange.contains("There is no user JID."), "{strange}");
    }
    assert_eq!(values(&stage.ask(ADAM, &iq("get-registered-users-num", "", "")), "registeredusersnum"), ["2"]);
    assert_eq!(values(&stage.ask(ADAM, &iq("get-online-users-num", "", "")), "onlineusersnum"), ["2"]);
}

#[test]
fn lists_come_whole_or_in_pages() {
    let mut stage = stage();
    for n in 3..=5 {
        stage.sign_up(AppId(1), &format!("user {n}"));
    }
    let jids = |numbers: &[u64]| numbers.iter().map(|n| format!("{n}-1@localhost")).collect::<Vec<_>>();
    let (name, var) = ("get-registered-users-list", "registereduserjids");
    let whole = done(&mut stage, name, &[]);
    assert_eq!(values(&whole, var), jids(&[1, 2, 3, 4, 5]));
    assert!(whole.contains("status=\"completed\"") && !whole.contains("<note"), "{whole}");
    let part = step(&mut stage, name, "action='complete'", &[("max_items", &["2"])]);
    assert_eq!(values(&part, var), jids(&[1, 2]));
    assert!(part.contains("<note type=\"warn\">"), "{part}");

    let first = step(&mut stage, name, "action='next'", &[("max_items", &["2"])]);
    assert_eq!(values(&first, var), jids(&[1, 2]));
    assert!(first.contains("<actions execute=\"next\"><next/><complete/></actions>"), "{first}");
    let turn_page = |stage: &mut Stage, answer: &str, action: &str| {
        let hidden = ["max_items", "first", "last"].map(|var| (var, values(answer, var)));
        let fields: Vec<(&str, Vec<&str>)> =
            hidden.iter().map(|(var, values)| (*var, values.iter().map(String::as_str).collect())).collect();
        let fields: Vec<(&str, &[&str])> = fields.iter().map(|(var, values)| (*var, values.as_slice())).collect();
        let attributes = format!("sessionid='{}' action='{action}'", session(answer));
        stage.ask(ADAM, &iq(name, &attributes, &form(&fields)))
    };
    let second = turn_page(&mut stage, &first, "next");
    assert_eq!(session(&second), session(&first));
    assert_eq!(values(&second, var), jids(&[3, 4]));
    assert!(second.contains("<prev/><next/><complete/>"), "{second}");
    let third = turn_page(&mut stage, &second, "execute");
    assert_eq!(values(&third, var), jids(&[5]));
    assert!(third.contains("<actions execute=\"complete\"><prev/><complete/></actions>"), "{third}");
    let back = turn_page(&mut stage, &third, "prev");
    assert_eq!(values(&back, var), jids(&[3, 4]));
    let back = turn_page(&mut stage, &back, "prev");
    assert_eq!(values(&back, var), jids(&[1, 2]));
    assert!(back.contains("<actions execute=\"next\"><next/><complete/></actions>"), "{back}");
    let form_again = turn_page(&mut stage, &back, "prev");
    assert!(form_again.contains("type=\"list-single\""), "{form_again}");
    let over = turn_page(&mut stage, &first, "complete");
    assert!(over.contains("status=\"completed\"") && !over.contains("<x "), "{over}");

    // Who is connected, and of this app.
    let online = done(&mut stage, "get-online-users-list", &[("max_items", &["25"])]);
    assert_eq!(values(&online, "onlineuserjids"), jids(&[1, 2]));
    let one = step(&mut stage, "get-online-users-list", "action='next'", &[("max_items", &["1"])]);
    assert_eq!(values(&one, "onlineuserjids"), jids(&[1]));
    for max in ["0", "201", "none", "-1", "99999999999999999999999"] {
        let answer = done(&mut stage, name, &[("max_items", &[max])]);
        assert_eq!(conditions(&answer).1, Some("bad-payload"), "{max}");
    }
    let nothing_before = step(&mut stage, name, "action='prev'", &[]);
    assert_eq!(conditions(&nothing_before).1, Some("bad-action"));
    let beyond = done(&mut stage, name, &[("first", &["99"]), ("last", &["18446744073709551615"])]);
    assert_eq!(values(&beyond, var), Vec::<String>::new());
}

#[test]
fn an_announcement_is_for_the_app_and_for_now() {
    let mut stage = stage();
    for user in [ADAM, BOB, EVE] {
        stage.ask(user, "<presence/>");
    }
    let begun = stage.ask(ADAM, &iq("announce", "", ""));
    let attributes = format!("sessionid='{}' action='complete'", session(&begun));
    let text = form(&[("announcement", &["Back &lt;soon&gt;", "", "Bye"])]);
    let given = stage.say(ADAM, &iq("announce", &attributes, &text));
    let told: Vec<_> = given.iter().filter(|(_, stanza)| stanza.starts_with("<message")).collect();
    assert_eq!(told.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [ADAM, BOB]);
    let (_, stanza) = told[1];
    assert!(stanza.contains("type=\"headline\"") && stanza.contains("from=\"localhost\" to=\"2-1@localhost\""));
    assert!(stanza.contains("<body>Back &lt;soon&gt;\n\nBye</body>"), "{stanza}");
    // What the product's SDKs need to see in any headline.
    assert!(stanza.contains("<moduleIdentifier>SystemNotifications</moduleIdentifier>"), "{stanza}");
    let long = "x".repeat(ANNOUNCEMENT_BYTES_MAX + 1);
    assert_eq!(conditions(&done(&mut stage, "announce", &[("announcement", &[&long])])).1, Some("bad-payload"));
    assert_eq!(conditions(&done(&mut stage, "announce", &[("announcement", &[" "])])).1, Some("bad-payload"));
}

#[test]
fn only_so_many_commands_wait() {
    let mut stage = stage();
    for n in 0..=INQUIRIES_MAX {
        let answer = stage.ask_in_vain(ADAM, &iq("get-online-users-num", "", ""));
        match n {
            INQUIRIES_MAX => assert_eq!(stage::condition(&answer), "resource-constraint"),
            _ => assert_eq!(answer, ""),
        }
    }
}
