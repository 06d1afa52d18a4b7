//! The message chain: what extensions have to do with messages, as one flat table.
//!
//! An extension names the children of messages that concern it ([`Watch`]), with what each says of its message ([`Facts`]) and who
//! is to see such a message ([`Hooks`]). The chain is made of all of them when the server is compiled. One pass over the children,
//! where a message enters the server, gives a [`Look`]: four bytes that travel with the message. A message that concerns no
//! extension costs that pass and nothing else, and most children are dismissed by the length of their namespace.
//!
//! ```text
//! own session -> look -> sends: may change, refuse, end or pass on -> stamped -> the recipient's account
//!   -> course: what would become of it -> takes: may change, refuse or end -> delivered, kept, copied
//!   -> (waits) -> gives: may end -> handed to the user who comes
//! ```
//!
//! Errors pass the chain untouched: they repeat what the message they are about had said (XEP-0334 §5, and no loops).

use smallvec::SmallVec;

use super::Extension;
use crate::account::{Account, Course};
use crate::effect::{SessionId, Turn};
use crate::error::Refusal;
use crate::jid::Jid;
use crate::ns;
use crate::stanza::{MessageKind, Parcel, Receipt};
use crate::time::Timestamp;
use crate::xml::{Element, Writer};

/// Some children of messages, and what an extension has to do with messages that have one of them.
#[derive(Debug)]
pub struct Watch {
    /// Their namespace; empty for whatever namespace.
    pub ns: &'static str,
    /// Their names; none for whatever name.
    pub names: &'static [&'static str],
    /// What such a child says of its message. Without [`Facts::SAYS`] it is an aside.
    pub facts: Facts,
    /// Who sees the message.
    pub hooks: Hooks,
}

impl Watch {
    /// Children that say nothing, to build on.
    pub const NONE: Watch = Watch { ns: "", names: &[], facts: Facts::NONE, hooks: Hooks::NONE };

    /// Children that only say something of their message.
    pub const fn facts(ns: &'static str, names: &'static [&'static str], facts: Facts) -> Watch {
        Watch { ns, names, facts, ..Watch::NONE }
    }

    /// Whether the child is one of them.
    pub fn concerns(&self, child: Element<'_>) -> bool {
        (self.ns.is_empty() || child.ns() == self.ns) && self.has_name(child.name())
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(&name)
    }
}

/// What a message is, as far as its treatment depends on that. A set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u16);

impl Facts {
    /// Nothing.
    pub const NONE: Facts = Facts(0);
    /// Something besides asides.
    pub const SAYS: Facts = Facts(1);
    /// It has a body.
    pub const BODY: Facts = Facts(1 << 1);
    /// It has the product's parameters.
    pub const PARAMS: Facts = Facts(1 << 2);
    /// A chat state. XEP-0085
    pub const STATE: Facts = Facts(1 << 3);
    /// A chat marker. XEP-0333
    pub const MARKER: Facts = Facts(1 << 4);
    /// It is not for the sender's other clients.
    pub const NO_COPY: Facts = Facts(1 << 5);
    /// It is not to wait for anybody, nor to be archived.
    pub const NO_STORE: Facts = Facts(1 << 6);
    /// It is not to be archived.
    pub const NO_ARCHIVE: Facts = Facts(1 << 7);
    /// It is worth keeping, whatever it looks like.
    pub const STORE: Facts = Facts(1 << 8);
    /// It claims something that perhaps only this server may say.
    pub const CLAIM: Facts = Facts(1 << 9);

    /// What an error can be.
    const OF_ERRORS: Facts = Facts::SAYS.and(Facts::BODY).and(Facts::STATE).and(Facts::CLAIM);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Facts) -> Facts {
        Facts(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub const fn has(self, other: Facts) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What extensions do with a message.
#[derive(Debug)]
pub struct Hooks {
    /// An own session sends it.
    pub sends: Option<fn(&Sending<'_>, &mut Account, &mut Turn<'_>) -> Verdict>,
    /// It has come to the account, and nothing has become of it yet.
    pub takes: Option<fn(&Taking<'_>, &mut Account, &mut Turn<'_>) -> Verdict>,
    /// It has waited, and the user is there. It is given or ended.
    pub gives: Option<fn(&Giving<'_>, &mut Account, &mut Turn<'_>) -> Verdict>,
}

impl Hooks {
    /// None of them.
    pub const NONE: Hooks = Hooks { sends: None, takes: None, gives: None };

    const fn is_none(&self) -> bool {
        self.sends.is_none() && self.takes.is_none() && self.gives.is_none()
    }
}

/// What is to become of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    On,
    /// It goes on with these children, as a [`Writer`] made them, for those that concern the extension.
    Instead(Vec<u8>),
    /// It goes back to its sender.
    Refused(Refusal),
    /// It ends here; the extension has said what there is to say.
    Ended,
    /// The extension has sent it on itself, and who got it reports it as taken care of. For those who send only.
    PassedOn,
}

/// A message that an own session sends.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// Which.
    pub session: SessionId,
    /// As it came from the client.
    pub message: Element<'a>,
    /// Its type.
    pub kind: MessageKind,
    /// What it is.
    pub look: Look,
    /// Whom it is for; none is the sender's own account.
    pub to: Option<&'a Jid<'a>>,
    /// The message itself says something else about that, or nothing.
    pub readdressed: bool,
    /// The sender waits to hear that it is taken care of.
    pub receipt: Option<Receipt>,
}

/// A message that has come to the account.
#[derive(Debug)]
pub struct Taking<'a> {
    /// With its sender and whom it is for.
    pub parcel: &'a Parcel,
    /// The message in it.
    pub message: Element<'a>,
    /// Its type.
    pub kind: MessageKind,
    /// What would become of it.
    pub course: Course,
}

/// A message that has waited for the user.
#[derive(Debug)]
pub struct Giving<'a> {
    /// As it came.
    pub message: Element<'a>,
    /// When.
    pub at: Timestamp,
}

/// Children that extensions put into a message in the place of those that concern them.
#[derive(Debug, Default)]
pub struct Instead(SmallVec<[(&'static Watch, Vec<u8>); 1]>);

impl Instead {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, watch: &'static Watch, children: Vec<u8>) {
        self.0.push((watch, children));
    }

    /// Whether the child goes.
    pub fn drops(&self, child: Element<'_>) -> bool {
        self.0.iter().any(|(watch, _)| watch.concerns(child))
    }

    /// Writes those that come.
    pub fn write(&self, xml: &mut Writer<'_>) {
        for (_, children) in &self.0 {
            xml.raw_bytes(children);
        }
    }
}

/// What one pass over a message shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    facts: Facts,
    /// A bit for each of the chain's watches with hooks.
    hooks: u16,
}

impl Look {
    /// Whether the message is all of that.
    pub const fn is(self, facts: Facts) -> bool {
        self.facts.has(facts)
    }

    /// Whether any extension wants to see it.
    pub const fn has_hooks(self) -> bool {
        self.hooks != 0
    }

    /// Whether it holds nothing but a chat state. XEP-0085 §5.5
    pub const fn is_state(self) -> bool {
        self.is(Facts::STATE) && !self.is(Facts::SAYS)
    }

    /// Whether it is of use to a user who comes later.
    pub const fn is_lasting(self) -> bool {
        !self.is(Facts::NO_STORE) && (!self.is_state() || self.is(Facts::STORE))
    }
}

/// How many watches there can be.
const WATCHES_MAX: usize = 64;
/// How many of them can have hooks.
const HOOKED_MAX: usize = u16::BITS as usize;

/// The extensions that look at messages, in the order of the table.
#[derive(Debug)]
pub struct Chain {
    watches: [&'static Watch; WATCHES_MAX],
    length: usize,
    /// Those that look for a name, whatever its namespace.
    anywhere: [&'static Watch; 4],
    anywhere_length: usize,
    hooked: [&'static Watch; HOOKED_MAX],
    hooked_length: usize,
    /// A bit for each length that one of the namespaces has.
    lengths: u64,
}

impl Chain {
    /// Without any extension. For measurements.
    pub const NONE: Chain = Chain {
        watches: [&Watch::NONE; WATCHES_MAX],
        length: 0,
        anywhere: [&Watch::NONE; 4],
        anywhere_length: 0,
        hooked: [&Watch::NONE; HOOKED_MAX],
        hooked_length: 0,
        lengths: 0,
    };

    /// The chain of these extensions.
    pub(super) const fn of(extensions: &[&'static Extension]) -> Chain {
        let mut chain = Chain::NONE;
        let mut at = 0;
        while at < extensions.len() {
            let watches: &'static [Watch] = extensions[at].messages;
            let mut each = 0;
            while each < watches.len() {
                chain.add(&watches[each]);
                each += 1;
            }
            at += 1;
        }
        chain
    }

    const fn add(&mut self, watch: &'static Watch) {
        if watch.ns.is_empty() {
            assert!(!watch.names.is_empty() && watch.hooks.is_none(), "a name alone says something, and no more");
            self.anywhere[self.anywhere_length] = watch;
            self.anywhere_length += 1;
            return;
        }
        self.watches[self.length] = watch;
        self.length += 1;
        self.lengths |= length_bit(watch.ns);
        if !watch.hooks.is_none() {
            self.hooked[self.hooked_length] = watch;
            self.hooked_length += 1;
        }
    }

    /// What a message is, and whom it concerns.
    pub fn look(&self, kind: MessageKind, message: Element<'_>) -> Look {
        let mut look = Look::default();
        for child in message.children() {
            self.see(child, &mut look);
        }
        if kind == MessageKind::Error {
            look = Look { facts: Facts(look.facts.0 & Facts::OF_ERRORS.0), hooks: 0 };
        }
        look
    }

    fn see(&self, child: Element<'_>, look: &mut Look) {
        let (ns, name) = (child.ns(), child.name());
        for watch in &self.anywhere[..self.anywhere_length] {
            if watch.has_name(name) {
                look.facts = look.facts.and(watch.facts);
            }
        }
        if ns == ns::CLIENT {
            look.facts = look.facts.and(of_client(name));
            return;
        }
        let mut watched = false;
        if self.lengths & length_bit(ns) != 0 {
            for watch in self.watches[..self.length].iter().filter(|watch| watch.ns == ns && watch.has_name(name)) {
                watched = true;
                look.facts = look.facts.and(watch.facts);
                if !watch.hooks.is_none() {
                    look.hooks |= self.bit(watch);
                }
            }
        }
        if !watched {
            look.facts = look.facts.and(Facts::SAYS);
        }
    }

    fn bit(&self, watch: &'static Watch) -> u16 {
        let at = self.hooked[..self.hooked_length].iter().position(|hooked| std::ptr::eq(*hooked, watch));
        at.map_or(0, |at| 1 << at)
    }

    /// The same for everybody but one, who has seen the message.
    #[must_use]
    pub fn without(&self, look: Look, watch: &'static Watch) -> Look {
        Look { hooks: look.hooks & !self.bit(watch), ..look }
    }

    /// Those who want to see the message, in order.
    pub fn hooked(&self, look: Look) -> impl Iterator<Item = &'static Watch> + use<> {
        let all = self.hooked;
        (0..HOOKED_MAX).filter(move |at| look.hooks & (1 << at) != 0).map(move |at| all[at])
    }
}

/// What the children of the protocol itself say.
fn of_client(name: &str) -> Facts {
    match name {
        "body" => Facts::SAYS.and(Facts::BODY),
        "extraParams" => Facts::SAYS.and(Facts::PARAMS),
        "thread" => Facts::NONE,
        _ => Facts::SAYS,
    }
}

const fn length_bit(ns: &str) -> u64 {
    1 << (ns.len() % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::CHAIN;
    use crate::xml::{Context, Limits, Nodes};

    fn look(kind: MessageKind, content: &str) -> Look {
        let mut nodes = Nodes::new();
        let source = format!("<message>{content}</message>");
        CHAIN.look(kind, nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(content))
    }

    #[test]
    fn asides_do_not_make_a_chat_state_last() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
        let private = "<private xmlns='urn:xmpp:carbons:2'/>";
        let origin = "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>";
        for (content, lasting, is_state) in [
            (String::new(), true, false),
            ("<thread>t</thread>".to_owned(), true, false),
            ("<body>x</body>".to_owned(), true, false),
            ("<body xmlns='urn:x'>x</body>".to_owned(), true, false),
            (state.to_owned(), false, true),
            (format!("<thread>t</thread>{state}{}{private}{origin}", hint("no-copy")), false, true),
            (format!("{state}<body>x</body>"), true, false),
            (format!("{state}<x xmlns='urn:x'/>"), true, false),
            ("<composing xmlns='urn:x'/>".to_owned(), true, false),
            ("<typing xmlns='http://jabber.org/protocol/chatstates'/>".to_owned(), true, false),
            (format!("{state}{}", hint("store")), true, true),
            (format!("{state}{}{}", hint("store"), hint("no-store")), false, true),
            (format!("<body>x</body>{}", hint("no-store")), false, false),
            (format!("<body>x</body>{}", hint("no-permanent-store")), true, false),
        ] {
            let look = look(MessageKind::Chat, &content);
            assert_eq!((look.is_lasting(), look.is_state()), (lasting, is_state), "{content}");
        }
    }

    #[test]
    fn hints_in_an_error_are_of_the_message_that_failed() {
        let content = "<no-store xmlns='urn:xmpp:hints'/><no-copy xmlns='urn:xmpp:hints'/><store xmlns='urn:xmpp:hints'/>\
            <displayed xmlns='urn:xmpp:chat-markers:0' id='1'/><delay xmlns='urn:xmpp:delay' stamp='x'/>";
        let error = look(MessageKind::Error, content);
        assert!(error.is(Facts::CLAIM), "what only the server may say is looked for in errors too");
        for fact in [Facts::NO_STORE, Facts::NO_COPY, Facts::STORE, Facts::MARKER] {
            assert!(!error.is(fact) && look(MessageKind::Chat, content).is(fact), "{fact:?}");
        }
    }

    #[test]
    fn only_children_of_the_message_itself_count() {
        let nested = look(MessageKind::Chat, "<x xmlns='urn:x'><no-store xmlns='urn:xmpp:hints'/></x>");
        assert!(!nested.is(Facts::NO_STORE) && nested.is(Facts::SAYS));
    }

    #[test]
    fn watches_are_in_the_namespaces_of_extensions() {
        for watch in &CHAIN.watches[..CHAIN.length] {
            assert!(!watch.ns.is_empty() && watch.ns != ns::CLIENT, "{watch:?}");
        }
    }
}
