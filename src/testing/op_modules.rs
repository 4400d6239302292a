//! A kernel for each op, conversion and reducer at each dtype, in modules of many: what `scripts/check_goldens.py --ops` compiles.

use super::goldens::{planned, stored};
use super::soft;
use crate::backend::cuda::emit;
use crate::dtype::DType;
use crate::graph::{Value, build};
use crate::ops::{reduce, rows};
use std::panic::Location;
use std::path::Path;

/// Kernels of a module.
const BATCH: usize = 32;

/// Each kernel's name and text. What they need beside the headers has names of its own in a namespace of its own.
fn kernels() -> Vec<String> {
    let dev = &soft::device(0);
    let at = Location::caller();
    let mut out = vec![];
    let mut add = |name: String, value: Value| {
        let (ir, launch) = planned(&value);
        let text = emit::body(&ir, &emit::pooled(&ir, &launch)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let own = format!("{}(const Args a)", emit::name(&ir));
        assert_eq!(text.matches(&own).count(), 1, "{name}");
        out.push(format!("namespace {name} {{\n{}}}\n", text.replace(&own, &format!("nd_{name}(const Args a)"))));
    };
    for row in rows() {
        for d in DType::ALL.into_iter().filter(|&d| row.takes(d)) {
            let args: Vec<Value> = (0..row.arity as usize).map(|i| stored(dev, row.operand(i, d), &[4096])).collect();
            add(format!("{}_{d}", row.name), build::map(row, &args.iter().collect::<Vec<_>>(), at).unwrap());
        }
    }
    for from in DType::ALL {
        for to in DType::ALL.into_iter().filter(|&to| to != from) {
            add(format!("cast_{from}_{to}"), build::cast(&stored(dev, from, &[4096]), to, at));
        }
    }
    for reducer in reduce::ROWS {
        for d in DType::ALL.into_iter().filter(|&d| reducer.takes(d)) {
            for (axis, along) in ["columns", "rows"].into_iter().enumerate() {
                let x = stored(dev, d, &[4096, 4096]);
                add(format!("{}_{along}_{d}", reducer.name), build::reduce(reducer, &x, &[axis], false, at).unwrap());
            }
        }
    }
    out
}

#[test]
#[ignore = "writes to the folder that NDCUDA_OP_MODULES names"]
fn op_modules() {
    let folder = std::env::var_os("NDCUDA_OP_MODULES").expect("NDCUDA_OP_MODULES names a folder");
    std::fs::create_dir_all(&folder).unwrap();
    for (n, batch) in kernels().chunks(BATCH).enumerate() {
        std::fs::write(Path::new(&folder).join(format!("ops_{n:02}.cu")), batch.concat()).unwrap();
    }
}
