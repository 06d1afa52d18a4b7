use serde_json::{Value, json};

use super::super::dialogs::tests::{Cast, cast};
use crate::flow::world::Reply;

const NONE: &str = "53aaa06f535c12cea9007496";

fn error(reply: &Reply) -> String {
    reply.at("/errors/0").as_str().expect("a text").to_owned()
}

impl Cast {
    fn private(&mut self) -> String {
        let alice = self.alice.clone();
        self.dialog(&alice, json!({"type": 3, "occupants_ids": 2}))
    }

    /// A page of history without marking anything.
    fn history(&mut self, token: &str, dialog: &str, query: &str) -> Vec<Value> {
        let target = format!("/chat/Message.json?chat_dialog_id={dialog}&mark_as_read=0&{query}");
        self.world.get(&target, token).expect(200).at("/items").as_array().expect("a list").clone()
    }

    fn texts(&mut self, token: &str, dialog: &str, query: &str) -> Vec<String> {
        let text = |item: &Value| item["message"].as_str().expect("a text").to_owned();
        self.history(token, dialog, query).iter().map(text).collect()
    }

    fn unread(&mut self, token: &str) -> u64 {
        self.world.get("/chat/Message/unread.json", token).expect(200).at("/total").as_u64().expect("a number")
    }
}

#[test]
fn the_page_creates_a_message() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let dialog = cast.private();
    let body = json!({"chat_dialog_id": dialog, "message": "hello!", "recipient_id": 343,
        "attachments": {"0": {"type": "image", "id": "47863"}, "1": {"type": "image", "id": "47863"}}, "age": "25"});
    let reply = cast.ask("POST", "/chat/Message.json", &alice, &body.to_string()).expect(201);
    let id = reply.at("/_id");
    let file = json!({"id": "47863", "type": "image"});
    let want = json!({"_id": id, "created_at": "2016-03-23T16:20:00Z", "updated_at": "2016-03-23T16:20:00Z", "age": "25",
        "attachments": [file, file], "read_ids": [1], "delivered_ids": [1], "chat_dialog_id": dialog,
        "date_sent": 1_458_750_000, "message": "hello!", "recipient_id": 2, "sender_id": 1, "read": 0});
    assert_eq!(reply.json(), want);
    let page = json!({"skip": 0, "limit": 100, "items": [want]});
    let target = format!("/chat/Message.json?chat_dialog_id={dialog}");
    assert_eq!(cast.world.get(&target, &alice).expect(200).json(), page);
    assert!(cast.world.delivered.is_empty(), "it is only added to the history");
}

#[test]
fn the_page_retrieves_messages_and_they_are_read_then() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.private();
    for text in ["one", "two"] {
        cast.say(&alice, &dialog, text);
        cast.pass(1);
    }
    let own = cast.say(&bob, &dialog, "three");
    let target = format!("/chat/Message.json?chat_dialog_id={dialog}");
    assert_eq!(
        cast.world.get(&format!("{target}&mark_as_read=0"), &bob).expect(200).at("/items/0/read_ids"),
        json!([1])
    );
    assert_eq!(cast.unread(&bob), 2);
    cast.pass(60);
    let page = cast.world.get(&target, &bob).expect(200).json();
    assert_eq!((&page["skip"], &page["limit"], page.get("total_entries")), (&json!(0), &json!(100), None));
    for item in &page["items"].as_array().expect("a list")[..2] {
        assert_eq!(
            (&item["read_ids"], &item["delivered_ids"], &item["read"]),
            (&json!([1, 2]), &json!([1, 2]), &json!(1))
        );
        assert_eq!(item["updated_at"], "2016-03-23T16:21:02Z");
    }
    assert_eq!((&page["items"][2]["_id"], &page["items"][2]["read_ids"]), (&json!(own), &json!([2])));
    assert_eq!(cast.unread(&bob), 0);
    assert_eq!(cast.history(&alice, &dialog, "")[..2], page["items"].as_array().expect("a list")[..2]);
    // Reading again changes nothing.
    cast.pass(60);
    assert_eq!(cast.world.get(&target, &bob).expect(200).json(), page);
}

#[test]
fn one_message_asked_for_by_id_is_read_and_no_other() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.private();
    let ids: Vec<String> = (0..5).map(|n| cast.say(&alice, &dialog, &format!("m{n}"))).collect();
    let target = format!("/chat/Message.json?_id={}&chat_dialog_id={dialog}&sort_desc=date_sent", ids[2]);
    let page = cast.world.get(&target, &bob).expect(200).json();
    assert_eq!((page["items"].as_array().map(Vec::len), &page["items"][0]["read_ids"]), (Some(1), &json!([1, 2])));
    assert_eq!(cast.unread(&bob), 4);
    // By its path alone, with and without its dialog.
    let path = format!("/chat/Message/{}.json", ids[3]);
    let one = cast.world.get(&path, &bob).expect(200).json();
    assert_eq!((&one["message"], &one["read"]), (&json!("m3"), &json!(1)));
    assert_eq!(cast.world.get(&format!("{path}?chat_dialog_id={dialog}"), &bob).expect(200).json(), one);
    assert_eq!(cast.unread(&bob), 3);
    let dave = cast.dave.clone();
    cast.world.get(&path, &dave).expect(404);
    cast.world.get(&format!("{path}?chat_dialog_id={dialog}"), &dave).expect(403);
    cast.world.get(&format!("/chat/Message/{NONE}.json"), &bob).expect(404);
    cast.world.get(&format!("/chat/Message/{},{}.json", ids[0], ids[1]), &bob).expect(404);
}

#[test]
fn the_page_counts_unread_messages() {
    let mut cast = cast();
    let (alice, bob, dave) = (cast.alice.clone(), cast.bob.clone(), cast.dave.clone());
    let (private, group) = (cast.private(), cast.group("2,3"));
    let public = cast.dialog(&alice, json!({"type": 1, "name": "Square"}));
    for dialog in [&private, &private, &group, &public] {
        cast.say(&alice, dialog, "x");
    }
    let unread = "/chat/Message/unread.json";
    assert_eq!(cast.world.get(&format!("{unread}?"), &bob).expect(200).json(), json!({"total": 3}));
    assert_eq!(cast.world.get(&format!("{unread}?chat_dialog_ids[]="), &bob).expect(200).json(), json!({"total": 3}));
    let want = json!({"total": 3, private.clone(): 2, group.clone(): 1, public.clone(): 0, NONE: 0, "x": 0});
    for list in [format!("{private},{group},{public},{NONE},x"), format!("{private}, {group}, {public}, {NONE}, x")] {
        let target = format!("{unread}?chat_dialog_ids={}", list.replace(' ', "%20"));
        assert_eq!(cast.world.get(&target, &bob).expect(200).json(), want);
        let body = json!({"chat_dialog_ids": list.split(", ").collect::<Vec<_>>()}).to_string();
        assert_eq!(cast.ask("GET", unread, &bob, &body).expect(200).json(), want);
    }
    assert_eq!(
        cast.world.get(&format!("{unread}?chat_dialog_ids={private},{group}"), &dave).expect(200).json(),
        json!({"total": 0, private: 0, group: 0})
    );
    assert_eq!(cast.unread(&alice), 0, "one's own are never unread");
    let many = "x1,".repeat(3) + &(0..1_001).map(|n| format!("{n},")).collect::<String>();
    let body = format!("chat_dialog_ids={many}");
    cast.ask("GET", unread, &bob, &body).expect(422);
}

#[test]
fn the_page_updates_messages() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.private();
    let ids: Vec<String> = (0..4).map(|n| cast.say(&alice, &dialog, &format!("m{n}"))).collect();
    let put = |cast: &mut Cast, path: &str, body: &str| {
        let body = body.replace("DIALOG", &dialog);
        let reply = cast.ask("PUT", &format!("/chat/Message{path}"), &bob, &body).expect(200);
        assert_eq!(reply.text, "");
        let items = cast.history(&alice, &dialog, "");
        items.iter().map(|item| (item["read_ids"].clone(), item["delivered_ids"].clone())).collect::<Vec<_>>()
    };
    let (no, got, read) = ((json!([1]), json!([1])), (json!([1]), json!([1, 2])), (json!([1, 2]), json!([1, 2])));
    let first = format!("/{}.json", ids[0]);
    let body = r#"{"read": "1", "chat_dialog_id": "DIALOG"}"#;
    assert_eq!(put(&mut cast, &first, body), [read.clone(), no.clone(), no.clone(), no.clone()]);
    let two = format!("/{},{},{NONE}", ids[1], ids[2]);
    let marked = put(&mut cast, &two, "delivered=1&chat_dialog_id=DIALOG");
    assert_eq!(marked, [read.clone(), got.clone(), got.clone(), no.clone()]);
    assert_eq!(put(&mut cast, &first, "read=0&chat_dialog_id=DIALOG"), [got.clone(), got.clone(), got.clone(), no]);
    let all = put(&mut cast, ".json", r#"{"delivered":1,"chat_dialog_id":"DIALOG"}"#);
    assert_eq!(all, [got.clone(), got.clone(), got.clone(), got.clone()]);
    assert_eq!(cast.unread(&bob), 4);
    assert_eq!(put(&mut cast, "/.json", "read=1&chat_dialog_id=DIALOG"), vec![read; 4]);
    assert_eq!(cast.unread(&bob), 0);
    assert_eq!(put(&mut cast, "", "read=0&chat_dialog_id=DIALOG"), vec![got; 4]);
    assert_eq!(cast.unread(&bob), 4);
    let target = format!("{first}?chat_dialog_id={dialog}");
    assert!(put(&mut cast, &target, "read=true")[0] == (json!([1, 2]), json!([1, 2])));
}

#[test]
fn only_the_sender_changes_a_text_and_only_the_newest_shows_in_the_dialog() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.group("2");
    let old = cast.say(&alice, &dialog, "old");
    cast.pass(1);
    let new = cast.say(&alice, &dialog, "new");
    cast.pass(1);
    let put = |cast: &mut Cast, token: &str, id: &str, body: &str, code: u16| {
        let body = format!("{body}&chat_dialog_id={dialog}");
        cast.ask("PUT", &format!("/chat/Message/{id}.json"), token, &body).expect(code);
        let last = cast.world.get("/chat/Dialog.json", &alice).expect(200).at("/items/0/last_message");
        (cast.texts(&alice, &dialog, ""), last.as_str().expect("a text").to_owned())
    };
    let shows = |old: &str, new: &str, last: &str| (vec![old.to_owned(), new.to_owned()], last.to_owned());
    assert_eq!(put(&mut cast, &alice, &old, "message=older", 200), shows("older", "new", "new"));
    assert_eq!(put(&mut cast, &alice, &new, "message=HelloWorld", 200), shows("older", "HelloWorld", "HelloWorld"));
    assert_eq!(put(&mut cast, &bob, &new, "message=hacked&read=1", 403), shows("older", "HelloWorld", "HelloWorld"));
    assert_eq!(cast.unread(&bob), 2, "what is refused changes nothing");
    assert_eq!(put(&mut cast, &alice, NONE, "message=x", 404).0.len(), 2);
    assert_eq!(put(&mut cast, &alice, "", "message=x", 422), shows("older", "HelloWorld", "HelloWorld"));
    assert_eq!(put(&mut cast, &alice, &new, "message=", 200), shows("older", "", ""));
}

#[test]
fn updates_that_make_no_sense_are_refused() {
    let mut cast = cast();
    let (alice, dave) = (cast.alice.clone(), cast.dave.clone());
    let dialog = cast.group("2");
    let id = cast.say(&alice, &dialog, "x");
    for (token, path, body, code) in [
        (&alice, &id, "read=1".to_owned(), 422),
        (&alice, &id, format!("read=2&chat_dialog_id={dialog}"), 422),
        (&alice, &id, format!("delivered=x&chat_dialog_id={dialog}"), 422),
        (&alice, &id, format!("other=1&chat_dialog_id={dialog}"), 422),
        (&alice, &id, format!("read=1&chat_dialog_id={NONE}"), 404),
        (&alice, &id, "read=1&chat_dialog_id=x".to_owned(), 404),
        (&alice, &NONE.to_owned(), format!("read=1&chat_dialog_id={dialog}"), 404),
        (&alice, &"z".repeat(30), format!("read=1&chat_dialog_id={dialog}"), 404),
        (&dave, &id, format!("read=1&chat_dialog_id={dialog}"), 403),
        (&dave, &id, format!("message=x&chat_dialog_id={dialog}"), 403),
        (&dave, &String::new(), format!("read=1&chat_dialog_id={dialog}"), 403),
    ] {
        cast.ask("PUT", &format!("/chat/Message/{path}.json"), token, &body).expect(code);
    }
    assert_eq!(cast.texts(&alice, &dialog, ""), ["x"]);
}

#[test]
fn the_page_deletes_messages_from_ones_own_view() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let (dialog, other) = (cast.private(), cast.group("2"));
    let ids: Vec<String> = (0..3).map(|n| cast.say(&alice, &dialog, &format!("m{n}"))).collect();
    let far = cast.say(&alice, &other, "far");
    assert_eq!(cast.unread(&bob), 4);
    let reply = cast.ask("DELETE", &format!("/chat/Message/{}.json", ids[0]), &bob, "").expect(200);
    assert_eq!(reply.text, "");
    assert_eq!((cast.texts(&bob, &dialog, ""), cast.unread(&bob)), (vec!["m1".to_owned(), "m2".to_owned()], 3));
    assert_eq!(cast.texts(&alice, &dialog, "").len(), 3);
    let path = format!("/chat/Message/{},{far},{NONE},notExistentId.json", ids[1]);
    let want = json!({"SuccessfullyDeleted": {"ids": [ids[1], far]}, "WrongPermissions": {"ids": []},
        "NotFound": {"ids": ["notExistentId", NONE]}});
    let mut got = cast.ask("DELETE", &path, &bob, "").expect(200).json();
    got["SuccessfullyDeleted"]["ids"].as_array_mut().expect("a list").sort_by_key(|id| *id != json!(ids[1]));
    assert_eq!(got, want);
    assert_eq!((cast.texts(&bob, &dialog, ""), cast.unread(&bob)), (vec!["m2".to_owned()], 1));
    let count = format!("/chat/Message.json?chat_dialog_id={dialog}&count=1");
    assert_eq!(cast.world.get(&count, &bob).expect(200).json(), json!({"items": {"count": 1}}));
    assert_eq!(cast.world.get(&count, &alice).expect(200).json(), json!({"items": {"count": 3}}));
    // Twice is once.
    cast.ask("DELETE", &format!("/chat/Message/{}.json", ids[0]), &bob, "").expect(200);
    cast.ask("DELETE", &format!("/chat/Message/{NONE}.json"), &bob, "").expect(404);
    let dave = cast.dave.clone();
    cast.ask("DELETE", &format!("/chat/Message/{}.json", ids[2]), &dave, "").expect(404);
    cast.ask("DELETE", &format!("/chat/Message/{}.json?chat_dialog_id={dialog}", ids[2]), &dave, "").expect(403);
}

#[test]
fn only_the_sender_deletes_for_all() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.private();
    let ids: Vec<String> = (0..3).map(|n| cast.say(&alice, &dialog, &format!("m{n}"))).collect();
    let his = cast.say(&bob, &dialog, "his");
    cast.ask("DELETE", &format!("/chat/Message/{}.json", ids[2]), &bob, "force=1").expect(403);
    let path = format!("/chat/Message/{},{his}.json?force=1", ids[2]);
    let want =
        json!({"SuccessfullyDeleted": {"ids": [ids[2]]}, "WrongPermissions": {"ids": [his]}, "NotFound": {"ids": []}});
    assert_eq!(cast.ask("DELETE", &path, &alice, "").expect(200).json(), want);
    for token in [&alice, &bob] {
        assert_eq!(cast.texts(token, &dialog, ""), ["m0", "m1", "his"]);
    }
    assert_eq!(cast.unread(&bob), 2);
    cast.ask("DELETE", &format!("/chat/Message/{his}.json"), &bob, r#"{"force":1}"#).expect(200);
    let last = cast.world.get("/chat/Dialog.json", &alice).expect(200).at("/items/0");
    assert_eq!((&last["last_message"], &last["last_message_id"]), (&json!("m1"), &json!(ids[1])));
}

#[test]
fn a_message_to_a_user_finds_or_makes_the_private_dialog() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let made = cast.ask("POST", "/chat/Message.json", &alice, "recipient_id=2&message=hi").expect(201).json();
    let dialog = made["chat_dialog_id"].as_str().expect("an id").to_owned();
    assert_eq!((&made["recipient_id"], &made["sender_id"]), (&json!(2), &json!(1)));
    for token in [&alice, &bob] {
        assert_eq!(cast.ids("/chat/Dialog.json", token), [dialog.as_str()]);
    }
    let back =
        cast.ask("POST", "/chat/Message.json", &bob, r#"{"recipient_id":"1","message":"ho"}"#).expect(201).json();
    assert_eq!(back["chat_dialog_id"], json!(dialog));
    assert_eq!(cast.private(), dialog);
    for (body, code, text) in [
        ("recipient_id=1&message=me", 422, "Incorrect occupant_id."),
        ("recipient_id=99&message=x", 422, "Occupants with these IDs do not exist."),
        ("recipient_id=x&message=x", 422, "recipient_id must be a number"),
        ("message=x", 422, "chat_dialog_id or recipient_id is required"),
        ("message=x&recipient_id=&chat_dialog_id=", 422, "chat_dialog_id or recipient_id is required"),
        ("message=x&chat_dialog_id=x", 404, "The resource wasn't found"),
        (&format!("message=x&chat_dialog_id={NONE}"), 404, "The resource wasn't found"),
        (&format!("message=x&recipient_id=2&chat_dialog_id={NONE}"), 404, "The resource wasn't found"),
    ] {
        let reply = cast.ask("POST", "/chat/Message.json", &alice, body).expect(code);
        assert_eq!(error(&reply), text, "{body}");
    }
    assert_eq!((cast.world.rows_of("dialogs"), cast.world.rows_of("messages")), (1, 2));
}

#[test]
fn a_message_goes_to_chat_when_it_is_asked_to() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let dialog = cast.private();
    let body = json!({"chat_dialog_id": dialog, "message": "a < b & \"c\"", "send_to_chat": 1, "markable": "1", "age": 25,
        "attachments": [{"type": "location", "data": "{\"lat\":1}"}]});
    let sent = cast.ask("POST", "/chat/Message.json", &alice, &body.to_string()).expect(201).json();
    let (to, stanza) = cast.world.delivered.pop().expect("a stanza");
    assert_eq!(to, 2);
    let id = sent["_id"].as_str().expect("an id");
    for part in [
        format!("id=\"{id}\""),
        "from=\"1-1@chat.example.com\"".into(),
        "<body>a &lt; b &amp; ".into(),
        "<markable xmlns=\"urn:xmpp:chat-markers:0\"/>".into(),
        "<save_to_history>1</save_to_history>".into(),
        "<age>25</age>".into(),
        format!("<dialog_id>{dialog}</dialog_id>"),
        format!("<message_id>{id}</message_id>"),
        "<date_sent>1458750000</date_sent>".into(),
        "data=\"{&quot;lat&quot;:1}\"".into(),
    ] {
        assert!(stanza.contains(&part), "{part} in {stanza}");
    }
    assert_eq!(sent.get("send_to_chat").or(sent.get("markable")), None);
    // A system notification reaches the others and stays out of the history.
    let group = cast.group("2,3");
    let body = format!("chat_dialog_id={group}&system=1&notification_type=1&message=news");
    cast.ask("POST", "/chat/Message.json", &alice, &body).expect(201);
    let mut to: Vec<u64> = cast.world.delivered.iter().map(|(to, _)| *to).collect();
    to.sort_unstable();
    assert_eq!(to, [2, 3]);
    assert!(cast.world.delivered[0].1.contains("<moduleIdentifier>SystemNotifications</moduleIdentifier>"));
    assert!(cast.texts(&alice, &group, "").is_empty());
}

#[test]
fn every_encoding_of_a_message_says_the_same() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let dialog = cast.group("2");
    let mut seen = Vec::new();
    for body in [
        format!(
            r#"{{"chat_dialog_id":"{dialog}","message":"hi","attachments":[{{"type":"image","id":"7"}}],"age":"25"}}"#
        ),
        format!(
            r#"{{"chat_dialog_id":"{dialog}","message":"hi","attachments":{{"0":{{"type":"image","id":7}}}},"age":25}}"#
        ),
        format!("chat_dialog_id={dialog}&message=hi&attachments[0][id]=7&attachments[0][type]=image&age=25"),
        format!(
            "chat_dialog_id={dialog}&message=hi&attachments%5B%5D%5Btype%5D=image&attachments%5B%5D%5Bid%5D=7&age=25"
        ),
        format!("chat_dialog_id={dialog}&message=hi&attachments[id]=7&attachments[type]=image&age=25&recipient_id=0"),
    ] {
        let mut message = cast.ask("POST", "/chat/Message", &alice, &body).expect(201).json();
        message.as_object_mut().expect("an object").remove("_id");
        seen.push(message);
    }
    assert_eq!((&seen[0]["recipient_id"], &seen[0]["read"], &seen[0]["age"]), (&json!(0), &json!(0), &json!("25")));
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
}

#[test]
fn fields_of_the_record_are_nobodys_to_set() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let dialog = cast.group("2");
    let body = json!({"chat_dialog_id": dialog, "_id": NONE, "sender_id": 2, "read_ids": [2], "delivered_ids": [2], "read": 1,
        "created_at": 1, "updated_at": 1, "date_sent": 5, "__proto__": {"a": 1}, "$set": {"a": 1}, "constructor": "x"});
    let message = cast.ask("POST", "/chat/Message.json", &alice, &body.to_string()).expect(201).json();
    let want = json!({"_id": message["_id"], "created_at": "2016-03-23T16:20:00Z", "updated_at": "2016-03-23T16:20:00Z",
        "attachments": [], "read_ids": [1], "delivered_ids": [1], "chat_dialog_id": dialog, "date_sent": 1_458_750_000,
        "message": "", "recipient_id": 0, "sender_id": 1, "read": 0});
    assert_eq!(message, want);
    assert_ne!(message["_id"], NONE);
}

#[test]
fn histories_are_filtered_sorted_and_paged_as_the_page_says() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.group("2,3");
    // 10 seconds apart; the third and fourth in the same second.
    let mut ids = Vec::new();
    for (token, body, secs) in [
        (&alice, "message=Alpha", 10),
        (&bob, "message=beta, gamma&attachments[0][type]=image", 10),
        (&alice, "message=ALPHABET&attachments[0][type]=video&attachments[1][type]=audio", 0),
        (&alice, "message=delta", 10),
        (&bob, "message=omega", 10),
    ] {
        let body = format!("{body}&chat_dialog_id={dialog}");
        ids.push(cast.ask("POST", "/chat/Message.json", token, &body).expect(201).at("/_id"));
        cast.pass(secs);
    }
    let id = |n: usize| ids[n].as_str().expect("an id").to_owned();
    for (query, want) in [
        ("", "01234"),
        ("sort_asc=date_sent", "01234"),
        ("sort_desc=date_sent", "43210"),
        ("sort_desc=created_at&limit=2", "43"),
        ("sort_asc=message", "20134"),
        ("sort_desc=sender_id&limit=2", "14"),
        ("limit=2&skip=1", "12"),
        ("sort_desc=date_sent&limit=2&skip=3", "10"),
        ("skip=5", ""),
        ("limit=0", ""),
        ("sender_id=2", "14"),
        ("sender_id[in]=2,7", "14"),
        ("sender_id[ne]=2&skip=1", "23"),
        ("message=beta,%20gamma", "1"),
        ("message[ctn]=alpha", "02"),
        ("message[or]=Alpha,omega", "04"),
        ("message[in]=Alpha,omega&sender_id[nin]=2", "0"),
        ("date_sent[gt]=1458750010", "234"),
        ("date_sent[gte]=1458750010&date_sent[lt]=1458750030", "123"),
        ("date_sent[lt]=1458750020&sort_desc=date_sent&limit=1", "1"),
        ("date_sent=1458750020", "23"),
        ("date_sent[in]=1458750020,1458750000", "023"),
        ("attachments.type=image", "1"),
        ("attachments.type[all]=audio,video", "2"),
        ("attachments.type[in]=audio,image", "12"),
        ("attachments.type[ne]=image", "0234"),
        ("recipient_id=0&updated_at[lte]=1458750010", "01"),
        ("unknown=5&page=2", "01234"),
        (&format!("_id={}", id(3)), "3"),
        (&format!("_id[in]={},{},{NONE},x&sort_desc=date_sent", id(0), id(4)), "40"),
        (&format!("_id[ne]={}", id(3)), "0124"),
        (&format!("_id={}&sender_id=2", id(3)), ""),
    ] {
        let shown = cast.history(&bob, &dialog, query);
        let shown: String = shown
            .iter()
            .map(|item| ids.iter().position(|id| *id == item["_id"]).expect("one of them").to_string())
            .collect();
        assert_eq!(shown, want, "{query}");
    }
    for (query, count) in [("", 5), ("sender_id=1", 3), (&format!("_id={}", id(1)), 1), ("limit=1", 5)] {
        let target = format!("/chat/Message.json?chat_dialog_id={dialog}&count=1&{query}");
        assert_eq!(cast.world.get(&target, &bob).expect(200).json(), json!({"items": {"count": count}}), "{query}");
    }
    assert_eq!(cast.unread(&bob), 3, "counting and mark_as_read=0 mark nothing");
    for (query, text) in [
        ("sender_id[$where]=1", "Unknown operator $where for sender_id"),
        ("sender_id=x", "The value does not fit sender_id"),
        ("date_sent[ctn]=1", "The operator ctn does not fit date_sent"),
        ("limit=-1", "limit must be a number and not negative"),
        ("sort_asc=password", "sort_asc: there is no field password"),
        ("skip=9223372036854775808", "skip is too large (maximum is 200000); ask by date_sent instead"),
    ] {
        let target = format!("/chat/Message.json?chat_dialog_id={dialog}&{query}");
        assert_eq!(error(&cast.world.get(&target, &bob).expect(422)), text);
    }
    let reply = cast.world.get("/chat/Message.json", &bob).expect(422);
    assert_eq!(error(&reply), "chat_dialog_id is required");
}

#[test]
fn who_is_no_occupant_reads_and_writes_nothing() {
    let mut cast = cast();
    let (alice, dave) = (cast.alice.clone(), cast.dave.clone());
    let group = cast.group("2");
    let private = cast.private();
    for dialog in [&group, &private] {
        cast.say(&alice, dialog, "secret");
        let target = format!("/chat/Message.json?chat_dialog_id={dialog}");
        assert_eq!(
            error(&cast.world.get(&target, &dave).expect(403)),
            "You don't have appropriate permissions to perform this operation"
        );
        cast.ask("POST", "/chat/Message.json", &dave, &format!("chat_dialog_id={dialog}&message=x")).expect(403);
    }
    cast.world.get(&format!("/chat/Message.json?chat_dialog_id={NONE}"), &dave).expect(404);
    // Who has left is one of those.
    let bob = cast.bob.clone();
    cast.ask("DELETE", &format!("/chat/Dialog/{group}.json"), &bob, "").expect(200);
    cast.world.get(&format!("/chat/Message.json?chat_dialog_id={group}"), &bob).expect(403);
    assert_eq!(cast.unread(&bob), 1);
    assert_eq!(cast.world.rows_of("messages"), 2);
}

#[test]
fn in_public_dialogs_anyone_reads_and_writes_and_nobody_is_listed() {
    let mut cast = cast();
    let (alice, bob, dave) = (cast.alice.clone(), cast.bob.clone(), cast.dave.clone());
    let dialog = cast.dialog(&alice, json!({"type": 1, "name": "Square"}));
    let first = cast.say(&alice, &dialog, "one");
    cast.say(&bob, &dialog, "two");
    let page = cast.world.get(&format!("/chat/Message.json?chat_dialog_id={dialog}"), &dave).expect(200).json();
    for item in page["items"].as_array().expect("a list") {
        assert_eq!((&item["read_ids"], &item["delivered_ids"], &item["read"]), (&json!([]), &json!([]), &json!(0)));
    }
    cast.ask("PUT", "/chat/Message/.json", &dave, &format!("read=1&chat_dialog_id={dialog}")).expect(200);
    cast.ask("DELETE", &format!("/chat/Message/{first}.json"), &dave, "").expect(200);
    assert_eq!(cast.texts(&dave, &dialog, ""), ["two"]);
    cast.ask("DELETE", &format!("/chat/Message/{first}.json"), &dave, "force=1").expect(403);
    cast.ask("DELETE", &format!("/chat/Message/{first}.json"), &alice, "force=1").expect(200);
    assert_eq!(cast.texts(&bob, &dialog, ""), ["two"]);
}

#[test]
fn a_page_of_history_costs_what_it_shows() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.group("2");
    let mut costs = Vec::new();
    let mut named = Vec::new();
    for _ in 0..2 {
        let mut last = String::new();
        for n in 0..80 {
            last = cast.say(&alice, &dialog, &format!("m{n}"));
            cast.pass(30);
        }
        for (costs, query) in
            [(&mut costs, "sort_desc=date_sent&limit=20".to_owned()), (&mut named, format!("_id={last}"))]
        {
            let before = (cast.world.gets, cast.world.scanned);
            assert!(!cast.history(&bob, &dialog, &query).is_empty());
            costs.push((cast.world.gets - before.0, cast.world.scanned - before.1));
        }
    }
    assert_eq!((costs[0], named[0]), (costs[1], named[1]));
    assert!(costs[0].0 < 40 && costs[0].1 < 60, "{costs:?}");
    assert!(named[0].0 < 15 && named[0].1 < 15, "{named:?}");
}

/// Every call about dialogs and messages × callers of whom it is none of the business: another user, and a user of another app
/// who has the same numbers.
#[test]
fn strangers_get_nowhere_on_any_call() {
    let mut cast = cast();
    cast.world.create_app("second");
    for login in ["zoe", "yan"] {
        cast.world.sign_up(2, login);
    }
    let (alice, bob, dave) = (cast.alice.clone(), cast.bob.clone(), cast.dave.clone());
    let zoe = cast.world.user_token(2, "zoe");
    let public = cast.dialog(&alice, json!({"type": 1, "name": "Square"}));
    let of = [cast.group("2,3"), cast.private(), public.clone()];
    for dialog in &of {
        let message = cast.say(&alice, dialog, "secret");
        let calls = [
            ("PUT", format!("/chat/Dialog/{dialog}.json"), "name=x".to_owned()),
            ("PUT", format!("/chat/Dialog/{dialog}.json"), "push_all[occupants_ids]=4".to_owned()),
            ("DELETE", format!("/chat/Dialog/{dialog}.json"), String::new()),
            ("DELETE", format!("/chat/Dialog/{dialog}.json"), "force=1".to_owned()),
            ("GET", format!("/chat/Dialog/{dialog}/notifications.json"), String::new()),
            ("PUT", format!("/chat/Dialog/{dialog}/notifications.json"), "enabled=0".to_owned()),
            ("GET", format!("/chat/Message.json?chat_dialog_id={dialog}"), String::new()),
            ("GET", format!("/chat/Message/{message}.json"), String::new()),
            ("GET", format!("/chat/Message/{message}.json?chat_dialog_id={dialog}"), String::new()),
            ("POST", "/chat/Message.json".to_owned(), format!("chat_dialog_id={dialog}&message=x")),
            ("PUT", "/chat/Message.json".to_owned(), format!("chat_dialog_id={dialog}&read=1")),
            ("PUT", format!("/chat/Message/{message}.json"), format!("chat_dialog_id={dialog}&message=x")),
            ("DELETE", format!("/chat/Message/{message}.json"), "force=1".to_owned()),
            ("DELETE", format!("/chat/Message/{message}.json"), format!("force=1&chat_dialog_id={dialog}")),
        ];
        for (method, target, body) in calls {
            for (token, other_app) in [(&dave, false), (&zoe, true)] {
                let open = *dialog == public && !other_app;
                let code = cast.ask(method, &target, token, &body).code;
                let wrong = if other_app { code != 404 } else { !open && code != 403 && code != 404 };
                assert!(!wrong, "{method} {target} {body}: {code}");
            }
            cast.world.get(&target.replace("/chat/", "/chat/x/"), &dave).expect(404);
        }
        let texts = cast.texts(&alice, dialog, "sender_id=1");
        assert_eq!(texts, ["secret"]);
    }
    for query in ["", "?_id[in]=".to_owned().as_str()] {
        let target = if query.is_empty() { query.to_owned() } else { format!("{query}{}", of.join(",")) };
        assert_eq!(cast.ids(&format!("/chat/Dialog.json{target}"), &dave), [public.as_str()]);
        assert!(cast.ids(&format!("/chat/Dialog.json{target}"), &zoe).is_empty());
    }
    let unread = format!("/chat/Message/unread.json?chat_dialog_ids={}", of.join(","));
    for token in [&dave, &zoe] {
        let counts = cast.world.get(&unread, token).expect(200).json();
        assert!(counts.as_object().expect("an object").values().all(|count| *count == 0), "{counts}");
    }
    assert_eq!(cast.unread(&bob), 2);
}
