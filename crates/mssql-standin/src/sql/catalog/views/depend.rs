//! `sys.sql_expression_dependencies`: what the texts of objects name.

use super::super::super::plan::Column;
use super::super::super::state::Db;
use super::super::super::value::{Value, same_name};
use super::super::shape::{NULL, Rows, b, n, t, view as table};
use logferry_mssql_standin_storage::{Dependency, Named};

const DEPENDENCIES: &str = "referencing_id int, referencing_minor_id int, referencing_class tinyint, referencing_class_desc n60, is_schema_bound_reference bit, referenced_class tinyint=1, referenced_class_desc n60=OBJECT_OR_COLUMN, referenced_server_name sysname?, referenced_database_name sysname?, referenced_schema_name sysname?, referenced_entity_name sysname, referenced_id int?, referenced_minor_id int, is_caller_dependent bit, is_ambiguous bit=0";

/// An object that is named.
struct Referenced {
    server: Option<String>,
    database: Option<String>,
    schema: Option<String>,
    name: String,
    id: Option<u32>,
    column: u32,
    bound: bool,
    by_caller: bool,
}

/// Schema and name of a table or a module.
fn name_of(db: &Db, id: u32) -> Option<(String, String)> {
    let module = db.modules.get(&id).map(|m| (m.schema.clone(), m.name.clone()));
    module.or_else(|| db.storage.table_def(id).map(|def| (def.schema.clone(), def.name.clone())))
}

/// A table or a module by its name, and whether it is a procedure.
fn find(db: &Db, schema: &str, name: &str) -> Option<(u32, bool)> {
    let tables = db.storage.tables().find(|(_, def)| same_name(&def.name, name) && same_name(&def.schema, schema));
    let modules = || db.modules.iter().find(|(_, m)| same_name(&m.name, name) && same_name(&m.schema, schema));
    tables.map(|(id, _)| (id, false)).or_else(|| modules().map(|(id, m)| (*id, m.code() == "P ")))
}

fn referenced(db: &Db, of: &Dependency) -> Option<Referenced> {
    // What is bound is said by ids, with the columns; what is not, by names.
    let bound = db.modules.get(&of.object).is_some_and(|m| m.options.schema_bound);
    match &of.named {
        Named::Name([server, database, schema, name]) => {
            let local = server.is_none() && database.is_none();
            let found = find(db, schema.as_deref().unwrap_or("dbo"), name.as_deref()?).filter(|_| local);
            // Which procedure EXEC runs is decided by who runs it, where it has no schema.
            let by_caller = schema.is_none() && found.is_some_and(|(_, procedure)| procedure);
            Some(Referenced {
                server: server.clone(),
                database: database.clone(),
                schema: schema.clone(),
                name: name.clone()?,
                id: found.filter(|_| !by_caller).map(|(id, _)| id),
                column: 0,
                bound,
                by_caller,
            })
        }
        Named::Column(table, column, kept) if *kept || bound => {
            let (schema, name) = name_of(db, *table)?;
            Some(Referenced {
                server: None,
                database: None,
                schema: Some(schema),
                name,
                id: Some(*table),
                column: *column,
                bound: true,
                by_caller: false,
            })
        }
        Named::Column(..) => None,
    }
}

/// A view of this file.
pub(super) fn view(db: &Db, view: &str) -> Option<(Vec<Column>, Rows)> {
    if view != "sql_expression_dependencies" {
        return None;
    }
    let dependencies = db.storage.dependencies();
    let rows = dependencies.iter().filter_map(|of| {
        let found = referenced(db, of)?;
        let of_database = db.triggers.get(&of.object).is_some_and(|t| t.table.is_none());
        let text = |text: Option<String>| text.map_or(NULL, |text| t(&text));
        Some([
            n(of.object),
            n(of.part),
            n(if of_database { 12 } else { 1 }),
            t(if of_database { "DATABASE_DDL_TRIGGER" } else { "OBJECT_OR_COLUMN" }),
            b(found.bound),
            text(found.server),
            text(found.database),
            text(found.schema),
            t(&found.name),
            found.id.map_or(NULL, n),
            n(found.column),
            b(found.by_caller),
        ] as [Value; 12])
    });
    let given = [
        "referencing_id",
        "referencing_minor_id",
        "referencing_class",
        "referencing_class_desc",
        "is_schema_bound_reference",
        "referenced_server_name",
        "referenced_database_name",
        "referenced_schema_name",
        "referenced_entity_name",
        "referenced_id",
        "referenced_minor_id",
        "is_caller_dependent",
    ];
    Some(table(DEPENDENCIES, given, rows))
}
