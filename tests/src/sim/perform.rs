//! Doing what a history says. An act that makes no sense any more, because others were taken out before it, does nothing.

use std::time::Duration;

use proto::time::Timestamp;

use super::actor::Session;
use super::dialogs::Place;
use super::gate::Gate;
use super::{Act, Actor, Faults, RESOURCES, Sim};

pub(super) const SAVE: &str = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>";

/// What an ack of a stanza tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stake {
    Nothing,
    /// This message is taken care of.
    Message(usize),
    /// This contact sees the user, or no longer: a change of this number.
    Shown(usize, usize),
}

/// A message of the model.
#[derive(Debug)]
pub(super) struct Sent {
    /// The client that sent it; none over the API.
    pub by: Option<usize>,
    pub user: usize,
    pub place: Place,
    /// To one resource, and so perhaps ahead of what waits for the account.
    pub resource: Option<usize>,
    /// It is to be kept.
    pub save: bool,
    /// Its id, once that is known.
    pub id: Option<String>,
    /// When it was sent.
    pub since: u64,
    /// When it was known to be kept.
    pub saved_by: Option<u64>,
    pub acknowledged: bool,
    pub refused: bool,
    /// It was sent more than once.
    pub repeated: bool,
    /// In a room: whoever said it was known to be in there.
    pub sure: bool,
    /// Whether it was taken away.
    pub removed: Gate,
    /// Somebody wanted that.
    pub removals: bool,
}

impl Sent {
    pub fn new(by: Option<usize>, user: usize, place: Place, save: bool, since: u64) -> Sent {
        Sent {
            by,
            user,
            place,
            resource: None,
            save,
            id: None,
            since,
            saved_by: None,
            acknowledged: false,
            refused: false,
            repeated: false,
            sure: false,
            removed: Gate::new(false),
            removals: false,
        }
    }

    /// Whether it was taken away, if that is known: one that is sent again afterwards is another of the same id.
    pub fn is_removed(&self) -> Option<bool> {
        if self.came_back() { None } else { self.removed.is_open() }
    }

    pub fn came_back(&self) -> bool {
        self.repeated && self.removals
    }
}

impl Sim {
    pub(super) fn perform(&mut self, act: &Act) {
        let able = act.who().is_none_or(|who| match act {
            Act::Arrive { .. } => !self.actors.contains_key(&who),
            Act::ComeBack { .. } => self.actors.get(&who).is_some_and(Actor::can_come_back),
            _ => self.actors.get(&who).is_some_and(Actor::is_active),
        });
        if !able {
            return;
        }
        self.counts.faults += u64::from(act.is_fault());
        match *act {
            Act::Arrive { who, user, resource, presence, carbons, resumable } => {
                if self.may_arrive(user, resource) {
                    self.arrive(who, user, resource, presence, carbons, resumable);
                }
            }
            Act::ComeBack { who } => self.come_back(who),
            Act::Message { who, number, to, resource, save } => self.send_message(who, number, to, resource, save),
            Act::Ask { who, id, kind, about } => self.ask(who, id, kind, about),
            Act::Count { who } => self.say(who, "<r xmlns='urn:xmpp:sm:3'/>"),
            Act::Leave { who } => self.leave(who),
            Act::Cut { who } => self.cut(who),
            Act::Stall { who, stalled } => {
                let actor = self.actor(who);
                actor.stalled = stalled;
                let client = actor.client;
                self.world.set_stalled(client, stalled);
            }
            Act::Pass { secs } => {
                self.world.pass(Duration::from_secs(secs));
                self.read();
                self.settle_markers();
                self.lose_blockings(false);
            }
            Act::Clock { secs } => self.set_clock(secs),
            Act::BreakDisk => {
                self.world.break_disk();
                self.broken = true;
            }
            Act::Crash => self.crash(),
            Act::Presence { .. }
            | Act::Subscription { .. }
            | Act::Forget { .. }
            | Act::Block { .. }
            | Act::Deny { .. } => self.perform_among_contacts(act),
            ref other => self.perform_in_dialog(other),
        }
    }

    fn may_arrive(&self, user: usize, resource: usize) -> bool {
        let taken = |actor: &Actor| actor.alive && (actor.user, actor.resource) == (user, resource);
        self.faults != Faults::Calm || !self.actors.values().any(taken)
    }

    fn arrive(
        &mut self,
        who: usize,
        user: usize,
        resource: usize,
        presence: Option<usize>,
        carbons: bool,
        resumable: bool,
    ) {
        let presence = presence.map(|number| self.presence(user, number, 3));
        let carbons = carbons.then(|| "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>".to_owned());
        let first: Vec<String> = carbons.into_iter().chain(presence).collect();
        let resume = if resumable { " resume='true'" } else { "" };
        let more = format!("<enable xmlns='urn:xmpp:sm:3'{resume}/>{}", first.concat());
        let client = self.world.rush(&self.users[user].name, RESOURCES[resource], &more);
        let mut actor = Actor::new(client, user, resource);
        actor.sent.extend(first.into_iter().map(|xml| (xml, Stake::Nothing)));
        self.actors.insert(who, actor);
    }

    fn come_back(&mut self, who: usize) {
        let actor = &self.actors[&who];
        let (old, count, user, resource) = (actor.client, actor.count, actor.user, actor.resource);
        let Session::Resumable(token) = actor.session.clone() else { return };
        self.world.set_stalled(old, false);
        let client = self.world.come_back(&self.users[user].name, RESOURCES[resource], &token, count);
        let actor = self.actor(who);
        (actor.client, actor.alive, actor.stalled, actor.session) = (client, true, false, Session::Back(token));
    }

    pub(super) fn say(&mut self, who: usize, xml: &str) {
        self.tell(|| format!("    {who} says {xml}"));
        let client = self.actor(who).client;
        self.world.say(client, xml);
    }

    pub(super) fn stanza(&mut self, who: usize, xml: &str, stake: Stake) {
        self.say(who, xml);
        self.actor(who).sent.push((xml.to_owned(), stake));
    }

    /// Sends an iq; `to` is an attribute, or nothing.
    pub(super) fn request(&mut self, who: usize, id: usize, kind: &str, to: &str, payload: &str) {
        self.request_at_stake(who, id, kind, to, payload, Stake::Nothing);
    }

    pub(super) fn request_at_stake(
        &mut self,
        who: usize,
        id: usize,
        kind: &str,
        to: &str,
        payload: &str,
        stake: Stake,
    ) {
        self.actor(who).asked.insert(id, 0);
        self.counts.requests += 1;
        self.stanza(who, &format!("<iq type='{kind}' id='q{id}'{to}>{payload}</iq>"), stake);
    }

    fn send_message(&mut self, who: usize, number: usize, to: usize, resource: Option<usize>, save: bool) {
        let address = self.address(to, resource);
        let user = self.actor(who).user;
        // What one sends to oneself is not kept.
        let save = save && to != user && self.users[to].app == self.users[user].app;
        let mut sent = Sent::new(Some(who), user, Place::of_two(user, to), save, self.now());
        (sent.resource, sent.id) = (resource, Some(format!("{number:024x}")));
        self.sent.insert(number, sent);
        self.counts.messages += 1;
        let save = if save { SAVE } else { "" };
        let more = self.padding(number);
        let xml = format!(
            "<message type='chat' to='{address}' id='{number:024x}'><body>{number}</body>{save}{more}</message>"
        );
        self.stanza(who, &xml, Stake::Message(number));
    }

    fn ask(&mut self, who: usize, id: usize, kind: usize, about: usize) {
        let jid = self.address(about, None);
        match kind {
            0 => self.request(who, id, "get", "", "<query xmlns='jabber:iq:roster'/>"),
            1 => self.request(who, id, "get", &format!(" to='{jid}'"), "<ping xmlns='urn:xmpp:ping'/>"),
            2 => {
                let item = format!("<query xmlns='jabber:iq:roster'><item jid='{jid}' name='q{id}'/></query>");
                self.request(who, id, "set", "", &item);
            }
            _ => self.request(who, id, "get", &format!(" to='{jid}/gone'"), "<q xmlns='urn:example'/>"),
        }
    }

    fn leave(&mut self, who: usize) {
        let client = self.actor(who).client;
        self.world.set_stalled(client, false);
        self.world.settle();
        self.read();
        self.world.disconnect(client);
        self.read();
        self.actor(who).alive = false;
    }

    fn cut(&mut self, who: usize) {
        let client = self.actor(who).client;
        self.world.cut_off(client);
        self.read();
        self.actor(who).alive = false;
    }

    /// Sessions of the API end by the calendar, and everybody takes a new one.
    fn set_clock(&mut self, secs: i64) {
        if self.broken {
            // Nobody could take one.
            return;
        }
        let now = self.world.now().stamp.secs();
        self.world.set_calendar(Timestamp::from_secs(now.saturating_add_signed(secs)));
        self.jumped = true;
        self.renew_tokens();
        self.read();
    }

    pub(super) fn crash(&mut self) {
        // What was written to a socket arrives; what was not is as lost as the socket's own buffers would be.
        self.world.flush();
        self.read();
        self.lose_calls();
        self.lose_blockings(true);
        self.broken = false;
        self.world.crash();
        self.actors.values_mut().for_each(|actor| actor.alive = false);
    }
}
