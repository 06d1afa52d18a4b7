//! The request target: which path, decoded once, and where its query is.

use std::ops::Range;

use super::percent::decode_path;
use crate::problem::Problem;

/// A request target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Percent-decoded, beginning with `/`; or `*` for `OPTIONS *`.
    pub path: String,
    /// Where the raw query lies in the target, without `?`.
    pub query: Range<usize>,
}

/// Reads origin-form, absolute-form and `*`. RFC 9112 §3.2.
///
/// Segments `.` and `..` are refused rather than resolved, whichever way they are spelled: no client of ours sends them, and
/// whoever does is trying to be somewhere else. The same goes for encoded slashes and control characters.
pub(super) fn parse(target: &str) -> Result<Target, Problem> {
    let start = path_start(target).ok_or(Problem::malformed("The request target is neither a path nor a URL"))?;
    let rest = &target[start..];
    if rest.contains('#') {
        return Err(Problem::malformed("The request target has a fragment"));
    }
    let (raw_path, query) = match rest.find('?') {
        Some(mark) => (&rest[..mark], start + mark + 1..target.len()),
        None => (rest, target.len()..target.len()),
    };
    // `http://host?query` and `http://host` mean the root.
    let path = match raw_path {
        "" => String::from("/"),
        raw => decode_path(raw).ok_or(Problem::malformed("The path has a broken percent escape or is not UTF-8"))?,
    };
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Problem::malformed("The path has a control character"));
    }
    if path.matches('/').count() != raw_path.matches('/').count().max(usize::from(raw_path.is_empty())) {
        return Err(Problem::malformed("The path has an encoded slash"));
    }
    if path.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err(Problem::malformed("The path has a segment . or .."));
    }
    Ok(Target { path, query })
}

/// Where the path begins.
fn path_start(target: &str) -> Option<usize> {
    if target.starts_with('/') || target == "*" {
        return Some(0);
    }
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let authority = &target[scheme.len()..];
    let length = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    (length > 0).then_some(scheme.len() + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> Option<(String, &str)> {
        let parsed = parse(target).ok()?;
        Some((parsed.path, &target[parsed.query]))
    }

    #[test]
    fn reads_every_form_a_server_is_sent() {
        for (target, path, query) in [
            ("/", "/", ""),
            ("/chat/Dialog.json?a=1&b=%20", "/chat/Dialog.json", "a=1&b=%20"),
            ("/users.json?", "/users.json", ""),
            ("/a%20b%2C1", "/a b,1", ""),
            ("http://localhost:8080/session.json?x", "/session.json", "x"),
            ("HTTPS://host", "/", ""),
            ("https://host?q=/../", "/", "q=/../"),
            ("*", "*", ""),
            ("/a..b/...", "/a..b/...", ""),
        ] {
            assert_eq!(parts(target), Some((path.to_owned(), query)), "{target}");
        }
    }

    #[test]
    fn refuses_what_leads_elsewhere() {
        for target in [
            "",
            "chat/Dialog.json",
            "ftp://host/",
            "http://",
            "http:///x",
            "host:443",
            "/chat/Dialog/../../",
            "/chat/./Dialog",
            "/..",
            "/%2e%2e/etc",
            "/.%2E/etc",
            "/a%2f..%2fb",
            "/a%2Fb",
            "/a\\..\\b",
            "/a%00b",
            "/a%0d%0aSet-Cookie",
            "/a%7f",
            "/a%zz",
            "/a%ff",
            "/a#b",
        ] {
            assert_eq!(parts(target), None, "{target}");
        }
    }
}
