//! XEP-0115: Entity Capabilities: a hash over what disco#info says, so that nobody has to ask twice.
//!
//! The server's own stands in the stream features: a client that has seen it before need not ask at every login.

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine};

use super::{Extension, Spec, disco};
use crate::effect::Site;
use crate::ns;
use crate::stream::Feature;
use crate::xml::{Context, Element, Limits, Nodes, Writer};

pub(super) static CAPS: Extension = Extension {
    name: "Entity Capabilities",
    spec: Spec::Xep(115, "1.6.0"),
    server_features: &[ns::CAPS],
    stream_features: &[Feature { after_login: Some(write), ..Feature::new("c", ns::CAPS) }],
    ..Extension::NONE
};

/// What software this is, as caps name it.
const SOFTWARE: &str = "urn:x-rookery:server";

/// §6.3
fn write(site: &Site, xml: &mut Writer<'_>) {
    xml.attr("hash", "sha-1").attr("node", SOFTWARE).attr("ver", &of_server(site));
}

/// The node under which disco#info has just what [`write`] stands for. §6.2
pub(super) fn node(site: &Site) -> String {
    format!("{SOFTWARE}#{}", of_server(site))
}

fn of_server(site: &Site) -> String {
    let info = disco::of_server(site, None);
    let mut nodes = Nodes::new();
    let limits = Limits { element_bytes_max: info.len(), ..Limits::STANZA };
    let info = nodes.parse(&info, &Context::CLIENT, &limits).expect("a writer makes XML, three elements deep");
    verification(info).expect("the table names one identity, no feature twice and one form of a type")
}

/// The verification string with SHA-1 (§5.1) of the `<query/>` of a disco#info result; none when it says something twice, which
/// §5.4 takes for an attack.
pub(crate) fn verification(query: Element<'_>) -> Option<String> {
    let mut said = String::new();
    let of_info = |name| query.children().filter(move |child| child.is(name, ns::DISCO_INFO));
    let attr = |element: Element<'_>, name| element.attr(name).unwrap_or_default().into_owned();

    let identities = of_info("identity").map(|identity| {
        let lang = identity.attr_ns("lang", ns::XML).unwrap_or_default().into_owned();
        (attr(identity, "category"), attr(identity, "type"), lang, attr(identity, "name"))
    });
    for (category, kind, lang, name) in sorted_once(identities)? {
        said.extend([&category, "/", &kind, "/", &lang, "/", &name, "<"]);
    }
    for feature in sorted_once(of_info("feature").map(|feature| attr(feature, "var")))? {
        said.extend([&feature, "<"]);
    }
    let forms = query.children().filter(|child| child.is("x", ns::DATA_FORMS));
    let forms: Vec<Form> = forms.map(form).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    let mut types: Vec<&String> = forms.iter().map(|(form_type, _)| form_type).collect();
    types.sort_unstable();
    if types.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    for (form_type, fields) in sorted_once(forms.into_iter())? {
        said.extend([&form_type, "<"]);
        for (name, values) in fields {
            said.extend([&name, "<"]);
            for value in values {
                said.extend([&value, "<"]);
            }
        }
    }
    Some(BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, said.as_bytes())))
}

/// `FORM_TYPE` and the other fields with their values, all in order.
type Form = (String, Vec<(String, Vec<String>)>);

/// A form; `Some(None)` for one without a hidden `FORM_TYPE`, which does not count, and none for one that has several. §5.4
fn form(form: Element<'_>) -> Option<Option<Form>> {
    let mut form_type = None;
    let mut fields = Vec::new();
    for field in form.children().filter(|child| child.is("field", ns::DATA_FORMS)) {
        let values = field.children().filter(|child| child.is("value", ns::DATA_FORMS));
        let mut values: Vec<String> = values.map(|value| value.text().into_owned()).collect();
        values.sort_unstable();
        let name = field.attr("var").unwrap_or_default().into_owned();
        if name != "FORM_TYPE" {
            fields.push((name, values));
        } else if field.attr("type").as_deref() == Some("hidden") {
            values.dedup();
            let [value] = <[String; 1]>::try_from(values).ok()?;
            if form_type.replace(value).is_some() {
                return None;
            }
        }
    }
    fields.sort_unstable();
    Some(form_type.map(|form_type| (form_type, fields)))
}

/// In order; none when there are two of a kind.
fn sorted_once<T: Ord>(all: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    all.windows(2).all(|pair| pair[0] != pair[1]).then_some(all)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ext::Contacts;
    use crate::ext::stage::{self, BOB, Stage};

    fn hash(content: &str) -> Option<String> {
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{content}</query>");
        let mut nodes = Nodes::new();
        verification(nodes.parse(query.as_bytes(), &Context::CLIENT, &Limits::STANZA).unwrap())
    }

    const FEATURES: &str = "<feature var='http://jabber.org/protocol/disco#info'/><feature var='http://jabber.org/protocol/muc'/><feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#items'/>";
    const FORM: &str = "<x xmlns='jabber:x:data' type='result'><field var='os'><value>Mac</value></field><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field><field var='software_version'><value>0.11</value></field><field var='ip_version'><value>ipv6</value><value>ipv4</value></field><field var='os_version'><value>10.5.1</value></field><field var='software'><value>Psi</value></field></x>";
    const PSI: &str = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/><identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>";

    // XEP-0115 §5.2 and §5.3
    #[test]
    fn hashes_as_the_specification_does() {
        let simple = hash(&format!("<identity category='client' type='pc' name='Exodus 0.9.1'/>{FEATURES}"));
        assert_eq!(simple.as_deref(), Some("QgayPKawpkPSDYmwT/WM94uAlu0="));
        let complex = hash(&format!("{FORM}{FEATURES}{PSI}"));
        assert_eq!(complex.as_deref(), Some("q07IKJEyjvHSyhy//CH0CxmKi8w="));
    }

    // XEP-0115 §5.4
    #[test]
    fn what_is_said_twice_is_no_answer() {
        let once = format!("{PSI}{FEATURES}{FORM}");
        let with = |more: &str| hash(&format!("{once}{more}"));
        assert_eq!(with(FORM), None);
        assert_eq!(with("<feature var='http://jabber.org/protocol/muc'/>"), None);
        assert_eq!(with("<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>"), None);
        let same_type = FORM.replace("Mac", "Linux");
        assert_eq!(with(&same_type), None);
        let two_types = FORM.replace("<value>urn:", "<value>a</value><value>urn:");
        assert_eq!(hash(&two_types), None);
        // A form that is not hidden away does not count.
        assert_eq!(with(&FORM.replace(" type='hidden'", "")), hash(&once));
        assert_eq!(with("<x xmlns='jabber:x:data'/>"), hash(&once));
    }

    #[test]
    fn the_server_answers_for_its_own_hash_and_no_other() {
        let mut stage = Stage::new();
        let ask = |stage: &mut Stage, node: &str| {
            let query = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
            stage.ask(BOB, &format!("<iq type='get' id='1' to='localhost'>{query}</iq>"))
        };
        let mut hashes = Vec::new();
        for contacts in [Contacts::default(), Contacts { abuse: vec!["mailto:a@b".to_owned()], ..Contacts::default() }]
        {
            stage.site.contacts = Arc::new(contacts);
            let node = node(&stage.site);
            let answer = ask(&mut stage, &node);
            assert!(answer.contains(&format!("node=\"{node}\"")), "{answer}");
            let mut nodes = Nodes::new();
            let answer = nodes.parse(answer.as_bytes(), &Context::CLIENT, &Limits::STANZA).unwrap();
            let ver = verification(answer.first_child().unwrap()).unwrap();
            let mut feature = Vec::new();
            write(&stage.site, Writer::new(&mut feature).open("c"));
            let feature = String::from_utf8(feature).unwrap();
            assert_eq!(feature, format!(r#"<c hash="sha-1" node="urn:x-rookery:server" ver="{ver}"/>"#));
            hashes.push(ver);
        }
        assert_ne!(hashes[0], hashes[1]);
        for other in ["urn:x-rookery:server", "urn:x-rookery:server#", "x"] {
            assert_eq!(stage::condition(&ask(&mut stage, other)), "item-not-found", "{other}");
        }
    }
}
