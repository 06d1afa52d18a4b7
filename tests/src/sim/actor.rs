//! A client: what it keeps of its session, and what it makes of what it hears.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::world::Client;

use super::calls::{is_refused, number_in};
use super::dialogs::Place;
use super::perform::{Sent, Stake};
use super::{Faults, Sim};

pub(super) struct Actor {
    pub client: Client,
    pub user: usize,
    pub resource: usize,
    pub alive: bool,
    pub stalled: bool,
    /// The stanzas it sent since it enabled acks, and what an ack of each tells.
    pub sent: Vec<(String, Stake)>,
    /// How many of them are taken care of.
    pub handled: usize,
    pub session: Session,
    /// Stanzas that came since it enabled acks.
    pub count: u32,
    pub seen: BTreeSet<usize>,
    /// The last message seen of each sending client.
    last: HashMap<usize, usize>,
    /// The rooms it has gone into, and since when it knows that it is there.
    pub rooms: BTreeMap<usize, Option<u64>>,
    /// When it went into each room, from the first time on that it has not had all of the answer to.
    pub entering: BTreeMap<usize, Entering>,
    /// What it heard in each room, in this order.
    pub heard_in: BTreeMap<usize, Vec<usize>>,
    /// Since when it knows that it gets copies.
    pub copies_since: Option<u64>,
    /// Messages of which it got copies.
    pub copies: BTreeSet<usize>,
    /// The resources that it sees.
    pub here: BTreeSet<String>,
    /// How many answers came to each request.
    pub asked: BTreeMap<usize, usize>,
}

/// When an actor has gone into a room, as often as it may still hear what was said before.
#[derive(Default)]
pub(super) struct Entering(VecDeque<u64>);

impl Entering {
    pub fn begin(&mut self, now: u64) {
        self.0.push_back(now);
    }

    /// It was turned away, or has heard the subject, which comes last.
    pub fn end(&mut self) {
        if self.0.len() > 1 {
            self.0.pop_front();
        }
    }

    /// When it went in for what it hears now.
    pub fn since(&self) -> u64 {
        self.0.front().copied().unwrap_or(0)
    }
}

/// Whether an actor may come back to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// It has not been told how.
    Passing,
    /// With this.
    Resumable(String),
    /// It has come back, and has not heard what came of that.
    Back(String),
}

impl Actor {
    pub fn new(client: Client, user: usize, resource: usize) -> Actor {
        Actor {
            client,
            user,
            resource,
            alive: true,
            stalled: false,
            sent: Vec::new(),
            handled: 0,
            session: Session::Passing,
            count: 0,
            seen: BTreeSet::new(),
            last: HashMap::new(),
            rooms: BTreeMap::new(),
            entering: BTreeMap::new(),
            heard_in: BTreeMap::new(),
            copies_since: None,
            copies: BTreeSet::new(),
            here: BTreeSet::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Whether it can do something.
    pub fn is_active(&self) -> bool {
        self.alive && !matches!(self.session, Session::Back(_))
    }

    pub fn can_come_back(&self) -> bool {
        matches!(self.session, Session::Resumable(_))
    }
}

impl Sim {
    /// Looks at what every client has received.
    pub(super) fn read(&mut self) {
        let all: Vec<usize> = self.actors.keys().copied().collect();
        for who in all {
            let Some(client) = self.actors.get(&who).filter(|actor| actor.alive).map(|actor| actor.client) else {
                continue;
            };
            for element in self.world.received(client) {
                self.hear(who, &element);
            }
            if self.world.is_over(client) {
                self.actor(who).alive = false;
            }
        }
        self.read_answers();
    }

    /// A client of which it is known that it is there.
    pub(super) fn actor(&mut self, who: usize) -> &mut Actor {
        self.actors.get_mut(&who).expect("only actors act")
    }

    fn hear(&mut self, who: usize, element: &str) {
        self.tell(|| format!("    {who} hears {element}"));
        self.counts.heard += 1;
        let actor = self.actor(who);
        let counts = matches!(actor.session, Session::Resumable(_));
        if counts && ["<message", "<presence", "<iq"].iter().any(|name| element.starts_with(name)) {
            actor.count += 1;
        }
        let stanza = ["<message", "<presence"].iter().any(|name| element.starts_with(name));
        if stanza && attribute(element, "from").is_some_and(|from| from.contains("@muc.")) && !element.contains(MAM) {
            self.hear_from_room(who, element);
        } else if element.starts_with("<message") {
            self.hear_message(who, element);
        } else if element.starts_with("<presence") {
            self.hear_presence(who, element);
        } else if element.starts_with("<enabled ") {
            if let Some(token) = attribute(element, "id") {
                actor.session = Session::Resumable(token.to_owned());
            }
        } else if element.starts_with("<r ") && self.luck.percent(80) {
            let count = self.actor(who).count;
            self.say(who, &format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>"));
        } else if element.starts_with("<resumed ") {
            self.goes_on(who, element);
        } else if element.starts_with("<failed ") || element.starts_with("<failure ") {
            let actor = self.actor(who);
            (actor.session, actor.alive) = (Session::Passing, false);
            let client = actor.client;
            self.world.cut_off(client);
        } else if element.starts_with("<a ") {
            self.acknowledged(who, element);
        } else if element.starts_with("<iq") && matches!(attribute(element, "type"), Some("result" | "error")) {
            self.hear_answer(who, element);
        }
    }

    fn hear_answer(&mut self, who: usize, element: &str) {
        if attribute(element, "id") == Some("c") {
            let now = self.now();
            self.actor(who).copies_since = Some(now);
        }
        let id = attribute(element, "id").and_then(|id| id.strip_prefix('q')).and_then(|id| id.parse().ok());
        let Some(id): Option<usize> = id else { return };
        if let Some(answers) = self.actor(who).asked.get_mut(&id) {
            *answers += 1;
            assert!(*answers == 1, "client {who} had a second answer: {element}");
            self.blocking_is_answered(id, element);
        }
    }

    fn acknowledged(&mut self, who: usize, element: &str) {
        let count: usize = attribute(element, "h").expect("an ack counts").parse().expect("a number");
        let actor = self.actor(who);
        assert!(count <= actor.sent.len(), "client {who} sent {} stanzas, not {count}", actor.sent.len());
        assert!(count >= actor.handled, "client {who}: {} stanzas were handled, now {count}", actor.handled);
        let before = std::mem::replace(&mut actor.handled, count);
        let user = actor.user;
        let stakes: Vec<Stake> = actor.sent[before..count].iter().map(|(_, stake)| *stake).collect();
        let now = self.now();
        for stake in stakes {
            match stake {
                Stake::Nothing => {}
                Stake::Message(number) => self.taken(who, number, element.starts_with("<resumed ")),
                Stake::Shown(contact, change) => self.shown[user][contact].end(change, true, now),
            }
        }
    }

    /// A message of a client is taken care of. A client that comes back hears of refusals after that.
    fn taken(&mut self, who: usize, number: usize, resumed: bool) {
        let now = self.now();
        let Some(sent) = self.sent.get(&number) else { return };
        let kept = sent.save
            && match sent.place {
                Place::Group(group) => !resumed && sent.sure && self.is_surely_in(who, group, sent.since),
                Place::Pair(one, other) => !sent.refused && self.has_passed_since(one, other, sent.since),
            };
        let sent = self.sent.get_mut(&number).expect("it was there just now");
        self.counts.acknowledged += u64::from(!sent.acknowledged);
        sent.acknowledged = true;
        if kept {
            sent.saved_by.get_or_insert(now);
        }
    }

    /// The session goes on: what the server has not had is sent again.
    fn goes_on(&mut self, who: usize, resumed: &str) {
        self.acknowledged(who, resumed);
        let actor = self.actor(who);
        let Session::Back(token) = actor.session.clone() else { panic!("nobody resumed: {resumed}") };
        actor.session = Session::Resumable(token);
        let again: Vec<String> = actor.sent[actor.handled..].iter().map(|it| it.0.clone()).collect();
        self.counts.resumed += 1;
        for xml in again {
            self.say(who, &xml);
        }
    }

    fn hear_message(&mut self, who: usize, element: &str) {
        // What has no text is about a message: a marker, a copy out of an archive.
        let Some(number) = number_in(element) else { return };
        if element.contains(MAM) {
            return self.archived.push(number);
        }
        if element.contains(CARBONS) {
            return self.hear_copy(who, number, element);
        }
        let sent = &self.sent[&number];
        if let (true, Place::Pair(one, other)) = (is_refused(element), sent.place) {
            let passed = self.has_passed_since(one, other, sent.since);
            assert!(!passed || self.broken, "client {who}: chat is refused only to the blocked: {element}");
            self.sent.get_mut(&number).expect("it was there just now").refused = true;
            return;
        }
        let (by, direct, repeated, user) = (sent.by, sent.resource.is_some(), sent.repeated, sent.user);
        let Place::Pair(one, other) = sent.place else { panic!("client {who}: said in a room: {element}") };
        let to = if one == user { other } else { one };
        let calm = self.faults == Faults::Calm;
        assert_eq!(self.users[one].app, self.users[other].app, "client {who} hears of another app: {element}");
        let blocked = self.passes[to][user].was_closed_since(sent.since);
        assert!(!blocked || self.actors[&who].user != to, "client {who} hears from one who is blocked: {element}");
        let actor = self.actor(who);
        // What is posted comes to the one who posts it, too.
        assert!(actor.user == to || (actor.user == user && by.is_none()), "client {who} heard another's: {element}");
        assert!(actor.seen.insert(number) || repeated, "client {who} received twice: {element}");
        if let Some(by) = by.filter(|_| calm && !direct && !repeated) {
            let last = actor.last.insert(by, number);
            assert!(last.is_none_or(|last| last < number), "client {who}: out of order after {last:?}: {element}");
        }
        self.counts.delivered += 1;
        if self.actors[&who].user == to {
            self.arrived.insert(number);
        }
    }

    /// A copy of what another client of the user has sent.
    fn hear_copy(&mut self, who: usize, number: usize, element: &str) {
        let sent = &self.sent[&number];
        let (by, user, repeated) = (sent.by, sent.user, sent.repeated);
        assert!(
            matches!(sent.place, Place::Pair(one, other) if one != other),
            "client {who}: no copy of this: {element}"
        );
        let actor = self.actor(who);
        assert!(by.is_some_and(|by| by != who || repeated), "client {who} gets a copy of its own: {element}");
        assert_eq!(actor.user, user, "client {who} gets a copy of another's: {element}");
        assert!(actor.copies.insert(number) || repeated, "client {who} gets a second copy: {element}");
        self.counts.delivered += 1;
    }

    /// Whoever wants copies has them of all that the user's other clients have sent to others.
    pub(super) fn compare_copies(&self) {
        let wanting = self.actors.iter().filter_map(|(who, actor)| Some((*who, actor, actor.copies_since?)));
        for (who, actor, copied_since) in wanting.filter(|(_, actor, _)| actor.alive) {
            let due = |sent: &Sent| match sent.place {
                Place::Pair(one, other) => {
                    let by_another = sent.user == actor.user && sent.by.is_some_and(|by| by != who);
                    let goes_out = one != other && self.users[one].app == self.users[other].app;
                    by_another && goes_out && self.has_passed_since(one, other, sent.since)
                }
                Place::Group(_) => false,
            };
            for (number, sent) in self.sent.iter().filter(|(_, sent)| sent.since > copied_since && due(sent)) {
                let has = actor.copies.contains(number);
                assert!(has || !sent.acknowledged || sent.repeated, "client {who} has no copy of {number}");
            }
        }
    }
}

const CARBONS: &str = "urn:xmpp:carbons:2";
const MAM: &str = "urn:xmpp:mam:2";

/// Payload and attributes are passed on as the sender quoted them.
pub(super) fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let tag = &element[..element.find('>')?];
    let (_, rest) = tag.split_once(&format!(" {name}="))?;
    let quote = rest.chars().next()?;
    rest[1..].split_once(quote).map(|(value, _)| value)
}
