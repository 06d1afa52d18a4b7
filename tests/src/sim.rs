//! Random histories: clients that come, talk, fall silent and are cut off, against a server whose parts work in random order.
//!
//! The model knows little, and that little for certain: what was acknowledged arrives, a session sees nothing twice, messages of
//! one session to another stay in order while nothing breaks, every iq has one answer, and when all is quiet the rosters of
//! any two users agree. Sessions go on over other connections (XEP-0198): then nothing is missing, in neither direction.
//!
//! | | |
//! |---|---|
//! | `act` | what can be done, one thing at a time: a history is a list of these |
//! | `author` | which of it is done next |
//! | `perform` | doing it, and what everybody is told |
//! | `actor` | a client, and what it makes of what it hears |
//! | `finish` | what must be so when all is quiet |
//! | `report` | histories of many seeds, counted |
//! | `shrink` | the shortest history found that fails as a long one does |
//!
//! A history is told by its acts alone. Each of them brings the seed of the chance that rules until the next one, and names clients,
//! messages and requests by numbers that it gives itself: so a history from which some acts were taken out is a history.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Dice, User, World};

mod act;
mod actor;
mod author;
mod finish;
mod perform;
mod report;
mod shrink;

pub use act::{Act, Step};
pub use report::{Counts, Failure, run_many, run_one};

use actor::Actor;
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
    /// Numbers that were given so far: of clients, of messages, of requests.
    named: [usize; 3],
    counts: Counts,
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
        Sim {
            world,
            seed,
            faults,
            users,
            author: Dice::new(seed ^ 0x0ac7_0125),
            luck: Dice::new(seed),
            actors: BTreeMap::new(),
            sent: BTreeMap::new(),
            arrived: BTreeSet::new(),
            named: [0; 3],
            counts: Counts::default(),
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
        self.tell(|| format!("{step}"));
        self.world.reseed(step.chance);
        self.luck = Dice::new(step.chance ^ 0x10c4);
        self.perform(&step.act);
        for _ in 0..step.deeds {
            self.world.step();
        }
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
