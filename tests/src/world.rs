//! A whole server in memory: shards, a mesh, a disk, clocks, chance and connections, all in one thread and from one seed.
//!
//! The shards are the server's own ([`net::shard::Shard`]); what the executors, the store's threads and the sockets do around
//! them is done here, one [`Deed`] at a time. Without a seed the deeds happen in a fixed order and nothing fails. With one,
//! whatever may happen in any order does: rows arrive late, commits wait, letters between different pairs of shards overtake
//! one another, input is cut anywhere.
//!
//! What always holds, as in the server: letters of one pair of shards stay in order; the batches of one shard are committed and
//! answered in order; a crash keeps, of the batches that were not answered, the first few of each shard.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use net::files::Errand;
use net::shard::{Arrival, ConnId, Desk, Directive, Letter, Loads, Places, Port, Shard, Task, Terms, Ticket};
use proto::component;
use proto::effect::{Random, Site};
use proto::ext::{self, Uploads};
use proto::jid::Domain;
use proto::jid::user::{AppId, UserId};
use proto::limits::Limits;
use proto::link_local::{Link, Word};
use proto::model;
use proto::model::dialog::{self, Pairs};
use proto::model::directory::{self, AppKeys, SERVER};
use proto::model::jobs::{self, JOBS};
use proto::owner::{AccountId, Owner};
use proto::row::{Batch, Found, Key, Range, Reads, Rows, Table};
use proto::sasl::ChannelBindings;
use proto::time::{Instant, Now, Timestamp};
use rest::flow::Mail;
use rest::http::Response;
use rest::settings::Settings;
use store::{Backend, Memory, StoreError};

pub mod client;
pub mod users;

pub use client::{Client, Showing, Transport};
pub use users::{Answer, Call, User};

/// The chat domain of every world.
pub const DOMAIN: &str = "localhost";

/// The secret of every component: `echo` and the chat domain serves all apps, `mantua` the second one.
pub const SECRET: &str = "what components know";

/// Bytes that never repeat in one run, and choices.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number. SplitMix64: well spread, and the same in every run.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }
}

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// What a shard asked for and waits for.
enum Asked {
    Read(Ticket, Reads),
    Compute(Ticket, Task),
}

/// The world as one shard asks it.
pub struct WorldDesk {
    disk: Arc<Memory>,
    asked: Vec<Asked>,
    commits: VecDeque<(Ticket, Batch)>,
    dice: Dice,
    /// How often rows are not in memory, in a hundred.
    cold: u64,
    mails: Vec<Mail>,
}

impl Desk for WorldDesk {
    fn cached(&mut self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        if self.cold > 0 && self.dice.percent(self.cold) { None } else { self.disk.cached(reads) }
    }

    fn read(&mut self, ticket: Ticket, reads: Reads) {
        self.asked.push(Asked::Read(ticket, reads));
    }

    fn commit(&mut self, ticket: Ticket, batch: Batch) {
        self.commits.push_back((ticket, batch));
    }

    fn compute(&mut self, ticket: Ticket, task: Task) {
        self.asked.push(Asked::Compute(ticket, task));
    }

    fn mail(&mut self, mail: Mail) {
        self.mails.push(mail);
    }

    fn link(&mut self, _: Box<Word>) {}

    fn errand(&mut self, errand: Errand) {
        errand.run();
    }

    fn page(&mut self, _: &str) -> Option<Response> {
        None
    }

    fn random(&mut self) -> &mut dyn Random {
        &mut self.dice
    }

    fn is_congested(&self) -> bool {
        false
    }
}

/// One thing that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A shard's oldest batch reaches the disk.
    Commit(usize),
    /// A shard hears of its oldest batch that did.
    Committed(usize),
    /// A shard gets the rows it asked for, or the work it gave away is done.
    Serve(usize, usize),
    /// The oldest letter of a pair arrives.
    Letter(usize, usize),
    /// A connection's output goes out, and what is to be done with it is.
    Tend(usize),
    /// Bytes of a client arrive.
    Hear(usize),
}

/// One connection, seen from the middle.
pub(crate) struct Pipe {
    shard: usize,
    /// None once it is closed.
    conn: Option<ConnId>,
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    touched: bool,
    /// The client takes nothing at the moment, and the socket is full.
    stalled: bool,
}

/// A server and its clients. See the module.
pub struct World {
    shards: Vec<Shard<WorldDesk>>,
    disk: Arc<Memory>,
    places: Places,
    terms: Arc<Terms>,
    now: Now,
    /// None: everything in a fixed order.
    dice: Option<Dice>,
    /// What desks and clients draw from.
    chance: Dice,
    committed: Vec<VecDeque<(Ticket, Result<(), StoreError>)>>,
    mesh: Vec<VecDeque<Letter>>,
    pub(crate) pipes: Vec<Pipe>,
    /// Those of them that are not closed.
    open: BTreeSet<usize>,
    by_conn: HashMap<(usize, ConnId), usize>,
    pub(crate) clients: Vec<client::State>,
    keys: AppKeys,
    pub(crate) users: Vec<User>,
    held: bool,
    deeds: u64,
}

/// No test lets so much happen without something going round in circles.
const DEEDS_MAX: u64 = 50_000_000;

impl World {
    /// A server of so many shards with one app. Nothing is delayed and nothing fails.
    pub fn new(shards: u16) -> World {
        World::with(shards, None, Limits::default())
    }

    /// The same with dice that decide what happens next.
    pub fn seeded(shards: u16, seed: u64) -> World {
        World::with(shards, Some(Dice::new(seed)), Limits::default())
    }

    /// A server that goes on from the rows, the keys and the users of another one, which stays as it is.
    pub fn after_all_of(other: &World, seed: u64, limits: Limits) -> World {
        let mut world = World::bare(other.places, Some(Dice::new(seed)), limits, other.keys.clone());
        world.disk = Arc::new(other.disk.copy());
        world.now = other.now;
        world.users.clone_from(&other.users);
        world.start();
        world
    }

    /// New dice, so that what happens next does not depend on what has happened. Only for worlds that have some.
    pub fn reseed(&mut self, seed: u64) {
        self.dice = Some(Dice::new(seed));
    }

    /// A server with limits of its own.
    pub fn with(shards: u16, dice: Option<Dice>, limits: Limits) -> World {
        let mut chance = Dice::new(dice.as_ref().map_or(7, |dice| dice.0 ^ 0x5eed));
        let keys = AppKeys::draw(&mut chance);
        let mut world = World::bare(Places::new(shards), dice, limits, keys.clone());
        world.chance = chance;
        world.start();
        let command = directory::Command::CreateApp { name: "Verona".to_owned(), keys };
        world.command(Owner::App(SERVER), command.into());
        world
    }

    /// Nothing but an empty disk.
    fn bare(places: Places, dice: Option<Dice>, limits: Limits, keys: AppKeys) -> World {
        let count = usize::from(places.count());
        let chance = Dice::new(dice.as_ref().map_or(7, |dice| dice.0 ^ 0x5eed));
        World {
            shards: Vec::new(),
            disk: Arc::new(Memory::new(&tables())),
            places,
            terms: Arc::new(terms(limits)),
            now: Now { instant: Instant::from_micros(1_000_000), stamp: Timestamp::from_secs(1_458_752_442) },
            dice,
            chance,
            committed: (0..count).map(|_| VecDeque::new()).collect(),
            mesh: (0..count * count).map(|_| VecDeque::new()).collect(),
            pipes: Vec::new(),
            open: BTreeSet::new(),
            by_conn: HashMap::new(),
            clients: Vec::new(),
            keys,
            users: Vec::new(),
            held: false,
            deeds: 0,
        }
    }

    fn start(&mut self) {
        let cold = if self.dice.is_some() { 50 } else { 0 };
        self.shards = (0..self.places.count())
            .map(|me| {
                let desk = WorldDesk {
                    disk: Arc::clone(&self.disk),
                    asked: Vec::new(),
                    commits: VecDeque::new(),
                    dice: Dice::new(self.chance.number()),
                    cold,
                    mails: Vec::new(),
                };
                Shard::new(me, self.places, Arc::clone(&self.terms), desk)
            })
            .collect();
    }

    /// Makes another app on the same server, and gives its number and keys.
    pub fn create_app(&mut self, name: &str) -> (AppId, AppKeys) {
        let keys = AppKeys::draw(&mut self.chance);
        let command = directory::Command::CreateApp { name: name.to_owned(), keys: keys.clone() };
        self.command(Owner::App(SERVER), command.into());
        let apps = self.rows(&directory::apps::read_all()).page();
        let apps = apps.iter().map(|(_, row)| directory::AppRecord::read(row).expect("as it was written"));
        let app = apps.last().expect("it was just made");
        (app.id, keys)
    }

    /// The keys of the first app, number 1.
    pub fn keys(&self) -> &AppKeys {
        &self.keys
    }

    /// Has an owner do something, and lets all that follows happen.
    pub fn command(&mut self, owner: Owner, command: proto::command::Command) {
        let place = usize::from(self.places.of(&owner));
        let now = self.tick_of_clock();
        self.shards[place].command(now, owner, command);
        self.after(place);
        self.settle();
    }

    /// Rows as they are on disk.
    pub fn rows(&self, reads: &Reads) -> Rows {
        Rows::new(self.disk.read(reads).expect("the disk can be read"))
    }

    /// The rows of one table, all owners'.
    pub fn table(&self, table: &'static Table) -> Vec<(Key, bytes::Bytes)> {
        self.rows(&Reads::scan(table, everything(), usize::MAX)).page()
    }

    /// An account's state as it is on disk.
    pub fn account(&self, id: AccountId) -> proto::account::Account {
        let rows = self.rows(&proto::account::Account::load_reads(id));
        proto::account::Account::load(id, DOMAIN, rows).expect("as it was written")
    }

    /// What the ids of private dialogs are made with.
    pub fn pairs(&self) -> Pairs {
        self.terms.site.pairs.clone()
    }

    /// How many owners are in memory.
    pub fn owners(&self) -> usize {
        self.shards.iter().map(Shard::owners).sum()
    }

    /// How much lies in the queues of each shard.
    pub fn loads(&self) -> Vec<Loads> {
        self.shards.iter().map(Shard::loads).collect()
    }

    /// What happened so far.
    pub fn deeds(&self) -> u64 {
        self.deeds
    }

    /// The two clocks.
    pub fn now(&self) -> Now {
        self.now
    }

    fn tick_of_clock(&mut self) -> Now {
        self.now.instant = self.now.instant + Duration::from_micros(1);
        self.now
    }

    /// Lets time pass, second by second, with all that happens meanwhile.
    pub fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(1));
            left -= step;
            self.now.instant = self.now.instant + step;
            self.now.stamp = self.now.stamp.after(step);
            for shard in 0..self.shards.len() {
                let now = self.tick_of_clock();
                self.shards[shard].tick(now);
                self.after(shard);
            }
            self.settle();
        }
    }

    /// Sets the calendar clock, back if need be.
    pub fn set_calendar(&mut self, stamp: Timestamp) {
        self.now.stamp = stamp;
    }

    /// From now on commits wait; [`World::release_commits`] ends that.
    pub fn hold_commits(&mut self) {
        self.held = true;
    }

    /// Commits go on.
    pub fn release_commits(&mut self) {
        self.held = false;
        self.settle();
    }

    /// Every write from now on fails, until the next [`World::crash`].
    pub fn break_disk(&mut self) {
        let error = StoreError::DiskFull { path: "memory".to_owned(), cause: "a test says so".to_owned() };
        self.disk.fail_commits(usize::MAX, error);
    }

    /// The server ends all streams, as it does when it is asked to stop.
    pub fn stop(&mut self) {
        for place in 0..self.shards.len() {
            let now = self.tick_of_clock();
            self.shards[place].shut_down(now);
            self.after(place);
        }
        self.settle();
    }

    /// The server is killed and starts again. Of the batches that nobody was told of, each shard's first ones may have reached
    /// the disk.
    pub fn crash(&mut self) {
        for shard in 0..self.shards.len() {
            let waiting = self.shards[shard].desk().commits.len();
            let lucky = self.dice.as_mut().map_or(0, |dice| dice.below(waiting + 1));
            for _ in 0..lucky {
                self.do_commit(shard);
            }
        }
        self.disk = Arc::new(self.disk.crash(0));
        self.held = false;
        for pipe in &mut self.pipes {
            pipe.conn = None;
        }
        self.open.clear();
        self.by_conn.clear();
        self.committed.iter_mut().for_each(VecDeque::clear);
        self.mesh.iter_mut().for_each(VecDeque::clear);
        self.start();
        for (_, row) in self.table(&JOBS) {
            let job = jobs::read(&row).expect("as it was written");
            let place = usize::from(self.places.of(&job.from));
            let now = self.tick_of_clock();
            self.shards[place].repeat_job(now, job);
            self.after(place);
        }
        // Dialogs whose members' lists may be behind say again where they stand.
        for (key, _) in self.table(&dialog::DIRTY) {
            let owner = dialog::owner_of(&key).expect("as it was written");
            let place = usize::from(self.places.of(&owner));
            let now = self.tick_of_clock();
            self.shards[place].command(now, owner, dialog::Command::Announce.into());
            self.after(place);
        }
    }

    /// Whatever waits to be written to clients that read is written.
    pub fn flush(&mut self) {
        while let Some(pipe) = self.open.iter().copied().find(|&pipe| self.pipes[pipe].touched) {
            self.perform(Deed::Tend(pipe));
        }
    }

    /// Opens a connection to a shard.
    pub(crate) fn open(&mut self, port: Port, secured: bool) -> usize {
        let shard = self.pipes.len() % self.shards.len();
        let secured = secured.then_some(ChannelBindings::NONE);
        let arrival = Arrival { port, peer: IpAddr::V4(Ipv4Addr::LOCALHOST), secured };
        let now = self.tick_of_clock();
        let conn = self.shards[shard].open(now, arrival);
        let (to_server, to_client) = (Vec::new(), Vec::new());
        let pipe = Pipe { shard, conn: Some(conn), to_server, to_client, touched: true, stalled: false };
        self.pipes.push(pipe);
        self.open.insert(self.pipes.len() - 1);
        self.by_conn.insert((shard, conn), self.pipes.len() - 1);
        self.after(shard);
        self.pipes.len() - 1
    }

    pub(crate) fn is_open(&self, pipe: usize) -> bool {
        self.pipes[pipe].conn.is_some()
    }

    /// The network between breaks: nothing more passes, and the server hears of it.
    pub(crate) fn cut(&mut self, pipe: usize) {
        let shard = self.pipes[pipe].shard;
        self.pipes[pipe].to_server.clear();
        if let Some(conn) = self.pipes[pipe].conn.take() {
            self.open.remove(&pipe);
            self.by_conn.remove(&(shard, conn));
            let now = self.tick_of_clock();
            self.shards[shard].closed(now, conn);
            self.after(shard);
        }
    }

    /// Whether the client takes what it is sent.
    pub(crate) fn stall(&mut self, pipe: usize, stalled: bool) {
        self.pipes[pipe].stalled = stalled;
        self.pipes[pipe].touched = true;
    }

    /// Takes from a shard what it has for others.
    fn after(&mut self, shard: usize) {
        let count = self.shards.len();
        let mut touched = Vec::new();
        self.shards[shard].take_touched(|conn| touched.push(conn));
        for conn in touched {
            if let Some(&pipe) = self.by_conn.get(&(shard, conn)) {
                self.pipes[pipe].touched = true;
            }
        }
        let mesh = &mut self.mesh;
        self.shards[shard].take_letters(|to, letters| mesh[shard * count + usize::from(to)].extend(letters));
    }

    /// Everything that can happen next.
    fn possible(&mut self) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let count = self.shards.len();
        for shard in 0..count {
            let desk = self.shards[shard].desk();
            if !desk.commits.is_empty() && !self.held {
                deeds.push(Deed::Commit(shard));
            }
            deeds.extend((0..desk.asked.len()).map(|at| Deed::Serve(shard, at)));
            if !self.committed[shard].is_empty() {
                deeds.push(Deed::Committed(shard));
            }
        }
        let waiting = self.mesh.iter().enumerate().filter(|(_, letters)| !letters.is_empty());
        deeds.extend(waiting.map(|(pair, _)| Deed::Letter(pair / count, pair % count)));
        for &at in &self.open {
            let pipe = &self.pipes[at];
            let Some(conn) = pipe.conn else { continue };
            if pipe.touched {
                deeds.push(Deed::Tend(at));
            }
            if !pipe.to_server.is_empty() && self.shards[pipe.shard].wants_input(conn) {
                deeds.push(Deed::Hear(at));
            }
        }
        deeds
    }

    /// Lets one thing happen; false when nothing can.
    pub fn step(&mut self) -> bool {
        let deeds = self.possible();
        let deed = match &mut self.dice {
            _ if deeds.is_empty() => return false,
            Some(dice) => deeds[dice.below(deeds.len())],
            None => deeds[0],
        };
        self.perform(deed);
        true
    }

    /// Lets everything happen that can.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    fn perform(&mut self, deed: Deed) {
        self.deeds += 1;
        assert!(self.deeds < DEEDS_MAX, "it never ends: {deed:?}");
        let now = self.tick_of_clock();
        match deed {
            Deed::Commit(shard) => self.do_commit(shard),
            Deed::Committed(shard) => {
                if let Some((ticket, result)) = self.committed[shard].pop_front() {
                    self.shards[shard].committed(now, ticket, result);
                    self.after(shard);
                }
            }
            Deed::Serve(shard, at) => {
                match self.shards[shard].desk().asked.remove(at) {
                    Asked::Read(ticket, reads) => {
                        let found = self.disk.read(&reads);
                        self.shards[shard].found(now, ticket, found);
                    }
                    Asked::Compute(ticket, task) => self.shards[shard].worked(now, ticket, Task::run(task)),
                }
                self.after(shard);
            }
            Deed::Letter(from, to) => {
                let count = self.shards.len();
                if let Some(letter) = self.mesh[from * count + to].pop_front() {
                    self.shards[to].letter(now, letter);
                    self.after(to);
                }
            }
            Deed::Tend(pipe) => self.tend(pipe),
            Deed::Hear(pipe) => self.hear(pipe),
        }
    }

    fn do_commit(&mut self, shard: usize) {
        if let Some((ticket, batch)) = self.shards[shard].desk().commits.pop_front() {
            let result = self.disk.commit(&[batch]);
            self.committed[shard].push_back((ticket, result));
        }
    }

    /// Some of a client's bytes arrive.
    fn hear(&mut self, at: usize) {
        let now = self.now;
        let pipe = &mut self.pipes[at];
        let Some(conn) = pipe.conn else { return };
        let whole = pipe.to_server.len();
        let part =
            self.dice.as_mut().map_or(whole, |dice| if dice.percent(20) { 1 + dice.below(whole) } else { whole });
        let bytes: Vec<u8> = pipe.to_server.drain(..part).collect();
        let shard = pipe.shard;
        self.shards[shard].received(now, conn, &bytes);
        self.after(shard);
    }

    /// What a driver does with a connection that the shard has touched.
    fn tend(&mut self, at: usize) {
        let now = self.now;
        let pipe = &mut self.pipes[at];
        pipe.touched = false;
        let Some(conn) = pipe.conn else { return };
        let shard = pipe.shard;
        if !pipe.stalled {
            let enough = self.dice.as_mut().map_or(usize::MAX, |dice| 1 + dice.below(4096));
            let mut out = Vec::new();
            self.shards[shard].output(now, conn, &mut out, enough);
            pipe.to_client.append(&mut out);
        }
        if self.shards[shard].has_output(conn) && !pipe.stalled {
            pipe.touched = true;
            return self.after(shard);
        }
        if self.shards[shard].is_behind(conn) {
            pipe.touched = true;
            self.shards[shard].go_on(now, conn);
            return self.after(shard);
        }
        match self.shards[shard].directive(conn) {
            None => {}
            // The socket is full: it has to wait, but for an end.
            Some(Directive::StartTls | Directive::Move(_)) if pipe.stalled => {}
            Some(Directive::StartTls) => {
                self.shards[shard].secured(now, conn, ChannelBindings::NONE);
            }
            Some(Directive::Move(place)) => {
                let baggage = self.shards[shard].leave(conn).expect("it is here");
                self.by_conn.remove(&(shard, conn));
                let place = usize::from(place);
                let conn = self.shards[place].adopt(now, baggage);
                self.by_conn.insert((place, conn), at);
                let pipe = &mut self.pipes[at];
                (pipe.shard, pipe.conn, pipe.touched) = (place, Some(conn), true);
                self.after(place);
            }
            Some(Directive::Close) => {
                pipe.conn = None;
                pipe.to_server.clear();
                self.open.remove(&at);
                self.by_conn.remove(&(shard, conn));
                self.shards[shard].closed(now, conn);
            }
        }
        self.after(shard);
    }
}

/// Every table of the server.
fn tables() -> Vec<&'static Table> {
    model::TABLES.iter().copied().chain(ext::tables()).collect()
}

fn everything() -> Range {
    Range { start: Key::default(), end: Key::default().bytes(&[0xff; 64]) }
}

fn terms(limits: Limits) -> Terms {
    let uploads = Uploads {
        domain: format!("upload.{DOMAIN}").into(),
        base: format!("https://{DOMAIN}:8443/upload/").into(),
        file_bytes_max: 1_000,
        user_bytes_max: 2_000,
        day_bytes_max: 2_000,
        kept_for: None,
    };
    let components = [("echo", None), ("mantua", Some(&[AppId(2)][..]))];
    let components = components.map(|(name, apps)| component::Settings::new(&format!("{name}.{DOMAIN}"), SECRET, apps));
    let uploads = Some(Arc::new(uploads));
    // The first user of the first app administers it.
    let admins = Arc::new([AccountId { app: AppId(1), user: UserId(1) }]);
    let link = Some(Arc::new(Link { domain: format!("link.{DOMAIN}").into(), apps: Vec::new() }));
    let site = Site { limits, uploads, admins, components: components.into(), link, ..Site::of(DOMAIN) };
    Terms {
        features: ext::stream_features(&site),
        site,
        settings: Settings {
            api_endpoint: format!("https://{DOMAIN}:8443"),
            chat_endpoint: DOMAIN.to_owned(),
            turnserver_endpoint: format!("turn.{DOMAIN}"),
            s3_bucket_name: "files".to_owned(),
            admin_token: None,
        },
        domain: Domain::parse(DOMAIN).expect("a domain"),
        tls_required: true,
        files: None,
        decoy_secret: [7; 32],
    }
}

/// The account of a user.
pub fn account_of(user: &User) -> AccountId {
    AccountId { app: user.app, user: UserId(user.id) }
}

/// The account of a user of the first app.
pub fn account_id(user: u64) -> AccountId {
    AccountId { app: AppId(1), user: UserId(user) }
}
