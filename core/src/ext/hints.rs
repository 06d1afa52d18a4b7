//! XEP-0334: Message Processing Hints. What a sender would have done with a message, and not done.
//!
//! | hint | what comes of it |
//! |---|---|
//! | `no-store` | does not wait for a user who is away, and is not archived by preference |
//! | `no-permanent-store` | is not archived by preference |
//! | `no-copy` | the sender's other clients get no copy (XEP-0280) |
//! | `store` | a chat state that has it waits, and what has no body is archived by preference |
//!
//! A message of the product that says `save_to_history` is kept in the history whatever hints it has: that is an order to the server, for
//! which the sender's app reads the history later, and a hint is none (§5). The rules of XEP-0079 come before hints too. A headline
//! never waits, not even with `store` (RFC 6121 §8.5.2.2). Hints in errors are those of the message that failed, and mean nothing.
//!
//! They hold nothing back from an inactive client (XEP-0352): a message that will not wait for anybody is the last to be late.

use super::chain::{Facts, Watch};
use super::{Extension, Spec};
use crate::ns;

pub(super) static HINTS: Extension = Extension {
    name: "Message Processing Hints",
    spec: Spec::Xep(334, "1.0.0"),
    account_features: &[ns::HINTS],
    messages: &[
        Watch::facts(ns::HINTS, &["no-store"], Facts::NO_STORE),
        Watch::facts(ns::HINTS, &["no-permanent-store"], Facts::NO_ARCHIVE),
        Watch::facts(ns::HINTS, &["no-copy"], Facts::NO_COPY),
        Watch::facts(ns::HINTS, &["store"], Facts::STORE),
    ],
    ..Extension::NONE
};
