//! XEP-0160: Best Practices for Handling Offline Messages. Which messages wait is in the message's [`Look`](super::chain::Look), how they
//! do in `crate::account::offline`.

use super::{Extension, Spec};
use crate::ns;

pub(super) static OFFLINE_MESSAGES: Extension = Extension {
    name: "Handling Offline Messages",
    spec: Spec::Xep(160, "1.0.1"),
    // §4: messages wait for users who are away.
    server_features: &[ns::MSG_OFFLINE],
    ..Extension::NONE
};
