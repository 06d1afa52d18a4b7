//! XEP-0352: Client State Indication. While nobody looks, what is of no consequence waits, so that a phone can sleep.
//!
//! What waits and when it goes out is the account's: `crate::account::held`.

use super::{Extension, Nonza, Spec};
use crate::account::Account;
use crate::effect::{SessionId, Turn};
use crate::error::StreamCondition;
use crate::ns;
use crate::stream::Feature;
use crate::xml::Element;

pub(super) static CLIENT_STATE: Extension = Extension {
    name: "Client State Indication",
    spec: Spec::Xep(352, "1.0.0"),
    stream_features: &[Feature::new("csi", ns::CSI)],
    nonzas: &[
        Nonza { name: "active", ns: ns::CSI, apply: on_active },
        Nonza { name: "inactive", ns: ns::CSI, apply: on_inactive },
    ],
    inline: &[
        Nonza { name: "active", ns: ns::CSI, apply: on_active },
        Nonza { name: "inactive", ns: ns::CSI, apply: on_inactive },
    ],
    ..Extension::NONE
};

/// §4.2: no answer.
fn on_active(
    account: &mut Account,
    session: SessionId,
    _: Element<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    account.becomes_active(session, turn);
    Ok(())
}

/// §4.2: no answer. Said twice it changes nothing.
fn on_inactive(
    account: &mut Account,
    session: SessionId,
    _: Element<'_>,
    turn: &mut Turn<'_>,
) -> Result<(), StreamCondition> {
    account.becomes_inactive(session, turn);
    Ok(())
}
