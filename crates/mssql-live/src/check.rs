//! The check before the start: everything that is not as a mode needs it, all at once, with what to type.
//!
//! Nothing is changed: what the settings allow logferry to make, it makes when the task is run.

mod capture;
mod special;

use std::sync::Arc;

use logferry_model::{Fault, Finding, TableVersion};

use crate::catalog::{self, Database, Isolation, Reader, Table};
use crate::cdc::{CdcReader, Facts};
use crate::condition;
use crate::door::door;
use crate::error::Error;
use crate::hybrid;
use crate::log::LogReader;
use crate::pool::Pool;
use crate::session::Session;
use crate::settings::{LogSettings, Settings};
use crate::source::{Mode, OnTarget, Wanted};
use crate::sql;

/// What was found, and the tables, as far as they could be looked at.
pub fn check(
    settings: Settings,
    mode: Mode,
    wanted: Wanted,
) -> impl Future<Output = (Vec<Finding>, Vec<Arc<TableVersion>>)> + Send {
    door(find(settings, mode, wanted))
}

async fn find(settings: Settings, mode: Mode, wanted: Wanted) -> (Vec<Finding>, Vec<Arc<TableVersion>>) {
    let mut findings = Vec::new();
    let (user, server) = (settings.user.clone(), settings.to_string());
    let tables = look(settings, mode, wanted, &user, &mut findings).await.unwrap_or_else(|e| {
        findings.push(of_error(&server, e));
        Vec::new()
    });
    (findings, tables)
}

/// What an error says, as a finding.
fn of_error(subject: &str, error: Error) -> Finding {
    let fault = Fault::from(error);
    Finding { mend: fault.hint, ..Finding::error(subject, fault.message) }
}

async fn look(
    settings: Settings,
    mode: Mode,
    wanted: Wanted,
    user: &str,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Arc<TableVersion>>, Error> {
    let pool = Pool::new(Arc::new(settings))?;
    let mut session = pool.session().await?;
    let database = Database::read(&mut session).await?;
    let subject = format!("database \"{}\"", database.name);
    match mode {
        Mode::Snapshot if database.isolation == Isolation::Locks => findings.push(
            Finding::warning(
                &subject,
                "it has neither ALLOW_SNAPSHOT_ISOLATION nor READ_COMMITTED_SNAPSHOT: the copy waits for writers, and rows whose key \
                 changes meanwhile may be missed or met twice",
            )
            .mended_by(format!("ALTER DATABASE {} SET ALLOW_SNAPSHOT_ISOLATION ON", sql::quoted(&database.name))),
        ),
        Mode::Snapshot => {}
        Mode::Log | Mode::Hybrid { .. } => {
            let not = database.not_followed();
            findings.extend(not.into_iter().map(|(why, mend)| Finding::error(&subject, why).mended_by(mend)));
            look_at_log(&mut session, &database, user, findings).await?;
            special::log_backups(&mut session, user, findings).await?;
        }
        Mode::Cdc(_) => findings.extend(database.must_have_versions().err().map(|e| of_error(&subject, e))),
    }
    let mut tables = catalog::plain_tables(&mut session).await?;
    let mut wrong = session.conditions().lay_on(&mut tables);
    let taken: Vec<&Table> = tables.iter().filter(|table| wanted(&table.version.name)).collect();
    wrong.extend(condition::probe(&mut session, &taken).await?);
    findings.extend(
        wrong.iter().map(|(name, why)| Finding::error(format!("table \"{name}\""), format!("tables.where: {why}"))),
    );
    let taken_versions: Vec<&TableVersion> = taken.iter().map(|table| &*table.version).collect();
    findings.extend(taken_versions.iter().flat_map(|table| hidden_types(table, user)));
    special::tables(&mut session, mode, &taken_versions, findings).await?;
    if mode != Mode::Snapshot {
        special::database(&mut session, &database, findings).await?;
        special::place(&mut session, mode, &database, findings).await?;
    }
    let facts = Facts::ask(&mut session).await?;
    let mut is_captured = false;
    if matches!(mode, Mode::Cdc(_) | Mode::Hybrid { .. }) {
        is_captured = !capture::jobs(&mut session, &facts, &database.name, findings).await?;
        let is_made = matches!(mode, Mode::Hybrid { .. } | Mode::Cdc(crate::cdc::CdcSettings { enable: true }));
        if is_made && !facts.is_enabled {
            capture::may_enable(&mut session, &facts, &database.name, findings).await?;
        }
    }
    let versions: Vec<_> = tables.iter().map(|table| table.version.clone()).collect();
    let is_sound = !findings.iter().any(|f| f.severity == logferry_model::Severity::Error);
    // Of what is wrong with tables the log's reader knows most, and it may know it all the same.
    if is_sound || matches!(mode, Mode::Log) {
        let lineage = database.lineage(&mut session).await?;
        let leave_out = |table: &TableVersion| format!("tables.exclude: [\"{}\"]", table.name);
        match mode {
            Mode::Snapshot => {}
            Mode::Log => {
                let begun = LogReader::begin(pool, lineage, wanted.clone(), 1 << 26, None, LogSettings::default());
                let log = match begun.await {
                    Ok(log) => log,
                    Err(e) if !is_sound => {
                        tracing::debug!("{e}");
                        return Ok(versions);
                    }
                    Err(e) => return Err(e),
                };
                findings.extend(taken_versions.iter().filter_map(|table| {
                    let why = log.refused(table.id)?;
                    Some(Finding::error(table_name(table), why).mended_by(leave_out(table)))
                }));
            }
            Mode::Hybrid { .. } => {
                let log =
                    LogReader::begin(pool, lineage, wanted.clone(), 1 << 26, None, LogSettings::default()).await?;
                let mut captured = Vec::new();
                for table in log.tables().iter().filter(|table| wanted(&table.version.name)) {
                    let found = match hybrid::why_captured(&log, table) {
                        Some(why) => format!("is read by change data capture: {why}"),
                        None => "is read by the log".to_owned(),
                    };
                    if hybrid::why_captured(&log, table).is_some() {
                        captured.extend(taken.iter().find(|t| t.version.id == table.version.id));
                    }
                    findings.push(Finding::note(table_name(&table.version), found));
                }
                capture::tables(&mut session, &facts, &captured, true, findings).await?;
            }
            Mode::Cdc(settings) if settings.enable => {
                capture::tables(&mut session, &facts, &taken, true, findings).await?;
            }
            Mode::Cdc(_) if facts.is_enabled && !is_captured => {}
            Mode::Cdc(settings) => {
                capture::tables(&mut session, &facts, &taken, false, findings).await?;
                let target = OnTarget { at: None, fences: &[] };
                let cdc = CdcReader::begin(pool, lineage, wanted.clone(), settings, 1 << 26, target).await?;
                findings.extend(taken_versions.iter().filter_map(|table| {
                    let (why, mend) = cdc.refused(table.id)?;
                    Some(Finding::error(table_name(table), why).mended_by(mend))
                }));
            }
        }
    }
    Ok(versions)
}

/// Rows, if we may ask for them and the server knows what is asked.
fn tolerated<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(rows) => Ok(Some(rows)),
        Err(e @ Error::Statement { .. }) if !e.is_transient() => {
            tracing::debug!("{e}");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn table_name(table: &TableVersion) -> String {
    format!("table \"{}\"", table.name)
}

/// Rights, and whether the log is kept.
async fn look_at_log(
    session: &mut Session,
    database: &Database,
    user: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let user = if user.is_empty() { "the task's user" } else { user };
    let (name, user) = (sql::quoted(&database.name), sql::quoted(user));
    let may = [
        ("read the log", sql::LOG_READABLE, format!("USE {name}; ALTER ROLE db_owner ADD MEMBER {user}")),
        ("ask which transactions are open", sql::ACTIVE, format!("GRANT VIEW SERVER STATE TO {user}")),
    ];
    for (doing, text, mend) in may {
        match session.rows(doing, text, &[]).await {
            Ok(_) => {}
            Err(e @ Error::Statement { .. }) => {
                findings.push(Finding { mend: Some(mend), ..of_error(&format!("login {user}"), e) });
            }
            Err(e) => return Err(e),
        }
    }
    const DOING: &str = "ask whether the log is kept";
    match session.rows(DOING, sql::LOG_BACKED, &[]).await {
        Ok(rows) if rows.is_empty() => findings.push(hidden_recovery(database, "GRANT VIEW ANY DATABASE shows it")),
        Ok(rows) => {
            let kept = rows.iter().all(|row| Reader { row, doing: DOING }.is("is_kept").unwrap_or(true));
            if !kept && database.recovery_model == "FULL" {
                let why = "no full backup was made since its recovery model became FULL: until then its log is cut off at every checkpoint";
                findings.push(
                    Finding::error(format!("database \"{}\"", database.name), why)
                        .mended_by(format!("BACKUP DATABASE {name} TO DISK = N'...'")),
                );
            }
        }
        Err(e @ Error::Statement { .. }) => findings.push(hidden_recovery(database, &e.to_string())),
        Err(e) => return Err(e),
    }
    Ok(())
}

/// Columns whose types the login is not shown.
fn hidden_types(table: &TableVersion, user: &str) -> Vec<Finding> {
    let user = if user.is_empty() { "the task's user" } else { user };
    let mend = format!("GRANT VIEW DEFINITION TO {}", sql::quoted(user));
    let hidden = table.notes.iter().filter(|note| note.ends_with(catalog::HIDDEN_TYPE));
    hidden.map(|note| Finding::warning(table_name(table), note.as_str()).mended_by(mend.as_str())).collect()
}

fn hidden_recovery(database: &Database, why: &str) -> Finding {
    let what = format!("whether its log is kept, and whether it is restored one day, cannot be seen: {why}");
    Finding::warning(format!("database \"{}\"", database.name), what)
}

#[cfg(test)]
mod tests {
    use logferry_model::{TableId, TableName};

    use super::*;

    #[test]
    fn types_that_are_not_shown_are_found() {
        let notes = vec![format!("column \"a\" {}", catalog::HIDDEN_TYPE), "column \"b\" is left out".to_owned()];
        let table = TableVersion {
            id: TableId(1),
            version: 1,
            name: TableName::new("dbo", "t"),
            columns: Vec::new(),
            primary_key: None,
            unique_keys: Vec::new(),
            notes,
        };
        let found = hidden_types(&table, "a]b");
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        assert!(finding.found.starts_with("column \"a\" is of an alias type"), "{finding:?}");
        assert_eq!(finding.mend.as_deref(), Some("GRANT VIEW DEFINITION TO [a]]b]"));
    }
}
