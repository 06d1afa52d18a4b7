//! From a request to its handler: paths as data, and who may call them.
//!
//! A [`Route`] says method, path, what the caller must prove and who answers. [`start`] finds the route, decodes the parameters,
//! looks the session up and refuses who may not; a handler begins with all of that settled.

use proto::jid::object::OBJECT_ID_DIGITS;
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
use crate::upload;

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
    /// An object id or several with commas between them, which the handler gets as they were written: what is no id is there
    /// not found rather than no path. Nothing shorter than an id is meant, so that words can stand in the same place.
    Objects,
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
    /// The object ids in the path, as they were written.
    pub objects: String,
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
    if upload::is_file(request.path()) {
        return upload::get(request, moment);
    }
    let (route, Found { ids, objects }) = match find(request.route_method(), request.path()) {
        Lookup::Found(route, found) => (route, found),
        Lookup::OtherMethods(allow) => {
            return Ok(Step::Done(Problem::method_not_allowed().into_response().header("Allow", allow)));
        }
        Lookup::NoRecord(refusal) => (refusal, Found::default()),
        Lookup::Unknown => return Err(Problem::no_such_path().into()),
    };
    if route.need == Need::Admin {
        admin::authorize(&request, moment.settings)?;
    }
    let params = Params::decode(&request).map_err(|problem| problem.as_in(request.path()))?;
    let call = Call { ids, objects, params, session: None, request };
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

/// What stands in a path where its pattern leaves it open.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    ids: Vec<u64>,
    objects: String,
}

enum Lookup {
    Found(&'static Route, Found),
    OtherMethods(String),
    /// A call, but for what stands in the place of an id and is none: no record has it.
    NoRecord(&'static Route),
    Unknown,
}

/// What calls about records that cannot be are answered with, by those who may make them at all. Server notes §7.1.
static NO_RECORD: Route = refusing(|_, _| Err(Problem::not_found().into()));
static NO_USER: Route = refusing(|_, _| Err(Problem::user_not_found().into()));

const fn refusing(handler: Handler) -> Route {
    Route { method: Method::Get, path: &[], need: Need::Token, handler }
}

fn find(method: Method, path: &str) -> Lookup {
    let mut allow = Vec::new();
    for route in RESOURCES.iter().copied().flatten() {
        let Some(found) = found_in(route.path, path) else { continue };
        if route.method == method {
            return Lookup::Found(route, found);
        }
        allow.push(name(route.method));
    }
    if !allow.is_empty() {
        return Lookup::OtherMethods(allow.join(", "));
    }
    let mut all = RESOURCES.iter().copied().flatten();
    match all.find(|route| route.method == method && shape_of(route.path, path)).map(|route| route.path.first()) {
        Some(Some(Segment::Is("users"))) => Lookup::NoRecord(&NO_USER),
        Some(_) => Lookup::NoRecord(&NO_RECORD),
        None => Lookup::Unknown,
    }
}

/// Whether a path has this pattern, whatever stands in the place of ids.
fn shape_of(pattern: &[Segment], path: &str) -> bool {
    let path = path.strip_suffix(".json").or_else(|| path.strip_suffix(".xml")).unwrap_or(path);
    let Some(path) = path.strip_prefix('/') else { return false };
    let mut segments = path.split('/');
    let fits = pattern.iter().all(|expected| match (expected, segments.next()) {
        (Segment::Is(word), Some(segment)) => *word == segment,
        // A word in the place of a number is another path.
        (Segment::Id, Some(segment)) => !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()),
        (Segment::Objects, Some(segment)) => !segment.is_empty(),
        (_, None) => false,
    });
    fits && segments.next().is_none()
}

/// The ids in a path that has this pattern. The answer is JSON with `.json`, with `.xml` and without. Server notes §7.
fn found_in(pattern: &[Segment], path: &str) -> Option<Found> {
    let path = path.strip_suffix(".json").or_else(|| path.strip_suffix(".xml")).unwrap_or(path);
    let mut segments = path.strip_prefix('/')?.split('/');
    let mut found = Found::default();
    for expected in pattern {
        let segment = segments.next()?;
        match expected {
            Segment::Is(word) if *word == segment => {}
            Segment::Is(_) => return None,
            Segment::Id => found.ids.push(number(segment)?),
            Segment::Objects if segment.len() < OBJECT_ID_DIGITS && !segment.contains(',') => return None,
            Segment::Objects => found.objects = segment.to_owned(),
        }
    }
    segments.next().is_none().then_some(found)
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

#[cfg(test)]
mod matrix;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flow::world::World;

    fn all() -> impl Iterator<Item = &'static Route> {
        RESOURCES.iter().copied().flatten()
    }

    /// A path that has the route's pattern.
    fn path(route: &Route) -> String {
        let segments = route.path.iter().map(|segment| match segment {
            Segment::Is(word) => (*word).to_owned(),
            Segment::Id => "1".to_owned(),
            Segment::Objects => "53aaa06f535c12cea9007496".to_owned(),
        });
        format!("/{}", segments.collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn no_two_routes_overlap() {
        for route in all() {
            let path = path(route);
            let same = all().filter(|other| other.method == route.method && found_in(other.path, &path).is_some());
            assert_eq!(same.count(), 1, "{} {path}", name(route.method));
        }
    }

    #[test]
    fn every_path_works_bare_and_with_both_suffixes() {
        for route in all() {
            for suffix in ["", ".json", ".xml"] {
                let path = path(route) + suffix;
                assert!(matches!(find(route.method, &path), Lookup::Found(..)), "{path}");
            }
        }
    }

    #[test]
    fn ids_are_digits_and_paths_are_whole() {
        for path in ["/users/-1", "/users/1.5", "/users/x", "/users/", "/users/1/", "users", "/", "*"] {
            assert!(matches!(find(Method::Get, path), Lookup::Unknown), "{path}");
        }
        for (path, refusal) in
            [("/users/99999999999999999999", &NO_USER), ("/chat/Dialog/zz/notifications.json", &NO_RECORD)]
        {
            assert!(
                matches!(find(Method::Get, path), Lookup::NoRecord(route) if std::ptr::eq(route, refusal)),
                "{path}"
            );
        }
        assert!(matches!(find(Method::Get, "/users/007.json"), Lookup::Found(_, found) if found.ids == [7]));
    }

    #[test]
    fn unknown_paths_and_other_methods_are_told_apart() {
        let mut world = World::new();
        world.get("/nothing.json", "").expect(404);
        let reply = world.call("PUT", "/session.json", "", "").expect(405);
        assert_eq!(reply.response.header_value("Allow"), Some("POST, GET, HEAD, DELETE"));
        world.call("PATCH", "/users/1.json", "", "").expect(405);
        world.call("OPTIONS", "/session.json", "", "").expect(200);
        world.call("HEAD", "/session.json", "", "").expect(401);
    }

    /// Every route × who calls it: who may not is refused before anything else is looked at, and nobody else is.
    #[test]
    fn each_route_lets_in_whom_it_should() {
        for route in all() {
            let mut world = World::new();
            world.create_app("second");
            world.sign_up(1, "somebody");
            world.sign_up(2, "stranger");
            let old = world.user_token(1, "somebody");
            world.pass(Duration::from_secs(2 * 3600 + 61));
            let app_token = world.app_token(1);
            let user_token = world.user_token(1, "somebody");
            // The right random bits under another app's number.
            let forged = format!("00000001{}", &world.app_token(2)[8..]);
            let method = name(route.method).split(',').next().expect("a word");
            let path = path(route);
            let refused = |code: u16, body: &str| {
                let texts = ["Token is required", "session does not exist", "Need user", "operator's token"];
                texts.iter().find(|text| body.contains(**text)).map(|text| (code, *text))
            };
            let mut by = |token: &str| {
                let reply = world.call(method, &path, token, "");
                let dated = reply.response.header_value("QB-Token-ExpirationDate").is_some();
                (refused(reply.code, &reply.text), dated)
            };
            let no_session = Some((401, "session does not exist"));
            match route.need {
                Need::Nothing => {
                    for token in ["", &app_token, &forged, &old, "junk"] {
                        assert_eq!(by(token).0, None, "{method} {path}");
                    }
                }
                Need::Admin => {
                    for token in ["", &app_token, &user_token] {
                        assert_eq!(by(token).0, Some((401, "operator's token")), "{method} {path}");
                    }
                }
                Need::Token | Need::User => {
                    assert_eq!(by(""), (Some((401, "Token is required")), false), "{method} {path}");
                    for token in ["junk", &forged, &old, &"0".repeat(40)] {
                        assert_eq!(by(token), (no_session, false), "{method} {path}");
                    }
                    let app_alone = if route.need == Need::User { Some((422, "Need user")) } else { None };
                    assert_eq!(by(&app_token), (app_alone, true), "{method} {path}");
                    assert_eq!(by(&user_token), (None, true), "{method} {path}");
                }
            }
        }
    }

    #[test]
    fn a_token_of_another_app_sees_only_that_app() {
        let mut world = World::new();
        world.create_app("second");
        let user = world.sign_up(1, "somebody");
        let stranger = world.app_token(2);
        world.get(&format!("/users/{user}.json"), &stranger).expect(404);
        world.get("/users/by_login.json?login=somebody", &stranger).expect(404);
        assert_eq!(world.get("/users.json", &stranger).expect(200).at("/total_entries"), 0);
    }

    #[test]
    fn a_session_lives_two_hours_after_the_last_call() {
        let mut world = World::new();
        let user = world.sign_up(1, "somebody");
        let token = world.user_token(1, "somebody");
        for _ in 0..5 {
            world.pass(Duration::from_secs(2 * 3600));
            let reply = world.get("/session.json", &token).expect(200);
            let expires = world.now.after(Duration::from_secs(2 * 3600)).header();
            assert_eq!(reply.response.header_value("QB-Token-ExpirationDate"), Some(expires.as_str()));
            assert!(world.logs_in(1, user, &token));
        }
        world.pass(Duration::from_secs(2 * 3600 + 60));
        world.get("/session.json", &token).expect(401);
        assert!(!world.logs_in(1, user, &token));
        assert!(world.logs_in(1, user, "password-somebody"));
    }

    #[test]
    fn the_token_may_be_a_parameter() {
        let mut world = World::new();
        let token = world.app_token(1);
        world.get(&format!("/session.json?token={token}"), "").expect(200);
        world.call("GET", "/session.json", "", &format!("token={token}")).expect(200);
        world.get("/session.json?token=%00", "").expect(401);
    }
}
