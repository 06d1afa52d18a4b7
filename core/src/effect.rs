//! What the owners ask the world to do, in order.
//!
//! A handler is a pure function of its input, the rows it planned and the state of its owner. It returns by filling
//! [`Effects`]. The order is the promise: what follows a [`Effect::Write`] happens once that write is on disk, and the effects
//! of one owner happen in the order in which its inputs were taken.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::command::{Answer, Command};
use crate::component::Settings;
use crate::ext::chain::Chain;
use crate::ext::{self, Contacts, Included, Service, Uploads, Usual};
use crate::jid::user::{AppId, UserId};
use crate::limits::Limits;
use crate::link_local::{self, Link};
use crate::model::dialog::{OccupantIds, Pairs};
use crate::model::jobs;
use crate::model::upload::FileId;
use crate::owner::{AccountId, ComponentId, Owner};
use crate::row::{Batch, Reads, Rows};
use crate::sasl::credentials::{Credentials, SALT_BYTES};
use crate::stanza::{Awaited, Entrusted, Leftover, Parcel, Receipt, Sender};
use crate::time::{Instant, Now};

/// A connected resource, unique within the shard that owns its account for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// Where the answer to a command goes: a shard, and what that shard calls the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The shard that asked.
    pub shard: u16,
    /// Its name for the question.
    pub ticket: u64,
}

/// A message to another owner that is repeated until it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobRef {
    /// Who keeps the job's row and waits for the confirmation.
    pub from: Owner,
    /// Its number there.
    pub id: u64,
}

/// What one owner tells another, on this shard or across cores.
#[derive(Clone, Debug)]
pub enum Note {
    /// A stanza for (or on behalf of) an account.
    Stanza(Parcel),
    /// A stanza that one user has sent another, to their dialog, which keeps it if it is to be kept, and gives it back.
    Round {
        /// The recipient.
        to: AccountId,
        /// The stanza.
        parcel: Parcel,
    },
    /// Nothing comes of a stanza from this user that was sent to the dialog of the two.
    Dropped(UserId),
    /// To its sender: a message as it was taken, for those of the sender's sessions that want copies. XEP-0280
    Copied {
        /// The recipient.
        with: UserId,
        /// The message; none if nothing came of it.
        parcel: Option<Parcel>,
    },
    /// A stanza from a session of an account for a dialog or its room.
    Visit {
        /// Which of the sender's sessions.
        session: SessionId,
        /// The sender has used the stanza's id for a message somewhere else.
        id_used: bool,
        /// The stanza; its resource is the nick it is addressed to.
        parcel: Parcel,
    },
    /// A session that the dialog wrote to is not there any more.
    Absent {
        /// Whose it was.
        account: AccountId,
        /// Which.
        session: SessionId,
    },
    /// Something to do.
    Command {
        /// What.
        command: Command,
        /// Whoever waits for the answer.
        reply: Option<ReplyTo>,
        /// Set when the sender repeats the command until it hears back.
        job: Option<JobRef>,
    },
    /// The command of this job is on disk at its owner.
    Confirmed(u64),
    /// What this owner has asked for under this number.
    Learned(u64, Learned),
    /// To a user whose presence it sees: a resource that has come wants to hear of these nodes, and to begin with the newest item of
    /// each. XEP-0163 §4.3.4
    Wants {
        /// The resource.
        from: Sender,
        /// The names of the nodes, with line feeds between them.
        nodes: Arc<str>,
    },
    /// What could not be queued for a session, because it is not connected or its account wants to see it first.
    Late(SessionId, Leftover),
    /// The time in which the client of that session could come back is over. XEP-0198 §5
    Expired(SessionId),
    /// A client that came back to its session was gone again before it was let in; it had taken so many stanzas.
    CutAgain(SessionId, u32),
    /// A client has taken what was in these rows, or was to be in one ([`Note::Overdue`]) for the sake of those who wait.
    Taken(Vec<u64>, Vec<Receipt>),
    /// That session, which is connected, has not taken these messages for a while, and their senders wait to hear that they are
    /// taken care of.
    Overdue(SessionId, Vec<Entrusted>),
    /// That session of the account has taken what it was given of what waited while its user was away, up to this row, and can take more.
    Drain(SessionId, u64),
    /// The stanza that session had counted as `seq` is taken care of (XEP-0198 §4): delivered, stored or refused.
    Handled {
        /// The sender's session.
        session: SessionId,
        /// Its number among that session's stanzas.
        seq: u32,
    },
}

/// What an owner has to know before it can answer somebody, and others have to find out. Meanwhile the owner takes other inputs.
#[derive(Clone)]
pub enum Question {
    /// Rows of any owner, as they are on disk.
    Rows(Reads),
    /// What another owner makes of a command, once that is on disk.
    Command(Owner, Command),
    /// What is stored for a password (prepared) with this salt: milliseconds of work, elsewhere.
    Credentials(Zeroizing<String>, [u8; SALT_BYTES]),
    /// Which users of an app are connected, on all shards.
    Online(AppId),
}

impl fmt::Debug for Question {
    /// Without what is in it: passwords do not go into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Question::Rows(_) => "Rows",
            Question::Command(..) => "Command",
            Question::Credentials(..) => "Credentials(hidden)",
            Question::Online(_) => "Online",
        })
    }
}

/// What came of a [`Question`].
#[derive(Clone, Debug)]
pub enum Learned {
    /// The rows.
    Rows(Rows),
    /// What an owner, or the shards, said.
    Answer(Box<Answer>),
    /// What is stored for the password.
    Credentials(Box<Credentials>),
    /// The store cannot say.
    Nothing,
}

/// A session of some account, as a dialog writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Whose it is; that is where it is connected.
    pub account: AccountId,
    /// Which of the account's sessions.
    pub session: SessionId,
    /// The full JID.
    pub jid: Arc<str>,
}

/// Why the server ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Another session took the resource. RFC 6120 §7.7.2.2.
    Conflict,
    /// The account was removed or its password withdrawn.
    NotAuthorized,
    /// The client asked for more than its share (queues, stanzas, bytes).
    PolicyViolation,
    /// What the session waits for cannot be done (the store refuses writes).
    InternalServerError,
    /// An administrator wanted it to end.
    Administrator,
}

/// One thing for the world to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Commits rows. Everything after it in the list waits until they are on disk.
    Write(Batch),
    /// Commits rows that nobody waits for (a later state replaces them and losing them in a crash is harmless).
    WriteBehind(Batch),
    /// Queues a whole stanza for a session of this owner. The bytes are for a stream whose default namespace is
    /// `jabber:client`; the connection's framing adds what its transport needs.
    Deliver(SessionId, Bytes),
    /// Queues a whole stanza, which says nothing of its recipient yet, for sessions of any accounts. The bytes are written once;
    /// each copy gets its `to` on the way.
    Fanout(Bytes, Arc<[Seat]>),
    /// As `Deliver`, for a message that must not be lost: it comes back ([`Note::Late`], or with the end of the session) if
    /// the session ends before taking it.
    Entrust(SessionId, Entrusted),
    /// Somebody waits to hear that the session has taken the message that it was entrusted with in this order, or has taken already.
    Await(SessionId, u64, Box<Awaited>),
    /// Queues an element that is no stanza, and is not counted as one.
    Nonza(SessionId, Bytes),
    /// The same, and what the session is given after it is kept until its client acknowledges it. XEP-0198 §3
    Track(SessionId, Bytes),
    /// The client has taken so many stanzas. XEP-0198 §4
    Acked(SessionId, u32),
    /// The connection that asked for it gets the session, whose client has taken so many stanzas, and this element first. XEP-0198 §5
    Resumed(SessionId, u32, Bytes),
    /// The session has no connection, and waits for its client until then.
    Sleeps(SessionId, Instant),
    /// Whether what dialogs write to the session comes to its account instead, as [`Note::Late`].
    Guard(SessionId, bool),
    /// Tells another owner (or the same one) something.
    Send(Owner, Note),
    /// Answers a command.
    Answer(ReplyTo, Answer),
    /// Has something found out; it comes back with this number as [`Note::Learned`].
    Ask(u64, Question),
    /// Gives the note back to this owner once the session has taken what is queued for it.
    WhenFlushed(SessionId, Note),
    /// Ends a session with a stream error after what is queued for it. One that is not connected is forgotten.
    End(SessionId, Ending),
    /// Removes files, of which nobody hears whether they were there.
    RemoveFiles(Vec<FileId>),
    /// Tells the bridge to the local link something. XEP-0174
    Link(Box<link_local::Word>),
}

/// The ordered list that a handler fills.
#[derive(Debug, Default)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// An empty list.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// Adds one effect at the end.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Commits rows before anything that is added later.
    pub fn write(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.0.push(Effect::Write(batch));
        }
    }

    /// Queues a stanza for one session.
    pub fn deliver(&mut self, session: SessionId, stanza: Bytes) {
        self.0.push(Effect::Deliver(session, stanza));
    }

    /// Queues an element for one session that is no stanza.
    pub fn nonza(&mut self, session: SessionId, element: Bytes) {
        self.0.push(Effect::Nonza(session, element));
    }

    /// Queues a message for one session, and has it back if the session ends first.
    pub fn entrust(&mut self, session: SessionId, message: Entrusted) {
        self.0.push(Effect::Entrust(session, message));
    }

    /// Tells another owner something that need not survive a crash.
    pub fn send(&mut self, to: Owner, note: Note) {
        self.0.push(Effect::Send(to, note));
    }

    /// Tells another owner something that must arrive: `batch` gets the job's row, and the command goes out once that is on disk.
    /// The receiver's confirmation removes the row; a restart before that sends it again.
    pub fn send_surely(&mut self, from: Owner, id: u64, mut batch: Batch, to: Owner, command: Command) {
        let note = promised(&mut batch, from, id, to, command);
        self.write(batch);
        self.send(to, note);
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list so far, for tests that read the order off it.
    pub fn as_slice(&self) -> &[Effect] {
        &self.0
    }

    /// Takes out what was added after the first `at`.
    pub(crate) fn take_from(&mut self, at: usize) -> Vec<Effect> {
        self.0.split_off(at.min(self.0.len()))
    }

    /// Takes the list out and leaves its capacity behind.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.0.drain(..)
    }
}

/// What is to be sent once the batch, which gets the job's row, is on disk. For several things that must all arrive or none;
/// otherwise see [`Effects::send_surely`].
pub fn promised(batch: &mut Batch, from: Owner, id: u64, to: Owner, command: Command) -> Note {
    jobs::keep(batch, &from, id, &to, &command);
    Note::Command { command, reply: None, job: Some(JobRef { from, id }) }
}

/// Where random bytes come from: the operating system in `net`, a seed in tests.
pub trait Random {
    /// Fills the slice.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl dyn Random + '_ {
    /// An array of random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// What the operator has set, as handlers see it; replaced as a whole on reload.
#[derive(Clone, Debug)]
pub struct Site {
    /// The domain of user JIDs.
    pub domain: Arc<str>,
    /// The domain of rooms: `muc.` and the domain.
    pub muc_domain: Arc<str>,
    /// What may come in.
    pub limits: Limits,
    /// The version alone.
    pub version: &'static str,
    /// Services beside this one that users are told of. XEP-0215
    pub services: Arc<[Service]>,
    /// Whom users can turn to. XEP-0157
    pub contacts: Arc<Contacts>,
    /// What is kept of messages that do not ask for it.
    pub archiving: Archiving,
    /// The service that takes files, if there is one. XEP-0363
    pub uploads: Option<Arc<Uploads>>,
    /// The components that may connect. XEP-0114
    pub components: Arc<[Settings]>,
    /// What push services are told of messages. XEP-0357
    pub pushed: Included,
    /// The bridge to the local link, if there is one. XEP-0174
    pub link: Option<Arc<Link>>,
    /// What the ids of private dialogs are made with.
    pub pairs: Pairs,
    /// The extensions that look at messages: all there are, but in measurements.
    pub chain: &'static Chain,
    /// Where clients are told to come back to a session. XEP-0198 §5
    pub resume_location: Option<Arc<str>>,
    /// What the ids of occupants are made with.
    pub occupants: OccupantIds,
    /// Who may give the commands for administrators, each in the own app. XEP-0133
    pub admins: Arc<[AccountId]>,
}

/// What is kept of messages that do not ask for it. XEP-0313, XEP-0441.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archiving {
    /// Between users who have set no preferences of their own.
    pub usual: Usual,
    /// Whether rooms keep them.
    pub rooms: bool,
}

impl Site {
    /// The settings of an operator who has set nothing but the domain.
    pub fn of(domain: &str) -> Site {
        Site {
            domain: domain.into(),
            muc_domain: format!("muc.{domain}").into(),
            limits: Limits::default(),
            version: env!("CARGO_PKG_VERSION"),
            services: Arc::new([]),
            contacts: Arc::default(),
            archiving: Archiving::default(),
            uploads: None,
            components: Arc::new([]),
            pushed: Included::default(),
            link: None,
            pairs: Pairs::of(&[0; 32]),
            chain: &ext::CHAIN,
            resume_location: None,
            occupants: OccupantIds::of(&[0; 32]),
            admins: Arc::new([]),
        }
    }

    /// The component with this domain, which is in normal form.
    pub fn component(&self, domain: &str) -> Option<&Settings> {
        self.components.iter().find(|component| *component.domain == *domain)
    }

    /// The component with this id.
    pub fn component_with(&self, id: ComponentId) -> Option<&Settings> {
        self.components.iter().find(|component| component.id() == id)
    }

    /// Whether the user administers the own app.
    pub fn is_admin(&self, account: AccountId) -> bool {
        self.admins.contains(&account)
    }
}

/// One turn of an owner: the moment, the settings, chance, and the list to fill.
pub struct Turn<'a> {
    /// When the input was taken.
    pub now: Now,
    /// The settings in force.
    pub site: &'a Site,
    /// Random bytes.
    pub random: &'a mut dyn Random,
    /// What comes of it.
    pub out: &'a mut Effects,
}
