//! `chat/Dialog`: making, changing and deleting dialogs, and whether to hear of them while away. Product page, wire notes §5,
//! server notes §9. Lists are in `list`.
//!
//! Who may do what is the dialog's to say (`proto::dialog`): a call becomes a command to it, and its refusals become answers.
//! What a change means for the caller's own list is told to his account once more before he is answered, so that the list he
//! asks for next shows it.
//!
//! *Classes.* Custom parameters belong to a class of the app. Classes are declared with the custom objects module; a name that
//! is used here is taken as declared, with whatever fields it is given, within the bounds below.

use std::rc::Rc;
use std::vec::IntoIter;

use proto::jid::user::{AppId, DialogId, MessageId, RoomJid, UserId};
use proto::model::dialog::view::{Seen, seen, seen_reads};
use proto::model::dialog::{Answer, Answered, Command, DialogKind, Refusal, Value};
use proto::model::directory::members;
use proto::model::{directory, inbox};
use proto::owner::AccountId;
use proto::row::Reads;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::several::{Named, Outcome};
use crate::flow::{Flow, Halt, Moment, ask_dialog, ask_directory, ask_inbox, done, read};
use crate::http::{Method, Response, Status};
use crate::params::Params;
use crate::problem::Problem;
use crate::route::{Call, Handler, Need, Route, Segment};

mod fields;
pub(super) mod list;
mod notifications;
#[cfg(test)]
pub(super) mod tests;

const CHAT: Segment = Segment::Is("chat");
const DIALOG: Segment = Segment::Is("Dialog");
const DIALOGS: Segment = Segment::Is("Dialogs");
const ALL: &[Segment] = &[CHAT, DIALOG];
const NAMED: &[Segment] = &[CHAT, DIALOG, Segment::Objects];
const NOTIFICATIONS: &[Segment] = &[CHAT, DIALOG, Segment::Objects, Segment::Is("notifications")];

const fn route(method: Method, path: &'static [Segment], handler: Handler) -> Route {
    Route { method, path, need: Need::User, handler }
}

pub(super) static ROUTES: &[Route] = &[
    route(Method::Get, ALL, list::list),
    route(Method::Post, ALL, create),
    route(Method::Put, NAMED, update),
    route(Method::Delete, NAMED, delete),
    route(Method::Get, NOTIFICATIONS, notifications::show),
    route(Method::Put, NOTIFICATIONS, notifications::set),
    route(Method::Post, &[CHAT, DIALOGS, Segment::Is("add_occupants")], add_occupants),
    route(Method::Post, &[CHAT, DIALOGS, Segment::Is("remove_occupants")], remove_occupants),
];

/// A dialog on the wire: every field is there, null or not. Server notes §9.1 and §15.2.
#[derive(Serialize)]
struct Record<'a> {
    _id: DialogId,
    created_at: String,
    updated_at: String,
    user_id: UserId,
    #[serde(rename = "type")]
    kind: u8,
    name: Option<&'a str>,
    photo: Option<&'a str>,
    occupants_ids: &'a [UserId],
    last_message: Option<&'a str>,
    /// Unix seconds.
    last_message_date_sent: Option<u64>,
    last_message_id: Option<MessageId>,
    last_message_user_id: Option<UserId>,
    unread_messages_count: u64,
    xmpp_room_jid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

impl<'a> Record<'a> {
    fn of(app: AppId, titled: &'a Titled, moment: &Moment<'_>) -> Record<'a> {
        let Seen { id, record, head, unread } = &titled.seen;
        let last = head.last.as_ref();
        let room = || format!("{}@{}", RoomJid { app, dialog: *id }, moment.site.muc_domain);
        Record {
            _id: *id,
            created_at: record.created_at.iso().to_string(),
            updated_at: titled.seen.updated_at().iso().to_string(),
            user_id: record.owner,
            kind: record.kind.number(),
            name: titled.name.as_deref(),
            photo: record.photo.as_deref(),
            occupants_ids: &record.occupants,
            last_message: last.and_then(|last| last.text.as_deref()),
            last_message_date_sent: last.map(|last| last.date_sent),
            last_message_id: last.map(|last| last.id),
            last_message_user_id: last.map(|last| last.sender),
            unread_messages_count: *unread,
            xmpp_room_jid: record.has_room().then(room),
            data: record.data.as_ref().map(Data),
        }
    }
}

/// `{"class_name":"CoolDialog","category":"friends"}`.
struct Data<'a>(&'a proto::model::dialog::Data);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1 + self.0.fields.len()))?;
        map.serialize_entry("class_name", &self.0.class)?;
        for (name, value) in &self.0.fields {
            map.serialize_entry(name, &Plain(value))?;
        }
        map.end()
    }
}

/// A value as the JSON it was.
struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(flag) => to.serialize_bool(*flag),
            Value::Integer(number) => to.serialize_i64(*number),
            Value::Float(number) => to.serialize_f64(*number),
            Value::Text(text) => to.serialize_str(text),
            Value::List(values) => to.collect_seq(values.iter().map(Plain)),
        }
    }
}

/// A dialog and what the one who looks calls it: the other user's name, when it is private.
struct Titled {
    seen: Seen,
    name: Option<String>,
}

/// Finds out what `viewer` calls these dialogs.
fn titled(
    viewer: AccountId,
    all: Vec<Seen>,
    then: impl FnOnce(Vec<Titled>, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let others = all.iter().filter_map(|seen| seen.record.other(viewer.user));
    let reads = others.fold(Reads::none(), |reads, other| reads.and(members::read(viewer.app, other)));
    read(reads, move |rows, moment| {
        let mut named = Vec::with_capacity(all.len());
        for seen in all {
            let name = match seen.record.other(viewer.user) {
                // Apps break on a private dialog without a name: one who is gone or nameless still has a number.
                Some(other) => Some(members::found(rows)?.map_or_else(
                    || other.to_string(),
                    |user| {
                        let names = [&user.fields.full_name, &user.fields.login];
                        let name = names.into_iter().flatten().find(|name| !name.trim().is_empty());
                        name.cloned().unwrap_or_else(|| other.to_string())
                    },
                )),
                None => seen.record.name.clone(),
            };
            named.push(Titled { seen, name });
        }
        then(named, moment)
    })
}

/// Answers with one dialog.
fn answer_record(viewer: AccountId, seen: Seen, status: Status) -> Flow {
    titled(viewer, vec![seen], move |all, moment| {
        let titled = all.first().ok_or_else(Problem::internal)?;
        done(Response::json(status, &Record::of(viewer.app, titled, moment)))
    })
}

/// What a dialog's refusal is on the wire.
pub(super) fn problem_of(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoDialog => Problem::not_found(),
        Refusal::Forbidden => Problem::forbidden(),
        Refusal::UnknownUsers => Problem::unknown_occupants(),
        Refusal::TooManyForPrivate => Problem::too_many_occupants(),
        Refusal::WrongOccupants => Problem::bad_occupants(),
        Refusal::TooManyOccupants => {
            let max = proto::limits::OCCUPANTS_MAX;
            Problem::unprocessable(format!("There are too many occupants (maximum is {max})"))
        }
        Refusal::Taken => Problem::unprocessable("The id belongs to something else"),
    }
}

/// Has the caller's own list show what was done, and goes on.
pub(super) fn settle(
    id: AccountId,
    command: Option<inbox::Command>,
    moment: &mut Moment<'_>,
    then: impl FnOnce(&mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    match command {
        Some(command) => ask_inbox(id, command, then),
        None => then(moment),
    }
}

/// The dialog in an answer; `empty` stands for one that is no more.
fn seen_in(dialog: DialogId, answer: Answer, empty: Option<Seen>) -> Result<Seen, Halt> {
    match answer {
        Answer::Dialog { record, head, unread } => Ok(Seen { id: dialog, record: *record, head: *head, unread }),
        Answer::Refused(refusal) => Err(problem_of(refusal).into()),
        Answer::Done => empty.ok_or_else(|| Problem::internal().into()),
        Answer::Message { .. } | Answer::Sorted { .. } => Err(Problem::internal().into()),
    }
}

fn create(call: Call, moment: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let new = fields::New::read(&call.params)?;
    let others: Vec<UserId> = new.occupants.iter().copied().filter(|&user| user != id.user).collect();
    let dialog = match (new.kind, others.as_slice()) {
        (DialogKind::Private, [other, rest @ ..]) if rest.iter().all(|user| user == other) => {
            DialogId::private(&moment.site.pairs, id.app, id.user, *other)
        }
        (DialogKind::Private, []) => return Err(Problem::bad_occupants().into()),
        (DialogKind::Private, _) => return Err(Problem::too_many_occupants().into()),
        (DialogKind::Group | DialogKind::Public, _) => DialogId::drawn(moment.stamp(), moment.random.array()),
    };
    let fields::New { kind, name, photo, data, .. } = new;
    let public = (kind == DialogKind::Public).then(|| name.clone());
    let command = Command::Create { by: id.user, kind, name, photo, occupants: others, data };
    ask_dialog(id.app, dialog, command, move |Answered { answer, inbox }, moment| {
        let seen = seen_in(dialog, answer, None)?;
        settle(id, inbox, moment, move |_| match public {
            // It is on its way there already; who asks next finds it done.
            Some(name) => ask_directory(id.app, directory::Command::ListDialog { dialog, name }, move |_, _| {
                answer_record(id, seen, Status::Created)
            }),
            None => answer_record(id, seen, Status::Created),
        })
    })
}

/// The one dialog that a path names.
fn one_id(call: &Call) -> Result<DialogId, Halt> {
    DialogId::parse(call.objects.as_bytes()).ok_or_else(|| Problem::not_found().into())
}

fn update(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let dialog = one_id(&call)?;
    read(seen_reads(id.app, dialog, id.user), move |rows, _| {
        // Who may see it is told what is wrong with the request; others are told nothing of it.
        let before = seen(dialog, id.user, rows)?.ok_or_else(Problem::not_found)?;
        if !before.record.admits(id.user) {
            return Err(Problem::forbidden().into());
        }
        let change = fields::change(&call.params, &before.record)?;
        ask_dialog(
            id.app,
            dialog,
            Command::Update { by: id.user, change },
            move |Answered { answer, inbox }, moment| {
                let mut last = before;
                last.record.occupants.clear();
                last.unread = 0;
                let seen = seen_in(dialog, answer, Some(last))?;
                settle(id, inbox, moment, move |_| answer_record(id, seen, Status::Ok))
            },
        )
    })
}

fn delete(call: Call, _: &mut Moment<'_>) -> Flow {
    let id = call.account()?;
    let Named { ids, single, missing } = Named::read(&call.objects, DialogId::parse)?;
    let outcome = Outcome { missing, ..Outcome::default() };
    let force = call.params.flag("force");
    let each = move |dialog, then: Next| {
        ask_dialog(id.app, dialog, Command::Delete { by: id.user, force }, move |answered, moment| {
            if answered.answer != Answer::Done || !force {
                return then(answered, moment);
            }
            // Those who list dialogs next do not find it, should it have been public.
            let command = directory::Command::ListDialog { dialog, name: None };
            ask_directory(id.app, command, move |_, moment| then(answered, moment))
        })
    };
    one_by_one(id, ids.into_iter(), outcome, Rc::new(each), move |outcome| {
        outcome.answer(single, "SuccessfullyDeleted")
    })
}

fn add_occupants(call: Call, _: &mut Moment<'_>) -> Flow {
    occupants_in_many(&call, true)
}

fn remove_occupants(call: Call, _: &mut Moment<'_>) -> Flow {
    occupants_in_many(&call, false)
}

/// The same change of occupants in several dialogs. Wire notes §5.4.
fn occupants_in_many(call: &Call, add: bool) -> Flow {
    let id = call.account()?;
    let users = fields::users(&call.params, "users_ids")?;
    let dialogs = call.params.words("dialogs_ids").join(",");
    if users.is_empty() || dialogs.is_empty() {
        let missing = if users.is_empty() { "users_ids" } else { "dialogs_ids" };
        return Err(Problem::unprocessable(format!("{missing} is required")).into());
    }
    let Named { ids, missing, .. } = Named::read(&dialogs, DialogId::parse)?;
    let outcome = Outcome { missing, ..Outcome::default() };
    let each = move |dialog, then: Next| {
        let (push, pull) = if add { (users.clone(), Vec::new()) } else { (Vec::new(), users.clone()) };
        let change = proto::model::dialog::Change { push, pull, ..Default::default() };
        ask_dialog(id.app, dialog, Command::Update { by: id.user, change }, then)
    };
    one_by_one(id, ids.into_iter(), outcome, Rc::new(each), |outcome| outcome.answer(false, "SuccessfullyUpdated"))
}

type Next = Box<dyn FnOnce(Answered, &mut Moment<'_>) -> Flow>;
type Each = Rc<dyn Fn(DialogId, Next) -> Flow>;

/// Asks one dialog after the other, and sorts what they answer.
fn one_by_one(
    id: AccountId,
    mut left: IntoIter<DialogId>,
    mut outcome: Outcome,
    each: Each,
    then: impl FnOnce(Outcome) -> Flow + 'static,
) -> Flow {
    let Some(dialog) = left.next() else { return then(outcome) };
    let next = Rc::clone(&each);
    let sort = move |Answered { answer, inbox }: Answered, moment: &mut Moment<'_>| {
        let text = dialog.to_string();
        match answer {
            Answer::Done | Answer::Dialog { .. } => outcome.done.push(text),
            Answer::Refused(Refusal::NoDialog) => outcome.missing.push(text),
            Answer::Refused(Refusal::Forbidden | Refusal::WrongOccupants) => outcome.denied.push(text),
            Answer::Refused(
                refusal @ (Refusal::UnknownUsers
                | Refusal::TooManyForPrivate
                | Refusal::TooManyOccupants
                | Refusal::Taken),
            ) => return Err(problem_of(refusal).into()),
            Answer::Message { .. } | Answer::Sorted { .. } => return Err(Problem::internal().into()),
        }
        settle(id, inbox, moment, move |_| one_by_one(id, left, outcome, next, then))
    };
    each(dialog, Box::new(sort))
}

/// The dialog that a parameter names, if it is there.
pub(super) fn dialog_in(params: &Params, name: &str) -> Result<Option<DialogId>, Problem> {
    match params.text(name) {
        Some(text) if !text.trim().is_empty() => {
            DialogId::parse(text.trim().as_bytes()).map(Some).ok_or_else(Problem::not_found)
        }
        Some(_) | None => Ok(None),
    }
}
