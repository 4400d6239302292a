//! Reading and writing NumPy's `.npy` files.

use crate::array::{DeviceArray, DeviceArrayD, no_room};
use crate::device::Device;
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::layout::MAX_RANK;
use half::f16;
use ndarray::{Array, ArrayView, Dimension, IxDyn, ShapeBuilder};
use npyz::{Endianness, NpyHeader, Order, TypeChar, TypeStr, WriteOptions, WriterBuilder};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Longest header read, in bytes: NumPy's own limit.
const LONGEST: usize = 10_000;
/// Deepest brackets in a header: a structured dtype nests a few, and the parser recurses.
const DEEPEST: usize = 8;
/// Symbolic links followed: as many as Linux does.
const LINKS: usize = 40;
/// Bytes read or written at a time.
const CHUNK: usize = 1 << 20;

macro_rules! any {
    ($($variant:ident($t:ty)),*) => {
        /// An array read from a file: its dtype is known at run time.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum AnyArray {$(
            #[doc = concat!("Of `", stringify!($t), "`.")]
            $variant(DeviceArrayD<$t>),
        )*}

        impl AnyArray {
            /// The type of the elements.
            pub fn dtype(&self) -> DType {
                match self {$(AnyArray::$variant(a) => a.dtype(),)*}
            }

            /// The extent of each axis.
            pub fn shape(&self) -> &[usize] {
                match self {$(AnyArray::$variant(a) => a.shape(),)*}
            }

            /// The array in another dtype, or its own, as [`DeviceArray::cast`] converts.
            #[track_caller]
            pub fn cast<T: Element>(&self) -> DeviceArrayD<T> {
                match self {$(AnyArray::$variant(a) => a.cast(),)*}
            }
        }

        fn read_any(header: Header, from: impl Read, device: &Device) -> Result<AnyArray, Fail> {
            match header.dtype {
                $(<$t>::DTYPE => Ok(AnyArray::$variant(read_typed(header, from, device)?)),)*
                DType::BF16 => Err(Fail::File("NumPy has no bf16".into())),
            }
        }
    };
}

any! {
    Bool(bool), I8(i8), I16(i16), I32(i32), I64(i64), U8(u8), U16(u16), U32(u32), U64(u64), F16(f16), F32(f32), F64(f64)
}

/// What goes wrong: with the file, whose name the caller adds, or on the device.
enum Fail {
    File(String),
    Other(Error),
}

impl Fail {
    fn of(self, path: &Path) -> Error {
        match self {
            Fail::File(reason) => file_error(path, reason),
            Fail::Other(e) => e,
        }
    }
}

fn file_error(path: &Path, reason: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}

fn read_error(e: std::io::Error) -> Fail {
    Fail::File(match e.kind() {
        ErrorKind::UnexpectedEof => "the file ends too early".into(),
        _ => e.to_string(),
    })
}

const BFLOAT: &str = " (.npy files have no bf16: save it as f32)";

/// What an `.npy` header says.
struct Header {
    dtype: DType,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
    /// Elements, and whether a file of known length was seen to have them.
    len: usize,
    checked: bool,
}

/// Reads an `.npy` file that NumPy or [`write_npy`] wrote: any version, byte order and memory order, with elements of bool,
/// i8 to i64, u8 to u64, f16, f32 or f64. The memory order stays as it is in the file.
///
/// # Errors
/// [`Error::File`], with the path, where there is no such file, it is malformed or shorter than its header says, or its dtype
/// is another; [`Error::OutOfMemory`].
///
/// ```
/// use ndcuda::{io, prelude::*};
/// let dev = Device::cpu();
/// let path = std::env::temp_dir().join(format!("ndcuda-read-{}.npy", std::process::id()));
/// io::write_npy(&path, &dev.arange(0i32, 6, 1).reshape((2, 3)))?;
///
/// let any = io::read_npy(&path, &dev)?;
/// assert_eq!((any.dtype(), any.shape()), (ndcuda::DType::I32, &[2, 3][..]));
/// let x: DeviceArray2<f64> = any.cast().into_dimensionality()?;
/// assert_eq!(x, ndarray::arr2(&[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]));
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[doc(alias = "load")]
pub fn read_npy(path: impl AsRef<Path>, device: &Device) -> Result<AnyArray> {
    let path = path.as_ref();
    open(path).and_then(|(header, file)| read_any(header, file, device)).map_err(|e| e.of(path))
}

/// Reads an `.npy` file whose dtype and rank are known.
///
/// # Errors
/// As [`read_npy`], and [`Error::File`] with both dtypes and ranks where the file holds something else.
///
/// ```
/// use ndcuda::{io, prelude::*};
/// let dev = Device::cpu();
/// let path = std::env::temp_dir().join(format!("ndcuda-read-as-{}.npy", std::process::id()));
/// io::write_npy(&path, &dev.ones::<f32, _>((2, 3)))?;
///
/// let x: DeviceArray2<f32> = io::read_npy_as(&path, &dev)?;
/// assert_eq!(x.sum(), ndarray::arr0(6.0));
/// assert!(io::read_npy_as::<f64, ndarray::Ix2>(&path, &dev).is_err());
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[doc(alias = "load")]
pub fn read_npy_as<T: Element, D: Dimension>(path: impl AsRef<Path>, device: &Device) -> Result<DeviceArray<T, D>> {
    let path = path.as_ref();
    let (header, file) = open(path).map_err(|e| e.of(path))?;
    let rank = D::NDIM.unwrap_or(header.shape.len());
    if header.dtype != T::DTYPE || header.shape.len() != rank {
        let (shape, has) = (&header.shape, header.shape.len());
        return Err(file_error(
            path,
            format!("holds {} of shape {shape:?} (rank {has}), not {} of rank {rank}", header.dtype, T::DTYPE),
        ));
    }
    read_typed(header, file, device).map_err(|e| e.of(path))?.into_dimensionality()
}

/// As [`read_npy`], from the bytes of such a file: those of an `include_bytes!`, say.
///
/// # Errors
/// As [`read_npy`]; the path is `<bytes>`.
pub fn parse_npy(bytes: &[u8], device: &Device) -> Result<AnyArray> {
    let mut from = bytes;
    let header = read_header(&mut from, Some(bytes.len() as u64));
    header.and_then(|h| read_any(h, from, device)).map_err(|e| e.of(Path::new("<bytes>")))
}

fn open(path: &Path) -> Result<(Header, File), Fail> {
    let mut file = File::open(path).map_err(read_error)?;
    let about = file.metadata().map_err(read_error)?;
    // A pipe has no length: there, memory grows with what comes.
    let header = read_header(&mut file, about.is_file().then_some(about.len()))?;
    Ok((header, file))
}

fn read_header(from: &mut impl Read, length: Option<u64>) -> Result<Header, Fail> {
    let fail = |reason| Err(Fail::File(reason));
    let mut head = vec![0; 10];
    match from.read_exact(&mut head) {
        Err(e) if e.kind() != ErrorKind::UnexpectedEof => return Err(read_error(e)),
        Ok(()) if head.starts_with(b"\x93NUMPY") => {}
        _ => return fail("is no .npy file: it does not begin with \\x93NUMPY and a version".into()),
    }
    let text = match head[6] {
        1 => usize::from(u16::from_le_bytes([head[8], head[9]])),
        2 | 3 => {
            head.resize(12, 0);
            from.read_exact(&mut head[10..]).map_err(read_error)?;
            u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize
        }
        v => return fail(format!("version {v}.{} of the .npy format is not known", head[7])),
    };
    if text > LONGEST {
        return fail(format!("the header has {text} bytes; more than {LONGEST} are not read"));
    }
    let start = head.len();
    head.resize(start + text, 0);
    from.read_exact(&mut head[start..]).map_err(read_error)?;
    if head[6] < 3 {
        drop_long_marks(&mut head[start..]);
    }
    let form = vet(&head[start..])?;
    let parsed = NpyHeader::from_reader(&head[..]).map_err(|e| {
        let hint = if head.windows(8).any(|w| w == b"bfloat16") { BFLOAT } else { "" };
        Fail::File(format!("malformed header: {e}{hint}"))
    })?;
    let (dtype, big_endian) = match parsed.dtype() {
        npyz::DType::Plain(t) => match dtype_of(&t) {
            Some(dtype) => (dtype, t.endianness() == Endianness::Big),
            None => {
                // As JAX's bf16 is saved.
                let hint = if t.to_string().ends_with("V2") { BFLOAT } else { "" };
                return fail(format!("dtype '{t}' is none of bool, i8 to i64, u8 to u64, f16, f32 and f64{hint}"));
            }
        },
        d => return fail(format!("a structured dtype, {}, cannot be read", d.descr())),
    };
    // The parser took it, but is laxer than NumPy.
    if form.keys != 3 || form.lists > 0 {
        let reason = "malformed header: NumPy's has descr, fortran_order and shape, which is a tuple, and nothing else";
        return fail(reason.into());
    }
    // `vet` saw that the product fits.
    let shape: Vec<usize> = parsed.shape().iter().map(|&n| n as usize).collect();
    if shape.len() > MAX_RANK {
        return fail(format!("{} axes are more than {MAX_RANK}", shape.len()));
    }
    let len = shape.iter().product::<usize>();
    let (needed, checked) = ((len * dtype.size()) as u64, length.is_some());
    let there = length.unwrap_or(u64::MAX).saturating_sub(head.len() as u64);
    if there < needed {
        return fail(format!(
            "is truncated: {dtype} of shape {shape:?} takes {needed} bytes, and {there} follow the header"
        ));
    }
    Ok(Header { dtype, big_endian, fortran: parsed.order() == Order::Fortran, shape, len, checked })
}

/// Blanks the `L` behind the integers of Python 2, as NumPy does.
fn drop_long_marks(text: &mut [u8]) {
    for i in 1..text.len() {
        let ends = text.get(i + 1).is_none_or(|b| b" \t,)".contains(b));
        if text[i] == b'L' && text[i - 1].is_ascii_digit() && ends {
            text[i] = b' ';
        }
    }
}

/// What a header is made of, outside its strings.
#[derive(Default)]
struct Form {
    /// Keys of the outermost dictionary.
    keys: usize,
    lists: usize,
}

/// Refuses the headers on which the parser would overflow: its stack by deep nesting, or a `u64` by the product of a shape.
fn vet(text: &[u8]) -> Result<Form, Fail> {
    let (mut form, mut depth, mut quote) = (Form::default(), 0usize, None);
    for (i, b) in text.iter().enumerate() {
        let escaped = i > 0 && text[i - 1] == b'\\';
        match b {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (quote, b) {
            (Some(q), b) if q == b && !escaped => quote = None,
            (None, b'\'' | b'"') => quote = Some(b),
            (None, b':') if depth == 1 => form.keys += 1,
            (None, b'[') => form.lists += 1,
            _ => {}
        }
        if depth > DEEPEST {
            return Err(Fail::File(format!("malformed header: brackets nest deeper than {DEEPEST}")));
        }
    }
    let mut product = 8u64;
    for word in text.split(|b| !b.is_ascii_alphanumeric() && *b != b'_') {
        if !word.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let number = std::str::from_utf8(word).ok().and_then(|w| w.parse::<u64>().ok());
        match number.and_then(|n| product.checked_mul(n.max(1))) {
            Some(p) if p <= isize::MAX as u64 => product = p,
            _ => {
                return Err(Fail::File("malformed header: a number in it is no extent of an array".into()));
            }
        }
    }
    Ok(form)
}

fn dtype_of(t: &TypeStr) -> Option<DType> {
    Some(match (t.type_char(), t.size_field()) {
        (TypeChar::Bool, 1) => DType::Bool,
        (TypeChar::Int, 1) => DType::I8,
        (TypeChar::Int, 2) => DType::I16,
        (TypeChar::Int, 4) => DType::I32,
        (TypeChar::Int, 8) => DType::I64,
        (TypeChar::Uint, 1) => DType::U8,
        (TypeChar::Uint, 2) => DType::U16,
        (TypeChar::Uint, 4) => DType::U32,
        (TypeChar::Uint, 8) => DType::U64,
        (TypeChar::Float, 2) => DType::F16,
        (TypeChar::Float, 4) => DType::F32,
        (TypeChar::Float, 8) => DType::F64,
        _ => return None,
    })
}

fn read_typed<T: Element>(header: Header, from: impl Read, device: &Device) -> Result<DeviceArrayD<T>, Fail> {
    let Header { big_endian, fortran, shape, len, checked, .. } = header;
    let values = elements::<T>(from, len, big_endian, checked)?;
    let host = Array::from_shape_vec(IxDyn(&shape).set_f(fortran), values).map_err(|e| Fail::File(e.to_string()))?;
    device.array(host).map_err(Fail::Other)
}

fn elements<T: Element>(mut from: impl Read, n: usize, big_endian: bool, checked: bool) -> Result<Vec<T>, Fail> {
    let size = size_of::<T>();
    let mut out: Vec<T> = Vec::new();
    let mut buffer = vec![0; (n * size).min(CHUNK)];
    while out.len() < n {
        let many = (n - out.len()).min(CHUNK / size);
        let room = if checked { n - out.len() } else { many };
        if out.try_reserve_exact(room).is_err() {
            return Err(Fail::Other(no_room(n * size)));
        }
        let bytes = &mut buffer[..many * size];
        from.read_exact(bytes).map_err(read_error)?;
        out.extend(bytes.chunks_exact(size).map(|b| {
            let mut word = [0; 8];
            for (i, &b) in b.iter().enumerate() {
                word[if big_endian { size - 1 - i } else { i }] = b;
            }
            let bits = u64::from_le_bytes(word);
            // Any byte but 0 is true, as for NumPy.
            T::from_bits64(if T::DTYPE == DType::Bool { u64::from(bits != 0) } else { bits })
        }));
    }
    Ok(out)
}

/// Writes an array as an `.npy` file, little-endian, in Fortran order where it lies so in memory and C order otherwise. The
/// file appears whole or not at all: it is written under another name in the same folder and then renamed. Where the path is a
/// symbolic link, that is what happens to the file it leads to, and the link stays.
///
/// # Errors
/// [`Error::File`], with the path, where it cannot be written or the array is of bf16, which NumPy has not; else as
/// [`DeviceArray::eval`].
///
/// ```
/// use ndcuda::{io, prelude::*};
/// let path = std::env::temp_dir().join(format!("ndcuda-write-{}.npy", std::process::id()));
/// io::write_npy(&path, &Device::cpu().eye::<f32>(3))?;
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[doc(alias = "save")]
pub fn write_npy<T: Element, D: Dimension>(path: impl AsRef<Path>, array: &DeviceArray<T, D>) -> Result<()> {
    let path = path.as_ref();
    let descr = match T::DTYPE {
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::BF16 => return Err(file_error(path, "NumPy has no bf16: cast to f32 first")),
    };
    array.with_host(|v| save(path, descr, v).map_err(|e| file_error(path, e)))?
}

/// Where a path leads through symbolic links; nothing need be there.
fn followed(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..=LINKS {
        match fs::read_link(&path) {
            // Relative to the folder that has the link.
            Ok(to) => path = path.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(std::io::Error::other(format!("more than {LINKS} symbolic links")))
}

fn save<T: Element, D: Dimension>(path: &Path, descr: &str, v: ArrayView<'_, T, D>) -> std::io::Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let invalid = |reason: &str| std::io::Error::new(ErrorKind::InvalidInput, reason);
    let path = &followed(path)?;
    let name = path.file_name().ok_or_else(|| invalid("the path does not name a file"))?;
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(invalid("exists and is no regular file"));
    }
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(hidden);
    let file = File::create_new(&temporary)?;
    let done = write_to(file, descr, v).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn write_to<T: Element, D: Dimension>(file: File, descr: &str, v: ArrayView<'_, T, D>) -> std::io::Result<()> {
    let fortran = !v.is_standard_layout() && v.view().reversed_axes().is_standard_layout();
    let shape: Vec<u64> = v.shape().iter().map(|&n| n as u64).collect();
    let kind = descr.parse().map_err(|e: npyz::ParseTypeStrError| std::io::Error::other(e.to_string()))?;
    let mut out = WriteOptions::new_header_only()
        .dtype(npyz::DType::new_scalar(kind))
        .shape(&shape)
        .order(if fortran { Order::Fortran } else { Order::C })
        .writer(BufWriter::with_capacity(CHUNK, file))
        .write_header_only()?;
    let mut put = |x: &T| out.write_all(&x.to_bits64().to_le_bytes()[..size_of::<T>()]);
    match fortran {
        true => v.reversed_axes().iter().try_for_each(&mut put)?,
        false => v.iter().try_for_each(&mut put)?,
    }
    out.flush()
}
