//! Files as a client brings and fetches them.

use super::*;
use crate::flow::world::World;

fn world() -> World {
    let mut world = World::new();
    world.sign_up(1, "romeo");
    world
}

/// What `GET` of a path gives: the code, the body if there is one, and the answer's head.
fn fetch(world: &mut World, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>, Response) {
    world.body.clear();
    let reply = world.try_call("GET", path, headers, "").expect("no crash was asked for");
    (reply.code, world.body.clone(), reply.response)
}

#[test]
fn what_was_put_can_be_had_as_it_was() {
    let mut world = world();
    let (put, get) = world.slot(1, "a.png", 5, Some("image/png"));
    assert_eq!(fetch(&mut world, &get, &[]).0, 404, "not there yet");
    assert_eq!(world.upload(&put, &[("Content-Type", "image/PNG")], b"hello").code, 201);
    let (code, body, answer) = fetch(&mut world, &get, &[]);
    assert_eq!((code, body.as_slice()), (200, &b"hello"[..]));
    for (name, value) in [
        ("Cache-Control", "public, max-age=86400, immutable"),
        ("Content-Disposition", "inline; filename*=UTF-8''a.png"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
    ] {
        assert_eq!(answer.header_value(name), Some(value));
    }
    let tag = answer.header_value("ETag").expect("a tag").to_owned();
    assert_eq!(fetch(&mut world, &get, &[("If-None-Match", &format!("\"x\", {tag}"))]).0, 304);
    world.call("HEAD", &get, "", "").expect(200);
    world.call("OPTIONS", &get, "", "").expect(200);
    assert_eq!(world.call("DELETE", &get, "", "").code, 405);
}

#[test]
fn a_slot_takes_one_file_of_the_size_and_type_it_was_for() {
    let mut world = world();
    let (put, get) = world.slot(1, "a.png", 5, Some("image/png"));
    let png: &[(&str, &str)] = &[("Content-Type", "image/png")];
    for (code, body) in [(413, &b"hello!"[..]), (400, b"hell"), (400, b"")] {
        assert_eq!(world.upload(&put, png, body).code, code);
    }
    assert_eq!(world.upload(&put, &[("Content-Type", "text/html")], b"hello").code, 415);
    assert!(world.files.is_empty());
    assert_eq!(world.upload(&put, png, b"hello").code, 201);
    assert_eq!(world.upload(&put, png, b"other").code, 409);
    assert_eq!(fetch(&mut world, &get, &[]).1, b"hello");
}

#[test]
fn nobody_puts_where_he_was_given_no_place() {
    let mut world = world();
    let (put, get) = world.slot(1, "a.png", 5, None);
    let (other, _) = world.slot(1, "b.png", 5, None);
    let key = other.rsplit_once('-').expect("a key").1;
    for target in [
        get.clone(),
        format!("{get}?"),
        format!("{get}?1-1-{key}"),
        put.replace("?1-1-", "?2-1-"),
        put.replace("?1-1-", "?1-2-"),
        put.replace("?1-1-", "?01-1-"),
        put.replace("a.png", "b.png"),
        put.replace("/a.png", ""),
        put.replace("/a.png", "/x/a.png"),
        put.replace("/upload/", "/upload/x"),
    ] {
        assert_eq!(world.upload(&target, &[], b"hello").code, 404, "{target}");
    }
    world.pass(std::time::Duration::from_secs(601));
    assert_eq!(world.upload(&put, &[], b"hello").code, 404, "too late");
    assert!(world.files.is_empty());
}

#[test]
fn a_full_or_broken_disk_says_so_and_the_slot_stays() {
    let mut world = world();
    let (put, get) = world.slot(1, "a.png", 5, None);
    for (failure, code) in [(Received::Full, 507), (Received::Failed, 503)] {
        world.files_fail = Some(failure);
        assert_eq!(world.upload(&put, &[], b"hello").code, code);
        assert_eq!(fetch(&mut world, &get, &[]).0, 404);
    }
    world.files_fail = None;
    assert_eq!(world.upload(&put, &[], b"hello").code, 201);
}

#[test]
fn a_file_that_the_account_does_not_count_does_not_stay() {
    let mut world = world();
    let (put, get) = world.slot(1, "a.png", 5, None);
    assert_eq!(world.upload(&put, &[], b"hello").code, 201);
    // One whose row went while it came, with its user.
    let (file, _) = address(&get).expect("an address");
    let nobody = AccountId { app: proto::jid::user::AppId(1), user: proto::jid::user::UserId(9) };
    assert_eq!(world.carry_out(keep(nobody, file)), 404);
    assert!(world.files.is_empty());
}

#[test]
fn a_file_ends_when_it_should_even_if_it_is_still_there() {
    let mut world = world();
    let (put, get) = world.slot(1, "a.png", 5, None);
    assert_eq!(world.upload(&put, &[], b"hello").code, 201);
    world.pass(std::time::Duration::from_secs(86_400));
    assert_eq!(fetch(&mut world, &get, &[]).0, 200);
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(fetch(&mut world, &get, &[]).0, 404);
}

#[test]
fn nothing_that_was_uploaded_runs_in_our_name() {
    let mut world = world();
    for (kind, shown) in [
        ("text/html", false),
        ("text/html; charset=utf-8", false),
        ("image/svg+xml", false),
        ("image/SVG+XML", false),
        ("application/xhtml+xml", false),
        ("text/xml", false),
        ("application/javascript", false),
        ("application/pdf", false),
        ("application/octet-stream", false),
        ("image/png", true),
        ("video/mp4", true),
        ("audio/ogg; codecs=opus", true),
        ("text/plain; charset=utf-8", true),
    ] {
        let (put, get) = world.slot(1, "a.html", 1, Some(kind));
        assert_eq!(world.upload(&put, &[], b"x").code, 201);
        let answer = fetch(&mut world, &get, &[]).2;
        let how = answer.header_value("Content-Disposition").expect("how");
        assert_eq!(how.starts_with("inline;"), shown, "{kind}: {how}");
        let policy = answer.header_value("Content-Security-Policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
        assert_eq!(answer.header_value("X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn a_type_that_nobody_announced_is_the_one_it_came_with() {
    let mut world = world();
    for (given, kept) in [("image/gif", "image/gif"), ("rubbish", "application/octet-stream")] {
        let (put, _) = world.slot(1, "a", 1, None);
        assert_eq!(world.upload(&put, &[("Content-Type", given)], b"x").code, 201);
        let (label, _) = world.files.values().last().expect("the file").clone();
        assert_eq!(label.content_type, kept);
        world.files.clear();
    }
}

#[test]
fn parts_of_files_can_be_had() {
    let mut world = world();
    let (put, get) = world.slot(1, "a", 10, None);
    assert_eq!(world.upload(&put, &[], b"0123456789").code, 201);
    for (range, code, body, of) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=8-99999999999999999999999", 206, "89", Some("bytes 8-9/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=-0", 416, "", Some("bytes */10")),
        ("bytes=4-2", 200, "0123456789", None),
        ("bytes=1-2,4-5", 200, "0123456789", None),
        ("bytes=+1-2", 200, "0123456789", None),
        ("lines=1-2", 200, "0123456789", None),
    ] {
        let (got, sent, answer) = fetch(&mut world, &get, &[("Range", range)]);
        assert_eq!((got, answer.header_value("Content-Range")), (code, of), "{range}");
        if code != 416 {
            assert_eq!(String::from_utf8(sent).expect("text"), body, "{range}");
        }
    }
    let other = [("Range", "bytes=2-4"), ("If-Range", "\"another\"")];
    assert_eq!(fetch(&mut world, &get, &other).0, 200, "of another file there are no parts");
}
