//! Tables that somebody wants to be read whole once more: asked for by any process, taken up by the one that runs the task, and forgotten
//! in the transaction that has emptied and filled the table.

use futures_util::future::BoxFuture;
use logferry_model::{Fault, TableId};

use crate::client::Client;
use crate::connect::Target;
use crate::door::door;
use crate::error::Error;
use crate::shape::{self, KnownTable};
use crate::state;

/// A table that is to be read once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadRequest {
    /// The table of the source.
    pub table: TableId,
    /// Later requests have greater numbers.
    pub number: i64,
}

/// Asks for tables of a task, given as `schema.table` of the source, in any case; gives their names. Whoever runs the task takes it up.
///
/// # Errors
/// Where there is no such task, or a table is not one of its tables on the target: nothing is asked for then.
pub fn request_reload<'a>(
    target: &'a Target,
    task: &'a str,
    names: &'a [String],
) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
    door(request(target, task, names))
}

async fn request(target: &Target, task: &str, names: &[String]) -> Result<Vec<String>, Fault> {
    let client = target.connect().await?;
    state::migrate(&client).await?;
    if state::read(&client, task).await?.checkpoint.is_none() {
        return Err(Fault::operator(format!(
            "no table of task \"{task}\" can be read once more before its copy is complete"
        )));
    }
    let known = shape::read(&client, task).await?;
    let there = known.iter().filter_map(|known| match known {
        KnownTable::There(table) | KnownTable::Kept(table) => Some(table),
        KnownTable::LeftOut(_) => None,
    });
    let there: Vec<_> = there.collect();
    let mut found = Vec::new();
    for name in names {
        let table = there.iter().find(|table| table.source.to_string().eq_ignore_ascii_case(name));
        found.push(table.ok_or_else(|| {
            Fault::operator(format!("the task has no table \"{name}\" to be read once more"))
                .with_hint("give it as schema.table, with the schema and name that it has on the source")
        })?);
    }
    for table in &found {
        insert(&client, task, table.source_id).await?;
    }
    Ok(found.iter().map(|table| table.source.to_string()).collect())
}

/// Asks for a table.
pub(crate) async fn insert(client: &Client, task: &str, table: TableId) -> Result<(), Error> {
    let sql = "INSERT INTO logferry.reload (task, source_id) VALUES ($1, $2)";
    let done = client.execute(sql, &[&task, &i64::from(table.0)]).await;
    done.map(drop).map_err(Error::sql(format!("ask for a table of task \"{task}\" to be read once more")))
}

/// All tables that are asked for, the last request of each.
pub(crate) async fn read(client: &Client, task: &str) -> Result<Vec<ReloadRequest>, Error> {
    let sql =
        "SELECT source_id, max(number) FROM logferry.reload WHERE task = $1 GROUP BY source_id ORDER BY max(number)";
    let rows = client.query(sql, &[&task]).await.map_err(doing(task))?;
    let request =
        |row: &tokio_postgres::Row| ReloadRequest { table: TableId(row.get::<_, i64>(0) as u32), number: row.get(1) };
    Ok(rows.iter().map(request).collect())
}

/// Whether there are requests behind one of a number.
pub(crate) async fn is_asked(client: &Client, task: &str, behind: i64) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM logferry.reload WHERE task = $1 AND number > $2)";
    let row = client.query_one(sql, &[&task, &behind]).await.map_err(doing(task))?;
    Ok(row.get(0))
}

/// Forgets a request, and those of the same table before it.
pub(crate) async fn forget(client: &Client, task: &str, request: ReloadRequest) -> Result<(), Error> {
    let sql = "DELETE FROM logferry.reload WHERE task = $1 AND source_id = $2 AND number <= $3";
    let done = client.execute(sql, &[&task, &i64::from(request.table.0), &request.number]).await;
    done.map(drop).map_err(Error::sql("forget that a table is to be read once more"))
}

fn doing(task: &str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    Error::sql(format!("ask which tables of task \"{task}\" are to be read once more"))
}
