//! The loop of `mixed`: who does what next, and when it is done.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::Instant;

use super::mix::{KINDS, Kind, Mix};
use crate::client::framer;
use crate::client::{Answer, Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::ledger::Ledger;
use crate::report::{Phase, Progress};
use crate::scenario::muc::rooms::Rooms;
use crate::scenario::rest::Apps;
use crate::scenario::rest::calls::Pace;
use crate::scenario::rest::lines::Lines;
use crate::scenario::stages::{Passed, Stages};
use crate::scenario::{Bench, Letter, RunError, answer, is_answer_to};

/// Everything that is there when the day begins. User `u` is account `u`, and `u ^ 1` is his contact.
pub struct Scene<'a> {
    pub rooms: &'a Rooms,
    pub connections: &'a [ConnId],
    pub apps: &'a Apps,
    /// By pair.
    pub dialogs: &'a [String],
    /// Bytes of a message's text.
    pub size: usize,
}

const ROSTER_ID: &str = "roster";
const ARCHIVE_ID: &str = "archive";
/// Messages to a page of the archive.
const ARCHIVE_PAGE: usize = 20;

/// Lets them live. Gives the measured stretch, then a part of it for each kind, and sentences about what went wrong.
pub fn live(
    bench: &mut Bench,
    scene: &Scene<'_>,
    mix: Mix,
    pace: &Pace,
) -> Result<(Vec<Phase>, Vec<String>), RunError> {
    let users = scene.connections.len();
    let accounts = bench.engine.accounts();
    let now = Instant::now();
    let to_contact = |save| (0..users).map(|user| Letter::new(&accounts[user ^ 1].jid(), scene.size, save)).collect();
    let mut day = Day {
        scene,
        mix,
        letters: [
            to_contact(false),
            to_contact(true),
            scene.rooms.jids().iter().map(|jid| Letter::to_room(jid, scene.size, true)).collect(),
        ],
        full_jids: accounts
            .iter()
            .take(users)
            .enumerate()
            .map(|(user, a)| format!("{}/bench-{user}", a.jid()))
            .collect(),
        books: [Ledger::new(users), Ledger::new(users), Ledger::with_readers(users, scene.rooms.members())],
        asked: std::array::from_fn(|_| vec![VecDeque::new(); users]),
        lines: Lines::new(&scene.apps.lines),
        latencies: Default::default(),
        schedule: pace.rate.map(|rate| Schedule::new(now, rate)),
        turn: 0,
        stages: Stages::new(&bench.server, "mixed", "thing", &pace.span, now),
        begun: 0,
        done: 0,
        statuses: 0,
        measured: None,
        refused: None,
        refusals: 0,
        closed: None,
        fatal: None,
        progress: &mut bench.progress,
    };
    if day.schedule.is_none() {
        (0..users).for_each(|user| day.act(&mut bench.engine, user, now));
    }
    let outcome = bench.engine.run(&mut day, bench.deadline)?;
    if let Some(e) = day.fatal {
        return Err(e.into());
    }
    let mut failures: Vec<String> = day.books.iter().flat_map(Ledger::failures).collect();
    failures.extend(day.refused.map(|first| format!("{} things were refused, the first: {first}", day.refusals)));
    let unanswered = day.begun - day.done;
    if unanswered > 0 {
        failures.push(format!("{unanswered} things were neither answered nor arrived"));
    }
    match (day.closed, day.measured, outcome) {
        (Some(why), _, _) => Err(RunError::Talk(why)),
        (None, Some(phases), Outcome::Finished) => Ok((phases, failures)),
        _ => Err(RunError::TimedOut("users live")),
    }
}

struct Day<'a> {
    scene: &'a Scene<'a>,
    mix: Mix,
    /// To the contact, by user; the same to be kept; to rooms.
    letters: [Vec<Letter>; 3],
    /// By user.
    full_jids: Vec<String>,
    /// Of the same three kinds, with the user as the flow.
    books: [Ledger; 3],
    /// When changes of presence, rosters and archives were due that have not come, by user.
    asked: [Vec<VecDeque<Instant>>; 3],
    lines: Lines<Kind>,
    /// Of what has no book.
    latencies: [Latencies; KINDS],
    schedule: Option<Schedule>,
    /// The user whose turn it is in the open loop.
    turn: usize,
    stages: Stages<'a>,
    begun: u64,
    done: u64,
    statuses: u64,
    measured: Option<Vec<Phase>>,
    refused: Option<String>,
    refusals: u64,
    closed: Option<String>,
    fatal: Option<io::Error>,
    progress: &'a mut Progress,
}

impl Day<'_> {
    /// The user does whatever is next.
    fn act(&mut self, engine: &mut Engine, user: usize, due: Instant) {
        let kind = self.mix.next();
        let id = self.scene.connections[user];
        self.begun += 1;
        match kind {
            Kind::Chat | Kind::Saved => self.write(engine, kind as usize, user, user, due),
            Kind::Room => self.write(engine, kind as usize, user, user / self.scene.rooms.members(), due),
            Kind::Presence => {
                self.statuses += 1;
                self.asked[0][user].push_back(due);
                let presence = format!("<presence><status>Busy {}</status></presence>", self.statuses);
                engine.out(id).extend_from_slice(presence.as_bytes());
            }
            Kind::Roster => {
                self.asked[1][user].push_back(due);
                let iq = format!("<iq type='get' id='{ROSTER_ID}'><query xmlns='jabber:iq:roster'/></iq>");
                engine.out(id).extend_from_slice(iq.as_bytes());
            }
            Kind::Archive => {
                self.asked[2][user].push_back(due);
                let iq = format!(
                    "<iq type='set' id='{ARCHIVE_ID}'><query xmlns='urn:xmpp:mam:2'>\
                     <set xmlns='http://jabber.org/protocol/rsm'><max>{ARCHIVE_PAGE}</max><before/></set></query></iq>"
                );
                engine.out(id).extend_from_slice(iq.as_bytes());
            }
            Kind::Dialogs | Kind::Messages => {
                let scene = self.scene;
                self.lines.ask(engine, user, due, kind, |kind| request(scene, user, kind));
            }
        }
    }

    fn write(&mut self, engine: &mut Engine, book: usize, user: usize, letter: usize, due: Instant) {
        let id = self.books[book].send(user, due);
        self.letters[book][letter].write(&id, engine.out(self.scene.connections[user]));
    }

    /// Something that the user began is done.
    fn done(&mut self, engine: &mut Engine, user: usize, now: Instant) {
        self.done += 1;
        if self.schedule.is_none() && !self.stages.drains() {
            self.act(engine, user, now);
        }
    }

    /// The oldest of what a user has asked for has come.
    fn came(&mut self, engine: &mut Engine, kind: Kind, user: usize, now: Instant) {
        let Some(due) = self.asked[kind as usize - Kind::Presence as usize][user].pop_front() else { return };
        self.latencies[kind as usize].record(now.saturating_duration_since(due));
        self.done(engine, user, now);
    }

    fn refuse(&mut self, what: impl FnOnce() -> String) {
        self.refusals += 1;
        self.refused.get_or_insert_with(what);
    }

    fn message(&mut self, engine: &mut Engine, user: usize, stanza: &[u8], now: Instant) {
        let kind = framer::attribute(stanza, b"type");
        if kind == Some(b"error") {
            return self.refuse(|| String::from_utf8_lossy(stanza).into_owned());
        }
        let holds = |text: &[u8]| memchr::memmem::find(stanza, text).is_some();
        // Pages of archives, subjects of rooms, marks of who has read what.
        if holds(b"urn:xmpp:mam:2") || !holds(b"<body") {
            return;
        }
        let id = framer::attribute(stanza, b"id");
        if kind == Some(b"groupchat") {
            let Some((_, reader)) = self.scene.rooms.place(stanza, user) else { return self.books[2].strays += 1 };
            if self.books[2].receive_at(reader, id, now) == Some(user) {
                self.done(engine, user, now);
            }
            return;
        }
        let book = usize::from(!id.is_some_and(|id| self.books[0].has(id)));
        match self.books[book].receive(id, now) {
            Some(flow) if flow == user ^ 1 => self.done(engine, flow, now),
            Some(_) => self.books[book].strays += 1,
            None => {}
        }
    }

    /// Goes to the next stage when its time has come; true at the end of the last.
    fn advance(&mut self, now: Instant) -> io::Result<bool> {
        match self.stages.advance(now, self.done)? {
            Passed::Nothing => {}
            Passed::Warmup => drop(self.take_latencies()),
            Passed::Measured(whole) => {
                let secs = whole.secs;
                let found = self.take_latencies();
                let parts = Kind::ALL.into_iter().zip(found).filter_map(|(kind, latencies)| {
                    Some(Phase::part(kind.name(), kind.operation(), secs, latencies.summary()?))
                });
                self.measured = Some(std::iter::once(*whole).chain(parts).collect());
                return Ok(false);
            }
            Passed::Drain => return Ok(true),
        }
        let is_done = self.done + self.refusals >= self.begun;
        Ok(self.stages.drains() && is_done && self.books.iter().map(Ledger::missing).sum::<u64>() == 0)
    }

    /// What was gathered up to now, by kind.
    fn take_latencies(&mut self) -> [Latencies; KINDS] {
        let mut found = mem::take(&mut self.latencies);
        for (book, latencies) in self.books.iter_mut().zip(&mut found) {
            *latencies = mem::take(&mut book.latencies);
        }
        found
    }
}

/// The bytes of a call.
fn request(scene: &Scene<'_>, user: usize, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Messages => {
            let dialog = &scene.dialogs[user / 2];
            scene.apps.get(user, &format!("/chat/Message.json?chat_dialog_id={dialog}&limit=100&sort_desc=date_sent"))
        }
        _ => scene.apps.get(user, "/chat/Dialog.json?limit=100"),
    }
}

impl Handler for Day<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let (user, now) = (engine.account_of(id), Instant::now());
        match framer::name(stanza) {
            b"message" => self.message(engine, user, stanza, now),
            b"presence" => {
                let from = framer::attribute(stanza, b"from");
                if from == Some(self.full_jids[user].as_bytes()) && framer::attribute(stanza, b"type").is_none() {
                    self.came(engine, Kind::Presence, user, now);
                }
            }
            _ if is_answer_to(stanza, ROSTER_ID) => self.came(engine, Kind::Roster, user, now),
            _ if is_answer_to(stanza, ARCHIVE_ID) => {
                if framer::attribute(stanza, b"type") == Some(b"error") {
                    self.refuse(|| String::from_utf8_lossy(stanza).into_owned());
                }
                self.came(engine, Kind::Archive, user, now);
            }
            _ => answer(engine, id, stanza),
        }
    }

    fn answer(&mut self, engine: &mut Engine, id: ConnId, answer: Answer<'_>) {
        let (scene, now) = (self.scene, Instant::now());
        let answered = self.lines.answered(engine, id, |line, kind| request(scene, line, kind));
        let Some((user, due, kind)) = answered else { return };
        if answer.status != 200 {
            self.refuse(|| format!("{} {}", answer.status, String::from_utf8_lossy(answer.body)));
        }
        self.latencies[kind as usize].record(now.saturating_duration_since(due));
        self.done(engine, user, now);
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.closed.get_or_insert_with(|| why.to_string());
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        if self.closed.is_some() {
            return Next::Done;
        }
        match self.advance(now) {
            Ok(false) => {}
            Ok(true) => return Next::Done,
            Err(e) => {
                self.fatal = Some(e);
                return Next::Done;
            }
        }
        let (begun, done) = (self.begun, self.done);
        self.progress.show(now, || format!("{begun} things begun, {done} done"));
        if self.stages.drains() {
            return Next::Wait;
        }
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            let user = self.turn;
            self.turn = (user + 1) % self.scene.connections.len();
            self.act(engine, user, due);
        }
        self.schedule.as_ref().map_or(Next::Wait, |schedule| Next::At(schedule.due()))
    }
}
