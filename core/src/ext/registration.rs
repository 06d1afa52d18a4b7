//! XEP-0077: In-Band Registration, which is refused: users come from the REST API.

use super::{At, Extension, IqRoute, Spec, nothing};
use crate::error::Condition;
use crate::ns;
use crate::stanza::IqKind;

pub(super) static REGISTRATION: Extension = Extension {
    name: "In-Band Registration (refused)",
    spec: Spec::Xep(77, "2.4"),
    iq: &[refused(IqKind::Get), refused(IqKind::Set)],
    ..Extension::NONE
};

const fn refused(kind: IqKind) -> IqRoute {
    IqRoute {
        at: At::Home,
        kind,
        ns: ns::REGISTER,
        name: "query",
        plan: nothing,
        apply: |_, _, _, _| Err(Condition::NotAllowed.into()),
    }
}
