//! What a device of each compute capability says about itself.

use crate::config::Config;

/// Bytes of shared memory that a block may have only where its function asks for them (`MAX_DYNAMIC_SHARED_SIZE_BYTES`).
pub fn shared_optin(cc: (u32, u32)) -> u32 {
    match cc {
        (7, 5) => 64 << 10,
        (8, 0) | (8, 7) => 163 << 10,
        (8, _) | (12, _) => 99 << 10,
        (7, _) => 96 << 10,
        _ => 227 << 10,
    }
}

/// Bytes of shared memory of a multiprocessor.
pub fn shared_per_sm(cc: (u32, u32)) -> u32 {
    shared_optin(cc) + if cc == (7, 5) { 0 } else { 1 << 10 }
}

/// Bytes of shared memory of each block that the system keeps.
pub fn shared_reserved(cc: (u32, u32)) -> u32 {
    if cc.0 >= 8 { 1 << 10 } else { 0 }
}

/// Bytes of shared memory that every block may have.
pub const SHARED_PER_BLOCK: u32 = 48 << 10;
/// Threads that a block may have.
pub const THREADS_PER_BLOCK: u32 = 1024;
/// Blocks along each axis of a grid.
pub const GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
/// Threads along each axis of a block.
pub const BLOCK: [u32; 3] = [1024, 1024, 64];

/// Threads that a multiprocessor holds.
pub fn threads_per_sm(cc: (u32, u32)) -> u32 {
    match cc {
        (7, 5) => 1024,
        (8, 6..=9) | (12, _) => 1536,
        _ => 2048,
    }
}

/// Blocks that a multiprocessor holds.
pub fn blocks_per_sm(cc: (u32, u32)) -> u32 {
    match cc {
        (7, 5) | (8, 6) | (8, 7) => 16,
        (8, 9) | (12, _) => 24,
        _ => 32,
    }
}

/// The value of a `CUdevice_attribute`; nothing where there is no such attribute.
pub fn attribute(which: i32, config: &Config, ordinal: usize) -> Option<i32> {
    let cc = config.cc;
    let value = match which {
        1 => THREADS_PER_BLOCK,
        2..=4 => BLOCK[which as usize - 2],
        5..=7 => GRID[which as usize - 5],
        8 => SHARED_PER_BLOCK,
        9 => 64 << 10,
        10 => 32,
        11 => i32::MAX as u32,
        12 | 82 => 64 << 10,
        13 => 1_410_000,
        14 => 512,
        // Copies and kernels may overlap, kernels may run side by side.
        15 | 31 => 1,
        16 => config.sms,
        33 => ordinal as u32 + 1,
        36 => 1_215_000,
        37 => 5120,
        38 => 4 << 20,
        39 => threads_per_sm(cc),
        40 => 2,
        // Unified addressing: an address names its device.
        41 => 1,
        51 => 32,
        75 => cc.0,
        76 => cc.1,
        // Stream priorities, L1 caching of globals and locals.
        78..=80 => 1,
        81 => shared_per_sm(cc),
        87 => 2,
        // Compute preemption, cooperative launch.
        90 | 95 => 1,
        97 => shared_optin(cc),
        106 => blocks_per_sm(cc),
        111 => shared_reserved(cc),
        115 => config.pools.into(),
        // Limits of textures, and what is not played.
        other if (1..=150).contains(&other) => 0,
        _ => return None,
    };
    Some(value as i32)
}

/// The blocks of a kernel that a multiprocessor holds at once. Registers are not known: they do not limit it here.
pub fn occupancy(cc: (u32, u32), threads: u32, shared: u64) -> u32 {
    if threads == 0 || threads > THREADS_PER_BLOCK {
        return 0;
    }
    let warps = threads.div_ceil(32) * 32;
    let by_threads = threads_per_sm(cc) / warps;
    let each = shared + u64::from(shared_reserved(cc));
    let by_shared = u64::from(shared_per_sm(cc)).checked_div(each).unwrap_or(u64::MAX);
    by_threads.min(blocks_per_sm(cc)).min(by_shared.min(64) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupancy_is_limited_by_threads_blocks_and_shared_memory() {
        assert_eq!(occupancy((8, 0), 1024, 0), 2);
        assert_eq!(occupancy((8, 0), 256, 0), 8);
        assert_eq!(occupancy((8, 0), 32, 0), 32);
        assert_eq!(occupancy((7, 5), 256, 32 << 10), 2);
        assert_eq!(occupancy((8, 0), 128, 163 << 10), 1);
        assert_eq!(occupancy((8, 0), 128, 164 << 10), 0);
        assert_eq!(occupancy((8, 0), 1025, 0), 0);
    }
}
