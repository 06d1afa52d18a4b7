//! `filter[]=TYPE FIELD OP VALUE` and `order=DIRECTION TYPE FIELD`. Wire notes §4, server notes §8.3.
//!
//! The type word says nothing: the SDKs write `string` before dates and ids. The field itself knows what it holds. An empty value
//! does not filter.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use proto::model::profile::Profile;
use proto::time::Timestamp;

use crate::http::Status;
use crate::params::Params;
use crate::problem::Problem;

/// Conditions of one request.
const FILTERS_MAX: usize = 20;

/// A value to compare by. Nothing is less than anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    None,
    /// Dates are numbers too: whole Unix seconds, as finely as records show them.
    Number(u64),
    /// Without regard to case.
    Text(String),
}

/// A field to filter and sort by.
#[derive(Clone, Copy)]
enum Column {
    Number(fn(&Profile) -> Option<u64>),
    Text(fn(&Profile) -> Option<&str>),
    Date(fn(&Profile) -> Option<Timestamp>),
}

impl Column {
    fn named(name: &str) -> Option<Column> {
        Some(match name {
            "id" => Column::Number(|user| Some(user.id.0)),
            "external_user_id" => Column::Number(|user| user.fields.external_user_id),
            "blob_id" => Column::Number(|user| user.fields.blob_id),
            "full_name" => Column::Text(|user| user.fields.full_name.as_deref()),
            "email" => Column::Text(|user| user.fields.email.as_deref()),
            "login" => Column::Text(|user| user.fields.login.as_deref()),
            "phone" => Column::Text(|user| user.fields.phone.as_deref()),
            "website" => Column::Text(|user| user.fields.website.as_deref()),
            "facebook_id" => Column::Text(|user| user.fields.facebook_id.as_deref()),
            "twitter_id" => Column::Text(|user| user.fields.twitter_id.as_deref()),
            "created_at" => Column::Date(|user| Some(user.created_at)),
            "updated_at" => Column::Date(|user| Some(user.updated_at)),
            "last_request_at" => Column::Date(|user| user.last_request_at),
            _ => return None,
        })
    }

    fn key(self, user: &Profile) -> Key {
        match self {
            Column::Number(of) => of(user).map_or(Key::None, Key::Number),
            Column::Text(of) => of(user).map_or(Key::None, |text| Key::Text(folded(text))),
            Column::Date(of) => of(user).map_or(Key::None, |at| Key::Number(at.secs())),
        }
    }

    fn parse(self, text: &str) -> Option<Key> {
        let text = text.trim();
        match self {
            Column::Number(_) => text.parse().ok().map(Key::Number),
            Column::Text(_) => Some(Key::Text(folded(text))),
            Column::Date(_) => date(text).map(Key::Number),
        }
    }
}

/// Case is the same to who searches.
pub(super) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn date(text: &str) -> Option<u64> {
    // `as` takes the nearest: what was before 1970 is its beginning.
    crate::filter::time(text).map(|secs| secs as u64)
}

/// One condition.
pub(super) struct Filter {
    column: Column,
    test: Test,
}

enum Test {
    Is(fn(Ordering) -> bool, Key),
    Not(Key),
    Between(Key, Key),
    In(BTreeSet<Key>),
}

impl Filter {
    pub(super) fn holds(&self, user: &Profile) -> bool {
        let key = self.column.key(user);
        match &self.test {
            Test::Not(other) => key != *other,
            // A field without a value is neither more nor less than anything.
            Test::Is(..) | Test::Between(..) | Test::In(_) if key == Key::None => false,
            Test::Is(which, other) => which(key.cmp(other)),
            Test::Between(low, high) => *low <= key && key <= *high,
            Test::In(keys) => keys.contains(&key),
        }
    }

    /// One `TYPE FIELD OP VALUE`; nothing when the value is empty.
    fn parse(text: &str) -> Result<Option<Filter>, Problem> {
        let bad = |what: &str| {
            let text = format!("Filter is not valid: {what}; write it as TYPE FIELD OPERATOR VALUE");
            Problem::base(Status::UnprocessableEntity, text)
        };
        let mut words = text.trim_start().splitn(4, ' ');
        let (Some(_), Some(field), Some(operator)) = (words.next(), words.next(), words.next()) else {
            return Err(bad("words are missing"));
        };
        let value = words.next().unwrap_or_default().trim();
        let column = Column::named(field).ok_or_else(|| bad("unknown field"))?;
        let key = || column.parse(value).ok_or_else(|| bad("the value does not fit the field"));
        let keys = || {
            let pieces = value.split(',').filter(|piece| !piece.trim().is_empty());
            pieces
                .map(|piece| column.parse(piece))
                .collect::<Option<Vec<Key>>>()
                .ok_or_else(|| bad("the value does not fit the field"))
        };
        let known = ["gt", "lt", "ge", "le", "eq", "ne", "between", "in"].contains(&operator);
        if !known {
            return Err(bad("unknown operator"));
        }
        if value.is_empty() {
            return Ok(None);
        }
        let test = match operator {
            "gt" => Test::Is(Ordering::is_gt, key()?),
            "lt" => Test::Is(Ordering::is_lt, key()?),
            "ge" => Test::Is(Ordering::is_ge, key()?),
            "le" => Test::Is(Ordering::is_le, key()?),
            "ne" => Test::Not(key()?),
            "in" => Test::In(keys()?.into_iter().collect()),
            "between" => match <[Key; 2]>::try_from(keys()?) {
                Ok([low, high]) => Test::Between(low, high),
                Err(_) => return Err(bad("between takes two values")),
            },
            _ => Test::Is(Ordering::is_eq, key()?),
        };
        Ok(Some(Filter { column, test }))
    }
}

/// All conditions of a request; they must hold together.
pub(super) fn filters(params: &Params) -> Result<Vec<Filter>, Problem> {
    // Some JSON bodies have the brackets in the name.
    let values = ["filter", "filter[]"].into_iter().filter_map(|name| params.all().get(name));
    let texts = values.flat_map(|value| value.list()).filter_map(|value| value.text());
    let mut filters = Vec::new();
    for text in texts {
        // Written with `+` and then encoded once more.
        let text = if text.contains(' ') { text.into_owned() } else { text.replace('+', " ") };
        for piece in split(&text) {
            filters.extend(Filter::parse(piece)?);
        }
    }
    if filters.len() > FILTERS_MAX {
        let text = format!("There are too many filters (maximum is {FILTERS_MAX})");
        return Err(Problem::base(Status::UnprocessableEntity, text));
    }
    Ok(filters)
}

/// Newer SDKs join filters with commas, which values hold too: a new one begins where a type word follows.
fn split(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        let rest = text[at + 1..].trim_start();
        if ["number ", "string ", "date "].iter().any(|word| rest.starts_with(word)) {
            pieces.push(&text[start..at]);
            start = at + 1;
        }
    }
    pieces.push(&text[start..]);
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

/// How a page is sorted.
#[derive(Clone, Copy)]
pub(super) struct Order {
    column: Column,
    descending: bool,
}

impl Order {
    /// `order=desc date created_at`, or `order[field]` and `order[sort]` as one SDK call writes it; none sorts by id.
    pub(super) fn of(params: &Params) -> Result<Option<Order>, Problem> {
        let bad =
            || Problem::base(Status::UnprocessableEntity, "Order is not valid; write it as asc or desc, TYPE, FIELD");
        let (direction, field) = match params.map("order") {
            Some(_) => {
                let Some(field) = params.text("order[field]") else { return Err(bad()) };
                (params.text("order[sort]").unwrap_or("asc".into()).into_owned(), field.into_owned())
            }
            None => {
                let text = params.text("order").unwrap_or_default().replace('+', " ");
                let words: Vec<&str> = text.split_whitespace().collect();
                match words[..] {
                    [] => return Ok(None),
                    [direction, .., field] => (direction.to_owned(), field.to_owned()),
                    [_] => return Err(bad()),
                }
            }
        };
        let descending = match direction.to_ascii_lowercase().as_str() {
            "asc" => false,
            "desc" => true,
            _ => return Err(bad()),
        };
        Ok(Some(Order { column: Column::named(&field).ok_or_else(bad)?, descending }))
    }

    pub(super) fn key(self, user: &Profile) -> Key {
        self.column.key(user)
    }

    /// Which of two keys comes first.
    pub(super) fn compare(self, a: &Key, b: &Key) -> Ordering {
        if self.descending { b.cmp(a) } else { a.cmp(b) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_filters_split_before_type_words_only() {
        assert_eq!(split("number id in 1,2,3"), ["number id in 1,2,3"]);
        assert_eq!(split("number id ge 5,string login ne bob"), ["number id ge 5", "string login ne bob"]);
        assert_eq!(split("string full_name in a, number b"), ["string full_name in a", " number b"]);
        assert!(split(",").is_empty() || split(",") == [","]);
    }

    #[test]
    fn dates_come_in_every_shape() {
        for text in
            ["1458750000", "1458750000.93", "2016-03-23T16:20:00Z", "2016-03-23T17:20:00+01:00", "2016-03-23 16:20:00"]
        {
            assert_eq!(date(text), Some(1_458_750_000), "{text}");
        }
        assert_eq!(date("2016-03-23"), Some(1_458_691_200));
        assert_eq!(date("yesterday"), None);
        assert_eq!(date("-5"), Some(0));
    }

    #[test]
    fn an_empty_value_does_not_filter_and_nonsense_is_refused() {
        assert!(Filter::parse("string full_name in ").expect("no fault").is_none());
        for bad in [
            "",
            "number",
            "number id",
            "number nothing eq 1",
            "number id near 1",
            "number id eq x",
            "number id between 1",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
