//! What a request says in a message: text, files, custom parameters. Product page, "Create message".
//!
//! What has a name of the record or of the protocol is no custom parameter, whatever it holds. Characters that no XML can carry
//! are left out at the door, or the message would break the streams it is sent on.

use proto::limits::{ATTACHMENTS_MAX, CUSTOM_FIELDS_MAX};
use proto::model::dialog::{Attachment, Content, is_reserved};

use crate::params::{Params, Value, clean};
use crate::problem::Problem;

/// Bytes of a message as it is kept: text, parameters and files, with their names. Escaped it still fits into a stanza.
const CONTENT_BYTES_MAX: usize = 40 * 1024;
/// Bytes of the name of a custom parameter or of an attribute of a file.
const NAME_BYTES_MAX: usize = 200;
/// Attributes of one file.
const FILE_FIELDS_MAX: usize = 32;

/// What the call is told rather than the message.
const OPTIONS: &[&str] = &["send_to_chat", "markable", "system", "force", "token"];

/// The text, if there is one.
pub(super) fn text(params: &Params) -> Result<Option<String>, Problem> {
    let text = params.text("message").map(|text| clean(&text));
    match text {
        Some(text) if text.len() > CONTENT_BYTES_MAX => Err(too_long()),
        text => Ok(text),
    }
}

/// Everything a new message says.
pub(super) fn read(params: &Params) -> Result<Content, Problem> {
    let content = Content { text: text(params)?, attachments: attachments(params)?, custom: custom(params)? };
    let pairs = content.attachments.iter().flat_map(|file| &file.0).chain(&content.custom);
    let bytes: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    if bytes + content.text.as_ref().map_or(0, String::len) > CONTENT_BYTES_MAX {
        return Err(too_long());
    }
    Ok(content)
}

/// `attachments` as an array, as an object with numbers for names, in brackets, or one alone.
fn attachments(params: &Params) -> Result<Vec<Attachment>, Problem> {
    let mut files = Vec::new();
    // Some SDKs write `[object Object]` for what they cannot encode: no map is no file.
    for map in params.list("attachments").into_iter().filter_map(Value::map) {
        if files.len() == ATTACHMENTS_MAX {
            return Err(Problem::unprocessable(format!(
                "There are too many attachments (maximum is {ATTACHMENTS_MAX})"
            )));
        }
        if map.len() > FILE_FIELDS_MAX {
            return Err(Problem::unprocessable("An attachment has too many fields"));
        }
        let mut fields = Vec::new();
        for (name, value) in map {
            if let Some(value) = value_text(value) {
                fields.push((checked_name(name)?, value));
            }
        }
        files.push(Attachment(fields));
    }
    Ok(files)
}

fn custom(params: &Params) -> Result<Vec<(String, String)>, Problem> {
    let mut custom = Vec::new();
    for (name, value) in params.all() {
        if is_reserved(name) || OPTIONS.contains(&name.as_str()) {
            continue;
        }
        let Some(value) = value_text(value) else { continue };
        if custom.len() == CUSTOM_FIELDS_MAX {
            let text = format!("There are too many custom parameters (maximum is {CUSTOM_FIELDS_MAX})");
            return Err(Problem::unprocessable(text));
        }
        custom.push((checked_name(name)?, value));
    }
    Ok(custom)
}

/// A value as text; lists and objects as their JSON. Null is nothing.
fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::List(_) | Value::Map(_) => serde_json::to_string(value).ok().map(|text| clean(&text)),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => value.text().map(|text| clean(&text)),
    }
}

fn checked_name(name: &str) -> Result<String, Problem> {
    if name.len() > NAME_BYTES_MAX || name != clean(name) {
        return Err(Problem::unprocessable("The name of a custom parameter is not valid"));
    }
    Ok(name.to_owned())
}

fn too_long() -> Problem {
    Problem::unprocessable(format!("The message is too long (maximum is {CONTENT_BYTES_MAX} bytes)"))
}

// The longest escape of a byte is six (`&quot;`), and the rest of the stanza is the server's and short.
const _: () = assert!(6 * CONTENT_BYTES_MAX < proto::xml::Limits::STANZA.element_bytes_max);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn form(body: &str) -> Params {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Params::from_parts("", Some("application/x-www-form-urlencoded"), &body).expect("a form")
    }

    fn json(body: &str) -> Params {
        Params::from_parts("", Some("application/json"), &Bytes::copy_from_slice(body.as_bytes())).expect("JSON")
    }

    fn pairs(content: &[(String, String)]) -> Vec<(&str, &str)> {
        content.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn attachments_come_in_every_encoding() {
        let forms = [
            form(
                "attachments[0][id]=47863&attachments[0][type]=image&attachments[1][url]=u&attachments[1][type]=image",
            ),
            form("attachments[][id]=47863&attachments[][type]=image&attachments[][type]=image&attachments[][url]=u"),
            json(r#"{"attachments":{"0":{"type":"image","id":"47863"},"1":{"type":"image","url":"u"}}}"#),
            json(r#"{"attachments":[{"type":"image","id":47863},{"type":"image","url":"u"}]}"#),
        ];
        for params in forms {
            let content = read(&params).expect("it can be read");
            let files: Vec<_> = content.attachments.iter().map(|file| pairs(&file.0)).collect();
            assert_eq!(files, [vec![("id", "47863"), ("type", "image")], vec![("type", "image"), ("url", "u")]]);
            assert!(content.custom.is_empty());
        }
        let one = read(&json(r#"{"attachments":{"type":"image","data":{"lat":1.5}}}"#)).expect("one file");
        assert_eq!(pairs(&one.attachments[0].0), [("data", r#"{"lat":1.5}"#), ("type", "image")]);
        for none in ["attachments=[object Object]", "attachments=", "attachments[]=x"] {
            assert!(read(&form(none)).expect("no file").attachments.is_empty(), "{none}");
        }
    }

    #[test]
    fn names_of_the_record_and_of_the_call_are_no_custom_parameters() {
        let params = json(
            r#"{"message":"hi","age":25,"ok":true,"none":null,"list":[1,"a"],"empty":"","_id":"x","sender_id":9,"read_ids":[1],
            "chat_dialog_id":"x","__proto__":"x","$set":"x","created_at":1,"send_to_chat":1,"markable":1,"date_sent":5,"token":"t"}"#,
        );
        let content = read(&params).expect("it can be read");
        assert_eq!(content.text.as_deref(), Some("hi"));
        assert_eq!(pairs(&content.custom), [("age", "25"), ("empty", ""), ("list", r#"[1,"a"]"#), ("ok", "true")]);
    }

    #[test]
    fn what_is_too_much_is_refused_and_what_xml_cannot_say_is_dropped() {
        let content = read(&json("{\"message\":\"a\\u0000b\\uffffc\\n\",\"x\":\"\\u0001\"}")).expect("cleaned");
        assert_eq!((content.text.as_deref(), pairs(&content.custom)), (Some("abc\n"), vec![("x", "")]));
        let many: String = (0..600).map(|n| format!("p{n}=1&")).collect();
        assert!(read(&form(&many)).is_err());
        let long = "x".repeat(CONTENT_BYTES_MAX + 1);
        for body in [format!("message={long}"), format!("a={long}"), format!("{}=1", "n".repeat(300)), "a%00=1".into()]
        {
            assert!(read(&form(&body)).is_err());
        }
        let files: String = (0..101).map(|n| format!("attachments[{n}][id]=1&")).collect();
        assert!(read(&form(&files)).is_err());
    }
}
