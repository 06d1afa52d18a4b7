//! Stream features: what can be negotiated at each point, as tables. RFC 6120 §4.3.
//!
//! A feature that the stream itself negotiates is a [`Row`]: when it is offered, how it is advertised, and what its element
//! does. A feature that only says what the server can do is a [`Feature`], and comes from the extension table.

use crate::effect::Site;
use crate::ns;
use crate::xml::{Element, Writer};

use super::state::{ExpectBind, ExpectLogin, Turned};
use super::{Call, bind, login, resume, sasl2, tls};

/// Something to advertise that needs no negotiation before binding.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The element's name.
    pub name: &'static str,
    /// Its namespace.
    pub ns: &'static str,
    /// What it holds where it is advertised before login, if it is.
    pub before_login: Option<Content>,
    /// What it holds where it is advertised after login, if it is.
    pub after_login: Option<Content>,
    /// What it holds where it is advertised as something that SASL2 can do with the login, if it is. XEP-0388 §2.1
    pub inline: Option<Content>,
}

/// Writes what a feature's element holds, its attributes first.
pub type Content = fn(&Site, &mut Writer<'_>);

impl Feature {
    /// `<name xmlns="ns"/>` after login.
    pub const fn new(name: &'static str, ns: &'static str) -> Feature {
        Feature { name, ns, before_login: None, after_login: Some(|_, _| {}), inline: None }
    }

    /// RFC 3921 §3, as RFC 6121 §1.4 keeps it for old clients; SDKs ask for it whenever it is offered. `<optional/>` is for clients
    /// older than RFC 6120 that would take it for mandatory.
    pub const SESSION: Feature = Feature {
        after_login: Some(|_, xml| {
            xml.open("optional").close();
        }),
        ..Feature::new("session", ns::SESSION)
    };
    /// RFC 6121 §2.6.1.
    pub const ROSTER_VERSIONING: Feature = Feature::new("ver", ns::ROSTER_VERSIONING);
}

/// What the [`Feature`]s say, written once: it is the same for every stream until the settings change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    before_login: Vec<u8>,
    /// Each with its namespace.
    after_login: Vec<(&'static str, Vec<u8>)>,
    inline: Vec<u8>,
}

impl Features {
    /// What these features say with these settings.
    pub fn of<'f>(features: impl IntoIterator<Item = &'f Feature>, site: &Site) -> Features {
        let mut written = Features::default();
        let write = |feature: &Feature, content: Option<Content>, out: &mut Vec<u8>| {
            if let Some(content) = content {
                let mut xml = Writer::new(out);
                content(site, xml.open(feature.name).ns(feature.ns));
            }
        };
        for feature in features {
            write(feature, feature.before_login, &mut written.before_login);
            write(feature, feature.inline, &mut written.inline);
            let mut after_login = Vec::new();
            write(feature, feature.after_login, &mut after_login);
            written.after_login.push((feature.ns, after_login));
        }
        written
    }

    /// Before login. RFC 6120 §5.3.1: where TLS is required, nothing but STARTTLS is offered without it.
    pub(super) fn before_login(&self, state: &ExpectLogin, call: &Call<'_, '_>) -> &[u8] {
        if login::is_offered(state, call) { &self.before_login } else { &[] }
    }

    /// After login.
    fn after_login(&self) -> Vec<u8> {
        self.after_login.iter().flat_map(|(_, feature)| feature).copied().collect()
    }

    /// Once a resource is bound, and `done` with it: XEP-0388 §2.6.1 has features follow all the same.
    fn once_bound(&self, done: &[&str]) -> Vec<u8> {
        // There is no session to establish any more either.
        let is_left = |ns: &str| ns != ns::SESSION && !done.contains(&ns);
        let left = self.after_login.iter().filter(|(ns, _)| is_left(ns));
        left.flat_map(|(_, feature)| feature).copied().collect()
    }

    /// What SASL2 can do with the login.
    pub(super) fn inline(&self) -> &[u8] {
        &self.inline
    }
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
    // After the old one: what reads features by the names of elements alone finds that first.
    Row {
        by_iq: false,
        elements: &["authenticate", "response", "abort", "next", "task-data"],
        ns: ns::SASL_2,
        offered: sasl2::is_offered,
        advertise: sasl2::advertise,
        negotiate: sasl2::negotiate,
    },
];

/// Between login and a bound resource.
pub(super) static AFTER_LOGIN: &[Row<ExpectBind>] = &[
    Row {
        by_iq: true,
        elements: &["bind"],
        ns: ns::BIND,
        offered: |_, _| true,
        advertise: |_, _, xml| {
            xml.empty("bind", ns::BIND);
        },
        negotiate: bind::negotiate,
    },
    Row {
        by_iq: false,
        elements: &["resume"],
        ns: ns::SM,
        // Its extension advertises it.
        offered: |_, _| false,
        advertise: |_, _, _| {},
        negotiate: resume::negotiate,
    },
];

/// The row that `element` starts, if there is one.
pub(super) fn row_for<S>(rows: &'static [Row<S>], element: Element<'_>) -> Option<&'static Row<S>> {
    let by_iq = element.is("iq", ns::CLIENT);
    let subject = if by_iq { element.first_child()? } else { element };
    rows.iter().find(|row| row.by_iq == by_iq && row.ns == subject.ns() && row.elements.contains(&subject.name()))
}

/// Appends `<stream:features/>` as a client sees it that is not logged in.
pub(super) fn write_before_login(state: &ExpectLogin, call: &mut Call<'_, '_>) {
    let more = call.host.terms.features.before_login(state, call);
    write(BEFORE_LOGIN, state, more, call);
}

/// Appends `<stream:features/>` as a client sees it that is logged in and has no resource.
pub(super) fn write_after_login(state: &ExpectBind, call: &mut Call<'_, '_>) {
    let more = call.host.terms.features.after_login();
    write(AFTER_LOGIN, state, &more, call);
}

/// Appends `<stream:features/>` as a client sees it that has bound its resource with its login.
pub(super) fn write_bound(done: &[&str], call: &mut Call<'_, '_>) {
    const NOTHING: &[Row<()>] = &[];
    let more = call.host.terms.features.once_bound(done);
    write(NOTHING, &(), &more, call);
}

/// Appends `<stream:features/>`: what is offered of `rows`, and `more`.
fn write<S>(rows: &[Row<S>], state: &S, more: &[u8], call: &mut Call<'_, '_>) {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("stream:features");
    for row in rows.iter().filter(|row| (row.offered)(state, call)) {
        (row.advertise)(state, call, &mut xml);
    }
    if !more.is_empty() {
        xml.raw_bytes(more);
    }
    drop(xml);
    call.host.out.deliver(call.transport, &out);
}
