//! What lists of dialogs and messages can be asked: filters, order, paging. Product page, "Retrieve dialogs", "Retrieve messages".
//!
//! ```text
//! type[in]=2,3 & updated_at[gte]=1520955297.96 & name[ctn]=lunch & sort_desc=updated_at & limit=20 & skip=40
//! ```
//!
//! A parameter that has the name of a [`Column`] is a condition: alone it must be equal, in brackets stands the operator. All
//! conditions must hold. The column knows what its values are, so `2`, `"2"` and `[2]` say the same. Parameters that are no
//! columns do not filter, as they never did; an operator that does not exist is refused with its name wherever it stands.

use std::cmp::Ordering;
use std::rc::Rc;

use proto::jid::user::ObjectId;
use proto::time::Timestamp;
use smallvec::SmallVec;

use crate::params::{Params, Value};
use crate::problem::Problem;

/// Conditions of one request.
pub const CONDITIONS_MAX: usize = 30;
/// Values of one condition.
pub const OPERANDS_MAX: usize = 1_000;
/// Items of one page.
pub const LIMIT_MAX: usize = 100;
/// Items of a page when nobody says how many.
const LIMIT_DEFAULT: usize = 100;
/// How much of a client's word an error repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// A field of a record to filter and sort by.
pub struct Column<R: 'static> {
    /// Its name on the wire.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The values of a record: none for null, several for a list.
    pub of: fn(&R) -> Operands,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Times: whole Unix seconds, as finely as records show them. Clients write seconds, also with a fraction, or ISO 8601.
    Time,
    /// Texts.
    Text,
    /// Object ids.
    Id,
    /// Of custom fields: whatever they are. Compared as numbers when both sides are.
    Any,
}

/// The values of one field of one record.
pub type Operands = SmallVec<[Operand; 1]>;

/// One value to compare.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// Of [`Kind::Number`] and [`Kind::Time`]; finite.
    Number(f64),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Id`].
    Id(ObjectId),
    /// Of [`Kind::Any`].
    Any(String),
}

impl Operand {
    /// A number.
    pub fn number(number: u64) -> Operand {
        Operand::Number(number as f64)
    }

    /// A time, as a record shows it.
    pub fn time(at: Timestamp) -> Operand {
        Operand::number(at.secs())
    }

    /// None for values that cannot be compared, as an id with what is none.
    fn compare(&self, other: &Operand) -> Option<Ordering> {
        match (self, other) {
            (Operand::Number(a), Operand::Number(b)) => a.partial_cmp(b),
            (Operand::Text(a), Operand::Text(b)) => Some(a.cmp(b)),
            (Operand::Id(a), Operand::Id(b)) => Some(a.cmp(b)),
            (Operand::Any(a), Operand::Any(b)) => match (float(a), float(b)) {
                (Some(a), Some(b)) => a.partial_cmp(&b),
                (_, _) => Some(a.cmp(b)),
            },
            (Operand::Number(_) | Operand::Text(_) | Operand::Id(_) | Operand::Any(_), _) => None,
        }
    }

    fn is(&self, other: &Operand) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }
}

/// One condition on a record.
pub struct Condition<R> {
    name: String,
    of: Rc<dyn Fn(&R) -> Operands>,
    test: Test,
}

enum Test {
    /// `lt`, `lte`, `gt`, `gte`.
    Is(fn(Ordering) -> bool, Operand),
    /// Equal, `in`, `or`.
    AnyOf(Vec<Operand>),
    /// `ne`, `nin`.
    NoneOf(Vec<Operand>),
    /// `all`.
    AllOf(Vec<Operand>),
    /// `ctn`, without regard to case.
    Contains(String),
}

impl<R> Condition<R> {
    /// The field it is on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a record fulfils it. Null is neither more nor less than anything, and different from everything.
    pub fn holds(&self, record: &R) -> bool {
        let values = (self.of)(record);
        let has = |wanted: &Operand| values.iter().any(|value| value.is(wanted));
        match &self.test {
            Test::Is(which, other) => values.iter().any(|value| value.compare(other).is_some_and(which)),
            Test::AnyOf(wanted) => wanted.iter().any(has),
            Test::NoneOf(others) => !others.iter().any(has),
            Test::AllOf(wanted) => !wanted.is_empty() && wanted.iter().all(has),
            Test::Contains(piece) => values.iter().any(|value| match value {
                Operand::Text(text) | Operand::Any(text) => folded(text).contains(piece.as_str()),
                Operand::Number(_) | Operand::Id(_) => false,
            }),
        }
    }
}

/// The conditions of a request. `aside` are parameters that are none, whatever is in them.
pub fn conditions<R>(
    params: &Params,
    columns: &'static [Column<R>],
    aside: &[&str],
) -> Result<Vec<Condition<R>>, Problem> {
    let mut found = Vec::new();
    for (name, value) in params.all().iter().filter(|(name, _)| !aside.contains(&name.as_str())) {
        match columns.iter().find(|column| column.name == name) {
            Some(column) => add(name, column.kind, Rc::new(column.of), value, &mut found)?,
            None => {
                for operator in value.map().into_iter().flat_map(|map| map.keys()) {
                    Operator::read(operator, name)?;
                }
            }
        }
    }
    Ok(found)
}

/// Adds the conditions that `value` sets on one field.
pub fn add<R>(
    name: &str,
    kind: Kind,
    of: Rc<dyn Fn(&R) -> Operands>,
    value: &Value,
    found: &mut Vec<Condition<R>>,
) -> Result<(), Problem> {
    let mut add = |operator: Operator, value: &Value| {
        if let Some(test) = operator.test(name, kind, value)? {
            if found.len() == CONDITIONS_MAX {
                let text = format!("There are too many conditions (maximum is {CONDITIONS_MAX})");
                return Err(Problem::unprocessable(text));
            }
            found.push(Condition { name: name.to_owned(), of: Rc::clone(&of), test });
        }
        Ok(())
    };
    match value {
        Value::Map(map) => map.iter().try_for_each(|(operator, value)| add(Operator::read(operator, name)?, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => add(Operator::Eq, value),
    }
}

/// The ids that one of the conditions on `name` names: no other record can be meant.
pub fn ids_named<R>(conditions: &[Condition<R>], name: &str) -> Option<Vec<ObjectId>> {
    conditions.iter().filter(|condition| condition.name == name).find_map(|condition| match &condition.test {
        Test::AnyOf(wanted) => {
            let id = |operand: &Operand| match operand {
                Operand::Id(id) => Some(*id),
                Operand::Number(_) | Operand::Text(_) | Operand::Any(_) => None,
            };
            Some(wanted.iter().filter_map(id).collect())
        }
        Test::Is(..) | Test::NoneOf(_) | Test::AllOf(_) | Test::Contains(_) => None,
    })
}

/// From where to where, both inside, the values of a numeric column can be.
pub fn bounds<R>(conditions: &[Condition<R>], name: &str) -> (Option<u64>, Option<u64>) {
    let (mut low, mut high) = (None::<u64>, None::<u64>);
    for condition in conditions.iter().filter(|condition| condition.name == name) {
        let (from, to) = match &condition.test {
            Test::Is(which, Operand::Number(number)) => match (which(Ordering::Less), which(Ordering::Greater)) {
                (false, true) => (Some(*number as u64), None),
                (true, false) => (None, Some(*number as u64)),
                (_, _) => (None, None),
            },
            Test::AnyOf(wanted) => match wanted.as_slice() {
                [Operand::Number(number)] => (Some(*number as u64), Some(*number as u64)),
                _ => (None, None),
            },
            Test::Is(..) | Test::NoneOf(_) | Test::AllOf(_) | Test::Contains(_) => (None, None),
        };
        low = low.max(from);
        high = high.into_iter().chain(to).min();
    }
    (low, high)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Eq,
    Lt,
    Lte,
    Gt,
    Gte,
    Ne,
    In,
    Nin,
    All,
    Or,
    Ctn,
}

impl Operator {
    /// The operator of this name, or the 422 that says that there is none.
    fn read(word: &str, field: &str) -> Result<Operator, Problem> {
        Ok(match word {
            "lt" => Operator::Lt,
            "lte" => Operator::Lte,
            "gt" => Operator::Gt,
            "gte" => Operator::Gte,
            "ne" => Operator::Ne,
            "in" => Operator::In,
            "nin" => Operator::Nin,
            "all" => Operator::All,
            "or" => Operator::Or,
            "ctn" => Operator::Ctn,
            _ => {
                let text = format!("Unknown operator {} for {}", shown(word), shown(field));
                return Err(Problem::unprocessable(text));
            }
        })
    }

    /// What it asks of a value; nothing when there is nothing to compare with.
    fn test(self, field: &str, kind: Kind, value: &Value) -> Result<Option<Test>, Problem> {
        let many = || many(field, kind, value);
        let one = || -> Result<Option<Operand>, Problem> {
            let text = value.text().ok_or_else(|| misfit(field))?;
            if text.is_empty() { Ok(None) } else { operand(field, kind, &text).map(Some) }
        };
        Ok(match self {
            // A comma in a text is part of the text.
            Operator::Eq | Operator::Ne if kind == Kind::Text || kind == Kind::Any => {
                let list = value.list();
                if list.len() > OPERANDS_MAX {
                    return Err(too_many(field));
                }
                let texts = list.into_iter().map(|value| value.text().ok_or_else(|| misfit(field)));
                let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
                let wanted: Vec<Operand> = texts
                    .iter()
                    .filter(|text| !text.is_empty())
                    .map(|text| operand(field, kind, text))
                    .collect::<Result<_, _>>()?;
                match self {
                    _ if wanted.is_empty() => None,
                    Operator::Eq => Some(Test::AnyOf(wanted)),
                    _ => Some(Test::NoneOf(wanted)),
                }
            }
            Operator::Eq => Some(many()?).filter(|wanted| !wanted.is_empty()).map(Test::AnyOf),
            Operator::Ne => Some(many()?).filter(|wanted| !wanted.is_empty()).map(Test::NoneOf),
            Operator::In | Operator::Or => Some(Test::AnyOf(many()?)),
            Operator::Nin => Some(Test::NoneOf(many()?)),
            Operator::All => Some(Test::AllOf(many()?)),
            Operator::Lt => one()?.map(|other| Test::Is(Ordering::is_lt, other)),
            Operator::Lte => one()?.map(|other| Test::Is(Ordering::is_le, other)),
            Operator::Gt => one()?.map(|other| Test::Is(Ordering::is_gt, other)),
            Operator::Gte => one()?.map(|other| Test::Is(Ordering::is_ge, other)),
            Operator::Ctn => match kind {
                Kind::Text | Kind::Any => {
                    let text = value.text().ok_or_else(|| misfit(field))?;
                    Some(Test::Contains(folded(&text))).filter(|_| !text.is_empty())
                }
                Kind::Number | Kind::Time | Kind::Id => {
                    return Err(Problem::unprocessable(format!("The operator ctn does not fit {field}")));
                }
            },
        })
    }
}

/// A list: with commas, as an array, or both.
fn many(field: &str, kind: Kind, value: &Value) -> Result<Vec<Operand>, Problem> {
    if value.list().into_iter().any(|value| value.text().is_none()) {
        return Err(misfit(field));
    }
    let words = value.words();
    if words.len() > OPERANDS_MAX {
        return Err(too_many(field));
    }
    words.iter().map(|word| operand(field, kind, word)).collect()
}

fn operand(field: &str, kind: Kind, text: &str) -> Result<Operand, Problem> {
    let operand = match kind {
        Kind::Number => float(text).map(Operand::Number),
        Kind::Time => time(text).map(Operand::Number),
        Kind::Text => Some(Operand::Text(text.to_owned())),
        Kind::Any => Some(Operand::Any(text.to_owned())),
        // What is no id is nothing's id.
        Kind::Id => Some(ObjectId::parse(text.trim().as_bytes()).map_or(Operand::Text(String::new()), Operand::Id)),
    };
    operand.ok_or_else(|| misfit(field))
}

fn misfit(field: &str) -> Problem {
    Problem::unprocessable(format!("The value does not fit {}", shown(field)))
}

fn too_many(field: &str) -> Problem {
    Problem::unprocessable(format!("There are too many values for {} (maximum is {OPERANDS_MAX})", shown(field)))
}

fn float(text: &str) -> Option<f64> {
    Value::from(text).float()
}

/// Unix seconds, also with a fraction, or ISO 8601: a moment with its offset, or a day or moment of UTC without. What was before
/// 1970 is its beginning.
pub fn time(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(secs) = float(text) {
        return Some(secs);
    }
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let day = |text: &str| Some(text.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()));
        let civil = text.parse::<jiff::civil::DateTime>().ok().or_else(|| day(text))?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    })?;
    Some(moment.as_second().max(0) as f64)
}

/// Case is the same to who searches.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// How a list is sorted.
pub struct Sort<R: 'static> {
    /// By what.
    pub name: &'static str,
    /// The greatest first.
    pub descending: bool,
    of: fn(&R) -> Operands,
}

impl<R> Sort<R> {
    /// `sort_desc=FIELD` or `sort_asc=FIELD`; any column will do.
    pub fn of(params: &Params, columns: &'static [Column<R>]) -> Result<Option<Sort<R>>, Problem> {
        Sort::among(params, columns.iter())
    }

    /// The same by any of these columns.
    pub fn among(
        params: &Params,
        mut columns: impl Iterator<Item = &'static Column<R>>,
    ) -> Result<Option<Sort<R>>, Problem> {
        for (parameter, descending) in [("sort_desc", true), ("sort_asc", false)] {
            let Some(field) = params.text(parameter).filter(|field| !field.is_empty()) else { continue };
            let Some(column) = columns.find(|column| column.name == field) else {
                return Err(Problem::unprocessable(format!("{parameter}: there is no field {}", shown(&field))));
            };
            return Ok(Some(Sort { name: column.name, descending, of: column.of }));
        }
        Ok(None)
    }

    /// Which of two records comes first. Null is less than anything.
    pub fn compare(&self, one: &R, other: &R) -> Ordering {
        let (one, other) = ((self.of)(one), (self.of)(other));
        let order = match (one.first(), other.first()) {
            (Some(one), Some(other)) => one.compare(other).unwrap_or(Ordering::Equal),
            (one, other) => one.is_some().cmp(&other.is_some()),
        };
        if self.descending { order.reverse() } else { order }
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Items to pass over.
    pub skip: usize,
    /// Items to give, up to [`LIMIT_MAX`].
    pub limit: usize,
    /// Only their number.
    pub count: bool,
}

impl Paging {
    /// `limit`, `skip` and `count`.
    pub fn of(params: &Params) -> Result<Paging, Problem> {
        let limit = number(params, "limit")?.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
        let skip = number(params, "skip")?.unwrap_or(0);
        Ok(Paging { skip, limit, count: params.flag("count") })
    }
}

fn number(params: &Params, name: &str) -> Result<Option<usize>, Problem> {
    let Some(value) = params.value(name) else { return Ok(None) };
    if *value == Value::Null || value.text().is_some_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    let number = value.int().and_then(|number| usize::try_from(number).ok());
    let text = || Problem::unprocessable(format!("{name} must be a number and not negative"));
    number.map(Some).ok_or_else(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    struct Row {
        id: ObjectId,
        number: Option<u64>,
        text: &'static str,
        many: &'static [u64],
    }

    static COLUMNS: &[Column<Row>] = &[
        Column { name: "_id", kind: Kind::Id, of: |row| smallvec![Operand::Id(row.id)] },
        Column { name: "number", kind: Kind::Number, of: |row| row.number.map(Operand::number).into_iter().collect() },
        Column { name: "at", kind: Kind::Time, of: |row| row.number.map(Operand::number).into_iter().collect() },
        Column { name: "text", kind: Kind::Text, of: |row| smallvec![Operand::Text(row.text.to_owned())] },
        Column { name: "many", kind: Kind::Number, of: |row| row.many.iter().copied().map(Operand::number).collect() },
    ];

    fn rows() -> [Row; 4] {
        let row = |n: u8, number, text, many| Row { id: ObjectId([n; 12]), number, text, many };
        [
            row(1, Some(1), "Alpha", &[1, 2]),
            row(2, Some(2), "beta, gamma", &[2, 3]),
            row(3, None, "", &[]),
            row(4, Some(4), "ALPHABET", &[1]),
        ]
    }

    fn params(query: &str) -> Params {
        Params::from_parts(query, None, &Bytes::new()).expect("it can be read")
    }

    fn json(body: &str) -> Params {
        Params::from_parts("", Some("application/json"), &Bytes::copy_from_slice(body.as_bytes())).expect("JSON")
    }

    fn found(params: &Params) -> Vec<u8> {
        let conditions = conditions(params, COLUMNS, &["data"]).unwrap_or_else(|problem| panic!("{problem:?}"));
        let rows = rows();
        let all = rows.iter().filter(|row| conditions.iter().all(|condition| condition.holds(row)));
        all.map(|row| row.id.0[0]).collect()
    }

    #[test]
    fn every_operator_does_what_the_page_says() {
        for (query, want) in [
            ("", vec![1, 2, 3, 4]),
            ("number=2", vec![2]),
            ("number[lt]=2", vec![1]),
            ("number[lte]=2", vec![1, 2]),
            ("number[gt]=2", vec![4]),
            ("number[gte]=2", vec![2, 4]),
            ("number[gt]=1&number[lt]=4", vec![2]),
            ("number[ne]=2", vec![1, 3, 4]),
            ("number[in]=1,4", vec![1, 4]),
            ("number[in][]=1&number[in][]=4", vec![1, 4]),
            ("number[or]=1,2", vec![1, 2]),
            ("number[nin]=1,%204", vec![2, 3]),
            ("number[in]=", vec![]),
            ("at[lt]=1.5", vec![1]),
            ("at[lte]=1970-01-01T00:00:02Z", vec![1, 2]),
            ("many=2", vec![1, 2]),
            ("many[all]=1,2", vec![1]),
            ("many[in]=3,1", vec![1, 2, 4]),
            ("many[nin]=2", vec![3, 4]),
            ("many[ne]=1", vec![2, 3]),
            ("text=beta,%20gamma", vec![2]),
            ("text[ctn]=alpha", vec![1, 4]),
            ("text[ctn]=%2E%2A", vec![]),
            ("text[in]=Alpha,ALPHABET", vec![1, 4]),
            ("text[gt]=b", vec![2]),
            ("_id=010101010101010101010101", vec![1]),
            ("_id[in]=010101010101010101010101,x,040404040404040404040404", vec![1, 4]),
            ("_id[gt]=020202020202020202020202", vec![3, 4]),
            ("_id=nonsense", vec![]),
            ("_id[ne]=nonsense", vec![1, 2, 3, 4]),
            ("_id=&text=&number[gt]=", vec![1, 2, 3, 4]),
            ("number=1&number=2", vec![2]),
            ("unknown=1&other[in]=5&data[$x]=1&page=1", vec![1, 2, 3, 4]),
        ] {
            assert_eq!(found(&params(query)), want, "{query}");
        }
        assert_eq!(found(&json(r#"{"number":{"in":[1,"4"]},"text":{"ctn":"bet"}}"#)), [4]);
        assert_eq!(found(&json(r#"{"number":[1,2],"_id":null}"#)), [1, 2]);
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        let refused = |params: &Params| match conditions(params, COLUMNS, &[]) {
            Err(Problem::List(status, texts)) => (status.code(), texts[0].to_string()),
            other => panic!("{:?}", other.map(|found| found.len())),
        };
        for (query, text) in [
            ("_id[$ne]=", "Unknown operator $ne for _id"),
            ("number[$where]=1", "Unknown operator $where for number"),
            ("nothing[near]=1", "Unknown operator near for nothing"),
            ("number=x", "The value does not fit number"),
            ("number[lt]=NaN", "The value does not fit number"),
            ("number[gt][lt]=1", "The value does not fit number"),
            ("at[gt]=yesterday", "The value does not fit at"),
            ("number[ctn]=1", "The operator ctn does not fit number"),
            ("text[in][a]=1", "The value does not fit text"),
        ] {
            assert_eq!(refused(&params(query)), (422, text.to_owned()), "{query}");
        }
        let long = params(&format!("number[in]={}", "1,".repeat(100_000)));
        assert!(refused(&long).1.contains("too many values"));
        let evil = params(&format!("number[{}%00]=1", "z".repeat(10_000)));
        assert!(refused(&evil).1.len() < 100);
        let deep = json(&format!("{{\"number\":[{}]}}", vec!["1"; 1_001].join(",")));
        assert!(refused(&deep).1.contains("too many values"));
    }

    #[test]
    fn sorts_by_columns_and_by_nothing_else() {
        let sorted = |query: &str| {
            let sort = Sort::of(&params(query), COLUMNS).expect("a column").expect("an order");
            let mut rows = rows();
            rows.sort_by(|one, other| sort.compare(one, other));
            rows.map(|row| row.id.0[0])
        };
        assert_eq!(sorted("sort_desc=number"), [4, 2, 1, 3]);
        assert_eq!(sorted("sort_asc=number"), [3, 1, 2, 4]);
        assert_eq!(sorted("sort_asc=text"), [3, 4, 1, 2]);
        assert!(Sort::of(&params("sort_asc="), COLUMNS).expect("no fault").is_none());
        assert!(Sort::of(&params("sort_desc=password"), COLUMNS).is_err());
    }

    #[test]
    fn pages_stay_bounded() {
        let of = |query: &str| Paging::of(&params(query));
        let page = |skip, limit, count| Ok(Paging { skip, limit, count });
        assert_eq!(of(""), page(0, 100, false));
        assert_eq!(of("limit=5&skip=7&count=1"), page(7, 5, true));
        assert_eq!(of("limit=0"), page(0, 0, false));
        assert_eq!(of("limit=&skip=%20"), page(0, 100, false));
        assert_eq!(of("limit=1e18&skip=9223372036854775808&count=abc"), page(i64::MAX as usize, 100, false));
        for bad in ["limit=-1", "skip=-5", "limit=x", "skip[a]=1"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_which_ids_and_which_times_are_meant() {
        let of = |query: &str| conditions(&params(query), COLUMNS, &[]).expect("it can be asked");
        assert_eq!(ids_named(&of("_id[ne]=010101010101010101010101"), "_id"), None);
        assert_eq!(ids_named(&of("_id=010101010101010101010101"), "_id"), Some(vec![ObjectId([1; 12])]));
        assert_eq!(ids_named(&of("_id[in]=x"), "_id"), Some(vec![]));
        assert_eq!(bounds(&of("at[gt]=5&at[lte]=9.5&at[lt]=12&number[lt]=1"), "at"), (Some(5), Some(9)));
        assert_eq!(bounds(&of("at=7"), "at"), (Some(7), Some(7)));
        assert_eq!(bounds(&of("at[ne]=7&at[in]=1,2"), "at"), (None, None));
    }

    proptest! {
        #[test]
        fn nothing_a_client_writes_breaks_it(query in "[a-z_]{0,6}(\\[[a-z$]{0,4}\\]){0,2}=[0-9a-z,.%-]{0,12}(&number\\[[a-z]{2,3}\\]=[0-9e,.-]{0,6}){0,2}") {
            if let Ok(params) = Params::from_parts(&query, None, &Bytes::new())
                && let Ok(conditions) = conditions(&params, COLUMNS, &[])
            {
                for row in rows() {
                    let _held = conditions.iter().filter(|condition| condition.holds(&row)).count();
                }
                let (low, high) = bounds(&conditions, "number");
                for row in rows().iter().filter(|row| conditions.iter().all(|condition| condition.holds(row))) {
                    if let Some(number) = row.number {
                        prop_assert!(low.is_none_or(|low| low <= number) && high.is_none_or(|high| number <= high));
                    }
                }
            }
        }
    }
}
