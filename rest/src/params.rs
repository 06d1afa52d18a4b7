//! The parameters of a call: one tree, whatever form they came in (quickblox-wire.md §2.1).
//!
//! Query and body are decoded into the same [`Map`], the body's names replacing the query's, for every method, GET and DELETE
//! included. Forms carry only text and JSON carries types, so resources read values through accessors that take either:
//! `params.int("limit")` finds `10`, `"10"` and `limit=10`.

mod brackets;
mod json;
mod multipart;
mod value;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::http::{Request, Response, Status};
use crate::problem::Problem;

pub use value::{IdsError, Map, Number, Value};

/// Lists and maps inside each other, the outermost included.
pub const DEPTH_MAX: usize = 32;
/// Values of one request, lists and maps counted as well.
pub const VALUES_MAX: usize = 20_000;
/// Ids in one list.
pub const IDS_MAX: usize = proto::limits::OCCUPANTS_MAX;

/// The parameters of one request.
#[derive(Clone, Default, PartialEq)]
pub struct Params {
    map: Map,
    files: Vec<File>,
}

/// A part of a multipart body that is no text field.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// The name of the form field; `file` for uploads.
    pub field: String,
    /// As the client says, not to be trusted as a path. Some SDKs send none.
    pub filename: Option<String>,
    /// As the client says.
    pub content_type: Option<String>,
    /// The content, sharing the request's buffer.
    pub bytes: Bytes,
}

/// What a body is.
enum Form {
    Json,
    UrlEncoded,
    Multipart { boundary: String },
    Unknown,
}

impl Params {
    /// The parameters of a request, or the 400, 413 or 415 that says what is wrong with them.
    pub fn decode(request: &Request) -> Result<Params, Problem> {
        Params::from_parts(request.query(), request.content_type(), request.body())
    }

    /// The same from a raw query, a `Content-Type` and a body.
    pub fn from_parts(query: &str, content_type: Option<&str>, body: &Bytes) -> Result<Params, Problem> {
        let mut budget = Budget::new();
        let mut params = Params::default();
        brackets::decode(query.as_bytes(), &mut budget, &mut params.map)?;
        // A body of blanks means none in every form, also under a type we would not read.
        if body.trim_ascii().is_empty() {
            return Ok(params);
        }
        let mut sent = Params::default();
        match Form::of(content_type, body)? {
            Form::Json => sent.map = json::decode(body, &mut budget)?,
            Form::UrlEncoded => brackets::decode(body, &mut budget, &mut sent.map)?,
            Form::Multipart { boundary } => multipart::decode(body, &boundary, &mut budget, &mut sent)?,
            Form::Unknown => return Err(Problem::unsupported_type()),
        }
        params.map.extend(sent.map);
        params.files = sent.files;
        Ok(params)
    }

    /// The value at `user[login]`, `limit`, `attachments[0][id]`. A list's elements are found by number.
    pub fn value(&self, path: &str) -> Option<&Value> {
        let (name, mut rest) = path.split_at(path.find('[').unwrap_or(path.len()));
        let mut value = self.map.get(name)?;
        while !rest.is_empty() {
            let (name, after) = rest.strip_prefix('[')?.split_once(']')?;
            value = value.child(name)?;
            rest = after;
        }
        Some(value)
    }

    /// Whether something is there, `null` and empty text included.
    pub fn has(&self, path: &str) -> bool {
        self.value(path).is_some()
    }

    /// A text, or a number or boolean as text. None for lists, maps and `null`.
    pub fn text(&self, path: &str) -> Option<Cow<'_, str>> {
        self.value(path)?.text()
    }

    /// A whole number, from a number or text; fractions are cut off and what is out of range becomes the nearest `i64`. None
    /// for anything that is no number.
    pub fn int(&self, path: &str) -> Option<i64> {
        self.value(path)?.int()
    }

    /// A number with a fraction, as times have it. Never NaN nor infinite.
    pub fn float(&self, path: &str) -> Option<f64> {
        self.value(path)?.float()
    }

    /// True for `true` and 1, as text too; false for everything else and when it is not there.
    pub fn flag(&self, path: &str) -> bool {
        self.flag_if_given(path).unwrap_or(false)
    }

    /// `Some(true)` for `true` and 1, `Some(false)` for `false` and 0, as text too; None for everything else.
    pub fn flag_if_given(&self, path: &str) -> Option<bool> {
        self.value(path)?.flag()
    }

    /// Ids, from `"55, 678"`, `[55, "678"]`, `["55,678"]`, `{"0": 55}` or a single number; in the order given, repetitions
    /// kept. Empty when nothing is there.
    pub fn ids(&self, path: &str) -> Result<Vec<u64>, IdsError> {
        self.value(path).map_or(Ok(Vec::new()), Value::ids)
    }

    /// The same for names and ObjectIds: every piece between commas, trimmed, without empty ones.
    pub fn words(&self, path: &str) -> Vec<String> {
        self.value(path).map(Value::words).unwrap_or_default()
    }

    /// The elements of a list; of a map with numbers for names, in the order of the numbers; a single value as a list of one.
    /// Empty for `null` and when nothing is there.
    pub fn list(&self, path: &str) -> Vec<&Value> {
        self.value(path).map(Value::list).unwrap_or_default()
    }

    /// A map. None for everything else: `data=undefined` is no object.
    pub fn map(&self, path: &str) -> Option<&Map> {
        self.value(path)?.map()
    }

    /// All parameters.
    pub fn all(&self) -> &Map {
        &self.map
    }

    /// The files, in the order sent.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The first file of this field.
    pub fn file(&self, field: &str) -> Option<&File> {
        self.files.iter().find(|file| file.field == field)
    }

    /// All parameters as names with brackets and text, sorted by the bytes of `name=value`: what a session's signature is
    /// computed over (quickblox-wire.md §3). `null` is empty text.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (name, value) in &self.map {
            value.flatten(name.clone(), &mut pairs);
        }
        pairs.sort_by(|(a, x), (b, y)| {
            let (left, right) = (a.bytes().chain(*b"=").chain(x.bytes()), b.bytes().chain(*b"=").chain(y.bytes()));
            left.cmp(right)
        });
        pairs
    }
}

/// Names only: values are passwords, tokens and messages.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("names", &self.map.keys().collect::<Vec<_>>())
            .field("files", &self.files.len())
            .finish()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("field", &self.field).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Form {
    fn of(content_type: Option<&str>, body: &[u8]) -> Result<Form, Problem> {
        let Some(content_type) = content_type.map(str::trim).filter(|text| !text.is_empty()) else {
            // Clients that forget the type send one of two things, and the first byte tells which.
            return Ok(match body.trim_ascii_start() {
                [b'{' | b'[' | b'"', ..] => Form::Json,
                _ => Form::UrlEncoded,
            });
        };
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Ok(match essence.as_str() {
            "application/json" | "text/json" => Form::Json,
            other if other.ends_with("+json") => Form::Json,
            "application/x-www-form-urlencoded" => Form::UrlEncoded,
            "multipart/form-data" => Form::Multipart { boundary: multipart::boundary(content_type)? },
            _ => Form::Unknown,
        })
    }
}

/// How many more values one request may have.
struct Budget(usize);

impl Budget {
    fn new() -> Budget {
        Budget(VALUES_MAX)
    }

    /// Whether there was room for one more.
    fn spend(&mut self) -> bool {
        let room = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        room
    }

    fn refusal() -> Problem {
        Problem::too_large("There are too many parameters")
    }
}

impl From<IdsError> for Response {
    fn from(error: IdsError) -> Response {
        match error {
            IdsError::NotAnId => Problem::list(Status::UnprocessableEntity, "An id is not a number").into_response(),
            IdsError::TooMany => Problem::list(Status::UnprocessableEntity, "There are too many ids").into_response(),
        }
    }
}

/// The text without what XML 1.0 §2.2 has no characters for.
pub fn clean(text: &str) -> String {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars().filter(|&c| is_allowed(c)).collect()
}

#[cfg(test)]
mod tests;
