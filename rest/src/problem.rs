//! What can be wrong with a request, and what that looks like on the wire.
//!
//! Clients look in different places by module (quickblox-server.md §7.1), so the shape belongs to the cause. Handlers name a
//! cause; only [`Problem::into_response`] spells bodies.

use std::borrow::Cow;

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use crate::http::{Response, Status};

/// A text for the client: fixed words, or made from what was wrong.
pub type Text = Cow<'static, str>;

/// A refusal, sorted by where clients look for the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The request as a whole, in session, users, subscriptions and content: `{"errors":{"base":[text]}}`.
    Base(Status, Text),
    /// Fields at fault, in the same modules, with 422: `{"errors":{field:[text, ...]}}`.
    Field(Vec<(Text, Vec<Text>)>),
    /// Chat, custom objects, events, bad logins, and everything HTTP itself refuses: `{"errors":[text, ...]}`.
    List(Status, Vec<Text>),
    /// A user who is not there: `{"code":null,"message":text}`.
    Message(Status, Text),
}

impl Problem {
    /// The same in the shape of the module whose path it is; what can be wrong with any request is a list in itself.
    #[must_use]
    pub fn as_in(self, path: &str) -> Problem {
        let is_base = ["/session", "/login", "/users"].iter().any(|module| path.starts_with(module));
        match self {
            Problem::List(status, mut texts) if is_base && texts.len() == 1 => Problem::Base(status, texts.remove(0)),
            other => other,
        }
    }

    /// 401: the token is unknown or expired. SDKs search for `session does not exist`.
    pub fn session_required() -> Problem {
        Problem::base(Status::Unauthorized, "Required session does not exist")
    }

    /// 401: no token was sent.
    pub fn token_required() -> Problem {
        Problem::base(Status::Unauthorized, "Token is required")
    }

    /// 401: wrong login or password, in session and login.
    pub fn unauthorized() -> Problem {
        Problem::list(Status::Unauthorized, "Unauthorized")
    }

    /// 429: too many logins from there have failed lately.
    pub fn too_many_logins() -> Problem {
        Problem::list(Status::TooManyRequests, "Too many failed logins. Try again later")
    }

    /// 422: the session's signature is wrong.
    pub fn unexpected_signature() -> Problem {
        Problem::base(Status::UnprocessableEntity, "Unexpected signature")
    }

    /// 422: the session's timestamp is more than an hour off, or its nonce was used before.
    pub fn bad_timestamp() -> Problem {
        Problem::base(Status::UnprocessableEntity, "Bad timestamp")
    }

    /// 422: no such application, or another authorization key.
    pub fn no_application() -> Problem {
        Problem::base(Status::UnprocessableEntity, "No Application Found")
    }

    /// 422: the call needs a user and the session has none.
    pub fn need_user() -> Problem {
        Problem::base(Status::UnprocessableEntity, "Forbidden. Need user.")
    }

    /// 403: not an occupant, not the owner, somebody else's object.
    pub fn forbidden() -> Problem {
        Problem::list(Status::Forbidden, "You don't have appropriate permissions to perform this operation")
    }

    /// 403: the application forbids this call, as listing all its users.
    pub fn forbidden_by_application() -> Problem {
        Problem::base(Status::Forbidden, "Forbidden")
    }

    /// 403: a custom object of a class that does not exist.
    pub fn undefined_class() -> Problem {
        Problem::list(Status::Forbidden, "Undefined class")
    }

    /// 404: dialog, message or custom object.
    pub fn not_found() -> Problem {
        Problem::list(Status::NotFound, "The resource wasn't found")
    }

    /// 404: a user, or a search for users without a match.
    pub fn user_not_found() -> Problem {
        Problem::Message(Status::NotFound, "Couldn't find user".into())
    }

    /// 404: anything of the other modules.
    pub fn entity_not_found() -> Problem {
        Problem::list(Status::NotFound, "Entity you are looking for was not found.")
    }

    /// 404: no call has this path.
    pub fn no_such_path() -> Problem {
        Problem::list(Status::NotFound, "No call has this path")
    }

    /// 405: the path is known, with other methods. The `Allow` header is the caller's to add.
    pub fn method_not_allowed() -> Problem {
        Problem::list(Status::MethodNotAllowed, "This path does not take this method")
    }

    /// 422: a dialog with users who do not exist.
    pub fn unknown_occupants() -> Problem {
        Problem::list(Status::UnprocessableEntity, "Occupants with these IDs do not exist.")
    }

    /// 422: a private dialog with more than one other.
    pub fn too_many_occupants() -> Problem {
        Problem::list(Status::UnprocessableEntity, "Too many occupants for Private Dialog.")
    }

    /// 422: `occupants_ids` is no list of ids.
    pub fn bad_occupants() -> Problem {
        Problem::list(Status::UnprocessableEntity, "Incorrect occupant_id.")
    }

    /// 422: an event nobody would get.
    pub fn no_recipients() -> Problem {
        Problem::list(Status::UnprocessableEntity, "No one can receive the message")
    }

    /// 422: the value of this field belongs to another record already.
    pub fn taken(field: impl Into<Text>) -> Problem {
        Problem::field(field, "has already been taken")
    }

    /// 422: one field, one text.
    pub fn field(field: impl Into<Text>, text: impl Into<Text>) -> Problem {
        Problem::Field(vec![(field.into(), vec![text.into()])])
    }

    /// 422: the request makes no sense although it could be read; shape of chat, custom objects and events.
    pub fn unprocessable(text: impl Into<Text>) -> Problem {
        Problem::list(Status::UnprocessableEntity, text)
    }

    /// 429: over the application's rate.
    pub fn too_many_requests() -> Problem {
        Problem::list(Status::TooManyRequests, "Too many requests")
    }

    /// 400: the request cannot be read. `text` says what and, where known, at which place.
    pub fn malformed(text: impl Into<Text>) -> Problem {
        Problem::list(Status::BadRequest, text)
    }

    /// 413: more than the server takes.
    pub fn too_large(text: impl Into<Text>) -> Problem {
        Problem::list(Status::PayloadTooLarge, text)
    }

    /// 415: a body of a type that cannot be read.
    pub fn unsupported_type() -> Problem {
        Problem::list(
            Status::UnsupportedMediaType,
            "Send parameters as application/json, application/x-www-form-urlencoded or multipart/form-data",
        )
    }

    /// 500: our fault.
    pub fn internal() -> Problem {
        Problem::list(Status::InternalServerError, "Internal server error")
    }

    /// 503: not now, as while draining or when the disk refuses writes.
    pub fn unavailable() -> Problem {
        Problem::list(Status::ServiceUnavailable, "Service unavailable, try again later")
    }

    /// `{"errors":{"base":[text]}}` with any status.
    pub fn base(status: Status, text: impl Into<Text>) -> Problem {
        Problem::Base(status, text.into())
    }

    /// `{"errors":[text]}` with any status.
    pub fn list(status: Status, text: impl Into<Text>) -> Problem {
        Problem::List(status, vec![text.into()])
    }

    /// The status that goes with it.
    pub fn status(&self) -> Status {
        match self {
            Problem::Base(status, _) | Problem::List(status, _) | Problem::Message(status, _) => *status,
            Problem::Field(_) => Status::UnprocessableEntity,
        }
    }

    /// The answer.
    pub fn into_response(self) -> Response {
        Response::json(self.status(), &self)
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Response {
        problem.into_response()
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Problem::Base(_, text) => errors(to, &Fields(&[("base".into(), vec![text.clone()])])),
            Problem::Field(fields) => errors(to, &Fields(fields)),
            Problem::List(_, texts) => errors(to, texts),
            Problem::Message(_, text) => {
                let mut body = to.serialize_struct("Problem", 2)?;
                body.serialize_field("code", &None::<u16>)?;
                body.serialize_field("message", text)?;
                body.end()
            }
        }
    }
}

fn errors<S: Serializer>(to: S, what: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut body = to.serialize_struct("Problem", 1)?;
    body.serialize_field("errors", what)?;
    body.end()
}

struct Fields<'a>(&'a [(Text, Vec<Text>)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (field, texts) in self.0 {
            map.serialize_entry(field, texts)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_the_status_and_body_of_the_specification() {
        let cases = [
            (Problem::session_required(), 401, r#"{"errors":{"base":["Required session does not exist"]}}"#),
            (Problem::token_required(), 401, r#"{"errors":{"base":["Token is required"]}}"#),
            (Problem::unauthorized(), 401, r#"{"errors":["Unauthorized"]}"#),
            (Problem::unexpected_signature(), 422, r#"{"errors":{"base":["Unexpected signature"]}}"#),
            (Problem::bad_timestamp(), 422, r#"{"errors":{"base":["Bad timestamp"]}}"#),
            (Problem::no_application(), 422, r#"{"errors":{"base":["No Application Found"]}}"#),
            (Problem::need_user(), 422, r#"{"errors":{"base":["Forbidden. Need user."]}}"#),
            (
                Problem::forbidden(),
                403,
                r#"{"errors":["You don't have appropriate permissions to perform this operation"]}"#,
            ),
            (Problem::forbidden_by_application(), 403, r#"{"errors":{"base":["Forbidden"]}}"#),
            (Problem::undefined_class(), 403, r#"{"errors":["Undefined class"]}"#),
            (Problem::not_found(), 404, r#"{"errors":["The resource wasn't found"]}"#),
            (Problem::user_not_found(), 404, r#"{"code":null,"message":"Couldn't find user"}"#),
            (Problem::entity_not_found(), 404, r#"{"errors":["Entity you are looking for was not found."]}"#),
            (Problem::unknown_occupants(), 422, r#"{"errors":["Occupants with these IDs do not exist."]}"#),
            (Problem::too_many_occupants(), 422, r#"{"errors":["Too many occupants for Private Dialog."]}"#),
            (Problem::bad_occupants(), 422, r#"{"errors":["Incorrect occupant_id."]}"#),
            (Problem::no_recipients(), 422, r#"{"errors":["No one can receive the message"]}"#),
            (Problem::taken("login"), 422, r#"{"errors":{"login":["has already been taken"]}}"#),
            (Problem::too_many_requests(), 429, r#"{"errors":["Too many requests"]}"#),
            (Problem::malformed("line 1"), 400, r#"{"errors":["line 1"]}"#),
        ];
        for (problem, code, body) in cases {
            let response = problem.into_response();
            assert_eq!(response.status().code(), code, "{body}");
            assert_eq!(response.body(), body);
        }
    }

    #[test]
    fn several_fields_keep_their_texts() {
        let problem = Problem::Field(vec![
            ("login".into(), vec!["is too short".into(), "is invalid".into()]),
            ("email".into(), vec!["has already been taken".into()]),
        ]);
        let body = r#"{"errors":{"login":["is too short","is invalid"],"email":["has already been taken"]}}"#;
        assert_eq!(problem.into_response().body(), body);
    }
}
