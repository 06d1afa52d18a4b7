//! XEP-0033: Extended Stanza Addressing. One stanza to the server, and everybody it names gets a copy.
//!
//! The server itself is the multicast service: what is sent to its domain with `<addresses/>` goes out once to each address of type `to`,
//! `cc` and `bcc` that is not marked as delivered. A copy goes the way of a message that its sender has written to that address
//! alone: what is to be saved is saved in each dialog, what may not pass does not, presence that was shown is taken back at the end,
//! and the sender's stanza is acknowledged (XEP-0198) when the last copy is taken care of.
//!
//! Everything is looked at before anything goes out. One address that cannot be one, or that this server does not deliver to, and
//! nobody gets anything. Users of other apps look like users who are not there, as everywhere.
//!
//! *Amplification:* the number of addresses has a limit (`addresses_max`), and so have the bytes of all copies together. Copies are not
//! for the server, so nothing goes round in circles, whatever the addresses inside say.
//!
//! A stanza to anybody else that has addresses goes its way unchanged: they are for the clients.

use super::chain::{Facts, Hooks, Instead, Sending, Verdict, Watch};
use super::{Extension, Spec};
use crate::account::Account;
use crate::dialog::rewritten;
use crate::effect::{SessionId, Turn};
use crate::error::{Condition, Refusal};
use crate::jid::Jid;
use crate::limits::ADDRESSED_BYTES_MAX;
use crate::ns;
use crate::route::{Target, target};
use crate::stanza::PresenceKind;
use crate::xml::{Element, Nodes, Writer, splice};

#[cfg(test)]
mod tests;

pub(super) static ADDRESSING: Extension = Extension {
    name: "Extended Stanza Addressing",
    spec: Spec::Xep(33, "1.2.1"),
    server_features: &[ns::ADDRESS],
    messages: &[ADDRESSES],
    ..Extension::NONE
};

const ADDRESSES: Watch = Watch {
    ns: ns::ADDRESS,
    names: &["addresses"],
    facts: Facts::NONE,
    hooks: Hooks { sends: Some(on_send), ..Hooks::NONE },
};

/// The watch as it stands in the table.
fn watch() -> &'static Watch {
    &ADDRESSING.messages[0]
}

/// What an address is for. §4.6
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// `to` and `cc`.
    Open,
    /// `bcc`: nobody else sees it.
    Blind,
    /// For clients: where to reply, who wrote it first.
    Other,
}

/// One address, as it was written and what it means.
struct Address<'a> {
    element: Element<'a>,
    role: Role,
    jid: Option<Jid<'static>>,
    delivered: bool,
}

impl<'a> Address<'a> {
    /// §4
    fn read(element: Element<'a>) -> Result<Address<'a>, Condition> {
        let kind = element.attr("type");
        // Some clients write empty ones for those that are not there.
        let attr = |name| element.attr(name).filter(|value| !value.is_empty());
        let (jid, uri) = (attr("jid"), attr("uri"));
        let role = match kind.as_deref() {
            Some("to" | "cc") => Role::Open,
            Some("bcc") => Role::Blind,
            Some("replyto" | "replyroom" | "noreply" | "ofrom") => Role::Other,
            _ => return Err(Condition::BadRequest),
        };
        if uri.is_some() {
            // §9: other systems cannot be reached from here.
            let alone = jid.is_none() && attr("node").is_none();
            return Err(if alone { Condition::JidMalformed } else { Condition::BadRequest });
        }
        let jid = match jid {
            Some(jid) => Some(Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?.into_owned()),
            None if kind.as_deref() == Some("noreply") => None,
            None => return Err(Condition::BadRequest),
        };
        Ok(Address { element, role, jid, delivered: element.attr("delivered").as_deref() == Some("true") })
    }

    /// Whom a copy goes to.
    fn addressee(&self) -> Option<&Jid<'static>> {
        self.jid.as_ref().filter(|_| self.role != Role::Other && !self.delivered)
    }

    fn write(&self, delivered: bool, xml: &mut Writer<'_>) {
        let attr = |name| self.element.attr(name);
        xml.open("address").attr_opt("type", attr("type").as_deref()).attr_opt("jid", attr("jid").as_deref());
        xml.attr_opt("node", attr("node").as_deref()).attr_opt("desc", attr("desc").as_deref());
        xml.attr_opt("xml:lang", self.element.attr_ns("lang", ns::XML).as_deref());
        if delivered {
            xml.attr("delivered", "true");
        }
        // §4.7: extensions are none of our business.
        for child in self.element.children() {
            xml.copy(child, ns::ADDRESS);
        }
        xml.close();
    }
}

/// Who gets a stanza, and what each sees of the others.
struct Envelope<'a> {
    addresses: Vec<Address<'a>>,
}

impl<'a> Envelope<'a> {
    /// The addresses of a stanza to the server, all of them fit to be delivered to.
    fn read(stanza: Element<'a>, account: &Account, turn: &Turn<'_>) -> Result<Envelope<'a>, Refusal> {
        let mut all = stanza.children().filter(|child| child.is("addresses", ns::ADDRESS));
        let (Some(addresses), None) = (all.next(), all.next()) else { return Err(Condition::BadRequest.into()) };
        let children = || addresses.children().filter(|child| child.is("address", ns::ADDRESS));
        if children().nth(turn.site.limits.addresses_max).is_some() {
            return Err(Refusal::new(Condition::NotAcceptable, "These are too many addresses."));
        }
        let addresses = children().map(Address::read).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(Condition::BadRequest.into());
        }
        let envelope = Envelope { addresses };
        if envelope.addressees().len().saturating_mul(stanza.raw().len()) > ADDRESSED_BYTES_MAX {
            return Err(Refusal::new(Condition::NotAcceptable, "This is too large for so many addresses."));
        }
        // §7: if the server cannot deliver to all of them, nothing goes out.
        if envelope.addressees().iter().all(|jid| is_reachable(jid, account, turn)) {
            Ok(envelope)
        } else {
            Err(Refusal::new(Condition::Forbidden, "This server does not deliver to all of the addresses."))
        }
    }

    /// Each once.
    fn addressees(&self) -> Vec<&Jid<'static>> {
        let mut all: Vec<&Jid<'static>> = Vec::new();
        for jid in self.addresses.iter().filter_map(Address::addressee) {
            if !all.contains(&jid) {
                all.push(jid);
            }
        }
        all
    }

    /// The addresses as one of them sees them. §7: each `bcc` is seen by its own addressee alone.
    fn seen_by(&self, addressee: &Jid<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("addresses").ns(ns::ADDRESS);
        for address in &self.addresses {
            match address.role {
                Role::Open => address.write(true, &mut xml),
                Role::Other => address.write(address.delivered, &mut xml),
                Role::Blind if address.jid.as_ref() == Some(addressee) => address.write(false, &mut xml),
                Role::Blind => {}
            }
        }
        xml.close();
        drop(xml);
        out
    }
}

/// Whether copies go there: to users, rooms and components, and what looks like a user of this server.
fn is_reachable(jid: &Jid<'_>, account: &Account, turn: &Turn<'_>) -> bool {
    matches!(
        target(Some(jid), account.id(), turn.site),
        Target::Own | Target::User(..) | Target::Dialog(..) | Target::Component(_) | Target::Nobody
    )
}

/// §3: addressed to the service itself, without a resource.
fn is_service(to: Option<&Jid<'_>>, account: &Account, turn: &Turn<'_>) -> bool {
    to.is_some_and(|to| to.resource().is_none()) && target(to, account.id(), turn.site) == Target::Server
}

fn on_send(sending: &Sending<'_>, account: &mut Account, turn: &mut Turn<'_>) -> Verdict {
    if !is_service(sending.to, account, turn) {
        return Verdict::On;
    }
    let envelope = match Envelope::read(sending.message, account, turn) {
        Ok(envelope) => envelope,
        Err(refusal) => return Verdict::Refused(refusal),
    };
    let look = turn.site.chain.without(sending.look, watch());
    let mut passed_on = 0;
    for addressee in envelope.addressees() {
        let mut instead = Instead::default();
        instead.push(watch(), envelope.seen_by(addressee));
        let copy = Sending { look, to: Some(addressee), readdressed: true, ..*sending };
        passed_on += usize::from(account.sends(&copy, instead, turn));
    }
    match sending.receipt {
        Some(receipt) if passed_on > 0 => {
            account.shares(receipt, passed_on);
            Verdict::PassedOn
        }
        Some(_) | None => Verdict::Ended,
    }
}

/// Presence to the server. With addresses it is shown to each of them, directly. §6.1
pub(crate) fn on_presence(
    account: &mut Account,
    session: SessionId,
    kind: PresenceKind,
    to: &Jid<'_>,
    presence: Element<'_>,
    turn: &mut Turn<'_>,
) {
    let shows = matches!(kind, PresenceKind::Available | PresenceKind::Unavailable);
    if !shows || !is_service(Some(to), account, turn) || presence.child("addresses", ns::ADDRESS).is_none() {
        return;
    }
    let envelope = match Envelope::read(presence, account, turn) {
        Ok(envelope) => envelope,
        Err(refusal) => return account.refuse(session, presence, refusal.error(), turn),
    };
    let mut plain = Vec::new();
    splice::forward(presence, &[], |_| {}, &mut plain);
    let mut nodes = Nodes::new();
    let Some(plain) = nodes.reread(&plain) else { return };
    for addressee in envelope.addressees() {
        let seen = envelope.seen_by(addressee);
        let drop = |child: Element<'_>| watch().concerns(child);
        let copy = rewritten(plain, &drop, None, &|xml| {
            xml.raw_bytes(&seen);
        });
        let mut nodes = Nodes::new();
        if let Some(copy) = nodes.reread(&copy) {
            account.sends_directed(session, kind, addressee, copy, turn);
        }
    }
}
