//! RAISERROR.

use logferry_model::SqlType;

use super::super::ast::Expr;
use super::super::error::{Result, SqlError};
use super::super::value::Value;
use super::{Flow, Out, Session};

impl Session {
    pub(super) fn raiserror(&mut self, args: &[Expr], options: &[String], line: u32, out: Out<'_>) -> Result<Flow> {
        let mut values = Vec::new();
        for e in args {
            values.push(self.evaluate(e)?);
        }
        let number_at = |at: usize| values.get(at).and_then(|(_, v): &(SqlType, Value)| v.as_int()).unwrap_or(0);
        let (number, format) = match values.first() {
            Some((_, Value::Int(n))) => {
                return Err(SqlError::batch(
                    18054,
                    format!(
                        "Error {n}, severity {}, state {} was raised, but no message with that error number was found in sys.messages.",
                        number_at(1),
                        number_at(2)
                    ),
                ));
            }
            Some((_, v)) => (50000, v.as_text().unwrap_or_default()),
            None => (50000, String::new()),
        };
        let mut rest = values.iter().skip(3);
        let mut message = String::new();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                message.push(c);
                continue;
            }
            let mut width = String::new();
            while let Some(d) =
                chars.next_if(|d| d.is_ascii_digit() || matches!(d, '-' | '.' | '*' | '#' | ' ' | '+' | 'l' | 'I'))
            {
                width.push(d);
            }
            match chars.next() {
                Some('%') => message.push('%'),
                Some(kind @ ('d' | 'i' | 's' | 'u' | 'x' | 'X' | 'o')) => {
                    let text = match rest.next() {
                        Some((_, Value::Int(n))) if kind == 'x' => format!("{n:x}"),
                        Some((_, Value::Int(n))) if kind == 'X' => format!("{n:X}"),
                        Some((_, Value::Int(n))) if kind == 'o' => format!("{n:o}"),
                        Some((_, Value::Int(n))) => n.to_string(),
                        Some((_, v)) => v.as_text().unwrap_or_else(|| "(null)".into()),
                        None => "(null)".into(),
                    };
                    message.push_str(&text);
                }
                Some(other) => message.push(other),
                None => message.push('%'),
            }
        }
        let class = number_at(1).clamp(0, 25) as u8;
        let error = SqlError { class, state: number_at(2).clamp(0, 255) as u8, line, ..SqlError::new(number, message) };
        if options.iter().any(|o| o == "SETERROR") {
            self.scalars.error = number;
        }
        if class <= 10 {
            out.info(&SqlError { number: 50000, ..error });
            return Ok(Flow::Next);
        }
        Err(error)
    }
}
