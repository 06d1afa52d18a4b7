//! How a call is carried out: a chain of steps, each of which says what it waits for.
//!
//! A handler never blocks and never awaits. It returns a [`Step`]; the caller does what it says (reads rows, asks an owner,
//! runs something expensive elsewhere) and calls the closure inside with the result, which returns the next step. So the whole
//! API runs in a plain test.
//!
//! Inside handlers the same chain is written with `?`: [`Flow`] is a step or the reason why there is none ([`Halt`]), and
//! [`read`], [`ask_directory`], [`ask_account`], [`ask_dialog`] and the functions of [`work`] build the steps with the answers already sorted.

use std::fmt;
use std::ops::Range;

use proto::command::{Answer, Command};
use proto::effect::{Random, Site};
use proto::jid::user::{AppId, DialogId};
use proto::model::account::RecordCommand;
use proto::model::upload::{FileId, Label};
use proto::model::{account, dialog, directory, inbox};
use proto::owner::{AccountId, Owner};
use proto::row::{Reads, Rows, Unreadable};
use proto::time::{Now, Timestamp};

use crate::http::Response;
use crate::problem::Problem;
use crate::settings::Settings;

pub mod work;
#[cfg(test)]
pub(crate) mod world;

pub use work::{Work, Worked};

/// What a call waits for.
pub enum Step {
    /// Nothing: this is the answer.
    Done(Response),
    /// Rows of any owner, as they are on disk.
    Read(Reads, Then<Rows>),
    /// An owner's answer, once what it answers for is on disk.
    Ask(Owner, Command, Then<Answer>),
    /// Nothing: the owner gets the command and nobody listens.
    Tell(Owner, Command, Box<Step>),
    /// Something too expensive for an executor.
    Compute(Work, Then<Worked>),
    /// Nothing: the mail goes out by itself.
    Mail(Mail, Box<Step>),
    /// The body of the upload in hand, which becomes a file.
    Receive(Incoming, Then<Received>),
    /// A file to be opened.
    Open(FileId, Then<Opened>),
    /// Nothing: this is the head of the answer, and its body is that part of the file that was opened.
    Send(Response, Range<u64>),
    /// Nothing: the files go by themselves.
    Remove(Vec<FileId>, Box<Step>),
    /// A stored row cannot be read: the operator must hear of it, and the client gets a 500.
    Broken(Unreadable),
}

/// What follows a step.
pub type Then<T> = Box<dyn FnOnce(T, &mut Moment<'_>) -> Step>;

/// The world as one step of a call sees it.
pub struct Moment<'a> {
    /// The two clocks.
    pub now: Now,
    /// What the chat side is called, and its limits.
    pub site: &'a Site,
    /// What the API says of itself.
    pub settings: &'a Settings,
    /// Random bytes.
    pub random: &'a mut dyn Random,
}

impl Moment<'_> {
    /// The calendar clock.
    pub fn stamp(&self) -> Timestamp {
        self.now.stamp
    }
}

/// A file that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its name here.
    pub file: FileId,
    /// What is kept with it.
    pub label: Label,
    /// How large it is.
    pub bytes: u64,
}

/// What became of a file that was to come. Of one whose client left, nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is on disk in full.
    Kept,
    /// It is there already, or somebody else is bringing it.
    Used,
    /// The disk is full.
    Full,
    /// The disk does not take it.
    Failed,
}

/// What was found where a file should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The file: what is kept with it, and its size.
    File(Label, u64),
    /// Nothing.
    Nothing,
    /// Something that cannot be read.
    Failed,
}

/// A mail to one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The address.
    pub to: String,
    /// The subject line, without control characters.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Addresses and links that let people in stay out of logs.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mail(private)")
    }
}

/// The next step, or why there is none.
pub type Flow = Result<Step, Halt>;

/// Why a call ends here.
#[derive(Debug)]
pub enum Halt {
    /// The request is refused.
    Refused(Problem),
    /// A stored row cannot be read.
    Broken(Unreadable),
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Halt {
        Halt::Refused(problem)
    }
}

impl From<Unreadable> for Halt {
    fn from(unreadable: Unreadable) -> Halt {
        Halt::Broken(unreadable)
    }
}

impl From<Flow> for Step {
    fn from(flow: Flow) -> Step {
        match flow {
            Ok(step) => step,
            Err(Halt::Refused(problem)) => Step::Done(problem.into_response()),
            Err(Halt::Broken(unreadable)) => Step::Broken(unreadable),
        }
    }
}

impl Step {
    /// The same call with something done to its answer.
    #[must_use]
    pub fn and_then_answer(self, change: impl FnOnce(Response) -> Response + 'static) -> Step {
        match self {
            Step::Done(response) => Step::Done(change(response)),
            Step::Read(reads, then) => {
                Step::Read(reads, Box::new(|rows, moment| then(rows, moment).and_then_answer(change)))
            }
            Step::Ask(owner, command, then) => {
                Step::Ask(owner, command, Box::new(|answer, moment| then(answer, moment).and_then_answer(change)))
            }
            Step::Compute(work, then) => {
                Step::Compute(work, Box::new(|worked, moment| then(worked, moment).and_then_answer(change)))
            }
            Step::Tell(owner, command, next) => Step::Tell(owner, command, Box::new(next.and_then_answer(change))),
            Step::Mail(mail, next) => Step::Mail(mail, Box::new(next.and_then_answer(change))),
            Step::Receive(incoming, then) => {
                Step::Receive(incoming, Box::new(|received, moment| then(received, moment).and_then_answer(change)))
            }
            Step::Open(file, then) => {
                Step::Open(file, Box::new(|opened, moment| then(opened, moment).and_then_answer(change)))
            }
            Step::Send(response, range) => Step::Send(change(response), range),
            Step::Remove(files, next) => Step::Remove(files, Box::new(next.and_then_answer(change))),
            Step::Broken(unreadable) => Step::Broken(unreadable),
        }
    }
}

/// An answer.
pub fn done(response: Response) -> Flow {
    Ok(Step::Done(response))
}

/// Reads rows.
pub fn read(reads: Reads, then: impl FnOnce(&mut Rows, &mut Moment<'_>) -> Flow + 'static) -> Flow {
    Ok(Step::Read(reads, Box::new(|mut rows, moment| then(&mut rows, moment).into())))
}

/// Asks the directory of an app. A store that cannot write ends the call with 503.
pub fn ask_directory(
    app: AppId,
    command: directory::Command,
    then: impl FnOnce(directory::Answer, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let then: Then<Answer> = Box::new(|answer, moment| match answer {
        Answer::Directory(answer) => then(answer, moment).into(),
        Answer::Unavailable => Step::Done(Problem::unavailable().into_response()),
        Answer::Account(_)
        | Answer::Dialog(_)
        | Answer::Entry(_)
        | Answer::Upload(_)
        | Answer::Report(_)
        | Answer::Online(_) => mismatch(),
    });
    Ok(Step::Ask(Owner::App(app), command.into(), then))
}

/// Asks an account. A store that cannot write ends the call with 503.
pub fn ask_account(
    id: AccountId,
    command: RecordCommand,
    then: impl FnOnce(account::Answer, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let then: Then<Answer> = Box::new(|answer, moment| match answer {
        Answer::Account(answer) => then(answer, moment).into(),
        Answer::Unavailable => Step::Done(Problem::unavailable().into_response()),
        Answer::Directory(_)
        | Answer::Dialog(_)
        | Answer::Entry(_)
        | Answer::Upload(_)
        | Answer::Report(_)
        | Answer::Online(_) => mismatch(),
    });
    Ok(Step::Ask(Owner::Account(id), command.into(), then))
}

/// Has an account change the list of its dialogs, and goes on once that is on disk.
pub fn ask_inbox(id: AccountId, command: inbox::Command, then: impl FnOnce(&mut Moment<'_>) -> Flow + 'static) -> Flow {
    let then: Then<Answer> = Box::new(|answer, moment| match answer {
        Answer::Account(_) => then(moment).into(),
        Answer::Unavailable => Step::Done(Problem::unavailable().into_response()),
        Answer::Directory(_)
        | Answer::Dialog(_)
        | Answer::Entry(_)
        | Answer::Upload(_)
        | Answer::Report(_)
        | Answer::Online(_) => mismatch(),
    });
    Ok(Step::Ask(Owner::Account(id), command.into(), then))
}

/// Asks a dialog. A store that cannot write ends the call with 503.
pub fn ask_dialog(
    app: AppId,
    id: DialogId,
    command: dialog::Command,
    then: impl FnOnce(dialog::Answered, &mut Moment<'_>) -> Flow + 'static,
) -> Flow {
    let then: Then<Answer> = Box::new(|answer, moment| match answer {
        Answer::Dialog(answer) => then(*answer, moment).into(),
        Answer::Unavailable => Step::Done(Problem::unavailable().into_response()),
        Answer::Directory(_)
        | Answer::Account(_)
        | Answer::Entry(_)
        | Answer::Upload(_)
        | Answer::Report(_)
        | Answer::Online(_) => mismatch(),
    });
    Ok(Step::Ask(Owner::Dialog(app, id), command.into(), then))
}

/// Tells an account something on the way to another step.
pub fn tell_account(id: AccountId, command: RecordCommand, next: Flow) -> Flow {
    Ok(Step::Tell(Owner::Account(id), command.into(), Box::new(next.into())))
}

/// An answer of another kind than was asked for: our own fault.
fn mismatch() -> Step {
    Step::Done(Problem::internal().into_response())
}
