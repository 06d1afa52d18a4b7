//! Random histories: clients that come, talk, fall silent and are cut off, against a server whose parts work in random order.
//!
//! The model knows little, and that little for certain: what was acknowledged arrives, a session sees nothing twice, messages of
//! one session to another stay in order while nothing breaks, every iq and every call has one answer, and when all is quiet the
//! rosters of any two users agree, and each sees those who show themselves. Dialogs hold what was to be kept in them, each message
//! once and in the order in which everybody heard it; nobody hears what is said in a group but its members, nor anything from one who
//! was blocked before, nor from another app; the API, the archives and the counters say the same. Sessions go on over other
//! connections (XEP-0198): then nothing is missing, in neither direction. Queues are bounded, and empty in the end.
//!
//! | | |
//! |---|---|
//! | `act` | what can be done, one thing at a time: a history is a list of these |
//! | `author` | which of it is done next |
//! | `perform`, `contacts`, `rooms`, `dialogs`, `calls` | doing it: by clients, among contacts, in rooms of groups, over the API |
//! | `actor` | a client, and what it makes of what it hears |
//! | `gate` | what is known of something that is being changed |
//! | `finish`, `audit` | what must be so when all is quiet: in accounts, in dialogs |
//! | `report` | histories of many seeds, counted |
//! | `shrink` | the shortest history found that fails as a long one does |
//!
//! A history is told by its acts alone. Each of them brings the seed of the chance that rules until the next one, and names clients,
//! messages and requests by numbers that it gives itself: so a history from which some acts were taken out is a history.

use std::collections::{BTreeMap, BTreeSet};

use proto::limits::{Limits, READ_BUFFER_BYTES};
use proto::model::directory::AppKeys;

use crate::world::{Dice, User, World};

mod act;
mod actor;
mod audit;
mod author;
mod calls;
mod contacts;
mod dialogs;
mod finish;
mod gate;
mod perform;
mod report;
mod rooms;
mod shrink;

pub use act::{Act, Step};
pub use dialogs::{Mark, Place};
pub use report::{Counts, Failure, run_many, run_one};

use actor::Actor;
use calls::Pending;
use contacts::Blocking;
use dialogs::{Group, Marks};
use gate::Gate;
use perform::Sent;
use rooms::Marker;

/// What goes wrong in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Nothing: clients leave in good order, when nothing is under way.
    Calm,
    /// Connections break at any moment, stall, and lose their resource to others.
    Cuts,
    /// The server is killed, and before that its disk may break.
    Crashes,
    /// All of these. What was on its way to a client that did not read is lost with the server, unless it was to be kept.
    Both,
}

impl Faults {
    /// All kinds of histories.
    pub const ALL: [Faults; 4] = [Faults::Calm, Faults::Cuts, Faults::Crashes, Faults::Both];

    fn cuts(self) -> bool {
        matches!(self, Faults::Cuts | Faults::Both)
    }

    fn crashes(self) -> bool {
        matches!(self, Faults::Crashes | Faults::Both)
    }
}

/// Histories of each kind in a normal run.
pub const SEEDS: u64 = 150;
/// What is done in one history.
pub const ACTS: usize = 200;

/// Everybody; the last two are of another app, in which their numbers are those of the first two here.
const NAMES: [&str; 7] = ["romeo", "juliet", "mercutio", "nurse", "benvolio", "pyramus", "thisbe"];
const OF_FIRST_APP: usize = 5;
const RESOURCES: [&str; 3] = ["a", "b", "c"];

/// One history while it goes on.
struct Sim {
    world: World,
    seed: u64,
    faults: Faults,
    users: Vec<User>,
    /// Decides on what is done next.
    author: Dice,
    /// Decides on how clients react.
    luck: Dice,
    actors: BTreeMap<usize, Actor>,
    sent: BTreeMap<usize, Sent>,
    arrived: BTreeSet<usize>,
    groups: BTreeMap<usize, Group>,
    /// Of a user and a message: whether it has arrived, and was read.
    read_marks: BTreeMap<(usize, usize), Marks>,
    /// Of a user and a message: whether the one has put the other out of sight.
    hidden: BTreeMap<(usize, usize), Gate>,
    markers: Vec<Marker>,
    /// Of a user and a contact: whether the one shows the other that he is here.
    shown: Vec<Vec<Gate>>,
    /// Of a user and a contact: whether what the other sends comes to the one.
    passes: Vec<Vec<Gate>>,
    blockings: BTreeMap<usize, Blocking>,
    /// Who has asked whom to be shown that he is here.
    requests: Vec<(usize, usize)>,
    /// Whose presence has this number, and when it was sent.
    presences: BTreeMap<usize, (usize, u64)>,
    calls: BTreeMap<usize, Pending>,
    /// Everybody's session with the API.
    tokens: Vec<String>,
    /// What came of the last question to an archive.
    archived: Vec<usize>,
    audits: usize,
    /// Numbers that were given so far: of clients, of messages, of requests, of groups.
    named: [usize; 4],
    /// How much of what goes on is talk, groups and their rooms, contacts.
    themes: [usize; 3],
    /// Whether anybody blocks anybody.
    blocks: bool,
    outbox_bytes_max: usize,
    /// The calendar was set.
    jumped: bool,
    /// Nothing can be written at the moment.
    broken: bool,
    counts: Counts,
    /// Goes on with every act, and once more when everybody looks at what came of it.
    clock: u64,
    aloud: bool,
}

/// What may wait for a client in some histories.
const OUTBOX_BYTES_MAX: usize = 400 * 1024;
/// How much is in some messages there besides the text: a few of them are more than a client may leave waiting.
const PADDING_BYTES: usize = 40 * 1024;
/// What is handed to a client at once may be more.
const OUTBOX_SLACK_BYTES: usize = 64 * 1024;
/// Inputs that wait for one owner, in histories like these.
const INPUTS_MAX: usize = 300;

/// Where every history begins: the users have signed up.
struct Verona {
    world: World,
    /// The keys of each user's app.
    keys: Vec<AppKeys>,
}

thread_local! {
    static VERONA: Verona = Verona::found();
}

impl Verona {
    fn found() -> Verona {
        let mut world = World::seeded(3, 0);
        let (app, other) = world.create_app("Babylon");
        let first = world.keys().clone();
        for name in &NAMES[..OF_FIRST_APP] {
            world.user(name);
        }
        for name in &NAMES[OF_FIRST_APP..] {
            world.sign_up(name, app, &other);
        }
        let keys = (0..NAMES.len()).map(|at| if at < OF_FIRST_APP { first.clone() } else { other.clone() });
        let keys: Vec<AppKeys> = keys.collect();
        for (name, keys) in NAMES.iter().zip(&keys) {
            let token = world.session_of(name, keys);
            // Passwords take long to check, and a token is one.
            world.set_password(name, &token);
        }
        Verona { world, keys }
    }
}

impl Sim {
    /// Nothing has happened yet. `aloud` tells what does.
    fn new(seed: u64, faults: Faults, aloud: bool) -> Sim {
        // Some clients must not be slow.
        let outbox_bytes_max =
            if seed.is_multiple_of(4) { OUTBOX_BYTES_MAX } else { Limits::default().outbox_bytes_max };
        let limits = Limits { outbox_bytes_max, ..Limits::default() };
        let mut world = VERONA.with(|verona| World::after_all_of(&verona.world, seed, limits));
        let people = if seed.is_multiple_of(3) { NAMES.len() } else { OF_FIRST_APP };
        let users: Vec<User> = NAMES[..people].iter().map(|name| world.user(name)).collect();
        // Their passwords are tokens.
        let tokens = users.iter().map(|user| user.password.clone()).collect();
        let mut author = Dice::new(seed ^ 0x0ac7_0125);
        let mut themes = [(); 3].map(|()| [0, 1, 4][author.below(3)]);
        themes[author.below(3)] = 4;
        let blocks = author.percent(50);
        Sim {
            world,
            seed,
            faults,
            users,
            author,
            luck: Dice::new(seed),
            actors: BTreeMap::new(),
            sent: BTreeMap::new(),
            arrived: BTreeSet::new(),
            groups: BTreeMap::new(),
            read_marks: BTreeMap::new(),
            hidden: BTreeMap::new(),
            markers: Vec::new(),
            shown: vec![vec![Gate::new(false); people]; people],
            passes: vec![vec![Gate::new(true); people]; people],
            blockings: BTreeMap::new(),
            requests: Vec::new(),
            presences: BTreeMap::new(),
            calls: BTreeMap::new(),
            tokens,
            archived: Vec::new(),
            audits: 0,
            named: [0; 4],
            themes,
            blocks,
            outbox_bytes_max,
            jumped: false,
            broken: false,
            counts: Counts::default(),
            clock: 0,
            aloud,
        }
    }

    /// Writes a history of so many acts while it goes on; `steps` has it also when something breaks.
    fn write(mut self, acts: usize, steps: &mut Vec<Step>) -> Counts {
        for _ in 0..acts {
            let step = self.next_step();
            steps.push(step.clone());
            self.carry_out(&step);
        }
        self.finish()
    }

    /// A history that was written before.
    fn replay(mut self, steps: &[Step]) -> Counts {
        steps.iter().for_each(|step| self.carry_out(step));
        self.finish()
    }

    fn carry_out(&mut self, step: &Step) {
        self.counts.acts += 1;
        self.clock += 1;
        self.tell(|| format!("{step}"));
        self.world.reseed(step.chance);
        self.luck = Dice::new(step.chance ^ 0x10c4);
        self.perform(&step.act);
        for _ in 0..step.deeds {
            self.world.step();
        }
        self.clock += 1;
        self.weigh();
        self.read();
    }

    /// Everybody begins a new session with the API.
    fn renew_tokens(&mut self) {
        let keys = VERONA.with(|verona| verona.keys.clone());
        for (at, keys) in keys.iter().enumerate().take(self.users.len()) {
            self.world.set_password(NAMES[at], &format!("password-{}", NAMES[at]));
            let token = self.world.session_of(NAMES[at], keys);
            self.world.set_password(NAMES[at], &token);
            self.tokens[at] = token;
        }
    }

    /// What is in a message besides its text.
    fn padding(&self, number: usize) -> String {
        if self.outbox_bytes_max > OUTBOX_BYTES_MAX || !number.is_multiple_of(6) {
            return String::new();
        }
        format!("<x xmlns='urn:example'>{}</x>", "x".repeat(PADDING_BYTES))
    }

    /// No queue is longer than it may be.
    fn weigh(&self) {
        let outbox_bytes_max = self.outbox_bytes_max + OUTBOX_SLACK_BYTES;
        for loads in self.world.loads() {
            assert!(loads.outbox_bytes_max <= outbox_bytes_max, "too much waits for a client: {loads:?}");
            assert!(loads.pending_bytes_max <= READ_BUFFER_BYTES, "too much input waits: {loads:?}");
            assert!(loads.inputs_max <= INPUTS_MAX, "too much waits for an owner: {loads:?}");
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{}", what());
        }
    }

    /// A user's bare JID, or that of a resource.
    fn address(&self, user: usize, resource: Option<usize>) -> String {
        let bare = &self.users[user].jid;
        resource.map_or_else(|| bare.clone(), |resource| format!("{bare}/{}", RESOURCES[resource]))
    }
}
