//! Coming back to an earlier session instead of binding a resource. XEP-0198 §5.

use crate::jid::FullJid;
use crate::ns;
use crate::xml::{Element, Writer};

use super::early::count;
use super::state::{Bound, ExpectBind, ExpectResume, Next, State, Turned};
use super::{Ask, Call, Transport};

/// `<resume/>`, and nothing is bound yet.
pub(super) fn negotiate(state: ExpectBind, resume: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    count(call)?;
    // BOSH has sessions of its own, and none of them is resumable.
    let request = read(resume).filter(|_| call.transport != Transport::Bosh);
    let Some((token, count)) = request else {
        fail("item-not-found", None, call);
        return Ok(Next::To(State::Bind(state)));
    };
    let account = state.who.account();
    let expect = ExpectResume { who: state.who, passage: None };
    Ok(Next::Ask(State::Resume(Box::new(expect)), Ask::Resume { account, token, count }))
}

/// What the client comes back with, and how many stanzas it has taken.
pub(super) fn read(resume: Element<'_>) -> Option<(Box<str>, u32)> {
    let count = resume.attr("h")?.parse().ok()?;
    Some((resume.attr("previd")?.into(), count))
}

impl ExpectResume {
    /// The session is the client's again: `<resumed/>` says how it stands.
    pub(super) fn resumed(self, jid: FullJid, element: &[u8], call: &mut Call<'_, '_>) -> State {
        if let Some(passage) = self.passage {
            return passage.resumed(&self.who, jid, element, call);
        }
        call.host.out.deliver(call.transport, element);
        State::Bound(Bound { jid })
    }

    /// There is no such session; the client may bind a resource.
    pub(super) fn not_found(self, handled: Option<u32>, call: &mut Call<'_, '_>) -> Turned {
        if let Some(passage) = self.passage {
            return passage.not_resumed(self.who, handled, call);
        }
        fail("item-not-found", handled, call);
        Ok(Next::To(State::Bind(ExpectBind { who: self.who })))
    }
}

/// Answers `<enable/>` or `<resume/>`. §5: with the count of what was handled, if that is known.
pub(super) fn fail(condition: &'static str, handled: Option<u32>, call: &mut Call<'_, '_>) {
    call.write(|xml| write_failed(condition, handled, xml));
}

pub(super) fn write_failed(condition: &'static str, handled: Option<u32>, xml: &mut Writer<'_>) {
    xml.open("failed").ns(ns::SM);
    if let Some(handled) = handled {
        xml.attr_int("h", handled);
    }
    xml.empty(condition, ns::STANZA_ERRORS).close();
}
