//! Values of unique keys that change hands in a transaction of several batches.
//!
//! Within a batch all deletes come before all inserts. A large transaction of the source is several batches, though, and a row may get a value
//! that another row gives up in a later one:
//!
//! ```text
//!  UPDATE t SET place = place + 1       batch 1: the row with 50000 gets 50001      batch 2: the row with 50001 gets 50002
//! ```
//!
//! The source looks at its keys when a statement ends. Here a unique index that a batch violates goes until the commit, in the transaction of the rows:
//! others wait for the table meanwhile, and never see it without. What is there twice at the commit is an error.
//!
//! The key that rows are known by stays: by it they are found. Rows that are to have one that another row has [wait](super::waiting).

use std::sync::Arc;

use logferry_model::TargetTable;
use tokio_postgres::Row;

use super::PgSink;
use super::net::{Rows, TableNet};
use super::one_table::OneTable;
use super::table::Defined;
use crate::ddl::literal;
use crate::error::Error;
use crate::names::{qualified, quoted, shown};

/// A unique index that is not there for now.
pub(super) struct Gone {
    table: Arc<TargetTable>,
    name: String,
    /// Makes it again, as it was.
    again: String,
}

/// `$1`: the table; `$2`: the index.
const INDEX: &str = "
    SELECT pg_get_indexdef(i.indexrelid) AS definition, con.conname::text AS name, con.condeferrable, con.condeferred,
        space.spcname::text AS space, i.indisreplident,
        (SELECT array_agg(a.attname::text) FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts) AS columns
    FROM pg_class AS c
    JOIN pg_index AS i ON i.indexrelid = c.oid
    LEFT JOIN pg_constraint AS con ON con.conindid = c.oid AND con.conrelid = i.indrelid AND con.contype IN ('p', 'u')
    LEFT JOIN pg_tablespace AS space ON space.oid = c.reltablespace
    WHERE i.indisunique AND i.indrelid = $1::text::regclass AND c.relname = $2::text";

impl PgSink {
    /// Applies what a batch comes to for a table, where the batch is a part of its transaction only.
    pub(super) async fn apply_part(&mut self, at: usize, rows: &Rows<'_>, net: &TableNet) -> Result<(), Error> {
        loop {
            self.of_part("SAVEPOINT part", &net.table).await?;
            let mut one = OneTable { client: &self.client, defined: &mut self.tables[at], rows };
            let Err(error) = one.apply(net).await else {
                return self.of_part("RELEASE SAVEPOINT part", &net.table).await;
            };
            let Error::Duplicate { said, .. } = &error else { return Err(error) };
            let Some(name) = said.constraint().map(str::to_owned) else { return Err(error) };
            self.of_part("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part", &net.table).await?;
            // What its statements had made may be gone.
            self.tables[at] = Defined::new(Arc::clone(&net.table), self.defined);
            self.defined += 1;
            if !self.take_away(&net.table, &name).await? {
                return Err(error);
            }
        }
    }

    /// Makes the unique indexes again that went.
    pub(super) async fn make_unique_again(&mut self) -> Result<(), Error> {
        for Gone { table, name, again } in std::mem::take(&mut self.gone) {
            tracing::info!(table = shown(&table), "making unique key \"{name}\" again");
            let doing = format!("make unique key \"{name}\" of table {} again", shown(&table));
            self.client.batch_execute(&again).await.map_err(Error::sql(doing))?;
        }
        Ok(())
    }

    /// A unique index goes until the commit; tells whether it could: not the key that rows are known by, nor one that others refer to.
    async fn take_away(&mut self, table: &Arc<TargetTable>, name: &str) -> Result<bool, Error> {
        let whole = qualified(table);
        let doing = || Error::sql(format!("look at unique key \"{name}\" of table {}", shown(table)));
        let Some(row) = self.client.query_opt(INDEX, &[&whole, &name]).await.map_err(doing())? else {
            return Ok(false);
        };
        let columns: Vec<String> = row.get::<_, Option<_>>("columns").unwrap_or_default();
        if columns.len() == table.key.len() && table.key.iter().all(|&c| columns.contains(&table.columns[c].name)) {
            return Ok(false);
        }
        let drop = match row.get::<_, Option<&str>>("name") {
            Some(constraint) => format!("ALTER TABLE {whole} DROP CONSTRAINT {}", quoted(constraint)),
            None => format!("DROP INDEX {}.{}", quoted(&table.schema), quoted(name)),
        };
        match self.client.batch_execute(&drop).await {
            Ok(()) => {}
            Err(e) if e.as_db_error().is_some() => return Ok(false),
            Err(e) => return Err(doing()(e)),
        }
        tracing::warn!(
            table = shown(table),
            "values change hands in a transaction of several batches: unique key \"{name}\" is made again at its commit"
        );
        self.gone.push(Gone { table: Arc::clone(table), name: name.to_owned(), again: again(&whole, name, &row) });
        Ok(true)
    }

    async fn of_part(&self, sql: &str, table: &TargetTable) -> Result<(), Error> {
        let doing = Error::sql(format!("set up the changes of table {}", shown(table)));
        self.client.batch_execute(sql).await.map_err(doing)
    }
}

/// The statements that make an index again, of a row of [`INDEX`].
fn again(table: &str, name: &str, row: &Row) -> String {
    let is = |column: &str| row.get::<_, Option<bool>>(column) == Some(true);
    let mut sql = String::new();
    let space: Option<&str> = row.get("space");
    if let Some(space) = space {
        sql += &format!("SET LOCAL default_tablespace = {}; ", literal(space));
    }
    sql += row.get::<_, &str>("definition");
    if let Some(constraint) = row.get::<_, Option<&str>>("name") {
        sql +=
            &format!("; ALTER TABLE {table} ADD CONSTRAINT {} UNIQUE USING INDEX {}", quoted(constraint), quoted(name));
        sql += if is("condeferrable") { " DEFERRABLE" } else { "" };
        sql += if is("condeferred") { " INITIALLY DEFERRED" } else { "" };
    }
    if is("indisreplident") {
        sql += &format!("; ALTER TABLE {table} REPLICA IDENTITY USING INDEX {}", quoted(name));
    }
    if space.is_some() {
        sql += "; SET LOCAL default_tablespace TO DEFAULT";
    }
    sql
}
