//! Every HTTP request of a BOSH session is answered once, in order, with every element; whatever client and clock do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proto::bosh::{Answer, HOLD_MAX, Request, RequestId, Session, Terminal};
use proto::jid::Domain;
use proto::limits::Limits;
use proto::ns;
use proto::time::Instant;
use proto::xml::{self, Context, Element, Nodes};

/// Room for an answer's own attributes; its elements are bounded by the host.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The biggest element that the server says here.
const BIG_BYTES: usize = 40 * 1024;
/// Operations after which a session is old enough.
const OPERATIONS_MAX: usize = 400;

/// Attributes and content of requests; the numbers in the input choose among these.
const REQUESTS: &[(&str, &str)] = &[
    ("", ""),
    ("", "<message xmlns='jabber:client' to='55-92@localhost' type='chat'><body>x</body></message>"),
    ("", "<presence/><iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"),
    (" type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>"),
    (" xmpp:restart='true' to='localhost' xml:lang='en'", ""),
    (" pause='60'", ""),
    (" pause='120'", "<message><body>y</body></message>"),
    (" pause='121'", ""),
    (" key='k' newkey='n'", "<x:message xmlns:x='jabber:client'/>"),
    (" pause='0'", ""),
    (" xmpp:restart='maybe'", ""),
    (" type='error'", ""),
];

/// One HTTP body, if the input begins with `<`. Otherwise a session: what its first request asks for, then operations.
pub fn run(data: &[u8]) {
    match data {
        [] => {}
        [b'<', ..] => one_body(data),
        [wait, hold, operations @ ..] => walk(*wait, *hold, operations),
        [_] => {}
    }
}

/// Whatever a body holds is taken out of it with its meaning.
fn one_body(data: &[u8]) {
    let limits = Limits::default();
    let request = match Request::parse(data, &limits, &mut Nodes::new()) {
        Ok(request) => request,
        Err(terminal) => return check_terminal(terminal),
    };
    let mut nodes = Nodes::new();
    let wide = xml::Limits { element_bytes_max: limits.body_bytes_max, depth_max: 100, ..xml::Limits::STANZA };
    let bytes = xml::framer::only_element(data, &wide).expect("it was read before");
    let body = nodes.parse(bytes, &Context::ALONE, &wide).expect("it was read before");
    let Some(domain) = body.attr("to").and_then(|to| Domain::parse(&to).ok()) else { return };
    let mut session = match Session::open(Instant::START, RequestId(0), request, "sid", &domain) {
        Ok(session) => session,
        Err(terminal) => return check_terminal(terminal),
    };
    let mut messages = std::iter::from_fn(|| session.message());
    let open = messages.next().expect("a session opens a stream");
    parsed(&open, |open| {
        assert!(proto::websocket::is_open(open));
        assert_eq!(open.attr("to"), body.attr("to"));
        assert_eq!(open.lang(), body.lang());
    });
    for child in body.children() {
        let message = messages.next().expect("each child is a message");
        parsed(&message, |message| assert_same(child, message, true));
    }
    assert!(messages.next().is_none());
}

/// `message` is `child`, where `jabber:client` stands for the namespace that old clients forget to leave.
fn assert_same(child: Element<'_>, message: Element<'_>, forgot: bool) {
    let forgot = forgot && !child.declares().any(|(prefix, _)| prefix.is_empty());
    let renamed = forgot && child.prefix().is_empty() && child.ns() == ns::BOSH;
    let expected = if renamed { ns::CLIENT } else { child.ns() };
    assert_eq!((message.name(), message.ns()), (child.name(), expected));
    let attributes = |element: Element<'_>| -> BTreeMap<(String, String), String> {
        element.attrs().map(|a| ((a.ns.to_owned(), a.name.to_owned()), a.value().into_owned())).collect()
    };
    assert_eq!(attributes(message), attributes(child));
    assert_eq!(message.text(), child.text());
    assert_eq!(message.children().count(), child.children().count());
    for (child, message) in child.children().zip(message.children()) {
        assert_same(child, message, forgot);
    }
}

fn parsed(bytes: &[u8], check: impl FnOnce(Element<'_>)) {
    // A child may be as long as its body and have what the body declared on top of its own.
    let limits = xml::Limits {
        element_bytes_max: 1 << 24,
        attributes_max: 1 << 10,
        prefixes_max: 1 << 10,
        depth_max: 1 << 10,
        attribute_bytes_max: 1 << 20,
        name_bytes_max: 1 << 12,
    };
    let mut nodes = Nodes::new();
    check(nodes.parse(bytes, &Context::ALONE, &limits).expect("what is handed on is XML that stands alone"));
}

fn check_terminal(terminal: Terminal) {
    parsed(&terminal.body(), |body| {
        assert!(body.is("body", ns::BOSH));
        assert_eq!(body.attr("type").as_deref(), Some("terminate"));
    });
}

fn body(rid: u64, attributes: &str, content: &str) -> String {
    format!("<body rid='{rid}' sid='sid'{attributes} xmlns='{}' xmlns:xmpp='{}'>{content}</body>", ns::BOSH, ns::XBOSH)
}

fn walk(wait: u8, hold: u8, operations: &[u8]) {
    let domain = Domain::parse("localhost").expect("localhost is a domain");
    let asked = format!(" to='localhost' wait='{wait}' hold='{hold}' ver='1.{wait}'");
    let first = body(FIRST_RID, &asked, "");
    let first = Request::parse(first.as_bytes(), &Limits::default(), &mut Nodes::new()).expect("it is well made");
    let session = Session::open(Instant::START, RequestId(FIRST_RID), first, "sid", &domain).expect("so it opens");
    let mut walk = Walk::new(session);
    walk.settle();
    let mut operations = Operations(operations);
    for _ in 0..OPERATIONS_MAX {
        let Some(operation) = operations.byte() else { break };
        if walk.session.is_over() {
            break;
        }
        walk.operate(operation, &mut operations);
        walk.settle();
    }
    walk.end();
}

const FIRST_RID: u64 = 1000;

struct Operations<'d>(&'d [u8]);

impl Operations<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn text(&mut self, length: usize) -> String {
        let (text, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// A session and what is known about it from outside.
struct Walk {
    session: Session,
    now: Instant,
    /// The rid that an honest client would use next.
    rid: u64,
    /// The host's name for the next HTTP request.
    id: u64,
    /// Requests without an answer, and their rids.
    waiting: BTreeMap<u64, u64>,
    /// The answers given by rid; nothing for a request that was hung up on.
    given: BTreeMap<u64, Option<Bytes>>,
    /// Elements are numbered: how many the server has said, and which of them an answer has brought.
    said: u64,
    brought: BTreeSet<u64>,
}

impl Walk {
    fn new(session: Session) -> Walk {
        Walk {
            session,
            now: Instant::START,
            rid: FIRST_RID + 1,
            id: FIRST_RID + 1,
            waiting: BTreeMap::from([(FIRST_RID, FIRST_RID)]),
            given: BTreeMap::new(),
            said: 0,
            brought: BTreeSet::new(),
        }
    }

    fn operate(&mut self, operation: u8, operations: &mut Operations<'_>) {
        match operation {
            0x00..0x60 => {
                let (attributes, content) = REQUESTS[usize::from(operation) % REQUESTS.len()];
                self.request(self.rid, attributes, content);
            }
            // Before its turn, after it, and far from both.
            0x60..0x80 => {
                let rid = self.rid.saturating_add_signed(i64::from(operation & 15) - 8);
                let far = if operation & 16 == 0 { 0 } else { 1 << 40 };
                let (attributes, content) = REQUESTS[usize::from(operations.byte().unwrap_or(0)) % REQUESTS.len()];
                self.request(rid + far, attributes, content);
            }
            0x80..0xa0 => {
                let content = operations.text(4 * usize::from(operation - 0x7f));
                self.request(self.rid, "", &content);
            }
            0xa0..0xc0 => self.say(if operation & 7 == 0 { BIG_BYTES } else { usize::from(operation) }),
            0xc0..0xd8 => self.now = self.now + Duration::from_secs(u64::from(operation - 0xc0).pow(2) / 2),
            0xd8..0xf0 => {
                let at = usize::from(operation - 0xd8);
                if let Some((&id, &rid)) = self.waiting.iter().nth(at) {
                    self.waiting.remove(&id);
                    self.session.dropped(self.now, RequestId(id));
                    self.given.entry(rid).or_insert(None);
                }
            }
            0xf0..0xfc => self.now = self.now + Duration::from_millis(1),
            0xfc..0xfe => self.session.end(),
            0xfe..=0xff => {
                self.session.push(b"<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>");
                self.session.end();
            }
        }
    }

    fn request(&mut self, rid: u64, attributes: &str, content: &str) {
        let text = body(rid, attributes, content);
        match Request::parse(text.as_bytes(), &Limits::default(), &mut Nodes::new()) {
            Ok(request) => {
                assert_eq!(request.sid(), Some("sid"));
                self.waiting.insert(self.id, rid);
                self.session.request(self.now, RequestId(self.id), request);
                self.id += 1;
                self.rid = self.rid.max(rid.min(self.rid) + 1);
            }
            Err(terminal) => check_terminal(terminal),
        }
    }

    fn say(&mut self, bytes: usize) {
        let element =
            format!("<message xmlns='jabber:client' id='{}'><body>{}</body></message>", self.said, "x".repeat(bytes));
        self.session.push(element.as_bytes());
        self.said += 1;
    }

    /// What a host does after each input: the messages to the stream, the answers to their requests.
    fn settle(&mut self) {
        while let Some(message) = self.session.message() {
            parsed(&message, |_| ());
        }
        while let Some(answer) = self.session.poll(self.now) {
            self.answered(answer);
        }
        let mut waiting: Vec<u64> = self.session.requests_waiting().map(|id| id.0).collect();
        waiting.sort_unstable();
        assert!(waiting.iter().eq(self.waiting.keys()), "{waiting:?} wait, of {:?}", self.waiting);
        assert!(waiting.len() as u64 <= 2 * HOLD_MAX + 1);
        if self.session.is_over() {
            assert!(waiting.is_empty());
        } else {
            let (deadline, _) = self.session.deadline().expect("a session does not live for ever");
            assert!(deadline > self.now, "what is due was done");
        }
    }

    fn answered(&mut self, answer: Answer) {
        let rid = self.waiting.remove(&answer.request.0).expect("it is the answer to a request that waits");
        assert!(answer.body.len() <= ANSWER_BYTES_MAX || answer.body.len() <= BIG_BYTES * (self.said as usize + 1));
        let mut numbers = Vec::new();
        let mut ordinary = true;
        parsed(&answer.body, |body| {
            assert!(body.is("body", ns::BOSH));
            ordinary = body.attr("type").is_none();
            let ids = body.children().filter_map(|child| child.attr("id"));
            numbers.extend(ids.map(|id| id.parse::<u64>().expect("elements are numbered")));
        });
        if let Some(given) = self.given.get(&rid) {
            // The same again for a client that lost it, or a word about why not.
            assert!(!ordinary || given.as_ref().is_none_or(|given| *given == answer.body));
            return;
        }
        if ordinary {
            // Of those that were hung up on nothing is known.
            let last = self.given.iter().rev().find(|(_, given)| given.is_some());
            let in_order = last.is_none_or(|(&last, _)| last < rid);
            assert!(in_order, "requests are answered in the order of their rids");
            self.given.insert(rid, Some(answer.body));
        }
        for number in numbers {
            assert!(self.brought.last().map_or(number == 0, |&last| number == last + 1), "elements keep their order");
            self.brought.insert(number);
        }
    }

    /// The client falls silent: all that is owed comes, nothing is lost, and the session ends.
    fn end(mut self) {
        while let Some((deadline, _)) = self.session.deadline().filter(|_| !self.session.is_over()) {
            self.now = deadline;
            self.settle();
        }
        assert!(self.session.is_over() && self.waiting.is_empty());
        for element in self.session.undelivered() {
            parsed(element, |element| {
                let id = element.attr("id").expect("elements are numbered");
                self.brought.insert(id.parse().expect("elements are numbered"));
            });
        }
        assert_eq!(self.brought.len() as u64, self.said, "every element was brought, or is handed back");
    }
}
