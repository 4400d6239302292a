//! What went wrong: findings of the detectors, misuse of memory, and texts that cannot be parsed.

use std::error::Error;
use std::fmt;

/// The kind of a [`Fault`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// An address outside every allocation, or outside every variable of its space.
    OutOfBounds,
    /// An address in an allocation that was freed.
    UseAfterFree,
    /// A load of bytes that nothing has written.
    Uninitialised,
    /// An address that is not a multiple of the access's size.
    Misaligned,
    /// Two accesses without an order between them, one of which writes.
    Race,
    /// A barrier or a warp-synchronous instruction that some of its threads cannot reach.
    Barrier,
    /// `trap`, or a failed assertion in a kernel.
    Trap,
    /// A kernel that ran for far too long.
    Timeout,
    /// A call of a function that the module does not define.
    UndefinedCall,
    /// `free` of an allocation that was freed before.
    DoubleFree,
    /// `free` of what is no allocation's start.
    NotAllocated,
    /// A launch that the device cannot run: its shape, its shared memory, its parameters' size.
    BadLaunch,
    /// No kernel has this name.
    NoSuchEntry,
    /// Memory for a module's variables is exhausted.
    OutOfMemory,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::OutOfBounds => "out of bounds",
            FaultKind::UseAfterFree => "use after free",
            FaultKind::Uninitialised => "uninitialised read",
            FaultKind::Misaligned => "misaligned access",
            FaultKind::Race => "data race",
            FaultKind::Barrier => "barrier not reached by all its threads",
            FaultKind::Trap => "trap",
            FaultKind::Timeout => "timeout",
            FaultKind::UndefinedCall => "call of an undefined function",
            FaultKind::DoubleFree => "double free",
            FaultKind::NotAllocated => "not an allocation",
            FaultKind::BadLaunch => "launch refused",
            FaultKind::NoSuchEntry => "no such kernel",
            FaultKind::OutOfMemory => "out of memory",
        })
    }
}

/// Where in a launch a fault happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The kernel's name.
    pub kernel: String,
    /// The line of the PTX text, from 1.
    pub line: u32,
    /// The instruction there.
    pub instruction: String,
    /// The block's index in the grid.
    pub block: [u32; 3],
    /// The thread's index in the block.
    pub thread: [u32; 3],
}

/// A failed launch or a misused address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// The address concerned, if there is one.
    pub address: Option<u64>,
    /// What else is known: the allocation, the other access.
    pub detail: String,
    /// Where in a launch, if in one.
    pub place: Option<Box<Place>>,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, address: Option<u64>, detail: impl Into<String>) -> Fault {
        Fault { kind, address, detail: detail.into(), place: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(a) = self.address {
            write!(f, " at {a:#x}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if let Some(p) = &self.place {
            write!(
                f,
                "\n  in {} line {}: {}\n  block {:?}, thread {:?}",
                p.kernel, p.line, p.instruction, p.block, p.thread
            )?;
        }
        Ok(())
    }
}

impl Error for Fault {}

/// A text that is no PTX this crate knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub what: String,
    /// The text there.
    pub text: String,
}

impl ParseError {
    pub(crate) fn new(line: u32, what: impl Into<String>, text: impl Into<String>) -> ParseError {
        ParseError { line, what: what.into(), text: text.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PTX line {}: {}: {}", self.line, self.what, self.text)
    }
}

impl Error for ParseError {}
