//! `chat/Message`: adding, changing and taking away messages of the one history. Product page, wire notes §6, server notes §10.
//! Pages of history are in `list`, counts of unread messages in `unread`.
//!
//! As with dialogs, a call becomes a command to the dialog, which says who may do what. Two calls name messages without their
//! dialog (deleting, and showing one): `locate` finds it among the caller's dialogs.

use std::vec::IntoIter;

use proto::jid::user::{AppId, DialogId, MessageId, UserId};
use proto::model::dialog::page::Shown;
use proto::model::dialog::{Answer, Answered, Attachment, Command, Delivery, Draft, Marks, Refusal, Which};
use proto::owner::AccountId;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::dialogs::{dialog_in, problem_of, settle};
use super::several::{Named, Outcome};
use crate::flow::{Flow, Halt, Moment, ask_dialog, done};
use crate::http::{Method, Response, Status};
use crate::params::Params;
use crate::problem::Problem;
use crate::route::{Call, Handler, Need, Route, Segment};

mod content;
mod list;
mod locate;
#[cfg(test)]
mod tests;
mod unread;

const CHAT: Segment = Segment::Is("chat");
const MESSAGE: Segment = Segment::Is("Message");
const ALL: &[Segment] = &[CHAT, MESSAGE];
const NAMED: &[Segment] = &[CHAT, MESSAGE, Segment::Objects];

const fn route(method: Method, path: &'static [Segment], handler: Handler) -> Route {
    Route { method, path, need: Need::User, handler }
}

pub(super) static ROUTES: &[Route] = &[
    route(Method::Get, ALL, list::list),
    route(Method::Post, ALL, create),
    route(Method::Put, ALL, update),
    // SDKs that are given no id write an empty one.
    route(Method::Put, &[CHAT, MESSAGE, Segment::Is("")], update),
    route(Method::Get, &[CHAT, MESSAGE, Segment::Is("unread")], unread::show),
    route(Method::Get, NAMED, list::show),
    route(Method::Put, NAMED, update),
    route(Method::Delete, NAMED, delete),
];

/// A message on the wire: every field is there and none is null; custom parameters stand beside them. Server notes §15.2.
struct Record<'a> {
    dialog: DialogId,
    shown: &'a Shown,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Shown { row, read_ids, delivered_ids, updated_at, .. } = self.shown;
        let content = row.content();
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("_id", &row.id)?;
        for (name, value) in &content.custom {
            map.serialize_entry(name, value)?;
        }
        let attachments: Vec<File<'_>> = content.attachments.iter().map(File).collect();
        map.serialize_entry("attachments", &attachments)?;
        map.serialize_entry("chat_dialog_id", &self.dialog)?;
        map.serialize_entry("created_at", &row.created_at.iso().to_string())?;
        map.serialize_entry("date_sent", &row.date_sent)?;
        map.serialize_entry("delivered_ids", delivered_ids)?;
        map.serialize_entry("message", content.text.as_deref().unwrap_or_default())?;
        map.serialize_entry("read_ids", read_ids)?;
        // In groups 0 rather than null: some apps show no message without a recipient.
        map.serialize_entry("recipient_id", &row.recipient.unwrap_or(UserId(0)))?;
        map.serialize_entry("sender_id", &row.sender)?;
        map.serialize_entry("updated_at", &updated_at.iso().to_string())?;
        map.serialize_entry("read", &u8::from(self.shown.is_read()))?;
        map.end()
    }
}

/// `{"id":"47863","type":"image"}`.
struct File<'a>(&'a Attachment);

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The dialog that a call names.
fn required_dialog(params: &Params) -> Result<DialogId, Problem> {
    dialog_in(params, "chat_dialog_id")?.ok_or_else(|| Problem::unprocessable("chat_dialog_id is required"))
}

fn create(call: Call, moment: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let params = &call.params;
    let recipient = recipient(params)?;
    let private = recipient.map(|other| DialogId::private(&moment.site.pairs, id.app, id.user, other));
    let dialog = match (dialog_in(params, "chat_dialog_id")?, private) {
        (Some(dialog), _) => dialog,
        (None, Some(_)) if recipient == Some(id.user) => return Err(Problem::bad_occupants().into()),
        (None, Some(private)) => private,
        (None, None) => return Err(Problem::unprocessable("chat_dialog_id or recipient_id is required").into()),
    };
    let delivery = match (params.flag("system"), params.flag("send_to_chat")) {
        (true, _) => Delivery::System,
        (false, true) => Delivery::Chat,
        (false, false) => Delivery::None,
    };
    let draft = Draft {
        by: id.user,
        id: MessageId::drawn(moment.stamp(), moment.random.array()),
        to: recipient.filter(|_| private == Some(dialog)),
        content: content::read(params)?,
        markable: params.flag("markable"),
        delivery,
        admitted: false,
    };
    ask_dialog(id.app, dialog, Command::Save(draft), move |Answered { answer, inbox }, moment| match answer {
        Answer::Message { row, kind, .. } => settle(id, inbox, moment, move |_| {
            let shown = Shown::unmarked(*row, kind);
            done(Response::json(Status::Created, &Record { dialog, shown: &shown }))
        }),
        other => Err(refusal_in(other)),
    })
}

/// The user a message is for. Groups have none, and some clients write so: as null, as nothing or as 0.
fn recipient(params: &Params) -> Result<Option<UserId>, Problem> {
    let Some(text) = params.text("recipient_id").filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let number = text.trim().parse().map_err(|_| Problem::unprocessable("recipient_id must be a number"))?;
    Ok(Some(UserId(number)).filter(|user| user.0 != 0))
}

/// The reason in an answer that is none.
fn refusal_in(answer: Answer) -> Halt {
    match answer {
        Answer::Refused(refusal) => problem_of(refusal).into(),
        Answer::Done | Answer::Dialog { .. } | Answer::Message { .. } | Answer::Sorted { .. } => {
            Problem::internal().into()
        }
    }
}

/// `read`, `delivered` and `message`, of some messages or, without an id, of all (their text aside).
fn update(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let params = &call.params;
    let dialog = required_dialog(params)?;
    let marks = Marks {
        read: flag(params, "read")?,
        // What has arrived stays so.
        delivered: flag(params, "delivered")? == Some(true),
    };
    let text = content::text(params)?;
    let named = Named::read(&call.objects, MessageId::parse)?;
    let all = call.objects.is_empty();
    if !params.has("read") && !params.has("delivered") && text.is_none() {
        return Err(Problem::unprocessable("One of read, delivered and message is required").into());
    }
    if all && text.is_some() {
        return Err(Problem::unprocessable("The text of all messages can't be changed at once").into());
    }
    let Named { ids, single, missing } = named;
    if single && !missing.is_empty() {
        return Err(Problem::not_found().into());
    }
    // Who may not change the text changes nothing: the marks come after it.
    let by = id.user;
    let mark =
        Marking { app: id.app, dialog, by, which: if all { Which::All } else { Which::Ids(ids.clone()) }, marks };
    match text {
        None => mark.run(single),
        Some(text) => ask_dialog(id.app, dialog, Command::Edit { by, ids, text }, move |answered, _| {
            let Answer::Sorted { done: edited, denied, .. } = answered.answer else {
                return Err(refusal_in(answered.answer));
            };
            match (edited.is_empty(), denied.is_empty()) {
                (_, false) => Err(Problem::forbidden().into()),
                (true, true) => Err(Problem::not_found().into()),
                (false, true) if mark.marks == Marks::default() => done(Response::empty(Status::Ok)),
                (false, true) => mark.run(single),
            }
        }),
    }
}

/// Marks to be set.
struct Marking {
    app: AppId,
    dialog: DialogId,
    by: UserId,
    which: Which,
    marks: Marks,
}

impl Marking {
    fn run(self, single: bool) -> Flow {
        let Marking { app, dialog, by, which, marks } = self;
        ask_dialog(app, dialog, Command::Mark { by, which, marks, astray: false }, move |answered, _| {
            match answered.answer {
                Answer::Sorted { missing, .. } if single && !missing.is_empty() => Err(Problem::not_found().into()),
                Answer::Sorted { .. } | Answer::Done => done(Response::empty(Status::Ok)),
                other => Err(refusal_in(other)),
            }
        })
    }
}

fn flag(params: &Params, name: &str) -> Result<Option<bool>, Problem> {
    match params.value(name) {
        None => Ok(None),
        Some(value) => value.flag().map(Some).ok_or_else(|| Problem::unprocessable(format!("{name} must be 0 or 1"))),
    }
}

fn delete(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let force = call.params.flag("force");
    let dialog = dialog_in(&call.params, "chat_dialog_id")?;
    let Named { ids, single, missing } = Named::read(&call.objects, MessageId::parse)?;
    locate::find(id, ids, dialog, move |located| {
        let mut outcome = Outcome { missing, ..Outcome::default() };
        outcome.missing.extend(located.missing.iter().map(MessageId::to_string));
        remove_in(id, located.by_dialog.into_iter(), force, outcome, move |outcome| {
            outcome.answer(single, "SuccessfullyDeleted")
        })
    })
}

/// Takes messages away, one dialog after the other.
fn remove_in(
    id: AccountId,
    mut left: IntoIter<(DialogId, Vec<MessageId>)>,
    force: bool,
    mut outcome: Outcome,
    then: impl FnOnce(Outcome) -> Flow + 'static,
) -> Flow {
    let Some((dialog, ids)) = left.next() else { return then(outcome) };
    let command = Command::Remove { by: id.user, ids: ids.clone(), force };
    ask_dialog(id.app, dialog, command, move |answered, _| {
        let (done, denied, missing) = match answered.answer {
            Answer::Sorted { done, denied, missing } => (done, denied, missing),
            Answer::Refused(Refusal::Forbidden) => (Vec::new(), ids, Vec::new()),
            Answer::Refused(Refusal::NoDialog) => (Vec::new(), Vec::new(), ids),
            other => return Err(refusal_in(other)),
        };
        for (to, from) in [(&mut outcome.done, done), (&mut outcome.denied, denied), (&mut outcome.missing, missing)] {
            to.extend(from.iter().map(MessageId::to_string));
        }
        remove_in(id, left, force, outcome, then)
    })
}
