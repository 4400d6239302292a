//! Decoded instructions: what the executor walks over.

use crate::alu::Alu;
use crate::parse::Space;

/// No operand.
pub(crate) const NONE: u32 = u32::MAX;

/// For the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Fp32,
    Fp64,
    Int,
    Global,
    Shared,
    Control,
    Other,
    /// A step of an instruction that is counted already.
    Part,
}

/// An instruction with its guard.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub op: Op,
    /// The guard's predicate or [`NONE`].
    pub guard: u32,
    pub negated: bool,
    pub class: Class,
}

/// Where memory is accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub space: Space,
    /// Row of addresses or [`NONE`].
    pub base: u32,
    /// Whether the row is of 64-bit values.
    pub wide: bool,
    pub offset: i64,
}

/// A load or store of `count` elements of `bytes` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub place: Place,
    pub bytes: u8,
    pub count: u8,
    /// Whether loaded values are sign-extended to their register.
    pub signed: bool,
    /// Volatile, relaxed or stronger: no race with other such accesses.
    pub strong: bool,
    /// Rows, and which of them are 64-bit: bit k.
    pub rows: [u32; 8],
    pub wides: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtomTy {
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Atom {
    pub place: Place,
    pub op: AtomOp,
    pub ty: AtomTy,
    /// Row of the old value or [`NONE`].
    pub d: u32,
    pub b: u32,
    pub c: u32,
    /// `.acquire`, `.release` or both: orders what stands around it.
    pub orders: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
    /// Nothing is passed: a mutant's.
    Own,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BarMode {
    Sync,
    Arrive,
    Popc,
    And,
    Or,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    Cycles32,
    Cycles64,
    Timer,
}

/// A copy of bytes of a lane's local memory: an argument or a result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    pub from: u32,
    pub to: u32,
    pub bytes: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Alu {
        f: Alu,
        o: [u32; 5],
    },
    Bra {
        target: u32,
    },
    Exit,
    Ret {
        back: u32,
    },
    /// `back` is the row that keeps the way back.
    Call {
        target: u32,
        back: u32,
        args: Box<[Copied]>,
    },
    /// What follows a call: the result's bytes are fetched.
    Fetch {
        results: Box<[Copied]>,
    },
    /// A call of a function without a body.
    CallUndefined {
        name: Box<str>,
    },
    Trap,
    Nop,
    Fence,
    Bar {
        mode: BarMode,
        id: u32,
        count: u32,
        d: u32,
        p: u32,
        not: bool,
    },
    BarWarp {
        members: u32,
    },
    Ld(Box<Access>),
    St(Box<Access>),
    Atom(Box<Atom>),
    Shfl {
        mode: ShflMode,
        d: u32,
        p: u32,
        a: u32,
        b: u32,
        c: u32,
        members: u32,
    },
    Vote {
        mode: VoteMode,
        d: u32,
        p: u32,
        not: bool,
        members: u32,
    },
    Match {
        all: bool,
        wide: bool,
        d: u32,
        p: u32,
        a: u32,
        members: u32,
    },
    Activemask {
        d: u32,
    },
    Redux {
        op: AtomOp,
        signed: bool,
        d: u32,
        a: u32,
        members: u32,
    },
    Clock {
        d: u32,
        what: Clock,
    },
    CpAsync {
        to: Place,
        from: Place,
        bytes: u32,
        read: u32,
    },
    CpCommit,
    /// Waits until at most so many groups are pending; `u32::MAX - 1`: for everything, committed or not.
    CpWait {
        left: u32,
    },
}
