//! Two by two, users become contacts (RFC 6121 §3), so that changes of presence have somebody to reach.

use std::time::{Duration, Instant};

use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::scenario::{Bench, RunError, answer, is_answer_to};

/// How long nothing may come before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const ROSTER_ID: &str = "contacts";

/// User `u` and user `u ^ 1` of these connections, of which each belongs to the account of its number.
pub fn befriend(bench: &mut Bench, connections: &[ConnId]) -> Result<(), RunError> {
    let mut courtesy = Courtesy { agreed: vec![false; connections.len()], heard: Instant::now(), closed: None };
    for id in connections {
        // Who is a contact from an earlier run would hear nothing of being asked again.
        let iq = format!("<iq type='get' id='{ROSTER_ID}'><query xmlns='jabber:iq:roster'/></iq>");
        bench.engine.out(*id).extend_from_slice(iq.as_bytes());
    }
    let outcome = bench.engine.run(&mut courtesy, bench.deadline)?;
    match (courtesy.closed, outcome) {
        (Some(why), _) => Err(RunError::Talk(format!("users become contacts: {why}"))),
        (None, Outcome::TimedOut) => Err(RunError::TimedOut("users become contacts")),
        (None, Outcome::Finished) => Ok(()),
    }
}

/// Whether a roster says that a user sees the presence of a contact.
fn sees(roster: &[u8], contact: &str) -> bool {
    memchr::memmem::find_iter(roster, b"<item").map(|at| &roster[at..]).any(|item| {
        framer::attribute(item, b"jid") == Some(contact.as_bytes())
            && matches!(framer::attribute(item, b"subscription"), Some(b"both" | b"to"))
    })
}

fn say(engine: &mut Engine, id: ConnId, to: usize, kind: &str) {
    let to = engine.accounts()[to].jid();
    engine.out(id).extend_from_slice(format!("<presence to='{to}' type='{kind}'/>").as_bytes());
}

struct Courtesy {
    /// By user: the contact has said yes.
    agreed: Vec<bool>,
    heard: Instant,
    closed: Option<String>,
}

impl Handler for Courtesy {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let user = engine.account_of(id);
        if is_answer_to(stanza, ROSTER_ID) {
            self.agreed[user] = sees(stanza, &engine.accounts()[user ^ 1].jid());
            if !self.agreed[user] {
                say(engine, id, user ^ 1, "subscribe");
            }
            return;
        }
        if framer::name(stanza) != b"presence" {
            return answer(engine, id, stanza);
        }
        match framer::attribute(stanza, b"type") {
            Some(b"subscribe") => say(engine, id, user ^ 1, "subscribed"),
            Some(b"subscribed") => self.agreed[user] = true,
            _ => return,
        }
        self.heard = Instant::now();
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.closed.get_or_insert_with(|| why.to_string());
    }

    fn tick(&mut self, _: &mut Engine, now: Instant) -> Next {
        if now.saturating_duration_since(self.heard) > PATIENCE {
            self.closed = Some("nothing comes any more".into());
        }
        if self.closed.is_some() || self.agreed.iter().all(|agreed| *agreed) { Next::Done } else { Next::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_is_a_contact_already() {
        let roster = b"<iq type='result' id='contacts'><query xmlns='jabber:iq:roster'><item jid=\"1-1@x\" \
            subscription=\"from\"/><item subscription='both' jid='2-1@x'><group>a</group></item></query></iq>";
        assert!(sees(roster, "2-1@x"));
        assert!(!sees(roster, "1-1@x") && !sees(roster, "3-1@x"));
    }
}
