//! Queries and URL-encoded forms, whose names nest by brackets: `a[b]=1`, `a[b][c]=1`, `a[]=1&a[]=2`, `a[0][x]=1`.

use smallvec::SmallVec;

use super::{Budget, DEPTH_MAX, Map, Value};
use crate::http::decode_form;
use crate::problem::Problem;

/// Adds the pairs of `raw` to `map`. The last of several equal names counts.
pub(super) fn decode(raw: &[u8], budget: &mut Budget, map: &mut Map) -> Result<(), Problem> {
    for pair in raw.split(|byte| *byte == b'&') {
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        let name = decode_form(name).ok_or(Problem::malformed("A parameter's name is not UTF-8"))?;
        // A blank before a name comes from hand-made bodies, and a body that is one blank means no parameters.
        let name = name.trim_start();
        if name.is_empty() {
            continue;
        }
        let value = decode_form(value)
            .ok_or_else(|| Problem::malformed(format!("The value of {} is not UTF-8", shown(name))))?;
        insert(map, name, Value::Text(value.into_owned()), budget)?;
    }
    Ok(())
}

/// Puts `value` at the place that `name` describes.
pub(super) fn insert(map: &mut Map, name: &str, value: Value, budget: &mut Budget) -> Result<(), Problem> {
    let steps = steps(name)?;
    let (first, rest) = steps.split_first().expect("a name has at least one step");
    if !budget.spend() {
        return Err(Budget::refusal());
    }
    // Every step may make one more map or list, and each counts.
    put_named(map, first, rest, value, budget)
}

/// `a[b][]` as `["a", "b", ""]`.
fn steps(name: &str) -> Result<SmallVec<[&str; 4]>, Problem> {
    let malformed = || Problem::malformed(format!("The brackets of the parameter {} are malformed", shown(name)));
    let (first, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    if first.is_empty() || first.contains(']') {
        return Err(malformed());
    }
    let mut steps = SmallVec::new();
    steps.push(first);
    while !rest.is_empty() {
        let (step, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(malformed)?;
        if step.contains('[') {
            return Err(malformed());
        }
        if steps.len() == DEPTH_MAX {
            return Err(Problem::malformed(format!("The parameter {} is nested too deeply", shown(name))));
        }
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn put_named(map: &mut Map, name: &str, rest: &[&str], value: Value, budget: &mut Budget) -> Result<(), Problem> {
    if rest.is_empty() {
        map.insert(name.to_owned(), value);
        return Ok(());
    }
    if !map.contains_key(name) && !budget.spend() {
        return Err(Budget::refusal());
    }
    put(map.entry(name.to_owned()).or_insert(Value::Null), rest, value, budget)
}

/// Puts `value` below `place`, which becomes a list or a map if it was something else.
fn put(place: &mut Value, steps: &[&str], value: Value, budget: &mut Budget) -> Result<(), Problem> {
    match steps {
        [] => *place = value,
        ["", rest @ ..] => {
            if !matches!(place, Value::List(_)) {
                *place = Value::List(Vec::new());
            }
            if let Value::List(list) = place {
                return append(list, rest, value, budget);
            }
        }
        [name, rest @ ..] => {
            if !matches!(place, Value::Map(_)) {
                *place = Value::Map(Map::new());
            }
            if let Value::Map(map) = place {
                return put_named(map, name, rest, value, budget);
            }
        }
    }
    Ok(())
}

/// `a[]=1&a[]=2` are two elements; `a[][x]=1&a[][y]=2` is one element with two names, and a name that is there already begins
/// the next element.
fn append(list: &mut Vec<Value>, rest: &[&str], value: Value, budget: &mut Budget) -> Result<(), Problem> {
    let joins = match (rest, list.last()) {
        ([name, deeper @ ..], Some(Value::Map(last))) if !name.is_empty() => {
            !deeper.is_empty() || !last.contains_key(*name)
        }
        _ => false,
    };
    if !joins {
        if !rest.is_empty() && !budget.spend() {
            return Err(Budget::refusal());
        }
        list.push(Value::Null);
    }
    match list.last_mut() {
        Some(last) => put(last, rest, value, budget),
        None => Ok(()),
    }
}

/// A name as a text may show it: quoted, and not all of it.
fn shown(name: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 40;
    match name.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &name[..end]),
        None => format!("{name:?}"),
    }
}
