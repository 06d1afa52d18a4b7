//! What a server costs, read from outside: CPU time and memory of its processes, from /proc.
//!
//! A server is the processes named and all their descendants. A child that ends hands its CPU time to its parent's
//! `cutime`, which is counted too, so nothing is lost between two samples.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::Sub;

/// The processes to watch.
pub struct Server {
    roots: Vec<u32>,
    ticks_per_sec: f64,
}

/// One sample over all processes of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU seconds in user mode since the processes began.
    pub user_secs: f64,
    /// CPU seconds in the kernel.
    pub system_secs: f64,
    /// Resident memory now.
    pub rss_bytes: u64,
    /// How many processes were counted.
    pub processes: u32,
}

/// CPU seconds between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In user mode.
    pub user_secs: f64,
    /// In the kernel.
    pub system_secs: f64,
}

impl Cpu {
    /// Both together.
    pub fn secs(self) -> f64 {
        self.user_secs + self.system_secs
    }
}

impl Sub for Usage {
    type Output = Cpu;

    fn sub(self, earlier: Usage) -> Cpu {
        Cpu { user_secs: self.user_secs - earlier.user_secs, system_secs: self.system_secs - earlier.system_secs }
    }
}

impl Server {
    /// Watches these processes; fails if one does not exist.
    pub fn new(roots: Vec<u32>) -> io::Result<Self> {
        for root in &roots {
            fs::metadata(format!("/proc/{root}"))
                .map_err(|e| io::Error::new(e.kind(), format!("there is no process {root}: {e}")))?;
        }
        // SAFETY: a plain system call without pointers.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Ok(Self { roots, ticks_per_sec: ticks.max(1) as f64 })
    }

    /// Nothing to watch: the server runs elsewhere.
    pub fn is_unknown(&self) -> bool {
        self.roots.is_empty()
    }

    /// Adds up all processes of the server as they are now.
    pub fn sample(&self) -> io::Result<Usage> {
        let mut stats = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // A process may end between the listing and the reading.
            if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat"))
                && let Some(stat) = Stat::parse(&text)
            {
                stats.insert(pid, stat);
            }
        }
        let mut usage = Usage::default();
        for pid in family(&self.roots, &stats) {
            let Some(stat) = stats.get(&pid) else {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("the server's process {pid} has ended")));
            };
            usage.user_secs += stat.user as f64 / self.ticks_per_sec;
            usage.system_secs += stat.system as f64 / self.ticks_per_sec;
            usage.rss_bytes += rss_bytes(pid)?;
            usage.processes += 1;
        }
        Ok(usage)
    }
}

/// The roots and all that descend from them, each once.
fn family(roots: &[u32], stats: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut family: Vec<u32> = Vec::new();
    for &root in roots {
        if !family.contains(&root) {
            family.push(root);
        }
    }
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        let mut children: Vec<u32> = stats
            .iter()
            .filter(|(pid, stat)| stat.parent == parent && !family.contains(pid))
            .map(|(&p, _)| p)
            .collect();
        children.sort_unstable();
        family.append(&mut children);
        at += 1;
    }
    family
}

/// The fields of /proc/PID/stat we need; times in clock ticks, those of reaped children included.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    user: u64,
    system: u64,
}

impl Stat {
    /// proc(5): the second field is the name in parentheses and may itself hold blanks and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // `rest` begins with field 3, the state.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            user: field(14)? + field(16)?,
            system: field(15)? + field(17)?,
        })
    }
}

fn rss_bytes(pid: u32) -> io::Result<u64> {
    // Not smaps_rollup: it walks the page tables under the process's memory lock, half a second long for a big server, in the
    // middle of the measurement. This counter is kept per CPU and may lag by some dozens of pages, no more.
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    // A zombie has no memory and no such line.
    Ok(kib(&status, "VmRSS:").unwrap_or(0) << 10)
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_whose_name_has_blanks_and_parentheses() {
        let line = "71 (beam (1) x) S 70 71 71 0 -1 4194304 900 50 0 0 111 22 3 4 20 0 5 0 100 1 2 3 4 5 6 7 8 9";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 70, user: 114, system: 26 }));
        assert_eq!(Stat::parse("71 (x) S 70 71"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn reads_memory_in_kib() {
        let text = "Name:\tbeam.smp\nVmHWM:\t   20000 kB\nVmRSS:\t   17132 kB\nRssAnon:\t  90 kB\nThreads:\t7\n";
        assert_eq!(kib(text, "VmRSS:"), Some(17132));
        assert_eq!(kib(text, "VmSwap:"), None);
        assert_eq!(kib(text, "Threads:"), None);
    }

    #[test]
    fn counts_children_of_children_once() {
        let stat = |parent| Stat { parent, user: 1, system: 1 };
        let stats = HashMap::from([(1, stat(0)), (10, stat(1)), (11, stat(10)), (12, stat(11)), (20, stat(1))]);
        assert_eq!(family(&[10], &stats), [10, 11, 12]);
        assert_eq!(family(&[11, 10, 10], &stats), [11, 10, 12]);
    }

    #[test]
    fn samples_this_very_process() {
        let server = Server::new(vec![std::process::id()]).unwrap();
        let before = server.sample().unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_millis(60);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        let after = server.sample().unwrap();
        assert!(after.rss_bytes > 100_000 && after.processes >= 1);
        assert!((after - before).secs() < 10.0 && (after - before).secs() >= 0.0);
        assert!(Server::new(vec![u32::MAX]).is_err());
    }
}
