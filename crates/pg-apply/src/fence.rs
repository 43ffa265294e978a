//! What was read of a table at a later moment than that of the copy, and up to where its changes are in those rows; written in
//! the transaction that wrote the rows.

use logferry_model::{Fence, Lsn, TableId};

use crate::client::Client;
use crate::error::Error;

/// Remembers a fence; one of the same table that there was counts no more.
pub(crate) async fn write(client: &Client, task: &str, fence: Fence) -> Result<(), Error> {
    let sql = "INSERT INTO logferry.fence (task, source_id, lsn) VALUES ($1, $2, $3) \
               ON CONFLICT (task, source_id) DO UPDATE SET lsn = excluded.lsn";
    let done = client.execute(sql, &[&task, &i64::from(fence.table.0), &fence.lsn.to_string()]).await;
    done.map(drop).map_err(Error::sql("remember up to where the changes of a table are in its rows"))
}

/// All that are remembered.
pub(crate) async fn read(client: &Client, task: &str) -> Result<Vec<Fence>, Error> {
    let rows = client
        .query("SELECT source_id, lsn FROM logferry.fence WHERE task = $1 ORDER BY source_id", &[&task])
        .await
        .map_err(Error::sql(format!("read the fences of task \"{task}\"")))?;
    let fence = |row: &tokio_postgres::Row| {
        let lsn: Lsn = row
            .get::<_, &str>(1)
            .parse()
            .map_err(|_| Error::BadState { task: task.to_owned(), what: "a fence is no LSN".to_owned() })?;
        Ok(Fence { table: TableId(row.get::<_, i64>(0) as u32), lsn })
    };
    rows.iter().map(fence).collect()
}
