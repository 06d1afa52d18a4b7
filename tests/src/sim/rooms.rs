//! Rooms of groups: who is there, what is said, and what everybody hears of it.

use std::collections::BTreeMap;

use super::Sim;
use super::actor::{Entering, attribute};
use super::calls::{is_refused, number_in};
use super::dialogs::{Mark, Place};
use super::perform::{SAVE, Sent, Stake};

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
    pub(super) fn room(&self, group: usize) -> Option<String> {
        let group = self.groups.get(&group)?;
        let (id, app) = (group.id.as_ref()?, self.users[group.owner].app);
        Some(format!("{app}_{id}@muc.{}", crate::world::DOMAIN))
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

    pub(super) fn nick(&self, who: usize) -> u64 {
        self.users[self.actors[&who].user].id
    }

    pub(super) fn enter(&mut self, who: usize, group: usize, history: bool) {
        let Some(room) = self.room(group) else { return };
        let nick = self.nick(who);
        let history = if history { "" } else { "<history maxstanzas='0'/>" };
        let x = format!("<x xmlns='http://jabber.org/protocol/muc'>{history}</x>");
        let now = self.now();
        let actor = self.actor(who);
        actor.rooms.entry(group).or_insert(None);
        actor.entering.entry(group).or_default().begin(now);
        self.stanza(who, &format!("<presence to='{room}/{nick}' id='enter'>{x}</presence>"), Stake::Nothing);
    }

    pub(super) fn say_in_room(&mut self, who: usize, group: usize, number: usize, save: bool) {
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
        self.stanza(who, &xml, Stake::Message(number));
    }

    /// A client says in a room that it has shown a message.
    pub(super) fn displayed(&mut self, who: usize, call: usize, number: usize) {
        let now = self.now();
        let user = self.actor(who).user;
        let Some(sent) = self.sent.get(&number).filter(|sent| sent.user != user) else { return };
        let (Place::Group(group), Some(id)) = (sent.place, sent.id.clone()) else { return };
        let Some(room) = self.room(group) else { return };
        self.read_mark(user, number).begin(call, Mark::Read, now);
        let stanza = self.actor(who).sent.len();
        self.markers.push(Marker { number: call, who, message: number, stanza, since: now });
        let marker = format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/>");
        self.stanza(
            who,
            &format!("<message type='groupchat' to='{room}' id='d{call}'>{marker}</message>"),
            Stake::Nothing,
        );
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
        } else if element.contains("<subject") {
            self.actor(who).entering.entry(group).or_default().end();
        } else if let Some(number) = number_in(element) {
            self.hear_in_room(who, group, number, element);
        }
    }

    fn hear_room_presence(&mut self, who: usize, group: usize, from: &str, element: &str) {
        let now = self.now();
        let own = from.ends_with(&format!("/{}", self.nick(who)));
        let actor = self.actor(who);
        if own && is_refused(element) {
            actor.entering.entry(group).or_default().end();
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
        let then = if past { actor.entering.get(&group).map_or(0, Entering::since) } else { since };
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
}
