//! Where the parser stands: tokens one by one, words, names, what is wrong with the next one.

use super::super::ast::Name;
use super::super::error::{Result, syntax};
use super::super::token::Tok;
use super::Parser;

/// Words that are never a name or an alias without brackets, in their order.
const RESERVED: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BACKUP",
    "BEGIN",
    "BETWEEN",
    "BREAK",
    "BULK",
    "BY",
    "CASCADE",
    "CASE",
    "CHECK",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTERED",
    "COLLATE",
    "COLUMN",
    "COMMIT",
    "CONSTRAINT",
    "CONTINUE",
    "CREATE",
    "CROSS",
    "CURRENT",
    "CURSOR",
    "DATABASE",
    "DEALLOCATE",
    "DECLARE",
    "DEFAULT",
    "DELETE",
    "DENY",
    "DESC",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "ERRLVL",
    "ESCAPE",
    "EXCEPT",
    "EXEC",
    "EXECUTE",
    "EXISTS",
    "FETCH",
    "FOR",
    "FOREIGN",
    "FROM",
    "FULL",
    "FUNCTION",
    "GO",
    "GOTO",
    "GRANT",
    "GROUP",
    "HAVING",
    "HOLDLOCK",
    "IDENTITY_INSERT",
    "IF",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "KILL",
    "LEFT",
    "LIKE",
    "MERGE",
    "NOCHECK",
    "NONCLUSTERED",
    "NOT",
    "NULL",
    "OF",
    "OFF",
    "ON",
    "OPEN",
    "OPTION",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PERCENT",
    "PIVOT",
    "PLAN",
    "PRIMARY",
    "PRINT",
    "PROC",
    "PROCEDURE",
    "RAISERROR",
    "REFERENCES",
    "RESTORE",
    "RETURN",
    "REVERT",
    "REVOKE",
    "RIGHT",
    "ROLLBACK",
    "SAVE",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHUTDOWN",
    "SOME",
    "TABLE",
    "THEN",
    "TO",
    "TOP",
    "TRAN",
    "TRANSACTION",
    "TRIGGER",
    "TRUNCATE",
    "UNION",
    "UNIQUE",
    "UNPIVOT",
    "UPDATE",
    "USE",
    "VALUES",
    "VIEW",
    "WAITFOR",
    "WHEN",
    "WHERE",
    "WHILE",
    "WITH",
];

impl Parser<'_> {
    pub(super) fn peek(&self) -> &Tok {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Tok {
        self.tokens.get(self.at + ahead).map_or(&Tok::End, |t| &t.tok)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line)
    }

    pub(super) fn next(&mut self) -> Tok {
        let tok = self.peek().clone();
        self.skip();
        tok
    }

    /// The same, of a token that was looked at.
    pub(super) fn skip(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    pub(super) fn start_of(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(self.sql.len(), |t| t.start)
    }

    /// What was written from a token on up to the one before this one.
    pub(super) fn text_since(&self, from: usize) -> String {
        let end = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(self.sql.len(), |t| t.end);
        self.sql.get(self.start_of(from)..end).unwrap_or_default().to_owned()
    }

    pub(super) fn unexpected(&self) -> super::super::error::SqlError {
        if let Tok::Word(w) = self.peek()
            && is_reserved(w)
        {
            return super::super::error::SqlError::batch(156, format!("Incorrect syntax near the keyword '{w}'."))
                .class(15)
                .at_line(self.line());
        }
        syntax(&self.near(), self.line())
    }

    /// The word that a message names: the one that is here, or the last one.
    pub(super) fn near(&self) -> String {
        match self.peek() {
            Tok::End => {
                let last = self.tokens.iter().rev().find(|t| t.tok != Tok::End);
                if let Some(Tok::Text(text, _)) = last.map(|t| &t.tok) {
                    return text.clone();
                }
                last.and_then(|t| self.sql.get(t.start..t.end)).unwrap_or_default().to_owned()
            }
            Tok::Word(w) | Tok::Quoted(w) | Tok::Var(w) | Tok::Number(w) => w.clone(),
            Tok::Text(t, _) => t.clone(),
            Tok::Op(op) => (*op).to_owned(),
            Tok::Hex(_) => "0x".to_owned(),
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub(super) fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Tok::Word(w) if w.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        self.is_op_at(0, op)
    }

    pub(super) fn is_op_at(&self, ahead: usize, op: &str) -> bool {
        matches!(self.peek_at(ahead), Tok::Op(o) if *o == op)
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.skip();
        }
        found
    }

    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, w)| self.is_word_at(n, w));
        if found {
            words.iter().for_each(|_| self.skip());
        }
        found
    }

    pub(super) fn op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.skip();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// One of these words has to be here.
    pub(super) fn one_of(&mut self, words: &[&str]) -> Result<()> {
        if words.iter().any(|word| self.word(word)) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.op(op) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A name of one part.
    pub(super) fn ident(&mut self) -> Result<String> {
        match self.peek() {
            Tok::Quoted(name) => {
                let name = name.clone();
                self.skip();
                Ok(name)
            }
            Tok::Word(word) if !is_reserved(word) => {
                let word = word.clone();
                self.skip();
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A name of one to four parts: `a..b` leaves the middle one empty.
    pub(super) fn name(&mut self) -> Result<Name> {
        let mut parts = vec![self.ident()?];
        while self.is_op(".") {
            self.skip();
            if self.is_op(".") {
                parts.push(String::new());
                continue;
            }
            // After a point even key words are names.
            parts.push(match self.peek().clone() {
                Tok::Word(w) => {
                    self.skip();
                    w
                }
                _ => self.ident()?,
            });
        }
        if parts.len() > 4 {
            return Err(self.unexpected());
        }
        Ok(parts)
    }

    pub(super) fn variable(&mut self) -> Result<String> {
        match self.peek().clone() {
            Tok::Var(v) => {
                self.skip();
                Ok(v)
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn ident_list(&mut self) -> Result<Vec<String>> {
        self.expect_op("(")?;
        let mut out = vec![self.ident()?];
        while self.op(",") {
            out.push(self.ident()?);
        }
        self.expect_op(")")?;
        Ok(out)
    }
}

pub(super) fn is_reserved(word: &str) -> bool {
    let upper = || word.bytes().map(|b| b.to_ascii_uppercase());
    RESERVED.binary_search_by(|r| r.bytes().cmp(upper())).is_ok()
}

pub(super) fn begins_statement(word: &str) -> bool {
    ["THROW", "DBCC", "RECONFIGURE"].iter().any(|r| r.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::{RESERVED, is_reserved};

    #[test]
    fn reserved_words_are_found_however_they_are_spelled() {
        for word in RESERVED {
            assert!(is_reserved(word) && is_reserved(&word.to_lowercase()), "{word}");
        }
        for word in ["", "A", "TO_", "SELEC", "SELECTS", "ZZ", "wherever"] {
            assert!(!is_reserved(word), "{word}");
        }
    }
}
