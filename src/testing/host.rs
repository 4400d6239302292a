//! Arrays of any dtype on the host, as bits, and their ways into and out of a device.

use crate::dtype::{DType, Element};
use crate::graph::{Node, Stored, Value};
use crate::layout::{Layout, View, c_strides, size};
use crate::{Device, Result, bf16, eval, f16};
use std::panic::Location;

/// Calls `$e` with the Rust type of a dtype.
macro_rules! with_type {
    ($d:expr, $T:ident => $e:expr) => {
        match $d {
            DType::Bool => {
                type $T = bool;
                $e
            }
            DType::I8 => {
                type $T = i8;
                $e
            }
            DType::I16 => {
                type $T = i16;
                $e
            }
            DType::I32 => {
                type $T = i32;
                $e
            }
            DType::I64 => {
                type $T = i64;
                $e
            }
            DType::U8 => {
                type $T = u8;
                $e
            }
            DType::U16 => {
                type $T = u16;
                $e
            }
            DType::U32 => {
                type $T = u32;
                $e
            }
            DType::U64 => {
                type $T = u64;
                $e
            }
            DType::F16 => {
                type $T = f16;
                $e
            }
            DType::BF16 => {
                type $T = bf16;
                $e
            }
            DType::F32 => {
                type $T = f32;
                $e
            }
            DType::F64 => {
                type $T = f64;
                $e
            }
        }
    };
}

/// The value of a float or integer, as f64 (exact for floats).
pub fn float(d: DType, bits: u64) -> f64 {
    with_type!(d, T => T::from_bits64(bits).to_f64())
}

/// The bits of the nearest float of this type; of a 16-bit one, of the nearest f32's.
pub fn of_float(d: DType, x: f64) -> u64 {
    match d {
        // The half crate's way from f64 looks at the upper bits alone.
        DType::F16 => f16::from_f32(x as f32).to_bits64(),
        DType::BF16 => bf16::from_f32(x as f32).to_bits64(),
        _ => with_type!(d, T => T::from_f64(x).to_bits64()),
    }
}

/// The value of an integer or bool.
pub fn int(d: DType, bits: u64) -> i128 {
    if d.is_signed_int() {
        let away = 64 - 8 * d.size() as u32;
        return i128::from(((bits << away) as i64) >> away);
    }
    i128::from(bits)
}

/// The bits of an integer, wrapped to the type.
pub fn of_int(d: DType, x: i128) -> u64 {
    if d == DType::Bool { (x & 1) as u64 } else { with_type!(d, T => T::from_bits64(x as u64).to_bits64()) }
}

/// How an array lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lay {
    C,
    Fortran,
    /// Every second element of the last axis of a longer array.
    Stepped,
    /// All axes backwards.
    Reversed,
}

/// An array: type, shape, and the bits of the elements in C order.
#[derive(Clone, Debug)]
pub struct Host {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub bits: Vec<u64>,
}

impl Host {
    /// The bits at an index of a shape this array broadcasts to.
    pub fn spread(&self, index: &[usize]) -> u64 {
        let skip = index.len() - self.shape.len();
        let flat =
            index[skip..].iter().zip(&self.shape).fold(0, |n, (&i, &len)| n * len + if len == 1 { 0 } else { i });
        self.bits[flat]
    }

    /// It on a device, lying so.
    #[track_caller]
    pub fn place(&self, dev: &Device, lay: Lay) -> Value {
        let at = Location::caller();
        let last = self.shape.len().wrapping_sub(1);
        let mut shape = self.shape.clone();
        if let (Lay::Stepped, Some(n)) = (lay, shape.last_mut()) {
            *n = 2 * *n + 1;
        }
        let mut layout = Layout::c_order(&shape);
        if lay == Lay::Fortran {
            let turned: Vec<usize> = shape.iter().rev().copied().collect();
            layout.strides = c_strides(&turned).into_iter().rev().collect();
        }
        let width = self.dtype.size();
        let mut bytes = vec![0u8; size(&shape) * width];
        let mut n = 0;
        walk(&self.shape, |index| {
            let place = index.iter().enumerate().map(|(a, &i)| {
                let i = match lay {
                    Lay::Reversed => self.shape[a] - 1 - i,
                    Lay::Stepped if a == last => 2 * i + 1,
                    _ => i,
                };
                i as isize * layout.strides[a]
            });
            let to = place.sum::<isize>() as usize * width;
            bytes[to..to + width].copy_from_slice(&self.bits[n].to_le_bytes()[..width]);
            n += 1;
        });
        let buffer = dev.backend().alloc(bytes.len(), width).unwrap();
        dev.backend().upload(&bytes, &buffer).unwrap();
        let value = Value::whole(Node::stored(dev.id(), self.dtype, Stored { buffer, layout }, at));
        let mut view = View::identity(&shape);
        for (a, &n) in self.shape.iter().enumerate() {
            match lay {
                Lay::Reversed => view = view.slice_axis(a, n.saturating_sub(1), n, -1),
                Lay::Stepped if a == last => view = view.slice_axis(a, 1, n, 2),
                _ => {}
            }
        }
        value.with(view)
    }

    /// The value of an expression.
    pub fn read(dev: &Device, v: &Value) -> Result<Host> {
        eval::nodes(dev, std::slice::from_ref(&v.node), eval::Why::Asked)?;
        let stored = v.stored().expect("evaluated")?;
        let width = v.dtype().size();
        let mut bytes = vec![0u8; stored.buffer.bytes()];
        dev.backend().download(&stored.buffer, 0, &mut bytes)?;
        let mut bits = vec![];
        walk(v.shape(), |index| {
            let place = index.iter().zip(&stored.layout.strides).map(|(&i, &s)| i as isize * s);
            let from = (stored.layout.offset as isize + place.sum::<isize>()) as usize * width;
            let mut word = [0; 8];
            word[..width].copy_from_slice(&bytes[from..from + width]);
            bits.push(u64::from_le_bytes(word));
        });
        Ok(Host { dtype: v.dtype(), shape: v.shape().to_vec(), bits })
    }
}

/// Calls `f` with every index of a shape, in C order.
pub fn walk(shape: &[usize], mut f: impl FnMut(&[usize])) {
    let mut at = vec![0; shape.len()];
    for _ in 0..size(shape) {
        f(&at);
        for a in (0..shape.len()).rev() {
            at[a] += 1;
            if at[a] < shape[a] {
                break;
            }
            at[a] = 0;
        }
    }
}
