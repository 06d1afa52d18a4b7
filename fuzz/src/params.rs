//! Parameters stay within their bounds in whatever form they come, and a tree that was read can be written and read again.

use bytes::Bytes;
use rest::params::{DEPTH_MAX, IDS_MAX, Map, Params, VALUES_MAX, Value};
use rest::problem::Problem;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// What a client can cause is its fault.
const CLIENT_ERRORS: std::ops::Range<u16> = 400..500;

/// The first line of the input is a query, the second a `Content-Type` (empty for none), the rest a body.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let query = String::from_utf8_lossy(next());
    let content_type = String::from_utf8_lossy(next());
    let body = Bytes::copy_from_slice(next());
    let content_type = (!content_type.is_empty()).then_some(&*content_type);

    match Params::from_parts(&query, content_type, &body) {
        Ok(params) => check(&params, &body),
        Err(problem) => assert!(CLIENT_ERRORS.contains(&problem.status().code())),
    }
    // A query and a form are the same thing; a blank one of them is no body.
    if !query.trim_ascii().is_empty() {
        let as_query = Params::from_parts(&query, None, &Bytes::new());
        let as_form = Params::from_parts("", Some(FORM), &Bytes::from(query.into_owned()));
        assert_eq!(as_query.map_err(status), as_form.map_err(status));
    }
}

fn status(problem: Problem) -> u16 {
    problem.status().code()
}

fn check(params: &Params, body: &Bytes) {
    let map = params.all();
    assert!(map.values().map(count).sum::<usize>() <= VALUES_MAX);
    // The tree itself is the outermost map.
    assert!(map.values().all(|value| depth(value) < DEPTH_MAX));
    assert!(params.files().iter().map(|file| file.bytes.len()).sum::<usize>() <= body.len());

    let json = serde_json::to_vec(map).expect("a tree of text and finite numbers is JSON");
    let again = Params::from_parts("", Some(JSON), &json.into()).expect("and is read again");
    assert_eq!(again.all(), map);

    let pairs = params.pairs();
    let lines: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
    assert!(lines.is_sorted(), "a signature is computed over them in this order");
    for (name, value) in map {
        if !name.contains('[') {
            assert_eq!(params.value(name), Some(value));
        }
    }
    for path in pairs.iter().map(|(path, _)| path).chain(map.keys()).take(200) {
        assert!(params.float(path).is_none_or(f64::is_finite));
        assert!(params.ids(path).map_or(true, |ids| ids.len() <= IDS_MAX));
        assert!(params.words(path).iter().all(|word| !word.is_empty() && word.trim() == word));
        assert!(params.has(path) || params.list(path).is_empty());
        assert_eq!(params.flag(path), params.flag_if_given(path) == Some(true));
        let _ = (params.text(path), params.int(path), params.map(path), params.file(path));
    }
}

/// The values in this one, itself among them.
fn count(value: &Value) -> usize {
    1 + inner(value).map(count).sum::<usize>()
}

/// The lists and maps inside each other, from this one on.
fn depth(value: &Value) -> usize {
    match value {
        Value::List(_) | Value::Map(_) => 1 + inner(value).map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
    }
}

fn inner(value: &Value) -> impl Iterator<Item = &Value> {
    let list = match value {
        Value::List(list) => list.as_slice(),
        Value::Map(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => &[],
    };
    list.iter().chain(value.map().into_iter().flat_map(Map::values))
}
