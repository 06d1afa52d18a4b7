//! Which shard an owner lives on.

use proto::owner::{Owner, PARTITIONS};

/// The shards of this machine, numbered from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    shards: u16,
}

impl Places {
    /// This many shards, at least one and at most one for each partition.
    pub fn new(shards: u16) -> Places {
        Places { shards: shards.clamp(1, PARTITIONS) }
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.shards
    }

    /// The shard an owner lives on: each shard has a run of partitions, all runs alike in length.
    pub fn of(self, owner: &Owner) -> u16 {
        let place = u32::from(owner.partition().number()) * u32::from(self.shards) / u32::from(PARTITIONS);
        u16::try_from(place).expect("a place is below the number of shards, which is a u16")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::jid::user::{AppId, UserId};
    use proto::owner::AccountId;

    #[test]
    fn every_shard_gets_its_share() {
        for shards in [1, 2, 3, 7, 64] {
            let places = Places::new(shards);
            let mut counts = vec![0; usize::from(shards)];
            for user in 0..10_000 {
                let id = AccountId { app: AppId(1), user: UserId(user) };
                counts[usize::from(places.of(&Owner::Account(id)))] += 1;
            }
            let fair = 10_000 / usize::from(shards);
            assert!(counts.iter().all(|&count| count > fair / 2 && count < fair * 2), "{counts:?}");
        }
    }
}
