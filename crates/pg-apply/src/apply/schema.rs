//! Tables that come, go and change while changes are applied: in the transaction of the rows, and with what is remembered of them.

use std::sync::Arc;

use logferry_model::{Reshaped, SchemaChange, TargetTable};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::PgSink;
use crate::ddl::alter::{Step, alter, passing_name, rename};
use crate::ddl::{self, ExistingTables, literal};
use crate::error::Error;
use crate::names::{check_lengths, fit, qualified, quoted, shown, type_name};
use crate::shape::{self, KnownTable};

/// A step that waits for the rows that come with the change.
pub(super) struct Later {
    table: Arc<TargetTable>,
    step: Step,
}

impl PgSink {
    /// Changes tables. What goes, goes first; then names change hands; then tables get their new shapes; new tables come last.
    pub(super) async fn alter_tables(&mut self, changes: &[SchemaChange]) -> Result<(), Error> {
        for change in changes {
            if let SchemaChange::Drop(table) = change {
                self.drop_table(table).await?;
            }
        }
        let reshaped: Vec<&Reshaped> = changes
            .iter()
            .filter_map(|change| match change {
                SchemaChange::Alter(reshaped) => Some(reshaped),
                _ => None,
            })
            .collect();
        // What still waits is of the shape before, under its names.
        let again = |later: &Later| reshaped.iter().any(|r| r.to.source_id == later.table.source_id);
        let (mine, others): (Vec<Later>, _) = std::mem::take(&mut self.later).into_iter().partition(again);
        self.later = others;
        for Later { table, step } in mine {
            self.step(&table, &step).await?;
        }
        self.rename_tables(&reshaped).await?;
        for reshaped in reshaped {
            self.reshape(reshaped).await?;
        }
        for change in changes {
            match change {
                SchemaChange::Create(table) => self.create_table(table).await?,
                SchemaChange::Note(table) => shape::write(&self.client, &self.lease.task, table).await?,
                SchemaChange::Keep(table) => shape::keep(&self.client, &self.lease.task, table).await?,
                SchemaChange::LeaveOut(table) => shape::leave_out(&self.client, &self.lease.task, *table).await?,
                SchemaChange::Forget(table) => shape::forget(&self.client, &self.lease.task, table.source_id).await?,
                SchemaChange::Settings(settings) => self.lease.remember(&self.client, settings).await?,
                SchemaChange::Alter(_) | SchemaChange::Drop(_) => {}
            }
        }
        Ok(())
    }

    /// What waited for the rows.
    pub(super) async fn finish_tables(&mut self) -> Result<(), Error> {
        for Later { table, step } in std::mem::take(&mut self.later) {
            self.step(&table, &step).await?;
        }
        Ok(())
    }

    /// Keys that waited until rows of one moment no longer stand beside rows of another.
    pub(super) async fn make_keys_that_waited(&mut self) -> Result<(), Error> {
        let known = shape::read(&self.client, &self.lease.task).await?;
        for known in known {
            let (KnownTable::There(table) | KnownTable::Kept(table)) = known else { continue };
            for (name, columns) in table.unique.iter().filter(|(_, columns)| *columns != table.key) {
                let columns: Vec<String> = columns.iter().map(|&c| table.columns[c].name.clone()).collect();
                if self.key_name(&table, false, &columns).await?.is_none() {
                    tracing::info!(table = shown(&table), "making unique key \"{name}\"");
                    self.add_key(&table, false, name, &columns).await?;
                }
            }
        }
        let sql = "UPDATE logferry.task SET whole_at = NULL WHERE task = $1";
        self.client.execute(sql, &[&self.lease.task]).await.map_err(self.lease.doing("forget the keys that waited"))?;
        self.whole_at = None;
        Ok(())
    }

    async fn drop_table(&mut self, table: &TargetTable) -> Result<(), Error> {
        tracing::info!(table = shown(table), source = %table.source, "dropping a table that is gone on the source");
        self.later.retain(|later| later.table.source_id != table.source_id);
        // Somebody may have dropped it here as well.
        self.execute(table, &format!("DROP TABLE IF EXISTS {}", qualified(table))).await?;
        shape::forget(&self.client, &self.lease.task, table.source_id).await
    }

    async fn rename_tables(&mut self, reshaped: &[&Reshaped]) -> Result<(), Error> {
        let called = |t: &TargetTable| (t.schema.clone(), t.name.clone());
        let renamed: Vec<&&Reshaped> = reshaped.iter().filter(|r| called(&r.from) != called(&r.to)).collect();
        if renamed.is_empty() {
            return Ok(());
        }
        let schemas: Vec<Arc<TargetTable>> = renamed.iter().map(|r| Arc::clone(&r.to)).collect();
        ddl::make_schemas(&self.client, &schemas).await?;
        let mut present: Vec<String> = renamed.iter().map(|r| r.from.name.clone()).collect();
        if renamed.len() > 1 {
            // One may take the name that another one gives up.
            for (r, present) in renamed.iter().zip(&mut present) {
                let passing = passing_name(&r.to);
                let schema = quoted(&r.from.schema);
                let sql = format!("ALTER TABLE {schema}.{} RENAME TO {}", quoted(present), quoted(&passing));
                self.execute(&r.from, &sql).await?;
                *present = passing;
            }
        }
        for (r, present) in renamed.iter().zip(&present) {
            tracing::info!(from = shown(&r.from), to = shown(&r.to), "renaming a table");
            for sql in rename(&r.from, present, &r.to) {
                self.execute(&r.to, &sql).await?;
            }
        }
        Ok(())
    }

    async fn reshape(&mut self, reshaped: &Reshaped) -> Result<(), Error> {
        let table = &reshaped.to;
        check_lengths(table)?;
        let steps = alter(reshaped).map_err(Error::Reshape)?;
        ddl::make_schemas(&self.client, std::slice::from_ref(table)).await?;
        for step in &steps.before {
            tracing::info!(table = shown(table), "changing a table: {step}");
            self.step(table, step).await?;
        }
        self.later.extend(steps.after.into_iter().map(|step| Later { table: Arc::clone(table), step }));
        shape::write(&self.client, &self.lease.task, table).await
    }

    async fn create_table(&mut self, table: &Arc<TargetTable>) -> Result<(), Error> {
        tracing::info!(table = shown(table), source = %table.source, "making a table that is new on the source");
        let tables = std::slice::from_ref(table);
        let keys = ddl::keys(tables)?;
        for note in ddl::notes(table) {
            tracing::warn!(table = shown(table), "{note}");
        }
        ddl::make_schemas(&self.client, tables).await?;
        if ddl::existing(&self.client, tables).await?.contains(&true) {
            // Somebody has prepared it, if it has no rows. Rows are those of somebody else, or of a table that this one replaces.
            let sql = format!("SELECT EXISTS (SELECT FROM {})", qualified(table));
            let doing = Error::sql(format!("look into table {}", shown(table)));
            let has_rows = self.client.query_one(&sql, &[]).await.map_err(doing)?.get(0);
            match self.existing {
                ExistingTables::Recreate => {
                    self.execute(table, &format!("DROP TABLE {}", qualified(table))).await?;
                    self.execute(table, &ddl::create_table(table)).await?;
                }
                ExistingTables::Truncate if has_rows => {
                    ddl::check_columns(&self.client, &[table]).await?;
                    self.execute(table, &format!("TRUNCATE {}", qualified(table))).await?;
                }
                _ if has_rows => return Err(Error::TablesExist(vec![shown(table)])),
                _ => ddl::check_columns(&self.client, &[table]).await?,
            }
        } else {
            self.execute(table, &ddl::create_table(table)).await?;
        }
        for key in &keys {
            let columns: Vec<String> = key.columns.iter().map(|&c| table.columns[c].name.clone()).collect();
            if self.key_name(table, key.primary, &columns).await?.is_none() {
                self.add_key(table, key.primary, &key.name, &columns).await?;
            }
        }
        for sql in ddl::restart_identities(table) {
            self.execute(table, &sql).await?;
        }
        shape::write(&self.client, &self.lease.task, table).await
    }

    async fn step(&self, table: &TargetTable, step: &Step) -> Result<(), Error> {
        match step {
            Step::Run(sql) => self.execute(table, sql).await,
            Step::Fill { before, value, pg_type, after } => {
                // The server spells the value: it knows best what its own literals look like.
                let sql = format!("SELECT ($1::{})::text", type_name(pg_type));
                let row = self.client.query_one(&sql, &[&Binary(value)]).await.map_err(|e| failed(table, step, e))?;
                let text: String = row.get(0);
                let sql = format!("{before} {}{after}", literal(&text));
                self.client.batch_execute(&sql).await.map_err(|e| failed(table, step, e))
            }
            Step::DropKey { primary, columns } => match self.key_name(table, *primary, columns).await? {
                Some(name) => {
                    let sql = format!("ALTER TABLE {} DROP CONSTRAINT {}", qualified(table), quoted(&name));
                    self.execute(table, &sql).await
                }
                None => {
                    tracing::info!(table = shown(table), "the target has no such key: {step}");
                    Ok(())
                }
            },
            // It comes with the others that wait.
            Step::AddKey { primary: false, .. } if self.whole_at.is_some() => Ok(()),
            Step::AddKey { primary, name, columns } => self.add_key(table, *primary, name, columns).await,
        }
    }

    /// The key over these columns.
    async fn key_name(&self, table: &TargetTable, primary: bool, columns: &[String]) -> Result<Option<String>, Error> {
        let sql = "SELECT conname::text FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype::text = $2 \
                   AND ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS k(num, at) \
                             JOIN pg_attribute ON attrelid = conrelid AND attnum = num ORDER BY at) = $3 \
                   ORDER BY 1 LIMIT 1";
        let kind = if primary { "p" } else { "u" };
        let found = self.client.query_opt(sql, &[&qualified(table), &kind, &columns]).await;
        let found = found.map_err(Error::sql(format!("read the keys of table {}", shown(table))))?;
        Ok(found.map(|row| row.get(0)))
    }

    /// Makes a key, under another name where that one is taken.
    async fn add_key(&self, table: &TargetTable, primary: bool, name: &str, columns: &[String]) -> Result<(), Error> {
        let names: Vec<String> =
            (0..100).map(|n| if n == 0 { fit(name, "") } else { fit(name, &format!("_{n}")) }).collect();
        let sql = "SELECT n FROM unnest($1::text[]) WITH ORDINALITY AS x(n, at) WHERE NOT EXISTS \
                   (SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE nspname = $2 AND relname = n) \
                   ORDER BY at LIMIT 1";
        let free = self.client.query_opt(sql, &[&names, &table.schema]).await;
        let free = free.map_err(Error::sql(format!("look for a name of a key of table {}", shown(table))))?;
        let name = free.map_or_else(|| names[0].clone(), |row| row.get(0));
        let kind = if primary { "PRIMARY KEY" } else { "UNIQUE" };
        let columns = columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
        let sql = format!("ALTER TABLE {} ADD CONSTRAINT {} {kind} ({columns})", qualified(table), quoted(&name));
        self.execute(table, &sql).await
    }

    async fn execute(&self, table: &TargetTable, sql: &str) -> Result<(), Error> {
        let step = Step::Run(sql.to_owned());
        self.client.batch_execute(sql).await.map_err(|e| failed(table, &step, e))
    }
}

fn failed(table: &TargetTable, step: &Step, e: tokio_postgres::Error) -> Error {
    Error::Schema { table: shown(table), step: step.to_string(), said: crate::error::Said::without_values(e) }
}

/// A value in PostgreSQL's binary form, of whatever type the statement says.
#[derive(Debug)]
struct Binary<'v>(&'v [u8]);

impl ToSql for Binary<'_> {
    fn to_sql(&self, _: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
