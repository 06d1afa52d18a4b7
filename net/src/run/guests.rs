//! How many connections there are over all shards, and from each address.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

/// The count, shared by all shards: taken when a connection comes and when it goes.
#[derive(Clone)]
pub(crate) struct Guests {
    counts: Arc<Mutex<Counts>>,
    /// As many as there are descriptors for, when those that the store and the shards need are set aside.
    all_max: usize,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_house: HashMap<IpAddr, u32, RandomState>,
}

/// One connection, counted until this is dropped.
pub(crate) struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    /// Nobody yet, and room for so many.
    pub fn up_to(all_max: usize) -> Guests {
        Guests { counts: Arc::default(), all_max }
    }

    /// Counts a connection in; `None` when there is no room, or when the address has `max` already. Zero is no limit.
    pub fn come(&self, address: IpAddr, max: u32) -> Option<Guest> {
        let address = house(address);
        // Whoever runs the server gets in when nobody else does.
        let all_max = self.all_max + if address.is_loopback() { SPARE_FOR_THE_HOUSE } else { 0 };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= all_max {
            return None;
        }
        let count = counts.by_house.entry(address).or_insert(0);
        if max > 0 && *count >= max {
            return None;
        }
        *count += 1;
        counts.all += 1;
        Some(Guest { guests: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(count) = counts.by_house.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_house.remove(&self.address);
            }
        }
    }
}

/// Connections from this machine that have room when all other room is taken.
pub(crate) const SPARE_FOR_THE_HOUSE: usize = 16;

/// One IPv6 customer usually has a whole /64, and IPv4 addresses come mapped into IPv6.
fn house(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_house_and_forgets_who_left() {
        let guests = Guests::up_to(100);
        let come = |address: &str| guests.come(address.parse().unwrap(), 2);
        let first = come("2001:db8::1");
        let second = come("2001:db8::2");
        assert!(first.is_some() && second.is_some() && come("2001:db8::3").is_none());
        let others = (come("10.0.0.1"), come("::ffff:10.0.0.1"));
        assert!(others.0.is_some() && others.1.is_some() && come("10.0.0.1").is_none());
        drop(first);
        assert!(come("2001:db8::3").is_some());
        drop((second, others));
        let counts = guests.counts.lock().unwrap();
        assert!(counts.by_house.is_empty() && counts.all == 0);
    }

    #[test]
    fn the_house_is_full_for_all_but_its_own() {
        let guests = Guests::up_to(2);
        let come = |address: &str| guests.come(address.parse().unwrap(), 0);
        let (first, second) = (come("10.0.0.1"), come("10.0.0.2"));
        assert!(first.is_some() && second.is_some() && come("10.0.0.3").is_none());
        let own: Vec<_> = (0..=SPARE_FOR_THE_HOUSE).map(|_| come("127.0.0.1")).collect();
        assert_eq!(own.iter().flatten().count(), SPARE_FOR_THE_HOUSE, "so many and no more");
        assert!(come("::1").is_none());
        drop((first, own));
        assert!(come("10.0.0.3").is_some());
    }
}
