//! What follows when lists change: other sessions hear of it, those who may no longer see the user see him leave, and the other
//! way round.

use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{SessionId, Turn};
use crate::error::{Condition, Refusal};
use crate::jid::{Jid, ObjectId};
use crate::ns;
use crate::row::Batch;
use crate::stanza::{PRESENCE_ID, Sender};
use crate::xml::Writer;

use super::super::{Account, Session};
use super::lists::{List, Lists, Traffic};
use super::{Active, Privacy, Rules, domain};

/// The rules that each session had before a change, in the order of the sessions.
type Before = Vec<(SessionId, Option<Arc<Rules>>)>;

/// XEP-0016 §2.2, in the words that the product's SDKs know. Server notes §5.2
pub(crate) fn in_use() -> Refusal {
    Refusal::new(Condition::Conflict, "Can not modify list while being in use by other session")
}

impl Account {
    /// A session makes a list active for itself, or none. XEP-0016 §2.4
    pub(crate) fn activate(
        &mut self,
        session: SessionId,
        name: Option<&str>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        let before = self.rules_before();
        if let Some(privacy) = &mut self.privacy {
            let active = match name {
                Some(name) => Some(privacy.lists.list(name).ok_or(Condition::ItemNotFound)?),
                None => None,
            };
            let active =
                active.map(|list| Active { session, name: list.name.clone(), rules: Arc::new(Rules::of(&list.items)) });
            privacy.active.retain(|active| active.session != session);
            privacy.active.extend(active);
        } else if name.is_some() {
            return Err(Condition::ItemNotFound);
        }
        self.shows_change(&before, turn);
        Ok(())
    }

    /// Makes a list the default one, or none. XEP-0016 §2.5
    pub(crate) fn set_default_list(
        &mut self,
        by: SessionId,
        name: Option<&str>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refusal> {
        let known = self.lists();
        if name.is_some_and(|name| known.is_none_or(|lists| lists.list(name).is_none())) {
            return Err(Condition::ItemNotFound.into());
        }
        let old = known.and_then(|lists| lists.default.as_deref());
        if old == name {
            return Ok(());
        }
        if old.is_some() && self.uses_default(by) {
            return Err(in_use());
        }
        let name = name.map(str::to_owned);
        self.changes_lists(by, |lists| lists.default = name, Told::Nothing, turn)?;
        Ok(())
    }

    /// Sets a list. XEP-0016 §2.6, §2.7
    pub(crate) fn set_list(&mut self, by: SessionId, list: List, turn: &mut Turn<'_>) -> Result<(), Condition> {
        let name = list.name.clone();
        self.changes_lists(by, |lists| lists.set(list), Told::List(name), turn)
    }

    /// Takes a list away. XEP-0016 §2.8
    pub(crate) fn remove_list(&mut self, by: SessionId, name: &str, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        if self.lists().is_none_or(|lists| lists.list(name).is_none()) {
            return Err(Condition::ItemNotFound.into());
        }
        let is_used = |privacy: &Privacy| {
            let mut others = self.others_connected(by);
            others.any(|session| privacy.name(session.id) == Some(name))
        };
        if self.privacy.as_deref().is_some_and(is_used) {
            return Err(in_use());
        }
        let remove = |lists: &mut Lists| {
            lists.remove(name);
        };
        self.changes_lists(by, remove, Told::List(name.to_owned()), turn)?;
        Ok(())
    }

    /// Blocks addresses. XEP-0191 §3.3
    pub(crate) fn block(&mut self, by: SessionId, jids: Vec<String>, turn: &mut Turn<'_>) -> Result<(), Condition> {
        self.changes_lists(by, |lists| lists.block(jids), Told::Default, turn)
    }

    /// Lets addresses pass again, or all. XEP-0191 §3.4, §3.5
    pub(crate) fn unblock(
        &mut self,
        by: SessionId,
        only: Option<&[String]>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        let told = if only.is_some() { Told::Default } else { Told::AllUnblocked };
        self.changes_lists(by, |lists| lists.unblock(only), told, turn)
    }

    /// The session hears of changes of the blocklist from now on. XEP-0191 §3.3
    pub(crate) fn asks_for_blocklist(&mut self, session: SessionId) {
        let privacy = self.privacy.get_or_insert_default();
        if !privacy.asked.contains(&session) {
            privacy.asked.push(session);
        }
    }

    /// Whether the default list applies to a session other than this one.
    fn uses_default(&self, by: SessionId) -> bool {
        self.others_connected(by).any(|session| self.active_list(session.id).is_none())
    }

    /// XEP-0016 §2.2 protects connected resources; one whose client is away must not be in the way of the client when it comes again.
    fn others_connected(&self, than: SessionId) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(move |session| session.id != than && session.is_awake())
    }

    fn changes_lists(
        &mut self,
        by: SessionId,
        change: impl FnOnce(&mut Lists),
        told: Told,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        let old = self.lists().cloned().unwrap_or_default();
        let mut lists = old.clone();
        change(&mut lists);
        if lists == old {
            return Ok(());
        }
        lists.check()?;
        let mut batch = Batch::default();
        lists.keep(self.id, &mut batch);
        turn.out.write(batch);
        let before = self.rules_before();
        let privacy = self.privacy.get_or_insert_default();
        privacy.lists = lists;
        privacy.compile();
        self.tells_sessions(by, &old, told, turn);
        self.shows_change(&before, turn);
        if self.privacy.as_ref().is_some_and(|privacy| privacy.is_idle()) {
            self.privacy = None;
        }
        Ok(())
    }

    fn rules_before(&self) -> Before {
        let rules = |id| self.privacy.as_ref().and_then(|privacy| privacy.rules(Some(id)).cloned());
        self.sessions.iter().map(|session| (session.id, rules(session.id))).collect()
    }

    /// Tells the sessions which list has changed, and those that want to know it which addresses are blocked now.
    fn tells_sessions(&mut self, by: SessionId, old: &Lists, told: Told, turn: &mut Turn<'_>) {
        let Some(privacy) = &self.privacy else { return };
        let new = &privacy.lists;
        let missing = |from: &Lists, in_: &Lists| -> Vec<String> {
            let others: std::collections::BTreeSet<&str> = in_.blocked().collect();
            from.blocked().filter(|jid| !others.contains(jid)).map(str::to_owned).collect()
        };
        let (blocked, unblocked) = (missing(new, old), missing(old, new));
        let list = match &told {
            Told::Nothing => None,
            Told::List(name) => Some(name.clone()),
            Told::Default | Told::AllUnblocked => new.default.clone().or(old.default.clone()),
        };
        let (sessions, asked) = (&self.sessions, &privacy.asked);
        for session in sessions {
            let mut due = Vec::new();
            if let Some(list) = &list {
                due.push(push(turn, &session.jid, |xml| {
                    xml.open("query").ns(ns::PRIVACY).leaf("list", &[("name", list)]).close();
                }));
            }
            if asked.contains(&session.id) {
                for (name, jids) in [("block", &blocked), ("unblock", &unblocked)] {
                    let all = name == "unblock" && matches!(told, Told::AllUnblocked);
                    if !jids.is_empty() {
                        due.push(push_items(turn, &session.jid, name, if all { &[] } else { jids }));
                    }
                }
            }
            // XEP-0016 §2.6, XEP-0191 §3.3: the one who changed it hears its result first.
            if session.id == by {
                self.after_result.extend(due);
            } else {
                due.into_iter().for_each(|stanza| turn.out.deliver(session.id, stanza));
            }
        }
    }

    /// Shows the user to those who may see him now, and lets him vanish for those who no longer may; and the same for what the
    /// user sees of them. XEP-0016 §2.10, §2.11, XEP-0191 §3.3, §3.4.
    fn shows_change(&mut self, before: &Before, turn: &mut Turn<'_>) {
        for (id, old) in before {
            let new = self.privacy.as_ref().and_then(|privacy| privacy.rules(Some(*id)).cloned());
            if old.is_some() || new.is_some() {
                let changed = Changed { old: old.as_deref(), new: new.as_deref() };
                self.shows_presence(*id, &changed, turn);
                self.sees_presence(*id, &changed, turn);
                self.ends_directed(*id, &changed, turn);
                self.guards(*id, turn);
            }
        }
    }

    /// What contacts see of the session.
    fn shows_presence(&self, id: SessionId, changed: &Changed<'_>, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let Some(presence) = &session.presence else { return };
        let sender = Sender { jid: session.jid.clone(), account: Some(self.id) };
        for contact in self.roster.watchers() {
            match changed.at(self, Traffic::PresenceOut, contact) {
                Some(true) => self.shows(contact, &sender, presence, turn),
                Some(false) => self.vanishes_for(contact, &sender, turn),
                None => {}
            }
        }
    }

    /// What the session sees of contacts.
    fn sees_presence(&self, id: SessionId, changed: &Changed<'_>, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id).filter(|session| session.is_available()) else { return };
        let sender = Sender { jid: session.jid.clone(), account: Some(self.id) };
        for contact in self.roster.watched() {
            match changed.at(self, Traffic::PresenceIn, contact) {
                Some(true) => self.probes(contact, &sender, turn),
                Some(false) => turn.out.deliver(id, gone(contact, &session.jid)),
                None => {}
            }
        }
    }

    /// Those who saw the session though they are not subscribed.
    fn ends_directed(&mut self, id: SessionId, changed: &Changed<'_>, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let sender = Sender { jid: session.jid.clone(), account: Some(self.id) };
        let is_over = |to: &str| {
            let contact = Jid::parse(to).ok().filter(|jid| jid.domain() == domain(&self.jid));
            contact.is_some_and(|jid| {
                !self.roster.is_watched_by(jid.bare_str())
                    && changed.at(self, Traffic::PresenceOut, jid.as_str()) == Some(false)
            })
        };
        let over: Vec<Box<str>> = session.directed.iter().filter(|to| is_over(to)).cloned().collect();
        for to in over {
            self.vanishes_for(&to, &sender, turn);
            if let Some(session) = self.session_mut(id) {
                session.directed.retain(|directed| *directed != to);
            }
        }
    }
}

/// Of which change sessions are told.
enum Told {
    /// Of none.
    Nothing,
    /// Of the list with this name.
    List(String),
    /// Of the list that holds what is blocked.
    Default,
    /// The same, and nothing is blocked any more.
    AllUnblocked,
}

/// The rules of a session before and after.
struct Changed<'a> {
    old: Option<&'a Rules>,
    new: Option<&'a Rules>,
}

impl Changed<'_> {
    /// What is so now and was not before.
    fn at(&self, account: &Account, traffic: Traffic, jid: &str) -> Option<bool> {
        let allow = |rules: Option<&Rules>| rules.is_none_or(|rules| rules.allow(traffic, jid, &account.roster));
        let now = allow(self.new);
        (allow(self.old) != now).then_some(now)
    }
}

/// What is told to a session by itself. The product's SDKs never answer, and read the id of every iq. Wire notes §13.8
fn push(turn: &mut Turn<'_>, to: &str, payload: impl FnOnce(&mut Writer<'_>)) -> Bytes {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("iq").attr("type", "set").attr("id", &ObjectId(turn.random.array()).to_string()).attr("to", to);
    payload(&mut xml);
    xml.close();
    drop(xml);
    out.into()
}

fn push_items(turn: &mut Turn<'_>, to: &str, name: &'static str, jids: &[String]) -> Bytes {
    push(turn, to, |xml| {
        xml.open(name).ns(ns::BLOCKING);
        for jid in jids {
            xml.leaf("item", &[("jid", jid)]);
        }
        xml.close();
    })
}

/// The user sees no more of a contact.
fn gone(contact: &str, to: &str) -> Bytes {
    let mut out = Vec::new();
    let attributes = [("from", contact), ("to", to), ("type", "unavailable"), ("id", PRESENCE_ID)];
    Writer::new(&mut out).leaf("presence", &attributes);
    out.into()
}
