//! Queries and expressions.

use logferry_model::SqlType;

use super::super::ast::{BinOp, Body, CmpOp, Expr, Item, JoinKind, Name, Over, Query, Select, SetOp, TableRef, Top};
use super::super::error::{Result, unsupported};
use super::super::token::Tok;
use super::{DEPTH_MAX, Parser, is_reserved};

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
            let _ = self.word("ROWS") || self.word("ROW");
            if self.word("FETCH") {
                let _ = self.word("NEXT") || self.word("FIRST");
                fetch = Some(self.unary()?);
                let _ = self.word("ROWS") || self.word("ROW");
                self.expect_word("ONLY")?;
            }
        }
        if self.is_word("FOR") && (self.is_word_at(1, "XML") || self.is_word_at(1, "JSON")) {
            return Err(unsupported("FOR XML and FOR JSON"));
        }
        if self.is_word("FOR") && self.is_word_at(1, "BROWSE") {
            self.next();
            self.next();
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

    fn order_list(&mut self) -> Result<Vec<(Expr, bool)>> {
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
            self.next();
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
            self.next();
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
                self.next();
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
                            self.next();
                            JoinKind::Full
                        }
                    };
                    self.word("OUTER");
                    self.join_hint();
                    self.expect_word("JOIN")?;
                    kind
                }
                () if self.is_word("INNER") => {
                    self.next();
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
                self.next();
                self.next();
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
                self.next();
                let query = Box::new(self.query()?);
                self.expect_op(")")?;
                self.word("AS");
                let alias = self.ident()?;
                let columns = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
                return Ok(TableRef::Derived { query, alias, columns });
            }
            self.next();
            let inner = self.table_ref()?;
            self.expect_op(")")?;
            return Ok(inner);
        }
        if matches!(self.peek(), Tok::Var(_)) {
            return Err(unsupported("table variables"));
        }
        let name = self.name()?;
        if self.is_op("(") && !matches!(self.peek_at(1), Tok::Word(w) if super::is_hint(w)) {
            self.next();
            let args = if self.is_op(")") { Vec::new() } else { self.expr_list()? };
            self.expect_op(")")?;
            let alias = self.alias(false)?;
            return Ok(TableRef::Func { name, args, alias });
        }
        self.hints()?;
        if self.is_word("FOR") && self.is_word_at(1, "SYSTEM_TIME") {
            return Err(unsupported("FOR SYSTEM_TIME"));
        }
        let alias = self.alias(false)?;
        self.hints()?;
        Ok(TableRef::Named { name, alias })
    }

    fn expr_list(&mut self) -> Result<Vec<Expr>> {
        let mut out = vec![self.expr()?];
        while self.op(",") {
            out.push(self.expr()?);
        }
        Ok(out)
    }

    /// A condition: the same grammar as values, told apart where it is bound.
    pub(super) fn condition(&mut self) -> Result<Expr> {
        self.enter()?;
        let mut left = self.and_condition()?;
        while self.word("OR") {
            left = Expr::Or(Box::new(left), Box::new(self.and_condition()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(super::super::error::SqlError::batch(
                191,
                "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller queries.",
            )
            .class(15)
            .at_line(self.line()));
        }
        Ok(())
    }

    fn and_condition(&mut self) -> Result<Expr> {
        let mut left = self.not_condition()?;
        while self.word("AND") {
            left = Expr::And(Box::new(left), Box::new(self.not_condition()?));
        }
        Ok(left)
    }

    fn not_condition(&mut self) -> Result<Expr> {
        if self.word("NOT") {
            self.enter()?;
            let inner = self.not_condition()?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expr> {
        if self.is_word("EXISTS") && self.is_op_at(1, "(") {
            self.next();
            self.next();
            let query = self.query()?;
            self.expect_op(")")?;
            return Ok(Expr::Exists(Box::new(query)));
        }
        let left = self.expr()?;
        let op = match self.peek() {
            Tok::Op("=") => Some(CmpOp::Eq),
            Tok::Op("<>" | "!=") => Some(CmpOp::Ne),
            Tok::Op("<" | "!>=") => Some(CmpOp::Lt),
            Tok::Op("<=" | "!>") => Some(CmpOp::Le),
            Tok::Op(">") => Some(CmpOp::Gt),
            Tok::Op(">=" | "!<") => Some(CmpOp::Ge),
            _ => None,
        };
        if let Some(op) = op {
            self.next();
            let all = self.is_word("ALL");
            if (all || self.is_word("ANY") || self.is_word("SOME")) && self.is_op_at(1, "(") {
                self.next();
                self.next();
                let query = Box::new(self.query()?);
                self.expect_op(")")?;
                return Ok(Expr::Quantified { op, all, left: Box::new(left), query });
            }
            return Ok(Expr::Compare(op, Box::new(left), Box::new(self.expr()?)));
        }
        if self.word("IS") {
            let not = self.word("NOT");
            if self.is_word("DISTINCT") {
                return Err(unsupported("IS DISTINCT FROM"));
            }
            self.expect_word("NULL")?;
            return Ok(Expr::IsNull(Box::new(left), not));
        }
        let not = self.is_word("NOT")
            && (self.is_word_at(1, "LIKE") || self.is_word_at(1, "BETWEEN") || self.is_word_at(1, "IN"));
        if not {
            self.next();
        }
        let value = Box::new(left);
        if self.word("LIKE") {
            let pattern = Box::new(self.expr()?);
            let escape = if self.word("ESCAPE") { Some(Box::new(self.expr()?)) } else { None };
            return Ok(Expr::Like { value, pattern, escape, not });
        }
        if self.word("BETWEEN") {
            let low = Box::new(self.expr()?);
            self.expect_word("AND")?;
            let high = Box::new(self.expr()?);
            return Ok(Expr::Between { value, low, high, not });
        }
        if self.word("IN") {
            self.expect_op("(")?;
            if self.is_word("SELECT") || self.is_word("WITH") {
                let query = Box::new(self.query()?);
                self.expect_op(")")?;
                return Ok(Expr::InQuery { value, query, not });
            }
            let list = self.expr_list()?;
            self.expect_op(")")?;
            return Ok(Expr::In { value, list, not });
        }
        Ok(*value)
    }

    /// A value: `+ - & ^ |` bind alike, `* / %` closer.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        self.enter()?;
        let mut left = self.term()?;
        loop {
            let op = match self.peek() {
                Tok::Op("+") => BinOp::Add,
                Tok::Op("-") => BinOp::Sub,
                Tok::Op("&") => BinOp::BitAnd,
                Tok::Op("|") => BinOp::BitOr,
                Tok::Op("^") => BinOp::BitXor,
                _ => break,
            };
            self.next();
            left = Expr::Binary(op, Box::new(left), Box::new(self.term()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn term(&mut self) -> Result<Expr> {
        let mut left = self.unary()?;
        loop {
            let op = match self.peek() {
                Tok::Op("*") => BinOp::Mul,
                Tok::Op("/") => BinOp::Div,
                Tok::Op("%") => BinOp::Mod,
                _ => return Ok(left),
            };
            self.next();
            left = Expr::Binary(op, Box::new(left), Box::new(self.unary()?));
        }
    }

    pub(super) fn unary(&mut self) -> Result<Expr> {
        if self.op("-") {
            self.enter()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return Ok(match inner {
                Expr::Number(n) if !n.starts_with(['-', '$']) => Expr::Number(format!("-{n}")),
                other => Expr::Neg(Box::new(other)),
            });
        }
        if self.op("+") {
            return self.unary();
        }
        if self.op("~") {
            return Ok(Expr::BitNot(Box::new(self.unary()?)));
        }
        let mut e = self.primary()?;
        while self.word("COLLATE") {
            let name = self.ident()?;
            if !super::super::value::collation_known(&name) {
                return Err(super::super::error::SqlError::batch(448, format!("Invalid collation '{name}'.")));
            }
            if super::super::value::is_binary_collation(&name) {
                // Bytes decide: what casts to varbinary compare alike.
                e = Expr::Func {
                    name: vec!["$binary_collation".into()],
                    args: vec![e],
                    distinct: false,
                    star: false,
                    over: None,
                };
            }
        }
        Ok(e)
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        match self.peek().clone() {
            Tok::Number(n) => {
                self.next();
                Ok(Expr::Number(n))
            }
            Tok::Text(t, national) => {
                self.next();
                Ok(Expr::Text(t, national))
            }
            Tok::Hex(h) => {
                self.next();
                Ok(Expr::Hex(h))
            }
            Tok::Var(v) => {
                self.next();
                Ok(Expr::Var(v))
            }
            Tok::Op("(") => {
                self.next();
                if self.is_word("SELECT") || self.is_word("WITH") {
                    let query = self.query()?;
                    self.expect_op(")")?;
                    return Ok(Expr::Subquery(Box::new(query)));
                }
                let inner = self.condition()?;
                self.expect_op(")")?;
                Ok(inner)
            }
            Tok::Op("{") => self.odbc_escape(),
            Tok::Word(w) => self.word_expr(&w.to_ascii_uppercase()),
            Tok::Quoted(_) => self.named(),
            _ => Err(self.unexpected()),
        }
    }

    /// `{fn NAME(...)}`, `{d '...'}`, `{ts '...'}`, `{t '...'}`
    fn odbc_escape(&mut self) -> Result<Expr> {
        self.next();
        let inner = if self.word("fn") {
            self.primary()?
        } else if self.word("d") || self.word("ts") || self.word("t") {
            Expr::Cast { value: Box::new(self.primary()?), to: SqlType::DateTime, style: None, tries: false }
        } else {
            return Err(self.unexpected());
        };
        self.expect_op("}")?;
        Ok(inner)
    }

    fn word_expr(&mut self, word: &str) -> Result<Expr> {
        match word {
            "NULL" => {
                self.next();
                Ok(Expr::Null)
            }
            "CASE" => self.case(),
            "CAST" | "TRY_CAST" if self.is_op_at(1, "(") => {
                self.next();
                self.next();
                let value = Box::new(self.expr()?);
                self.expect_word("AS")?;
                let to = self.cast_type()?;
                self.expect_op(")")?;
                Ok(Expr::Cast { value, to, style: None, tries: word == "TRY_CAST" })
            }
            "CONVERT" | "TRY_CONVERT" if self.is_op_at(1, "(") => {
                self.next();
                self.next();
                let to = self.cast_type()?;
                self.expect_op(",")?;
                let value = Box::new(self.expr()?);
                let style = if self.op(",") { Some(Box::new(self.expr()?)) } else { None };
                self.expect_op(")")?;
                Ok(Expr::Cast { value, to, style, tries: word == "TRY_CONVERT" })
            }
            "LEFT" | "RIGHT" if self.is_op_at(1, "(") => {
                self.next();
                self.call(vec![word.to_owned()])
            }
            "CURRENT_TIMESTAMP" | "CURRENT_USER" | "SESSION_USER" | "SYSTEM_USER" | "USER"
                if !self.is_op_at(1, ".") =>
            {
                self.next();
                Ok(Expr::Func {
                    name: vec![word.to_owned()],
                    args: Vec::new(),
                    distinct: false,
                    star: false,
                    over: None,
                })
            }
            "NEXT" if self.is_word_at(1, "VALUE") => Err(unsupported("sequences")),
            _ => self.named(),
        }
    }

    /// In casts a type of characters without a length has 30 of them.
    fn cast_type(&mut self) -> Result<SqlType> {
        let from = self.at;
        let mut to = self.data_type()?;
        let bare = !self.text_since(from).contains('(');
        match &mut to {
            SqlType::Char { length, .. } | SqlType::NChar { length, .. } | SqlType::Binary { length } if bare => {
                *length = 30
            }
            SqlType::VarChar { length, .. } | SqlType::NVarChar { length, .. } | SqlType::VarBinary { length }
                if bare =>
            {
                *length = Some(length.map_or(30, |n| if n == 1 { 30 } else { n }));
            }
            _ => {}
        }
        Ok(to)
    }

    fn case(&mut self) -> Result<Expr> {
        self.next();
        let operand = if self.is_word("WHEN") { None } else { Some(Box::new(self.expr()?)) };
        let mut whens = Vec::new();
        while self.word("WHEN") {
            let test = if operand.is_some() { self.expr()? } else { self.condition()? };
            self.expect_word("THEN")?;
            whens.push((test, self.expr()?));
        }
        if whens.is_empty() {
            return Err(self.unexpected());
        }
        let other = if self.word("ELSE") { Some(Box::new(self.expr()?)) } else { None };
        self.expect_word("END")?;
        Ok(Expr::Case { operand, whens, other })
    }

    fn named(&mut self) -> Result<Expr> {
        let name = self.name()?;
        if self.is_op("(") { self.call(name) } else { Ok(Expr::Column(name)) }
    }

    fn call(&mut self, name: Name) -> Result<Expr> {
        self.expect_op("(")?;
        let (mut distinct, mut star, mut args) = (false, false, Vec::new());
        if self.op("*") {
            star = true;
        } else if !self.is_op(")") {
            distinct = self.word("DISTINCT");
            if !distinct {
                self.word("ALL");
            }
            // IIF takes a condition; elsewhere it is refused when it is bound.
            args.push(self.condition()?);
            while self.op(",") {
                args.push(self.condition()?);
            }
        }
        self.expect_op(")")?;
        if self.words(&["WITHIN", "GROUP"]) {
            return Err(unsupported("WITHIN GROUP"));
        }
        let over = if self.word("OVER") {
            self.expect_op("(")?;
            let mut over = Over { partition: Vec::new(), order: Vec::new() };
            if self.words(&["PARTITION", "BY"]) {
                over.partition = self.expr_list()?;
            }
            if self.words(&["ORDER", "BY"]) {
                over.order = self.order_list()?;
            }
            if !self.is_op(")") {
                return Err(unsupported("frames of window functions"));
            }
            self.next();
            Some(Box::new(over))
        } else {
            None
        };
        Ok(Expr::Func { name, args, distinct, star, over })
    }
}

/// Words that may follow an item or a table and are no alias of it, although they are not reserved.
fn ends_item(word: &str) -> bool {
    ["OFFSET", "OUTPUT", "GO", "THROW", "APPLY", "ROWS", "ROW", "ONLY", "NEXT", "FIRST"]
        .iter()
        .any(|w| w.eq_ignore_ascii_case(word))
}
