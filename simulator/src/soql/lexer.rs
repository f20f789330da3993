//! Words, literals and signs of a SOQL text, each with its place for the vendor's error form.

use crate::error::ApiError;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A keyword, a name, or a dotted path.
    Word(String),
    Text(String),
    /// A number, date or datetime: everything that begins with a digit or a sign.
    Scalar(String),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`
    Comparison(&'static str),
    Sign(char),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub token: Token,
    /// Byte offset in the text.
    pub at: usize,
}

/// The vendor's `MALFORMED_QUERY`: the line, a caret, the place, the reason.
pub(crate) fn malformed(soql: &str, at: usize, reason: &str) -> ApiError {
    ApiError::bad_request("MALFORMED_QUERY", located(soql, at, reason))
}

/// The vendor's way to point at a place in a query.
pub(crate) fn located(soql: &str, at: usize, reason: &str) -> String {
    let before = soql.get(..at).unwrap_or(soql);
    let row = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = soql[line_start..].lines().next().unwrap_or_default();
    let column = before[line_start..].chars().count();
    format!("\n{line}\n{}^\nERROR at Row:{row}:Column:{}\n{reason}", " ".repeat(column), column + 1)
}

pub(crate) fn tokens(soql: &str) -> Result<Vec<Placed>, ApiError> {
    let bytes = soql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let token = match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' => Token::Text(quoted(soql, &mut at)?),
            b'(' | b')' | b',' | b':' => {
                at += 1;
                Token::Sign(char::from(bytes[start]))
            }
            b'=' | b'!' | b'<' | b'>' => Token::Comparison(comparison(soql, &mut at)?),
            byte if byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.') => {
                at = run(bytes, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.' | b':'));
                Token::Scalar(soql[start..at].to_owned())
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                at = run(bytes, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
                Token::Word(soql[start..at].to_owned())
            }
            _ => {
                let sign = soql[at..].chars().next().unwrap_or('?');
                return Err(malformed(soql, at, &format!("line 1:{at} no viable alternative at character '{sign}'")));
            }
        };
        found.push(Placed { token, at: start });
    }
    Ok(found)
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && belongs(bytes[at]) {
        at += 1;
    }
    at
}

fn comparison(soql: &str, at: &mut usize) -> Result<&'static str, ApiError> {
    let rest = &soql[*at..];
    let sign = ["!=", "<>", "<=", ">=", "=", "<", ">"].into_iter().find(|sign| rest.starts_with(sign));
    let Some(sign) = sign else { return Err(malformed(soql, *at, "unexpected token: '!'")) };
    *at += sign.len();
    Ok(if sign == "<>" { "!=" } else { sign })
}

/// A quoted text with the vendor's escapes.
fn quoted(soql: &str, at: &mut usize) -> Result<String, ApiError> {
    let start = *at;
    let mut text = String::new();
    let mut characters = soql[start + 1..].char_indices();
    while let Some((offset, character)) = characters.next() {
        match character {
            '\'' => {
                *at = start + 1 + offset + 1;
                return Ok(text);
            }
            '\\' => {
                let escaped = match characters.next().map(|(_, c)| c) {
                    Some('n' | 'N') => '\n',
                    Some('r' | 'R') => '\r',
                    Some('t' | 'T') => '\t',
                    Some('b' | 'B') => '\u{8}',
                    Some('f' | 'F') => '\u{c}',
                    // In LIKE, an escaped wildcard stands for itself; the pattern reader looks for the backslash.
                    Some(wild @ ('_' | '%')) => {
                        text.push('\\');
                        wild
                    }
                    Some(plain @ ('\'' | '"' | '\\')) => plain,
                    _ => return Err(malformed(soql, start + 1 + offset, "invalid string literal: illegal escape")),
                };
                text.push(escaped);
            }
            character => text.push(character),
        }
    }
    Err(malformed(soql, start, "unexpected token: '<EOF>' (unclosed string literal)"))
}
