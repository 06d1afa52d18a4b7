//! How fast somebody may log in who has failed to.
//!
//! People mistype, so the first failures are free. After those, whoever comes from that address and whoever asks for that account
//! waits for his turn: tries are taken one by one, [`EVERY`] so often, however many connections they come on. Who would have to wait
//! too long is turned away without a look at his password. An address from which an account was logged in to does not wait for the
//! account's turn: others' guesses keep nobody out of his own.
//!
//! A shard counts what it accepts itself; with several shards there are as many turns. Addresses of this machine are not counted: a
//! proxy in front would be one address for everybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use proto::owner::AccountId;
use proto::stream::Ask;
use proto::time::Instant;
use rest::flow::Work;

use super::Shard;
use super::conns::ConnId;
use super::desk::{Desk, Task, Ticket};

/// Between two tries of those who have to wait.
const EVERY: Duration = Duration::from_secs(1);
/// Who would have to wait longer is turned away.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// A failure counts for so long after the last one.
const COUNTS_FOR: Duration = Duration::from_secs(15 * 60);
/// An address is known for so long after a login.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3600);
/// Of how many of either kind something is remembered; beyond that nothing new is, until something old is forgotten.
const REMEMBERED_MAX: usize = 64 * 1024;

/// Failed logins, and those that wait for their turn. `T` is what goes on then.
pub(super) struct Guesses<T> {
    suspects: HashMap<Suspect, Record, RandomState>,
    known: HashMap<(AccountId, Network), Instant, RandomState>,
    waiting: BTreeMap<(Instant, u64), T>,
    last: u64,
}

/// Where somebody comes from: an IPv4 address, or the 64 bits of IPv6 that one subscriber has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    /// None for this machine.
    pub fn of(address: IpAddr) -> Option<Network> {
        match address {
            here if here.is_loopback() || here.is_unspecified() => None,
            IpAddr::V4(_) => Some(Network(address)),
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & !u128::from(u64::MAX);
                Some(Network(Ipv6Addr::from(prefix).into()))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Suspect {
    Network(Network),
    Account(AccountId),
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    last: Instant,
    /// When the next try is due.
    next: Instant,
}

/// When somebody may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    At(Instant),
    Never,
}

fn suspects(from: Option<Network>, account: Option<AccountId>) -> impl Iterator<Item = Suspect> {
    from.map(Suspect::Network).into_iter().chain(account.map(Suspect::Account))
}

impl<T> Default for Guesses<T> {
    fn default() -> Guesses<T> {
        Guesses { suspects: HashMap::default(), known: HashMap::default(), waiting: BTreeMap::new(), last: 0 }
    }
}

impl<T> Guesses<T> {
    /// When a try from there, for that account if it is known for which, has its turn. `free` failures cost nothing; zero is no limit.
    pub fn turn(&mut self, now: Instant, free: u32, from: Option<Network>, account: Option<AccountId>) -> Turn {
        if free == 0 {
            return Turn::Now;
        }
        let account = account.filter(|account| !self.knows(now, *account, from));
        let guilty: Vec<Suspect> =
            suspects(from, account).filter(|suspect| self.failures(now, suspect) >= free).collect();
        let Some(at) = guilty.iter().map(|suspect| self.suspects[suspect].next.max(now)).max() else {
            return Turn::Now;
        };
        if at.since(now) > WAIT_MAX {
            return Turn::Never;
        }
        for suspect in guilty {
            if let Some(record) = self.suspects.get_mut(&suspect) {
                record.next = at + EVERY;
            }
        }
        if at == now { Turn::Now } else { Turn::At(at) }
    }

    /// A try from there was in vain.
    pub fn failed(&mut self, now: Instant, from: Option<Network>, account: Option<AccountId>) {
        for suspect in suspects(from, account) {
            let failures = self.failures(now, &suspect).saturating_add(1);
            if self.suspects.len() >= REMEMBERED_MAX && !self.suspects.contains_key(&suspect) {
                continue;
            }
            let record = self.suspects.entry(suspect).or_insert(Record { failures, last: now, next: now });
            (record.failures, record.last) = (failures, now);
        }
    }

    /// Somebody has logged in from there.
    pub fn succeeded(&mut self, now: Instant, from: Option<Network>, account: AccountId) {
        if let Some(from) = from
            && (self.known.len() < REMEMBERED_MAX || self.known.contains_key(&(account, from)))
        {
            self.known.insert((account, from), now);
        }
    }

    fn failures(&self, now: Instant, suspect: &Suspect) -> u32 {
        let record = self.suspects.get(suspect).filter(|record| now.since(record.last) < COUNTS_FOR);
        record.map_or(0, |record| record.failures)
    }

    fn knows(&self, now: Instant, account: AccountId, from: Option<Network>) -> bool {
        let since = from.and_then(|from| self.known.get(&(account, from)));
        since.is_some_and(|since| now.since(*since) < KNOWN_FOR)
    }

    /// Something goes on at that time.
    pub fn hold(&mut self, until: Instant, what: T) {
        self.last += 1;
        self.waiting.insert((until, self.last), what);
    }

    /// What goes on now.
    pub fn next_due(&mut self, now: Instant) -> Option<T> {
        let first = self.waiting.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// Forgets what is long ago.
    pub fn sweep(&mut self, now: Instant) {
        self.suspects.retain(|_, record| now.since(record.last) < COUNTS_FOR);
        self.known.retain(|_, since| now.since(*since) < KNOWN_FOR);
    }
}

/// A login that waits for its turn.
pub(super) enum Try {
    /// A stream's.
    Login(ConnId, Ask),
    /// Over the API.
    Call(Ticket, Work),
}

impl<D: Desk> Shard<D> {
    /// When somebody may try to log in who comes on this connection.
    pub(super) fn turn_to_log_in(&mut self, id: ConnId, account: Option<AccountId>) -> Turn {
        let from = self.network_of(id);
        let free = self.terms.site.limits.login_failures_free;
        let turn = self.guesses.turn(self.now.instant, free, from, account);
        self.counts.logins_held += u64::from(turn != Turn::Now);
        turn
    }

    /// Those whose turn it is go on.
    pub(super) fn let_try(&mut self) {
        while let Some(waiting) = self.guesses.next_due(self.now.instant) {
            match waiting {
                Try::Login(id, ask) => self.carry_out(id, ask),
                Try::Call(ticket, work) => self.desk.compute(ticket, Task::Api(work)),
            }
        }
    }

    pub(super) fn network_of(&mut self, id: ConnId) -> Option<Network> {
        Network::of(self.conns.get_mut(id)?.peer)
    }

    /// So many tries were in vain.
    pub(super) fn failed_to_log_in(&mut self, id: ConnId, times: u32) {
        if times == 0 {
            return;
        }
        self.counts.login_failures += u64::from(times);
        let (from, account) = (self.network_of(id), self.trying.remove(&id));
        self.guesses.failed(self.now.instant, from, account);
    }
}

#[cfg(test)]
mod tests {
    use proto::jid::user::{AppId, UserId};

    use super::*;

    const FREE: u32 = 3;

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn network(text: &str) -> Option<Network> {
        Network::of(text.parse().unwrap())
    }

    fn account(user: u64) -> Option<AccountId> {
        Some(AccountId { app: AppId(1), user: UserId(user) })
    }

    fn turns(guesses: &mut Guesses<()>, from: &str, user: u64, now: u64) -> Turn {
        guesses.turn(at(now), FREE, network(from), account(user))
    }

    fn fails(guesses: &mut Guesses<()>, times: u32, from: &str, user: u64) {
        (0..times).for_each(|_| guesses.failed(at(100), network(from), account(user)));
    }

    #[test]
    fn the_first_failures_are_free_and_then_tries_take_turns() {
        let mut guesses = Guesses::default();
        fails(&mut guesses, 2, "10.0.0.1", 1);
        assert_eq!(turns(&mut guesses, "10.0.0.1", 1, 100), Turn::Now);
        fails(&mut guesses, 1, "10.0.0.1", 1);
        assert_eq!(turns(&mut guesses, "10.0.0.1", 2, 100), Turn::Now);
        for second in 1..=15 {
            assert_eq!(turns(&mut guesses, "10.0.0.1", 2, 100), Turn::At(at(100 + second)), "on any connection");
        }
        assert_eq!(turns(&mut guesses, "10.0.0.1", 2, 100), Turn::Never);
        assert_eq!(turns(&mut guesses, "10.0.0.1", 2, 101), Turn::At(at(116)), "who is turned away takes no turn");
        assert_eq!(turns(&mut guesses, "10.0.0.2", 2, 101), Turn::Now, "others are let alone");
        assert_eq!(turns(&mut guesses, "10.0.0.1", 2, 100 + 15 * 60), Turn::Now, "and all is forgotten");
        assert_eq!(guesses.turn(at(101), 0, network("10.0.0.1"), account(2)), Turn::Now, "no limit is no limit");
    }

    #[test]
    fn an_account_is_guarded_against_many_addresses_and_not_against_its_user() {
        let mut guesses = Guesses::default();
        guesses.succeeded(at(10), network("192.0.2.7"), account(1).unwrap());
        for host in 1..=20 {
            fails(&mut guesses, 1, &format!("10.0.0.{host}"), 1);
        }
        assert_eq!(turns(&mut guesses, "10.0.1.1", 1, 100), Turn::Now);
        assert_eq!(turns(&mut guesses, "10.0.1.2", 1, 100), Turn::At(at(101)));
        assert_eq!(turns(&mut guesses, "192.0.2.7", 1, 100), Turn::Now, "he was here before");
        assert_eq!(turns(&mut guesses, "192.0.2.7", 1, 100), Turn::Now);
        assert_eq!(turns(&mut guesses, "10.0.1.2", 2, 100), Turn::Now, "another account");
    }

    #[test]
    fn a_subscriber_has_one_network() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        for here in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0"] {
            assert_eq!(network(here), None, "{here}");
        }
    }

    #[test]
    fn who_waits_goes_on_in_turn_and_memory_is_bounded() {
        let mut guesses = Guesses::default();
        guesses.hold(at(3), 'c');
        guesses.hold(at(2), 'a');
        guesses.hold(at(2), 'b');
        assert_eq!(guesses.next_due(at(1)), None);
        assert_eq!(std::iter::from_fn(|| guesses.next_due(at(3))).collect::<String>(), "abc");
        for user in 0..=REMEMBERED_MAX as u64 {
            guesses.failed(at(1), None, account(user));
            guesses.succeeded(at(1), network("10.0.0.1"), account(user).unwrap());
        }
        assert_eq!((guesses.suspects.len(), guesses.known.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        guesses.sweep(at(1) + KNOWN_FOR);
        assert_eq!((guesses.suspects.len(), guesses.known.len()), (0, 0));
    }
}
