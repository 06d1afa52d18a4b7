//! The caller's dialogs: his own, and all public ones of the app. Product page, "Retrieve dialogs".
//!
//! By last message, which is the order when none is asked for, a page reads the caller's list and the dialogs that it shows.
//! Filters and other orders read every dialog of the caller, up to a bound, and dialogs asked for by id are read by id.

use std::rc::Rc;

use proto::jid::user::DialogId;
use proto::model::dialog::Value;
use proto::model::dialog::shelf::{Page, Shelf, Wanted};
use proto::model::dialog::view::{Seen, seen, seen_reads};
use proto::owner::AccountId;
use proto::row::Reads;
use serde::Serialize;
use smallvec::smallvec;

use super::{Record, Titled, titled};
use crate::filter::{self, Column, Condition, Kind, Operand, Operands, Paging, Sort};
use crate::flow::{Flow, Moment, done, read};
use crate::http::{Response, Status};
use crate::params::{self, Params};
use crate::problem::Problem;
use crate::route::Call;

static COLUMNS: &[Column<Seen>] = &[
    Column { name: "_id", kind: Kind::Id, of: |seen| smallvec![Operand::Id(seen.id.0)] },
    Column { name: "user_id", kind: Kind::Number, of: |seen| smallvec![Operand::number(seen.record.owner.0)] },
    Column {
        name: "type",
        kind: Kind::Number,
        of: |seen| smallvec![Operand::number(seen.record.kind.number().into())],
    },
    Column { name: NAME, kind: Kind::Text, of: |seen| text(seen.record.name.as_deref()) },
    Column { name: "photo", kind: Kind::Text, of: |seen| text(seen.record.photo.as_deref()) },
    Column {
        name: "occupants_ids",
        kind: Kind::Number,
        of: |seen| seen.record.occupants.iter().map(|user| Operand::number(user.0)).collect(),
    },
    Column { name: "created_at", kind: Kind::Time, of: |seen| smallvec![Operand::time(seen.record.created_at)] },
    Column { name: "updated_at", kind: Kind::Time, of: |seen| smallvec![Operand::time(seen.updated_at())] },
    Column {
        name: LAST_DATE,
        kind: Kind::Time,
        of: |seen| seen.head.last.iter().map(|last| Operand::number(last.date_sent)).collect(),
    },
    Column {
        name: "last_message",
        kind: Kind::Text,
        of: |seen| text(seen.head.last.as_ref().and_then(|last| last.text.as_deref())),
    },
    Column {
        name: "last_message_id",
        kind: Kind::Id,
        of: |seen| seen.head.last.iter().map(|last| Operand::Id(last.id.0)).collect(),
    },
    Column {
        name: "last_message_user_id",
        kind: Kind::Number,
        of: |seen| seen.head.last.iter().map(|last| Operand::number(last.sender.0)).collect(),
    },
];

/// What lists can be sorted by besides; as a filter the original ignores it (wire notes §5.2).
static SORTED_BY: &[Column<Seen>] =
    &[Column { name: "unread_messages_count", kind: Kind::Number, of: |seen| smallvec![Operand::number(seen.unread)] }];

const NAME: &str = "name";
const LAST_DATE: &str = "last_message_date_sent";

fn text(text: Option<&str>) -> Operands {
    text.map(|text| Operand::Text(text.to_owned())).into_iter().collect()
}

/// One page on the wire.
#[derive(Serialize)]
struct Body<'a> {
    total_entries: usize,
    skip: usize,
    limit: usize,
    items: Vec<Record<'a>>,
}

/// `{"items":{"count":7}}`.
#[derive(Serialize)]
pub(in crate::resource) struct Counted {
    items: Count,
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

impl Counted {
    pub(in crate::resource) fn answer(count: u64) -> Flow {
        done(Response::json(Status::Ok, &Counted { items: Count { count } }))
    }
}

pub(super) fn list(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let paging = Paging::of(&call.params)?;
    let conditions = conditions(&call.params)?;
    let sort = Sort::among(&call.params, COLUMNS.iter().chain(SORTED_BY))?;
    if let Some(ids) = filter::ids_named(&conditions, "_id") {
        let ids = ids.into_iter().map(DialogId).collect();
        return by_id(id, ids, move |found, moment| {
            let mut found: Vec<Seen> =
                found.into_iter().filter(|seen| conditions.iter().all(|one| one.holds(seen))).collect();
            if let Some(sort) = sort {
                found.sort_by(|one, other| sort.compare(one, other));
            }
            let total = found.len();
            let items = found.into_iter().skip(paging.skip).take(paging.limit).collect();
            respond(id, paging, Page { items, total }, moment)
        });
    }
    let by_name = |name: &str| name == NAME;
    if conditions.iter().any(|one| by_name(one.name())) || sort.as_ref().is_some_and(|sort| by_name(sort.name)) {
        return by_title(id, paging, conditions, sort);
    }
    // That is the order of the list itself.
    let sort = sort.filter(|sort| sort.name != LAST_DATE || !sort.descending);
    let shelf = Shelf::new(Wanted {
        viewer: id,
        skip: paging.skip,
        limit: if paging.count { 0 } else { paging.limit },
        keep: match conditions.is_empty() {
            true => None,
            false => Some(Box::new(move |seen| conditions.iter().all(|condition| condition.holds(seen)))),
        },
        order: sort
            .map(|sort| -> Box<dyn Fn(&Seen, &Seen) -> _> { Box::new(move |one, other| sort.compare(one, other)) }),
    });
    search(shelf, move |page, moment| respond(id, paging, page, moment))
}

/// A page that depends on names. A private dialog is called after the other one, which the dialog itself does not know: all are
/// read and named first.
fn by_title(id: AccountId, paging: Paging, conditions: Vec<Condition<Seen>>, sort: Option<Sort<Seen>>) -> Flow {
    let all = Wanted { viewer: id, skip: 0, limit: usize::MAX, keep: None, order: None };
    search(Shelf::new(all), move |page, _| {
        titled(id, page.items, move |all, moment| {
            let named = all.into_iter().map(|Titled { mut seen, name }| {
                seen.record.name = name;
                seen
            });
            let mut found: Vec<Seen> =
                named.filter(|seen| conditions.iter().all(|condition| condition.holds(seen))).collect();
            if let Some(sort) = sort {
                found.sort_by(|one, other| sort.compare(one, other));
            }
            let total = found.len();
            let items = found.into_iter().skip(paging.skip).take(paging.limit).collect();
            respond(id, paging, Page { items, total }, moment)
        })
    })
}

fn respond(id: AccountId, paging: Paging, page: Page, _: &mut Moment<'_>) -> Flow {
    if paging.count {
        return Counted::answer(page.total as u64);
    }
    let total_entries = page.total;
    titled(id, page.items, move |all, moment| {
        let items = all.iter().map(|one| Record::of(id.app, one, moment)).collect();
        done(Response::json(Status::Ok, &Body { total_entries, skip: paging.skip, limit: paging.limit, items }))
    })
}

/// The conditions on the record, and those on custom parameters.
fn conditions(params: &Params) -> Result<Vec<Condition<Seen>>, Problem> {
    let mut found = filter::conditions(params, COLUMNS, &["data", "token"])?;
    for (name, value) in params.map("data").into_iter().flatten() {
        let of = match name.as_str() {
            "class_name" => Rc::new(class) as Rc<dyn Fn(&Seen) -> Operands>,
            _ => {
                let name = name.clone();
                Rc::new(move |seen: &Seen| custom(seen, &name))
            }
        };
        let value = match value {
            params::Value::Bool(flag) => &params::Value::Text(flag.to_string()),
            other => other,
        };
        filter::add(name, Kind::Any, of, value, &mut found)?;
    }
    Ok(found)
}

fn class(seen: &Seen) -> Operands {
    seen.record.data.iter().map(|data| Operand::Any(data.class.clone())).collect()
}

fn custom(seen: &Seen, name: &str) -> Operands {
    let value = seen.record.data.as_ref().and_then(|data| data.field(name));
    value.map(operands).unwrap_or_default()
}

fn operands(value: &Value) -> Operands {
    match value {
        Value::Null => Operands::new(),
        Value::Bool(flag) => smallvec![Operand::Any(flag.to_string())],
        Value::Integer(number) => smallvec![Operand::Any(number.to_string())],
        Value::Float(number) => smallvec![Operand::Any(number.to_string())],
        Value::Text(text) => smallvec![Operand::Any(text.clone())],
        Value::List(values) => values.iter().flat_map(operands).collect(),
    }
}

fn search(mut shelf: Shelf, then: impl FnOnce(Page, &mut Moment<'_>) -> Flow + 'static) -> Flow {
    match shelf.next() {
        Some(reads) => read(reads, move |rows, moment| {
            shelf.take(std::mem::take(rows))?;
            match shelf.next() {
                Some(_) => search(shelf, then),
                None => then(shelf.into_page(), moment),
            }
        }),
        None => read(Reads::none(), move |_, moment| then(shelf.into_page(), moment)),
    }
}

/// The dialogs of these ids that are in the caller's list.
fn by_id(id: AccountId, ids: Vec<DialogId>, then: impl FnOnce(Vec<Seen>, &mut Moment<'_>) -> Flow + 'static) -> Flow {
    let mut ids = ids;
    ids.sort_unstable();
    ids.dedup();
    let reads = ids.iter().fold(Reads::none(), |reads, &dialog| reads.and(seen_reads(id.app, dialog, id.user)));
    read(reads, move |rows, moment| {
        let mut found = Vec::new();
        for dialog in ids {
            found.extend(seen(dialog, id.user, rows)?.filter(|seen| seen.record.is_listed_by(id.user)));
        }
        then(found, moment)
    })
}
