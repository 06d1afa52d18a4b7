//! What must be so when all is quiet.

use std::time::Duration;

use net::shard::Loads;
use proto::model::dialog;
use proto::model::jobs::JOBS;

use crate::world::Client;

use super::actor::Session;
use super::dialogs::Place;
use super::perform::Sent;
use super::{Actor, Counts, Sim};

/// How often everybody looks whether something came before a history ends.
const RESTS: usize = 8;

impl Sim {
    /// Everybody who lives comes to rest, and everybody's last client fetches what waits.
    pub(super) fn finish(mut self) -> Counts {
        self.world.reseed(self.seed ^ 0xf171);
        self.clock += 1;
        if self.broken {
            self.crash();
        }
        let alive = |actor: &Actor| actor.alive;
        let here: Vec<usize> = self.actors.iter().filter(|(_, actor)| alive(actor)).map(|(who, _)| *who).collect();
        for &who in &here {
            let client = self.actor(who).client;
            self.world.set_stalled(client, false);
            self.say(who, "<r xmlns='urn:xmpp:sm:3'/>");
        }
        self.rest();
        for (who, actor) in self.actors.iter().filter(|(_, actor)| alive(actor)) {
            let unanswered: Vec<_> = actor.asked.iter().filter(|(_, answers)| **answers == 0).collect();
            assert!(unanswered.is_empty(), "client {who} was never answered: {unanswered:?}");
            assert_eq!(actor.handled, actor.sent.len(), "client {who}: stanzas never acknowledged");
        }
        assert!(self.calls.is_empty(), "calls were never answered: {:?}", self.calls.keys());
        self.settle_markers();
        self.compare_rooms();
        self.compare_copies();
        for &who in &here {
            if self.actors[&who].alive {
                let client = self.actor(who).client;
                self.world.cut_off(client);
                self.actor(who).alive = false;
            }
        }
        if self.seed.is_multiple_of(2) {
            // Those who may come back do not, and their sessions end.
            self.world.pass(Duration::from_secs(310));
        }
        self.everybody_comes();
        // What was refused goes back, and what is said to another app goes nowhere.
        let to_arrive = |sent: &Sent| match sent.place {
            Place::Pair(one, other) => {
                let apart = self.users[one].app != self.users[other].app;
                sent.acknowledged && sent.by.is_some() && !apart && self.has_passed_since(one, other, sent.since)
            }
            Place::Group(_) => false,
        };
        let acknowledged = self.sent.iter().filter(|(_, sent)| to_arrive(sent));
        let lost: Vec<_> = acknowledged.filter(|(number, _)| !self.arrived.contains(number)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        self.compare_rosters();
        self.audit();
        self.empty();
        self.counts.steps = self.world.deeds();
        self.counts
    }

    /// Everybody goes, and after a while nothing is left in memory, nor on the way.
    fn empty(&mut self) {
        let clients: Vec<Client> = self.actors.values().filter(|actor| actor.alive).map(|it| it.client).collect();
        clients.into_iter().for_each(|client| self.world.cut_off(client));
        self.world.pass(Duration::from_secs(400));
        for loads in self.world.loads() {
            assert_eq!(loads, Loads::default(), "something is left in a shard that is quiet");
        }
        for table in [&JOBS, &dialog::DIRTY] {
            assert!(self.world.table(table).is_empty(), "something is left of {}", table.name());
        }
    }

    fn everybody_comes(&mut self) {
        for user in 0..self.users.len() {
            let client = self.world.rush(&self.users[user].name, "last", "<presence/>");
            let who = LAST + user;
            self.tell(|| format!("client {who} is the last of {}", self.users[user].name));
            self.actors.insert(who, Actor::new(client, user, usize::MAX));
        }
        self.rest();
    }

    /// Everybody reads and answers until nobody has anything to say.
    pub(super) fn rest(&mut self) {
        for _ in 0..RESTS {
            self.world.settle();
            self.read();
            let able = |actor: &Actor| actor.alive && matches!(actor.session, Session::Resumable(_));
            let able: Vec<usize> = self.actors.iter().filter(|(_, actor)| able(actor)).map(|(who, _)| *who).collect();
            for who in able {
                let count = self.actors[&who].count;
                self.say(who, &format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/><r xmlns='urn:xmpp:sm:3'/>"));
            }
        }
        self.world.settle();
        self.read();
    }
}

/// The numbers of everybody's last clients begin here.
pub(super) const LAST: usize = 1 << 32;
