//! A planted bug for each detector, and machines that stay usable.

mod common;

use common::*;
use softcuda::{Fault, FaultKind, Machine, Module};

/// A kernel `k(u64 p, u64 q)` with a body; `%rd1` is p, `%rd2` is q, `%r1` the thread, `%r2` the block, `%rd3` p + 4 thread.
fn kernel(body: &str) -> Module {
    let text = format!(
        ".version 8.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_p, .param .u64 k_q)\n{{\n\
         .reg .pred %p<8>; .reg .b32 %r<32>; .reg .f32 %f<8>; .reg .b64 %rd<32>;\n\
         .shared .align 4 .b8 tile[256];\n.shared .align 4 .b8 other[256];\n\
         ld.param.u64 %rd1, [k_p];\nld.param.u64 %rd2, [k_q];\nmov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\n\
         mul.wide.u32 %rd4, %r1, 4;\nadd.s64 %rd3, %rd1, %rd4;\n{body}\nret;\n}}\n"
    );
    Module::parse(&text).unwrap_or_else(|e| panic!("{e}"))
}

fn run_on(m: &Machine, body: &str, grid: u32, block: u32, p: u64, q: u64) -> Result<(), Fault> {
    let l = m.load(&kernel(body)).unwrap();
    let args = Args::default().u64(p).u64(q).bytes();
    m.launch(&l, "k", [grid, 1, 1], [block, 1, 1], 0, &args).map(|_| ())
}

/// Runs with 256 zeroed bytes behind p and q each.
fn run(body: &str, grid: u32, block: u32) -> Result<(), Fault> {
    let m = machine(0);
    let (p, q) = (upload(&m, &[0u32; 64]), upload(&m, &[0u32; 64]));
    run_on(&m, body, grid, block, p, q)
}

fn found(kind: FaultKind, result: Result<(), Fault>) -> Fault {
    let f = result.expect_err("nothing was found");
    assert_eq!(f.kind, kind, "{f}");
    f
}

#[test]
fn global_memory_has_ends() {
    assert!(run("st.global.u32 [%rd3], %r1;", 1, 64).is_ok());
    let f = found(FaultKind::OutOfBounds, run("st.global.u32 [%rd3], %r1;", 1, 65));
    let place = f.place.as_ref().unwrap();
    assert_eq!((place.thread, place.block, place.kernel.as_str()), ([64, 0, 0], [0, 0, 0], "k"));
    let text = f.to_string();
    for part in
        ["out of bounds", "0 bytes past the allocation", "of 256 bytes", "st.global.u32 [%rd3], %r1;", "[64, 0, 0]"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    found(FaultKind::OutOfBounds, run("ld.global.u32 %r3, [%rd1+-4];", 1, 1));
    found(FaultKind::OutOfBounds, run("mov.u64 %rd5, 16;\nld.global.u32 %r3, [%rd5];", 1, 1));
    found(FaultKind::OutOfBounds, run("atom.global.add.u32 %r3, [%rd1+256], 1;", 1, 1));
}

#[test]
fn freed_memory_is_not_touched() {
    let m = machine(0);
    let (p, q) = (upload(&m, &[0u32; 64]), upload(&m, &[0u32; 64]));
    m.free(p).unwrap();
    let f = found(FaultKind::UseAfterFree, run_on(&m, "ld.global.u32 %r3, [%rd3];", 1, 32, p, q));
    assert!(f.detail.contains("freed"), "{f}");
    assert_eq!(m.free(p).unwrap_err().kind, FaultKind::DoubleFree);
    assert_eq!(m.free(q + 4).unwrap_err().kind, FaultKind::NotAllocated);
    // The machine goes on.
    assert!(run_on(&m, "st.global.u32 [%rd3], %r1;", 1, 32, q, q).is_ok());
    assert_eq!(download::<u32>(&m, q, 32), (0..32).collect::<Vec<_>>());
}

#[test]
fn what_is_read_was_written() {
    let m = machine(0);
    let (p, q) = (m.alloc(256).unwrap(), upload(&m, &[0u32; 64]));
    found(FaultKind::Uninitialised, run_on(&m, "ld.global.u32 %r3, [%rd3];", 1, 32, p, q));
    assert!(run_on(&m, "st.global.u32 [%rd3], %r1;\nld.global.u32 %r3, [%rd3];", 1, 32, p, q).is_ok());
    assert!(run_on(&m, "ld.global.u32 %r3, [%rd3];", 1, 32, p, q).is_ok());
    found(FaultKind::Uninitialised, run("ld.shared.u32 %r3, [tile+8];", 1, 1));
    // Half of it.
    found(FaultKind::Uninitialised, run("st.shared.u16 [tile], 1;\nld.shared.u32 %r3, [tile];", 1, 1));
    // A copy carries what was not written along.
    let (a, b) = (m.alloc(8).unwrap(), m.alloc(8).unwrap());
    m.write(a, &[1, 2, 3, 4]).unwrap();
    m.copy(b, a, 8).unwrap();
    assert!(run_on(&m, "ld.global.u32 %r3, [%rd1];", 1, 1, b, q).is_ok());
    found(FaultKind::Uninitialised, run_on(&m, "ld.global.u32 %r3, [%rd1+4];", 1, 1, b, q));
}

#[test]
fn shared_and_local_memory_have_ends() {
    assert!(run("mov.u32 %r3, tile;\nst.shared.u32 [%r3+252], %r1;", 1, 1).is_ok());
    let f = found(FaultKind::OutOfBounds, run("mov.u32 %r3, tile;\nst.shared.u32 [%r3+256], %r1;", 1, 1));
    assert!(f.detail.contains("byte 256 of tile[256]"), "{f}");
    found(FaultKind::OutOfBounds, run("mov.u32 %r3, tile;\nst.shared.u32 [%r3+-4], %r1;", 1, 1));
    let local = ".local .align 8 .b8 depot[16];\nmov.u64 %rd5, depot;\ncvta.local.u64 %rd6, %rd5;\n";
    assert!(run(&format!("{local}st.u32 [%rd6+12], %r1;\nld.local.u32 %r4, [%rd5+12];"), 1, 40).is_ok());
    found(FaultKind::OutOfBounds, run(&format!("{local}st.u32 [%rd6+16], %r1;"), 1, 1));
    found(FaultKind::Uninitialised, run(&format!("{local}ld.u32 %r4, [%rd6+4];"), 1, 1));
}

#[test]
fn addresses_are_aligned() {
    let f = found(FaultKind::Misaligned, run("ld.global.u32 %r3, [%rd1+2];", 1, 1));
    assert_eq!(f.address.unwrap() % 4, 2);
    found(FaultKind::Misaligned, run("ld.global.v2.u32 {%r3, %r4}, [%rd1+4];", 1, 1));
    found(FaultKind::Misaligned, run("mov.u32 %r3, tile;\nst.shared.u32 [%r3+1], %r1;", 1, 1));
}

#[test]
fn warps_race_without_a_barrier() {
    let write = "mov.u32 %r3, tile;\nshl.b32 %r4, %r1, 2;\nadd.u32 %r5, %r3, %r4;\nst.shared.u32 [%r5], %r1;\n";
    let read = "xor.b32 %r6, %r4, 128;\nadd.u32 %r7, %r3, %r6;\nld.shared.u32 %r8, [%r7];\n";
    assert!(run(&format!("{write}bar.sync 0;\n{read}"), 1, 64).is_ok());
    // The first warp reads what was not written yet, or the second what the first wrote.
    let first = "st.shared.u32 [%r7], 0;\nbar.sync 0;\n";
    let f = run(
        &format!("{write}xor.b32 %r6, %r4, 128;\nadd.u32 %r7, %r3, %r6;\nbar.sync 0;\n{first}{write}{read}"),
        1,
        64,
    );
    let f = found(FaultKind::Race, f);
    assert!(f.detail.contains("by warp"), "{f}");
    // Write after read.
    found(FaultKind::Race, run(&format!("{write}bar.sync 0;\n{read}st.shared.u32 [%r5], %r8;"), 1, 64));
    // In global memory.
    found(FaultKind::Race, run("st.global.u32 [%rd1], %r1;", 1, 64));
    found(FaultKind::Race, run("ld.global.u32 %r3, [%rd1];\nst.global.u32 [%rd3], %r1;", 1, 64));
    // Lanes of one store.
    found(FaultKind::Race, run("st.global.u32 [%rd1], %r1;", 1, 2));
    assert!(run("st.global.u32 [%rd1], 7;", 1, 32).is_ok());
}

#[test]
fn blocks_race_but_for_atomics() {
    found(FaultKind::Race, run("st.global.u32 [%rd1], 1;", 2, 1));
    found(FaultKind::Race, run("ld.global.u32 %r3, [%rd1];\nst.global.u32 [%rd1], %r3;", 2, 1));
    assert!(run("atom.global.add.u32 %r3, [%rd1], 1;\nred.global.add.u32 [%rd1+4], 2;", 5, 64).is_ok());
    // A plain read beside atomics.
    let beside =
        "setp.lt.u32 %p1, %r1, 32;\n@%p1 atom.global.add.u32 %r3, [%rd1], 1;\n@!%p1 ld.global.u32 %r4, [%rd1];";
    found(FaultKind::Race, run(beside, 1, 64));
    // The last block reads what the others wrote: ordered by fences and a ticket.
    let last = |fence: &str| {
        format!(
            "mul.wide.u32 %rd6, %r2, 4;\nadd.s64 %rd7, %rd1, %rd6;\nst.global.u32 [%rd7], %r2;\n{fence}\n\
             atom.global.add.u32 %r3, [%rd2], 1;\n{fence}\nsetp.ne.u32 %p1, %r3, 3;\n@%p1 bra DONE;\n\
             ld.global.u32 %r4, [%rd1];\nld.global.u32 %r5, [%rd1+12];\nDONE:"
        )
    };
    assert!(run(&last("membar.gl;"), 4, 1).is_ok());
    found(FaultKind::Race, run(&last(""), 4, 1));
}

#[test]
fn barriers_are_reached_by_all() {
    let divergent = "setp.lt.u32 %p1, %r1, 16;\n@%p1 bar.sync 0;";
    found(FaultKind::Barrier, run(divergent, 1, 32));
    let one_warp = "setp.lt.u32 %p1, %r1, 32;\n@%p1 bra A;\nbar.sync 0;\nbra END;\nA:\nbar.sync 0;\nEND:";
    found(FaultKind::Barrier, run(one_warp, 1, 64));
    // Threads that have exited are not waited for.
    assert!(run("setp.ge.u32 %p1, %r1, 40;\n@%p1 ret;\nbar.sync 0;", 1, 96).is_ok());
    assert!(run("setp.ge.u32 %p1, %r1, 7;\n@%p1 ret;\nbar.sync 0;", 1, 32).is_ok());
    // A barrier for 64 threads that 32 come to.
    found(FaultKind::Barrier, run("setp.ge.u32 %p1, %r1, 32;\n@%p1 bra END;\nbar.sync 1, 64;\nEND:", 1, 64));
    // A shuffle whose member is not there.
    let f = run(
        "setp.ge.u32 %p1, %r1, 16;\n@%p1 bra L;\nshfl.sync.idx.b32 %r3, %r1, 0, 31, -1;\nret;\nL: bar.sync 0;",
        1,
        32,
    );
    found(FaultKind::Barrier, f);
}

#[test]
fn kernels_that_trap_or_never_end() {
    found(FaultKind::Trap, run("setp.eq.u32 %p1, %r1, 3;\n@%p1 trap;", 1, 32));
    found(FaultKind::Timeout, run("L: bra L;", 1, 1));
    // A lock within a warp: each lane has to get its turn.
    let lock = "L: atom.global.cas.b32 %r3, [%rd2], 0, 1;\nsetp.ne.u32 %p1, %r3, 0;\n@%p1 bra L;\n\
                ld.volatile.global.u32 %r4, [%rd1];\nadd.u32 %r4, %r4, 1;\nst.volatile.global.u32 [%rd1], %r4;\nmembar.gl;\n\
                atom.global.exch.b32 %r5, [%rd2], 0;";
    let m = machine(0);
    let (p, q) = (upload(&m, &[0u32; 64]), upload(&m, &[0u32; 64]));
    run_on(&m, lock, 2, 64, p, q).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(download::<u32>(&m, p, 1), [128]);
}

#[test]
fn launches_that_cannot_be() {
    let m = machine(0);
    let l = m.load(&kernel("")).unwrap();
    let args = Args::default().u64(0).u64(0).bytes();
    let kind = |grid, block, shared, args: &[u8]| m.launch(&l, "k", grid, block, shared, args).unwrap_err().kind;
    assert_eq!(kind([1, 1, 1], [1025, 1, 1], 0, &args), FaultKind::BadLaunch);
    assert_eq!(kind([0, 1, 1], [1, 1, 1], 0, &args), FaultKind::BadLaunch);
    assert_eq!(kind([1, 1, 1], [1, 1, 1], 1 << 20, &args), FaultKind::BadLaunch);
    assert_eq!(kind([1, 1, 1], [1, 1, 1], 0, &args[..8]), FaultKind::BadLaunch);
    assert_eq!(m.launch(&l, "nothing", [1; 3], [1; 3], 0, &args).unwrap_err().kind, FaultKind::NoSuchEntry);
}

#[test]
fn memory_is_counted_and_lazy() {
    let m = Machine::new(softcuda::Config { memory: 8 << 30, ..Default::default() });
    let p = m.alloc(6 << 30).unwrap();
    assert_eq!(p % 512, 0);
    assert!(m.alloc(4 << 30).is_none());
    m.write(p + (5 << 30), &[1, 2, 3]).unwrap();
    assert_eq!((m.live(), m.peak(), m.memory_info()), ((1, 6 << 30), 6 << 30, (2 << 30, 8 << 30)));
    assert_eq!(m.range(p + 100), Some((p, 6 << 30)));
    m.free(p).unwrap();
    assert_eq!(m.live(), (0, 0));
    assert_ne!(m.alloc(6 << 30), Some(p));
    assert!(m.write(p, &[1]).is_err() && m.fill(p, &[1, 2], 4).is_err());
}
