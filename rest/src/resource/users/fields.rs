//! What a user's fields may hold. Server notes §8.2.
//!
//! Every field at fault is named in one answer, and nothing is changed then.

pub(crate) use proto::model::profile::rules::password as check_password;
use proto::model::profile::rules::{LINE_CHARS_MAX, email, length, line, login};
use proto::model::profile::{Field, Name, NameKind};
use proto::sasl::credentials::prepare_password;

use crate::flow::work::Password;
use crate::params::{Params, Value};
use crate::problem::{Problem, Text};

const PHONE_CHARS_MAX: usize = 30;
/// Characters of `custom_data` and `parents_contacts`.
const TEXT_CHARS_MAX: usize = 5000;
const TAGS_MAX: usize = 10;
const TAG_CHARS_MAX: usize = 50;

/// A checked request for a new user.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What is set.
    pub(crate) fields: Vec<Field>,
    /// The password, prepared.
    pub(crate) password: Password,
}

/// A checked request for a change.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) fields: Vec<Field>,
    /// The present password and the new one, prepared.
    pub(super) secret: Option<(Password, Password)>,
}

impl Draft {
    /// A sign-up: a password, and a login or an e-mail.
    pub(crate) fn of_new(params: &Params) -> Result<Draft, Problem> {
        let mut faults = Faults::default();
        let fields = fields(params, &mut faults);
        let named = fields.iter().any(|field| matches!(field, Field::Login(Some(_)) | Field::Email(Some(_))));
        if !named && !faults.has("login") && !faults.has("email") {
            faults.add("login", "or email can't be blank");
        }
        let password = params.text("user[password]").unwrap_or_default();
        let password = faults.keep("password", check_password(&password));
        match password {
            Some(password) if faults.0.is_empty() => Ok(Draft { fields, password }),
            Some(_) | None => Err(Problem::Field(faults.0)),
        }
    }

    /// An update: any fields, and a new password only together with the present one.
    pub(super) fn of_change(params: &Params) -> Result<Change, Problem> {
        let mut faults = Faults::default();
        let fields = fields(params, &mut faults);
        let new = params.text("user[password]").filter(|text| !text.is_empty());
        let new = new.and_then(|text| faults.keep("password", check_password(&text)));
        let old = params.text("user[old_password]").filter(|text| !text.is_empty());
        let secret = match (new, old) {
            (None, _) => None,
            (Some(_), None) => {
                faults.add("old_password", "can't be blank");
                None
            }
            (Some(new), Some(old)) => {
                let old = prepare_password(&old).map_err(|_| wrong_old_password())?;
                Some((old, new))
            }
        };
        if faults.0.is_empty() { Ok(Change { fields, secret }) } else { Err(Problem::Field(faults.0)) }
    }
}

/// 422: the present password is not what was given as it.
pub(super) fn wrong_old_password() -> Problem {
    Problem::field("old_password", "is incorrect")
}

/// 422: there would be nothing left to log in with.
pub(super) fn nameless() -> Problem {
    Problem::field("login", "or email can't be blank")
}

/// Faults by field, in the order in which the fields were looked at.
#[derive(Default)]
struct Faults(Vec<(Text, Vec<Text>)>);

impl Faults {
    fn add(&mut self, field: &'static str, text: &'static str) {
        self.0.push((field.into(), vec![text.into()]));
    }

    fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| name == field)
    }

    fn keep<T>(&mut self, field: &'static str, checked: Result<T, Vec<Text>>) -> Option<T> {
        checked.map_err(|texts| self.0.push((field.into(), texts))).ok()
    }
}

/// All fields that are given. `null` and empty text clear a field.
fn fields(params: &Params, faults: &mut Faults) -> Vec<Field> {
    let mut fields = Vec::new();
    let given = |name: &str| params.value(&format!("user[{name}]"));
    let mut text = |name: &'static str, check: Check, make: fn(Option<String>) -> Field| {
        let Some(value) = given(name) else { return };
        fields.extend(faults.keep(name, text_of(value, check)).map(make));
    };
    text("login", login, |text| Field::Login(text.map(trimmed)));
    text("email", email, |text| Field::Email(text.map(trimmed)));
    text("full_name", line, Field::FullName);
    text("phone", phone, Field::Phone);
    text("website", website, Field::Website);
    text("facebook_id", line, Field::FacebookId);
    text("twitter_id", line, Field::TwitterId);
    text("twitter_digits_id", line, Field::TwitterDigitsId);
    text("custom_data", long_text, Field::CustomData);
    text("parents_contacts", long_text, Field::ParentsContacts);

    let mut id = |name: &'static str, make: fn(Option<u64>) -> Field| {
        let Some(value) = given(name) else { return };
        fields.extend(faults.keep(name, id_of(value)).map(make));
    };
    id("external_user_id", Field::ExternalUserId);
    id("blob_id", Field::BlobId);

    let mut flag = |name: &'static str, make: fn(Option<bool>) -> Field| {
        let Some(value) = given(name) else { return };
        fields.extend(faults.keep(name, flag_of(value)).map(make));
    };
    flag("age_over16", Field::AgeOver16);
    flag("allow_statistics_analysis", Field::AllowStatisticsAnalysis);
    flag("allow_sales_activities", Field::AllowSalesActivities);

    if let Some(value) = given("tag_list") {
        fields.extend(faults.keep("tag_list", tags_of(value)).map(Field::Tags));
    }
    fields
}

fn trimmed(text: String) -> String {
    text.trim().to_owned()
}

/// What is wrong with a text that is there.
type Check = fn(&str) -> Vec<Text>;

fn text_of(value: &Value, check: Check) -> Result<Option<String>, Vec<Text>> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => value.text(),
    };
    let text = text.ok_or_else(|| vec![Text::from("should be a text")])?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let faults = check(&text);
    if faults.is_empty() { Ok(Some(text.into_owned())) } else { Err(faults) }
}

fn id_of(value: &Value) -> Result<Option<u64>, Vec<Text>> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => value.text(),
    };
    let text = text.unwrap_or_default();
    let text = text.trim();
    if text.is_empty() && matches!(value, Value::Text(_)) {
        return Ok(None);
    }
    // JSON readers have trouble beyond 2^63.
    let id = text.parse::<u64>().ok().filter(|&id| id <= i64::MAX as u64);
    id.map(Some).ok_or_else(|| vec!["is not a number".into()])
}

fn flag_of(value: &Value) -> Result<Option<bool>, Vec<Text>> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            value.flag().map(Some).ok_or_else(|| vec!["should be true or false".into()])
        }
    }
}

fn tags_of(value: &Value) -> Result<Vec<String>, Vec<Text>> {
    let mut tags: Vec<String> = Vec::new();
    for tag in value.words() {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let mut faults = Vec::new();
    if tags.len() > TAGS_MAX {
        faults.push(format!("has too many tags (maximum is {TAGS_MAX})").into());
    }
    let good = |tag: &String| {
        tag.chars().count() <= TAG_CHARS_MAX && tag.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    };
    if !tags.iter().all(good) {
        faults.push("should contain tags of letters and digits, separated by commas".into());
    }
    if faults.is_empty() { Ok(tags) } else { Err(faults) }
}

fn phone(text: &str) -> Vec<Text> {
    let shaped = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '(' | ')' | '.' | ' ' | '/'));
    let digits = Name::fold(NameKind::Phone, text).is_some();
    if shaped && digits && text.len() <= PHONE_CHARS_MAX {
        Vec::new()
    } else {
        vec!["should look like a phone number".into()]
    }
}

fn website(text: &str) -> Vec<Text> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
    let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if host && clean && text.chars().count() <= LINE_CHARS_MAX {
        Vec::new()
    } else {
        vec!["should be a URL with http or https".into()]
    }
}

fn long_text(text: &str) -> Vec<Text> {
    length(text, 1, TEXT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn params(form: &str) -> Params {
        Params::from_parts("", Some("application/x-www-form-urlencoded"), &Bytes::copy_from_slice(form.as_bytes()))
            .expect("a form")
    }

    fn refusal(form: &str) -> String {
        let problem = Draft::of_new(&params(form)).expect_err("a refusal");
        String::from_utf8(problem.into_response().body().to_vec()).expect("JSON is text")
    }

    #[test]
    fn every_field_at_fault_is_named_at_once() {
        let long = "x".repeat(51);
        let body = refusal(&format!("user[login]={long}&user[email]=nobody&user[password]=short&user[tag_list]=a b"));
        assert!(body.contains(r#""login":["is too long (maximum is 50 characters)"]"#), "{body}");
        assert!(body.contains(r#""email":["should look like an email address"]"#), "{body}");
        assert!(body.contains(r#""password":["is too short (minimum is 8 characters)"]"#), "{body}");
        assert!(body.contains(r#""tag_list":"#), "{body}");
    }

    #[test]
    fn a_new_user_needs_a_password_and_a_name() {
        assert_eq!(refusal(""), r#"{"errors":{"login":["or email can't be blank"],"password":["can't be blank"]}}"#);
        assert!(Draft::of_new(&params("user[email]=a@b.example&user[password]=12345678")).is_ok());
        assert!(Draft::of_new(&params("user[login]=bob&user[password]=12345678")).is_ok());
    }

    #[test]
    fn each_field_has_its_bounds() {
        let bad = [
            "phone=none",
            "phone=1234567890123456789012345678901",
            "website=example.com",
            "website=javascript:alert(1)",
            "external_user_id=abc",
            "external_user_id=-1",
            "external_user_id=9223372036854775808",
            "blob_id=1.5",
            "age_over16=perhaps",
            "tag_list=1,2,3,4,5,6,7,8,9,10,11",
            "full_name=a%00b",
            "login=a%E2%80%8Bbc",
            "email=a@b@c",
            "email=@",
            "email=a@.b",
        ];
        for pair in bad {
            let form = format!("user[login]=somebody&user[password]=12345678&user[{pair}").replacen('=', "=", 1);
            let form = match form.rsplit_once("user[") {
                Some((before, rest)) => format!("{before}user[{}", rest.replacen('=', "]=", 1)),
                None => form,
            };
            assert!(Draft::of_new(&params(&form)).is_err(), "{pair}");
        }
        let long = "x".repeat(5001);
        assert!(
            Draft::of_new(&params(&format!("user[login]=bob&user[password]=12345678&user[custom_data]={long}")))
                .is_err()
        );
        let emoji = "%F0%9F%98%80".repeat(100);
        assert!(
            Draft::of_new(&params(&format!("user[login]=bob&user[password]=12345678&user[custom_data]={emoji}")))
                .is_ok()
        );
    }

    #[test]
    fn a_change_of_password_needs_the_present_one() {
        let problem = Draft::of_change(&params("user[password]=12345678")).expect_err("a refusal");
        assert_eq!(problem.into_response().body(), r#"{"errors":{"old_password":["can't be blank"]}}"#);
        let change = Draft::of_change(&params("user[password]=12345678&user[old_password]=x")).expect("both");
        assert!(change.secret.is_some());
    }

    #[test]
    fn empty_text_and_null_clear_a_field() {
        let json = Bytes::from_static(br#"{"user":{"full_name":null,"phone":"","tag_list":null,"blob_id":""}}"#);
        let params = Params::from_parts("", Some("application/json"), &json).expect("JSON");
        let change = Draft::of_change(&params).expect("nothing wrong");
        let want = [Field::FullName(None), Field::Phone(None), Field::BlobId(None), Field::Tags(Vec::new())];
        assert!(change.fields == want);
    }
}
