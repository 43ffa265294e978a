//! What tables are made of, and how they change.

use logferry_model::SqlType;

use super::{Expr, Name};

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
    Key {
        primary: bool,
        clustered: Option<bool>,
        columns: Vec<(String, bool)>,
    },
    Check(Expr),
    Default {
        column: String,
        value: Expr,
        /// WITH VALUES: rows that are there get it too, in a column that may be NULL.
        with_values: bool,
    },
    Foreign {
        columns: Vec<String>,
        table: Name,
        referenced: Vec<String>,
    },
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
    /// `SET (LOCK_ESCALATION = TABLE)`
    LockEscalation,
    /// `[WITH CHECK] CHECK CONSTRAINT`, `NOCHECK CONSTRAINT`: checks and foreign keys by name; without names, all.
    Switch {
        enable: bool,
        with_check: bool,
        names: Vec<String>,
    },
}
