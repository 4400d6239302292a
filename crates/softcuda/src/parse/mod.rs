//! PTX text to functions, variables and statements; nothing is resolved yet.

mod lex;

use crate::fault::ParseError;
use crate::types::Ty;
use lex::{Tok, tokens};

/// A parsed text.
#[derive(Debug, Default)]
pub(crate) struct Text<'a> {
    pub version: (u32, u32),
    pub target: &'a str,
    pub vars: Vec<Var<'a>>,
    pub functions: Vec<Function<'a>>,
}

/// A state space that variables are declared in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
    Generic,
}

/// One piece of an initialiser, in elements of the variable's type.
#[derive(Clone, Debug)]
pub(crate) enum Init<'a> {
    Bits(u64),
    /// A variable's address plus bytes.
    Address(&'a str, i64),
}

/// A variable or a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Var<'a> {
    pub space: Space,
    pub name: &'a str,
    pub ty: Ty,
    pub align: u32,
    /// None for `x[]`.
    pub bytes: Option<u64>,
    pub init: Vec<Init<'a>>,
    pub external: bool,
    pub line: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Function<'a> {
    pub name: &'a str,
    pub entry: bool,
    pub params: Vec<Var<'a>>,
    pub returns: Vec<Var<'a>>,
    pub body: Option<Vec<Stmt<'a>>>,
    pub max_threads: Option<u32>,
    pub required: Option<[u32; 3]>,
}

#[derive(Debug)]
pub(crate) struct Stmt<'a> {
    pub line: u32,
    pub kind: Kind<'a>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Inst { guard: Option<(bool, &'a str)>, op: &'a str, args: Vec<Arg<'a>> },
    Label(&'a str),
    Reg { ty: Ty, name: &'a str, count: Option<u32> },
    Var(Var<'a>),
    Open,
    Close,
}

/// An operand.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Arg<'a> {
    /// A register, a label, a variable, a special register; `_`.
    Name(&'a str),
    /// A name plus bytes.
    Offset(&'a str, i64),
    /// `!%p`
    Not(&'a str),
    Int(u64),
    F32(u32),
    F64(u64),
    Address(&'a str, i64),
    Absolute(i64),
    List(Vec<Arg<'a>>),
    /// `%r|%p`
    Pair(Box<Arg<'a>>, Box<Arg<'a>>),
}

struct Parser<'a> {
    text: &'a str,
    toks: Vec<(Tok<'a>, u32)>,
    at: usize,
}

type Res<T> = Result<T, ParseError>;

/// Parses a whole text.
pub(crate) fn parse(text: &str) -> Res<Text<'_>> {
    let mut p = Parser { text, toks: tokens(text)?, at: 0 };
    let mut out = Text::default();
    let mut external = false;
    while let Some(tok) = p.peek() {
        let Tok::Word(word) = tok else { return p.fail("a directive is due") };
        match word {
            ".version" => {
                p.at += 1;
                // `8.8` is lexed as 8, then `.8`.
                let major = p.int()?;
                let minor = p.word()?.trim_start_matches('.').parse().unwrap_or(0);
                out.version = (major as u32, minor);
            }
            ".target" => {
                p.at += 1;
                out.target = p.word()?;
                while p.eat(b',') {
                    p.word()?;
                }
            }
            ".address_size" => {
                p.at += 1;
                p.int()?;
            }
            ".visible" | ".weak" | ".common" => p.at += 1,
            ".extern" => {
                external = true;
                p.at += 1;
            }
            ".entry" | ".func" => {
                let f = p.function()?;
                out.functions.push(f);
                external = false;
            }
            ".global" | ".const" | ".shared" => {
                let mut v = p.var()?;
                v.external = external;
                external = false;
                p.expect(b';')?;
                out.vars.push(v);
            }
            ".file" | ".loc" => p.skip_line(),
            ".section" => p.skip_braces()?,
            ".pragma" | ".alias" => p.skip_to(b';')?,
            _ => return p.fail("unknown directive"),
        }
    }
    Ok(out)
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Tok<'a>> {
        self.toks.get(self.at).map(|t| t.0)
    }

    fn line(&self) -> u32 {
        self.toks.get(self.at).or(self.toks.last()).map_or(1, |t| t.1)
    }

    fn fail<T>(&self, what: impl Into<String>) -> Res<T> {
        let line = self.line();
        let text = self.text.lines().nth(line as usize - 1).unwrap_or("").trim();
        Err(ParseError::new(line, what, text))
    }

    fn eat(&mut self, c: u8) -> bool {
        let yes = self.peek() == Some(Tok::Punct(c));
        self.at += yes as usize;
        yes
    }

    fn expect(&mut self, c: u8) -> Res<()> {
        if self.eat(c) { Ok(()) } else { self.fail(format!("`{}` is due", c as char)) }
    }

    fn word(&mut self) -> Res<&'a str> {
        match self.peek() {
            Some(Tok::Word(w)) => {
                self.at += 1;
                Ok(w)
            }
            _ => self.fail("a name is due"),
        }
    }

    fn int(&mut self) -> Res<i64> {
        let minus = self.eat(b'-');
        match self.peek() {
            Some(Tok::Int(n)) => {
                self.at += 1;
                Ok(if minus { (n as i64).wrapping_neg() } else { n as i64 })
            }
            _ => self.fail("a number is due"),
        }
    }

    fn skip_line(&mut self) {
        let line = self.line();
        while self.toks.get(self.at).is_some_and(|t| t.1 == line) {
            self.at += 1;
        }
    }

    fn skip_to(&mut self, c: u8) -> Res<()> {
        while !self.eat(c) {
            if self.peek().is_none() {
                return self.fail("the text ends early");
            }
            self.at += 1;
        }
        Ok(())
    }

    fn skip_braces(&mut self) -> Res<()> {
        self.skip_to(b'{')?;
        self.skip_to(b'}')
    }

    /// A variable from its space on, initialiser included, without what ends it.
    fn var(&mut self) -> Res<Var<'a>> {
        let line = self.line();
        let space = match self.word()? {
            ".global" => Space::Global,
            ".const" => Space::Const,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            _ => return self.fail("unknown state space"),
        };
        let (mut align, mut ty, mut lanes) = (0, None, 1);
        while let Some(Tok::Word(w)) = self.peek()
            && w.starts_with('.')
        {
            self.at += 1;
            match w {
                ".align" => align = self.int()? as u32,
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                // `.param .u64 .ptr .global .align 8 x`
                ".ptr" | ".const" | ".global" | ".shared" | ".local" => {}
                _ => match Ty::of(&w[1..]) {
                    Some(t) => ty = Some(t),
                    None => return self.fail("unknown type"),
                },
            }
        }
        let name = self.word()?;
        let Some(ty) = ty else { return self.fail("a type is due") };
        let mut bytes = Some(ty.bytes() as u64 * lanes);
        while self.eat(b'[') {
            if self.eat(b']') {
                bytes = None;
                continue;
            }
            let n = self.int()? as u64;
            bytes = bytes.map(|b| b * n);
            self.expect(b']')?;
        }
        let mut init = vec![];
        if self.eat(b'=') {
            self.init(ty, &mut init)?;
        }
        let align = if align == 0 { ty.bytes() * lanes as u32 } else { align };
        Ok(Var { space, name, ty, align, bytes, init, external: false, line })
    }

    fn init(&mut self, ty: Ty, out: &mut Vec<Init<'a>>) -> Res<()> {
        if self.eat(b'{') {
            while !self.eat(b'}') {
                self.init(ty, out)?;
                self.eat(b',');
            }
            return Ok(());
        }
        let minus = self.eat(b'-');
        let item = match self.peek() {
            Some(Tok::Int(n)) => Init::Bits(if minus { n.wrapping_neg() } else { n }),
            Some(Tok::F32(n)) => Init::Bits(n as u64),
            Some(Tok::F64(n)) if ty == Ty::F32 => Init::Bits((f64::from_bits(n) as f32).to_bits() as u64),
            Some(Tok::F64(n)) => Init::Bits(n),
            Some(Tok::Word("generic")) => {
                self.at += 1;
                self.expect(b'(')?;
                let name = self.word()?;
                // The `)` is passed over below.
                let Some(Tok::Punct(b')')) = self.peek() else { return self.fail("`)` is due") };
                Init::Address(name, 0)
            }
            Some(Tok::Word(name)) => Init::Address(name, 0),
            _ => return self.fail("an initialiser is due"),
        };
        self.at += 1;
        out.push(match item {
            Init::Address(name, _) if self.eat(b'+') => Init::Address(name, self.int()?),
            item => item,
        });
        Ok(())
    }

    fn params(&mut self) -> Res<Vec<Var<'a>>> {
        let mut out = vec![];
        if self.eat(b'(') {
            while !self.eat(b')') {
                out.push(self.var()?);
                self.eat(b',');
            }
        }
        Ok(out)
    }

    fn function(&mut self) -> Res<Function<'a>> {
        let mut f = Function { entry: self.word()? == ".entry", ..Function::default() };
        if !f.entry {
            f.returns = self.params()?;
        }
        f.name = self.word()?;
        f.params = self.params()?;
        loop {
            match self.peek() {
                Some(Tok::Punct(b';')) => {
                    self.at += 1;
                    return Ok(f);
                }
                Some(Tok::Punct(b'{')) => break,
                Some(Tok::Word(w @ (".maxntid" | ".reqntid"))) => {
                    self.at += 1;
                    let mut dims = [1u32; 3];
                    for (i, d) in dims.iter_mut().enumerate() {
                        if i == 0 || self.eat(b',') {
                            *d = self.int()? as u32;
                        }
                    }
                    f.max_threads = Some(dims.iter().product());
                    if w == ".reqntid" {
                        f.required = Some(dims);
                    }
                }
                Some(Tok::Word(".noreturn")) => self.at += 1,
                Some(Tok::Word(w)) if w.starts_with('.') => {
                    self.at += 1;
                    while matches!(self.peek(), Some(Tok::Int(_) | Tok::Punct(b','))) {
                        self.at += 1;
                    }
                }
                _ => return self.fail("a function's body is due"),
            }
        }
        f.body = Some(self.body()?);
        Ok(f)
    }

    fn body(&mut self) -> Res<Vec<Stmt<'a>>> {
        self.expect(b'{')?;
        let (mut depth, mut out) = (1, vec![]);
        while depth > 0 {
            let line = self.line();
            let mut push = |kind| out.push(Stmt { line, kind });
            match self.peek() {
                Some(Tok::Punct(b'{')) => {
                    self.at += 1;
                    depth += 1;
                    push(Kind::Open);
                }
                Some(Tok::Punct(b'}')) => {
                    self.at += 1;
                    depth -= 1;
                    push(Kind::Close);
                }
                Some(Tok::Punct(b';')) => self.at += 1,
                Some(Tok::Punct(b'@')) => {
                    self.at += 1;
                    let not = self.eat(b'!');
                    let p = self.word()?;
                    push(self.inst(Some((not, p)))?);
                }
                Some(Tok::Word(".reg")) => {
                    self.at += 1;
                    let Some(ty) = Ty::of(self.word()?.trim_start_matches('.')) else {
                        return self.fail("unknown register type");
                    };
                    loop {
                        let name = self.word()?;
                        let mut count = None;
                        if self.eat(b'<') {
                            count = Some(self.int()? as u32);
                            self.expect(b'>')?;
                        }
                        push(Kind::Reg { ty, name, count });
                        if !self.eat(b',') {
                            break;
                        }
                    }
                    self.expect(b';')?;
                }
                Some(Tok::Word(".shared" | ".local" | ".param" | ".global" | ".const")) => {
                    push(Kind::Var(self.var()?));
                    self.expect(b';')?;
                }
                Some(Tok::Word(".loc" | ".file")) => self.skip_line(),
                Some(Tok::Word(".pragma")) => self.skip_to(b';')?,
                Some(Tok::Word(w)) if w.starts_with('.') => return self.fail("unknown directive in a function"),
                Some(Tok::Word(w)) => {
                    if self.toks.get(self.at + 1).is_some_and(|t| t.0 == Tok::Punct(b':')) {
                        self.at += 2;
                        push(Kind::Label(w));
                        // `name: .callprototype ...;`
                        if let Some(Tok::Word(".callprototype" | ".branchtargets" | ".calltargets")) = self.peek() {
                            return self.fail("indirect calls and branches are not simulated");
                        }
                    } else {
                        push(self.inst(None)?);
                    }
                }
                _ => return self.fail("a statement is due"),
            }
        }
        Ok(out)
    }

    fn inst(&mut self, guard: Option<(bool, &'a str)>) -> Res<Kind<'a>> {
        let op = self.word()?;
        let mut args = vec![];
        while !self.eat(b';') {
            args.push(self.arg()?);
            if !self.eat(b',') && self.peek() != Some(Tok::Punct(b';')) {
                return self.fail("`,` or `;` is due");
            }
        }
        Ok(Kind::Inst { guard, op, args })
    }

    fn list(&mut self, end: u8) -> Res<Arg<'a>> {
        let mut out = vec![];
        while !self.eat(end) {
            out.push(self.arg()?);
            self.eat(b',');
        }
        Ok(Arg::List(out))
    }

    fn offset(&mut self) -> Res<i64> {
        if self.eat(b'+') || self.peek() == Some(Tok::Punct(b'-')) { self.int() } else { Ok(0) }
    }

    fn arg(&mut self) -> Res<Arg<'a>> {
        if self.eat(b'{') {
            return self.list(b'}');
        }
        if self.eat(b'(') {
            return self.list(b')');
        }
        if self.eat(b'!') {
            return Ok(Arg::Not(self.word()?));
        }
        if self.eat(b'[') {
            let out = match self.peek() {
                Some(Tok::Word(w)) => {
                    self.at += 1;
                    Arg::Address(w, self.offset()?)
                }
                _ => Arg::Absolute(self.int()?),
            };
            self.expect(b']')?;
            return Ok(out);
        }
        let out = match self.peek() {
            Some(Tok::F32(n)) => Arg::F32(n),
            Some(Tok::F64(n)) => Arg::F64(n),
            Some(Tok::Int(_) | Tok::Punct(b'-')) => return Ok(Arg::Int(self.int()? as u64)),
            Some(Tok::Word(w)) => {
                self.at += 1;
                if self.eat(b'|') {
                    return Ok(Arg::Pair(Box::new(Arg::Name(w)), Box::new(self.arg()?)));
                }
                return Ok(match self.offset()? {
                    0 => Arg::Name(w),
                    n => Arg::Offset(w, n),
                });
            }
            _ => return self.fail("an operand is due"),
        };
        self.at += 1;
        Ok(out)
    }
}
