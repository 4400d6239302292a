//! `.npy` files: what NumPy writes is read, what is written NumPy reads, and nothing in a file makes reading panic.

use ndarray::{Array, ArrayD, Ix0, Ix1, Ix2, Ix3, IxDyn, ShapeBuilder, arr0, arr1, arr2};
use ndcuda::io::{AnyArray, parse_npy, read_npy, read_npy_as, write_npy};
use ndcuda::{DType, Device, Element, Error, bf16, f16, s};
use std::path::{Path, PathBuf};

/// A folder of a test's own, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ndcuda-io-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file as NumPy writes it: version 1.0, padded to 64 bytes.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    version(1, &format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"), data)
}

fn version(major: u8, dict: &str, data: &[u8]) -> Vec<u8> {
    let mut text = dict.as_bytes().to_vec();
    let prelude = if major == 1 { 10 } else { 12 };
    while !(prelude + text.len() + 1).is_multiple_of(64) {
        text.push(b' ');
    }
    text.push(b'\n');
    let mut out = b"\x93NUMPY".to_vec();
    out.extend([major, 0]);
    match major {
        1 => out.extend((text.len() as u16).to_le_bytes()),
        _ => out.extend((text.len() as u32).to_le_bytes()),
    }
    out.extend(text);
    out.extend(data);
    out
}

fn parse(bytes: &[u8]) -> Result<AnyArray, Error> {
    parse_npy(bytes, &Device::cpu())
}

fn reason(bytes: &[u8]) -> String {
    match parse(bytes) {
        Err(Error::File { reason, .. }) => reason,
        other => panic!("expected a file error, got {other:?}"),
    }
}

/// Both byte orders of one dtype, its NumPy name, and the round trip by way of a file.
fn one_dtype<T: Element>(code: &str, values: [T; 6]) {
    let dev = Device::cpu();
    let size = size_of::<T>();
    let little: Vec<u8> = values.iter().flat_map(|v| v.to_bits64().to_le_bytes()[..size].to_vec()).collect();
    let big: Vec<u8> = values.iter().flat_map(|v| v.to_bits64().to_be_bytes()[8 - size..].to_vec()).collect();
    let expected = Array::from_shape_vec(IxDyn(&[2, 3]), values.to_vec()).unwrap();
    let marks: &[(&str, &[u8])] = if size == 1 { &[("|", &little)] } else { &[("<", &little), (">", &big)] };
    for (mark, data) in marks {
        let any = parse(&npy(&format!("'{mark}{code}'"), false, "(2, 3)", data)).unwrap();
        assert_eq!((any.dtype(), any.shape()), (T::DTYPE, &[2, 3][..]), "{mark}{code}");
        assert_eq!(any.cast::<T>(), expected, "{mark}{code}");
    }

    let folder = Folder::new(code);
    let path = folder.file("x.npy");
    write_npy(&path, &dev.array(&expected).unwrap()).unwrap();
    let written = std::fs::read(&path).unwrap();
    let header = std::str::from_utf8(&written[10..written.len() - little.len()]).unwrap();
    let mark = marks[0].0;
    assert!(header.contains(&format!("'descr': '{mark}{code}'")), "{header}");
    assert!(header.ends_with('\n') && (written.len() - little.len()).is_multiple_of(64), "{header}");
    assert_eq!(written[written.len() - little.len()..], little);
    assert_eq!(read_npy_as::<T, IxDyn>(&path, &dev).unwrap(), expected);
    assert_eq!(folder.names(), ["x.npy"], "nothing temporary stays");
}

#[test]
fn every_dtype() {
    one_dtype("b1", [false, true, true, false, true, false]);
    one_dtype("i1", [0i8, 1, -1, i8::MIN, i8::MAX, 7]);
    one_dtype("i2", [0i16, 1, -1, i16::MIN, i16::MAX, 7]);
    one_dtype("i4", [0i32, 1, -1, i32::MIN, i32::MAX, 7]);
    one_dtype("i8", [0i64, 1, -1, i64::MIN, i64::MAX, 7]);
    one_dtype("u1", [0u8, 1, 2, 128, u8::MAX, 7]);
    one_dtype("u2", [0u16, 1, 2, 256, u16::MAX, 7]);
    one_dtype("u4", [0u32, 1, 2, 256, u32::MAX, 7]);
    one_dtype("u8", [0u64, 1, 2, 256, u64::MAX, 7]);
    let f = |v: f64| f16::from_f64(v);
    one_dtype("f2", [f(0.0), f(-0.0), f(1.5), f(65504.0), f(f64::INFINITY), f16::MIN_POSITIVE_SUBNORMAL]);
    one_dtype("f4", [0.0f32, -0.0, 1.5, f32::MAX, f32::NEG_INFINITY, f32::from_bits(1)]);
    one_dtype("f8", [0.0f64, -0.0, 1.5, f64::MAX, f64::NEG_INFINITY, f64::from_bits(1)]);
}

#[test]
fn bits_stay() {
    let dev = Device::cpu();
    let folder = Folder::new("bits");
    let values = [f32::from_bits(0x7fc1_2345), f32::from_bits(0xffc0_0001), -0.0, f32::from_bits(3)];
    let path = folder.file("nan.npy");
    write_npy(&path, &dev.array(&arr1(&values)).unwrap()).unwrap();
    let back = read_npy_as::<f32, Ix1>(&path, &dev).unwrap().to_ndarray().unwrap();
    assert_eq!(back.mapv(f32::to_bits), arr1(&values.map(f32::to_bits)));
}

#[test]
fn orders_and_ranks() {
    let dev = Device::cpu();
    let folder = Folder::new("orders");
    let path = folder.file("x.npy");
    for shape in [&[][..], &[1], &[5], &[2, 3], &[2, 3, 4], &[2, 1, 3, 2], &[1, 2, 1, 3, 1, 2]] {
        let len: usize = shape.iter().product();
        let values: Vec<i32> = (0..len as i32).collect();
        for fortran in [false, true] {
            let host = ArrayD::from_shape_vec(IxDyn(shape).set_f(fortran), values.clone()).unwrap();
            let x = dev.array(host.clone()).unwrap();
            write_npy(&path, &x).unwrap();
            let back: ndcuda::DeviceArrayD<i32> = read_npy_as(&path, &dev).unwrap();
            assert_eq!(back, host, "{shape:?}");
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let order = fortran && shape.iter().filter(|&&n| n > 1).count() > 1;
            assert_eq!(text.contains("'fortran_order': True"), order, "{shape:?}: {text}");
            // A transposed handle lies in the other order, and is written so.
            write_npy(&path, &x.t()).unwrap();
            assert_eq!(read_npy(&path, &dev).unwrap().cast::<i32>(), host.t(), "{shape:?}");
        }
    }
    let x = parse(&npy("'<i2'", true, "(2, 3)", &[1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6, 0])).unwrap();
    assert_eq!(x.cast::<i64>().into_dimensionality::<Ix2>().unwrap(), arr2(&[[1, 2, 3], [4, 5, 6]]));
    let x = parse(&npy("'<f8'", false, "()", &2.5f64.to_le_bytes())).unwrap();
    assert_eq!(x.cast::<f64>().into_dimensionality::<Ix0>().unwrap(), arr0(2.5));
}

#[test]
fn views_and_pending_values() {
    let dev = Device::cpu();
    let folder = Folder::new("views");
    let path = folder.file("x.npy");
    let host = Array::from_shape_fn((4, 6), |(i, j)| (10 * i + j) as f32);
    let x = dev.array(&host).unwrap();
    write_npy(&path, &x.slice(s![..;-1, 1..;2])).unwrap();
    assert_eq!(read_npy_as::<f32, Ix2>(&path, &dev).unwrap(), host.slice(s![..;-1, 1..;2]));
    write_npy(&path, &dev.array(&arr1(&[1.0f32, 2.0])).unwrap().broadcast((3, 2)).unwrap()).unwrap();
    assert_eq!(read_npy_as::<f32, Ix2>(&path, &dev).unwrap(), arr2(&[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]));
    write_npy(&path, &(&x * 2.0 + 1.0)).unwrap();
    assert_eq!(read_npy_as::<f32, Ix2>(&path, &dev).unwrap(), &host * 2.0 + 1.0);
}

#[test]
fn more_than_a_chunk() {
    let dev = Device::cpu();
    let folder = Folder::new("chunks");
    let path = folder.file("x.npy");
    let x = dev.arange(0i64, 300_001, 1);
    write_npy(&path, &x).unwrap();
    assert_eq!(read_npy_as::<i64, Ix1>(&path, &dev).unwrap(), x);
}

#[test]
fn nothing_in_it() {
    let dev = Device::cpu();
    let folder = Folder::new("empty");
    let path = folder.file("x.npy");
    for shape in [[0, 3], [3, 0], [0, 0]] {
        write_npy(&path, &dev.zeros::<f64, _>(shape)).unwrap();
        assert_eq!(read_npy_as::<f64, Ix2>(&path, &dev).unwrap().shape(), shape);
    }
    let x = parse(&npy("'<f4'", true, "(0, 1000000, 3)", &[])).unwrap();
    assert_eq!((x.shape(), x.dtype()), (&[0, 1_000_000, 3][..], DType::F32));
}

#[test]
fn versions_and_what_follows() {
    let dict = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }";
    for major in [1, 2, 3] {
        let x = parse(&version(major, dict, &[1, 0, 2, 0])).unwrap();
        assert_eq!(x.cast::<u16>().into_dimensionality::<Ix1>().unwrap(), arr1(&[1, 2]), "version {major}");
    }
    // Python 2 wrote its long integers so.
    for (shape, len) in [("(2L,)", 1), ("(2L, 1L)", 2), ("(1, 2L )", 2), ("(1L, 2, 1L)", 3)] {
        for major in [1, 2] {
            let dict = format!("{{'shape': {shape}, 'fortran_order': False, 'descr': '<u2'}}");
            assert_eq!(parse(&version(major, &dict, &[1, 0, 2, 0])).unwrap().shape().len(), len, "{shape}");
        }
    }
    // Strings of either kind, and colons within them.
    let dict = r#"{"descr": '<u2', "fortran_order": False, 'shape': (2,), }"#;
    assert_eq!(parse(&version(1, dict, &[1, 0, 2, 0])).unwrap().shape(), [2]);
    let dict = "{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }";
    // NumPy leaves what follows for the next `load`.
    assert_eq!(parse(&version(1, dict, &[1, 0, 2, 0, 9, 9, 9])).unwrap().shape(), [2]);
    // Every byte but 0 is true, as for NumPy.
    let x = parse(&npy("'|b1'", false, "(3,)", &[0, 1, 2])).unwrap();
    assert_eq!(x.cast::<bool>().into_dimensionality::<Ix1>().unwrap(), arr1(&[false, true, true]));
}

#[test]
fn other_dtypes_are_refused() {
    for (descr, part) in [
        ("'<c8'", "'<c8'"),
        ("'<c16'", "none of bool"),
        ("'|O'", "'|O'"),
        ("'|S5'", "'|S5'"),
        ("'<U3'", "'<U3'"),
        ("'<M8[ns]'", "'<M8[ns]'"),
        ("'<m8[s]'", "'<m8[s]'"),
        ("'|V2'", "'|V2' is none of bool, i8 to i64, u8 to u64, f16, f32 and f64 (.npy files have no bf16"),
        ("'<V2'", ".npy files have no bf16"),
        ("'bfloat16'", ".npy files have no bf16"),
        ("'|V4'", "f64"),
        ("'<f16'", "'<f16'"),
        ("[('a', '<f4'), ('b', '<i8', (2, 3))]", "structured"),
    ] {
        let reason = reason(&npy(descr, false, "(2,)", &[0; 200]));
        assert!(reason.contains(part), "{descr}: {reason}");
    }
}

#[test]
fn malformed_files_are_errors() {
    let dict = |shape: &str| npy("'<f4'", false, shape, &[0; 24]);
    let deep = format!("{}2{}", "(".repeat(3000), ")".repeat(3000));
    let good = npy("'<f4'", false, "(2, 3)", &[0; 24]);
    let mut huge_text = b"\x93NUMPY\x02\x00".to_vec();
    huge_text.extend(u32::MAX.to_le_bytes());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "is no .npy file"),
        (b"\x93NUM".to_vec(), "is no .npy file"),
        (b"PK\x03\x04 something else".to_vec(), "is no .npy file"),
        (b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "version 9.0"),
        (b"\x93NUMPY\x01\x00\xff\xff".to_vec(), "65535 bytes"),
        (huge_text, "4294967295 bytes"),
        (good[..40].to_vec(), "ends too early"),
        (good[..good.len() - 1].to_vec(), "takes 24 bytes, and 23 follow"),
        (dict("(2, 4)"), "takes 32 bytes, and 24 follow"),
        (dict("(1000000000, 1000000000)"), "truncated"),
        (dict("(4294967296, 4294967296)"), "no extent"),
        (dict("(0, 4294967296, 4294967296)"), "no extent"),
        (dict("(99999999999999999999999999,)"), "no extent"),
        (dict("(0x10, 0xffffffffffff)"), "no extent"),
        (dict("(-2, 3)"), "header"),
        (dict("(2.0, 3)"), "header"),
        (dict("('a', 3)"), "header"),
        (dict("6"), "header"),
        (dict(&deep), "deeper"),
        (version(1, "", &[]), "header"),
        (version(1, "{", &[]), "header"),
        (version(1, "[1, 2]", &[]), "header"),
        (version(1, "{'descr': '<f4', 'shape': (2,)}", &[0; 8]), "fortran_order"),
        (version(1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", &[0; 8]), "header"),
        (version(1, "{'descr': 'float32', 'fortran_order': False, 'shape': (2,)}", &[0; 8]), "header"),
        (version(1, "{'descr': '', 'fortran_order': False, 'shape': (2,)}", &[0; 8]), "header"),
        (version(1, "{'descr': '<\u{e9}4', 'fortran_order': False, 'shape': (2,)}", &[0; 8]), "header"),
        (version(1, "{1: 2}", &[]), "header"),
        // What NumPy refuses although its meaning is plain.
        (dict("[2, 3]"), "a tuple"),
        (version(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", &[0; 8]), "nothing else"),
        (
            version(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'a': {'b': ':'}}", &[0; 8]),
            "nothing else",
        ),
        (version(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}", &[0; 8]), "no extent"),
        (dict("(2LL, 3)"), "header"),
        (dict("(2L3,)"), "header"),
        (dict(&format!("({})", "1, ".repeat(33))), "33 axes"),
    ];
    for (bytes, part) in cases {
        let reason = reason(&bytes);
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

/// Every cut and every changed byte of a small file gives an array or an error.
#[test]
fn damage_never_panics() {
    let good = npy("'<i4'", true, "(2, 3)", &[7; 24]);
    for end in 0..good.len() {
        assert!(parse(&good[..end]).is_err(), "cut at {end}");
    }
    let mut refused = 0;
    for at in 0..90 {
        for byte in (0..=255).step_by(5).chain(*b"()[]{}',:0129- \\\"") {
            let mut bad = good.clone();
            bad[at] = byte;
            refused += usize::from(parse(&bad).is_err());
        }
    }
    assert!(refused > 3000, "{refused}");
}

#[test]
fn errors_name_the_file() {
    let dev = Device::cpu();
    let folder = Folder::new("errors");
    let fails = |path: &Path| match read_npy(path, &dev) {
        Err(e @ Error::File { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    };
    let missing = folder.file("missing.npy");
    assert!(fails(&missing).contains("missing.npy"));
    let cut = folder.bytes("cut.npy", &npy("'<f8'", false, "(1000000000000,)", &[0; 8]));
    assert!(fails(&cut).contains("cut.npy: is truncated"));
    assert!(fails(&folder.0).contains("ndcuda-io-errors"));

    let bytes = folder.bytes("bytes.npy", &npy("'|u1'", false, "(2, 3)", &[0; 6]));
    let e = read_npy_as::<f32, Ix2>(&bytes, &dev).unwrap_err().to_string();
    assert!(e.contains("bytes.npy: holds u8 of shape [2, 3] (rank 2), not f32 of rank 2"), "{e}");
    let e = read_npy_as::<u8, Ix3>(&bytes, &dev).unwrap_err().to_string();
    assert!(e.contains("not u8 of rank 3"), "{e}");

    let x = dev.ones::<f32, _>((2, 2));
    let e = write_npy(folder.file("no/such/folder.npy"), &x).unwrap_err();
    assert!(matches!(&e, Error::File { path, .. } if path.ends_with("folder.npy")), "{e}");
    let e = write_npy(&folder.0, &x).unwrap_err().to_string();
    assert!(e.contains("no regular file"), "{e}");
    assert!(matches!(write_npy("..", &x), Err(Error::File { .. })));
    let e = write_npy(folder.file("b.npy"), &dev.ones::<bf16, _>(2)).unwrap_err().to_string();
    assert!(e.contains("b.npy") && e.contains("bf16"), "{e}");
    assert_eq!(folder.names().iter().filter(|n| n.contains("tmp")).count(), 0);
}

/// A file that is there stays until the new one is whole, and an array that cannot be computed leaves it as it was.
#[test]
fn writing_is_whole_or_not_at_all() {
    let dev = Device::cpu();
    let folder = Folder::new("whole");
    let path = folder.file("x.npy");
    write_npy(&path, &dev.ones::<f32, _>(3)).unwrap();
    let wrong = dev.ones::<f32, _>(3).take(ndcuda::Axis(0), &dev.array(&arr1(&[5i64])).unwrap());
    assert!(matches!(write_npy(&path, &wrong), Err(e) if e.to_string().contains('5')));
    assert_eq!(read_npy_as::<f32, Ix1>(&path, &dev).unwrap(), arr1(&[1.0, 1.0, 1.0]));
    write_npy(&path, &dev.zeros::<i8, _>((2, 2))).unwrap();
    assert_eq!(read_npy_as::<i8, Ix2>(&path, &dev).unwrap(), arr2(&[[0, 0], [0, 0]]));
    assert_eq!(folder.names(), ["x.npy"]);
}

/// As NumPy's `save`, writing goes through symbolic links, of which nothing need be there yet.
#[cfg(unix)]
#[test]
fn links_are_followed() {
    use std::os::unix::fs::symlink;
    let dev = Device::cpu();
    let folder = Folder::new("links");
    std::fs::create_dir(folder.file("data")).unwrap();
    symlink("data/x.npy", folder.file("near.npy")).unwrap();
    symlink(folder.file("near.npy"), folder.file("far.npy")).unwrap();
    for (n, name) in ["near.npy", "far.npy", "near.npy"].into_iter().enumerate() {
        write_npy(folder.file(name), &dev.full(2, n as u8)).unwrap();
        assert!(folder.file("near.npy").is_symlink() && folder.file("far.npy").is_symlink(), "{name}");
        assert_eq!(read_npy_as::<u8, Ix1>(folder.file("data/x.npy"), &dev).unwrap(), arr1(&[n as u8; 2]), "{name}");
    }
    assert_eq!(folder.names().len(), 3);
    assert_eq!(std::fs::read_dir(folder.file("data")).unwrap().count(), 1);
    symlink("round.npy", folder.file("round.npy")).unwrap();
    let e = write_npy(folder.file("round.npy"), &dev.full(2, 0u8)).unwrap_err().to_string();
    assert!(e.contains("round.npy") && e.contains("symbolic links"), "{e}");
}
