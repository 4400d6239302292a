//! Copies between host and device through pinned memory: the host's copy of one piece runs beside the device's of another.

use super::gpu::{Event, Gpu};
use crate::error::Result;
use cudarc::driver::sys;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of one pinned piece.
const PIECE: usize = 4 << 20;
/// Pieces kept for reuse.
const KEEP: usize = 8;

/// Pinned memory for the copies of one GPU.
#[derive(Debug)]
pub struct Stage {
    gpu: Arc<Gpu>,
    idle: Mutex<Vec<Piece>>,
}

/// Pinned memory, and the end of the last copy that used it.
#[derive(Debug)]
struct Piece {
    host: *mut u8,
    event: Event,
    /// Whether the event was recorded and not waited for.
    busy: bool,
    /// Whether a copy may use it of which no event tells the end.
    lost: bool,
    gpu: Arc<Gpu>,
}

// SAFETY: the memory is the piece's own.
unsafe impl Send for Piece {}

impl Stage {
    /// A stage of a GPU; pieces are made when first needed.
    pub fn new(gpu: Arc<Gpu>) -> Stage {
        Stage { gpu, idle: Mutex::default() }
    }

    /// Copies host memory to the device, in the stream's order; `from` may change once this returns.
    pub fn upload(&self, from: &[u8], to: u64) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        let mut ring = self.ring(from.len());
        if ring.is_empty() {
            // No pinned memory: the driver stages itself, and waiting makes sure that it is done with `from`.
            self.to_device(to, from.as_ptr(), from.len())?;
            return self.gpu.synchronize();
        }
        for (n, part) in from.chunks(PIECE).enumerate() {
            let slots = ring.len();
            let piece = &mut ring[n % slots];
            piece.settle()?;
            // SAFETY: a piece is PIECE long, no copy uses it any more, and the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), piece.host, part.len()) };
            self.to_device(to + (n * PIECE) as u64, piece.host, part.len())?;
            piece.mark()?;
        }
        self.keep(ring);
        Ok(())
    }

    /// Copies device memory to the host, after everything queued before.
    pub fn download(&self, from: u64, to: &mut [u8]) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        let mut ring = self.ring(to.len());
        if ring.is_empty() {
            self.to_host(to.as_mut_ptr(), from, to.len())?;
            return self.gpu.synchronize();
        }
        let (slots, total) = (ring.len(), to.len());
        let parts = total.div_ceil(PIECE);
        let length = |n: usize| PIECE.min(total - n * PIECE);
        self.fetch(&mut ring[0], from, 0, length(0))?;
        for n in 0..parts {
            let next = n + 1;
            if next < parts && slots > 1 {
                self.fetch(&mut ring[next % slots], from, next, length(next))?;
            }
            let (piece, at) = (&mut ring[n % slots], n * PIECE);
            piece.settle()?;
            // SAFETY: the copy into the piece is done; the range is within `to`.
            unsafe { std::ptr::copy_nonoverlapping(piece.host, to[at..].as_mut_ptr(), length(n)) };
            if next < parts && slots == 1 {
                self.fetch(&mut ring[0], from, next, length(next))?;
            }
        }
        self.keep(ring);
        Ok(())
    }

    fn fetch(&self, piece: &mut Piece, from: u64, n: usize, length: usize) -> Result<()> {
        piece.settle()?;
        self.to_host(piece.host, from + (n * PIECE) as u64, length)?;
        piece.mark()
    }

    fn to_device(&self, to: u64, from: *const u8, bytes: usize) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: both ranges are the callers'; pageable memory is waited for, pinned memory guarded by its event.
        let status = unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, self.gpu.cu_stream()) };
        self.gpu.check("cuMemcpyHtoDAsync", status)
    }

    fn to_host(&self, to: *mut u8, from: u64, bytes: usize) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: both ranges are the callers'; the callers wait before they read.
        let status = unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, self.gpu.cu_stream()) };
        self.gpu.check("cuMemcpyDtoHAsync", status)
    }

    /// One piece for a short copy, two for a long one; none where there is no pinned memory to be had.
    fn ring(&self, bytes: usize) -> Vec<Piece> {
        let wanted = if bytes > PIECE { 2 } else { 1 };
        let mut ring = vec![];
        while ring.len() < wanted {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle.or_else(|| Piece::new(&self.gpu).ok()) {
                Some(piece) => ring.push(piece),
                None => break,
            }
        }
        ring
    }

    fn keep(&self, mut ring: Vec<Piece>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEEP.saturating_sub(idle.len()).min(ring.len());
        let rest = ring.split_off(room);
        for piece in ring {
            // Taken from the end: its copy has had the most time.
            idle.insert(0, piece);
        }
        drop(idle);
        // Freeing a piece waits for its copy: not under the lock.
        drop(rest);
    }
}

impl Piece {
    fn new(gpu: &Arc<Gpu>) -> Result<Piece> {
        let event = Event::new(gpu, false)?;
        let mut host = std::ptr::null_mut();
        // SAFETY: the out pointer is valid. No flags: write-combined memory would be slow to read.
        gpu.check("cuMemHostAlloc", unsafe { sys::cuMemHostAlloc(&mut host, PIECE, 0) })?;
        Ok(Piece { host: host.cast(), event, busy: false, lost: false, gpu: gpu.clone() })
    }

    fn mark(&mut self) -> Result<()> {
        self.busy = true;
        let recorded = self.event.record();
        self.lost = recorded.is_err() && self.gpu.synchronize().is_err();
        recorded
    }

    fn settle(&mut self) -> Result<()> {
        if self.busy {
            // Where that fails, the copy may still be under way.
            self.event.wait()?;
            self.busy = false;
        }
        Ok(())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let settled = self.settle();
        if self.lost || settled.is_err() || self.gpu.bind().is_err() {
            // A copy may still use it, or the context is gone and the memory with it.
            return;
        }
        // SAFETY: from cuMemHostAlloc, freed once, and no copy uses it.
        unsafe { sys::cuMemFreeHost(self.host.cast()) };
    }
}
