//! What is done next: of everything that somebody could do now, something that the dice decide on.

use super::{Act, Faults, NAMES, RESOURCES, Sim, Step};

/// Clients at a time.
const CLIENTS_MAX: usize = 8;

impl Sim {
    pub(super) fn next_step(&mut self) -> Step {
        let act = self.next_act();
        // Some are done in one breath.
        let deeds = if self.author.percent(40) { 0 } else { self.author.below(40) };
        Step { act, chance: self.author.number(), deeds }
    }

    fn next_act(&mut self) -> Act {
        let able: Vec<usize> = self.those(|actor| actor.can_come_back());
        if !able.is_empty() && self.author.percent(8) {
            return Act::ComeBack { who: self.one_of(&able) };
        }
        let active = self.those(|actor| actor.is_active());
        if active.is_empty() || (active.len() < CLIENTS_MAX && self.author.percent(10)) {
            return self.arrival();
        }
        let who = self.one_of(&active);
        match self.author.below(100) {
            0..50 => self.message(who),
            50..60 => Act::Presence { who, kind: self.author.below(5) },
            60..75 => self.subscription(who),
            75..82 => {
                let id = self.next_number(2);
                Act::Ask { who, id, kind: self.author.below(4), about: self.author.below(NAMES.len()) }
            }
            82..92 => Act::Count { who },
            92..97 if self.faults == Faults::Cuts && self.author.percent(60) => Act::Cut { who },
            92..97 => Act::Leave { who },
            97..99 if self.faults == Faults::Cuts => Act::Stall { who, stalled: !self.actor(who).stalled },
            99 if self.faults == Faults::Crashes => Act::Crash,
            _ => Act::Pass { secs: [2, 20, 80][self.author.below(3)] },
        }
    }

    fn those(&self, are: impl Fn(&super::Actor) -> bool) -> Vec<usize> {
        self.actors.iter().filter(|(_, actor)| are(actor)).map(|(who, _)| *who).collect()
    }

    fn one_of(&mut self, all: &[usize]) -> usize {
        all[self.author.below(all.len())]
    }

    /// A number that no client, no message or no request has had.
    fn next_number(&mut self, of: usize) -> usize {
        self.named[of] += 1;
        self.named[of]
    }

    fn arrival(&mut self) -> Act {
        let resumable = self.faults == Faults::Cuts && self.author.percent(60);
        Act::Arrive {
            who: self.next_number(0),
            user: self.author.below(NAMES.len()),
            resource: self.author.below(RESOURCES.len()),
            presence: self.author.percent(80),
            resumable,
        }
    }

    fn message(&mut self, who: usize) -> Act {
        let number = self.next_number(1);
        let to = self.author.below(NAMES.len());
        let resource = self.author.percent(25).then(|| self.author.below(RESOURCES.len()));
        Act::Message { who, number, to, resource, save: self.author.percent(40) }
    }

    fn subscription(&mut self, who: usize) -> Act {
        let to = self.author.below(NAMES.len());
        let kinds = ["subscribe", "subscribed", "subscribe", "subscribed", "unsubscribe", "unsubscribed"];
        match self.author.below(kinds.len() + 1) {
            kind if kind < kinds.len() => Act::Subscription { who, to, kind: kinds[kind] },
            _ => Act::Forget { who, id: self.next_number(2), contact: to },
        }
    }
}
