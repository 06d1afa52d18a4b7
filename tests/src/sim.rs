//! Random histories: clients that come, talk, fall silent and are cut off, against a server whose parts work in random order.
//!
//! The model knows little, and that little for certain: what was acknowledged arrives, a session sees nothing twice, messages of
//! one session to another stay in order while nothing breaks, every iq has one answer, and when all is quiet the rosters of
//! any two users agree. Dialogs hold what was to be kept in them, each message once and in the order in which everybody heard it;
//! nobody hears what is said in a group but its members, and the API, the archives and the counters say the same. Sessions go on over other connections (XEP-0198): then nothing is missing, in neither direction.
//!
//! | | |
//! |---|---|
//! | `act` | what can be done, one thing at a time: a history is a list of these |
//! | `author` | which of it is done next |
//! | `perform`, `dialogs`, `calls` | doing it: by clients, in groups and their rooms, over the API |
//! | `actor` | a client, and what it makes of what it hears |
//! | `gate` | what is known of something that is being changed |
//! | `finish`, `audit` | what must be so when all is quiet: in accounts, in dialogs |
//! | `report` | histories of many seeds, counted |
//! | `shrink` | the shortest history found that fails as a long one does |
//!
//! A history is told by its acts alone. Each of them brings the seed of the chance that rules until the next one, and names clients,
//! messages and requests by numbers that it gives itself: so a history from which some acts were taken out is a history.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Dice, User, World};

mod act;
mod actor;
mod audit;
mod author;
mod calls;
mod dialogs;
mod finish;
mod gate;
mod perform;
mod report;
mod shrink;

pub use act::{Act, Step};
pub use dialogs::Place;
pub use report::{Counts, Failure, run_many, run_one};

use actor::Actor;
use calls::Pending;
use dialogs::{Group, Marker};
use gate::Gate;
use perform::Sent;

/// What goes wrong in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Nothing: clients leave in good order, when nothing is under way.
    Calm,
    /// Connections break at any moment, stall, and lose their resource to others.
    Cuts,
    /// The server is killed.
    Crashes,
}

impl Faults {
    /// All kinds of histories.
    pub const ALL: [Faults; 3] = [Faults::Calm, Faults::Cuts, Faults::Crashes];
}

/// Histories of each kind in a normal run.
pub const SEEDS: u64 = 150;
/// What is done in one history.
pub const ACTS: usize = 200;

const NAMES: [&str; 5] = ["romeo", "juliet", "mercutio", "nurse", "benvolio"];
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
    /// Of a user and a message: whether the one has read the other.
    read_marks: BTreeMap<(usize, usize), Gate>,
    /// Of a user and a message: whether the one has put the other out of sight.
    hidden: BTreeMap<(usize, usize), Gate>,
    markers: Vec<Marker>,
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
    counts: Counts,
    /// Goes on with every act, and once more when everybody looks at what came of it.
    clock: u64,
    aloud: bool,
}

thread_local! {
    /// Where every history begins: the users have signed up.
    static VERONA: World = {
        let mut world = World::seeded(3, 0);
        for name in NAMES {
            world.user(name);
            let token = world.user_session(name);
            // Passwords take long to check, and a token is one.
            world.set_password(name, &token);
        }
        world
    };
}

impl Sim {
    /// Nothing has happened yet. `aloud` tells what does.
    fn new(seed: u64, faults: Faults, aloud: bool) -> Sim {
        let mut world = VERONA.with(|verona| World::after_all_of(verona, seed));
        let users = NAMES.map(|name| world.user(name)).to_vec();
        // Their passwords are tokens.
        let tokens = users.iter().map(|user| user.password.clone()).collect();
        let mut author = Dice::new(seed ^ 0x0ac7_0125);
        let mut themes = [(); 3].map(|()| [0, 1, 4][author.below(3)]);
        themes[author.below(3)] = 4;
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
            calls: BTreeMap::new(),
            tokens,
            archived: Vec::new(),
            audits: 0,
            named: [0; 4],
            themes,
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
        self.read();
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
