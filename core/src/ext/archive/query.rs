//! What a client asks of an archive. XEP-0313 §4 and §5.

use super::search::Window;
use crate::error::Condition;
use crate::ext::form;
use crate::jid::Jid;
use crate::jid::user::MessageId;
use crate::limits::{ARCHIVE_IDS_MAX, ARCHIVE_PAGE_STANZAS, ARCHIVE_PAGE_STANZAS_MAX, ARCHIVE_QUERY_ID_BYTES_MAX};
use crate::ns;
use crate::rsm::Paging;
use crate::time::Timestamp;
use crate::xml::{Element, Writer};

/// A query for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// What the client calls it.
    pub id: Option<String>,
    /// Whose messages; a JID.
    pub with: Option<String>,
    /// Whether those of rooms belong to it.
    pub groupchat: Option<bool>,
    /// Which part of them.
    pub window: Window,
    /// The last message of the page is sent first.
    pub flip: bool,
}

impl Query {
    /// Reads a `<query/>`.
    pub fn read(payload: Element<'_>) -> Result<Query, Condition> {
        // XEP-0442: a node names an archive of publications, which nobody has here.
        if payload.attr("node").is_some_and(|node| !node.is_empty()) {
            return Err(Condition::ItemNotFound);
        }
        let id = payload.attr("queryid").map(|id| id.into_owned());
        if id.as_ref().is_some_and(|id| id.len() > ARCHIVE_QUERY_ID_BYTES_MAX) {
            return Err(Condition::PolicyViolation);
        }
        let paging = Paging::read(payload)?;
        if paging.by_index {
            // XEP-0059 §2.6: counting up to there is what this archive does not do.
            return Err(Condition::FeatureNotImplemented);
        }
        let mut window = Window {
            backwards: paging.backwards,
            max: paging.max.map_or(ARCHIVE_PAGE_STANZAS, |max| max.min(ARCHIVE_PAGE_STANZAS_MAX)),
            ..Window::default()
        };
        window.after.extend(paging.after.as_deref().map(message).transpose()?);
        window.before.extend(paging.before.as_deref().map(message).transpose()?);
        let mut query = Query {
            id,
            with: None,
            groupchat: None,
            window,
            flip: payload.children().any(|child| child.is("flip-page", ns::MAM)),
        };
        for field in form::submitted(payload, ns::MAM)? {
            // A field that was left empty says nothing.
            let blank = field.values.iter().all(|value| value.trim().is_empty());
            match field.var.as_str() {
                "with" | "start" | "end" | "before-id" | "after-id" | "ids" | "include-groupchat" if blank => {}
                "with" => {
                    let with = field.one()?.trim();
                    Jid::parse(with).map_err(|_| Condition::JidMalformed)?;
                    query.with = Some(with.to_owned());
                }
                "start" => query.window.start = Some(moment(field.one()?)?),
                "end" => query.window.end = Some(moment(field.one()?)?),
                "before-id" => query.window.before.push(message(field.one()?)?),
                "after-id" => query.window.after.push(message(field.one()?)?),
                "ids" if field.values.len() > ARCHIVE_IDS_MAX => return Err(Condition::PolicyViolation),
                "ids" => {
                    query.window.ids = Some(field.values.iter().map(|id| message(id)).collect::<Result<_, _>>()?);
                }
                "include-groupchat" => query.groupchat = Some(flag(field.one()?)?),
                // §4.1.5
                _ => return Err(Condition::FeatureNotImplemented),
            }
        }
        Ok(query)
    }

    /// Whether nothing narrows it but its page.
    pub fn is_for_all(&self) -> bool {
        let window = &self.window;
        window.start.is_none() && window.end.is_none() && window.ids.is_none() && self.groupchat.is_none()
    }
}

/// A name that no message of ours can have is that of no message. §4.1.3
fn message(id: &str) -> Result<MessageId, Condition> {
    MessageId::parse(id.trim().as_bytes()).ok_or(Condition::ItemNotFound)
}

fn moment(text: &str) -> Result<Timestamp, Condition> {
    Timestamp::parse_iso_bound(text.trim()).ok_or(Condition::BadRequest)
}

/// XEP-0004 §3.3
fn flag(text: &str) -> Result<bool, Condition> {
    match text.trim() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Condition::BadRequest),
    }
}

/// The form of all fields that a query can have. §4.1.5
pub(crate) fn fields() -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::MAM);
    form::open_form(&mut xml, ns::MAM);
    for (var, kind) in [
        ("with", "jid-single"),
        ("start", "text-single"),
        ("end", "text-single"),
        ("before-id", "text-single"),
        ("after-id", "text-single"),
    ] {
        xml.leaf("field", &[("type", kind), ("var", var)]);
    }
    // Any id will do: nobody wants a list of all there are. XEP-0122
    xml.open("field").attr("type", "list-multi").attr("var", "ids");
    xml.open("validate").ns(ns::DATA_VALIDATE).attr("datatype", "xs:string").leaf("open", &[]).close().close();
    xml.leaf("field", &[("type", "boolean"), ("var", "include-groupchat")]);
    xml.close().close();
    drop(xml);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    const ID: &str = "54789d5e6df5e6f921b7acda";

    fn read(attributes: &str, inside: &str) -> Result<Query, Condition> {
        let source = format!("<query xmlns='urn:xmpp:mam:2'{attributes}>{inside}</query>");
        let mut nodes = Nodes::new();
        Query::read(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(inside))
    }

    fn field(var: &str, values: &[&str]) -> Result<Query, Condition> {
        let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
        let kind = "<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>";
        let field = format!("<field var='{var}'>{values}</field>");
        read("", &format!("<x xmlns='jabber:x:data' type='submit'>{kind}{field}</x>"))
    }

    #[test]
    fn reads_filters_and_pages() {
        let plain = read("", "").expect("a query");
        assert_eq!((plain.window.max, plain.flip, plain.is_for_all()), (ARCHIVE_PAGE_STANZAS, false, true));
        let id = MessageId::parse(ID.as_bytes()).expect("an id");
        let paged = read(
            " queryid='f27'",
            &format!("<set xmlns='http://jabber.org/protocol/rsm'><max>7</max><before>{ID}</before></set><flip-page/>"),
        );
        let window = Window { before: vec![id], backwards: true, max: 7, ..Window::default() };
        let expected = Query { id: Some("f27".into()), with: None, groupchat: None, window, flip: true };
        assert_eq!(paged, Ok(expected));
        assert_eq!(field("with", &["1-1@x/r"]).map(|query| query.with), Ok(Some("1-1@x/r".to_owned())));
        let start = field("start", &["2010-08-07T01:00:00+01:00"]).map(|query| query.window.start);
        assert_eq!(start, Ok(Some(Timestamp::from_secs(1_281_139_200))));
        assert_eq!(field("ids", &[ID, ID]).map(|query| query.window.ids), Ok(Some(vec![id, id])));
        assert_eq!(field("after-id", &[ID]).map(|query| query.window.after), Ok(vec![id]));
        assert_eq!(field("include-groupchat", &["false"]).map(|query| query.groupchat), Ok(Some(false)));
        for empty in ["with", "start", "ids", "before-id"] {
            assert_eq!(field(empty, &[]), Ok(plain.clone()), "{empty}");
            assert_eq!(field(empty, &[""]), Ok(plain.clone()), "{empty}");
        }
    }

    // Hostile inputs B15.
    #[test]
    fn refuses_what_makes_no_sense() {
        let many = vec![ID; ARCHIVE_IDS_MAX + 1];
        for (query, condition) in [
            (field("with", &["@"]), Condition::JidMalformed),
            (field("with", &["a@x", "b@x"]), Condition::BadRequest),
            (field("start", &["yesterday"]), Condition::BadRequest),
            (field("end", &["2010-13-01T00:00:00Z"]), Condition::BadRequest),
            (field("ids", &["1"]), Condition::ItemNotFound),
            (field("ids", &many), Condition::PolicyViolation),
            (field("before-id", &["54789D5E6DF5E6F921B7ACDA"]), Condition::ItemNotFound),
            (field("include-groupchat", &["maybe"]), Condition::BadRequest),
            (field("{urn:x}full-text", &["x"]), Condition::FeatureNotImplemented),
            (read(" node='n'", ""), Condition::ItemNotFound),
            (read(&format!(" queryid='{}'", "q".repeat(300)), ""), Condition::PolicyViolation),
            (read("", "<set xmlns='http://jabber.org/protocol/rsm'><max>-1</max></set>"), Condition::BadRequest),
            (
                read("", "<set xmlns='http://jabber.org/protocol/rsm'><index>3</index></set>"),
                Condition::FeatureNotImplemented,
            ),
            (read("", "<set xmlns='http://jabber.org/protocol/rsm'><after>x</after></set>"), Condition::ItemNotFound),
        ] {
            assert_eq!(query, Err(condition));
        }
        let large = read("", "<set xmlns='http://jabber.org/protocol/rsm'><max>99999999999999999999</max></set>");
        assert_eq!(large.map(|query| query.window.max), Ok(ARCHIVE_PAGE_STANZAS_MAX));
    }

    #[test]
    fn offers_a_form_of_all_fields() {
        let form = String::from_utf8(fields()).expect("XML is UTF-8");
        for var in ["with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"] {
            assert!(form.contains(&format!("var=\"{var}\"")), "{var}");
        }
    }
}
