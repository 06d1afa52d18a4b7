//! Elements that come before their time. RFC 6120 §4.9.3.12 and §7.1.
//!
//! The letter of the RFC closes the stream on any of them. Official SDKs send an iq before `<auth/>` and never look at the
//! answer, so requests are refused one by one, a handful of times; messages and presences end the stream as they should.

use crate::error::{Condition, Misbehaviour, StanzaError, may_be_refused};
use crate::ns;
use crate::xml::Element;

use super::state::ExpectLogin;
use super::{Call, features, header, resume};

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Login.
    Login,
    /// A resource.
    Bind,
}

/// Answers an element that no row of the feature tables takes.
pub(super) fn refuse(element: Element<'_>, before: Before, call: &mut Call<'_, '_>) -> Result<(), Misbehaviour> {
    match (element.ns(), element.name()) {
        (ns::CLIENT, "iq") => {
            let text = match before {
                Before::Login => "Log in and bind a resource first.",
                Before::Bind => "Bind a resource first.",
            };
            refuse_iq(element, &StanzaError::new(Condition::NotAuthorized, text), call)
        }
        (ns::CLIENT, "message" | "presence") => Err(match before {
            Before::Login => Misbehaviour::StanzaBeforeLogin,
            Before::Bind => Misbehaviour::StanzaBeforeBind,
        }),
        (ns::COMPRESS, "compress") => {
            count(call)?;
            refuse_compression(call);
            Ok(())
        }
        // XEP-0198 §3: before a resource is bound there is no session to manage, and §5: before login none to come back to.
        (ns::SM, "enable" | "resume") => {
            count(call)?;
            resume::fail("unexpected-request", None, call);
            Ok(())
        }
        (ns::SM, "r" | "a") => count(call),
        (ns::SASL | ns::SASL_2, _) => Err(Misbehaviour::SecondLogin),
        (ns::CLIENT | ns::STREAMS | ns::FRAMING, _) => Err(Misbehaviour::UnknownElement),
        _ => Err(Misbehaviour::UnknownNamespace),
    }
}

/// Answers an iq with an error; results and errors get none, and count all the same.
pub(super) fn refuse_iq(iq: Element<'_>, error: &StanzaError<'_>, call: &mut Call<'_, '_>) -> Result<(), Misbehaviour> {
    count(call)?;
    if may_be_refused(iq) {
        let domain = call.host.terms.domain.as_str();
        let asked = iq.attr("to");
        let from = asked.as_deref().filter(|to| !to.is_empty()).unwrap_or(domain);
        call.host.out.element(call.transport, |out| error.write_reply(iq, Some(from), None, out));
    }
    Ok(())
}

/// A restart before login, over BOSH: XEP-0206 §5 has it after login only, but what the official SDK for Node stands on restarts
/// as soon as it has a session.
pub(super) fn reopen(open: Element<'_>, state: &ExpectLogin, call: &mut Call<'_, '_>) -> Result<(), Misbehaviour> {
    count(call)?;
    header::check(open, call.transport, call.host.terms.domain)?;
    features::write_before_login(state, call);
    Ok(())
}

/// XEP-0138 §3: compression is never offered, and asking for it changes nothing.
pub(super) fn refuse_compression(call: &mut Call<'_, '_>) {
    call.write(|xml| {
        xml.open("failure").ns(ns::COMPRESS).open("unsupported-method").close();
    });
}

/// Counts an element that leads nowhere.
pub(super) fn count(call: &mut Call<'_, '_>) -> Result<(), Misbehaviour> {
    call.patience.early_stanzas += 1;
    if call.patience.early_stanzas > call.host.terms.limits.early_stanzas_max {
        return Err(Misbehaviour::TooManyEarlyStanzas);
    }
    Ok(())
}
