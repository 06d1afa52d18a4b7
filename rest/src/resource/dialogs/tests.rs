use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::flow::world::{Reply, World};

/// Users 1 to 4 of app 1, and their tokens.
pub(in crate::resource) struct Cast {
    pub world: World,
    pub alice: String,
    pub bob: String,
    pub carol: String,
    pub dave: String,
}

pub(in crate::resource) fn cast() -> Cast {
    let mut world = World::new();
    let mut token = |login: &str| {
        world.sign_up(1, login);
        world.user_token(1, login)
    };
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(&mut token);
    Cast { world, alice, bob, carol, dave }
}

impl Cast {
    pub fn ask(&mut self, method: &str, target: &str, token: &str, body: &str) -> Reply {
        self.world.call(method, target, token, body)
    }

    /// Makes a dialog and gives its id.
    pub fn dialog(&mut self, token: &str, body: Value) -> String {
        let reply = self.ask("POST", "/chat/Dialog.json", token, &body.to_string()).expect(201);
        reply.at("/_id").as_str().expect("an id").to_owned()
    }

    /// A group of Alice's.
    pub fn group(&mut self, occupants: &str) -> String {
        let alice = self.alice.clone();
        self.dialog(&alice, json!({"type": 2, "name": "Lunch", "occupants_ids": occupants}))
    }

    /// Adds a message and gives its id.
    pub fn say(&mut self, token: &str, dialog: &str, text: &str) -> String {
        let body = json!({"chat_dialog_id": dialog, "message": text}).to_string();
        let reply = self.ask("POST", "/chat/Message.json", token, &body).expect(201);
        reply.at("/_id").as_str().expect("an id").to_owned()
    }

    /// The ids of a list, in order.
    pub fn ids(&mut self, target: &str, token: &str) -> Vec<String> {
        let items = self.world.get(target, token).expect(200).at("/items");
        let id = |item: &Value| item["_id"].as_str().expect("an id").to_owned();
        items.as_array().expect("a list").iter().map(id).collect()
    }

    pub fn pass(&mut self, secs: u64) {
        self.world.pass(Duration::from_secs(secs));
    }
}

const NONE: &str = "53aaa06f535c12cea9007496";

fn error(reply: &Reply) -> String {
    reply.at("/errors/0").as_str().expect("a text").to_owned()
}

#[test]
fn the_page_creates_a_group() {
    let mut cast = cast();
    let body = r#"{"type": 2, "name": "Chat with Bob, Sam, Garry", "occupants_ids": "4,3,2"}"#;
    let alice = cast.alice.clone();
    let reply = cast.ask("POST", "/chat/Dialog.json", &alice, body).expect(201);
    let id = reply.at("/_id").as_str().expect("a text").to_owned();
    let want = json!({"_id": id, "created_at": "2016-03-23T16:20:00Z", "updated_at": "2016-03-23T16:20:00Z",
        "last_message": null, "last_message_date_sent": null, "last_message_id": null, "last_message_user_id": null,
        "name": "Chat with Bob, Sam, Garry", "photo": null, "occupants_ids": [1, 2, 3, 4], "type": 2, "user_id": 1,
        "xmpp_room_jid": format!("1_{id}@muc.chat.example.com"), "unread_messages_count": 0});
    assert_eq!(reply.json(), want);
    let list = json!({"total_entries": 1, "skip": 0, "limit": 100, "items": [want]});
    for token in [cast.alice.clone(), cast.bob.clone(), cast.carol.clone(), cast.dave.clone()] {
        assert_eq!(cast.world.get("/chat/Dialog.json", &token).expect(200).json(), list);
    }
    assert_eq!(cast.world.rows_of("jobs"), 0);
}

#[test]
fn the_page_lists_a_private_dialog_and_a_group_with_their_last_messages() {
    let mut cast = cast();
    let Cast { alice, bob, .. } = &cast;
    let (alice, bob) = (alice.clone(), bob.clone());
    let private = cast.dialog(&alice, json!({"type": 3, "occupants_ids": 2}));
    let first = cast.say(&bob, &private, "Is anybody here?");
    cast.pass(60);
    let group = cast.group("2,3");
    cast.pass(60);
    let second = cast.say(&bob, &group, "Hey guys!");
    cast.pass(3600);
    let want = json!({"total_entries": 2, "skip": 0, "limit": 100, "items": [
        {"_id": group, "created_at": "2016-03-23T16:21:00Z", "updated_at": "2016-03-23T16:22:00Z",
            "last_message": "Hey guys!", "last_message_date_sent": 1_458_750_120, "last_message_id": second,
            "last_message_user_id": 2, "name": "Lunch", "photo": null, "occupants_ids": [1, 2, 3], "type": 2, "user_id": 1,
            "unread_messages_count": 1, "xmpp_room_jid": format!("1_{group}@muc.chat.example.com")},
        {"_id": private, "created_at": "2016-03-23T16:20:00Z", "updated_at": "2016-03-23T16:20:00Z",
            "last_message": "Is anybody here?", "last_message_date_sent": 1_458_750_000, "last_message_id": first,
            "last_message_user_id": 2, "name": "bob", "photo": null, "occupants_ids": [1, 2], "type": 3, "user_id": 1,
            "unread_messages_count": 1, "xmpp_room_jid": null}]});
    assert_eq!(cast.world.get("/chat/Dialog.json", &alice).expect(200).json(), want);
    let hers = cast.world.get("/chat/Dialog.json", &bob).expect(200).json();
    assert_eq!(hers["items"][1]["name"], "alice");
    assert_eq!(
        (&hers["items"][0]["unread_messages_count"], &hers["items"][1]["unread_messages_count"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn every_encoding_of_a_new_dialog_says_the_same() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let mut seen = Vec::new();
    for body in [
        r#"{"type":2,"name":"Lunch","photo":674,"occupants_ids":"2, 3","data":{"class_name":"CoolDialog","category":"friends"}}"#,
        r#"{"type":"2","name":"Lunch","photo":"674","occupants_ids":[2,"3"],"data":{"class_name":"CoolDialog","category":"friends"}}"#,
        r#"{"type":2,"name":"Lunch","photo":"674","occupants_ids":"[2,3]","data":{"class_name":"CoolDialog","category":"friends"}}"#,
        "type=2&name=Lunch&photo=674&occupants_ids=2,3&data[class_name]=CoolDialog&data[category]=friends",
        "type=2&name=Lunch&photo=674&occupants_ids[]=2&occupants_ids[]=3&data%5Bclass_name%5D=CoolDialog&data%5Bcategory%5D=friends",
        "type=2&name=+Lunch&photo=674&occupants_ids[]=2%2C3%2C2%2C1&data[class_name]=CoolDialog&data[category]=friends",
        "type=2&name=Lunch&photo=674&occupants_ids[0]=3&occupants_ids[1]=2&data[class_name]=CoolDialog&data[category]=friends",
    ] {
        let mut dialog = cast.ask("POST", "/chat/Dialog", &alice, body).expect(201).json();
        let fields = dialog.as_object_mut().expect("an object");
        fields.remove("_id");
        fields.remove("xmpp_room_jid");
        seen.push(dialog);
    }
    assert_eq!(seen[0]["data"], json!({"class_name": "CoolDialog", "category": "friends"}));
    assert_eq!((&seen[0]["photo"], &seen[0]["occupants_ids"]), (&json!("674"), &json!([1, 2, 3])));
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
}

#[test]
fn two_users_have_one_private_dialog() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let body = "type=3&occupants_ids=2&name=NOT DEFINE&photo=1&data=undefined";
    let made = cast.ask("POST", "/chat/Dialog.json", &alice, body).expect(201).json();
    assert_eq!((&made["name"], &made["photo"], &made["xmpp_room_jid"]), (&json!("bob"), &Value::Null, &Value::Null));
    assert_eq!((&made["occupants_ids"], made.get("data")), (&json!([1, 2]), None));
    let id = made["_id"].as_str().expect("an id").to_owned();
    cast.say(&bob, &id, "hi");
    cast.pass(1);
    // From either side, with oneself named or not: the same, with what is unread in it.
    for (token, body, name, unread) in [
        (&alice, json!({"type": 3, "occupants_ids": [1, 2]}), "bob", 1),
        (&bob, json!({"type": 3, "occupants_ids": [1]}), "alice", 0),
    ] {
        let found = cast.ask("POST", "/chat/Dialog.json", token, &body.to_string()).expect(201).json();
        assert_eq!(
            (&found["_id"], &found["name"], &found["unread_messages_count"]),
            (&json!(id), &json!(name), &json!(unread))
        );
    }
    assert_eq!(cast.world.rows_of("dialogs"), 1);
    // In another app, the same numbers have a dialog of their own.
    cast.world.create_app("second");
    for login in ["zoe", "yan"] {
        cast.world.sign_up(2, login);
    }
    let zoe = cast.world.user_token(2, "zoe");
    assert_ne!(cast.dialog(&zoe, json!({"type": 3, "occupants_ids": 2})), id);
}

#[test]
fn what_cannot_be_made_is_refused_and_changes_nothing() {
    let mut cast = cast();
    cast.world.create_app("second");
    let alice = cast.alice.clone();
    let long = "n".repeat(1_025);
    for (body, text) in [
        (json!({"name": "x", "occupants_ids": 2}), "type must be 1 (PUBLIC_GROUP), 2 (GROUP) or 3 (PRIVATE)"),
        (
            json!({"type": 4, "name": "x", "occupants_ids": 2}),
            "type must be 1 (PUBLIC_GROUP), 2 (GROUP) or 3 (PRIVATE)",
        ),
        (
            json!({"type": [2], "name": "x", "occupants_ids": 2}),
            "type must be 1 (PUBLIC_GROUP), 2 (GROUP) or 3 (PRIVATE)",
        ),
        (json!({"type": 2, "occupants_ids": 2}), "name is required"),
        (json!({"type": 1, "name": "  "}), "name is required"),
        (json!({"type": 1, "name": long}), "name is too long (maximum is 1024 bytes)"),
        (json!({"type": 2, "name": "x"}), "occupants_ids is required"),
        (json!({"type": 3}), "occupants_ids is required"),
        (json!({"type": 2, "name": "x", "occupants_ids": "2,b"}), "Incorrect occupant_id."),
        (json!({"type": 2, "name": "x", "occupants_ids": [-2]}), "Incorrect occupant_id."),
        (json!({"type": 2, "name": "x", "occupants_ids": {"a": 2}}), "Incorrect occupant_id."),
        (json!({"type": 3, "occupants_ids": 1}), "Incorrect occupant_id."),
        (json!({"type": 3, "occupants_ids": "2,3"}), "Too many occupants for Private Dialog."),
        (json!({"type": 3, "occupants_ids": 99}), "Occupants with these IDs do not exist."),
        (json!({"type": 2, "name": "x", "occupants_ids": "2,99"}), "Occupants with these IDs do not exist."),
        (json!({"type": 2, "name": "x", "occupants_ids": 0}), "Occupants with these IDs do not exist."),
        (json!({"type": 2, "name": "x", "occupants_ids": 2, "data": {"a": 1}}), "data[class_name] is required"),
        (
            json!({"type": 2, "name": "x", "occupants_ids": 2, "data": {"class_name": "C", "a": "x".repeat(70_000)}}),
            "data is too large (maximum is 100 fields and 65536 bytes)",
        ),
    ] {
        let reply = cast.ask("POST", "/chat/Dialog.json", &alice, &body.to_string()).expect(422);
        assert_eq!(error(&reply), text, "{body}");
    }
    let crowd: Vec<u64> = (1..=10_001).collect();
    let body = json!({"type": 2, "name": "x", "occupants_ids": crowd}).to_string();
    cast.ask("POST", "/chat/Dialog.json", &alice, &body).expect(422);
    for table in ["dialogs", "inbox", "heads", "public_dialogs"] {
        assert_eq!(cast.world.rows_of(table), 0, "{table}");
    }
}

#[test]
fn a_user_of_another_app_cannot_be_in_a_dialog() {
    let mut cast = cast();
    cast.world.create_app("second");
    let zoe = cast.world.sign_up(2, "zoe");
    assert_eq!(zoe, 1);
    let token = cast.world.user_token(2, "zoe");
    let body = json!({"type": 3, "occupants_ids": 2}).to_string();
    cast.ask("POST", "/chat/Dialog.json", &token, &body).expect(422);
}

#[test]
fn the_page_updates_a_group() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let id = cast.group("2,3");
    cast.pass(62);
    let body = r#"{"name": "Chat with Garry and John", "pull_all": {"occupants_ids": [2]}}"#;
    let reply = cast.ask("PUT", &format!("/chat/Dialog/{id}.json"), &alice, body).expect(200);
    let want = json!({"_id": id, "created_at": "2016-03-23T16:20:00Z", "updated_at": "2016-03-23T16:21:02Z",
        "last_message": null, "last_message_date_sent": null, "last_message_id": null, "last_message_user_id": null,
        "name": "Chat with Garry and John", "photo": null, "occupants_ids": [1, 3], "type": 2, "user_id": 1,
        "xmpp_room_jid": format!("1_{id}@muc.chat.example.com"), "unread_messages_count": 0});
    assert_eq!(reply.json(), want);
    let bob = cast.bob.clone();
    assert!(cast.ids("/chat/Dialog.json", &bob).is_empty());
}

#[test]
fn occupants_come_and_go_in_every_encoding() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let id = cast.group("2");
    let path = format!("/chat/Dialog/{id}.json");
    for (target, body, want) in [
        ("", r#"{"push_all":{"occupants_ids":[3,4]}}"#, json!([1, 2, 3, 4])),
        ("", r#"{"pull_all":{"occupants_ids":["3","4"]}}"#, json!([1, 2])),
        ("", "push_all[occupants_ids][]=3&push_all[occupants_ids][]=4", json!([1, 2, 3, 4])),
        ("", "pull_all[occupants_ids][]=3,4", json!([1, 2])),
        ("", "push_all%5Boccupants_ids%5D=3%2C%204", json!([1, 2, 3, 4])),
        ("", r#"{"pull_all":{"occupants_ids":"[3, 4]"}}"#, json!([1, 2])),
        ("?push_all[occupants_ids][]=3,4", "", json!([1, 2, 3, 4])),
        ("?pull_all[occupants_ids][]=3", "pull_all[occupants_ids]=4", json!([1, 2, 3])),
        ("", "push_all[occupants_ids]=3&pull_all[occupants_ids]=4", json!([1, 2, 3])),
        ("", "push_all[occupants_ids]=4&pull_all[occupants_ids]=4", json!([1, 2, 3])),
    ] {
        let reply = cast.ask("PUT", &format!("{path}{target}"), &alice, body).expect(200);
        assert_eq!(reply.at("/occupants_ids"), want, "{target} {body}");
    }
    for body in [r#"{"push_all":{"occupants_ids":["x"]}}"#, r#"{"push_all":{"occupants_ids":[{}]}}"#] {
        assert_eq!(error(&cast.ask("PUT", &path, &alice, body).expect(422)), "Incorrect occupant_id.");
    }
    let reply = cast.ask("PUT", &path, &alice, "push_all[occupants_ids]=4,99").expect(422);
    assert_eq!(error(&reply), "Occupants with these IDs do not exist.");
    assert_eq!(cast.world.get("/chat/Dialog.json", &alice).at("/items/0/occupants_ids"), json!([1, 2, 3]));
}

#[test]
fn who_may_change_what_depends_on_the_type() {
    let mut cast = cast();
    let (alice, bob, dave) = (cast.alice.clone(), cast.bob.clone(), cast.dave.clone());
    let group = cast.group("2,3");
    let public = cast.dialog(&alice, json!({"type": 1, "name": "Square"}));
    let private = cast.dialog(&alice, json!({"type": 3, "occupants_ids": 2}));
    for (id, token, body, code) in [
        (&group, &bob, "name=Supper", 200),
        (&group, &bob, "photo=7", 200),
        (&group, &bob, "push_all[occupants_ids]=4", 200),
        (&group, &bob, "pull_all[occupants_ids]=3", 403),
        (&group, &bob, "pull_all[occupants_ids]=2,3", 403),
        (&group, &alice, "pull_all[occupants_ids]=4", 200),
        (&group, &dave, "push_all[occupants_ids]=4", 403),
        (&group, &dave, "name=Mine", 403),
        (&group, &bob, "name=", 422),
        (&group, &bob, "pull_all[occupants_ids]=2", 200),
        (&group, &bob, "name=Mine", 403),
        (&public, &bob, "name=Mine", 403),
        (&public, &alice, "name=Circle&photo=9", 200),
        (&public, &alice, "push_all[occupants_ids]=2", 200),
        (&private, &bob, "name=ignored&photo=ignored", 200),
        (&private, &bob, "push_all[occupants_ids]=3", 422),
        (&private, &bob, "pull_all[occupants_ids]=1", 422),
        (&private, &dave, "name=x", 403),
        (&NONE.to_owned(), &alice, "name=x", 404),
        (&"x".repeat(24), &alice, "name=x", 404),
    ] {
        cast.ask("PUT", &format!("/chat/Dialog/{id}.json"), token, body).expect(code);
    }
    let names = cast.world.get("/chat/Dialog.json?sort_asc=type", &alice).expect(200).at("/items");
    let names: Vec<&str> =
        names.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["Circle", "Supper", "bob"]);
}

#[test]
fn a_group_goes_with_its_last_occupant() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let id = cast.group("1");
    cast.say(&alice, &id, "alone");
    let path = format!("/chat/Dialog/{id}.json");
    let last = cast.ask("PUT", &path, &alice, "pull_all[occupants_ids]=1").expect(200).json();
    assert_eq!((&last["_id"], &last["occupants_ids"]), (&json!(id), &json!([])));
    cast.ask("PUT", &path, &alice, "name=x").expect(404);
    for table in ["dialogs", "messages", "message_ids", "readers", "inbox", "heads"] {
        assert_eq!(cast.world.rows_of(table), 0, "{table}");
    }
}

#[test]
fn the_page_deletes_one_dialog_and_several() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let (one, two) = (cast.group("2"), cast.group("2,3"));
    let others = {
        let dave = cast.dave.clone();
        cast.dialog(&dave, json!({"type": 2, "name": "theirs", "occupants_ids": "3"}))
    };
    let reply = cast.ask("DELETE", &format!("/chat/Dialog/{one}.json"), &bob, "").expect(200);
    assert_eq!(reply.text, "");
    assert_eq!(cast.ids("/chat/Dialog.json", &bob), [two.as_str()]);
    assert_eq!(cast.ids("/chat/Dialog.json", &alice).len(), 2);
    let path = format!("/chat/Dialog/{two},{NONE},{others},nonsense,{two}.json");
    let want = json!({"SuccessfullyDeleted": {"ids": [two]}, "WrongPermissions": {"ids": [others]},
        "NotFound": {"ids": ["nonsense", NONE]}});
    assert_eq!(cast.ask("DELETE", &path, &bob, "").expect(200).json(), want);
    assert!(cast.ids("/chat/Dialog.json", &bob).is_empty());
    // One that is gone, one that is somebody else's, and one with a comma.
    cast.ask("DELETE", &format!("/chat/Dialog/{NONE}.json"), &alice, "").expect(404);
    cast.ask("DELETE", &format!("/chat/Dialog/{others}.json"), &alice, "").expect(403);
    let want = json!({"SuccessfullyDeleted": {"ids": [one]}, "WrongPermissions": {"ids": []}, "NotFound": {"ids": []}});
    assert_eq!(cast.ask("DELETE", &format!("/chat/Dialog/{one},.json"), &alice, "").expect(200).json(), want);
}

#[test]
fn only_the_owner_deletes_for_all_and_history_goes_too() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let group = cast.group("2,3");
    let public = cast.dialog(&alice, json!({"type": 1, "name": "Square"}));
    cast.say(&bob, &group, "hi");
    cast.say(&bob, &public, "hi");
    for id in [&group, &public] {
        for body in ["force=1", r#"{"force":1}"#] {
            cast.ask("DELETE", &format!("/chat/Dialog/{id}.json"), &bob, body).expect(403);
        }
    }
    cast.ask("DELETE", &format!("/chat/Dialog/{public}.json"), &bob, "").expect(403);
    cast.ask("DELETE", &format!("/chat/Dialog/{group}.json?force=1"), &alice, "").expect(200);
    cast.ask("DELETE", &format!("/chat/Dialog/{public}.json"), &alice, r#"{"force":"1"}"#).expect(200);
    for table in ["dialogs", "messages", "message_ids", "heads", "readers", "inbox", "public_dialogs", "jobs", "dirty"]
    {
        assert_eq!(cast.world.rows_of(table), 0, "{table}");
    }
    assert!(cast.ids("/chat/Dialog.json", &bob).is_empty());
}

#[test]
fn a_private_dialog_that_was_deleted_comes_back_with_the_next_message_or_when_it_is_made_again() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let id = cast.dialog(&alice, json!({"type": 3, "occupants_ids": 2}));
    cast.say(&alice, &id, "one");
    let path = format!("/chat/Dialog/{id}.json");
    let by_id = format!("/chat/Dialog.json?_id={id}");
    cast.pass(10);
    cast.ask("DELETE", &path, &bob, "").expect(200);
    assert!(cast.ids("/chat/Dialog.json", &bob).is_empty() && cast.ids(&by_id, &bob).is_empty());
    assert_eq!(cast.ids(&by_id, &alice), [id.as_str()]);
    assert_eq!(cast.world.get("/chat/Message/unread.json", &bob).expect(200).json(), json!({"total": 0}));
    cast.pass(10);
    cast.say(&alice, &id, "two");
    assert_eq!((cast.ids("/chat/Dialog.json", &bob), cast.ids(&by_id, &bob)), (vec![id.clone()], vec![id.clone()]));
    cast.pass(10);
    cast.ask("DELETE", &path, &bob, "").expect(200);
    assert_eq!(cast.dialog(&bob, json!({"type": 3, "occupants_ids": 1})), id);
    assert_eq!(cast.ids("/chat/Dialog.json", &bob), [id]);
}

#[test]
fn a_private_dialog_out_of_sight_stays_there_whatever_but_a_message_happens_to_it() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let dialog = cast.dialog(&alice, json!({"type": 3, "occupants_ids": 2}));
    let first = cast.say(&alice, &dialog, "one");
    cast.pass(2);
    let second = cast.say(&alice, &dialog, "two");
    cast.ask("DELETE", &format!("/chat/Dialog/{dialog}.json"), &bob, "").expect(200);
    let by_id = format!("/chat/Dialog.json?_id={dialog}");
    let unread = format!("/chat/Message/unread.json?chat_dialog_ids={dialog}");
    for (method, target, body) in [
        ("PUT", format!("/chat/Message/{second}.json"), format!("chat_dialog_id={dialog}&message=changed")),
        ("DELETE", format!("/chat/Message/{second}.json?force=1"), String::new()),
        ("DELETE", format!("/chat/Message/{first}.json?force=1"), String::new()),
        ("PUT", format!("/chat/Dialog/{dialog}.json"), "data[class_name]=C&data[a]=1".to_owned()),
    ] {
        cast.ask(method, &target, &alice, &body).expect(200);
        assert_eq!(cast.ids("/chat/Dialog.json", &bob), [""; 0], "{method} {target}");
        assert_eq!(cast.ids(&by_id, &bob), [""; 0], "{method} {target}");
        assert_eq!(cast.ask("GET", &unread, &bob, "").json(), json!({"total": 0, &dialog: 0}));
    }
    cast.say(&alice, &dialog, "three");
    assert_eq!(cast.ids("/chat/Dialog.json", &bob), [dialog.as_str()]);
    assert_eq!(cast.ask("GET", &unread, &bob, "").json(), json!({"total": 1, &dialog: 1}));
}

#[test]
fn the_page_reads_and_sets_notifications() {
    let mut cast = cast();
    let (bob, dave) = (cast.bob.clone(), cast.dave.clone());
    let id = cast.group("2");
    let path = format!("/chat/Dialog/{id}/notifications.json");
    let on = json!({"notifications": {"enabled": 1}});
    let off = json!({"notifications": {"enabled": 0}});
    assert_eq!(cast.world.get(&path, &bob).expect(200).json(), on);
    assert_eq!(cast.ask("PUT", &path, &bob, r#"{"enabled":"0"}"#).expect(200).json(), off);
    assert_eq!(cast.world.get(&path, &bob).expect(200).json(), off);
    let alice = cast.alice.clone();
    assert_eq!(cast.world.get(&path, &alice).expect(200).json(), on);
    for bad in ["", "enabled=", "enabled=2", "enabled=[]"] {
        assert_eq!(error(&cast.ask("PUT", &path, &bob, bad).expect(422)), "enabled must be 0 or 1");
    }
    assert_eq!(cast.ask("PUT", &path, &bob, "enabled=1").expect(200).json(), on);
    for method in ["GET", "PUT"] {
        cast.ask(method, &path, &dave, "enabled=0").expect(403);
        cast.ask(method, &format!("/chat/Dialog/{NONE}/notifications.json"), &bob, "enabled=0").expect(404);
    }
}

#[test]
fn the_page_sets_updates_and_filters_custom_parameters() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let body = r#"{"type": 2, "name": "Chat with Bob, Sam, Garry", "occupants_ids": "2,3", "data" : { "class_name" : "CoolDialog", "category" : "friends" }}"#;
    let made = cast.ask("POST", "/chat/Dialog.json", &alice, body).expect(201).json();
    assert_eq!(made["data"], json!({"class_name": "CoolDialog", "category": "friends"}));
    let id = made["_id"].as_str().expect("an id").to_owned();
    cast.group("2");
    // As a body of a GET, which is how the page does it, and as a query.
    let filter = "data[class_name]=CoolDialog&data[category]=friends";
    assert_eq!(cast.ask("GET", "/chat/Dialog.json", &bob, filter).expect(200).at("/total_entries"), 1);
    let json = r#"{"data":{"class_name":"CoolDialog","category":"friends"}}"#;
    assert_eq!(cast.ask("GET", "/chat/Dialog.json", &bob, json).expect(200).at("/items/0/_id"), json!(id));
    for (filter, count) in [
        (filter, 1),
        ("data[class_name]=CoolDialog", 1),
        ("data[class_name]=Other", 0),
        ("data[category]=foes", 0),
        ("data[category][in]=foes,friends", 1),
        ("data[category][ctn]=RIEND", 1),
        ("data[category][ne]=friends", 1),
        ("data[missing]=1", 0),
        ("data=undefined", 2),
    ] {
        let page = cast.world.get(&format!("/chat/Dialog.json?{filter}"), &bob).expect(200);
        assert_eq!(page.at("/total_entries"), count, "{filter}");
    }
    let path = format!("/chat/Dialog/{id}.json");
    let body = json!({"data": {"class_name": "CoolDialog", "level": 7, "open": true, "tags": ["a", 1.5, null], "_id": "x",
        "$set": "x", "__proto__": "x", "deep": {"a": 1}}});
    let changed = cast.ask("PUT", &path, &bob, &body.to_string()).expect(200).json();
    let want = json!({"class_name": "CoolDialog", "category": "friends", "level": 7, "open": true, "tags": ["a", 1.5, null],
        "deep": "{\"a\":1}"});
    assert_eq!(changed["data"], want);
    // The class stays when it is not named.
    let changed = cast.ask("PUT", &path, &bob, "data[level]=8").expect(200).json();
    assert_eq!(changed["data"]["level"], "8");
    for (filter, count) in [
        ("data[level][gt]=7.5", 1),
        ("data[level]=8", 1),
        ("data[level]=8.0", 1),
        ("data[open]=true", 1),
        ("data[tags]=a", 1),
        ("data[tags][all]=a,1.5", 1),
        ("data[tags][all]=a,2", 0),
    ] {
        let page = cast.world.get(&format!("/chat/Dialog.json?{filter}"), &bob).expect(200);
        assert_eq!(page.at("/total_entries"), count, "{filter}");
    }
    let fields: Value = (0..101).map(|n| (format!("f{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    cast.ask("PUT", &path, &bob, &json!({"data": fields}).to_string()).expect(422);
    let plain = cast.group("2");
    cast.ask("PUT", &format!("/chat/Dialog/{plain}.json"), &bob, "data[level]=8").expect(422);
    cast.world.get("/chat/Dialog.json?data[level][$gt]=1", &bob).expect(422);
}

#[test]
fn lists_are_filtered_sorted_and_paged_as_the_page_says() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    // An hour apart: a group, a private dialog, a public one, a group without messages.
    let zebra = cast.dialog(&alice, json!({"type": 2, "name": "Zebra, Ltd", "occupants_ids": "2,3"}));
    cast.pass(3600);
    let private = cast.dialog(&alice, json!({"type": 3, "occupants_ids": 2}));
    cast.pass(3600);
    let public = cast.dialog(&bob, json!({"type": 1, "name": "Square"}));
    cast.pass(3600);
    let apes = cast.dialog(&alice, json!({"type": 2, "name": "Apes", "occupants_ids": "3"}));
    cast.pass(60);
    cast.say(&alice, &private, "p");
    cast.pass(60);
    cast.say(&bob, &public, "q");
    cast.pass(60);
    cast.say(&bob, &zebra, "z");
    cast.pass(3600);
    let name = |id: &String| match id {
        id if *id == zebra => 'z',
        id if *id == private => 'p',
        id if *id == public => 'q',
        id if *id == apes => 'a',
        other => panic!("{other}"),
    };
    for (query, want) in [
        ("", "zqpa"),
        ("sort_desc=last_message_date_sent", "zqpa"),
        ("sort_asc=last_message_date_sent", "apqz"),
        ("sort_desc=updated_at", "zqpa"),
        ("sort_asc=created_at", "zpqa"),
        ("sort_desc=name", "pzqa"),
        ("sort_desc=name&skip=1&limit=2", "zq"),
        ("sort_desc=unread_messages_count", "zqpa"),
        ("sort_asc=unread_messages_count", "qpaz"),
        ("limit=2", "zq"),
        ("limit=2&skip=1", "qp"),
        ("skip=3", "a"),
        ("skip=4", ""),
        ("limit=0", ""),
        ("type=2", "za"),
        ("type[in]=1,3", "qp"),
        ("type[nin][]=1&type[nin][]=3", "za"),
        ("type[ne]=2", "qp"),
        ("type[lt]=3&type[gt]=1", "za"),
        ("type[in]=2&sort_asc=name&limit=1", "a"),
        ("name=Apes", "a"),
        ("name=bob", "p"),
        ("name[ctn]=OB&type=3", "p"),
        ("name=Zebra,%20Ltd", "z"),
        ("name[ctn]=e", "zqa"),
        ("name[in]=Apes,Square", "qa"),
        ("name[or]=Apes,Square", "qa"),
        ("last_message_date_sent[gte]=1458760980", "z"),
        ("last_message_date_sent=1458760860", "p"),
        ("created_at[lt]=1458753600.5", "zp"),
        ("created_at[gt]=2016-03-23T17:20:00Z", "qa"),
        ("created_at[gt]=2016-03-23%2017:20:00", "qa"),
        ("created_at[gt]=2016-03-23", "zqpa"),
        ("updated_at[gte]=1458760920.374", "z"),
        ("occupants_ids=3", "za"),
        ("occupants_ids[all]=1,3", "za"),
        ("occupants_ids[nin]=3", "qp"),
        ("user_id=2", "q"),
        ("unread_messages_count[gt]=5&page=1&sender_id[in]=5", "zqpa"),
    ] {
        let shown: String = cast.ids(&format!("/chat/Dialog.json?{query}"), &alice).iter().map(name).collect();
        assert_eq!(shown, want, "{query}");
    }
    for (query, total) in [("", 4), ("limit=1", 4), ("type=2&limit=1", 2), ("_id[in]=", 0)] {
        let page = cast.world.get(&format!("/chat/Dialog.json?{query}"), &alice).expect(200);
        assert_eq!(page.at("/total_entries"), total, "{query}");
    }
    let ids = format!("/chat/Dialog.json?_id[in]={zebra},{apes},{NONE},x&sort_asc=name");
    assert_eq!(cast.ids(&ids, &alice), [apes.as_str(), &zebra]);
    assert_eq!(cast.ids(&ids, &bob), [zebra.as_str()]);
    assert_eq!(cast.ids(&format!("/chat/Dialog.json?_id={zebra}&type=3"), &alice), [""; 0]);
    for (query, count) in [("count=1", 4), ("count=1&type=2", 2), (&format!("count=1&_id={zebra}"), 1)] {
        let reply = cast.world.get(&format!("/chat/Dialog.json?{query}"), &alice).expect(200);
        assert_eq!(reply.json(), json!({"items": {"count": count}}), "{query}");
    }
    for (query, text) in [
        ("type[$where]=1", "Unknown operator $where for type"),
        ("_id[$ne]=", "Unknown operator $ne for _id"),
        ("type=abc", "The value does not fit type"),
        ("limit=-1", "limit must be a number and not negative"),
        ("skip=x", "skip must be a number and not negative"),
        ("sort_desc=password", "sort_desc: there is no field password"),
    ] {
        let reply = cast.world.get(&format!("/chat/Dialog.json?{query}"), &alice).expect(422);
        assert_eq!(error(&reply), text);
    }
    let page = cast.world.get("/chat/Dialog.json?limit=1e18&count=abc", &alice).expect(200);
    assert_eq!(page.at("/limit"), 100);
}

#[test]
fn public_dialogs_are_everybodys_and_count_nothing() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let made = cast.ask("POST", "/chat/Dialog.json", &alice, "type=1&name=Square&occupants_ids=2,3").expect(201).json();
    assert_eq!(made["occupants_ids"], json!([]));
    let id = made["_id"].as_str().expect("an id").to_owned();
    cast.say(&alice, &id, "all");
    let dialog = cast.world.get("/chat/Dialog.json", &bob).expect(200).at("/items/0");
    assert_eq!((&dialog["_id"], &dialog["last_message"]), (&json!(id), &json!("all")));
    assert_eq!((&dialog["unread_messages_count"], &dialog["user_id"]), (&json!(0), &json!(1)));
    cast.world.create_app("second");
    cast.world.sign_up(2, "zoe");
    let zoe = cast.world.user_token(2, "zoe");
    assert!(cast.ids("/chat/Dialog.json", &zoe).is_empty());
    assert!(cast.ids(&format!("/chat/Dialog.json?_id={id}"), &zoe).is_empty());
}

#[test]
fn several_dialogs_get_or_lose_occupants_at_once() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    let (one, two) = (cast.group("2"), cast.group("3"));
    let body = json!({"users_ids": [4, 3], "dialogs_ids": [one, two, NONE]}).to_string();
    let lists = |done: &[&String], denied: &[&String]| json!({"SuccessfullyUpdated": {"ids": done}, "WrongPermissions": {"ids": denied}, "NotFound": {"ids": [NONE]}});
    let reply = cast.ask("POST", "/chat/Dialogs/add_occupants.json", &bob, &body).expect(200);
    assert_eq!(reply.json(), lists(&[&one], &[&two]));
    let reply = cast.ask("POST", "/chat/Dialogs/remove_occupants.json", &alice, &body).expect(200);
    assert_eq!(reply.json(), lists(&[&one, &two], &[]));
    for (body, code) in
        [("users_ids=2", 422), ("dialogs_ids=x", 422), (&format!("users_ids=99&dialogs_ids={one}"), 422)]
    {
        cast.ask("POST", "/chat/Dialogs/add_occupants.json", &alice, body).expect(code);
    }
}

#[test]
fn a_private_dialog_always_has_a_name() {
    let mut cast = cast();
    let (alice, bob) = (cast.alice.clone(), cast.bob.clone());
    cast.dialog(&alice, json!({"type": 3, "occupants_ids": 2}));
    let name = |cast: &mut Cast| cast.world.get("/chat/Dialog.json", &alice).expect(200).at("/items/0/name");
    assert_eq!(name(&mut cast), "bob");
    cast.ask("PUT", "/users/2.json", &bob, "user[full_name]=Bob B.").expect(200);
    assert_eq!(name(&mut cast), "Bob B.");
    cast.ask("DELETE", "/users/2.json", &bob, "").expect(200);
    assert_eq!(name(&mut cast), "2");
}

#[test]
fn a_page_by_last_message_reads_what_it_shows() {
    let mut cast = cast();
    let alice = cast.alice.clone();
    let mut costs = Vec::new();
    for _ in 0..2 {
        for _ in 0..60 {
            let id = cast.group("2");
            cast.say(&alice, &id, "x");
            cast.pass(1);
        }
        let before = (cast.world.gets, cast.world.scanned);
        assert_eq!(cast.ids("/chat/Dialog.json?limit=20", &alice).len(), 20);
        costs.push((cast.world.gets - before.0, cast.world.scanned - before.1));
    }
    let [few, many] = costs[..] else { panic!("two") };
    assert_eq!(few.0, many.0, "point reads");
    assert_eq!((few.1, many.1), (60, 120), "the list alone grows");
}

#[test]
fn a_crash_leaves_a_public_dialog_listed_or_not_there() {
    for commits in 0..5 {
        let mut cast = cast();
        let alice = cast.alice.clone();
        cast.world.crash_after(commits);
        let made = cast.world.try_call(
            "POST",
            "/chat/Dialog.json",
            &[("QB-Token", &alice), ("Content-Type", "application/x-www-form-urlencoded")],
            "type=1&name=Square",
        );
        cast.world.restart();
        let listed = cast.ids("/chat/Dialog.json", &alice).len();
        assert_eq!(listed, cast.world.rows_of("dialogs"), "after {commits}");
        assert!(made.is_none() || listed == 1, "who was answered finds it");
    }
}

/// A dialog, its members, its last message, and what each user has not read.
type Model = (String, Vec<u64>, Option<String>, [u64; 4]);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any order of comings, goings and messages: every list shows what a small model says.
    #[test]
    fn lists_agree_with_a_model(steps in proptest::collection::vec((0..4usize, 0..6u8, 0..3usize, 0..4u64), 1..25)) {
        let mut cast = cast();
        let tokens = [cast.alice.clone(), cast.bob.clone(), cast.carol.clone(), cast.dave.clone()];
        let mut model: Vec<Model> = Vec::new();
        for _ in 0..3 {
            let id = cast.group("2,3,4");
            model.push((id, vec![1, 2, 3, 4], None, [0; 4]));
            cast.pass(1);
        }
        for (number, (who, what, which, whom)) in steps.into_iter().enumerate() {
            cast.pass(1);
            let token = &tokens[who];
            let user = who as u64 + 1;
            let other = whom + 1;
            let (id, members, last, unread) = &mut model[which];
            let inside = members.contains(&user);
            let path = format!("/chat/Dialog/{id}.json");
            let (reply, allowed) = match what {
                0 | 1 => {
                    let text = format!("m{number}");
                    let body = json!({"chat_dialog_id": id, "message": text}).to_string();
                    if inside {
                        *last = Some(text);
                        (1..=4).filter(|other| *other != user).for_each(|other| unread[other as usize - 1] += 1);
                    }
                    (cast.ask("POST", "/chat/Message.json", token, &body), inside)
                }
                2 => {
                    if inside && !members.contains(&other) {
                        members.push(other);
                        members.sort_unstable();
                    }
                    (cast.ask("PUT", &path, token, &format!("push_all[occupants_ids]={other}")), inside)
                }
                3 => {
                    let allowed = inside && (user == 1 || user == other);
                    // The last one stays: what goes with him is another test's.
                    if members.len() == 1 {
                        continue;
                    }
                    if allowed {
                        members.retain(|member| *member != other);
                    }
                    (cast.ask("PUT", &path, token, &format!("pull_all[occupants_ids]={other}")), allowed)
                }
                4 => {
                    if inside {
                        unread[who] = 0;
                    }
                    let target = format!("/chat/Message.json?chat_dialog_id={id}");
                    (cast.ask("GET", &target, token, ""), inside)
                }
                _ => {
                    if inside {
                        unread[who] = 0;
                    }
                    (cast.ask("PUT", "/chat/Message/.json", token, &format!("read=1&chat_dialog_id={id}")), inside)
                }
            };
            prop_assert_eq!(reply.code < 300, allowed, "{}", reply.text);
        }
        for (who, token) in tokens.iter().enumerate() {
            let user = who as u64 + 1;
            let items = cast.world.get("/chat/Dialog.json", token).expect(200).at("/items");
            let items = items.as_array().expect("a list");
            let mine: Vec<_> = model.iter().filter(|(_, members, ..)| members.contains(&user)).collect();
            prop_assert_eq!(items.len(), mine.len());
            for (id, members, last, unread) in mine {
                let item = items.iter().find(|item| item["_id"] == json!(id)).expect("it is listed");
                prop_assert_eq!(&item["occupants_ids"], &json!(members));
                prop_assert_eq!(&item["last_message"], &json!(last));
                prop_assert_eq!(&item["unread_messages_count"], &json!(unread[who]));
            }
        }
    }
}
