//! The rules of a message, and which of them hold for what would become of it. §3.3, §3.4

use std::borrow::Cow;

use crate::account::Course;
use crate::limits::AMP_RULES_MAX;
use crate::ns;
use crate::time::Timestamp;
use crate::xml::{Element, Writer};

/// A rule as its sender wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written<'a> {
    action: Cow<'a, str>,
    condition: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Written<'a> {
    fn read(rule: Element<'a>) -> Written<'a> {
        let attr = |name| rule.attr(name).unwrap_or_default();
        Written { action: attr("action"), condition: attr("condition"), value: attr("value") }
    }

    pub(super) fn write(&self, xml: &mut Writer<'_>) {
        let attributes = [("action", &*self.action), ("condition", &*self.condition), ("value", &*self.value)];
        xml.leaf("rule", &attributes);
    }
}

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) written: Written<'a>,
    pub(super) action: Action,
    condition: Condition,
}

/// What to do. §3.4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Drop the message and say so.
    Alert,
    /// Drop it.
    Drop,
    /// Drop it and return an error.
    Error,
    /// Say so, and go on.
    Notify,
}

impl Action {
    pub(super) const ALL: [Action; 4] = [Action::Alert, Action::Drop, Action::Error, Action::Notify];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Action::Alert => "alert",
            Action::Drop => "drop",
            Action::Error => "error",
            Action::Notify => "notify",
        }
    }
}

/// When to do it. §3.3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Deliver(Delivery),
    /// At this moment or later.
    ExpireAt(Timestamp),
    Match(Matching),
}

/// How a message would be delivered. §3.3.1
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Direct,
    /// This server never forwards a message to another address.
    Forward,
    /// Nor has it gateways.
    Gateway,
    None,
    Stored,
}

/// To what resource a message would be delivered. §3.3.3
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matching {
    Any,
    Exact,
    Other,
}

impl Condition {
    /// The outer error is of a condition that there is not, the inner of a value that it cannot have.
    fn read(rule: &Written<'_>) -> Result<Result<Condition, ()>, ()> {
        let value = match &*rule.condition {
            "deliver" => match &*rule.value {
                "direct" => Some(Condition::Deliver(Delivery::Direct)),
                "forward" => Some(Condition::Deliver(Delivery::Forward)),
                "gateway" => Some(Condition::Deliver(Delivery::Gateway)),
                "none" => Some(Condition::Deliver(Delivery::None)),
                "stored" => Some(Condition::Deliver(Delivery::Stored)),
                _ => None,
            },
            "expire-at" => moment(&rule.value).map(Condition::ExpireAt),
            "match-resource" => match &*rule.value {
                "any" => Some(Condition::Match(Matching::Any)),
                "exact" => Some(Condition::Match(Matching::Exact)),
                "other" => Some(Condition::Match(Matching::Other)),
                _ => None,
            },
            _ => return Err(()),
        };
        Ok(value.ok_or(()))
    }
}

/// XEP-0082 §2, in UTC. §3.3.2
fn moment(value: &str) -> Option<Timestamp> {
    let is_utc = ["Z", "+00:00", "-00:00"].iter().any(|zone| value.ends_with(zone));
    let has_time = value.as_bytes().get(10) == Some(&b'T');
    if is_utc && has_time { Timestamp::parse_iso_bound(value) } else { None }
}

/// Why rules are not taken. §6.1
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault<'a> {
    /// It is not as §5 wants it.
    Malformed,
    UnsupportedActions(Vec<Written<'a>>),
    UnsupportedConditions(Vec<Written<'a>>),
    /// Values that a condition does not have, and more rules than anyone needs.
    Invalid(Vec<Written<'a>>),
}

/// The rules of an `<amp/>`, all of them looked at before any is refused. §2.2.1
pub(super) fn read(amp: Element<'_>) -> Result<Vec<Rule<'_>>, Fault<'_>> {
    if !matches!(amp.attr("per-hop").as_deref(), None | Some("true" | "false")) {
        return Err(Fault::Malformed);
    }
    let (mut rules, mut actions, mut conditions, mut invalid) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for rule in amp.children().filter(|child| child.is("rule", ns::AMP)) {
        let written = Written::read(rule);
        if rules.len() + actions.len() + conditions.len() + invalid.len() >= AMP_RULES_MAX {
            return Err(Fault::Invalid(vec![written]));
        }
        let action = Action::ALL.into_iter().find(|action| *action.as_str() == *written.action);
        match (action, Condition::read(&written)) {
            (None, _) => actions.push(written),
            (_, Err(())) => conditions.push(written),
            (_, Ok(Err(()))) => invalid.push(written),
            (Some(action), Ok(Ok(condition))) => rules.push(Rule { written, action, condition }),
        }
    }
    if !actions.is_empty() {
        Err(Fault::UnsupportedActions(actions))
    } else if !conditions.is_empty() {
        Err(Fault::UnsupportedConditions(conditions))
    } else if !invalid.is_empty() {
        Err(Fault::Invalid(invalid))
    } else if rules.is_empty() {
        Err(Fault::Malformed)
    } else {
        Ok(rules)
    }
}

/// What would become of a message, as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    delivery: Delivery,
    /// What the resource is that gets it, compared to the one that was named.
    matching: Option<Matching>,
    /// It reaches a resource at once.
    at_once: bool,
    now: Timestamp,
}

impl Outlook {
    /// At an account.
    pub(super) fn at_account(course: Course, names_resource: bool, now: Timestamp) -> Outlook {
        let (delivery, matching) = match course {
            Course::Resource(_) => (Delivery::Direct, Some(Matching::Exact)),
            Course::Everywhere => (Delivery::Direct, Some(Matching::Other)),
            // Nobody in particular, which is what was meant where no resource was named.
            Course::Kept if names_resource => (Delivery::Stored, Some(Matching::Other)),
            Course::Kept => (Delivery::Stored, Some(Matching::Exact)),
            Course::Back(_) | Course::Nowhere => (Delivery::None, None),
        };
        Outlook { delivery, matching, at_once: delivery == Delivery::Direct, now }
    }

    /// At a room, or somebody in it.
    pub(super) fn at_room(now: Timestamp) -> Outlook {
        Outlook { delivery: Delivery::Direct, matching: Some(Matching::Exact), at_once: true, now }
    }

    pub(super) fn meets(&self, rule: &Rule<'_>) -> bool {
        match rule.condition {
            Condition::Deliver(delivery) => self.delivery == delivery,
            Condition::ExpireAt(at) => self.delivery != Delivery::None && self.now >= at,
            Condition::Match(Matching::Any) => self.at_once,
            Condition::Match(matching) => self.matching == Some(matching),
        }
    }
}

/// Whether the rule has come to hold while its message waited.
pub(super) fn has_expired(rule: &Rule<'_>, since: Timestamp, now: Timestamp) -> bool {
    matches!(rule.condition, Condition::ExpireAt(at) if since < at && at <= now)
}
