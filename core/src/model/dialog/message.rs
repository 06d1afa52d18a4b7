//! Messages as they are kept, and what of a stanza becomes a record. Server notes §3.2 and §3.3.
//!
//! A message that came as a stanza is kept as the stanza that was delivered, and what the API shows of it is read out of that;
//! one that came over REST is kept as its fields, and its stanza is written when somebody wants one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{MESSAGES, order_key};
use crate::jid::user::{AppId, DialogId, MessageId, UserId};
use crate::limits::{ATTACHMENTS_MAX, CUSTOM_FIELDS_MAX};
use crate::ns;
use crate::row::{self, Batch, Unreadable};
use crate::time::Timestamp;
use crate::xml::{Element, Name, Nodes, Writer};

/// Of messages.
const VERSION: u8 = 1;
/// Of what is none: [`Body::Retracted`] and [`Body::Aside`].
const VERSION_ENTRY: u8 = 2;

/// How far a client's `date_sent` may be from the server's clock. Product page, "Datetime issue".
pub const DATE_SENT_SECS_MAX: u64 = 5;

/// One message of a history.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageRow {
    /// Its id.
    pub id: MessageId,
    /// Who sent it.
    pub sender: UserId,
    /// Of a private dialog, the other one.
    pub recipient: Option<UserId>,
    /// Unix seconds; what all who see the message agree on.
    pub date_sent: u64,
    /// When it was saved.
    pub created_at: Timestamp,
    /// When its text was last changed.
    pub updated_at: Timestamp,
    /// What it says.
    pub body: Body,
}

/// What people say stays out of logs.
impl fmt::Debug for MessageRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {} at {}", self.id, self.sender, self.date_sent)
    }
}

/// What a message says, in the form in which it came.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// The stanza as it was delivered, for a stream whose default namespace is `jabber:client`: in a private dialog with the
    /// addresses it had, in a room with the sender's address there and nobody's as the recipient's.
    Stanza(Vec<u8>),
    /// From REST.
    Plain {
        /// What it says.
        content: Content,
        /// It asks for markers.
        markable: bool,
    },
    /// Nothing any more. XEP-0424 §4
    Retracted(Retraction),
    /// The stanza as it was delivered, of something that was said about a message and is none. Archives have it, the API has not.
    Aside(Vec<u8>),
}

/// How a message was taken back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retraction {
    /// The `id` that the message's stanza had.
    pub stanza: String,
    /// The `id` of the stanza that took it back.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Who, if not its sender. XEP-0425
    pub moderator: Option<UserId>,
    /// Why, in words.
    pub reason: Option<String>,
}

impl MessageRow {
    /// Reads a row of [`MESSAGES`].
    pub fn decode(value: &[u8]) -> Result<MessageRow, Unreadable> {
        let version = if value.first() == Some(&VERSION_ENTRY) { VERSION_ENTRY } else { VERSION };
        row::decode(version, value)
    }

    /// Adds the row to a batch.
    pub fn put(&self, batch: &mut Batch, app: AppId, id: DialogId, order: u64) {
        let version = if self.is_message() { VERSION } else { VERSION_ENTRY };
        batch.put(&MESSAGES, order_key(app, id, order), row::encode(version, self));
    }

    /// Whether the API shows it and counts it.
    pub fn is_message(&self) -> bool {
        match self.body {
            Body::Stanza(_) | Body::Plain { .. } => true,
            Body::Retracted(_) | Body::Aside(_) => false,
        }
    }

    /// What the API shows of it.
    pub fn content(&self) -> Cow<'_, Content> {
        match &self.body {
            Body::Plain { content, .. } => Cow::Borrowed(content),
            Body::Stanza(bytes) => {
                let mut nodes = Nodes::new();
                // It was well-formed when it was saved.
                let content = nodes.reread(bytes).map(content_of).unwrap_or_default();
                Cow::Owned(content)
            }
            Body::Retracted(_) | Body::Aside(_) => Cow::Owned(Content::default()),
        }
    }
}

/// What a message says, as a record shows it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The text, if there is any.
    pub text: Option<String>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Custom parameters, each once, none of them [reserved](is_reserved).
    pub custom: Vec<(String, String)>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(private)")
    }
}

impl Content {
    /// One attribute of any attachment: `type` above all.
    pub fn attachment_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attachments
            .iter()
            .flat_map(|one| &one.0)
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Writes what goes into a stanza: body, marker request, parameters. `date_sent` and the ids are the caller's to add, by
    /// `inside`. Names that XML does not have stay out of it, as its characters do.
    pub fn write(&self, markable: bool, inside: impl FnOnce(&mut Writer<'_>), xml: &mut Writer<'_>) {
        if markable {
            xml.empty("markable", ns::CHAT_MARKERS);
        }
        if let Some(text) = &self.text {
            xml.simple("body", text);
        }
        xml.open("extraParams").ns(ns::CLIENT);
        xml.simple("save_to_history", "1");
        self.write_params(xml);
        inside(xml);
        xml.close();
    }

    /// Writes custom parameters and attachments.
    pub fn write_params(&self, xml: &mut Writer<'_>) {
        for (name, value) in &self.custom {
            if let Some(name) = Name::new(name) {
                xml.open_name(name).text(value).close();
            }
        }
        for attachment in &self.attachments {
            xml.open("attachment");
            for (name, value) in &attachment.0 {
                if let Some(name) = Name::new(name) {
                    xml.attr_name(name, value);
                }
            }
            xml.close();
        }
    }
}

/// One file: names and values as they were given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment(pub Vec<(String, String)>);

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attachment(private)")
    }
}

/// The parameters of a message: the first `extraParams` of `jabber:client`.
pub fn params(message: Element<'_>) -> Option<Element<'_>> {
    message.child("extraParams", ns::CLIENT)
}

/// The parameters of a message that asks to be saved, whatever the value of `save_to_history`.
pub fn saved_params(message: Element<'_>) -> Option<Element<'_>> {
    params(message).filter(|params| params.child("save_to_history", ns::CLIENT).is_some())
}

/// What the record shows of a message.
pub fn content_of(message: Element<'_>) -> Content {
    let mut content = Content { text: body_of(message), ..Content::default() };
    let Some(params) = params(message) else { return content };
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for child in params.children().filter(|child| child.ns() == ns::CLIENT) {
        if child.name() == "attachment" {
            if content.attachments.len() < ATTACHMENTS_MAX {
                let attributes = child.attrs().filter(|attr| attr.ns.is_empty());
                let attributes = attributes.map(|attr| (attr.name.to_owned(), attr.value().into_owned()));
                content.attachments.push(Attachment(attributes.collect()));
            }
        } else if !is_reserved(child.name()) && content.custom.len() < CUSTOM_FIELDS_MAX && seen.insert(child.name()) {
            content.custom.push((child.name().to_owned(), child.text().into_owned()));
        }
    }
    content
}

/// The text of a message.
pub fn body_of(message: Element<'_>) -> Option<String> {
    message.child("body", ns::CLIENT).map(|body| body.text().into_owned())
}

/// Names that are fields of the record or of the protocol, and no custom parameter's. Server notes §3.3.
pub fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "_id"
            | "id"
            | "sender_id"
            | "recipient_id"
            | "chat_dialog_id"
            | "dialog_id"
            | "message_id"
            | "date_sent"
            | "created_at"
            | "updated_at"
            | "read"
            | "read_ids"
            | "delivered"
            | "delivered_ids"
            | "message"
            | "attachment"
            | "attachments"
            | "save_to_history"
            | "send_to_chat"
            | "application_id"
            | "token"
            | "__proto__"
            | "constructor"
            | "prototype"
    ) || name.starts_with('$')
}

/// When a message counts as sent: what the client says if that is a time within [`DATE_SENT_SECS_MAX`] of now, else now.
pub fn date_sent(params: Element<'_>, now: Timestamp) -> u64 {
    let said = params.child("date_sent", ns::CLIENT).map(|said| said.text());
    let secs = said.and_then(|said| {
        let said = said.trim();
        let digits = !said.is_empty() && said.len() <= 12 && said.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| said.parse::<u64>().ok()).flatten()
    });
    secs.filter(|secs| secs.abs_diff(now.secs()) <= DATE_SENT_SECS_MAX).unwrap_or(now.secs())
}

/// The dialog a message names.
pub fn dialog_of(message: Element<'_>) -> Option<DialogId> {
    let named = params(message)?.child("dialog_id", ns::CLIENT)?.text();
    DialogId::parse(named.trim().as_bytes())
}

/// A chat marker. XEP-0333.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The message it is about, if that can be one of a history.
    pub id: Option<MessageId>,
    /// Displayed, rather than received.
    pub read: bool,
}

/// The marker in a message; one stanza marks one message.
pub fn marker(message: Element<'_>) -> Option<Marker> {
    let found = message.children().find(|child| {
        child.ns() == ns::CHAT_MARKERS && matches!(child.name(), "received" | "displayed" | "acknowledged")
    })?;
    let id = found.attr("id").and_then(|id| MessageId::parse(id.as_bytes()));
    Some(Marker { id, read: found.name() != "received" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits};
    use proptest::prelude::*;

    fn with<T>(source: &str, look: impl FnOnce(Element<'_>) -> T) -> T {
        let mut nodes = Nodes::new();
        look(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(source))
    }

    #[test]
    fn reads_the_record_out_of_a_stanza() {
        let source = "<message><body>Nice to &lt;met&gt; you!</body><extraParams xmlns='jabber:client'>\
            <save_to_history>0</save_to_history><age>25</age><empty/><age>26</age><sender_id>9</sender_id>\
            <_id>x</_id><chat_dialog_id>x</chat_dialog_id><read_ids>1</read_ids><q:x xmlns:q='urn:q'>no</q:x>\
            <attachment type='video' id='47863' q:y='no' xmlns:q='urn:q' content-type='a/b' data='{&quot;a&quot;:1}'/>\
            <nested>a<b>c</b></nested></extraParams></message>";
        let content = with(source, content_of);
        assert_eq!(content.text.as_deref(), Some("Nice to <met> you!"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(content.custom, [pair("age", "25"), pair("empty", ""), pair("nested", "a")]);
        let attributes =
            vec![pair("type", "video"), pair("id", "47863"), pair("content-type", "a/b"), pair("data", "{\"a\":1}")];
        assert_eq!(content.attachments, [Attachment(attributes)]);
        assert_eq!(content.attachment_values("type").collect::<Vec<_>>(), ["video"]);
    }

    #[test]
    fn only_the_clients_own_namespace_asks_for_history() {
        for (source, asks) in [
            ("<message><extraParams><save_to_history>1</save_to_history></extraParams></message>", true),
            ("<message><extraParams><save_to_history/><save_to_history/></extraParams></message>", true),
            ("<message><extraParams xmlns='urn:x'><save_to_history/></extraParams></message>", false),
            ("<message><extraParams><save_to_history xmlns='urn:x'/></extraParams></message>", false),
            ("<message><extraParams><a><save_to_history/></a></extraParams></message>", false),
            ("<message><save_to_history/></message>", false),
            (
                "<message><extraParams xmlns='urn:x'/><c:extraParams xmlns:c='jabber:client'><c:save_to_history/></c:extraParams></message>",
                true,
            ),
        ] {
            assert_eq!(with(source, |message| saved_params(message).is_some()), asks, "{source}");
        }
    }

    #[test]
    fn takes_a_clients_date_within_five_seconds_and_no_other() {
        let now = Timestamp::from_millis(1_000_000_999);
        for (said, counts) in [
            ("1000000", 1_000_000),
            ("999995", 999_995),
            ("1000005", 1_000_005),
            ("999994", 1_000_000),
            ("1000006", 1_000_000),
            (" 1000003 ", 1_000_003),
            ("", 1_000_000),
            ("-1000001", 1_000_000),
            ("+1000001", 1_000_000),
            ("1e6", 1_000_000),
            ("1000001.5", 1_000_000),
            ("9223372036854775808", 1_000_000),
            ("99999999999999999999999999", 1_000_000),
            ("</date_sent><date_sent>1000002", 1_000_000),
        ] {
            let source = format!("<message><extraParams><date_sent>{said}</date_sent></extraParams></message>");
            assert_eq!(with(&source, |message| date_sent(params(message).unwrap(), now)), counts, "{said}");
        }
        assert_eq!(
            with("<message><extraParams/></message>", |message| date_sent(params(message).unwrap(), now)),
            1_000_000
        );
    }

    #[test]
    fn finds_markers_and_the_dialog_they_name() {
        let id = "55e818f6e24a0998640041ed";
        let source = format!(
            "<message><received xmlns='urn:xmpp:chat-markers:0' id='{id}'/><extraParams><dialog_id>{id}</dialog_id></extraParams></message>"
        );
        assert_eq!(with(&source, marker), Some(Marker { id: MessageId::parse(id.as_bytes()), read: false }));
        assert_eq!(with(&source, dialog_of), DialogId::parse(id.as_bytes()));
        let odd = "<message><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/><extraParams><dialog_id>null</dialog_id></extraParams></message>";
        assert_eq!(with(odd, marker), Some(Marker { id: None, read: true }));
        assert_eq!(with(odd, dialog_of), None);
        assert_eq!(with("<message><received xmlns='urn:xmpp:receipts' id='1'/></message>", marker), None);
    }

    #[test]
    fn what_xml_cannot_say_stays_out_of_the_stanza_only() {
        let content = Content {
            text: Some("a\u{0}b\u{ffff}c".into()),
            attachments: vec![Attachment(vec![
                ("x y".into(), "1".into()),
                ("xmlns".into(), "u".into()),
                ("id".into(), "\u{1}'".into()),
            ])],
            custom: vec![("1st".into(), "v".into()), ("a:b".into(), "v".into()), ("ok".into(), "<&".into())],
        };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("message");
        content.write(true, |_| {}, &mut xml);
        xml.close();
        drop(xml);
        let source = String::from_utf8(bytes).unwrap();
        let back = with(&source, content_of);
        assert_eq!(back.text.as_deref(), Some("abc"));
        assert_eq!(back.custom, [("ok".to_owned(), "<&".to_owned())]);
        assert_eq!(back.attachments, [Attachment(vec![("id".into(), "'".into())])]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            text in proptest::option::of("[ -~é]{0,20}"),
            custom in proptest::collection::btree_map("[a-w][a-z]{2,7}x", "[ -~\u{e9}\u{1f600}]{0,12}", 0..5),
            files in proptest::collection::vec(proptest::collection::btree_map("[a-w]{1,5}", "[ -~]{0,12}", 0..4), 0..3),
        ) {
            let attachments = files.into_iter().map(|file| Attachment(file.into_iter().collect())).collect();
            let content = Content { text, attachments, custom: custom.into_iter().collect() };
            let mut bytes = Vec::new();
            let mut xml = Writer::new(&mut bytes);
            xml.open("message");
            content.write(false, |_| {}, &mut xml);
            xml.close();
            drop(xml);
            let source = String::from_utf8(bytes.clone()).unwrap();
            prop_assert_eq!(&with(&source, content_of), &content);
            let id = MessageId::drawn(Timestamp::default(), [0; 8]);
            let stanza = MessageRow {
                id, sender: UserId(1), recipient: Some(UserId(2)), date_sent: 5, created_at: Timestamp::default(),
                updated_at: Timestamp::default(), body: Body::Stanza(bytes),
            };
            prop_assert_eq!(&*stanza.content(), &content);
            let plain = MessageRow { body: Body::Plain { content: content.clone(), markable: true }, ..stanza.clone() };
            let back = Retraction {
                stanza: "a".into(), by: "b".into(), at: Timestamp::from_secs(7), moderator: Some(UserId(3)), reason: None,
            };
            let retracted = MessageRow { body: Body::Retracted(back), ..stanza.clone() };
            let aside = MessageRow { body: Body::Aside(b"<message/>".to_vec()), ..stanza.clone() };
            for row in [stanza, plain, retracted, aside] {
                let mut batch = Batch::default();
                row.put(&mut batch, AppId(1), DialogId(crate::jid::user::ObjectId([1; 12])), 8);
                let crate::row::Change::Put(_, _, value) = &batch.0[0] else { unreachable!("a put") };
                prop_assert_eq!(MessageRow::decode(value), Ok(row));
            }
        }

        #[test]
        fn no_stanza_sets_a_field_of_the_record(name in "[$_a-z]{1,12}") {
            let source = format!("<message><extraParams><save_to_history/><{name}>v</{name}></extraParams></message>");
            let mut nodes = Nodes::new();
            if let Ok(message) = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA) {
                let content = content_of(message);
                prop_assert!(content.custom.iter().all(|(name, _)| !is_reserved(name)));
            }
        }
    }
}
