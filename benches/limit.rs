//! What this machine can do at best: arithmetic in registers alone, and memory streamed by all cores. Tables of measurements
//! stand these figures beside the kernels'. Prints a line of JSON: G elements/s (a combine of one x and one y each), GB/s.

use std::sync::Barrier;
use std::time::Instant;

/// Turns of a loop over registers in one sample: many times what starting a thread costs.
const TURNS: usize = 2_000_000;
/// Samples; the best counts.
const SAMPLES: usize = 9;
/// Bytes of an array to stream, beyond the caches.
const STREAM: usize = 64 << 20;

/// The best time in seconds of `f(thread)` run by all threads at once.
fn best(threads: usize, f: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let time = |t: usize| {
        barrier.wait();
        let start = Instant::now();
        f(t);
        start.elapsed().as_secs_f64()
    };
    let sample = || {
        std::thread::scope(|s| {
            let others: Vec<_> = (1..threads).map(|t| s.spawn(move || time(t))).collect();
            let own = time(0);
            others.into_iter().map(|h| h.join().unwrap_or(f64::INFINITY)).fold(own, f64::max)
        })
    };
    (0..SAMPLES).map(|_| sample()).fold(f64::INFINITY, f64::min)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    /// A loop over twelve accumulators: `$step` for each, with `\a` its number. 12 and 13 hold values, 15 the mask of `abs`.
    macro_rules! ports {
        ($($name:ident $t:ty: $splat:literal $mask:literal $step:literal;)*) => {$(
            /// # Safety
            /// The machine has the instructions.
            pub unsafe fn $name(turns: usize) {
                let (x, y, mask): ($t, $t, u64) = (0.75, 0.5, if size_of::<$t>() == 4 { 0x7fff_ffff_7fff_ffff } else { !0 >> 1 });
                // SAFETY: reads three values and changes the registers it names.
                unsafe {
                    asm!(
                        concat!($splat, "12, [{x}]"), concat!($splat, "13, [{y}]"), concat!($mask, "15, [{mask}]"),
                        "2:", ".irp a,0,1,2,3,4,5,6,7,8,9,10,11", $step, ".endr", "dec {n}", "jnz 2b", "vzeroupper",
                        x = in(reg) &x, y = in(reg) &y, mask = in(reg) &mask, n = inout(reg) turns => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nostack, readonly),
                    );
                }
            }
        )*};
    }

    ports! {
        dot_f32_ymm f32: "vbroadcastss ymm" "vbroadcastsd ymm" "vfmadd231ps ymm\\a, ymm12, ymm13";
        dot_f64_ymm f64: "vbroadcastsd ymm" "vbroadcastsd ymm" "vfmadd231pd ymm\\a, ymm12, ymm13";
        square_f32_ymm f32: "vbroadcastss ymm" "vbroadcastsd ymm"
            "vsubps ymm14, ymm12, ymm13\nvfmadd231ps ymm\\a, ymm14, ymm14";
        square_f64_ymm f64: "vbroadcastsd ymm" "vbroadcastsd ymm"
            "vsubpd ymm14, ymm12, ymm13\nvfmadd231pd ymm\\a, ymm14, ymm14";
        abs_f32_ymm f32: "vbroadcastss ymm" "vbroadcastsd ymm"
            "vsubps ymm14, ymm12, ymm13\nvandps ymm14, ymm14, ymm15\nvaddps ymm\\a, ymm\\a, ymm14";
        abs_f64_ymm f64: "vbroadcastsd ymm" "vbroadcastsd ymm"
            "vsubpd ymm14, ymm12, ymm13\nvandpd ymm14, ymm14, ymm15\nvaddpd ymm\\a, ymm\\a, ymm14";
        dot_f32_zmm f32: "vbroadcastss zmm" "vbroadcastsd zmm" "vfmadd231ps zmm\\a, zmm12, zmm13";
        dot_f64_zmm f64: "vbroadcastsd zmm" "vbroadcastsd zmm" "vfmadd231pd zmm\\a, zmm12, zmm13";
        square_f32_zmm f32: "vbroadcastss zmm" "vbroadcastsd zmm"
            "vsubps zmm14, zmm12, zmm13\nvfmadd231ps zmm\\a, zmm14, zmm14";
        square_f64_zmm f64: "vbroadcastsd zmm" "vbroadcastsd zmm"
            "vsubpd zmm14, zmm12, zmm13\nvfmadd231pd zmm\\a, zmm14, zmm14";
        abs_f32_zmm f32: "vbroadcastss zmm" "vbroadcastsd zmm"
            "vsubps zmm14, zmm12, zmm13\nvandps zmm14, zmm14, zmm15\nvaddps zmm\\a, zmm\\a, zmm14";
        abs_f64_zmm f64: "vbroadcastsd zmm" "vbroadcastsd zmm"
            "vsubpd zmm14, zmm12, zmm13\nvandpd zmm14, zmm14, zmm15\nvaddpd zmm\\a, zmm\\a, zmm14";
    }

    /// Additions that wait for each other: a cycle each.
    pub fn cycles(n: usize) {
        // SAFETY: changes two registers.
        unsafe {
            asm!("2:", ".rept 16", "add {a}, {n}", ".endr", "dec {n}", "jnz 2b",
                a = inout(reg) 0usize => _, n = inout(reg) n => _, options(nostack, nomem));
        }
    }

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
    use std::hint::black_box;
    use x86::*;
    if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
        println!("{{}}");
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = std::env::var("NDCUDA_CPU").unwrap_or_default();
    let wide = is_x86_feature_detected!("avx512dq") && bound != "avx2" && bound != "portable";
    type Loop = unsafe fn(usize);
    let loops: [(&str, usize, Loop); 6] = if wide {
        [
            ("dot_f32", 16, dot_f32_zmm),
            ("dot_f64", 8, dot_f64_zmm),
            ("square_f32", 16, square_f32_zmm),
            ("square_f64", 8, square_f64_zmm),
            ("abs_f32", 16, abs_f32_zmm),
            ("abs_f64", 8, abs_f64_zmm),
        ]
    } else {
        [
            ("dot_f32", 8, dot_f32_ymm),
            ("dot_f64", 4, dot_f64_ymm),
            ("square_f32", 8, square_f32_ymm),
            ("square_f64", 4, square_f64_ymm),
            ("abs_f32", 8, abs_f32_ymm),
            ("abs_f64", 4, abs_f64_ymm),
        ]
    };
    let clock = (16 * TURNS) as f64 / best(threads, |_| cycles(TURNS)) * 1e-9;
    print!("{{\"threads\": {threads}, \"set\": \"{}\", \"ghz\": {clock:.3}", if wide { "AVX-512" } else { "AVX2" });
    for (name, lanes, f) in loops {
        // SAFETY: the sets were looked for.
        let t = best(threads, |_| unsafe { f(TURNS) });
        print!(", \"{name}\": {:.1}", (12 * lanes * TURNS * threads) as f64 / t * 1e-9);
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
