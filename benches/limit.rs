//! What this machine can do at best: arithmetic in registers alone, and memory streamed by all cores. Tables of measurements
//! stand these figures beside the kernels'. Prints a line of JSON: G elements/s (a combine of one x and one y each), GB/s.

mod ports;

/// Bytes of an array to stream, beyond the caches.
const STREAM: usize = 64 << 20;

#[cfg(target_arch = "x86_64")]
mod stream {
    use std::arch::x86_64::*;

    /// # Safety
    /// AVX; `to` is aligned to 32 bytes and as long as `from`, a multiple of 128 bytes.
    #[target_feature(enable = "avx")]
    pub unsafe fn copy_past_caches(from: &[f32], to: &mut [f32]) {
        for n in (0..from.len()).step_by(32) {
            for v in 0..4 {
                // SAFETY: within both.
                unsafe {
                    _mm256_stream_ps(to.as_mut_ptr().add(n + 8 * v), _mm256_loadu_ps(from.as_ptr().add(n + 8 * v)))
                }
            }
        }
        _mm_sfence();
    }

    /// # Safety
    /// As `copy_past_caches`.
    #[target_feature(enable = "avx")]
    pub unsafe fn store_past_caches(to: &mut [f32]) {
        let v = _mm256_set1_ps(1.0);
        for n in (0..to.len()).step_by(8) {
            // SAFETY: within the slice.
            unsafe { _mm256_stream_ps(to.as_mut_ptr().add(n), v) }
        }
        _mm_sfence();
    }

    /// # Safety
    /// AVX; the length is a multiple of 64.
    #[target_feature(enable = "avx")]
    pub unsafe fn read(from: &[f32]) -> f32 {
        let mut acc = [_mm256_setzero_ps(); 8];
        for n in (0..from.len()).step_by(64) {
            for (v, a) in acc.iter_mut().enumerate() {
                // SAFETY: within the slice.
                *a = _mm256_add_ps(*a, unsafe { _mm256_loadu_ps(from.as_ptr().add(n + 8 * v)) });
            }
        }
        acc.iter().map(|&a| _mm256_cvtss_f32(a)).sum()
    }
}

#[cfg(target_arch = "x86_64")]
fn main() {
    use ports::{Ports, best};
    use std::hint::black_box;
    use stream::*;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(ports) = Ports::new(threads) else {
        println!("{{}}");
        return;
    };
    print!("{{\"threads\": {threads}, \"set\": \"{}\"", if ports.wide { "AVX-512" } else { "AVX2" });
    print!(", \"ghz\": {:.3}", ports.ghz);
    for combine in ["dot", "square", "abs"] {
        for dtype in ["f32", "f64"] {
            let name = format!("{combine}_{dtype}");
            let [sample, clock] = ports.limits(&name).unwrap_or([f64::NAN; 2]);
            print!(
                ", \"{name}\": {:.1}, \"{name}_sample\": {sample:.1}, \"{name}_ports\": {clock:.1}",
                sample.max(clock)
            );
        }
    }
    // A part for each thread, of whole pages.
    let part = (STREAM / 4 / threads) & !1023;
    let mut parts: Vec<_> = (0..threads).map(|_| (vec![1f32; part], vec![1f32; part + 8])).collect();
    type Part = std::sync::Mutex<(Vec<f32>, Vec<f32>)>;
    let parts: Vec<Part> = parts.drain(..).map(std::sync::Mutex::new).collect();
    let stream = |bytes: usize, f: &(dyn Fn(&[f32], &mut [f32]) + Sync)| {
        let t = best(threads, |t| {
            let mut p = parts[t].lock().unwrap_or_else(|e| e.into_inner());
            let (from, to) = &mut *p;
            let skip = to.as_ptr().align_offset(32);
            f(from, &mut to[skip..skip + part]);
        });
        (bytes * part * threads) as f64 / t * 1e-9
    };
    // SAFETY: AVX2 was looked for; the parts are aligned and whole pages long.
    unsafe {
        print!(", \"read_gbs\": {:.1}", stream(4, &|from, _| _ = black_box(read(from))));
        print!(", \"store_gbs\": {:.1}", stream(4, &|_, to| black_box(to).fill(1.5)));
        print!(", \"store_past_caches_gbs\": {:.1}", stream(4, &|_, to| store_past_caches(to)));
        print!(", \"copy_gbs\": {:.1}", stream(8, &|from, to| black_box(to).copy_from_slice(from)));
        println!(", \"copy_past_caches_gbs\": {:.1}}}", stream(8, &|from, to| copy_past_caches(from, to)));
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("{{}}");
}
