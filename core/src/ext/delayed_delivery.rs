//! XEP-0203: Delayed Delivery. When a message came that was not given out at once.
//!
//! What waited for a user says so (`crate::account::offline`), and what a room replays. Nobody else says it in the name of one of our
//! addresses: such a claim of a client is taken out of the message. One in the name of somebody else goes its way.

use super::chain::{Facts, Watch};
use super::{Extension, Spec};
use crate::ns;

pub(super) static DELAYED_DELIVERY: Extension = Extension {
    name: "Delayed Delivery",
    spec: Spec::Xep(203, "2.0"),
    server_features: &[ns::DELAY],
    messages: &[Watch::facts(ns::DELAY, &["delay"], Facts::CLAIM)],
    ..Extension::NONE
};
