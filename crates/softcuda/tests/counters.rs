//! The counters of requests to memory, on addresses that tell what they have to be.

mod common;

use common::*;
use softcuda::{Counters, Module};

/// Runs `body` in one warp: `%tid` is the lane, `%s` its bytes of shared memory at `pitch` bytes a lane, `%g` those of global memory.
fn warp(pitch: u32, body: &str) -> (Counters, String) {
    let text = format!(
        ".version 8.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_p)\n{{\n\
         .shared .align 128 .b8 m[16384];\n.reg .pred %p; .reg .b32 %tid1, %s, %v<5>; .reg .b64 %m, %p0, %o, %g; .reg .b16 %h;\n\
         mov.u32 %tid1, %tid.x;\nmov.u32 %v0, m;\nmad.lo.u32 %s, %tid1, {pitch}, %v0;\nmov.u32 %v1, 0; mov.u32 %v2, 0;\n\
         mov.u32 %v3, 0; mov.u32 %v4, 0;\nld.param.u64 %p0, [k_p];\nmul.wide.u32 %o, %tid1, {pitch};\n\
         add.s64 %g, %p0, %o;\n{body}\nret;\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let m = machine(0);
    let l = m.load(&module).unwrap();
    let p = upload(&m, &[0u8; 16384]);
    let c = launch(&m, &l, [1, 1, 1], [32, 1, 1], &Args::default().u64(p).bytes()).unwrap_or_else(|e| panic!("{e}"));
    (c, module.line(c.worst_line as u32).to_string())
}

#[test]
fn bank_conflicts_are_those_of_words_in_one_bank() {
    let stores = [
        (4, "st.shared.b32 [%s], %v1;", 0),
        (0, "st.shared.b32 [%s], %v1;", 0),
        // Two lanes, then all of them, meet in each bank; a pitch of 33 words has each lane in a bank of its own.
        (8, "st.shared.b32 [%s], %v1;", 1),
        (128, "st.shared.b32 [%s], %v1;", 31),
        (132, "st.shared.b32 [%s], %v1;", 0),
        // Of 16 bytes a quarter of the warp goes at once: four phases, each with all 8 lanes in the same four banks.
        (16, "st.shared.v4.b32 [%s], {%v1, %v2, %v3, %v4};", 0),
        (128, "st.shared.v4.b32 [%s], {%v1, %v2, %v3, %v4};", 4 * 7),
        (144, "st.shared.v4.b32 [%s], {%v1, %v2, %v3, %v4};", 0),
    ];
    for (pitch, store, want) in stores {
        let (c, worst) = warp(pitch, store);
        assert_eq!((c.shared_requests, c.bank_conflicts, c.load_conflicts), (1, want, 0), "{store} at {pitch}");
        assert_eq!((c.worst_requests, c.worst_conflicts), ((want > 0) as u64, want));
        assert_eq!(worst, if want > 0 { store } else { "" });
    }
    // Loads are told from stores, and the worst instruction is the one with the most of all its requests.
    let body = "st.shared.b32 [%s], %v1;\nadd.u32 %s, %s, 0;\nld.shared.b32 %v2, [%s];\nld.shared.b32 %v2, [%s];";
    let (c, worst) = warp(16, body);
    assert_eq!((c.shared_requests, c.bank_conflicts, c.load_conflicts, c.worst_conflicts), (3, 9, 6, 3));
    assert!(worst.contains(".shared.b32"), "{worst}");
}

#[test]
fn requests_of_16_bytes_a_lane_and_their_sectors() {
    let quad = "{%v1, %v2, %v3, %v4}";
    let of = |pitch, body: &str| {
        let (c, _) = warp(pitch, body);
        (c.load_requests, c.wide_loads, c.load_sectors, c.store_requests, c.wide_stores, c.store_sectors)
    };
    assert_eq!(of(16, &format!("ld.global.v4.b32 {quad}, [%g];")), (1, 1, 16, 0, 0, 0));
    assert_eq!(of(16, &format!("st.global.v4.b32 [%g], {quad};")), (0, 0, 0, 1, 1, 16));
    assert_eq!(of(8, "ld.global.v2.b32 {%v1, %v2}, [%g];\nst.global.b64 [%g], %o;"), (1, 0, 8, 1, 0, 8));
    assert_eq!(of(64, "ld.global.b32 %v1, [%g];"), (1, 0, 32, 0, 0, 0));
    // The second request finds all of the first's sectors, the third half of its own.
    let again = "ld.global.b32 %v1, [%g];\nld.global.b32 %v2, [%g];\nld.global.b32 %v3, [%g+64];";
    let (c, _) = warp(4, again);
    assert_eq!((c.load_sectors, c.missed_sectors), (4 + 4 + 4, 4 + 2));
    let (c, _) = warp(64, &format!("{again}\nst.global.b32 [%g+32], %v1;"));
    assert_eq!((c.load_sectors, c.missed_sectors, c.store_sectors), (3 * 32, 32 + 1, 32));
    let many: String = (0..16).map(|k| format!("ld.global.b32 %v1, [%g+{}];\n", 32 * k)).collect();
    let (c, _) = warp(512, &format!("{many}{many}"));
    assert_eq!((c.load_sectors, c.missed_sectors), (2 * 512, 512));
    // An asynchronous copy reads global memory, too; lanes that copy nothing touch nothing.
    let copy = "cp.async.cg.shared.global [%s], [%g], 16";
    assert_eq!(of(16, &format!("{copy};\ncp.async.wait_all;")), (1, 1, 16, 0, 0, 0));
    assert_eq!(of(16, &format!("shr.u32 %v1, %tid1, 4;\nshl.b32 %v1, %v1, 4;\n{copy}, %v1;\ncp.async.wait_all;")).2, 8);
}
