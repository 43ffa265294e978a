//! `sys.fn_my_permissions`: what a session may do. All are sysadmin, but for what is hidden from a program.

use super::super::bind::TableAt;
use super::super::function::split_name;
use super::super::hidden::Rights;
use super::super::plan::Column;
use super::super::state::{Scalars, State};
use super::super::value::{Value, same_name};
use super::objects::objects;
use super::shape::{Rows, columns, t};

const SERVER: &[&str] = &[
    "CONNECT SQL",
    "SHUTDOWN",
    "CREATE ENDPOINT",
    "CREATE ANY DATABASE",
    "CREATE AVAILABILITY GROUP",
    "ALTER ANY LOGIN",
    "ALTER ANY CREDENTIAL",
    "ALTER ANY ENDPOINT",
    "ALTER ANY LINKED SERVER",
    "ALTER ANY CONNECTION",
    "ALTER ANY DATABASE",
    "ALTER RESOURCES",
    "ALTER SETTINGS",
    "ALTER TRACE",
    "ALTER ANY AVAILABILITY GROUP",
    "ADMINISTER BULK OPERATIONS",
    "AUTHENTICATE SERVER",
    "EXTERNAL ACCESS ASSEMBLY",
    "VIEW ANY DATABASE",
    "VIEW ANY DEFINITION",
    "VIEW SERVER STATE",
    "CREATE DDL EVENT NOTIFICATION",
    "CREATE TRACE EVENT NOTIFICATION",
    "ALTER ANY EVENT NOTIFICATION",
    "ALTER SERVER STATE",
    "UNSAFE ASSEMBLY",
    "ALTER ANY SERVER AUDIT",
    "CREATE SERVER ROLE",
    "ALTER ANY SERVER ROLE",
    "ALTER ANY EVENT SESSION",
    "CONNECT ANY DATABASE",
    "IMPERSONATE ANY LOGIN",
    "SELECT ALL USER SECURABLES",
    "CONTROL SERVER",
];

const DATABASE: &[&str] = &[
    "CREATE TABLE",
    "CREATE VIEW",
    "CREATE PROCEDURE",
    "CREATE FUNCTION",
    "CREATE RULE",
    "CREATE DEFAULT",
    "BACKUP DATABASE",
    "BACKUP LOG",
    "CREATE DATABASE",
    "CREATE TYPE",
    "CREATE ASSEMBLY",
    "CREATE XML SCHEMA COLLECTION",
    "CREATE SCHEMA",
    "CREATE SYNONYM",
    "CREATE AGGREGATE",
    "CREATE ROLE",
    "CREATE MESSAGE TYPE",
    "CREATE SERVICE",
    "CREATE CONTRACT",
    "CREATE REMOTE SERVICE BINDING",
    "CREATE ROUTE",
    "CREATE QUEUE",
    "CREATE SYMMETRIC KEY",
    "CREATE ASYMMETRIC KEY",
    "CREATE FULLTEXT CATALOG",
    "CREATE CERTIFICATE",
    "CREATE DATABASE DDL EVENT NOTIFICATION",
    "CONNECT",
    "CONNECT REPLICATION",
    "CHECKPOINT",
    "SUBSCRIBE QUERY NOTIFICATIONS",
    "AUTHENTICATE",
    "SHOWPLAN",
    "ALTER ANY USER",
    "ALTER ANY ROLE",
    "ALTER ANY APPLICATION ROLE",
    "ALTER ANY COLUMN ENCRYPTION KEY",
    "ALTER ANY COLUMN MASTER KEY",
    "ALTER ANY SCHEMA",
    "ALTER ANY ASSEMBLY",
    "ALTER ANY DATABASE SCOPED CONFIGURATION",
    "ALTER ANY DATASPACE",
    "ALTER ANY EXTERNAL DATA SOURCE",
    "ALTER ANY EXTERNAL FILE FORMAT",
    "ALTER ANY MESSAGE TYPE",
    "ALTER ANY CONTRACT",
    "ALTER ANY SERVICE",
    "ALTER ANY REMOTE SERVICE BINDING",
    "ALTER ANY ROUTE",
    "ALTER ANY FULLTEXT CATALOG",
    "ALTER ANY SYMMETRIC KEY",
    "ALTER ANY ASYMMETRIC KEY",
    "ALTER ANY CERTIFICATE",
    "ALTER ANY SECURITY POLICY",
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "REFERENCES",
    "EXECUTE",
    "EXECUTE ANY EXTERNAL SCRIPT",
    "ALTER ANY DATABASE DDL TRIGGER",
    "ALTER ANY DATABASE EVENT NOTIFICATION",
    "ALTER ANY DATABASE AUDIT",
    "ALTER ANY DATABASE EVENT SESSION",
    "ALTER ANY MASK",
    "UNMASK",
    "VIEW ANY COLUMN ENCRYPTION KEY DEFINITION",
    "VIEW ANY COLUMN MASTER KEY DEFINITION",
    "VIEW DATABASE STATE",
    "VIEW DEFINITION",
    "TAKE OWNERSHIP",
    "ALTER",
    "CONTROL",
];

const SCHEMA: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "REFERENCES",
    "EXECUTE",
    "CREATE SEQUENCE",
    "VIEW CHANGE TRACKING",
    "VIEW DEFINITION",
    "ALTER",
    "TAKE OWNERSHIP",
    "CONTROL",
];

/// Of tables and views, and of each of their columns.
const TABLE: &[&str] = &[
    "SELECT",
    "UPDATE",
    "REFERENCES",
    "INSERT",
    "DELETE",
    "VIEW CHANGE TRACKING",
    "VIEW DEFINITION",
    "ALTER",
    "TAKE OWNERSHIP",
    "CONTROL",
];
const COLUMN: &[&str] = &["SELECT", "UPDATE", "REFERENCES"];

const PROCEDURE: &[&str] = &["EXECUTE", "VIEW DEFINITION", "ALTER", "TAKE OWNERSHIP", "CONTROL"];

pub(crate) fn my_permissions_columns() -> Vec<Column> {
    columns("entity_name sysname, subentity_name sysname?, permission_name n60")
}

/// The rows of `sys.fn_my_permissions(securable, class)`; none of what is not there, or of a class that nothing here is of.
pub(crate) fn my_permissions(state: &State, scalars: &Scalars, args: &[Value]) -> Rows {
    let text = |at: usize| args.get(at).and_then(Value::as_text);
    let rights = state.rights_lost(scalars);
    let all =
        |entity: &str, names: &[&str]| -> Rows { names.iter().map(|name| vec![t(entity), t(""), t(name)]).collect() };
    let (securable, class) = (text(0), text(1).unwrap_or_else(|| "SERVER".into()).to_uppercase());
    match (class.as_str(), securable) {
        ("SERVER", None) => match rights {
            None => all("server", SERVER),
            Some(_) => all("server", &["CONNECT SQL", "VIEW ANY DATABASE"]),
        },
        ("DATABASE", name) if name.as_ref().is_none_or(|name| state.find_database(name).is_some()) => match rights {
            None => all("database", DATABASE),
            Some(Rights::SelectDenied) => all("database", &["CONNECT", "VIEW DEFINITION"]),
            Some(_) => all("database", &["CONNECT"]),
        },
        ("SCHEMA", Some(name)) if rights.is_none() && state.find_schema(scalars.database, &name).is_some() => {
            all(&name, SCHEMA)
        }
        ("OBJECT", Some(name)) => of_object(state, scalars, &name),
        _ => Rows::new(),
    }
}

fn of_object(state: &State, scalars: &Scalars, given: &str) -> Rows {
    let Ok((at, schema, name)) = state.resolve(scalars, &split_name(given)) else { return Rows::new() };
    let found = objects(state, at).into_iter().find(|o| same_name(&o.name, &name) && same_name(&o.schema, &schema));
    let Some(object) = found else { return Rows::new() };
    let (seen, db) = (state.is_seen(scalars, TableAt { database: at, table: object.id }), state.db(at));
    let (names, of_columns): (&[&str], &[&str]) = match object.kind {
        "U " | "V " if seen => (TABLE, COLUMN),
        "U " | "V " => match state.rights_lost(scalars) {
            Some(Rights::ViewDenied) => (&["SELECT"], &["SELECT"]),
            Some(Rights::SelectDenied) => (&["VIEW DEFINITION"], &[]),
            _ => (&[], &[]),
        },
        "P " | "FN" => (PROCEDURE, &[]),
        "IF" | "TF" => (TABLE, COLUMN),
        // Constraints and triggers are no securables.
        _ => (&[], &[]),
    };
    let table = db.storage.table_def(object.id).into_iter().flat_map(|def| def.columns.iter().map(|c| &c.name));
    let module = db.modules.get(&object.id).into_iter().flat_map(|m| m.shown.iter().map(|c| &c.name));
    let columns = table.chain(module).flat_map(|column| of_columns.iter().map(move |name| (column.as_str(), *name)));
    let own = names.iter().map(|name| ("", *name));
    own.chain(columns).map(|(column, name)| vec![t(given), t(column), t(name)]).collect()
}
