//! The head of a request: where it ends, what it says, and how its body is framed.

use memchr::memchr_iter;
use smallvec::SmallVec;

use super::request::{Fields, Span};
use super::{Method, Status, Version, target};
use crate::problem::Problem;

/// What a head says.
pub(super) struct Head {
    pub method: Method,
    pub version: Version,
    pub path: String,
    pub query: Span,
    pub fields: Fields,
    pub body: Framing,
    /// The client can take another answer on this connection.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// How a body is delimited. RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Finds the end of a head, looking at each byte once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes looked at.
    seen: usize,
    /// Where the line after the last line end begins.
    line: usize,
}

/// Header fields of one request; more than any client sends, few enough for the stack.
pub(super) const HEADERS_MAX: usize = 100;
/// No configuration makes heads larger than this.
pub(super) const HEAD_BYTES_MAX: usize = 1024 * 1024;

impl Scan {
    /// The length of the head that `bytes` begins with, once all of it is there.
    ///
    /// `bytes` must be what it was at the last call, or longer. Lines end in CR LF and nothing else: a server in front of this
    /// one that counts lines differently would see other requests than we do.
    pub(super) fn end(&mut self, bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Problem> {
        let bytes_max = bytes_max.min(HEAD_BYTES_MAX);
        // No method begins with anything else; a TLS hello or an XML stream need not wait for a line end to be told so.
        if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            return Err(Problem::malformed("This is not a HTTP/1.1 request"));
        }
        // What lies beyond the limit is not looked at, or the refusal would depend on how much of it came at once.
        let within = &bytes[..bytes.len().min(bytes_max)];
        let seen = std::mem::replace(&mut self.seen, within.len());
        // A limit that was lowered meanwhile can lie before what was looked at.
        for at in memchr_iter(b'\n', within.get(seen..).unwrap_or_default()).map(|at| seen + at) {
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Problem::malformed("A line of the head does not end in CR LF"));
            }
            if at - 1 == self.line {
                return Ok(Some(at + 1));
            }
            self.line = at + 1;
        }
        if bytes.len() < bytes_max {
            return Ok(None);
        }
        Err(match self.line {
            0 => Problem::list(Status::UriTooLong, "The request target is too long"),
            _ => Problem::list(Status::HeadersTooLarge, "The headers are too large"),
        })
    }
}

/// Reads a complete head.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, Problem> {
    let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut raw = httparse::Request::new(&mut storage);
    match raw.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Problem::malformed("The head does not end where it says")),
        Err(error) => return Err(syntax(error, bytes)),
    }
    let version = match raw.version {
        Some(0) => Version::Http10,
        Some(1) => Version::Http11,
        _ => return Err(Problem::list(Status::VersionNotSupported, "This server speaks HTTP/1.1")),
    };
    let method = method(raw.method.unwrap_or_default())?;
    let target = raw.path.unwrap_or_default();
    let offset = Span::of(target.as_bytes(), bytes).range().start;
    let target = target::parse(target)?;
    if target.path == "*" && method != Method::Options {
        return Err(Problem::malformed("Only OPTIONS can ask for *"));
    }
    let facts = Facts::gather(raw.headers)?;
    if version == Version::Http11 && facts.hosts != 1 {
        // RFC 9112 §3.2: neither none nor several.
        return Err(Problem::malformed("A HTTP/1.1 request has exactly one Host header"));
    }
    let fields: Fields = raw
        .headers
        .iter()
        .map(|field| (Span::of(field.name.as_bytes(), bytes), Span::of(field.value, bytes)))
        .collect();
    Ok(Head {
        method,
        version,
        path: target.path,
        query: Span::from(offset + target.query.start..offset + target.query.end),
        fields,
        body: facts.framing(version, method)?,
        keep_alive: match version {
            Version::Http10 => facts.keep_alive && !facts.close,
            Version::Http11 => !facts.close,
        },
        expects_continue: facts.expects_continue && version == Version::Http11,
    })
}

fn syntax(error: httparse::Error, bytes: &[u8]) -> Problem {
    match error {
        httparse::Error::TooManyHeaders => Problem::list(Status::HeadersTooLarge, "There are too many headers"),
        httparse::Error::Version if names_a_version(bytes) => {
            Problem::list(Status::VersionNotSupported, "This server speaks HTTP/1.1")
        }
        httparse::Error::HeaderName => Problem::malformed("A header has no proper name, or continues on a second line"),
        httparse::Error::HeaderValue => Problem::malformed("A header value has a control character"),
        httparse::Error::Version | httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status => {
            Problem::malformed("The request line is not METHOD TARGET HTTP/1.1")
        }
    }
}

/// Whether the third and last word of the request line is some `HTTP/1.1`, and not the rest of a target with a blank in it.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    words.next().is_none() && matches!(version, Some([b'0'..=b'9', b'.', b'0'..=b'9']))
}

fn method(name: &str) -> Result<Method, Problem> {
    match name {
        "TRACE" | "CONNECT" => Err(Problem::method_not_allowed()),
        _ => Method::from_name(name)
            .ok_or_else(|| Problem::list(Status::NotImplemented, "This method is not known here")),
    }
}

/// What the headers say about framing and the connection.
#[derive(Default)]
struct Facts {
    hosts: usize,
    length: Option<u64>,
    codings: SmallVec<[Coding; 1]>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

#[derive(PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl Facts {
    fn gather(headers: &[httparse::Header<'_>]) -> Result<Facts, Problem> {
        let mut facts = Facts::default();
        for header in headers {
            facts.add(header.name, header.value)?;
        }
        Ok(facts)
    }

    fn add(&mut self, name: &str, value: &[u8]) -> Result<(), Problem> {
        if name.eq_ignore_ascii_case("host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case("content-length") {
            for part in words(value) {
                let length = digits(part).ok_or(Problem::malformed("Content-Length is not a number"))?;
                // RFC 9112 §6.3: equal repetitions are one length, differing ones are an attack.
                if self.length.is_some_and(|other| other != length) {
                    return Err(Problem::malformed("There are several Content-Lengths"));
                }
                self.length = Some(length);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.codings.extend(words(value).map(|word| match word.eq_ignore_ascii_case(b"chunked") {
                true => Coding::Chunked,
                false => Coding::Other,
            }));
        } else if name.eq_ignore_ascii_case("connection") {
            for word in words(value) {
                self.close |= word.eq_ignore_ascii_case(b"close");
                self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name.eq_ignore_ascii_case("expect") {
            if !value.trim_ascii().eq_ignore_ascii_case(b"100-continue") {
                return Err(Problem::list(Status::ExpectationFailed, "Only 100-continue can be expected"));
            }
            self.expects_continue = true;
        }
        Ok(())
    }

    fn framing(&self, version: Version, method: Method) -> Result<Framing, Problem> {
        match (&self.codings[..], self.length) {
            ([], Some(length)) => Ok(Framing::Length(length)),
            ([], None) => match (version, method) {
                // A HTTP/1.0 body may last until the connection closes; nobody could answer that.
                (Version::Http10, Method::Post | Method::Put | Method::Patch) => {
                    Err(Problem::list(Status::LengthRequired, "A Content-Length is required"))
                }
                _ => Ok(Framing::Length(0)),
            },
            (_, Some(_)) => Err(Problem::malformed("There are both Content-Length and Transfer-Encoding")),
            ([Coding::Chunked], None) if version == Version::Http11 => Ok(Framing::Chunked),
            (_, None) if version == Version::Http10 => Err(Problem::malformed("HTTP/1.0 has no Transfer-Encoding")),
            (_, None) => Err(Problem::list(Status::NotImplemented, "The only Transfer-Encoding here is chunked")),
        }
    }
}

/// The words of a comma-separated list, empty ones included.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A number of digits only: no sign, no blanks, no overflow.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
