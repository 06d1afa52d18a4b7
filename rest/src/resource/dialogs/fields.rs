//! What a request says of a dialog: its kind, names, occupants and custom parameters. Product page, "Create dialog".
//!
//! Lists of users come in every form there is: `55, 678`, `[55,"678"]`, `["55,678"]`, and as the text of an array.

use proto::jid::user::UserId;
use proto::limits::{DIALOG_NAME_BYTES_MAX, OCCUPANTS_MAX};
use proto::model::dialog::{Change, Data, DialogKind, DialogRow, Value};

use crate::params::{self, IdsError, Number, Params};
use crate::problem::Problem;

/// Bytes of a dialog's photo: an id or a link.
const PHOTO_BYTES_MAX: usize = 4_096;
/// Custom parameters of one dialog.
pub(super) const DATA_FIELDS_MAX: usize = 100;
/// Bytes of the name of a class or of a custom parameter.
const DATA_NAME_BYTES_MAX: usize = 128;
/// Bytes of all custom parameters of one dialog, names included.
const DATA_BYTES_MAX: usize = 64 * 1024;
/// Lists in lists of a custom parameter.
const DATA_DEPTH_MAX: usize = 4;

/// What a new dialog is to be.
pub(super) struct New {
    pub kind: DialogKind,
    pub name: Option<String>,
    pub photo: Option<String>,
    /// As given; the caller may be among them.
    pub occupants: Vec<UserId>,
    pub data: Option<Data>,
}

impl New {
    /// Checks everything that can be checked without looking at rows.
    pub fn read(params: &Params) -> Result<New, Problem> {
        let kind = params.value("type").and_then(|value| value.text().and_then(|text| text.trim().parse().ok()));
        let kind = kind.and_then(DialogKind::read);
        let kind =
            kind.ok_or_else(|| Problem::unprocessable("type must be 1 (PUBLIC_GROUP), 2 (GROUP) or 3 (PRIVATE)"))?;
        let occupants = users(params, "occupants_ids")?;
        if kind != DialogKind::Public && occupants.is_empty() {
            return Err(Problem::unprocessable("occupants_ids is required"));
        }
        let (mut name, mut photo) = (None, None);
        if kind != DialogKind::Private {
            name = Some(given_name(params)?.ok_or_else(|| Problem::unprocessable("name is required"))?);
            photo = given_photo(params)?.flatten();
        }
        let data = match Given::read(params)? {
            Some(given) => given.onto(None)?,
            None => None,
        };
        Ok(New { kind, name, photo, occupants, data })
    }
}

/// What an update is to change of a dialog.
pub(super) fn change(params: &Params, before: &DialogRow) -> Result<Change, Problem> {
    let mut change = Change::default();
    if before.kind != DialogKind::Private {
        if params.has("name") {
            change.name = Some(given_name(params)?.ok_or_else(|| Problem::unprocessable("name can't be blank"))?);
        }
        change.photo = given_photo(params)?;
    }
    if let Some(given) = Given::read(params)? {
        change.data = given.onto(before.data.as_ref())?;
    }
    change.push = users(params, "push_all[occupants_ids]")?;
    change.pull = users(params, "pull_all[occupants_ids]")?;
    if before.kind == DialogKind::Private && !(change.push.is_empty() && change.pull.is_empty()) {
        return Err(Problem::unprocessable("Occupants of a private dialog can't be changed"));
    }
    Ok(change)
}

/// A list of users. Each once, in the order given.
pub(super) fn users(params: &Params, path: &str) -> Result<Vec<UserId>, Problem> {
    let Some(value) = params.value(path) else { return Ok(Vec::new()) };
    let ids = match value.text() {
        // The text of a JSON array.
        Some(text) => params::Value::Text(text.replace(['[', ']', '"', ' '], "")).ids(),
        None => value.ids(),
    };
    let too_many = || Problem::unprocessable(format!("There are too many occupants (maximum is {OCCUPANTS_MAX})"));
    let ids = ids.map_err(|error| match error {
        IdsError::NotAnId => Problem::bad_occupants(),
        IdsError::TooMany => too_many(),
    })?;
    let mut seen = std::collections::BTreeSet::new();
    Ok(ids.into_iter().filter(|id| seen.insert(*id)).map(UserId).collect())
}

fn given_name(params: &Params) -> Result<Option<String>, Problem> {
    let name = params.text("name").map(|name| params::clean(&name).trim().to_owned()).filter(|name| !name.is_empty());
    fits("name", name, DIALOG_NAME_BYTES_MAX)
}

/// None when nothing is said of it, nothing inside when it is to go.
fn given_photo(params: &Params) -> Result<Option<Option<String>>, Problem> {
    if !params.has("photo") {
        return Ok(None);
    }
    let photo =
        params.text("photo").map(|photo| params::clean(&photo).trim().to_owned()).filter(|photo| !photo.is_empty());
    fits("photo", photo, PHOTO_BYTES_MAX).map(Some)
}

fn fits(field: &str, text: Option<String>, bytes_max: usize) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.len() > bytes_max => {
            Err(Problem::unprocessable(format!("{field} is too long (maximum is {bytes_max} bytes)")))
        }
        text => Ok(text),
    }
}

/// Custom parameters as a request has them.
struct Given {
    class: Option<String>,
    fields: Vec<(String, Value)>,
}

impl Given {
    /// `data[class_name]`, `data[FIELD]`. What is no object says nothing: some apps send `data=undefined`.
    fn read(params: &Params) -> Result<Option<Given>, Problem> {
        let Some(map) = params.map("data") else { return Ok(None) };
        let class = params.text("data[class_name]").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let mut fields = Vec::new();
        for (name, value) in map.iter().filter(|(name, _)| is_settable(name)) {
            check_name(name)?;
            fields.push((name.clone(), value_of(value, DATA_DEPTH_MAX)?));
        }
        if let Some(class) = &class {
            check_name(class)?;
        }
        Ok(Some(Given { class, fields }).filter(|given| given.class.is_some() || !given.fields.is_empty()))
    }

    /// The parameters to set, if what comes of them together with those that are there is within bounds.
    fn onto(self, before: Option<&Data>) -> Result<Option<Data>, Problem> {
        let class = self.class.or_else(|| before.map(|data| data.class.clone()));
        let class = class.ok_or_else(|| Problem::unprocessable("data[class_name] is required"))?;
        let newer = Data { class, fields: self.fields };
        let merged = match before {
            Some(before) => {
                let mut merged = before.clone();
                merged.merge(newer.clone());
                merged
            }
            None => newer.clone(),
        };
        let bytes: usize = merged.fields.iter().map(|(name, value)| name.len() + size(value)).sum();
        if merged.fields.len() > DATA_FIELDS_MAX || bytes > DATA_BYTES_MAX {
            return Err(Problem::unprocessable(format!(
                "data is too large (maximum is {DATA_FIELDS_MAX} fields and {DATA_BYTES_MAX} bytes)"
            )));
        }
        Ok(Some(newer))
    }
}

/// Fields of every object are not a client's to set, and names that mean something to databases or browsers are no names.
fn is_settable(name: &str) -> bool {
    let reserved = ["class_name", "_id", "user_id", "created_at", "updated_at", "_parent_id"];
    let foreign = ["__proto__", "constructor", "prototype"];
    !reserved.contains(&name) && !foreign.contains(&name) && !name.starts_with('$')
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.len() > DATA_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Problem::unprocessable(format!(
            "A name in data is not valid (maximum is {DATA_NAME_BYTES_MAX} bytes, without control characters)"
        )));
    }
    Ok(())
}

fn value_of(value: &params::Value, depth: usize) -> Result<Value, Problem> {
    Ok(match value {
        params::Value::Null => Value::Null,
        params::Value::Bool(flag) => Value::Bool(*flag),
        params::Value::Number(Number::Int(number)) => Value::Integer(*number),
        params::Value::Number(number @ (Number::Big(_) | Number::Float(_))) => Value::Float(number.float()),
        params::Value::Text(text) => Value::Text(text.clone()),
        params::Value::List(values) if depth > 0 => {
            Value::List(values.iter().map(|value| value_of(value, depth - 1)).collect::<Result<_, _>>()?)
        }
        params::Value::List(_) => return Err(Problem::unprocessable("data is nested too deeply")),
        // Fields hold no objects; the text of one is what an app can make an object of again.
        params::Value::Map(_) => Value::Text(serde_json::to_string(value).map_err(|_| Problem::internal())?),
    })
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => 8,
        Value::Text(text) => text.len(),
        Value::List(values) => values.iter().map(size).sum::<usize>() + 8,
    }
}
