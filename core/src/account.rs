//! An account while it is in use: its sessions, their presence, the roster, and what waits for the user.
//!
//! Lives on the shard that owns the account. Three kinds of input reach it, one at a time: a stanza from one of its own
//! sessions ([`Account::stanza`]), a note from another owner ([`Account::note`]), and sessions that come and go
//! ([`Account::bind`], [`Account::detach`]). Each fills the turn's effects; what has to be read first is asked for with
//! [`Progress::Needs`], and then nothing has changed yet.
//!
//! *Architecture invariant:* everything here can be rebuilt from the rows of [`Account::load_reads`], except who is connected.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::command::{Answer, Command};
use crate::effect::{Effect, Ending, Note, ReplyTo, SessionId, Site, Turn};
use crate::error::{Condition, StreamCondition, StreamError};
use crate::ext::archive::Prefs;
use crate::ext::link_local::Wishes;
use crate::ext::pep::Pep;
use crate::ext::push;
use crate::ext::{self, fast};
use crate::jid::FullJid;
use crate::limits::RESOURCES_MAX;
use crate::model::account::{self as record, AccountRow};
use crate::model::upload::{self, FileId, Upload};
use crate::model::{inbox, jobs};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::stanza::{Leftover, Receipt, Sender};
use crate::time::Instant;
use crate::xml::Element;

pub mod acks;
mod archiving;
mod copies;
mod entry;
mod events;
mod held;
mod incoming;
mod inquiries;
mod interest;
mod linked;
mod lookup;
pub mod offline;
pub(crate) mod outgoing;
mod parked;
mod passing;
mod presence;
pub(crate) mod privacy;
mod pushing;
pub mod resumption;
pub mod roster;
mod rounds;
pub mod seen;
mod subscription;
#[cfg(test)]
mod tests;
mod used_ids;
mod visiting;

pub use incoming::Course;

use acks::Acks;
use held::Held;
use inquiries::Inquiries;
use interest::{Interest, KnownCaps};
use linked::Linked;
use lookup::Lookup;
use offline::{Drain, Queue, Reissue};
use parked::Parked;
use presence::Presence;
use privacy::Privacy;
use privacy::lists::Lists;
use pushing::Push;
use resumption::{Ended, Resumption};
use roster::Roster;
use rounds::UnderWay;
use seen::LastSeen;
use used_ids::UsedIds;

/// One account in memory.
#[derive(Debug)]
pub struct Account {
    id: AccountId,
    /// The bare JID.
    jid: Arc<str>,
    /// The user's row; none for a user who does not exist.
    record: Option<AccountRow>,
    roster: Roster,
    sessions: Vec<Session>,
    /// What waits for the user.
    queue: Queue,
    /// The session that is being given what waited.
    draining: Option<Box<Drain>>,
    /// By their order, messages that came back from one of several resources.
    reissued: BTreeMap<u64, Reissue>,
    /// Rows of the offline queue that are there for the sake of sessions without a connection.
    parked: Parked,
    /// Sessions that ended while their clients were away.
    ended: Vec<Ended>,
    seen: Option<LastSeen>,
    /// When the directory was last told that the user is here.
    told_seen: Option<Instant>,
    /// What of the user's messages is to be kept, if he has said so.
    archiving: Option<Box<Prefs>>,
    /// Whom the user keeps away, if anybody.
    privacy: Option<Box<Privacy>>,
    /// Stanzas from other users that make a round by the dialog with them.
    rounds: UnderWay,
    /// Messages to other users that come back for copies.
    copies: UnderWay,
    /// The ids of the user's last messages that are kept.
    used_ids: UsedIds,
    last_job: u64,
    /// What a session is to get right after the result of the iq in hand.
    after_result: Vec<Bytes>,
    /// The iq in hand has to see more rows.
    lookup: Option<Box<Lookup>>,
    /// Iqs that wait for others, once there were any.
    inquiries: Option<Box<Inquiries>>,
    /// What the user has published, if anything. XEP-0163
    pep: Option<Box<Pep>>,
    /// What is known of the user's clients. XEP-0115
    known_caps: KnownCaps,
    /// By which services the user's clients want to be called, if any. XEP-0357
    push: Option<Box<Push>>,
    /// What is shown of the user on the local link, if he wants to be there. XEP-0174
    linked: Option<Box<Linked>>,
}

/// One connected resource.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    /// The full JID; the resource is its end.
    jid: Arc<str>,
    resource_at: usize,
    /// Set while the resource is available.
    presence: Option<Presence>,
    /// Set while every message for the account comes here at once: the order of the last one before.
    live_since: Option<u64>,
    /// When it was live before: above the first order and up to the second.
    live_before: Vec<(u64, u64)>,
    /// Up to this order it was given what had waited, before it was cut off.
    handed: u64,
    /// Has asked for the roster and so gets pushes. RFC 6121 §2.1.6.
    interested: bool,
    /// To whom presence was sent directly, to be told of the end too. RFC 6121 §4.6.
    directed: Vec<Box<str>>,
    /// Counts stanzas, once XEP-0198 is on.
    acks: Option<Box<Acks>>,
    /// Its connection can make way for another: all but BOSH, which has sessions of its own.
    replaceable: bool,
    /// Set once its client may come back to it. XEP-0198 §5
    resumption: Option<Box<Resumption>>,
    /// Wants copies of what the other sessions send. XEP-0280.
    carbons: bool,
    /// What dialogs write to it comes here first.
    guarded: bool,
    /// Set while nobody looks at the client: what it need not know yet. XEP-0352.
    held: Option<Box<Held>>,
    /// What it wants to hear of, if it has said what it can do. XEP-0115
    interest: Option<Box<Interest>>,
}

impl Session {
    /// What the shard calls it.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The full JID.
    pub fn jid(&self) -> &Arc<str> {
        &self.jid
    }

    /// The resource alone.
    pub fn resource(&self) -> &str {
        &self.jid[self.resource_at..]
    }

    /// Whether it has sent presence and not taken it back.
    pub fn is_available(&self) -> bool {
        self.presence.is_some()
    }

    /// Whether it was live when the message of this order came, and so was given it.
    fn was_given(&self, order: u64) -> bool {
        self.live_since.is_some_and(|since| since < order)
            || self.live_before.iter().any(|&(since, until)| since < order && order <= until)
    }

    /// Is live no more; `last` is the order of the newest message.
    fn stop_live(&mut self, last: u64) {
        let Some(since) = self.live_since.take() else { return };
        if since < last {
            if self.live_before.len() >= LIVE_SPELLS_MAX {
                self.live_before.remove(0);
            }
            self.live_before.push((since, last));
        }
    }

    /// Available with a priority that wants messages. RFC 6121 §8.5.2.
    fn takes_messages(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.priority >= 0)
    }
}

/// How far an input came.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is returned once and taken apart at once; a box would cost more")]
pub enum Progress {
    /// It is done; the effects say what follows.
    Done,
    /// Nothing has happened yet: these rows first, then the same input again with them.
    Needs(Reads),
}

/// Why an input could not be taken.
#[derive(Debug)]
pub enum Fault {
    /// The client broke the stream's rules.
    Stream(StreamError),
    /// A row that is needed cannot be read.
    Row(Unreadable),
}

impl From<StreamCondition> for Fault {
    fn from(condition: StreamCondition) -> Fault {
        Fault::Stream(condition.into())
    }
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Fault {
        Fault::Row(error)
    }
}

impl Account {
    /// The rows that an account is made of.
    pub fn load_reads(id: AccountId) -> Reads {
        record::load_reads(id)
            .and(Roster::reads(id))
            .and(Queue::reads(id))
            .and(LastSeen::reads(id))
            .and(Prefs::reads(id))
            .and(Pep::reads(id))
            .and(Lists::reads(id))
            .and(push::reads(id))
            .and(Wishes::reads(id))
    }

    /// The account in these rows; one of a user who does not exist is there too, and answers as RFC 6121 §8.5.1 wants.
    pub fn load(id: AccountId, domain: &str, mut rows: Rows) -> Result<Account, Unreadable> {
        Ok(Account {
            id,
            jid: format!("{id}@{domain}").into(),
            record: record::load(&mut rows)?,
            roster: Roster::load(id, &mut rows)?,
            queue: Queue::load(&mut rows)?,
            seen: LastSeen::load(&mut rows)?,
            archiving: Prefs::load(&mut rows)?,
            pep: Pep::load(id, &mut rows)?,
            privacy: Privacy::load(&mut rows)?,
            push: Push::load(&mut rows)?,
            linked: Wishes::load(&mut rows)?.map(Linked::of),
            told_seen: None,
            sessions: Vec::new(),
            draining: None,
            reissued: BTreeMap::new(),
            parked: Parked::default(),
            ended: Vec::new(),
            rounds: UnderWay::default(),
            copies: UnderWay::default(),
            used_ids: UsedIds::default(),
            last_job: 0,
            after_result: Vec::new(),
            lookup: None,
            inquiries: None,
            known_caps: KnownCaps::default(),
        })
    }

    /// Whose account it is.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// The bare JID.
    pub fn jid(&self) -> &Arc<str> {
        &self.jid
    }

    /// Whether there is such a user.
    pub fn exists(&self) -> bool {
        self.record.is_some()
    }

    /// The contacts.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// When the user was last here.
    pub fn seen(&self) -> Option<&LastSeen> {
        self.seen.as_ref()
    }

    /// The connected resources, oldest first.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The connected resource with this id.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }

    /// Whether any resource is available.
    pub fn is_available(&self) -> bool {
        self.sessions.iter().any(|session| session.presence.is_some())
    }

    fn owner(&self) -> Owner {
        Owner::Account(self.id)
    }

    /// The account itself as a sender: its bare JID.
    fn sender(&self) -> Sender {
        Sender { jid: Arc::clone(&self.jid), account: Some(self.id) }
    }

    /// Ties a session to an address of this account. A session that has it already makes way. RFC 6120 §7. `replaceable` says
    /// whether the session could go on over another connection.
    pub fn bind(
        &mut self,
        id: SessionId,
        full: &FullJid,
        replaceable: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Arc<str>, Condition> {
        self.held_back(turn, |account, turn| account.takes_in(id, full, replaceable, turn))
    }

    fn takes_in(
        &mut self,
        id: SessionId,
        full: &FullJid,
        replaceable: bool,
        turn: &mut Turn<'_>,
    ) -> Result<Arc<str>, Condition> {
        if self.record.is_none() {
            return Err(Condition::NotAllowed);
        }
        let holder = self.sessions.iter().find(|session| *session.jid == *full.as_str()).map(|session| session.id);
        if let Some(holder) = holder {
            self.unbind(holder, turn);
            turn.out.push(Effect::End(holder, Ending::Conflict));
        } else if self.sessions.len() >= RESOURCES_MAX && !self.makes_room(turn) {
            return Err(Condition::ResourceConstraint);
        }
        let jid: Arc<str> = full.as_str().into();
        // Most users have one, for whom a vector would make room for four.
        self.sessions.reserve_exact(1);
        self.sessions.push(Session {
            id,
            resource_at: full.as_str().len() - full.resource().len(),
            jid: Arc::clone(&jid),
            presence: None,
            live_since: None,
            live_before: Vec::new(),
            handed: 0,
            interested: false,
            directed: Vec::new(),
            acks: None,
            replaceable,
            resumption: None,
            carbons: false,
            guarded: false,
            held: None,
            interest: None,
        });
        self.guards(id, turn);
        Ok(jid)
    }

    /// The session is over, whatever ended it.
    fn unbind(&mut self, id: SessionId, turn: &mut Turn<'_>) {
        let Some(at) = self.sessions.iter().position(|session| session.id == id) else { return };
        self.leave(id, None, turn);
        let mut session = self.sessions.remove(at);
        self.forgets_inquiries_of(id);
        self.gives_back(&mut session, turn);
        self.forgets_lists_of(id);
    }

    /// Takes a stanza (or another top-level element) from one of the account's own sessions.
    pub fn stanza(
        &mut self,
        from: SessionId,
        stanza: Element<'_>,
        rows: Option<Rows>,
        turn: &mut Turn<'_>,
    ) -> Result<Progress, Fault> {
        self.held_back(turn, |account, turn| account.says(from, stanza, rows, turn))
    }

    fn says(
        &mut self,
        from: SessionId,
        stanza: Element<'_>,
        rows: Option<Rows>,
        turn: &mut Turn<'_>,
    ) -> Result<Progress, Fault> {
        let Some(session) = self.session(from) else { return Ok(Progress::Done) };
        let receipt = session.acks.as_ref().map(|acks| Receipt { account: self.id, session: from, seq: acks.next() });
        if stanza.ns() != ns::CLIENT {
            let nonza = ext::nonza(stanza).ok_or(StreamCondition::UnsupportedStanzaType)?;
            (nonza.apply)(self, from, stanza, turn)?;
            return Ok(Progress::Done);
        }
        let passed_on = match stanza.name() {
            "message" => self.sends_message(from, stanza, receipt, turn),
            "presence" => self.sends_presence(from, stanza, turn),
            "iq" => match self.sends_iq(from, stanza, rows, turn) {
                Progress::Done => self.reports_later(receipt),
                needs @ Progress::Needs(_) => return Ok(needs),
            },
            _ => return Err(StreamCondition::UnsupportedStanzaType.into()),
        };
        if let Some(receipt) = receipt {
            self.count_in(receipt, passed_on, turn);
        }
        Ok(Progress::Done)
    }

    /// The rows that [`Account::note`] needs for this note.
    pub fn plan(&self, note: &Note, site: &Site) -> Reads {
        match note {
            Note::Stanza(parcel) => self.plan_parcel(parcel, site),
            Note::Command { command, .. } => match command {
                Command::Account(record::Command::Record(command)) => match command {
                    // Its files are no rows, and go by themselves.
                    record::RecordCommand::Delete => record::plan(self.id, command).and(upload::reads(self.id)),
                    command => record::plan(self.id, command),
                },
                Command::Account(record::Command::Upload(command)) => upload::plan(self.id, command),
                Command::Account(
                    record::Command::Subscription(_)
                    | record::Command::Numbered(..)
                    | record::Command::Inbox(_)
                    | record::Command::Judge { .. }
                    | record::Command::Report
                    | record::Command::EndSessions { .. },
                )
                | Command::Directory(_)
                | Command::Dialog(_) => Reads::none(),
            },
            Note::Drain(session, seen) => self.plan_drain(*session, *seen),
            Note::Wants { from, nodes } => self.plan_last(from, nodes),
            Note::Late(..)
            | Note::Expired(_)
            | Note::CutAgain(..)
            | Note::Taken(..)
            | Note::Overdue(..)
            | Note::Confirmed(_)
            | Note::Learned(..)
            | Note::Copied { .. }
            | Note::Round { .. }
            | Note::Dropped(_)
            | Note::Handled { .. }
            | Note::Visit { .. }
            | Note::Absent { .. } => Reads::none(),
        }
    }

    /// Takes a note from another owner, or from itself by way of the shard, with the rows of [`Account::plan`].
    pub fn note(&mut self, note: Note, rows: Rows, turn: &mut Turn<'_>) -> Result<(), Unreadable> {
        self.held_back(turn, |account, turn| account.hears(note, rows, turn))
    }

    fn hears(&mut self, note: Note, rows: Rows, turn: &mut Turn<'_>) -> Result<(), Unreadable> {
        match note {
            Note::Stanza(parcel) => {
                if self.turns_off_link(&parcel, turn) {
                    return Ok(());
                }
                if !self.admits(&parcel) {
                    self.turns_away(&parcel, turn);
                } else if let Some(parcel) = self.in_turn(parcel, turn) {
                    self.takes(parcel, rows, turn);
                }
            }
            Note::Copied { with, parcel } => self.copied(with, parcel, turn),
            Note::Dropped(with) => self.dropped(with),
            Note::Command { command, reply, job } => {
                self.obey(command, reply, rows, turn)?;
                if let Some(job) = job {
                    turn.out.send(job.from, Note::Confirmed(job.id));
                }
            }
            Note::Confirmed(job) => {
                let mut batch = Batch::default();
                jobs::forget(&mut batch, &self.owner(), job);
                turn.out.push(Effect::WriteBehind(batch));
            }
            Note::Learned(number, learned) => self.learns(number, learned, turn),
            Note::Drain(session, seen) => self.drain(session, seen, rows, turn)?,
            Note::Wants { from, nodes } => self.sends_last(&from, &nodes, rows, turn)?,
            Note::Late(session, leftover) => self.late(session, leftover, turn),
            Note::Expired(session) => self.expired(session, turn),
            Note::CutAgain(session, acked) => self.cut_again(session, acked, turn),
            Note::Taken(rows, receipts) => self.taken(rows, &receipts, turn),
            Note::Overdue(session, messages) => self.takes_long(session, messages, turn),
            Note::Handled { session, seq } => self.handled(session, seq, turn),
            Note::Round { .. } | Note::Visit { .. } | Note::Absent { .. } => {
                debug_assert!(false, "a dialog's note came to an account");
            }
        }
        Ok(())
    }

    fn obey(
        &mut self,
        command: Command,
        reply: Option<ReplyTo>,
        mut rows: Rows,
        turn: &mut Turn<'_>,
    ) -> Result<(), Unreadable> {
        let answer = match command {
            Command::Account(record::Command::Upload(command)) => {
                let answer = upload::apply(self.id, &command, &mut rows, turn)?;
                if let Some(reply) = reply {
                    turn.out.push(Effect::Answer(reply, Answer::Upload(answer)));
                }
                return Ok(());
            }
            Command::Account(record::Command::Report) => {
                if let Some(reply) = reply {
                    turn.out.push(Effect::Answer(reply, Answer::Report(self.report())));
                }
                return Ok(());
            }
            Command::Account(record::Command::EndSessions { resource }) => {
                let ended = self.ends_for_admin(resource.as_deref(), turn);
                if let Some(reply) = reply {
                    turn.out.push(Effect::Answer(reply, Answer::Report(ended)));
                }
                return Ok(());
            }
            Command::Account(record::Command::Record(command)) => {
                let removal = matches!(command, record::RecordCommand::Delete);
                let before = self.record.as_ref().map(|row| row.secret_version);
                if command.renews_secret(before) {
                    // Before the new password is on disk: a crash between the two must not leave them to be used.
                    let mut batch = Batch::default();
                    fast::forget_all(self.id, &mut batch);
                    self.forgets_services(&mut batch);
                    turn.out.write(batch);
                }
                let answer = record::apply(self.id, command, &mut rows, &mut self.record, turn)?;
                if removal {
                    self.wipe(upload::all(&mut rows)?, turn);
                } else if before.is_some() && before != self.record.as_ref().map(|row| row.secret_version) {
                    self.end_all(turn);
                }
                answer
            }
            Command::Account(record::Command::Subscription(step)) => {
                self.takes_subscription(step, 0, turn);
                record::Answer::Done
            }
            Command::Account(record::Command::Numbered(step, number)) => {
                self.takes_subscription(step, number, turn);
                record::Answer::Done
            }
            Command::Account(record::Command::Inbox(command)) => {
                // Nobody is held up by a list: only one who asked for it waits.
                inbox::apply(self.id, command, reply.is_some(), turn);
                record::Answer::Done
            }
            Command::Account(record::Command::Judge { dialog, draft }) => {
                self.judges_draft(dialog, draft, reply, turn);
                return Ok(());
            }
            Command::Directory(_) | Command::Dialog(_) => {
                debug_assert!(false, "another owner's command came to an account");
                record::Answer::NoAccount
            }
        };
        if let Some(reply) = reply {
            turn.out.push(Effect::Answer(reply, Answer::Account(answer)));
        }
        Ok(())
    }

    /// The user was removed: contacts are told, streams end, rows go.
    fn wipe(&mut self, files: Vec<(FileId, Upload)>, turn: &mut Turn<'_>) {
        self.end_all(turn);
        self.part_from_contacts(turn);
        let mut batch = Batch::default();
        let all = crate::row::Key::of(&self.owner()).all_below();
        for table in ext::tables() {
            batch.delete_range(table, all.clone());
        }
        inbox::wipe(self.id, &mut batch);
        turn.out.write(batch);
        if !files.is_empty() {
            turn.out.push(Effect::RemoveFiles(files.into_iter().map(|(file, _)| file).collect()));
        }
        self.roster = Roster::default();
        self.queue = Queue::default();
        self.parked = Parked::default();
        self.seen = None;
        self.archiving = None;
        self.pep = None;
        self.privacy = None;
        self.push = None;
        self.leaves_link(turn);
    }

    /// Ends every session: the password that opened them is no longer the user's.
    fn end_all(&mut self, turn: &mut Turn<'_>) {
        while let Some(session) = self.sessions.last().map(|session| session.id) {
            self.unbind(session, turn);
            turn.out.push(Effect::End(session, Ending::NotAuthorized));
        }
    }

    /// How things stand.
    fn report(&self) -> record::Report {
        record::Report {
            exists: self.exists(),
            resources: self.sessions.iter().map(|session| session.resource().to_owned()).collect(),
            contacts: self.roster.listed().count(),
        }
    }

    /// Ends the session with this resource, or all of them, because somebody who administers the app wants it.
    fn ends_for_admin(&mut self, resource: Option<&str>, turn: &mut Turn<'_>) -> record::Report {
        let mut report = self.report();
        report.resources.retain(|own| resource.is_none_or(|resource| resource == own));
        for resource in &report.resources {
            if let Some(session) = self.by_resource(resource) {
                self.unbind(session, turn);
                turn.out.push(Effect::End(session, Ending::Administrator));
            }
        }
        report
    }

    /// A number for a job that no job of this account has had, whatever the clock does while the process runs.
    fn next_job(&mut self, turn: &Turn<'_>) -> u64 {
        self.last_job = (self.last_job + 1).max(turn.now.stamp.millis() << 16);
        self.last_job
    }
}

/// How many times that a session was live are remembered; of older ones a message may be shown to it twice.
const LIVE_SPELLS_MAX: usize = 16;

/// What becomes of a note for an account that nobody uses: what only concerns those who are there ends here, without loading
/// anything. Returns the note when the account has to be loaded for it.
pub fn absent(id: AccountId, note: Note, turn: &mut Turn<'_>) -> Option<Note> {
    match note {
        // The list of dialogs is rows alone, and nobody waits.
        Note::Command { command: Command::Account(record::Command::Inbox(command)), reply: None, job: None } => {
            inbox::apply(id, command, false, turn);
            None
        }
        Note::Stanza(parcel)
            if parcel.is_of_the_moment() && !parcel.look.has_hooks() && !pushing::may_end_service(&parcel) =>
        {
            incoming::settle(&parcel, id, turn);
            None
        }
        Note::Handled { .. }
        | Note::Drain(..)
        | Note::Learned(..)
        | Note::Copied { .. }
        | Note::Dropped(_)
        | Note::Expired(_)
        | Note::CutAgain(..)
        | Note::Taken(..)
        | Note::Overdue(..)
        | Note::Late(_, Leftover::Stanza(_)) => None,
        other => Some(other),
    }
}
