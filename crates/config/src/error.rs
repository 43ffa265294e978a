//! A mistake in a task's file, shown where it is.

use std::fmt;

use logferry_model::Fault;
use serde_saphyr::{Error as YamlError, Location};

use crate::secret::redact;

/// A mistake in a task's file. `Display` shows all of it, over several lines:
///
/// ```text
/// task.yaml:4:3: unknown key "fils"
///     4 |   fils: [a.bak]
///       |   ^^^^
///     expected one of: mode, files, database, set, log
///     did you mean "files"?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    place: Option<Box<Place>>,
    message: String,
    expected: Option<String>,
    hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: u64,
    column: u64,
    /// The line as it may be shown, and how many characters of it are marked.
    text: String,
    marked: usize,
}

impl ConfigError {
    /// A mistake of the whole file.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError { file: file.into(), place: None, message: message.into(), expected: None, hint: None }
    }

    /// Says what would have been right.
    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what to do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the place in the text.
    pub(crate) fn at(mut self, text: &str, location: Location) -> Self {
        if location == Location::UNKNOWN {
            return self;
        }
        let (line, column) = (location.line(), location.column());
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let source = text.lines().nth(index).unwrap_or_default();
        let before = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        let room = source.chars().count().saturating_sub(before);
        let span = usize::try_from(location.span().len()).unwrap_or(1);
        self.place = Some(Box::new(Place { line, column, text: redact(source), marked: span.min(room).max(1) }));
        self
    }

    /// What the parser says, in our words.
    pub(crate) fn of_yaml(file: &str, text: &str, error: &YamlError) -> Self {
        let new = |message: String| ConfigError::new(file, message);
        let told = match error.without_snippet() {
            YamlError::SerdeUnknownField { field, expected, .. } => {
                unknown(new(format!("unknown key \"{field}\"")), field, expected)
            }
            YamlError::SerdeUnknownVariant { variant, expected, .. } => {
                unknown(new(format!("\"{}\" is no such choice", redact(variant))), variant, expected)
            }
            YamlError::SerdeMissingField { field, .. } => new(format!("key \"{field}\" is missing here")),
            YamlError::DuplicateMappingKey { key, .. } => match key {
                Some(key) => new(format!("key \"{key}\" is given twice")),
                None => new("a key is given twice".to_owned()),
            },
            YamlError::InvalidScalar { ty, .. } => new("value is not of the right kind".to_owned()).expected(kind(ty)),
            YamlError::Unexpected { expected, .. } => {
                new("value is not of the right kind".to_owned()).expected(kind(expected))
            }
            YamlError::Eof { .. } => {
                new("the file ends too early".to_owned()).expected("a task: see config/minimal.yaml")
            }
            YamlError::MultipleDocuments { .. } => {
                new("a second document begins here".to_owned()).with_hint("write one task per file")
            }
            YamlError::Message { msg, .. } => new(redact(msg)),
            other => {
                // The library appends the place, which is told already.
                let said = other.to_string();
                let said = said.split(" at line ").next().unwrap_or_default();
                new(redact(said))
            }
        };
        match error.location() {
            Some(location) => told.at(text, location),
            None => told,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let before = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
            // Tabs are kept, so that the mark stands under its place.
            let lead: String = place.text.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n    {number} | {}", place.text)?;
            write!(f, "\n    {} | {lead}{}", " ".repeat(number.len()), "^".repeat(place.marked))?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n    expected {expected}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Fault {
        Fault::operator(error.to_string())
    }
}

fn unknown(error: ConfigError, given: &str, expected: &[&'static str]) -> ConfigError {
    let error = error.expected(format!("one of: {}", expected.join(", ")));
    match nearest(given, expected) {
        Some(near) => error.with_hint(format!("did you mean \"{near}\"?")),
        None => error,
    }
}

/// Words of the parser for what it wanted, in words of YAML.
fn kind(parser_words: &str) -> String {
    match parser_words {
        "sequence start" => "a list, like [a, b]".to_owned(),
        "mapping start" => "keys and values, indented under this one".to_owned(),
        "string scalar" => "a text".to_owned(),
        "bool" | "boolean" => "true or false".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        other => other.to_owned(),
    }
}

/// The candidate that is within a third of its length, in edits, of what was given.
fn nearest<'a>(given: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|c| (edits(given, c), *c))
        .filter(|(n, c)| *n <= (c.chars().count() / 3).max(1))
        .min()
        .map(|(_, c)| c)
}

/// Levenshtein's distance, with a swap of two neighbours as one edit.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let width = b.len() + 1;
    let mut d = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut n =
                    (d[(i - 1) * width + j] + 1).min(d[i * width + j - 1] + 1).min(d[(i - 1) * width + j - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    n = n.min(d[(i - 2) * width + j - 2] + 1);
                }
                n
            };
        }
    }
    d[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expect: Option<&str>) {
        assert_eq!(nearest(given, &["task", "source", "target", "tables", "types"]), expect, "{given}");
    }

    #[test]
    fn nearest_key() {
        check("tabels", Some("tables"));
        check("tables_", Some("tables"));
        check("sorce", Some("source"));
        check("tsak", Some("task"));
        check("completely", None);
        check("", None);
    }
}
