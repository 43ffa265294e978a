//! What a batch says, as a tree.

use logferry_model::SqlType;

use super::error::SqlError;
use super::value::Value;

/// A name of up to four parts, as written.
pub(crate) type Name = Vec<String>;

/// A statement and its line.
#[derive(Clone, Debug)]
pub(crate) struct Stmt {
    pub line: u32,
    pub kind: StmtKind,
    /// As it was written, of what defines something: CDC keeps it, triggers are told it.
    pub text: String,
}

#[derive(Clone, Debug)]
pub(crate) enum StmtKind {
    Select(Box<Query>),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    Merge(Box<Merge>),
    /// `INSERT ... EXEC`
    InsertExec(Box<Insert>, Box<Stmt>),
    InsertBulk(Box<InsertBulk>),
    /// `DECLARE @t TABLE (...)`
    DeclareTable(Box<CreateTable>),
    /// `DECLARE @t schema.type`, of a type that is none of the system's.
    DeclareOf(String, Name),
    /// `CREATE TYPE ... AS TABLE (...)`: its columns, its text.
    CreateType(Box<CreateTable>, String),
    DropType {
        name: Name,
        if_exists: bool,
    },
    /// `DBCC name (arguments)`
    Dbcc(String, Vec<String>),
    Truncate(Name),
    CreateTable(Box<CreateTable>),
    DropTable {
        names: Vec<Name>,
        if_exists: bool,
    },
    CreateIndex(Box<IndexDef>, Name),
    DropIndex {
        index: String,
        table: Name,
        if_exists: bool,
    },
    AlterTable(Name, AlterTable),
    /// `ALTER INDEX name | ALL ON t REBUILD | REORGANIZE`
    AlterIndex {
        index: Option<String>,
        table: Name,
        reorganize: bool,
    },
    CreateSchema(String),
    CreateDatabase(String),
    /// Right as it stands, and it fails when it is its turn: what it names is not there.
    Fails(SqlError),
    /// `CREATE DATABASE ... FOR ATTACH`, and the files.
    Attach(String, Vec<Expr>),
    DropDatabase {
        names: Vec<String>,
        if_exists: bool,
    },
    AlterDatabase {
        name: Option<String>,
        options: Vec<(String, String)>,
    },
    Backup {
        log: bool,
        database: String,
        path: Expr,
        mirror: Option<Expr>,
        differential: bool,
        /// `WITH INIT` or `FORMAT`.
        overwrite: bool,
    },
    Declare(Vec<(String, SqlType, Option<Expr>)>),
    SetVar {
        name: String,
        op: Option<BinOp>,
        value: Expr,
    },
    /// `SET option value`, words in upper case.
    SetOption(Vec<String>),
    If {
        test: Expr,
        then: Box<Stmt>,
        other: Option<Box<Stmt>>,
    },
    While {
        test: Expr,
        body: Box<Stmt>,
    },
    Block(Vec<Stmt>),
    TryCatch {
        body: Vec<Stmt>,
        handler: Vec<Stmt>,
    },
    Break,
    Continue,
    Return(Option<Expr>),
    Print(Expr),
    RaisError {
        args: Vec<Expr>,
        options: Vec<String>,
    },
    Throw(Vec<Expr>),
    Begin(Option<String>),
    Commit,
    Rollback(Option<String>),
    Save(String),
    Use(String),
    WaitDelay(Expr),
    Exec {
        into: Option<String>,
        name: Name,
        args: Vec<(Option<String>, Expr, bool)>,
    },
    ExecText(Expr),
    Checkpoint,
    DefineModule(Box<Module>),
    DropModule {
        view: bool,
        names: Vec<Name>,
        if_exists: bool,
    },
    DefineTrigger(Box<Trigger>),
    DropTrigger {
        names: Vec<Name>,
        if_exists: bool,
        on_database: bool,
    },
    /// ENABLE and DISABLE TRIGGER: without names, all.
    SwitchTrigger {
        enable: bool,
        names: Vec<Name>,
        on: TriggerOn,
    },
}

/// A trigger.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub name: Name,
    pub make: bool,
    pub alter: bool,
    pub on: TriggerOn,
    /// INSERT, UPDATE, DELETE; or events and groups of them, in capitals.
    pub events: Vec<String>,
    pub body: String,
    pub text: String,
    pub options: ModuleOptions,
    pub not_for_replication: bool,
}

/// What a trigger watches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TriggerOn {
    Database,
    Table(Name),
}

/// A view or a procedure.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub name: Name,
    /// Whether it may be new, whether it may be there.
    pub make: bool,
    pub alter: bool,
    pub kind: ModuleKind,
    pub options: ModuleOptions,
    pub text: String,
}

/// What `WITH` of a view, a procedure or a trigger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModuleOptions {
    pub schema_bound: bool,
    pub recompiled: bool,
    /// EXECUTE AS: `sys.sql_modules.execute_as_principal_id`.
    pub execute_as: Option<i32>,
}

#[derive(Clone, Debug)]
pub(crate) enum ModuleKind {
    /// The last: WITH CHECK OPTION.
    View {
        columns: Vec<String>,
        query: Box<Query>,
        check_option: bool,
    },
    Procedure {
        parameters: Vec<Parameter>,
        body: String,
    },
    /// Of attached files: what this T-SQL does not run. It is shown, and says why when it is used.
    Shown {
        /// As `sys.objects` has it.
        code: &'static str,
        why: String,
    },
}

/// A parameter of a procedure.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub name: String,
    pub of: ParameterType,
    pub default: Option<Expr>,
    pub output: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Insert {
    pub table: Name,
    pub columns: Vec<String>,
    pub output: Output,
    pub source: InsertSource,
}

#[derive(Clone, Debug)]
pub(crate) enum InsertSource {
    Values(Vec<Vec<Option<Expr>>>),
    Query(Box<Query>),
    Defaults,
    /// Rows that are worked out already, and the types of their values.
    Rows(Vec<SqlType>, Vec<Vec<Value>>),
    /// The same, of a bulk load.
    Bulk(Vec<SqlType>, Vec<Vec<Value>>, BulkOptions),
}

/// What `INSERT BULK ... WITH` asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BulkOptions {
    /// `CHECK_CONSTRAINTS`: else checks and foreign keys are not looked at.
    pub checks: bool,
    /// `FIRE_TRIGGERS`
    pub triggers: bool,
    /// `KEEP_NULLS`: NULL does not mean the default.
    pub keep_nulls: bool,
}

/// `INSERT BULK t (columns) WITH (...)`: the rows come in the next message.
#[derive(Clone, Debug)]
pub(crate) struct InsertBulk {
    pub table: Name,
    pub columns: Vec<String>,
    pub options: BulkOptions,
}

/// The type of a parameter.
#[derive(Clone, Debug)]
pub(crate) enum ParameterType {
    Scalar(SqlType),
    /// `name READONLY`
    Table(Name),
}

/// `OUTPUT ... INTO t (columns)`
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub items: Vec<Item>,
    pub into: Option<(Name, Vec<String>)>,
    /// Whether both images are there at every row, NULL where a row has none: in MERGE.
    pub merges: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Merge {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub target: Name,
    pub alias: Option<String>,
    pub source: TableRef,
    pub on: Expr,
    pub clauses: Vec<MergeClause>,
    pub output: Output,
}

/// `WHEN ... THEN ...`
#[derive(Clone, Debug)]
pub(crate) struct MergeClause {
    pub when: MergeWhen,
    pub test: Option<Expr>,
    pub action: MergeAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeWhen {
    Matched,
    NotInTarget,
    NotInSource,
}

#[derive(Clone, Debug)]
pub(crate) enum MergeAction {
    Update(Vec<(Name, Option<BinOp>, Option<Expr>)>),
    Delete,
    /// Columns and values; `None` is DEFAULT.
    Insert(Vec<String>, Vec<Option<Expr>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub top: Option<Expr>,
    pub target: Name,
    /// Column or variable, operator of `+=`, value (`None` for DEFAULT).
    pub sets: Vec<(Name, Option<BinOp>, Option<Expr>)>,
    pub output: Output,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
}

#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub top: Option<Expr>,
    pub target: Name,
    pub output: Output,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
}

#[derive(Clone, Debug)]
pub(crate) struct CreateTable {
    pub name: Name,
    pub columns: Vec<ColumnSpec>,
    pub constraints: Vec<Constraint>,
    pub indexes: Vec<IndexDef>,
}

#[derive(Clone, Debug)]
pub(crate) struct ColumnSpec {
    pub name: String,
    /// `AS (...)`, and whether PERSISTED: the type is then not given.
    pub computed: Option<(Expr, bool)>,
    pub sql_type: SqlType,
    pub nullable: Option<bool>,
    /// Seed, increment, NOT FOR REPLICATION.
    pub identity: Option<(i128, i128, bool)>,
    /// ROWGUIDCOL
    pub rowguid: bool,
    pub constraints: Vec<Constraint>,
}

#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    pub name: Option<String>,
    pub kind: ConstraintKind,
    /// The column in whose definition it stands.
    pub column: Option<String>,
    /// Of checks and foreign keys.
    pub not_for_replication: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum ConstraintKind {
    Key { primary: bool, clustered: Option<bool>, columns: Vec<(String, bool)> },
    Check(Expr),
    Default { column: String, value: Expr },
    Foreign { columns: Vec<String>, table: Name, referenced: Vec<String> },
}

#[derive(Clone, Debug)]
pub(crate) struct IndexDef {
    pub name: String,
    pub unique: bool,
    pub clustered: bool,
    pub columns: Vec<(String, bool)>,
    pub included: Vec<String>,
    pub filtered: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum AlterTable {
    Add {
        columns: Vec<ColumnSpec>,
        constraints: Vec<Constraint>,
        with_values: bool,
        /// WITH NOCHECK: rows that are there need not keep checks and foreign keys.
        nocheck: bool,
    },
    Drop {
        columns: Vec<String>,
        constraints: Vec<String>,
        if_exists: bool,
    },
    Alter(ColumnSpec),
    Rebuild,
    /// `[WITH CHECK] CHECK CONSTRAINT`, `NOCHECK CONSTRAINT`: checks and foreign keys by name; without names, all.
    Switch {
        enable: bool,
        with_check: bool,
        names: Vec<String>,
    },
}

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
    /// `TABLOCK`, `HOLDLOCK`: the whole table, until the transaction ends.
    pub whole: bool,
    pub held: bool,
}

impl Locks {
    pub fn and(self, other: Locks) -> Locks {
        Locks { none: self.none || other.none, whole: self.whole || other.whole, held: self.held || other.held }
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
