//! The tables of a task, before their rows: made, found or taken as they are.

use std::sync::Arc;

use crate::client::Client;
use logferry_model::{Fault, SnapshotPoint, TargetTable};

use super::keys::complete_table;
use super::{TaskTarget, commit};
use crate::apply::PgSink;
use crate::ddl::{self, ExistingTables};
use crate::error::Error;
use crate::names::{qualified, shown};
use crate::shape;
use crate::state::{self, Lease, Phase};

impl TaskTarget {
    pub(super) async fn tables_of_copy(
        &self,
        tables: &[Arc<TargetTable>],
        snapshot: &SnapshotPoint,
        memo: &[u8],
    ) -> Result<Phase, Fault> {
        ddl::keys(tables)?;
        for note in tables.iter().flat_map(|t| ddl::notes(t).into_iter().map(move |n| (t, n))) {
            tracing::warn!(table = shown(note.0), "{}", note.1);
        }
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "create the tables").await?;
        let client = connection.client();
        let state = state::read(client, &lease.task).await?;
        let same_snapshot = state.snapshot == Some(snapshot.id);
        let phase = match state.phase {
            Phase::Created => {
                self.first_tables(client, tables).await?;
                Phase::Copying
            }
            Phase::Copying | Phase::Keys if same_snapshot => {
                self.missing_tables(client, &lease, tables).await?;
                state.phase
            }
            Phase::Copying | Phase::Keys => {
                self.missing_tables(client, &lease, tables).await?;
                empty(client, tables).await?;
                client
                    .execute("DELETE FROM logferry.chunk WHERE task = $1", &[&lease.task])
                    .await
                    .map_err(lease.doing("forget the chunks"))?;
                client
                    .execute("DELETE FROM logferry.fence WHERE task = $1", &[&lease.task])
                    .await
                    .map_err(lease.doing("forget the fences"))?;
                Phase::Copying
            }
            Phase::Streaming => return Err(self.out_of_phase(state.phase, "creating tables").into()),
        };
        client
            .execute(
                "UPDATE logferry.task SET phase = $2, snapshot = $3, memo = $4, changed_at = now() WHERE task = $1",
                &[&lease.task, &phase.as_str(), &&snapshot.id[..], &memo],
            )
            .await
            .map_err(lease.doing("record the phase"))?;
        commit(&mut connection, "the tables").await?;
        Ok(phase)
    }

    pub(super) async fn tables_alone(&self, tables: &[Arc<TargetTable>]) -> Result<(), Fault> {
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "make the tables").await?;
        self.prepare_tables(connection.client(), &lease, tables).await?;
        commit(&mut connection, "the tables").await?;
        Ok(())
    }

    pub(super) async fn tables_as_they_are(
        &self,
        tables: &[Arc<TargetTable>],
        at: &SnapshotPoint,
    ) -> Result<PgSink, Fault> {
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "take the tables").await?;
        let client = connection.client();
        self.prepare_tables(client, &lease, tables).await?;
        for table in tables {
            shape::write(client, &lease.task, table).await?;
        }
        client
            .execute(
                "UPDATE logferry.task SET phase = $2, snapshot = $3, changed_at = now() WHERE task = $1",
                &[&lease.task, &Phase::Streaming.as_str(), &&at.id[..]],
            )
            .await
            .map_err(lease.doing("record the phase"))?;
        lease.write(client, &at.checkpoint).await?;
        commit(&mut connection, "the tables").await?;
        self.sink().await
    }

    async fn prepare_tables(&self, client: &Client, lease: &Lease, tables: &[Arc<TargetTable>]) -> Result<(), Error> {
        let keys = ddl::keys(tables)?;
        let phase = state::read(client, &lease.task).await?.phase;
        if phase != Phase::Created {
            return Err(self.out_of_phase(phase, "making tables without a copy"));
        }
        self.first_tables(client, tables).await?;
        for (at, table) in tables.iter().enumerate() {
            let keys: Vec<_> = keys.iter().filter(|k| k.table == at).cloned().collect();
            complete_table(client, table, &keys, false).await?;
        }
        Ok(())
    }

    /// Tables of a task that has none yet.
    async fn first_tables(&self, client: &Client, tables: &[Arc<TargetTable>]) -> Result<(), Error> {
        ddl::make_schemas(client, tables).await?;
        let (old, mut new) = by_presence(tables, &ddl::existing(client, tables).await?);
        self.must_be_there(&new)?;
        match self.settings.existing_tables {
            ExistingTables::Error if old.is_empty() => {}
            ExistingTables::Error if !self.settings.make_tables => {
                ddl::check_columns(client, &old).await?;
                must_be_empty(client, &old).await?;
            }
            ExistingTables::Error => return Err(Error::TablesExist(old.iter().map(|t| shown(t)).collect())),
            ExistingTables::Ignore => ddl::check_columns(client, &old).await?,
            ExistingTables::Truncate => {
                ddl::check_columns(client, &old).await?;
                empty(client, old.iter().copied()).await?;
            }
            ExistingTables::Recreate => {
                for table in old {
                    let doing = Error::sql(format!("drop table {}", shown(table)));
                    client.batch_execute(&format!("DROP TABLE {}", qualified(table))).await.map_err(doing)?;
                    new.push(table);
                }
            }
        }
        create(client, &new).await
    }

    fn must_be_there(&self, missing: &[&Arc<TargetTable>]) -> Result<(), Error> {
        match self.settings.make_tables || missing.is_empty() {
            true => Ok(()),
            false => Err(Error::TablesMissing(missing.iter().map(|t| shown(t)).collect())),
        }
    }

    /// Tables that somebody dropped in the middle of the copy, or that were added to the task.
    async fn missing_tables(&self, client: &Client, lease: &Lease, tables: &[Arc<TargetTable>]) -> Result<(), Error> {
        ddl::make_schemas(client, tables).await?;
        let (old, new) = by_presence(tables, &ddl::existing(client, tables).await?);
        self.must_be_there(&new)?;
        for table in &new {
            client
                .execute(
                    "DELETE FROM logferry.chunk WHERE task = $1 AND schema_name = $2 AND table_name = $3",
                    &[&lease.task, &table.schema, &table.name],
                )
                .await
                .map_err(lease.doing("forget chunks"))?;
        }
        ddl::check_columns(client, &old).await?;
        create(client, &new).await
    }
}

/// Those that are there, and those that are not.
fn by_presence<'t>(
    tables: &'t [Arc<TargetTable>],
    there: &[bool],
) -> (Vec<&'t Arc<TargetTable>>, Vec<&'t Arc<TargetTable>>) {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (table, there) in tables.iter().zip(there) {
        if *there { old.push(table) } else { new.push(table) }
    }
    (old, new)
}

async fn create(client: &Client, tables: &[&Arc<TargetTable>]) -> Result<(), Error> {
    for table in tables {
        let doing = Error::sql(format!("create table {}", shown(table)));
        client.batch_execute(&ddl::create_table(table)).await.map_err(doing)?;
    }
    Ok(())
}

/// Tables that were made for the copy have no rows.
async fn must_be_empty(client: &Client, tables: &[&Arc<TargetTable>]) -> Result<(), Error> {
    let mut with_rows = Vec::new();
    for table in tables {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", qualified(table));
        let doing = Error::sql(format!("look into table {}", shown(table)));
        if client.query_one(&sql, &[]).await.map_err(doing)?.get(0) {
            with_rows.push(shown(table));
        }
    }
    if with_rows.is_empty() { Ok(()) } else { Err(Error::TablesExist(with_rows)) }
}

async fn empty(client: &Client, tables: impl IntoIterator<Item = &Arc<TargetTable>>) -> Result<(), Error> {
    let names: Vec<_> = tables.into_iter().map(|t| qualified(t)).collect();
    if names.is_empty() {
        return Ok(());
    }
    // One statement: tables with foreign keys to each other can only be emptied together.
    client.batch_execute(&format!("TRUNCATE {}", names.join(", "))).await.map_err(Error::sql("truncate the tables"))
}
