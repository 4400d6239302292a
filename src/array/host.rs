//! Host memory: room that may not be there, views of what lies there, and vectors in and out without a copy.

use crate::buffer::{Buffer, no_memory};
use crate::dtype::Element;
use crate::error::{Error, Result};
use crate::graph::{Stored, Value};
use crate::layout::{Dims, Layout, size};
use ndarray::{Array, ArrayView, Axis, Dimension, ShapeBuilder};

/// Elements as bytes to be written.
pub(super) fn bytes_of<T: Element>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: elements are plain values without padding, and what a device writes over them are values of the same type.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr() as *mut u8, size_of_val(elements)) }
}

/// The error of host memory that is not there.
pub(crate) fn no_room(bytes: usize) -> Error {
    no_memory("the host", bytes)
}

/// An empty vector with room for `n` elements, or an error where ndarray's and `vec!`'s own would end the program.
pub(crate) fn room<T>(n: usize) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(n).map_err(|_| no_room(n.saturating_mul(size_of::<T>())))?;
    Ok(vec)
}

/// `n` zeros, whose pages the system hands out when they are first written.
pub(super) fn zeroed<T: Element>(n: usize) -> Result<Vec<T>> {
    let fail = || no_room(n.saturating_mul(size_of::<T>()));
    let layout = std::alloc::Layout::array::<T>(n).map_err(|_| fail())?;
    if layout.size() == 0 {
        return Ok(vec![]);
    }
    // SAFETY: the size is not zero.
    let p = unsafe { std::alloc::alloc_zeroed(layout) };
    if p.is_null() {
        return Err(fail());
    }
    // SAFETY: allocated with the layout of `n` elements, of which each is a number or bool: all bits zero is its zero.
    Ok(unsafe { Vec::from_raw_parts(p.cast(), n, n) })
}

pub(super) fn in_c_order<T: Element, D: Dimension>(v: &ArrayView<'_, T, D>) -> Result<Vec<T>> {
    let mut to = room(v.len())?;
    v.iter().for_each(|&x| to.push(x));
    Ok(to)
}

/// A copy that lies as the view does: ndarray's `to_owned`, with an error where there is no memory.
pub(super) fn owned<T: Element, D: Dimension>(mut v: ArrayView<'_, T, D>) -> Result<Array<T, D>> {
    let backwards: Vec<Axis> = (0..v.ndim()).map(Axis).filter(|&a| v.stride_of(a) < 0).collect();
    for &a in &backwards {
        v.invert_axis(a);
    }
    let shape: Dims = v.shape().into();
    let (to, strides) = match v.as_slice_memory_order() {
        Some(slice) => {
            let mut to = room(slice.len())?;
            to.extend_from_slice(slice);
            (to, v.strides().into())
        }
        None => (in_c_order(&v)?, crate::layout::c_strides(&shape)),
    };
    let mut array = from_parts(to, &Layout { shape, strides, offset: 0 })?;
    for a in backwards {
        array.invert_axis(a);
    }
    Ok(array)
}

/// A host array of elements that lie so, from the vector's first on.
pub(super) fn from_parts<T, D: Dimension>(vec: Vec<T>, layout: &Layout) -> Result<Array<T, D>> {
    let mut strides = D::zeros(layout.shape.len());
    for (s, &l) in strides.slice_mut().iter_mut().zip(&layout.strides) {
        *s = l as usize;
    }
    Array::from_shape_vec(dimension::<D>(&layout.shape).strides(strides), vec)
        .map_err(|e| Error::Internal { stage: "to_ndarray", detail: e.to_string() })
}

/// The first and one past the last element a layout reaches.
pub(super) fn span(layout: &Layout) -> (usize, usize) {
    if size(&layout.shape) == 0 {
        return (layout.offset, layout.offset);
    }
    let (mut low, mut high) = (layout.offset as isize, layout.offset as isize);
    for (&n, &s) in layout.shape.iter().zip(&layout.strides) {
        let far = (n as isize - 1) * s;
        if far < 0 { low += far } else { high += far }
    }
    (low as usize, high as usize + 1)
}

fn dimension<D: Dimension>(shape: &[usize]) -> D {
    let mut d = D::zeros(shape.len());
    d.slice_mut().copy_from_slice(shape);
    d
}

/// A view of memory that lies so.
///
/// # Safety
/// All elements of the layout are initialised, aligned values of `T` that stay as they are for `'a`.
pub(super) unsafe fn view_at<'a, T, D: Dimension>(address: usize, layout: &Layout) -> ArrayView<'a, T, D> {
    let shape = dimension::<D>(&layout.shape);
    if size(&layout.shape) == 0 {
        // Strides of nothing may be anything; ndarray's checks take only its own.
        // SAFETY: an empty view reads nothing; the address is aligned.
        return unsafe { ArrayView::from_shape_ptr(shape, std::ptr::dangling()) };
    }
    let mut strides = D::zeros(layout.shape.len());
    for (s, l) in strides.slice_mut().iter_mut().zip(&layout.strides) {
        *s = l.unsigned_abs();
    }
    // ndarray takes a view with positive strides, then turns axes round.
    let (low, _) = span(layout);
    let p = (address + low * size_of::<T>()) as *const T;
    // SAFETY: the caller's; with positive strides the lowest address is the first element.
    let mut v = unsafe { ArrayView::from_shape_ptr(shape.strides(strides), p) };
    for (a, &s) in layout.strides.iter().enumerate() {
        if s < 0 {
            v.invert_axis(Axis(a));
        }
    }
    v
}

/// The vector under a value that fills it, where this handle is the only one; else the memory again.
pub(super) fn take_vec<T: Element>(value: Value, stored: Stored) -> std::result::Result<(Vec<T>, Layout), Stored> {
    let n = size(&stored.layout.shape);
    let positive = n == 1 || stored.layout.strides.iter().all(|&s| s > 0);
    let full = stored.buffer.bytes() == n * size_of::<T>() && span(&stored.layout) == (0, n);
    if n == 0 || !positive || !full {
        return Err(stored);
    }
    drop(value);
    let layout = stored.layout;
    let owner = match stored.buffer.into_owner() {
        Ok(owner) => owner,
        Err(buffer) => return Err(Stored { buffer, layout }),
    };
    let owner = match owner.downcast::<Vec<T>>() {
        Ok(vec) => return Ok((*vec, layout)),
        Err(owner) => owner,
    };
    match owner.downcast::<crate::buffer::Block>() {
        // SAFETY: the value is set, so all `n` elements at the block's start are initialised.
        Ok(block) => match unsafe { block.into_vec::<T>(n) } {
            Ok(vec) => Ok((vec, layout)),
            Err(block) => {
                let address = block.address();
                // SAFETY: the block is whole, and the new buffer owns it.
                let buffer = unsafe { Buffer::new(address, n * size_of::<T>(), Box::new(block)) };
                Err(Stored { buffer, layout })
            }
        },
        Err(_) => Err(Stored {
            // SAFETY: no byte of it is read: the layout below is empty.
            buffer: unsafe { Buffer::new(align_of::<T>(), 0, Box::new(())) },
            layout: Layout::c_order(&[0]),
        }),
    }
}
