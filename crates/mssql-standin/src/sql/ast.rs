//! What a batch says, as a tree.

mod change;
mod expr;
mod module;
mod query;
mod table;

use logferry_model::SqlType;

use super::error::SqlError;
pub(crate) use change::*;
pub(crate) use expr::*;
pub(crate) use module::*;
pub(crate) use query::*;
pub(crate) use table::*;

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
