//! STARTTLS. RFC 6120 §5.

use crate::ns;
use crate::xml::{Element, Writer};

use super::state::{ExpectLogin, Next, State, Turned};
use super::{Ask, Call, Security, Transport};

/// Only over TCP, only once, and only where there is a certificate. RFC 7395 §3.9 and XEP-0206 leave it to HTTP.
pub(super) fn is_offered(state: &ExpectLogin, call: &Call<'_, '_>) -> bool {
    let plain = match state.security {
        Security::Plain => true,
        Security::Tls(_) => false,
    };
    plain && call.transport == Transport::Tcp && call.host.terms.starttls
}

pub(super) fn advertise(_: &ExpectLogin, call: &Call<'_, '_>, xml: &mut Writer<'_>) {
    xml.open("starttls").ns(ns::TLS);
    if call.host.terms.tls_required {
        xml.open("required").close();
    }
    xml.close();
}

pub(super) fn negotiate(state: ExpectLogin, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    debug_assert!(element.is("starttls", ns::TLS), "the table has one element for this row");
    if !is_offered(&state, call) {
        return Ok(refuse(call));
    }
    call.write(|xml| {
        xml.empty("proceed", ns::TLS);
    });
    Ok(Next::Ask(State::Handshake, Ask::StartTls))
}

/// RFC 6120 §5.4.2.2: failure, then the stream closes.
pub(super) fn refuse(call: &mut Call<'_, '_>) -> Next {
    call.write(|xml| {
        xml.empty("failure", ns::TLS);
    });
    Next::Leave
}
