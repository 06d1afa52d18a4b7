//! `archive`: messages that both sides keep, then their readers page through them (XEP-0313, with the pages of
//! XEP-0059). What does a kept message cost, what does a result cost, is everything there once and in order?
//!
//! Phases: `fill` (each sender to its reader, a window of messages in flight) and `page` (all readers at once, each one
//! page after the other, from the oldest). With `--rate` the pages are asked for at their times, the readers in turn,
//! and latency counts from there; a reader whose last page is still to come asks when it has. A new store is expected:
//! what an archive held before counts as a stray.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{Bench, Findings, Letter, RunError, answer, bring_up, is_answer_to};
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, Handler, Next, Outcome};
use crate::latency::{Latencies, Schedule};
use crate::ledger::Ledger;
use crate::report::{Meter, Progress};

/// Parameters of `archive`.
#[derive(Args, Clone)]
pub struct Archive {
    /// How many readers; each has a sender of its own.
    #[arg(long, default_value_t = 10)]
    readers: usize,
    /// Messages for each of them.
    #[arg(long, default_value_t = 1_000)]
    messages: usize,
    /// Messages in flight for each of them.
    #[arg(long, default_value_t = 10)]
    window: usize,
    /// Results to a page.
    #[arg(long, default_value_t = 100)]
    page: usize,
    /// How often each reader goes through the whole archive.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Pages a second, all readers together: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of the body.
    #[arg(long, default_value_t = 100)]
    size: usize,
}

/// How long nothing may come before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const PAGE_ID: &str = "page";

/// Fills the archives and reads them.
pub fn run(bench: &mut Bench, archive: &Archive) -> Result<Findings, RunError> {
    bench.need_accounts(2 * archive.readers)?;
    let (senders, _) = bring_up(bench, &(0..archive.readers).collect::<Vec<_>>())?;
    let (readers, _) = bring_up(bench, &(archive.readers..2 * archive.readers).collect::<Vec<_>>())?;
    bench.settle()?;
    // Delivered once, and found once in every pass.
    let mut ledger = Ledger::with_readers(archive.readers, 1 + archive.passes);
    let mut failures = Vec::new();

    let mut meter = Meter::start(&bench.server, "fill", "message")?;
    let accounts = &bench.engine.accounts()[archive.readers..];
    let mut fill = Fill {
        letters: accounts.iter().take(archive.readers).map(|a| Letter::new(&a.jid(), archive.size, true)).collect(),
        left: vec![archive.messages; archive.readers],
        first: archive.readers,
        senders: &senders,
        ledger: &mut ledger,
        watch: Watch::new(&mut bench.progress),
    };
    for flow in (0..archive.readers).flat_map(|flow| std::iter::repeat_n(flow, archive.window)) {
        fill.send(&mut bench.engine, flow);
    }
    let outcome = bench.engine.run(&mut fill, bench.deadline)?;
    let watch = fill.watch.end(outcome, "messages are archived")?;
    failures.extend(watch);
    meter.work_done();
    bench.settle()?;
    let mut filled = meter.stop(&bench.server, ledger.received)?;
    filled.latency_us = ledger.latencies.summary();

    let mut meter = Meter::start(&bench.server, "page", "result")?;
    let delivered = ledger.received;
    let mut paging = Paging {
        archive,
        first: archive.readers,
        connections: &readers,
        readers: vec![Reader::default(); archive.readers],
        schedule: archive.rate.map(|rate| Schedule::new(meter.began(), rate)),
        turn: 0,
        done: 0,
        pages: 0,
        latencies: Latencies::default(),
        ledger: &mut ledger,
        watch: Watch::new(&mut bench.progress),
    };
    if paging.schedule.is_none() {
        (0..readers.len()).for_each(|reader| paging.due(&mut bench.engine, reader, meter.began()));
    }
    let outcome = bench.engine.run(&mut paging, bench.deadline)?;
    let (pages, latencies) = (paging.pages, paging.latencies);
    let watch = paging.watch.end(outcome, "archives are read")?;
    failures.extend(watch);
    meter.work_done();
    bench.settle()?;
    let mut page = meter.stop(&bench.server, ledger.received - delivered)?;
    page.latency_us = latencies.summary();
    page.counts.insert("pages", pages);
    page.counts.insert("lost", ledger.missing());
    failures.extend(ledger.failures());
    Ok(Findings {
        parameters: json!({
            "readers": archive.readers, "messages_each": archive.messages, "window": archive.window,
            "page": archive.page, "passes": archive.passes, "rate": archive.rate, "body_bytes": archive.size,
        }),
        phases: vec![filled, page],
        failures,
    })
}

/// What both phases watch: that something comes, and what goes wrong.
struct Watch<'a> {
    heard: Instant,
    gave_up: bool,
    failed: Option<String>,
    progress: &'a mut Progress,
}

impl<'a> Watch<'a> {
    fn new(progress: &'a mut Progress) -> Self {
        Self { heard: Instant::now(), gave_up: false, failed: None, progress }
    }

    fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert_with(|| why.into());
    }

    /// True when there is nothing to wait for any more.
    fn is_over(&mut self, now: Instant, line: impl FnOnce() -> String) -> bool {
        self.progress.show(now, line);
        self.gave_up = now.saturating_duration_since(self.heard) > PATIENCE;
        self.gave_up || self.failed.is_some()
    }

    /// A sentence if it was given up.
    fn end(self, outcome: Outcome, what: &'static str) -> Result<Option<String>, RunError> {
        match (self.failed, outcome) {
            (Some(why), _) => Err(RunError::Archive(why)),
            (None, Outcome::TimedOut) => Err(RunError::TimedOut(what)),
            (None, Outcome::Finished) => Ok(self.gave_up.then(|| format!("nothing came any more while {what}"))),
        }
    }
}

/// The senders at work; account `first + n` reads what sender `n` sends, flow `n`.
struct Fill<'a> {
    letters: Vec<Letter>,
    left: Vec<usize>,
    first: usize,
    senders: &'a [ConnId],
    ledger: &'a mut Ledger,
    watch: Watch<'a>,
}

impl Fill<'_> {
    fn send(&mut self, engine: &mut Engine, flow: usize) {
        if self.left[flow] == 0 {
            return;
        }
        self.left[flow] -= 1;
        let id = self.ledger.send(flow, Instant::now());
        self.letters[flow].write(&id, engine.out(self.senders[flow]));
    }
}

impl Handler for Fill<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        if framer::name(stanza) != b"message" {
            return answer(engine, id, stanza);
        }
        if framer::attribute(stanza, b"type") == Some(b"error") {
            return self.watch.fail(String::from_utf8_lossy(stanza));
        }
        self.watch.heard = Instant::now();
        match self.ledger.receive_at(0, framer::attribute(stanza, b"id"), self.watch.heard) {
            Some(flow) if engine.account_of(id) == self.first + flow => self.send(engine, flow),
            Some(_) => self.ledger.strays += 1,
            None => {}
        }
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.watch.fail(why.to_string());
    }

    fn tick(&mut self, _: &mut Engine, now: Instant) -> Next {
        let (sent, received) = (self.ledger.sent, self.ledger.received);
        let over = self.watch.is_over(now, || format!("{sent} messages sent, {received} received"));
        if over || (received >= sent && self.left.iter().all(|left| *left == 0)) { Next::Done } else { Next::Wait }
    }
}

/// The readers at work.
struct Paging<'a> {
    archive: &'a Archive,
    /// The account of reader 0.
    first: usize,
    connections: &'a [ConnId],
    readers: Vec<Reader>,
    schedule: Option<Schedule>,
    /// The reader whose turn it is in the open loop.
    turn: usize,
    /// Readers who have been through every pass.
    done: usize,
    pages: u64,
    /// From when a page was due to its end.
    latencies: Latencies,
    ledger: &'a mut Ledger,
    watch: Watch<'a>,
}

#[derive(Clone, Default)]
struct Reader {
    pass: usize,
    /// The last result of the page before.
    after: Option<Vec<u8>>,
    /// When the page under way was due.
    under_way: Option<Instant>,
    /// When others were that wait for it.
    waiting: VecDeque<Instant>,
}

impl Paging<'_> {
    /// It is time for the next page of a reader.
    fn due(&mut self, engine: &mut Engine, number: usize, due: Instant) {
        let reader = &mut self.readers[number];
        if reader.pass == self.archive.passes {
            return;
        }
        if reader.under_way.is_some() {
            return reader.waiting.push_back(due);
        }
        reader.under_way = Some(due);
        self.ask(engine, number);
    }

    /// Asks for the page after the last one.
    fn ask(&self, engine: &mut Engine, reader: usize) {
        let out = engine.out(self.connections[reader]);
        out.extend_from_slice(
            format!(
                "<iq type='set' id='{PAGE_ID}'><query xmlns='urn:xmpp:mam:2'>\
                 <set xmlns='http://jabber.org/protocol/rsm'><max>{}</max>",
                self.archive.page
            )
            .as_bytes(),
        );
        if let Some(after) = &self.readers[reader].after {
            // As the server wrote it, entities included.
            out.extend_from_slice(b"<after>");
            out.extend_from_slice(after);
            out.extend_from_slice(b"</after>");
        }
        out.extend_from_slice(b"</set></query></iq>");
    }

    fn result(&mut self, engine: &Engine, id: ConnId, stanza: &[u8]) {
        let Some(message) = forwarded(stanza) else { return };
        let reader = engine.account_of(id) - self.first;
        let copy = 1 + self.readers[reader].pass;
        let flow = self.ledger.receive_at(copy, framer::attribute(message, b"id"), self.watch.heard);
        if flow.is_some_and(|flow| flow != reader) {
            self.ledger.strays += 1;
        }
    }

    fn end_of_page(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        let Some(fin) = element(stanza, b"<fin").filter(|_| framer::attribute(stanza, b"type") == Some(b"result"))
        else {
            return self.watch.fail(String::from_utf8_lossy(stanza));
        };
        let number = engine.account_of(id) - self.first;
        let reader = &mut self.readers[number];
        let Some(due) = reader.under_way.take() else { return };
        self.pages += 1;
        self.latencies.record(self.watch.heard.saturating_duration_since(due));
        let complete = framer::attribute(fin, b"complete") == Some(b"true");
        reader.after = element(fin, b"<last").map(|last| framer::text(last).to_vec()).filter(|_| !complete);
        if reader.after.is_none() {
            reader.pass += 1;
            self.done += usize::from(reader.pass == self.archive.passes);
        }
        let next = match self.schedule {
            Some(_) => reader.waiting.pop_front(),
            None => Some(self.watch.heard),
        };
        if let Some(due) = next {
            self.due(engine, number, due);
        }
    }
}

impl Handler for Paging<'_> {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        if engine.account_of(id) < self.first {
            return answer(engine, id, stanza);
        }
        self.watch.heard = Instant::now();
        if framer::name(stanza) == b"message" {
            self.result(engine, id, stanza);
        } else if is_answer_to(stanza, PAGE_ID) {
            self.end_of_page(engine, id, stanza);
        } else {
            answer(engine, id, stanza);
        }
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, why: Closed) {
        self.watch.fail(why.to_string());
    }

    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next {
        let pages = self.pages;
        let over = self.watch.is_over(now, || format!("{pages} pages read"));
        if over || self.done == self.readers.len() {
            return Next::Done;
        }
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(now)) {
            // Whoever is through has no turn any more.
            while self.readers[self.turn].pass == self.archive.passes {
                self.turn = (self.turn + 1) % self.readers.len();
            }
            let reader = self.turn;
            self.turn = (reader + 1) % self.readers.len();
            self.due(engine, reader, due);
        }
        self.schedule.as_ref().map_or(Next::Wait, |schedule| Next::At(schedule.due()))
    }
}

/// The stanza from the start tag that begins so; `None` without one.
fn element<'a>(stanza: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(stanza, start).map(|at| &stanza[at..])
}

/// The archived message inside a result.
fn forwarded(stanza: &[u8]) -> Option<&[u8]> {
    element(element(stanza, b"<result")?, b"<forwarded").and_then(|forwarded| element(forwarded, b"<message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_archived_message_and_the_end_of_the_page() {
        let stanza = b"<message to='a@b/c' id='x'><result xmlns='urn:xmpp:mam:2' id='28482'><forwarded \
            xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='s'/><message id=\"i\" to='a@b'><body>m</body>\
            </message></forwarded></result></message>";
        assert_eq!(framer::attribute(forwarded(stanza).unwrap(), b"id"), Some(&b"i"[..]));
        assert_eq!(forwarded(b"<message id='1'><body>live</body></message>"), None);
        let iq = b"<iq type='result' id='page'><fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='r'>\
            <first index='0'>1</first><last xmlns='r'>0a&amp;1</last></set></fin></iq>";
        let fin = element(iq, b"<fin").unwrap();
        assert_eq!(framer::attribute(fin, b"complete"), Some(&b"true"[..]));
        assert_eq!(element(fin, b"<last").map(framer::text), Some(&b"0a&amp;1"[..]));
    }
}
