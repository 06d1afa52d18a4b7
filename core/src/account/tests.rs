//! The order of effects, which is the promise of durability: what a client or another account is told follows the write.

use super::*;
use crate::effect::{Effects, Random};
use crate::ext::chain::Look;
use crate::jid::Jid;
use crate::jid::user::{AppId, UserId};
use crate::model::account::{Card, FIRST_SECRET};
use crate::row::{Found, encode};
use crate::sasl::credentials::{Credentials, ITERATIONS};
use crate::stanza::{Kind, MessageKind, Parcel, Way};
use crate::time::{Instant, Now, Timestamp};
use crate::xml::{Context, Nodes};

const ME: AccountId = AccountId { app: AppId(1), user: UserId(1) };
const SESSION: SessionId = SessionId(1);

struct NoChance;

impl Random for NoChance {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// The account of user 1, who exists and has nothing.
fn account() -> Account {
    let card = Card { version: 1, login: None, full_name: None, created_at: Timestamp::default() };
    let credentials = Credentials::without_password([0; 16], ITERATIONS);
    let row = AccountRow { credentials, secret_version: FIRST_SECRET, card };
    let reads = Account::load_reads(ME);
    let found = reads.0.iter().enumerate().map(|(at, read)| match read {
        crate::row::Read::Get(..) => Found::Row((at == 0).then(|| encode(1, &row))),
        crate::row::Read::Scan { .. } => Found::Page(Vec::new()),
    });
    Account::load(ME, "localhost", Rows::new(found.collect())).expect("rows that were just written")
}

fn turn<T>(out: &mut Effects, act: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let site = Site::of("localhost");
    let now = Now { instant: Instant::START, stamp: Timestamp::from_secs(1_458_752_442) };
    act(&mut Turn { now, site: &site, random: &mut NoChance, out })
}

/// What becomes of a stanza that the account's only session sends.
fn says(account: &mut Account, xml: &str) -> Vec<Effect> {
    let mut out = Effects::new();
    let mut nodes = Nodes::new();
    let stanza = nodes.parse(xml.as_bytes(), &Context::CLIENT, &crate::xml::Limits::STANZA).expect("a stanza");
    let progress = turn(&mut out, |turn| account.stanza(SESSION, stanza, None, turn)).expect("nothing wrong with it");
    assert!(matches!(progress, Progress::Done));
    out.drain().collect()
}

fn connected() -> Account {
    let mut account = account();
    let jid = Jid::parse("1-1@localhost/a").expect("a JID").to_full().expect("a full one");
    turn(&mut Effects::new(), |turn| account.bind(SESSION, &jid, true, turn)).expect("there is room");
    account
}

#[test]
fn a_roster_change_is_written_before_anybody_hears_of_it() {
    let mut account = connected();
    says(&mut account, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>");
    let out = says(
        &mut account,
        "<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='2-1@localhost'/></query></iq>",
    );
    assert!(matches!(out[..], [Effect::Write(_), Effect::Deliver(..), Effect::Deliver(..)]), "{out:?}");
}

#[test]
fn a_subscription_is_written_with_its_job_before_it_goes_out() {
    let mut account = connected();
    let out = says(&mut account, "<presence type='subscribe' to='2-1@localhost'/>");
    let [Effect::Write(batch), Effect::Send(_, Note::Command { job: Some(_), .. })] = &out[..] else {
        panic!("{out:?}");
    };
    let tables: Vec<_> = batch.0.iter().map(|change| format!("{change:?}")).collect();
    assert!(tables.iter().any(|change| change.contains("jobs")), "{tables:?}");
    assert!(tables.iter().any(|change| change.contains("roster")), "{tables:?}");
}

#[test]
fn a_message_that_waits_is_written_before_it_counts_as_taken_care_of() {
    let mut account = account();
    let receipt = Receipt { account: AccountId { app: AppId(1), user: UserId(2) }, session: SESSION, seq: 1 };
    let parcel = Parcel {
        from: Sender { jid: "2-1@localhost/b".into(), account: Some(receipt.account) },
        resource: None,
        kind: Kind::Message { kind: MessageKind::Chat, lasting: true },
        stanza: Bytes::from_static(b"<message type='chat' to='1-1@localhost'><body>x</body></message>"),
        receipt: Some(receipt),
        way: Way::Straight,
        copied: false,
        look: Look::default(),
        topic: None,
    };
    let mut out = Effects::new();
    turn(&mut out, |turn| account.note(Note::Stanza(parcel), Rows::default(), turn)).expect("no rows are read");
    assert!(
        matches!(out.as_slice(), [Effect::Write(_), Effect::Send(_, Note::Handled { seq: 1, .. })]),
        "{:?}",
        out.as_slice()
    );
}

#[test]
fn a_job_is_confirmed_after_what_it_brought_is_written() {
    let mut account = account();
    let from = Owner::Account(AccountId { app: AppId(1), user: UserId(2) });
    let step = record::Subscription {
        from: "2-1@localhost".to_owned(),
        kind: record::SubscriptionKind::Subscribe,
        stanza: b"<presence type='subscribe' from='2-1@localhost' to='1-1@localhost'/>".to_vec(),
    };
    let note = Note::Command {
        command: Command::Account(record::Command::Subscription(step)),
        reply: None,
        job: Some(crate::effect::JobRef { from, id: 9 }),
    };
    let mut out = Effects::new();
    turn(&mut out, |turn| account.note(note, Rows::default(), turn)).expect("no rows are read");
    assert!(
        matches!(out.as_slice(), [Effect::Write(_), Effect::Send(to, Note::Confirmed(9))] if *to == from),
        "{:?}",
        out.as_slice()
    );
}
