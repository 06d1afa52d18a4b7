//! Stream features: what can be negotiated at each point, as tables. RFC 6120 §4.3.
//!
//! A feature that the stream itself negotiates is a [`Row`]: when it is offered, how it is advertised, and what its element
//! does. A feature that only says what the server can do after login is a [`Feature`], and comes from the extension table.

use crate::ns;
use crate::xml::{Element, Writer};

use super::state::{ExpectBind, ExpectLogin, Turned};
use super::{Call, bind, login, tls};

/// Something to advertise after login, which needs no negotiation before binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The element's name.
    pub name: &'static str,
    /// Its namespace.
    pub ns: &'static str,
    /// Whether it holds `<optional/>`, for clients older than RFC 6120 that would take it for mandatory.
    pub optional: bool,
}

impl Feature {
    /// `<name xmlns="ns"/>`.
    pub const fn new(name: &'static str, ns: &'static str) -> Feature {
        Feature { name, ns, optional: false }
    }

    /// RFC 3921 §3, as RFC 6121 §1.4 keeps it for old clients; SDKs ask for it whenever it is offered.
    pub const SESSION: Feature = Feature { name: "session", ns: ns::SESSION, optional: true };
    /// RFC 6121 §2.6.1.
    pub const ROSTER_VERSIONING: Feature = Feature::new("ver", ns::ROSTER_VERSIONING);
}

/// A feature that is negotiated while the stream is in state `S`.
pub(super) struct Row<S> {
    /// Whether it is negotiated inside an iq.
    by_iq: bool,
    /// The names of the elements that start its negotiation; with an iq, of its child.
    elements: &'static [&'static str],
    /// Their namespace.
    ns: &'static str,
    /// Whether a client may use it now.
    offered: fn(&S, &Call<'_, '_>) -> bool,
    /// What stands in `<stream:features/>`.
    advertise: fn(&S, &Call<'_, '_>, &mut Writer<'_>),
    /// What happens when the client uses it, offered or not.
    pub(super) negotiate: fn(S, Element<'_>, &mut Call<'_, '_>) -> Turned,
}

/// Before login. STARTTLS stands first: where it is required, nothing else is offered (RFC 6120 §5.3.1).
pub(super) static BEFORE_LOGIN: &[Row<ExpectLogin>] = &[
    Row {
        by_iq: false,
        elements: &["starttls"],
        ns: ns::TLS,
        offered: tls::is_offered,
        advertise: tls::advertise,
        negotiate: tls::negotiate,
    },
    Row {
        by_iq: false,
        elements: &["auth", "response", "abort"],
        ns: ns::SASL,
        offered: login::is_offered,
        advertise: login::advertise,
        negotiate: login::negotiate,
    },
];

/// Between login and a bound resource.
pub(super) static AFTER_LOGIN: &[Row<ExpectBind>] = &[Row {
    by_iq: true,
    elements: &["bind"],
    ns: ns::BIND,
    offered: |_, _| true,
    advertise: |_, _, xml| {
        xml.empty("bind", ns::BIND);
    },
    negotiate: bind::negotiate,
}];

/// The row that `element` starts, if there is one.
pub(super) fn row_for<S>(rows: &'static [Row<S>], element: Element<'_>) -> Option<&'static Row<S>> {
    let by_iq = element.is("iq", ns::CLIENT);
    let subject = if by_iq { element.first_child()? } else { element };
    rows.iter().find(|row| row.by_iq == by_iq && row.ns == subject.ns() && row.elements.contains(&subject.name()))
}

/// Appends `<stream:features/>`.
pub(super) fn write<S>(rows: &[Row<S>], state: &S, more: &[Feature], call: &mut Call<'_, '_>) {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("stream:features");
    for row in rows.iter().filter(|row| (row.offered)(state, call)) {
        (row.advertise)(state, call, &mut xml);
    }
    for feature in more {
        xml.open(feature.name).ns(feature.ns);
        if feature.optional {
            xml.open("optional").close();
        }
        xml.close();
    }
    drop(xml);
    call.host.out.deliver(call.transport, &out);
}
