//! Listening sockets: bound before the shards start, one for each shard at each address.
//!
//! The kernel deals new connections out among the sockets that share an address (`SO_REUSEPORT`). It would deal them out to a
//! second server just the same, which the lock in the data directory rules out.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::config::Listen;
use crate::conn::tls::Inside;
use crate::shard::Port;

/// What is offered at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// XMPP with STARTTLS.
    Xmpp,
    /// XMPP over TLS.
    Xmpps,
    /// WebSocket over TLS.
    Websocket,
    /// BOSH over TLS.
    Bosh,
    /// The API over TLS.
    Https,
    /// The API without TLS.
    Http,
    /// Components, without TLS.
    Component,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Kind; 7] =
        [Kind::Xmpp, Kind::Xmpps, Kind::Websocket, Kind::Bosh, Kind::Https, Kind::Http, Kind::Component];

    /// What is spoken there.
    pub fn port(self) -> Port {
        match self {
            Kind::Xmpp | Kind::Xmpps => Port::Xmpp,
            Kind::Websocket | Kind::Bosh | Kind::Https | Kind::Http => Port::Http,
            Kind::Component => Port::Component,
        }
    }

    /// Which TLS comes first, if any does.
    pub fn tls(self) -> Option<Inside> {
        match self {
            Kind::Xmpp | Kind::Http | Kind::Component => None,
            Kind::Xmpps => Some(Inside::Xmpp),
            Kind::Websocket | Kind::Bosh | Kind::Https => Some(Inside::Http),
        }
    }

    /// Its key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Xmpp => "xmpp",
            Kind::Xmpps => "xmpps",
            Kind::Websocket => "websocket",
            Kind::Bosh => "bosh",
            Kind::Https => "https",
            Kind::Http => "http",
            Kind::Component => "component",
        }
    }

    fn addresses(self, listen: &Listen) -> &[SocketAddr] {
        match self {
            Kind::Xmpp => &listen.xmpp,
            Kind::Xmpps => &listen.xmpps,
            Kind::Websocket => &listen.websocket,
            Kind::Bosh => &listen.bosh,
            Kind::Https => &listen.https,
            Kind::Http => &listen.http,
            Kind::Component => &listen.component,
        }
    }
}

/// Where the server listens in the end: real ports, in the order of [`Kind::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(pub Vec<(Kind, SocketAddr)>);

impl Addresses {
    /// The first address of a kind.
    pub fn of(&self, kind: Kind) -> Option<SocketAddr> {
        self.0.iter().find(|(other, _)| *other == kind).map(|(_, address)| *address)
    }
}

/// The sockets of one shard.
pub(crate) type Sockets = Vec<(Kind, OwnedFd)>;

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub struct BindError {
    kind: Kind,
    address: SocketAddr,
    cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { kind, address, cause } = self;
        write!(f, "cannot listen at {address} ({}): {cause}", kind.key())?;
        match cause.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "; stop whatever uses port {}, or set `{}` under [listen]", address.port(), kind.key())
            }
            io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "; ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose a higher one, or grant it"
                )
            }
            io::ErrorKind::AddrNotAvailable => write!(f, "; this machine has no such address"),
            _ => Ok(()),
        }
    }
}

/// Binds everything for `shards` shards.
///
/// # Errors
/// The first address that cannot be had.
pub(crate) fn bind(listen: &Listen, shards: u16) -> Result<(Addresses, Vec<Sockets>), BindError> {
    let mut addresses = Addresses::default();
    let mut sockets: Vec<Sockets> = (0..shards).map(|_| Vec::new()).collect();
    for kind in Kind::ALL {
        for &wanted in kind.addresses(listen) {
            let failed = |cause| BindError { kind, address: wanted, cause };
            check_free(wanted).map_err(failed)?;
            let mut real = wanted;
            for sockets in &mut sockets {
                let (socket, bound) = bind_one(real).map_err(failed)?;
                // The first socket of port 0 has the port that the others join.
                real = bound;
                sockets.push((kind, socket));
            }
            addresses.0.push((kind, real));
        }
    }
    Ok((addresses, sockets))
}

/// Sockets that share an address do not notice a stranger's that shares it too; one that does not share does.
fn check_free(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = match socket(address) {
        Err(error) if is_missing_ipv6(address, &error) => return check_free(in_ipv4(address)),
        socket => socket?,
    };
    socket.set_reuse_address(true)?;
    match socket.bind(&address.into()) {
        Err(error) if is_missing_ipv6(address, &error) => check_free(in_ipv4(address)),
        bound => bound,
    }
}

fn bind_one(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let bound = socket(address).and_then(|socket| {
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // Connections inherit these. RFC 6120 has no opinion; without the first, replies wait for acknowledgements.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    });
    let socket = match bound {
        Err(error) if is_missing_ipv6(address, &error) => return bind_one(in_ipv4(address)),
        bound => bound?,
    };
    let real = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket.into(), real))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}

/// Whether an address means everywhere and the machine has no IPv6.
fn is_missing_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let missing = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL].map(Some).contains(&error.raw_os_error());
    address.is_ipv6() && address.ip().is_unspecified() && missing
}

fn in_ipv4(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port())
}

/// Connections that wait to be accepted; the kernel has a bound of its own (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn nowhere() -> Listen {
        let none = Vec::new;
        Listen {
            xmpp: none(),
            xmpps: none(),
            websocket: none(),
            bosh: none(),
            https: none(),
            http: none(),
            component: none(),
        }
    }

    #[test]
    fn all_shards_share_the_port_that_was_found() {
        let listen = Listen { xmpp: vec!["[::]:0".parse().unwrap()], ..nowhere() };
        let (addresses, sockets) = bind(&listen, 3).unwrap();
        let address = addresses.of(Kind::Xmpp).unwrap();
        assert!(address.port() != 0 && sockets.len() == 3 && sockets.iter().all(|of_shard| of_shard.len() == 1));
        assert_eq!(addresses.of(Kind::Http), None);
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect("IPv4 gets in as well");
    }

    #[test]
    fn a_port_that_is_taken_says_what_to_do() {
        let listen = Listen { http: vec!["127.0.0.1:0".parse().unwrap()], ..nowhere() };
        let (addresses, _sockets) = bind(&listen, 2).unwrap();
        let again = Listen { http: vec![addresses.of(Kind::Http).unwrap()], ..nowhere() };
        let said = bind(&again, 1).unwrap_err().to_string();
        assert!(said.contains("cannot listen at 127.0.0.1:") && said.contains("set `http` under [listen]"), "{said}");
    }
}
