//! The roster: contacts, subscription states, versions. RFC 6121 §2, §3 and appendix A; XEP-0237.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::ROSTER_ITEMS_MAX;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::stanza::Subscription as Asked;

/// account, contact's bare JID → [`Item`]; account, empty → versions.
pub static ROSTER: Table = Table::new("roster");

const VERSION: u8 = 1;
/// Of items, which once had no numbers.
const ITEM_VERSION: u8 = 2;
const UNNUMBERED_VERSION: u8 = 1;

/// Who may see whose presence. RFC 6121 §2.1.2.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subscription {
    /// Neither sees the other.
    #[default]
    None,
    /// The user sees the contact.
    To,
    /// The contact sees the user.
    From,
    /// Both.
    Both,
}

impl Subscription {
    /// The value of the attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }

    /// The user sees the contact.
    pub fn to(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }

    /// The contact sees the user.
    pub fn from(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }

    fn of(to: bool, from: bool) -> Subscription {
        match (to, from) {
            (false, false) => Subscription::None,
            (true, false) => Subscription::To,
            (false, true) => Subscription::From,
            (true, true) => Subscription::Both,
        }
    }
}

/// One contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The name the user gave.
    pub name: Option<String>,
    /// The groups the user put the contact in, sorted.
    pub groups: Vec<String>,
    /// Who sees whom.
    pub subscription: Subscription,
    /// The user has asked and waits: `ask='subscribe'`.
    pub asked: bool,
    /// The contact has asked and waits; the stanza is kept until the user decides. RFC 6121 §3.1.3.
    pub request: Option<Vec<u8>>,
    /// In the roster the user sees. A mere request is not. RFC 6121 §3.1.3.
    pub listed: bool,
    /// The roster's version when this item last changed.
    pub version: u64,
    /// The number of the user's own request, while it waits: an answer to an earlier one, which was taken back, is none to it.
    pub asked_as: u64,
    /// The number of the contact's request, which an answer names.
    pub request_as: u64,
}

impl Item {
    fn read(row: &[u8]) -> Result<Item, Unreadable> {
        if row.first() != Some(&UNNUMBERED_VERSION) {
            return row::decode(ITEM_VERSION, row);
        }
        // The numbers are at the end, and zero says that there is none.
        let mut numbered = row.to_vec();
        numbered[0] = ITEM_VERSION;
        numbered.extend_from_slice(&[0, 0]);
        row::decode(ITEM_VERSION, &numbered)
    }

    /// Whether an answer of this number is one to the request that waits.
    fn is_answered_by(&self, number: u64) -> bool {
        self.asked && (number == 0 || self.asked_as == 0 || number == self.asked_as)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Versions {
    /// Counts every change the user can see.
    current: u64,
    /// The last change that removed something: what is older cannot be brought up to date item by item.
    removal: u64,
}

/// All contacts of one account. Lives with the account on the shard that owns it.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    items: BTreeMap<Box<str>, Item>,
    versions: Versions,
}

/// What a user who names a version is missing. RFC 6121 §2.6.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing<'a> {
    /// Nothing.
    Nothing,
    /// These items, as pushes.
    Items(Vec<(&'a str, &'a Item)>),
    /// Too much: the whole roster.
    All,
}

impl Roster {
    /// The rows a roster is made of.
    pub fn reads(id: AccountId) -> Reads {
        // One more than there can be: the row with the versions.
        Reads::scan(&ROSTER, Key::of(&Owner::Account(id)).all_below(), 2 * ROSTER_ITEMS_MAX + 1)
    }

    /// The roster in these rows.
    pub fn load(id: AccountId, rows: &mut Rows) -> Result<Roster, Unreadable> {
        let mut roster = Roster::default();
        let prefix = Key::of(&Owner::Account(id)).as_slice().len();
        for (key, value) in rows.page() {
            let name = contact_of(&key.as_slice()[prefix..]).ok_or(Unreadable::Malformed)?;
            if name.is_empty() {
                roster.versions = row::decode(VERSION, &value)?;
            } else {
                roster.items.insert(name.into(), Item::read(&value)?);
            }
        }
        Ok(roster)
    }

    /// The version as it stands in `ver`.
    pub fn version(&self) -> u64 {
        self.versions.current
    }

    /// The contact of this bare JID.
    pub fn item(&self, contact: &str) -> Option<&Item> {
        self.items.get(contact)
    }

    /// What the user sees as the roster, ordered by JID.
    pub fn listed(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.items.iter().filter(|(_, item)| item.listed).map(|(jid, item)| (&**jid, item))
    }

    /// Everybody there is anything about, those who merely asked included.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.items.keys().map(|jid| &**jid)
    }

    /// Requests that wait for the user's decision.
    pub fn requests(&self) -> impl Iterator<Item = &[u8]> {
        self.items.values().filter_map(|item| item.request.as_deref())
    }

    /// Whether any contact is in this group.
    pub fn has_group(&self, group: &str) -> bool {
        self.items.values().any(|item| item.groups.iter().any(|known| known == group))
    }

    /// Contacts who see the user's presence.
    pub fn watchers(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter(|(_, item)| item.subscription.from()).map(|(jid, _)| &**jid)
    }

    /// Contacts whose presence the user sees.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter(|(_, item)| item.subscription.to()).map(|(jid, _)| &**jid)
    }

    /// Whether the contact sees the user's presence.
    pub fn is_watched_by(&self, contact: &str) -> bool {
        self.item(contact).is_some_and(|item| item.subscription.from())
    }

    /// Whether the user sees the contact's presence.
    pub fn watches(&self, contact: &str) -> bool {
        self.item(contact).is_some_and(|item| item.subscription.to())
    }

    /// What is new since `known`, the text of a `ver` attribute.
    pub fn missing_since(&self, known: &str) -> Missing<'_> {
        let Ok(known) = known.parse::<u64>() else { return Missing::All };
        if known > self.versions.current || known < self.versions.removal {
            return Missing::All;
        }
        let mut items: Vec<_> = self.listed().filter(|(_, item)| item.version > known).collect();
        items.sort_by_key(|(_, item)| item.version);
        if items.is_empty() { Missing::Nothing } else { Missing::Items(items) }
    }

    /// Whether one more contact would be too many.
    pub fn is_full(&self) -> bool {
        self.items.len() >= ROSTER_ITEMS_MAX
    }

    /// Sets name and groups of a contact, as the user asks. RFC 6121 §2.3, §2.4.
    pub fn name(&mut self, contact: &str, name: Option<String>, groups: Vec<String>, id: AccountId, batch: &mut Batch) {
        let item = self.items.entry(contact.into()).or_default();
        item.name = name;
        item.groups = groups;
        item.listed = true;
        self.keep_listed(contact, id, batch);
    }

    /// Takes a contact out, and says what it was. RFC 6121 §2.5.
    pub fn remove(&mut self, contact: &str, id: AccountId, batch: &mut Batch) -> Option<Item> {
        if !self.items.get(contact)?.listed {
            return None;
        }
        let item = self.items.remove(contact)?;
        self.versions.current += 1;
        self.versions.removal = self.versions.current;
        batch.delete(&ROSTER, key(id, contact));
        self.keep_versions(id, batch);
        Some(item)
    }

    /// The user sends a subscription stanza. Tells whether it is to be passed on, and whether the user's roster changed.
    /// RFC 6121 appendix A.2.
    pub fn sends(&mut self, asked: Asked, contact: &str, id: AccountId, batch: &mut Batch) -> Sent {
        let before = self.items.get(contact).cloned().unwrap_or_default();
        let mut item = before.clone();
        let (to, from) = (before.subscription.to(), before.subscription.from());
        let mut number = 0;
        let pass = match asked {
            Asked::Subscribe => {
                if !to && !item.asked {
                    // The version that the roster has in a moment; no other request has it.
                    (item.asked, item.asked_as) = (true, self.versions.current + 1);
                }
                number = if item.asked { item.asked_as } else { 0 };
                item.listed = true;
                true
            }
            Asked::Unsubscribe => {
                item.asked = false;
                item.subscription = Subscription::of(false, from);
                true
            }
            Asked::Subscribed => {
                let due = item.request.take().is_some();
                if due {
                    item.subscription = Subscription::of(to, true);
                    item.listed = true;
                    number = std::mem::take(&mut item.request_as);
                }
                due
            }
            Asked::Unsubscribed => {
                let refused = item.request.take().is_some();
                if refused {
                    number = std::mem::take(&mut item.request_as);
                }
                item.subscription = Subscription::of(to, false);
                refused || from
            }
        };
        let pushed = self.settle(contact, before, item, id, batch);
        Sent { pass, number, pushed }
    }

    /// A subscription stanza arrives from a contact, with the number of the request that it is or answers. RFC 6121 appendix A.3.
    pub fn receives(
        &mut self,
        (asked, number): (Asked, u64),
        contact: &str,
        stanza: &Bytes,
        id: AccountId,
        batch: &mut Batch,
    ) -> Received {
        let before = self.items.get(contact).cloned().unwrap_or_default();
        let mut item = before.clone();
        let (to, from) = (before.subscription.to(), before.subscription.from());
        let mut reply = None;
        let deliver = match asked {
            // §3.1.3: whoever may see us already is told so again; a second request while one waits is not shown again.
            Asked::Subscribe if from => {
                reply = Some(Asked::Subscribed);
                false
            }
            Asked::Subscribe => {
                let new = item.request.is_none() && (before.listed || !self.is_full());
                if new {
                    item.request = Some(stanza.to_vec());
                }
                if item.request.is_some() {
                    item.request_as = number;
                }
                new
            }
            Asked::Subscribed => {
                let due = before.is_answered_by(number);
                if !before.asked && !to {
                    // The user took the request back while the contact agreed to it: the contact's side has to know.
                    reply = Some(Asked::Unsubscribe);
                }
                if due {
                    item.asked = false;
                    item.subscription = Subscription::of(true, from);
                }
                due
            }
            Asked::Unsubscribe => {
                let due = item.request.take().is_some() || from;
                item.subscription = Subscription::of(to, false);
                due
            }
            Asked::Unsubscribed => {
                let refused = before.is_answered_by(number);
                item.asked &= !refused;
                item.subscription = Subscription::of(false, from);
                refused || to
            }
        };
        let pushed = self.settle(contact, before, item, id, batch);
        Received { deliver, reply, pushed }
    }

    /// Stores what became of an item; true when the user's own view of it changed.
    fn settle(&mut self, contact: &str, before: Item, after: Item, id: AccountId, batch: &mut Batch) -> bool {
        if before == after {
            return false;
        }
        if !after.listed && after.request.is_none() {
            // It was only a request, and that is settled.
            self.items.remove(contact);
            batch.delete(&ROSTER, key(id, contact));
            return false;
        }
        let seen = |item: &Item| (item.listed, item.subscription, item.asked);
        let visible = after.listed && seen(&before) != seen(&after);
        self.items.insert(contact.into(), after);
        if visible {
            self.keep_listed(contact, id, batch);
        } else {
            batch.put(&ROSTER, key(id, contact), row::encode(ITEM_VERSION, &self.items[contact]));
        }
        visible
    }

    fn keep_listed(&mut self, contact: &str, id: AccountId, batch: &mut Batch) {
        self.versions.current += 1;
        if let Some(item) = self.items.get_mut(contact) {
            item.version = self.versions.current;
            batch.put(&ROSTER, key(id, contact), row::encode(ITEM_VERSION, item));
        }
        self.keep_versions(id, batch);
    }

    fn keep_versions(&self, id: AccountId, batch: &mut Batch) {
        batch.put(&ROSTER, key(id, ""), row::encode(VERSION, &self.versions));
    }

    /// The next contact after this one that sees the user, for fan-outs that are done in portions.
    pub fn watcher_after(&self, contact: Option<&str>) -> Option<&str> {
        let start = contact.map_or(Bound::Unbounded, Bound::Excluded);
        self.items
            .range::<str, _>((start, Bound::Unbounded))
            .find(|(_, item)| item.subscription.from())
            .map(|(jid, _)| &**jid)
    }
}

/// What becomes of a subscription stanza that the user sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The contact is to have it.
    pub pass: bool,
    /// The number of the request that it is, or answers.
    pub number: u64,
    /// The user's resources are to see the item.
    pub pushed: bool,
}

/// What becomes of a subscription stanza that a contact sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The user's resources are to have it.
    pub deliver: bool,
    /// The server answers by itself.
    pub reply: Option<Asked>,
    /// The user's resources are to see the item.
    pub pushed: bool,
}

fn key(id: AccountId, contact: &str) -> Key {
    Key::of(&Owner::Account(id)).text(contact)
}

/// The text that [`Key::text`] wrote; JIDs hold no NUL, so only the terminator needs to go.
fn contact_of(stored: &[u8]) -> Option<&str> {
    std::str::from_utf8(stored.strip_suffix(&[0, 0])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::{AppId, UserId};
    use crate::row::{Change, Found};

    const ID: AccountId = AccountId { app: AppId(1), user: UserId(2) };
    const JULIET: &str = "3-1@localhost";

    /// A roster with one contact in this state.
    fn with(subscription: Subscription, asked: bool, request: bool) -> Roster {
        let mut roster = Roster::default();
        let listed = subscription != Subscription::None || asked;
        let request = request.then(|| b"<presence/>".to_vec());
        if listed || request.is_some() {
            let item = Item { subscription, asked, request, listed, ..Item::default() };
            roster.items.insert(JULIET.into(), item);
        }
        roster
    }

    /// `none`, `to`, `from`, `both`, with `+out` and `+in` for pending requests.
    fn state(roster: &Roster) -> String {
        let Some(item) = roster.item(JULIET) else { return "none".to_owned() };
        let out = if item.asked { "+out" } else { "" };
        let request = if item.request.is_some() { "+in" } else { "" };
        format!("{}{out}{request}", item.subscription.as_str())
    }

    fn states() -> Vec<(&'static str, Roster)> {
        vec![
            ("none", with(Subscription::None, false, false)),
            ("none+out", with(Subscription::None, true, false)),
            ("none+in", with(Subscription::None, false, true)),
            ("none+out+in", with(Subscription::None, true, true)),
            ("to", with(Subscription::To, false, false)),
            ("to+in", with(Subscription::To, false, true)),
            ("from", with(Subscription::From, false, false)),
            ("from+out", with(Subscription::From, true, false)),
            ("both", with(Subscription::Both, false, false)),
        ]
    }

    /// RFC 6121 appendix A.2: state before → passed on?, state after; in the order of [`states`].
    #[test]
    fn outbound_stanzas_follow_appendix_a2() {
        let table: [(Asked, [(bool, &str); 9]); 4] = [
            (
                Asked::Subscribe,
                [
                    (true, "none+out"),
                    (true, "none+out"),
                    (true, "none+out+in"),
                    (true, "none+out+in"),
                    (true, "to"),
                    (true, "to+in"),
                    (true, "from+out"),
                    (true, "from+out"),
                    (true, "both"),
                ],
            ),
            (
                Asked::Unsubscribe,
                [
                    (true, "none"),
                    (true, "none"),
                    (true, "none+in"),
                    (true, "none+in"),
                    (true, "none"),
                    (true, "none+in"),
                    (true, "from"),
                    (true, "from"),
                    (true, "from"),
                ],
            ),
            (
                Asked::Subscribed,
                [
                    (false, "none"),
                    (false, "none+out"),
                    (true, "from"),
                    (true, "from+out"),
                    (false, "to"),
                    (true, "both"),
                    (false, "from"),
                    (false, "from+out"),
                    (false, "both"),
                ],
            ),
            (
                Asked::Unsubscribed,
                [
                    (false, "none"),
                    (false, "none+out"),
                    (true, "none"),
                    (true, "none+out"),
                    (false, "to"),
                    (true, "to"),
                    (true, "none"),
                    (true, "none+out"),
                    (true, "to"),
                ],
            ),
        ];
        for (asked, rows) in table {
            for ((name, mut roster), (pass, after)) in states().into_iter().zip(rows) {
                let sent = roster.sends(asked, JULIET, ID, &mut Batch::default());
                assert_eq!((sent.pass, &*state(&roster)), (pass, after), "{asked:?} in {name}");
            }
        }
    }

    /// RFC 6121 appendix A.3: state before → delivered?, state after.
    #[test]
    fn inbound_stanzas_follow_appendix_a3() {
        let table: [(Asked, [(bool, &str); 9]); 4] = [
            (
                Asked::Subscribe,
                [
                    (true, "none+in"),
                    (true, "none+out+in"),
                    (false, "none+in"),
                    (false, "none+out+in"),
                    (true, "to+in"),
                    (false, "to+in"),
                    (false, "from"),
                    (false, "from+out"),
                    (false, "both"),
                ],
            ),
            (
                Asked::Unsubscribe,
                [
                    (false, "none"),
                    (false, "none+out"),
                    (true, "none"),
                    (true, "none+out"),
                    (false, "to"),
                    (true, "to"),
                    (true, "none"),
                    (true, "none+out"),
                    (true, "to"),
                ],
            ),
            (
                Asked::Subscribed,
                [
                    (false, "none"),
                    (true, "to"),
                    (false, "none+in"),
                    (true, "to+in"),
                    (false, "to"),
                    (false, "to+in"),
                    (false, "from"),
                    (true, "both"),
                    (false, "both"),
                ],
            ),
            (
                Asked::Unsubscribed,
                [
                    (false, "none"),
                    (true, "none"),
                    (false, "none+in"),
                    (true, "none+in"),
                    (true, "none"),
                    (true, "none+in"),
                    (false, "from"),
                    (true, "from"),
                    (true, "from"),
                ],
            ),
        ];
        let stanza = Bytes::from_static(b"<presence/>");
        for (asked, rows) in table {
            for ((name, mut roster), (deliver, after)) in states().into_iter().zip(rows) {
                let received = roster.receives((asked, 0), JULIET, &stanza, ID, &mut Batch::default());
                assert_eq!((received.deliver, &*state(&roster)), (deliver, after), "{asked:?} in {name}");
                let reply = match (asked, name) {
                    (Asked::Subscribe, "from" | "from+out" | "both") => Some(Asked::Subscribed),
                    (Asked::Subscribed, "none" | "none+in" | "from") => Some(Asked::Unsubscribe),
                    (_, _) => None,
                };
                assert_eq!(received.reply, reply, "{asked:?} in {name}");
            }
        }
    }

    /// Between two who keep in touch by steps that arrive in order, though late.
    #[test]
    fn an_answer_to_a_request_that_was_taken_back_is_none_to_the_next() {
        let (mut romeo, mut juliet) = (Roster::default(), Roster::default());
        let stanza = Bytes::from_static(b"<presence/>");
        let mut batch = Batch::default();
        let mut send = |roster: &mut Roster, asked| {
            let sent = roster.sends(asked, JULIET, ID, &mut batch);
            assert!(sent.pass, "{asked:?}");
            (asked, sent.number)
        };
        let first = send(&mut romeo, Asked::Subscribe);
        assert!(juliet.receives(first, JULIET, &stanza, ID, &mut Batch::default()).deliver);
        let late = send(&mut juliet, Asked::Subscribed);
        let mut steps = vec![send(&mut romeo, Asked::Unsubscribe)];
        romeo.remove(JULIET, ID, &mut Batch::default());
        steps.push(send(&mut romeo, Asked::Subscribe));
        for late in [late, (Asked::Unsubscribed, late.1)] {
            let received = romeo.receives(late, JULIET, &stanza, ID, &mut Batch::default());
            assert_eq!((received.deliver, received.reply, &*state(&romeo)), (false, None, "none+out"));
        }
        for step in steps {
            juliet.receives(step, JULIET, &stanza, ID, &mut Batch::default());
        }
        assert_eq!(state(&juliet), "none+in");
        let answer = send(&mut juliet, Asked::Subscribed);
        assert!(romeo.receives(answer, JULIET, &stanza, ID, &mut Batch::default()).deliver);
        assert_eq!((&*state(&romeo), &*state(&juliet)), ("to", "from"));
    }

    #[test]
    fn items_without_numbers_are_read() {
        let item = Item { asked: true, listed: true, version: 300, ..Item::default() };
        let row = row::encode(ITEM_VERSION, &item);
        let mut old = row[..row.len() - 2].to_vec();
        old[0] = UNNUMBERED_VERSION;
        assert_eq!(Item::read(&old), Ok(item.clone()));
        assert_eq!(Item::read(&row), Ok(item));
        assert!(Item::read(&row[..row.len() - 1]).is_err());
    }

    #[test]
    fn a_mere_request_is_not_in_the_roster() {
        let mut roster = with(Subscription::None, false, true);
        assert_eq!(roster.listed().count(), 0);
        assert_eq!(roster.requests().count(), 1);
        roster.sends(Asked::Unsubscribed, JULIET, ID, &mut Batch::default());
        assert!(roster.item(JULIET).is_none());
    }

    #[test]
    fn versions_bring_a_client_up_to_date() {
        let mut roster = Roster::default();
        let mut batch = Batch::default();
        roster.name("a@x", None, vec![], ID, &mut batch);
        roster.name("b@x", None, vec![], ID, &mut batch);
        assert_eq!(roster.missing_since("2"), Missing::Nothing);
        assert!(matches!(roster.missing_since("1"), Missing::Items(items) if items.len() == 1 && items[0].0 == "b@x"));
        assert!(roster.remove("a@x", ID, &mut batch).is_some());
        assert_eq!(roster.missing_since("2"), Missing::All);
        assert_eq!(roster.missing_since("3"), Missing::Nothing);
        for odd in ["", "4", "-1", "x", "99999999999999999999"] {
            assert_eq!(roster.missing_since(odd), Missing::All, "{odd}");
        }
    }

    #[test]
    fn a_roster_comes_back_from_its_rows() {
        let mut roster = Roster::default();
        let mut batch = Batch::default();
        roster.name("a@x", Some("A".to_owned()), vec!["Friends".to_owned()], ID, &mut batch);
        roster.sends(Asked::Subscribe, "b@x", ID, &mut batch);
        let mut rows = BTreeMap::new();
        for change in batch.0 {
            match change {
                Change::Put(_, key, value) => rows.insert(key, value),
                Change::Delete(_, key) => rows.remove(&key),
                Change::DeleteRange(..) => unreachable!("a roster deletes single items"),
            };
        }
        let loaded = Roster::load(ID, &mut Rows::new(vec![Found::Page(rows.into_iter().collect())]));
        let loaded = loaded.expect("rows that were just written");
        assert_eq!(loaded.items, roster.items);
        assert_eq!(loaded.versions, roster.versions);
    }
}
