//! Expressions and conditions.

use logferry_model::SqlType;

use super::super::ast::{BinOp, CmpOp, Expr, Frame, FrameEnd, Name, Over};
use super::super::error::{Result, unsupported};
use super::super::token::Tok;
use super::{DEPTH_MAX, Parser};

impl Parser<'_> {
    /// Arguments of a table function: the default of all that there are is NULL.
    pub(super) fn argument_list(&mut self) -> Result<Vec<Expr>> {
        let mut out = Vec::new();
        loop {
            out.push(if self.word("DEFAULT") { Expr::Null } else { self.expr()? });
            if !self.op(",") {
                return Ok(out);
            }
        }
    }

    pub(super) fn expr_list(&mut self) -> Result<Vec<Expr>> {
        let mut out = vec![self.expr()?];
        while self.op(",") {
            out.push(self.expr()?);
        }
        Ok(out)
    }

    /// A condition.
    pub(super) fn condition(&mut self) -> Result<Expr> {
        let e = self.value_or_condition()?;
        self.tests(&e)?;
        Ok(e)
    }

    /// What stands in parentheses may be either.
    fn value_or_condition(&mut self) -> Result<Expr> {
        self.enter()?;
        let mut left = self.and_condition()?;
        while self.is_word("OR") {
            self.tests(&left)?;
            self.skip();
            let right = self.and_condition()?;
            self.tests(&right)?;
            left = Expr::Or(Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    /// What was read up to here has to be a condition.
    fn tests(&self, e: &Expr) -> Result<()> {
        match is_condition(e) {
            true => Ok(()),
            false => Err(super::super::error::SqlError::batch(
                4145,
                format!(
                    "An expression of non-boolean type specified in a context where a condition is expected, near '{}'.",
                    self.near()
                ),
            )
            .class(15)
            .at_line(self.line())),
        }
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
        while self.is_word("AND") {
            self.tests(&left)?;
            self.skip();
            let right = self.not_condition()?;
            self.tests(&right)?;
            left = Expr::And(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn not_condition(&mut self) -> Result<Expr> {
        if self.word("NOT") {
            self.enter()?;
            let inner = self.not_condition()?;
            self.tests(&inner)?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expr> {
        if self.is_word("EXISTS") && self.is_op_at(1, "(") {
            self.skip();
            self.skip();
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
            self.skip();
            let all = self.is_word("ALL");
            if (all || self.is_word("ANY") || self.is_word("SOME")) && self.is_op_at(1, "(") {
                self.skip();
                self.skip();
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
            self.skip();
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
            self.skip();
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
            self.skip();
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
        while self.is_op(".") && matches!(self.peek_at(1), Tok::Word(_)) && self.is_op_at(2, "(") {
            self.skip();
            let name = self.ident()?;
            self.expect_op("(")?;
            let args = if self.is_op(")") { Vec::new() } else { self.expr_list()? };
            self.expect_op(")")?;
            e = Expr::Method { of: Box::new(e), name, args };
        }
        while self.word("COLLATE") {
            let name = self.ident()?;
            if !super::super::collation::is_known(&name) {
                return Err(super::super::error::SqlError::batch(448, format!("Invalid collation '{name}'.")));
            }
            e = Expr::Collate(Box::new(e), name);
        }
        Ok(e)
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        match self.peek().clone() {
            Tok::Number(n) => {
                self.skip();
                Ok(Expr::Number(n))
            }
            Tok::Text(t, national) => {
                self.skip();
                Ok(Expr::Text(t, national))
            }
            Tok::Hex(h) => {
                self.skip();
                Ok(Expr::Hex(h))
            }
            Tok::Var(v) => {
                self.skip();
                Ok(Expr::Var(v))
            }
            Tok::Op("(") => {
                self.skip();
                if self.is_word("SELECT") || self.is_word("WITH") {
                    let query = self.query()?;
                    self.expect_op(")")?;
                    return Ok(Expr::Subquery(Box::new(query)));
                }
                let inner = self.value_or_condition()?;
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
        self.skip();
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
                self.skip();
                Ok(Expr::Null)
            }
            "CASE" => self.case(),
            "CAST" | "TRY_CAST" if self.is_op_at(1, "(") => {
                self.skip();
                self.skip();
                let value = Box::new(self.expr()?);
                self.expect_word("AS")?;
                let to = self.cast_type()?;
                self.expect_op(")")?;
                Ok(Expr::Cast { value, to, style: None, tries: word == "TRY_CAST" })
            }
            "CONVERT" | "TRY_CONVERT" if self.is_op_at(1, "(") => {
                self.skip();
                self.skip();
                let to = self.cast_type()?;
                self.expect_op(",")?;
                let value = Box::new(self.expr()?);
                let style = if self.op(",") { Some(Box::new(self.expr()?)) } else { None };
                self.expect_op(")")?;
                Ok(Expr::Cast { value, to, style, tries: word == "TRY_CONVERT" })
            }
            "LEFT" | "RIGHT" if self.is_op_at(1, "(") => {
                self.skip();
                self.call(vec![word.to_owned()])
            }
            "CURRENT_TIMESTAMP" | "CURRENT_USER" | "SESSION_USER" | "SYSTEM_USER" | "USER"
                if !self.is_op_at(1, ".") =>
            {
                self.skip();
                Ok(Expr::Func {
                    name: vec![word.to_owned()],
                    args: Vec::new(),
                    distinct: false,
                    star: false,
                    over: None,
                })
            }
            "UPDATE" if self.is_op_at(1, "(") => {
                self.skip();
                self.skip();
                let column = self.ident()?;
                self.expect_op(")")?;
                let name = vec!["$UPDATED".to_owned()];
                let args = vec![Expr::Text(column, true)];
                let set = Expr::Func { name, args, distinct: false, star: false, over: None };
                Ok(Expr::Compare(CmpOp::Eq, Box::new(set), Box::new(Expr::Number("1".into()))))
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
        self.skip();
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
        let mut name = self.name()?;
        if self.op("::") {
            let method = self.ident()?;
            return self.call(vec![format!("{}::{method}", name.join("."))]);
        }
        // The methods of values are written like functions of a schema.
        if self.is_op("(") && name.len() > 1 && name.last().is_some_and(|n| super::super::method::is_method(n)) {
            let method = name.pop().unwrap_or_default();
            self.expect_op("(")?;
            let args = if self.is_op(")") { Vec::new() } else { self.expr_list()? };
            self.expect_op(")")?;
            return Ok(Expr::Method { of: Box::new(Expr::Column(name)), name: method, args });
        }
        if self.is_op("(") { self.call(name) } else { Ok(Expr::Column(name)) }
    }

    fn frame_end(&mut self) -> Result<FrameEnd> {
        if self.words(&["CURRENT", "ROW"]) {
            return Ok(FrameEnd::Current);
        }
        let count = match self.next() {
            Tok::Word(w) if w.eq_ignore_ascii_case("UNBOUNDED") => None,
            Tok::Number(n) => Some(n.parse::<usize>().map_err(|_| self.unexpected())?),
            _ => return Err(self.unexpected()),
        };
        let preceding = self.word("PRECEDING");
        if !preceding {
            self.expect_word("FOLLOWING")?;
        }
        Ok(match count {
            None => FrameEnd::Unbounded,
            Some(n) if preceding => FrameEnd::Preceding(n),
            Some(n) => FrameEnd::Following(n),
        })
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
            args.push(self.value_or_condition()?);
            while self.op(",") {
                args.push(self.value_or_condition()?);
            }
        }
        self.expect_op(")")?;
        if self.words(&["WITHIN", "GROUP"]) {
            return Err(unsupported("WITHIN GROUP"));
        }
        let over = if self.word("OVER") {
            self.expect_op("(")?;
            let mut over = Over { partition: Vec::new(), order: Vec::new(), frame: None };
            if self.words(&["PARTITION", "BY"]) {
                over.partition = self.expr_list()?;
            }
            if self.words(&["ORDER", "BY"]) {
                over.order = self.order_list()?;
            }
            let rows = self.is_word("ROWS");
            if rows || self.is_word("RANGE") {
                self.skip();
                over.frame = Some(match self.word("BETWEEN") {
                    true => {
                        let from = self.frame_end()?;
                        self.expect_word("AND")?;
                        Frame { rows, from, to: self.frame_end()? }
                    }
                    false => Frame { rows, from: self.frame_end()?, to: FrameEnd::Current },
                });
            }
            self.expect_op(")")?;
            Some(Box::new(over))
        } else {
            None
        };
        Ok(Expr::Func { name, args, distinct, star, over })
    }
}

/// Whether an expression is one that conditions are made of.
fn is_condition(e: &Expr) -> bool {
    match e {
        Expr::And(..)
        | Expr::Or(..)
        | Expr::Not(_)
        | Expr::Compare(..)
        | Expr::Quantified { .. }
        | Expr::IsNull(..)
        | Expr::Like { .. }
        | Expr::Between { .. }
        | Expr::In { .. }
        | Expr::InQuery { .. }
        | Expr::Exists(_) => true,
        // Predicates that look like functions.
        Expr::Func { name, .. } => {
            matches!(&name[..], [name] if ["UPDATE", "CONTAINS", "FREETEXT"].iter().any(|p| p.eq_ignore_ascii_case(name)))
        }
        _ => false,
    }
}
