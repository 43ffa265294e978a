//! Change data capture: its jobs, and whether and how it serves tables.

use logferry_model::{Finding, TableId, TableVersion};

use super::{table_name, tolerated};
use crate::catalog::Reader;
use crate::cdc::{self, Facts, Verdict};
use crate::error::Error;
use crate::session::Session;
use crate::{catalog::Table, sql};

/// A job that looks less often than that is told: changes are as late.
const INTERVAL_MAX_S: i64 = 60;
/// Changes that are kept for less than that are told.
const KEPT_MIN_MINUTES: i64 = 1_440;

/// What is wrong with the jobs; whether anything is so wrong that waiting for them makes no sense.
pub(super) async fn jobs(
    session: &mut Session,
    facts: &Facts,
    database: &str,
    findings: &mut Vec<Finding>,
) -> Result<bool, Error> {
    let subject = format!("capture job of database \"{database}\"");
    let trouble = cdc::trouble(session, facts).await?;
    let is_dead = trouble.as_ref().is_some_and(|trouble| trouble.is_dead);
    if let Some(trouble) = trouble {
        let finding = match trouble.is_dead {
            true => Finding::error(&subject, trouble.what),
            false => Finding::warning(&subject, trouble.what),
        };
        findings.push(finding.mended_by(trouble.mend));
    }
    const DOING: &str = "list the jobs of change data capture";
    const LOAD: &str = "ask how much the last scans of the log found";
    if !facts.shows_jobs || !facts.is_enabled {
        return Ok(is_dead);
    }
    for row in tolerated(cdc::jobs(session).await)?.unwrap_or_default() {
        let row = Reader { row: &row, doing: DOING };
        let number = |column: &'static str| {
            let wide = row.row.try_get::<i64, _>(column).ok().flatten();
            wide.or_else(|| row.row.try_get::<i32, _>(column).ok().flatten().map(i64::from))
        };
        if row.text("job_type")?.eq_ignore_ascii_case("capture") {
            if let (Some(transactions), Some(scans), Some(interval)) =
                (number("maxtrans"), number("maxscans"), number("pollinginterval"))
            {
                let scanned = tolerated(session.rows(LOAD, sql::CDC_LOAD, &[]).await)?.unwrap_or_default();
                let scanned: Vec<i64> =
                    scanned.iter().filter_map(|row| row.try_get("transactions").ok().flatten()).collect();
                findings.push(rate(&subject, transactions, scans, interval, &scanned));
            }
            if let Some(seconds) = number("pollinginterval").filter(|&seconds| seconds > INTERVAL_MAX_S) {
                let why = format!("it looks at the log every {seconds} s: changes come so late");
                let mend = "EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = 5; then stop and start the job";
                findings.push(Finding::warning(&subject, why).mended_by(mend));
            }
        } else if let Some(minutes) = number("retention").filter(|&minutes| minutes < KEPT_MIN_MINUTES) {
            let why = format!("changes are kept for {minutes} minutes: a task that is stopped for longer has a gap");
            let mend = "EXEC sys.sp_cdc_change_job @job_type = N'cleanup', @retention = 4320";
            findings.push(Finding::warning(format!("cleanup job of database \"{database}\""), why).mended_by(mend));
        }
    }
    Ok(is_dead)
}

/// How many transactions the job captures at the most, and whether that is too few: most of its last scans, as many transactions each as
/// in `scanned`, ended because they had taken as many as they may.
/// <https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sys-sp-cdc-change-job-transact-sql>
fn rate(subject: &str, transactions: i64, scans: i64, interval: i64, scanned: &[i64]) -> Finding {
    let each = transactions.saturating_mul(scans);
    let per_second = match interval {
        0 => format!("{each} transactions at a time, without a pause"),
        _ => format!("about {} transactions a second ({each} each {interval} s)", each / interval.max(1)),
    };
    let full = scanned.iter().filter(|taken| **taken >= transactions).count();
    if full * 2 <= scanned.len() {
        return Finding::note(subject, format!("it captures at the most {per_second}"));
    }
    let why = format!(
        "it captures at the most {per_second}, and most of its last scans took as many as they may: it does not keep up"
    );
    let mend = format!(
        "EXEC sys.sp_cdc_change_job @job_type = N'capture', @maxtrans = {}, @maxscans = {}; then stop and start the job",
        transactions.saturating_mul(10),
        scans.max(100)
    );
    Finding::warning(subject, why).mended_by(mend)
}

/// Whether the login may have the database captured, which it is not yet.
pub(super) async fn may_enable(
    session: &mut Session,
    facts: &Facts,
    database: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    const DOING: &str = "ask whether change data capture may be enabled";
    let rows = tolerated(session.rows(DOING, sql::MAY_ENABLE_CDC, &[]).await)?.unwrap_or_default();
    let is_sysadmin = rows.first().map(|row| Reader { row, doing: DOING }.is("is_sysadmin")).transpose()?;
    if facts.has_jobs && is_sysadmin == Some(false) {
        let why = "change data capture is not enabled, and only a member of sysadmin may do that";
        findings.push(Finding::error(format!("database \"{database}\""), why).mended_by("EXEC sys.sp_cdc_enable_db"));
    }
    Ok(())
}

/// What is to be told of tables that are, or will be, captured.
pub(super) async fn tables(
    session: &mut Session,
    facts: &Facts,
    tables: &[&Table],
    with_refused: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    switches(session, facts, tables, findings).await?;
    if with_refused {
        large_values(session, tables, findings).await?;
    }
    for (table, verdict) in cdc::verdicts(session, facts, tables).await? {
        let subject = table_name(&table.version);
        match verdict {
            Verdict::Refused { .. } if !with_refused => {}
            Verdict::Refused { why, mend } => findings.push(Finding::error(subject, why).mended_by(mend)),
            Verdict::Fetched { columns } => {
                let why = format!(
                    "the captured values of column \"{}\" are not to be believed (it is computed, or its collation is not that of the \
                     database): they are read from the table at each change",
                    columns.join("\", \"")
                );
                findings.push(Finding::warning(subject, why));
            }
            Verdict::NoSlot { instances } => {
                let why = format!(
                    "capture instances \"{}\" take both places, and none of them is ours: a column that is added could not be captured",
                    instances.join("\" and \"")
                );
                let version: &TableVersion = &table.version;
                let mend = format!(
                    "EXEC sys.sp_cdc_disable_table N'{}', N'{}', the one of them that nobody needs",
                    version.name.schema.replace('\'', "''"),
                    version.name.name.replace('\'', "''")
                );
                findings.push(Finding::warning(subject, why).mended_by(mend));
            }
        }
    }
    Ok(())
}

/// Whoever writes a value that is larger than the server lets be captured meets an error, once its column is captured.
/// <https://learn.microsoft.com/sql/database-engine/configure-windows/configure-the-max-text-repl-size-server-configuration-option>
async fn large_values(session: &mut Session, tables: &[&Table], findings: &mut Vec<Finding>) -> Result<(), Error> {
    const DOING: &str = "ask how large a captured value may be";
    let large = |table: &&&Table| table.version.columns.iter().any(|column| column.sql_type.is_lob());
    if !tables.iter().any(|table| large(&table)) {
        return Ok(());
    }
    let rows = tolerated(session.rows(DOING, sql::TEXT_REPL_SIZE, &[]).await)?.unwrap_or_default();
    let bytes = rows.first().map(|row| Reader { row, doing: DOING }.optional::<i32>("bytes")).transpose()?.flatten();
    let Some(bytes) = bytes.filter(|bytes| *bytes >= 0) else { return Ok(()) };
    for table in tables.iter().filter(large) {
        let why = format!(
            "it has columns of large values: once it is captured, a statement that writes more than {bytes} bytes into one fails (error 7139)"
        );
        let mend = "EXEC sp_configure 'show advanced options', 1; RECONFIGURE; EXEC sp_configure 'max text repl size', -1; RECONFIGURE";
        findings.push(Finding::warning(table_name(&table.version), why).mended_by(mend));
    }
    Ok(())
}

/// Tables whose partitions may be switched: capture does not see it.
/// <https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sys-sp-cdc-enable-table-transact-sql>
async fn switches(
    session: &mut Session,
    facts: &Facts,
    tables: &[&Table],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    const DOING: &str = "ask which partitions may be switched";
    if !facts.is_enabled {
        return Ok(());
    }
    for row in tolerated(session.rows(DOING, sql::CDC_SWITCHES, &[]).await)?.unwrap_or_default() {
        let id = TableId(Reader { row: &row, doing: DOING }.id("object_id")?);
        let Some(table) = tables.iter().find(|table| table.version.id == id) else { continue };
        let why = "it has partitions, and change data capture does not see when one is switched in or out (ALTER TABLE ... SWITCH)";
        let mend = format!("after each SWITCH, start the task once with --reload {}", table.version.name);
        findings.push(Finding::warning(table_name(&table.version), why).mended_by(mend));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use logferry_model::Severity;

    use super::*;

    /// Jobs as they are made capture about 1,000 transactions a second.
    #[test]
    fn a_job_that_cannot_keep_up_is_told() {
        let check = |job: (i64, i64, i64), scanned: &[i64], severity, said: &str| {
            let found = rate("job", job.0, job.1, job.2, scanned);
            assert_eq!(found.severity, severity, "{found:?}");
            assert!(found.found.contains(said), "{found:?}");
        };
        check((500, 10, 5), &[], Severity::Note, "about 1000 transactions a second");
        check((500, 10, 5), &[3, 500, 7], Severity::Note, "about 1000");
        check((500, 10, 5), &[500, 500, 7], Severity::Warning, "does not keep up");
        check((500, 10, 0), &[500], Severity::Warning, "without a pause");
        check((i64::MAX, i64::MAX, 1), &[], Severity::Note, "transactions a second");
    }
}
