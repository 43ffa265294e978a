//! Queries.

use super::{BinOp, Expr, Name};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub body: Body,
    pub order: Vec<(Expr, bool)>,
    pub offset: Option<Expr>,
    pub fetch: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Select(Box<Select>),
    Nested(Box<Query>),
    Set { op: SetOp, left: Box<Body>, right: Box<Body> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOp {
    UnionAll,
    Union,
    Except,
    Intersect,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Select {
    pub distinct: bool,
    pub top: Option<Top>,
    pub items: Vec<Item>,
    pub into: Option<Name>,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
    pub group: Vec<Expr>,
    pub having: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Top {
    pub count: Expr,
    pub percent: bool,
    pub ties: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    /// `*`, `t.*`
    All(Name),
    Expr(Expr, Option<String>),
    /// `@x = expr`, `@x += expr`
    Assign(String, Option<BinOp>, Expr),
}

/// What hints say of a table's locks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Locks {
    /// None is waited for.
    pub none: bool,
    /// `HOLDLOCK` and its like: until the transaction ends. A server locks rows and ranges of keys; here it is the whole table.
    pub held: bool,
}

impl Locks {
    pub fn and(self, other: Locks) -> Locks {
        Locks { none: self.none || other.none, held: self.held || other.held }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TableRef {
    Named { name: Name, alias: Option<String>, locks: Locks },
    Derived { query: Box<Query>, alias: String, columns: Vec<String> },
    Values { rows: Vec<Vec<Expr>>, alias: String, columns: Vec<String> },
    Func { name: Name, args: Vec<Expr>, alias: Option<String> },
    Join { left: Box<TableRef>, right: Box<TableRef>, kind: JoinKind, on: Option<Expr> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    CrossApply,
    OuterApply,
}
