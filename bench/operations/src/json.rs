//! JSON as the API reads and writes it.

use std::hint::black_box;

use bytes::Bytes;
use proto::effect::Site;
use proto::jid::object::ObjectId;
use proto::model::directory::sessions::{self, SessionRow};
use proto::model::token::Token;
use proto::owner::Owner;
use proto::row::{Batch, Key, encode};
use proto::time::{Instant, Now, Timestamp};
use rest::flow::{Moment, Step};
use rest::http::{Response, Status};
use rest::params::Params;
use rest::route;
use rest::settings::Settings;

use crate::http::{BODY, GET, cut};
use crate::stored::{self, APP, Drawer, START_SECS, VIEWER, Zeros};
use crate::{Operation, keep};

const TOKEN: &str = "0000000100112233445566778899aabbccddeeff";
const MESSAGES: u64 = 100;

pub(super) fn add(all: &mut Vec<Operation>) {
    let decode = || {
        let body = Bytes::from_static(BODY.as_bytes());
        move || keep(Params::from_parts("", Some("application/json"), black_box(&body)).expect("a form"))
    };
    all.push(Operation::new("json/decode/message", decode).of_bytes(BODY.len()));
    let page = || {
        let api = Api::new();
        move || {
            let answer = api.ask(GET);
            assert_eq!(answer.status(), Status::Ok);
            keep(answer);
        }
    };
    let bytes = Api::new().ask(GET).body().len();
    all.push(Operation::new("json/encode/page-of-100", page).of_parts(MESSAGES).of_bytes(bytes));
}

/// The API over one dialog in memory, with one user logged in.
struct Api {
    drawer: Drawer,
    site: Site,
    settings: Settings,
}

impl Api {
    fn new() -> Api {
        let mut drawer = Drawer::default();
        let id = stored::dialog(1, 2, MESSAGES, |batch| drawer.commit(batch));
        assert!(GET.contains(&id.to_string()), "the request is for dialog {id}");
        drawer.commit(session());
        let settings = Settings {
            api_endpoint: "https://api.example.com:8443".to_owned(),
            chat_endpoint: "chat.example.com".to_owned(),
            turnserver_endpoint: "turn.example.com".to_owned(),
            s3_bucket_name: "files".to_owned(),
            admin_token: None,
        };
        Api { drawer, site: Site::of("chat.example.com"), settings }
    }

    /// From the request's bytes to the answer: the route, the session, the rows and their JSON.
    fn ask(&self, request: &str) -> Response {
        let now = Now { instant: Instant::START, stamp: Timestamp::from_secs(START_SECS) };
        let mut moment = Moment { now, site: &self.site, settings: &self.settings, random: &mut Zeros };
        let mut step = route::start(cut(black_box(request.as_bytes())), &mut moment);
        loop {
            step = match step {
                Step::Done(response) => return response,
                Step::Read(reads, then) => then(self.drawer.read(&reads), &mut moment),
                _ => panic!("reading a page asks nobody"),
            };
        }
    }
}

/// The session that the requests name.
fn session() -> Batch {
    let token = Token::parse(TOKEN).expect("a token");
    let at = Timestamp::from_secs(START_SECS);
    let row = SessionRow {
        id: 1,
        object: ObjectId::new(START_SECS as u32, [0; 5], 1),
        user: Some(VIEWER),
        nonce: 1,
        timestamp: START_SECS,
        created_at: at,
        updated_at: at,
        touched_at: at,
    };
    let mut batch = Batch::default();
    let key = Key::of(&Owner::App(APP)).bytes(token.digest().as_bytes());
    batch.put(&sessions::SESSIONS, key, encode(1, &row));
    batch
}
