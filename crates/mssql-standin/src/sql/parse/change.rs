//! INSERT, UPDATE, DELETE, and the hints of all statements.

use super::super::ast::{
    BinOp, BulkOptions, Delete, Expr, Hold, Insert, InsertBulk, InsertSource, Locks, Name, Output, StmtKind, TableRef,
    Update,
};
use super::super::error::{Result, SqlError, unsupported};
use super::super::token::Tok;
use super::Parser;
use super::option::{Place, is_accepted};

impl Parser<'_> {
    pub(super) fn insert(&mut self) -> Result<StmtKind> {
        self.skip();
        if self.is_word("TOP") {
            return Err(unsupported("INSERT TOP"));
        }
        if self.word("BULK") {
            return self.insert_bulk();
        }
        self.word("INTO");
        let table = self.table_name()?;
        let locks = self.target_hints()?;
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
            let exec = self.statement()?;
            let source = InsertSource::Defaults;
            return Ok(StmtKind::InsertExec(
                Box::new(Insert { table, locks, columns, output, source }),
                Box::new(exec),
            ));
        } else if self.is_word("WITH") {
            let with = self.with_list()?;
            let mut query = self.query()?;
            query.with = with;
            InsertSource::Query(Box::new(query))
        } else {
            InsertSource::Query(Box::new(self.query()?))
        };
        Ok(StmtKind::Insert(Box::new(Insert { table, locks, columns, output, source })))
    }

    /// What follows `INSERT BULK`.
    fn insert_bulk(&mut self) -> Result<StmtKind> {
        let table = self.name()?;
        let mut columns = Vec::new();
        if self.op("(") {
            loop {
                columns.push(self.ident()?);
                self.data_type()?;
                if self.word("COLLATE") {
                    self.ident()?;
                }
                self.words(&["NOT", "NULL"]);
                self.word("NULL");
                if !self.op(",") {
                    break;
                }
            }
            self.expect_op(")")?;
        }
        let mut options = BulkOptions::default();
        if self.word("WITH") {
            self.expect_op("(")?;
            loop {
                match self.ident()?.to_ascii_uppercase().as_str() {
                    "CHECK_CONSTRAINTS" => options.checks = true,
                    "FIRE_TRIGGERS" => options.triggers = true,
                    "KEEP_NULLS" => options.keep_nulls = true,
                    "TABLOCK" => options.whole = true,
                    "ROWS_PER_BATCH" | "KILOBYTES_PER_BATCH" => {
                        self.expect_op("=")?;
                        self.skip();
                    }
                    "ORDER" => self.skip_parentheses()?,
                    _ => return Err(self.unexpected()),
                }
                if !self.op(",") {
                    break;
                }
            }
            self.expect_op(")")?;
        }
        Ok(StmtKind::InsertBulk(Box::new(InsertBulk { table, columns, options })))
    }

    /// Parentheses with whatever is in them.
    pub(super) fn skip_parentheses(&mut self) -> Result<()> {
        self.expect_op("(")?;
        let mut open = 1;
        while open > 0 {
            match self.peek() {
                Tok::End => return Err(self.unexpected()),
                Tok::Op("(") => open += 1,
                Tok::Op(")") => open -= 1,
                _ => {}
            }
            self.skip();
        }
        Ok(())
    }

    /// A table, or a variable that is one.
    pub(super) fn table_name(&mut self) -> Result<Name> {
        match self.peek() {
            Tok::Var(_) => Ok(vec![self.variable()?]),
            _ => self.name(),
        }
    }

    pub(super) fn output(&mut self) -> Result<Output> {
        let mut output = Output::default();
        if !self.word("OUTPUT") {
            return Ok(output);
        }
        output.items = self.items()?;
        if self.word("INTO") {
            let table = self.table_name()?;
            let columns = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
            output.into = Some((table, columns));
            if self.is_word("OUTPUT") {
                return Err(unsupported("OUTPUT beside OUTPUT INTO"));
            }
        }
        Ok(output)
    }

    fn dml_top(&mut self) -> Result<Option<Expr>> {
        if !self.word("TOP") {
            return Ok(None);
        }
        // Of constants, without parentheses only as it once was.
        if !matches!(self.peek(), Tok::Op("(") | Tok::Number(_)) {
            return Err(self.unexpected());
        }
        let top = self.primary()?;
        if self.is_word("PERCENT") {
            return Err(unsupported("TOP ... PERCENT in UPDATE and DELETE"));
        }
        Ok(Some(top))
    }

    pub(super) fn update(&mut self) -> Result<StmtKind> {
        self.skip();
        if self.is_word("STATISTICS") {
            return Err(unsupported("UPDATE STATISTICS"));
        }
        let top = self.dml_top()?;
        let target = self.table_name()?;
        let locks = self.target_hints()?;
        let sets = self.sets()?;
        let output = self.output()?;
        let from = if self.word("FROM") { self.table_refs()? } else { Vec::new() };
        let filter = self.filter()?;
        self.option_clause()?;
        Ok(StmtKind::Update(Box::new(Update { with: Vec::new(), top, target, locks, sets, output, from, filter })))
    }

    /// `SET a = 1, b += 2, c = DEFAULT`
    #[allow(clippy::type_complexity)]
    pub(super) fn sets(&mut self) -> Result<Vec<(Name, Option<BinOp>, Option<Expr>)>> {
        self.expect_word("SET")?;
        let mut sets = Vec::new();
        loop {
            let column = self.table_name()?;
            let op = self.assign_op()?;
            sets.push((column, op, if self.word("DEFAULT") { None } else { Some(self.expr()?) }));
            if !self.op(",") {
                return Ok(sets);
            }
        }
    }

    pub(super) fn delete(&mut self) -> Result<StmtKind> {
        self.skip();
        let top = self.dml_top()?;
        self.word("FROM");
        let target = self.table_name()?;
        let locks = self.target_hints()?;
        let output = self.output()?;
        let from = if self.word("FROM") { self.table_refs()? } else { Vec::new() };
        let filter = self.filter()?;
        self.option_clause()?;
        Ok(StmtKind::Delete(Box::new(Delete { with: Vec::new(), top, target, locks, output, from, filter })))
    }

    pub(super) fn filter(&mut self) -> Result<Option<Expr>> {
        if !self.word("WHERE") {
            return Ok(None);
        }
        if self.words(&["CURRENT", "OF"]) {
            return Err(unsupported("cursors"));
        }
        Ok(Some(self.condition()?))
    }

    /// `=`, or one of `+=` and the like.
    pub(super) fn assign_op(&mut self) -> Result<Option<BinOp>> {
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
        self.skip();
        Ok(op)
    }

    /// The hints of a table that is changed.
    pub(super) fn target_hints(&mut self) -> Result<Locks> {
        let line = self.line();
        let locks = self.hints()?;
        if locks.none {
            let message = "The NOLOCK and READUNCOMMITTED lock hints are not allowed for target tables of INSERT, UPDATE, DELETE or MERGE statements.";
            return Err(SqlError::batch(1065, message).class(15).at_line(line));
        }
        Ok(locks)
    }

    /// `WITH (NOLOCK)`, `(NOLOCK)`: what they say of locks.
    pub(super) fn hints(&mut self) -> Result<Locks> {
        let with = self.is_word("WITH") && self.is_op_at(1, "(");
        let bare = self.is_op("(") && matches!(self.peek_at(1), Tok::Word(w) if is_hint(w)) && self.is_op_at(2, ")");
        if !with && !bare {
            return Ok(Locks::default());
        }
        if with {
            self.skip();
        }
        self.skip();
        let mut locks = Locks::default();
        while !self.op(")") {
            let Tok::Word(word) = self.peek().clone() else { return Err(self.unexpected()) };
            if !is_hint(&word) {
                let message = format!(
                    "\"{word}\" is not a recognized table hints option. If it is intended as a parameter to a table-valued function or to the CHANGETABLE function, ensure that your database compatibility mode is set to 90."
                );
                return Err(SqlError::batch(321, message).class(15).at_line(self.line()));
            }
            self.skip();
            match word.to_ascii_uppercase().as_str() {
                "NOLOCK" | "READUNCOMMITTED" => locks.none = true,
                "HOLDLOCK" | "SERIALIZABLE" | "REPEATABLEREAD" => locks.hold = locks.hold.max(Some(Hold::Shared)),
                "UPDLOCK" => locks.hold = locks.hold.max(Some(Hold::Update)),
                "XLOCK" | "TABLOCKX" => locks.hold = Some(Hold::Exclusive),
                "READCOMMITTEDLOCK" => locks.hold = locks.hold.max(Some(Hold::Statement)),
                "TABLOCK" => {
                    locks.whole = true;
                    locks.hold = locks.hold.max(Some(Hold::Statement));
                }
                "NOWAIT" | "READPAST" | "SNAPSHOT" => {
                    return Err(unsupported(format!("the hint {}", word.to_ascii_uppercase())));
                }
                // INDEX = ix, and INDEX = (ix), whose parentheses are read below.
                "INDEX" => {
                    let equals = self.op("=");
                    if equals && !self.is_op("(") {
                        self.skip();
                    }
                }
                _ => {}
            }
            if self.is_op("(") {
                self.skip_parentheses()?;
            }
            self.op(",");
        }
        Ok(locks)
    }

    pub(super) fn table_refs(&mut self) -> Result<Vec<TableRef>> {
        let mut out = vec![self.table_ref()?];
        while self.op(",") {
            out.push(self.table_ref()?);
        }
        Ok(out)
    }
}

pub(super) fn is_hint(word: &str) -> bool {
    /// These have an effect, or are refused.
    const KNOWN: &[&str] = &[
        "HOLDLOCK",
        "NOLOCK",
        "NOWAIT",
        "READCOMMITTEDLOCK",
        "READPAST",
        "READUNCOMMITTED",
        "REPEATABLEREAD",
        "SERIALIZABLE",
        "SNAPSHOT",
        "TABLOCK",
        "TABLOCKX",
        "UPDLOCK",
        "XLOCK",
    ];
    KNOWN.iter().any(|h| h.eq_ignore_ascii_case(word)) || is_accepted(Place::Hint, word)
}
