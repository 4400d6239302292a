//! What single instructions compute, against Rust.
#![allow(
    clippy::precedence,
    clippy::type_complexity,
    clippy::nonminimal_bool,
    clippy::neg_cmp_op_on_partial_ord,
    reason = "oracles spelt as PTX's manual does"
)]

mod common;

use common::*;
use softcuda::Module;

/// Runs `op` (on `%a`, `%b`, `%c`, into `%d`) in a lane for each triple; `d` and `s` are the register types of result and operands.
fn eval(op: &str, d: &str, s: &str, inputs: &[[u64; 3]]) -> Vec<u64> {
    let bits = |t: &str| t[1..].parse::<u32>().unwrap();
    let text = format!(
        ".version 8.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_p, .param .u64 k_q)\n{{\n\
         .reg .pred %p, %q; .reg .{s} %a, %b, %c; .reg .{d} %d; .reg .b32 %r1; .reg .b64 %rd<9>; .reg .b32 %n;\n\
         ld.param.u64 %rd1, [k_p];\nld.param.u64 %rd2, [k_q];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd3, %r1, 24;\n\
         add.s64 %rd4, %rd1, %rd3;\nmul.wide.u32 %rd5, %r1, 8;\nadd.s64 %rd6, %rd2, %rd5;\n\
         ld.global.b{0} %a, [%rd4];\nld.global.b{0} %b, [%rd4+8];\nld.global.b{0} %c, [%rd4+16];\nld.global.b32 %n, [%rd4+8];\n\
         mov.b64 %rd7, 0;\nst.global.b64 [%rd6], %rd7;\n{op}\nst.global.b{1} [%rd6], %d;\nret;\n}}\n",
        bits(s),
        bits(d)
    );
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let m = machine(0);
    let l = m.load(&module).unwrap();
    let (p, q) = (upload(&m, inputs), m.alloc(inputs.len() as u64 * 8).unwrap());
    let args = Args::default().u64(p).u64(q).bytes();
    m.launch(&l, "k", [1, 1, 1], [inputs.len() as u32, 1, 1], 0, &args).unwrap_or_else(|e| panic!("{op}: {e}"));
    download(&m, q, inputs.len())
}

/// All triples of some values, at most 1000.
fn triples(v: &[u64]) -> Vec<[u64; 3]> {
    let all = v.iter().flat_map(|&a| v.iter().flat_map(move |&b| v.iter().map(move |&c| [a, b, c])));
    all.take(1000).collect()
}

fn ints() -> Vec<[u64; 3]> {
    triples(&[0, 1, 5, 31, 33, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1234_5678_9abc_def0, u64::MAX])
}

fn floats() -> Vec<[u64; 3]> {
    let v = [0.0f32, -0.0, 1.0, -1.5, 3.7, 1e-40, 3e38, f32::INFINITY, f32::NAN, 16_777_217.0 / 3.0];
    triples(&v.map(|f| f.to_bits() as u64))
}

fn same32(op: &str, inputs: &[[u64; 3]], want: impl Fn(u32, u32, u32) -> u32) {
    for (i, got) in inputs.iter().zip(eval(op, "b32", "b32", inputs)) {
        let [a, b, c] = i.map(|v| v as u32);
        assert_eq!(got as u32, want(a, b, c), "{op} of {a:#x}, {b:#x}, {c:#x}");
    }
}

fn same64(op: &str, want: impl Fn(u64, u64, u64) -> u64) {
    let inputs = ints();
    for (i, got) in inputs.iter().zip(eval(op, "b64", "b64", &inputs)) {
        assert_eq!(got, want(i[0], i[1], i[2]), "{op} of {i:x?}");
    }
}

fn same_f32(op: &str, want: impl Fn(f32, f32, f32) -> f32) {
    let inputs = floats();
    for (i, got) in inputs.iter().zip(eval(op, "f32", "f32", &inputs)) {
        let [a, b, c] = i.map(|v| f32::from_bits(v as u32));
        let (got, want) = (f32::from_bits(got as u32), want(a, b, c));
        assert!(
            got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
            "{op} of {a:e}, {b:e}, {c:e}: {got:e} {want:e}"
        );
    }
}

#[test]
fn integers() {
    let v = &ints();
    same32("mul.hi.s32 %d, %a, %b;", v, |a, b, _| ((a as i32 as i64 * b as i32 as i64) >> 32) as u32);
    same32("mad.lo.s32 %d, %a, %b, %c;", v, |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    same32("shl.b32 %d, %a, %b;", v, |a, b, _| a.checked_shl(b).unwrap_or(0));
    same32("shr.s32 %d, %a, %b;", v, |a, b, _| ((a as i32) >> b.min(31)) as u32);
    same32("shf.l.wrap.b32 %d, %a, %b, %c;", v, |a, b, c| (((b as u64) << 32 | a as u64) << (c % 32) >> 32) as u32);
    same32("shf.r.clamp.b32 %d, %a, %b, %c;", v, |a, b, c| (((b as u64) << 32 | a as u64) >> c.min(32)) as u32);
    same32("bfind.s32 %d, %a;", v, |a, _, _| {
        let x = if (a as i32) < 0 { !a } else { a };
        if x == 0 { u32::MAX } else { x.ilog2() }
    });
    same32("popc.b32 %d, %a;\nclz.b32 %n, %b;\nadd.u32 %d, %d, %n;", v, |a, b, _| a.count_ones() + b.leading_zeros());
    same32("brev.b32 %d, %a;", v, |a, _, _| a.reverse_bits());
    same32("bfe.u32 %d, %a, 3, 9;", v, |a, _, _| a >> 3 & 511);
    same32("bfe.s32 %d, %a, 28, 9;", v, |a, _, _| ((a as i32) >> 28) as u32);
    same32("bfi.b32 %d, %a, %b, 5, 7;", v, |a, b, _| b & !(127 << 5) | (a & 127) << 5);
    same32("prmt.b32 %d, %a, %b, 0x5410;", v, |a, b, _| a & 0xffff | b << 16);
    same32("prmt.b32 %d, %a, %b, 0x0008;", v, |a, _, _| {
        let sign = if a & 0x80 != 0 { 0xff } else { 0 };
        sign | (a & 255) * 0x0101_0100
    });
    same32("lop3.b32 %d, %a, %b, %c, 0x96;", v, |a, b, c| a ^ b ^ c);
    same32("lop3.b32 %d, %a, %b, %c, 0xe8;", v, |a, b, c| a & b | b & c | a & c);
    same32("rem.s32 %d, %a, 7;", v, |a, _, _| (a as i32 % 7) as u32);
    same32("sad.s32 %d, %a, %b, %c;", v, |a, b, c| (a as i32).abs_diff(b as i32).wrapping_add(c));
    // 64 bits by carries.
    same32("add.cc.u32 %d, %a, %b;\naddc.u32 %d, %c, 0;", v, |a, b, c| {
        c.wrapping_add(a.checked_add(b).is_none() as u32)
    });
    same32("sub.cc.u32 %d, %a, %b;\nsubc.u32 %d, %c, 0;", v, |a, b, c| c.wrapping_sub((a < b) as u32));
    same32("mad.lo.cc.u32 %d, %a, %b, %c;\nmadc.hi.u32 %d, %a, %b, 0;", v, |a, b, c| {
        ((a as u64 * b as u64 + c as u64) >> 32) as u32
    });
    same64("mul.hi.u64 %d, %a, %b;", |a, b, _| (a as u128 * b as u128 >> 64) as u64);
    same64("mul.hi.s64 %d, %a, %b;", |a, b, _| (a as i64 as i128 * b as i64 as i128 >> 64) as u64);
    same64("div.s64 %d, %a, %b;", |a, b, _| if b == 0 { !0 } else { (a as i64).wrapping_div(b as i64) as u64 });
    same64("max.s64 %d, %a, %b;", |a, b, _| (a as i64).max(b as i64) as u64);
    same64("shr.u64 %d, %a, %n;", |a, b, _| a.checked_shr(b as u32).unwrap_or(0));
    same64("mul.wide.s32 %d, %n, %n;", |_, b, _| (b as i32 as i64 * b as i32 as i64) as u64);
    same64("mov.b64 {%n, _}, %a;\nmov.b64 %d, {%n, %n};", |a, _, _| (a & 0xffff_ffff) * 0x1_0000_0001);
    same64(
        "{\n.reg .pred %a;\nsetp.lt.u64 %a, %b, %c;\nselp.b64 %d, 1, 2, %a;\n}",
        |_, b, c| if b < c { 1 } else { 2 },
    );
}

#[test]
fn floats_round_once() {
    same_f32("add.rn.f32 %d, %a, %b;", |a, b, _| a + b);
    same_f32("fma.rn.f32 %d, %a, %b, %c;", f32::mul_add);
    same_f32("div.rn.f32 %d, %a, %b;", |a, b, _| a / b);
    same_f32("sqrt.rn.f32 %d, %a;", |a, _, _| a.sqrt());
    same_f32("add.rn.ftz.f32 %d, %a, %b;", |a, b, _| {
        let flush = |x: f32| if x.is_subnormal() { x * 0.0 } else { x };
        flush(flush(a) + flush(b))
    });
    same_f32("add.rn.sat.f32 %d, %a, %b;", |a, b, _| if a + b > 0.0 { (a + b).min(1.0) } else { 0.0 });
    same_f32("cvt.sat.f32.f32 %d, %a;", |a, _, _| if a > 0.0 { a.min(1.0) } else { 0.0 });
    same_f32("cvt.rni.f32.f32 %d, %a;", |a, _, _| a.round_ties_even());
    same_f32("copysign.f32 %d, %a, %b;", |a, b, _| b.copysign(a));
    same_f32("ex2.approx.ftz.f32 %d, %a;", |a, _, _| {
        let r = ((if a.is_subnormal() { 0.0 } else { a }) as f64).exp2() as f32;
        if r.is_subnormal() { 0.0 } else { r }
    });
    same_f32("min.f32 %d, %a, %b;", |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        _ => {
            if a < b {
                a
            } else {
                b
            }
        }
    });
    same_f32("max.f32 %d, %a, %b;", |a, b, _| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
        _ => {
            if a > b {
                a
            } else {
                b
            }
        }
    });
}

#[test]
fn directed_rounding_brackets_the_exact_value() {
    let inputs = floats();
    let get =
        |op: &str| -> Vec<f32> { eval(op, "f32", "f32", &inputs).iter().map(|&v| f32::from_bits(v as u32)).collect() };
    for op in [
        "add.R.f32 %d, %a, %b;",
        "mul.R.f32 %d, %a, %b;",
        "fma.R.f32 %d, %a, %b, %c;",
        "div.R.f32 %d, %a, %b;",
        "sqrt.R.f32 %d, %a;",
    ] {
        let [near, zero, down, up] = ["rn", "rz", "rm", "rp"].map(|r| get(&op.replace(".R.", &format!(".{r}."))));
        let mut inexact = 0;
        for k in 0..inputs.len() {
            let all = [near[k], zero[k], down[k], up[k]];
            if near[k].is_nan() {
                assert!(all.iter().all(|v| v.is_nan()), "{op} {:x?}", inputs[k]);
                continue;
            }
            let what = format!("{op} of {:?}: {all:?}", inputs[k].map(|v| f32::from_bits(v as u32)));
            assert!(down[k] <= near[k] && near[k] <= up[k], "{what}");
            assert!(down[k] == up[k] || down[k].next_up() == up[k], "{what}");
            assert!(near[k] == down[k] || near[k] == up[k], "{what}");
            assert_eq!(
                zero[k],
                if near[k] > 0.0 || (near[k] == 0.0 && up[k] > 0.0) { down[k] } else { up[k] },
                "{what}"
            );
            inexact += (down[k] != up[k]) as u32;
        }
        assert!(inexact > 5, "{op}");
    }
}

#[test]
fn comparisons_know_nan() {
    let order: [(&str, fn(f32, f32) -> bool); 6] = [
        ("lt", |a, b| a < b),
        ("geu", |a, b| a >= b || a.is_nan() || b.is_nan()),
        ("ne", |a, b| a != b && !a.is_nan() && !b.is_nan()),
        ("neu", |a, b| a != b),
        ("num", |a, b| !a.is_nan() && !b.is_nan()),
        ("nan", |a, b| a.is_nan() || b.is_nan()),
    ];
    for (cmp, holds) in order {
        same_f32(&format!("setp.{cmp}.f32 %p, %a, %b;\nselp.f32 %d, 0f3F800000, 0f00000000, %p;"), |a, b, _| {
            holds(a, b) as u32 as f32
        });
    }
    same_f32(
        "setp.gt.f32 %q, %c, 0f00000000;\nsetp.lt.and.f32 %p|%q, %a, %b, !%q;\nselp.f32 %d, 0f3F800000, 0f00000000, %q;",
        |a, b, c| (!(a < b) && !(c > 0.0)) as u32 as f32,
    );
    same32(
        "set.lt.u32.f32 %d, %a, %b;",
        &floats(),
        |a, b, _| if f32::from_bits(a) < f32::from_bits(b) { !0 } else { 0 },
    );
}

#[test]
fn conversions() {
    let f = &floats();
    same32("cvt.rzi.s32.f32 %d, %a;", f, |a, _, _| f32::from_bits(a) as i32 as u32);
    same32("cvt.rmi.u32.f32 %d, %a;", f, |a, _, _| f32::from_bits(a).floor() as u32);
    same32("cvt.rzi.s8.f32 %d, %a;", f, |a, _, _| f32::from_bits(a) as i8 as i32 as u32);
    same32("cvt.s32.s8 %d, %a;", &ints(), |a, _, _| a as i8 as i32 as u32);
    same32("cvt.u32.u16 %d, %a;", &ints(), |a, _, _| a as u16 as u32);
    same32("cvt.sat.u8.s32 %d, %a;", &ints(), |a, _, _| (a as i32).clamp(0, 255) as u32);
    same32("cvt.rn.f32.s32 %d, %a;", &ints(), |a, _, _| (a as i32 as f32).to_bits());
    for (i, got) in ints().iter().zip(eval("cvt.rz.f32.u64 %d, %a;", "b32", "b64", &ints())) {
        let (r, near) = (f32::from_bits(got as u32), i[0] as f32);
        assert!(r as u128 <= i[0] as u128 && (r == near || r.next_up() == near), "{:x} {r} {near}", i[0]);
    }
    // Every f16 through f32 and back.
    let halves: Vec<[u64; 3]> = (0..64).map(|k| [k * 1021 & 0xffff, 0, 0]).collect();
    let back = eval(
        "{\n.reg .b16 %h;\n.reg .f32 %f;\nmov.b32 {%h, _}, %a;\ncvt.f32.f16 %f, %h;\ncvt.rn.f16.f32 %h, %f;\nmov.b32 %d, {%h, %h};\n}",
        "b32",
        "b32",
        &halves,
    );
    for (h, got) in halves.iter().zip(back) {
        let nan = h[0] & 0x7fff > 0x7c00;
        assert_eq!(got as u16, if nan { 0x7fff } else { h[0] as u16 }, "{:x}", h[0]);
    }
    let ties = [
        (2049.0f32, 0x6800u16),
        (2051.0, 0x6802),
        (65519.0, 0x7bff),
        (65520.0, 0x7c00),
        (3e-8, 0x0001),
        (2.9e-8, 0x0000),
        (-6.1e-5, 0x83ff),
    ];
    let inputs: Vec<[u64; 3]> = ties.iter().map(|t| [t.0.to_bits() as u64, 0, 0]).collect();
    let got = eval("{\n.reg .b16 %h;\ncvt.rn.f16.f32 %h, %a;\nmov.b32 %d, {%h, %h};\n}", "b32", "f32", &inputs);
    for (t, got) in ties.iter().zip(got) {
        assert_eq!(got as u16, t.1, "{}", t.0);
    }
}

#[test]
fn lanes_together() {
    let lanes: Vec<[u64; 3]> = (0..32).map(|k| [k * k, k, k / 3]).collect();
    let sum = |op: &str| eval(op, "b32", "b32", &lanes).iter().map(|&v| v as u32).collect::<Vec<_>>();
    let want = |f: &dyn Fn(u32) -> u32| (0..32).map(f).collect::<Vec<_>>();
    assert_eq!(sum("shfl.sync.idx.b32 %d, %a, 5, 31, -1;"), want(&|_| 25));
    assert_eq!(sum("shfl.sync.bfly.b32 %d, %b, 3, 31, -1;"), want(&|k| k ^ 3));
    assert_eq!(
        sum("shfl.sync.up.b32 %d|%p, %b, 2, 0, -1;\n@!%p mov.u32 %d, 99;"),
        want(&|k| if k < 2 { 99 } else { k - 2 })
    );
    // Segments of 8.
    assert_eq!(sum("shfl.sync.down.b32 %d, %b, 1, 0x181f, -1;"), want(&|k| if k % 8 == 7 { k } else { k + 1 }));
    assert_eq!(sum("setp.lt.u32 %p, %b, 5;\nvote.sync.ballot.b32 %d, %p, -1;"), want(&|_| 31));
    assert_eq!(
        sum("match.any.sync.b32 %d, %c, -1;"),
        want(&|k| (0..32).filter(|j| j / 3 == k / 3).fold(0, |m, j| m | 1 << j))
    );
    assert_eq!(sum("redux.sync.max.u32 %d, %a, -1;"), want(&|_| 961));
    assert_eq!(
        sum("setp.lt.u32 %p, %b, 9;\nmov.u32 %d, 0;\n@%p activemask.b32 %d;"),
        want(&|k| if k < 9 { 511 } else { 0 })
    );
}

#[test]
fn functions_are_called() {
    let text = ".version 8.8\n.target sm_80\n.address_size 64\n\
        .func (.param .b32 out) twice(.param .b32 in)\n{\n.reg .b32 %r<4>; .reg .pred %p;\nld.param.u32 %r1, [in];\n\
        setp.gt.u32 %p, %r1, 20;\n@%p bra BIG;\nadd.u32 %r2, %r1, %r1;\nst.param.b32 [out], %r2;\nret;\n\
        BIG:\nmov.u32 %r3, 7;\nst.param.b32 [out], %r3;\nret;\n}\n\
        .global .align 4 .u32 table[3] = {5, 6, 7};\n.global .align 8 .u64 at = generic(table)+4;\n\
        .visible .entry k(.param .u64 q)\n{\n.reg .b32 %r<9>; .reg .b64 %rd<9>;\nmov.u32 %r1, %tid.x;\n\
        {\n.param .b32 a;\n.param .b32 r;\nst.param.b32 [a], %r1;\ncall.uni (r), twice, (a);\nld.param.b32 %r2, [r];\n}\n\
        ld.global.u64 %rd3, [at];\nld.global.u32 %r3, [%rd3];\nadd.u32 %r2, %r2, %r3;\n\
        ld.param.u64 %rd1, [q];\nmad.wide.u32 %rd2, %r1, 4, %rd1;\nst.global.u32 [%rd2], %r2;\nret;\n}\n";
    let m = machine(0);
    let l = m.load(&Module::parse(text).unwrap()).unwrap();
    assert_eq!(l.variable("table").map(|v| v.1), Some(12));
    let q = m.alloc(160).unwrap();
    m.launch(&l, "k", [1, 1, 1], [40, 1, 1], 0, &q.to_le_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let want: Vec<u32> = (0..40).map(|k| 6 + if k > 20 { 7 } else { 2 * k }).collect();
    assert_eq!(download::<u32>(&m, q, 40), want);
    m.unload(&l).unwrap();
}

#[test]
fn unknown_texts_are_named() {
    let head = ".version 8.8\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<3>;\n";
    for (bad, what) in [
        ("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%r1}, {%r1}, {%r1}, {%r1};", "unknown instruction mma"),
        ("add.funny.s32 %r1, %r1, %r2;", "unknown modifier .funny"),
        ("add.s32 %r1, %r1, %x;", "unknown name %x"),
        ("bra NOWHERE;", "no label NOWHERE"),
    ] {
        let e = Module::parse(&format!("{head}{bad}\nret;\n}}\n")).unwrap_err();
        assert_eq!(e.line, 7, "{e}");
        assert!(e.to_string().contains(what) && e.text == bad, "{e}");
    }
}
