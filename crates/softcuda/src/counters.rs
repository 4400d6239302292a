//! What a launch did, as a profiler would count it.

use std::ops::AddAssign;

/// Counts of one launch, or of several added up. Instructions are counted for each active lane, requests for each warp.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Counters {
    /// Launches added up here.
    pub launches: u64,
    /// Threads that ran.
    pub threads: u64,
    /// Warp instructions issued: one for all the active lanes.
    pub issued: u64,
    /// f32 (and 16-bit float) arithmetic and comparisons.
    pub fp32: u64,
    /// f64 arithmetic and comparisons.
    pub fp64: u64,
    /// Integer and logical arithmetic, comparisons, conversions among integers.
    pub int: u64,
    /// Loads, stores and atomics of global memory.
    pub global: u64,
    /// Loads, stores and atomics of shared memory.
    pub shared: u64,
    /// Branches, calls, barriers, exits.
    pub control: u64,
    /// Everything else: moves, conversions with floats, shuffles, parameters, local memory.
    pub other: u64,
    /// Warp requests that loaded global memory.
    pub load_requests: u64,
    /// Warp requests that stored to global memory.
    pub store_requests: u64,
    /// Those that loaded 16 bytes a lane.
    pub wide_loads: u64,
    /// Those that stored 16 bytes a lane.
    pub wide_stores: u64,
    /// 32-byte sectors that the load requests touched.
    pub load_sectors: u64,
    /// Those of them that no load of the same block touched before: what a cache that keeps all of a block's sectors lacks.
    pub missed_sectors: u64,
    /// 32-byte sectors that the store requests touched.
    pub store_sectors: u64,
    /// Different bytes of global memory that the launch loaded (0 unless races are detected).
    pub unique_loaded: u64,
    /// Different bytes of global memory that the launch stored (0 unless races are detected).
    pub unique_stored: u64,
    /// Bytes that one lane moved at once in the widest access to global memory.
    pub widest: u64,
    /// Warp requests to shared memory.
    pub shared_requests: u64,
    /// Wavefronts beyond one that bank conflicts cost (a request of 8 or 16 bytes a lane needs 2 or 4 by itself).
    pub bank_conflicts: u64,
    /// Those of loads.
    pub load_conflicts: u64,
    /// The line of the PTX whose instruction had the most bank conflicts; 0 where there were none.
    pub worst_line: u64,
    /// Its requests.
    pub worst_requests: u64,
    /// Its bank conflicts.
    pub worst_conflicts: u64,
    /// Lanes' atomic operations, on global or shared memory.
    pub atomics: u64,
    /// Barriers that warps arrived at.
    pub barriers: u64,
}

impl Counters {
    /// Instructions of all classes, counted for each active lane.
    pub fn instructions(&self) -> u64 {
        self.fp32 + self.fp64 + self.int + self.global + self.shared + self.control + self.other
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, o: Counters) {
        self.launches += o.launches;
        self.threads += o.threads;
        self.issued += o.issued;
        self.fp32 += o.fp32;
        self.fp64 += o.fp64;
        self.int += o.int;
        self.global += o.global;
        self.shared += o.shared;
        self.control += o.control;
        self.other += o.other;
        self.load_requests += o.load_requests;
        self.store_requests += o.store_requests;
        self.wide_loads += o.wide_loads;
        self.wide_stores += o.wide_stores;
        self.load_sectors += o.load_sectors;
        self.missed_sectors += o.missed_sectors;
        self.store_sectors += o.store_sectors;
        self.unique_loaded += o.unique_loaded;
        self.unique_stored += o.unique_stored;
        self.widest = self.widest.max(o.widest);
        self.shared_requests += o.shared_requests;
        self.bank_conflicts += o.bank_conflicts;
        self.load_conflicts += o.load_conflicts;
        if o.worst_conflicts > self.worst_conflicts {
            (self.worst_line, self.worst_requests) = (o.worst_line, o.worst_requests);
            self.worst_conflicts = o.worst_conflicts;
        }
        self.atomics += o.atomics;
        self.barriers += o.barriers;
    }
}
