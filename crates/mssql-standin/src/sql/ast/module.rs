//! Views, procedures and triggers.

use logferry_model::SqlType;

use super::{Expr, Name, Query};

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

impl Module {
    /// Name of the transaction that makes it.
    pub fn transaction(&self) -> &'static str {
        match self.kind {
            ModuleKind::View { .. } => "CREATE/ALTER VIEW",
            _ => "CREATE/ALTER PROCEDURE",
        }
    }
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

/// The type of a parameter.
#[derive(Clone, Debug)]
pub(crate) enum ParameterType {
    Scalar(SqlType),
    /// `name READONLY`
    Table(Name),
}
