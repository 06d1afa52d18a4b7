//! Calls of the API that race with everything else: what they ask for is possible from when they are made, and certain once they are
//! answered.

use crate::world::{Answer, Call};

use super::Sim;
use super::actor::attribute;
use super::dialogs::Place;
use super::gate::Gate;

/// A call that is not answered yet.
pub(super) struct Pending {
    call: Call,
    /// Whose it is.
    pub by: usize,
    pub wish: Wish,
    /// When it was made.
    pub since: u64,
}

/// What a call is to bring about.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    Create { group: usize },
    Change { group: usize, push: Option<usize>, pull: Option<usize> },
    Delete { group: usize, force: bool },
    Post { message: usize },
    Read { place: Place, numbers: Vec<usize>, all: bool },
    Remove { message: usize, force: bool },
}

impl Sim {
    /// Makes a call in the name of a user.
    pub(super) fn call(&mut self, number: usize, by: usize, method: &str, target: &str, body: &str, wish: Wish) {
        self.tell(|| format!("    {} calls {method} {target} {body}", self.users[by].name));
        self.counts.calls += 1;
        let token = self.tokens[by].clone();
        let call = self.world.ask(method, target, &token, body);
        self.calls.insert(number, Pending { call, by, wish, since: self.now() });
    }

    /// Looks at which calls were answered.
    pub(super) fn read_answers(&mut self) {
        let all: Vec<(usize, Call)> = self.calls.iter().map(|(number, pending)| (*number, pending.call)).collect();
        for (number, call) in all {
            if let Some(answer) = self.world.answer(call) {
                let pending = self.calls.remove(&number).expect("it was there just now");
                self.tell(|| format!("    call {number} is answered: {} {}", answer.code, answer.body));
                if answer.code >= 500 {
                    assert!(self.broken, "call {number} ({:?}) fails: {answer:?}", pending.wish);
                    self.lost(number, &pending);
                    continue;
                }
                self.answered(number, &pending, &answer);
            }
        }
    }

    /// The server is gone, and with it all answers.
    pub(super) fn lose_calls(&mut self) {
        self.read_answers();
        for (number, pending) in std::mem::take(&mut self.calls) {
            self.lost(number, &pending);
        }
        let now = self.now();
        for marker in &self.markers {
            let user = self.actors[&marker.who].user;
            let gate = self.read_marks.get_mut(&(user, marker.message)).expect("it is being marked");
            gate.lose(marker.number, now);
        }
        self.markers.clear();
    }

    /// Nobody will hear what came of a call.
    fn lost(&mut self, number: usize, pending: &Pending) {
        let now = self.now();
        let lose = |gate: &mut Gate| {
            gate.end(number, false, now);
            gate.forget(now);
        };
        match &pending.wish {
            Wish::Create { group } | Wish::Change { group, .. } | Wish::Delete { group, .. } => {
                let group = self.groups.get_mut(group).expect("it was there");
                group.members.iter_mut().chain([&mut group.alive]).filter(|gate| gate.is_asked(number)).for_each(lose);
            }
            Wish::Post { .. } => {}
            Wish::Read { place, numbers, all } => {
                for message in numbers {
                    self.read_mark(pending.by, *message).lose(number, now);
                }
                if *all {
                    self.forget_marks(pending.by, *place, pending.since);
                }
            }
            Wish::Remove { message, force: true } => {
                self.sent.get_mut(message).map(|sent| &mut sent.removed).into_iter().for_each(lose);
            }
            Wish::Remove { message, force: false } => {
                self.hidden.get_mut(&(pending.by, *message)).into_iter().for_each(lose);
            }
        }
    }

    fn answered(&mut self, number: usize, pending: &Pending, answer: &Answer) {
        let made = answer.code < 300;
        let now = self.now();
        match pending.wish.clone() {
            Wish::Create { group } => {
                if answer.code == 401 && self.jumped {
                    return self.lost(number, pending);
                }
                assert!(made, "a group of users who exist is refused: {answer:?}");
                let id = answer.json()["_id"].as_str().expect("an id").to_owned();
                let group = self.groups.get_mut(&group).expect("it is being made");
                group.id = Some(id);
                group.alive.end(number, true, now);
                group.members.iter_mut().for_each(|gate| gate.end(number, true, now));
            }
            Wish::Change { group, push, pull } => {
                let group = self.groups.get_mut(&group).expect("it was there");
                for user in push.into_iter().chain(pull) {
                    group.members[user].end(number, made, now);
                }
                if made && group.may_be_empty() {
                    group.alive.forget(now);
                }
            }
            Wish::Delete { group, force } => {
                let group = self.groups.get_mut(&group).expect("it was there");
                if force {
                    group.alive.end(number, made, now);
                } else {
                    group.members[pending.by].end(number, made, now);
                    if made && group.may_be_empty() {
                        group.alive.forget(now);
                    }
                }
            }
            Wish::Post { message } => {
                let sent = self.sent.get_mut(&message).expect("it was posted");
                if made {
                    sent.id = Some(answer.json()["_id"].as_str().expect("an id").to_owned());
                    sent.acknowledged = true;
                    sent.saved_by = Some(now);
                    self.counts.acknowledged += 1;
                } else {
                    sent.refused = true;
                }
            }
            Wish::Read { place, numbers, all } => {
                for message in numbers {
                    let gate = self.read_marks.get_mut(&(pending.by, message));
                    gate.expect("it is being marked").end(number, made, now);
                }
                if all {
                    // Whether it came to what was said meanwhile, nobody knows.
                    self.forget_marks(pending.by, place, pending.since);
                }
            }
            Wish::Remove { message, force } => {
                if force {
                    self.sent.get_mut(&message).expect("it was sent").removed.end(number, made, now);
                } else {
                    let gate = self.hidden.get_mut(&(pending.by, message));
                    gate.expect("it is being hidden").end(number, made, now);
                }
            }
        }
    }
}

/// The number in the text of a message, if it has one.
pub(super) fn number_in(element: &str) -> Option<usize> {
    let (_, rest) = element.split_once("<body>")?;
    rest.split_once("</body>")?.0.parse().ok()
}

/// The type of a stanza that was refused.
pub(super) fn is_refused(element: &str) -> bool {
    attribute(element, "type") == Some("error")
}
