//! JSON bodies: read fast, explained slowly.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Budget, DEPTH_MAX, Map, Number, Value};
use crate::problem::Problem;

/// The object that `body` is. A string means no parameters: older SDKs send `" "` for none.
pub(super) fn decode(body: &[u8], budget: &mut Budget) -> Result<Map, Problem> {
    match parse(body, budget)? {
        Value::Map(map) => Ok(map),
        Value::Text(_) | Value::Null => Ok(Map::new()),
        Value::Bool(_) | Value::Number(_) | Value::List(_) => Err(Problem::malformed("The JSON body is not an object")),
    }
}

fn parse(body: &[u8], budget: &mut Budget) -> Result<Value, Problem> {
    // simd-json builds its whole tape before the first value is seen: what is too deep must not get there.
    if depth(body) > DEPTH_MAX {
        return Err(Problem::malformed(format!("The JSON body is nested deeper than {DEPTH_MAX} levels")));
    }
    match fast(body, budget) {
        Some(value) => Ok(value),
        None => explain(body, budget),
    }
}

/// Reads with simd-json, which destroys what it reads and does not say where it stopped.
pub(super) fn fast(body: &[u8], budget: &mut Budget) -> Option<Value> {
    let mut scratch = body.to_vec();
    let whole = RefCell::new(Budget(budget.0));
    let mut parser = simd_json::Deserializer::from_slice(&mut scratch).ok()?;
    let value = Node { budget: &whole }.deserialize(&mut parser).ok()?;
    *budget = whole.into_inner();
    Some(value)
}

/// Reads with the parser that knows line and column. It has the last word: it also takes numbers beyond 64 bits.
pub(super) fn explain(body: &[u8], budget: &mut Budget) -> Result<Value, Problem> {
    let whole = RefCell::new(Budget(budget.0));
    let mut slow = serde_json::Deserializer::from_slice(body);
    let parsed = Node { budget: &whole }.deserialize(&mut slow).and_then(|value| slow.end().map(|()| value));
    *budget = whole.into_inner();
    match parsed {
        Ok(value) => Ok(value),
        Err(_) if budget.0 == 0 => Err(Budget::refusal()),
        Err(error) => Err(Problem::malformed(format!("The JSON body is malformed: {error}"))),
    }
}

/// How deeply brackets outside of texts are nested; a guess where the JSON is broken.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut in_text = false;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_text => {
                bytes.next();
            }
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads one value and those in it, counting.
#[derive(Clone, Copy)]
struct Node<'a> {
    budget: &'a RefCell<Budget>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if !self.budget.borrow_mut().spend() {
            return Err(D::Error::custom("there are too many values"));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::Int(int)))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Value, E> {
        Ok(Value::Number(i64::try_from(int).map_or(Number::Big(int), Number::Int)))
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<Value, E> {
        if !float.is_finite() {
            return Err(E::custom("a number is out of range"));
        }
        // simd-json reads -0 as a whole number, serde_json does not; to clients it is 0.
        Ok(Value::Number(if float == 0.0 { Number::Int(0) } else { Number::Float(float) }))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            // The last of several equal names counts.
            map.insert(name, entries.next_value_seed(self)?);
        }
        Ok(Value::Map(map))
    }
}
