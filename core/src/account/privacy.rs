//! Whom the user will not hear from, and who will not hear from the user: privacy lists in force. XEP-0016, XEP-0191.
//!
//! Each session has the list that it has made active, or the default list. What comes to the account is held against the lists
//! first of all, before anything is kept, answered or counted (XEP-0016 §2.2):
//!
//! | what comes | whose list | what becomes of it if denied |
//! |---|---|---|
//! | to a connected resource | the session's | messages and requests come back with `service-unavailable`, the rest goes nowhere |
//! | a message to the account | those of the sessions that take messages: if all deny it; without any the default list | the same |
//! | a request, a probe, a subscription to the account | the default list | the same |
//! | over REST | as a message to the account | the sender's call is refused |
//! | presence, and what one session may see of the above but not another | the session's, as it is delivered | nothing |
//! | what is said in rooms | the session's | nothing |
//!
//! So a message that is denied is neither in the history nor waiting, and nobody counts it. One that was on its round by the dialog
//! when a list changed is in the history, and is not shown. What a session sends is held against its own list: what that denies
//! comes back with `not-acceptable`, and presence for many passes over those it is not for.
//!
//! Nothing comes between the sessions of one user, or between a session and the server. An account that has no lists pays for
//! one look at a pointer.
//!
//! | subject | file |
//! |---|---|
//! | the lists as they are kept | `lists` |
//! | a list as it is asked | `rules` |
//! | what is held against them | `screen` |
//! | what follows when lists change | `change` |

use std::sync::Arc;

use crate::canary::{Rule, is_broken};
use crate::effect::SessionId;
use crate::row::{Rows, Unreadable};

use super::Account;

mod change;
pub(crate) mod lists;
mod rules;
mod screen;

use lists::{Lists, Traffic};
use rules::{Rules, bare, domain};
pub(super) use screen::blocked;

/// The lists of one user, and which of them are in force.
#[derive(Debug, Default)]
pub(crate) struct Privacy {
    lists: Lists,
    /// The list that applies where no other does.
    default: Option<Arc<Rules>>,
    /// By the session that has made it active.
    active: Vec<Active>,
    /// Sessions that have asked for the blocklist and hear of its changes. XEP-0191 §3.3
    asked: Vec<SessionId>,
}

/// The list that one session has made active.
#[derive(Debug)]
struct Active {
    session: SessionId,
    name: String,
    rules: Arc<Rules>,
}

impl Privacy {
    /// Takes the answer to [`Lists::reads`]; none for a user who has no lists.
    pub(super) fn load(rows: &mut Rows) -> Result<Option<Box<Privacy>>, Unreadable> {
        let lists = Lists::load(rows)?;
        if lists.is_empty() {
            return Ok(None);
        }
        let mut privacy = Privacy { lists, ..Privacy::default() };
        privacy.compile();
        Ok(Some(Box::new(privacy)))
    }

    /// Puts the lists in force as they now are.
    fn compile(&mut self) {
        let rules = |name: &str| self.lists.list(name).map(|list| Arc::new(Rules::of(&list.items)));
        self.default = self.lists.default.as_deref().and_then(rules);
        let active = std::mem::take(&mut self.active);
        let still_there =
            active.into_iter().filter_map(|active| Some(Active { rules: rules(&active.name)?, ..active }));
        self.active = still_there.collect();
    }

    fn active(&self, session: SessionId) -> Option<&Active> {
        self.active.iter().find(|active| active.session == session)
    }

    /// The rules for a session, or for the account as such.
    fn rules(&self, session: Option<SessionId>) -> Option<&Arc<Rules>> {
        match session.and_then(|session| self.active(session)) {
            Some(active) => Some(&active.rules),
            None => self.default.as_ref(),
        }
    }

    /// The name of the list that applies to a session.
    fn name(&self, session: SessionId) -> Option<&str> {
        self.active(session).map(|active| &*active.name).or(self.lists.default.as_deref())
    }

    fn is_in_force(&self) -> bool {
        self.default.is_some() || !self.active.is_empty()
    }

    /// Whether nobody would miss it.
    fn is_idle(&self) -> bool {
        self.lists.is_empty() && self.asked.is_empty()
    }
}

impl Account {
    /// The user's lists, if there are any.
    pub(crate) fn lists(&self) -> Option<&Lists> {
        self.privacy.as_ref().map(|privacy| &privacy.lists)
    }

    /// The list that a session has made active.
    pub(crate) fn active_list(&self, session: SessionId) -> Option<&str> {
        self.privacy.as_ref()?.active(session).map(|active| &*active.name)
    }

    /// Whether this may pass between a session (or the account, where no session is meant) and an address.
    pub(super) fn may(&self, session: Option<SessionId>, traffic: Traffic, jid: &str) -> bool {
        let Some(rules) = self.privacy.as_ref().and_then(|privacy| privacy.rules(session)) else { return true };
        // XEP-0016 §2.1: nothing comes between the user's own resources, nor between them and their server.
        bare(jid) == &*self.jid
            || bare(jid) == domain(&self.jid)
            || rules.allow(traffic, jid, &self.roster)
            || is_broken(Rule::PrivacyLists)
    }

    /// Whether any list applies to anybody.
    pub(super) fn has_lists_in_force(&self) -> bool {
        self.privacy.as_ref().is_some_and(|privacy| privacy.is_in_force())
    }

    /// A session is over.
    pub(super) fn forgets_lists_of(&mut self, session: SessionId) {
        let Some(privacy) = &mut self.privacy else { return };
        privacy.active.retain(|active| active.session != session);
        privacy.asked.retain(|asked| *asked != session);
        if privacy.is_idle() {
            self.privacy = None;
        }
    }
}
