//! `cuGetProcAddress`: entry points by name.

use std::ffi::{CString, c_char, c_int, c_void};

use crate::abi::{In, Out, entry};
use crate::code::{Code, Outcome};

#[repr(C)]
struct DlInfo {
    file: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// An entry point of this library. The name may lack its version: the newest one is meant.
fn find(name: &str) -> Option<*mut c_void> {
    let mut info = DlInfo {
        file: std::ptr::null(),
        base: std::ptr::null_mut(),
        symbol: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    // SAFETY: an address of this library, and room for the answer.
    if unsafe { dladdr(crate::context::cuInit as *const c_void, &mut info) } == 0 {
        return None;
    }
    // SAFETY: the path that the loader has for this library. 6: RTLD_NOW | RTLD_NOLOAD.
    let library = unsafe { dlopen(info.file, 6) };
    if library.is_null() {
        return None;
    }
    ["_v4", "_v2", ""].iter().find_map(|version| {
        let name = CString::new(format!("{name}{version}")).ok()?;
        // SAFETY: an open library and a C string.
        let found = unsafe { dlsym(library, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    })
}

fn give(name: In<c_char>, out: Out<*mut c_void>, status: Out<i32>) -> Outcome {
    let name = name.text()?;
    let found = find(&name).filter(|_| name.starts_with("cu"));
    // 1: the symbol was not found.
    status.set_if_wanted(i32::from(found.is_none()));
    out.set(found.unwrap_or(std::ptr::null_mut()))?;
    found.map(|_| ()).ok_or(Code::NOT_FOUND)
}

entry! {
    fn cuGetProcAddress(name: In<c_char>, out: Out<*mut c_void>, _version: i32, _flags: u64) {
        give(name, out, Out(std::ptr::null_mut()))
    }

    fn cuGetProcAddress_v2(name: In<c_char>, out: Out<*mut c_void>, _version: i32, _flags: u64, status: Out<i32>) {
        give(name, out, status)
    }
}
