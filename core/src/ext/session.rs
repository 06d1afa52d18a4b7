//! RFC 3921 §3: the session of old, which changes nothing and which older SDKs still ask for. RFC 6121 appendix E.

use super::{At, Extension, IqRoute, Spec, nothing};
use crate::ns;
use crate::stanza::IqKind;
use crate::stream::Feature;

pub(super) static SESSION: Extension = Extension {
    name: "Session establishment",
    spec: Spec::Rfc(3921, "3"),
    stream_features: &[Feature::SESSION],
    iq: &[IqRoute {
        at: At::Home,
        kind: IqKind::Set,
        ns: ns::SESSION,
        name: "session",
        plan: nothing,
        apply: |_, _, _, _| Ok(Vec::new()),
    }],
    ..Extension::NONE
};
