//! Questions that commands ask, with the answers already sorted; and the users that a command is about.

use std::collections::VecDeque;

use super::{bad_payload, completed, form, note};
use crate::account::Account;
use crate::command::Answer;
use crate::effect::{Learned, Question, Site, Turn};
use crate::error::{Condition, Refusal};
use crate::ext::Request;
use crate::jid::Jid;
use crate::limits::COMMAND_ACCOUNTS_MAX;
use crate::model::account::{self, RecordCommand, Report};
use crate::model::directory;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{Reads, Rows, Unreadable};
use crate::stanza::IqAnswer;
use crate::xml::Writer;

/// Reads rows of whomever.
pub(super) fn read(
    account: &mut Account,
    reads: Reads,
    then: impl FnOnce(Rows, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer + 'static,
) -> IqAnswer {
    account.ask(Question::Rows(reads), |learned, request, account, turn| match learned {
        Learned::Rows(rows) => then(rows, request, account, turn),
        Learned::Answer(_) | Learned::Credentials(_) | Learned::Nothing => Err(mismatch()),
    })
}

/// Has the directory of the app do something.
pub(super) fn ask_directory(
    account: &mut Account,
    command: directory::Command,
    then: impl FnOnce(directory::Answer, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer + 'static,
) -> IqAnswer {
    let owner = Owner::App(account.id().app);
    account.ask(Question::Command(owner, command.into()), |learned, request, account, turn| match answer(learned) {
        Some(Answer::Directory(answer)) => then(answer, request, account, turn),
        _ => Err(mismatch()),
    })
}

/// Has an account change what it keeps of its user.
pub(super) fn ask_account(
    account: &mut Account,
    id: AccountId,
    command: RecordCommand,
    then: impl FnOnce(&Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer + 'static,
) -> IqAnswer {
    let question = Question::Command(Owner::Account(id), command.into());
    account.ask(question, |learned, request, account, turn| match answer(learned) {
        Some(Answer::Account(_)) => then(request, account, turn),
        _ => Err(mismatch()),
    })
}

/// Has an account do something, and say how things stand with it.
pub(super) fn ask_report(
    account: &mut Account,
    id: AccountId,
    command: account::Command,
    then: impl FnOnce(Report, &Request<'_>, &mut Account, &mut Turn<'_>) -> IqAnswer + 'static,
) -> IqAnswer {
    let question = Question::Command(Owner::Account(id), command.into());
    account.ask(question, |learned, request, account, turn| match answer(learned) {
        Some(Answer::Report(report)) => then(report, request, account, turn),
        _ => Err(mismatch()),
    })
}

pub(super) fn answer(learned: Learned) -> Option<Answer> {
    match learned {
        Learned::Answer(answer) => Some(*answer),
        Learned::Rows(_) | Learned::Credentials(_) | Learned::Nothing => None,
    }
}

/// An answer of another kind than was asked for: our own fault.
pub(super) fn mismatch() -> Refusal {
    debug_assert!(false, "the answer is to another question");
    Condition::InternalServerError.into()
}

/// A row that is there and cannot be read.
pub(super) fn unreadable(_: Unreadable) -> Refusal {
    Condition::InternalServerError.into()
}

/// A user that a command is about.
pub(super) struct Target {
    /// As the administrator wrote it.
    pub jid: String,
    /// The account, if it can be one of the app; users of other apps are as those who do not exist.
    pub id: Option<AccountId>,
    pub resource: Option<String>,
}

impl Target {
    pub fn read(text: &str, account: &Account, site: &Site) -> Result<Target, Refusal> {
        let jid = Jid::parse(text).map_err(|_| bad_payload(format!("\"{text}\" is no address.")))?;
        let id = jid.local().and_then(AccountId::parse_local).filter(|id| id.app == account.id().app);
        let id = id.filter(|_| jid.domain() == &*site.domain);
        Ok(Target { jid: text.to_owned(), id, resource: jid.resource().map(str::to_owned) })
    }
}

/// Users that a command goes through one after another, and what came of each.
pub(super) struct Tally {
    todo: VecDeque<Target>,
    done: Vec<String>,
    failed: Vec<String>,
}

impl Tally {
    pub fn of(values: &[&str], account: &Account, site: &Site) -> Result<Tally, Refusal> {
        if values.len() > COMMAND_ACCOUNTS_MAX {
            return Err(bad_payload(format!("At most {COMMAND_ACCOUNTS_MAX} users can be named at once.")));
        }
        let mut todo: VecDeque<Target> = VecDeque::new();
        for value in values {
            let target = Target::read(value, account, site)?;
            if todo
                .iter()
                .all(|known| (known.id, &known.resource) != (target.id, &target.resource) || target.id.is_none())
            {
                todo.push_back(target);
            }
        }
        Ok(Tally { todo, done: Vec::new(), failed: Vec::new() })
    }

    /// The next of them who may exist.
    pub fn next(&mut self) -> Option<(Target, AccountId)> {
        loop {
            let target = self.todo.pop_front()?;
            match target.id {
                Some(id) => return Some((target, id)),
                None => self.misses(&target.jid),
            }
        }
    }

    pub fn did(&mut self, jid: String) {
        self.done.push(jid);
    }

    pub fn fails(&mut self, text: String) {
        self.failed.push(text);
    }

    pub fn misses(&mut self, jid: &str) {
        self.failed.push(no_user(jid));
    }

    /// The end of the command: with whom it was done, and what was wrong with the others.
    pub fn completes(self, request: &Request<'_>, turn: &mut Turn<'_>) -> IqAnswer {
        self.completes_with(request, turn, |_| {})
    }

    /// The same with more fields in the form.
    pub fn completes_with(
        self,
        request: &Request<'_>,
        turn: &mut Turn<'_>,
        more: impl FnOnce(&mut Writer<'_>),
    ) -> IqAnswer {
        completed(request, turn, |xml| {
            form::open_result(xml, ns::ADMIN);
            form::field(xml, "accountjids", self.done.iter().map(String::as_str));
            more(xml);
            xml.close();
            for text in &self.failed {
                note(xml, "error", text);
            }
        })
    }
}

pub(super) fn no_user(jid: &str) -> String {
    format!("There is no user {jid}.")
}
