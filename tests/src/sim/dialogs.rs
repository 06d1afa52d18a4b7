//! Dialogs: groups and their rooms, who is in them, what is said there, what was read and what was taken away.

use proto::jid::user::{DialogId, UserId};

use super::calls::Wish;
use super::gate::Gate;
use super::perform::{SAVE, Sent, Stake};
use super::{Act, NAMES, Sim};

/// Where something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Between two users, the lower one first.
    Pair(usize, usize),
    /// In a group.
    Group(usize),
}

impl Place {
    pub(super) fn of_two(one: usize, other: usize) -> Place {
        Place::Pair(one.min(other), one.max(other))
    }
}

pub(super) struct Group {
    /// Known once the call that made it is answered.
    pub id: Option<String>,
    pub owner: usize,
    pub members: Vec<Gate>,
    pub alive: Gate,
}

impl Group {
    /// Nobody is known to be in it, and without anybody it would be gone.
    pub fn may_be_empty(&self) -> bool {
        self.members.iter().all(|gate| gate.is_open() != Some(true))
    }
}

/// What a user says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was read, and so it has arrived.
    Read,
    /// It was not read, after all.
    Unread,
    /// It has arrived.
    Delivered,
}

/// What a user has said of a message.
pub(super) struct Marks {
    pub read: Gate,
    pub delivered: Gate,
}

impl Marks {
    pub fn begin(&mut self, number: usize, mark: Mark, now: u64) {
        match mark {
            Mark::Read => self.read.begin(number, true, now),
            Mark::Unread => self.read.begin(number, false, now),
            Mark::Delivered => {}
        }
        if mark != Mark::Unread {
            self.delivered.begin(number, true, now);
        }
    }

    pub fn end(&mut self, number: usize, made: bool, now: u64) {
        self.read.end(number, made, now);
        self.delivered.end(number, made, now);
    }

    /// Nobody will hear whether a change was made.
    pub fn lose(&mut self, number: usize, now: u64) {
        self.end(number, false, now);
        self.forget(now);
    }

    pub fn forget(&mut self, now: u64) {
        self.read.forget(now);
        // What has arrived stays so.
        if self.delivered.is_open() != Some(true) {
            self.delivered.forget(now);
        }
    }
}

impl Sim {
    /// The time of the model.
    pub(super) fn now(&self) -> u64 {
        self.clock
    }

    pub(super) fn perform_in_dialog(&mut self, act: &Act) {
        match *act {
            Act::Create { call, by, group, ref others } => self.create(call, by, group, others),
            Act::Change { call, by, group, push, pull } => self.change(call, by, group, push, pull),
            Act::Delete { call, by, group, force } => self.delete(call, by, group, force),
            Act::Post { call, by, message, place, live } => self.post(call, by, message, place, live),
            Act::Read { call, by, place, message, mark } => self.mark(call, by, place, message, mark),
            Act::Remove { call, by, message, force } => self.remove(call, by, message, force),
            Act::Enter { who, group, history } => self.enter(who, group, history),
            Act::Exit { who, group } => {
                if let (Some(room), Some(_)) = (self.room(group), self.actor(who).rooms.remove(&group)) {
                    let nick = self.nick(who);
                    self.stanza(who, &format!("<presence type='unavailable' to='{room}/{nick}'/>"), Stake::Nothing);
                }
            }
            Act::Say { who, group, number, save } => self.say_in_room(who, group, number, save),
            Act::Again { who, number } => self.say_again(who, number),
            Act::Displayed { who, call, number } => self.displayed(who, call, number),
            _ => unreachable!("the others are performed elsewhere"),
        }
    }

    fn create(&mut self, call: usize, by: usize, group: usize, others: &[usize]) {
        if self.groups.contains_key(&group) {
            return;
        }
        let now = self.now();
        let mut alive = Gate::new(false);
        alive.begin(call, true, now);
        let mut members = vec![Gate::new(false); self.users.len()];
        for &user in others.iter().chain([&by]) {
            members[user].begin(call, true, now);
        }
        self.groups.insert(group, Group { id: None, owner: by, members, alive });
        let ids: Vec<String> = others.iter().map(|&user| self.users[user].id.to_string()).collect();
        let body = format!("type=2&name=g{group}&occupants_ids={}", ids.join(","));
        self.call(call, by, "POST", "/chat/Dialog.json", &body, Wish::Create { group });
    }

    fn change(&mut self, call: usize, by: usize, group: usize, push: Option<usize>, pull: Option<usize>) {
        let now = self.now();
        let Some(known) = self.groups.get_mut(&group) else { return };
        let Some(id) = known.id.clone() else { return };
        let mut fields = Vec::new();
        if let Some(user) = push {
            known.members[user].begin(call, true, now);
            fields.push(format!("push_all[occupants_ids][]={}", self.users[user].id));
        }
        if let Some(user) = pull {
            known.members[user].begin(call, false, now);
            fields.push(format!("pull_all[occupants_ids][]={}", self.users[user].id));
        }
        let target = format!("/chat/Dialog/{id}.json");
        self.call(call, by, "PUT", &target, &fields.join("&"), Wish::Change { group, push, pull });
    }

    fn delete(&mut self, call: usize, by: usize, group: usize, force: bool) {
        let now = self.now();
        let Some(known) = self.groups.get_mut(&group) else { return };
        let Some(id) = known.id.clone() else { return };
        let gate = if force { &mut known.alive } else { &mut known.members[by] };
        gate.begin(call, false, now);
        let force_flag = if force { "?force=1" } else { "" };
        let target = format!("/chat/Dialog/{id}.json{force_flag}");
        self.call(call, by, "DELETE", &target, "", Wish::Delete { group, force });
    }

    fn post(&mut self, call: usize, by: usize, message: usize, place: Place, live: bool) {
        let to = match place {
            Place::Pair(one, other) => {
                let other = if one == by { other } else { one };
                format!("recipient_id={}", self.users[other].id)
            }
            Place::Group(group) => {
                let Some(id) = self.groups.get(&group).and_then(|group| group.id.clone()) else { return };
                format!("chat_dialog_id={id}")
            }
        };
        let live = u8::from(live);
        self.sent.insert(message, Sent::new(None, by, place, true, self.now()));
        self.counts.messages += 1;
        let body = format!("message={message}&{to}&send_to_chat={live}");
        self.call(call, by, "POST", "/chat/Message.json", &body, Wish::Post { message });
    }

    /// The dialog's id, as far as it is known from outside.
    pub(super) fn dialog_id(&self, place: Place) -> Option<String> {
        match place {
            Place::Group(group) => self.groups.get(&group)?.id.clone(),
            Place::Pair(one, other) => {
                let app = self.users[one].app;
                let [one, other] = [one, other].map(|user| UserId(self.users[user].id));
                Some(DialogId::private(&self.world.pairs(), app, one, other).to_string())
            }
        }
    }

    fn mark(&mut self, call: usize, by: usize, place: Place, message: Option<usize>, mark: Mark) {
        let Some(dialog) = self.dialog_id(place) else { return };
        let now = self.now();
        let (numbers, path) = match message {
            Some(number) => {
                let Some(sent) = self.sent.get(&number) else { return };
                let Some(id) = sent.id.clone().filter(|_| sent.place == place) else { return };
                (vec![number], format!("/{id}"))
            }
            None => {
                let theirs = |sent: &Sent| sent.place == place && sent.user != by;
                (self.sent.iter().filter(|(_, sent)| theirs(sent)).map(|(number, _)| *number).collect(), String::new())
            }
        };
        for &number in &numbers {
            self.read_mark(by, number).begin(call, mark, now);
        }
        let target = format!("/chat/Message{path}.json");
        let field = match mark {
            Mark::Read => "read=1",
            Mark::Unread => "read=0",
            Mark::Delivered => "delivered=1",
        };
        let body = format!("chat_dialog_id={dialog}&{field}");
        let all = message.is_none();
        self.call(call, by, "PUT", &target, &body, Wish::Read { place, numbers, all });
    }

    pub(super) fn read_mark(&mut self, user: usize, number: usize) -> &mut Marks {
        let none = || Marks { read: Gate::new(false), delivered: Gate::new(false) };
        self.read_marks.entry((user, number)).or_insert_with(none)
    }

    /// Of what was not known to be saved before then, nobody knows whether it was marked.
    pub(super) fn forget_marks(&mut self, user: usize, place: Place, then: u64) {
        let now = self.now();
        let late = |sent: &Sent| sent.place == place && sent.user != user && sent.saved_by.is_none_or(|by| by > then);
        let late: Vec<usize> = self.sent.iter().filter(|(_, sent)| late(sent)).map(|(number, _)| *number).collect();
        for number in late {
            let marks = self.read_mark(user, number);
            marks.read.forget(now);
            marks.delivered.forget(now);
        }
    }

    fn remove(&mut self, call: usize, by: usize, message: usize, force: bool) {
        let now = self.now();
        let Some(sent) = self.sent.get_mut(&message) else { return };
        let Some(id) = sent.id.clone() else { return };
        let place = sent.place;
        if force {
            sent.removed.begin(call, true, now);
            sent.removals = true;
        } else {
            self.hidden.entry((by, message)).or_insert_with(|| Gate::new(false)).begin(call, true, now);
        }
        let Some(dialog) = self.dialog_id(place) else { return };
        let force_flag = if force { "&force=1" } else { "" };
        let target = format!("/chat/Message/{id}.json?chat_dialog_id={dialog}{force_flag}");
        self.call(call, by, "DELETE", &target, "", Wish::Remove { message, force });
    }

    /// A client sends a message that its user has sent before: it does not know whether the server has it.
    fn say_again(&mut self, who: usize, number: usize) {
        let user = self.actor(who).user;
        let Some(sent) = self.sent.get_mut(&number).filter(|sent| sent.user == user && sent.save) else { return };
        if sent.by.is_none() {
            return;
        }
        sent.repeated = true;
        let (place, resource) = (sent.place, sent.resource);
        let (kind, to) = match place {
            Place::Group(group) => match self.room(group) {
                Some(room) => ("groupchat", room),
                None => return,
            },
            Place::Pair(one, other) => ("chat", self.address(if one == user { other } else { one }, resource)),
        };
        let xml = format!("<message type='{kind}' to='{to}' id='{number:024x}'><body>{number}</body>{SAVE}</message>");
        self.stanza(who, &xml, Stake::Nothing);
    }

    /// What groups are called.
    pub(super) fn name_of(&self, place: Place) -> String {
        match place {
            Place::Group(group) => format!("g{group}"),
            Place::Pair(one, other) => format!("{} and {}", NAMES[one], NAMES[other]),
        }
    }
}
