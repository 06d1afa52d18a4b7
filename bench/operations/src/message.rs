//! A message between two users, from the client's bytes to the recipient's session, with every extension and with none.

use std::hint::black_box;

use proto::account::{Account, Progress};
use proto::effect::{Effect, Effects, SessionId, Site, Turn};
use proto::ext::CHAIN;
use proto::ext::chain::Chain;
use proto::jid::FullJid;
use proto::jid::user::{AppId, UserId};
use proto::limits::Limits;
use proto::model::account::{AccountRow, Card, FIRST_SECRET};
use proto::owner::{AccountId, Owner};
use proto::row::{Found, Read, Rows, encode};
use proto::sasl::credentials::{Credentials, ITERATIONS};
use proto::time::{Now, Timestamp};
use proto::xml::{self, Context, Nodes};

use crate::stored::Zeros;
use crate::{Operation, keep};

const SESSION: SessionId = SessionId(1);

/// What people send: 200 bytes.
const PLAIN: &str = "<message to=\"2-1@localhost\" type=\"chat\" id=\"54789d5e6df5e6f921b7acda\"><body>Hello, how are you? \
    Shall we meet at the old mill at seven, or is that too early for you and the others today?</body></message>";

/// The same from a client that also says what it does, and wants a receipt: none of it concerns the server.
const USUAL: &str = "<message to=\"2-1@localhost\" type=\"chat\" id=\"54789d5e6df5e6f921b7acda\"><body>Hello, how are you?</body>\
    <active xmlns=\"http://jabber.org/protocol/chatstates\"/><request xmlns=\"urn:xmpp:receipts\"/>\
    <origin-id xmlns=\"urn:xmpp:sid:0\" id=\"54789d5e6df5e6f921b7acda\"/></message>";

pub(super) fn add(all: &mut Vec<Operation>) {
    for (name, stanza) in [("plain", PLAIN), ("usual", USUAL)] {
        for (extensions, chain) in [("no-extension", &Chain::NONE), ("every-extension", &CHAIN)] {
            all.push(Operation::new(format!("message/{name}/{extensions}"), move || {
                let mut pair = Pair::new(chain);
                move || keep(pair.route(black_box(stanza.as_bytes())))
            }));
        }
    }
}

/// An account that exists and has nothing, with one available resource.
fn account(user: u64, site: &Site, out: &mut Effects) -> Account {
    let id = AccountId { app: AppId(1), user: UserId(user) };
    let card = Card { version: 1, login: None, full_name: None, created_at: Timestamp::default() };
    let credentials = Credentials::without_password([0; 16], ITERATIONS);
    let row = AccountRow { credentials, secret_version: FIRST_SECRET, card };
    let reads = Account::load_reads(id);
    let found = reads.0.iter().enumerate().map(|(at, read)| match read {
        Read::Get(..) => Found::Row((at == 0).then(|| encode(1, &row))),
        Read::Scan { .. } => Found::Page(Vec::new()),
    });
    let mut account = Account::load(id, "localhost", Rows::new(found.collect())).expect("rows that were just written");
    let jid = FullJid::parse(&format!("{id}@localhost/bench")).expect("an address");
    turn(site, out, |turn| account.bind(SESSION, &jid, true, turn)).expect("there is room");
    let mut nodes = Nodes::new();
    let presence = nodes.parse(b"<presence/>", &Context::CLIENT, &xml::Limits::STANZA).expect("a stanza");
    turn(site, out, |turn| account.stanza(SESSION, presence, None, turn)).expect("nothing wrong with it");
    out.drain();
    account
}

fn turn<T>(site: &Site, out: &mut Effects, act: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    act(&mut Turn { now: Now::default(), site, random: &mut Zeros, out })
}

/// Both accounts, and what lies between them.
struct Pair {
    site: Site,
    sender: Account,
    recipient: Account,
    nodes: Nodes,
    out: Effects,
    limits: xml::Limits,
}

impl Pair {
    fn new(chain: &'static Chain) -> Pair {
        let site = Site { chain, ..Site::of("localhost") };
        let mut out = Effects::new();
        let sender = account(1, &site, &mut out);
        let recipient = account(2, &site, &mut out);
        let limits = Limits::default();
        let limits = xml::Limits { element_bytes_max: limits.stanza_bytes_max, ..xml::Limits::STANZA };
        Pair { site, sender, recipient, nodes: Nodes::new(), out, limits }
    }

    /// From the client's bytes to the recipient's session.
    fn route(&mut self, stanza: &[u8]) -> usize {
        let element = self.nodes.parse(stanza, &Context::CLIENT, &self.limits).expect("a stanza");
        let taken = turn(&self.site, &mut self.out, |turn| self.sender.stanza(SESSION, element, None, turn));
        assert!(matches!(taken, Ok(Progress::Done)), "no rows are needed");
        let sent: Vec<Effect> = self.out.drain().collect();
        for effect in sent {
            let Effect::Send(Owner::Account(_), note) = effect else { panic!("a message is sent: {effect:?}") };
            turn(&self.site, &mut self.out, |turn| self.recipient.note(note, Rows::default(), turn)).expect("no rows");
        }
        let given = self.out.drain().map(|effect| match effect {
            Effect::Entrust(_, message) => message.stanza.len(),
            other => panic!("a message is given out: {other:?}"),
        });
        given.sum()
    }
}
