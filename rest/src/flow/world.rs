//! A server without sockets for tests of the API: rows in a map, real directories, accounts and dialogs, a clock that the test
//! moves.
//!
//! Owners are reloaded from their rows for every command, so nothing that matters can hide in their memory. A world can be
//! told to crash at its n-th commit: everything after it is lost, and [`World::restart`] repeats the jobs that are left.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::account::{Account, Progress};
use proto::command::{Answer, Command};
use proto::dialog::Dialog;
use proto::effect::{Effect, Effects, JobRef, Note, Random, ReplyTo, Site, Turn};
use proto::ext::Uploads;
use proto::jid::user::{AppId, DialogId, UserId};
use proto::limits::Limits;
use proto::model::account::{self, LoginFacts, RecordCommand};
use proto::model::directory::{self, AppKeys, AppRecord, Directory, SERVER};
use proto::model::jobs::{self, JOBS};
use proto::model::profile::Field;
use proto::model::upload::{self as stored, FileId, Label, Slot, SlotKey, Upload};
use proto::model::{dialog, inbox};
use proto::owner::{AccountId, Owner};
use proto::row::{Batch, Change, Found, Key, Read, Reads, Rows};
use proto::sasl::credentials::{Credentials, ITERATIONS};
use proto::time::{Instant, Now, Timestamp};
use serde_json::Value;

use super::{Flow, Mail, Moment, Opened, Received, Step};
use crate::http::{Connection, Request, Response, Step as HttpStep};
use crate::route;
use crate::settings::{AdminToken, Settings};
use crate::upload;

pub(crate) const ADMIN_TOKEN: &str = "operator";

type RowKey = (&'static str, Vec<u8>);

/// All that outlives a restart, as it was at a moment.
#[derive(Clone, PartialEq)]
pub(crate) struct Stored {
    rows: BTreeMap<RowKey, Bytes>,
    files: BTreeMap<FileId, (Label, Vec<u8>)>,
    mails: usize,
    delivered: usize,
}

/// See the module.
pub(crate) struct World {
    rows: BTreeMap<RowKey, Bytes>,
    pub(crate) now: Timestamp,
    random: Sequence,
    site: Site,
    settings: Settings,
    pub(crate) mails: Vec<Mail>,
    sent: VecDeque<(Owner, Note)>,
    /// Stanzas for accounts, by user.
    pub(crate) delivered: Vec<(u64, String)>,
    /// Rows that were asked for, one by one and by range.
    pub(crate) gets: usize,
    /// Rows that came back from ranges.
    pub(crate) scanned: usize,
    /// Commits until the crash.
    commits_left: Option<usize>,
    /// Whether the crash happened; the world stands still until it restarts.
    pub(crate) crashed: bool,
    /// Steps of PBKDF2 work that were run, which tells how many passwords were looked at.
    pub(crate) computed: usize,
    /// What was uploaded.
    pub(crate) files: BTreeMap<FileId, (Label, Vec<u8>)>,
    /// What becomes of files from now on.
    pub(crate) files_fail: Option<Received>,
    /// The body of the upload in hand, or of the last file that was sent.
    pub(crate) body: Vec<u8>,
}

fn uploads() -> Arc<Uploads> {
    Arc::new(Uploads {
        domain: "upload.chat.example.com".into(),
        base: "https://api.example.com:8443/upload/".into(),
        file_bytes_max: 1 << 20,
        user_bytes_max: 1 << 30,
        day_bytes_max: 1 << 30,
        kept_for: None,
    })
}

/// Bytes that never repeat in one test.
struct Sequence(u64);

impl Random for Sequence {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64: well spread, and the same in every run.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = self.0;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) response: Response,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The value at a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.text)).clone()
    }

    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Reply {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }
}

impl World {
    /// A world with one app, number 1.
    pub(crate) fn new() -> World {
        let mut world = World {
            rows: BTreeMap::new(),
            now: Timestamp::from_secs(1_458_750_000),
            random: Sequence(1),
            site: Site { uploads: Some(uploads()), ..Site::of("chat.example.com") },
            settings: Settings {
                api_endpoint: "https://api.example.com:8443".to_owned(),
                chat_endpoint: "chat.example.com".to_owned(),
                turnserver_endpoint: "turn.example.com".to_owned(),
                s3_bucket_name: "files".to_owned(),
                admin_token: AdminToken::new(ADMIN_TOKEN.to_owned()),
            },
            mails: Vec::new(),
            sent: VecDeque::new(),
            delivered: Vec::new(),
            gets: 0,
            scanned: 0,
            commits_left: None,
            crashed: false,
            computed: 0,
            files: BTreeMap::new(),
            files_fail: None,
            body: Vec::new(),
        };
        world.create_app("first");
        world
    }

    pub(crate) fn create_app(&mut self, name: &str) -> AppRecord {
        let keys = AppKeys::draw(&mut self.random);
        let command = directory::Command::CreateApp { name: name.to_owned(), keys };
        match self.ask(Owner::App(SERVER), command.into()) {
            Some(Answer::Directory(directory::Answer::App(app))) => app,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn app(&mut self, id: u32) -> AppRecord {
        let row = self.read(&directory::apps::read(AppId(id))).row().expect("the app is there");
        AppRecord::read(&row).expect("as it was written")
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Sends a request and runs it to its answer. `None` when the world crashed on the way.
    pub(crate) fn try_call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Reply> {
        let request = request(method, target, headers, body);
        let step = self.step(|moment| route::start(request, moment));
        let response = self.run(step)?;
        self.settle();
        let text = String::from_utf8(response.body().to_vec()).expect("answers are text");
        Some(Reply { code: response.status().code(), text, response })
    }

    pub(crate) fn call(&mut self, method: &str, target: &str, token: &str, body: &str) -> Reply {
        let json = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        let mut headers = vec![("Content-Type", json)];
        if !token.is_empty() {
            headers.push(("QB-Token", token));
        }
        self.try_call(method, target, &headers, body).expect("no crash was asked for")
    }

    pub(crate) fn get(&mut self, target: &str, token: &str) -> Reply {
        self.call("GET", target, token, "")
    }

    /// The body of a request for a session: `extra` are further fields, as `name=value` without encoding.
    pub(crate) fn signed(&mut self, app: u32, extra: &[&str]) -> String {
        let app = self.app(app);
        let nonce = (self.random.0 >> 7) as i64;
        self.random.0 = self.random.0.wrapping_add(0x1_0001);
        self.signed_with(&app, nonce, self.now.secs() as i64, extra)
    }

    pub(crate) fn signed_with(&self, app: &AppRecord, nonce: i64, timestamp: i64, extra: &[&str]) -> String {
        use aws_lc_rs::hmac;
        let mut pairs = vec![
            format!("application_id={}", app.id),
            format!("auth_key={}", app.keys.auth_key),
            format!("nonce={nonce}"),
            format!("timestamp={timestamp}"),
        ];
        pairs.extend(extra.iter().map(|pair| (*pair).to_owned()));
        pairs.sort();
        let text = pairs.join("&");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, app.keys.auth_secret.as_bytes());
        let tag = hmac::sign(&key, text.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.push(format!("signature={hex}"));
        pairs.join("&").replace('@', "%40").replace(' ', "%20")
    }

    /// The token of a new application session.
    pub(crate) fn app_token(&mut self, app: u32) -> String {
        let body = self.signed(app, &[]);
        token_of(&self.call("POST", "/session.json", "", &body).expect(201))
    }

    /// Signs a user up whose password is `password-LOGIN`, and gives the number.
    pub(crate) fn sign_up(&mut self, app: u32, login: &str) -> u64 {
        let token = self.app_token(app);
        let body = format!("user[login]={login}&user[password]=password-{login}");
        let reply = self.call("POST", "/users.json", &token, &body).expect(201);
        reply.at("/user/id").as_u64().expect("a number")
    }

    /// The token of a new session of a user made by [`World::sign_up`].
    pub(crate) fn user_token(&mut self, app: u32, login: &str) -> String {
        self.token_with(app, login, &format!("password-{login}"))
    }

    /// The token of a new session of a user of app 1, by login and password.
    pub(crate) fn user_of(&mut self, login: &str, password: &str) -> String {
        self.token_with(1, login, password)
    }

    fn token_with(&mut self, app: u32, login: &str, password: &str) -> String {
        let extra = [format!("user[login]={login}"), format!("user[password]={password}")];
        let body = self.signed(app, &extra.each_ref().map(String::as_str));
        token_of(&self.call("POST", "/session.json", "", &body).expect(201))
    }

    /// Makes many users at once, without the hashing: numbers from 1, in an app that has none.
    pub(crate) fn add_members(&mut self, app: u32, count: u64) {
        let credentials = Credentials::without_password([0; 16], ITERATIONS);
        for number in 1..=count {
            let fields = vec![Field::Login(Some(format!("user{number}")))];
            let command = directory::Command::Register { fields, credentials: credentials.clone() };
            self.ask(Owner::App(AppId(app)), command.into());
        }
        self.settle();
    }

    /// The command by which the directory once told the account of its user.
    pub(crate) fn create_command(&mut self, app: u32, user: u64) -> RecordCommand {
        let id = AccountId { app: AppId(app), user: UserId(user) };
        let row = account::load(&mut self.read(&account::load_reads(id))).expect("as it was written").expect("a user");
        RecordCommand::Create { card: row.card, credentials: row.credentials }
    }

    /// Has an account apply a command out of the blue.
    pub(crate) fn deliver(&mut self, app: u32, user: u64, command: RecordCommand) {
        let id = AccountId { app: AppId(app), user: UserId(user) };
        self.ask(Owner::Account(id), command.into());
        self.settle();
    }

    /// Whether a password or token logs the user in over XMPP.
    pub(crate) fn logs_in(&mut self, app: u32, user: u64, secret: &str) -> bool {
        let Some(facts) = self.login_facts(app, user) else { return false };
        let digest = proto::sasl::credentials::TokenDigest::of(secret);
        let as_token = facts.tokens.iter().any(|token| token.digest().matches(&digest));
        as_token || facts.credentials.verify_password(secret)
    }

    pub(crate) fn login_facts(&mut self, app: u32, user: u64) -> Option<LoginFacts> {
        let id = AccountId { app: AppId(app), user: UserId(user) };
        let rows = self.read(&account::login_reads(id));
        account::login_facts(self.now, rows).expect("as it was written")
    }

    /// Whether these bytes stand in any row or key.
    pub(crate) fn has_stored(&self, bytes: &[u8]) -> bool {
        let within = |whole: &[u8]| whole.windows(bytes.len()).any(|window| window == bytes);
        self.rows.iter().any(|((_, key), row)| within(key) || within(row))
    }

    pub(crate) fn rows_of(&self, table: &str) -> usize {
        self.rows.keys().filter(|(name, _)| *name == table).count()
    }

    /// Everything that was kept, and how much was sent.
    pub(crate) fn stored(&self) -> Stored {
        let (mails, delivered) = (self.mails.len(), self.delivered.len());
        Stored { rows: self.rows.clone(), files: self.files.clone(), mails, delivered }
    }

    /// Goes back to a moment.
    pub(crate) fn restore(&mut self, stored: &Stored) {
        self.rows.clone_from(&stored.rows);
        self.files.clone_from(&stored.files);
        self.mails.truncate(stored.mails);
        self.delivered.truncate(stored.delivered);
    }

    /// Lets the n-th commit from now be the last that happens.
    pub(crate) fn crash_after(&mut self, commits: usize) {
        self.commits_left = Some(commits);
    }

    /// Starts again from the rows: jobs that were not confirmed go out once more.
    pub(crate) fn restart(&mut self) {
        self.commits_left = None;
        self.crashed = false;
        self.sent.clear();
        let kept: Vec<Bytes> =
            self.rows.iter().filter(|((table, _), _)| *table == JOBS.name()).map(|(_, row)| row.clone()).collect();
        for row in kept {
            let job = jobs::read(&row).expect("as it was written");
            let reference = Some(JobRef { from: job.from, id: job.id });
            self.sent.push_back((job.to, Note::Command { command: job.command, reply: None, job: reference }));
        }
        self.settle();
    }

    fn step(&mut self, next: impl FnOnce(&mut Moment<'_>) -> Step) -> Step {
        let mut moment = Moment {
            now: Now { instant: Instant::START, stamp: self.now },
            site: &self.site,
            settings: &self.settings,
            random: &mut self.random,
        };
        next(&mut moment)
    }

    fn run(&mut self, mut step: Step) -> Option<Response> {
        loop {
            step = match step {
                Step::Done(response) => return (!self.crashed).then_some(response),
                Step::Broken(unreadable) => panic!("{unreadable}"),
                Step::Read(reads, then) => {
                    let rows = self.read(&reads);
                    self.step(|moment| then(rows, moment))
                }
                Step::Ask(owner, command, then) => {
                    let answer = self.ask(owner, command)?;
                    self.step(|moment| then(answer, moment))
                }
                Step::Tell(owner, command, next) => {
                    self.sent.push_back((owner, Note::Command { command, reply: None, job: None }));
                    *next
                }
                Step::Compute(work, then) => {
                    self.computed += 1;
                    let worked = work.run();
                    self.step(|moment| then(worked, moment))
                }
                Step::Mail(mail, next) => {
                    self.mails.push(mail);
                    *next
                }
                Step::Receive(incoming, then) => {
                    let is_new = !self.files.contains_key(&incoming.file);
                    let received = match self.files_fail {
                        Some(failure) => failure,
                        None if is_new => Received::Kept,
                        None => Received::Used,
                    };
                    if received == Received::Kept {
                        self.files.insert(incoming.file, (incoming.label, self.body.clone()));
                    }
                    self.step(|moment| then(received, moment))
                }
                Step::Open(file, then) => {
                    let opened = match self.files.get(&file) {
                        Some((label, bytes)) => Opened::File(label.clone(), bytes.len() as u64),
                        None => Opened::Nothing,
                    };
                    self.body = self.files.get(&file).map(|(_, bytes)| bytes.clone()).unwrap_or_default();
                    self.step(|moment| then(opened, moment))
                }
                Step::Send(response, range) => {
                    self.body = self.body[range.start as usize..range.end as usize].to_vec();
                    return Some(response);
                }
                Step::Remove(files, next) => {
                    files.iter().for_each(|file| drop(self.files.remove(file)));
                    *next
                }
            };
        }
    }

    /// An upload: the head of the request alone decides, the body becomes the file.
    pub(crate) fn upload(&mut self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let head = request("PUT", target, headers, "");
        self.body = body.to_vec();
        let step = self.step(|moment| upload::put(&head, body.len() as u64, moment));
        let response = self.run(step).expect("no crash was asked for");
        let text = String::from_utf8(response.body().to_vec()).expect("answers are text");
        Reply { code: response.status().code(), text, response }
    }

    /// Carries out the rest of a call.
    pub(crate) fn carry_out(&mut self, flow: Flow) -> u16 {
        self.run(flow.into()).expect("no crash was asked for").status().code()
    }

    /// Gives a user a slot, as the chat side does, and tells where: the paths to put the file to and to get it from.
    pub(crate) fn slot(&mut self, user: u64, name: &str, bytes: u64, content_type: Option<&str>) -> (String, String) {
        let id = AccountId { app: AppId(1), user: UserId(user) };
        let until = Some(self.now.after(Duration::from_secs(86_400)));
        let (file, key) = (FileId::draw(&mut self.random, until), SlotKey::draw(&mut self.random));
        let begins_by = self.now.after(Duration::from_secs(600));
        let slot = Slot { key, begins_by, name: name.to_owned(), content_type: content_type.map(str::to_owned) };
        let mut batch = Batch::default();
        stored::put(id, file, &Upload { bytes, given: self.now, until, slot: Some(slot) }, &mut batch);
        self.commit(batch);
        let path = format!("/upload/{file}/{name}");
        (format!("{path}?{user}-1-{key}"), path)
    }

    /// Carries out what owners have sent one another.
    fn settle(&mut self) {
        while let Some((owner, note)) = self.sent.pop_front() {
            let (command, job) = match (owner, note) {
                (_, Note::Command { command, job, .. }) => (command, job),
                (Owner::Account(id), Note::Stanza(parcel)) => {
                    let stanza = String::from_utf8(parcel.stanza.to_vec()).expect("stanzas are text");
                    self.delivered.push((id.user.0, stanza));
                    continue;
                }
                (owner, note) => panic!("{note:?} is not for {owner:?}"),
            };
            if self.ask(owner, command).is_none() {
                return;
            }
            if let Some(job) = job {
                let mut batch = Batch::default();
                jobs::forget(&mut batch, &job.from, job.id);
                self.commit(batch);
            }
        }
    }

    /// Has an owner apply a command; `None` when the world crashed before the answer.
    fn ask(&mut self, owner: Owner, command: Command) -> Option<Answer> {
        if self.crashed {
            return None;
        }
        let mut out = Effects::new();
        let answer = match (owner, command) {
            (Owner::App(app), Command::Directory(command)) => {
                let mut state =
                    Directory::load(app, self.read(&directory::load_reads(app))).expect("as it was written");
                let mut rows = self.read(&directory::plan(app, &command));
                let answer = self.turn(&mut out, |turn| state.apply(turn, command, &mut rows));
                Answer::Directory(answer.expect("as it was written"))
            }
            (Owner::Account(id), Command::Account(account::Command::Record(command))) => {
                let mut row = account::load(&mut self.read(&account::load_reads(id))).expect("as it was written");
                let mut rows = self.read(&account::plan(id, &command));
                let answer = self.turn(&mut out, |turn| account::apply(id, command, &mut rows, &mut row, turn));
                Answer::Account(answer.expect("as it was written"))
            }
            (Owner::Account(id), Command::Account(account::Command::Inbox(command))) => {
                self.turn(&mut out, |turn| inbox::apply(id, command, true, turn));
                Answer::Account(account::Answer::Done)
            }
            (Owner::Account(id), command @ Command::Account(account::Command::Judge { .. })) => {
                self.ask_account(id, command, &mut out);
                Answer::Unavailable
            }
            (Owner::Account(id), Command::Account(account::Command::Upload(command))) => {
                let mut rows = self.read(&stored::plan(id, &command));
                let answer = self.turn(&mut out, |turn| stored::apply(id, &command, &mut rows, turn));
                Answer::Upload(answer.expect("as it was written"))
            }
            (Owner::Dialog(app, id), Command::Dialog(command)) => {
                self.ask_dialog(app, id, command, &mut out);
                Answer::Unavailable
            }
            other => panic!("{other:?} is for nobody"),
        };
        let mut answer = answer;
        let effects: Vec<Effect> = out.drain().collect();
        for effect in effects {
            match effect {
                Effect::Write(batch) | Effect::WriteBehind(batch) => self.commit(batch),
                // Another owner is to answer in its place.
                Effect::Send(to, Note::Command { command, reply: Some(_), .. }) => answer = self.ask(to, command)?,
                Effect::Send(to, note) if !self.crashed => self.sent.push_back((to, note)),
                Effect::Send(..) => {}
                Effect::Answer(_, from_dialog) => answer = from_dialog,
                other => panic!("{other:?} is not for the API"),
            }
        }
        (!self.crashed).then_some(answer)
    }

    fn ask_dialog(&mut self, app: AppId, id: DialogId, command: dialog::Command, out: &mut Effects) {
        let mut state = Dialog::load(app, id, self.read(&Dialog::load_reads(app, id))).expect("as it was written");
        let reply = Some(ReplyTo { shard: 0, ticket: 0 });
        let note = Note::Command { command: command.into(), reply, job: None };
        let mut progress = self.turn(out, |turn| state.note(note, turn));
        while let Progress::Needs(reads) = progress.expect("as it was written") {
            let rows = self.read(&reads);
            progress = self.turn(out, |turn| state.resume(rows, turn));
        }
    }

    fn ask_account(&mut self, id: AccountId, command: Command, out: &mut Effects) {
        let rows = self.read(&Account::load_reads(id));
        let mut state = Account::load(id, &self.site.domain, rows).expect("as it was written");
        let reply = Some(ReplyTo { shard: 0, ticket: 0 });
        let note = Note::Command { command, reply, job: None };
        self.turn(out, |turn| state.note(note, Rows::default(), turn)).expect("as it was written");
    }

    fn turn<T>(&mut self, out: &mut Effects, apply: impl FnOnce(&mut Turn<'_>) -> T) -> T {
        let now = Now { instant: Instant::START, stamp: self.now };
        apply(&mut Turn { now, site: &self.site, random: &mut self.random, out })
    }

    fn commit(&mut self, batch: Batch) {
        if self.crashed {
            return;
        }
        match &mut self.commits_left {
            Some(0) => {
                self.crashed = true;
                return;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        for change in batch.0 {
            match change {
                Change::Put(table, key, value) => {
                    self.rows.insert((table.name(), key.as_slice().to_vec()), value);
                }
                Change::Delete(table, key) => {
                    self.rows.remove(&(table.name(), key.as_slice().to_vec()));
                }
                Change::DeleteRange(table, range) => {
                    let (start, end) = (range.start.as_slice(), range.end.as_slice());
                    self.rows.retain(|(name, key), _| {
                        *name != table.name() || key.as_slice() < start || key.as_slice() >= end
                    });
                }
            }
        }
    }

    fn read(&mut self, reads: &Reads) -> Rows {
        self.gets += reads.0.iter().filter(|read| matches!(read, Read::Get(..))).count();
        let found = reads.0.iter().map(|read| match read {
            Read::Get(table, key) => Found::Row(self.rows.get(&(table.name(), key.as_slice().to_vec())).cloned()),
            Read::Scan { table, range, limit, backwards } => {
                let start = (table.name(), range.start.as_slice().to_vec());
                let end = (table.name(), range.end.as_slice().to_vec());
                let rows = self.rows.range((Bound::Included(start), Bound::Excluded(end)));
                let rows = rows.map(|((_, key), row)| (Key::from_bytes(key), row.clone()));
                Found::Page(if *backwards { rows.rev().take(*limit).collect() } else { rows.take(*limit).collect() })
            }
        });
        let found: Vec<Found> = found.collect();
        for found in &found {
            if let Found::Page(page) = found {
                self.scanned += page.len();
            }
        }
        Rows::new(found)
    }
}

pub(crate) fn token_of(reply: &Reply) -> String {
    reply.at("/session/token").as_str().expect("a text").to_owned()
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut connection = Connection::new(Instant::START);
    let mut out = Vec::new();
    match connection.feed(Instant::START, text.as_bytes(), &Limits::default(), &mut out) {
        HttpStep::Request(request) | HttpStep::Upload(request, _) => *request,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&out)),
    }
}
