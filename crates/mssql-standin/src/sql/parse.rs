//! T-SQL to a tree.
//!
//! Written by hand: batches have no separators between statements, and errors must name the token and its line as
//! SQL Server does, which a parser of general SQL gives neither of.

mod ddl;
mod query;

use logferry_model::SqlType;

use super::ast::{BinOp, Delete, Expr, Insert, InsertSource, Name, Stmt, StmtKind, TableRef, Update};
use super::error::{Result, syntax, unsupported};
use super::token::{Tok, Token, tokens};

/// Nesting that is still parsed: SQL Server ends with error 191 as well.
const DEPTH_MAX: u32 = 200;

/// All statements of a batch.
pub(crate) fn parse(sql: &str) -> Result<Vec<Stmt>> {
    let mut p = Parser { sql, tokens: tokens(sql)?, at: 0, depth: 0 };
    let mut out = Vec::new();
    loop {
        while p.op(";") {}
        if p.peek() == &Tok::End {
            return Ok(out);
        }
        out.push(p.statement()?);
    }
}

/// A list of parameters as `sp_executesql` has it: `@a int, @b nvarchar(20) OUTPUT`.
pub(crate) fn parse_parameters(text: &str) -> Result<Vec<(String, SqlType)>> {
    let mut p = Parser { sql: text, tokens: tokens(text)?, at: 0, depth: 0 };
    let mut out = Vec::new();
    while p.peek() != &Tok::End {
        let name = p.variable()?;
        p.word("AS");
        let sql_type = p.data_type()?;
        if p.op("=") {
            p.expr()?;
        }
        let _ = p.word("OUTPUT") || p.word("OUT");
        out.push((name, sql_type));
        if !p.op(",") && p.peek() != &Tok::End {
            return Err(p.unexpected());
        }
    }
    Ok(out)
}

struct Parser<'a> {
    sql: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

/// Words that are never a name or an alias without brackets.
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
    fn peek(&self) -> &Tok {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &Tok {
        self.tokens.get(self.at + ahead).map_or(&Tok::End, |t| &t.tok)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line)
    }

    fn next(&mut self) -> Tok {
        let tok = self.peek().clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        tok
    }

    fn start_of(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(self.sql.len(), |t| t.start)
    }

    /// What was written from a token on up to the one before this one.
    fn text_since(&self, from: usize) -> String {
        let end = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(self.sql.len(), |t| t.end);
        self.sql.get(self.start_of(from)..end).unwrap_or_default().to_owned()
    }

    fn unexpected(&self) -> super::error::SqlError {
        let near = match self.peek() {
            Tok::End => {
                let last = self.tokens.iter().rev().find(|t| t.tok != Tok::End);
                return syntax(last.and_then(|t| self.sql.get(t.start..t.end)).unwrap_or_default(), self.line());
            }
            Tok::Word(w) | Tok::Quoted(w) | Tok::Var(w) | Tok::Number(w) => w.clone(),
            Tok::Text(t, _) => t.clone(),
            Tok::Op(op) => (*op).to_owned(),
            Tok::Hex(_) => "0x".to_owned(),
        };
        if let Tok::Word(w) = self.peek()
            && is_reserved(w)
        {
            return super::error::SqlError::batch(156, format!("Incorrect syntax near the keyword '{w}'."))
                .class(15)
                .at_line(self.line());
        }
        syntax(&near, self.line())
    }

    fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Tok::Word(w) if w.eq_ignore_ascii_case(word))
    }

    fn is_op(&self, op: &str) -> bool {
        self.is_op_at(0, op)
    }

    fn is_op_at(&self, ahead: usize, op: &str) -> bool {
        matches!(self.peek_at(ahead), Tok::Op(o) if *o == op)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, w)| self.is_word_at(n, w));
        if found {
            words.iter().for_each(|_| drop(self.next()));
        }
        found
    }

    fn op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.op(op) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// A name of one part.
    fn ident(&mut self) -> Result<String> {
        match self.peek() {
            Tok::Quoted(name) => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            Tok::Word(word) if !is_reserved(word) => {
                let word = word.clone();
                self.next();
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A name of one to four parts: `a..b` leaves the middle one empty.
    fn name(&mut self) -> Result<Name> {
        let mut parts = vec![self.ident()?];
        while self.is_op(".") {
            self.next();
            if self.is_op(".") {
                parts.push(String::new());
                continue;
            }
            // After a point even key words are names.
            parts.push(match self.peek().clone() {
                Tok::Word(w) => {
                    self.next();
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

    fn variable(&mut self) -> Result<String> {
        match self.peek().clone() {
            Tok::Var(v) => {
                self.next();
                Ok(v)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn ident_list(&mut self) -> Result<Vec<String>> {
        self.expect_op("(")?;
        let mut out = vec![self.ident()?];
        while self.op(",") {
            out.push(self.ident()?);
        }
        self.expect_op(")")?;
        Ok(out)
    }

    fn statement(&mut self) -> Result<Stmt> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(super::error::SqlError::batch(
                191,
                "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller queries.",
            )
            .class(15)
            .at_line(self.line()));
        }
        let line = self.line();
        let kind = self.statement_kind().map_err(|e| e.at_line(line))?;
        self.depth -= 1;
        Ok(Stmt { line, kind })
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
                self.next();
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
                self.next();
                let test = self.condition()?;
                let then = Box::new(self.statement()?);
                while self.is_op(";") && self.is_word_at(1, "ELSE") {
                    self.next();
                }
                let other = if self.word("ELSE") { Some(Box::new(self.statement()?)) } else { None };
                Ok(StmtKind::If { test, then, other })
            }
            "WHILE" => {
                self.next();
                Ok(StmtKind::While { test: self.condition()?, body: Box::new(self.statement()?) })
            }
            "BEGIN" => self.begin(),
            "BREAK" => self.only(StmtKind::Break),
            "CONTINUE" => self.only(StmtKind::Continue),
            "RETURN" => {
                self.next();
                let value = match self.peek() {
                    Tok::Number(_) | Tok::Var(_) | Tok::Op("(" | "-") => Some(self.expr()?),
                    _ => None,
                };
                Ok(StmtKind::Return(value))
            }
            "PRINT" => {
                self.next();
                Ok(StmtKind::Print(self.expr()?))
            }
            "RAISERROR" => self.raiserror(),
            "THROW" => {
                self.next();
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
                self.next();
                self.tran_word();
                self.tran_name()?;
                Ok(StmtKind::Commit)
            }
            "ROLLBACK" => {
                self.next();
                self.tran_word();
                Ok(StmtKind::Rollback(self.tran_name()?))
            }
            "SAVE" => {
                self.next();
                if !self.tran_word() {
                    return Err(self.unexpected());
                }
                self.tran_name()?.map(StmtKind::Save).ok_or_else(|| self.unexpected())
            }
            "USE" => {
                self.next();
                Ok(StmtKind::Use(self.ident()?))
            }
            "WAITFOR" => {
                self.next();
                if !self.word("DELAY") {
                    return Err(unsupported("WAITFOR TIME and WAITFOR of messages"));
                }
                Ok(StmtKind::WaitDelay(self.expr()?))
            }
            "EXEC" | "EXECUTE" => self.exec(),
            "CHECKPOINT" => self.only(StmtKind::Checkpoint),
            "MERGE" | "GRANT" | "REVOKE" | "DENY" | "RESTORE" | "KILL" | "BULK" | "DBCC" | "OPEN" | "FETCH"
            | "CLOSE" | "DEALLOCATE" | "GOTO" | "RECONFIGURE" | "SHUTDOWN" | "REVERT" | "ENABLE" | "DISABLE" => {
                Err(unsupported(format!("the statement {word}")))
            }
            _ if self.at == 0 => self.exec_without_word(),
            _ => Err(self.unexpected()),
        }
    }

    fn only(&mut self, kind: StmtKind) -> Result<StmtKind> {
        self.next();
        Ok(kind)
    }

    fn with_statement(&mut self) -> Result<StmtKind> {
        let with = self.with_list()?;
        if !self.is_word("SELECT") && !self.is_op("(") {
            return Err(unsupported("common table expressions before INSERT, UPDATE, DELETE or MERGE"));
        }
        let mut query = self.query()?;
        query.with = with;
        Ok(StmtKind::Select(Box::new(query)))
    }

    fn insert(&mut self) -> Result<StmtKind> {
        self.next();
        if self.is_word("TOP") {
            return Err(unsupported("INSERT TOP"));
        }
        if self.word("BULK") {
            return Err(unsupported("INSERT BULK"));
        }
        self.word("INTO");
        let table = self.name()?;
        self.hints()?;
        let columns = if self.is_op("(") && !self.is_word_at(1, "SELECT") { self.ident_list()? } else { Vec::new() };
        let output = self.output()?;
        let source = if self.words(&["DEFAULT", "VALUES"]) {
            InsertSource::Defaults
        } else if self.word("VALUES") {
            let mut rows = Vec::new();
            loop {
                self.expect_op("(")?;
                let mut row = Vec::new();
                loop {
                    row.push(if self.word("DEFAULT") { None } else { Some(self.expr()?) });
                    if !self.op(",") {
                        break;
                    }
                }
                self.expect_op(")")?;
                rows.push(row);
                if !self.op(",") {
                    break;
                }
            }
            InsertSource::Values(rows)
        } else if self.is_word("EXEC") || self.is_word("EXECUTE") {
            return Err(unsupported("INSERT ... EXEC"));
        } else if self.is_word("WITH") {
            let with = self.with_list()?;
            let mut query = self.query()?;
            query.with = with;
            InsertSource::Query(Box::new(query))
        } else {
            InsertSource::Query(Box::new(self.query()?))
        };
        Ok(StmtKind::Insert(Box::new(Insert { table, columns, output, source })))
    }

    fn output(&mut self) -> Result<Vec<super::ast::Item>> {
        if !self.word("OUTPUT") {
            return Ok(Vec::new());
        }
        let items = self.items()?;
        if self.is_word("INTO") {
            return Err(unsupported("OUTPUT INTO"));
        }
        Ok(items)
    }

    fn dml_top(&mut self) -> Result<Option<Expr>> {
        if !self.word("TOP") {
            return Ok(None);
        }
        let top = self.primary()?;
        if self.is_word("PERCENT") {
            return Err(unsupported("TOP ... PERCENT in UPDATE and DELETE"));
        }
        Ok(Some(top))
    }

    fn update(&mut self) -> Result<StmtKind> {
        self.next();
        if self.is_word("STATISTICS") {
            return Err(unsupported("UPDATE STATISTICS"));
        }
        let top = self.dml_top()?;
        let target = self.name()?;
        self.hints()?;
        self.expect_word("SET")?;
        let mut sets = Vec::new();
        loop {
            let column = match self.peek() {
                Tok::Var(_) => vec![self.variable()?],
                _ => self.name()?,
            };
            let op = self.assign_op()?;
            sets.push((column, op, if self.word("DEFAULT") { None } else { Some(self.expr()?) }));
            if !self.op(",") {
                break;
            }
        }
        let output = self.output()?;
        let from = if self.word("FROM") { self.table_refs()? } else { Vec::new() };
        let filter = self.filter()?;
        self.option_clause()?;
        Ok(StmtKind::Update(Box::new(Update { top, target, sets, output, from, filter })))
    }

    fn delete(&mut self) -> Result<StmtKind> {
        self.next();
        let top = self.dml_top()?;
        self.word("FROM");
        let target = self.name()?;
        self.hints()?;
        let output = self.output()?;
        let from = if self.word("FROM") { self.table_refs()? } else { Vec::new() };
        let filter = self.filter()?;
        self.option_clause()?;
        Ok(StmtKind::Delete(Box::new(Delete { top, target, output, from, filter })))
    }

    fn filter(&mut self) -> Result<Option<Expr>> {
        if !self.word("WHERE") {
            return Ok(None);
        }
        if self.words(&["CURRENT", "OF"]) {
            return Err(unsupported("cursors"));
        }
        Ok(Some(self.condition()?))
    }

    /// `=`, or one of `+=` and the like.
    fn assign_op(&mut self) -> Result<Option<BinOp>> {
        let op = match self.peek() {
            Tok::Op("=") => None,
            Tok::Op("+=") => Some(BinOp::Add),
            Tok::Op("-=") => Some(BinOp::Sub),
            Tok::Op("*=") => Some(BinOp::Mul),
            Tok::Op("/=") => Some(BinOp::Div),
            Tok::Op("%=") => Some(BinOp::Mod),
            Tok::Op("&=") => Some(BinOp::BitAnd),
            Tok::Op("|=") => Some(BinOp::BitOr),
            Tok::Op("^=") => Some(BinOp::BitXor),
            _ => return Err(self.unexpected()),
        };
        self.next();
        Ok(op)
    }

    fn declare(&mut self) -> Result<StmtKind> {
        self.next();
        let mut out = Vec::new();
        loop {
            if !matches!(self.peek(), Tok::Var(_)) && self.is_word_at(1, "CURSOR") {
                return Err(unsupported("cursors"));
            }
            let name = self.variable()?;
            self.word("AS");
            if self.is_word("TABLE") {
                return Err(unsupported("table variables"));
            }
            let sql_type = self.data_type()?;
            let value = if self.op("=") { Some(self.expr()?) } else { None };
            out.push((name, sql_type, value));
            if !self.op(",") {
                return Ok(StmtKind::Declare(out));
            }
        }
    }

    fn set(&mut self) -> Result<StmtKind> {
        self.next();
        if let Tok::Var(name) = self.peek().clone() {
            self.next();
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
            self.next();
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

    fn begin(&mut self) -> Result<StmtKind> {
        self.next();
        if self.is_word("DISTRIBUTED") {
            return Err(unsupported("distributed transactions"));
        }
        if self.tran_word() {
            let name = self.tran_name()?;
            if self.words(&["WITH", "MARK"]) && matches!(self.peek(), Tok::Text(..)) {
                self.next();
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
                self.next();
                Some(name)
            }
            Tok::Word(word) if !is_reserved(&word) && !begins_statement(&word) => {
                self.next();
                Some(word)
            }
            _ => None,
        })
    }

    fn raiserror(&mut self) -> Result<StmtKind> {
        self.next();
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

    fn exec_without_word(&mut self) -> Result<StmtKind> {
        // A batch may begin with the name of a procedure; what follows must look like its parameters.
        let procedure = matches!(
            (self.peek_at(1), self.peek_at(2)),
            (Tok::End | Tok::Op("." | ";") | Tok::Var(_) | Tok::Text(..) | Tok::Number(_), _)
        );
        if !procedure {
            self.at += 1;
            return Err(self.unexpected());
        }
        self.exec_call(None)
    }

    fn exec(&mut self) -> Result<StmtKind> {
        self.next();
        if self.op("(") {
            let text = self.expr()?;
            self.expect_op(")")?;
            return Ok(StmtKind::ExecText(text));
        }
        let into = match self.peek().clone() {
            Tok::Var(v) if self.is_op_at(1, "=") => {
                self.next();
                self.next();
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
                    self.next();
                    self.next();
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
                    self.next();
                    Expr::Text(w, true)
                }
                Tok::Quoted(w) => {
                    self.next();
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

    fn backup(&mut self) -> Result<StmtKind> {
        self.next();
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
        let mut differential = false;
        if self.word("WITH") {
            loop {
                let option = match self.next() {
                    Tok::Word(w) => w.to_ascii_uppercase(),
                    _ => return Err(self.unexpected()),
                };
                differential |= option == "DIFFERENTIAL";
                if matches!(option.as_str(), "COMPRESSION" | "COPY_ONLY" | "ENCRYPTION") {
                    return Err(unsupported(format!("BACKUP WITH {option}")));
                }
                if self.op("=") {
                    self.primary()?;
                }
                if !self.op(",") {
                    break;
                }
            }
        }
        Ok(StmtKind::Backup { log, database, path, differential })
    }

    /// `WITH (NOLOCK)`, `(NOLOCK)`: read and left aside.
    fn hints(&mut self) -> Result<()> {
        let with = self.is_word("WITH") && self.is_op_at(1, "(");
        let bare = self.is_op("(") && matches!(self.peek_at(1), Tok::Word(w) if is_hint(w)) && self.is_op_at(2, ")");
        if !with && !bare {
            return Ok(());
        }
        if with {
            self.next();
        }
        self.next();
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Tok::Op("(") => depth += 1,
                Tok::Op(")") => depth -= 1,
                Tok::Word(w) if depth == 1 && !is_hint(&w) => return Err(syntax(&w, self.line())),
                Tok::End => return Err(self.unexpected()),
                _ => {}
            }
        }
        Ok(())
    }

    /// `OPTION (...)`: read and left aside.
    fn option_clause(&mut self) -> Result<()> {
        if !self.word("OPTION") {
            return Ok(());
        }
        self.expect_op("(")?;
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Tok::Op("(") => depth += 1,
                Tok::Op(")") => depth -= 1,
                Tok::End => return Err(self.unexpected()),
                _ => {}
            }
        }
        Ok(())
    }

    fn table_refs(&mut self) -> Result<Vec<TableRef>> {
        let mut out = vec![self.table_ref()?];
        while self.op(",") {
            out.push(self.table_ref()?);
        }
        Ok(out)
    }
}

fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|r| r.eq_ignore_ascii_case(word))
}

fn begins_statement(word: &str) -> bool {
    ["THROW", "DBCC", "RECONFIGURE"].iter().any(|r| r.eq_ignore_ascii_case(word))
}

fn is_hint(word: &str) -> bool {
    [
        "NOLOCK",
        "READUNCOMMITTED",
        "READCOMMITTED",
        "READCOMMITTEDLOCK",
        "REPEATABLEREAD",
        "SERIALIZABLE",
        "SNAPSHOT",
        "HOLDLOCK",
        "ROWLOCK",
        "PAGLOCK",
        "TABLOCK",
        "TABLOCKX",
        "UPDLOCK",
        "XLOCK",
        "NOWAIT",
        "READPAST",
        "INDEX",
        "FORCESEEK",
        "FORCESCAN",
        "NOEXPAND",
        "KEEPIDENTITY",
        "KEEPDEFAULTS",
        "IGNORE_CONSTRAINTS",
        "IGNORE_TRIGGERS",
    ]
    .iter()
    .any(|h| h.eq_ignore_ascii_case(word))
}
