//! Goldens as each NVRTC makes them for each architecture, on the software device: what is kept of them is one compiler's for one.

use super::emitted::{self, BLOCKS};
use crate::backend::cuda::compile::{Form, Text, tests::fetched};
use softcuda::Module;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Kernels of each scheme, and of most types and reducers.
const COMPILED: [&str; 16] = [
    "argmin_vectors",
    "broadcast_3d",
    "column_sum_vectors",
    "gather_vectors",
    "knn_one_row_vectors",
    "map_f16_vectors",
    "mean_square_f16_vectors",
    "one_row_columns_vectors",
    "pairwise_1_f64_vectors",
    "pairwise_2_split",
    "pairwise_dot_vectors",
    "row_sum_vectors",
    "softmax_vectors",
    "sum_around",
    "transposed_add",
    "var",
];

/// What both compilers make for each architecture, in both dialects, has the bits of what is kept.
#[test]
#[ignore = "needs NVRTC in target/nvrtc-venv"]
fn goldens_as_each_compiler_makes_them() {
    let compilers = fetched();
    assert_eq!(compilers.len(), 2);
    let goldens: Vec<_> = emitted::all().into_iter().filter(|g| COMPILED.contains(&&*g.name)).collect();
    assert_eq!(goldens.len(), COMPILED.len());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(golden) = goldens.get(next.fetch_add(1, Ordering::Relaxed)) {
            let text = Text::new(&golden.ir, &golden.variant).unwrap();
            let bits = |module: &Module, launch| {
                let got = golden.run(module, launch, BLOCKS[0], 1);
                got.map(|all| all.into_iter().map(f64::to_bits).collect::<Vec<_>>())
            };
            let kept = Module::parse(&emitted::ptx(&golden.name)).unwrap();
            let want: Vec<_> = golden.launches.iter().take(2).map(|l| bits(&kept, l).unwrap()).collect();
            for (nvrtc, arch) in
                compilers.iter().flat_map(|n| [(7, 5), (8, 0), (9, 0), (10, 0), (12, 0)].map(|a| (n, a)))
            {
                let title = format!("{} by NVRTC {:?} for {arch:?}", golden.name, nvrtc.version);
                let code = nvrtc.compile(&text, arch, Form::Ptx, "none").unwrap();
                let code = String::from_utf8(code).unwrap();
                let module = Module::parse(code.trim_end_matches('\0')).unwrap_or_else(|e| panic!("{title}: {e}"));
                assert_eq!(module.target(), format!("sm_{}{}", arch.0, arch.1), "{title}");
                for (launch, want) in golden.launches.iter().zip(&want) {
                    let got = bits(&module, launch).unwrap_or_else(|e| panic!("{title}: {e}"));
                    assert!(got == *want, "{title}: other bits, {:?}", launch.extents);
                }
            }
        }
    };
    std::thread::scope(|s| {
        (0..std::thread::available_parallelism().map_or(1, |n| n.get())).for_each(|_| drop(s.spawn(work)))
    });
}
