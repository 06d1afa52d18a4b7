//! Files at addresses of their own: how they come and go over HTTP. XEP-0363
//!
//! ```text
//! PUT /upload/FILE/NAME?USER-APP-KEY     the account says what was promised; the body becomes a file; the account counts it
//! GET /upload/FILE/NAME                  whoever knows the address has the file
//! ```
//!
//! What a user has left here is shown under the address of the API. So that no browser takes it for a part of that, nothing may
//! run in it or be loaded by it, its type is believed and not guessed, and what is more than a picture, sound, film or plain text is
//! saved rather than shown.

use std::ops::Range;

use proto::command::Answer;
use proto::ext::is_media_type;
use proto::jid::user::user_of;
use proto::model::upload::{self, Command, FileId, Label, Slot, SlotKey};
use proto::owner::{AccountId, Owner};
use proto::time::Timestamp;

use crate::flow::{Flow, Incoming, Moment, Opened, Received, Step, Then, done};
use crate::http::{Method, Request, Response, Status};
use crate::problem::Problem;

/// What the paths of files begin with.
pub const PREFIX: &str = "/upload/";

/// Whether a path is that of a file.
pub fn is_file(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Begins an upload; of its body, `bytes` long, nothing has been read.
pub fn put(request: &Request, bytes: u64, moment: &Moment<'_>) -> Step {
    begin(request, bytes, moment).into()
}

fn begin(request: &Request, bytes: u64, moment: &Moment<'_>) -> Flow {
    if moment.site.uploads.is_none() {
        return Err(Problem::no_such_path().into());
    }
    let (file, name) = address(request.path()).ok_or_else(Problem::entity_not_found)?;
    let (account, key) = proof(request.query()).ok_or_else(Problem::entity_not_found)?;
    let name = name.to_owned();
    let kind = request.content_type().map(ToOwned::to_owned);
    ask(account, Command::Begin { file, key }, move |answer| match answer {
        Some(upload::Answer::Open { bytes: promised, until, slot }) => {
            if slot.name != name {
                return Err(Problem::entity_not_found().into());
            }
            let label = label(slot, until, kind.as_deref(), bytes, promised)?;
            Ok(receive(account, Incoming { file, label, bytes }))
        }
        Some(upload::Answer::Used) => Err(used().into()),
        Some(upload::Answer::NoSlot | upload::Answer::Kept) => Err(Problem::entity_not_found().into()),
        None => Err(Problem::unavailable().into()),
    })
}

/// §7: what comes is what was announced, or nothing.
fn label(
    slot: Slot,
    until: Option<Timestamp>,
    kind: Option<&str>,
    bytes: u64,
    promised: u64,
) -> Result<Label, Problem> {
    if bytes > promised {
        return Err(Problem::too_large("The file is larger than was announced"));
    }
    if bytes < promised {
        return Err(Problem::list(Status::BadRequest, "The file is smaller than was announced"));
    }
    let content_type = match (slot.content_type, kind) {
        (Some(announced), Some(kind)) if !essence(&announced).eq_ignore_ascii_case(essence(kind)) => {
            return Err(Problem::list(Status::UnsupportedMediaType, "The file has another type than was announced"));
        }
        (Some(announced), _) => announced,
        (None, Some(kind)) if is_media_type(kind) => kind.to_owned(),
        (None, _) => "application/octet-stream".to_owned(),
    };
    Ok(Label { name: slot.name, content_type, until })
}

fn receive(account: AccountId, incoming: Incoming) -> Step {
    let file = incoming.file;
    let then: Then<Received> = Box::new(move |received, _| {
        match received {
            Received::Kept => keep(account, file),
            Received::Used => Err(used().into()),
            Received::Full => {
                Err(Problem::list(Status::InsufficientStorage, "There is no room for the file, try again later").into())
            }
            Received::Failed => Err(Problem::unavailable().into()),
        }
        .into()
    });
    Step::Receive(incoming, then)
}

/// The file is on disk. Once the account counts it, whoever brought it may know.
fn keep(account: AccountId, file: FileId) -> Flow {
    ask(account, Command::Keep { file }, move |answer| {
        let refusal = match answer {
            Some(upload::Answer::Kept) => return done(Response::plain(Status::Created, "text/plain", "")),
            Some(upload::Answer::NoSlot | upload::Answer::Used | upload::Answer::Open { .. }) => {
                Problem::entity_not_found()
            }
            None => Problem::unavailable(),
        };
        Ok(Step::Remove(vec![file], Box::new(Step::Done(refusal.into_response()))))
    })
}

/// Asks an account; it says nothing when the store cannot be used.
fn ask(account: AccountId, command: Command, then: impl FnOnce(Option<upload::Answer>) -> Flow + 'static) -> Flow {
    let then: Then<Answer> = Box::new(|answer, _| match answer {
        Answer::Upload(answer) => then(Some(answer)).into(),
        Answer::Unavailable
        | Answer::Directory(_)
        | Answer::Account(_)
        | Answer::Dialog(_)
        | Answer::Entry(_)
        | Answer::Report(_)
        | Answer::Online(_) => then(None).into(),
    });
    Ok(Step::Ask(Owner::Account(account), command.into(), then))
}

fn used() -> Problem {
    Problem::list(Status::Conflict, "The file is there already, or on its way")
}

/// Answers whatever is asked of a file but that it should come.
pub fn get(request: Request, moment: &Moment<'_>) -> Flow {
    match request.route_method() {
        Method::Get => {}
        Method::Options => return done(Response::preflight(&request)),
        Method::Head | Method::Post | Method::Put | Method::Patch | Method::Delete => {
            let refusal = Problem::method_not_allowed().into_response();
            return done(refusal.header("Allow", "GET, HEAD, PUT, OPTIONS"));
        }
    }
    if moment.site.uploads.is_none() {
        return Err(Problem::no_such_path().into());
    }
    let (file, _) = address(request.path()).ok_or_else(Problem::entity_not_found)?;
    let then: Then<Opened> = Box::new(move |opened, moment| serve(file, &request, opened, moment.stamp()).into());
    Ok(Step::Open(file, then))
}

fn serve(file: FileId, request: &Request, opened: Opened, now: Timestamp) -> Flow {
    let (label, bytes) = match opened {
        Opened::File(label, bytes) => (label, bytes),
        Opened::Nothing => return Err(Problem::entity_not_found().into()),
        Opened::Failed => return Err(Problem::unavailable().into()),
    };
    let is_named = address(request.path()).is_some_and(|(_, name)| name == label.name);
    if !is_named || label.until.is_some_and(|until| until < now) {
        return Err(Problem::entity_not_found().into());
    }
    let tag = format!("\"{file}\"");
    if request.header_values("if-none-match").flat_map(|tags| tags.split(',')).any(|known| known.trim() == tag) {
        return done(described(Response::plain(Status::NotModified, "", ""), &label, &tag, now));
    }
    // A range is of the same file in any case: an address never gets another one.
    let range = request.header("range").filter(|_| request.header("if-range").is_none_or(|known| known == tag));
    match range.map_or(Part::Whole, |range| part(range, bytes)) {
        Part::Whole => {
            let response = Response::stream(Status::Ok, label.content_type.clone(), bytes);
            Ok(Step::Send(described(response, &label, &tag, now), 0..bytes))
        }
        Part::Some(range) => {
            let length = range.end - range.start;
            let response = Response::stream(Status::PartialContent, label.content_type.clone(), length)
                .header("Content-Range", format!("bytes {}-{}/{bytes}", range.start, range.end - 1));
            Ok(Step::Send(described(response, &label, &tag, now), range))
        }
        Part::Nothing => {
            let refusal = Problem::list(Status::RangeNotSatisfiable, "The file does not have that range");
            done(refusal.into_response().header("Content-Range", format!("bytes */{bytes}")))
        }
    }
}

/// What a file is and what may be done with it.
fn described(response: Response, label: &Label, tag: &str, now: Timestamp) -> Response {
    let age = label.until.map_or(CACHED_SECS_MAX, |until| until.since(now).as_secs().min(CACHED_SECS_MAX));
    let how = if is_harmless(&label.content_type) { "inline" } else { "attachment" };
    response
        .header("ETag", tag)
        .header("Cache-Control", format!("public, max-age={age}, immutable"))
        .header("Accept-Ranges", "bytes")
        .header("Content-Disposition", format!("{how}; filename*=UTF-8''{}", proto::ext::path_segment(&label.name)))
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", POLICY)
        .header("Cross-Origin-Resource-Policy", "cross-origin")
        .header("Referrer-Policy", "no-referrer")
}

/// Nothing runs, nothing is loaded but the picture or film itself, and no page frames it.
const POLICY: &str = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox; frame-ancestors 'none'";
/// A year: what a cache may take for ever. RFC 9111 §1.2.2
const CACHED_SECS_MAX: u64 = 365 * 24 * 60 * 60;

/// What a browser can show and do nothing else with.
fn is_harmless(content_type: &str) -> bool {
    let essence = essence(content_type).to_ascii_lowercase();
    match essence.split_once('/') {
        // A picture in SVG is a document with scripts.
        Some(("image", kind)) => !kind.contains("svg") && !kind.contains("xml"),
        Some(("audio" | "video", kind)) => !kind.contains("xml"),
        Some(("text", "plain")) => true,
        Some(_) | None => false,
    }
}

/// The type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The file and the name in a path.
fn address(path: &str) -> Option<(FileId, &str)> {
    let (file, name) = path.strip_prefix(PREFIX)?.split_once('/')?;
    if name.is_empty() || name.contains('/') {
        return None;
    }
    Some((FileId::parse(file)?, name))
}

/// Whose slot it is, and what opens it.
fn proof(query: &str) -> Option<(AccountId, SlotKey)> {
    let (local, key) = query.rsplit_once('-')?;
    let (user, app) = user_of(local)?;
    Some((AccountId { app, user }, SlotKey::parse(key)?))
}

/// What a client wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Some(Range<u64>),
    Nothing,
}

/// RFC 9110 §14.1.2. Several ranges at once, and what is none, count for nothing: then the answer is the whole.
fn part(header: &str, bytes: u64) -> Part {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (first, number(first), last, number(last)) {
        ("", _, _, Some(length)) => bytes.saturating_sub(length)..bytes,
        (_, Some(first), "", _) => first..bytes,
        (_, Some(first), _, Some(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        _ => return Part::Whole,
    };
    if range.is_empty() { Part::Nothing } else { Part::Some(range) }
}

#[cfg(test)]
#[path = "upload/tests.rs"]
mod tests;
