use super::*;
use crate::ext::stage::{self, ADAM, BOB, EVE, Stage};
use crate::limits::{
    CAPS_KNOWN_MAX, PEP_BYTES_MAX, PEP_ITEM_BYTES_MAX, PEP_ITEMS_MAX, PEP_NODE_BYTES_MAX, PEP_NODES_MAX,
    PEP_SUBSCRIBERS_MAX,
};
use crate::owner::AccountId;

fn set(inside: &str) -> String {
    format!("<iq type='set' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>")
}

fn get(inside: &str) -> String {
    set(inside).replace("'set'", "'get'")
}

fn owners(iq: &str) -> String {
    iq.replace("protocol/pubsub'", "protocol/pubsub#owner'")
}

fn to_bob(iq: &str) -> String {
    iq.replace("<iq ", "<iq to='2-1@localhost' ")
}

fn publish(node: &str, item: &str, payload: &str) -> String {
    set(&format!("<publish node='{node}'><item id='{item}'>{payload}</item></publish>"))
}

fn tune(text: &str) -> String {
    format!("<tune xmlns='urn:tune'>{text}</tune>")
}

fn options(fields: &[(&str, &str)]) -> String {
    form("publish-options", "publish-options", fields)
}

fn form(around: &str, kind: &str, fields: &[(&str, &str)]) -> String {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>")).collect();
    let kind = format!("<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#{kind}</value></field>");
    format!("<{around}><x xmlns='jabber:x:data' type='submit'>{kind}{fields}</x></{around}>")
}

/// The ids of the items in an answer, in their order.
fn ids(answer: &str) -> Vec<&str> {
    assert!(answer.contains(r#"type="result""#), "{answer}");
    answer.split("<item id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

fn items(stage: &mut Stage, node: &str) -> String {
    stage.ask(BOB, &get(&format!("<items node='{node}'/>")))
}

/// Adam sees Bob's presence.
fn befriend(stage: &mut Stage) {
    stage.ask(ADAM, "<presence type='subscribe' to='2-1@localhost'/>");
    stage.ask(BOB, "<presence type='subscribed' to='1-1@localhost'/>");
}

fn refused(stage: &mut Stage, who: AccountId, iq: &str) -> (String, Option<String>) {
    let answer = stage.ask(who, iq);
    let detail = answer.split_once("</text><").map(|(_, rest)| rest.split([' ', '/']).next().unwrap().to_owned());
    (stage::condition(&answer), detail.filter(|detail| !detail.is_empty()))
}

#[test]
fn an_item_is_on_disk_before_its_publisher_hears_of_it() {
    let mut stage = Stage::new();
    let answer = stage.ask(BOB, &publish("urn:tune", "a", &tune("one")));
    let said = r#"<publish node="urn:tune"><item id="a"/></publish>"#;
    assert!(answer.contains(said), "{answer}");
    assert_eq!(stage.log(), ["write pep_items pep_order pep_nodes", "deliver 2-1"]);
    assert!(items(&mut stage, "urn:tune").contains("<item id=\"a\"><tune xmlns='urn:tune'>one</tune></item>"));
}

#[test]
fn an_item_without_an_id_gets_one() {
    let mut stage = Stage::new();
    let answer = stage.ask(BOB, &set(&format!("<publish node='n'><item>{}</item></publish>", tune("x"))));
    let [id] = ids(&answer)[..] else { panic!("{answer}") };
    assert_eq!(id.len(), 24);
    assert_eq!(ids(&items(&mut stage, "n")), [id]);
}

#[test]
fn the_newest_items_stay_and_the_same_id_is_the_same_item() {
    let mut stage = Stage::new();
    let three = options(&[("max_items", "3")]);
    for item in ["a", "b", "c", "b", "d"] {
        let iq = format!("<publish node='n'><item id='{item}'>{}</item></publish>{three}", tune(item));
        assert_eq!(ids(&stage.ask(BOB, &set(&iq))), [item]);
    }
    assert_eq!(ids(&items(&mut stage, "n")), ["c", "b", "d"]);
    assert_eq!((stage.rows_in("pep_items"), stage.rows_in("pep_order")), (3, 3));
    assert_eq!(ids(&stage.ask(BOB, &get("<items node='n' max_items='2'/>"))), ["b", "d"]);
    assert_eq!(ids(&stage.ask(BOB, &get("<items node='n' max_items='1'/>"))), ["d"]);
    let named = "<items node='n'><item id='c'/><item id='a'/><item id='c'/><item id='d'/></items>";
    assert_eq!(ids(&stage.ask(BOB, &get(named))), ["c", "d"]);
}

#[test]
fn pages_go_forwards_and_backwards() {
    let mut stage = Stage::new();
    for item in ["a", "b", "c", "d", "e"] {
        let iq = format!("<publish node='n'><item id='{item}'>{}</item></publish>", tune(item));
        stage.ask(BOB, &set(&format!("{iq}{}", options(&[("max_items", "max")]))));
    }
    let mut page = |rsm: &str| {
        let set = format!("<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>");
        stage.ask(BOB, &get(&set))
    };
    let first = page("<max>2</max>");
    assert_eq!(ids(&first), ["a", "b"]);
    assert!(first.contains("<first>a</first><last>b</last><count>5</count>"), "{first}");
    assert_eq!(ids(&page("<max>2</max><after>b</after>")), ["c", "d"]);
    assert_eq!(ids(&page("<max>2</max><before/>")), ["d", "e"]);
    assert_eq!(ids(&page("<max>2</max><before>d</before>")), ["b", "c"]);
    assert_eq!(ids(&page("<after>e</after>")), [""; 0]);
    assert_eq!(ids(&page("<max>0</max>")), [""; 0]);
    assert_eq!(ids(&page("<after>d</after><before>b</before>")), [""; 0]);
    assert_eq!(stage::condition(&page("<after>x</after>")), "item-not-found");
    assert_eq!(stage::condition(&page("<index>1</index>")), "feature-not-implemented");
}

// XEP-0060 §7.1.5
#[test]
fn options_make_a_node_and_are_conditions_afterwards() {
    let mut stage = Stage::new();
    let with = |options: &str| set(&format!("<publish node='n'><item id='a'>{}</item></publish>{options}", tune("x")));
    let open = options(&[("access_model", "open"), ("max_items", "max"), ("persist_items", "true")]);
    assert!(stage.ask(BOB, &with(&open)).contains("result"));
    assert!(stage.ask(BOB, &with(&open)).contains("result"));
    assert!(stage.ask(BOB, &with("")).contains("result"));
    let met = options(&[("max_items", &PEP_ITEMS_MAX.to_string())]);
    assert!(stage.ask(BOB, &with(&met)).contains("result"));
    for wrong in [options(&[("access_model", "whitelist")]), options(&[("max_items", "1")])] {
        let expected = ("conflict".to_owned(), Some("precondition-not-met".to_owned()));
        assert_eq!(refused(&mut stage, BOB, &with(&wrong)), expected, "{wrong}");
    }
    let unknown = with(&options(&[("item_colour", "red")]));
    assert_eq!(refused(&mut stage, BOB, &unknown).0, "bad-request");
    let form = owners(&get("<configure node='n'/>"));
    let shown = stage.ask(BOB, &form);
    assert!(shown.contains("<value>open</value>"), "{shown}");
}

#[test]
fn refuses_what_the_specification_does() {
    let item = format!("<item id='a'>{}</item>", tune("x"));
    let long = "n".repeat(PEP_NAME_BYTES_MAX + 1);
    let big = tune(&"x".repeat(PEP_ITEM_BYTES_MAX));
    let cases = [
        (set(""), "bad-request", None),
        (set("<dance/>"), "bad-request", None),
        (set(&format!("<publish>{item}</publish>")), "bad-request", Some("nodeid-required")),
        (set("<publish node='n'/>"), "bad-request", Some("item-required")),
        (set(&format!("<publish node='n'>{item}{item}</publish>")), "bad-request", Some("item-required")),
        (set("<publish node='n'><item/></publish>"), "bad-request", Some("payload-required")),
        (publish("n", "a", &format!("{}{}", tune("x"), tune("y"))), "bad-request", Some("invalid-payload")),
        (publish(&long, "a", &tune("x")), "not-acceptable", None),
        (publish("n", &long, &tune("x")), "not-acceptable", None),
        (publish("n", "a", &big), "not-acceptable", Some("payload-too-big")),
        (set("<retract node='n'><item id='a'/></retract>"), "item-not-found", None),
        (set("<retract node='there'><item id='b'/></retract>"), "item-not-found", None),
        (set("<retract node='there'/>"), "bad-request", Some("item-required")),
        (set("<retract node='there'><item/></retract>"), "bad-request", Some("item-required")),
        (set("<create/>"), "not-acceptable", Some("nodeid-required")),
        (set("<create node='there'/>"), "conflict", None),
        (set("<create node='n'/><configure node='n'/>"), "bad-request", None),
        (
            set(&format!("<create node='n'/>{}", form("configure", "node_config", &[("access_model", "authorize")]))),
            "not-acceptable",
            Some("unsupported-access-model"),
        ),
        (get("<items/>"), "bad-request", Some("nodeid-required")),
        (get("<items node='n'/>"), "item-not-found", None),
        (get("<items node='there' max_items='0'/>"), "bad-request", None),
        (get("<items node='there' max_items='-1'/>"), "bad-request", None),
        (get("<items node='there'><item/></items>"), "bad-request", None),
        (owners(&set("<delete node='n'/>")), "item-not-found", None),
        (owners(&set("<purge node='n'/>")), "item-not-found", None),
        (owners(&set("<configure node='there'/>")), "bad-request", None),
        (owners(&get("<configure node='n'/>")), "item-not-found", None),
        (owners(&set("<affiliations node='there'/>")), "feature-not-implemented", Some("unsupported")),
        (get("<options node='there'/>"), "feature-not-implemented", Some("unsupported")),
        (set("<subscribe node='there'/>"), "bad-request", Some("invalid-jid")),
        (set("<subscribe node='there' jid='1-1@localhost'/>"), "bad-request", Some("invalid-jid")),
        (set("<unsubscribe node='there' jid='2-1@localhost'/>"), "unexpected-request", Some("not-subscribed")),
    ];
    let mut stage = Stage::new();
    stage.ask(BOB, &publish("there", "a", &tune("x")));
    for (iq, condition, detail) in cases {
        let expected = (condition.to_owned(), detail.map(str::to_owned));
        assert_eq!(refused(&mut stage, BOB, &iq), expected, "{}", &iq[..iq.len().min(300)]);
    }
    assert_eq!((stage.rows_in("pep_nodes"), stage.rows_in("pep_items")), (1, 1));
}

#[test]
fn retracting_purging_and_deleting_take_away_what_they_say() {
    let mut stage = Stage::new();
    for item in ["a", "b", "c"] {
        let iq = format!("<publish node='n'><item id='{item}'>{}</item></publish>", tune(item));
        stage.ask(BOB, &set(&format!("{iq}{}", options(&[("max_items", "5")]))));
    }
    stage.ask(BOB, &publish("n2", "z", &tune("z")));
    assert!(stage.ask(BOB, &set("<retract node='n'><item id='c'/></retract>")).contains("result"));
    // The newest is now the one before.
    assert_eq!(ids(&stage.ask(BOB, &get("<items node='n' max_items='1'/>"))), ["b"]);
    let one = owners(&set(&form("configure node='n'", "node_config", &[("max_items", "1")])));
    let one = one.replace("</configure node='n'>", "</configure>");
    assert!(stage.ask(BOB, &one).contains("result"));
    assert_eq!(ids(&items(&mut stage, "n")), ["b"]);
    assert_eq!((stage.rows_in("pep_items"), stage.rows_in("pep_order")), (2, 2));
    assert!(stage.ask(BOB, &owners(&set("<purge node='n'/>"))).contains("result"));
    assert_eq!(ids(&items(&mut stage, "n")), [""; 0]);
    assert!(stage.ask(BOB, &owners(&set("<delete node='n'/>"))).contains("result"));
    assert_eq!(stage::condition(&items(&mut stage, "n")), "item-not-found");
    // Its neighbour, whose name begins alike, is there.
    assert_eq!(ids(&items(&mut stage, "n2")), ["z"]);
    assert_eq!((stage.rows_in("pep_nodes"), stage.rows_in("pep_items"), stage.rows_in("pep_order")), (1, 1, 1));
}

#[test]
fn everybody_sees_what_the_access_model_lets_him() {
    let mut stage = Stage::new();
    for model in ["open", "presence", "roster", "whitelist"] {
        let iq = format!("<publish node='{model}'><item id='a'>{}</item></publish>", tune(model));
        let options = options(&[("access_model", model), ("roster_groups_allowed", "Friends")]);
        assert!(stage.ask(BOB, &set(&format!("{iq}{options}"))).contains("result"));
    }
    let ask = |node: &str| to_bob(&get(&format!("<items node='{node}'/>")));
    let seen = |stage: &mut Stage, who: AccountId| -> Vec<String> {
        let all = ["open", "presence", "roster", "whitelist", "none"];
        all.map(|node| {
            let answer = stage.ask(who, &ask(node));
            if answer.contains("result") { "seen".to_owned() } else { refused(stage, who, &ask(node)).0 }
        })
        .to_vec()
    };
    let hidden = "service-unavailable";
    assert_eq!(seen(&mut stage, ADAM), ["seen", hidden, hidden, hidden, hidden]);
    // Another app is another world.
    assert_eq!(seen(&mut stage, EVE), [hidden; 5]);
    befriend(&mut stage);
    assert_eq!(seen(&mut stage, ADAM), ["seen", "seen", "not-authorized", "not-allowed", "item-not-found"]);
    let group = "<iq type='set' id='g'><query xmlns='jabber:iq:roster'><item jid='1-1@localhost'><group>Friends</group></item></query></iq>";
    stage.ask(BOB, group);
    assert_eq!(seen(&mut stage, ADAM)[2], "seen");
    // What he sees he finds.
    let found = stage.ask(
        ADAM,
        "<iq type='get' id='d' to='2-1@localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    );
    let nodes: Vec<&str> = found.split("node=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(nodes, ["open", "presence", "roster"]);
}

#[test]
fn nobody_changes_what_is_anothers() {
    let mut stage = Stage::new();
    stage.ask(BOB, &publish("n", "a", &tune("x")));
    let attempts = [
        publish("n", "b", &tune("y")),
        set("<retract node='n'><item id='a'/></retract>"),
        set("<create node='m'/>"),
        owners(&set("<delete node='n'/>")),
        owners(&set("<purge node='n'/>")),
        owners(&get("<configure node='n'/>")),
        owners(&get("<subscriptions node='n'/>")),
        owners(&get("<affiliations node='n'/>")),
    ];
    for expected in ["service-unavailable", "forbidden"] {
        for iq in &attempts {
            assert_eq!(stage::condition(&stage.ask(ADAM, &to_bob(iq))), expected, "{iq}");
            assert_eq!(stage::condition(&stage.ask(EVE, &to_bob(iq))), "service-unavailable", "{iq}");
        }
        befriend(&mut stage);
    }
    assert_eq!(ids(&items(&mut stage, "n")), ["a"]);
    assert_eq!(stage.rows_in("pep_nodes"), 1);
}

#[test]
fn private_nodes_are_private_also_when_a_client_forgets_to_say_so() {
    let mut stage = Stage::new();
    befriend(&mut stage);
    for node in ["urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"] {
        stage.ask(BOB, &publish(node, "a", &tune("x")));
        stage.ask(BOB, &publish(node, "b", &tune("x")));
        assert_eq!(ids(&items(&mut stage, node)).len(), 2);
        let iq = to_bob(&get(&format!("<items node='{node}'/>")));
        assert_eq!(refused(&mut stage, ADAM, &iq), ("not-allowed".to_owned(), Some("closed-node".to_owned())));
    }
}

#[test]
fn subscriptions_are_the_subscribers_own() {
    let mut stage = Stage::new();
    let open = options(&[("access_model", "open")]);
    stage.ask(BOB, &set(&format!("<publish node='n'><item id='a'>{}</item></publish>{open}", tune("x"))));
    stage.ask(BOB, &publish("closed", "a", &tune("x")));
    let subscribe = to_bob(&set("<subscribe node='n' jid='1-1@localhost'/>"));
    let state = r#"<subscription node="n" jid="1-1@localhost" subscription="subscribed"/>"#;
    for _ in 0..2 {
        assert!(stage.ask(ADAM, &subscribe).contains(state));
    }
    let listed = stage.ask(ADAM, &to_bob(&get("<subscriptions/>")));
    assert_eq!(listed.matches("<subscription ").count(), 1, "{listed}");
    assert!(stage.ask(BOB, &owners(&get("<subscriptions node='n'/>"))).contains("1-1@localhost"));
    let closed = to_bob(&set("<subscribe node='closed' jid='1-1@localhost'/>"));
    assert_eq!(refused(&mut stage, ADAM, &closed).0, "service-unavailable");
    let gone = stage.ask(ADAM, &to_bob(&set("<unsubscribe node='n' jid='1-1@localhost'/>")));
    assert!(gone.contains(r#"subscription="none""#), "{gone}");
    assert_eq!(refused(&mut stage, ADAM, &to_bob(&get("<subscriptions/>"))).0, "service-unavailable");
    for n in 0..=PEP_SUBSCRIBERS_MAX {
        let answer = stage.ask(ADAM, &to_bob(&set(&format!("<subscribe node='n' jid='1-1@localhost/{n}'/>"))));
        assert_eq!(answer.contains("too-many-subscriptions"), n == PEP_SUBSCRIBERS_MAX, "{n}");
    }
}

#[test]
fn what_is_kept_has_bounds() {
    let mut stage = Stage::new();
    for n in 0..PEP_NODES_MAX + 5 {
        let answer = stage.ask(BOB, &publish(&format!("n{n}"), "a", &tune("x")));
        assert_eq!(answer.contains("resource-constraint"), n >= PEP_NODES_MAX, "{n}");
    }
    assert_eq!(stage.rows_in("pep_nodes"), PEP_NODES_MAX);
    // What is there can be published on, and what goes makes room.
    assert!(stage.ask(BOB, &publish("n0", "a", &tune("y"))).contains("result"));
    stage.ask(BOB, &owners(&set("<delete node='n0'/>")));
    assert!(stage.ask(BOB, &publish("again", "a", &tune("y"))).contains("result"));
}

#[test]
fn bytes_are_bounded_by_node_and_by_account() {
    let mut stage = Stage::new();
    let large = tune(&"x".repeat(PEP_ITEM_BYTES_MAX - tune("").len()));
    let per_node = PEP_NODE_BYTES_MAX as usize / (PEP_ITEM_BYTES_MAX + 2);
    let all = PEP_BYTES_MAX as usize / (PEP_ITEM_BYTES_MAX + 2);
    let max = options(&[("max_items", "max")]);
    let mut kept = 0;
    for node in 0..10 {
        let mut of_node = 0;
        for item in 0..10 {
            let iq = format!("<publish node='n{node}'><item id='i{item}'>{large}</item></publish>{max}");
            of_node += usize::from(stage.ask(BOB, &set(&iq)).contains("result"));
        }
        assert!(of_node <= per_node);
        kept += of_node;
    }
    assert_eq!((kept, stage.rows_in("pep_items")), (all, all));
    // The same again takes no more room.
    let again = format!("<publish node='n0'><item id='i0'>{large}</item></publish>{max}");
    assert!(stage.ask(BOB, &set(&again)).contains("result"));
}

#[test]
fn a_node_that_keeps_nothing_keeps_nothing() {
    let mut stage = Stage::new();
    let transient = options(&[("persist_items", "0")]);
    stage.ask(BOB, &set(&format!("<publish node='n'><item id='a'>{}</item></publish>{transient}", tune("x"))));
    assert_eq!((stage.rows_in("pep_items"), stage.rows_in("pep_nodes")), (0, 1));
    assert_eq!(ids(&items(&mut stage, "n")), [""; 0]);
}

#[test]
fn a_payload_means_the_same_everywhere() {
    let mut stage = Stage::new();
    let prefixed = "<iq type='set' id='1' xmlns:t='urn:tune&amp;x'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item id='&lt;&quot;&apos;'><t:tune t:a='1'><![CDATA[<&]]></t:tune></item></publish></pubsub></iq>";
    stage.ask(BOB, prefixed);
    let answer = items(&mut stage, "n");
    let expected = r#" xmlns:t="urn:tune&amp;x" t:a='1'><![CDATA[<&]]></t:tune>"#;
    assert!(answer.contains(expected), "{answer}");
    // An element that has its namespace from the request.
    stage.ask(BOB, &publish("m", "a", "<entry>x</entry>"));
    let answer = items(&mut stage, "m");
    assert!(answer.contains(r#"<entry xmlns="http://jabber.org/protocol/pubsub">x</entry>"#), "{answer}");
}

#[test]
fn everything_goes_with_the_account() {
    let mut stage = Stage::new();
    stage.ask(BOB, &publish("n", "a", &tune("x")));
    stage.ask(ADAM, &publish("n", "a", &tune("x")));
    stage.remove(BOB);
    assert_eq!((stage.rows_in("pep_nodes"), stage.rows_in("pep_items"), stage.rows_in("pep_order")), (1, 1, 1));
}

const NOTIFY: &str = "<identity category='client' type='pc'/><feature var='urn:tune+notify'/>";

fn presence(ver: &str) -> String {
    format!("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:c' ver='{ver}'/></presence>")
}

fn answer(ver: &str, info: &str) -> String {
    let query = "http://jabber.org/protocol/disco#info";
    format!("<iq type='result' id='caps urn:c#{ver}'><query xmlns='{query}' node='urn:c#{ver}'>{info}</query></iq>")
}

/// The hash of what a client says.
fn hash(info: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{info}</query>");
    let mut nodes = crate::xml::Nodes::new();
    crate::ext::caps::verification(nodes.reread(query.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_client_is_asked_once_what_it_wants_and_then_told() {
    let mut stage = Stage::new();
    stage.ask(BOB, &publish("urn:tune", "a", &tune("one")));
    let ver = hash(NOTIFY);
    let asked = stage.ask(BOB, &presence(&ver));
    let question = format!("<query xmlns=\"http://jabber.org/protocol/disco#info\" node=\"urn:c#{ver}\"/>");
    assert!(asked.contains(&question), "{asked}");
    // The question is not repeated, and before the answer nothing is told.
    assert!(!stage.ask(BOB, &presence(&ver)).contains("disco#info"));
    assert!(!stage.ask(BOB, &publish("urn:tune", "a", &tune("two"))).contains("pubsub#event"));
    let told = stage.ask(BOB, &answer(&ver, NOTIFY));
    assert!(told.contains("two") && told.contains("<delay "), "{told}");
    let told = stage.ask(BOB, &publish("urn:tune", "a", &tune("three")));
    assert!(told.contains("<event ") && told.contains("three"), "{told}");
    assert!(!stage.ask(BOB, &publish("urn:mood", "a", &tune("x"))).contains("<event "));
    // What checked out is known when the client comes again.
    stage.ask(BOB, "<presence type='unavailable'/>");
    assert!(!stage.ask(BOB, &publish("urn:tune", "a", &tune("four"))).contains("<event "));
    let told = stage.ask(BOB, &presence(&ver));
    assert!(told.contains("four") && !told.contains("disco#info"), "{told}");
    // A new presence is no reason to be told again, and one that says nothing of capabilities ends it.
    assert!(!stage.ask(BOB, &presence(&ver)).contains("<event "));
    stage.ask(BOB, "<presence/>");
    assert!(!stage.ask(BOB, &publish("urn:tune", "a", &tune("five"))).contains("<event "));
}

// XEP-0115 §5.4, §8
#[test]
fn a_forged_hash_counts_for_the_client_that_sent_it_alone() {
    let mut stage = Stage::new();
    stage.ask(BOB, &presence("forged"));
    stage.ask(BOB, &answer("forged", NOTIFY));
    assert!(stage.ask(BOB, &publish("urn:tune", "a", &tune("x"))).contains("<event "));
    stage.ask(BOB, "<presence type='unavailable'/>");
    stage.ask(BOB, "<presence/>");
    assert!(stage.ask(BOB, &presence("forged")).contains("disco#info"));
}

#[test]
fn answers_to_other_questions_and_absurd_ones_change_nothing() {
    let mut stage = Stage::new();
    let ver = hash(NOTIFY);
    stage.ask(BOB, &presence(&ver));
    for wrong in [
        answer("other", NOTIFY),
        answer(&ver, NOTIFY).replace("id='caps", "id='x caps"),
        answer(&ver, NOTIFY).replace("<iq ", "<iq to='3-1@localhost' "),
    ] {
        stage.ask(BOB, &wrong);
        assert!(!stage.ask(BOB, &publish("urn:tune", "a", &tune("x"))).contains("<event "), "{wrong}");
    }
    let error = format!("<iq type='error' id='caps urn:c#{ver}'/>");
    stage.ask(BOB, &error);
    // It has answered: nothing that it says later counts.
    stage.ask(BOB, &answer(&ver, NOTIFY));
    assert!(!stage.ask(BOB, &publish("urn:tune", "a", &tune("x"))).contains("<event "));
    for n in 0..2 * CAPS_KNOWN_MAX {
        let info = format!("<identity category='client' type='pc' name='{n}'/><feature var='urn:tune+notify'/>");
        stage.ask(BOB, &presence(&hash(&info)));
        stage.ask(BOB, &answer(&hash(&info), &info));
    }
    let many: String = (0..2_000).map(|n| format!("<feature var='urn:n{n}+notify'/>")).collect();
    stage.ask(BOB, &presence("many"));
    stage.ask(BOB, &answer("many", &many));
    assert!(stage.ask(BOB, &publish("urn:n0", "a", &tune("x"))).contains("<event "));
    assert!(!stage.ask(BOB, &publish("urn:n1999", "a", &tune("x"))).contains("<event "));
    // Wanted twice is told once, also at the beginning.
    stage.ask(BOB, &presence("twice"));
    let told = stage.ask(BOB, &answer("twice", &"<feature var='urn:tune+notify'/>".repeat(2)));
    assert_eq!(told.matches("<event ").count(), 1, "{told}");
    let long = "v".repeat(10_000);
    assert!(!stage.ask(BOB, &presence(&long)).contains("disco#info"));
}

#[test]
fn disco_tells_of_the_service_and_its_nodes() {
    let mut stage = Stage::new();
    stage.ask(BOB, &publish("n", "a", &tune("x")));
    let ask = |kind: &str, node: &str| {
        format!("<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#{kind}'{node}/></iq>")
    };
    let info = stage.ask(BOB, &ask("info", ""));
    assert!(info.contains(r#"category="pubsub" type="pep""#), "{info}");
    assert!(info.contains("pubsub#publish-options") && info.contains("pubsub#auto-create"), "{info}");
    let node = stage.ask(BOB, &ask("info", " node='n'"));
    assert!(node.contains(r#"category="pubsub" type="leaf""#) && node.contains("pubsub#meta-data"), "{node}");
    assert!(stage.ask(BOB, &ask("items", " node='n'")).contains(r#"name="a""#));
    for kind in ["info", "items"] {
        let missing = ask(kind, " node='m'");
        assert_eq!(stage::condition(&stage.ask(BOB, &missing)), "item-not-found");
        assert_eq!(stage::condition(&stage.ask(ADAM, &to_bob(&missing))), "service-unavailable");
        assert_eq!(stage::condition(&stage.ask(ADAM, &to_bob(&ask(kind, " node='n'")))), "service-unavailable");
    }
}
