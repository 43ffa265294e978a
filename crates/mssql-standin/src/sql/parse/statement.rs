//! Which statement a word begins; control of flow and transactions.

use super::super::ast::{Stmt, StmtKind};
use super::super::error::{Result, syntax, unsupported};
use super::super::token::Tok;
use super::cursor::{begins_statement, is_reserved};
use super::{DEPTH_MAX, Parser};

impl Parser<'_> {
    pub(super) fn statement(&mut self) -> Result<Stmt> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(super::super::error::SqlError::batch(
                191,
                "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller queries.",
            )
            .class(15)
            .at_line(self.line()));
        }
        let (line, from) = (self.line(), self.at);
        let kind = self.statement_kind().map_err(|e| e.at_line(line))?;
        let kind = self.missing.take().map_or(kind, StmtKind::Fails);
        self.depth -= 1;
        let text = match kind {
            StmtKind::AlterTable(..)
            | StmtKind::CreateTable(_)
            | StmtKind::DropTable { .. }
            | StmtKind::CreateIndex(..)
            | StmtKind::AlterIndex { .. }
            | StmtKind::DropIndex { .. }
            | StmtKind::CreateSchema(_)
            | StmtKind::DefineModule(_)
            | StmtKind::DropModule { .. }
            | StmtKind::DefineTrigger(_)
            | StmtKind::DropTrigger { .. }
            | StmtKind::Exec { .. } => self.text_since(from),
            _ => String::new(),
        };
        Ok(Stmt { line, kind, text })
    }

    fn statement_kind(&mut self) -> Result<StmtKind> {
        let word = match self.peek() {
            Tok::Word(w) => w.to_ascii_uppercase(),
            Tok::Op("(") => return Ok(StmtKind::Select(Box::new(self.query()?))),
            Tok::Quoted(_) if self.at == 0 => return self.exec_without_word(),
            _ => return Err(self.unexpected()),
        };
        match word.as_str() {
            "SELECT" => Ok(StmtKind::Select(Box::new(self.query()?))),
            "WITH" => self.with_statement(),
            "INSERT" => self.insert(),
            "UPDATE" => self.update(),
            "DELETE" => self.delete(),
            "TRUNCATE" => {
                self.skip();
                self.expect_word("TABLE")?;
                Ok(StmtKind::Truncate(self.name()?))
            }
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "ALTER" => self.alter(),
            "BACKUP" => self.backup(),
            "DECLARE" => self.declare(),
            "SET" => self.set(),
            "IF" => {
                self.skip();
                let test = self.condition()?;
                let then = Box::new(self.statement()?);
                while self.is_op(";") && self.is_word_at(1, "ELSE") {
                    self.skip();
                }
                let other = if self.word("ELSE") { Some(Box::new(self.statement()?)) } else { None };
                Ok(StmtKind::If { test, then, other })
            }
            "WHILE" => {
                self.skip();
                Ok(StmtKind::While { test: self.condition()?, body: Box::new(self.statement()?) })
            }
            "BEGIN" => self.begin(),
            "BREAK" => self.only(StmtKind::Break),
            "CONTINUE" => self.only(StmtKind::Continue),
            "RETURN" => {
                self.skip();
                let value = match self.peek() {
                    Tok::Number(_) | Tok::Var(_) | Tok::Op("(" | "-") => Some(self.expr()?),
                    _ => None,
                };
                Ok(StmtKind::Return(value))
            }
            "PRINT" => {
                self.skip();
                Ok(StmtKind::Print(self.expr()?))
            }
            "RAISERROR" => self.raiserror(),
            "THROW" => {
                self.skip();
                let mut args = Vec::new();
                if !matches!(self.peek(), Tok::End | Tok::Op(";")) && !self.is_word("END") {
                    args.push(self.expr()?);
                    for _ in 0..2 {
                        self.expect_op(",")?;
                        args.push(self.expr()?);
                    }
                }
                Ok(StmtKind::Throw(args))
            }
            "COMMIT" => {
                self.skip();
                self.tran_word();
                self.tran_name()?;
                Ok(StmtKind::Commit)
            }
            "ROLLBACK" => {
                self.skip();
                self.tran_word();
                Ok(StmtKind::Rollback(self.tran_name()?))
            }
            "SAVE" => {
                self.skip();
                if !self.tran_word() {
                    return Err(self.unexpected());
                }
                self.tran_name()?.map(StmtKind::Save).ok_or_else(|| self.unexpected())
            }
            "USE" => {
                self.skip();
                Ok(StmtKind::Use(self.ident()?))
            }
            "WAITFOR" => {
                self.skip();
                if !self.is_word("DELAY") && !self.is_word("TIME") && !self.is_op("(") {
                    return Err(self.unexpected());
                }
                if !self.word("DELAY") {
                    return Err(unsupported("WAITFOR TIME and WAITFOR of messages"));
                }
                Ok(StmtKind::WaitDelay(self.expr()?))
            }
            "EXEC" | "EXECUTE" => self.exec(),
            "MERGE" => self.merge(),
            "DBCC" => self.dbcc(),
            "CHECKPOINT" => self.only(StmtKind::Checkpoint),
            "ENABLE" | "DISABLE" => {
                self.skip();
                self.switch_trigger(word == "ENABLE")
            }
            "GRANT" | "REVOKE" | "DENY" | "RESTORE" | "KILL" | "BULK" | "OPEN" | "FETCH" | "CLOSE" | "DEALLOCATE"
            | "GOTO" | "RECONFIGURE" | "SHUTDOWN" | "REVERT" => Err(unsupported(format!("the statement {word}"))),
            _ if self.at == 0 && !is_reserved(&word) => self.exec_without_word(),
            _ => Err(self.unexpected()),
        }
    }

    fn only(&mut self, kind: StmtKind) -> Result<StmtKind> {
        self.skip();
        Ok(kind)
    }

    fn with_statement(&mut self) -> Result<StmtKind> {
        let with = self.with_list()?;
        Ok(match self.peek() {
            Tok::Word(w) if w.eq_ignore_ascii_case("INSERT") => {
                let mut kind = self.insert()?;
                if let StmtKind::Insert(insert) = &mut kind
                    && let super::super::ast::InsertSource::Query(query) = &mut insert.source
                {
                    query.with = with;
                }
                kind
            }
            Tok::Word(w) if w.eq_ignore_ascii_case("UPDATE") => {
                let mut kind = self.update()?;
                if let StmtKind::Update(update) = &mut kind {
                    update.with = with;
                }
                kind
            }
            Tok::Word(w) if w.eq_ignore_ascii_case("MERGE") => {
                let mut kind = self.merge()?;
                if let StmtKind::Merge(merge) = &mut kind {
                    merge.with = with;
                }
                kind
            }
            Tok::Word(w) if w.eq_ignore_ascii_case("DELETE") => {
                let mut kind = self.delete()?;
                if let StmtKind::Delete(delete) = &mut kind {
                    delete.with = with;
                }
                kind
            }
            _ => {
                let mut query = self.query()?;
                query.with = with;
                StmtKind::Select(Box::new(query))
            }
        })
    }

    fn declare(&mut self) -> Result<StmtKind> {
        self.skip();
        let mut out = Vec::new();
        loop {
            if !matches!(self.peek(), Tok::Var(_)) && self.is_word_at(1, "CURSOR") {
                return Err(unsupported("cursors"));
            }
            let name = self.variable()?;
            self.word("AS");
            if self.is_word("TABLE") {
                self.skip();
                return self.table_of(vec![name]).map(|table| StmtKind::DeclareTable(Box::new(table)));
            }
            let begin = self.at;
            let sql_type = match self.data_type() {
                // It may be a type of tables.
                Err(e) if e.number == 2715 && out.is_empty() => {
                    self.at = begin;
                    return Ok(StmtKind::DeclareOf(name, self.name()?));
                }
                other => other?,
            };
            let value = if self.op("=") { Some(self.expr()?) } else { None };
            out.push((name, sql_type, value));
            if !self.op(",") {
                return Ok(StmtKind::Declare(out));
            }
        }
    }

    fn set(&mut self) -> Result<StmtKind> {
        self.skip();
        if let Tok::Var(name) = self.peek().clone() {
            self.skip();
            let op = self.assign_op()?;
            return Ok(StmtKind::SetVar { name, op, value: self.expr()? });
        }
        let mut words = Vec::new();
        // An option and what it is set to end with a word that begins no statement.
        loop {
            match self.peek().clone() {
                Tok::Word(w) | Tok::Quoted(w) => words.push(w.to_ascii_uppercase()),
                Tok::Number(n) => words.push(n),
                Tok::Var(v) => words.push(v),
                Tok::Text(t, _) => words.push(t),
                Tok::Op(op @ ("," | "-" | ".")) => words.push(op.to_owned()),
                _ => break,
            }
            self.skip();
            let last = words.last().map(String::as_str).unwrap_or_default();
            let isolation = words.first().is_some_and(|w| w == "TRANSACTION");
            let done = match isolation {
                true => {
                    matches!(last, "COMMITTED" | "UNCOMMITTED" | "SNAPSHOT" | "SERIALIZABLE")
                        || last == "READ" && words.len() > 4
                }
                false => {
                    matches!(last, "ON" | "OFF")
                        || words.len() >= 2
                            && !words.iter().any(|w| w == ",")
                            && last != "-"
                            && !self.is_op(",")
                            && !self.is_op(".")
                            && words.first().is_some_and(|w| !matches!(w.as_str(), "IDENTITY_INSERT" | "STATISTICS"))
                }
            };
            if done {
                break;
            }
        }
        match words.first() {
            Some(_) if words.len() > 1 => Ok(StmtKind::SetOption(words)),
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn begin(&mut self) -> Result<StmtKind> {
        self.skip();
        if self.is_word("DISTRIBUTED") {
            return Err(unsupported("distributed transactions"));
        }
        if self.tran_word() {
            let name = self.tran_name()?;
            if self.words(&["WITH", "MARK"]) && matches!(self.peek(), Tok::Text(..)) {
                self.skip();
            }
            return Ok(StmtKind::Begin(name));
        }
        if self.word("TRY") {
            let body = self.block(&["END", "TRY"])?;
            while self.op(";") {}
            if !self.words(&["BEGIN", "CATCH"]) {
                return Err(self.unexpected());
            }
            let handler = self.block(&["END", "CATCH"])?;
            return Ok(StmtKind::TryCatch { body, handler });
        }
        if self.is_word("END") {
            return Err(syntax("END", self.line()));
        }
        Ok(StmtKind::Block(self.block(&["END"])?))
    }

    fn block(&mut self, end: &[&str]) -> Result<Vec<Stmt>> {
        let mut out = Vec::new();
        loop {
            while self.op(";") {}
            if self.words(end) {
                return Ok(out);
            }
            if self.peek() == &Tok::End {
                return Err(self.unexpected());
            }
            out.push(self.statement()?);
        }
    }

    fn tran_word(&mut self) -> bool {
        self.word("TRANSACTION") || self.word("TRAN") || self.word("WORK")
    }

    /// A name, or a variable as it was written.
    fn tran_name(&mut self) -> Result<Option<String>> {
        Ok(match self.peek().clone() {
            Tok::Var(name) | Tok::Quoted(name) => {
                self.skip();
                Some(name)
            }
            Tok::Word(word) if !is_reserved(&word) && !begins_statement(&word) => {
                self.skip();
                Some(word)
            }
            _ => None,
        })
    }

    fn raiserror(&mut self) -> Result<StmtKind> {
        self.skip();
        self.expect_op("(")?;
        let mut args = vec![self.expr()?];
        while self.op(",") {
            args.push(self.expr()?);
        }
        self.expect_op(")")?;
        let mut options = Vec::new();
        if self.word("WITH") {
            loop {
                options.push(self.ident()?.to_ascii_uppercase());
                if !self.op(",") {
                    break;
                }
            }
        }
        match args.len() {
            3.. => Ok(StmtKind::RaisError { args, options }),
            _ => Err(self.unexpected()),
        }
    }
}
