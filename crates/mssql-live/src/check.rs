//! The check before the start: everything that is not as a mode needs it, all at once, with what to type.
//!
//! Nothing is changed: what the settings allow logferry to make, it makes when the task is run.

use std::sync::Arc;

use logferry_model::{Fault, Finding, TableVersion};

use crate::catalog::{self, Database, Isolation, Reader, Table};
use crate::cdc::CdcReader;
use crate::condition;
use crate::error::Error;
use crate::log::LogReader;
use crate::pool::Pool;
use crate::session::Session;
use crate::settings::{LogSettings, Settings};
use crate::source::{Mode, Wanted};
use crate::sql;

/// What was found, and the tables, as far as they could be looked at.
pub async fn check(settings: Settings, mode: Mode, wanted: Wanted) -> (Vec<Finding>, Vec<Arc<TableVersion>>) {
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
    let tables: Vec<_> = tables.into_iter().map(|table| table.version).collect();
    if !findings.iter().any(|f| f.severity == logferry_model::Severity::Error) {
        let lineage = database.lineage(&mut session).await?;
        drop(session);
        let taken = || tables.iter().filter(|table| wanted(&table.name));
        let leave_out = |table: &TableVersion| format!("tables.exclude: [\"{}\"]", table.name);
        match mode {
            Mode::Snapshot => {}
            Mode::Log => {
                let log =
                    LogReader::begin(pool, lineage, wanted.clone(), 1 << 26, None, LogSettings::default()).await?;
                findings.extend(taken().filter_map(|table| {
                    let why = log.refused(table.id)?;
                    Some(Finding::error(table_name(table), why).mended_by(leave_out(table)))
                }));
            }
            // What is made at the start is not there now.
            Mode::Hybrid { .. } => {}
            Mode::Cdc(settings) if settings.enable => {}
            Mode::Cdc(settings) => {
                let cdc = CdcReader::begin(pool, lineage, wanted.clone(), settings, 1 << 26, None).await?;
                findings.extend(taken().filter_map(|table| {
                    let (why, mend) = cdc.refused(table.id)?;
                    Some(Finding::error(table_name(table), why).mended_by(mend))
                }));
            }
        }
    }
    Ok(tables)
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
        Ok(rows) => {
            let kept = match rows.first() {
                Some(row) => Reader { row, doing: DOING }.is("is_kept")?,
                None => true,
            };
            if !kept && database.recovery_model == "FULL" {
                let why = "no full backup was made since its recovery model became FULL: until then its log is cut off at every checkpoint";
                findings.push(
                    Finding::error(format!("database \"{}\"", database.name), why)
                        .mended_by(format!("BACKUP DATABASE {name} TO DISK = N'...'")),
                );
            }
        }
        Err(e @ Error::Statement { .. }) => findings.push(Finding::warning(
            format!("database \"{}\"", database.name),
            format!("whether its log is kept, and whether it is restored one day, cannot be seen: {e}"),
        )),
        Err(e) => return Err(e),
    }
    Ok(())
}
