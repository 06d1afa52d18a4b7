//! HTTP requests as SDKs send them, cut out of the stream, and the answer's head.

use std::hint::black_box;

use proto::limits::Limits;
use proto::time::Instant;
use rest::http::{After, Connection, Request, Response, Status, Step};

use crate::{Operation, keep};

/// What the first of these asks for: a page of history.
pub(crate) const GET: &str = "GET /chat/Message.json?chat_dialog_id=6553f1000000000000000001&limit=100&mark_as_read=0 HTTP/1.1\r\n\
    Host: api.example.com:8443\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nConnection: Keep-Alive\r\n\
    User-Agent: okhttp/4.9.1\r\nQB-SDK: Android 4.1.1\r\nQB-OS: Android 13\r\nQuickBlox-REST-API-Version: 0.1.1\r\n\
    QB-Token: 0000000100112233445566778899aabbccddeeff\r\n\r\n";

/// A new message.
pub(crate) const BODY: &str = r#"{"chat_dialog_id":"6553f1000000000000000001","message":"Hello, how are you? \u00bfQu\u00e9 tal?","send_to_chat":1,"markable":1,"recipient_id":null,"attachments":[{"id":"47863","type":"image","url":"https://files.example.com/47863"}],"notification_type":"0"}"#;

pub(super) fn add(all: &mut Vec<Operation>) {
    for (name, request) in [("get", GET.to_owned()), ("post", post())] {
        let bytes = request.len();
        let source = request.clone();
        let cut = move || {
            let request = source.clone();
            move || keep(cut(black_box(request.as_bytes())))
        };
        all.push(Operation::new(format!("http/parse/{name}"), cut).of_bytes(bytes));
        let serve = move || {
            let (request, mut serving) = (request.clone(), Serving::new());
            move || serving.answers(black_box(request.as_bytes()))
        };
        all.push(Operation::new(format!("http/parse+answer/{name}"), serve).of_bytes(bytes));
    }
}

fn post() -> String {
    format!(
        "POST /chat/Message.json HTTP/1.1\r\nHost: api.example.com:8443\r\nContent-Type: application/json\r\n\
         QB-Token: 0000000100112233445566778899aabbccddeeff\r\nQB-SDK: JS 2.17.0\r\nOrigin: https://app.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: */*\r\n\
         Content-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// The request in these bytes, on a connection of its own.
pub(crate) fn cut(bytes: &[u8]) -> Request {
    let mut out = Vec::new();
    match Connection::new(Instant::START).feed(Instant::START, bytes, &Limits::default(), &mut out) {
        Step::Request(request) => *request,
        other => panic!("a request: {other:?}"),
    }
}

/// A connection that is kept, and the answer it gets each time.
struct Serving {
    connection: Connection,
    limits: Limits,
    response: Response,
    out: Vec<u8>,
}

impl Serving {
    fn new() -> Serving {
        Serving {
            connection: Connection::new(Instant::START),
            limits: Limits::default(),
            response: Response::json_bytes(Status::Ok, r#"{"total":0}"#),
            out: Vec::new(),
        }
    }

    fn answers(&mut self, request: &[u8]) {
        self.out.clear();
        let step = self.connection.feed(Instant::START, request, &self.limits, &mut self.out);
        assert!(matches!(step, Step::Request(_)), "a request: {step:?}");
        let after = self.connection.respond(Instant::START, &self.response, &mut self.out);
        assert_eq!(after, After::KeepAlive);
        keep(self.out.len());
    }
}
