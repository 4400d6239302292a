//! The sectors that a block has loaded: a cache that forgets nothing.

/// A set of sectors, by open addressing; 0, where nothing lies, is an empty place.
#[derive(Debug, Default)]
pub(super) struct Cache {
    slots: Vec<u64>,
    used: usize,
}

impl Cache {
    /// Forgets everything.
    pub fn clear(&mut self) {
        if self.used > 0 {
            self.slots.fill(0);
            self.used = 0;
        }
    }

    /// Adds a sector; whether it was not there.
    pub fn insert(&mut self, sector: u64) -> bool {
        if 2 * self.used >= self.slots.len() {
            let more = vec![0; (2 * self.slots.len()).max(1024)];
            let before = std::mem::replace(&mut self.slots, more);
            self.used = 0;
            before.into_iter().filter(|&s| s != 0).for_each(|s| _ = self.insert(s));
        }
        let mask = self.slots.len() - 1;
        let mut at = (sector.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while self.slots[at] != 0 {
            if self.slots[at] == sector {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = sector;
        self.used += 1;
        true
    }
}
