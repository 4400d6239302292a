//! `distances`: without arguments, the distances between the 1797 images of a data set of handwritten digits, in several
//! forms, timed and checked against loops; with `--x`, the distances between the rows of `.npy` files.

mod args;
mod demo;
mod device;
mod files;
mod picture;

use args::Mode;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args().skip(1)) {
        Ok(Mode::Help) => {
            println!("{}", args::help());
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Demo { device }) => demo::run(device.as_deref()),
        Ok(Mode::Files(job)) => files::run(&job),
        Err(usage) => {
            eprintln!("distances: {usage}\nTry `distances --help`.");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("distances: {e}");
            ExitCode::FAILURE
        }
    }
}
