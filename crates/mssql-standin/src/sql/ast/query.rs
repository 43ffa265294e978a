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
    /// `TABLOCK`: of a table that is changed, nobody else is to read or change it.
    pub whole: bool,
    /// The strongest lock that is asked for.
    pub hold: Option<Hold>,
}

/// A lock on what is read, the weakest first. A server locks rows and ranges of keys; here it is the whole table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// For the statement, also where readers see versions: `TABLOCK`, `READCOMMITTEDLOCK`.
    Statement,
    /// Nobody else changes it until the transaction ends: `HOLDLOCK` and its like.
    Shared,
    /// The same, and nobody else takes this lock: `UPDLOCK`.
    Update,
    /// Nobody else takes any lock on it, also to read: `XLOCK`, `TABLOCKX`.
    Exclusive,
}

impl Locks {
    pub fn and(self, other: Locks) -> Locks {
        Locks { none: self.none || other.none, whole: self.whole || other.whole, hold: self.hold.max(other.hold) }
    }

    /// What is held of a table that the statement changes.
    pub fn of_target(self) -> Option<Hold> {
        if self.whole { Some(Hold::Exclusive) } else { self.hold.filter(|hold| *hold > Hold::Statement) }
    }
}

impl Hold {
    /// Whether two transactions may have these locks on a table.
    pub fn goes_with(self, other: Hold) -> bool {
        let (weak, strong) = (self.min(other), self.max(other));
        strong < Hold::Exclusive && (weak < Hold::Update || strong < Hold::Update)
    }

    /// As `sys.dm_tran_locks` has it.
    pub fn mode(self) -> &'static str {
        match self {
            Hold::Statement | Hold::Shared => "S",
            Hold::Update => "U",
            Hold::Exclusive => "X",
        }
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
