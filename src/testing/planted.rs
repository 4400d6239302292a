//! Bugs planted in the PTX of emitted kernels, one at a time: whatever runs of them is found, as what it is.

use super::emitted::{self, BLOCKS, Golden};
use crate::kernel::Launch;
use softcuda::Module;

/// Kernels of each scheme, each with a launch: folds by warps and by blocks, cut over blocks or in passes, in chains; tiles, with blocks that share
/// k, and folded in their turn; a gather.
const KERNELS: [(&str, usize); 11] = [
    ("row_sum_vectors", 0),
    ("row_sum_vectors", 1),
    ("softmax_vectors", 0),
    ("argmin", 1),
    ("column_sum_vectors", 2),
    ("one_row_columns", 2),
    ("pairwise_1_vectors", 1),
    ("pairwise_dot", 0),
    ("pairwise_1_split", 0),
    ("knn_one_row_vectors", 0),
    ("gather", 0),
];

/// What a kernel gives, or what was found.
type Outcome = Result<Vec<f64>, String>;

/// A kernel with its PTX by lines.
struct Planted {
    golden: Golden,
    launch: Launch,
    lines: Vec<String>,
}

impl Planted {
    fn all() -> Vec<Planted> {
        let goldens = || emitted::all().into_iter();
        let one = |(name, n): (&str, usize)| {
            let golden = goldens().find(|g| g.name == name).unwrap();
            let (launch, ptx) = (golden.launches[n].clone(), emitted::ptx(name));
            Planted { golden, launch, lines: ptx.lines().map(String::from).collect() }
        };
        KERNELS.into_iter().map(one).collect()
    }

    /// What it gives with another line `at`, or what is found.
    fn with(&self, at: usize, line: &str) -> Outcome {
        let mut lines: Vec<&str> = self.lines.iter().map(|l| &**l).collect();
        lines[at] = line;
        let text = lines.join("\n") + "\n";
        let module = Module::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", self.golden.name));
        self.golden.run(&module, &self.launch, BLOCKS[0], 1).map_err(|e| e.to_string())
    }

    /// Changes in turn each line that `change` changes and that runs, and counts them. `as_it_should` says whether an outcome is.
    fn each(&self, change: impl Fn(&str) -> Option<String>, as_it_should: impl Fn(&Outcome) -> bool) -> usize {
        let mut ran = 0;
        for (at, line) in self.lines.iter().enumerate() {
            let Some(changed) = change(line) else { continue };
            let guard = if line.starts_with('@') { line.split(' ').next().unwrap_or("") } else { "" };
            if self.with(at, &format!("{guard} trap;")).is_ok() {
                continue;
            }
            let outcome = self.with(at, &changed);
            assert!(as_it_should(&outcome), "{}, line {}: {changed} for {line}: {outcome:?}", self.golden.name, at + 1);
            ran += 1;
        }
        ran
    }

    /// How many of the lines that begin so have this outcome when this stands in their place.
    fn count(&self, begins: &str, line: &str, outcome: impl Fn(&Outcome) -> bool) -> usize {
        let at = (0..self.lines.len()).filter(|&at| self.lines[at].starts_with(begins));
        at.filter(|&at| outcome(&self.with(at, line))).count()
    }
}

/// Whether a fault of this kind was found in a kernel of ours.
fn found(kind: &str) -> impl Fn(&Outcome) -> bool {
    move |outcome| outcome.as_ref().is_err_and(|e| e.contains(kind) && e.contains("in nd_"))
}

/// An access of one of these spaces with its address moved by so many bytes.
fn moved(line: &str, spaces: &[&str], bytes: i64) -> Option<String> {
    if !["ld.", "st.", "atom."].iter().any(|op| spaces.iter().any(|s| line.contains(&format!("{op}{s}")))) {
        return None;
    }
    let (before, rest) = line.split_once('[')?;
    let (address, after) = rest.split_once(']')?;
    let (base, offset) = address.split_once('+').unwrap_or((address, "0"));
    Some(format!("{before}[{base}+{}]{after}", offset.parse::<i64>().ok()? + bytes))
}

/// Runs a test on each kernel, and wants it to have been one on some of them.
fn on_all(test: impl Fn(&Planted) -> usize) {
    let ran: Vec<usize> = Planted::all().iter().map(test).collect();
    assert!(ran.iter().filter(|&&n| n > 0).count() >= 3, "{ran:?}");
}

#[test]
fn accesses_out_of_bounds_are_found() {
    // Past all arrays of these launches, in the gap behind them.
    on_all(|k| k.each(|line| moved(line, &["global"], 1 << 19), found("out of bounds")));
    on_all(|k| k.each(|line| moved(line, &["global"], -(1 << 19)), found("out of bounds")));
    on_all(|k| k.each(|line| moved(line, &["shared"], 48 << 10), found("out of bounds")));
}

#[test]
fn misaligned_accesses_are_found() {
    let wide = |line: &str| !line.contains("8 ");
    let by_one = |space: &'static [&'static str]| {
        move |k: &Planted| k.each(|line| moved(line, space, 1).filter(|_| wide(line)), found("misaligned access"))
    };
    on_all(by_one(&["global"]));
    on_all(by_one(&["shared"]));
}

/// Values that are not put into shared memory, or not left for another block, are missed where they are read. (Words of a state that nothing needs
/// are not read.)
#[test]
fn uninitialised_reads_are_found() {
    on_all(|k| k.count("st.shared", ";", found("uninitialised read")));
    let left = |k: &Planted| k.golden.name == "row_sum_vectors" && k.launch.extents[1] == 2048;
    let cut = Planted::all().into_iter().find(left).unwrap();
    assert_eq!(cut.count("st.global", ";", found("uninitialised read")), 1);
}

#[test]
fn freed_operands_are_found() {
    for k in Planted::all() {
        let module = Module::parse(&(k.lines.join("\n") + "\n")).unwrap();
        for operand in 0..k.golden.ir.operands.len() {
            let outcome = k.golden.run_freed(&module, &k.launch, operand).map_err(|e| e.to_string());
            assert!(found("use after free")(&outcome), "{}, operand {operand}: {outcome:?}", k.golden.name);
        }
    }
}

#[test]
fn races_and_divergent_barriers_are_found() {
    on_all(|k| k.count("bar.sync", ";", found("data race")));
    // Half of each warp comes to it; the others may go as far as what they miss.
    let half = "{.reg .pred %half;.reg .b32 %lane;mov.u32 %lane,%laneid;setp.lt.u32 %half,%lane,16;@%half bar.sync 0;}";
    on_all(|k| k.count("bar.sync", half, found("barrier not reached by all its threads")));
    on_all(|k| k.each(|line| line.starts_with("bar.sync").then(|| half.into()), |outcome| outcome.is_err()));
}
