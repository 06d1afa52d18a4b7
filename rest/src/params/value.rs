//! One parameter, and how forgivingly it can be read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{Serialize, Serializer};

use super::IDS_MAX;

/// Named values, in the order of their names, which a client chooses: no hash to collide.
///
/// `__proto__`, `$where` and the like are just names.
pub type Map = BTreeMap<String, Value>;

/// One parameter. Serializes as the JSON it may have been.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of JSON")]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Value>),
    Map(Map),
}

/// A JSON number. Displays as shortly as JavaScript wrote it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64`.
    Big(u64),
    /// Anything else; always finite.
    Float(f64),
}

/// Why a value is no list of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdsError {
    /// Something in it is no whole number, or is negative.
    #[error("not an id")]
    NotAnId,
    /// There are more than [`IDS_MAX`].
    #[error("more than {IDS_MAX} ids")]
    TooMany,
}

impl Value {
    /// What is at `name` in a map, or at that number in a list.
    pub fn child(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(map) => map.get(name),
            Value::List(list) => list.get(name.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => None,
        }
    }

    /// See [`super::Params::text`].
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(true) => Some(Cow::Borrowed("true")),
            Value::Bool(false) => Some(Cow::Borrowed("false")),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// See [`super::Params::int`].
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Number(Number::Int(int)) => Some(*int),
            Value::Number(Number::Big(_)) => Some(i64::MAX),
            Value::Text(text) => match text.trim().parse() {
                Ok(int) => Some(int),
                // `as` takes the nearest.
                Err(_) => self.float().map(|float| float as i64),
            },
            Value::Number(Number::Float(float)) => Some(*float as i64),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// See [`super::Params::float`].
    pub fn float(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(number.float()),
            Value::Text(text) => decimal(text.trim()),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// See [`super::Params::flag_if_given`].
    pub fn flag(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            Value::Number(Number::Int(0)) => Some(false),
            Value::Number(Number::Int(1)) => Some(true),
            Value::Text(text) => match text.trim() {
                "1" => Some(true),
                "0" => Some(false),
                word if word.eq_ignore_ascii_case("true") => Some(true),
                word if word.eq_ignore_ascii_case("false") => Some(false),
                _ => None,
            },
            Value::Null | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// See [`super::Params::ids`].
    pub fn ids(&self) -> Result<Vec<u64>, IdsError> {
        let mut ids = Vec::new();
        for value in self.list() {
            match value {
                Value::Number(number) => push(&mut ids, number.id())?,
                Value::Text(text) => {
                    // A stray comma at the end is no id, nor is it worth a refusal.
                    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
                        push(&mut ids, id(piece))?;
                    }
                }
                Value::Null => {}
                Value::Bool(_) | Value::List(_) | Value::Map(_) => return Err(IdsError::NotAnId),
            }
        }
        Ok(ids)
    }

    /// See [`super::Params::words`].
    pub fn words(&self) -> Vec<String> {
        let texts = self.list().into_iter().filter_map(Value::text);
        let mut words = Vec::new();
        for text in texts {
            words.extend(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned));
        }
        words
    }

    /// See [`super::Params::list`].
    pub fn list(&self) -> Vec<&Value> {
        match self {
            Value::Null => Vec::new(),
            Value::List(list) => list.iter().collect(),
            Value::Map(map) => numbered(map).unwrap_or_else(|| vec![self]),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) => vec![self],
        }
    }

    /// A map; None for everything else.
    pub fn map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Appends this as pairs of `name[with][brackets]` and text.
    pub(super) fn flatten(&self, name: String, pairs: &mut Vec<(String, String)>) {
        match self {
            Value::List(list) => list.iter().for_each(|value| value.flatten(format!("{name}[]"), pairs)),
            Value::Map(map) => map.iter().for_each(|(inner, value)| value.flatten(format!("{name}[{inner}]"), pairs)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                pairs.push((name, self.text().unwrap_or_default().into_owned()));
            }
        }
    }
}

impl Number {
    /// The number with its fraction.
    pub fn float(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Big(big) => big as f64,
            Number::Float(float) => float,
        }
    }

    fn id(self) -> Option<u64> {
        match self {
            Number::Int(int) => u64::try_from(int).ok(),
            Number::Big(big) => Some(big),
            Number::Float(_) => None,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(int) => int.fmt(f),
            Number::Big(big) => big.fmt(f),
            // JavaScript has one kind of number: what was 2.0 there is 2 here.
            Number::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => write!(f, "{float:.0}"),
            Number::Float(float) => write!(f, "{float:?}"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => to.serialize_unit(),
            Value::Bool(flag) => to.serialize_bool(*flag),
            Value::Number(Number::Int(int)) => to.serialize_i64(*int),
            Value::Number(Number::Big(big)) => to.serialize_u64(*big),
            Value::Number(Number::Float(float)) => to.serialize_f64(*float),
            Value::Text(text) => to.serialize_str(text),
            Value::List(list) => to.collect_seq(list),
            Value::Map(map) => to.collect_map(map),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

fn push(ids: &mut Vec<u64>, id: Option<u64>) -> Result<(), IdsError> {
    if ids.len() == IDS_MAX {
        return Err(IdsError::TooMany);
    }
    ids.push(id.ok_or(IdsError::NotAnId)?);
    Ok(())
}

fn id(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A finite decimal number; the words `inf` and `nan`, which Rust would read, are none.
fn decimal(text: &str) -> Option<f64> {
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !numeric {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// `{"0": a, "1": b}` as a list, which is how some clients write one.
fn numbered(map: &Map) -> Option<Vec<&Value>> {
    let mut elements = Vec::with_capacity(map.len());
    for (name, value) in map {
        elements.push((id(name)?, value));
    }
    elements.sort_by_key(|(number, _)| *number);
    Some(elements.into_iter().map(|(_, value)| value).collect())
}
