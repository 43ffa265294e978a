//! Databases and tables of a kind that not every mode follows.

use std::collections::HashMap;

use logferry_model::{Finding, TableId, TableVersion};
use tracing::info;

use super::{table_name, tolerated};
use crate::catalog::{Database, Edition, Reader};
use crate::error::Error;
use crate::session::Session;
use crate::source::Mode;
use crate::sql;

/// What a table is besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    MemoryOptimised,
    Columnstore,
    Temporal,
}

/// What is found of tables that the mode does not follow, or that were not tried.
pub(super) async fn tables(
    session: &mut Session,
    mode: Mode,
    tables: &[&TableVersion],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    const DOING: &str = "ask which tables are of a special kind";
    let mut special: HashMap<TableId, Vec<Special>> = HashMap::new();
    for (kind, text) in [
        (Special::MemoryOptimised, sql::MEMORY_TABLES),
        (Special::Columnstore, sql::COLUMNSTORE_TABLES),
        (Special::Temporal, sql::TEMPORAL_TABLES),
    ] {
        // A server that does not know the column has no such tables.
        for row in tolerated(session.rows(DOING, text, &[]).await)?.unwrap_or_default() {
            let row = Reader { row: &row, doing: DOING };
            special.entry(TableId(row.id("object_id")?)).or_default().push(kind);
        }
    }
    for table in tables {
        let kinds = special.get(&table.id).map_or(&[][..], Vec::as_slice);
        findings.extend(kinds.iter().filter_map(|kind| verdict(mode, *kind, table)));
    }
    Ok(())
}

/// <https://learn.microsoft.com/sql/relational-databases/track-changes/known-issues-and-errors-change-data-capture>
fn verdict(mode: Mode, kind: Special, table: &TableVersion) -> Option<Finding> {
    let captured = matches!(mode, Mode::Cdc(_) | Mode::Hybrid { .. });
    let leave_out = format!("tables.exclude: [\"{}\"]", table.name);
    let finding = match kind {
        _ if mode == Mode::Snapshot => return None,
        // The log reader refuses both by itself: their rows are not on pages, or compressed.
        Special::MemoryOptimised | Special::Columnstore if !captured => return None,
        Special::MemoryOptimised => {
            let why = "it is memory-optimised: the log does not have its rows as those of others, and change data capture is not for such tables";
            Finding::error(table_name(table), why).mended_by(leave_out)
        }
        Special::Columnstore => {
            let why = "it has a clustered columnstore index: the log has its rows compressed, and change data capture is not for such tables";
            Finding::error(table_name(table), why).mended_by(leave_out)
        }
        Special::Temporal => {
            let why = "it is system-versioned: its history table is copied and followed as a table of its own; that was not tried on a real server";
            Finding::warning(table_name(table), why)
        }
    };
    Some(finding)
}

/// What is found of options of the database.
pub(super) async fn database(
    session: &mut Session,
    database: &Database,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let subject = format!("database \"{}\"", database.name);
    let name = sql::quoted(&database.name);
    const DURABILITY: &str = "ask whether commits wait for the disk";
    let rows = tolerated(session.rows(DURABILITY, sql::DELAYED_DURABILITY, &[]).await)?.unwrap_or_default();
    if rows.first().map(|row| Reader { row, doing: DURABILITY }.is("is_delayed")).transpose()? == Some(true) {
        let why = "it allows delayed durability: a commit may be read, and be lost when the server crashes, so that the target is ahead of it";
        findings.push(
            Finding::warning(&subject, why)
                .mended_by(format!("ALTER DATABASE {name} SET DELAYED_DURABILITY = DISABLED")),
        );
    }
    const RECOVERY: &str = "ask whether recovery is accelerated";
    let rows = tolerated(session.rows(RECOVERY, sql::ACCELERATED_RECOVERY, &[]).await)?.unwrap_or_default();
    if rows.first().map(|row| Reader { row, doing: RECOVERY }.is("is_accelerated")).transpose()? == Some(true) {
        let why = "accelerated database recovery is on: its log has records of row versions, which was not tried on a real server";
        findings.push(
            Finding::warning(&subject, why)
                .mended_by(format!("ALTER DATABASE {name} SET ACCELERATED_DATABASE_RECOVERY = OFF")),
        );
    }
    Ok(())
}

/// What is found of the place that the database has on its server. What a mode makes there is made as `dbo`.
pub(super) async fn place(
    session: &mut Session,
    mode: Mode,
    database: &Database,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    const OWNER: &str = "ask whose the database is";
    const GROUP: &str = "ask whether the database is in an availability group";
    const KEPT: &str = "ask for whom the log is kept";
    let mut first = async |doing: &'static str, text: &str| {
        Ok::<_, Error>(tolerated(session.rows(doing, text, &[]).await)?.and_then(|rows| rows.into_iter().next()))
    };
    let (mut is_known, mut is_primary, mut is_orphaned) = (true, None, false);
    if let Some(row) = first(OWNER, sql::DATABASE_OWNER).await?.filter(|_| database.edition == Edition::Instance) {
        is_known = Reader { row: &row, doing: OWNER }.is("is_known")?;
    }
    if let Some(row) = first(GROUP, sql::AVAILABILITY).await? {
        is_primary = Some(Reader { row: &row, doing: GROUP }.is("is_primary")?);
    }
    if let Some(row) = first(KEPT, sql::LOG_KEPT_FOR).await? {
        let row = Reader { row: &row, doing: KEPT };
        is_orphaned = row.is("is_kept")? && !row.is("is_read")?;
    }
    findings.extend(owner(mode, &database.name, is_known));
    findings.extend(is_primary.and_then(|is_primary| replica(mode, &database.name, is_primary)));
    findings.extend(is_orphaned.then(|| orphaned(&database.name)));
    Ok(())
}

/// Whether something is made on the source.
fn makes(mode: Mode) -> bool {
    matches!(mode, Mode::Hybrid { .. } | Mode::Cdc(crate::cdc::CdcSettings { enable: true }))
}

fn owner(mode: Mode, database: &str, is_known: bool) -> Option<Finding> {
    if is_known || !makes(mode) {
        return None;
    }
    let why = "its owner is a login that this server does not know, so that nothing can be done as dbo (error 15517): neither \
               capturing be enabled nor the trigger of mode hybrid run";
    let mend = format!("ALTER AUTHORIZATION ON DATABASE::{} TO [sa]", sql::quoted(database));
    Some(Finding::error(format!("database \"{database}\""), why).mended_by(mend))
}

/// <https://learn.microsoft.com/sql/database-engine/availability-groups/windows/replicate-track-change-data-capture-always-on-availability>
fn replica(mode: Mode, database: &str, is_primary: bool) -> Option<Finding> {
    let subject = format!("database \"{database}\"");
    let captured = matches!(mode, Mode::Cdc(_) | Mode::Hybrid { .. });
    Some(match (is_primary, mode) {
        (false, _) if makes(mode) => Finding::error(
            subject,
            "this server has it as a secondary replica of an availability group, where nothing can be made or written",
        )
        .mended_by("give the listener of the group as source.host, without source.read_only"),
        (false, Mode::Log) => Finding::warning(
            subject,
            "this server has it as a secondary replica of an availability group: whether its log can be followed there was not tried \
             on a real server",
        ),
        (false, _) => return None,
        (true, _) if captured => Finding::warning(
            subject,
            "it is in an availability group: after a failover nothing is captured before the new primary has a capture job",
        )
        .mended_by("on each server that may become the primary, once it is: EXEC sys.sp_cdc_add_job @job_type = N'capture'"),
        (true, _) => return None,
    })
}

fn orphaned(database: &str) -> Finding {
    let why = "its log is kept for replication or capture that it does not have any more, and grows until the disk is full; in an \
               availability group, perhaps on its secondaries, too";
    let mend = format!(
        "where nothing of it is replicated: EXEC sys.sp_removedbreplication N'{}'",
        database.replace('\'', "''")
    );
    Finding::warning(format!("database \"{database}\""), why).mended_by(mend)
}

/// Whether log backups can be found, should the log be truncated before it is read.
pub(super) async fn log_backups(session: &mut Session, user: &str, findings: &mut Vec<Finding>) -> Result<(), Error> {
    const DOING: &str = "ask which log backups there are";
    match session.rows(DOING, sql::LOG_BACKUPS, &[&"0"]).await {
        Ok(_) => Ok(()),
        Err(e @ Error::Statement { .. }) if !e.is_transient() => {
            info!("{e}");
            let why = format!(
                "log backups cannot be found: where the log is truncated before it is read, the task ends in a gap: {e}"
            );
            let user = sql::quoted(user);
            findings.push(Finding::warning(format!("login {user}"), why).mended_by(format!(
                "USE msdb; CREATE USER {user} FOR LOGIN {user}; GRANT SELECT ON dbo.backupset TO {user}; GRANT SELECT ON \
                 dbo.backupmediafamily TO {user}"
            )));
            Ok(())
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use logferry_model::{Severity, TableName};

    use super::*;
    use crate::cdc::CdcSettings;

    #[test]
    fn databases_and_tables_of_special_kinds_are_told_by_mode() {
        let table = TableVersion {
            id: TableId(1),
            version: 1,
            name: TableName::new("dbo", "t"),
            columns: Vec::new(),
            primary_key: None,
            unique_keys: Vec::new(),
            notes: Vec::new(),
        };
        let (cdc, hybrid) = (Mode::Cdc(CdcSettings::default()), Mode::Hybrid { heartbeat: Duration::from_secs(1) });
        let check = |mode, kind, expect: Option<Severity>| {
            assert_eq!(verdict(mode, kind, &table).map(|f| f.severity), expect, "{mode:?} {kind:?}");
        };
        for kind in [Special::MemoryOptimised, Special::Columnstore] {
            check(Mode::Snapshot, kind, None);
            check(Mode::Log, kind, None);
            check(cdc, kind, Some(Severity::Error));
            check(hybrid, kind, Some(Severity::Error));
        }
        let enabling = Mode::Cdc(CdcSettings { enable: true });
        let severity = |found: Option<Finding>| found.map(|found| found.severity);
        for (mode, unknown, secondary, primary) in [
            (Mode::Snapshot, None, None, None),
            (Mode::Log, None, Some(Severity::Warning), None),
            (cdc, None, None, Some(Severity::Warning)),
            (enabling, Some(Severity::Error), Some(Severity::Error), Some(Severity::Warning)),
            (hybrid, Some(Severity::Error), Some(Severity::Error), Some(Severity::Warning)),
        ] {
            assert_eq!(severity(owner(mode, "shop", true)), None, "{mode:?}");
            assert_eq!(severity(owner(mode, "shop", false)), unknown, "{mode:?}");
            assert_eq!(severity(replica(mode, "shop", false)), secondary, "{mode:?}");
            assert_eq!(severity(replica(mode, "shop", true)), primary, "{mode:?}");
        }
        let mend = owner(hybrid, "a]b", false).and_then(|found| found.mend);
        assert_eq!(mend.as_deref(), Some("ALTER AUTHORIZATION ON DATABASE::[a]]b] TO [sa]"));
        check(Mode::Snapshot, Special::Temporal, None);
        check(Mode::Log, Special::Temporal, Some(Severity::Warning));
        check(hybrid, Special::Temporal, Some(Severity::Warning));
    }
}
