//! A parsed PTX module and what can be asked of it.

use std::sync::Arc;

use crate::decode::inst::{Op, ShflMode};
use crate::decode::{Code, Func, decode};
use crate::fault::ParseError;
use crate::parse::parse;

/// A kernel's parameter: its place in the parameter bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamInfo {
    /// Bytes before it.
    pub offset: u32,
    /// Its bytes.
    pub size: u32,
    /// Its alignment.
    pub align: u32,
}

/// A kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its parameters, in order.
    pub params: Vec<ParamInfo>,
    /// Bytes of all parameters.
    pub params_bytes: u32,
    /// Bytes of shared memory that it declares.
    pub static_shared: u32,
    /// Bytes of local memory a thread has.
    pub local: u32,
    /// The most threads a block may have (`.maxntid`, `.reqntid`; else 1024).
    pub max_threads: u32,
    /// The exact block it must be launched with (`.reqntid`).
    pub required: Option<[u32; 3]>,
    /// 32-bit registers declared: virtual ones, more than a real compiler would leave.
    pub registers: u32,
}

/// A parsed module. Clones share the code.
#[derive(Clone, Debug)]
pub struct Module {
    version: (u32, u32),
    target: String,
    entries: Vec<Entry>,
    pub(crate) code: Arc<Code>,
    text: Arc<str>,
}

impl Module {
    /// Parses and decodes a PTX text. Unknown instructions are errors that name line and text.
    pub fn parse(ptx: &str) -> Result<Module, ParseError> {
        let text = parse(ptx)?;
        let code = decode(ptx, &text)?;
        let local = code.local.iter().filter(|&&b| b != 0).count() as u32;
        let entries = code.funcs.iter().filter(|f| f.entry && f.defined).map(|f| entry(&code, f, local)).collect();
        let (version, target) = (text.version, text.target.to_string());
        Ok(Module { version, target, entries, code: Arc::new(code), text: ptx.into() })
    }

    /// The PTX version.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The target: `sm_80`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Its kernels.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// A kernel by its name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// The lines of its block barriers, in the order of the text.
    pub fn barriers(&self) -> Vec<u32> {
        self.lines(is_barrier)
    }

    /// The module without its `n`th block barrier: to test what notices.
    pub fn without_barrier(&self, n: usize) -> Option<Module> {
        self.without(is_barrier, n)
    }

    /// The lines of its fences, in the order of the text.
    pub fn fences(&self) -> Vec<u32> {
        self.lines(is_fence)
    }

    /// The module without its `n`th fence.
    pub fn without_fence(&self, n: usize) -> Option<Module> {
        self.without(is_fence, n)
    }

    /// The lines of its shuffles, in the order of the text.
    pub fn shuffles(&self) -> Vec<u32> {
        self.lines(is_shuffle)
    }

    /// The module without its `n`th shuffle: each lane keeps what it has.
    pub fn without_shuffle(&self, n: usize) -> Option<Module> {
        self.changed(is_shuffle, n, |op| {
            if let Op::Shfl { mode, .. } = op {
                *mode = ShflMode::Own;
            }
        })
    }

    fn lines(&self, is: fn(&Op) -> bool) -> Vec<u32> {
        let found = self.code.insts.iter().zip(&self.code.lines).filter(|(i, _)| is(&i.op));
        found.map(|(_, &line)| line).collect()
    }

    fn without(&self, is: fn(&Op) -> bool, n: usize) -> Option<Module> {
        self.changed(is, n, |op| *op = Op::Nop)
    }

    fn changed(&self, is: fn(&Op) -> bool, n: usize, change: fn(&mut Op)) -> Option<Module> {
        let mut code = Code::clone(&self.code);
        change(&mut code.insts.iter_mut().filter(|i| is(&i.op)).nth(n)?.op);
        Some(Module { code: Arc::new(code), ..self.clone() })
    }

    /// A line of its text, numbered from 1.
    pub fn line(&self, line: u32) -> &str {
        (line as usize).checked_sub(1).and_then(|n| self.text.lines().nth(n)).unwrap_or("").trim()
    }
}

fn is_barrier(op: &Op) -> bool {
    matches!(op, Op::Bar { .. })
}

fn is_fence(op: &Op) -> bool {
    matches!(op, Op::Fence)
}

fn is_shuffle(op: &Op) -> bool {
    matches!(op, Op::Shfl { .. })
}

fn entry(code: &Code, f: &Func, local: u32) -> Entry {
    let params: Vec<_> = f.params.iter().map(|&(offset, size, align)| ParamInfo { offset, size, align }).collect();
    Entry {
        name: f.name.clone(),
        params_bytes: params.last().map_or(0, |p| p.offset + p.size),
        params,
        static_shared: code.shared.iter().chain(&f.shared).map(|s| s.bytes).sum(),
        local,
        max_threads: f.max_threads.unwrap_or(1024).min(1024),
        required: f.required,
        registers: f.registers,
    }
}
