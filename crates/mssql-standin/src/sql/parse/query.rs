//! Queries and expressions.

use super::super::ast::{Body, Expr, Item, JoinKind, Query, Select, SetOp, TableRef, Top};
use super::super::error::{Result, SqlError, unsupported};
use super::super::token::Tok;
use super::Parser;
use super::cursor::is_reserved;

impl Parser<'_> {
    pub(super) fn query(&mut self) -> Result<Query> {
        let with = if self.is_word("WITH") { self.with_list()? } else { Vec::new() };
        let body = self.set_expr(0)?;
        let mut order = Vec::new();
        if self.words(&["ORDER", "BY"]) {
            order = self.order_list()?;
        }
        let (mut offset, mut fetch) = (None, None);
        if !order.is_empty() && self.word("OFFSET") {
            offset = Some(self.unary()?);
            self.one_of(&["ROWS", "ROW"])?;
            if self.word("FETCH") {
                self.one_of(&["NEXT", "FIRST"])?;
                fetch = Some(self.unary()?);
                self.one_of(&["ROWS", "ROW"])?;
                self.expect_word("ONLY")?;
            }
        }
        if self.is_word("FETCH")
            && (self.is_word_at(1, "NEXT") || self.is_word_at(1, "FIRST"))
            && !self.is_word_at(2, "FROM")
        {
            let line = self.line();
            self.skip();
            let message = format!("Invalid usage of the option {} in the FETCH statement.", self.near());
            return Err(SqlError::batch(153, message).class(15).state(2).at_line(line));
        }
        if self.is_word("FOR") && (self.is_word_at(1, "XML") || self.is_word_at(1, "JSON")) {
            return Err(unsupported("FOR XML and FOR JSON"));
        }
        if self.is_word("FOR") && self.is_word_at(1, "BROWSE") {
            self.skip();
            self.skip();
        }
        self.option_clause()?;
        Ok(Query { with, body, order, offset, fetch })
    }

    pub(super) fn with_list(&mut self) -> Result<Vec<(String, Vec<String>, Query)>> {
        self.expect_word("WITH")?;
        let mut out = Vec::new();
        loop {
            let name = self.ident()?;
            let columns = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
            self.expect_word("AS")?;
            self.expect_op("(")?;
            let query = self.query()?;
            self.expect_op(")")?;
            out.push((name, columns, query));
            if !self.op(",") {
                return Ok(out);
            }
        }
    }

    pub(super) fn order_list(&mut self) -> Result<Vec<(Expr, bool)>> {
        let mut out = Vec::new();
        loop {
            let e = self.expr()?;
            let descending = self.word("DESC");
            if !descending {
                self.word("ASC");
            }
            out.push((e, descending));
            if !self.op(",") {
                return Ok(out);
            }
        }
    }

    /// UNION and EXCEPT bind alike, INTERSECT binds closer.
    fn set_expr(&mut self, level: u8) -> Result<Body> {
        let mut left = if level == 0 { self.set_expr(1)? } else { self.set_term()? };
        loop {
            let op = if level == 1 {
                if self.word("INTERSECT") { SetOp::Intersect } else { return Ok(left) }
            } else if self.word("UNION") {
                if self.word("ALL") { SetOp::UnionAll } else { SetOp::Union }
            } else if self.word("EXCEPT") {
                SetOp::Except
            } else {
                return Ok(left);
            };
            let right = if level == 0 { self.set_expr(1)? } else { self.set_term()? };
            left = Body::Set { op, left: Box::new(left), right: Box::new(right) };
        }
    }

    fn set_term(&mut self) -> Result<Body> {
        if self.op("(") {
            let query = self.query()?;
            self.expect_op(")")?;
            return Ok(Body::Nested(Box::new(query)));
        }
        Ok(Body::Select(Box::new(self.select()?)))
    }

    fn select(&mut self) -> Result<Select> {
        self.expect_word("SELECT")?;
        let distinct = self.word("DISTINCT");
        if !distinct {
            self.word("ALL");
        }
        let top = if self.word("TOP") {
            if !matches!(self.peek(), Tok::Op("(") | Tok::Number(_) | Tok::Var(_)) {
                return Err(self.unexpected());
            }
            let count = self.primary()?;
            let percent = self.word("PERCENT");
            let ties = self.words(&["WITH", "TIES"]);
            Some(Top { count, percent, ties })
        } else {
            None
        };
        let items = self.items()?;
        let into = if self.word("INTO") { Some(self.name()?) } else { None };
        let from = if self.word("FROM") { self.table_refs()? } else { Vec::new() };
        let filter = self.filter()?;
        let mut group = Vec::new();
        if self.words(&["GROUP", "BY"]) {
            loop {
                if self.is_word("GROUPING") || self.is_word("ROLLUP") || self.is_word("CUBE") {
                    return Err(unsupported("GROUPING SETS, ROLLUP and CUBE"));
                }
                group.push(self.expr()?);
                if !self.op(",") {
                    break;
                }
            }
        }
        let having = if self.word("HAVING") { Some(self.condition()?) } else { None };
        Ok(Select { distinct, top, items, into, from, filter, group, having })
    }

    pub(super) fn items(&mut self) -> Result<Vec<Item>> {
        let mut out = Vec::new();
        loop {
            out.push(self.item()?);
            if !self.op(",") {
                return Ok(out);
            }
        }
    }

    fn item(&mut self) -> Result<Item> {
        if self.op("*") {
            return Ok(Item::All(Vec::new()));
        }
        // t.*, s.t.*
        let mut ahead = 0;
        while matches!(self.peek_at(ahead), Tok::Word(_) | Tok::Quoted(_)) && self.is_op_at(ahead + 1, ".") {
            ahead += 2;
        }
        if ahead > 0 && self.is_op_at(ahead, "*") {
            let mut parts = Vec::new();
            while !self.op("*") {
                parts.push(self.ident()?);
                self.expect_op(".")?;
            }
            return Ok(Item::All(parts));
        }
        if let Tok::Var(name) = self.peek().clone()
            && matches!(self.peek_at(1), Tok::Op("=" | "+=" | "-=" | "*=" | "/=" | "%=" | "&=" | "|=" | "^="))
        {
            self.skip();
            let op = self.assign_op()?;
            return Ok(Item::Assign(name, op, self.expr()?));
        }
        // alias = expression
        let is_name = match self.peek() {
            Tok::Quoted(_) => true,
            Tok::Word(w) => !is_reserved(w),
            _ => false,
        };
        if is_name && self.is_op_at(1, "=") {
            let alias = self.ident()?;
            self.skip();
            return Ok(Item::Expr(self.expr()?, Some(alias)));
        }
        let e = self.expr()?;
        Ok(Item::Expr(e, self.alias(true)?))
    }

    /// `AS name`, `name`, and in select lists `'name'`.
    fn alias(&mut self, text: bool) -> Result<Option<String>> {
        let said = self.word("AS");
        match self.peek().clone() {
            Tok::Text(t, _) if text => {
                self.skip();
                Ok(Some(t))
            }
            Tok::Quoted(_) => Ok(Some(self.ident()?)),
            Tok::Word(w) if !is_reserved(&w) && (said || !ends_item(&w)) => Ok(Some(self.ident()?)),
            _ if said => Err(self.unexpected()),
            _ => Ok(None),
        }
    }

    pub(super) fn table_ref(&mut self) -> Result<TableRef> {
        let mut left = self.table_primary()?;
        loop {
            let kind = match () {
                () if self.words(&["CROSS", "APPLY"]) => JoinKind::CrossApply,
                () if self.words(&["OUTER", "APPLY"]) => JoinKind::OuterApply,
                () if self.words(&["CROSS", "JOIN"]) => {
                    let right = Box::new(self.table_primary()?);
                    left = TableRef::Join { left: Box::new(left), right, kind: JoinKind::Inner, on: None };
                    continue;
                }
                () if self.is_word("LEFT") || self.is_word("RIGHT") || self.is_word("FULL") => {
                    let kind = match () {
                        () if self.word("LEFT") => JoinKind::Left,
                        () if self.word("RIGHT") => JoinKind::Right,
                        () => {
                            self.skip();
                            JoinKind::Full
                        }
                    };
                    self.word("OUTER");
                    self.join_hint();
                    self.expect_word("JOIN")?;
                    kind
                }
                () if self.is_word("INNER") => {
                    self.skip();
                    self.join_hint();
                    self.expect_word("JOIN")?;
                    JoinKind::Inner
                }
                () if self.word("JOIN") => JoinKind::Inner,
                () if self.is_word("PIVOT") || self.is_word("UNPIVOT") => return Err(unsupported("PIVOT and UNPIVOT")),
                () => return Ok(left),
            };
            if matches!(kind, JoinKind::CrossApply | JoinKind::OuterApply) {
                let right = Box::new(self.table_primary()?);
                left = TableRef::Join { left: Box::new(left), right, kind, on: None };
                continue;
            }
            let right = Box::new(self.table_ref_nested()?);
            self.expect_word("ON")?;
            let on = Some(self.condition()?);
            left = TableRef::Join { left: Box::new(left), right, kind, on };
        }
    }

    /// The right side of a join: `a JOIN b JOIN c ON .. ON ..` nests, which is told by what comes after it.
    fn table_ref_nested(&mut self) -> Result<TableRef> {
        let right = self.table_primary()?;
        if self.is_word("ON") {
            return Ok(right);
        }
        Err(match self.peek() {
            Tok::Word(w) if ["JOIN", "LEFT", "RIGHT", "INNER", "FULL"].iter().any(|k| k.eq_ignore_ascii_case(w)) => {
                unsupported("joins nested without parentheses")
            }
            _ => self.unexpected(),
        })
    }

    fn join_hint(&mut self) {
        let _ = self.word("LOOP") || self.word("HASH") || self.word("MERGE") || self.word("REMOTE");
    }

    fn table_primary(&mut self) -> Result<TableRef> {
        if self.is_op("(") {
            if self.is_word_at(1, "VALUES") {
                self.skip();
                self.skip();
                let mut rows = Vec::new();
                loop {
                    self.expect_op("(")?;
                    rows.push(self.expr_list()?);
                    self.expect_op(")")?;
                    if !self.op(",") {
                        break;
                    }
                }
                self.expect_op(")")?;
                self.word("AS");
                let alias = self.ident()?;
                let columns = self.ident_list()?;
                return Ok(TableRef::Values { rows, alias, columns });
            }
            // A query, or joins in parentheses: tell by the first word behind all of them.
            let mut ahead = 1;
            while self.is_op_at(ahead, "(") {
                ahead += 1;
            }
            if self.is_word_at(ahead, "SELECT") || self.is_word_at(ahead, "WITH") {
                self.skip();
                let query = Box::new(self.query()?);
                self.expect_op(")")?;
                self.word("AS");
                let alias = self.ident()?;
                let columns = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
                return Ok(TableRef::Derived { query, alias, columns });
            }
            self.skip();
            let inner = self.table_ref()?;
            self.expect_op(")")?;
            return Ok(inner);
        }
        let name = self.table_name()?;
        if self.is_op("(") && !matches!(self.peek_at(1), Tok::Word(w) if super::change::is_hint(w)) {
            self.skip();
            let args = if self.is_op(")") { Vec::new() } else { self.argument_list()? };
            self.expect_op(")")?;
            let alias = self.alias(false)?;
            return Ok(TableRef::Func { name, args, alias });
        }
        let locks = self.hints()?;
        if self.is_word("FOR") && self.is_word_at(1, "SYSTEM_TIME") {
            return Err(unsupported("FOR SYSTEM_TIME"));
        }
        let alias = self.alias(false)?;
        let locks = self.hints()?.and(locks);
        Ok(TableRef::Named { name, alias, locks })
    }
}

/// Words that may follow an item or a table and are no alias of it, although they are not reserved.
fn ends_item(word: &str) -> bool {
    ["OFFSET", "OUTPUT", "GO", "THROW", "APPLY", "ROWS", "ROW", "ONLY", "NEXT", "FIRST"]
        .iter()
        .any(|w| w.eq_ignore_ascii_case(word))
}
