//! One complete request.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

/// A request with its whole body. Not cheap to copy, easy to read: everything borrows from one buffer.
pub struct Request {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) path: String,
    pub(super) query: Span,
    pub(super) fields: Fields,
    /// The head as it came; spans point into it.
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// A method this server has a use for, or answers with 405.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9110 §9.3 and RFC 5789")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// The protocol version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    Http11,
}

/// A piece of the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// Names and values of the header fields, in order.
pub(super) type Fields = SmallVec<[(Span, Span); 12]>;

impl Request {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method to route by: HEAD is GET whose body the connection leaves out.
    pub fn route_method(&self) -> Method {
        match self.method {
            Method::Head => Method::Get,
            Method::Get | Method::Post | Method::Put | Method::Patch | Method::Delete | Method::Options => self.method,
        }
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The path, percent-decoded once, beginning with `/`; or `*`. Never has a segment `.` or `..`, nor a control character.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query as it came, without `?`; empty when there is none.
    pub fn query(&self) -> &str {
        self.text(self.query).unwrap_or_default()
    }

    /// The first header of this name, in any case of letters. `None` too when it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next()
    }

    /// All headers of this name that are UTF-8, in order.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(field, _)| self.head[field.range()].eq_ignore_ascii_case(name.as_bytes()))
            .filter_map(|(_, value)| self.text(*value))
    }

    /// Whether a header that is a list of words, as `Connection` is, has this one.
    pub fn header_has(&self, name: &str, word: &str) -> bool {
        self.header_values(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    }

    /// The header `QB-Token`.
    pub fn token(&self) -> Option<&str> {
        self.header("qb-token")
    }

    /// The header `Content-Type`.
    pub fn content_type(&self) -> Option<&str> {
        self.header("content-type")
    }

    /// The whole body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    fn text(&self, span: Span) -> Option<&str> {
        std::str::from_utf8(&self.head[span.range()]).ok()
    }
}

/// Headers, query and body carry tokens, passwords and messages; logs get none of them.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Method {
    /// The method of this name, which is case-sensitive.
    pub(super) fn from_name(name: &str) -> Option<Method> {
        Some(match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => return None,
        })
    }
}

impl Span {
    /// The span of `part` inside `whole`, which it must borrow from.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Span::from(start..start + part.len())
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl From<Range<usize>> for Span {
    /// Heads are far below 4 GiB (`head::HEAD_BYTES_MAX`), so nothing is cut off.
    fn from(range: Range<usize>) -> Span {
        Span { start: range.start as u32, end: range.end as u32 }
    }
}
