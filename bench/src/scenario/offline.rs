//! `offline`: messages to users who are not there, then those users come. What does keeping a message cost, what does
//! fetching it cost, does each come once and in order?
//!
//! Phases: `login` (the recipients, before anything waits for them), `store`, `fetch` (their next login) and `again`
//! (one more, when nothing may come). A message counts as stored when the server has confirmed it to its sender. With
//! `--rate` the batches of `store` are sent at their times, the senders in turn, and the latency of a batch counts from
//! there to its confirmation; a sender whose last batch is not confirmed sends when it is.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Bench, Findings, Letter, RunError, answer, bring_up, is_answer_to, ping};
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, EngineError, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::ledger::Ledger;
use crate::report::{Meter, Phase, Progress};

/// Parameters of `offline`.
#[derive(Args, Clone)]
pub struct Offline {
    /// Users who send.
    #[arg(long, default_value_t = 10)]
    senders: usize,
    /// Users who are away.
    #[arg(long, default_value_t = 200)]
    recipients: usize,
    /// Messages for each of them.
    #[arg(long, default_value_t = 50)]
    messages: usize,
    /// Messages a sender sends before it waits for confirmation.
    #[arg(long, default_value_t = 20)]
    batch: usize,
    /// Messages a second to store, all senders together: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of the body.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// What confirms a batch.
    #[arg(long, value_enum, default_value_t = Confirm::Ping)]
    confirm: Confirm,
    /// Ask for the messages to be kept in the history, too.
    #[arg(long)]
    save: bool,
}

/// How a sender learns that the server has its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Confirm {
    /// The answer to a ping sent after them.
    Ping,
    /// Stream management (XEP-0198): `<r/>` and `<a/>`.
    Sm,
}

/// How long nothing may come before a fetch is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stores, fetches, and looks again.
pub fn run(bench: &mut Bench, offline: &Offline) -> Result<Findings, RunError> {
    bench.need_accounts(offline.senders + offline.recipients)?;
    let recipients = offline.senders..offline.senders + offline.recipients;
    let mut ledger = Ledger::new(offline.recipients);
    let mut failures = Vec::new();

    bench.settle()?;
    let login = visit(bench, "login", offline, &mut ledger, 0, &mut failures)?;
    if ledger.strays > 0 {
        // Left over from an earlier run: now they are gone.
        ledger.strays = 0;
    }

    let senders: Vec<usize> = (0..offline.senders).collect();
    let (connections, _) = bring_up(bench, &senders)?;
    bench.settle()?;
    let jids: Vec<String> = bench.engine.accounts()[recipients].iter().map(|account| account.jid()).collect();
    let mut meter = Meter::start(&bench.server, "store", "message")?;
    let mut post = Post {
        offline,
        senders: HashMap::new(),
        letters: jids.iter().map(|jid| Letter::new(jid, offline.size, offline.save)).collect(),
        connections: &connections,
        // Sent in batches, so due in batches.
        schedule: offline.rate.map(|rate| Schedule::new(meter.began(), rate / offline.batch as f64)),
        turn: 0,
        latencies: Latencies::default(),
        ledger: &mut ledger,
        errors: 0,
        closed: None,
        progress: &mut bench.progress,
    };
    for (sender, id) in connections.iter().enumerate() {
        post.begin(&mut bench.engine, *id, sender);
    }
    let outcome = bench.engine.run(&mut post, bench.deadline)?;
    let (errors, closed, latencies) = (post.errors, post.closed, post.latencies);
    if let Some(why) = closed {
        return Err(RunError::Logins(format!("a sender was closed: {why}")));
    }
    if outcome == Outcome::TimedOut {
        return Err(RunError::TimedOut("messages are stored"));
    }
    meter.work_done();
    bench.settle()?;
    let mut store = meter.stop(&bench.server, ledger.sent)?;
    store.latency_us = latencies.summary();
    store.counts.insert("errors", errors);
    if errors > 0 {
        failures.push(format!("{errors} messages came back as errors"));
    }

    let mut fetch = visit(bench, "fetch", offline, &mut ledger, offline.messages, &mut failures)?;
    fetch.counts.insert("lost", ledger.missing());
    failures.extend(ledger.failures());
    let fetched = ledger.received;
    let again = visit(bench, "again", offline, &mut ledger, 0, &mut failures)?;
    if ledger.received > fetched {
        failures.push(format!("{} messages came a second time", ledger.received - fetched));
    }
    if let (Some(all), Some(logins)) = (fetch.cpu_us(), again.cpu_us())
        && fetched > 0
    {
        fetch.figures.insert("cpu_us_per_message", all / fetched as f64);
        fetch.figures.insert("cpu_us_per_message_without_login", (all - logins) / fetched as f64);
    }
    Ok(Findings {
        parameters: json!({
            "senders": offline.senders, "recipients": offline.recipients, "messages_each": offline.messages,
            "batch": offline.batch, "rate": offline.rate, "body_bytes": offline.size, "save": offline.save,
            "confirm": format!("{:?}", offline.confirm).to_lowercase(),
        }),
        phases: vec![login, store, fetch, again],
        failures,
    })
}

/// All recipients log in, take `expected` messages each, and leave.
fn visit(
    bench: &mut Bench,
    name: &'static str,
    offline: &Offline,
    ledger: &mut Ledger,
    expected: usize,
    failures: &mut Vec<String>,
) -> Result<Phase, RunError> {
    let mut meter = Meter::start(&bench.server, name, "login")?;
    let received_before = ledger.received;
    let mut visit = Visit {
        name,
        first: offline.senders,
        waiting: (0..offline.recipients).rev().collect(),
        at_once: bench.logins,
        guests: HashMap::new(),
        expected,
        ledger,
        without_delay: 0,
        failed: None,
        heard: Instant::now(),
        gave_up: 0,
        fatal: None,
        progress: &mut bench.progress,
    };
    let outcome = bench.engine.run(&mut visit, bench.deadline)?;
    let Visit { without_delay, failed, gave_up, fatal, .. } = visit;
    if let Some(e) = fatal {
        return Err(e.into());
    }
    if let Some(why) = failed {
        return Err(RunError::Logins(why));
    }
    if outcome == Outcome::TimedOut {
        return Err(RunError::TimedOut("recipients fetch their messages"));
    }
    meter.work_done();
    bench.settle()?;
    let mut phase = meter.stop(&bench.server, offline.recipients as u64)?;
    phase.counts.insert("messages", ledger.received - received_before);
    if without_delay > 0 {
        failures.push(format!("{without_delay} stored messages had no <delay/>"));
    }
    if gave_up > 0 {
        failures.push(format!("{gave_up} recipients waited in vain for all their messages"));
    }
    Ok(phase)
}

/// The senders at work.
struct Post<'a> {
    offline: &'a Offline,
    senders: HashMap<ConnId, Sender>,
    letters: Vec<Letter>,
    connections: &'a [ConnId],
    schedule: Option<Schedule>,
    /// The sender whose turn it is in the open loop.
    turn: usize,
    /// Of batches, until they are confirmed.
    latencies: Latencies,
    /// A flow per recipient.
    ledger: &'a mut Ledger,
    errors: u64,
    closed: Option<String>,
    progress: &'a mut Progress,
}

/// Recipient `r` gets all its messages from sender `r % senders`, so that their order is determined.
struct Sender {
    recipients: Vec<usize>,
    turn: usize,
    left: usize,
    sent: u32,
    heard: u32,
    /// Everything.
    confirmed: bool,
    /// May send: stream management, if any, is there.
    ready: bool,
    /// When the batch under way was due.
    under_way: Option<Instant>,
    /// When others were that wait for it.
    waiting: VecDeque<Instant>,
}

const CONFIRM_ID: &str = "confirm";

impl Post<'_> {
    fn begin(&mut self, engine: &mut Engine, id: ConnId, sender: usize) {
        let recipients: Vec<usize> = (sender..self.offline.recipients).step_by(self.offline.senders).collect();
        let left = recipients.len() * self.offline.messages;
        let sender = Sender {
            recipients,
            turn: 0,
            left,
            sent: 0,
            heard: 0,
            confirmed: left == 0,
            ready: false,
            under_way: None,
            waiting: VecDeque::new(),
        };
        self.senders.insert(id, sender);
        match self.offline.confirm {
            Confirm::Ping => self.next(engine, id),
            Confirm::Sm => engine.out(id).extend_from_slice(b"<enable xmlns='urn:xmpp:sm:3'/>"),
        }
    }

    /// The sender may send, or all it has sent is confirmed.
    fn next(&mut self, engine: &mut Engine, id: ConnId) {
        let Some(sender) = self.senders.get_mut(&id) else { return };
        let now = Instant::now();
        sender.ready = true;
        if let Some(due) = sender.under_way.take() {
            self.latencies.record(now.saturating_duration_since(due));
        }
        sender.confirmed = sender.left == 0;
        let next = match self.schedule {
            Some(_) => sender.waiting.pop_front(),
            None => Some(now),
        };
        if let Some(due) = next {
            self.batch(engine, id, due);
        }
    }

    /// Sends the batch that is due, or leaves it until the one before is confirmed.
    fn batch(&mut self, engine: &mut Engine, id: ConnId, due: Instant) {
        let Some(sender) = self.senders.get_mut(&id).filter(|sender| sender.left > 0) else { return };
        if sender.under_way.is_some() || !sender.ready {
            return sender.waiting.push_back(due);
        }
        sender.under_way = Some(due);
        for _ in 0..self.offline.batch.min(sender.left) {
            let recipient = sender.recipients[sender.turn];
            sender.turn = (sender.turn + 1) % sender.recipients.len();
            sender.left -= 1;
            sender.sent += 1;
            let letter = self.ledger.send(recipient, due);
            self.letters[recipient].write(&letter, engine.out(id));
        }
        match self.offline.confirm {
            Confirm::Ping => ping(engine, id, CONFIRM_ID),
            Confirm::Sm => engine.out(id).extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>"),
        }
    }
}

impl Handler for Post<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let Some(sender) = self.senders.get_mut(&id) else { return };
        match framer::name(stanza) {
            b"enabled" => self.next(engine, id),
            b"failed" => self.closed = Some(String::from_utf8_lossy(stanza).into_owned()),
            b"a" => {
                let h = framer::attribute(stanza, b"h").and_then(|h| std::str::from_utf8(h).ok()?.parse::<u32>().ok());
                if h == Some(sender.sent) {
                    self.next(engine, id);
                }
            }
            b"r" => {
                let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", sender.heard);
                engine.out(id).extend_from_slice(answer.as_bytes());
            }
            b"message" => {
                sender.heard += 1;
                self.errors += u64::from(framer::attribute(stanza, b"type") == Some(b"error"));
            }
            _ => {
                sender.heard += 1;
                if self.offline.confirm == Confirm::Ping && is_answer_to(stanza, CONFIRM_ID) {
                    self.next(engine, id);
                } else {
                    answer(engine, id, stanza);
                }
            }
        }
    }

    fn closed(&mut self, _: &mut Engine, id: ConnId, why: Closed) {
        if self.senders.contains_key(&id) {
            self.closed.get_or_insert_with(|| why.to_string());
        }
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        let sent = self.ledger.sent;
        self.progress.show(now, || format!("{sent} messages sent to users who are away"));
        if self.closed.is_some() || self.senders.values().all(|sender| sender.confirmed) {
            return Next::Done;
        }
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            // Whoever has sent everything has no turn any more.
            let senders = self.connections.len();
            let left =
                |sender: usize| self.senders.get(&self.connections[sender]).is_some_and(|sender| sender.left > 0);
            let Some(sender) = (self.turn..self.turn + senders).map(|turn| turn % senders).find(|turn| left(*turn))
            else {
                break;
            };
            self.turn = (sender + 1) % senders;
            self.batch(engine, self.connections[sender], due);
        }
        self.schedule.as_ref().map_or(Next::Wait, |schedule| Next::At(schedule.due()))
    }
}

/// The recipients' logins.
struct Visit<'a> {
    name: &'static str,
    /// The account of recipient 0.
    first: usize,
    waiting: Vec<usize>,
    at_once: usize,
    guests: HashMap<ConnId, Guest>,
    expected: usize,
    ledger: &'a mut Ledger,
    without_delay: u64,
    failed: Option<String>,
    heard: Instant,
    gave_up: u64,
    fatal: Option<EngineError>,
    progress: &'a mut Progress,
}

#[derive(Default)]
struct Guest {
    recipient: usize,
    messages: usize,
    /// The ping after our presence has been answered: what was waiting has been sent by now.
    answered: bool,
    leaving: bool,
}

const AFTER_PRESENCE_ID: &str = "after-presence";

impl Visit<'_> {
    fn leave_if_served(&mut self, engine: &mut Engine, id: ConnId) {
        let Some(guest) = self.guests.get_mut(&id) else { return };
        if guest.answered && guest.messages >= self.expected && !guest.leaving {
            guest.leaving = true;
            engine.close(id);
        }
    }
}

impl Handler for Visit<'_> {
    fn ready(&mut self, engine: &mut Engine, id: ConnId) {
        ping(engine, id, AFTER_PRESENCE_ID);
    }

    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let now = Instant::now();
        self.heard = now;
        let Some(guest) = self.guests.get_mut(&id) else { return answer(engine, id, stanza) };
        if framer::name(stanza) == b"message" {
            match self.ledger.receive(framer::attribute(stanza, b"id"), now) {
                Some(flow) if flow == guest.recipient => guest.messages += 1,
                Some(_) => self.ledger.strays += 1,
                None => return,
            }
            self.without_delay += u64::from(memchr::memmem::find(stanza, b"urn:xmpp:delay").is_none());
        } else if is_answer_to(stanza, AFTER_PRESENCE_ID) {
            guest.answered = true;
        } else {
            answer(engine, id, stanza);
        }
        self.leave_if_served(engine, id);
    }

    fn closed(&mut self, _: &mut Engine, id: ConnId, why: Closed) {
        let guest = self.guests.remove(&id);
        if guest.is_some() && !matches!(why, Closed::Asked) {
            self.failed.get_or_insert_with(|| why.to_string());
        }
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        while self.guests.len() < self.at_once {
            let Some(recipient) = self.waiting.pop() else { break };
            match engine.connect(self.first + recipient, "bench".into()) {
                Ok(id) => drop(self.guests.insert(id, Guest { recipient, ..Guest::default() })),
                Err(e) => {
                    self.fatal = Some(e);
                    return Next::Done;
                }
            }
        }
        let (name, left, received) = (self.name, self.waiting.len() + self.guests.len(), self.ledger.received);
        self.progress.show(now, || format!("{name}: {left} recipients to go, {received} messages received"));
        if now.saturating_duration_since(self.heard) > PATIENCE {
            let mut stuck: Vec<ConnId> = Vec::new();
            for (id, guest) in self.guests.iter_mut().filter(|(_, guest)| !guest.leaving) {
                guest.leaving = true;
                stuck.push(*id);
            }
            self.gave_up += stuck.len() as u64;
            self.heard = now;
            for id in stuck {
                engine.close(id);
            }
        }
        if self.failed.is_some() || (self.waiting.is_empty() && self.guests.is_empty()) {
            return Next::Done;
        }
        Next::Wait
    }
}
