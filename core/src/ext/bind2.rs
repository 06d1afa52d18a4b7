//! XEP-0386: Bind 2. A resource is bound with the login (XEP-0388), and what its session needs is switched on before the first stanza.
//!
//! The stream makes the address and the account binds it: `crate::stream` and `crate::account`. Other extensions say in
//! [`Extension::inline`] what can be switched on.
//!
//! Where the user's archive begins and ends (XEP-0313 §6) is looked up before the account binds anything, and stands in `<bound/>`.
//!
//! One rule is not kept: §3.2 has what waits for the user dropped, as it is in the archive. Here the archive holds what was sent to be
//! kept there, and all else waits for the client's presence as ever. What is in both has the same id in both.

use super::{EXTENSIONS, Extension, Spec};
use crate::effect::Site;
use crate::ns;
use crate::stream::Feature;
use crate::xml::Writer;

pub(super) static BIND_2: Extension = Extension {
    name: "Bind 2",
    spec: Spec::Xep(386, "1.1.0"),
    stream_features: &[Feature { after_login: None, inline: Some(list), ..Feature::new("bind", ns::BIND_2) }],
    ..Extension::NONE
};

/// The stream itself is the extension: `crate::stream::sasl2`.
pub(super) static SASL_2: Extension =
    Extension { name: "Extensible SASL Profile", spec: Spec::Xep(388, "1.0.4"), ..Extension::NONE };

/// The stream announces them with the mechanisms that need them.
pub(super) static CHANNEL_BINDINGS: Extension =
    Extension { name: "SASL Channel-Binding Type Capability", spec: Spec::Xep(440, "1.0.0"), ..Extension::NONE };

/// TLS from the first byte, with ALPN: the listeners of `net`.
pub(super) static SRV_RECORDS: Extension =
    Extension { name: "SRV records for XMPP over TLS", spec: Spec::Xep(368, "1.1.0"), ..Extension::NONE };

/// §3.1
fn list(_: &Site, xml: &mut Writer<'_>) {
    xml.open("inline");
    for extension in EXTENSIONS {
        let mut last = "";
        for inline in extension.inline {
            if inline.ns != last {
                xml.leaf("feature", &[("var", inline.ns)]);
            }
            last = inline.ns;
        }
    }
    xml.close();
}
