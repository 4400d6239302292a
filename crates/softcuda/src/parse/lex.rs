//! PTX text to tokens.

use crate::fault::ParseError;

/// A token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Tok<'a> {
    /// Names, registers, opcodes with their modifiers, directives with their dot.
    Word(&'a str),
    Int(u64),
    F32(u32),
    F64(u64),
    Text(&'a str),
    Punct(u8),
}

/// All tokens of a text, each with its line.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Tok<'_>, u32)>, ParseError> {
    let b = text.as_bytes();
    let mut out = Vec::with_capacity(b.len() / 4);
    let (mut i, mut line) = (0, 1u32);
    let word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.');
    while i < b.len() {
        let c = b[i];
        let start = i;
        match c {
            b'\n' => {
                line += 1;
                i += 1;
            }
            b' ' | b'\t' | b'\r' | 0 => i += 1,
            b'/' if b.get(i + 1) == Some(&b'/') => i += b[i..].iter().take_while(|&&c| c != b'\n').count(),
            b'/' if b.get(i + 1) == Some(&b'*') => {
                let len = text[i + 2..].find("*/").map_or(b.len() - i, |n| n + 4);
                line += b[i..i + len].iter().filter(|&&c| c == b'\n').count() as u32;
                i += len;
            }
            b'"' => {
                let len = text[i + 1..].find('"').ok_or_else(|| ParseError::new(line, "a text without an end", ""))?;
                out.push((Tok::Text(&text[i + 1..i + 1 + len]), line));
                i += len + 2;
            }
            b'0'..=b'9' => {
                i += b[i..].iter().take_while(|c| c.is_ascii_alphanumeric()).count();
                out.push((
                    number(&text[start..i]).ok_or_else(|| ParseError::new(line, "no number", &text[start..i]))?,
                    line,
                ));
            }
            _ if word(c) => {
                loop {
                    i += b[i..].iter().take_while(|&&c| word(c)).count();
                    // `L1::no_allocate`, `shared::cta`
                    let scoped = b[i..].starts_with(b"::") && b.get(i + 2).is_some_and(|&c| word(c));
                    if !scoped {
                        break;
                    }
                    i += 2;
                }
                out.push((Tok::Word(&text[start..i]), line));
            }
            _ => {
                out.push((Tok::Punct(c), line));
                i += 1;
            }
        }
    }
    Ok(out)
}

fn number<'a>(s: &str) -> Option<Tok<'a>> {
    let hex = |d: &str| u64::from_str_radix(d, 16).ok();
    match s.as_bytes() {
        [b'0', b'f' | b'F', ..] => Some(Tok::F32(hex(&s[2..])? as u32)),
        [b'0', b'd' | b'D', ..] => Some(Tok::F64(hex(&s[2..])?)),
        [b'0', b'x' | b'X', ..] => Some(Tok::Int(hex(s[2..].trim_end_matches(['U', 'u']))?)),
        [b'0', b'b' | b'B', ..] => Some(Tok::Int(u64::from_str_radix(s[2..].trim_end_matches(['U', 'u']), 2).ok()?)),
        _ => Some(Tok::Int(s.trim_end_matches(['U', 'u']).parse().ok()?)),
    }
}
