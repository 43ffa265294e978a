//! What storage does not keep of objects.

use serde::{Deserialize, Serialize};

use super::super::ast::{Expr, ModuleKind, Parameter, ParameterType};
use super::super::parse::parse_expression;
use super::super::plan::Column;
use super::super::value::Value;
use logferry_mssql_standin_storage::{
    ColumnDef, ConstraintDef, ConstraintKind, ConstraintSwitch, Database, ModuleDef as StoredModule, ModuleReference,
    ModuleSettings,
};

/// A type of tables.
#[derive(Clone, Debug)]
pub(crate) struct TableTypeDef {
    pub schema: String,
    pub name: String,
    pub table: super::super::ast::CreateTable,
    /// The statement that made it.
    pub text: String,
}

/// A view or a procedure.
#[derive(Clone, Debug)]
pub(crate) struct ModuleDef {
    pub schema: String,
    pub name: String,
    pub kind: ModuleKind,
    /// Of views: the columns, as they were when it was defined.
    pub shown: Vec<Column>,
    pub options: super::super::ast::ModuleOptions,
    pub text: String,
    pub created: Value,
}

impl ModuleDef {
    pub fn is_view(&self) -> bool {
        self.code() == "V "
    }

    /// What `sys.objects` says that it is.
    pub fn code(&self) -> &'static str {
        match &self.kind {
            ModuleKind::View { .. } => "V ",
            ModuleKind::Procedure { .. } => "P ",
            ModuleKind::Shown { code, .. } => code,
        }
    }

    /// As the storage writes it, with what its text names.
    pub fn stored(&self, object: u32, references: Vec<ModuleReference>) -> StoredModule {
        let parameters = match &self.kind {
            ModuleKind::Procedure { parameters, .. } => parameters.as_slice(),
            _ => &[],
        };
        let parameter = |p: &Parameter| match &p.of {
            ParameterType::Scalar(ty) => Some((ColumnDef::new(p.name.clone(), ty.clone()), p.output)),
            ParameterType::Table(_) => None,
        };
        let column = |c: &Column| ColumnDef { nullable: c.nullable, ..ColumnDef::new(c.name.clone(), c.ty.clone()) };
        StoredModule {
            object,
            schema: Some(self.schema.clone()),
            name: self.name.clone(),
            kind: if self.is_view() { *b"V " } else { *b"P " },
            parent: None,
            settings: ModuleSettings {
                schema_bound: self.options.schema_bound,
                recompiled: self.options.recompiled,
                ..ModuleSettings::default()
            },
            text: self.text.clone(),
            columns: self.shown.iter().map(column).collect(),
            parameters: parameters.iter().filter_map(parameter).collect(),
            references,
            dates: Default::default(),
        }
    }
}

/// What storage does not keep of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableMeta {
    pub created: Option<Value>,
    /// Snapshots below this number cannot read it: its columns were others.
    pub altered: u64,
    pub identity: Option<Identity>,
    pub computed: Vec<ComputedDef>,
    pub keys: Vec<KeyDef>,
    pub checks: Vec<CheckDef>,
    pub defaults: Vec<DefaultDef>,
    pub foreign: Vec<ForeignDef>,
    /// The column that is ROWGUIDCOL.
    pub rowguid: Option<usize>,
}

impl TableMeta {
    /// Defaults, checks and foreign keys as the storage found them in files. What is not understood of their texts is shown, and not looked at.
    pub fn know(&mut self, storage: &Database, table: u32) {
        let place = |of: u32, id: u32| storage.column_place(of, id);
        let expression = |text: &str| parse_expression(text).unwrap_or(Expr::Null);
        for ConstraintDef { object, name, system_named, kind, switch } in storage.constraints(table) {
            let (object, name, named_by_system) = (*object, name.clone(), *system_named);
            let ConstraintSwitch { disabled, not_trusted, not_for_replication } = *switch;
            let switch = Switch { disabled, not_trusted, not_for_replication };
            match kind {
                ConstraintKind::Default(column, text) => self.defaults.extend(place(table, *column).map(|column| {
                    let (value, text) = (expression(text), text.clone());
                    DefaultDef { name, object, column, value, text, named_by_system }
                })),
                ConstraintKind::Check { column, text, .. } => {
                    let column = column.and_then(|column| place(table, column));
                    let (test, text) = (expression(text), text.clone());
                    self.checks.push(CheckDef { name, object, column, test, text, named_by_system, switch });
                }
                ConstraintKind::Foreign { columns, table: other, .. } => {
                    let own = columns.iter().filter_map(|(column, _)| place(table, *column)).collect();
                    let referenced = columns.iter().filter_map(|(_, column)| place(*other, *column)).collect();
                    let table = *other;
                    self.foreign.push(ForeignDef {
                        name,
                        object,
                        columns: own,
                        table,
                        referenced,
                        named_by_system,
                        switch,
                    });
                }
                ConstraintKind::Key { .. } => {}
            }
        }
    }

    /// Names of what are objects of their own.
    pub fn constraint_names(&self) -> impl Iterator<Item = &String> {
        let keys = self.keys.iter().filter(|k| k.object.is_some()).map(|k| &k.name);
        let others = self.checks.iter().map(|c| &c.name).chain(self.defaults.iter().map(|d| &d.name));
        keys.chain(others).chain(self.foreign.iter().map(|f| &f.name))
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Identity {
    pub column: usize,
    pub seed: i128,
    pub increment: i128,
    pub last: Option<i128>,
    #[serde(default)]
    pub not_for_replication: bool,
}

impl Identity {
    /// The identity column among columns, without a value so far.
    pub fn of(columns: &[logferry_mssql_standin_storage::ColumnDef]) -> Option<Self> {
        let (column, of) = columns.iter().enumerate().find_map(|(at, c)| Some((at, c.identity?)))?;
        Some(Identity {
            column,
            seed: of.seed.into(),
            increment: of.increment.into(),
            last: None,
            not_for_replication: false,
        })
    }

    /// Notes a value that was given.
    pub fn note(&mut self, n: i128) {
        let further = |last: i128| if self.increment < 0 { last.min(n) } else { last.max(n) };
        self.last = Some(self.last.map_or(n, further));
    }
}

/// A computed column.
#[derive(Clone, Debug)]
pub(crate) struct ComputedDef {
    pub column: usize,
    pub value: Expr,
    pub text: String,
    /// Whether rows have its values.
    pub persisted: bool,
}

/// A primary key, a unique constraint or an index.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeyDef {
    pub name: String,
    /// Of constraints: their object id.
    pub object: Option<u32>,
    pub primary: bool,
    pub unique: bool,
    pub clustered: bool,
    pub index_id: u32,
    /// Place in the table, descending.
    pub columns: Vec<(usize, bool)>,
    pub included: Vec<usize>,
    pub named_by_system: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct CheckDef {
    pub name: String,
    pub object: u32,
    /// Of those in a column's definition.
    pub column: Option<usize>,
    pub test: Expr,
    pub text: String,
    pub named_by_system: bool,
    pub switch: Switch,
}

/// Whether a check or a foreign key is kept, and whether all rows keep it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Switch {
    /// NOCHECK CONSTRAINT: nobody looks at it.
    pub disabled: bool,
    /// There may be rows that do not keep it.
    pub not_trusted: bool,
    pub not_for_replication: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct DefaultDef {
    pub name: String,
    pub object: u32,
    pub column: usize,
    pub value: Expr,
    pub text: String,
    pub named_by_system: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ForeignDef {
    pub name: String,
    pub object: u32,
    pub columns: Vec<usize>,
    pub table: u32,
    pub referenced: Vec<usize>,
    pub named_by_system: bool,
    #[serde(default)]
    pub switch: Switch,
}
