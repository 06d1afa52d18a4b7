//! XEP-0079: Advanced Message Processing. A message may say what is to be done with it depending on whether, when and to what
//! resource it would be delivered.
//!
//! The sender's account checks the rules before the message goes anywhere. The recipient's carries them out: it alone knows what would
//! become of the message. The moments after which a message is of no use count once more when it has waited and would be handed
//! out. The server is both edges of every route and there are no other hops, so `per-hop` changes nothing.
//!
//! *Who may learn what* (§9): rules that have the server answer tell whether somebody is there. Only those who see the recipient's
//! presence may use them; anybody else, and whoever writes to a user who does not exist, gets `not-acceptable`, the same in all
//! cases. Rules that drop a message tell nothing and are anyone's. Rooms are no secret to those who write to them.
//!
//! *Loops:* what the server says by a rule never has rules: it is recognised by its `status`, which no client may set.
//!
//! Rules are about delivery, not about history: a message that is to be saved is, and may be dropped all the same.

use super::chain::{Facts, Giving, Hooks, Sending, Taking, Verdict, Watch};
use super::{Extension, ServerNode, Spec};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::{self, ErrorType, Refusal};
use crate::jid::Jid;
use crate::ns;
use crate::route::{Target, target};
use crate::stanza::{Kind, MessageKind, Sender};
use crate::stream::Feature;
use crate::xml::{Element, Writer};

use rules::{Action, Fault, Outlook, Rule, Written};

mod rules;
#[cfg(test)]
mod tests;

pub(super) static AMP: Extension = Extension {
    name: "Advanced Message Processing",
    spec: Spec::Xep(79, "1.2"),
    server_features: &[ns::AMP],
    // §2.1.1
    server_nodes: &[ServerNode {
        node: ns::AMP,
        features: &[
            ns::AMP,
            "http://jabber.org/protocol/amp?action=alert",
            "http://jabber.org/protocol/amp?action=drop",
            "http://jabber.org/protocol/amp?action=error",
            "http://jabber.org/protocol/amp?action=notify",
            "http://jabber.org/protocol/amp?condition=deliver",
            "http://jabber.org/protocol/amp?condition=expire-at",
            "http://jabber.org/protocol/amp?condition=match-resource",
        ],
    }],
    stream_features: &[Feature::new("amp", ns::AMP_FEATURE)],
    messages: &[Watch {
        ns: ns::AMP,
        names: &["amp"],
        facts: Facts::NONE,
        hooks: Hooks { sends: Some(on_send), takes: Some(on_take), gives: Some(on_give) },
    }],
    ..Extension::NONE
};

/// The parties of a message, as they stand in what the server says of it.
struct Parties<'a> {
    from: &'a str,
    to: &'a str,
    id: &'a str,
}

/// §2.2.1: rules that cannot be carried out are refused before anything happens.
fn on_send(sending: &Sending<'_>, account: &mut Account, turn: &mut Turn<'_>) -> Verdict {
    let Some(sender) = account.full_sender(sending.session) else { return Verdict::Ended };
    let (message, id) = (sending.message, sending.message.attr("id").unwrap_or_default());
    let to = sending.to.map_or(&**account.jid(), Jid::as_str).to_owned();
    let parties = Parties { from: &sender.jid, to: &to, id: &id };
    let refuse = |refusal: Refusal, turn: &mut Turn<'_>| {
        turn.out.deliver(sending.session, refused(&parties, message, &refusal, turn).into());
        Verdict::Ended
    };
    let amps: Vec<Element<'_>> = message.children().filter(|child| child.is("amp", ns::AMP)).collect();
    let &[amp] = &amps[..] else { return refuse(error::Condition::BadRequest.into(), turn) };
    // §1.3, §5.1
    if id.is_empty() || amp.attr("status").is_some() {
        return refuse(error::Condition::BadRequest.into(), turn);
    }
    let rules = match rules::read(amp) {
        Ok(rules) => rules,
        Err(fault) => return refuse(fault_of(fault), turn),
    };
    let target = target(sending.to, account.id(), turn.site);
    if matches!(target, Target::Nobody) && !talkative(&rules).is_empty() {
        return refuse(not_for_strangers(&rules), turn);
    }
    if !matches!(target, Target::Dialog(..)) {
        // Accounts carry them out; what others do with a message is no secret and needs no rules.
        return Verdict::On;
    }
    let outlook = Outlook::at_room(turn.now.stamp);
    match process(&rules, |rule| outlook.meets(rule), &parties, &sender, account, turn) {
        // The room has no more to do with them.
        Verdict::On => Verdict::Instead(Vec::new()),
        ended => ended,
    }
}

/// §2.2.3
fn on_take(taking: &Taking<'_>, account: &mut Account, turn: &mut Turn<'_>) -> Verdict {
    let (message, sender) = (taking.message, &taking.parcel.from);
    let Some((amp, rules)) = rules_of(message) else { return Verdict::On };
    let (to, id) = (message.attr("to").unwrap_or_default(), message.attr("id").unwrap_or_default());
    let parties = Parties { from: &sender.jid, to: &to, id: &id };
    if !may_ask(sender, account) && !talkative(&rules).is_empty() {
        let bytes = refused(&parties, message, &not_for_strangers(&rules), turn);
        account.send_back(sender, ERROR, bytes.into(), turn);
        return Verdict::Ended;
    }
    let outlook = Outlook::at_account(taking.course, taking.parcel.resource.is_some(), turn.now.stamp);
    match process(&rules, |rule| outlook.meets(rule), &parties, sender, account, turn) {
        // §5.1: what goes on says whose rules these are, whatever the client wrote there.
        Verdict::On => Verdict::Instead(annotated(amp, &rules, &parties)),
        ended => ended,
    }
}

/// A message that has waited is of no use any more when its time has come meanwhile. §7
fn on_give(giving: &Giving<'_>, account: &mut Account, turn: &mut Turn<'_>) -> Verdict {
    let message = giving.message;
    let Some((_, rules)) = rules_of(message) else { return Verdict::On };
    let attr = |name| message.attr(name).unwrap_or_default();
    let (from, to, id) = (attr("from"), attr("to"), attr("id"));
    let Some(sender) = sender_of(&from, account, turn) else { return Verdict::On };
    let parties = Parties { from: &from, to: &to, id: &id };
    let now = turn.now.stamp;
    process(&rules, |rule| rules::has_expired(rule, giving.at, now), &parties, &sender, account, turn)
}

/// Who sent a message that was kept; its `from` is the server's own word.
fn sender_of(from: &str, account: &Account, turn: &Turn<'_>) -> Option<Sender> {
    let jid = Jid::parse(from).ok()?;
    let target = target(Some(&jid), account.id(), turn.site);
    let sender = if let Target::User(sender, _) = target { Some(sender) } else { None };
    Some(Sender { jid: from.into(), account: sender })
}

/// The rules that a message has on its way. What the server says itself has none.
fn rules_of(message: Element<'_>) -> Option<(Element<'_>, Vec<Rule<'_>>)> {
    let amp = message.child("amp", ns::AMP).filter(|amp| amp.attr("status").is_none())?;
    Some((amp, rules::read(amp).ok()?))
}

/// Whether the sender may learn if the user is there. §9
fn may_ask(sender: &Sender, account: &Account) -> bool {
    sender.account == Some(account.id()) || account.roster().is_watched_by(sender.bare())
}

/// The rules that make the server say something to the sender.
fn talkative<'r>(rules: &'r [Rule<'_>]) -> Vec<&'r Written<'r>> {
    rules.iter().filter(|rule| rule.action != Action::Drop).map(|rule| &rule.written).collect()
}

/// Carries out the rules that are met, in order, until one ends the message. §2.2.3
fn process(
    rules: &[Rule<'_>],
    is_met: impl Fn(&Rule<'_>) -> bool,
    parties: &Parties<'_>,
    sender: &Sender,
    account: &Account,
    turn: &mut Turn<'_>,
) -> Verdict {
    // The subscription may have ended since the message was taken.
    let heard = may_ask(sender, account);
    for rule in rules.iter().filter(|rule| is_met(rule)) {
        let kind = if rule.action == Action::Error { ERROR } else { NOTICE };
        if rule.action != Action::Drop && heard {
            account.send_back(sender, kind, notice(rule, parties, &turn.site.domain).into(), turn);
        }
        match rule.action {
            Action::Notify => {}
            Action::Alert | Action::Drop | Action::Error => return Verdict::Ended,
        }
    }
    Verdict::On
}

const ERROR: Kind = Kind::Message { kind: MessageKind::Error, lasting: false };
/// Like what people say: it reaches the account where the resource is gone, and waits for a user who is away.
const NOTICE: Kind = Kind::Message { kind: MessageKind::Chat, lasting: true };

/// What the sender hears of a rule that was met: an alert, an error, a notification. §3.4
fn notice(rule: &Rule<'_>, parties: &Parties<'_>, domain: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("message").attr("from", domain).attr("to", parties.from);
    if rule.action == Action::Error {
        xml.attr("type", "error");
    }
    xml.attr("id", parties.id);
    xml.open("amp").ns(ns::AMP).attr("status", rule.action.as_str()).attr("from", parties.from).attr("to", parties.to);
    rule.written.write(&mut xml);
    xml.close();
    if rule.action == Action::Error {
        let failed = Refusal::from(error::Condition::UndefinedCondition).of_kind(ErrorType::Modify).with(|xml| {
            xml.open("failed-rules").ns(ns::AMP_ERRORS);
            rule.written.write(xml);
            xml.close();
        });
        failed.error().write_child(&mut xml);
    }
    xml.close();
    drop(xml);
    out
}

/// The rules as the recipient sees them.
fn annotated(amp: Element<'_>, rules: &[Rule<'_>], parties: &Parties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("amp").ns(ns::AMP).attr("from", parties.from).attr("to", parties.to);
    xml.attr_opt("per-hop", amp.attr("per-hop").as_deref());
    for rule in rules {
        rule.written.write(&mut xml);
    }
    xml.close();
    drop(xml);
    out
}

/// §6.1
fn fault_of(fault: Fault<'_>) -> Refusal {
    let (condition, name, rules) = match fault {
        Fault::Malformed => return error::Condition::BadRequest.into(),
        Fault::UnsupportedActions(rules) => (error::Condition::BadRequest, "unsupported-actions", rules),
        Fault::UnsupportedConditions(rules) => (error::Condition::BadRequest, "unsupported-conditions", rules),
        Fault::Invalid(rules) => (error::Condition::NotAcceptable, "invalid-rules", rules),
    };
    with_rules(condition, name, rules.iter())
}

/// §9
fn not_for_strangers(rules: &[Rule<'_>]) -> Refusal {
    with_rules(error::Condition::NotAcceptable, "invalid-rules", talkative(rules).into_iter())
}

fn with_rules<'r>(
    condition: error::Condition,
    name: &'static str,
    rules: impl Iterator<Item = &'r Written<'r>>,
) -> Refusal {
    Refusal::from(condition).with(|xml| {
        xml.open(name).ns(ns::AMP);
        for rule in rules {
            rule.write(xml);
        }
        xml.close();
    })
}

/// The error that returns rules, without what else the message said. §2.2.5, §6.2
fn refused(parties: &Parties<'_>, message: Element<'_>, refusal: &Refusal, turn: &Turn<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("message").attr("from", &turn.site.domain).attr("to", parties.from).attr("type", "error");
    xml.attr_opt("id", Some(parties.id).filter(|id| !id.is_empty()));
    for amp in message.children().filter(|child| child.is("amp", ns::AMP)) {
        xml.copy(amp, ns::CLIENT);
    }
    refusal.error().write_child(&mut xml);
    xml.close();
    drop(xml);
    out
}
