//! The emitted kernels on the software device: goldens, as NVRTC makes PTX of them (`scripts/make_ptx.py`), beside the CPU.

use super::shipped::noise;
use super::{goldens, soft};
use crate::backend::Args;
use crate::backend::cuda::emit::{self, args};
use crate::dtype::DType;
use crate::kernel::{Bind, Class, Gather, KOp, KernelIr, Launch, Role, Step, golden_tests};
use crate::layout::Taken;
use crate::{Device, Error, Result};
use softcuda::{Counters, Module};
use std::path::{Path, PathBuf};

/// A golden with launches that it is run with.
pub struct Golden {
    /// The name of its file.
    pub name: String,
    pub ir: KernelIr,
    pub variant: emit::Variant,
    pub launches: Vec<Launch>,
}

/// Blocks along x at most: as many as the grid has, and one, which then takes everything in turns.
pub const BLOCKS: [u32; 2] = [u32::MAX, 1];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All goldens, each with small arrays on which all of it runs.
pub fn all() -> Vec<Golden> {
    let by_hand = golden_tests::emitted().into_iter().map(|(name, ir, variant)| {
        let launches = shapes(&name).iter().map(|n| launched(&ir, n)).collect();
        Golden { name, ir, variant, launches }
    });
    // Short axes, long ones, and such that several rows of a block are cut over blocks.
    let small = [[40, 68, 64], [8, 1000, 64], [4, 4, 20_000], [4, 4, 5000], [4, 4, 2048], [32, 16, 64]];
    let small = small.map(|n| goldens::expressions(n, [132, 128], n[0]));
    let expressions = goldens::emitted().into_iter().enumerate().map(|(n, (name, (ir, launch)))| {
        let variant = emit::pooled(&ir, &launch);
        // What makes indices long is left out.
        let launches = small.iter().map(|s| s[n].1.1.clone()).collect();
        small.iter().for_each(|s| assert_eq!(KernelIr { index: ir.index, ..s[n].1.0.clone() }, ir, "{name}"));
        Golden { name: name.into(), ir, variant, launches }
    });
    by_hand.chain(expressions).collect()
}

/// Shapes on both sides of a warp, a block, several blocks of a result; for pairs, of a tile, a segment of k and a chunk of columns. All are fit
/// for vectors.
fn shapes(name: &str) -> &'static [&'static [usize]] {
    let base = name.trim_end_matches("_vectors");
    match base {
        "map" | "gather" => &[&[36, 40], &[3, 4]],
        "map_f16" => &[&[1000], &[8]],
        "row_sum" | "mean_square_f16" | "var" | "argmin" => {
            &[&[3, 5000], &[9, 2048], &[30, 104], &[9, 200], &[2, 20_000]]
        }
        "softmax" => &[&[3, 1000], &[9, 200], &[40, 64], &[3, 4096]],
        "column_sum" | "argmax_columns" => &[&[500, 256], &[9, 160], &[16, 256], &[3000, 256]],
        "one_row" => &[&[70, 600], &[3, 1000], &[40, 100]],
        "one_row_columns" => &[&[600, 512], &[300, 256], &[100, 132]],
        "knn_1" => &[&[5, 700, 20], &[130, 1200, 20], &[3, 520, 300], &[70, 1200, 0]],
        "knn_one_row" => &[&[700, 20], &[1200, 300], &[1200, 0]],
        "kernel_sums" => &[&[5, 700, 20], &[130, 600, 8], &[3, 1200, 300], &[70, 1200, 0]],
        _ if base.ends_with("_split") => &[&[64, 68, 1100], &[3, 68, 1280]],
        _ => &[&[3, 8, 8], &[100, 132, 72], &[130, 8, 520]],
    }
}

/// A launch of arrays in C order. What is gathered has as many rows as the result.
fn launched(ir: &KernelIr, extents: &[usize]) -> Launch {
    let mut launch = golden_tests::launch(ir, extents);
    for inst in &ir.code {
        if let KOp::LoadAt(o) = inst.op {
            let bind = &mut launch.operands[o as usize];
            let taken = Taken { axis: 0, each: false, unsigned: false };
            bind.gather = Some(Gather { stride: bind.strides[0], len: extents[0], taken });
            bind.strides[0] = 0;
        }
    }
    launch
}

/// The file of a golden's PTX, and that of another dialect where there is one.
fn files(name: &str) -> Vec<PathBuf> {
    let file = |ending: &str| root().join(format!("crates/softcuda/tests/ptx/{name}{ending}.ptx"));
    [file(""), file(".120")].into_iter().filter(|f| f.exists()).collect()
}

/// A golden's PTX.
pub fn ptx(name: &str) -> String {
    std::fs::read_to_string(&files(name)[0]).unwrap()
}

fn encode(dtype: DType, v: f64) -> Vec<u8> {
    match dtype {
        DType::F16 => crate::f16::from_f64(v).to_ne_bytes().into(),
        DType::F32 => (v as f32).to_ne_bytes().into(),
        DType::F64 => v.to_ne_bytes().into(),
        DType::I64 => (v as i64).to_ne_bytes().into(),
        _ => panic!("no golden reads {dtype}"),
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    match dtype {
        DType::F16 => crate::f16::from_ne_bytes(bytes.try_into().unwrap()).to_f64(),
        DType::F32 => f32::from_ne_bytes(bytes.try_into().unwrap()).into(),
        DType::F64 => f64::from_ne_bytes(bytes.try_into().unwrap()),
        DType::I64 => i64::from_ne_bytes(bytes.try_into().unwrap()) as f64,
        DType::Bool => bytes[0].into(),
        _ => panic!("no golden writes {dtype}"),
    }
}

fn parsed(file: &Path) -> Module {
    let title = file.display();
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{title}: {e}"));
    Module::parse(&text).unwrap_or_else(|e| panic!("{title}: {e}"))
}

/// Elements from an operand's first to its last.
fn elements(bind: &Bind, launch: &Launch) -> usize {
    let steps = bind.strides.iter().zip(&launch.extents).map(|(&s, &n)| s as usize * n.saturating_sub(1));
    let rows = bind.gather.map_or(0, |g| g.stride as usize * (g.len - 1));
    steps.sum::<usize>() + rows + 1
}

/// What a device makes of a launch of a kernel, of numbers in [-1, 1): all results, one after another.
pub fn run(dev: &Device, ir: &KernelIr, launch: &Launch) -> Result<Vec<f64>> {
    run_with(dev, ir, launch, |v| v as i64, None)
}

/// As [`run`], with what `index` makes of each index, and with an operand that is freed before the kernel runs.
fn run_with(
    dev: &Device,
    ir: &KernelIr,
    launch: &Launch,
    index: impl Fn(usize) -> i64,
    freed: Option<usize>,
) -> Result<Vec<f64>> {
    let backend = dev.backend();
    let mut buffers = vec![];
    for (n, (operand, bind)) in ir.operands.iter().zip(&launch.operands).enumerate() {
        let (count, size) = (bind.offset as usize + elements(bind, launch), operand.dtype.size());
        let buffer = backend.alloc(count * size, size)?;
        if operand.role == Role::In {
            let value = |v: f64| match operand.dtype {
                DType::I64 => index((v + 128.0) as usize % launch.extents[0]) as f64,
                _ => v / 128.0,
            };
            let bytes: Vec<u8> = noise(count, n as u64).flat_map(|v| encode(operand.dtype, value(v))).collect();
            backend.upload(&bytes, &buffer)?;
        }
        buffers.push(buffer);
    }
    let param = |&dtype: &DType| {
        let mut word = encode(dtype, 0.25);
        word.resize(8, 0);
        u64::from_ne_bytes(word.try_into().unwrap())
    };
    let params: Vec<u64> = ir.params.iter().map(param).collect();
    let bases: Vec<usize> = buffers.iter().map(|b| b.address()).collect();
    if let Some(n) = freed {
        buffers[n] = backend.alloc(1, 1)?;
    }
    let exe = backend.prepare(&[&Step::Kernel(ir.clone(), launch.clone())])?.remove(0);
    backend.run(&exe, &Args { bases: &bases, params: &params, in_place: false })?;
    let mut all = vec![];
    for (operand, buffer) in ir.operands.iter().zip(&buffers).filter(|(o, _)| o.role == Role::Out) {
        let mut bytes = vec![0; buffer.bytes()];
        backend.download(buffer, 0, &mut bytes)?;
        all.extend(bytes.chunks(operand.dtype.size()).map(|v| decode(operand.dtype, v)));
    }
    Ok(all)
}

impl Golden {
    /// A device that runs a module of it, with at most so many blocks along x.
    fn device(&self, module: &Module, blocks: u32, seed: u64) -> Device {
        soft::with_emitted(seed, soft::Emitted { variant: self.variant, module: module.clone(), blocks })
    }

    /// What a module of it gives for a launch.
    pub fn run(&self, module: &Module, launch: &Launch, blocks: u32, seed: u64) -> Result<Vec<f64>> {
        run(&self.device(module, blocks, seed), &self.ir, launch)
    }

    /// As [`Golden::run`], where one of its operands was freed.
    pub fn run_freed(&self, module: &Module, launch: &Launch, operand: usize) -> Result<Vec<f64>> {
        run_with(&self.device(module, BLOCKS[0], 1), &self.ir, launch, |v| v as i64, Some(operand))
    }

    /// Unless blocks share something, or some of an operand is not needed.
    fn moves_each_value_once(&self, launch: &Launch, counters: &Counters, title: &str) {
        let shared = args::grid(&self.ir, &self.variant, &launch.extents).scratch > 0;
        if shared || ["gather", "strided_copy"].iter().any(|n| self.name.starts_with(n)) || launch.extents.contains(&0)
        {
            return;
        }
        let bytes = |role| {
            let operands = self.ir.operands.iter().zip(&launch.operands).filter(|(o, _)| o.role == role);
            operands.map(|(o, bind)| elements(bind, launch) * o.dtype.size()).sum::<usize>() as u64
        };
        assert_eq!((counters.unique_loaded, counters.unique_stored), (bytes(Role::In), bytes(Role::Out)), "{title}");
    }

    /// Whether its blocks take what is left over in turns: elsewhere there is one for each tile.
    pub fn walks(&self) -> bool {
        !matches!(self.ir.class, Class::Pairwise { .. }) && !self.ir.folds_folds()
    }
}

/// Every golden's PTX computes what the CPU computes, in two orders of warps and blocks, with the bits of one another. Where blocks share nothing,
/// it reads what its operands hold, writes its results, and nothing else.
#[test]
fn goldens_compute_what_the_cpu_does() {
    let cpu = Device::cpu_with_threads(1);
    for golden in all() {
        let half = golden.ir.operands.iter().any(|o| o.dtype == DType::F16);
        for launch in &golden.launches {
            let want = run(&cpu, &golden.ir, launch).unwrap_or_else(|e| panic!("{}: {e}", golden.name));
            let scale = want.iter().fold(1.0f64, |m, w| m.max(w.abs()));
            let mut first = None;
            for file in files(&golden.name) {
                let (title, module) = (format!("{} {:?}", file.display(), launch.extents), parsed(&file));
                for blocks in &BLOCKS[..1 + golden.walks() as usize] {
                    for seed in [1, 2] {
                        let dev = golden.device(&module, *blocks, seed);
                        let got = run(&dev, &golden.ir, launch).unwrap_or_else(|e| panic!("{title}: {e}"));
                        let far = |(g, w): &(&f64, &f64)| (*g - *w).abs() > scale * if half { 1e-3 } else { 2e-6 };
                        let wrong: Vec<_> = got.iter().zip(&want).filter(far).take(3).collect();
                        assert!(got.len() == want.len() && wrong.is_empty(), "{title}: {wrong:?}");
                        let bits = || got.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                        assert!(*first.get_or_insert_with(bits) == bits(), "{title}: the order of warps changes bits");
                        golden.moves_each_value_once(launch, &soft::counters(&dev), &title);
                    }
                }
            }
        }
    }
}

/// Blocks that share k give the bits of blocks that do not.
#[test]
fn goldens_that_share_k_have_the_same_bits() {
    let goldens = all();
    for kernel in ["pairwise_1", "pairwise_2"] {
        let of = |ending| goldens.iter().find(|g| g.name == format!("{kernel}{ending}")).unwrap();
        let (split, whole) = (of("_split"), of("_vectors"));
        for launch in &split.launches {
            let bits = |g: &Golden| {
                let got = g.run(&Module::parse(&ptx(&g.name)).unwrap(), launch, BLOCKS[0], 1).unwrap();
                got.into_iter().map(f64::to_bits).collect::<Vec<_>>()
            };
            assert!(bits(split) == bits(whole), "{kernel} {:?}", launch.extents);
        }
    }
}

/// A module has the kernels that are launched, which take as many bytes as are packed and blocks of as many threads as the grid has.
#[test]
fn goldens_are_what_is_launched() {
    for golden in all() {
        let files = files(&golden.name);
        assert!(!files.is_empty(), "{}: scripts/make_ptx.py makes its PTX", golden.name);
        for (file, launch) in files.iter().flat_map(|f| golden.launches.iter().map(move |l| (f, l))) {
            let (module, title) = (parsed(file), file.display());
            let grid = args::grid(&golden.ir, &golden.variant, &launch.extents);
            let (pointers, params) = (vec![0; golden.ir.operands.len()], vec![0; golden.ir.params.len()]);
            let packed =
                args::pack(&golden.ir, &golden.variant, launch, &pointers, &params, args::Aux::default()).unwrap();
            let names = [emit::name(&golden.ir), emit::join_name(&golden.ir)];
            let names = &names[..1 + grid.rounds.is_some() as usize];
            assert!(module.entries().map(|e| &e.name).eq(names), "{title}: {names:?}");
            for entry in module.entries() {
                assert_eq!((entry.params.len(), entry.params_bytes as usize), (1, packed.len()), "{title}");
                assert!(grid.threads.0 * grid.threads.1 <= entry.max_threads, "{title}: {grid:?}");
            }
        }
    }
}

#[test]
fn a_gather_notes_what_is_out_of_range() {
    for golden in all().into_iter().filter(|g| g.name.starts_with("gather")) {
        let launch = &golden.launches[0];
        for (wrong, file) in [-1, launch.extents[0] as i64]
            .into_iter()
            .flat_map(|w| files(&golden.name).into_iter().map(move |f| (w, f)))
        {
            let index = |at: usize| if at == 7 { wrong } else { at as i64 };
            let dev = golden.device(&parsed(&file), BLOCKS[0], 1);
            let outcome = run_with(&dev, &golden.ir, launch, index, None);
            let found = matches!(outcome, Err(Error::Index { index, .. }) if index == wrong.into());
            assert!(found, "{}: {outcome:?}", file.display());
        }
    }
}

/// 64-bit indices: elements up to 2^31 and byte 2^32 are read and written, and nothing else is.
#[test]
fn far_elements_of_a_golden() {
    const STEP: usize = 1 << 28;
    let golden = all().into_iter().find(|g| g.name == "map_f16").unwrap();
    let mut launch = golden.launches[0].clone();
    launch.extents[0] = 9;
    launch.operands.iter_mut().for_each(|bind| bind.strides[0] = STEP as isize);
    for file in files(&golden.name) {
        let dev = golden.device(&parsed(&file), BLOCKS[0], 1);
        let backend = dev.backend();
        let [from, to] = [(); 2].map(|()| backend.alloc(2 * (8 * STEP + 1), 2).unwrap());
        for i in 0..9 {
            soft::write(&dev, from.address() + 2 * i * STEP, &encode(DType::F16, i as f64));
        }
        let exe = backend.prepare(&[&Step::Kernel(golden.ir.clone(), launch.clone())]).unwrap().remove(0);
        let one = encode(DType::F16, 1.0);
        let params = [u64::from(u16::from_ne_bytes([one[0], one[1]]))];
        let bases = [from.address(), to.address()];
        backend.run(&exe, &Args { bases: &bases, params: &params, in_place: false }).unwrap();
        for i in 0..9 {
            let mut got = [0; 2];
            backend.download(&to, 2 * i * STEP, &mut got).unwrap();
            assert_eq!(decode(DType::F16, &got), (i * i + 1) as f64, "{}: {i}", file.display());
        }
        let counters = soft::counters(&dev);
        assert_eq!((counters.unique_loaded, counters.unique_stored), (18, 18));
    }
}
