//! A kernel as text, for goldens, `show` and errors.

use super::{Class, FoldOrder, Inst, KOp, KernelIr, Nest, Role};
use std::fmt::{self, Write};

fn letter(axis: usize) -> char {
    (b'i' + axis as u8) as char
}

fn axes(set: super::AxisSet) -> String {
    set.iter().map(letter).collect()
}

fn inst(out: &mut String, id: usize, i: &Inst) -> fmt::Result {
    match i.op {
        KOp::Store(_) | KOp::StoreAt(_) => {}
        _ => write!(out, "%{id}:{}[{}] = ", i.dtype, axes(i.over))?,
    }
    match i.op {
        KOp::Load(o) => write!(out, "load ${o}")?,
        KOp::LoadAt(o) => write!(out, "load ${o} at")?,
        KOp::Param(p) => write!(out, "param {p}")?,
        KOp::Index(a) => write!(out, "index {}", letter(a as usize))?,
        KOp::Map(row) => write!(out, "{}", row.name)?,
        KOp::Cast => write!(out, "cast")?,
        KOp::Reduce { reducer, axes: a } => write!(out, "{}{{{}}}", reducer.name, axes(a))?,
        KOp::Scan { reducer, axis } => write!(out, "scan {}{{{}}}", reducer.name, letter(axis as usize))?,
        KOp::Store(o) => write!(out, "store ${o}")?,
        KOp::StoreAt(o) => write!(out, "store ${o} at")?,
    }
    for a in &i.args {
        write!(out, " %{a}")?;
    }
    Ok(())
}

fn nest(out: &mut String, ir: &KernelIr, n: &Nest, depth: usize) -> fmt::Result {
    match n {
        Nest::Insts(range) => {
            for id in range.clone() {
                write!(out, "{:width$}", "", width = 2 * depth)?;
                inst(out, id as usize, &ir.code[id as usize])?;
                out.write_char('\n')?;
            }
        }
        Nest::Loop { axes: a, body } => {
            writeln!(out, "{:width$}for {} {{", "", axes(*a), width = 2 * depth)?;
            for b in body {
                nest(out, ir, b, depth + 1)?;
            }
            writeln!(out, "{:width$}}}", "", width = 2 * depth)?;
        }
    }
    Ok(())
}

impl fmt::Display for KernelIr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel ")?;
        match self.class {
            Class::Map => write!(f, "map")?,
            Class::Rows => write!(f, "rows")?,
            Class::Columns => write!(f, "columns")?,
            Class::Pairwise { i, j, k, batch } => {
                write!(f, "pairwise i={} j={} k={}", axes(i), axes(j), axes(k))?;
                if !batch.is_empty() {
                    write!(f, " batch={}", axes(batch))?;
                }
            }
        }
        if self.order == FoldOrder::Chain && !matches!(self.class, Class::Pairwise { .. }) {
            write!(f, " in chains")?;
        }
        write!(f, " (")?;
        for (n, o) in self.operands.iter().enumerate() {
            let role = if o.role == Role::In { "" } else { "out " };
            write!(f, "{}{role}${n}: {}", if n > 0 { ", " } else { "" }, o.dtype)?;
        }
        for (n, p) in self.params.iter().enumerate() {
            write!(f, ", param {n}: {p}")?;
        }
        writeln!(f, ")")?;
        let mut out = String::new();
        nest(&mut out, self, &self.nest, 0)?;
        f.write_str(&out)
    }
}
