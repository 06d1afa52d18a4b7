//! Contacts: who may see whose presence, and from whom nobody wants to hear.

use super::actor::attribute;
use super::perform::Stake;
use super::{Act, Sim};
use crate::world::account_of;

/// A change of whom a user hears from, of which a client was not told yet.
pub(super) struct Blocking {
    pub who: usize,
    user: usize,
    /// Whose stanzas pass, and whose do not.
    others: Vec<(usize, bool)>,
}

impl Sim {
    pub(super) fn perform_among_contacts(&mut self, act: &Act) {
        match *act {
            Act::Presence { who, number, kind } => self.send_presence(who, number, kind),
            Act::Subscription { who, to, kind, change } => self.subscribe(who, to, kind, change),
            Act::Forget { who, id, contact } => self.remove_contact(who, id, contact),
            Act::Block { who, id, other, block } => self.block(who, id, other, block),
            Act::Deny { who, id, other } => self.deny(who, id, other),
            _ => unreachable!("the others are performed elsewhere"),
        }
    }

    /// A presence by which others can see when it was sent.
    pub(super) fn presence(&mut self, user: usize, number: usize, kind: usize) -> String {
        self.presences.insert(number, (user, self.clock));
        let (attribute, more) = match kind {
            0 => (" type='unavailable'", ""),
            1 => ("", "<priority>-1</priority>"),
            2 => ("", "<show>away</show>"),
            _ => ("", ""),
        };
        format!("<presence{attribute}>{more}<status>{number}</status></presence>")
    }

    fn send_presence(&mut self, who: usize, number: usize, kind: usize) {
        let user = self.actor(who).user;
        let xml = self.presence(user, number, kind);
        if kind == 0 {
            // Nobody who is away is in a room.
            self.actor(who).rooms.clear();
        }
        self.stanza(who, &xml, Stake::Nothing);
    }

    fn subscribe(&mut self, who: usize, to: usize, kind: &'static str, change: usize) {
        let user = self.actor(who).user;
        let address = self.address(to, None);
        let stake = match kind {
            "subscribed" | "unsubscribed" => {
                let now = self.now();
                self.shown[user][to].begin(change, kind == "subscribed", now);
                Stake::Shown(to, change)
            }
            "subscribe" => {
                self.requests.push((user, to));
                Stake::Nothing
            }
            _ => Stake::Nothing,
        };
        self.stanza(who, &format!("<presence type='{kind}' to='{address}'/>"), stake);
    }

    fn remove_contact(&mut self, who: usize, id: usize, contact: usize) {
        let (user, now) = (self.actor(who).user, self.now());
        self.shown[user][contact].begin(id, false, now);
        let jid = self.address(contact, None);
        let payload = format!("<query xmlns='jabber:iq:roster'><item jid='{jid}' subscription='remove'/></query>");
        self.request_at_stake(who, id, "set", "", &payload, Stake::Shown(contact, id));
    }

    /// XEP-0191.
    fn block(&mut self, who: usize, id: usize, other: usize, block: bool) {
        let name = if block { "block" } else { "unblock" };
        let jid = self.address(other, None);
        self.changes(who, id, vec![(other, !block)]);
        let payload = format!("<{name} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{name}>");
        self.request(who, id, "set", "", &payload);
    }

    /// XEP-0016: a list that denies one contact becomes the default one, or none does.
    fn deny(&mut self, who: usize, id: usize, other: Option<usize>) {
        let user = self.actor(who).user;
        let all = (0..self.users.len()).filter(|contact| *contact != user);
        self.changes(who, id, all.map(|contact| (contact, Some(contact) != other)).collect());
        let name = match other {
            Some(other) => {
                let jid = self.address(other, None);
                let item = format!("<item type='jid' value='{jid}' action='deny' order='1'/>");
                let list = format!("<list name='not-{other}'>{item}</list>");
                self.request(who, id + LISTS, "set", "", &format!("<query xmlns='jabber:iq:privacy'>{list}</query>"));
                format!(" name='not-{other}'")
            }
            None => String::new(),
        };
        self.request(who, id, "set", "", &format!("<query xmlns='jabber:iq:privacy'><default{name}/></query>"));
    }

    fn changes(&mut self, who: usize, id: usize, others: Vec<(usize, bool)>) {
        let (user, now) = (self.actor(who).user, self.now());
        for &(other, passes) in &others {
            self.passes[user][other].begin(id, passes, now);
        }
        self.blockings.insert(id, Blocking { who, user, others });
    }

    /// A client hears what came of a change.
    pub(super) fn blocking_is_answered(&mut self, id: usize, element: &str) {
        let Some(blocking) = self.blockings.remove(&id) else { return };
        let (now, made) = (self.now(), attribute(element, "type") == Some("result"));
        for (other, _) in blocking.others {
            self.passes[blocking.user][other].end(id, made, now);
        }
    }

    /// Nothing is under way: who is gone for good will not be told, and has nothing more to say.
    pub(super) fn lose_blockings(&mut self, all: bool) {
        let now = self.now();
        let gone = |actor: &super::Actor| !actor.alive && !actor.can_come_back();
        let lost = |blocking: &Blocking| all || gone(&self.actors[&blocking.who]);
        let ids: Vec<usize> = self.blockings.iter().filter(|(_, it)| lost(it)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(blocking) = self.blockings.remove(&id) else { continue };
            for (other, _) in blocking.others {
                let gate = &mut self.passes[blocking.user][other];
                gate.end(id, false, now);
                gate.forget(now);
            }
        }
        if all {
            self.shown.iter_mut().flatten().for_each(|gate| gate.lose_all(now));
        }
    }

    /// Whether what the two send each other has passed since then, as far as that is known.
    pub(super) fn has_passed_since(&self, one: usize, other: usize, then: u64) -> bool {
        self.passes[one][other].was_open_since(then) && self.passes[other][one].was_open_since(then)
    }

    /// Whether it is known that nothing that was sent since then passes between the two.
    fn is_blocked_since(&self, one: usize, other: usize, then: u64) -> bool {
        self.passes[one][other].was_closed_since(then) || self.passes[other][one].was_closed_since(then)
    }

    pub(super) fn hear_presence(&mut self, who: usize, element: &str) {
        let Some(from) = attribute(element, "from").map(str::to_owned) else { return };
        let kind = attribute(element, "type");
        let actor = self.actor(who);
        match kind {
            None => drop(actor.here.insert(from.clone())),
            Some("unavailable") if !from.contains('/') => {
                actor.here.retain(|jid| !jid.starts_with(&format!("{from}/")));
            }
            Some("unavailable") => drop(actor.here.remove(&from)),
            Some(_) => {}
        }
        let number = element.split_once("<status>").and_then(|(_, rest)| rest.split_once("</status>"));
        let Some(number) = number.and_then(|(number, _)| number.parse::<usize>().ok()) else { return };
        let (by, since) = self.presences[&number];
        let user = self.actors[&who].user;
        assert!(from.starts_with(&format!("{}/", self.users[by].jid)), "client {who} hears of another: {element}");
        assert_eq!(self.users[by].app, self.users[user].app, "client {who} hears of another app: {element}");
        if by != user {
            assert!(!self.shown[by][user].was_closed_since(since), "client {who} may not see this: {element}");
            assert!(!self.is_blocked_since(user, by, since), "client {who} hears of one who is blocked: {element}");
            self.counts.presences += 1;
        }
    }

    pub(super) fn compare_rosters(&mut self) {
        let accounts: Vec<_> = self.users.iter().map(|user| self.world.account(account_of(user))).collect();
        for (a, (one, account)) in self.users.iter().zip(&accounts).enumerate() {
            for (b, (other, contact)) in self.users.iter().zip(&accounts).enumerate() {
                let item = account.roster().item(&other.jid);
                let sees = item.is_some_and(|item| item.subscription.to());
                if one.app != other.app {
                    let shows = item.is_some_and(|item| item.subscription.from());
                    assert!(!sees && !shows, "{} and {} are in two apps: {item:?}", one.name, other.name);
                    continue;
                }
                if a == b || !self.has_passed_since(a, b, 0) {
                    // What is blocked is not agreed upon.
                    continue;
                }
                let back = contact.roster().item(&one.jid);
                let shown = back.is_some_and(|item| item.subscription.from());
                let asked = item.is_some_and(|item| item.asked);
                let request = back.is_some_and(|item| item.request.is_some());
                assert_eq!(sees, shown, "{} sees {}: {item:?} and {back:?}", one.name, other.name);
                // A request that was taken back while the contact refused it may be shown again, and comes to nothing.
                assert!(!asked || request, "{} asked {}: {item:?} and {back:?}", one.name, other.name);
                // Both are here with their last clients.
                let last = format!("{}/last", other.jid);
                let here = self.actors[&(super::finish::LAST + a)].here.contains(&last);
                assert_eq!(here, sees, "{} sees {} come: {item:?} and {back:?}", one.name, other.name);
            }
        }
    }
}

/// What is added to the number of a request, for that of the one before it.
const LISTS: usize = 1 << 40;
