//! Random bytes for streams, which draw them while the shard is busy with their stanzas.

use aws_lc_rs::digest::{SHA256, digest};
use proto::effect::Random;

/// A secret from the system, stretched by SHA-256 and renewed every few seconds.
pub(super) struct Chance {
    seed: [u8; 32],
    lent: u64,
}

impl Chance {
    pub fn new(random: &mut dyn Random) -> Chance {
        Chance { seed: random.array(), lent: 0 }
    }

    /// A source of its own for one call. Costs nothing until it is used.
    pub fn lend(&mut self) -> Lent {
        self.lent += 1;
        Lent { seed: self.seed, call: self.lent, block: 0 }
    }
}

/// The bytes of one call.
pub(super) struct Lent {
    seed: [u8; 32],
    call: u64,
    block: u64,
}

impl Random for Lent {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let mut input = [0; 48];
            input[..32].copy_from_slice(&self.seed);
            input[32..40].copy_from_slice(&self.call.to_be_bytes());
            input[40..].copy_from_slice(&self.block.to_be_bytes());
            chunk.copy_from_slice(&digest(&SHA256, &input).as_ref()[..chunk.len()]);
            self.block += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.0 += 1;
            bytes.fill(self.0);
        }
    }

    #[test]
    fn no_two_draws_are_alike() {
        let mut chance = Chance::new(&mut Counting(0));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10 {
            let mut lent = chance.lend();
            for _ in 0..10 {
                let mut bytes = [0; 40];
                lent.fill(&mut bytes);
                assert!(seen.insert(bytes[..20].to_vec()) && seen.insert(bytes[20..].to_vec()));
            }
        }
    }
}
