//! `multipart/form-data` (RFC 7578), whole in memory.

use bytes::Bytes;
use memchr::memmem::{self, Finder};

use super::{Budget, File, Params, Value, brackets};
use crate::problem::Problem;

/// RFC 2046 §5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
const PART_HEAD_BYTES_MAX: usize = 4 * 1024;
const PARTS_MAX: usize = 2_000;

/// The boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Result<String, Problem> {
    let boundary = parameter(content_type, "boundary").unwrap_or_default();
    let valid = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX || !boundary.bytes().all(valid) {
        return Err(Problem::malformed("The multipart body has no proper boundary"));
    }
    Ok(boundary)
}

/// Adds the parts of `body` to `params`.
pub(super) fn decode(body: &Bytes, boundary: &str, budget: &mut Budget, params: &mut Params) -> Result<(), Problem> {
    let mut parts = Parts::new(body, boundary)?;
    let mut count = 0;
    while let Some(part) = parts.next()? {
        count += 1;
        if count > PARTS_MAX {
            return Err(Problem::too_large("The multipart body has too many parts"));
        }
        add(body, &part, budget, params)?;
    }
    Ok(())
}

/// One part: where in the body its content lies, and what its headers say.
struct Part<'a> {
    head: PartHead,
    content: &'a [u8],
}

#[derive(Default)]
struct PartHead {
    name: Option<String>,
    filename: Option<String>,
    content_type: Option<String>,
}

/// Cuts a body at its boundaries.
struct Parts<'a> {
    rest: &'a [u8],
    /// CR LF, two hyphens and the boundary.
    delimiter: Finder<'static>,
}

impl<'a> Parts<'a> {
    fn new(body: &'a [u8], boundary: &str) -> Result<Parts<'a>, Problem> {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first delimiter may lack the line end before it, and text before it means nothing.
        let first = &delimiter.needle()[2..];
        let start = match body.starts_with(first) {
            true => first.len(),
            false => delimiter.find(body).ok_or_else(truncated)? + delimiter.needle().len(),
        };
        Ok(Parts { rest: &body[start..], delimiter })
    }

    fn next(&mut self) -> Result<Option<Part<'a>>, Problem> {
        // What follows a boundary: two hyphens for the end, or blanks and a line end before the next part.
        if self.rest.starts_with(b"--") {
            return Ok(None);
        }
        let line = memmem::find(self.rest, b"\r\n").ok_or_else(truncated)?;
        if !self.rest[..line].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(Problem::malformed("A multipart boundary is followed by something else"));
        }
        // The line end stays, so that a part without headers has its empty line, and an empty part its delimiter.
        let part = &self.rest[line..];
        let window = &part[..part.len().min(PART_HEAD_BYTES_MAX)];
        let head_end = memmem::find(window, b"\r\n\r\n").ok_or_else(|| match window.len() == part.len() {
            true => truncated(),
            false => Problem::malformed("The headers of a multipart part are too large"),
        })?;
        let head = PartHead::parse(&part[..head_end])?;
        let from_content = &part[head_end + 2..];
        let end = self.delimiter.find(from_content).ok_or_else(truncated)?;
        self.rest = &from_content[end + self.delimiter.needle().len()..];
        // An empty content may share its line end with the empty line before it.
        let content = from_content[..end].get(2..).unwrap_or_default();
        Ok(Some(Part { head, content }))
    }
}

impl PartHead {
    fn parse(head: &[u8]) -> Result<PartHead, Problem> {
        let head = std::str::from_utf8(head).map_err(|_| Problem::malformed("A multipart header is not UTF-8"))?;
        let mut parsed = PartHead::default();
        for line in head.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(Problem::malformed("A multipart header has no colon"))?;
            if name.eq_ignore_ascii_case("content-disposition") {
                parsed.name = parameter(value, "name");
                parsed.filename = parameter(value, "filename");
            } else if name.eq_ignore_ascii_case("content-type") {
                parsed.content_type = Some(value.trim().to_owned());
            }
        }
        Ok(parsed)
    }

    /// Node SDKs up to 2.7 send the uploaded file without a filename: its field name tells.
    fn is_file(&self, name: &str) -> bool {
        self.filename.is_some() || name == "file"
    }
}

fn add(body: &Bytes, part: &Part<'_>, budget: &mut Budget, params: &mut Params) -> Result<(), Problem> {
    let name = part.head.name.clone().filter(|name| !name.is_empty());
    let name = name.ok_or(Problem::malformed("A multipart part has no name"))?;
    if part.head.is_file(&name) {
        params.files.push(File {
            field: name,
            filename: part.head.filename.clone(),
            content_type: part.head.content_type.clone(),
            bytes: body.slice_ref(part.content),
        });
        return Ok(());
    }
    // Older SDKs need some part to send, and send this one when there are no parameters.
    if name == "0" && part.content == b" " {
        return Ok(());
    }
    let text = std::str::from_utf8(part.content)
        .map_err(|_| Problem::malformed("A multipart field that is no file is not UTF-8"))?;
    brackets::insert(&mut params.map, &name, Value::from(text), budget)
}

fn truncated() -> Problem {
    Problem::malformed("The multipart body does not end with its boundary")
}

/// A parameter of a header value: `name="x"` in `form-data; name="x"`. Quotes may hold `\"` and semicolons; `%22` is what
/// browsers write for a quote in a name.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (text, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (text, after) = after.split_once(';').unwrap_or((after, ""));
                (text.trim().to_owned(), after)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = after.trim_start().trim_start_matches(';');
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text.replace("%22", "\""), &quoted[at + 1..])),
            // Old browsers write paths with bare backslashes: only a quote or backslash is escaped.
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => text.extend(chars.next().map(|(_, char)| char)),
            other => text.push(other),
        }
    }
    None
}
