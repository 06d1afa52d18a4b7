//! How many connections each address has, over all shards.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

/// The count, shared by all shards: taken when a connection comes and when it goes.
#[derive(Clone, Default)]
pub(crate) struct Guests(Arc<Mutex<HashMap<IpAddr, u32, RandomState>>>);

/// One connection, counted until this is dropped.
pub(crate) struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    /// Counts a connection in; `None` when the address has `max` already. Zero is no limit.
    pub fn come(&self, address: IpAddr, max: u32) -> Option<Guest> {
        let address = house(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        if max > 0 && *count >= max {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

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
        let guests = Guests::default();
        let come = |address: &str| guests.come(address.parse().unwrap(), 2);
        let first = come("2001:db8::1");
        let second = come("2001:db8::2");
        assert!(first.is_some() && second.is_some() && come("2001:db8::3").is_none());
        let others = (come("10.0.0.1"), come("::ffff:10.0.0.1"));
        assert!(others.0.is_some() && others.1.is_some() && come("10.0.0.1").is_none());
        drop(first);
        assert!(come("2001:db8::3").is_some());
        drop((second, others));
        assert!(guests.0.lock().unwrap().is_empty());
    }
}
