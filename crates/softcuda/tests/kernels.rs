//! What the real compiler makes: a map against plain Rust, and all that there is, parsed. (What the others compute: `src/testing/emitted.rs` of
//! the library.)

mod common;

use common::*;

#[test]
fn a_map_with_scalars() {
    let (got, want, c) = map(&fixture("map"), [37, 41], 6).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(got, want);
    assert_eq!((c.threads, c.widest, c.unique_stored), (6 * 256, 4, 37 * 41 * 4));
    assert_eq!((c.atomics, c.barriers, c.shared), (0, 0, 0));
}

#[test]
fn all_fixtures_parse() {
    let dir = format!("{}/tests/ptx", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = fixture(name.trim_end_matches(".ptx"));
        assert!(module.entries().all(|e| [128, 256, 1024].contains(&e.max_threads) && e.params_bytes >= 56), "{name}");
        // Both dialects.
        let sm = if name.contains(".120.") { ("sm_120", (9, 0)) } else { ("sm_75", (8, 0)) };
        assert!(module.target() == sm.0 && module.version() >= sm.1, "{name}");
    }
}
