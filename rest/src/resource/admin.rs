//! `admin`: what the command line asks of the running server, over loopback. Not part of the QuickBlox API.
//!
//! Everything here needs the header `Authorization: Bearer TOKEN` with the token that the server made for its operator.

use proto::jid::user::AppId;
use proto::model::directory::{self, AppKeys, AppRecord, Command, SERVER, apps};
use serde::Serialize;

use super::users;
use crate::flow::{Flow, Moment, ask_directory, done, read};
use crate::http::{Method, Request, Response, Status};
use crate::problem::Problem;
use crate::route::{Call, Need, Route, Segment};
use crate::settings::Settings;

const APPS: &[Segment] = &[Segment::Is("admin"), Segment::Is("apps")];
const USERS: &[Segment] = &[Segment::Is("admin"), Segment::Is("apps"), Segment::Id, Segment::Is("users")];

pub(super) static ROUTES: &[Route] = &[
    Route { method: Method::Get, path: APPS, need: Need::Admin, handler: list_apps },
    Route { method: Method::Post, path: APPS, need: Need::Admin, handler: create_app },
    Route { method: Method::Post, path: USERS, need: Need::Admin, handler: create_user },
];

const NAME_CHARS_MAX: usize = 100;

#[derive(Serialize)]
struct Wrapped<'a> {
    app: Record<'a>,
}

#[derive(Serialize)]
struct Record<'a> {
    id: u32,
    name: &'a str,
    auth_key: &'a str,
    auth_secret: &'a str,
    account_key: &'a str,
    created_at: String,
}

impl<'a> Wrapped<'a> {
    fn of(app: &'a AppRecord) -> Wrapped<'a> {
        let app = Record {
            id: app.id.0,
            name: &app.name,
            auth_key: &app.keys.auth_key,
            auth_secret: &app.keys.auth_secret,
            account_key: &app.keys.account_key,
            created_at: app.created_at.iso().to_string(),
        };
        Wrapped { app }
    }
}

#[derive(Serialize)]
struct Apps<'a> {
    items: Vec<Wrapped<'a>>,
}

/// Lets the operator in and nobody else.
pub(crate) fn authorize(request: &Request, settings: &Settings) -> Result<(), Problem> {
    let given = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let good = match (&settings.admin_token, given) {
        (Some(token), Some(given)) => token.is(given),
        (None, _) | (_, None) => false,
    };
    if good { Ok(()) } else { Err(Problem::base(Status::Unauthorized, "The operator's token is required")) }
}

fn list_apps(_: Call, _: &mut Moment<'_>) -> Flow {
    read(apps::read_all(), |rows, _| {
        let page = rows.page();
        let apps = page.iter().map(|(_, row)| AppRecord::read(row)).collect::<Result<Vec<_>, _>>()?;
        done(Response::json(Status::Ok, &Apps { items: apps.iter().map(Wrapped::of).collect() }))
    })
}

fn create_app(call: Call, moment: &mut Moment<'_>) -> Flow {
    let name = call.params.text("name").unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(Problem::field("name", "can't be blank").into());
    }
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Problem::field("name", format!("should be at most {NAME_CHARS_MAX} printable characters")).into());
    }
    let command = Command::CreateApp { name, keys: AppKeys::draw(moment.random) };
    ask_directory(SERVER, command, |answer, _| match answer {
        directory::Answer::App(app) => done(Response::json(Status::Created, &Wrapped::of(&app))),
        directory::Answer::Refused(refusal) => Err(users::problem_of(refusal).into()),
        directory::Answer::Done | directory::Answer::User(_) | directory::Answer::Session(_) => {
            Err(Problem::internal().into())
        }
    })
}

/// Signs a user up in an app, as `POST /users` does with a session of the app.
fn create_user(call: Call, _: &mut Moment<'_>) -> Flow {
    let app = AppId(u32::try_from(call.id()?).map_err(|_| Problem::entity_not_found())?);
    read(apps::read(app), move |rows, moment| {
        rows.row().ok_or_else(Problem::entity_not_found)?;
        users::create_in(app, &call.params, moment)
    })
}

#[cfg(test)]
mod tests {
    use crate::flow::world::{ADMIN_TOKEN, Reply, World};

    fn admin(world: &mut World, method: &str, target: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        world.try_call(method, target, &headers, body).expect("an answer")
    }

    #[test]
    fn the_operator_makes_apps_and_users() {
        let mut world = World::new();
        let made = admin(&mut world, "POST", "/admin/apps", r#"{"name":"shop"}"#).expect(201);
        assert_eq!(made.at("/app/id"), 2);
        let listed = admin(&mut world, "GET", "/admin/apps", "").expect(200);
        assert_eq!(listed.at("/items/1"), made.json());
        assert_eq!(listed.at("/items/0/app/name"), "first");
        let body = r#"{"user":{"login":"bob","password":"password-bob"}}"#;
        assert_eq!(admin(&mut world, "POST", "/admin/apps/2/users", body).expect(201).at("/user/id"), 1);
        assert_eq!(
            admin(&mut world, "POST", "/admin/apps/2/users", body).expect(422).at("/errors/login/0"),
            "has already been taken"
        );
        world.user_token(2, "bob");
        admin(&mut world, "POST", "/admin/apps/9/users", body).expect(404);
        admin(&mut world, "POST", "/admin/apps/0/users", body).expect(404);
        admin(&mut world, "POST", "/admin/apps", r#"{"name":" "}"#).expect(422);
        admin(&mut world, "POST", "/admin/apps", &format!(r#"{{"name":"{}"}}"#, "x".repeat(101))).expect(422);
    }

    #[test]
    fn nobody_else_gets_in() {
        let mut world = World::new();
        for value in ["", "Bearer", "Bearer ", "Bearer operato", "Bearer operatorx", "Basic operator", "operator"] {
            let reply = world.try_call("GET", "/admin/apps", &[("Authorization", value)], "").expect("an answer");
            reply.expect(401);
        }
    }
}
