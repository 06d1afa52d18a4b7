//! XEP-0092: Software Version.

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::{Site, Turn};
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

pub(super) static SOFTWARE_VERSION: Extension = Extension {
    name: "Software Version",
    spec: Spec::Xep(92, "1.1"),
    server_features: &[ns::VERSION],
    iq: &[IqRoute { at: At::Server, kind: IqKind::Get, ns: ns::VERSION, name: "query", plan: nothing, apply: on_get }],
    ..Extension::NONE
};

/// Name and version, and not the operating system: XEP-0092 §5 warns of telling too much.
pub(super) fn of_server(site: &Site) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::VERSION).simple("name", "rookery").simple("version", site.version).close();
    drop(xml);
    out
}

fn on_get(_: &Request<'_>, _: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    Ok(of_server(turn.site))
}
