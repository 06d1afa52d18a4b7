//! However a connection's bytes are cut into reads, and however late its answers come, the requests and the answers are the same.

use proto::limits::Limits;
use proto::time::Instant;
use rest::http::{After, Connection, Method, Request, Response, Status, Step};
use rest::params::Params;

/// Longer inputs teach nothing, and could pass what may be sent ahead.
const STREAM_BYTES_MAX: usize = 32 * 1024;
/// More than any head that is written here, and any body.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Method, path, query, `Content-Type` and body.
type Asked = (Method, String, String, Option<String>, Vec<u8>);

/// What came of a stream. `100 Continue` is left out: whether it is sent depends on the cuts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    requests: Vec<Asked>,
    answers: Vec<u8>,
    /// The connection ended before the input did, or with a refusal.
    closed: bool,
    /// What came after an upgrade.
    upgraded: Option<Vec<u8>>,
}

/// The first byte is the size of reads; the rest is what a client sends.
pub fn run(data: &[u8]) {
    let &[cut, ref stream @ ..] = data else { return };
    if stream.len() > STREAM_BYTES_MAX {
        return;
    }
    let whole = play(stream, stream.len().max(1), false);
    check_answers(&whole);
    assert_eq!(whole, play(stream, 1, false), "byte by byte");
    let cut = usize::from(cut).max(1);
    assert_eq!(whole, play(stream, cut, false), "reads of {cut} bytes");
    assert_eq!(whole, play(stream, cut, true), "reads of {cut} bytes, with late answers");
}

fn play(stream: &[u8], read_bytes: usize, late: bool) -> Seen {
    // Small enough for a fuzzer to reach.
    let limits = Limits { head_bytes_max: 512, body_bytes_max: 256, ..Limits::default() };
    let now = Instant::START;
    let mut connection = Connection::new(now);
    let mut seen = Seen::default();
    let mut reads = stream.chunks(read_bytes);
    'reading: while let Some(mut input) = reads.next() {
        loop {
            let mut out = Vec::new();
            let step = connection.feed(now, std::mem::take(&mut input), &limits, &mut out);
            let request = match step {
                Step::More => {
                    assert!(out.is_empty() || out == CONTINUE);
                    break;
                }
                Step::Close => {
                    seen.answers.extend_from_slice(&out);
                    seen.closed = true;
                    break 'reading;
                }
                // Nobody wants it, and nothing of it is read.
                Step::Request(request) | Step::Upload(request, _) => request,
                Step::Body => unreachable!("no body was accepted"),
            };
            assert!(out.is_empty() && connection.deadline(&limits).is_none());
            if late && let Some(read) = reads.next() {
                let step = connection.feed(now, read, &limits, &mut out);
                assert!(matches!(step, Step::More) && out.is_empty(), "one request at a time");
            }
            let after = connection.respond(now, &answer(&request), &mut seen.answers);
            seen.requests.push(noted(&request));
            match after {
                After::KeepAlive => {}
                After::Close => {
                    seen.closed = true;
                    break 'reading;
                }
                After::Stream => unreachable!("every answer is whole"),
                After::Upgraded(mut rest) => {
                    rest.extend(reads.flatten());
                    seen.upgraded = Some(rest);
                    return seen;
                }
            }
        }
    }
    if !seen.closed {
        let idle = connection.is_idle();
        assert!(matches!(connection.end(&mut seen.answers), Step::Close), "no answer is owed any more");
        seen.closed = !idle;
    }
    assert!(connection.deadline(&limits).is_none() && !connection.wants_input());
    seen
}

fn noted(request: &Request) -> Asked {
    let path = request.path();
    assert!(path == "*" || path.starts_with('/'));
    assert!(!path.contains(char::is_control) && !path.split('/').any(|segment| segment == "." || segment == ".."));
    // Whatever is in it, reading it is safe.
    let _ = (Params::decode(request), request.token(), request.header_has("connection", "close"));
    let query = request.query().to_owned();
    let content_type = request.content_type().map(str::to_owned);
    (request.method(), path.to_owned(), query, content_type, request.body().to_vec())
}

/// Answers that repeat as much of the request as any do.
fn answer(request: &Request) -> Response {
    let id = request.header("x-request-id").unwrap_or_default();
    match request.websocket_upgrade() {
        Some(Ok(upgrade)) => upgrade.response().request_id(id),
        Some(Err(refusal)) => refusal.request_id(id),
        None if request.method() == Method::Options => Response::preflight(request).request_id(id),
        None => Response::plain(Status::Ok, "text/plain", request.path().to_owned()).request_id(id),
    }
}

/// The answers are as many as the requests, and one more if the last was refused; nothing a client sends adds a header or a body.
fn check_answers(seen: &Seen) {
    let mut rest = seen.answers.as_slice();
    for (method, ..) in &seen.requests {
        rest = after_answer(rest, *method == Method::Head);
    }
    if !rest.is_empty() {
        assert!(seen.closed);
        // Whether a refused request was a HEAD shows in its answer alone.
        let head_only = rest.ends_with(b"\r\n\r\n");
        rest = after_answer(rest, head_only);
    }
    assert!(rest.is_empty());
    assert!(seen.answers.len() <= (seen.requests.len() + 1) * ANSWER_BYTES_MAX);
}

fn after_answer(bytes: &[u8], head_only: bool) -> &[u8] {
    const END: &[u8] = b"\r\n\r\n";
    let end = bytes.windows(END.len()).position(|window| window == END).expect("an answer has a head");
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("it begins with a status line");
    let mut body_bytes = None;
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header has a colon");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !value.contains(char::is_control)
        );
        if name == "Content-Length" {
            assert!(body_bytes.replace(value.parse::<usize>().expect("a length is a number")).is_none());
        }
    }
    let body_bytes = if head_only || status.starts_with("101 ") { 0 } else { body_bytes.expect("a body has a length") };
    &bytes[end + END.len() + body_bytes..]
}
