//! XEP-0202: Entity Time.

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

pub(super) static ENTITY_TIME: Extension = Extension {
    name: "Entity Time",
    spec: Spec::Xep(202, "2.0"),
    server_features: &[ns::TIME],
    iq: &[IqRoute { at: At::Home, kind: IqKind::Get, ns: ns::TIME, name: "time", plan: nothing, apply: on_get }],
    ..Extension::NONE
};

/// The server keeps UTC, whatever zone the machine is in.
fn on_get(_: &Request<'_>, _: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("time").ns(ns::TIME).simple("tzo", "+00:00");
    xml.simple("utc", &turn.now.stamp.iso_millis().to_string()).close();
    drop(xml);
    Ok(out)
}
