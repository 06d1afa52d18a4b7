//! How a node is configured: XEP-0060 §8.2, with the defaults of XEP-0163 §6.
//!
//! One table says what each field is called, reads and writes: configuring, the form of the defaults and the options of a
//! publication go by it.

use serde::{Deserialize, Serialize};

use crate::error::{Condition, Refusal};
use crate::ext::form::{self, Field};
use crate::limits::{PEP_ITEMS_MAX, PEP_TEXT_BYTES_MAX, ROSTER_GROUPS_MAX, ROSTER_TEXT_BYTES_MAX};
use crate::ns;
use crate::xml::{Element, Writer};

/// Who may see what is published. XEP-0060 §4.5
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    /// Every user of the app.
    Open,
    /// Contacts who see the user's presence.
    #[default]
    Presence,
    /// Those of them who are in certain groups.
    Roster,
    /// The user alone.
    Whitelist,
}

/// When someone who has not seen the newest item gets it. XEP-0060 §6.1.7
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SendLast {
    /// Not without asking.
    Never,
    /// On subscribing.
    OnSub,
    /// On subscribing, and whenever a resource comes.
    #[default]
    OnSubAndPresence,
}

/// A node's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Who may see it.
    pub access: Access,
    /// The groups that [`Access::Roster`] is about.
    pub groups: Vec<String>,
    /// Whether items are kept.
    pub persist: bool,
    /// How many; with one more the oldest goes.
    pub max_items: u32,
    /// Who gets the newest item unasked.
    pub send_last: SendLast,
    /// Whether anybody is told of anything.
    pub notify: bool,
    /// Whether events hold the item's payload.
    pub payloads: bool,
    /// Whether the end of an item is an event, also when its publisher does not ask for that.
    pub notify_retract: bool,
    /// Whether the end of the node is an event.
    pub notify_delete: bool,
    /// Whether a new configuration is an event.
    pub notify_config: bool,
    /// A name for people.
    pub title: String,
    /// What it is about, for people.
    pub description: String,
    /// The namespace of what is published.
    pub kind: String,
}

impl Default for Config {
    /// XEP-0163 §6
    fn default() -> Config {
        Config {
            access: Access::Presence,
            groups: Vec::new(),
            persist: true,
            max_items: 1,
            send_last: SendLast::OnSubAndPresence,
            notify: true,
            payloads: true,
            notify_retract: true,
            notify_delete: true,
            notify_config: false,
            title: String::new(),
            description: String::new(),
            kind: String::new(),
        }
    }
}

impl Config {
    /// For what concerns the user's own clients alone. XEP-0223 §2
    pub fn private() -> Config {
        Config { access: Access::Whitelist, max_items: PEP_ITEMS_MAX as u32, ..Config::default() }
    }

    /// Sets what the form in `parent` says; the rest stays. Fields that this server does not know are passed over, as XEP-0060 §8.2
    /// lets it: a client learns from the form what there is.
    pub fn configured(mut self, parent: Element<'_>) -> Result<Config, Refusal> {
        for field in form::submitted(parent, ns::PUBSUB_NODE_CONFIG)? {
            if let Some(known) = find(&field.var) {
                known.set(&mut self, &field)?;
            }
        }
        Ok(self)
    }

    /// As [`Config::configured`] for the options of a publication. §7.1.5: unknown ones must be refused.
    pub fn with_options(mut self, options: Element<'_>) -> Result<Config, Refusal> {
        for field in form::submitted(options, ns::PUBSUB_PUBLISH_OPTIONS)? {
            let known = find(&field.var).ok_or(super::INVALID_OPTIONS)?;
            known.set(&mut self, &field)?;
        }
        Ok(self)
    }

    /// The form to fill in, with what is in force.
    pub fn write_form(&self, xml: &mut Writer<'_>) {
        let mut config = self.clone();
        form::open_form(xml, ns::PUBSUB_NODE_CONFIG);
        for known in FIELDS {
            xml.open("field").attr("var", known.var).attr("type", known.kind()).attr("label", known.label);
            for value in known.values(&mut config) {
                xml.simple("value", &value);
            }
            for option in known.options() {
                xml.open("option").simple("value", option).close();
            }
            xml.close();
        }
        xml.close();
    }

    /// What is in force, for those who are told that it has changed. §8.2.5.3
    pub fn write_result(&self, xml: &mut Writer<'_>) {
        let mut config = self.clone();
        form::open_result(xml, ns::PUBSUB_NODE_CONFIG);
        for known in FIELDS {
            let values = known.values(&mut config);
            form::field(xml, known.var, values.iter().map(String::as_str));
        }
        xml.close();
    }
}

/// A field of the form.
struct Known {
    var: &'static str,
    label: &'static str,
    holds: Holds,
}

/// What a field holds, and where it is.
enum Holds {
    Truth(fn(&mut Config) -> &mut bool),
    Text(fn(&mut Config) -> &mut String),
    Access,
    SendLast,
    MaxItems,
    Groups,
    /// What cannot be chosen. It is shown because clients send back what they were shown.
    Fixed(&'static str),
    FixedTruth(bool),
}

const fn known(var: &'static str, label: &'static str, holds: Holds) -> Known {
    Known { var, label, holds }
}

/// XEP-0060 §16.4.4
static FIELDS: &[Known] = &[
    known("pubsub#title", "A friendly name for the node", Holds::Text(|config| &mut config.title)),
    known("pubsub#description", "A description of the node", Holds::Text(|config| &mut config.description)),
    known("pubsub#type", "The namespace of the payloads", Holds::Text(|config| &mut config.kind)),
    known("pubsub#access_model", "Who may subscribe and retrieve items", Holds::Access),
    known("pubsub#roster_groups_allowed", "The roster groups allowed to subscribe and retrieve items", Holds::Groups),
    known("pubsub#persist_items", "Whether to persist items", Holds::Truth(|config| &mut config.persist)),
    known("pubsub#max_items", "The maximum number of items to persist", Holds::MaxItems),
    known("pubsub#send_last_published_item", "When to send the last published item", Holds::SendLast),
    known("pubsub#deliver_notifications", "Whether to deliver events", Holds::Truth(|config| &mut config.notify)),
    known("pubsub#deliver_payloads", "Whether events hold payloads", Holds::Truth(|config| &mut config.payloads)),
    known(
        "pubsub#notify_retract",
        "Whether to tell of items removed",
        Holds::Truth(|config| &mut config.notify_retract),
    ),
    known(
        "pubsub#notify_delete",
        "Whether to tell of the node's end",
        Holds::Truth(|config| &mut config.notify_delete),
    ),
    known(
        "pubsub#notify_config",
        "Whether to tell of a new configuration",
        Holds::Truth(|config| &mut config.notify_config),
    ),
    known("pubsub#node_type", "The kind of the node", Holds::Fixed("leaf")),
    known("pubsub#publish_model", "Who may publish", Holds::Fixed("publishers")),
    known("pubsub#notification_type", "The type of events", Holds::Fixed("headline")),
    known("pubsub#subscribe", "Whether to allow subscriptions", Holds::FixedTruth(true)),
    known("pubsub#presence_based_delivery", "Whether to tell available users only", Holds::FixedTruth(true)),
    known("pubsub#purge_offline", "Whether items go with their publisher", Holds::FixedTruth(false)),
];

fn find(var: &str) -> Option<&'static Known> {
    FIELDS.iter().find(|known| known.var == var)
}

impl Known {
    /// XEP-0004 §3.3
    fn kind(&self) -> &'static str {
        match self.holds {
            Holds::Truth(_) | Holds::FixedTruth(_) => "boolean",
            Holds::Text(_) | Holds::MaxItems => "text-single",
            Holds::Groups => "text-multi",
            Holds::Access | Holds::SendLast | Holds::Fixed(_) => "list-single",
        }
    }

    fn options(&self) -> Vec<&'static str> {
        match self.holds {
            Holds::Access => ACCESS.iter().map(|(name, _)| *name).collect(),
            Holds::SendLast => SEND_LAST.iter().map(|(name, _)| *name).collect(),
            Holds::Fixed(value) => vec![value],
            Holds::Truth(_) | Holds::FixedTruth(_) | Holds::Text(_) | Holds::MaxItems | Holds::Groups => Vec::new(),
        }
    }

    fn values(&self, config: &mut Config) -> Vec<String> {
        let truth = |truth: bool| if truth { "1" } else { "0" }.to_owned();
        match self.holds {
            Holds::Truth(place) => vec![truth(*place(config))],
            Holds::Text(place) => vec![place(config).clone()],
            Holds::Access => vec![config.access.as_str().to_owned()],
            Holds::SendLast => vec![name_of(SEND_LAST, config.send_last).to_owned()],
            Holds::MaxItems => vec![config.max_items.to_string()],
            Holds::Groups => config.groups.clone(),
            Holds::Fixed(value) => vec![value.to_owned()],
            Holds::FixedTruth(value) => vec![truth(value)],
        }
    }

    fn set(&self, config: &mut Config, field: &Field) -> Result<(), Refusal> {
        let unacceptable = || Refusal::from(Condition::NotAcceptable);
        match self.holds {
            Holds::Truth(place) => *place(config) = truth(field.one()?)?,
            Holds::Text(place) => {
                // A field that was left empty may have no value at all.
                let text = if field.values.is_empty() { "" } else { field.one()? };
                if text.len() > PEP_TEXT_BYTES_MAX {
                    return Err(unacceptable());
                }
                text.clone_into(place(config));
            }
            Holds::Access => config.access = value_of(ACCESS, field.one()?).ok_or(super::UNSUPPORTED_ACCESS)?,
            Holds::SendLast => config.send_last = value_of(SEND_LAST, field.one()?).ok_or_else(unacceptable)?,
            Holds::MaxItems => config.max_items = count(field.one()?)?,
            Holds::Groups => {
                let too_long = field.values.iter().any(|group| group.len() > ROSTER_TEXT_BYTES_MAX);
                if too_long || field.values.len() > ROSTER_GROUPS_MAX {
                    return Err(unacceptable());
                }
                config.groups.clone_from(&field.values);
            }
            Holds::Fixed(value) if field.one()? == value => {}
            Holds::FixedTruth(value) if truth(field.one()?)? == value => {}
            Holds::Fixed(_) | Holds::FixedTruth(_) => return Err(unacceptable()),
        }
        Ok(())
    }
}

static ACCESS: &[(&str, Access)] = &[
    ("open", Access::Open),
    ("presence", Access::Presence),
    ("roster", Access::Roster),
    ("whitelist", Access::Whitelist),
];

static SEND_LAST: &[(&str, SendLast)] =
    &[("never", SendLast::Never), ("on_sub", SendLast::OnSub), ("on_sub_and_presence", SendLast::OnSubAndPresence)];

impl Access {
    /// The value in forms.
    pub fn as_str(self) -> &'static str {
        name_of(ACCESS, self)
    }
}

fn value_of<T: Copy>(names: &[(&'static str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

/// XEP-0004 §3.3
fn truth(text: &str) -> Result<bool, Condition> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Condition::BadRequest),
    }
}

/// `max`, and whatever is more, is what the server holds at most. XEP-0060 §8.2.4
fn count(text: &str) -> Result<u32, Condition> {
    let most = PEP_ITEMS_MAX as u32;
    if text == "max" {
        return Ok(most);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Condition::BadRequest);
    }
    match text.parse().unwrap_or(most).min(most) {
        0 => Err(Condition::NotAcceptable),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    fn configured(fields: &[(&str, &[&str])]) -> Result<Config, Condition> {
        let mut form = Vec::new();
        let mut xml = Writer::new(&mut form);
        xml.open("configure").open("x").ns(ns::DATA_FORMS).attr("type", "submit");
        form::field(&mut xml, "FORM_TYPE", [ns::PUBSUB_NODE_CONFIG]);
        for (var, values) in fields {
            form::field(&mut xml, var, values.iter().copied());
        }
        drop(xml);
        let mut nodes = Nodes::new();
        let configure = nodes.parse(&form, &Context::CLIENT, &Limits::STANZA).expect("a form");
        Config::default().configured(configure).map_err(|refusal| refusal.condition)
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let config = Config {
            access: Access::Roster,
            groups: vec!["Friends".to_owned(), "a & b".to_owned()],
            max_items: 7,
            send_last: SendLast::Never,
            notify_config: true,
            payloads: false,
            title: "A <title>".to_owned(),
            ..Config::default()
        };
        let mut shown = Vec::new();
        let mut xml = Writer::new(&mut shown);
        xml.open("configure");
        config.write_form(&mut xml);
        drop(xml);
        let sent = String::from_utf8(shown).expect("text").replace("type=\"form\"", "type=\"submit\"");
        let mut nodes = Nodes::new();
        let sent = nodes.parse(sent.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("a form");
        assert_eq!(Config::default().configured(sent).ok(), Some(config));
    }

    #[test]
    fn reads_what_clients_choose() {
        assert_eq!(configured(&[]), Ok(Config::default()));
        assert_eq!(configured(&[("pubsub#item_expire", &["604800"])]), Ok(Config::default()));
        for (max, expected) in [("max", PEP_ITEMS_MAX as u32), ("99999999999999999999", PEP_ITEMS_MAX as u32), ("3", 3)]
        {
            assert_eq!(configured(&[("pubsub#max_items", &[max])]).map(|config| config.max_items), Ok(expected));
        }
        assert!(configured(&[("pubsub#persist_items", &["false"])]).is_ok_and(|config| !config.persist));
        assert!(configured(&[("pubsub#title", &[])]).is_ok_and(|config| config.title.is_empty()));
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        let long = "x".repeat(PEP_TEXT_BYTES_MAX + 1);
        for (var, values, condition) in [
            ("pubsub#access_model", &["authorize"][..], Condition::NotAcceptable),
            ("pubsub#access_model", &["open", "open"], Condition::BadRequest),
            ("pubsub#max_items", &["0"], Condition::NotAcceptable),
            ("pubsub#max_items", &["-1"], Condition::BadRequest),
            ("pubsub#max_items", &[""], Condition::BadRequest),
            ("pubsub#persist_items", &["maybe"], Condition::BadRequest),
            ("pubsub#send_last_published_item", &["always"], Condition::NotAcceptable),
            ("pubsub#publish_model", &["open"], Condition::NotAcceptable),
            ("pubsub#purge_offline", &["1"], Condition::NotAcceptable),
            ("pubsub#title", &[&long], Condition::NotAcceptable),
            ("pubsub#roster_groups_allowed", &["g"; ROSTER_GROUPS_MAX + 1], Condition::NotAcceptable),
        ] {
            assert_eq!(configured(&[(var, values)]), Err(condition), "{var} {values:?}");
        }
    }
}
