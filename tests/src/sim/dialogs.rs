//! Dialogs: groups and their rooms, who is in them, what is said there, what was read and what was taken away.

use std::collections::BTreeMap;

use super::actor::attribute;
use super::calls::{Wish, is_refused, number_in};
use super::gate::Gate;
use super::perform::{SAVE, Sent};
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

/// A displayed marker in a room that nobody has heard of yet.
pub(super) struct Marker {
    pub number: usize,
    pub who: usize,
    pub message: usize,
    /// The stanza's place among those that the client sent.
    pub stanza: usize,
    pub since: u64,
}

impl Sim {
    /// The time of the model.
    pub(super) fn now(&self) -> u64 {
        self.clock
    }

    pub(super) fn room(&self, group: usize) -> Option<String> {
        let id = self.groups.get(&group)?.id.as_ref()?;
        Some(format!("1_{id}@muc.{}", crate::world::DOMAIN))
    }

    fn group_of(&self, address: &str) -> Option<usize> {
        let (_, id) = address.split_once('@')?.0.split_once('_')?;
        self.groups.iter().find(|(_, group)| group.id.as_deref() == Some(id)).map(|(number, _)| *number)
    }

    /// Whether a client is known to be in the room, and to have been there since then.
    pub(super) fn is_surely_in(&self, who: usize, group: usize, then: u64) -> bool {
        let actor = &self.actors[&who];
        let known = &self.groups[&group];
        actor.alive
            && actor.rooms.get(&group).is_some_and(|since| since.is_some_and(|since| since <= then))
            && known.members[actor.user].was_open_since(then)
            && known.alive.was_open_since(then)
    }

    pub(super) fn perform_in_dialog(&mut self, act: &Act) {
        match *act {
            Act::Create { call, by, group, ref others } => self.create(call, by, group, others),
            Act::Change { call, by, group, push, pull } => self.change(call, by, group, push, pull),
            Act::Delete { call, by, group, force } => self.delete(call, by, group, force),
            Act::Post { call, by, message, place, live } => self.post(call, by, message, place, live),
            Act::Read { call, by, place, message, read } => self.mark(call, by, place, message, read),
            Act::Remove { call, by, message, force } => self.remove(call, by, message, force),
            Act::Enter { who, group, history } => self.enter(who, group, history),
            Act::Exit { who, group } => {
                if let (Some(room), Some(_)) = (self.room(group), self.actor(who).rooms.remove(&group)) {
                    let nick = self.nick(who);
                    self.stanza(who, &format!("<presence type='unavailable' to='{room}/{nick}'/>"), None);
                }
            }
            Act::Say { who, group, number, save } => self.say_in_room(who, group, number, save),
            Act::Again { who, number } => self.say_again(who, number),
            Act::Displayed { who, call, number } => self.displayed(who, call, number),
            _ => unreachable!("the others are performed elsewhere"),
        }
    }

    fn nick(&self, who: usize) -> u64 {
        self.users[self.actors[&who].user].id
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
                let [one, other] = [one, other].map(|user| proto::jid::user::UserId(self.users[user].id));
                let pairs = self.world.pairs();
                Some(proto::jid::user::DialogId::private(&pairs, proto::jid::user::AppId(1), one, other).to_string())
            }
        }
    }

    fn mark(&mut self, call: usize, by: usize, place: Place, message: Option<usize>, read: bool) {
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
            self.read_mark(by, number).begin(call, read, now);
        }
        let target = format!("/chat/Message{path}.json");
        let body = format!("chat_dialog_id={dialog}&read={}", u8::from(read));
        let all = message.is_none();
        self.call(call, by, "PUT", &target, &body, Wish::Read { place, numbers, all });
    }

    pub(super) fn read_mark(&mut self, user: usize, number: usize) -> &mut Gate {
        self.read_marks.entry((user, number)).or_insert_with(|| Gate::new(false))
    }

    /// Of what was not known to be saved before then, nobody knows whether it was marked.
    pub(super) fn forget_marks(&mut self, user: usize, place: Place, then: u64) {
        let now = self.now();
        let late = |sent: &Sent| sent.place == place && sent.user != user && sent.saved_by.is_none_or(|by| by > then);
        let late: Vec<usize> = self.sent.iter().filter(|(_, sent)| late(sent)).map(|(number, _)| *number).collect();
        for number in late {
            self.read_mark(user, number).forget(now);
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

    fn enter(&mut self, who: usize, group: usize, history: bool) {
        let Some(room) = self.room(group) else { return };
        let nick = self.nick(who);
        let history = if history { "" } else { "<history maxstanzas='0'/>" };
        let x = format!("<x xmlns='http://jabber.org/protocol/muc'>{history}</x>");
        let now = self.now();
        let actor = self.actor(who);
        actor.rooms.entry(group).or_insert(None);
        actor.entering.insert(group, now);
        self.stanza(who, &format!("<presence to='{room}/{nick}' id='enter'>{x}</presence>"), None);
    }

    fn say_in_room(&mut self, who: usize, group: usize, number: usize, save: bool) {
        let Some(room) = self.room(group) else { return };
        let now = self.now();
        let mut sent = Sent::new(Some(who), self.actor(who).user, Place::Group(group), save, now);
        sent.id = Some(format!("{number:024x}"));
        sent.sure = self.is_surely_in(who, group, now);
        self.sent.insert(number, sent);
        self.counts.messages += 1;
        let save = if save { SAVE } else { "" };
        let xml =
            format!("<message type='groupchat' to='{room}' id='{number:024x}'><body>{number}</body>{save}</message>");
        self.stanza(who, &xml, Some(number));
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
        self.stanza(who, &xml, None);
    }

    /// A client says in a room that it has shown a message.
    fn displayed(&mut self, who: usize, call: usize, number: usize) {
        let now = self.now();
        let user = self.actor(who).user;
        let Some(sent) = self.sent.get(&number).filter(|sent| sent.user != user) else { return };
        let (Place::Group(group), Some(id)) = (sent.place, sent.id.clone()) else { return };
        let Some(room) = self.room(group) else { return };
        self.read_mark(user, number).begin(call, true, now);
        let stanza = self.actor(who).sent.len();
        self.markers.push(Marker { number: call, who, message: number, stanza, since: now });
        let marker = format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/>");
        self.stanza(who, &format!("<message type='groupchat' to='{room}' id='d{call}'>{marker}</message>"), None);
    }

    /// Nothing is under way: what was said in a room, from inside and with an ack, has been done.
    pub(super) fn settle_markers(&mut self) {
        let now = self.now();
        for marker in std::mem::take(&mut self.markers) {
            let sent = &self.sent[&marker.message];
            let Place::Group(group) = sent.place else { continue };
            let sure = self.is_surely_in(marker.who, group, marker.since)
                && self.actors[&marker.who].handled > marker.stanza
                && sent.saved_by.is_some_and(|by| by <= marker.since);
            let user = self.actors[&marker.who].user;
            let gate = self.read_mark(user, marker.message);
            gate.end(marker.number, sure, now);
            if !sure {
                gate.forget(now);
            }
        }
    }

    /// Something from a room.
    pub(super) fn hear_from_room(&mut self, who: usize, element: &str) {
        let from = attribute(element, "from").unwrap_or_default().to_owned();
        let Some(group) = self.group_of(&from) else { return };
        if element.starts_with("<presence") {
            self.hear_room_presence(who, group, &from, element);
        } else if let Some(number) = number_in(element) {
            self.hear_in_room(who, group, number, element);
        }
    }

    fn hear_room_presence(&mut self, who: usize, group: usize, from: &str, element: &str) {
        let now = self.now();
        let own = from.ends_with(&format!("/{}", self.nick(who)));
        let actor = self.actor(who);
        if own && is_refused(element) {
            actor.rooms.remove(&group);
        } else if own && element.contains("code=\"110\"") {
            match attribute(element, "type") {
                Some("unavailable") => drop(actor.rooms.remove(&group)),
                _ => {
                    // Not if it has left meanwhile, and not known that.
                    if let Some(since) = actor.rooms.get_mut(&group) {
                        since.get_or_insert(now);
                    }
                }
            }
        }
    }

    fn hear_in_room(&mut self, who: usize, group: usize, number: usize, element: &str) {
        let sent = self.sent.get_mut(&number).expect("somebody sent it");
        assert_eq!(sent.place, Place::Group(group), "client {who} heard in a room what was not said there: {element}");
        if is_refused(element) {
            sent.refused = true;
            return;
        }
        let (since, repeated) = (sent.since, sent.repeated);
        let past = element.contains("<delay xmlns=\"urn:xmpp:delay\"");
        let known = &self.groups[&group];
        let actor = &self.actors[&who];
        let gate = &known.members[actor.user];
        let then = if past { actor.entering.get(&group).copied().unwrap_or(0) } else { since };
        assert!(!gate.was_closed_since(then), "client {who} is no member, and heard: {element}");
        assert!(!known.alive.was_closed_since(then), "client {who} heard in a group that is gone: {element}");
        let sender = self.users[self.sent[&number].user].id;
        let from = attribute(element, "from").unwrap_or_default();
        assert!(from.ends_with(&format!("/{sender}")), "client {who} heard {number} from another: {element}");
        if past {
            assert!(self.sent[&number].save, "client {who} is told of what was not kept: {element}");
            return;
        }
        self.counts.delivered += 1;
        let actor = self.actor(who);
        let again = !actor.seen.insert(number);
        assert!(!again || repeated, "client {who} heard twice: {element}");
        if !again && !repeated {
            actor.heard_in.entry(group).or_default().push(number);
        }
    }

    /// Everybody heard what was said in a room in the same order, and whoever was there heard all of it.
    pub(super) fn compare_rooms(&self) {
        for &group in self.groups.keys() {
            let heard: Vec<(usize, &Vec<usize>)> =
                self.actors.iter().filter_map(|(who, actor)| Some((*who, actor.heard_in.get(&group)?))).collect();
            // What was sent again may have been heard before or after.
            let once = |number: &&usize| !self.sent[*number].repeated;
            for (at, (who, one)) in heard.iter().enumerate() {
                let places: BTreeMap<usize, usize> =
                    one.iter().filter(once).enumerate().map(|(at, number)| (*number, at)).collect();
                for (other, theirs) in &heard[at + 1..] {
                    let common: Vec<usize> = theirs.iter().filter_map(|number| places.get(number).copied()).collect();
                    assert!(common.is_sorted(), "clients {who} and {other} heard in g{group}: {one:?} and {theirs:?}");
                }
            }
        }
        for (number, sent) in &self.sent {
            let Place::Group(group) = sent.place else { continue };
            let Some(by) = sent.by.filter(|_| sent.sure && sent.acknowledged && !sent.refused) else { continue };
            if !self.is_surely_in(by, group, sent.since) {
                continue;
            }
            for (who, actor) in &self.actors {
                let there = self.is_surely_in(*who, group, sent.since);
                assert!(!there || actor.seen.contains(number), "client {who} is in g{group} and misses {number}");
            }
        }
    }

    /// What groups are called.
    pub(super) fn name_of(&self, place: Place) -> String {
        match place {
            Place::Group(group) => format!("g{group}"),
            Place::Pair(one, other) => format!("{} and {}", NAMES[one], NAMES[other]),
        }
    }
}
