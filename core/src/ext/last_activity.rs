//! XEP-0012: Last Activity.
//!
//! Any two users of one app may ask about each other, as the product's SDKs do; no subscription is asked for.

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::{Account, seen::LASTS};
use crate::effect::Turn;
use crate::error::Condition;
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

pub(super) static LAST_ACTIVITY: Extension = Extension {
    name: "Last Activity",
    spec: Spec::Xep(12, "2.0"),
    server_features: &[ns::LAST],
    account_features: &[ns::LAST],
    tables: &[&LASTS],
    iq: &[
        IqRoute {
            at: At::AnyAccount,
            kind: IqKind::Get,
            ns: ns::LAST,
            name: "query",
            plan: nothing,
            apply: of_account,
        },
        IqRoute { at: At::Server, kind: IqKind::Get, ns: ns::LAST, name: "query", plan: nothing, apply: of_server },
    ],
    ..Extension::NONE
};

/// Zero while a resource is connected, whether or not it has sent presence, as the product has it; else since the last one was
/// available. XEP-0012 §4, wire notes §20.
fn of_account(_: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    if !account.sessions().is_empty() {
        return Ok(answer(0, None));
    }
    // One who was never here looks like one who does not exist.
    let seen = account.seen().ok_or(Condition::ServiceUnavailable)?;
    Ok(answer(turn.now.stamp.since(seen.at).as_secs(), seen.status.as_deref()))
}

/// How long the server has been up. XEP-0012 §5.
fn of_server(_: &Request<'_>, _: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    Ok(answer(turn.now.instant.micros() / 1_000_000, None))
}

fn answer(seconds: u64, status: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::LAST).attr_int("seconds", seconds);
    if let Some(status) = status {
        xml.text(status);
    }
    xml.close();
    drop(xml);
    out
}
