use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::world::World;

fn ids(page: &Value) -> Vec<u64> {
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|item| item["user"]["id"].as_u64().expect("a number")).collect()
}

/// Five users: logins alpha to echo, ids 1 to 5, an hour apart.
fn five() -> (World, String) {
    let mut world = World::new();
    let token = world.app_token(1);
    let people = [
        ("alpha", "Alice Älter", "red,blue", 50),
        ("bravo", "Bob Bobson", "blue", 40),
        ("charlie", "Charlie Brown", "", 30),
        ("delta", "bob dylan", "green", 20),
        ("echo", "", "RED", 10),
    ];
    for (login, name, tags, external) in people {
        let body = json!({"user": {"login": login, "password": "password-1", "email": format!("{login}@example.com"),
            "full_name": name, "tag_list": tags, "external_user_id": external}});
        world.call("POST", "/users.json", &token, &body.to_string()).expect(201);
        world.pass(Duration::from_secs(3600));
    }
    let token = world.app_token(1);
    (world, token)
}

#[test]
fn a_new_user_has_every_field_and_can_chat_at_once() {
    let mut world = World::new();
    let token = world.app_token(1);
    let body = json!({"user": {"login": "bob", "password": "password-bob", "email": "bob@example.com", "full_name": "Bob",
        "phone": "+1 555 0100", "website": "https://example.com", "tag_list": "one, two", "custom_data": "{\"a\":\"😀\"}",
        "external_user_id": "77", "facebook_id": 123, "blob_id": 9, "age_over16": 1}});
    let reply = world.call("POST", "/users.json", &token, &body.to_string()).expect(201);
    let want = json!({"user": {"id": 1, "owner_id": 1, "full_name": "Bob", "email": "bob@example.com", "login": "bob",
        "phone": "+1 555 0100", "website": "https://example.com", "created_at": "2016-03-23T16:20:00Z",
        "updated_at": "2016-03-23T16:20:00Z", "last_request_at": null, "external_user_id": 77, "facebook_id": "123",
        "twitter_id": null, "twitter_digits_id": null, "blob_id": 9, "custom_data": "{\"a\":\"😀\"}", "avatar": null,
        "age_over16": true, "allow_statistics_analysis": null, "allow_sales_activities": null, "parents_contacts": null,
        "user_tags": "one,two"}});
    assert_eq!(reply.json(), want);
    assert_eq!(world.get("/users/1.json", &token).expect(200).json(), want);
    assert!(world.logs_in(1, 1, "password-bob"));
    assert_eq!(world.rows_of("jobs"), 0);
}

#[test]
fn names_are_unique_without_regard_to_case_and_every_clash_is_named() {
    let (mut world, token) = five();
    let body = "user[login]=ALPHA&user[email]=Bravo%40Example.com&user[external_user_id]=30&user[password]=password-1";
    let reply = world.call("POST", "/users.json", &token, body).expect(422);
    let taken = json!(["has already been taken"]);
    assert_eq!(reply.json(), json!({"errors": {"login": taken, "email": taken, "external_user_id": taken}}));
    assert_eq!(world.rows_of("members"), 5);
    // What is taken in one app is free in another.
    world.create_app("second");
    world.sign_up(2, "alpha");
}

#[test]
fn one_user_is_found_by_each_name() {
    let (mut world, token) = five();
    let owner = world.user_of("bravo", "password-1");
    world
        .call(
            "PUT",
            "/users/2.json",
            &owner,
            "user[facebook_id]=fb&user[twitter_id]=tw&user[twitter_digits_id]=td&user[phone]=%2B1(555)0100",
        )
        .expect(200);
    let found = [
        "/users/by_login.json?login=BRAVO",
        "/users/by_email.json?email=bravo%40example.com",
        "/users/by_facebook_id.json?facebook_id=fb",
        "/users/by_twitter_id.json?twitter_id=tw",
        "/users/by_twitter_digits_id.json?twitter_digits_id=td",
        "/users/phone.json?phone=15550100",
        "/users/by_phone_number.json?phone_number=15550100",
        "/users/external/40.json",
        "/users/by_external_id.json?external_id=40",
        "/users/2",
        "/users/2.xml",
    ];
    for path in found {
        assert_eq!(world.get(path, &token).expect(200).at("/user/id"), 2, "{path}");
    }
    let missing = [
        "/users/by_login.json?login=nobody",
        "/users/by_email.json?email=x%40y.example",
        "/users/external/41.json",
        "/users/99.json",
        "/users/18446744073709551615.json",
        "/users/by_full_name.json?full_name=nobody",
        "/users/by_tags.json?tags=nothing",
    ];
    for path in missing {
        assert_eq!(
            world.get(path, &token).expect(404).text,
            r#"{"code":null,"message":"Couldn't find user"}"#,
            "{path}"
        );
    }
    for path in ["/users/by_login.json", "/users/by_full_name.json?full_name=", "/users/by_tags.json?tags=,"] {
        world.get(path, &token).expect(422);
    }
}

#[test]
fn pages_have_their_shape_and_their_bounds() {
    let (mut world, token) = five();
    let page = world.get("/users.json", &token).expect(200).json();
    assert_eq!((&page["current_page"], &page["per_page"], &page["total_entries"]), (&json!(1), &json!(10), &json!(5)));
    assert_eq!(ids(&page), [1, 2, 3, 4, 5]);
    let cases = [
        ("page=2&per_page=2", 2, 2, vec![3, 4]),
        ("page=3&per_page=2", 3, 2, vec![5]),
        ("page=4&per_page=2", 4, 2, vec![]),
        ("page=0&per_page=12", 1, 12, vec![1, 2, 3, 4, 5]),
        ("page=-1&per_page=-1", 1, 10, vec![1, 2, 3, 4, 5]),
        ("page=x&per_page=1000", 1, 100, vec![1, 2, 3, 4, 5]),
        ("page=9223372036854775807&per_page=100", 9_223_372_036_854_775_807_u64, 100, vec![]),
    ];
    for (query, current, per_page, want) in cases {
        let page = world.get(&format!("/users.json?{query}"), &token).expect(200).json();
        assert_eq!((&page["current_page"], &page["per_page"]), (&json!(current), &json!(per_page)), "{query}");
        assert_eq!((ids(&page), &page["total_entries"]), (want, &json!(5)), "{query}");
    }
    world.get("/users.json?page=1001&per_page=100&order=asc+string+id", &token).expect(422);
}

#[test]
fn filters_and_orders_as_clients_write_them() {
    let (mut world, token) = five();
    let cases = [
        ("filter[]=number+id+in+1,3,9", vec![1, 3]),
        ("filter%5B%5D=number%20id%20ge%202%2Cstring%20login%20ne%20delta", vec![2, 3, 5]),
        ("filter[]=number+id+gt+1&filter[]=number+id+lt+4", vec![2, 3]),
        ("filter[]=string+full_name+in+", vec![1, 2, 3, 4, 5]),
        ("filter[]=", vec![1, 2, 3, 4, 5]),
        ("filter[]=string+login+eq+ALPHA", vec![1]),
        ("filter[]=string+email+in+alpha%40example.com,echo%40example.com", vec![1, 5]),
        ("filter[]=number+external_user_id+between+20,40", vec![2, 3, 4]),
        ("filter[]=date+created_at+gt+2016-03-23T18:20:00Z", vec![4, 5]),
        ("filter[]=number+created_at+le+1458753600", vec![1, 2]),
        ("filter[]=string+full_name+eq+Bob%20Bobson", vec![2]),
        ("filter[]=date+last_request_at+gt+0", vec![]),
        ("order=desc+string+id", vec![5, 4, 3, 2, 1]),
        ("order=asc+number+external_user_id", vec![5, 4, 3, 2, 1]),
        ("order=desc+date+created_at&page=2&per_page=2", vec![3, 2]),
        ("order=asc+string+full_name", vec![5, 1, 2, 4, 3]),
        ("order[field]=login&order[sort]=desc&per_page=1", vec![5]),
        ("order=", vec![1, 2, 3, 4, 5]),
    ];
    for (query, want) in cases {
        let page = world.get(&format!("/users.json?{query}"), &token).expect(200).json();
        assert_eq!(ids(&page), want, "{query}");
    }
    let json = r#"{"filter":["number id ge 2","string login ne delta"],"order":"desc string id"}"#;
    assert_eq!(ids(&world.call("GET", "/users.json", &token, json).expect(200).json()), [5, 3, 2]);
    let bad = [
        "filter[]=nonsense",
        "filter[]=number+id+near+1",
        "filter[]=number+password+eq+1",
        "filter[]=number+id+eq+x",
        "order=up+string+id",
        "order=asc+string+secret",
        "order=asc",
        "order[sort]=asc",
    ];
    for query in bad {
        world.get(&format!("/users.json?{query}"), &token).expect(422);
    }
    let many = (0..21).map(|n| format!("filter[]=number+id+ne+{n}")).collect::<Vec<_>>().join("&");
    world.get(&format!("/users.json?{many}"), &token).expect(422);
}

#[test]
fn names_and_tags_are_searched() {
    let (mut world, token) = five();
    let cases = [
        ("/users/by_full_name.json?full_name=bob", vec![2, 4]),
        ("/users/by_full_name.json?full_name=SON%20bob", vec![2]),
        ("/users/by_full_name.json?full_name=%C3%84LT", vec![1]),
        ("/users/by_full_name.json?full_name=bob&order[field]=created_at&order[sort]=desc", vec![4, 2]),
        ("/users/by_tags.json?tags=red,green", vec![1, 4, 5]),
        ("/users/by_tags.json?tags[]=blue&per_page=1&page=2", vec![2]),
    ];
    for (path, want) in cases {
        assert_eq!(ids(&world.get(path, &token).expect(200).json()), want, "{path}");
    }
}

#[test]
fn a_list_longer_than_one_read_is_whole() {
    let mut world = World::new();
    let token = world.app_token(1);
    world.add_members(1, 1203);
    let page = world.get("/users.json?page=12&per_page=100", &token).expect(200).json();
    assert_eq!(page["total_entries"], 1203);
    assert_eq!(ids(&page), (1101..=1200).collect::<Vec<u64>>());
    let page = world.get("/users.json?order=desc+string+id&page=2&per_page=5", &token).expect(200).json();
    assert_eq!(ids(&page), [1198, 1197, 1196, 1195, 1194]);
}

#[test]
fn a_user_changes_only_themselves() {
    let (mut world, app) = five();
    let token = world.user_of("alpha", "password-1");
    let body = r#"{"user":{"login":"alfa","full_name":null,"tag_list":"new","custom_data":"x"}}"#;
    let user = world.call("PUT", "/users/1.json", &token, body).expect(200).json();
    assert_eq!(user["user"]["login"], "alfa");
    assert_eq!(user["user"]["full_name"], Value::Null);
    assert_eq!(user["user"]["user_tags"], "new");
    assert_eq!(user["user"]["email"], "alpha@example.com");
    assert_ne!(user["user"]["updated_at"], user["user"]["created_at"]);
    world.get("/users/by_login.json?login=alpha", &app).expect(404);
    world.get("/users/by_login.json?login=alfa", &app).expect(200);
    // The name that was let go can be taken, the own name can be set again, another's cannot.
    let new = world.app_token(1);
    world.call("POST", "/users.json", &new, "user[login]=alpha&user[password]=password-1").expect(201);
    world.call("PUT", "/users/1.json", &token, "user[login]=ALFA").expect(200);
    world.call("PUT", "/users/1.json", &token, "user[login]=bravo").expect(422);
    world.call("PUT", "/users/1.json", &token, "").expect(200);
    world.call("PUT", "/users/2.json", &token, "user[full_name]=x").expect(403);
    world.call("PUT", "/users/99.json", &token, "user[full_name]=x").expect(403);
    let nameless = world.call("PUT", "/users/1.json", &token, r#"{"user":{"login":null,"email":""}}"#).expect(422);
    assert_eq!(nameless.at("/errors/login/0"), "or email can't be blank");
    assert_eq!(world.get("/users/1.json", &app).at("/user/login"), "ALFA");
    assert_eq!(world.rows_of("jobs"), 0);
}

#[test]
fn a_new_password_needs_the_present_one_and_keeps_tokens_alive() {
    let mut world = World::new();
    let user = world.sign_up(1, "bob");
    let token = world.user_token(1, "bob");
    let path = format!("/users/{user}.json");
    world.call("PUT", &path, &token, "user[password]=password-new").expect(422);
    let wrong = "user[password]=password-new&user[old_password]=wrong&user[full_name]=Changed";
    let reply = world.call("PUT", &path, &token, wrong).expect(422);
    assert_eq!(reply.json(), json!({"errors": {"old_password": ["is incorrect"]}}));
    assert!(world.get(&path, &token).at("/user/full_name").is_null(), "nothing of a refused change is done");
    assert!(world.logs_in(1, user, "password-bob"));
    let body = "user[password]=password-new&user[old_password]=password-bob&user[full_name]=Changed";
    world.call("PUT", &path, &token, body).expect(200);
    assert!(world.logs_in(1, user, "password-new") && !world.logs_in(1, user, "password-bob"));
    assert_eq!(world.get(&path, &token).at("/user/full_name"), "Changed");
    // The salt stays, so that SCRAM with the token of a live session goes on working.
    let facts = world.login_facts(1, user).expect("the user");
    assert!(facts.credentials.token_record(&token) == facts.tokens[0]);
}

#[test]
fn a_removed_user_is_gone_everywhere_and_the_number_stays_used() {
    let (mut world, app) = five();
    let (token, second) = (world.user_of("echo", "password-1"), world.user_of("echo", "password-1"));
    let other = world.user_of("alpha", "password-1");
    world.call("DELETE", "/users/5.json", &other, "").expect(403);
    world.call("DELETE", "/users/external/10.json", &other, "").expect(403);
    let reply = world.call("DELETE", "/users/external/10.json", &token, "").expect(200);
    assert_eq!(reply.text, "");
    world.get("/users/5.json", &app).expect(404);
    world.get("/users/by_login.json?login=echo", &app).expect(404);
    for token in [token, second] {
        world.get("/session.json", &token).expect(401);
    }
    assert!(world.login_facts(1, 5).is_none());
    assert_eq!((world.rows_of("tokens"), world.rows_of("jobs")), (1, 0));
    let body = "user[login]=echo&user[password]=password-1";
    assert_eq!(world.call("POST", "/users.json", &app, body).expect(201).at("/user/id"), 6);
}

#[test]
fn rest_calls_move_last_request_at() {
    let mut world = World::new();
    let user = world.sign_up(1, "bob");
    let token = world.user_token(1, "bob");
    world.pass(Duration::from_secs(3600));
    world.get("/session.json", &token).expect(200);
    let at = world.get(&format!("/users/{user}.json"), &token).at("/user/last_request_at");
    assert_eq!(at, "2016-03-23T17:20:00Z");
}

/// Whatever the crash leaves, a repetition (by the job, or by the caller) makes whole.
#[test]
fn a_crash_at_any_commit_of_a_sign_up_leaves_all_or_nothing() {
    for commits in 0..5 {
        let mut world = World::new();
        let token = world.app_token(1);
        let headers = [("QB-Token", token.as_str())];
        world.crash_after(commits);
        let target = "/users.json?user[login]=bob&user[password]=password-bob";
        let answered = world.try_call("POST", target, &headers, "").is_some();
        world.restart();
        let there = world.get("/users/by_login.json?login=bob", &token).code == 200;
        assert!(there || !answered, "{commits}");
        assert_eq!(
            there,
            world.logs_in(1, 1, "password-bob"),
            "{commits}: in the directory and in the account, or in neither"
        );
        assert_eq!(
            (world.rows_of("names"), world.rows_of("members"), world.rows_of("jobs")),
            (there.into(), there.into(), 0)
        );
    }
}

#[test]
fn a_crash_at_any_commit_of_a_change_or_removal_leaves_all_or_nothing() {
    for commits in 0..6 {
        let mut world = World::new();
        let user = world.sign_up(1, "bob");
        let token = world.user_token(1, "bob");
        let app = world.app_token(1);
        let headers = [("QB-Token", token.as_str())];
        world.crash_after(commits);
        let target =
            format!("/users/{user}.json?user[login]=rob&user[password]=password-new&user[old_password]=password-bob");
        let answered = world.try_call("PUT", &target, &headers, "").is_some();
        world.restart();
        let changed = world.get("/users/by_login.json?login=rob", &app).code == 200;
        assert!(changed || !answered, "{commits}");
        assert_eq!(changed, world.logs_in(1, user, "password-new"), "{commits}");
        assert_eq!(changed, !world.logs_in(1, user, "password-bob"), "{commits}");

        world.crash_after(commits);
        let answered = world.try_call("DELETE", &format!("/users/{user}.json"), &headers, "").is_some();
        world.restart();
        let gone = world.get(&format!("/users/{user}.json"), &app).code == 404;
        assert!(gone || !answered, "{commits}");
        assert_eq!(gone, world.login_facts(1, user).is_none(), "{commits}");
        assert_eq!(gone, world.get("/session.json", &token).code == 401, "{commits}");
        assert_eq!(world.rows_of("jobs"), 0);
    }
}

#[test]
fn a_sign_up_that_is_repeated_after_the_removal_brings_nobody_back() {
    let mut world = World::new();
    let user = world.sign_up(1, "bob");
    let token = world.user_token(1, "bob");
    let late = world.create_command(1, user);
    world.call("DELETE", &format!("/users/{user}.json"), &token, "").expect(200);
    world.deliver(1, user, late);
    assert!(world.login_facts(1, user).is_none());
    assert_eq!(world.rows_of("users"), 0);
}
