//! Tables that are not listed any more: dropped, or not seen any more.
//!
//! A login sees in the catalog what it has a right on. One that has lost its rights on a table meets the same as one whose table
//! was dropped: no row in `sys.tables`. What would follow on the target is the opposite, so there must be evidence:
//!
//! | what is found | what it means |
//! |---|---|
//! | the log, or the DDL trigger, tells of the drop | gone |
//! | the object is listed, but not as a user table; there are rights on it; its name can be read, or is refused (229) | there |
//! | the login sees all definitions of the database, and none is denied to it | gone |
//! | none of these | cannot be told |
//!
//! Whoever is there, or cannot be told, stops the task.
//! <https://learn.microsoft.com/sql/relational-databases/security/metadata-visibility-configuration>

use std::sync::Arc;

use logferry_model::{Fault, SourceEvent, TableId, TableName, TableVersion};
use tiberius::ToSql;
use tracing::debug;

use crate::catalog::Reader;
use crate::error::Error;
use crate::session::Session;
use crate::sql::{self, quoted};

/// Why a table that is not listed does not count as gone, if so.
pub(crate) async fn why_not_gone(session: &mut Session, id: TableId, name: &TableName) -> Result<Option<Fault>, Error> {
    let found = look(session, id, name).await?;
    Ok(found.why.map(|why| Error::Unseen { table: name.clone(), user: found.user, why }.into()))
}

/// What is to be told of tables that are not listed any more; of those that nobody wants nothing is asked.
pub(crate) async fn tell(
    session: &mut Session,
    gone: Vec<Arc<TableVersion>>,
    is_wanted: impl Fn(&TableVersion) -> bool,
    events: &mut Vec<SourceEvent>,
) -> Result<(), Error> {
    for table in gone {
        let why = match is_wanted(&table) {
            true => why_not_gone(session, table.id, &table.name).await?,
            false => None,
        };
        events.push(match why {
            Some(fault) => {
                let mend = fault.hint.unwrap_or_default();
                SourceEvent::Unseen { table, why: fault.message, mend }
            }
            None => SourceEvent::Dropped(table),
        });
    }
    Ok(())
}

struct Found {
    user: String,
    /// Why it does not count as gone.
    why: Option<String>,
}

async fn look(session: &mut Session, id: TableId, name: &TableName) -> Result<Found, Error> {
    const DOING: &str = "see whether a table was dropped";
    let path = format!("{}.{}", quoted(&name.schema), quoted(&name.name));
    let id = id.0 as i32;
    let rows = session.rows(DOING, sql::UNSEEN, &[&id, &path.as_str()]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::Unexpected { doing: DOING.to_owned(), what: "there is no answer".to_owned() })?;
    let row = Reader { row, doing: DOING };
    let count = |column| row.optional::<i32>(column).map(|n| n.unwrap_or(0));
    let user = row.optional::<&str>("user_name")?.unwrap_or_default().to_owned();
    let (sees_all, is_replaced) = (count("sees_all")? == 1, count("is_replaced")? == 1);
    let (objects, rights, denied) = (count("objects")?, count("rights")?, count("denied_schemas")?);
    let there = |why: &str| Ok(Found { user: user.clone(), why: Some(why.to_owned()) });
    if objects > 0 {
        return there("it is still there, but not listed as a user table that can be read");
    }
    if rights > 0 {
        return there("there are still rights on it, so that it is there under this or another name");
    }
    if !is_replaced {
        // A name that is not there is told from one that may not be read.
        match session.rows(DOING, &format!("SELECT TOP (0) 1 AS one FROM {path}"), &[]).await {
            Ok(_) => return there("it can be read, but its definition is not shown"),
            Err(Error::Statement { number: 208, .. }) => {}
            Err(Error::Statement { number: 229 | 230, said, .. }) => return there(&said),
            Err(e) => return Err(e),
        }
    }
    if sees_all && denied == 0 {
        return Ok(Found { user, why: None });
    }
    if was_dropped(session, name).await? {
        return Ok(Found { user, why: None });
    }
    there(
        "it was dropped, renamed or moved to another schema, or the right to see it was taken away: that cannot be told without the right to see all definitions",
    )
}

/// What the trigger of `mode: hybrid` has noted, where there is one.
async fn was_dropped(session: &mut Session, name: &TableName) -> Result<bool, Error> {
    const DOING: &str = "ask what was noted of a table";
    let parameters: [&dyn ToSql; 2] = [&name.schema.as_str(), &name.name.as_str()];
    match session.rows(DOING, sql::UNSEEN_HISTORY, &parameters).await {
        Ok(rows) => {
            let last = rows.first().and_then(|row| row.try_get::<&str, _>("event_type").ok().flatten());
            Ok(last == Some("DROP_TABLE"))
        }
        Err(e @ Error::Statement { .. }) if !e.is_transient() => {
            debug!("{e}");
            Ok(false)
        }
        Err(e) => Err(e),
    }
}
