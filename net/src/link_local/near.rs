//! Which addresses are on the link. Streams come from there and go there alone: what somebody announces over multicast DNS must not
//! lead this server to speak to itself, or to machines that are not his neighbours.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use if_addrs::{IfAddr, Interface};

/// The interfaces that the operator has chosen.
#[derive(Clone, Debug)]
pub(super) struct Near {
    names: Vec<String>,
}

impl Near {
    /// These, or with none of them all but loopback ones.
    pub fn new(names: Vec<String>) -> Near {
        Near { names }
    }

    /// The names that were given.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether somebody with this address is a neighbour, or this machine.
    pub fn is_near(&self, address: SocketAddr) -> bool {
        self.knows(address, &interfaces())
    }

    /// Whether a stream may be opened there: to a neighbour, and not to this machine.
    pub fn may_call(&self, address: SocketAddr) -> bool {
        let all = interfaces();
        let ip = plain(address.ip());
        !all.iter().any(|interface| interface.ip() == ip) && self.knows(address, &all)
    }

    fn knows(&self, address: SocketAddr, all: &[Interface]) -> bool {
        all.iter().any(|interface| self.takes(interface) && shares_net(interface, address))
    }

    fn takes(&self, interface: &Interface) -> bool {
        !interface.is_loopback() && (self.names.is_empty() || self.names.contains(&interface.name))
    }
}

/// The address itself, where IPv6 sockets show those of IPv4 as their own.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Those there are now; none if they cannot be listed.
fn interfaces() -> Vec<Interface> {
    if_addrs::get_if_addrs()
        .inspect_err(|error| tracing::warn!(%error, "the network interfaces cannot be listed"))
        .unwrap_or_default()
}

fn shares_net(interface: &Interface, address: SocketAddr) -> bool {
    match (&interface.addr, plain(address.ip())) {
        (IfAddr::V4(own), IpAddr::V4(other)) => {
            let mask = u32::from(own.netmask);
            let is_host = !other.is_unspecified() && !other.is_multicast() && !other.is_broadcast();
            is_host && u32::from(own.ip) & mask == u32::from(other) & mask
        }
        // RFC 4291 §2.5.6: every link has such addresses, so it has to be this one.
        (IfAddr::V6(_), IpAddr::V6(other)) if is_link_local(other) => {
            let scope = match address {
                SocketAddr::V6(address) => address.scope_id(),
                SocketAddr::V4(_) => 0,
            };
            interface.index.is_some_and(|index| index == scope)
        }
        (IfAddr::V6(own), IpAddr::V6(other)) => {
            let mask = u128::from(own.netmask);
            let is_host = !other.is_unspecified() && !other.is_multicast() && !other.is_loopback();
            is_host && u128::from(own.ip) & mask == u128::from(other) & mask
        }
        (IfAddr::V4(_), IpAddr::V6(_)) | (IfAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;
    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};
    use std::net::SocketAddrV6;

    fn v4(ip: &str, netmask: &str) -> Interface {
        let (ip, netmask) = (ip.parse().unwrap(), netmask.parse().unwrap());
        of(IfAddr::V4(Ifv4Addr { ip, netmask, prefixlen: 0, broadcast: None }))
    }

    fn v6(ip: &str, netmask: &str) -> Interface {
        let (ip, netmask) = (ip.parse().unwrap(), netmask.parse().unwrap());
        of(IfAddr::V6(Ifv6Addr { ip, netmask, prefixlen: 64, broadcast: None }))
    }

    fn of(addr: IfAddr) -> Interface {
        Interface { name: "ll0".to_owned(), addr, index: Some(2), oper_status: IfOperStatus::Up, is_p2p: false }
    }

    fn socket(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect(ip), 5298)
    }

    #[test]
    fn neighbours_share_a_net() {
        let interface = v4("169.254.7.1", "255.255.0.0");
        for (address, near) in [
            ("169.254.9.9", true),
            ("::ffff:169.254.9.9", true),
            ("169.253.7.2", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.251", false),
            ("255.255.255.255", false),
            ("fe80::1", false),
        ] {
            assert_eq!(shares_net(&interface, socket(address)), near, "{address}");
        }
        let interface = v6("fd00::2", "ffff:ffff:ffff:ffff::");
        for (address, near) in [
            ("fd00::9", true),
            ("fd00:0:0:1::9", false),
            ("fe80::9", false),
            ("::1", false),
            ("ff02::fb", false),
            ("::", false),
        ] {
            assert_eq!(shares_net(&interface, socket(address)), near, "{address}");
        }
        // Which link it is on, such an address says only with its scope.
        for (scope, near) in [(2, true), (3, false)] {
            let address = SocketAddrV6::new("fe80::9".parse().unwrap(), 5298, 0, scope);
            assert_eq!(shares_net(&interface, address.into()), near, "{address}");
        }
    }

    #[test]
    fn this_machine_is_never_called() {
        let near = Near::new(Vec::new());
        for interface in if_addrs::get_if_addrs().unwrap() {
            assert!(!near.may_call(SocketAddr::new(interface.ip(), 5298)), "{interface:?}");
        }
        assert!(!near.is_near(socket("127.0.0.1")));
    }
}
