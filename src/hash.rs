//! A quick hasher for addresses, keys of whole words and small integers; not for keys an adversary chooses.

use std::hash::{BuildHasherDefault, Hasher};

/// The hasher.
#[derive(Default, Debug)]
pub struct FastHasher(u64);

/// Builds [`FastHasher`].
pub type Fast = BuildHasherDefault<FastHasher>;

impl FastHasher {
    fn mix(&mut self, v: u64) {
        self.0 = (self.0.rotate_left(5) ^ v).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        // The multiplication leaves the low bits weak; tables use both ends.
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        for &b in words.remainder() {
            self.mix(b as u64);
        }
        for w in words {
            self.mix(u64::from_le_bytes([w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]]));
        }
    }

    fn write_u64(&mut self, v: u64) {
        self.mix(v);
    }

    fn write_usize(&mut self, v: usize) {
        self.mix(v as u64);
    }
}
