//! Numbers for those who run the server: one set for each shard, and the pages that show them.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rest::http::{Response, Status};
use store::Store;

use crate::shard::Counts;

/// What one shard shows to the other threads.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Messages of other shards that it has not taken yet.
    pub letters_waiting: AtomicUsize,
    /// Panics that ended a connection or an input.
    pub panics: AtomicU64,
    /// TLS handshakes that failed.
    pub handshake_failures: AtomicU64,
    /// Connections closed at once, for there being too many.
    pub turned_away: AtomicU64,
    /// Accepts that failed for want of something.
    pub accept_failures: AtomicU64,
    connections: AtomicU64,
    bound: AtomicU64,
    components: AtomicU64,
    owners: AtomicU64,
    stanzas_in: AtomicU64,
    stanzas_out: AtomicU64,
    logins: AtomicU64,
    login_failures: AtomicU64,
    logins_held: AtomicU64,
    calls: AtomicU64,
    slow_readers: AtomicU64,
    bosh_turned_away: AtomicU64,
    unreadable_rows: AtomicU64,
    files_in: AtomicU64,
    files_out: AtomicU64,
    file_bytes_in: AtomicU64,
    file_bytes_out: AtomicU64,
}

impl Gauges {
    /// Publishes what the shard has counted.
    pub fn set(&self, counts: &Counts, connections: (usize, usize), components: usize, owners: usize) {
        let Counts {
            stanzas_in,
            stanzas_out,
            logins,
            login_failures,
            logins_held,
            calls,
            slow_readers,
            bosh_turned_away,
            unreadable_rows,
            files_in,
            files_out,
            file_bytes_in,
            file_bytes_out,
        } = *counts;
        for (gauge, value) in [
            (&self.connections, connections.0 as u64),
            (&self.bound, connections.1 as u64),
            (&self.components, components as u64),
            (&self.owners, owners as u64),
            (&self.stanzas_in, stanzas_in),
            (&self.stanzas_out, stanzas_out),
            (&self.logins, logins),
            (&self.login_failures, login_failures),
            (&self.logins_held, logins_held),
            (&self.calls, calls),
            (&self.slow_readers, slow_readers),
            (&self.bosh_turned_away, bosh_turned_away),
            (&self.unreadable_rows, unreadable_rows),
            (&self.files_in, files_in),
            (&self.files_out, files_out),
            (&self.file_bytes_in, file_bytes_in),
            (&self.file_bytes_out, file_bytes_out),
        ] {
            gauge.store(value, Ordering::Relaxed);
        }
    }
}

/// What a number is called and what it means.
type Named = (&'static str, &'static str, fn(&Gauges) -> u64);

const GAUGES: &[Named] = &[
    ("connections", "Open connections", |gauges| gauges.connections.load(Ordering::Relaxed)),
    ("sessions", "Connections with a bound resource", |gauges| gauges.bound.load(Ordering::Relaxed)),
    ("components", "Connected components", |gauges| gauges.components.load(Ordering::Relaxed)),
    ("owners", "Accounts and app directories in memory", |gauges| gauges.owners.load(Ordering::Relaxed)),
    ("letters_waiting", "Messages of other shards not taken yet", |gauges| {
        gauges.letters_waiting.load(Ordering::Relaxed) as u64
    }),
];

const COUNTERS: &[Named] = &[
    ("stanzas_in", "Stanzas taken from clients", |gauges| gauges.stanzas_in.load(Ordering::Relaxed)),
    ("stanzas_out", "Stanzas queued for clients", |gauges| gauges.stanzas_out.load(Ordering::Relaxed)),
    ("logins", "Logins that succeeded", |gauges| gauges.logins.load(Ordering::Relaxed)),
    ("login_failures", "Logins that failed", |gauges| gauges.login_failures.load(Ordering::Relaxed)),
    ("logins_held", "Logins that had to wait for their turn, or were turned away", |gauges| {
        gauges.logins_held.load(Ordering::Relaxed)
    }),
    ("api_calls", "HTTP requests", |gauges| gauges.calls.load(Ordering::Relaxed)),
    ("bosh_turned_away", "BOSH sessions refused for there being too many before login", |gauges| {
        gauges.bosh_turned_away.load(Ordering::Relaxed)
    }),
    ("slow_readers", "Connections ended for taking their output too slowly", |gauges| {
        gauges.slow_readers.load(Ordering::Relaxed)
    }),
    ("unreadable_rows", "Stored rows that could not be read", |gauges| gauges.unreadable_rows.load(Ordering::Relaxed)),
    ("files_in", "Files that clients have brought", |gauges| gauges.files_in.load(Ordering::Relaxed)),
    ("files_out", "Answers with a file or a part of one", |gauges| gauges.files_out.load(Ordering::Relaxed)),
    ("file_bytes_in", "Bytes of files taken from clients", |gauges| gauges.file_bytes_in.load(Ordering::Relaxed)),
    ("file_bytes_out", "Bytes of files read for clients", |gauges| gauges.file_bytes_out.load(Ordering::Relaxed)),
    ("panics", "Panics that ended a connection or an input", |gauges| gauges.panics.load(Ordering::Relaxed)),
    ("tls_handshake_failures", "TLS handshakes that failed", |gauges| {
        gauges.handshake_failures.load(Ordering::Relaxed)
    }),
    ("turned_away", "Connections closed at once for there being too many", |gauges| {
        gauges.turned_away.load(Ordering::Relaxed)
    }),
    ("accept_failures", "Accepts that failed for want of resources", |gauges| {
        gauges.accept_failures.load(Ordering::Relaxed)
    }),
];

/// `/healthz`, `/readyz` and `/metrics`.
pub(crate) struct Pages {
    registry: Registry,
    store: Arc<Store>,
    serving: AtomicBool,
}

impl Pages {
    pub fn new(gauges: Arc<[Gauges]>, store: Arc<Store>) -> Pages {
        let mut registry = Registry::with_prefix("rookery");
        registry.register_collector(Box::new(Source { gauges, store: Arc::clone(&store) }));
        Pages { registry, store, serving: AtomicBool::new(false) }
    }

    /// Whether the server is ready for everybody, or is starting or stopping.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
    }

    /// The page at a path, if there is one.
    pub fn page(&self, path: &str) -> Option<Response> {
        match path {
            "/healthz" => Some(Response::plain(Status::Ok, TEXT, "ok\n")),
            "/readyz" => Some(self.ready()),
            "/metrics" => {
                let mut text = String::new();
                // Writing to memory does not fail, and the numbers' names are ours.
                let _written = prometheus_client::encoding::text::encode(&mut text, &self.registry);
                Some(Response::plain(Status::Ok, METRICS, text))
            }
            _ => None,
        }
    }

    fn ready(&self) -> Response {
        let mut why = String::new();
        if !self.serving.load(Ordering::Relaxed) {
            why.push_str("the server is starting or stopping\n");
        }
        if let Some(failure) = self.store.failure() {
            let _written = writeln!(why, "{failure}");
        }
        if why.is_empty() {
            Response::plain(Status::Ok, TEXT, "ready\n")
        } else {
            Response::plain(Status::ServiceUnavailable, TEXT, why)
        }
    }
}

/// Reads the numbers when somebody asks.
struct Source {
    gauges: Arc<[Gauges]>,
    store: Arc<Store>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for (name, help, value) in GAUGES {
            let metric = ConstGauge::new(0i64);
            let mut of_all = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            for (shard, gauges) in self.gauges.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                ConstGauge::new(value(gauges) as i64).encode(of_all.encode_family(&labels)?)?;
            }
        }
        for (name, help, value) in COUNTERS {
            let metric = ConstCounter::new(0u64);
            let mut of_all = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
            for (shard, gauges) in self.gauges.iter().enumerate() {
                let labels = [("shard", shard.to_string())];
                ConstCounter::new(value(gauges)).encode(of_all.encode_family(&labels)?)?;
            }
        }
        let stats = self.store.stats();
        let store: [(&str, &str, u64); 6] = [
            ("store_commits", "Batches made durable", stats.commits),
            ("store_groups", "Groups that they were committed in", stats.groups),
            ("store_bytes", "Bytes of keys and values made durable", stats.bytes),
            ("store_syncs", "Syncs of the write-ahead log", stats.syncs),
            ("store_refused", "Batches that failed or were refused", stats.refused),
            ("store_reads", "Reads that went to the readers", stats.reads),
        ];
        for (name, help, value) in store {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let now: [(&str, &str, u64); 5] = [
            ("store_commits_waiting", "Batches waiting or being committed", stats.commits_waiting),
            ("store_reads_waiting", "Reads waiting or being carried out", stats.reads_waiting),
            ("store_last_sync_micros", "How long the last group took, in microseconds", stats.last_sync_micros),
            ("store_read_only", "Whether a failure has ended all writing", u64::from(stats.read_only)),
            ("resident_bytes", "Memory of the process", resident_bytes()),
        ];
        for (name, help, value) in now {
            let metric = ConstGauge::new(value as i64);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

/// What the process has in memory: proc(5), the second number of `statm`, in pages.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: a plain question to the C library.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).unwrap_or(4096)
}

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;
    use store::Memory;

    fn text(response: &Response) -> String {
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    #[test]
    fn shows_every_number_of_every_shard() {
        let gauges: Arc<[Gauges]> = [Gauges::default(), Gauges::default()].into();
        let store = Arc::new(Store::start(Arc::new(Memory::new(&[])), 1).unwrap());
        let pages = Pages::new(Arc::clone(&gauges), store);
        gauges[1].set(&Counts { logins: 7, ..Counts::default() }, (3, 2), 1, 1);
        let text = text(&pages.page("/metrics").unwrap());
        assert!(text.contains("rookery_logins_total{shard=\"1\"} 7"), "{text}");
        assert!(text.contains("rookery_connections{shard=\"1\"} 3"), "{text}");
        for (name, _, _) in GAUGES.iter().chain(COUNTERS) {
            assert!(text.contains(&format!("rookery_{name}")), "{name}");
        }
        assert!(text.contains("rookery_resident_bytes "));
    }

    #[test]
    fn is_ready_from_when_it_serves_until_it_stops() {
        let store = Arc::new(Store::start(Arc::new(Memory::new(&[])), 1).unwrap());
        let pages = Pages::new([].into(), store);
        assert_eq!(pages.page("/readyz").unwrap().status(), Status::ServiceUnavailable);
        pages.set_serving(true);
        assert_eq!(pages.page("/readyz").unwrap().status(), Status::Ok);
        pages.set_serving(false);
        assert_eq!(pages.page("/readyz").unwrap().status(), Status::ServiceUnavailable);
        assert_eq!(pages.page("/healthz").unwrap().status(), Status::Ok);
        assert!(pages.page("/health").is_none());
    }
}
