//! What is done next: of everything that somebody could do now, something that the dice decide on.

use super::dialogs::{Group, Mark, Place};
use super::perform::Sent;
use super::{Act, RESOURCES, Sim, Step};

/// Clients at a time.
const CLIENTS_MAX: usize = 8;
/// Groups that are made in one history.
const GROUPS_MAX: usize = 4;

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
        let [talk, groups, contacts] = self.themes;
        match self.author.below(100) {
            0..75 => match self.author.below(talk + groups + contacts) {
                theme if theme < talk => self.message(who),
                theme if theme < talk + groups => self.group(who),
                _ => self.subscription(who),
            },
            75..79 => Act::Presence { who, number: self.next_number(1), kind: self.author.below(5) },
            79..83 => {
                let id = self.next_number(2);
                Act::Ask { who, id, kind: self.author.below(4), about: self.author.below(self.users.len()) }
            }
            83..92 => Act::Count { who },
            92..97 if self.faults.cuts() && self.author.percent(60) => Act::Cut { who },
            92..97 => Act::Leave { who },
            97 if self.faults.crashes() && self.author.percent(25) => Act::BreakDisk,
            97..99 if self.faults.cuts() => Act::Stall { who, stalled: !self.actor(who).stalled },
            99 if self.faults.crashes() => Act::Crash,
            98 if self.seed.is_multiple_of(5) => {
                let secs = [-3_600, 86_400, -5, 5, -86_400, 3_600][self.author.below(6)];
                Act::Clock { secs }
            }
            _ => Act::Pass { secs: [2, 20, 80][self.author.below(3)] },
        }
    }

    fn those(&self, are: impl Fn(&super::Actor) -> bool) -> Vec<usize> {
        self.actors.iter().filter(|(_, actor)| are(actor)).map(|(who, _)| *who).collect()
    }

    fn one_of(&mut self, all: &[usize]) -> usize {
        all[self.author.below(all.len())]
    }

    /// A number that no client, no message, no request or no group has had.
    fn next_number(&mut self, of: usize) -> usize {
        self.named[of] += 1;
        self.named[of]
    }

    fn arrival(&mut self) -> Act {
        let resumable = self.faults.cuts() && self.author.percent(60);
        let presence = self.author.percent(80).then(|| self.next_number(1));
        Act::Arrive {
            who: self.next_number(0),
            user: self.author.below(self.users.len()),
            resource: self.author.below(RESOURCES.len()),
            presence,
            carbons: self.author.percent(30),
            resumable,
        }
    }

    fn message(&mut self, who: usize) -> Act {
        match self.author.below(20) {
            0 | 1 => {
                let user = self.actors[&who].user;
                let theirs = |sent: &Sent| sent.user == user && sent.save && sent.by.is_some();
                let theirs: Vec<usize> = self.numbers(theirs);
                if !theirs.is_empty() {
                    return Act::Again { who, number: self.one_of(&theirs) };
                }
            }
            2..5 => return self.call_about_message(),
            _ => {}
        }
        let number = self.next_number(1);
        let to = self.author.below(self.users.len());
        let resource = self.author.percent(25).then(|| self.author.below(RESOURCES.len()));
        Act::Message { who, number, to, resource, save: self.author.percent(40) }
    }

    fn numbers(&self, are: impl Fn(&Sent) -> bool) -> Vec<usize> {
        self.sent.iter().filter(|(_, sent)| are(sent)).map(|(number, _)| *number).collect()
    }

    /// A call of the API that makes, marks or takes away a message.
    fn call_about_message(&mut self) -> Act {
        let (call, by) = (self.next_number(2), self.author.below(self.users.len()));
        let other = self.other_than(by);
        let known: Vec<usize> = self.numbers(|sent| sent.id.is_some() && sent.save);
        let message = (!known.is_empty()).then(|| self.one_of(&known));
        match (self.author.below(10), message) {
            (0..4, Some(message)) => {
                let place = self.sent[&message].place;
                let message = Some(message).filter(|_| self.author.percent(80));
                let mark = [Mark::Read, Mark::Read, Mark::Delivered, Mark::Unread][self.author.below(4)];
                Act::Read { call, by, place, message, mark }
            }
            (4, Some(message)) => Act::Remove { call, by, message, force: self.author.percent(50) },
            (5, Some(message)) => {
                let by = self.sent[&message].user;
                Act::Remove { call, by, message, force: true }
            }
            (_, _) => {
                let app = self.users[by].app;
                let theirs = |group: &Group| self.users[group.owner].app == app;
                let groups: Vec<usize> =
                    self.groups.iter().filter(|(_, group)| theirs(group)).map(|(number, _)| *number).collect();
                let place = match groups.is_empty() || self.author.percent(40) {
                    true => Place::of_two(by, other),
                    false => Place::Group(self.one_of(&groups)),
                };
                Act::Post { call, by, message: self.next_number(1), place, live: self.author.percent(70) }
            }
        }
    }

    fn group(&mut self, who: usize) -> Act {
        let groups: Vec<usize> = self.groups.keys().copied().collect();
        let full = groups.len() >= GROUPS_MAX;
        if groups.is_empty() || (!full && self.author.percent(5)) {
            let by = self.author.below(self.users.len());
            let mut others = vec![self.other_than(by)];
            for other in 0..self.users.len() {
                if !others.contains(&other) && self.users[other].app == self.users[by].app && self.author.percent(50) {
                    others.push(other);
                }
            }
            return Act::Create { call: self.next_number(2), by, group: self.next_number(3), others };
        }
        let group = self.one_of(&groups);
        let inside: Vec<usize> = self.actors[&who].rooms.keys().copied().collect();
        match self.author.below(100) {
            0..50 if !inside.is_empty() => {
                let (group, number) = (self.one_of(&inside), self.next_number(1));
                Act::Say { who, group, number, save: self.author.percent(60) }
            }
            0..50 => Act::Enter { who, group, history: self.author.percent(40) },
            50..53 => Act::Say { who, group, number: self.next_number(1), save: self.author.percent(60) },
            53..57 => Act::Exit { who, group },
            57..67 => {
                let said = self.numbers(|sent| sent.place == Place::Group(group) && sent.save && sent.id.is_some());
                if said.is_empty() {
                    return Act::Enter { who, group, history: true };
                }
                let number = self.one_of(&said);
                Act::Displayed { who, call: self.next_number(2), number }
            }
            67..83 => self.call_about_message(),
            83..98 => {
                let owner = self.groups[&group].owner;
                let by = if self.author.percent(60) { owner } else { self.author.below(self.users.len()) };
                // Users are named by numbers, which mean those of the caller's app.
                let mut someone = || if self.author.percent(25) { by } else { self.other_than(by) };
                let (one, other) = (someone(), someone());
                let push = self.author.percent(60).then_some(one);
                let pull = (push.is_none() || self.author.percent(20)).then_some(other);
                Act::Change { call: self.next_number(2), by, group, push, pull: pull.filter(|_| push != pull) }
            }
            _ => {
                let by = self.author.below(self.users.len());
                Act::Delete { call: self.next_number(2), by, group, force: self.author.percent(30) }
            }
        }
    }

    fn subscription(&mut self, who: usize) -> Act {
        let user = self.actors[&who].user;
        let to = self.author.below(self.users.len());
        let id = self.next_number(2);
        // Either command changes what the other one has: a history has one of them.
        let lists = self.seed.is_multiple_of(2);
        match self.author.below(100) {
            0..10 if self.blocks && to != user && !lists => {
                Act::Block { who, id, other: to, block: self.author.percent(60) }
            }
            0..10 if self.blocks && to != user => {
                Act::Deny { who, id, other: Some(to).filter(|_| self.author.percent(60)) }
            }
            0..17 => Act::Forget { who, id, contact: to },
            17..35 => Act::Presence { who, number: self.next_number(1), kind: self.author.below(5) },
            35..65 => {
                // Somebody who has asked gets an answer.
                let asked: Vec<usize> = self.requests.iter().filter(|it| it.1 == user).map(|it| it.0).collect();
                let to = if asked.is_empty() { to } else { self.one_of(&asked) };
                Act::Subscription { who, to, kind: "subscribed", change: id }
            }
            _ => {
                let kinds = ["subscribe", "subscribed", "subscribe", "subscribed", "unsubscribe", "unsubscribed"];
                let kind = kinds[self.author.below(kinds.len())];
                Act::Subscription { who, to, kind, change: id }
            }
        }
    }

    /// Another user of the same app.
    fn other_than(&mut self, user: usize) -> usize {
        let app = self.users[user].app;
        let others: Vec<usize> =
            (0..self.users.len()).filter(|&other| other != user && self.users[other].app == app).collect();
        self.one_of(&others)
    }
}
