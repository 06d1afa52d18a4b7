//! Resource binding: the client gets its address. RFC 6120 §7.

use crate::error::{Condition, StanzaError};
use crate::jid::{FullJid, server_resource};
use crate::ns;
use crate::xml::{Element, Writer};

use super::early::refuse_iq;
use super::state::{Bound, ExpectAttach, ExpectBind, Next, State, Turned};
use super::{Ask, Call};

/// The child of an iq is `<bind/>`, and nothing is bound yet.
pub(super) fn negotiate(state: ExpectBind, iq: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    let bind = iq.child("bind", ns::BIND).filter(|_| iq.name() == "iq" && iq.attr("type").as_deref() == Some("set"));
    let Some(bind) = bind else {
        refuse_iq(iq, &Condition::BadRequest.into(), call)?;
        return Ok(Next::To(State::Bind(state)));
    };
    let resource = bind.child("resource", ns::BIND).map(Element::text).filter(|resource| !resource.is_empty());
    let chosen = resource.is_some();
    let bare = state.who.account().at(call.host.terms.domain);
    let resource = resource.unwrap_or_else(|| {
        let mut random = [0; 12];
        call.host.random.fill(&mut random);
        server_resource(random).into()
    });
    // RFC 6120 §7.7.2.1
    let Ok(jid) = bare.with_resource(&resource) else {
        let error = StanzaError::new(Condition::BadRequest, "The resource is too long or has forbidden characters.");
        refuse_iq(iq, &error, call)?;
        return Ok(Next::To(State::Bind(state)));
    };
    let (account, secret_version) = (state.who.account(), state.who.secret_version());
    let attach = ExpectAttach { who: state.who, id: iq.attr("id").map(Into::into) };
    Ok(Next::Ask(State::Attach(Box::new(attach)), Ask::Bind { account, jid, chosen, secret_version }))
}

impl ExpectAttach {
    /// The session is attached under this address. RFC 6120 §7.6.1.
    pub(super) fn bound(self, jid: FullJid, call: &mut Call<'_, '_>) -> State {
        call.write(|xml| {
            reply(self.id.as_deref(), "result", xml);
            xml.open("bind").ns(ns::BIND).simple("jid", jid.as_str());
        });
        State::Bound(Bound { jid })
    }

    /// The account does not take the session. RFC 6120 §7.6.2 and §7.7.2.
    pub(super) fn refused(self, error: &StanzaError<'_>, call: &mut Call<'_, '_>) -> State {
        call.write(|xml| {
            reply(self.id.as_deref(), "error", xml);
            xml.empty("bind", ns::BIND);
            error.write_child(xml);
        });
        State::Bind(ExpectBind { who: self.who })
    }
}

fn reply(id: Option<&str>, kind: &str, xml: &mut Writer<'_>) {
    xml.open("iq").attr("type", kind).attr_opt("id", id);
}
