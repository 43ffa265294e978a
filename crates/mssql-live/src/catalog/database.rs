//! The server and the database, and what following asks of them.

use logferry_model::Lineage;
use tracing::info;

use super::{Edition, Reader};
use crate::error::Error;
use crate::session::Session;
use crate::sql;

/// The server and the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Database {
    /// `SERVERPROPERTY('ProductVersion')`
    pub(crate) product_version: String,
    /// `SERVERPROPERTY('EngineEdition')`
    pub(crate) edition: Edition,
    /// `SERVERPROPERTY('ServerName')`
    pub(crate) server: String,
    /// `sys.databases.name`
    pub(crate) name: String,
    /// How consistent rows can be had that others change.
    pub(crate) isolation: Isolation,
    /// `FULL`, `BULK_LOGGED` or `SIMPLE`.
    pub(crate) recovery_model: String,
}

/// What the database allows its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// `ALLOW_SNAPSHOT_ISOLATION ON`: the rows of a transaction are of one moment.
    Snapshot,
    /// `READ_COMMITTED_SNAPSHOT ON`: the rows of a statement are of one moment.
    ReadCommittedSnapshot,
    /// Neither: a statement waits for writers, and may meet a row that moves twice, or not at all.
    Locks,
}

impl Database {
    /// Asks the server.
    pub(crate) async fn read(session: &mut Session) -> Result<Self, Error> {
        const DOING: &str = "ask the server for its version and database";
        let rows = session.rows(DOING, sql::DATABASE, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::Unexpected {
            doing: DOING.to_owned(),
            what: "the database is not in sys.databases".to_owned(),
        })?;
        let row = Reader { row, doing: DOING };
        Ok(Database {
            product_version: row.text("product_version")?,
            edition: Edition::of(row.optional("engine_edition")?.unwrap_or(0)),
            server: row.optional::<&str>("server_name")?.unwrap_or_default().to_owned(),
            name: row.text("name")?,
            recovery_model: row.text("recovery_model_desc")?,
            isolation: match (row.is("snapshot_isolation_state")?, row.is("is_read_committed_snapshot_on")?) {
                (true, _) => Isolation::Snapshot,
                (false, true) => Isolation::ReadCommittedSnapshot,
                (false, false) => Isolation::Locks,
            },
        })
    }

    /// What following the log asks of a database.
    pub(crate) fn must_be_followed(&self) -> Result<(), Error> {
        match self.not_followed().into_iter().next() {
            Some((why, mend)) => Err(Error::NotSetUp { database: self.name.clone(), why, mend }),
            None => Ok(()),
        }
    }

    /// Why it cannot be followed by its log, and what mends that: all of it.
    pub(crate) fn not_followed(&self) -> Vec<(&'static str, String)> {
        let name = sql::quoted(&self.name);
        let mut not = Vec::new();
        if let Err((why, mend)) = self.edition.must_be_followed(&self.product_version) {
            not.push((why, mend.to_owned()));
        }
        if self.recovery_model != "FULL" {
            let why = "its recovery model is not FULL, so that the log is cut off at any checkpoint, or holds no rows";
            not.push((why, format!("ALTER DATABASE {name} SET RECOVERY FULL; then a full backup")));
        }
        if self.isolation != Isolation::Snapshot {
            let why = "it does not allow SNAPSHOT isolation, by which changed rows are read as of one moment";
            not.push((why, format!("ALTER DATABASE {name} SET ALLOW_SNAPSHOT_ISOLATION ON")));
        }
        not
    }

    /// What a copy asks of a database whose changes are told to be told again over it: that it does not show what is never committed,
    /// nor the same row twice.
    pub(crate) fn must_have_versions(&self) -> Result<(), Error> {
        match self.isolation {
            Isolation::Snapshot | Isolation::ReadCommittedSnapshot => Ok(()),
            Isolation::Locks => Err(Error::NotCaptured {
                what: format!(
                    "database \"{}\" allows neither SNAPSHOT isolation nor READ_COMMITTED_SNAPSHOT: its rows cannot be copied while \
                     others write",
                    self.name
                ),
                mend: format!("ALTER DATABASE {} SET ALLOW_SNAPSHOT_ISOLATION ON", sql::quoted(&self.name)),
            }),
        }
    }

    /// The history that positions belong to. Where the server does not tell, its name and the database's stand for it.
    pub(crate) async fn lineage(&self, session: &mut Session) -> Result<Lineage, Error> {
        Ok(history(session).await?.unwrap_or_else(|| self.named()))
    }

    /// What stands for a history that is not told: nobody can know of a restore by it.
    pub(crate) fn named(&self) -> Lineage {
        Lineage { database: uuid_of(&format!("{}/{}", self.server, self.name)), fork: [0; 16] }
    }
}

/// The history of the database; `None` where the server does not tell.
pub(crate) async fn history(session: &mut Session) -> Result<Option<Lineage>, Error> {
    const DOING: &str = "ask for the database's recovery fork";
    let why = match session.rows(DOING, sql::LINEAGE, &[]).await {
        // The row is shown to whoever may see any database, which public may, where nobody has changed that.
        Ok(rows) => rows.into_iter().next().ok_or_else(|| format!("could not {DOING}: it is not shown")),
        Err(e @ Error::Statement { .. }) if !e.is_transient() => Err(e.to_string()),
        Err(e) => return Err(e),
    };
    let row = why.inspect_err(|why| info!("{why}: a database that is restored will not be noticed"));
    let Ok(row) = row else { return Ok(None) };
    let row = Reader { row: &row, doing: DOING };
    let guid = |column| row.optional::<uuid::Uuid>(column).map(|guid| guid.map(|g| g.to_bytes_le()));
    let told = guid("database_guid")?.zip(guid("recovery_fork_guid")?);
    Ok(told.map(|(database, fork)| Lineage { database, fork }))
}

/// 16 bytes that stand for a name: FNV-1a, 128 bits.
pub(crate) fn uuid_of(text: &str) -> [u8; 16] {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for byte in text.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_cannot_be_followed_says_what_mends_it() {
        let check = |recovery_model: &str, isolation, expect: Option<&str>| {
            let (name, recovery_model) = ("a]b".to_owned(), recovery_model.to_owned());
            let database = Database {
                product_version: "16.0.1000.6".to_owned(),
                edition: Edition::Instance,
                server: String::new(),
                name,
                isolation,
                recovery_model,
            };
            let hint = database.must_be_followed().err().and_then(|e| logferry_model::Fault::from(e).hint);
            assert_eq!(hint.as_deref(), expect);
        };
        check("FULL", Isolation::Snapshot, None);
        check("SIMPLE", Isolation::Snapshot, Some("ALTER DATABASE [a]]b] SET RECOVERY FULL; then a full backup"));
        let mend = "ALTER DATABASE [a]]b] SET ALLOW_SNAPSHOT_ISOLATION ON";
        check("FULL", Isolation::ReadCommittedSnapshot, Some(mend));
        check("FULL", Isolation::Locks, Some(mend));
    }
}
