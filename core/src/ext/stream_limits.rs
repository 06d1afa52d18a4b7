//! XEP-0478: Stream Limits Advertisement.
//!
//! What a client may send is told before login and after it, because it differs. Between login and binding the first still
//! holds; a client has nothing large to say there.

use super::{Extension, Spec};
use crate::ns;
use crate::stream::Feature;
use crate::xml::Writer;

pub(super) static STREAM_LIMITS: Extension = Extension {
    name: "Stream Limits Advertisement",
    spec: Spec::Xep(478, "0.2.0"),
    stream_features: &[Feature {
        // How long a login may take is not silence, so it is not told here.
        before_login: Some(|site, xml| max_bytes(site.limits.unauthenticated_bytes_max, xml)),
        after_login: Some(|site, xml| {
            max_bytes(site.limits.stanza_bytes_max, xml);
            // After that long without a word the client is pinged.
            xml.simple("idle-seconds", &site.limits.idle_time_max.as_secs().to_string());
        }),
        ..Feature::new("limits", ns::STREAM_LIMITS)
    }],
    ..Extension::NONE
};

fn max_bytes(bytes: usize, xml: &mut Writer<'_>) {
    xml.simple("max-bytes", &bytes.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Site;
    use crate::stream::Content;

    fn written(content: Option<Content>) -> String {
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        content.expect("it is advertised")(&Site::of("localhost"), &mut xml);
        drop(xml);
        String::from_utf8(out).expect("a writer makes UTF-8")
    }

    #[test]
    fn says_what_holds_before_login_and_after() {
        let feature = STREAM_LIMITS.stream_features[0];
        assert_eq!(written(feature.before_login), "<max-bytes>16384</max-bytes>");
        let after = "<max-bytes>262144</max-bytes><idle-seconds>300</idle-seconds>";
        assert_eq!(written(feature.after_login), after);
    }
}
