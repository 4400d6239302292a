//! The command line.

use ndcuda::Error;
use ndcuda::distance::Metric;
use std::path::PathBuf;

/// What to do.
#[derive(Debug)]
pub enum Mode {
    Help,
    Demo { device: Option<String> },
    Files(Job),
}

/// The distances between the rows of files.
#[derive(Debug)]
pub struct Job {
    pub x: PathBuf,
    /// Left out: the rows of `x` among themselves.
    pub y: Option<PathBuf>,
    pub metric: Metric,
    pub out: PathBuf,
    pub device: Option<String>,
    pub progress: bool,
}

pub fn help() -> String {
    let metrics: Vec<String> = Metric::ALL.iter().map(Metric::to_string).collect();
    format!(
        "\
Distances between the rows of matrices, on an NVIDIA GPU or the CPU.

distances [--device D]
    The distances between 1797 images of handwritten digits in several forms: times, checks against loops,
    1-nearest-neighbour classification, and a picture.

distances --x A.npy [--y B.npy] --metric M --out D.npy [--device D] [--progress]
    The distances between all rows of A and all rows of B (A's own where --y is left out), as SciPy's cdist
    gives them. f32 stays, f16 becomes f32, everything else f64.

    --metric M    {}
                  (minkowski:P with any P > 0; 2 where it is left out)
    --device D    cpu, cuda or cuda:N; else what NDCUDA_DEVICE names, else the best there is
    --progress    a line on stderr even where that is no terminal",
        metrics.join(", ")
    )
}

/// What the arguments ask for, or what is wrong with them.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Mode, String> {
    let (mut x, mut y, mut metric, mut out, mut device, mut progress) = (None, None, None, None, None, false);
    let mut args = args;
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_string(), Some(value.to_string())),
            None => (arg, None),
        };
        let slot = match name.as_str() {
            "-h" | "--help" => return Ok(Mode::Help),
            "--progress" if inline.is_none() => {
                progress = true;
                continue;
            }
            "--x" => &mut x,
            "--y" => &mut y,
            "--metric" => &mut metric,
            "--out" => &mut out,
            "--device" => &mut device,
            _ => return Err(format!("unknown argument {name}")),
        };
        let value = inline.or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"))?;
        if slot.replace(value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    let Some(x) = x else {
        if y.is_some() || metric.is_some() || out.is_some() || progress {
            return Err("--x is missing".into());
        }
        return Ok(Mode::Demo { device });
    };
    let metric = metric.ok_or("--metric is missing")?.parse().map_err(|e: Error| e.to_string())?;
    let out = out.ok_or("--out is missing")?.into();
    Ok(Mode::Files(Job { x: x.into(), y: y.map(PathBuf::from), metric, out, device, progress }))
}
