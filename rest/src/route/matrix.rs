//! Every call × everybody who might make it: what each is told, and that who is refused has changed nothing.
//!
//! A route without a line in [`lines`] fails the test: whoever adds one says here who may call it. Alice's is what is at stake;
//! the user of the other app has her number, so that a call which forgets the app would meet her.

use std::time::Duration;

use super::*;
use crate::flow::world::{ADMIN_TOKEN, Reply, Stored, World};

const TOKEN_REQUIRED: Said = Refused(401, r#"{"errors":{"base":["Token is required"]}}"#);
const NO_SESSION: Said = Refused(401, r#"{"errors":{"base":["Required session does not exist"]}}"#);
const NEED_USER: Said = Refused(422, r#"{"errors":{"base":["Forbidden. Need user."]}}"#);
const FORBIDDEN: Said =
    Refused(403, r#"{"errors":["You don't have appropriate permissions to perform this operation"]}"#);
const NOT_FOUND: Said = Refused(404, r#"{"errors":["The resource wasn't found"]}"#);
const NO_USER: Said = Refused(404, r#"{"code":null,"message":"Couldn't find user"}"#);
const OPERATOR_ONLY: Said = Refused(401, r#"{"errors":{"base":["The operator's token is required"]}}"#);
const NOBODY: Said = Refused(422, r#"{"errors":["Occupants with these IDs do not exist."]}"#);
const SPENT: Said = Refused(404, "This link");

/// What a caller is told.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// No, in these words; and nothing at all has changed. Words that are no JSON are to be found in a page.
    Refused(u16, &'static str),
    /// Yes, about things that are the caller's or everybody's. Alice's are as they were, and her secrets hers.
    Granted(u16),
}
use Said::{Granted, Refused};

/// Who has to prove what.
enum Who {
    /// A session: of the app alone, of Carol in the same app, of Zoe in another; and what Alice is told.
    Session { app: Said, other: Said, foreign: Said, rightful: u16 },
    /// The operator alone.
    Operator(u16),
    /// Whoever knows something, which is in the call; without it, in these two places, the answer is this one, whoever asks.
    Knowing { target: &'static str, body: &'static str, refused: Said, rightful: u16 },
}

struct Line {
    call: &'static str,
    target: &'static str,
    body: &'static str,
    who: Who,
}

const fn line(call: &'static str, target: &'static str, body: &'static str, who: Who) -> Line {
    Line { call, target, body, who }
}

/// A call about the caller's own things, or everybody's.
const fn open(call: &'static str, target: &'static str, body: &'static str, code: u16) -> Line {
    let said = Granted(code);
    line(call, target, body, Who::Session { app: said, other: said, foreign: said, rightful: code })
}

/// A call about a user, whom every session of the app may see.
const fn seen(call: &'static str, target: &'static str) -> Line {
    let said = Granted(200);
    line(call, target, "", Who::Session { app: said, other: said, foreign: NO_USER, rightful: 200 })
}

/// A call of users.
const fn of_users(
    call: &'static str,
    target: &'static str,
    body: &'static str,
    [other, foreign]: [Said; 2],
    rightful: u16,
) -> Line {
    line(call, target, body, Who::Session { app: NEED_USER, other, foreign, rightful })
}

const OWN: [Said; 2] = [Granted(200); 2];
const OTHERS: [Said; 2] = [FORBIDDEN, NOT_FOUND];
/// Of a message whose dialog is not named: it is looked for in the caller's own.
const UNFOUND: [Said; 2] = [NOT_FOUND; 2];

/// One for each route. Words in braces stand for what [`Stage`] has made; in names of calls `#` is a number and `*` an object's id.
const LINES: &[Line] = &[
    line(
        "POST /session",
        "/session.json",
        "{signed}",
        Who::Knowing {
            target: "/session.json",
            body: "{missigned}",
            refused: Refused(422, r#"{"errors":{"base":["Unexpected signature"]}}"#),
            rightful: 201,
        },
    ),
    open("GET /session", "/session.json", "", 200),
    open("DELETE /session", "/session.json", "", 200),
    // With her password anybody is Alice, but not in an app where she is not.
    line(
        "POST /login",
        "/login.json",
        "login=alice&password=password-alice",
        Who::Session {
            app: Granted(202),
            other: Granted(202),
            foreign: Refused(401, r#"{"errors":["Unauthorized"]}"#),
            rightful: 202,
        },
    ),
    of_users("DELETE /login", "/login.json", "", OWN, 200),
    open("POST /users", "/users.json", "user[login]=newcomer&user[password]=password-newcomer", 201),
    // Zoe has this number as well: what she sees, changes and removes is herself.
    open("GET /users/#", "/users/1.json", "", 200),
    of_users("PUT /users/#", "/users/1.json", "user[full_name]=Mallory", [FORBIDDEN, Granted(200)], 200),
    of_users("DELETE /users/#", "/users/1.json", "", [FORBIDDEN, Granted(200)], 200),
    seen("GET /users/external/#", "/users/external/77.json"),
    of_users("DELETE /users/external/#", "/users/external/77.json", "", [FORBIDDEN, NO_USER], 200),
    open("GET /users", "/users.json", "", 200),
    seen("GET /users/by_full_name", "/users/by_full_name.json?full_name=Alice%20Liddell"),
    seen("GET /users/by_tags", "/users/by_tags.json?tags=wonder"),
    seen("GET /users/by_login", "/users/by_login.json?login=alice"),
    seen("GET /users/by_email", "/users/by_email.json?email=alice@example.com"),
    seen("GET /users/by_facebook_id", "/users/by_facebook_id.json?facebook_id=71"),
    seen("GET /users/by_twitter_id", "/users/by_twitter_id.json?twitter_id=72"),
    seen("GET /users/by_twitter_digits_id", "/users/by_twitter_digits_id.json?twitter_digits_id=73"),
    seen("GET /users/by_external_id", "/users/by_external_id.json?external_user_id=77"),
    seen("GET /users/phone", "/users/phone.json?phone=%2B4912345678"),
    seen("GET /users/by_phone_number", "/users/by_phone_number.json?phone_number=%2B4912345678"),
    // The mail goes to Alice, whoever asks for it.
    seen("GET /users/password/reset", "/users/password/reset.json?email=alice@example.com"),
    seen("GET /password/reset", "/password/reset.json?email=alice@example.com"),
    line(
        "GET /users/password/new",
        "/users/password/new?code={code}",
        "",
        Who::Knowing { target: "/users/password/new?code=x", body: "", refused: SPENT, rightful: 200 },
    ),
    line(
        "POST /users/password/new",
        "/users/password/new",
        "code={code}&password=new-password",
        Who::Knowing {
            target: "/users/password/new",
            body: "code={another code}&password=new-password",
            refused: SPENT,
            rightful: 200,
        },
    ),
    of_users("GET /chat/Dialog", "/chat/Dialog.json", "", OWN, 200),
    of_users("POST /chat/Dialog", "/chat/Dialog.json", "type=2&name=x&occupants_ids=4", [Granted(201), NOBODY], 201),
    of_users("PUT /chat/Dialog/*", "/chat/Dialog/{dialog}.json", "name=Mallory", OTHERS, 200),
    of_users("DELETE /chat/Dialog/*", "/chat/Dialog/{dialog}.json?force=1", "", OTHERS, 200),
    of_users("GET /chat/Dialog/*/notifications", "/chat/Dialog/{dialog}/notifications.json", "", OTHERS, 200),
    of_users("PUT /chat/Dialog/*/notifications", "/chat/Dialog/{dialog}/notifications.json", "enabled=0", OTHERS, 200),
    of_users("POST /chat/Dialogs/add_occupants", "/chat/Dialogs/add_occupants.json", ADDED, NONE_OF_THEM, 200),
    of_users("POST /chat/Dialogs/remove_occupants", "/chat/Dialogs/remove_occupants.json", REMOVED, NONE_OF_THEM, 200),
    of_users("GET /chat/Message", "/chat/Message.json?chat_dialog_id={dialog}", "", OTHERS, 200),
    of_users("POST /chat/Message", "/chat/Message.json", "chat_dialog_id={dialog}&message=x", OTHERS, 201),
    of_users("PUT /chat/Message", "/chat/Message.json", "chat_dialog_id={dialog}&read=1", OTHERS, 200),
    of_users("PUT /chat/Message/", "/chat/Message/.json", "chat_dialog_id={dialog}&read=1", OTHERS, 200),
    of_users("GET /chat/Message/unread", "/chat/Message/unread.json?chat_dialog_ids={dialog}", "", OWN, 200),
    of_users("GET /chat/Message/*", "/chat/Message/{message}.json", "", UNFOUND, 200),
    of_users("PUT /chat/Message/*", "/chat/Message/{message}.json", "chat_dialog_id={dialog}&message=x", OTHERS, 200),
    of_users("DELETE /chat/Message/*", "/chat/Message/{message}.json?force=1", "", UNFOUND, 200),
    line(
        "GET /account_settings",
        "/account_settings.json",
        "{account key}",
        Who::Knowing {
            target: "/account_settings.json",
            body: "unknown",
            refused: Refused(422, r#"{"errors":{"base":["Account key is not valid"]}}"#),
            rightful: 200,
        },
    ),
    line("GET /admin/apps", "/admin/apps", "", Who::Operator(200)),
    line("POST /admin/apps", "/admin/apps", "name=third", Who::Operator(201)),
    line(
        "POST /admin/apps/#/users",
        "/admin/apps/1/users",
        "user[login]=newcomer&user[password]=password-newcomer",
        Who::Operator(201),
    ),
];

const ADDED: &str = r#"{"dialogs_ids":["{dialog}"],"users_ids":[3]}"#;
const REMOVED: &str = r#"{"dialogs_ids":["{dialog}"],"users_ids":[2]}"#;
const NONE_OF_THEM: [Said; 2] = [
    Refused(200, r#"{"SuccessfullyUpdated":{"ids":[]},"WrongPermissions":{"ids":["{dialog}"]},"NotFound":{"ids":[]}}"#),
    Refused(200, r#"{"SuccessfullyUpdated":{"ids":[]},"WrongPermissions":{"ids":[]},"NotFound":{"ids":["{dialog}"]}}"#),
];

/// Alice with a dialog that she has with Bob, and everybody who has no business there.
struct Stage {
    world: World,
    before: Stored,
    alice: String,
    bob: String,
    carol: String,
    zoe: String,
    app: String,
    /// Tokens that are none, and none any more.
    dead: Vec<String>,
    /// What stands for the words in braces.
    words: Vec<(&'static str, String)>,
}

/// What nobody but the two in the dialog may see.
const SECRET: &str = "under the rabbit hole";
const FOREIGN: &str = "a user of another app";
const ALICE: &str = "user[full_name]=Alice Liddell&user[email]=alice@example.com&user[tag_list]=wonder&\
    user[facebook_id]=71&user[twitter_id]=72&user[twitter_digits_id]=73&user[external_user_id]=77&user[phone]=%2B4912345678";

impl Stage {
    fn new() -> Stage {
        let mut world = World::new();
        world.create_app("second");
        for login in ["alice", "bob", "carol", "dora"] {
            world.sign_up(1, login);
        }
        world.sign_up(2, "zoe");
        let [old, ended] = [(); 2].map(|()| world.user_token(1, "alice"));
        world.call("PUT", "/users/1.json", &old, ALICE).expect(200);
        world.call("DELETE", "/session.json", &ended, "").expect(200);
        world.pass(Duration::from_secs(2 * 3600 + 61));
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|login| world.user_token(1, login));
        let (zoe, app) = (world.user_token(2, "zoe"), world.app_token(1));
        let body = format!(r#"{{"type":2,"name":"{SECRET}","occupants_ids":[2]}}"#);
        let dialog = id_of(&world.call("POST", "/chat/Dialog.json", &alice, &body).expect(201));
        let message = say(&mut world, &alice, &dialog);
        // There to be read, which changes something.
        say(&mut world, &bob, &dialog);
        let code = reset_code(&mut world, &app);
        world.pass(Duration::from_secs(50));
        let signed = world.signed(1, &["user[login]=alice", "user[password]=password-alice"]);
        let words = vec![
            ("{dialog}", dialog),
            ("{message}", message),
            ("{missigned}", signed.replace("user[login]=alice", "user[login]=bob")),
            ("{signed}", signed),
            ("{another code}", code.replace(&code[code.len() - 8..], "01234567")),
            ("{code}", code),
            ("{account key}", world.app(1).keys.account_key),
        ];
        let forged = format!("{}{}", &zoe[..8], &alice[8..]);
        let mut dead = vec![old, ended, forged, "f".repeat(4_000), "0".repeat(40), alice[..39].to_owned()];
        dead.extend(["junk", "%00", "' OR 1=1 --"].map(str::to_owned));
        let before = world.stored();
        Stage { world, before, alice, bob, carol, zoe, app, dead, words }
    }

    fn fill(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }

    /// Makes a call on the world as it was at first. What is no body but a key goes as a header.
    fn call(&mut self, call: &str, target: &str, body: &str, header: (&str, &str)) -> Reply {
        self.world.restore(&self.before);
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let (target, mut body) = (self.fill(target), self.fill(body));
        let kind = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        let key = if path == "/account_settings" { std::mem::take(&mut body) } else { String::new() };
        let headers: Vec<(&str, &str)> = [("Content-Type", kind), header, ("QB-Account-Key", &key)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        self.world.try_call(method, &target, &headers, &body).expect("no crash was asked for")
    }

    /// What Alice has, as she sees it, and Bob, who shares it with her.
    fn seen(&mut self) -> String {
        let tokens = [self.alice.clone(), self.bob.clone()];
        let mut seen = String::new();
        for (token, target) in tokens.iter().flat_map(|token| VIEWS.iter().map(move |target| (token, target))) {
            let target = self.fill(target);
            let reply = self.world.get(&target, token);
            seen.push_str(&format!("{target}: {} {}\n", reply.code, reply.text));
        }
        seen
    }

    /// Compares an answer with what it should be, and the world with what it was.
    fn check(&mut self, call: &str, who: &str, said: Said, reply: &Reply) {
        let what = format!("{call} by {who}: {} {}", reply.code, reply.text);
        assert!(!reply.text.contains(SECRET), "{what}: a secret is told");
        match said {
            Refused(code, words) => {
                let words = self.fill(words);
                let right = if words.starts_with('{') { reply.text == words } else { reply.text.contains(&words) };
                assert!(reply.code == code && right, "{what}: not {code} {words}");
                assert!(self.world.stored() == self.before, "{what}: and yet something changed");
            }
            Granted(code) => {
                assert_eq!(reply.code, code, "{what}");
                assert!(!reply.text.contains(&self.alice), "{what}: her token is told");
                assert!(who != FOREIGN || !reply.text.contains("lice"), "{what}: she is seen from another app");
            }
        }
        let seen = self.seen();
        self.world.restore(&self.before);
        for (seen, was) in seen.lines().zip(self.seen().lines()) {
            assert_eq!(seen, was, "{what}: what is Alice's is not as it was");
        }
    }

    /// The call of who may make it works, and changes something if that is what it is for: the others' can have failed for no other
    /// reason than who they are.
    fn check_rightful(&mut self, line: &Line, code: u16, header: (&str, &str)) {
        let reply = self.call(line.call, line.target, line.body, header);
        assert_eq!(reply.code, code, "{} by who may: {}", line.call, reply.text);
        let changed = self.world.stored() != self.before;
        let reads = line.call.starts_with("GET");
        assert!(reads || changed, "{} by who may changes nothing", line.call);
    }

    fn play(&mut self, line: &Line) {
        let dead = self.dead.clone();
        let callers = [
            ("the app", self.app.clone()),
            ("another user", self.carol.clone()),
            (FOREIGN, self.zoe.clone()),
            ("the user", self.alice.clone()),
        ];
        match line.who {
            Who::Session { app, other, foreign, rightful } => {
                let nobody = [(String::new(), TOKEN_REQUIRED)];
                let nobody = nobody.into_iter().chain(dead.into_iter().map(|token| (token, NO_SESSION)));
                for (token, said) in nobody {
                    let reply = self.call(line.call, line.target, line.body, ("QB-Token", &token));
                    self.check(line.call, &format!("the token {token:?}"), said, &reply);
                }
                for ((who, token), said) in callers.iter().zip([app, other, foreign]) {
                    let reply = self.call(line.call, line.target, line.body, ("QB-Token", token));
                    self.check(line.call, who, said, &reply);
                }
                self.check_rightful(line, rightful, ("QB-Token", &callers[3].1));
            }
            Who::Operator(rightful) => {
                for (who, token) in &callers {
                    for (name, value) in [("QB-Token", token.clone()), ("Authorization", format!("Bearer {token}"))] {
                        let reply = self.call(line.call, line.target, line.body, (name, &value));
                        self.check(line.call, who, OPERATOR_ONLY, &reply);
                    }
                }
                self.check_rightful(line, rightful, ("Authorization", &format!("Bearer {ADMIN_TOKEN}")));
            }
            Who::Knowing { target, body, refused, rightful } => {
                for token in dead.iter().chain([&String::new()]).chain(callers.iter().map(|(_, token)| token)) {
                    let reply = self.call(line.call, target, body, ("QB-Token", token));
                    self.check(line.call, &format!("the token {token:?}"), refused, &reply);
                    self.check_rightful(line, rightful, ("QB-Token", token));
                }
            }
        }
    }
}

const VIEWS: &[&str] = &[
    "/session.json",
    "/users/1.json",
    "/chat/Dialog.json",
    "/chat/Dialog/{dialog}/notifications.json",
    "/chat/Message/unread.json?chat_dialog_ids={dialog}",
    "/chat/Message.json?chat_dialog_id={dialog}&mark_as_read=0",
];

fn id_of(reply: &Reply) -> String {
    reply.at("/_id").as_str().expect("an id").to_owned()
}

fn say(world: &mut World, token: &str, dialog: &str) -> String {
    let body = format!(r#"{{"chat_dialog_id":"{dialog}","message":"{SECRET}"}}"#);
    id_of(&world.call("POST", "/chat/Message.json", token, &body).expect(201))
}

/// The code in the mail that Alice gets when she is said to have forgotten her password.
fn reset_code(world: &mut World, app: &str) -> String {
    world.get("/users/password/reset.json?email=alice@example.com", app).expect(200);
    let text = &world.mails.last().expect("a mail with a code").text;
    text.split("code=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a code").to_owned()
}

/// What a route is called in [`LINES`].
fn name_of(route: &Route) -> String {
    let segments = route.path.iter().map(|segment| match segment {
        Segment::Is(word) => word,
        Segment::Id => "#",
        Segment::Objects => "*",
    });
    let method = name(route.method).split(',').next().expect("a word");
    format!("{method} /{}", segments.collect::<Vec<_>>().join("/"))
}

#[test]
fn every_route_has_one_line_in_the_matrix() {
    let mut routes: Vec<String> = RESOURCES.iter().copied().flatten().map(name_of).collect();
    let mut lines: Vec<&str> = LINES.iter().map(|line| line.call).collect();
    routes.sort();
    lines.sort_unstable();
    for route in &routes {
        assert!(lines.contains(&route.as_str()), "say in LINES who may call {route}, and what all others are told");
    }
    assert_eq!(lines, routes);
}

#[test]
fn each_caller_is_told_what_the_matrix_says_and_who_is_refused_changes_nothing() {
    let mut stage = Stage::new();
    for line in LINES {
        stage.play(line);
    }
}

/// Files are beside the routes: no token opens a slot, and none is asked of who has its key.
#[test]
fn a_slot_is_opened_by_its_key_whoever_asks() {
    let mut stage = Stage::new();
    let (mine, file) = stage.world.slot(1, "a.png", 5, None);
    let (other, _) = stage.world.slot(1, "b.png", 5, None);
    let key = other.rsplit_once('-').expect("a key").1;
    let before = stage.world.stored();
    let with_token = format!("{file}?token={}", stage.alice);
    let callers = [String::new(), stage.app, stage.carol, stage.zoe, stage.alice];
    for token in callers.iter().chain(&stage.dead) {
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("QB-Token", token)] };
        for (target, code) in [
            (file.clone(), 404),
            (format!("{file}?1-1-{key}"), 404),
            (with_token.clone(), 404),
            (mine.replace("?1-1-", "?3-1-"), 404),
            (mine.replace("?1-1-", "?1-2-"), 404),
            (mine.clone(), 201),
            (mine.clone(), 409),
        ] {
            assert_eq!(stage.world.upload(&target, headers, b"hello").code, code, "{target} with {token:?}");
            assert!(
                code != 404 || stage.world.stored() == before,
                "{target} with {token:?}: and yet something changed"
            );
        }
        stage.world.restore(&before);
    }
}
