//! XEP-0198: Stream Management.
//!
//! `<a h='N'/>` says that N stanzas are taken care of: delivered, refused, or on disk. It is sent only when asked for (§4), because
//! older SDKs fail on one that comes by itself, and waits until the count covers all that was sent before the question.
//!
//! In the other direction the count matters for sessions that can be resumed (§5) only: what their clients have not acknowledged is kept
//! and given again, or goes where it would have gone without them (`crate::account::resumption`). Official SDKs enable
//! acknowledgements without resumption and count wrongly; nothing hangs on their counts.

use super::{Extension, Nonza, Spec};
use crate::account::Account;
use crate::effect::{Effect, SessionId, Turn};
use crate::error::StreamCondition;
use crate::ns;
use crate::stream::Feature;
use crate::xml::{Element, Writer};

pub(super) static STREAM_MANAGEMENT: Extension = Extension {
    name: "Stream Management",
    spec: Spec::Xep(198, "1.6.1"),
    // §9: a session is resumed with the login, too.
    stream_features: &[Feature { inline: Some(|_, _| {}), ..Feature::new("sm", ns::SM) }],
    nonzas: &[
        Nonza { name: "enable", ns: ns::SM, apply: on_enable },
        Nonza { name: "r", ns: ns::SM, apply: on_request },
        Nonza { name: "a", ns: ns::SM, apply: on_answer },
        Nonza { name: "resume", ns: ns::SM, apply: on_resume },
    ],
    inline: &[Nonza { name: "enable", ns: ns::SM, apply: on_enable }],
    ..Extension::NONE
};

fn on_enable(
    account: &mut Account,
    session: SessionId,
    enable: Element<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    if !account.enable_acks(session) {
        // §3: enabling twice breaks the protocol.
        return Err(StreamCondition::PolicyViolation);
    }
    let wants_resumption = matches!(enable.attr("resume").as_deref(), Some("true" | "1"));
    let token = if wants_resumption { account.make_resumable(session, turn) } else { None };
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("enabled").ns(ns::SM);
    if let Some(token) = &token {
        let secs = turn.site.limits.resume_time_max.as_secs();
        xml.attr("id", token).attr("resume", "true").attr("max", &secs.to_string());
        xml.attr_opt("location", turn.site.resume_location.as_deref());
    }
    drop(xml);
    turn.out.push(match token {
        Some(_) => Effect::Track(session, out.into()),
        None => Effect::Nonza(session, out.into()),
    });
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

fn on_answer(
    account: &mut Account,
    session: SessionId,
    answer: Element<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    if let Some(count) = answer.attr("h").and_then(|count| count.parse().ok()) {
        account.acknowledged(session, count, turn);
    }
    Ok(())
}

/// §5: this stream has a session already.
fn on_resume(_: &mut Account, session: SessionId, _: Element<'_>, turn: &mut Turn<'_>) -> Result<(), StreamCondition> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("failed").ns(ns::SM).empty("unexpected-request", ns::STANZA_ERRORS).close();
    drop(xml);
    turn.out.nonza(session, out.into());
    Ok(())
}
