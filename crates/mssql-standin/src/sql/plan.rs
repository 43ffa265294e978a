//! Bound queries: names resolved, types known, conversions put in.

use std::rc::Rc;
use std::sync::Arc;

use logferry_model::SqlType;

use super::ast::{BinOp, CmpOp, JoinKind, SetOp};
use super::dblog::LogRow;
use super::function::Func;
use super::table_function::TableFunction;
use super::value::Value;
use logferry_mssql_standin_storage::{Row, RowKey};

/// An expression with its type. Conditions are `bit`s where NULL is unknown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Typed {
    pub ty: SqlType,
    pub node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Const(Value),
    /// How many queries out, which table there, which column.
    Column {
        depth: usize,
        source: usize,
        column: usize,
    },
    Var(String),
    Agg(usize),
    /// A value of a window function.
    Window(usize),
    Binary(BinOp, Box<Typed>, Box<Typed>),
    Compare(CmpOp, Box<Typed>, Box<Typed>),
    And(Box<Typed>, Box<Typed>),
    Or(Box<Typed>, Box<Typed>),
    Not(Box<Typed>),
    IsNull(Box<Typed>, bool),
    Like {
        value: Box<Typed>,
        pattern: Box<Typed>,
        escape: Option<Box<Typed>>,
    },
    In(Box<Typed>, Vec<Typed>),
    InQuery(Box<Typed>, Box<Plan>),
    Quantified {
        op: CmpOp,
        all: bool,
        left: Box<Typed>,
        plan: Box<Plan>,
    },
    Exists(Box<Plan>),
    Subquery(Box<Plan>),
    Case(Vec<(Typed, Typed)>, Option<Box<Typed>>),
    Cast {
        value: Box<Typed>,
        style: Option<Box<Typed>>,
        tries: bool,
    },
    Func(Func, Vec<Typed>),
}

impl Typed {
    pub fn new(ty: SqlType, node: Node) -> Self {
        Typed { ty, node }
    }

    pub fn constant(ty: SqlType, value: Value) -> Self {
        Typed { ty, node: Node::Const(value) }
    }

    /// The expression, over the columns of one source alone, as one over that source at another place.
    pub fn moved(mut self, depth: usize, source: usize) -> Self {
        self.move_to(depth, source);
        self
    }

    fn move_to(&mut self, to_depth: usize, to_source: usize) {
        let each = |e: &mut Typed| e.move_to(to_depth, to_source);
        match &mut self.node {
            Node::Column { depth, source, .. } => (*depth, *source) = (to_depth, to_source),
            Node::Const(_) | Node::Var(_) | Node::Agg(_) | Node::Window(_) | Node::Exists(_) | Node::Subquery(_) => {}
            Node::Binary(_, a, b) | Node::Compare(_, a, b) | Node::And(a, b) | Node::Or(a, b) => {
                each(a);
                each(b);
            }
            Node::Not(a) | Node::IsNull(a, _) | Node::InQuery(a, _) | Node::Quantified { left: a, .. } => each(a),
            Node::Like { value, pattern, escape } => {
                each(value);
                each(pattern);
                escape.iter_mut().for_each(|e| each(e));
            }
            Node::In(a, list) => {
                each(a);
                list.iter_mut().for_each(each);
            }
            Node::Case(arms, other) => {
                for (test, value) in arms {
                    each(test);
                    each(value);
                }
                other.iter_mut().for_each(|e| each(e));
            }
            Node::Cast { value, style, .. } => {
                each(value);
                style.iter_mut().for_each(|e| each(e));
            }
            Node::Func(_, args) => args.iter_mut().for_each(each),
        }
    }

    /// The word NULL: it has no type of its own.
    pub fn is_null_word(&self) -> bool {
        matches!(self.node, Node::Const(Value::Null))
    }

    /// Whether it has a value without rows.
    pub fn is_fixed(&self) -> bool {
        match &self.node {
            Node::Const(_) | Node::Var(_) => true,
            Node::Column { depth, .. } => *depth > 0,
            Node::Cast { value, style: None, .. } => value.is_fixed(),
            Node::Func(f, args) => f.is_steady() && args.iter().all(Typed::is_fixed),
            Node::Binary(_, a, b) => a.is_fixed() && b.is_fixed(),
            _ => false,
        }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub name: String,
    pub ty: SqlType,
    pub nullable: bool,
    pub identity: bool,
    pub computed: bool,
}

impl Column {
    /// A column that is neither identity nor computed.
    pub fn plain(name: impl Into<String>, ty: SqlType, nullable: bool) -> Self {
        Column { name: name.into(), ty, nullable, identity: false, computed: false }
    }
}

/// A query that can run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub columns: Vec<Column>,
    pub body: PlanBody,
    pub order: Vec<(OrderKey, bool)>,
    pub offset: Option<Typed>,
    pub fetch: Option<Typed>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OrderKey {
    /// A column of the result.
    Output(usize),
    /// Something else of the rows it comes from.
    Row(Typed),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PlanBody {
    Select(Box<SelectPlan>),
    Nested(Box<Plan>),
    Set { op: SetOp, left: Box<Plan>, right: Box<Plan> },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SelectPlan {
    pub sources: usize,
    pub from: Option<From>,
    pub filter: Option<Typed>,
    /// `Some` where rows are grouped, be it into one group.
    pub group: Option<Vec<Typed>>,
    pub aggs: Vec<AggPlan>,
    pub windows: Vec<WindowPlan>,
    pub having: Option<Typed>,
    pub items: Vec<Typed>,
    /// Variables that the items go to.
    pub assigns: Vec<String>,
    pub distinct: bool,
    pub top: Option<TopPlan>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopPlan {
    pub count: Typed,
    pub percent: bool,
    pub ties: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    StringAgg,
    Stdev { population: bool },
    Var { population: bool },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AggPlan {
    pub kind: AggKind,
    pub distinct: bool,
    /// `None` for `COUNT(*)`.
    pub arg: Option<Typed>,
    pub separator: Option<Typed>,
    pub ty: SqlType,
}

/// A window function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowPlan {
    pub kind: WindowKind,
    pub args: Vec<Typed>,
    pub partition: Vec<Typed>,
    pub order: Vec<(Typed, bool)>,
    pub frame: Option<super::ast::Frame>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WindowKind {
    RowNumber,
    Rank,
    DenseRank,
    Ntile,
    Lag,
    Lead,
    First,
    Last,
    Aggregate(Box<AggPlan>),
}

/// Which rows of a table are looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Access {
    All,
    /// The one with this clustered key.
    Key(Vec<Typed>),
    /// Those with one of these clustered keys.
    Keys(Vec<Vec<Typed>>),
    /// Those between two bounds of the clustered key, in its order.
    Range {
        low: Option<Bound>,
        high: Option<Bound>,
    },
    /// Those with these values.
    Lookup {
        columns: Vec<usize>,
        values: Vec<Typed>,
    },
}

/// Values of the first columns of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub values: Vec<Typed>,
    /// Whether rows that begin with the values are out.
    pub strict: bool,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum From {
    Table {
        source: usize,
        database: usize,
        table: u32,
        types: Rc<Vec<SqlType>>,
        access: Access,
    },
    /// Rows that are there already: catalog views.
    Rows {
        source: usize,
        rows: Rc<Vec<Rc<Vec<Value>>>>,
    },
    /// Rows that a function makes while the query runs.
    Function {
        source: usize,
        database: usize,
        function: TableFunction,
        args: Vec<Typed>,
    },
    Query {
        source: usize,
        plan: Box<Plan>,
    },
    Values {
        source: usize,
        rows: Vec<Vec<Typed>>,
    },
    Join {
        left: Box<From>,
        right: Box<From>,
        kind: JoinKind,
        on: Option<Typed>,
        right_sources: Vec<usize>,
        left_sources: Vec<usize>,
        equal: Vec<(Typed, Typed)>,
    },
}

/// What one table gives to a row.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Of outer joins, where nothing matched.
    None,
    /// Bytes of a table's row, with what it is found by where that is asked for.
    Stored(Arc<Row>, Rc<Vec<SqlType>>, Option<Rc<RowKey>>),
    Values(Rc<Vec<Value>>),
    /// A record of the log.
    Log(Rc<LogRow>),
}

impl Plan {
    /// Whether the query names columns of a query around it.
    pub fn is_correlated(&self) -> bool {
        plan_escapes(self, 0)
    }
}

/// Whether something looks out of `level` queries.
fn escapes(e: &Typed, level: usize) -> bool {
    let any = |list: &[Typed]| list.iter().any(|e| escapes(e, level));
    match &e.node {
        Node::Column { depth, .. } => *depth > level,
        Node::Const(_) | Node::Var(_) | Node::Agg(_) | Node::Window(_) => false,
        Node::Binary(_, a, b) | Node::Compare(_, a, b) | Node::And(a, b) | Node::Or(a, b) => {
            escapes(a, level) || escapes(b, level)
        }
        Node::Not(a) | Node::IsNull(a, _) => escapes(a, level),
        Node::Like { value, pattern, escape } => {
            escapes(value, level) || escapes(pattern, level) || escape.as_ref().is_some_and(|e| escapes(e, level))
        }
        Node::In(a, list) => escapes(a, level) || any(list),
        Node::InQuery(a, plan) | Node::Quantified { left: a, plan, .. } => {
            escapes(a, level) || plan_escapes(plan, level + 1)
        }
        Node::Exists(plan) | Node::Subquery(plan) => plan_escapes(plan, level + 1),
        Node::Case(arms, other) => {
            arms.iter().any(|(a, b)| escapes(a, level) || escapes(b, level))
                || other.as_ref().is_some_and(|o| escapes(o, level))
        }
        Node::Cast { value, style, .. } => escapes(value, level) || style.as_ref().is_some_and(|s| escapes(s, level)),
        Node::Func(_, args) => any(args),
    }
}

fn plan_escapes(plan: &Plan, level: usize) -> bool {
    let body = match &plan.body {
        PlanBody::Nested(inner) => plan_escapes(inner, level),
        PlanBody::Set { left, right, .. } => plan_escapes(left, level) || plan_escapes(right, level),
        PlanBody::Select(s) => {
            let any = |list: &[Typed]| list.iter().any(|e| escapes(e, level));
            s.from.as_ref().is_some_and(|f| from_escapes(f, level))
                || any(&s.items)
                || s.filter.iter().chain(&s.having).any(|e| escapes(e, level))
                || s.group.as_deref().is_some_and(any)
                || s.aggs.iter().any(|a| a.arg.iter().any(|e| escapes(e, level)))
                || s.windows.iter().any(|w| {
                    let arg = match &w.kind {
                        WindowKind::Aggregate(agg) => agg.arg.as_ref(),
                        _ => None,
                    };
                    any(&w.args)
                        || any(&w.partition)
                        || w.order.iter().map(|(e, _)| e).chain(arg).any(|e| escapes(e, level))
                })
        }
    };
    body || plan.order.iter().any(|(k, _)| matches!(k, OrderKey::Row(e) if escapes(e, level)))
}

fn from_escapes(from: &From, level: usize) -> bool {
    match from {
        From::Table { access, .. } => match access {
            Access::All => false,
            Access::Key(values) | Access::Lookup { values, .. } => values.iter().any(|e| escapes(e, level)),
            Access::Keys(keys) => keys.iter().flatten().any(|e| escapes(e, level)),
            Access::Range { low, high } => low.iter().chain(high).flat_map(|b| &b.values).any(|e| escapes(e, level)),
        },
        From::Rows { .. } => false,
        From::Function { args, .. } => args.iter().any(|e| escapes(e, level)),
        // A derived table sees what its query sees; of APPLY, the query itself: one more either way is on the safe side.
        From::Query { plan, .. } => plan_escapes(plan, level),
        From::Values { rows, .. } => rows.iter().flatten().any(|e| escapes(e, level)),
        From::Join { left, right, on, .. } => {
            from_escapes(left, level) || from_escapes(right, level) || on.iter().any(|e| escapes(e, level))
        }
    }
}
