//! One shard: the connections that are here, the owners that live here, and the calls that were made here.
//!
//! A [`Shard`] does no I/O and awaits nothing. Its driver (`net`'s executor, or a simulated world) tells it what happened and
//! carries out what it asks for:
//!
//! | happened | call |
//! |---|---|
//! | a connection came, sent bytes, took output, closed | [`Shard::open`], [`Shard::received`], [`Shard::output`], [`Shard::closed`] |
//! | a connection moved here, got TLS | [`Shard::adopt`], [`Shard::secured`] |
//! | another shard wrote | [`Shard::letter`] |
//! | rows were read, a batch committed, work done | [`Shard::found`], [`Shard::committed`], [`Shard::worked`] |
//! | time passed | [`Shard::tick`] |
//!
//! After each call the driver takes [`Shard::take_touched`], the connections that have output or a [`Directive`], and
//! [`Shard::take_letters`] for the other shards.
//!
//! *Architecture invariant:* all state of an owner is changed here and nowhere else, by one input at a time.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use proto::account::{self, Progress};
use proto::command::{Answer, Command};
use proto::dialog::Dialog;
use proto::effect::{Effect, Effects, JobRef, Learned, Note, ReplyTo, SessionId, Turn};
use proto::error::StreamError;
use proto::model::directory::{self, Directory};
use proto::model::jobs::{self, Job};
use proto::owner::{AccountId, ComponentId, Owner};
use proto::row::{Batch, Found, Reads, Rows, Unreadable};
use proto::stream::{Outgoing, Reply};
use proto::time::{Instant, Now};
use proto::xml::Nodes;
use rest::flow::Worked;
use store::StoreError;

pub mod bosh;
mod chance;
mod coming;
mod components;
pub mod conns;
pub mod desk;
mod effects;
mod failure;
mod files;
mod guesses;
mod http;
mod links;
mod loads;
pub mod mesh;
mod outbox;
mod owners;
mod pace;
pub mod place;
mod questions;
mod sessions;
pub mod terms;
#[cfg(test)]
mod tests;

pub use conns::{Arrival, Baggage, ConnId, Directive, Port};
pub use desk::{Desk, Outcome, Task, Ticket};
pub use loads::Loads;
pub use mesh::Letter;
pub use place::Places;
pub use terms::Terms;

use chance::Chance;
use coming::Coming;
use conns::{Conns, Line};
use failure::unanswered;
use files::Transfers;
use guesses::{Guesses, Try};
use http::Calls;
use links::Links;
use owners::{Held, Input, Reading, Slot, State, corrected};
use questions::Roll;

/// How long an owner that nobody uses stays in memory.
const QUIET_TIME_MAX: Duration = Duration::from_secs(60);
/// How often the owners are looked through for quiet ones.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often files whose day is over are looked for.
const SWEEP_FILES_EVERY: Duration = Duration::from_secs(60 * 60);

/// What happens here, counted since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Stanzas taken from clients.
    pub stanzas_in: u64,
    /// Stanzas queued for clients.
    pub stanzas_out: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Logins that failed.
    pub login_failures: u64,
    /// Logins that had to wait for their turn, or were turned away, after others had failed.
    pub logins_held: u64,
    /// Calls of the API.
    pub calls: u64,
    /// Connections ended because they took their output too slowly.
    pub slow_readers: u64,
    /// BOSH sessions that were not begun, for there being too many before login.
    pub bosh_turned_away: u64,
    /// Rows that could not be read.
    pub unreadable_rows: u64,
    /// Files that came.
    pub files_in: u64,
    /// Answers that began to send a file or a part of one.
    pub files_out: u64,
    /// Bytes of files taken from clients, also of those that did not come to their end.
    pub file_bytes_in: u64,
    /// Bytes of files read for clients.
    pub file_bytes_out: u64,
}

/// One shard.
pub struct Shard<D> {
    me: u16,
    places: Places,
    terms: Arc<Terms>,
    desk: D,
    now: Now,
    conns: Conns,
    owners: HashMap<Owner, Slot, RandomState>,
    /// Notes from owners here to owners here, in the order in which they were sent.
    local: VecDeque<(Owner, Note)>,
    letters: Vec<Vec<Letter>>,
    waiting: HashMap<Ticket, Waiting, RandomState>,
    calls: Calls,
    transfers: Transfers,
    bosh: bosh::Sessions,
    last_ticket: Ticket,
    last_session: u64,
    swept: Instant,
    files_swept: Option<Instant>,
    counts: Counts,
    // Lent to whatever is at work, so that nothing is allocated for each stanza.
    nodes: Nodes,
    out: Outgoing,
    effects: Effects,
    chance: Chance,
    links: Links,
    /// The components that are connected, with their sessions.
    components: HashMap<ConnId, (SessionId, ComponentId), RandomState>,
    guesses: Guesses<Try>,
    /// For which accounts connections try to log in.
    trying: HashMap<ConnId, AccountId, RandomState>,
    /// Streams to be told that their session is there, once its account is back in its place; without a word, they know it and can
    /// go on.
    attached: Vec<(ConnId, Option<Reply>)>,
    /// The connection whose stanza is being taken, and what its stream is to say of it.
    feeding: Option<ConnId>,
    fault: Option<StreamError>,
    /// Inputs that turned out to need rows.
    starved: Vec<(Owner, Input, Reads)>,
}

/// Whose answer a ticket brings.
enum Waiting {
    /// An owner is being loaded.
    Load(Owner),
    /// An owner's input waits for rows.
    Rows(Owner),
    /// An owner's effects wait for this commit, or nobody does.
    Commit(Owner),
    /// A stream waits for what is stored of an account.
    Secrets(ConnId),
    /// A stream waits for its client's tokens.
    Tokens(ConnId),
    /// A stream waits for a password to be checked.
    Password(ConnId),
    /// A stream waits for its account to take it in.
    Entry(ConnId),
    /// A client is to be told of its archive as it comes in.
    Coming(Box<Coming>),
    /// A call of the API waits.
    Call(http::CallId),
    /// An owner here has asked for something, under this number.
    Question(Owner, u64),
    /// An owner here has asked who is connected, and some shards have not answered.
    Roll(Box<Roll>),
    /// A connection waits for its file.
    File(ConnId),
}

impl<D: Desk> Shard<D> {
    /// Shard number `me` of `places`, with nothing on it.
    pub fn new(me: u16, places: Places, terms: Arc<Terms>, mut desk: D) -> Shard<D> {
        let chance = Chance::new(desk.random());
        Shard {
            me,
            places,
            terms,
            desk,
            now: Now::default(),
            conns: Conns::default(),
            owners: HashMap::default(),
            local: VecDeque::new(),
            letters: (0..places.count()).map(|_| Vec::new()).collect(),
            waiting: HashMap::default(),
            calls: Calls::default(),
            transfers: Transfers::default(),
            bosh: bosh::Sessions::default(),
            last_ticket: 0,
            last_session: 0,
            swept: Instant::START,
            files_swept: None,
            counts: Counts::default(),
            nodes: Nodes::new(),
            out: Outgoing::new(),
            effects: Effects::new(),
            chance,
            links: Links::default(),
            components: HashMap::default(),
            guesses: Guesses::default(),
            trying: HashMap::default(),
            attached: Vec::new(),
            feeding: None,
            fault: None,
            starved: Vec::new(),
        }
    }

    /// Puts new settings in force, for what comes from now on.
    pub fn set_terms(&mut self, terms: Arc<Terms>) {
        self.terms = terms;
    }

    /// The settings in force.
    pub fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    /// What the shard asks of the world.
    pub fn desk(&mut self) -> &mut D {
        &mut self.desk
    }

    /// What happened here so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many connections are here, and how many of them have a resource.
    pub fn connections(&self) -> (usize, usize) {
        self.conns.counts()
    }

    /// How many owners are in memory.
    pub fn owners(&self) -> usize {
        self.owners.len()
    }

    /// Messages for the other shards, one list each; the lists of shards without any are empty.
    pub fn take_letters(&mut self, mut send: impl FnMut(u16, Vec<Letter>)) {
        for (shard, letters) in (0..).zip(&mut self.letters) {
            if !letters.is_empty() {
                send(shard, mem::take(letters));
            }
        }
    }

    /// A message from another shard.
    pub fn letter(&mut self, now: Now, letter: Letter) {
        self.now = now;
        match letter {
            Letter::Note(owner, note) => self.tell(owner, note),
            Letter::Answer(ticket, answer) => self.answered(ticket, answer),
            Letter::Roll(app, reply) => self.call_roll(app, reply),
            Letter::Fanout(from, stanza, seats) => seats.iter().for_each(|seat| self.seat(from, &stanza, seat)),
            Letter::Bosh(origin, request) => self.bosh_request(origin, *request),
            Letter::BoshAnswer(origin, body) => self.bosh_answer(origin, body),
            Letter::BoshDropped(origin) => self.bosh_dropped(origin),
            Letter::BoshMove(moving) => self.bosh_adopt(now, *moving),
            Letter::BoshOver(sid) => self.bosh_forget(&sid),
        }
        self.settle();
    }

    /// Asks an owner on behalf of the server itself; nobody waits for an answer.
    pub fn command(&mut self, now: Now, owner: Owner, command: Command) {
        self.now = now;
        self.send(owner, Note::Command { command, reply: None, job: None });
        self.settle();
    }

    /// Tells an owner something that comes from no other.
    pub fn note(&mut self, now: Now, owner: Owner, note: Note) {
        self.now = now;
        self.send(owner, note);
        self.settle();
    }

    /// Repeats a job that was not confirmed before the last stop.
    pub fn repeat_job(&mut self, now: Now, job: Job) {
        self.now = now;
        let reference = JobRef { from: job.from, id: job.id };
        self.send(job.to, Note::Command { command: job.command, reply: None, job: Some(reference) });
        self.settle();
    }

    /// Rows were read.
    pub fn found(&mut self, now: Now, ticket: Ticket, found: Result<Vec<Found>, StoreError>) {
        self.now = now;
        match self.waiting.remove(&ticket) {
            Some(Waiting::Load(owner)) => self.loaded(owner, found),
            Some(Waiting::Rows(owner)) => self.rows_for(owner, found),
            Some(Waiting::Secrets(conn)) => self.secrets_for(conn, found),
            Some(Waiting::Tokens(conn)) => self.tokens_for(conn, found),
            Some(Waiting::Call(call)) => self.call_found(call, found),
            Some(Waiting::Question(owner, number)) => self.found_out(owner, number, found),
            Some(Waiting::Coming(coming)) => self.coming_found(*coming, found),
            Some(
                Waiting::Commit(_) | Waiting::Password(_) | Waiting::Entry(_) | Waiting::File(_) | Waiting::Roll(_),
            )
            | None => debug_assert!(false, "nobody reads as {ticket}"),
        }
        self.settle();
    }

    /// A batch is on disk, or will never be.
    pub fn committed(&mut self, now: Now, ticket: Ticket, result: Result<(), StoreError>) {
        self.now = now;
        match self.waiting.remove(&ticket) {
            Some(Waiting::Commit(owner)) => self.written(owner, ticket, result),
            other => debug_assert!(other.is_none(), "nobody writes as {ticket}"),
        }
        self.settle();
    }

    /// Work is done.
    pub fn worked(&mut self, now: Now, ticket: Ticket, outcome: Outcome) {
        self.now = now;
        match (self.waiting.remove(&ticket), outcome) {
            (Some(Waiting::Password(conn)), Outcome::Password(shown)) => self.password_is(conn, shown),
            (Some(Waiting::Call(call)), Outcome::Api(worked)) => self.call_worked(call, worked),
            (Some(Waiting::Question(owner, number)), Outcome::Api(Worked::Derived(credentials))) => {
                self.learned(owner, number, Learned::Credentials(Box::new(credentials)));
            }
            (Some(Waiting::File(conn)), Outcome::File(outcome)) => self.file_worked(conn, outcome),
            (_, _) => debug_assert!(false, "nobody computes as {ticket}"),
        }
        self.settle();
    }

    /// Time passed: deadlines, pings, quiet owners. To be called about every second.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        self.check_connections();
        self.expire_sessions();
        self.let_try();
        if now.instant.since(self.swept) >= SWEEP_EVERY {
            self.swept = now.instant;
            self.chance = Chance::new(self.desk.random());
            let since = Instant::from_micros(now.instant.micros().saturating_sub(QUIET_TIME_MAX.as_micros() as u64));
            let settled = now.instant.micros().saturating_sub(SWEEP_EVERY.as_micros() as u64);
            self.settle_dialogs(Instant::from_micros(settled));
            self.owners.retain(|_, slot| !slot.is_quiet(since));
            self.guesses.sweep(now.instant);
        }
        // One of them is enough for all.
        if self.me == 0 && self.files_swept.is_none_or(|swept| now.instant >= swept + SWEEP_FILES_EVERY) {
            self.files_swept = Some(now.instant);
            self.sweep_files();
        }
        self.settle();
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, waiting);
        self.last_ticket
    }

    /// Sends a note to its owner, here or elsewhere.
    fn send(&mut self, owner: Owner, note: Note) {
        let place = self.places.of(&owner);
        if place == self.me {
            self.local.push_back((owner, note));
        } else {
            self.letters[usize::from(place)].push(Letter::Note(owner, note));
        }
    }

    fn reply(&mut self, to: ReplyTo, answer: Answer) {
        if to.shard == self.me {
            self.answered(to.ticket, answer);
        } else {
            self.letters[usize::from(to.shard)].push(Letter::Answer(to.ticket, answer));
        }
    }

    fn answered(&mut self, ticket: Ticket, answer: Answer) {
        match self.waiting.remove(&ticket) {
            Some(Waiting::Call(call)) => self.call_answered(call, answer),
            Some(Waiting::Entry(conn)) => self.entered(conn, answer),
            Some(Waiting::Question(owner, number)) => {
                self.learned(owner, number, Learned::Answer(Box::new(answer)));
            }
            Some(Waiting::Roll(roll)) => self.called(ticket, roll, answer),
            other => debug_assert!(other.is_none(), "nobody asked as {ticket}"),
        }
    }

    /// Carries on until no owner here has anything to tell another one here.
    fn settle(&mut self) {
        loop {
            while let Some((owner, note)) = self.local.pop_front() {
                self.tell(owner, note);
            }
            if self.attached.is_empty() {
                return;
            }
            self.greet_attached();
        }
    }

    fn tell(&mut self, owner: Owner, note: Note) {
        let unknown = !self.owners.contains_key(&owner);
        let note = match (unknown, owner) {
            (true, Owner::Account(id)) => {
                let left = self.turn(|turn| account::absent(id, note, turn));
                self.perform_free(owner);
                match left {
                    Some(note) => note,
                    None => return,
                }
            }
            (true, Owner::Dialog(..)) if matches!(note, Note::Absent { .. }) => return,
            (_, Owner::Account(_) | Owner::App(_) | Owner::Dialog(..) | Owner::Component(_)) => note,
        };
        self.offer(owner, Input::Note(note));
    }

    /// Runs something that fills the effects.
    fn turn<T>(&mut self, act: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let terms = Arc::clone(&self.terms);
        let mut turn = Turn { now: self.now, site: &terms.site, random: self.desk.random(), out: &mut self.effects };
        act(&mut turn)
    }

    /// Effects of nobody's state: they happen at once.
    fn perform_free(&mut self, owner: Owner) {
        let mut effects = mem::take(&mut self.effects);
        for effect in effects.drain() {
            self.perform(owner, effect);
        }
        self.effects = effects;
    }

    /// Gives an owner something to take, now or when its turn comes.
    fn offer(&mut self, owner: Owner, input: Input) {
        let now = self.now.instant;
        if self.owners.get(&owner).is_some_and(Slot::is_lost) {
            tracing::error!(?owner, "an owner was lost to a panic, and begins again from its rows");
            self.abandon(owner);
        }
        let mut fresh = false;
        let slot = self.owners.entry(owner).or_insert_with(|| {
            fresh = true;
            Slot::new(now)
        });
        slot.used = now;
        if slot.is_free() {
            return self.take(owner, input);
        }
        slot.inbox.push_back(input);
        if fresh {
            self.load(owner);
        }
    }

    fn load(&mut self, owner: Owner) {
        let reads = owners::load_reads(&owner);
        if reads.is_empty() {
            return self.loaded(owner, Ok(Vec::new()));
        }
        if let Some(found) = self.desk.cached(&reads) {
            return self.loaded(owner, found);
        }
        let ticket = self.ticket(Waiting::Load(owner));
        self.desk.read(ticket, reads);
    }

    fn loaded(&mut self, owner: Owner, found: Result<Vec<Found>, StoreError>) {
        let terms = Arc::clone(&self.terms);
        let state =
            found.map_err(|error| tracing::error!(%error, "an owner's rows cannot be read")).and_then(|found| {
                owners::load(&owner, &terms.site.domain, Rows::new(found))
                    .map_err(|error| tracing::error!(%error, ?owner, "a stored row is unreadable"))
            });
        let Ok(Some(state)) = state else {
            self.counts.unreadable_rows += 1;
            return self.abandon(owner);
        };
        if let Some(slot) = self.owners.get_mut(&owner) {
            slot.state = Some(Box::new(state));
            slot.busy = false;
        }
        self.work_off(owner);
    }

    /// Takes inputs from the inbox until one has to wait.
    fn work_off(&mut self, owner: Owner) {
        while let Some(slot) = self.owners.get_mut(&owner) {
            if slot.busy {
                return;
            }
            let Some(input) = slot.next_input() else { return };
            self.take(owner, input);
        }
    }

    /// An owner takes an input, or begins to read what it needs for it.
    fn take(&mut self, owner: Owner, input: Input) {
        let Some(slot) = self.owners.get_mut(&owner) else { return };
        let reads = match (slot.state.as_deref(), &input) {
            (Some(State::Account(account)), Input::Note(note)) => account.plan(note, &self.terms.site),
            (Some(State::Account(account)), Input::Enter(_, entry)) => account.plan_entry(entry),
            (Some(State::Directory(_)), Input::Note(Note::Command { command: Command::Directory(command), .. })) => {
                match owner {
                    Owner::App(app) => directory::plan(app, command),
                    Owner::Account(_) | Owner::Dialog(..) | Owner::Component(_) => Reads::none(),
                }
            }
            (Some(State::Dialog(_)), Input::Resume(reads)) => reads.clone(),
            (_, _) => Reads::none(),
        };
        if reads.is_empty() {
            return self.apply(owner, input, None);
        }
        self.read_for(owner, input, reads);
    }

    fn read_for(&mut self, owner: Owner, mut input: Input, reads: Reads) {
        let Some(slot) = self.owners.get_mut(&owner) else { return };
        if !slot.unwritten.can_correct(&reads) {
            if let Input::Resume(wanted) = &mut input {
                *wanted = reads;
            }
            // The rows would lack what is on its way to the disk; `written` comes back to it.
            slot.busy = true;
            slot.inbox.push_front(input);
            slot.held.push_back(Held::Resume);
            return;
        }
        let overlay = slot.unwritten.overlay(&reads);
        if let Some(found) = self.desk.cached(&reads) {
            return match found {
                Ok(found) => self.apply(owner, input, Some(corrected(found, overlay))),
                Err(error) => self.fail_input(owner, input, &error),
            };
        }
        slot.busy = true;
        slot.reading = Some(Box::new(Reading { input, overlay }));
        let ticket = self.ticket(Waiting::Rows(owner));
        self.desk.read(ticket, reads);
    }

    fn rows_for(&mut self, owner: Owner, found: Result<Vec<Found>, StoreError>) {
        let Some(slot) = self.owners.get_mut(&owner) else { return };
        slot.busy = false;
        let Some(Reading { input, overlay }) = slot.reading.take().map(|reading| *reading) else { return };
        match found {
            Ok(found) => self.apply(owner, input, Some(corrected(found, overlay))),
            Err(error) => self.fail_input(owner, input, &error),
        }
        self.work_off(owner);
    }

    /// An owner takes an input with its rows.
    fn apply(&mut self, owner: Owner, input: Input, rows: Option<Rows>) {
        let Some(mut state) = self.owners.get_mut(&owner).and_then(|slot| slot.state.take()) else { return };
        self.forget_effects();
        let result = match (&mut *state, input) {
            (State::Account(account), Input::Note(note)) => {
                if let Note::Late(session, _) = &note {
                    self.took_late(*session);
                }
                let unanswered = unanswered(&note);
                let result = self.turn(|turn| account.note(note, rows.unwrap_or_default(), turn));
                result.map_err(|error| (error, unanswered))
            }
            (State::Account(account), Input::Stanza(session, stanza)) => {
                self.owned_stanza(account, session, &stanza, rows, owner)
            }
            (State::Account(account), Input::Attach(conn, jid, secret_version)) => {
                self.attach(account, conn, &jid, secret_version);
                Ok(())
            }
            (State::Account(account), Input::Enter(conn, entry)) => {
                self.enter(account, conn, &entry, rows.unwrap_or_default())
            }
            (State::Account(account), Input::Reattach(conn, token, count)) => {
                self.reattach(account, conn, &token, count);
                Ok(())
            }
            (State::Account(account), Input::Detach(session, remains)) => {
                self.turn(|turn| account.detach(session, remains, turn));
                Ok(())
            }
            (State::Directory(directory), Input::Note(note)) => self.directory_note(owner, directory, note, rows),
            (State::Dialog(dialog), Input::Note(note)) => {
                let flow = self.turn(|turn| dialog.note(note, turn));
                self.dialog_flow(owner, dialog, flow)
            }
            (State::Dialog(dialog), Input::Resume(_)) => {
                let flow = self.turn(|turn| dialog.resume(rows.unwrap_or_default(), turn));
                self.dialog_flow(owner, dialog, flow)
            }
            (State::Component(component), Input::Note(note)) => {
                if let Note::Late(session, _) = &note {
                    self.took_late(*session);
                }
                self.turn(|turn| component.note(note, turn));
                Ok(())
            }
            (State::Component(component), Input::Connect(conn)) => {
                self.connect_component(owner, component, conn);
                Ok(())
            }
            (State::Component(component), Input::Detach(session, remains)) => {
                self.turn(|turn| component.detach(session, remains, turn));
                Ok(())
            }
            (
                State::Component(_),
                Input::Stanza(..) | Input::Attach(..) | Input::Reattach(..) | Input::Enter(..) | Input::Resume(_),
            )
            | (State::Account(_) | State::Directory(_) | State::Dialog(_), Input::Connect(_)) => {
                debug_assert!(false, "components have connections, and nothing else has one without an account");
                Ok(())
            }
            (
                State::Directory(_) | State::Dialog(_),
                Input::Stanza(..) | Input::Attach(..) | Input::Reattach(..) | Input::Enter(..) | Input::Detach(..),
            ) => {
                debug_assert!(false, "only accounts have sessions");
                Ok(())
            }
            (State::Account(_) | State::Directory(_), Input::Resume(_)) => {
                debug_assert!(false, "only dialogs go on with an input");
                Ok(())
            }
        };
        if let Some(slot) = self.owners.get_mut(&owner) {
            slot.state = Some(state);
        }
        if let Err((error, unanswered)) = result {
            tracing::error!(%error, ?owner, "a stored row is unreadable");
            self.counts.unreadable_rows += 1;
            if let Some(reply) = unanswered {
                self.effects.push(Effect::Answer(reply, Answer::Unavailable));
            }
        }
        self.release(owner);
        while let Some((owner, input, reads)) = self.starved.pop() {
            self.read_for(owner, input, reads);
        }
        self.greet_attached();
    }

    /// A dialog is done with an input, or wants rows for it.
    fn dialog_flow(
        &mut self,
        owner: Owner,
        dialog: &mut Dialog,
        flow: Result<Progress, Unreadable>,
    ) -> Result<(), (Unreadable, Option<ReplyTo>)> {
        match flow {
            Ok(Progress::Done) => {}
            Ok(Progress::Needs(reads)) => self.starved.push((owner, Input::Resume(Reads::none()), reads)),
            Err(error) => {
                self.turn(|turn| dialog.give_up(turn));
                return Err((error, None));
            }
        }
        Ok(())
    }

    /// What a turn that panicked had asked for must not happen in the name of another owner.
    pub(crate) fn forget_effects(&mut self) {
        if !self.effects.is_empty() {
            tracing::error!("effects of a turn that was broken off are dropped");
            self.effects = Effects::new();
        }
    }

    fn directory_note(
        &mut self,
        owner: Owner,
        directory: &mut Directory,
        note: Note,
        rows: Option<Rows>,
    ) -> Result<(), (Unreadable, Option<ReplyTo>)> {
        match note {
            Note::Command { command: Command::Directory(command), reply, job } => {
                let mut rows = rows.unwrap_or_default();
                let answer =
                    self.turn(|turn| directory.apply(turn, command, &mut rows)).map_err(|error| (error, reply))?;
                if let Some(reply) = reply {
                    self.effects.push(Effect::Answer(reply, Answer::Directory(answer)));
                }
                if let Some(job) = job {
                    self.effects.send(job.from, Note::Confirmed(job.id));
                }
            }
            Note::Confirmed(id) => {
                let mut batch = Batch::default();
                jobs::forget(&mut batch, &owner, id);
                self.effects.push(Effect::WriteBehind(batch));
            }
            Note::Stanza(_)
            | Note::Round { .. }
            | Note::Dropped(_)
            | Note::Copied { .. }
            | Note::Command { .. }
            | Note::Learned(..)
            | Note::Late(..)
            | Note::Expired(_)
            | Note::CutAgain(..)
            | Note::Taken(..)
            | Note::Overdue(..)
            | Note::Drain(..)
            | Note::Handled { .. }
            | Note::Wants { .. }
            | Note::Visit { .. }
            | Note::Absent { .. } => {
                debug_assert!(false, "not for a directory");
            }
        }
        Ok(())
    }

    /// Dialogs that were quiet for a while have told everybody where they stand.
    fn settle_dialogs(&mut self, since: Instant) {
        let is_due = |(owner, slot): (&Owner, &Slot)| {
            let unsettled = matches!(slot.state.as_deref(), Some(State::Dialog(dialog)) if dialog.is_unsettled());
            (unsettled && slot.is_free() && slot.used < since).then_some(*owner)
        };
        let due: Vec<Owner> = self.owners.iter().filter_map(is_due).collect();
        for owner in due {
            self.with_dialog(owner, Dialog::settle);
        }
    }

    /// Has a dialog that is in its place do something.
    fn with_dialog(&mut self, owner: Owner, act: impl FnOnce(&mut Dialog, &mut Turn<'_>)) {
        let Some(mut state) = self.owners.get_mut(&owner).and_then(|slot| slot.state.take()) else { return };
        if let State::Dialog(dialog) = &mut *state {
            self.turn(|turn| act(dialog, turn));
        }
        if let Some(slot) = self.owners.get_mut(&owner) {
            slot.state = Some(state);
        }
        self.release(owner);
    }
}
