//! Kernels that the real compiler made, against plain Rust.

mod common;

use common::*;
use softcuda::{Config, Counters, Machine};

fn check(name: &str, run: Run, tolerance: f32) -> Counters {
    let (got, want, counters) = run.unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(close(&got, &want, tolerance), "{name}\n{got:?}\n{want:?}");
    counters
}

#[test]
fn softmax_of_rows() {
    for (name, module) in fixtures("softmax") {
        for (rows, columns) in [(1, 1), (3, 5), (7, 100), (5, 1000), (2, 3000)] {
            for seed in 0..3 {
                check(&name, softmax(&module, rows, columns, 1000, seed), 3e-6);
                check(&name, softmax(&module, rows, columns, 1, seed), 3e-6);
            }
        }
    }
}

/// However k is shared, the bits are those of blocks that share nothing.
#[test]
fn pairs_that_share_k_have_the_same_bits() {
    for shape in [[64, 64, 1100], [3, 68, 1280], [65, 4, 1284]] {
        let (_, whole) = fixtures("pairwise_1_vectors").remove(0);
        let (want, ..) = pairwise_by(&whole, [128, 128], [256, 1, 1], shape, 1).unwrap();
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for (name, module) in fixtures("pairwise_1_split") {
            for (each, parts) in [(6, 1), (6, 6), (6, 4), (6, 100), (5, 2), (4, 3), (2, 2), (1, 1)] {
                let (got, near, _) = pairwise_split(&module, shape, each, parts, u64::from(parts)).unwrap();
                assert!(bits(&got) == bits(&want) && close(&got, &near, 1e-5), "{name} {shape:?} {each} {parts}");
            }
        }
    }
}

#[test]
fn sums_with_and_without_parts() {
    for (kernel, by_row) in [("row_sum", true), ("column_sum", false)] {
        for (name, module) in fixtures(kernel) {
            for (rows, columns, parts) in
                [(1, 1, 1), (9, 33, 1), (500, 40, 1), (40, 500, 1), (500, 40, 3), (60, 700, 4)]
            {
                for seed in 0..4 {
                    for blocks in [1, 1000] {
                        check(&name, sum_of_abs(&module, by_row, [rows, columns], [blocks, parts], seed), 3e-6);
                    }
                }
            }
        }
    }
}

#[test]
fn distances_in_tiles() {
    for (name, module) in fixtures("pairwise_1") {
        for shape in [[1, 1, 1], [3, 5, 7], [64, 128, 16], [70, 130, 50]] {
            check(&name, pairwise(&module, shape, 1), 1e-5);
        }
        // Each operand is loaded by tiles, the triple is never stored.
        let c = check(&name, pairwise(&module, [64, 128, 32], 0), 1e-5);
        assert_eq!((c.unique_loaded, c.unique_stored), ((64 + 128) * 32 * 4, 64 * 128 * 4));
        assert_eq!(c.store_sectors * 32, c.unique_stored);
        assert!(c.fp32 >= 2 * 64 * 128 * 32, "{c:?}");
    }
}

#[test]
fn a_map_with_scalars() {
    for (name, module) in fixtures("map") {
        let m = machine(0);
        let l = m.load(&module).unwrap();
        let (rows, columns) = (37usize, 41usize);
        let (x, y) = (noise(rows * columns, 1), noise(columns, 2));
        let (p0, p1, p2) = (upload(&m, &x), upload(&m, &y), m.alloc((rows * columns * 4) as u64).unwrap());
        let args = Args::default().u64(p0).u64(p1).u64(p2).u64(0).u64(0).u64(0);
        let args = args.u64(2.5f32.to_bits() as u64).u64(0.1f32.to_bits() as u64);
        let args =
            args.extents(&[rows as u32, columns as u32]).i32s(&[columns as i32, 1, 0, 1, columns as i32, 1]).bytes();
        let c = launch(&m, &l, [6, 1, 1], [256, 1, 1], &args).unwrap_or_else(|e| panic!("{name}: {e}"));
        let got: Vec<f32> = download(&m, p2, rows * columns);
        let want: Vec<f32> =
            (0..rows * columns).map(|n| if x[n] > 0.1 { x[n] } else { y[n % columns] * 2.5 }).collect();
        assert_eq!(got, want, "{name}");
        assert_eq!((c.threads, c.widest, c.unique_stored), (6 * 256, 4, (rows * columns * 4) as u64));
        assert_eq!((c.atomics, c.barriers, c.shared), (0, 0, 0));
    }
}

#[test]
fn gathering_notes_what_is_out_of_range() {
    for (name, module) in fixtures("gather") {
        let m = machine(0);
        let l = m.load(&module).unwrap();
        let (p0, p1) = (upload(&m, &[2i64, 0, 7]), upload(&m, &[1f64, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let (p2, p3) = (m.alloc(6 * 8).unwrap(), m.alloc(3).unwrap());
        let fault = upload(&m, &[0u64, 0]);
        // Row x0 of the result is row p0[x0] of a 3 by 2 array.
        let args = Args::default().u64(p0).u64(p1).u64(p2).u64(p3).u64(fault).u64(0).u64(0).u64(2).u64(3);
        let args = args.extents(&[3, 2]).i32s(&[1, 0, 0, 1, 2, 1, 1, 0]).bytes();
        let c = launch(&m, &l, [1, 1, 1], [256, 1, 1], &args).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(download::<f64>(&m, p2, 6), [5.0, 6.0, 1.0, 2.0, 0.0, 0.0], "{name}");
        assert_eq!(download::<u8>(&m, p3, 3), [1, 0, 1], "{name}");
        assert_eq!(download::<u64>(&m, fault, 2), [2, 7], "{name}");
        assert_eq!(c.atomics, 2);
    }
}

#[test]
fn all_fixtures_parse() {
    let dir = format!("{}/tests/ptx", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = fixture(name.trim_end_matches(".ptx"));
        assert!(module.entries().all(|e| [128, 256].contains(&e.max_threads) && e.params_bytes >= 56), "{name}");
        assert!(module.target().starts_with("sm_") && module.version() >= (8, 0), "{name}");
    }
}

/// 64-bit indices: elements beyond 2^31 are read and written, and nothing else is.
#[test]
fn a_map_of_far_elements() {
    // Halves and their squares plus 1.
    let values: [(u16, u16); 3] = [(0x0000, 0x3c00), (0x3c00, 0x4000), (0x4000, 0x4500)];
    for (name, module) in fixtures("map_f16") {
        let m = Machine::new(Config { memory: 1 << 40, ..Config::default() });
        let l = m.load(&module).unwrap();
        let (n, step) = (9, 1u64 << 28);
        let [x, out] = [(); 2].map(|()| m.alloc(2 * ((n - 1) * step + 1)).unwrap());
        let value = |i: u64| values[i as usize % 3];
        for i in 0..n {
            m.write(x + 2 * i * step, &value(i).0.to_le_bytes()).unwrap();
        }
        let args = [x, out, 0, 0, 0, 0x3c00, n, step, step].into_iter().fold(Args::default(), Args::u64);
        let counters = launch(&m, &l, [1, 1, 1], [256, 1, 1], &args.bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        for i in 0..n {
            assert_eq!(download::<u16>(&m, out + 2 * i * step, 1), [value(i).1], "{name}: {i}");
        }
        assert_eq!((counters.unique_loaded, counters.unique_stored), (2 * n, 2 * n), "{name}");
    }
}
