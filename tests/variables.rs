//! Environment variables, each value in a process of its own: what is wrong with one is an error, and what `NDCUDA_DEBUG` prints.

use ndcuda::{Axis, Device};
use std::process::Command;

/// What the child does; with nothing set it is a test of a process like any other.
#[test]
fn child() {
    println!("probe: {}", Device::probe());
    match Device::from_env() {
        Ok(dev) => {
            let x = dev.from_fn((3, 4), |(i, j)| (i + j) as f32).unwrap();
            let sum = (&x * 2.0).sum_axis(Axis(1));
            println!("default: {dev}, {}", (&sum - 1.0).sum().item().map_or_else(|e| e.to_string(), |v| v.to_string()));
            println!("product: {:?}", x.dot(&x.t()).eval());
        }
        Err(e) => println!("default: {e}"),
    }
    let other = Device::cpu_with_threads(2).ones::<f32, _>(3) + 1.0;
    println!("other: {}", other.eval().map_or_else(|e| e.to_string(), |()| "well".into()));
}

/// The child's two outputs.
fn run(variables: &[(&str, &str)]) -> (String, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    for (name, _) in std::env::vars_os().filter(|v| v.0.to_string_lossy().starts_with("NDCUDA_")) {
        command.env_remove(name);
    }
    let out = command.env("NDCUDA_DEVICE", "cpu").envs(variables.iter().copied()).output().unwrap();
    let [text, errors] = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(out.status.success(), "{variables:?}: {text}\n{errors}");
    (text, errors)
}

#[track_caller]
fn line<'a>(out: &'a str, prefix: &str) -> &'a str {
    // The harness writes the child's name before its first line.
    out.lines().find_map(|l| l.split_once(prefix)).unwrap_or_else(|| panic!("no {prefix} in {out}")).1
}

#[test]
fn threads() {
    let (one, _) = run(&[("NDCUDA_NUM_THREADS", "1")]);
    assert!(line(&one, "probe: ").contains("; 1 thread, "), "{one}");
    let (two, _) = run(&[("NDCUDA_NUM_THREADS", " 2 ")]);
    assert!(line(&two, "probe: ").contains("; 2 threads, "), "{two}");
    let (unset, _) = run(&[("NDCUDA_NUM_THREADS", "")]);
    assert!(line(&unset, "probe: ").contains(" thread"), "{unset}");
    for wrong in ["0", "-1", "many"] {
        let (out, _) = run(&[("NDCUDA_NUM_THREADS", wrong)]);
        let text = format!("NDCUDA_NUM_THREADS={wrong}: a positive whole number is needed");
        assert_eq!(line(&out, "default: "), text);
        assert_eq!(line(&out, "probe: "), format!("none ({text})"));
        assert_eq!(line(&out, "other: "), "well");
        // Nor where nothing names the CPU. (There may be a GPU.)
        let (out, _) = run(&[("NDCUDA_NUM_THREADS", wrong), ("NDCUDA_DEVICE", "")]);
        assert!(line(&out, "default: ") == text || line(&out, "default: ").starts_with("cuda"), "{out}");
    }
}

#[test]
fn instruction_sets() {
    let (out, _) = run(&[("NDCUDA_CPU", "portable")]);
    assert!(line(&out, "probe: ").contains("portable loops"), "{out}");
    let (out, _) = run(&[("NDCUDA_CPU", "foo")]);
    let text = "NDCUDA_CPU=foo: portable, avx2 or avx512 is needed";
    assert_eq!((line(&out, "default: "), line(&out, "probe: ")), (text, &*format!("none ({text})")));
    assert!(line(&out, "other: ").starts_with(text), "{out}");
}

#[test]
fn devices() {
    let (out, _) = run(&[("NDCUDA_DEVICE", "gpu")]);
    let text = "NDCUDA_DEVICE=gpu: a device is cpu, cuda or cuda:N";
    assert_eq!((line(&out, "default: "), line(&out, "probe: ")), (text, &*format!("none ({text})")));
    let (out, _) = run(&[("NDCUDA_DEVICE", " cpu")]);
    assert_eq!(line(&out, "default: "), "cpu, 57");
    for empty in ["", "  "] {
        let (out, _) = run(&[("NDCUDA_DEVICE", empty)]);
        assert!(!line(&out, "probe: ").contains("NDCUDA_DEVICE"), "{out}");
        assert!(line(&out, "default: ").ends_with(", 57"), "{out}");
    }
}

/// Each level says its own and what those before it say.
#[test]
fn debug_levels() {
    let marks = [
        "ndcuda: device cpu",
        " GB/s  nd_rows_mul_sum 3x4",
        "store sum over [1]: f32 (3):(1); no one kernel makes it",
        "extern \"C\" __global__",
        "digraph ndcuda {",
    ];
    for level in 0..=6usize {
        let (out, said) = run(&[("NDCUDA_DEBUG", &level.to_string())]);
        assert_eq!(line(&out, "default: "), "cpu, 57");
        for (n, mark) in marks.iter().enumerate() {
            assert_eq!(said.contains(mark), n < level, "level {level} and {mark:?}: {said}");
        }
        assert!(
            !said.contains("what every generated kernel starts with") && said.lines().count() < 400,
            "level {level}: {said}"
        );
        assert!(!said.contains("AxisSet") && !said.contains("Pairwise {"), "level {level}: {said}");
        assert!(level > 0 || said.is_empty(), "{said}");
    }
    let (_, said) = run(&[("NDCUDA_DEBUG", "2")]);
    assert!(said.contains("product of f32 3x4 and 4x3"), "{said}");
    for wrong in ["7", "-1", "all"] {
        let (_, said) = run(&[("NDCUDA_DEBUG", wrong)]);
        assert_eq!(said, format!("ndcuda: NDCUDA_DEBUG={wrong} says nothing: its levels are 0 to 6\n"));
    }
    let (_, said) = run(&[("NDCUDA_DEBUG", "")]);
    assert_eq!(said, "");
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/laziness.md")).unwrap();
    let ladder = docs.split("`NDCUDA_DEBUG=1` prints").nth(1).unwrap();
    assert!((2..=6).all(|n| ladder.contains(&format!("`{n}` "))), "{ladder}");
}
