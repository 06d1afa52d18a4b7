//! XEP-0085: Chat State Notifications, which clients send each other. One alone is of the moment: it does not wait for a user who is
//! away (§5.5), is not copied, and is held while a client is inactive (XEP-0352).

use super::chain::{Facts, Watch};
use super::{Extension, Spec};
use crate::ns;

pub(super) static CHAT_STATES: Extension = Extension {
    name: "Chat State Notifications",
    spec: Spec::Xep(85, "2.1"),
    messages: &[Watch::facts(ns::CHAT_STATES, &["active", "inactive", "gone", "composing", "paused"], Facts::STATE)],
    ..Extension::NONE
};
