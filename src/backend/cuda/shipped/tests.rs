//! The generated text is current.

use super::codes;
use std::path::Path;

#[test]
fn shipped_ops_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/generated/interp_ops.cuh");
    let text = codes::text();
    if std::env::var_os("NDCUDA_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(old == text, "{path:?} is not current: NDCUDA_BLESS=1 cargo test shipped writes it anew");
}
