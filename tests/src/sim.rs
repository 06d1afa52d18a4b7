//! Random histories: clients that come, talk, fall silent and are cut off, against a server whose parts work in random order.
//!
//! The model knows little, and that little for certain: what was acknowledged arrives, a session sees nothing twice, messages of
//! one session to another stay in order while nothing breaks, every iq has one answer, and when all is quiet the rosters of
//! any two users agree. Sessions go on over other connections (XEP-0198): then nothing is missing, in neither direction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::world::{Client, Dice, World, account_id};

/// What goes wrong in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Clients leave in good order, when nothing is under way.
    Calm,
    /// Connections break at any moment, stall, and lose their resource to others.
    Cuts,
    /// The server is killed.
    Crashes,
}

const NAMES: [&str; 5] = ["romeo", "juliet", "mercutio", "nurse", "benvolio"];
const RESOURCES: [&str; 3] = ["a", "b", "c"];

const SAVE: &str = "<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>";

/// A message of the model.
#[derive(Debug)]
struct Sent {
    by: Client,
    to: usize,
    /// To one resource, and so perhaps ahead of what waits for the account.
    direct: bool,
    acknowledged: bool,
}

struct Actor {
    client: Client,
    user: usize,
    alive: bool,
    stalled: bool,
    /// The stanzas it sent since it enabled acks; which of them are messages.
    sent: Vec<(String, Option<usize>)>,
    /// How many of them are taken care of.
    handled: usize,
    session: Session,
    /// Stanzas that came since it enabled acks.
    count: u32,
    seen: BTreeSet<usize>,
    /// The last message seen of each sending client.
    last: HashMap<Client, usize>,
    asked: BTreeMap<String, usize>,
}

/// Whether an actor may come back to its session.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Session {
    /// It has not been told how.
    Passing,
    /// With this.
    Resumable(String),
    /// It has come back, and has not heard what came of that.
    Back(String),
}

/// One history.
pub struct Sim {
    world: World,
    dice: Dice,
    faults: Faults,
    actors: Vec<Actor>,
    sent: Vec<Sent>,
    arrived: BTreeSet<usize>,
    iqs: usize,
    aloud: bool,
}

impl Sim {
    /// The history of this seed. `aloud` tells what happens.
    pub fn new(seed: u64, faults: Faults, aloud: bool) -> Sim {
        let mut world = World::seeded(3, seed);
        for name in NAMES {
            world.user(name);
        }
        let dice = Dice::new(seed ^ 0x0ac7_0125);
        Sim { world, dice, faults, actors: Vec::new(), sent: Vec::new(), arrived: BTreeSet::new(), iqs: 0, aloud }
    }

    /// Lets so many things be done, and then looks at what is left.
    ///
    /// # Panics
    /// When the server breaks a promise.
    pub fn run(mut self, acts: usize) {
        for _ in 0..acts {
            self.act();
            for _ in 0..self.dice.below(25) {
                self.world.step();
            }
            self.read();
        }
        self.finish();
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{}", what());
        }
    }

    fn act(&mut self) {
        let is_active = |actor: &Actor| actor.alive && !matches!(actor.session, Session::Back(_));
        let alive: Vec<usize> = (0..self.actors.len()).filter(|&at| is_active(&self.actors[at])).collect();
        if self.dice.percent(10) && self.come_back() {
            return;
        }
        if alive.is_empty() || (alive.len() < 8 && self.dice.percent(15)) {
            return self.arrive();
        }
        let at = alive[self.dice.below(alive.len())];
        match self.dice.below(100) {
            0..40 => self.send_message(at),
            40..52 => self.send_presence(at),
            52..70 => self.send_subscription(at),
            70..78 => self.send_iq(at),
            78..90 => self.say(at, "<r xmlns='urn:xmpp:sm:3'/>"),
            90..96 => self.leave(at),
            96..98 => self.stall(at),
            98 => self.wait(),
            _ => self.crash(),
        }
    }

    fn arrive(&mut self) {
        let user = self.dice.below(NAMES.len());
        let resource = RESOURCES[self.dice.below(RESOURCES.len())];
        let jid = format!("{}/{resource}", self.world.user(NAMES[user]).jid);
        let taken = self.actors.iter().any(|actor| actor.alive && self.world.jid(actor.client) == jid);
        if taken && self.faults == Faults::Calm {
            return;
        }
        let presence = if self.dice.percent(80) { "<presence/>" } else { "" };
        let resume = if self.faults == Faults::Cuts && self.dice.percent(60) { " resume='true'" } else { "" };
        let more = format!("<enable xmlns='urn:xmpp:sm:3'{resume}/>{presence}");
        let client = self.world.rush(NAMES[user], resource, &more);
        self.tell(|| format!("{client:?}: {jid} comes {presence}"));
        let mut actor = Actor::new(client, user);
        if !presence.is_empty() {
            actor.sent.push((presence.to_owned(), None));
        }
        self.actors.push(actor);
    }

    /// Somebody goes on with a session, whether or not its last connection is known to be gone. False if nobody can.
    fn come_back(&mut self) -> bool {
        let can = |at: &usize| matches!(self.actors[*at].session, Session::Resumable(_));
        let able: Vec<usize> = (0..self.actors.len()).filter(can).collect();
        if able.is_empty() {
            return false;
        }
        let at = able[self.dice.below(able.len())];
        let Session::Resumable(token) = self.actors[at].session.clone() else { return false };
        let (old, count, user) = (self.actors[at].client, self.actors[at].count, self.actors[at].user);
        let resource = self.world.jid(old).split_once('/').map(|(_, resource)| resource.to_owned()).unwrap_or_default();
        self.world.set_stalled(old, false);
        let client = self.world.come_back(NAMES[user], &resource, &token, count);
        self.tell(|| format!("{client:?}: {old:?} comes back, having had {count}"));
        let actor = &mut self.actors[at];
        (actor.client, actor.alive, actor.stalled, actor.session) = (client, true, false, Session::Back(token));
        true
    }

    fn say(&mut self, at: usize, xml: &str) {
        let client = self.actors[at].client;
        self.tell(|| format!("{client:?} says {xml}"));
        self.world.say(client, xml);
    }

    fn stanza(&mut self, at: usize, xml: &str, message: Option<usize>) {
        self.say(at, xml);
        self.actors[at].sent.push((xml.to_owned(), message));
    }

    fn jid_of(&mut self, user: usize) -> String {
        self.world.user(NAMES[user]).jid
    }

    fn send_message(&mut self, at: usize) {
        for _ in 0..=self.dice.below(4) {
            let to = self.dice.below(NAMES.len());
            let mut address = self.jid_of(to);
            let direct = self.dice.percent(25);
            if direct {
                address = format!("{address}/{}", RESOURCES[self.dice.below(RESOURCES.len())]);
            }
            let number = self.sent.len();
            let by = self.actors[at].client;
            self.sent.push(Sent { by, to, direct, acknowledged: false });
            // Those take the way by the dialog of the two.
            let save = if self.dice.percent(40) { SAVE } else { "" };
            let xml =
                format!("<message type='chat' to='{address}' id='{number:024x}'><body>{number}</body>{save}</message>");
            self.stanza(at, &xml, Some(number));
        }
    }

    fn send_presence(&mut self, at: usize) {
        let xml = match self.dice.below(5) {
            0 => "<presence type='unavailable'/>",
            1 => "<presence><priority>-1</priority></presence>",
            2 => "<presence><show>away</show></presence>",
            _ => "<presence/>",
        };
        self.stanza(at, xml, None);
    }

    fn send_subscription(&mut self, at: usize) {
        let to = self.dice.below(NAMES.len());
        let to = self.jid_of(to);
        let kinds = ["subscribe", "subscribed", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "remove"];
        let kind = kinds[self.dice.below(kinds.len())];
        if kind == "remove" {
            let id = self.iq_id(at);
            let xml = format!(
                "<iq type='set' id='{id}'><query xmlns='jabber:iq:roster'><item jid='{to}' subscription='remove'/></query></iq>"
            );
            self.stanza(at, &xml, None);
        } else {
            self.stanza(at, &format!("<presence type='{kind}' to='{to}'/>"), None);
        }
    }

    fn send_iq(&mut self, at: usize) {
        let id = self.iq_id(at);
        let user = self.dice.below(NAMES.len());
        let jid = self.jid_of(user);
        let xml = match self.dice.below(4) {
            0 => format!("<iq type='get' id='{id}'><query xmlns='jabber:iq:roster'/></iq>"),
            1 => format!("<iq type='get' id='{id}' to='{jid}'><ping xmlns='urn:xmpp:ping'/></iq>"),
            2 => format!(
                "<iq type='set' id='{id}'><query xmlns='jabber:iq:roster'><item jid='{jid}' name='{id}'/></query></iq>"
            ),
            _ => format!("<iq type='get' id='{id}' to='{jid}/gone'><q xmlns='urn:example'/></iq>"),
        };
        self.stanza(at, &xml, None);
    }

    fn iq_id(&mut self, at: usize) -> String {
        self.iqs += 1;
        let id = format!("q{}", self.iqs);
        self.actors[at].asked.insert(id.clone(), 0);
        id
    }

    fn leave(&mut self, at: usize) {
        let client = self.actors[at].client;
        if self.faults == Faults::Cuts && self.dice.percent(60) {
            self.tell(|| format!("{client:?} is cut off"));
            self.world.cut_off(client);
        } else {
            self.tell(|| format!("{client:?} leaves"));
            self.world.set_stalled(client, false);
            self.world.settle();
            self.read();
            self.world.disconnect(client);
        }
        self.read();
        self.actors[at].alive = false;
    }

    fn stall(&mut self, at: usize) {
        if self.faults == Faults::Cuts {
            let stalled = !self.actors[at].stalled;
            self.actors[at].stalled = stalled;
            self.tell(|| format!("{:?} stalls: {stalled}", self.actors[at].client));
            self.world.set_stalled(self.actors[at].client, stalled);
        }
    }

    /// Accounts that nobody uses leave memory meanwhile, and silent clients are asked whether they are there.
    fn wait(&mut self) {
        let time = Duration::from_secs([20, 80][self.dice.below(2)]);
        self.tell(|| format!("{time:?} pass"));
        self.world.pass(time);
    }

    fn crash(&mut self) {
        if self.faults != Faults::Crashes {
            return;
        }
        self.tell(|| "the server crashes".to_owned());
        // What was written to a socket arrives; what was not is as lost as the socket's own buffers would be.
        self.world.flush();
        self.read();
        self.world.crash();
        self.actors.iter_mut().for_each(|actor| actor.alive = false);
    }

    /// Looks at what every client has received.
    fn read(&mut self) {
        for at in 0..self.actors.len() {
            if self.actors[at].alive {
                for element in self.world.received(self.actors[at].client) {
                    self.hear(at, &element);
                }
                if self.world.is_over(self.actors[at].client) {
                    self.actors[at].alive = false;
                }
            }
        }
    }

    fn hear(&mut self, at: usize, element: &str) {
        let client = self.actors[at].client;
        self.tell(|| format!("    {client:?} hears {element}"));
        let counts = matches!(self.actors[at].session, Session::Resumable(_));
        if counts && ["<message", "<presence", "<iq"].iter().any(|name| element.starts_with(name)) {
            self.actors[at].count += 1;
        }
        if element.starts_with("<message") {
            self.hear_message(at, element);
        } else if element.starts_with("<enabled ") {
            if let Some(token) = attribute(element, "id") {
                self.actors[at].session = Session::Resumable(token.to_owned());
            }
        } else if element.starts_with("<r ") && self.dice.percent(80) {
            let count = self.actors[at].count;
            self.say(at, &format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>"));
        } else if element.starts_with("<resumed ") {
            self.goes_on(at, element);
        } else if element.starts_with("<failed ") {
            self.actors[at].session = Session::Passing;
            self.actors[at].alive = false;
            self.world.cut_off(client);
        } else if element.starts_with("<a ") {
            self.acknowledged(at, element);
        } else if element.starts_with("<iq")
            && matches!(attribute(element, "type"), Some("result" | "error"))
            && let Some(answers) = attribute(element, "id").and_then(|id| self.actors[at].asked.get_mut(id))
        {
            *answers += 1;
            assert!(*answers == 1, "{client:?} had a second answer: {element}");
        }
    }

    fn acknowledged(&mut self, at: usize, element: &str) {
        let count: usize = attribute(element, "h").expect("an ack counts").parse().expect("a number");
        let actor = &mut self.actors[at];
        assert!(count <= actor.sent.len(), "{:?} sent {} stanzas, not {count}", actor.client, actor.sent.len());
        assert!(count >= actor.handled, "{:?}: {} stanzas were handled, now {count}", actor.client, actor.handled);
        actor.handled = count;
        for (_, message) in &actor.sent[..count] {
            if let Some(message) = message {
                self.sent[*message].acknowledged = true;
            }
        }
    }

    /// The session goes on: what the server has not had is sent again.
    fn goes_on(&mut self, at: usize, resumed: &str) {
        self.acknowledged(at, resumed);
        let Session::Back(token) = self.actors[at].session.clone() else { panic!("nobody resumed: {resumed}") };
        self.actors[at].session = Session::Resumable(token);
        let again: Vec<String> =
            self.actors[at].sent[self.actors[at].handled..].iter().map(|it| it.0.clone()).collect();
        for xml in again {
            self.say(at, &xml);
        }
    }

    fn hear_message(&mut self, at: usize, element: &str) {
        let id = attribute(element, "id").expect("messages here have ids");
        let number = usize::from_str_radix(id, 16).expect("a number");
        let actor = &mut self.actors[at];
        let client = actor.client;
        assert!(attribute(element, "type") != Some("error"), "{client:?}: chat is never refused here: {element}");
        assert_eq!(self.sent[number].to, actor.user, "{client:?} received another's message: {element}");
        assert!(actor.seen.insert(number), "{client:?} received twice: {element}");
        self.arrived.insert(number);
        let sent = &self.sent[number];
        if self.faults == Faults::Calm && !sent.direct {
            let last = actor.last.insert(sent.by, number);
            assert!(last.is_none_or(|last| last < number), "{client:?}: out of order after {last:?}: {element}");
        }
    }

    /// Everybody who lives comes to rest, and everybody's last client fetches what waits.
    fn finish(&mut self) {
        for at in 0..self.actors.len() {
            if self.actors[at].alive {
                self.world.set_stalled(self.actors[at].client, false);
                self.say(at, "<r xmlns='urn:xmpp:sm:3'/>");
            }
        }
        self.rest();
        for actor in self.actors.iter().filter(|actor| actor.alive) {
            let unanswered: Vec<_> = actor.asked.iter().filter(|(_, answers)| **answers == 0).collect();
            assert!(unanswered.is_empty(), "{:?} was never answered: {unanswered:?}", actor.client);
            assert_eq!(actor.handled, actor.sent.len(), "{:?}: stanzas never acknowledged", actor.client);
        }
        for at in 0..self.actors.len() {
            if self.actors[at].alive {
                self.world.cut_off(self.actors[at].client);
                self.actors[at].alive = false;
            }
        }
        if self.dice.percent(50) {
            // Those who may come back do not, and their sessions end.
            self.world.pass(Duration::from_secs(310));
        }
        for (user, name) in NAMES.into_iter().enumerate() {
            let client = self.world.rush(name, "last", "<presence/>");
            self.tell(|| format!("{client:?}: {name} comes for the last time"));
            self.actors.push(Actor::new(client, user));
        }
        self.rest();
        let lost: Vec<_> = (0..self.sent.len())
            .filter(|number| self.sent[*number].acknowledged && !self.arrived.contains(number))
            .collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        self.compare_rosters();
    }

    /// Everybody reads and answers until nobody has anything to say.
    fn rest(&mut self) {
        for _ in 0..RESTS {
            self.world.settle();
            self.read();
            for at in 0..self.actors.len() {
                if let (true, Session::Resumable(_)) = (self.actors[at].alive, &self.actors[at].session) {
                    let count = self.actors[at].count;
                    self.say(at, &format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/><r xmlns='urn:xmpp:sm:3'/>"));
                }
            }
        }
        self.world.settle();
        self.read();
    }

    fn compare_rosters(&mut self) {
        let users: Vec<_> = NAMES.iter().map(|name| self.world.user(name)).collect();
        let accounts: Vec<_> = users.iter().map(|user| self.world.account(account_id(user.id))).collect();
        for (one, account) in users.iter().zip(&accounts) {
            for (other, contact) in users.iter().zip(&accounts) {
                let item = account.roster().item(&other.jid);
                let back = contact.roster().item(&one.jid);
                let sees = item.is_some_and(|item| item.subscription.to());
                let shown = back.is_some_and(|item| item.subscription.from());
                assert_eq!(sees, shown, "{} sees {}: {item:?} and {back:?}", one.name, other.name);
                let asked = item.is_some_and(|item| item.asked);
                let request = back.is_some_and(|item| item.request.is_some());
                // A request that was taken back while the contact refused it may be shown again, and comes to nothing.
                assert!(!asked || request, "{} asked {}: {item:?} and {back:?}", one.name, other.name);
            }
        }
    }
}

/// How often everybody looks whether something came before a history ends.
const RESTS: usize = 8;

impl Actor {
    fn new(client: Client, user: usize) -> Actor {
        Actor {
            client,
            user,
            alive: true,
            stalled: false,
            sent: Vec::new(),
            handled: 0,
            session: Session::Passing,
            count: 0,
            seen: BTreeSet::new(),
            last: HashMap::new(),
            asked: BTreeMap::new(),
        }
    }
}

/// Payload and attributes are passed on as the sender quoted them.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let tag = &element[..element.find('>')?];
    let (_, rest) = tag.split_once(&format!(" {name}="))?;
    let quote = rest.chars().next()?;
    rest[1..].split_once(quote).map(|(value, _)| value)
}
