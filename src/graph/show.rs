//! The pending graph as DOT.

use super::{Node, Op};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// The operation's name.
pub fn name(op: Op) -> String {
    match op {
        Op::Scalar(_) => "scalar".into(),
        Op::Iota { axis } => format!("index of axis {axis}"),
        Op::Map(row) => row.name.into(),
        Op::Cast => "cast".into(),
        Op::Reduce { reducer, axes } => {
            let axes: Vec<u32> = (0..32).filter(|a| axes >> a & 1 != 0).collect();
            format!("{} over {axes:?}", reducer.name)
        }
        Op::Dot => "dot".into(),
        Op::Reshape => "reshape".into(),
        Op::Update => "update".into(),
        Op::Gather(taken) => format!("take along {}", taken.axis),
        Op::TopK { largest } => format!("where the {} are", if largest { "largest" } else { "smallest" }),
    }
}

/// Nodes as boxes (stored ones filled), arguments as arrows with their views.
pub fn dot(root: &Arc<Node>) -> String {
    let mut out = String::from("digraph ndcuda {\n  rankdir=BT; node [shape=box, fontname=monospace];\n");
    let mut ids: HashMap<usize, usize> = HashMap::new();
    let mut stack = vec![root.clone()];
    ids.insert(Arc::as_ptr(root) as usize, 0);
    while let Some(node) = stack.pop() {
        let id = ids[&(Arc::as_ptr(&node) as usize)];
        let expr = node.expr();
        let (label, style) = match &expr {
            Some(e) => (name(e.op), ""),
            None => ("stored".into(), ", style=filled"),
        };
        let _ = writeln!(out, "  n{id} [label=\"{label}\\n{node:?}\"{style}];");
        for arg in expr.iter().flat_map(|e| &e.args) {
            let next = ids.len();
            let to = *ids.entry(Arc::as_ptr(&arg.node) as usize).or_insert(next);
            if to == next {
                stack.push(arg.node.clone());
            }
            let view = arg.part().map_or_else(String::new, |v| format!(" [label=\"{v:?}\"]"));
            let _ = writeln!(out, "  n{to} -> n{id}{view};");
        }
    }
    out.push_str("}\n");
    out
}
