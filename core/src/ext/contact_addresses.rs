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
