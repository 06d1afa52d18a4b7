//! Multicast DNS: as whom users are announced, and who else is there. XEP-0174 §4 to §6, §10; RFC 6762, RFC 6763.
//!
//! The daemon is a crate's, on a thread of its own. What it has heard is looked at a few times a second, and bounded here: the daemon
//! itself remembers whatever is announced, so it is started anew when that is too much.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use mdns_sd::{
    DaemonEvent, IfKind, Metrics, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use proto::link_local::{Card, PresenceName};
use proto::owner::AccountId;

use super::near::Near;

/// Who is announced, and who else is.
pub(super) struct Announcer {
    daemon: Daemon,
    near: Near,
    port: u16,
    /// The machine's name, as it is while nobody else has it.
    machine: String,
    /// How many names were taken by others.
    conflicts: u32,
    shown: BTreeMap<AccountId, Shown>,
    /// Those on the link, by the local part of their address here.
    peers: HashMap<Box<str>, Peer>,
    checked: Instant,
    /// It has to begin anew, and when it last did.
    is_spoilt: bool,
    /// That is because its name was another's.
    is_taken: bool,
    restarted: Option<Instant>,
}

/// The daemon, and what comes from it.
struct Daemon {
    service: ServiceDaemon,
    found: Receiver<ServiceEvent>,
    events: Receiver<DaemonEvent>,
    metrics: Option<Receiver<Metrics>>,
}

/// A user who is to be announced.
struct Shown {
    card: Card,
    /// As whom he is, and when that was said.
    said: Option<(Card, Instant)>,
}

/// Somebody on the link.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// His name.
    pub name: PresenceName,
    /// What he wants to be called.
    pub nick: Option<String>,
    /// Where he takes streams.
    pub addresses: Vec<SocketAddr>,
}

impl Announcer {
    /// Starts a daemon that announces nobody yet.
    pub fn start(machine: &str, port: u16, near: Near) -> mdns_sd::Result<Announcer> {
        Ok(Announcer {
            daemon: Daemon::start(&near)?,
            near,
            port,
            machine: machine.to_owned(),
            conflicts: 0,
            shown: BTreeMap::new(),
            peers: HashMap::new(),
            checked: Instant::now(),
            is_spoilt: false,
            is_taken: false,
            restarted: None,
        })
    }

    /// The machine's name: that of the host, unless others have it.
    pub fn machine(&self) -> String {
        match self.conflicts {
            0 => self.machine.clone(),
            // §4: pronto-1, pronto-2 ...
            count => format!("{}-{count}", self.machine),
        }
    }

    /// Whether this user is announced, or is about to be.
    pub fn shows(&self, account: AccountId) -> bool {
        self.shown.contains_key(&account)
    }

    /// Has a user announced so from now on.
    pub fn show(&mut self, account: AccountId, card: Card) {
        let is_full = self.shown.len() >= SHOWN_MAX;
        match self.shown.get_mut(&account) {
            Some(shown) => shown.card = card,
            None if is_full => tracing::warn!("a user is not announced on the local network: too many are"),
            None => _ = self.shown.insert(account, Shown { card, said: None }),
        }
    }

    /// Says goodbye for a user. §10
    pub fn hide(&mut self, account: AccountId) {
        if self.shown.remove(&account).is_some_and(|shown| shown.said.is_some()) {
            let name = format!("{}.{SERVICE}", PresenceName::of_account(account, &self.machine()));
            self.daemon.try_to("say goodbye", |daemon| daemon.unregister(&name).map(drop));
        }
    }

    /// Who has this local part.
    pub fn peer(&self, local: &str) -> Option<&Peer> {
        self.peers.get(local)
    }

    /// Who is there.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// The one whose address this is, if it is nobody else's.
    pub fn peer_at(&self, address: IpAddr) -> Option<&Peer> {
        let mut there = self.peers.values().filter(|peer| peer.is_at(address));
        there.next().filter(|_| there.next().is_none())
    }

    /// Takes what the daemon has heard, and has it say what is new.
    pub fn tick(&mut self, now: Instant) {
        let closed = loop {
            match self.daemon.found.try_recv() {
                Ok(event) => self.hear(event),
                // Nobody took its events in time, for a flood of them.
                Err(error) => break error == mdns_sd::TryRecvError::Disconnected,
            }
        };
        let conflicts = self.daemon.events.try_iter().filter(|event| matches!(event, DaemonEvent::NameChange(_)));
        self.is_taken |= conflicts.count() > 0;
        self.is_spoilt |= self.is_taken || closed || self.hears_too_much(now);
        // RFC 6762 §8.1: somebody may want every name there is.
        if self.is_spoilt && self.restarted.is_none_or(|at| now.duration_since(at) >= RESTART_PAUSE) {
            if std::mem::take(&mut self.is_taken) {
                tracing::warn!(name = self.machine(), "another machine on the local network has this one's name");
                self.conflicts += 1;
            }
            (self.is_spoilt, self.restarted) = (false, Some(now));
            self.restart();
        }
        self.announce(now);
    }

    /// Says goodbye for everybody.
    pub fn stop(self) {
        self.daemon.stop();
    }

    fn hear(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let Some(peer) = Peer::of(&service, &self.near) else { return };
                // §5: what one announces oneself comes back too.
                if peer.name.machine().eq_ignore_ascii_case(&self.machine()) {
                    return;
                }
                if self.peers.len() < PEERS_MAX || self.peers.contains_key(peer.name.local()) {
                    self.peers.insert(peer.name.local().into(), peer);
                }
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                if let Some(name) = instance(&fullname).and_then(PresenceName::parse) {
                    self.peers.remove(name.local());
                }
            }
            _ => {}
        }
    }

    /// Has those announced who are new, and who have something new to say, none of them too often. RFC 6762 §6
    fn announce(&mut self, now: Instant) {
        let machine = self.machine();
        for (account, shown) in &mut self.shown {
            let is_new = match &shown.said {
                None => true,
                Some((card, at)) => *card != shown.card && now.duration_since(*at) >= SAID_EVERY,
            };
            if !is_new {
                continue;
            }
            let name = PresenceName::of_account(*account, &machine);
            let said = service(&name, &machine, self.port, &shown.card).and_then(|mut service| {
                service.set_requires_probe(shown.said.is_none());
                self.daemon.service.register(service)
            });
            match said {
                Ok(()) => shown.said = Some((shown.card.clone(), now)),
                // Its queue is full: the next tick tries again.
                Err(error) => return tracing::debug!(%error, "a user is not announced yet"),
            }
        }
    }

    /// Whether somebody fills the daemon's memory with names that nobody has.
    fn hears_too_much(&mut self, now: Instant) -> bool {
        if let Some(metrics) = self.daemon.metrics.as_ref().and_then(|metrics| metrics.try_recv().ok()) {
            self.daemon.metrics = None;
            let cached: i64 =
                metrics.iter().filter(|(name, _)| name.starts_with("cached-")).map(|(_, count)| *count).sum();
            if cached > CACHED_MAX {
                tracing::warn!(records = cached, "too much is announced on the local network: all of it is forgotten");
                return true;
            }
        }
        if self.daemon.metrics.is_none() && now.duration_since(self.checked) >= CHECKED_EVERY {
            self.checked = now;
            self.daemon.metrics = self.daemon.service.get_metrics().ok();
        }
        false
    }

    /// Begins anew, with a daemon that knows nothing.
    fn restart(&mut self) {
        let fresh = match Daemon::start(&self.near) {
            Ok(fresh) => fresh,
            Err(error) => return tracing::error!(%error, "multicast DNS does not start again"),
        };
        std::mem::replace(&mut self.daemon, fresh).stop();
        self.peers.clear();
        for shown in self.shown.values_mut() {
            shown.said = None;
        }
    }
}

impl Daemon {
    fn start(near: &Near) -> mdns_sd::Result<Daemon> {
        let service = ServiceDaemon::new()?;
        if near.names().is_empty() {
            service.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        } else {
            service.disable_interface(IfKind::All)?;
            service.enable_interface(near.names().iter().cloned().map(IfKind::Name).collect::<Vec<_>>())?;
        }
        let events = service.monitor()?;
        let found = service.browse(SERVICE)?;
        Ok(Daemon { service, found, events, metrics: None })
    }

    /// A command that the daemon may be too busy for.
    fn try_to(&self, what: &'static str, act: impl Fn(&ServiceDaemon) -> mdns_sd::Result<()>) {
        for _ in 0..BUSY_TRIES {
            match act(&self.service) {
                Err(mdns_sd::Error::Again) => std::thread::sleep(BUSY_PAUSE),
                Err(error) => return tracing::warn!(%error, "multicast DNS: cannot {what}"),
                Ok(()) => return,
            }
        }
        tracing::warn!("multicast DNS: cannot {what}, it is too busy");
    }

    fn stop(self) {
        self.try_to("stop", |daemon| {
            let stopped = daemon.shutdown()?;
            // The goodbyes go out meanwhile.
            let _stopped = stopped.recv_timeout(STOP_TIME_MAX);
            Ok(())
        });
    }
}

/// What is announced of a user.
fn service(name: &str, machine: &str, port: u16, card: &Card) -> mdns_sd::Result<ServiceInfo> {
    let host = format!("{machine}.local.");
    Ok(ServiceInfo::new(SERVICE, name, &host, (), port, &card.txt(port)[..])?.enable_addr_auto())
}

/// The first label of a service's name.
fn instance(fullname: &str) -> Option<&str> {
    let at = fullname.len().checked_sub(SERVICE.len() + 1)?;
    let (name, rest) = fullname.split_at_checked(at)?;
    rest.strip_prefix('.')?.eq_ignore_ascii_case(SERVICE).then_some(name)
}

impl Peer {
    /// The one who announces this; none if it is no name, or nowhere that streams may be opened to.
    fn of(service: &ResolvedService, near: &Near) -> Option<Peer> {
        let name = PresenceName::parse(instance(service.get_fullname())?)?;
        let port = service.get_port();
        let mut addresses: Vec<SocketAddr> =
            service.get_addresses().iter().take(ADDRESSES_MAX).filter_map(|address| socket(address, port)).collect();
        addresses.retain(|address| port > 0 && near.may_call(*address));
        addresses.sort_unstable_by_key(|address| (address.is_ipv6(), *address));
        let nick = service.get_property_val_str("nick").map(str::trim).filter(|nick| !nick.is_empty());
        let nick = nick.filter(|nick| !nick.contains(char::is_control)).map(str::to_owned);
        Some(Peer { name, nick, addresses })
    }

    /// Whether he is found there.
    pub fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|known| known.ip() == address)
    }

    /// Whether he is found elsewhere, and only there. Hosts have more addresses of IPv6 than they announce.
    pub fn is_elsewhere(&self, address: IpAddr) -> bool {
        let known = self.addresses.iter().filter(|known| known.is_ipv4()).count();
        address.is_ipv4() && known > 0 && !self.is_at(address)
    }
}

fn socket(address: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match address {
        ScopedIp::V4(v4) => Some(SocketAddr::from((*v4.addr(), port))),
        ScopedIp::V6(v6) => Some(SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into()),
        _ => None,
    }
}

/// §3
const SERVICE: &str = "_presence._tcp.local.";
/// Users who are announced at one time.
const SHOWN_MAX: usize = 500;
/// Others who are known at one time.
const PEERS_MAX: usize = 500;
/// Addresses of one of them.
const ADDRESSES_MAX: usize = 8;
/// What the daemon may remember: some records for each of those.
const CACHED_MAX: i64 = 16 * 1024;
const CHECKED_EVERY: Duration = Duration::from_secs(5);
/// RFC 6762 §6 has no record multicast more than once a second.
const SAID_EVERY: Duration = Duration::from_millis(1_200);
const RESTART_PAUSE: Duration = Duration::from_secs(5);
const STOP_TIME_MAX: Duration = Duration::from_secs(2);
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use proto::link_local::Status;

    #[test]
    fn a_name_is_what_is_before_the_service() {
        for (fullname, name) in [
            ("juliet@pronto._presence._tcp.local.", Some("juliet@pronto")),
            ("ju.liet@pronto._Presence._TCP.local.", Some("ju.liet@pronto")),
            ("é@m._presence._tcp.local.", Some("é@m")),
            ("._presence._tcp.local.", Some("")),
            ("_presence._tcp.local.", None),
            ("juliet@pronto._http._tcp.local.", None),
            ("ééééééééééééé", None),
            ("", None),
        ] {
            assert_eq!(instance(fullname), name, "{fullname}");
        }
    }

    #[test]
    fn what_is_announced_is_a_service_as_the_specification_has_it() {
        let card = Card { status: Status::Away, text: Some("x".repeat(900)), nick: None, jid: None };
        let service = service("5-1@pronto", "pronto", 5562, &card).expect("it fits");
        assert_eq!(service.get_fullname(), "5-1@pronto._presence._tcp.local.");
        assert_eq!((service.get_hostname(), service.get_port()), ("pronto.local.", 5562));
        assert_eq!(service.get_property_val_str("status"), Some("away"));
    }

    #[test]
    fn one_is_elsewhere_only_if_his_address_is_known() {
        let name = PresenceName::parse("romeo@forza").unwrap();
        let addresses = vec!["169.254.7.2:5298".parse().unwrap(), "[fe80::2]:5298".parse().unwrap()];
        let peer = Peer { name, nick: None, addresses };
        for (address, elsewhere) in
            [("169.254.7.2", false), ("169.254.7.3", true), ("fe80::2", false), ("fe80::3", false)]
        {
            assert_eq!(peer.is_elsewhere(address.parse().unwrap()), elsewhere, "{address}");
        }
        let unknown = Peer { addresses: Vec::new(), ..peer };
        assert!(!unknown.is_elsewhere("169.254.7.3".parse().unwrap()));
    }
}
