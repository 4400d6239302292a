//! A matrix of bytes as a heat map.

use ndcuda::ndarray::ArrayView2;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Dark violet to yellow by way of green: brightness grows evenly, so that it reads in grey too.
const ANCHORS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// The colours of the 256 bytes, red, green and blue of each.
pub fn palette() -> Vec<u8> {
    let step = 255.0 / (ANCHORS.len() - 1) as f32;
    let colour = |i: u8| {
        let at = f32::from(i) / step;
        let left = (at as usize).min(ANCHORS.len() - 2);
        let part = at - left as f32;
        [0, 1, 2].map(|c| {
            let (a, b) = (f32::from(ANCHORS[left][c]), f32::from(ANCHORS[left + 1][c]));
            (a + (b - a) * part).round() as u8
        })
    };
    (0..=255).flat_map(colour).collect()
}

/// Writes a matrix as a PNG, a pixel for each element.
pub fn write(path: &Path, pixels: ArrayView2<'_, u8>) -> Result<(), Box<dyn std::error::Error>> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let (height, width) = pixels.dim();
    let file = BufWriter::new(File::create(path).map_err(|e| named(&e))?);
    let mut encoder = png::Encoder::new(file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette());
    let bytes: Vec<u8> = pixels.iter().copied().collect();
    let mut writer = encoder.write_header().map_err(|e| named(&e))?;
    writer.write_image_data(&bytes).map_err(|e| named(&e))?;
    writer.finish().map_err(|e| named(&e))?;
    Ok(())
}
