//! The end of the copy: chunks are counted, keys made, and the sink that streams on has the first checkpoint.

use std::sync::Arc;

use crate::client::Client;
use logferry_model::{ChangeSink, Fault, Lsn, TargetBatch, TargetTable};

use super::{TableChunks, TaskTarget, commit};
use crate::apply::PgSink;
use crate::connect::{Pool, pooled};
use crate::copy::{self, ChunkDone};
use crate::ddl;
use crate::error::Error;
use crate::names::{qualified, shown};
use crate::state::{self, Phase};

impl TaskTarget {
    pub(super) async fn end_copy(
        &self,
        tables: &[TableChunks],
        fixups: &TargetBatch,
        whole_at: Option<Lsn>,
    ) -> Result<PgSink, Fault> {
        self.enter_keys(tables).await?;
        self.make_keys(tables, whole_at.is_some()).await?;
        let mut sink = self.sink().await?;
        sink.whole_at = whole_at;
        for (table, _) in tables {
            sink.define(table.clone()).await?;
        }
        let tables: Vec<_> = tables.iter().map(|(table, _)| table.clone()).collect();
        sink.apply_fixups(&tables, fixups).await?;
        Ok(sink)
    }

    /// Counts the chunks and records that all are there, in a transaction that waits for the disk.
    async fn enter_keys(&self, tables: &[TableChunks]) -> Result<(), Error> {
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "count the chunks").await?;
        let client = connection.client();
        let phase = state::read(client, &lease.task).await?.phase;
        if !matches!(phase, Phase::Copying | Phase::Keys) {
            return Err(self.out_of_phase(phase, "ending the copy"));
        }
        let done = copy::finished(client, &lease.task).await?;
        for (table, expected) in tables {
            let mine =
                |c: &&ChunkDone| c.schema == table.schema && c.table == table.name && u64::from(c.number) < *expected;
            let found = done.iter().filter(mine).count() as u64;
            if found != *expected {
                return Err(Error::ChunksMissing { table: shown(table), expected: *expected, found });
            }
        }
        client
            .execute(
                "UPDATE logferry.task SET phase = $2, changed_at = now() WHERE task = $1",
                &[&lease.task, &Phase::Keys.as_str()],
            )
            .await
            .map_err(lease.doing("record the phase"))?;
        commit(&mut connection, "the end of the copy").await
    }

    /// Makes the keys that are not there, several tables at a time.
    async fn make_keys(&self, tables: &[TableChunks], some_wait: bool) -> Result<(), Error> {
        let tables: Arc<Vec<Arc<TargetTable>>> = Arc::new(tables.iter().map(|(t, _)| t.clone()).collect());
        let keys = ddl::keys(&tables)?;
        let mut work = tokio::task::JoinSet::new();
        for at in 0..tables.len() {
            let is_due = |key: &ddl::Key| !some_wait || !waits(&tables[at], key);
            let keys: Vec<_> = keys.iter().filter(|k| k.table == at && is_due(k)).cloned().collect();
            let (pool, table, analyze) = (self.pool.clone(), tables[at].clone(), self.settings.analyze);
            // The pool lets `connections_max` of them through at a time.
            work.spawn(async move { finish_table(&pool, &table, &keys, analyze).await });
        }
        while let Some(ended) = work.join_next().await {
            // The rest is stopped by dropping the set; their connections are poisoned or idle.
            ended.map_err(|e| Error::Sql {
                doing: "make keys".to_owned(),
                said: crate::error::Said::text(e.to_string()),
            })??;
        }
        Ok(())
    }
}

/// Whether rows are found without a key.
fn waits(table: &TargetTable, key: &ddl::Key) -> bool {
    !key.primary && key.columns != table.key
}

/// Keys, identities and statistics of one table; each can be done again.
async fn finish_table(pool: &Pool, table: &TargetTable, keys: &[ddl::Key], analyze: bool) -> Result<(), Error> {
    let mut connection = pooled(pool).await?;
    connection.poisoned = true;
    complete_table(connection.client(), table, keys, analyze).await?;
    connection.poisoned = false;
    Ok(())
}

pub(super) async fn complete_table(
    client: &Client,
    table: &TargetTable,
    keys: &[ddl::Key],
    analyze: bool,
) -> Result<(), Error> {
    let reading = || Error::sql(format!("read the keys of table {}", shown(table)));
    let rows = client
        .query(
            "SELECT conname::text, contype = 'p' FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype IN ('p', 'u')",
            &[&qualified(table)],
        )
        .await
        .map_err(reading())?;
    for key in keys {
        let there = rows.iter().any(|r| if key.primary { r.get(1) } else { r.get::<_, &str>(0) == key.name });
        if there {
            continue;
        }
        client.batch_execute(&key.sql).await.map_err(|e| {
            let doing = format!("make key \"{}\" of table {}", key.name, shown(table));
            Error::Sql { doing, said: e.into() }
        })?;
    }
    for sql in ddl::restart_identities(table) {
        let doing = Error::sql(format!("restart the identity of table {}", shown(table)));
        client.batch_execute(&sql).await.map_err(doing)?;
    }
    if analyze {
        let doing = Error::sql(format!("analyze table {}", shown(table)));
        client.batch_execute(&format!("ANALYZE {}", qualified(table))).await.map_err(doing)?;
    }
    Ok(())
}
