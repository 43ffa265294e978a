//! EXEC and BACKUP.

use super::super::ast::{Expr, StmtKind};
use super::super::error::{Result, syntax, unsupported};
use super::super::token::Tok;
use super::Parser;
use super::cursor::{begins_statement, is_reserved};

impl Parser<'_> {
    pub(super) fn exec_without_word(&mut self) -> Result<StmtKind> {
        // A batch may begin with the name of a procedure; what follows must look like its parameters.
        let procedure = matches!(
            (self.peek_at(1), self.peek_at(2)),
            (Tok::End | Tok::Op("." | ";") | Tok::Var(_) | Tok::Text(..) | Tok::Number(_) | Tok::Quoted(_), _)
        ) || matches!(self.peek_at(1), Tok::Word(w) if !is_reserved(w) || w.eq_ignore_ascii_case("NULL"));
        if !procedure {
            self.at += 1;
            return Err(self.unexpected());
        }
        self.exec_call(None)
    }

    pub(super) fn exec(&mut self) -> Result<StmtKind> {
        self.skip();
        if self.op("(") {
            let text = self.expr()?;
            self.expect_op(")")?;
            return Ok(StmtKind::ExecText(text));
        }
        let into = match self.peek().clone() {
            Tok::Var(v) if self.is_op_at(1, "=") => {
                self.skip();
                self.skip();
                Some(v)
            }
            _ => None,
        };
        self.exec_call(into)
    }

    fn exec_call(&mut self, into: Option<String>) -> Result<StmtKind> {
        let name = self.name()?;
        let mut args = Vec::new();
        loop {
            let named = match self.peek().clone() {
                Tok::Var(v) if self.is_op_at(1, "=") => {
                    self.skip();
                    self.skip();
                    Some(v)
                }
                Tok::Var(_) | Tok::Text(..) | Tok::Number(_) | Tok::Hex(_) | Tok::Op("-") => None,
                Tok::Word(w)
                    if args.is_empty()
                        && (is_reserved(&w) && !w.eq_ignore_ascii_case("NULL") || begins_statement(&w)) =>
                {
                    break;
                }
                Tok::Word(_) | Tok::Quoted(_) => None,
                _ => break,
            };
            // A bare word is a text.
            let value = match self.peek().clone() {
                Tok::Word(w) if !w.eq_ignore_ascii_case("NULL") && !w.eq_ignore_ascii_case("DEFAULT") => {
                    self.skip();
                    Expr::Text(w, true)
                }
                Tok::Quoted(w) => {
                    self.skip();
                    Expr::Text(w, true)
                }
                Tok::Word(w) if w.eq_ignore_ascii_case("DEFAULT") => {
                    return Err(unsupported("DEFAULT as a value of a parameter"));
                }
                _ => self.unary()?,
            };
            let output = self.word("OUTPUT") || self.word("OUT");
            args.push((named, value, output));
            if !self.op(",") {
                break;
            }
        }
        Ok(StmtKind::Exec { into, name, args })
    }

    pub(super) fn backup(&mut self) -> Result<StmtKind> {
        self.skip();
        let log = match () {
            () if self.word("DATABASE") => false,
            () if self.word("LOG") => true,
            () => return Err(self.unexpected()),
        };
        let database = self.ident()?;
        self.expect_word("TO")?;
        self.expect_word("DISK")?;
        self.expect_op("=")?;
        let path = self.primary()?;
        if self.is_op(",") {
            return Err(unsupported("BACKUP to more than one file"));
        }
        let mirror = match self.word("MIRROR") {
            true => {
                self.expect_word("TO")?;
                self.expect_word("DISK")?;
                self.expect_op("=")?;
                Some(self.primary()?)
            }
            false => None,
        };
        let (mut differential, mut overwrite) = (false, false);
        if self.word("WITH") {
            loop {
                let option = match self.next() {
                    Tok::Word(w) => w.to_ascii_uppercase(),
                    _ => return Err(self.unexpected()),
                };
                differential |= option == "DIFFERENTIAL";
                overwrite |= matches!(option.as_str(), "INIT" | "FORMAT");
                if matches!(option.as_str(), "COMPRESSION" | "COPY_ONLY" | "ENCRYPTION") {
                    return Err(unsupported(format!("BACKUP WITH {option}")));
                }
                if !is_backup_option(&option) {
                    return Err(syntax(&option, self.line()));
                }
                if self.op("=") {
                    self.primary()?;
                }
                if !self.op(",") {
                    break;
                }
            }
        }
        Ok(StmtKind::Backup { log, database, path, mirror, differential, overwrite })
    }
}

/// Options of BACKUP that are accepted; all but DIFFERENTIAL, INIT and FORMAT change nothing here: NOINIT is what goes without saying.
fn is_backup_option(word: &str) -> bool {
    matches!(
        word,
        "DIFFERENTIAL"
            | "INIT"
            | "NOINIT"
            | "FORMAT"
            | "NOFORMAT"
            | "SKIP"
            | "NOSKIP"
            | "CHECKSUM"
            | "NO_CHECKSUM"
            | "STOP_ON_ERROR"
            | "CONTINUE_AFTER_ERROR"
            | "NO_COMPRESSION"
            | "NAME"
            | "DESCRIPTION"
            | "MEDIANAME"
            | "MEDIADESCRIPTION"
            | "STATS"
            | "BUFFERCOUNT"
            | "MAXTRANSFERSIZE"
            | "BLOCKSIZE"
            | "RETAINDAYS"
            | "EXPIREDATE"
            | "REWIND"
            | "NOREWIND"
            | "UNLOAD"
            | "NOUNLOAD"
    )
}
