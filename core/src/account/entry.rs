//! A client that comes in by SASL2: its token, its resource, and what is switched on for the session at once. XEP-0386, XEP-0484.

use crate::effect::{Effect, Ending, SessionId, Turn};
use crate::error::Condition;
use crate::ext::{self, fast};
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::stream::{Binding, Entered, Entry};
use crate::xml::Nodes;

use super::Account;

impl Account {
    /// The rows that [`Account::enter`] needs.
    pub fn plan_entry(&self, entry: &Entry) -> Reads {
        fast::reads(entry, self.id)
    }

    /// Takes a client in, with this session if it binds a resource. A refusal changes nothing.
    ///
    /// What the client is told of it follows the effects: a token is on disk before the client has it.
    pub fn enter(
        &mut self,
        session: SessionId,
        entry: &Entry,
        mut rows: Rows,
        turn: &mut Turn<'_>,
    ) -> Result<Result<Entered, Condition>, Unreadable> {
        let mut batch = Batch::default();
        let token = fast::enter(self.id, entry, &mut rows, turn.now.stamp, &mut batch)?;
        let (Ok(token_until), true) = (token, self.trusts(entry.secret_version)) else {
            return Ok(Err(Condition::NotAuthorized));
        };
        let secret_version = self.record.as_ref().map(|record| record.secret_version);
        let mut entered = Entered { token_until, secret_version, ..Entered::default() };
        if let Some(bind) = &entry.bind {
            let bound = self.held_back(turn, |account, turn| account.binds(session, bind, entry, &mut entered, turn));
            if let Err(condition) = bound {
                return Ok(Err(condition));
            }
        }
        turn.out.write(batch);
        Ok(Ok(entered))
    }

    /// Whether a secret that a client showed while this was the version of the password is still worth anything.
    pub fn trusts(&self, secret_version: Option<u64>) -> bool {
        let Some(record) = &self.record else { return false };
        secret_version.is_none_or(|version| version == record.secret_version)
    }

    fn binds(
        &mut self,
        session: SessionId,
        bind: &Binding,
        entry: &Entry,
        entered: &mut Entered,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        if entry.client.is_some() {
            self.replaces(bind, turn);
        }
        self.takes_in(session, &bind.jid, bind.replaceable, turn)?;
        entered.bound.extend_from_slice(&bind.archive);
        if let Err(condition) = self.switches_on(session, bind, entered, turn) {
            self.unbind(session, turn);
            return Err(condition);
        }
        entered.jid = Some(bind.jid.clone());
        Ok(())
    }

    /// Ends what sessions the same installation of the client still has, whatever it called itself there. XEP-0386 §3.2
    fn replaces(&mut self, bind: &Binding, turn: &mut Turn<'_>) {
        let part = |resource: &str| resource.rsplit('/').next().unwrap_or_default().to_owned();
        let own = part(bind.jid.resource());
        let same = |resource: &str| part(resource) == own;
        while let Some(earlier) =
            self.sessions.iter().find(|session| same(session.resource())).map(|session| session.id)
        {
            self.unbind(earlier, turn);
            turn.out.push(Effect::End(earlier, Ending::Conflict));
        }
    }

    /// Does what stands in `<bind/>`, each thing once. What would be sent to the session stands in `<bound/>` instead.
    fn switches_on(
        &mut self,
        session: SessionId,
        bind: &Binding,
        entered: &mut Entered,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        let mut nodes = Nodes::new();
        let Some(request) = nodes.reread(&bind.request) else { return Ok(()) };
        let mut done: Vec<(&str, &str)> = Vec::new();
        for child in request.children() {
            let Some(inline) = ext::inline(child) else { continue };
            if done.contains(&(inline.name, inline.ns)) {
                continue;
            }
            done.push((inline.name, inline.ns));
            let (since, before) = (turn.out.as_slice().len(), entered.bound.len());
            let result = (inline.apply)(self, session, child, turn);
            for effect in turn.out.take_from(since) {
                match effect {
                    Effect::Deliver(to, answer) | Effect::Nonza(to, answer) if to == session => {
                        entered.bound.extend_from_slice(&answer);
                    }
                    Effect::Track(to, answer) if to == session => {
                        entered.bound.extend_from_slice(&answer);
                        entered.tracked = true;
                    }
                    other => turn.out.push(other),
                }
            }
            // A new session can do all of it; one that cannot is our fault.
            result.map_err(|_| Condition::InternalServerError)?;
            if entered.bound.len() > before {
                entered.done.push(inline.ns);
            }
        }
        Ok(())
    }
}
