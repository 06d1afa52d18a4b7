//! Pages of a dialog's history. Product page, "Retrieve messages".
//!
//! By `date_sent`, which is the order when none is asked for, a page without a filter costs what it shows. Filters look through the
//! history up to a bound, unless they say which messages or when; other orders take what the filters leave, if that is not too
//! much.

use proto::jid::user::{DialogId, MessageId, UserId};
use proto::model::dialog::page::{MESSAGES_LOOKED_AT_MAX, Order, Page, Pager, Shown, Wanted};
use proto::model::dialog::{self, Command, DialogKind, DialogRow, Head, Marks, Which};
use proto::owner::AccountId;
use proto::row::Reads;
use serde::Serialize;
use smallvec::smallvec;

use super::super::dialogs::list::Counted;
use super::{Record, locate, refusal_in, required_dialog};
use crate::filter::{self, Column, Condition, Kind, Operand, Paging, Sort};
use crate::flow::{Flow, Moment, ask_dialog, done, read};
use crate::http::{Response, Status};
use crate::problem::Problem;
use crate::route::Call;

/// Messages that are sorted by anything but their time.
const SORTED_MESSAGES_MAX: usize = 500;

static COLUMNS: &[Column<Shown>] = &[
    Column { name: "_id", kind: Kind::Id, of: |shown| smallvec![Operand::Id(shown.row.id.0)] },
    Column {
        name: "message",
        kind: Kind::Text,
        of: |shown| shown.row.content().text.clone().map(Operand::Text).into_iter().collect(),
    },
    Column { name: DATE_SENT, kind: Kind::Time, of: |shown| smallvec![Operand::number(shown.row.date_sent)] },
    Column { name: "sender_id", kind: Kind::Number, of: |shown| smallvec![Operand::number(shown.row.sender.0)] },
    Column {
        name: "recipient_id",
        kind: Kind::Number,
        of: |shown| smallvec![Operand::number(shown.row.recipient.unwrap_or(UserId(0)).0)],
    },
    Column {
        name: "attachments.type",
        kind: Kind::Text,
        of: |shown| shown.row.content().attachment_values("type").map(|kind| Operand::Text(kind.to_owned())).collect(),
    },
    Column { name: CREATED_AT, kind: Kind::Time, of: |shown| smallvec![Operand::time(shown.row.created_at)] },
    Column { name: "updated_at", kind: Kind::Time, of: |shown| smallvec![Operand::time(shown.updated_at)] },
    Column { name: "read", kind: Kind::Number, of: |shown| smallvec![Operand::number(shown.is_read().into())] },
];

const DATE_SENT: &str = "date_sent";
/// Messages stand in the order in which they came.
const CREATED_AT: &str = "created_at";

/// One page on the wire; other than of dialogs, without a total.
#[derive(Serialize)]
struct Body<'a> {
    skip: usize,
    limit: usize,
    items: Vec<Record<'a>>,
}

pub(super) fn list(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let dialog = required_dialog(&call.params)?;
    let asked = Asked {
        conditions: filter::conditions(&call.params, COLUMNS, &["token"])?,
        sort: Sort::of(&call.params, COLUMNS)?,
        paging: Paging::of(&call.params)?,
        marks: call.params.flag_if_given("mark_as_read") != Some(false),
    };
    let ids = filter::ids_named(&asked.conditions, "_id");
    let ids: Option<Vec<MessageId>> = ids.map(|ids| ids.into_iter().map(MessageId).collect());
    let places = ids
        .iter()
        .flatten()
        .fold(Reads::none(), |reads, &message| reads.and(dialog::read_place(id.app, dialog, message)));
    read(dialog::load_reads(id.app, dialog).and(places), move |rows, _| {
        let (record, head) = dialog::load(rows)?.ok_or_else(Problem::not_found)?;
        if !record.admits(id.user) {
            return Err(Problem::forbidden().into());
        }
        let mut orders = Vec::new();
        for _ in ids.iter().flatten() {
            orders.extend(dialog::found_place(rows)?.map(|place| place.order));
        }
        asked.search(id, dialog, &record, &head, ids.is_some().then_some(orders))
    })
}

/// What a page is to be.
struct Asked {
    conditions: Vec<Condition<Shown>>,
    sort: Option<Sort<Shown>>,
    paging: Paging,
    marks: bool,
}

impl Asked {
    /// `orders` are the only messages that can be meant, when those are known.
    fn search(
        self,
        id: AccountId,
        dialog: DialogId,
        record: &DialogRow,
        head: &Head,
        orders: Option<Vec<u64>>,
    ) -> Flow {
        let Asked { conditions, sort, paging, marks } = self;
        let (order, newest_first, sort) = match sort {
            None => (Order::DateSent, false, None),
            Some(sort) if sort.name == DATE_SENT => (Order::DateSent, sort.descending, None),
            Some(sort) if sort.name == CREATED_AT => (Order::Arrival, sort.descending, None),
            Some(sort) => (Order::DateSent, false, Some(sort)),
        };
        let (from, to) = filter::bounds(&conditions, DATE_SENT);
        let (skip, limit) = match sort {
            Some(_) => (0, SORTED_MESSAGES_MAX + 1),
            None => (paging.skip, paging.limit),
        };
        let bare = conditions.is_empty();
        if bare && !paging.count && paging.skip > MESSAGES_LOOKED_AT_MAX {
            let text = format!("skip is too large (maximum is {MESSAGES_LOOKED_AT_MAX}); ask by date_sent instead");
            return Err(Problem::unprocessable(text).into());
        }
        let keep = (!bare).then(|| -> Box<dyn Fn(&Shown) -> bool> {
            Box::new(move |shown| conditions.iter().all(|condition| condition.holds(shown)))
        });
        let wanted = Wanted { viewer: id.user, from, to, order, newest_first, skip, limit, count: paging.count, keep };
        let mut pager = Pager::new(id.app, dialog, record, head, wanted);
        if let Some(orders) = orders {
            pager = pager.among(orders);
        }
        let kind = record.kind;
        search(pager, move |mut page, _| {
            if paging.count {
                return Counted::answer(page.count);
            }
            if let Some(sort) = sort {
                if page.items.len() > SORTED_MESSAGES_MAX {
                    let max = SORTED_MESSAGES_MAX;
                    let text = format!("More than {max} messages can be sorted by date_sent only; ask for fewer");
                    return Err(Problem::unprocessable(text).into());
                }
                page.items.sort_by(|one, other| sort.compare(one, other));
                page.items = page.items.into_iter().skip(paging.skip).take(paging.limit).collect();
            }
            marked(id, dialog, kind, page.items, marks, move |items| {
                let items = items.iter().map(|shown| Record { dialog, shown }).collect();
                done(Response::json(Status::Ok, &Body { skip: paging.skip, limit: paging.limit, items }))
            })
        })
    }
}

/// One message.
pub(super) fn show(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let message = MessageId::parse(call.objects.as_bytes()).ok_or_else(Problem::not_found)?;
    let dialog = super::dialog_in(&call.params, "chat_dialog_id")?;
    let marks = call.params.flag_if_given("mark_as_read") != Some(false);
    locate::find(id, vec![message], dialog, move |located| {
        let (dialog, _) = located.by_dialog.into_iter().next().ok_or_else(Problem::not_found)?;
        let reads = dialog::load_reads(id.app, dialog).and(dialog::read_place(id.app, dialog, message));
        read(reads, move |rows, _| {
            let (record, head) = dialog::load(rows)?.ok_or_else(Problem::not_found)?;
            let place = dialog::found_place(rows)?.ok_or_else(Problem::not_found)?;
            if !record.admits(id.user) {
                return Err(Problem::forbidden().into());
            }
            let (kind, viewer) = (record.kind, id.user);
            let wanted = Wanted {
                viewer,
                from: None,
                to: None,
                order: Order::DateSent,
                newest_first: false,
                skip: 0,
                limit: 1,
                count: false,
                keep: None,
            };
            let pager = Pager::new(id.app, dialog, &record, &head, wanted).among(vec![place.order]);
            search(pager, move |page, _| {
                marked(id, dialog, kind, page.items, marks, move |items| {
                    let shown = items.first().ok_or_else(Problem::not_found)?;
                    done(Response::json(Status::Ok, &Record { dialog, shown }))
                })
            })
        })
    })
}

fn search(mut pager: Pager, then: impl FnOnce(Page, &mut Moment<'_>) -> Flow + 'static) -> Flow {
    let reads = pager.next().unwrap_or_default();
    read(reads, move |rows, moment| {
        pager.take(std::mem::take(rows))?;
        match pager.next() {
            Some(_) => search(pager, then),
            None => then(pager.into_page(), moment),
        }
    })
}

/// Marks as read what the caller has not read of these, and goes on with them as they are then.
fn marked(
    id: AccountId,
    dialog: DialogId,
    kind: DialogKind,
    mut items: Vec<Shown>,
    marks: bool,
    then: impl FnOnce(Vec<Shown>) -> Flow + 'static,
) -> Flow {
    // Public dialogs list no readers.
    let new = |shown: &&Shown| !shown.is_read_by(id.user);
    let ids: Vec<MessageId> = items.iter().filter(new).map(|shown| shown.row.id).collect();
    if !marks || kind == DialogKind::Public || ids.is_empty() {
        return then(items);
    }
    let marks = Marks { read: Some(true), delivered: true };
    let command = Command::Mark { by: id.user, which: Which::Ids(ids), marks, astray: false };
    ask_dialog(id.app, dialog, command, move |answered, moment| {
        if let dialog::Answer::Refused(_) = answered.answer {
            return Err(refusal_in(answered.answer));
        }
        for shown in items.iter_mut().filter(|shown| !shown.is_read_by(id.user)) {
            for ids in [&mut shown.read_ids, &mut shown.delivered_ids] {
                if let Err(at) = ids.binary_search(&id.user) {
                    ids.insert(at, id.user);
                }
            }
            shown.updated_at = moment.stamp();
        }
        then(items)
    })
}
