//! Which messages were sent and which came: losses, repetitions, order, latency.
//!
//! Each message carries its own record in the stanza's id: 24 hex digits (the form the QuickBlox SDKs use), so that a
//! server that stores messages under the id they came with does so here too.
//!
//! ```text
//! RRRR FFFFF SSSSSSS TTTTTTTT     run, flow, sequence in the flow, microseconds from the run's start to the due time
//! ```

use std::time::{Duration, Instant};

use crate::latency::Latencies;

/// Flows a run may have.
pub const FLOWS_MAX: usize = 1 << 20;
const SEQUENCE_MASK: u64 = (1 << 28) - 1;

/// The book of one run.
pub struct Ledger {
    run: u16,
    start: Instant,
    /// Readers of each flow; every message comes once to each of them.
    readers: usize,
    /// Per flow: the next sequence to send.
    next: Vec<u32>,
    /// Per flow and reader: the next sequence to receive.
    expected: Vec<u32>,
    /// Messages sent.
    pub sent: u64,
    /// Messages received, each repetition counted.
    pub received: u64,
    /// Messages that came although a later one, or they themselves, had come before.
    pub repeated_or_late: u64,
    /// Times a message came before one sent earlier in its flow.
    pub gaps: u64,
    /// Messages of other runs, or not ours at all.
    pub strays: u64,
    /// From due to received.
    pub latencies: Latencies,
}

impl Ledger {
    /// An empty book with this many flows, at most [`FLOWS_MAX`], of one reader each.
    pub fn new(flows: usize) -> Self {
        Self::with_readers(flows, 1)
    }

    /// The same for flows of which every message comes to so many readers.
    pub fn with_readers(flows: usize, readers: usize) -> Self {
        assert!(flows <= FLOWS_MAX, "a message's id has five digits for its flow");
        let mut random = [0; 2];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system gives random bytes");
        Self {
            run: u16::from_le_bytes(random),
            start: Instant::now(),
            readers,
            next: vec![0; flows],
            expected: vec![0; flows * readers],
            sent: 0,
            received: 0,
            repeated_or_late: 0,
            gaps: 0,
            strays: 0,
            latencies: Latencies::default(),
        }
    }

    /// Books a message of `flow`, due at `due`, and gives its id.
    pub fn send(&mut self, flow: usize, due: Instant) -> [u8; 24] {
        let sequence = self.next[flow];
        self.next[flow] += 1;
        self.sent += 1;
        let micros = due.saturating_duration_since(self.start).as_micros() as u32;
        let high = u64::from(self.run) << 48 | (flow as u64) << 28 | u64::from(sequence) & SEQUENCE_MASK;
        let mut id = [0; 24];
        hex(high, &mut id[..16]);
        hex(u64::from(micros), &mut id[16..]);
        id
    }

    /// Books an arrival at the only reader; gives its flow unless it is a stray.
    pub fn receive(&mut self, id: Option<&[u8]>, now: Instant) -> Option<usize> {
        self.receive_at(0, id, now)
    }

    /// Books an arrival at one of the readers; gives its flow unless it is a stray.
    pub fn receive_at(&mut self, reader: usize, id: Option<&[u8]>, now: Instant) -> Option<usize> {
        let fields = id.filter(|id| id.len() == 24).and_then(|id| Some((unhex(&id[..16])?, unhex(&id[16..])?)));
        let ours = fields.filter(|(high, _)| (high >> 48) as u16 == self.run);
        let flow = ours.map(|(high, _)| (high >> 28) as usize & (FLOWS_MAX - 1)).filter(|&f| f < self.next.len());
        let (Some((high, micros)), Some(flow)) = (ours, flow) else {
            self.strays += 1;
            return None;
        };
        let sequence = (high & SEQUENCE_MASK) as u32;
        self.received += 1;
        let expected = &mut self.expected[flow * self.readers + reader];
        if sequence < *expected {
            self.repeated_or_late += 1;
        } else {
            self.gaps += u64::from(sequence > *expected);
            *expected = sequence + 1;
        }
        self.latencies.record(now.saturating_duration_since(self.start + Duration::from_micros(micros)));
        Some(flow)
    }

    /// Whether an id was given in this book.
    pub fn has(&self, id: &[u8]) -> bool {
        id.len() == 24 && unhex(&id[..4]) == Some(u64::from(self.run))
    }

    /// Arrivals still to come, over all readers. Repetitions hide losses here; `gaps` and `repeated_or_late` show both.
    pub fn missing(&self) -> u64 {
        (self.sent * self.readers as u64).saturating_sub(self.received)
    }

    /// What went wrong, as sentences.
    pub fn failures(&self) -> Vec<String> {
        [
            (self.missing(), "messages were lost"),
            (self.repeated_or_late, "messages came twice or late"),
            (self.gaps, "times a message overtook another"),
            (self.strays, "messages came that nobody sent in this run"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

fn hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number: u64, digit| {
        let value = (*digit as char).to_digit(16)?;
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_what_it_sent_with_the_latency_from_the_due_time() {
        let mut ledger = Ledger::new(3);
        let due = ledger.start + Duration::from_millis(2);
        let id = ledger.send(2, due);
        assert!(id.iter().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
        assert_eq!(ledger.receive(Some(&id), due + Duration::from_millis(7)), Some(2));
        assert_eq!(ledger.latencies.summary().unwrap().p50 / 10, 700);
        assert_eq!(ledger.failures(), Vec::<String>::new());
    }

    #[test]
    fn expects_every_message_once_at_each_reader() {
        let mut ledger = Ledger::with_readers(2, 3);
        let now = ledger.start;
        let ids = [ledger.send(1, now), ledger.send(1, now)];
        for reader in 0..3 {
            assert_eq!(ledger.receive_at(reader, Some(&ids[0]), now), Some(1));
        }
        assert_eq!((ledger.missing(), ledger.gaps, ledger.repeated_or_late), (3, 0, 0));
        ledger.receive_at(1, Some(&ids[0]), now);
        assert_eq!((ledger.missing(), ledger.repeated_or_late), (2, 1));
    }

    #[test]
    fn tells_lost_repeated_overtaken_and_strange_messages_apart() {
        let mut ledger = Ledger::new(1);
        let now = ledger.start;
        let ids: Vec<_> = (0..4).map(|_| ledger.send(0, now)).collect();
        ledger.receive(Some(&ids[1]), now);
        ledger.receive(Some(&ids[0]), now);
        assert_eq!((ledger.gaps, ledger.repeated_or_late, ledger.missing()), (1, 1, 2));
        for stray in [None, Some(&b"x"[..]), Some(&[b'f'; 24][..]), Some(&[b'z'; 24][..])] {
            assert_eq!(Ledger::new(0).receive(stray, now), None);
        }
        let other = Ledger::new(1).send(0, now);
        assert!(ledger.has(&ids[0]) && !ledger.has(b"x"));
        if other[..4] != ids[0][..4] {
            assert!(!ledger.has(&other));
            assert_eq!(ledger.receive(Some(&other), now), None);
            assert_eq!(ledger.strays, 1);
        }
        assert_eq!(ledger.failures().len(), if ledger.strays > 0 { 4 } else { 3 });
    }
}
