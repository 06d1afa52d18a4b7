//! XEP-0199: XMPP Ping.

use super::{At, Extension, IqRoute, Spec, nothing};
use crate::error::Condition;
use crate::ns;
use crate::stanza::IqKind;

pub(super) static PING: Extension = Extension {
    name: "XMPP Ping",
    spec: Spec::Xep(199, "2.0.1"),
    server_features: &[ns::PING],
    account_features: &[ns::PING],
    iq: &[
        IqRoute {
            at: At::Server,
            kind: IqKind::Get,
            ns: ns::PING,
            name: "ping",
            plan: nothing,
            apply: |_, _, _, _| Ok(Vec::new()),
        },
        // The product's users ping one another to see who is online; no subscription is asked for.
        IqRoute {
            at: At::AnyAccount,
            kind: IqKind::Get,
            ns: ns::PING,
            name: "ping",
            plan: nothing,
            apply: |request, account, _, _| {
                let online = request.is_own() || account.is_available();
                if online { Ok(Vec::new()) } else { Err(Condition::ServiceUnavailable.into()) }
            },
        },
    ],
    ..Extension::NONE
};
