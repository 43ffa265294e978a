//! The check before the start, of the target: everything that is not as a task needs it, all at once, with what to type.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use logferry_model::{Finding, TargetTable};

use crate::connect::Target;
use crate::ddl::{ExistingTables, missing_types};
use crate::door::door;
use crate::error::Said;
use crate::names::quoted;

/// The oldest that is tested.
const OLDEST: i32 = 130_000;

const RIGHTS: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
     has_database_privilege(current_database(), 'CREATE'), current_database(), current_user::text, \
     pg_is_in_recovery(), to_regclass('logferry.task') IS NOT NULL";

const EXISTING: &str = "SELECT w.s, w.t FROM unnest($1::text[], $2::text[]) AS w (s, t) \
     JOIN pg_namespace AS n ON n.nspname = w.s JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.t \
     ORDER BY 1, 2";

/// What was found, for a task that is to make these tables.
pub fn check<'a>(
    target: &'a Target,
    task: &'a str,
    tables: &'a [Arc<TargetTable>],
    existing: ExistingTables,
) -> BoxFuture<'a, Vec<Finding>> {
    door(async move {
        let mut findings = Vec::new();
        if let Err(said) = look(target, task, tables, existing, &mut findings).await {
            findings.push(Finding::error(format!("target {target}"), said));
        }
        findings
    })
}

async fn look(
    target: &Target,
    task: &str,
    tables: &[Arc<TargetTable>],
    existing: ExistingTables,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let failed = |e: tokio_postgres::Error| Said::from(e).to_string();
    let client = target.connect().await.map_err(|e| e.to_string())?;
    let row = client.query_one(RIGHTS, &[]).await.map_err(failed)?;
    let (number, version): (i32, String) = (row.get(0), row.get(1));
    let (may_create, database, user): (bool, String, String) = (row.get(2), row.get(3), row.get(4));
    let subject = format!("target {target}");
    if number < OLDEST {
        findings.push(Finding::error(&subject, format!("it is PostgreSQL {version}; 13 is the oldest that will do")));
    }
    if row.get(5) {
        findings.push(Finding::error(&subject, "it is a standby, which cannot be written to"));
    }
    if !may_create {
        findings.push(Finding::error(&subject, "its user may not make schemas in the database").mended_by(format!(
            "GRANT CREATE ON DATABASE {} TO {}",
            quoted(&database),
            quoted(&user)
        )));
    }
    if let Err(e) = client.batch_execute("SET session_replication_role = replica").await {
        let why = format!("triggers and foreign keys of its tables will fire for replicated rows: {}", failed(e));
        let mend = format!("GRANT SET ON PARAMETER session_replication_role TO {}", quoted(&user));
        findings.push(Finding::warning(&subject, why).mended_by(mend));
    }
    for missing in missing_types(&client, tables).await.map_err(failed)? {
        let subject = format!("target table {}, column \"{}\"", missing.table, missing.column);
        let mend = format!("CREATE EXTENSION {} SCHEMA public", missing.extension);
        findings.push(Finding::error(subject, missing.to_string()).mended_by(mend));
    }
    let mut begun = false;
    if row.get(6) {
        let found = client.query_opt("SELECT 1 FROM logferry.task WHERE task = $1", &[&task]).await;
        begun = found.map_err(failed)?.is_some();
    }
    if !begun && existing == ExistingTables::Error {
        let schemas: Vec<&str> = tables.iter().map(|t| t.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
        for row in client.query(EXISTING, &[&schemas, &names]).await.map_err(failed)? {
            let (schema, name): (&str, &str) = (row.get(0), row.get(1));
            let table = format!("{}.{}", quoted(schema), quoted(name));
            findings.push(
                Finding::error(format!("target table {table}"), "it is there already, and not of this task")
                    .mended_by("target.on_existing: ignore, truncate or recreate; or another name under names.tables"),
            );
        }
    }
    Ok(())
}
