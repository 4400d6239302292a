//! The edge to C: entry points, and what their pointer arguments may be used for.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::code::{Code, Outcome};

/// Defines entry points of the driver: each body gives an `Outcome`, which becomes the returned `CUresult`.
macro_rules! entry {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        $(#[$meta])*
        #[doc = concat!("`", stringify!($name), "` of the CUDA driver API.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($arg: $ty),*) -> i32 {
            $crate::abi::status(stringify!($name), move || $body)
        }
    )*};
}
pub(crate) use entry;

/// Runs an entry point's body. A panic in the software device becomes an error of the call: it must not cross into C.
pub fn status(name: &str, body: impl FnOnce() -> Outcome) -> i32 {
    let body = || {
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
            eprintln!("softcuda: {name} panicked: a defect of the software device");
            Err(Code::UNKNOWN)
        })
    };
    let Err(code) = crate::inject::entered(name, body) else { return 0 };
    if crate::driver::driver().is_ok_and(|d| d.config.trace) {
        eprintln!("softcuda: {name} gives {}", crate::code::texts(code.0).map_or("?", |t| t.0.trim_end_matches('\0')));
    }
    code.0
}

/// Locks, whether or not a thread panicked while it held the lock.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where an entry point puts a result: null, or valid for one write.
#[repr(transparent)]
pub struct Out<T>(pub *mut T);

impl<T> Copy for Out<T> {}

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Out<T> {
    /// Fails where there is no place for the result.
    pub fn check(self) -> Outcome {
        if self.0.is_null() { Err(Code::INVALID_VALUE) } else { Ok(()) }
    }

    /// Writes the result.
    pub fn set(self, value: T) -> Outcome {
        self.check()?;
        self.set_if_wanted(value);
        Ok(())
    }

    /// Writes the result where the caller asked for it.
    pub fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: the caller of the entry point passes a pointer that is valid for writing one `T`.
            unsafe { self.0.write(value) }
        }
    }
}

/// An array that an entry point reads: null, or as long as the other arguments say and NUL or zero ends it.
#[repr(transparent)]
pub struct In<T>(pub *const T);

impl<T> Copy for In<T> {}

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> In<T> {
    /// Whether there is an array at all.
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }
}

impl<T: Copy> In<T> {
    /// Element `i`.
    pub fn at(self, i: usize) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: the caller of the entry point passes an array that holds element `i`; it may lie unaligned in a struct.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }
}

impl In<c_char> {
    /// The text of a C string.
    pub fn text(self) -> Result<String, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: the caller of the entry point passes a string that ends in NUL.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }
}

/// Bytes of the host, in a type that may cross threads: a deferred copy runs on the thread that synchronizes.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host(pub *mut c_void);

// SAFETY: it is an address; who dereferences it answers for what lies there.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// A copy of `len` bytes that the caller of an entry point lends for reading.
    pub fn read(self, len: usize) -> Vec<u8> {
        if len == 0 {
            return Vec::new();
        }
        // SAFETY: the copy's caller promises `len` readable bytes here until the copy is done.
        unsafe { std::slice::from_raw_parts(self.0 as *const u8, len) }.to_vec()
    }

    /// Puts bytes where the caller of an entry point wants them.
    pub fn write(self, bytes: &[u8]) {
        // SAFETY: the copy's caller promises this many writable bytes here until the copy is done; they are not `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0 as *mut u8, bytes.len()) }
    }
}

/// Puts a text and its NUL into a buffer of the caller, cut to fit.
pub fn put_text(text: &str, buffer: Host, len: usize) {
    if len > 0 && !buffer.0.is_null() {
        let kept = text.len().min(len - 1);
        buffer.write(&text.as_bytes()[..kept]);
        Host((buffer.0 as usize + kept) as *mut c_void).write(&[0]);
    }
}

/// The outcome of an entry point that was called from another.
pub fn code(status: i32) -> Outcome {
    if status == 0 { Ok(()) } else { Err(Code(status)) }
}
