//! From a request to its handler: paths as data, and who may call them.
//!
//! A [`Route`] says method, path, what the caller must prove and who answers. [`start`] finds the route, decodes the parameters,
//! looks the session up and refuses who may not; a handler begins with all of that settled.

use proto::jid::user::UserId;
use proto::model::directory::{self, sessions};
use proto::model::token::Token;
use proto::owner::{AccountId, Owner};

use crate::flow::{Flow, Halt, Moment, Step, read};
use crate::http::{Method, Request, Response};
use crate::params::Params;
use crate::problem::Problem;
use crate::resource::RESOURCES;
use crate::resource::admin;

/// One call of the API.
pub struct Route {
    /// GET stands for HEAD too.
    pub method: Method,
    /// Segments without the suffix.
    pub path: &'static [Segment],
    /// Who may call.
    pub need: Need,
    /// Who answers.
    pub handler: Handler,
}

/// What begins a call.
pub type Handler = fn(Call, &mut Moment<'_>) -> Flow;

/// One segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This word.
    Is(&'static str),
    /// A number, which the handler gets; a record's id.
    Id,
}

/// What a caller must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A live session.
    Token,
    /// A live session of a user.
    User,
    /// The operator's token.
    Admin,
}

/// A request that reached its handler.
pub struct Call {
    /// The numbers in the path, in order.
    pub ids: Vec<u64>,
    /// Query and body.
    pub params: Params,
    /// The live session, where the route needs one.
    pub session: Option<Session>,
    /// The request itself, for its headers.
    pub request: Request,
}

/// The live session of a call.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its token.
    pub token: Token,
    /// What the directory knows of it.
    pub row: directory::SessionRow,
}

impl Session {
    /// The account of the session's user, if it has one.
    pub fn account(&self) -> Option<AccountId> {
        self.row.user.map(|user| AccountId { app: self.token.app(), user })
    }
}

impl Call {
    /// The session; the routes' needs make sure of it.
    pub fn session(&self) -> Result<&Session, Halt> {
        self.session.as_ref().ok_or_else(|| Problem::token_required().into())
    }

    /// The account of the session's user.
    pub fn account(&self) -> Result<AccountId, Halt> {
        self.session()?.account().ok_or_else(|| Problem::need_user().into())
    }

    /// The first number in the path.
    pub fn id(&self) -> Result<u64, Halt> {
        self.ids.first().copied().ok_or_else(|| Problem::no_such_path().into())
    }

    /// The same as a user.
    pub fn user_id(&self) -> Result<UserId, Halt> {
        self.id().map(UserId)
    }
}

/// Begins a call.
pub fn start(request: Request, moment: &mut Moment<'_>) -> Step {
    if request.method() == Method::Options {
        return Step::Done(Response::preflight(&request));
    }
    begin(request, moment).into()
}

fn begin(request: Request, moment: &mut Moment<'_>) -> Flow {
    let (route, ids) = match find(request.route_method(), request.path()) {
        Lookup::Found(route, ids) => (route, ids),
        Lookup::OtherMethods(allow) => {
            return Ok(Step::Done(Problem::method_not_allowed().into_response().header("Allow", allow)));
        }
        Lookup::Unknown => return Err(Problem::no_such_path().into()),
    };
    if route.need == Need::Admin {
        admin::authorize(&request, moment.settings)?;
    }
    let params = Params::decode(&request)?;
    let call = Call { ids, params, session: None, request };
    match route.need {
        Need::Nothing | Need::Admin => (route.handler)(call, moment),
        Need::Token | Need::User => with_session(call, route),
    }
}

/// Reads the session and goes on if it is live and enough.
fn with_session(mut call: Call, route: &'static Route) -> Flow {
    let text = match call.request.token() {
        Some(header) => header.to_owned(),
        None => call.params.text("token").unwrap_or_default().into_owned(),
    };
    if text.is_empty() {
        return Err(Problem::token_required().into());
    }
    let token = Token::parse(&text).ok_or_else(Problem::session_required)?;
    read(sessions::read(token.app(), &token.digest()), move |rows, moment| {
        let now = moment.stamp();
        let row = sessions::found(rows)?.filter(|row| row.is_live(now)).ok_or_else(Problem::session_required)?;
        let session = Session { token, row };
        let touch = session.row.wants_touch(now).then(|| touched(&session));
        let flow = match (route.need, session.row.user) {
            (Need::User, None) => Err(Problem::need_user().into()),
            (Need::Nothing | Need::Token | Need::User | Need::Admin, _) => {
                call.session = Some(session);
                (route.handler)(call, moment)
            }
        };
        let expires = now.after(sessions::IDLE_TIME_MAX).header();
        let step = Step::from(flow).and_then_answer(|response| response.token_expires(expires));
        Ok(match touch {
            Some((owner, command)) => Step::Tell(owner, command.into(), Box::new(step)),
            None => step,
        })
    })
}

fn touched(session: &Session) -> (Owner, directory::Command) {
    let command = directory::Command::TouchSession { token: session.token.digest(), user: session.row.user };
    (Owner::App(session.token.app()), command)
}

enum Lookup {
    Found(&'static Route, Vec<u64>),
    OtherMethods(String),
    Unknown,
}

fn find(method: Method, path: &str) -> Lookup {
    let mut allow = Vec::new();
    for route in RESOURCES.iter().copied().flatten() {
        let Some(ids) = ids_in(route.path, path) else { continue };
        if route.method == method {
            return Lookup::Found(route, ids);
        }
        allow.push(name(route.method));
    }
    if allow.is_empty() { Lookup::Unknown } else { Lookup::OtherMethods(allow.join(", ")) }
}

/// The numbers in a path that has this pattern. The answer is JSON with `.json`, with `.xml` and without. Server notes §7.
fn ids_in(pattern: &[Segment], path: &str) -> Option<Vec<u64>> {
    let path = path.strip_suffix(".json").or_else(|| path.strip_suffix(".xml")).unwrap_or(path);
    let mut segments = path.strip_prefix('/')?.split('/');
    let mut ids = Vec::new();
    for expected in pattern {
        let segment = segments.next()?;
        match expected {
            Segment::Is(word) if *word == segment => {}
            Segment::Is(_) => return None,
            Segment::Id => ids.push(number(segment)?),
        }
    }
    segments.next().is_none().then_some(ids)
}

/// Digits alone; a number too large for any record is no record's.
fn number(segment: &str) -> Option<u64> {
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    if digits { segment.parse().ok() } else { None }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET, HEAD",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
    }
}
