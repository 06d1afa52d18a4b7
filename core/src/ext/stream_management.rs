//! XEP-0198: Stream Management, so far the acknowledgement of what the client sends.
//!
//! `<a h='N'/>` says that N stanzas are taken care of: delivered, refused, or on disk. It is sent only when asked for (§4), because
//! older SDKs fail on one that comes by itself, and waits until the count covers all that was sent before the question.

use super::{Extension, Nonza, Spec};
use crate::account::Account;
use crate::effect::{SessionId, Turn};
use crate::error::StreamCondition;
use crate::ns;
use crate::stream::Feature;
use crate::xml::{Element, Writer};

pub(super) static STREAM_MANAGEMENT: Extension = Extension {
    name: "Stream Management",
    spec: Spec::Xep(198, "1.6.1"),
    stream_features: &[Feature::new("sm", ns::SM)],
    nonzas: &[
        Nonza { name: "enable", ns: ns::SM, apply: on_enable },
        Nonza { name: "r", ns: ns::SM, apply: on_request },
        Nonza { name: "a", ns: ns::SM, apply: on_answer },
        Nonza { name: "resume", ns: ns::SM, apply: on_resume },
    ],
    ..Extension::NONE
};

fn on_enable(
    account: &mut Account,
    session: SessionId,
    _: Element<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    if !account.enable_acks(session) {
        // §3: enabling twice breaks the protocol.
        return Err(StreamCondition::PolicyViolation);
    }
    let mut out = Vec::new();
    Writer::new(&mut out).empty("enabled", ns::SM);
    turn.out.deliver(session, out.into());
    Ok(())
}

fn on_request(
    account: &mut Account,
    session: SessionId,
    _: Element<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    account.wants_ack(session, turn);
    Ok(())
}

/// We ask for nothing yet, so there is nothing an answer could say; SDKs that count wrongly must not suffer for it.
fn on_answer(_: &mut Account, _: SessionId, _: Element<'_>, _: &mut Turn<'_>) -> Result<(), StreamCondition> {
    Ok(())
}

/// §5: no stream is resumable, so none is known.
fn on_resume(_: &mut Account, session: SessionId, _: Element<'_>, turn: &mut Turn<'_>) -> Result<(), StreamCondition> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("failed").ns(ns::SM).empty("item-not-found", ns::STANZA_ERRORS).close();
    drop(xml);
    turn.out.deliver(session, out.into());
    Ok(())
}
