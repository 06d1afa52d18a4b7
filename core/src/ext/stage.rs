//! A stage for the tests of extensions: a few users of two apps, one session each, rows in a map.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::account::{Account, Progress};
use crate::command::{Answer, Command};
use crate::effect::{Effect, Effects, Learned, Note, Question, Random, ReplyTo, SessionId, Site, Turn};
use crate::jid::FullJid;
use crate::jid::user::{AppId, UserId};
use crate::model::account::{Card, Command as AccountCommand, RecordCommand};
use crate::model::directory::{self, Directory};
use crate::model::profile::Field;
use crate::model::upload::FileId;
use crate::owner::{AccountId, Owner};
use crate::row::{Change, Found, Key, Read, Reads, Rows};
use crate::sasl::credentials::{Credentials, ITERATIONS};
use crate::stanza::{Entrusted, Leftover, Parcel, Remains};
use crate::time::{Now, Timestamp};
use crate::xml::{Context, Limits, Nodes};

pub(super) const ADAM: AccountId = AccountId { app: AppId(1), user: UserId(1) };
pub(super) const BOB: AccountId = AccountId { app: AppId(1), user: UserId(2) };
/// A user of another app.
pub(super) const EVE: AccountId = AccountId { app: AppId(2), user: UserId(1) };

/// The session that everybody has from the beginning.
pub(super) const SESSION: SessionId = SessionId(1);

/// See the module.
pub(super) struct Stage {
    pub site: Site,
    pub now: Now,
    /// Nobody takes what he is given, until [`Stage::flush`].
    pub stalled: bool,
    unflushed: Vec<(AccountId, Note)>,
    accounts: BTreeMap<AccountId, Account>,
    rows: BTreeMap<(&'static str, Key), Bytes>,
    log: Vec<String>,
    given: Vec<(AccountId, String)>,
    entrusted: Vec<(AccountId, SessionId, Entrusted)>,
    sent_out: Vec<String>,
    removed: Vec<FileId>,
}

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

impl Stage {
    pub fn new() -> Stage {
        let stamp = Timestamp::from_secs(1_458_750_000);
        let mut stage = Stage {
            site: Site::of("localhost"),
            now: Now { stamp, ..Now::default() },
            stalled: false,
            unflushed: Vec::new(),
            accounts: BTreeMap::new(),
            rows: BTreeMap::new(),
            log: Vec::new(),
            given: Vec::new(),
            entrusted: Vec::new(),
            sent_out: Vec::new(),
            removed: Vec::new(),
        };
        for (id, login) in [(ADAM, "adam"), (BOB, "bob"), (EVE, "eve")] {
            stage.sign_up(id.app, login);
            stage.connect(id, SESSION, "r");
        }
        stage
    }

    /// A client of the user comes.
    pub fn connect(&mut self, id: AccountId, session: SessionId, resource: &str) {
        let jid = FullJid::parse(&format!("{id}@localhost/{resource}")).expect("an address");
        self.turn(id, |account, turn| account.bind(session, &jid, true, turn).map(drop)).expect("the account exists");
    }

    /// The connection of a client ends, which has not acknowledged any of the messages that it was given; those are forgotten by the
    /// stage. It may come back if it has said that it wants to.
    pub fn cut(&mut self, id: AccountId, session: SessionId, acked: u32) {
        let (own, others) =
            std::mem::take(&mut self.entrusted).into_iter().partition(|(of, to, _)| (*of, *to) == (id, session));
        self.entrusted = others;
        let own: Vec<(AccountId, SessionId, Entrusted)> = own;
        let sent = own.into_iter().map(|(.., message)| Leftover::Entrusted(message)).collect();
        let remains = Remains { resumable: true, acked, sent, ..Remains::default() };
        self.turn(id, |account, turn| account.detach(session, remains, turn));
    }

    /// The client has taken all messages that it was given, as far as the stage is concerned.
    pub fn takes_all(&mut self, id: AccountId, session: SessionId) {
        self.entrusted.retain(|(of, to, _)| (*of, *to) != (id, session));
    }

    /// The same, where its session may be over; whether it is there.
    pub fn try_resume(&mut self, id: AccountId, session: SessionId) -> bool {
        self.turn(id, |account, turn| account.resume(session, 0, turn)).is_ok()
    }

    /// Whether the session is there.
    pub fn has_session(&mut self, id: AccountId, session: SessionId) -> bool {
        self.account(id).session(session).is_some()
    }

    /// A client is back that has taken so many stanzas.
    pub fn resume(&mut self, id: AccountId, session: SessionId, count: u32) {
        self.turn(id, |account, turn| account.resume(session, count, turn)).expect("the session is there");
    }

    /// The server ends and starts again: all that is left are rows.
    pub fn restart(&mut self) {
        self.accounts.clear();
        self.entrusted.clear();
        self.unflushed.clear();
    }

    /// Something comes for an account.
    pub fn hear(&mut self, id: AccountId, note: Note) {
        self.settle(id, &mut Vec::new(), vec![(id, note)]);
    }

    /// Something comes for an account that nobody uses. Whether it had to be loaded for that.
    pub fn hear_absent(&mut self, id: AccountId, note: Note) -> bool {
        self.accounts.remove(&id);
        let (site, now) = (self.site.clone(), self.now);
        let mut out = Effects::new();
        let mut turn = Turn { now, site: &site, random: &mut Zeros, out: &mut out };
        match crate::account::absent(id, note, &mut turn) {
            Some(note) => self.hear(id, note),
            None => return false,
        }
        true
    }

    /// All take what they are given again.
    pub fn flush(&mut self) {
        self.stalled = false;
        for (of, note) in std::mem::take(&mut self.unflushed) {
            self.hear(of, note);
        }
    }

    /// What was sent to components since the last time, in order.
    pub fn sent_out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent_out)
    }

    /// Gives the user's session an iq and returns what that session gets.
    pub fn ask(&mut self, from: AccountId, iq: &str) -> String {
        self.ask_by(from, SESSION, iq)
    }

    /// The same of any session.
    pub fn ask_by(&mut self, from: AccountId, session: SessionId, iq: &str) -> String {
        self.log.clear();
        let mut nodes = Nodes::new();
        let iq = nodes.parse(iq.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("a stanza");
        let mut rows = None;
        let (mut got, mut sent) = (Vec::new(), Vec::new());
        loop {
            let (progress, effects) =
                self.effects(from, |account, turn| account.stanza(session, iq, rows.take(), turn));
            self.perform(from, effects, from, &mut got, &mut sent);
            match progress.expect("no extension ends the stream here") {
                Progress::Done => break,
                Progress::Needs(reads) => rows = Some(self.read(&reads)),
            }
        }
        self.settle(from, &mut got, sent);
        got.concat()
    }

    /// Gives everybody what they are sent, and what they are sent for it.
    fn settle(&mut self, asker: AccountId, got: &mut Vec<String>, mut sent: Vec<(AccountId, Note)>) {
        while !sent.is_empty() {
            let (to, note) = sent.remove(0);
            let site = self.site.clone();
            let plan = self.account(to).plan(&note, &site);
            let rows = self.read(&plan);
            let (done, effects) = self.effects(to, |account, turn| account.note(note, rows, turn));
            done.expect("rows that were just written");
            self.perform(to, effects, asker, got, &mut sent);
        }
    }

    /// Gives the user's session an iq whose questions nobody answers, and returns what that session gets.
    pub fn ask_in_vain(&mut self, from: AccountId, iq: &str) -> String {
        let mut nodes = Nodes::new();
        let iq = nodes.parse(iq.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("a stanza");
        let (progress, effects) = self.effects(from, |account, turn| account.stanza(SESSION, iq, None, turn));
        assert!(matches!(progress, Ok(Progress::Done)), "{progress:?}");
        let effects = effects.into_iter().filter(|effect| !matches!(effect, Effect::Ask(..))).collect();
        let mut got = Vec::new();
        self.perform(from, effects, from, &mut got, &mut Vec::new());
        got.concat()
    }

    /// A new user of the app.
    pub fn sign_up(&mut self, app: AppId, login: &str) {
        let credentials = Credentials::without_password([0; 16], ITERATIONS);
        let fields = vec![Field::Login(Some(login.to_owned()))];
        let mut sent = Vec::new();
        let answer = self.directory(app, directory::Command::Register { fields, credentials }, &mut sent);
        assert!(matches!(answer, directory::Answer::User(_)), "{answer:?}");
        self.settle(ADAM, &mut Vec::new(), sent);
    }

    fn directory(
        &mut self,
        app: AppId,
        command: directory::Command,
        sent: &mut Vec<(AccountId, Note)>,
    ) -> directory::Answer {
        let mut directory =
            Directory::load(app, self.read(&directory::load_reads(app))).expect("rows that were written");
        let mut rows = self.read(&directory::plan(app, &command));
        let (site, now) = (self.site.clone(), self.now);
        let mut out = Effects::new();
        let mut turn = Turn { now, site: &site, random: &mut Zeros, out: &mut out };
        let answer = directory.apply(&mut turn, command, &mut rows).expect("rows that were written");
        let effects = out.drain().collect();
        self.perform(ADAM, effects, ADAM, &mut Vec::new(), sent);
        answer
    }

    fn find_out(&mut self, of: AccountId, number: u64, question: Question, sent: &mut Vec<(AccountId, Note)>) {
        let answer = |answer| Learned::Answer(Box::new(answer));
        let learned = match question {
            Question::Rows(reads) => Learned::Rows(self.read(&reads)),
            Question::Credentials(password, salt) => {
                Learned::Credentials(Box::new(Credentials::new(&password, salt, ITERATIONS)))
            }
            Question::Online(app) => {
                let online = self.accounts.values().filter(|account| !account.sessions().is_empty());
                let users = online.map(Account::id).filter(|id| id.app == app).map(|id| id.user);
                answer(Answer::Online(users.collect()))
            }
            Question::Command(Owner::App(app), Command::Directory(command)) => {
                answer(Answer::Directory(self.directory(app, command, sent)))
            }
            Question::Command(Owner::Account(to), command) => {
                let reply = Some(ReplyTo { shard: 0, ticket: number });
                return sent.push((to, Note::Command { command, reply, job: None }));
            }
            Question::Command(owner, command) => panic!("{command:?} is not for {owner:?}"),
        };
        sent.push((of, Note::Learned(number, learned)));
    }

    /// Gives the user's session a stanza and returns what all sessions get, in order.
    pub fn say(&mut self, from: AccountId, stanza: &str) -> Vec<(AccountId, String)> {
        self.given.clear();
        self.ask(from, stanza);
        std::mem::take(&mut self.given)
    }

    /// Gives an account a note and returns what all sessions get, in order.
    pub fn tell(&mut self, to: AccountId, note: Note) -> Vec<(AccountId, String)> {
        self.given.clear();
        self.log.clear();
        self.turn(to, |account, turn| account.note(note, Rows::default(), turn)).expect("a note that needs no rows");
        std::mem::take(&mut self.given)
    }

    /// One user sees the other's presence.
    pub fn subscribe(&mut self, watcher: AccountId, watched: AccountId) {
        self.ask(watcher, &format!("<presence type='subscribe' to='{watched}@localhost'/>"));
        self.ask(watched, &format!("<presence type='subscribed' to='{watcher}@localhost'/>"));
    }

    /// The user is deleted.
    pub fn remove(&mut self, id: AccountId) {
        self.command(id, RecordCommand::Delete);
    }

    /// The user's password is changed.
    pub fn change_password(&mut self, id: AccountId) {
        let card = Card { version: 2, login: None, full_name: None, created_at: self.now.stamp };
        let secret = Some((u64::MAX, Credentials::without_password([1; 16], ITERATIONS)));
        self.command(id, RecordCommand::Revise { card, secret });
    }

    /// What the last question led to, in order.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// The files that were to be removed.
    pub fn removed(&self) -> &[FileId] {
        &self.removed
    }

    /// Rows that something else has written, as it did: `act` fills the effects.
    pub fn given(&mut self, act: impl FnOnce(&mut Turn<'_>)) {
        self.turn(ADAM, |_, turn| act(turn));
    }

    /// How many rows a table has.
    pub fn rows_in(&self, table: &str) -> usize {
        self.rows.keys().filter(|(name, _)| *name == table).count()
    }

    fn command(&mut self, id: AccountId, command: RecordCommand) {
        let command = Command::Account(AccountCommand::Record(command));
        let note = Note::Command { command, reply: None, job: None };
        let site = self.site.clone();
        let plan = self.account(id).plan(&note, &site);
        let rows = self.read(&plan);
        self.turn(id, |account, turn| account.note(note, rows, turn)).expect("rows that were just written");
    }

    fn turn<T>(&mut self, id: AccountId, act: impl FnOnce(&mut Account, &mut Turn<'_>) -> T) -> T {
        let (result, effects) = self.effects(id, act);
        let mut sent = Vec::new();
        self.perform(id, effects, id, &mut Vec::new(), &mut sent);
        self.settle(id, &mut Vec::new(), sent);
        result
    }

    /// The account, loaded when it is not in use.
    fn account(&mut self, id: AccountId) -> &mut Account {
        if !self.accounts.contains_key(&id) {
            let rows = self.read(&Account::load_reads(id));
            self.accounts.insert(id, Account::load(id, "localhost", rows).expect("rows that were just written"));
        }
        self.accounts.get_mut(&id).expect("it was just loaded")
    }

    fn effects<T>(&mut self, id: AccountId, act: impl FnOnce(&mut Account, &mut Turn<'_>) -> T) -> (T, Vec<Effect>) {
        let (site, now) = (self.site.clone(), self.now);
        let mut out = Effects::new();
        let result = act(self.account(id), &mut Turn { now, site: &site, random: &mut Zeros, out: &mut out });
        (result, out.drain().collect())
    }

    fn perform(
        &mut self,
        of: AccountId,
        effects: Vec<Effect>,
        asker: AccountId,
        got: &mut Vec<String>,
        sent: &mut Vec<(AccountId, Note)>,
    ) {
        for effect in effects {
            match effect {
                Effect::Write(batch) | Effect::WriteBehind(batch) => {
                    let mut tables: Vec<&str> = Vec::new();
                    for change in batch.0 {
                        tables.push(self.commit(change));
                    }
                    self.log.push(format!("write {}", tables.join(" ")));
                }
                Effect::Deliver(_, stanza) => {
                    self.log.push(format!("deliver {of}"));
                    let stanza = String::from_utf8(stanza.to_vec()).expect("stanzas are UTF-8");
                    self.given.push((of, stanza.clone()));
                    if of == asker {
                        got.push(stanza);
                    }
                }
                Effect::Entrust(to, message) => {
                    self.log.push(format!("entrust {of}"));
                    let stanza = String::from_utf8(message.stanza.to_vec()).expect("stanzas are UTF-8");
                    self.given.push((of, stanza));
                    self.entrusted.push((of, to, message));
                }
                Effect::WhenFlushed(_, note) if self.stalled => self.unflushed.push((of, note)),
                Effect::Link(word) => self.log.push(format!("link {word:?}")),
                Effect::WhenFlushed(_, note) => sent.push((of, note)),
                Effect::Send(Owner::Account(to), note) => sent.push((to, note)),
                Effect::Send(Owner::Component(_), Note::Stanza(Parcel { stanza, .. })) => {
                    self.log.push("send out".to_owned());
                    self.sent_out.push(String::from_utf8(stanza.to_vec()).expect("stanzas are UTF-8"));
                }
                Effect::Ask(number, question) => self.find_out(of, number, question, sent),
                // Whoever asks is the one whose stanza it began with.
                Effect::Answer(reply, answer) => {
                    sent.push((asker, Note::Learned(reply.ticket, Learned::Answer(Box::new(answer)))));
                }
                Effect::End(..) => self.log.push(format!("end {of}")),
                Effect::RemoveFiles(files) => self.removed.extend(files),
                // No iq that these tests are about leads to anything else.
                _ => {}
            }
        }
    }

    fn commit(&mut self, change: Change) -> &'static str {
        match change {
            Change::Put(table, key, value) => {
                self.rows.insert((table.name(), key), value);
                table.name()
            }
            Change::Delete(table, key) => {
                self.rows.remove(&(table.name(), key));
                table.name()
            }
            Change::DeleteRange(table, range) => {
                self.rows.retain(|(name, key), _| *name != table.name() || !range.contains(key));
                table.name()
            }
        }
    }

    pub fn read(&self, reads: &Reads) -> Rows {
        let found = reads.0.iter().map(|read| match read {
            Read::Get(table, key) => Found::Row(self.rows.get(&(table.name(), key.clone())).cloned()),
            Read::Scan { table, range, limit, backwards } => {
                let all = self.rows.iter().filter(|((name, key), _)| *name == table.name() && range.contains(key));
                let mut page: Vec<_> = all.map(|((_, key), value)| (key.clone(), value.clone())).collect();
                if *backwards {
                    page.reverse();
                }
                page.truncate(*limit);
                Found::Page(page)
            }
        });
        Rows::new(found.collect())
    }
}

/// The condition of a stanza error.
pub(super) fn condition(answer: &str) -> String {
    let mut nodes = Nodes::new();
    let stanza = nodes.parse(answer.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("a stanza");
    assert_eq!(stanza.attr("type").as_deref(), Some("error"), "{answer}");
    let error = stanza.child("error", crate::ns::CLIENT).expect("an error");
    error.first_child().expect("a condition").name().to_owned()
}
