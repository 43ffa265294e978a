//! Expressions.

use logferry_model::SqlType;

use super::{Name, Query};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Null,
    Number(String),
    Text(String, bool),
    Hex(Vec<u8>),
    Column(Name),
    Var(String),
    Neg(Box<Expr>),
    BitNot(Box<Expr>),
    /// `... COLLATE name`
    Collate(Box<Expr>, String),
    Binary(BinOp, Box<Expr>, Box<Expr>),
    Compare(CmpOp, Box<Expr>, Box<Expr>),
    /// `x > ALL (query)`, `x = ANY (query)`
    Quantified {
        op: CmpOp,
        all: bool,
        left: Box<Expr>,
        query: Box<Query>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>, bool),
    Like {
        value: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<Box<Expr>>,
        not: bool,
    },
    Between {
        value: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        not: bool,
    },
    In {
        value: Box<Expr>,
        list: Vec<Expr>,
        not: bool,
    },
    InQuery {
        value: Box<Expr>,
        query: Box<Query>,
        not: bool,
    },
    Exists(Box<Query>),
    Subquery(Box<Query>),
    Case {
        operand: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        other: Option<Box<Expr>>,
    },
    Func {
        name: Name,
        args: Vec<Expr>,
        distinct: bool,
        star: bool,
        over: Option<Box<Over>>,
    },
    /// `x.value('...', 'int')`, `x.STAsText()`
    Method {
        of: Box<Expr>,
        name: String,
        args: Vec<Expr>,
    },
    Cast {
        value: Box<Expr>,
        to: SqlType,
        style: Option<Box<Expr>>,
        tries: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Over {
    pub partition: Vec<Expr>,
    pub order: Vec<(Expr, bool)>,
    pub frame: Option<Frame>,
}

/// `ROWS | RANGE BETWEEN ... AND ...`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub rows: bool,
    pub from: FrameEnd,
    pub to: FrameEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameEnd {
    Unbounded,
    Current,
    Preceding(usize),
    Following(usize),
}
