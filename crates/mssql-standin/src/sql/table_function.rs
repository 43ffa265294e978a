//! Functions that give rows: which there are, and how they are called.
//!
//! Their arguments are values of the moment when the rows are read: variables, other functions, and columns of what stands
//! left of APPLY. So binding finds the function and its columns, and the rows are made while the query runs.

use logferry_model::SqlType;

use super::ast::Expr;
use super::bind::{Binder, Scope, Source, cast};
use super::catalog::{self, log};
use super::cdc::{CdcRead, SCHEMA};
use super::dblog;
use super::error::{Result, SqlError};
use super::eval::{Ctx, Env, eval};
use super::plan::{Column, From, Part};
use super::types;
use super::value::{Value, same_name};

/// A function that gives rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TableFunction {
    /// `sys.fn_dblog`
    Log,
    /// `sys.fn_dump_dblog`
    LogDump,
    /// `sys.dm_db_log_info`
    LogInfo,
    /// `sys.dm_db_log_stats`
    LogStats,
    /// `sys.fn_my_permissions`
    MyPermissions,
    /// `cdc.fn_cdc_get_all_changes_*`, `cdc.fn_cdc_get_net_changes_*`
    Cdc(CdcRead),
}

/// Devices that `fn_dump_dblog` has parameters for.
const DEVICES: usize = 64;

impl TableFunction {
    fn find(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "fn_dblog" => TableFunction::Log,
            "fn_dump_dblog" => TableFunction::LogDump,
            "dm_db_log_info" => TableFunction::LogInfo,
            "dm_db_log_stats" => TableFunction::LogStats,
            "fn_my_permissions" => TableFunction::MyPermissions,
            _ => return None,
        })
    }

    /// The types of its parameters.
    fn parameters(&self) -> Vec<SqlType> {
        match self {
            TableFunction::Log => vec![types::nvarchar(25); 2],
            TableFunction::LogDump => {
                let mut all = vec![types::nvarchar(25), types::nvarchar(25), types::nvarchar(260), SqlType::Int];
                all.extend(vec![types::nvarchar(260); DEVICES]);
                all
            }
            TableFunction::LogInfo | TableFunction::LogStats => vec![SqlType::Int],
            TableFunction::MyPermissions => vec![types::nvarchar(776), types::sysname()],
            TableFunction::Cdc(_) => {
                let lsn = || SqlType::Binary { length: 10 };
                vec![lsn(), lsn(), types::nvarchar(30)]
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        match self {
            TableFunction::Log | TableFunction::LogDump => dblog::columns(),
            TableFunction::LogInfo => log::info_columns(),
            TableFunction::LogStats => log::stats_columns(),
            TableFunction::MyPermissions => catalog::my_permissions_columns(),
            TableFunction::Cdc(read) => read.columns.clone(),
        }
    }
}

/// A function in a FROM, what is around it being `scope`; `None` where there is none of that name here.
pub(crate) fn bind(
    binder: &mut Binder<'_>,
    name: &[String],
    args: &[Expr],
    (source, alias): (usize, Option<&str>),
    outer: Option<&Scope<'_>>,
) -> Result<Option<(From, Source)>> {
    let cdc = |at: usize, function: &str| {
        let cdc = binder.state.db(at).cdc.as_ref();
        cdc.and_then(|c| CdcRead::find(c, function)).map(TableFunction::Cdc)
    };
    let (database, found, function) = match name {
        [function] => (binder.scalars.database, TableFunction::find(function), function),
        [.., schema, function] => {
            let at = binder.state.resolve(binder.scalars, name)?.0;
            let found = match () {
                () if same_name(schema, "sys") => TableFunction::find(function),
                () if same_name(schema, SCHEMA) => cdc(at, function),
                () => None,
            };
            (at, found, function)
        }
        _ => return Ok(None),
    };
    let Some(found) = found else { return Ok(None) };
    let parameters = found.parameters();
    if args.len() != parameters.len() {
        return Err(wrong_count(&name.join("."), args.len() < parameters.len()));
    }
    let scope = Scope { sources: Vec::new(), outer };
    let args = args
        .iter()
        .zip(&parameters)
        .map(|(e, ty)| Ok(cast(binder.value(e, &scope)?, ty)))
        .collect::<Result<Vec<_>>>()?;
    let source_of = Source {
        alias: alias.unwrap_or(function).to_owned(),
        schema: None,
        columns: found.columns(),
        computed: Vec::new(),
        object: None,
    };
    Ok(Some((From::Function { source, database, function: found, args }, source_of)))
}

/// 313 or 8144.
fn wrong_count(name: &str, few: bool) -> SqlError {
    match few {
        true => SqlError::batch(
            313,
            format!("An insufficient number of arguments were supplied for the procedure or function {name}."),
        )
        .state(3),
        false => {
            SqlError::batch(8144, format!("Procedure or function {name} has too many arguments specified.")).state(3)
        }
    }
}

/// Calls with every row; ends when `each` says so by `false`.
pub(crate) fn scan(
    from: &From,
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    each: &mut dyn FnMut(Part) -> Result<bool>,
) -> Result<bool> {
    let From::Function { database, function, args, .. } = from else { return Ok(true) };
    let env = Env { ctx, parts: &[], aggs: &[], outer };
    let args: Vec<Value> = args.iter().map(|e| eval(e, &env)).collect::<Result<_>>()?;
    let rows = match function {
        TableFunction::Log => return dblog::scan(ctx, *database, &args, each),
        TableFunction::LogDump => return dblog::dump(ctx, *database, &args, each),
        TableFunction::LogInfo => log::info(ctx.state, ctx.scalars, &args),
        TableFunction::LogStats => log::stats(ctx.state, ctx.scalars, &args),
        TableFunction::MyPermissions => catalog::my_permissions(ctx.state, ctx.scalars, &args),
        TableFunction::Cdc(read) => read.rows(ctx.state.db(*database), &args)?,
    };
    for row in rows {
        if !each(Part::Values(std::rc::Rc::new(row)))? {
            return Ok(false);
        }
    }
    Ok(true)
}
