//! XML text to nodes.

use super::super::error::{Result, SqlError};
use super::Node;

/// Elements inside of elements: SQL Server ends with error 6335 as well.
const DEPTH_MAX: usize = 128;

/// An element that has begun: its name, its attributes, what it has so far.
type Open = (String, Vec<(String, String)>, Vec<Node>);

pub(super) fn document(text: &str, keep_space: bool) -> Result<Vec<Node>> {
    let mut reader = Reader { text, at: 0 };
    reader.declaration()?;
    let mut open: Vec<Open> = Vec::new();
    let mut top = Vec::new();
    loop {
        let list = match open.last_mut() {
            Some((.., children)) => children,
            None => &mut top,
        };
        let rest = reader.rest();
        if rest.is_empty() {
            return match open.is_empty() {
                true => Ok(top),
                false => Err(reader.wrong(9400, "unexpected end of input")),
            };
        }
        if rest.starts_with("<!--") {
            reader.at += 4;
            list.push(Node::Comment(reader.until("-->")?.to_owned()));
        } else if rest.starts_with("<![CDATA[") {
            reader.at += 9;
            let text = reader.until("]]>")?.to_owned();
            push_text(list, text);
        } else if rest.starts_with("<?") {
            reader.at += 2;
            let name = reader.name()?;
            let text = reader.until("?>")?.trim_start().to_owned();
            list.push(Node::Instruction(name, text));
        } else if rest.starts_with("<!") {
            return Err(reader.wrong(6359, "parsing XML with internal subset DTDs is not allowed"));
        } else if rest.starts_with("</") {
            reader.at += 2;
            let name = reader.name()?;
            reader.space();
            reader.expect(">")?;
            let Some((begun, attributes, children)) = open.pop() else {
                return Err(reader.wrong(9436, "end tag does not match start tag"));
            };
            if begun != name {
                return Err(reader.wrong(9436, "end tag does not match start tag"));
            }
            let element = Node::Element { name, attributes, children };
            match open.last_mut() {
                Some((.., outer)) => outer.push(element),
                None => top.push(element),
            }
        } else if rest.starts_with('<') {
            reader.at += 1;
            let name = reader.name()?;
            let attributes = reader.attributes()?;
            if reader.take("/>") {
                list.push(Node::Element { name, attributes, children: Vec::new() });
            } else {
                reader.expect(">")?;
                if open.len() >= DEPTH_MAX {
                    return Err(SqlError::new(6335, "XML datatype instance has too many levels of nested nodes."));
                }
                open.push((name, attributes, Vec::new()));
            }
        } else {
            let raw = rest.split('<').next().unwrap_or_default();
            let text = reader.resolved(raw)?;
            reader.at += raw.len();
            if keep_space || !text.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
                push_text(list, text);
            }
        }
    }
}

fn push_text(list: &mut Vec<Node>, more: String) {
    match list.last_mut() {
        Some(Node::Text(text)) => text.push_str(&more),
        _ => list.push(Node::Text(more)),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, number: i32, what: &str) -> SqlError {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let character = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        SqlError::new(number, format!("XML parsing: line {line}, character {character}, {what}"))
    }

    fn take(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn expect(&mut self, what: &str) -> Result<()> {
        match self.take(what) {
            true => Ok(()),
            false if self.rest().is_empty() => Err(self.wrong(9400, "unexpected end of input")),
            false => Err(self.wrong(9455, "illegal qualified name character")),
        }
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn until(&mut self, end: &str) -> Result<&'a str> {
        let rest = self.rest();
        let Some(len) = rest.find(end) else {
            self.at = self.text.len();
            return Err(self.wrong(9400, "unexpected end of input"));
        };
        self.at += len + end.len();
        Ok(rest.get(..len).unwrap_or_default())
    }

    fn declaration(&mut self) -> Result<()> {
        self.take("\u{feff}");
        if self.rest().starts_with("<?xml") && self.rest().as_bytes().get(5).is_some_and(u8::is_ascii_whitespace) {
            self.until("?>")?;
        }
        Ok(())
    }

    fn name(&mut self) -> Result<String> {
        let rest = self.rest();
        let first = |c: char| c.is_alphabetic() || c == '_';
        let later = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '\u{b7}');
        if !rest.starts_with(first) {
            return Err(match rest.is_empty() {
                true => self.wrong(9400, "unexpected end of input"),
                false => self.wrong(9455, "illegal qualified name character"),
            });
        }
        let len = rest.find(|c| !later(c)).unwrap_or(rest.len());
        self.at += len;
        Ok(rest.get(..len).unwrap_or_default().to_owned())
    }

    fn attributes(&mut self) -> Result<Vec<(String, String)>> {
        let mut out: Vec<(String, String)> = Vec::new();
        loop {
            let before = self.at;
            self.space();
            if self.rest().starts_with(['>', '/']) || self.rest().is_empty() {
                return Ok(out);
            }
            if before == self.at {
                return Err(self.wrong(9410, "whitespace expected"));
            }
            let name = self.name()?;
            self.space();
            self.expect("=")?;
            self.space();
            let quote = match () {
                () if self.take("\"") => "\"",
                () if self.take("'") => "'",
                () => return Err(self.wrong(9413, "A string literal was expected")),
            };
            let raw = self.until(quote)?;
            let value = self.resolved(raw)?;
            if out.iter().any(|(n, _)| *n == name) {
                return Err(self.wrong(9437, "duplicate attribute"));
            }
            out.push((name, value));
        }
    }

    /// Text with its references resolved.
    fn resolved(&self, raw: &str) -> Result<String> {
        let (mut out, mut rest) = (String::new(), raw);
        while let Some(at) = rest.find('&') {
            out.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
            let (name, after) = rest.split_once(';').ok_or_else(|| self.wrong(9411, "semicolon expected"))?;
            let number = match name.strip_prefix('#') {
                Some(hex) if hex.starts_with('x') => u32::from_str_radix(hex.get(1..).unwrap_or_default(), 16).ok(),
                Some(digits) => digits.parse().ok(),
                None => None,
            };
            out.push(match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => number
                    .and_then(char::from_u32)
                    .filter(|c| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}'))
                    .ok_or_else(|| self.wrong(9448, "well formed check: undeclared entity"))?,
            });
            rest = after;
        }
        out.push_str(rest);
        Ok(out.replace("\r\n", "\n"))
    }
}
