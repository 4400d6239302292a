//! [`DeviceArray`]: the typed handle on a value of the graph, and how values come in and go out.

mod host;

pub(crate) use host::{no_room, room};

use crate::buffer::Buffer;
use crate::device::Device;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::graph::{Node, Stored, Value, build};
use crate::layout::{Dims, Layout, Strides, check, size};
use crate::ops::OpRef;
use crate::{debug, eval, eval::Why};
use host::{bytes_of, from_parts, in_c_order, owned, span, take_vec, view_at, zeroed};
use ndarray::{Array, ArrayView, ArrayViewMut, Axis, DimMax, Dimension, IxDyn};
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

/// Pending operations after which recording evaluates.
const DEPTH: u32 = 64;
/// From so many bytes on, elements that lie apart are gathered on the device before they are fetched.
const APART: usize = 1 << 20;

/// An n-dimensional array on a device, or an expression that will be one: operators record, nothing runs until the
/// values are asked for (`to_ndarray`, `item`, `eval`, `==`, printing).
///
/// `T` is the element type, `D` an `ndarray` dimension. Cheap to clone; a value: no other handle changes with it.
///
/// ```
/// use ndcuda::prelude::*;
/// let dev = Device::default();
/// let x = dev.array(&ndarray::arr2(&[[1.0f32, 2.0], [3.0, 4.0]]))?;
/// let y = (&x * 2.0 + 1.0).sum_axis(Axis(1));
/// assert_eq!(y, ndarray::arr1(&[8.0, 16.0]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
pub struct DeviceArray<T, D> {
    pub(crate) value: Value,
    pub(crate) device: Device,
    types: PhantomData<fn() -> (T, D)>,
}

/// A rank-0 array.
pub type DeviceArray0<T> = DeviceArray<T, ndarray::Ix0>;
/// A rank-1 array.
pub type DeviceArray1<T> = DeviceArray<T, ndarray::Ix1>;
/// A rank-2 array.
pub type DeviceArray2<T> = DeviceArray<T, ndarray::Ix2>;
/// A rank-3 array.
pub type DeviceArray3<T> = DeviceArray<T, ndarray::Ix3>;
/// A rank-4 array.
pub type DeviceArray4<T> = DeviceArray<T, ndarray::Ix4>;
/// A rank-5 array.
pub type DeviceArray5<T> = DeviceArray<T, ndarray::Ix5>;
/// A rank-6 array.
pub type DeviceArray6<T> = DeviceArray<T, ndarray::Ix6>;
/// An array whose rank is known at run time.
pub type DeviceArrayD<T> = DeviceArray<T, IxDyn>;

impl<T, D> Clone for DeviceArray<T, D> {
    fn clone(&self) -> Self {
        DeviceArray { value: self.value.clone(), device: self.device.clone(), types: PhantomData }
    }
}

/// What may stand on the right of a binary operation: an array, a reference to one, or a scalar.
pub trait Operand<T: Element> {
    /// Its dimension.
    type Dim: Dimension;
    /// It as a value on `device`, and the device it is on.
    #[doc(hidden)]
    fn operand(&self, device: &Device, at: &'static Location<'static>) -> (Value, Device);
}

impl<T: Element, D: Dimension> Operand<T> for DeviceArray<T, D> {
    type Dim = D;
    fn operand(&self, _: &Device, _: &'static Location<'static>) -> (Value, Device) {
        (self.value.clone(), self.device.clone())
    }
}

impl<T: Element, D: Dimension> Operand<T> for &DeviceArray<T, D> {
    type Dim = D;
    fn operand(&self, _: &Device, _: &'static Location<'static>) -> (Value, Device) {
        (self.value.clone(), self.device.clone())
    }
}

impl<T: Element> Operand<T> for T {
    type Dim = ndarray::Ix0;
    fn operand(&self, device: &Device, at: &'static Location<'static>) -> (Value, Device) {
        (build::scalar(device.id(), T::DTYPE, self.to_bits64(), at), device.clone())
    }
}

/// The result of an eager check, or a panic at the user's call.
#[track_caller]
pub(crate) fn expect<R>(r: Result<R>) -> R {
    match r {
        Ok(v) => v,
        Err(e) => panic!("{e}"),
    }
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// A handle on a value of this type and rank; evaluates below it where too much is pending.
    pub(crate) fn wrap(value: Value, device: &Device) -> Self {
        debug_assert_eq!(value.dtype(), T::DTYPE);
        let out = DeviceArray { value, device: device.clone(), types: PhantomData };
        out.relieve(false);
        out
    }

    /// Keeps what is pending short: beyond a depth, the smallest value on the longest way down is evaluated, the nearest of equally small
    /// ones. A failure stays in that node and comes with the next result asked for.
    fn relieve(&self, sole: bool) {
        // What is noted may be of before a value below was made: then nothing is too deep, and this value perhaps one that is never to be stored.
        if self.value.node.pending_depth() <= DEPTH || self.value.node.current_depth() <= DEPTH {
            return;
        }
        let mut node = self.value.node.clone();
        let mut best = node.clone();
        for _ in 0..DEPTH / 2 {
            let Some(expr) = node.expr() else { break };
            let Some(next) = expr.args.iter().map(|v| &v.node).max_by_key(|n| n.pending_depth()).cloned() else {
                break;
            };
            if next.pending_depth() == 0 {
                break;
            }
            if size(&next.shape) < size(&best.shape) {
                best = next.clone();
            }
            node = next;
        }
        drop(node);
        let why = if sole && Arc::ptr_eq(&best, &self.value.node) { Why::CutSole } else { Why::Cut };
        if let Err(e) = eval::nodes(&self.device, std::slice::from_ref(&best), why) {
            best.set(Err(e));
        }
    }

    #[track_caller]
    pub(crate) fn map1<U: Element>(&self, row: OpRef) -> DeviceArray<U, D> {
        DeviceArray::wrap(expect(build::map(row, &[&self.value], Location::caller())), &self.device)
    }

    #[track_caller]
    pub(crate) fn try_map2<U: Element, A: Element, O: Operand<A>>(
        &self,
        row: OpRef,
        rhs: O,
    ) -> Result<DeviceArray<U, <D as DimMax<O::Dim>>::Output>>
    where
        D: DimMax<O::Dim>,
    {
        let at = Location::caller();
        let (b, device) = rhs.operand(&self.device, at);
        self.same_device(row.name, &device)?;
        Ok(DeviceArray::wrap(build::map(row, &[&self.value, &b], at)?, &self.device))
    }

    #[track_caller]
    pub(crate) fn map2<U: Element, A: Element, O: Operand<A>>(
        &self,
        row: OpRef,
        rhs: O,
    ) -> DeviceArray<U, <D as DimMax<O::Dim>>::Output>
    where
        D: DimMax<O::Dim>,
    {
        expect(self.try_map2(row, rhs))
    }

    #[track_caller]
    #[allow(clippy::type_complexity)]
    pub(crate) fn try_map3<U: Element, A: Element, B: Element, O: Operand<A>, P: Operand<B>>(
        &self,
        row: OpRef,
        second: O,
        third: P,
    ) -> Result<DeviceArray<U, <<D as DimMax<O::Dim>>::Output as DimMax<P::Dim>>::Output>>
    where
        D: DimMax<O::Dim>,
        <D as DimMax<O::Dim>>::Output: DimMax<P::Dim>,
    {
        let at = Location::caller();
        let (b, device) = second.operand(&self.device, at);
        self.same_device(row.name, &device)?;
        let (c, device) = third.operand(&self.device, at);
        self.same_device(row.name, &device)?;
        Ok(DeviceArray::wrap(build::map(row, &[&self.value, &b, &c], at)?, &self.device))
    }

    /// `*self = self op rhs`, which must have self's shape; the old value's memory is written over where no one else has it.
    #[track_caller]
    pub(crate) fn assign_op<A: Element, O: Operand<A>>(&mut self, row: OpRef, rhs: O) {
        let at = Location::caller();
        let (b, device) = rhs.operand(&self.device, at);
        expect(self.same_device(row.name, &device));
        let value = expect(build::map(row, &[&self.value, &b], at));
        drop(b);
        if value.shape() != self.value.shape() {
            let e = Error::Shape {
                op: row.name,
                shape: self.value.shape().into(),
                reason: format!("in place, the result would change it to {:?}", value.shape()),
            };
            panic!("{e}");
        }
        self.rebind(value);
    }

    /// Makes this handle stand for another value.
    pub(crate) fn rebind(&mut self, value: Value) {
        self.value = value;
        self.relieve(true);
    }

    pub(crate) fn same_device(&self, op: &'static str, other: &Device) -> Result<()> {
        if self.device == *other {
            return Ok(());
        }
        Err(self.device.is_not(op, other))
    }

    /// The device the array is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The type of the elements, at run time.
    pub fn dtype(&self) -> DType {
        T::DTYPE
    }

    /// The extent of each axis.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }

    /// The shape as an `ndarray` dimension.
    pub fn raw_dim(&self) -> D {
        let mut d = D::zeros(self.ndim());
        d.slice_mut().copy_from_slice(self.shape());
        d
    }

    /// The number of axes.
    pub fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        size(self.shape())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extent of one axis.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn len_of(&self, axis: Axis) -> usize {
        match self.shape().get(axis.0) {
            Some(&n) => n,
            None => panic!("{}", Error::Axis { op: "len_of", axis: axis.0, shape: self.shape().into() }),
        }
    }

    /// Computes the value now, so that later uses read it from memory.
    ///
    /// # Errors
    /// Whatever its operations or the device fail with.
    pub fn eval(&self) -> Result<()> {
        eval::nodes(&self.device, std::slice::from_ref(&self.value.node), Why::Asked)
    }

    pub(crate) fn stored(&self) -> Result<Stored> {
        if self.value.node.value().is_none() {
            self.eval()?;
        }
        match self.value.stored() {
            Some(s) => s,
            None => Err(Error::Internal { stage: "eval", detail: "no value after evaluation".into() }),
        }
    }

    /// The values as a host array, in the memory order they have on the device.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub fn to_ndarray(&self) -> Result<Array<T, D>> {
        if self.device.backend().is_host() {
            return self.with_host(owned)?.map_err(|e| self.value.node.located(e));
        }
        let stored = self.stored()?;
        let n = size(&stored.layout.shape);
        let (low, high) = span(&stored.layout);
        if n == 0 || high - low != n || !stored.layout.strides.iter().all(|&s| s > 0) {
            return self.with_host(owned)?;
        }
        // Elements that lie together, in an order of axes that a host array can have: one copy, straight into it.
        let mut to = zeroed::<T>(n)?;
        self.device.backend().download(&stored.buffer, low * size_of::<T>(), bytes_of(&mut to))?;
        from_parts(to, &stored.layout)
    }

    /// The values as a host array; on the CPU without a copy where no one else has the value.
    ///
    /// # Errors
    /// As [`eval`](Self::eval).
    pub fn into_ndarray(self) -> Result<Array<T, D>> {
        let stored = self.stored()?;
        if !self.device.backend().is_host() || self.value.part().is_some() {
            return self.to_ndarray();
        }
        let DeviceArray { value, device, .. } = self;
        match take_vec::<T>(value, stored) {
            Ok((vec, layout)) => from_parts(vec, &layout),
            Err(stored) => {
                let node = Node::stored(device.id(), T::DTYPE, stored, Location::caller());
                DeviceArray::<T, D>::wrap(Value::whole(node), &device).to_ndarray()
            }
        }
    }

    /// A view of the values in host memory, without a copy.
    ///
    /// # Errors
    /// As [`eval`](Self::eval); [`Error::DeviceUnavailable`] where the array is not in host memory.
    pub fn host_view(&self) -> Result<ArrayView<'_, T, D>> {
        if !self.device.backend().is_host() {
            return Err(Error::DeviceUnavailable {
                device: self.device.to_string(),
                reason: "its memory is not the host's; use to_ndarray or read_into".into(),
            });
        }
        let stored = self.stored()?;
        // SAFETY: the node keeps the buffer, and `self` the node, for the view's lifetime; a set value never changes
        // while a handle on it exists.
        Ok(unsafe { view_at(stored.buffer.address(), &stored.layout) })
    }

    /// The values where they lie, or a copy on the device that lies together: one column of a matrix is no reason to fetch all of it.
    fn together(&self, stored: Stored) -> Stored {
        let (low, high) = span(&stored.layout);
        if high - low < 2 * size(&stored.layout.shape) || (high - low) * size_of::<T>() < APART {
            return stored;
        }
        let copy = build::copy(&self.value, Location::caller());
        match eval::nodes(&self.device, std::slice::from_ref(&copy.node), Why::Asked) {
            Ok(()) => copy.stored().and_then(Result::ok).unwrap_or(stored),
            // There is no memory for it, or the fetch will tell what is wrong.
            Err(_) => stored,
        }
    }

    /// Calls `f` with a view of the values in host memory, copied there if they are elsewhere.
    pub(crate) fn with_host<R>(&self, f: impl FnOnce(ArrayView<'_, T, D>) -> R) -> Result<R> {
        if self.device.backend().is_host() {
            return Ok(f(self.host_view()?));
        }
        let stored = self.together(self.stored()?);
        let (low, high) = span(&stored.layout);
        let mut words = zeroed::<u64>(((high - low) * size_of::<T>()).div_ceil(8))?;
        // SAFETY: the words are plain memory of at least that many bytes.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr() as *mut u8, (high - low) * size_of::<T>()) };
        self.device.backend().download(&stored.buffer, low * size_of::<T>(), bytes)?;
        let layout = Layout { offset: stored.layout.offset - low, ..stored.layout };
        // SAFETY: the span of the layout was copied; a u64 is aligned for every element type.
        Ok(f(unsafe { view_at(words.as_ptr() as usize, &layout) }))
    }

    /// Writes the values into a host array of the same shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ; else as [`eval`](Self::eval).
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let mut host = ndarray::Array1::zeros(3);
    /// Device::cpu().arange(0, 3, 1).read_into(host.view_mut())?;
    /// assert_eq!(host, ndarray::arr1(&[0, 1, 2]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    pub fn read_into(&self, mut to: ArrayViewMut<'_, T, D>) -> Result<()> {
        if to.shape() != self.shape() {
            return Err(Error::Shape {
                op: "read_into",
                shape: self.shape().into(),
                reason: format!("the target has shape {:?}", to.shape()),
            });
        }
        if let (false, Some(slice)) = (self.device.backend().is_host(), to.as_slice_mut()) {
            let stored = self.stored()?;
            if stored.layout.strides == crate::layout::c_strides(&stored.layout.shape) {
                let from = stored.layout.offset * size_of::<T>();
                return self.device.backend().download(&stored.buffer, from, bytes_of(slice));
            }
        }
        self.with_host(|v| to.assign(&v))
    }

    /// The one element of an array of one element.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are more or none; else as [`eval`](Self::eval).
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().arange(0i32, 4, 1).sum().item()?, 6);
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    pub fn item(&self) -> Result<T> {
        if self.len() != 1 {
            let reason = "item needs exactly one element".into();
            return Err(Error::Shape { op: "item", shape: self.shape().into(), reason });
        }
        let stored = self.stored()?;
        let mut bits = [0u8; 8];
        let n = size_of::<T>();
        self.device.backend().download(&stored.buffer, stored.layout.offset * n, &mut bits[..n])?;
        Ok(T::from_bits64(u64::from_le_bytes(bits)))
    }

    /// A copy on another device (the same handle where it is there already).
    ///
    /// # Errors
    /// As [`eval`](Self::eval), or an error of the other device.
    pub fn to_device(&self, device: &Device) -> Result<DeviceArray<T, D>> {
        if self.device == *device {
            return Ok(self.clone());
        }
        device.array(self.to_ndarray()?)
    }

    /// The same array with its rank known at run time.
    pub fn into_dyn(self) -> DeviceArrayD<T> {
        DeviceArray { value: self.value, device: self.device, types: PhantomData }
    }

    /// The same array with its rank known at compile time.
    ///
    /// # Errors
    /// [`Error::Shape`] where the rank is another.
    pub fn into_dimensionality<E: Dimension>(self) -> Result<DeviceArray<T, E>> {
        if E::NDIM.is_some_and(|n| n != self.ndim()) {
            return Err(Error::Shape {
                op: "into_dimensionality",
                shape: self.shape().into(),
                reason: format!("the rank is not {}", E::NDIM.unwrap_or(0)),
            });
        }
        Ok(DeviceArray { value: self.value, device: self.device, types: PhantomData })
    }
}

/// What `Device::array` takes: `ndarray` arrays and views (copied) and owned arrays (moved on the CPU).
pub trait IntoDevice {
    /// The elements.
    type Elem: Element;
    /// The dimension.
    type Dim: Dimension;
    /// The array on a device.
    #[doc(hidden)]
    fn into_device(self, device: &Device, at: &'static Location<'static>)
    -> Result<DeviceArray<Self::Elem, Self::Dim>>;
}

impl<T: Element, D: Dimension> IntoDevice for Array<T, D> {
    type Elem = T;
    type Dim = D;
    fn into_device(self, device: &Device, at: &'static Location<'static>) -> Result<DeviceArray<T, D>> {
        if !device.backend().is_host() {
            return copy_in(self.view(), device, at);
        }
        check("array", self.shape())?;
        let shape: Dims = self.shape().into();
        let strides: Strides = self.strides().into();
        let (vec, offset) = self.into_raw_vec_and_offset();
        let layout = Layout { shape, strides, offset: offset.unwrap_or(0) };
        let (address, bytes) = (vec.as_ptr() as usize, vec.len() * size_of::<T>());
        debug::count_alloc(0);
        // SAFETY: the vector is the buffer's owner, and its memory does not move with it.
        let buffer = unsafe { Buffer::new(address, bytes, Box::new(vec)) };
        let node = Node::stored(device.id(), T::DTYPE, Stored { buffer, layout }, at);
        Ok(DeviceArray::wrap(Value::whole(node), device))
    }
}

impl<S: ndarray::Data, D: Dimension> IntoDevice for &ndarray::ArrayBase<S, D>
where
    S::Elem: Element,
{
    type Elem = S::Elem;
    type Dim = D;
    fn into_device(self, device: &Device, at: &'static Location<'static>) -> Result<DeviceArray<S::Elem, D>> {
        copy_in(self.view(), device, at)
    }
}

macro_rules! copied_in {
    ($($from:ty),*) => {$(
        impl<T: Element, D: Dimension> IntoDevice for $from {
            type Elem = T;
            type Dim = D;
            fn into_device(self, device: &Device, at: &'static Location<'static>) -> Result<DeviceArray<T, D>> {
                copy_in(self.view(), device, at)
            }
        }
    )*};
}

copied_in!(ArrayView<'_, T, D>, ArrayViewMut<'_, T, D>, ndarray::ArcArray<T, D>, ndarray::CowArray<'_, T, D>);

fn copy_in<T: Element, D: Dimension>(
    v: ArrayView<'_, T, D>,
    device: &Device,
    at: &'static Location<'static>,
) -> Result<DeviceArray<T, D>> {
    check("array", v.shape())?;
    let shape: Dims = v.shape().into();
    let buffer = device.backend().alloc(v.len() * size_of::<T>(), align_of::<T>())?;
    let copied;
    let (slice, strides): (&[T], Strides) = match v.as_slice_memory_order() {
        Some(s) if v.strides().iter().all(|&s| s >= 0) => (s, v.strides().into()),
        _ => {
            copied = in_c_order(&v)?;
            (&copied, crate::layout::c_strides(&shape))
        }
    };
    // SAFETY: elements are plain values without padding.
    let bytes = unsafe { std::slice::from_raw_parts(slice.as_ptr() as *const u8, size_of_val(slice)) };
    device.backend().upload(bytes, &buffer)?;
    let layout = Layout { shape, strides, offset: 0 };
    let node = Node::stored(device.id(), T::DTYPE, Stored { buffer, layout }, at);
    Ok(DeviceArray::wrap(Value::whole(node), device))
}

impl Device {
    /// An array on this device, from any `ndarray` array or view (copied) or an owned array (moved in on the CPU).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    ///
    /// ```
    /// use ndcuda::prelude::*;
    /// let host = ndarray::arr2(&[[1, 2], [3, 4]]);
    /// let x = Device::cpu().array(&host)?;
    /// assert_eq!(x.t(), host.t());
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn array<A: IntoDevice>(&self, from: A) -> Result<DeviceArray<A::Elem, A::Dim>> {
        from.into_device(self, Location::caller())
    }
}
