//! T-SQL, cut into tokens with their lines.

use super::error::{Result, SqlError, syntax};

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tok {
    /// A word, be it a key word or a name.
    Word(String),
    /// `[name]` or `"name"`
    Quoted(String),
    /// `@x`, `@@x`
    Var(String),
    /// `'text'`; whether `N` stood before it.
    Text(String, bool),
    /// Digits, perhaps with a point or an exponent.
    Number(String),
    /// `0x...`
    Hex(Vec<u8>),
    /// Anything else.
    Op(&'static str),
    /// No more.
    End,
}

/// A token and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub tok: Tok,
    pub line: u32,
    /// Byte offsets in the batch.
    pub start: usize,
    pub end: usize,
}

const OPS: &[&str] = &[
    "<=", ">=", "<>", "!=", "!<", "!>", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "::", "(", ")", ",", ";", ".",
    "+", "-", "*", "/", "%", "=", "<", ">", "&", "|", "^", "~", ":", "{", "}", "?",
];

/// All tokens of a batch; the last is [`Tok::End`].
pub(crate) fn tokens(sql: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { sql, at: 0, line: 1 };
    let mut out = Vec::new();
    loop {
        lexer.skip_blank()?;
        let (start, line) = (lexer.at, lexer.line);
        let tok = lexer.next()?;
        let end = tok == Tok::End;
        out.push(Token { tok, line, start, end: lexer.at });
        if end {
            return Ok(out);
        }
    }
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        self.line += u32::from(c == '\n');
        Some(c)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        let text = rest.get(..len).unwrap_or_default();
        self.line += text.matches('\n').count() as u32;
        self.at += len;
        text
    }

    fn skip_blank(&mut self) -> Result<()> {
        loop {
            self.take_while(|c| c.is_whitespace() || c == '\u{feff}');
            if self.rest().starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                let line = self.line;
                self.at += 2;
                let mut depth = 1;
                while depth > 0 {
                    if self.rest().starts_with("/*") {
                        self.at += 2;
                        depth += 1;
                    } else if self.rest().starts_with("*/") {
                        self.at += 2;
                        depth -= 1;
                    } else if self.bump().is_none() {
                        return Err(SqlError::batch(113, "Missing end comment mark '*/'.").class(15).at_line(line));
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Tok> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Tok::End) };
        let second = rest.chars().nth(1);
        match first {
            '\'' => Ok(Tok::Text(self.quoted('\'')?, false)),
            'N' | 'n' if second == Some('\'') => {
                self.at += 1;
                Ok(Tok::Text(self.quoted('\'')?, true))
            }
            '[' => Ok(Tok::Quoted(self.quoted(']')?)),
            '"' => Ok(Tok::Quoted(self.quoted('"')?)),
            '@' => {
                let mut name = String::new();
                name.push_str(self.take_while(|c| c == '@'));
                name.push_str(self.take_while(is_word));
                Ok(Tok::Var(name))
            }
            '0' if matches!(second, Some('x' | 'X')) => {
                self.at += 2;
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
                let nibble = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
                Ok(Tok::Hex(
                    padded
                        .as_bytes()
                        .chunks_exact(2)
                        .map(|pair| match pair {
                            [high, low] => nibble(*high) << 4 | nibble(*low),
                            _ => 0,
                        })
                        .collect(),
                ))
            }
            c if c.is_ascii_digit() || (c == '.' && second.is_some_and(|d| d.is_ascii_digit())) => Ok(self.number()),
            '$' if second.is_some_and(|d| d.is_ascii_digit()) => {
                self.at += 1;
                Ok(match self.number() {
                    Tok::Number(n) => Tok::Number(format!("${n}")),
                    other => other,
                })
            }
            '$' if second.is_some_and(|c| c.is_ascii_alphabetic()) => {
                Ok(Tok::Word(self.take_while(is_word).to_owned()))
            }
            c if is_word_start(c) => Ok(Tok::Word(self.take_while(is_word).to_owned())),
            c => match OPS.iter().find(|op| rest.starts_with(**op)) {
                Some(op) => {
                    self.at += op.len();
                    Ok(Tok::Op(op))
                }
                None => Err(syntax(&c.to_string(), self.line)),
            },
        }
    }

    fn number(&mut self) -> Tok {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let mut chars = self.rest().chars();
        if matches!(chars.next(), Some('e' | 'E')) {
            let next = chars.next();
            let signed = matches!(next, Some('+' | '-'));
            let digit = if signed { chars.next() } else { next };
            if digit.is_none_or(|d| d.is_ascii_digit()) {
                self.at += 1 + usize::from(signed);
                self.take_while(|c| c.is_ascii_digit());
            }
        }
        Tok::Number(self.sql.get(start..self.at).unwrap_or_default().to_owned())
    }

    fn quoted(&mut self, close: char) -> Result<String> {
        let line = self.line;
        self.bump();
        let start = self.at;
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != close));
            if self.bump().is_none() {
                let shown: String = self.sql.get(start..).unwrap_or_default().chars().take(128).collect();
                return Err(SqlError::batch(
                    105,
                    format!("Unclosed quotation mark after the character string '{shown}'."),
                )
                .class(15)
                .at_line(line));
            }
            if !self.rest().starts_with(close) {
                return Ok(text);
            }
            self.bump();
            text.push(close);
        }
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '#')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '$' | '#')
}
