//! XEP-0157: Contact Addresses for XMPP Services: whom to turn to, told in disco#info of the server.

use super::form;
use super::{Extension, Spec};
use crate::effect::Site;
use crate::ns;
use crate::xml::Writer;

pub(super) static CONTACT_ADDRESSES: Extension = Extension {
    name: "Contact Addresses for XMPP Services",
    spec: Spec::Xep(157, "1.1.1"),
    server_forms: &[write],
    ..Extension::NONE
};

/// Whom to turn to: URIs (`mailto:`, `xmpp:`, `https:`) by purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// About abusive traffic.
    pub abuse: Vec<String>,
    /// The administrators.
    pub admin: Vec<String>,
    /// Feedback of customers.
    pub feedback: Vec<String>,
    /// Sales and marketing.
    pub sales: Vec<String>,
    /// Security concerns.
    pub security: Vec<String>,
    /// Where the state of the service is shown.
    pub status: Vec<String>,
    /// Support of customers.
    pub support: Vec<String>,
}

impl Contacts {
    /// The fields of the form, in the order of the registry. §5.1
    fn fields(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        // Taken apart, so that a purpose without a field does not compile.
        let Contacts { abuse, admin, feedback, sales, security, status, support } = self;
        [
            ("abuse-addresses", &abuse[..]),
            ("admin-addresses", admin),
            ("feedback-addresses", feedback),
            ("sales-addresses", sales),
            ("security-addresses", security),
            ("status-addresses", status),
            ("support-addresses", support),
        ]
        .into_iter()
        .filter(|(_, addresses)| !addresses.is_empty())
    }
}

fn write(site: &Site, xml: &mut Writer<'_>) {
    if site.contacts.fields().next().is_none() {
        return;
    }
    form::open_result(xml, ns::SERVER_INFO);
    for (name, addresses) in site.contacts.fields() {
        form::field(xml, name, addresses.iter().map(String::as_str));
    }
    xml.close();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ext::stage::{BOB, Stage};

    const INFO: &str =
        "<iq type='get' id='1' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";

    #[test]
    fn the_server_says_whom_to_turn_to() {
        let mut stage = Stage::new();
        stage.site.contacts = Arc::new(Contacts {
            support: vec!["https://example.com/?a&b".to_owned()],
            abuse: vec!["mailto:abuse@example.com".to_owned(), "xmpp:abuse@example.com".to_owned()],
            ..Contacts::default()
        });
        let answer = stage.ask(BOB, INFO);
        let form = r#"<x xmlns="jabber:x:data" type="result"><field var="FORM_TYPE" type="hidden"><value>http://jabber.org/network/serverinfo</value></field><field var="abuse-addresses"><value>mailto:abuse@example.com</value><value>xmpp:abuse@example.com</value></field><field var="support-addresses"><value>https://example.com/?a&amp;b</value></field></x></query></iq>"#;
        assert!(answer.ends_with(form), "{answer}");
        let of_user = stage.ask(BOB, &INFO.replace("to='localhost'", "to='2-1@localhost'"));
        assert!(of_user.contains("registered") && !of_user.contains("abuse"), "{of_user}");
    }

    #[test]
    fn a_server_without_contacts_has_no_empty_form() {
        assert!(!Stage::new().ask(BOB, INFO).contains("jabber:x:data"));
    }
}
