//! What this machine's cores can do at best of one combine of pairs, in registers alone: the probe of `limit` and of `pairwise_bench`.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

use std::sync::Barrier;
use std::time::Instant;

/// Turns of a loop over registers in one sample: many times what starting a thread costs.
const TURNS: usize = 2_000_000;
/// Samples; the best counts.
const SAMPLES: usize = 9;

/// The best time in seconds of `f(thread)` run by all threads at once.
pub fn best(threads: usize, f: impl Fn(usize) + Sync) -> f64 {
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
}

#[cfg(target_arch = "x86_64")]
type Loop = unsafe fn(usize);

/// Name, bits of an element, the loop of AVX2 and of AVX-512.
#[cfg(target_arch = "x86_64")]
const LOOPS: [(&str, usize, Loop, Loop); 6] = [
    ("dot_f32", 32, x86::dot_f32_ymm, x86::dot_f32_zmm),
    ("dot_f64", 64, x86::dot_f64_ymm, x86::dot_f64_zmm),
    ("square_f32", 32, x86::square_f32_ymm, x86::square_f32_zmm),
    ("square_f64", 64, x86::square_f64_ymm, x86::square_f64_zmm),
    ("abs_f32", 32, x86::abs_f32_ymm, x86::abs_f32_zmm),
    ("abs_f64", 64, x86::abs_f64_ymm, x86::abs_f64_zmm),
];

/// Vectors of `dot`, `square` and `abs` in a cycle of a core, by AMD or not and by AVX-512 or not. Two ports multiply and add;
/// AMD's adds have two of their own. Of 512 bits the `and` of `abs` needs one of the two, and AMD's cores may halve all.
#[cfg(target_arch = "x86_64")]
const PER_CYCLE: [[[f64; 3]; 2]; 2] = [[[2.0, 1.0, 1.0], [2.0, 1.0, 2.0 / 3.0]], [[2.0, 2.0, 1.0], [1.0, 1.0, 0.5]]];

/// The machine's clock and instruction set.
pub struct Ports {
    pub threads: usize,
    pub ghz: f64,
    /// Whether vectors have 512 bits.
    pub wide: bool,
}

#[cfg(target_arch = "x86_64")]
impl Ports {
    /// Measures the clock with all threads at work; `None` without AVX2. `NDCUDA_CPU=avx2` bounds it as it does the loops.
    pub fn new(threads: usize) -> Option<Ports> {
        if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
            return None;
        }
        let bound = std::env::var("NDCUDA_CPU").unwrap_or_default();
        let wide = is_x86_feature_detected!("avx512dq") && bound != "avx2" && bound != "portable";
        let ghz = (16 * TURNS) as f64 / best(threads, |_| x86::cycles(TURNS)) * 1e-9;
        Some(Ports { threads, ghz, wide })
    }

    /// The limits of `dot`, `square` or `abs`, with `_f32` or `_f64` behind it, in G elements/s: the best sample, and what
    /// the ports of the cores take at the measured clock. The limit is the larger, so that a core that was shared while a loop
    /// ran lowers none.
    pub fn limits(&self, name: &str) -> Option<[f64; 2]> {
        let at = LOOPS.iter().position(|l| l.0 == name)?;
        let (_, bits, narrow, wide) = LOOPS[at];
        let (f, lanes) = if self.wide { (wide, 512 / bits) } else { (narrow, 256 / bits) };
        // SAFETY: `new` looked for the sets.
        let t = best(self.threads, |_| unsafe { f(TURNS) });
        let sample = (12 * lanes * TURNS * self.threads) as f64 / t * 1e-9;
        // SAFETY: every x86-64 has the instruction; older compilers ask for the word.
        #[allow(unused_unsafe)]
        let amd = unsafe { std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Auth") };
        let per_cycle = PER_CYCLE[usize::from(amd)][usize::from(self.wide)][at / 2];
        Some([sample, per_cycle * self.ghz * (lanes * cores().min(self.threads)) as f64])
    }
}

/// Cores, not their hardware threads, which share ports; 0 where the system does not tell.
#[cfg(target_arch = "x86_64")]
fn cores() -> usize {
    let siblings = |n: usize| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list")).ok()
    };
    let all: std::collections::BTreeSet<String> = (0..4096).map_while(siblings).collect();
    all.len()
}

#[cfg(not(target_arch = "x86_64"))]
impl Ports {
    /// Loops for this machine are not written.
    pub fn new(_threads: usize) -> Option<Ports> {
        None
    }

    pub fn limits(&self, _name: &str) -> Option<[f64; 2]> {
        None
    }
}
