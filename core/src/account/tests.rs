//! The order of effects, which is the promise of durability: what a client or another account is told follows the write.

use super::*;
use crate::effect::{Effects, Random};
use crate::ext::chain::Look;
use crate::jid::Jid;
use crate::jid::user::{AppId, UserId};
use crate::model::account::{Card, FIRST_SECRET};
use crate::row::{Found, encode};
use crate::sasl::credentials::{Credentials, ITERATIONS};
use crate::sasl::{ClientId, HashedToken, Seed};
use crate::stanza::{Kind, MessageKind, Parcel, Way};
use crate::stream::{Binding, Entered, Entry, Shown};
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

/// RFC 6121 §2.5.1: both directions end, and a crash between the two must not leave the contact with one.
#[test]
fn a_contact_who_is_taken_out_loses_all_or_nothing() {
    let mut account = connected();
    says(&mut account, "<presence type='subscribe' to='2-1@localhost'/>");
    says(&mut account, "<presence type='subscribed' to='2-1@localhost'/>");
    let step = record::Subscription {
        from: "2-1@localhost".to_owned(),
        kind: record::SubscriptionKind::Subscribe,
        stanza: b"<presence from='2-1@localhost' to='1-1@localhost' type='subscribe'/>".to_vec(),
    };
    let command = Command::Account(record::Command::Subscription(step));
    let note = Note::Command { command, reply: None, job: None };
    turn(&mut Effects::new(), |turn| account.note(note, Rows::default(), turn)).expect("no rows are needed");
    let out = says(
        &mut account,
        "<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='2-1@localhost' subscription='remove'/></query></iq>",
    );
    let writes = out.iter().filter(|effect| matches!(effect, Effect::Write(_))).count();
    let steps = out.iter().filter(|effect| matches!(effect, Effect::Send(_, Note::Command { job: Some(_), .. })));
    assert_eq!((writes, steps.count()), (1, 2), "{out:?}");
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

/// A wish to come in, with a resource and what is to be switched on for it.
fn entry(resource: &str, inline: &str) -> Entry {
    let request = format!("<bind xmlns='urn:xmpp:bind:0'>{inline}</bind>").into_bytes();
    let jid = FullJid::parse(&format!("1-1@localhost/{resource}")).expect("a full one");
    Entry {
        secret_version: Some(FIRST_SECRET),
        client: Some(ClientId::unnamed([1; 16])),
        shown: None,
        wanted: None,
        fresh: Seed::new([2; 16]),
        bind: Some(Binding { jid, request: request.into(), replaceable: true, archive: Box::default() }),
    }
}

fn enters(account: &mut Account, session: u64, entry: &Entry) -> (Result<Entered, Condition>, Vec<Effect>) {
    let mut out = Effects::new();
    let reads = account.plan_entry(entry);
    let rows = Rows::new(reads.0.iter().map(|_| Found::Page(Vec::new())).collect());
    let entered = turn(&mut out, |turn| account.enter(SessionId(session), entry, rows, turn));
    (entered.expect("there are no rows"), out.drain().collect())
}

#[test]
fn a_client_comes_in_with_its_resource_and_what_it_needs() {
    let mut account = account();
    let inline = "<enable xmlns='urn:xmpp:carbons:2'/><inactive xmlns='urn:xmpp:csi:0'/><enable xmlns='urn:xmpp:sm:3'/>\
                  <enable xmlns='urn:xmpp:sm:3'/><enable xmlns='urn:unknown'/>";
    let (entered, out) = enters(&mut account, 7, &entry("x/part", inline));
    let entered = entered.expect("there is room");
    assert_eq!(entered.jid.as_ref().map(FullJid::as_str), Some("1-1@localhost/x/part"));
    assert_eq!(str::from_utf8(&entered.bound), Ok("<enabled xmlns=\"urn:xmpp:sm:3\"/>"), "once");
    assert_eq!(entered.done, [ns::SM], "what else there is can be used again");
    let heard = "what the session would hear stands in the answer";
    assert!(matches!(out[..], [Effect::Guard(SessionId(7), true)]), "{heard}: {out:?}");
    let session = account.session(SessionId(7)).expect("it is bound");
    assert!(session.carbons && session.held.is_some() && session.acks.is_some());

    // What is known of the archive stands in front.
    let mut knowing = entry("z/other", inline);
    let metadata = b"<metadata xmlns=\"urn:xmpp:mam:2\"/>";
    knowing.bind.as_mut().expect("a resource").archive = Box::new(*metadata);
    let (entered, _) = enters(&mut account, 9, &knowing);
    assert!(entered.expect("there is room").bound.starts_with(metadata));

    // The same for a session that can be resumed, where the shard has to keep what is sent.
    let inline = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
    let (entered, out) = enters(&mut account, 8, &Entry { client: None, ..entry("y", inline) });
    let entered = entered.expect("there is room");
    let bound = String::from_utf8(entered.bound).expect("text");
    assert!(bound.starts_with("<enabled xmlns=\"urn:xmpp:sm:3\" id=\"") && entered.tracked, "{bound}");
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn a_token_is_written_and_a_refusal_changes_nothing() {
    let mut account = account();
    let wish = Entry { wanted: Some(HashedToken::Unbound), ..entry("a/part", "") };
    let (entered, out) = enters(&mut account, 1, &wish);
    let entered = entered.expect("there is room");
    assert!(entered.token_until.is_some() && entered.secret_version == Some(FIRST_SECRET));
    assert!(matches!(out[..], [Effect::Write(_)]), "{out:?}");

    let gone = Shown { seed: Seed::new([9; 16]), count: None, invalidate: false };
    let stale = Entry { secret_version: Some(FIRST_SECRET + 1), ..wish.clone() };
    let unknown = Entry { secret_version: None, shown: Some(gone), ..wish.clone() };
    for refused in [stale, unknown] {
        let (entered, out) = enters(&mut account, 2, &refused);
        assert_eq!((entered, out.len()), (Err(Condition::NotAuthorized), 0));
    }
    for session in 1..crate::limits::RESOURCES_MAX as u64 {
        let other = Entry { client: None, ..entry(&format!("a/{session}"), "") };
        enters(&mut account, 10 + session, &other).0.expect("there is room");
    }
    let (entered, out) =
        enters(&mut account, 99, &Entry { client: None, ..Entry { bind: entry("z", "").bind, ..wish.clone() } });
    assert_eq!((entered, out.len()), (Err(Condition::NotAuthorized), 0), "a token needs a client");
    let more = Entry { client: Some(ClientId::unnamed([3; 16])), bind: entry("z", "").bind, ..wish };
    assert_eq!(enters(&mut account, 99, &more).0, Err(Condition::ResourceConstraint));
    assert_eq!(account.sessions().len(), crate::limits::RESOURCES_MAX);
}

// XEP-0386 §3.2
#[test]
fn the_same_installation_takes_its_own_place() {
    let mut account = account();
    enters(&mut account, 1, &entry("old/part", "")).0.expect("there is room");
    enters(&mut account, 2, &entry("old/other", "")).0.expect("there is room");
    let (entered, out) = enters(&mut account, 3, &entry("new/part", ""));
    assert!(entered.is_ok());
    assert!(matches!(out[..], [Effect::End(SessionId(1), Ending::Conflict)]), "{out:?}");
    // Who does not say which it is takes nobody's place but that of its very address.
    enters(&mut account, 4, &Entry { client: None, ..entry("newer/part", "") }).0.expect("there is room");
    assert_eq!(account.sessions().iter().map(|session| session.id().0).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn a_new_password_ends_all_tokens() {
    let mut account = account();
    let mut revised = || {
        let card = Card { version: 2, login: None, full_name: None, created_at: Timestamp::default() };
        let secret = Some((FIRST_SECRET + 1, Credentials::without_password([1; 16], ITERATIONS)));
        let command = record::RecordCommand::Revise { card, secret }.into();
        let mut out = Effects::new();
        let note = Note::Command { command, reply: None, job: None };
        turn(&mut out, |turn| account.note(note, Rows::default(), turn)).expect("no rows are read");
        out
    };
    let tables: Vec<&str> = revised().as_slice().iter().filter_map(written).collect();
    assert_eq!(tables, ["fast_tokens", "users"], "in this order");
    // The same again, as a job may bring it, wipes nothing that was given since.
    assert!(revised().is_empty());
}

/// The table that a batch changes first.
fn written(effect: &Effect) -> Option<&'static str> {
    use crate::row::Change;
    let Effect::Write(batch) = effect else { return None };
    batch.0.first().map(|change| match change {
        Change::Put(table, ..) | Change::Delete(table, _) | Change::DeleteRange(table, _) => table.name(),
    })
}
