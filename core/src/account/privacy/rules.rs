//! A privacy list in the form in which it is asked: what its items say of one address is found with a few look-ups, however long
//! the list is.

use std::collections::BTreeMap;

use crate::account::roster::{Roster, Subscription};

use super::lists::{Item, Traffic, Who};

/// The rules of one list.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    jids: BTreeMap<Box<str>, Verdicts>,
    groups: BTreeMap<Box<str>, Verdicts>,
    subscriptions: [Verdicts; 4],
    anyone: Verdicts,
}

/// For each kind of traffic what the first item says that is about it.
#[derive(Clone, Copy, Debug, Default)]
struct Verdicts([Verdict; Traffic::ALL.len()]);

/// What an item says: its place in the list doubled, and one more if it denies. The smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Verdict(u32);

impl Default for Verdict {
    /// No item says anything: XEP-0016 §2.2 has that mean «allow».
    fn default() -> Verdict {
        Verdict(u32::MAX - 1)
    }
}

impl Verdict {
    fn denies(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Rules {
    /// The rules of these items, which are in their order.
    pub fn of(items: &[Item]) -> Rules {
        let mut rules = Rules::default();
        for (place, item) in (0..).zip(items) {
            let verdict = Verdict(place << 1 | u32::from(item.deny));
            let verdicts = match &item.who {
                Who::Jid(jid) => rules.jids.entry(jid.as_str().into()).or_default(),
                Who::Group(group) => rules.groups.entry(group.as_str().into()).or_default(),
                Who::Subscription(subscription) => &mut rules.subscriptions[*subscription as usize],
                Who::Anyone => &mut rules.anyone,
            };
            for traffic in Traffic::ALL.into_iter().filter(|&traffic| item.what.covers(traffic)) {
                let known = &mut verdicts.0[traffic as usize];
                *known = verdict.min(*known);
            }
        }
        rules
    }

    /// Whether the list lets this pass from or to this address.
    pub fn allow(&self, traffic: Traffic, jid: &str, roster: &Roster) -> bool {
        let said = |verdicts: &Verdicts| verdicts.0[traffic as usize];
        let contact = roster.item(bare(jid));
        let subscription = contact.map_or(Subscription::None, |item| item.subscription);
        let mut first = said(&self.anyone).min(said(&self.subscriptions[subscription as usize]));
        if !self.jids.is_empty() {
            let known = matching(jid).into_iter().flatten().filter_map(|text| self.jids.get(text));
            first = known.map(said).fold(first, Verdict::min);
        }
        if let Some(contact) = contact.filter(|_| !self.groups.is_empty()) {
            let known = contact.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
            first = known.map(said).fold(first, Verdict::min);
        }
        !first.denies()
    }

    /// Whether an item can be about someone in a room of this service.
    pub fn touch_rooms(&self, service: &str) -> bool {
        let denies = |verdicts: &Verdicts| verdicts.0.iter().any(|verdict| verdict.denies());
        let others = self.groups.values().chain(&self.subscriptions).chain([&self.anyone]);
        others.into_iter().any(denies)
            || self.jids.iter().any(|(jid, verdicts)| denies(verdicts) && domain(jid) == service)
    }
}

/// The addresses in a list that mean this one. XEP-0016 §2.1: itself, any resource of it, that resource of its domain (in the
/// product's lists that of a user in all rooms), and its domain.
fn matching(jid: &str) -> [Option<&str>; 4] {
    let bare = bare(jid);
    let at = bare.find('@').map_or(0, |at| at + 1);
    let has_resource = bare.len() < jid.len();
    [
        has_resource.then_some(jid),
        Some(bare),
        (has_resource && at > 0).then(|| &jid[at..]),
        (at > 0).then(|| &bare[at..]),
    ]
}

/// A JID without its resource.
pub(super) fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

/// A JID's domain.
pub(super) fn domain(jid: &str) -> &str {
    let bare = bare(jid);
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::super::lists::What;
    use super::*;
    use crate::row::Batch;
    use crate::stanza::Subscription as Asked;

    fn item(who: Who, deny: bool, what: &[Traffic]) -> Item {
        let mut covered = What::EVERYTHING;
        what.iter().for_each(|&traffic| covered.add(traffic));
        Item { order: 0, who, deny, what: covered }
    }

    fn jid(text: &str) -> Who {
        Who::Jid(text.to_owned())
    }

    fn allows(items: &[Item], traffic: Traffic, from: &str) -> bool {
        Rules::of(items).allow(traffic, from, &Roster::default())
    }

    #[test]
    fn an_address_is_meant_by_those_above_it() {
        let meant = |jid: &'static str| matching(jid).into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(meant("a@d/r/s"), ["a@d/r/s", "a@d", "d/r/s", "d"]);
        assert_eq!(meant("a@d"), ["a@d", "d"]);
        assert_eq!(meant("d/r@s"), ["d/r@s", "d"]);
        assert_eq!(meant("d"), ["d"]);
        assert_eq!((domain("a@d/r@x"), domain("d/r"), domain("d")), ("d", "d", "d"));
    }

    /// XEP-0016 §2.1
    #[test]
    fn addresses_match_what_they_say() {
        for (value, denied, allowed) in [
            ("55-1@d/phone", vec!["55-1@d/phone"], vec!["55-1@d", "55-1@d/tab", "5-1@d/phone"]),
            ("55-1@d", vec!["55-1@d", "55-1@d/x"], vec!["5-1@d", "55-1@d.d", "155-1@d/x", "d"]),
            (
                "muc.d/55",
                vec!["1_ab@muc.d/55", "2_cd@muc.d/55", "muc.d/55"],
                vec!["1_ab@muc.d/5", "1_ab@muc.d", "55@d"],
            ),
            ("d", vec!["d", "55-1@d", "55-1@d/x", "d/x"], vec!["55-1@muc.d", "e"]),
        ] {
            let items = [item(jid(value), true, &[])];
            for from in denied {
                assert!(!allows(&items, Traffic::Message, from), "{value} is about {from}");
            }
            for from in allowed {
                assert!(allows(&items, Traffic::Message, from), "{value} is not about {from}");
            }
        }
    }

    #[test]
    fn the_first_item_that_is_about_it_decides() {
        let friend = item(jid("a@d"), false, &[Traffic::Message]);
        let nobody = item(Who::Anyone, true, &[]);
        assert!(allows(&[friend.clone(), nobody.clone()], Traffic::Message, "a@d/r"));
        assert!(!allows(&[friend.clone(), nobody.clone()], Traffic::Iq, "a@d/r"));
        assert!(!allows(&[nobody, friend], Traffic::Message, "a@d/r"));
        // Two for one address.
        let [yes, no] = [false, true].map(|deny| item(jid("a@d"), deny, &[]));
        assert!(allows(&[yes.clone(), no.clone()], Traffic::Other, "a@d"));
        assert!(!allows(&[no, yes], Traffic::Other, "a@d"));
        assert!(allows(&[], Traffic::Other, "a@d"));
    }

    #[test]
    fn an_item_is_about_what_it_names_or_about_everything() {
        for named in Traffic::ALL.into_iter().filter(|traffic| traffic.name().is_some()) {
            let items = [item(jid("a@d"), true, &[named])];
            for traffic in Traffic::ALL {
                assert_eq!(allows(&items, traffic, "a@d"), traffic != named, "{named:?} and {traffic:?}");
            }
        }
        let all = [item(jid("a@d"), true, &[])];
        assert!(Traffic::ALL.into_iter().all(|traffic| !allows(&all, traffic, "a@d")));
    }

    #[test]
    fn groups_and_subscriptions_are_those_of_the_roster() {
        let id = crate::owner::AccountId { app: crate::jid::user::AppId(1), user: crate::jid::user::UserId(1) };
        let (mut roster, mut batch) = (Roster::default(), Batch::default());
        roster.name("a@d", None, vec!["Enemies".to_owned(), "Family".to_owned()], id, &mut batch);
        roster.sends(Asked::Subscribe, "b@d", id, &mut batch);
        roster.receives((Asked::Subscribed, 0), "b@d", &bytes::Bytes::new(), id, &mut batch);
        let denied = |who: Who, from: &str| !Rules::of(&[item(who, true, &[])]).allow(Traffic::Message, from, &roster);
        for (from, enemy, none, to) in
            [("a@d/r", true, true, false), ("b@d", false, false, true), ("c@d", false, true, false)]
        {
            assert_eq!(denied(Who::Group("Enemies".to_owned()), from), enemy, "{from}");
            assert_eq!(denied(Who::Subscription(Subscription::None), from), none, "{from}");
            assert_eq!(denied(Who::Subscription(Subscription::To), from), to, "{from}");
            assert!(!denied(Who::Subscription(Subscription::Both), from), "{from}");
        }
    }

    #[test]
    fn rooms_are_only_looked_at_for_lists_that_are_about_them() {
        let touch = |items: &[Item]| Rules::of(items).touch_rooms("muc.d");
        for who in
            [jid("muc.d/55"), jid("1_ab@muc.d"), jid("muc.d"), Who::Anyone, Who::Subscription(Subscription::None)]
        {
            assert!(touch(&[item(who.clone(), true, &[])]), "{who:?}");
            assert!(!touch(&[item(who.clone(), false, &[])]), "{who:?}");
        }
        assert!(!touch(&[item(jid("55-1@d"), true, &[])]));
    }
}
