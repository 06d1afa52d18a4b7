//! The connection as a client meets it: bytes in, requests and bytes out.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What a client saw of a stream it sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<(Method, String, String, Vec<u8>)>,
    sent: String,
    closed: bool,
}

/// Sends `pieces`, answers each request with its path, and tells what came of it.
fn play(pieces: &[&[u8]], limits: &Limits) -> Seen {
    let mut connection = Connection::new(Instant::START);
    let mut seen = Seen::default();
    let mut out = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while !seen.closed {
            let now = Instant::START;
            match connection.feed(now, std::mem::take(&mut input), limits, &mut out) {
                Step::More => break,
                Step::Close => seen.closed = true,
                Step::Request(request) => {
                    let answer = Response::plain(Status::Ok, "text/plain", request.path().to_owned());
                    seen.closed = connection.respond(now, &answer, &mut out) == After::Close;
                    let (path, query) = (request.path().to_owned(), request.query().to_owned());
                    seen.requests.push((request.method(), path, query, request.body().to_vec()));
                }
                Step::Upload(..) | Step::Body => panic!("nothing is uploaded here"),
            }
        }
    }
    seen.sent = String::from_utf8(out).unwrap();
    seen
}

fn play_one(input: &str) -> Seen {
    play(&[input.as_bytes()], &Limits::default())
}

/// The status of the last answer.
fn status(seen: &Seen) -> u16 {
    let line = seen.sent.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).next_back();
    line.and_then(|line| line[..3].parse().ok()).unwrap_or_default()
}

/// One request, and the connection that waits for its answer.
fn request(input: &str) -> (Connection, Request) {
    let mut connection = Connection::new(Instant::START);
    match connection.feed(Instant::START, input.as_bytes(), &Limits::default(), &mut Vec::new()) {
        Step::Request(request) => (connection, *request),
        other => panic!("{other:?}"),
    }
}

const PIPELINE: &str = "\r\n\
    POST /session.json?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
    GET /users.json?page=1 HTTP/1.1\r\nHost: x\r\n\r\n\r\n\
    PUT /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n\
    HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
    DELETE /chat/Dialog/1%2C2.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n ";

#[test]
fn pipelined_requests_come_one_at_a_time_and_in_order() {
    let seen = play_one(PIPELINE);
    let expected = [
        (Method::Post, "/session.json", "a=1", "hello"),
        (Method::Get, "/users.json", "page=1", ""),
        (Method::Put, "/chat", "", "abcde"),
        (Method::Head, "/healthz", "", ""),
        (Method::Delete, "/chat/Dialog/1,2.json", "", " "),
    ];
    let expected = expected.map(|(method, path, query, body)| (method, path.into(), query.into(), body.into()));
    assert_eq!(seen.requests, expected);
    assert!(seen.closed);
    assert_eq!(seen.sent.matches("Connection: close\r\n").count(), 1);
    // The HEAD answer has a length and no body.
    assert!(seen.sent.contains("Content-Length: 8\r\n"));
    assert!(!seen.sent.contains("/healthz"));
}

#[test]
fn every_split_point_gives_the_same_requests_and_answers() {
    let whole = play_one(PIPELINE);
    for split in 0..PIPELINE.len() {
        let (one, two) = PIPELINE.as_bytes().split_at(split);
        assert_eq!(play(&[one, two], &Limits::default()), whole, "split at {split}");
    }
    let bytes: Vec<_> = PIPELINE.as_bytes().chunks(1).collect();
    assert_eq!(play(&bytes, &Limits::default()), whole);
}

#[test]
fn every_split_point_gives_the_same_refusal() {
    let limits = Limits { head_bytes_max: 64, ..Limits::default() };
    let long = "x".repeat(80);
    for input in [
        format!("GET /a HTTP/1.1\r\nHost: {long}\nA: b\r\n\r\n"),
        format!("GET /{long}\n HTTP/1.1\r\n\r\n"),
        format!("GET /a HTTP/1.1\r\nHost: x\nA: {long}\r\n\r\n"),
    ] {
        let whole = play(&[input.as_bytes()], &limits);
        let bytes: Vec<_> = input.as_bytes().chunks(1).collect();
        assert_eq!(play(&bytes, &limits), whole, "{input:?}");
        assert!(whole.closed);
    }
}

#[test]
fn limits_can_be_lowered_in_the_middle_of_a_request() {
    let lower = Limits { head_bytes_max: 32, body_bytes_max: 4, ..Limits::default() };
    for input in [
        format!("GET /a HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(40)),
        format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{}", "x".repeat(20)),
        format!(
            "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{}\r\n0\r\n\r\n",
            "x".repeat(20)
        ),
    ] {
        for split in 1..input.len() {
            let (before, after) = input.as_bytes().split_at(split);
            let mut connection = Connection::new(Instant::START);
            let mut out = Vec::new();
            let step = connection.feed(Instant::START, before, &Limits::default(), &mut out);
            assert!(matches!(step, Step::More), "{input:?} at {split}");
            let step = connection.feed(Instant::START, after, &lower, &mut out);
            assert!(matches!(step, Step::Request(_) | Step::Close), "{input:?} at {split}");
        }
    }
}

#[test]
fn every_prefix_of_a_request_is_partial() {
    for input in [
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        for end in 0..input.len() {
            let seen = play_one(&input[..end]);
            assert_eq!(seen, Seen::default(), "{:?}", &input[..end]);
        }
        assert_eq!(play_one(input).requests.len(), 1);
    }
}

#[test]
fn each_malformed_head_has_its_status() {
    let host = "Host: x\r\n";
    let cases: &[(String, u16)] = &[
        // What is not HTTP at all is told so at once.
        ("\x16\x03\x01".into(), 400),
        ("<stream:stream".into(), 400),
        ("get / HTTP/1.1\r\n".into(), 400),
        // The request line.
        (format!("GET /\r\n{host}\r\n"), 400),
        (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.1 \r\n{host}\r\n"), 400),
        (format!("GET / HTTX/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/2.0\r\n{host}\r\n"), 505),
        (format!("GET / HTTP/0.9\r\n{host}\r\n"), 505),
        ("PRI * HTTP/2.0\r\n\r\n".into(), 505),
        (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /\x01 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("BREW / HTTP/1.1\r\n{host}\r\n"), 501),
        (format!("TRACE / HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("CONNECT x:443 HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("GET /chat/Dialog/../../ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /%2e%2e/x HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /a%00 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET * HTTP/1.1\r\n{host}\r\n"), 400),
        // Line ends.
        ("GET / HTTP/1.1\nHost: x\n\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: x\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n".into(), 400),
        // Header fields.
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A : b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}: b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}A\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}QB-Token: a\0b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(200)), 431),
        (format!("GET / HTTP/1.1\r\n{host}A: {}\r\n\r\n", "x".repeat(20_000)), 431),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(20_000)), 414),
        (format!("GET /{}", "x".repeat(20_000)), 414),
        // Framing.
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 6\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: \r\n\r\nhello"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 18446744073709551615\r\n\r\n"), 413),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 104857600\r\n\r\n"), 413),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, chunked\r\n\r\n"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: identity\r\n\r\n"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n"), 413),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 400),
        ("POST / HTTP/1.0\r\n\r\n".into(), 411),
        (format!("POST / HTTP/1.1\r\n{host}Expect: tea\r\nContent-Length: 1\r\n\r\n"), 417),
    ];
    for (input, code) in cases {
        let shown = &input[..input.len().min(80)];
        let seen = play_one(input);
        assert_eq!(status(&seen), *code, "{shown:?}");
        assert!(seen.closed && seen.requests.is_empty(), "{shown:?}");
        assert!(seen.sent.contains("\r\nConnection: close\r\n"), "{shown:?}");
        assert!(seen.sent.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{shown:?}");
        let body = seen.sent.split("\r\n\r\n").nth(1).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["errors"][0].is_string(), "{shown:?}");
        // Refusals do not depend on how the bytes came.
        let bytes: Vec<_> = input.as_bytes().chunks(1).collect();
        let again = play(&bytes, &Limits::default());
        assert_eq!((status(&again), again.closed), (*code, true), "{shown:?} byte by byte");
    }
}

#[test]
fn what_follows_a_refused_request_is_not_read() {
    let smuggled = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    let seen = play_one(smuggled);
    assert!(seen.requests.is_empty() && seen.closed);
    assert_eq!(seen.sent.matches("HTTP/1.1 ").count(), 1);
}

#[test]
fn the_head_may_have_exactly_as_many_bytes_as_the_limit() {
    let input = "GET /abcdef HTTP/1.1\r\nHost: x\r\n\r\n";
    let limits = |head_bytes_max| Limits { head_bytes_max, ..Limits::default() };
    assert_eq!(play(&[input.as_bytes()], &limits(input.len())).requests.len(), 1);
    for pieces in [vec![input.as_bytes()], input.as_bytes().chunks(1).collect()] {
        assert_eq!(status(&play(&pieces, &limits(input.len() - 1))), 431);
    }
}

#[test]
fn the_body_may_have_exactly_as_many_bytes_as_the_limit() {
    let limits = Limits { body_bytes_max: 4, ..Limits::default() };
    let length = |body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunks = |body: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n3\r\n{}\r\n0\r\n\r\n",
            &body[..1],
            &body[1..]
        )
    };
    for input in [length("abcd"), chunks("abcd")] {
        assert_eq!(play(&[input.as_bytes()], &limits).requests[0].3, b"abcd");
    }
    for input in [length("abcde"), chunks("abcd").replace("3\r\nbcd", "4\r\nbcde")] {
        assert_eq!(status(&play(&[input.as_bytes()], &limits)), 413);
    }
}

#[test]
fn equal_content_lengths_are_one_length() {
    let seen = play_one("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(seen.requests[0].3, b"hi");
}

#[test]
fn keep_alive_follows_version_and_header() {
    for (input, closed, header) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, None),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", true, Some("close")),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: te, close\r\n\r\n", true, Some("close")),
        ("GET / HTTP/1.0\r\n\r\n", true, Some("close")),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false, Some("keep-alive")),
    ] {
        let seen = play_one(input);
        assert_eq!((seen.requests.len(), seen.closed), (1, closed), "{input:?}");
        let line = seen.sent.lines().find_map(|line| line.strip_prefix("Connection: "));
        assert_eq!(line, header, "{input:?}");
    }
}

#[test]
fn a_client_that_expects_100_gets_it_only_when_it_waits() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let waiting = play(&[head.as_bytes(), b"hi"], &Limits::default());
    assert!(waiting.sent.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
    let sending = play_one(&format!("{head}hi"));
    assert!(sending.sent.starts_with("HTTP/1.1 200 OK\r\n"));
    let without_body = play_one("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n");
    assert!(without_body.sent.starts_with("HTTP/1.1 200 OK\r\n"));
    let too_large = play_one(&head.replace(": 2", ": 2000000"));
    assert!(too_large.sent.starts_with("HTTP/1.1 413 "));
}

#[test]
fn deadlines_stand_while_we_wait_and_carry_their_reason() {
    let limits = Limits::default();
    let at = |secs| Instant::START + Duration::from_secs(secs);
    let mut out = Vec::new();
    let mut connection = Connection::new(at(1));
    assert_eq!(connection.deadline(&limits), Some((at(76), Reason::KeepAlive)));
    // Empty lines are no request and buy no time.
    let _more = connection.feed(at(50), b"\r\n\r\n", &limits, &mut out);
    assert_eq!(connection.deadline(&limits), Some((at(76), Reason::KeepAlive)));
    // One byte every ten seconds does not move the deadline either.
    for (secs, byte) in [(60, b"G"), (70, b"E"), (80, b"T")] {
        let _more = connection.feed(at(secs), byte, &limits, &mut out);
        assert_eq!(connection.deadline(&limits), Some((at(90), Reason::SlowRequest)));
    }
    assert!(out.is_empty());
    let step = connection.feed(at(81), b" / HTTP/1.1\r\nHost: x\r\n\r\nGE", &limits, &mut out);
    assert!(matches!(step, Step::Request(_)));
    assert_eq!(connection.deadline(&limits), None);
    assert_eq!(connection.respond(at(200), &Response::empty(Status::Ok), &mut out), After::KeepAlive);
    // A client that sent ahead has its time for taking the answer, and then for sending the rest.
    assert!(connection.is_behind() && !connection.wants_input());
    assert_eq!(connection.deadline(&limits), Some((at(275), Reason::KeepAlive)));
    assert!(matches!(connection.feed(at(200), b"", &limits, &mut out), Step::More));
    assert_eq!(connection.deadline(&limits), Some((at(230), Reason::SlowRequest)));
    out.clear();
    connection.expire(&mut out);
    assert!(out.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
    assert!(matches!(connection.feed(at(231), b"T", &limits, &mut out), Step::Close));
}

#[test]
fn silence_ends_without_a_word() {
    let mut out = Vec::new();
    let mut connection = Connection::new(Instant::START);
    connection.expire(&mut out);
    assert!(out.is_empty() && !connection.wants_input());
}

#[test]
fn a_body_shorter_than_promised_is_told_so() {
    let limits = Limits::default();
    let mut out = Vec::new();
    let mut connection = Connection::new(Instant::START);
    let input = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello";
    assert!(matches!(connection.feed(Instant::START, input, &limits, &mut out), Step::More));
    assert!(matches!(connection.end(&mut out), Step::Close));
    assert!(out.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answers() {
    let limits = Limits::default();
    let one = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n";
    for (rest, last) in
        [(String::new(), 200), (one.replace('1', "2").replace("2.2", "1.1"), 200), ("GET /".into(), 400)]
    {
        let mut out = Vec::new();
        let mut connection = Connection::new(Instant::START);
        let input = format!("{one}{rest}");
        let mut step = connection.feed(Instant::START, input.as_bytes(), &limits, &mut out);
        assert!(matches!(connection.end(&mut out), Step::More));
        while let Step::Request(_) = step {
            step = match connection.respond(Instant::START, &Response::empty(Status::Ok), &mut out) {
                After::KeepAlive => connection.feed(Instant::START, b"", &limits, &mut out),
                After::Close => Step::Close,
                After::Upgraded(_) | After::Stream => unreachable!("nobody asked for it"),
            };
        }
        assert!(matches!(step, Step::Close));
        let seen = Seen { sent: String::from_utf8(out).unwrap(), ..Seen::default() };
        assert_eq!(status(&seen), last);
        assert_eq!(seen.sent.matches("HTTP/1.1 200").count(), if rest.len() > 10 { 2 } else { 1 });
    }
}

#[test]
fn a_client_that_sends_on_and_on_while_it_waits_is_cut_off() {
    let (mut connection, _request) = request("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(connection.wants_input());
    let flood = vec![b'G'; READ_BUFFER_BYTES];
    let limits = Limits::default();
    assert!(matches!(connection.feed(Instant::START, &flood, &limits, &mut Vec::new()), Step::More));
    assert!(!connection.wants_input());
    assert!(matches!(connection.feed(Instant::START, &flood, &limits, &mut Vec::new()), Step::More));
    assert!(matches!(connection.feed(Instant::START, &flood, &limits, &mut Vec::new()), Step::Close));
}

#[test]
fn headers_are_found_in_any_case() {
    let (_, request) = request(
        "GET /?token=a%20b HTTP/1.1\r\nhost: x\r\nqb-TOKEN:  abc \r\nX-A: 1\r\nx-a: 2\r\nX-B: \u{ff}\r\nX-Empty:\r\n\r\n",
    );
    assert_eq!(request.token(), Some("abc"));
    assert_eq!(request.header_values("x-A").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(request.header("x-empty"), Some(""));
    assert_eq!(request.header("x-none"), None);
    assert_eq!(request.query(), "token=a%20b");
    assert!(!format!("{request:?}").contains("abc"));
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Connection>() <= 32, "{}", size_of::<Connection>());
}

#[test]
fn options_are_answered_for_browsers_of_any_origin() {
    let (mut connection, request) = request(
        "OPTIONS /chat/Dialog.json HTTP/1.1\r\nHost: x\r\nOrigin: https://app\r\nAccess-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: qb-token,content-type\r\n\r\n",
    );
    let mut out = Vec::new();
    let _after = connection.respond(Instant::START, &Response::preflight(&request), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(text.contains("\r\nAccess-Control-Allow-Headers: qb-token,content-type\r\n"));
    assert!(text.contains("\r\nAccess-Control-Allow-Methods: GET, POST, PUT, DELETE, OPTIONS\r\n"));
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, xmpp\r\n\r\n";

#[test]
fn an_upgrade_hands_over_the_unread_bytes() {
    let (mut connection, request) = request(&format!("{UPGRADE}\r\nframes"));
    let upgrade = request.websocket_upgrade().unwrap().unwrap();
    let mut out = Vec::new();
    let after = connection.respond(Instant::START, &upgrade.response(), &mut out);
    assert_eq!(after, After::Upgraded(b"\r\nframes".to_vec()));
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    for line in [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: xmpp",
    ] {
        assert_eq!(text.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}");
    }
    assert!(!text.contains("Content-Length"));
}

#[test]
fn improper_upgrades_are_refused() {
    for (from, to, code) in [
        ("GET", "POST", 400),
        ("Upgrade: websocket\r\nConnection: keep-alive, Upgrade", "Upgrade: websocket", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: x", 400),
        ("Version: 13", "Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        ("chat, xmpp", "chat, xmpp2", 400),
        ("Sec-WebSocket-Protocol: chat, xmpp\r\n", "", 400),
    ] {
        let input = UPGRADE.replace(from, to);
        assert_ne!(input, UPGRADE);
        let refusal = request(&input).1.websocket_upgrade().unwrap().unwrap_err();
        assert_eq!(refusal.status().code(), code, "{to}");
        let version = refusal.header_value("sec-websocket-version");
        assert_eq!(version, (code == 426).then_some("13"), "{to}");
    }
    assert!(request("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").1.websocket_upgrade().is_none());
}

proptest! {
    #[test]
    fn no_input_makes_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
        let _seen = play(&pieces, &Limits::default());
    }

    #[test]
    fn damage_and_splits_never_panic_and_agree(at in 0..PIPELINE.len(), byte: u8, split in 0..PIPELINE.len()) {
        let mut damaged = PIPELINE.as_bytes().to_vec();
        damaged[at] = byte;
        let (one, two) = damaged.split_at(split);
        let whole = play(&[&damaged], &Limits::default());
        let pieces = play(&[one, two], &Limits::default());
        prop_assert_eq!(&whole.requests, &pieces.requests);
        prop_assert_eq!(whole.closed, pieces.closed);
    }
}

/// What became of an upload whose bytes came in these pieces, each piece of its body dealt with before the next is taken.
fn upload(pieces: &[&[u8]], limits: &Limits) -> (Vec<u8>, Seen) {
    let mut connection = Connection::new(Instant::START);
    let (mut seen, mut out, mut body) = (Seen::default(), Vec::new(), Vec::new());
    let answer = Response::plain(Status::Created, "text/plain", "");
    for piece in pieces {
        let mut step = connection.feed(Instant::START, piece, limits, &mut out);
        loop {
            step = match step {
                Step::More => break,
                Step::Close => {
                    seen.closed = true;
                    break;
                }
                Step::Upload(request, bytes) => {
                    let (path, query) = (request.path().to_owned(), request.query().to_owned());
                    seen.requests.push((request.method(), path, query, bytes.to_string().into()));
                    connection.accept_body(Instant::START, &mut out)
                }
                Step::Body => {
                    let (piece, last) = connection.take_body().expect("it said so");
                    assert!(last || !connection.wants_input(), "one piece at a time");
                    body.extend_from_slice(&piece);
                    if last {
                        seen.closed = connection.respond(Instant::START, &answer, &mut out) == After::Close;
                        connection.feed(Instant::START, &[], limits, &mut out)
                    } else {
                        connection.more_body()
                    }
                }
                Step::Request(request) => {
                    seen.requests.push((request.method(), request.path().to_owned(), String::new(), Vec::new()));
                    seen.closed = connection.respond(Instant::START, &answer, &mut out) == After::Close;
                    connection.feed(Instant::START, &[], limits, &mut out)
                }
            };
        }
    }
    seen.sent = String::from_utf8(out).unwrap();
    (body, seen)
}

const UPLOAD: &str = "PUT /upload/a/b?k HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world\
                      GET /next HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn an_upload_comes_in_pieces_however_it_is_cut() {
    let expected = [
        (Method::Put, "/upload/a/b".to_owned(), "k".to_owned(), b"11".to_vec()),
        (Method::Get, "/next".to_owned(), String::new(), Vec::new()),
    ];
    // No limit of ordinary bodies holds: nothing of this one is gathered.
    let limits = Limits { body_bytes_max: 1, ..Limits::default() };
    for at in 0..=UPLOAD.len() {
        let (first, second) = UPLOAD.as_bytes().split_at(at);
        let (body, seen) = upload(&[first, second], &limits);
        assert_eq!((body.as_slice(), seen.closed), (&b"hello world"[..], false), "cut at {at}");
        assert_eq!(seen.requests, expected, "cut at {at}");
    }
}

#[test]
fn an_upload_is_asked_for_only_once_it_is_wanted() {
    let head = "PUT /upload/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut connection = Connection::new(Instant::START);
    let mut out = Vec::new();
    let step = connection.feed(Instant::START, head.as_bytes(), &Limits::default(), &mut out);
    assert!(matches!(step, Step::Upload(_, 3)) && out.is_empty());
    assert_eq!(connection.deadline(&Limits::default()), None, "the time is ours");
    assert!(matches!(connection.accept_body(Instant::START, &mut out), Step::More));
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    // Refused, it is not read: what comes of it must not look like a request.
    let mut connection = Connection::new(Instant::START);
    assert!(matches!(connection.feed(Instant::START, head.as_bytes(), &Limits::default(), &mut out), Step::Upload(..)));
    let refusal = Response::plain(Status::NotFound, "text/plain", "");
    assert_eq!(connection.respond(Instant::START, &refusal, &mut out), After::Close);
}

#[test]
fn an_upload_has_as_much_time_as_its_bytes_earn() {
    let limits = Limits::default();
    let mut connection = Connection::new(Instant::START);
    let mut out = Vec::new();
    let head = "PUT /upload/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let _upload = connection.feed(Instant::START, head.as_bytes(), &limits, &mut out);
    let _more = connection.accept_body(Instant::START, &mut out);
    let due = |connection: &Connection| connection.deadline(&limits).map(|(at, _)| at);
    assert_eq!(due(&connection), Some(Instant::START + limits.request_time_max));
    let _body = connection.feed(Instant::START, &[b'x'; 8_192], &limits, &mut out);
    assert!(connection.take_body().is_some_and(|(piece, last)| piece.len() == 8_192 && !last));
    assert_eq!(due(&connection), None, "the disk's time is not the client's");
    let _more = connection.more_body();
    assert_eq!(due(&connection), Some(Instant::START + limits.request_time_max + Duration::from_secs(2)));
    connection.expire(&mut out);
    assert!(String::from_utf8(out).unwrap().contains("408 Request Timeout"));
}

#[test]
fn an_upload_says_how_long_it_is_and_ends_whole() {
    let chunked = "PUT /upload/a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(status(&play_one(chunked)), 411);
    let mut connection = Connection::new(Instant::START);
    let mut out = Vec::new();
    let head = "PUT /upload/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel";
    let _upload = connection.feed(Instant::START, head.as_bytes(), &Limits::default(), &mut out);
    let _body = connection.accept_body(Instant::START, &mut out);
    assert!(connection.take_body().is_some());
    assert!(matches!(connection.end(&mut out), Step::Close), "the rest never comes");
    assert!(String::from_utf8(out).unwrap().starts_with("HTTP/1.1 400"));
}

#[test]
fn a_streamed_answer_holds_the_connection_until_it_is_out() {
    let (mut connection, _) = request("GET /upload/a/b HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut out = Vec::new();
    let answer = Response::stream(Status::Ok, "image/png", 70_000);
    assert_eq!(connection.respond(Instant::START, &answer, &mut out), After::Stream);
    let head = String::from_utf8(out).unwrap();
    assert!(head.contains("Content-Length: 70000\r\n") && head.ends_with("\r\n\r\n"));
    assert!(!connection.wants_input() && connection.deadline(&Limits::default()).is_none());
    assert_eq!(connection.finish_stream(Instant::START), After::KeepAlive);
    assert!(matches!(
        connection.feed(Instant::START, &[], &Limits::default(), &mut Vec::new()),
        Step::Request(next) if next.path() == "/"
    ));
    let (mut connection, _) = request("HEAD /upload/a/b HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut out = Vec::new();
    assert_eq!(connection.respond(Instant::START, &answer, &mut out), After::KeepAlive, "there is no body to wait for");
    let not_modified = Response::plain(Status::NotModified, "", "");
    let (mut connection, _) = request("GET /upload/a/b HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut out = Vec::new();
    let _after = connection.respond(Instant::START, &not_modified, &mut out);
    assert!(!String::from_utf8(out).unwrap().contains("Content-"));
}
