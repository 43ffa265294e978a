//! MERGE.

use super::super::ast::{Merge, MergeAction, MergeClause, MergeWhen, StmtKind};
use super::super::error::{Result, SqlError, unsupported};
use super::super::token::Tok;
use super::Parser;

impl Parser<'_> {
    pub(super) fn merge(&mut self) -> Result<StmtKind> {
        let line = self.line();
        self.skip();
        if self.is_word("TOP") {
            return Err(unsupported("MERGE TOP"));
        }
        self.word("INTO");
        let target = self.table_name()?;
        let locks = self.target_hints()?;
        let alias = match self.word("AS") {
            true => Some(self.ident()?),
            false if self.is_word("USING") => None,
            false => Some(self.ident()?),
        };
        self.expect_word("USING")?;
        let source = self.table_ref()?;
        self.expect_word("ON")?;
        let on = self.condition()?;
        let mut clauses = Vec::new();
        while self.word("WHEN") {
            let when = match () {
                () if self.word("MATCHED") => MergeWhen::Matched,
                () if self.words(&["NOT", "MATCHED", "BY", "SOURCE"]) => MergeWhen::NotInSource,
                () => {
                    self.expect_word("NOT")?;
                    self.expect_word("MATCHED")?;
                    self.words(&["BY", "TARGET"]);
                    MergeWhen::NotInTarget
                }
            };
            let test = if self.word("AND") { Some(self.condition()?) } else { None };
            self.expect_word("THEN")?;
            let action = match when {
                MergeWhen::NotInTarget => self.merge_insert()?,
                _ if self.word("DELETE") => MergeAction::Delete,
                _ => {
                    self.expect_word("UPDATE")?;
                    MergeAction::Update(self.sets()?)
                }
            };
            clauses.push(MergeClause { when, test, action });
        }
        if clauses.is_empty() {
            return Err(self.unexpected());
        }
        let mut output = self.output()?;
        output.merges = true;
        self.option_clause()?;
        if !self.is_op(";") {
            let message = "A MERGE statement must be terminated by a semi-colon (;).";
            return Err(SqlError::batch(10713, message).class(15).at_line(line));
        }
        Ok(StmtKind::Merge(Box::new(Merge { with: Vec::new(), target, locks, alias, source, on, clauses, output })))
    }

    fn merge_insert(&mut self) -> Result<MergeAction> {
        self.expect_word("INSERT")?;
        if self.words(&["DEFAULT", "VALUES"]) {
            return Err(unsupported("INSERT DEFAULT VALUES in MERGE"));
        }
        let columns = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
        self.expect_word("VALUES")?;
        self.expect_op("(")?;
        let mut values = Vec::new();
        loop {
            values.push(if self.word("DEFAULT") { None } else { Some(self.expr()?) });
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(MergeAction::Insert(columns, values))
    }

    /// `DBCC name (a, b) WITH options`
    pub(super) fn dbcc(&mut self) -> Result<StmtKind> {
        self.skip();
        let name = self.ident()?.to_ascii_uppercase();
        let mut args = Vec::new();
        if self.op("(") && !self.op(")") {
            loop {
                let negative = if self.op("-") { "-" } else { "" };
                args.push(match self.next() {
                    Tok::Word(w) | Tok::Quoted(w) | Tok::Text(w, _) => w,
                    Tok::Number(n) => format!("{negative}{n}"),
                    _ => return Err(self.unexpected()),
                });
                if !self.op(",") {
                    break;
                }
            }
            self.expect_op(")")?;
        }
        if self.word("WITH") {
            loop {
                self.ident()?;
                if !self.op(",") {
                    break;
                }
            }
        }
        Ok(StmtKind::Dbcc(name, args))
    }
}
