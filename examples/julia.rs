//! A Julia set: 200 iterations with `where_` on all pixels at once, and a picture of how long each stayed.

use ndcuda::{debug::trace, prelude::*};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

const ITERATIONS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());
    let (width, height) = (320, 200);

    // y, x = np.ogrid[-1:1:200j, -1.6:1.6:320j]
    let (cx, cy) = (-0.8f32, 0.156f32);
    let mut x = dev.linspace(-1.6f32, 1.6, width).insert_axis(Axis(0)) + dev.zeros((height, 1));
    let mut y = dev.linspace(-1.0f32, 1.0, height).insert_axis(Axis(1)) + dev.zeros((1, width));
    let mut count = dev.zeros::<f32, _>((height, width));
    let (ran, seen) = trace(|| -> ndcuda::Result<()> {
        for i in 1..=ITERATIONS {
            // inside = x*x + y*y < 4; z = np.where(inside, z*z + c, z); count += inside
            let (x2, y2) = (&x * &x, &y * &y);
            let inside = (&x2 + &y2).less(4.0);
            let next_y = 2.0 * (&x * &y) + cy;
            x = inside.where_(x2 - y2 + cx, &x);
            y = inside.where_(next_y, &y);
            count += inside.cast::<f32>();
            // Ten iterations a kernel: the values on the way are never stored.
            if i % 10 == 0 {
                ndcuda::eval((&x, &y, &count))?;
            }
        }
        Ok(())
    });
    ran?;
    println!("{ITERATIONS} iterations: {} kernels, {} plans made", seen.kernels, seen.plans);
    assert!(seen.plans <= 3, "a loop makes its plans once");

    let count = count.to_ndarray()?;
    for (at, &n) in count.indexed_iter().step_by(997) {
        assert_eq!(n, stays(at, (height, width), (cx, cy)), "at {at:?}");
    }

    let target = Path::new("target");
    let path = if target.is_dir() { target } else { Path::new("") }.join("julia.png");
    let mut png = png::Encoder::new(BufWriter::new(File::create(&path)?), width as u32, height as u32);
    png.set_color(png::ColorType::Grayscale);
    png.set_depth(png::BitDepth::Eight);
    let bytes: Vec<u8> = count.iter().map(|n| ((n / ITERATIONS as f32).sqrt() * 255.0) as u8).collect();
    png.write_header()?.write_image_data(&bytes)?;
    println!("picture: {}", path.display());
    Ok(())
}

/// The same for one pixel, in plain Rust and the same order of operations: the bits are the same.
fn stays((row, column): (usize, usize), (height, width): (usize, usize), (cx, cy): (f32, f32)) -> f32 {
    let grid = |from: f64, to: f64, n: usize, i: usize| (from + (to - from) / (n - 1) as f64 * i as f64) as f32;
    let (from_x, to_x) = (f64::from(-1.6f32), f64::from(1.6f32));
    let (mut x, mut y) = (grid(from_x, to_x, width, column), grid(-1.0, 1.0, height, row));
    let mut count = 0.0;
    while count < ITERATIONS as f32 && x * x + y * y < 4.0 {
        (x, y) = (x * x - y * y + cx, 2.0 * (x * y) + cy);
        count += 1.0;
    }
    count
}
