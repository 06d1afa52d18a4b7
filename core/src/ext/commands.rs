//! XEP-0050: Ad-Hoc Commands, and with them XEP-0133: Service Administration.
//!
//! The operator's configuration says who administers: users, each of them in the own app and nowhere else. Users of other apps are to them
//! as users who do not exist, and so is whatever concerns the server as a whole. All others see no commands.
//!
//! Nothing is kept between the steps of a command. A session's id says which command it is of and when it began; the rest stands in the
//! form, which comes back. Whoever makes up either gets no further than with an id and a form of the server's.
//!
//! | subject | file |
//! |---|---|
//! | making, removing and changing users | `users` |
//! | what one can know of them | `about` |
//! | lists and numbers of users | `lists` |
//! | words to all of them | `announce` |

use super::form::{self, Blank, Field};
use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::{Site, Turn};
use crate::error::{Condition, ErrorType, Refusal};
use crate::jid::user::ObjectId;
use crate::limits::COMMAND_TIME_MAX;
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::time::Timestamp;
use crate::xml::Writer;

mod about;
mod announce;
mod asking;
mod lists;
#[cfg(test)]
mod tests;
mod users;

pub(super) static COMMANDS: Extension = Extension {
    name: "Ad-Hoc Commands",
    spec: Spec::Xep(50, "1.3.0"),
    server_features: &[ns::COMMANDS],
    iq: &[IqRoute {
        at: At::Server,
        kind: IqKind::Set,
        ns: ns::COMMANDS,
        name: "command",
        plan: nothing,
        apply: on_command,
    }],
    ..Extension::NONE
};

/// The commands.
pub(super) static ADMINISTRATION: Extension =
    Extension { name: "Service Administration (of an app)", spec: Spec::Xep(133, "1.3.1"), ..Extension::NONE };

/// Every command there is, in the order in which they are listed.
static ALL: &[Command] = &[
    Command::new("add-user", "Add User", users::ADD, users::add),
    Command::new("delete-user", "Delete User", users::DELETE, users::delete),
    Command::new("end-user-session", "End User Session", users::END, users::end_sessions),
    Command::new("change-user-password", "Change User Password", users::PASSWORD, users::change_password),
    Command::new("get-user-roster", "Get User Roster", about::ROSTER, about::roster),
    Command::new("get-user-lastlogin", "Get User Last Login Time", about::LAST_LOGIN, about::last_login),
    Command::new("user-stats", "Get User Statistics", about::STATISTICS, about::statistics),
    Command::new("get-registered-users-num", "Get Number of Registered Users", &[], lists::count_registered),
    Command::new("get-online-users-num", "Get Number of Online Users", &[], lists::count_online),
    Command::paged("get-registered-users-list", "Get List of Registered Users", lists::registered),
    Command::paged("get-online-users-list", "Get List of Online Users", lists::online),
    Command::new("announce", "Send Announcement to Online Users", announce::ANNOUNCE, announce::announce),
];

/// A command.
struct Command {
    /// Its name; its node is the namespace of XEP-0133, `#` and this.
    name: &'static str,
    /// What people read.
    title: &'static str,
    /// What has to be known before it is carried out.
    blanks: &'static [Blank],
    /// Its answer can have several pages.
    paged: bool,
    run: Run,
}

/// Carries a command out.
type Run = fn(&Filled, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer;

impl Command {
    const fn new(name: &'static str, title: &'static str, blanks: &'static [Blank], run: Run) -> Command {
        Command { name, title, blanks, paged: false, run }
    }

    const fn paged(name: &'static str, title: &'static str, run: Run) -> Command {
        Command { name, title, blanks: lists::PAGE, paged: true, run }
    }

    fn of_node(node: &str) -> Option<&'static Command> {
        let name = node.strip_prefix(ns::ADMIN)?.strip_prefix('#')?;
        ALL.iter().find(|command| command.name == name)
    }

    fn node(&self) -> String {
        format!("{}#{}", ns::ADMIN, self.name)
    }
}

/// What is to be done. §3.4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Execute,
    Next,
    Previous,
    Complete,
    Cancel,
}

impl Action {
    fn read(action: Option<&str>) -> Result<Action, Refusal> {
        Ok(match action {
            None | Some("execute") => Action::Execute,
            Some("next") => Action::Next,
            Some("prev") => Action::Previous,
            Some("complete") => Action::Complete,
            Some("cancel") => Action::Cancel,
            Some(_) => return Err(bad("malformed-action", "There is no such action.")),
        })
    }
}

/// A form that came back, and what is to be done with it.
struct Filled {
    action: Action,
    fields: Vec<Field>,
}

impl Filled {
    /// The one value of a field; none if it was left empty.
    fn one(&self, var: &str) -> Result<Option<&str>, Refusal> {
        match self.values(var).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            [..] => Err(bad_payload("A field has more values than one.")),
        }
    }

    /// The values of a field that are not empty.
    fn values(&self, var: &str) -> Vec<&str> {
        let values = self.fields.iter().filter(|field| field.var == var).flat_map(|field| &field.values);
        values.map(|value| value.trim()).filter(|value| !value.is_empty()).collect()
    }
}

fn on_command(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    if !turn.site.is_admin(account.id()) {
        return Err(Condition::Forbidden.into());
    }
    let node = request.attr("node").ok_or(Condition::BadRequest)?;
    let command = Command::of_node(&node).ok_or(Condition::ItemNotFound)?;
    in_english(request)?;
    let action = Action::read(request.attr("action").as_deref())?;
    let Some(session) = request.attr("sessionid") else {
        return begin(command, action, request, account, turn);
    };
    check_session(&session, command, turn.now.stamp)?;
    match action {
        Action::Cancel => Ok(answer(command, request, turn, Status::Canceled, |_| {})),
        Action::Next | Action::Previous if !command.paged => {
            Err(bad("bad-action", "This is all there is to the command."))
        }
        Action::Execute | Action::Next | Action::Previous | Action::Complete => {
            let filled = fill(command, action, request)?;
            (command.run)(&filled, request, account, turn)
        }
    }
}

/// The first step.
fn begin(
    command: &'static Command,
    action: Action,
    request: &Request<'_>,
    account: &mut Account,
    turn: &mut Turn<'_>,
) -> IqAnswer {
    if action != Action::Execute {
        return Err(bad("bad-sessionid", "A command begins with its execution."));
    }
    if command.blanks.is_empty() {
        return (command.run)(&Filled { action, fields: Vec::new() }, request, account, turn);
    }
    Ok(ask(command, request, turn))
}

/// Has the form filled in.
fn ask(command: &Command, request: &Request<'_>, turn: &mut Turn<'_>) -> Vec<u8> {
    answer(command, request, turn, Status::Executing, |xml| {
        let actions: &[&'static str] = if command.paged { &["next", "complete"] } else { &["complete"] };
        write_actions(xml, "complete", actions);
        form::open_form(xml, ns::ADMIN);
        xml.simple("title", command.title);
        for blank in command.blanks {
            form::blank(xml, blank);
        }
        xml.close();
    })
}

/// The form as it came back.
fn fill(command: &Command, action: Action, request: &Request<'_>) -> Result<Filled, Refusal> {
    let form = form::filled(request.payload).map_err(|_| bad_payload("This is no form that was filled in."))?;
    let filled = Filled { action, fields: form.unwrap_or_default() };
    if filled.one("FORM_TYPE")?.is_some_and(|kind| kind != ns::ADMIN) {
        return Err(bad_payload("The form belongs to something else."));
    }
    match command.blanks.iter().find(|blank| blank.required && filled.values(blank.var).is_empty()) {
        Some(missing) => Err(bad_payload(format!("Something is missing: {}.", missing.label))),
        None => Ok(filled),
    }
}

/// How far a command has come. §3.4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Executing,
    Completed,
    Canceled,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Executing => "executing",
            Status::Completed => "completed",
            Status::Canceled => "canceled",
        }
    }
}

/// An answer to the command in hand, with what `write` puts into it.
fn answer(
    command: &Command,
    request: &Request<'_>,
    turn: &mut Turn<'_>,
    status: Status,
    write: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let session = request.attr("sessionid").map_or_else(|| new_session(command, turn), |session| session.into_owned());
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("command").ns(ns::COMMANDS).attr("node", &command.node()).attr("sessionid", &session);
    xml.attr("status", status.as_str()).attr("xml:lang", "en");
    write(&mut xml);
    xml.close();
    drop(xml);
    out
}

/// The end of the command in hand, whichever it is: [`on_command`] has seen its node.
fn completed(request: &Request<'_>, turn: &mut Turn<'_>, write: impl FnOnce(&mut Writer<'_>)) -> IqAnswer {
    let command = in_hand(request)?;
    Ok(answer(command, request, turn, Status::Completed, write))
}

fn in_hand(request: &Request<'_>) -> Result<&'static Command, Refusal> {
    Ok(request.attr("node").and_then(|node| Command::of_node(&node)).ok_or(Condition::ItemNotFound)?)
}

/// What can be done next, and which of it `execute` means. §3.4
fn write_actions(xml: &mut Writer<'_>, execute: &str, actions: &[&'static str]) {
    xml.open("actions").attr("execute", execute);
    for action in actions {
        xml.leaf(action, &[]);
    }
    xml.close();
}

/// Something to be read by a person.
fn note(xml: &mut Writer<'_>, kind: &str, text: &str) {
    xml.open("note").attr("type", kind).text(text).close();
}

/// The id of a session that begins now: the command, when it is over, and chance, which makes it the only one.
fn new_session(command: &Command, turn: &mut Turn<'_>) -> String {
    let until = turn.now.stamp.after(COMMAND_TIME_MAX);
    let chance = ObjectId(turn.random.array());
    format!("{}:{:x}:{chance}", command.name, until.secs())
}

/// §4: an id that the server has given out for this command, and not too long ago.
fn check_session(session: &str, command: &Command, now: Timestamp) -> Result<(), Refusal> {
    let parts = session.strip_prefix(command.name).and_then(|rest| rest.strip_prefix(':')?.split_once(':'));
    let until = parts.filter(|(_, chance)| ObjectId::parse(chance.as_bytes()).is_some());
    let until = until.and_then(|(until, _)| u64::from_str_radix(until, 16).ok()).map(Timestamp::from_secs);
    // One that is good for longer than any is none of ours.
    match until.filter(|&until| until <= now.after(COMMAND_TIME_MAX)) {
        None => Err(bad("bad-sessionid", "There is no such session of this command.")),
        Some(until) if until < now => Err(Refusal::new(Condition::NotAllowed, "The session is over.").with(|xml| {
            xml.empty("session-expired", ns::COMMANDS);
        })),
        Some(_) => Ok(()),
    }
}

/// §3.7: everything here is in English. Whoever asks for another language in so many words is told.
fn in_english(request: &Request<'_>) -> Result<(), Refusal> {
    let lang = request.payload.attr_ns("lang", ns::XML).or_else(|| request.iq.attr_ns("lang", ns::XML));
    let is_english = |lang: &str| lang.split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case("en"));
    match lang {
        Some(lang) if !lang.is_empty() && !is_english(&lang) => Err(bad("bad-locale", "Commands are in English.")),
        Some(_) | None => Ok(()),
    }
}

/// A request that is refused with a condition of XEP-0050.
fn bad(condition: &'static str, text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Condition::BadRequest, text).of_kind(ErrorType::Modify).with(|xml| {
        xml.empty(condition, ns::COMMANDS);
    })
}

/// A form that is not filled in as it should be.
fn bad_payload(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    bad("bad-payload", text)
}

/// Whether disco asks here about a node of the server.
pub(super) fn is_node(node: &str) -> bool {
    node == ns::COMMANDS || Command::of_node(node).is_some()
}

/// What disco#info says of such a node. §2.2
pub(super) fn info(node: &str, account: &Account, site: &Site) -> IqAnswer {
    let (kind, name) = match Command::of_node(node) {
        None => ("command-list", "Commands"),
        Some(_) if !site.is_admin(account.id()) => return Err(Condition::Forbidden.into()),
        Some(command) => ("command-node", command.title),
    };
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::DISCO_INFO).attr("node", node);
    xml.leaf("identity", &[("category", "automation"), ("type", kind), ("name", name)]);
    for feature in [ns::COMMANDS, ns::DATA_FORMS] {
        xml.leaf("feature", &[("var", feature)]);
    }
    xml.close();
    drop(xml);
    Ok(out)
}

/// What disco#items says of such a node: of the list the commands, to those who may give them.
pub(super) fn items(node: &str, account: &Account, site: &Site) -> IqAnswer {
    let is_admin = site.is_admin(account.id());
    let listed: &[Command] = match Command::of_node(node) {
        None if is_admin => ALL,
        Some(_) if !is_admin => return Err(Condition::Forbidden.into()),
        None | Some(_) => &[],
    };
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::DISCO_ITEMS).attr("node", node);
    for command in listed {
        xml.leaf("item", &[("jid", &site.domain), ("node", &command.node()), ("name", command.title)]);
    }
    xml.close();
    drop(xml);
    Ok(out)
}
