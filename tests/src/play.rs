//! Plays: what clients say and hear, as text that anyone who knows XMPP can read.
//!
//! ```text
//! # A comment.
//! Romeo connects.
//! Romeo sends:
//!   <message to="${juliet}" type="chat"><body>Hi</body></message>
//! Juliet receives:
//!   <message from="${Romeo}" to="${juliet}" type="chat"><body>Hi</body></message>
//! ```
//!
//! `Romeo` is a user's only (or first) client, `Romeo/phone` the client with that resource. Users sign up when they are first
//! named. In XML, `${romeo}` is the bare and `${Romeo}` the full JID. Expected XML is compared by meaning: the order of
//! attributes and white space between elements do not matter, `${*}` stands for any value, `<etc/>` for any children.
//! What a client receives and no line mentions fails the play at its end.
//!
//! | line | what happens |
//! |---|---|
//! | `Romeo connects.` | logs in with the resource `balcony` (or the one after the slash) |
//! | `Romeo logs in.` | without a resource; `${session Romeo}` is what he was told to resume with |
//! | `Romeo enters with:` / `Romeo enters by token with:` | logs in by SASL2, with these wishes; `Romeo/phone` is another installation |
//! | `Romeo is online.` | connects if need be, sends presence, and nobody looks at what comes of it |
//! | `Romeo gets the roster.` | asks for it, and nobody looks at the answer |
//! | `Romeo and Juliet are friends.` | each sees the other's presence |
//! | `Romeo sends:` / `Romeo sends 100 times:` | elements; `${n}` counts from 1 |
//! | `Romeo receives:` / `… in any order:` / `… 100 times:` | these are what comes next |
//! | `Romeo receives nothing.` / `Romeo ignores the rest.` | nothing came; whatever came is of no interest |
//! | `Romeo disconnects.` / `Romeo is cut off.` / `Romeo is disconnected.` | by itself, by the network, by the server |
//! | `Romeo stalls.` / `Romeo reads again.` | takes no output meanwhile |
//! | `echo.localhost connects.` / `… is turned away.` | a component, in all else as a client; it has one connection at most |
//! | `Romeo is removed.` / `Romeo changes the password.` | over REST |
//! | `Romeo and Juliet have a group.` / `Romeo takes Juliet out.` / `Romeo deletes the group.` | `${group}` is its room, `${#juliet}` a nick |
//! | `Tybalt belongs to another app.` | before anything else of Tybalt |
//! | `5 seconds pass.` `The disk waits.` `The disk goes on.` `The disk breaks.` `The server stops.` `The server crashes.` | the world |

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use proto::jid::user::{AppId, DialogId, UserId};
use proto::model::dialog;
use proto::ns;
use proto::owner::Owner;
use proto::xml::{Context, Element, Limits, Nodes};

use crate::world::{Client, DOMAIN, SECRET, Showing, Transport, World};

/// The id of the group that plays can have.
const GROUP: &str = "53aaa06f535c12cea9007496";
/// The resource of those who name none.
const RESOURCE: &str = "balcony";

/// Performs a play.
///
/// # Panics
/// When it goes otherwise than it is written: with the file, the line, what was expected and what came.
pub fn perform(path: &Path, world: World, transport: Transport) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut stage = Stage {
        world,
        transport,
        clients: HashMap::new(),
        heard: HashMap::new(),
        left: Vec::new(),
        tokens: HashMap::new(),
    };
    let lines = read(&text);
    for line in &lines {
        if let Err(fault) = stage.act(line) {
            panic!("{}:{}: {}\n{fault}\n{}", path.display(), line.number, line.text, stage.overheard());
        }
    }
    if let Err(fault) = stage.close() {
        panic!("{}: at the end: {fault}\n{}", path.display(), stage.overheard());
    }
}

/// A line of a play, with the XML below it.
struct Line {
    number: usize,
    text: String,
    xml: String,
}

fn read(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some(last) if line.starts_with(char::is_whitespace) => {
                // Attributes may go on in the next line; white space between elements is not sent.
                if !last.xml.is_empty() && !last.xml.ends_with('>') {
                    last.xml.push(' ');
                }
                last.xml.push_str(content);
            }
            _ => lines.push(Line { number, text: content.to_owned(), xml: String::new() }),
        }
    }
    lines
}

struct Stage {
    world: World,
    transport: Transport,
    clients: HashMap<String, Client>,
    /// What each client heard, for the report of a failure.
    heard: HashMap<String, Vec<String>>,
    /// Clients that are gone, whose last words still have to be looked at.
    left: Vec<(String, Client)>,
    /// The last token that each client was given. XEP-0484
    tokens: HashMap<String, String>,
}

type Acted = Result<(), String>;

impl Stage {
    fn act(&mut self, line: &Line) -> Acted {
        let text = line.text.trim_end_matches(['.', ':']);
        if let Some(done) = self.change_world(text) {
            return done;
        }
        if let Some((one, two)) = text.strip_suffix(" are friends").and_then(|pair| pair.split_once(" and ")) {
            return self.befriend(one, two);
        }
        if let Some((one, two)) = text.strip_suffix(" have a group").and_then(|pair| pair.split_once(" and ")) {
            let (by, other) = (self.number(one), self.number(two));
            let (kind, name) = (dialog::DialogKind::Group, Some("Capulets".to_owned()));
            let occupants = vec![other];
            return self.group(dialog::Command::Create { by, kind, name, photo: None, occupants, data: None });
        }
        if let Some((one, two)) = text.strip_suffix(" out").and_then(|pair| pair.split_once(" takes ")) {
            let change = dialog::Change { pull: vec![self.number(two)], ..dialog::Change::default() };
            let by = self.number(one);
            return self.group(dialog::Command::Update { by, change });
        }
        let (name, deed) = text.split_once(' ').ok_or("nobody does anything here")?;
        match deed {
            "connects" if is_component(name) => self.connect_component(name),
            "is turned away" => self.is_turned_away(name),
            "connects" => self.connect(name),
            "logs in" => self.log_in(name),
            "enters with" | "enters by token with" => self.enter(name, deed != "enters with", &line.xml),
            "is online" => self.appear(name),
            "gets the roster" => {
                let client = self.client(name)?;
                self.world.send(
                    client,
                    "<iq xmlns='jabber:client' type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>",
                );
                self.ignore_all();
                Ok(())
            }
            "receives nothing" => match self.next(name)? {
                None => Ok(()),
                Some(element) => Err(format!("expected nothing, received\n  {element}")),
            },
            "ignores the rest" => {
                while self.next(name)?.is_some() {}
                Ok(())
            }
            "disconnects" => {
                let client = self.leave(name)?;
                self.world.disconnect(client);
                Ok(())
            }
            "is cut off" => {
                let client = self.leave(name)?;
                self.world.cut_off(client);
                self.world.settle();
                Ok(())
            }
            "is disconnected" => {
                let client = self.leave(name)?;
                if self.world.is_over(client) { Ok(()) } else { Err("the stream is still open".to_owned()) }
            }
            "stalls" => self.stall(name, true),
            "reads again" => self.stall(name, false),
            "is removed" => {
                self.world.remove_user(&user_of(name));
                Ok(())
            }
            "changes the password" => {
                self.world.change_password(&user_of(name), "another password");
                Ok(())
            }
            "deletes the group" => {
                let by = self.number(name);
                self.group(dialog::Command::Delete { by, force: true })
            }
            "belongs to another app" => {
                let (app, keys) = self.world.create_app("Mantua");
                self.world.sign_up(&user_of(name), app, &keys);
                Ok(())
            }
            _ => self.speak(name, deed, &line.xml),
        }
    }

    fn number(&mut self, name: &str) -> UserId {
        UserId(self.world.user(&user_of(name)).id)
    }

    /// Has the only group there is do something.
    fn group(&mut self, command: dialog::Command) -> Acted {
        let id = DialogId::parse(GROUP.as_bytes()).ok_or("no id")?;
        self.world.command(Owner::Dialog(AppId(1), id), command.into());
        Ok(())
    }

    fn change_world(&mut self, text: &str) -> Option<Acted> {
        match text {
            "The disk waits" => self.world.hold_commits(),
            "The disk goes on" => self.world.release_commits(),
            "The disk breaks" => self.world.break_disk(),
            "The server stops" => self.world.stop(),
            "The server crashes" => {
                self.world.crash();
                self.world.settle();
                self.left.extend(self.clients.drain());
            }
            _ => {
                let (count, unit) = text.strip_suffix(" pass").or(text.strip_suffix(" passes"))?.split_once(' ')?;
                let count: u64 = count.parse().ok()?;
                let seconds = match unit.trim_end_matches('s') {
                    "second" => count,
                    "minute" => count * 60,
                    "hour" => count * 3600,
                    _ => return Some(Err(format!("{unit}?"))),
                };
                self.world.pass(Duration::from_secs(seconds));
            }
        }
        Some(Ok(()))
    }

    fn speak(&mut self, name: &str, deed: &str, xml: &str) -> Acted {
        let words: Vec<&str> = deed.split(' ').collect();
        let times = match words[..] {
            [.., count, "times"] => count.parse().map_err(|_| format!("how often is {count}?"))?,
            _ => 1usize,
        };
        for n in 1..=times {
            let xml = self.fill(xml, n)?;
            match words[0] {
                "sends" => {
                    let client = self.client(name)?;
                    self.world.send(client, &xml);
                }
                "receives" if deed.ends_with("in any order") => self.receive_unordered(name, &xml)?,
                "receives" => self.receive(name, &xml)?,
                _ => return Err(format!("nobody knows how to do this: {deed}")),
            }
        }
        Ok(())
    }

    fn receive(&mut self, name: &str, xml: &str) -> Acted {
        for expected in crate::world::client::elements(xml) {
            let Some(received) = self.next(name)? else {
                return Err(format!("expected\n  {expected}\nand nothing came"));
            };
            if !is_as_expected(&received, &expected)? {
                return Err(format!("expected\n  {expected}\nreceived\n  {received}"));
            }
        }
        Ok(())
    }

    fn receive_unordered(&mut self, name: &str, xml: &str) -> Acted {
        let mut expected = crate::world::client::elements(xml);
        while !expected.is_empty() {
            let Some(received) = self.next(name)? else {
                return Err(format!("expected\n  {}\nand nothing came", expected.join("\n  ")));
            };
            let mut found = None;
            for (at, candidate) in expected.iter().enumerate() {
                if is_as_expected(&received, candidate)? {
                    found = Some(at);
                    break;
                }
            }
            match found {
                Some(at) => expected.remove(at),
                None => return Err(format!("expected one of\n  {}\nreceived\n  {received}", expected.join("\n  "))),
            };
        }
        Ok(())
    }

    fn connect(&mut self, name: &str) -> Acted {
        let resource = name.split_once('/').map_or(RESOURCE, |(_, resource)| resource);
        let client = self.world.connect(self.transport);
        self.world.log_in(client, &user_of(name), Some(resource)).map_err(|refused| refused.0)?;
        if let Some(old) = self.clients.insert(name.to_owned(), client) {
            self.left.push((name.to_owned(), old));
        }
        Ok(())
    }

    fn connect_component(&mut self, name: &str) -> Acted {
        let client = self.world.connect_component(name, SECRET).map_err(|refused| refused.0)?;
        if let Some(old) = self.clients.insert(name.to_owned(), client) {
            self.left.push((name.to_owned(), old));
        }
        Ok(())
    }

    /// Another connection of a component that has one.
    fn is_turned_away(&mut self, name: &str) -> Acted {
        match self.world.connect_component(name, SECRET) {
            Err(refused) if refused.0.contains("<conflict ") => Ok(()),
            Err(refused) => Err(refused.0),
            Ok(_) => Err(format!("{name} is connected twice")),
        }
    }

    fn log_in(&mut self, name: &str) -> Acted {
        let (jid, password) = {
            let user = self.world.user(&user_of(name));
            (user.jid.clone(), user.password.clone())
        };
        let client = self.world.connect(self.transport);
        self.world.authenticate(client, &jid, &password).map_err(|refused| refused.0)?;
        if let Some(old) = self.clients.insert(name.to_owned(), client) {
            self.left.push((name.to_owned(), old));
        }
        Ok(())
    }

    fn enter(&mut self, name: &str, by_token: bool, wishes: &str) -> Acted {
        let token = self.tokens.get(name).cloned();
        let showing = match &token {
            Some(token) if by_token => Showing::Token(token),
            None if by_token => return Err(format!("{name} was never given a token")),
            Some(_) | None => Showing::Password,
        };
        // The name of the client says which installation it is.
        let number = name.bytes().fold(7u64, |number, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
        let agent = format!("00000000-0000-4000-8000-{:012x}", number & 0xffff_ffff_ffff);
        let wishes = self.fill(wishes, 1)?;
        let client = self.world.connect(self.transport);
        self.world.enter(client, &user_of(name), showing, &agent, &wishes).map_err(|refused| refused.0)?;
        if let Some(old) = self.clients.insert(name.to_owned(), client) {
            self.left.push((name.to_owned(), old));
        }
        Ok(())
    }

    /// What a client was told to resume its session with. XEP-0198 §3
    fn session_of(&self, name: &str) -> Result<String, String> {
        let heard = self.heard.get(name).into_iter().flatten();
        // By itself, or inside of what says that a resource is bound.
        let id = heard.rev().find_map(|element| {
            let (_, enabled) = element.split_once("<enabled ")?;
            let (_, id) = enabled.split_once(" id=\"")?;
            id.split('"').next().map(str::to_owned)
        });
        id.ok_or_else(|| format!("{name} cannot resume anything"))
    }

    fn appear(&mut self, name: &str) -> Acted {
        if !self.clients.contains_key(name) {
            self.connect(name)?;
        }
        let client = self.client(name)?;
        self.world.send(client, "<presence xmlns='jabber:client'/>");
        self.ignore_all();
        Ok(())
    }

    /// What came of something that a play takes for granted.
    fn ignore_all(&mut self) {
        let clients: Vec<Client> = self.clients.values().copied().collect();
        for client in clients {
            self.world.received(client);
        }
    }

    /// Both ask and both agree, with clients of their own that are gone afterwards.
    fn befriend(&mut self, one: &str, two: &str) -> Acted {
        let [one, two] = [one, two].map(|name| {
            let user = self.world.user(&user_of(name));
            (self.world.login(&user.name, Some("befriending")), user.jid)
        });
        for (kind, from, to) in [
            ("subscribe", &one, &two),
            ("subscribed", &two, &one),
            ("subscribe", &two, &one),
            ("subscribed", &one, &two),
        ] {
            self.world.send(from.0, &format!("<presence type='{kind}' to='{}'/>", to.1));
        }
        for (client, _) in [one, two] {
            // The stanzas of the handshake go here, and not to the clients of the play.
            self.world.send(client, "<presence/>");
            self.world.received(client);
            self.world.disconnect(client);
        }
        self.ignore_all();
        Ok(())
    }

    fn client(&self, name: &str) -> Result<Client, String> {
        self.clients.get(name).copied().ok_or_else(|| format!("{name} is not connected"))
    }

    fn leave(&mut self, name: &str) -> Result<Client, String> {
        let client = self.clients.remove(name).ok_or_else(|| format!("{name} is not connected"))?;
        self.left.push((name.to_owned(), client));
        Ok(client)
    }

    fn stall(&mut self, name: &str, stalled: bool) -> Acted {
        let client = self.client(name)?;
        self.world.set_stalled(client, stalled);
        self.world.settle();
        Ok(())
    }

    /// The next element for a client, or for one of that name that is gone.
    fn next(&mut self, name: &str) -> Result<Option<String>, String> {
        let gone = self.left.iter().rev().find(|(left, _)| left == name).map(|(_, client)| *client);
        let client = self.clients.get(name).copied().or(gone).ok_or_else(|| format!("{name} was never connected"))?;
        let element = self.world.next(client);
        if let Some(element) = &element {
            if let Some((_, rest)) = element.split_once(" token=\"") {
                let token = rest.split('"').next().unwrap_or_default();
                self.tokens.insert(name.to_owned(), token.to_owned());
            }
            self.heard.entry(name.to_owned()).or_default().push(element.clone());
        }
        Ok(element)
    }

    /// What nobody has mentioned.
    fn close(&mut self) -> Acted {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            if let Some(element) = self.next(&name)? {
                return Err(format!("{name} also received\n  {element}"));
            }
        }
        Ok(())
    }

    fn overheard(&mut self) -> String {
        let mut report = String::new();
        let clients: Vec<(String, Client)> =
            self.clients.iter().map(|(name, client)| (name.clone(), *client)).collect();
        for (name, client) in clients {
            let rest = self.world.received(client);
            self.heard.entry(name).or_default().extend(rest);
        }
        for (name, elements) in &self.heard {
            // Writing to a string cannot fail.
            let _ = writeln!(report, "{name} received:");
            let shown = elements.len().saturating_sub(20);
            elements[shown..].iter().for_each(|element| {
                let _ = writeln!(report, "  {element}");
            });
        }
        report
    }

    /// Puts names and numbers in.
    fn fill(&mut self, xml: &str, n: usize) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = xml;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("a ${ without }")?;
            filled.push_str(before);
            match name {
                "*" => filled.push_str("${*}"),
                "n" => filled.push_str(&n.to_string()),
                "domain" => filled.push_str(DOMAIN),
                "group" => filled.push_str(&format!("1_{GROUP}@muc.{DOMAIN}")),
                _ if name.starts_with("session ") => filled.push_str(&self.session_of(&name["session ".len()..])?),
                _ if name.starts_with('#') => filled.push_str(&self.number(&name[1..]).to_string()),
                _ if name.starts_with(char::is_uppercase) => {
                    let gone = self.left.iter().rev().find(|(left, _)| left == name).map(|(_, client)| *client);
                    let bound = |client: &Client| !self.world.jid(*client).is_empty();
                    match self.clients.get(name).copied().or(gone).filter(bound) {
                        Some(client) => filled.push_str(self.world.jid(client)),
                        None => {
                            let resource = name.split_once('/').map_or(RESOURCE, |(_, resource)| resource);
                            let bare = self.world.user(&user_of(name)).jid;
                            filled.push_str(&format!("{bare}/{resource}"));
                        }
                    }
                }
                _ => filled.push_str(&self.world.user(name).jid),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Components are called by their domains.
fn is_component(name: &str) -> bool {
    name.contains('.')
}

fn user_of(name: &str) -> String {
    name.split('/').next().unwrap_or(name).to_lowercase()
}

fn is_as_expected(received: &str, expected: &str) -> Result<bool, String> {
    let (mut one, mut two) = (Nodes::new(), Nodes::new());
    let limits = Limits { element_bytes_max: 1 << 24, ..Limits::STANZA };
    let received =
        one.parse(received.as_bytes(), &Context::CLIENT, &limits).map_err(|error| format!("{error:?}: {received}"))?;
    let expected =
        two.parse(expected.as_bytes(), &Context::CLIENT, &limits).map_err(|error| format!("{error:?}: {expected}"))?;
    Ok(matches_pattern(received, expected))
}

const ANY: &str = "${*}";

fn matches_pattern(received: Element<'_>, expected: Element<'_>) -> bool {
    if received.name() != expected.name() || received.ns() != expected.ns() {
        return false;
    }
    let attributes = |element: Element<'_>| {
        let mut all: Vec<_> =
            element.attrs().map(|attr| (attr.name.to_owned(), attr.ns.to_owned(), attr.value().into_owned())).collect();
        all.sort();
        all
    };
    let (mut had, wanted) = (attributes(received), attributes(expected));
    // Wire notes §13.8: the SDKs want an id in every presence and request; one that nobody gave is of no interest.
    let kind = received.attr("type");
    let asks = received.name() == "iq" && matches!(kind.as_deref(), Some("get" | "set"));
    if received.ns() == ns::CLIENT && (asks || received.name() == "presence") {
        assert!(received.attr("id").is_some(), "no id: {}", received.raw());
    }
    if received.name() == "presence" && expected.attr("id").is_none() {
        had.retain(|(name, ns, _)| name != "id" || !ns.is_empty());
    }
    let alike = had.len() == wanted.len()
        && had
            .iter()
            .zip(&wanted)
            .all(|(had, wanted)| (&had.0, &had.1) == (&wanted.0, &wanted.1) && (wanted.2 == ANY || had.2 == wanted.2));
    alike && content_matches(received, expected)
}

fn content_matches(received: Element<'_>, expected: Element<'_>) -> bool {
    let wanted: Vec<_> = expected.children().collect();
    let had: Vec<_> = received.children().collect();
    if wanted.is_empty() {
        let text = expected.text();
        return had.is_empty() && (text == ANY || received.text() == text);
    }
    children_match(&had, &wanted)
}

fn children_match(had: &[Element<'_>], wanted: &[Element<'_>]) -> bool {
    match wanted.split_first() {
        None => had.is_empty(),
        Some((gap, rest)) if gap.name() == "etc" => {
            (0..=had.len()).any(|skipped| children_match(&had[skipped..], rest))
        }
        Some((first, rest)) => {
            had.split_first().is_some_and(|(&had, others)| matches_pattern(had, *first) && children_match(others, rest))
        }
    }
}
