//! Whether anybody captures: a database in which nothing happens looks the same as one whose capture job is dead.
//!
//! The server keeps a list of its scans of the log, and says which jobs there are. Who may not see them is told so once, and
//! can only trust.

use std::time::{Duration, Instant};

use tiberius::Row;
use tracing::{info, warn};

use crate::catalog::Reader;
use crate::error::Error;
use crate::session::Session;
use crate::sql;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// How often the same is told.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Beyond some intervals of the job, a scan that is so old says that there is no other. Scans of much log take long.
const SILENT_S: i64 = 60;
/// A job that is so far behind is told.
const BEHIND_S: i32 = 60;
/// The job's interval where it does not say: the default.
const INTERVAL_S: i64 = 5;

/// Looks after the capture job.
#[derive(Debug)]
pub(crate) struct Health {
    has_jobs: bool,
    asked: Option<Instant>,
    told: Option<(Trouble, Instant)>,
    /// What may not be seen.
    hidden: bool,
    /// How long the capture job rests between two scans, where it says.
    interval: Option<Duration>,
}

/// What is wrong with capturing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no job.
    Missing,
    /// It does not run.
    Stopped,
    /// It runs, and is late.
    Behind(i32),
    /// It runs, and fails: how often, and the number of the last error, where that may be seen.
    Fails(i32, Option<i32>),
}

impl Trouble {
    /// What is wrong.
    pub(crate) fn what(&self) -> String {
        match self {
            Trouble::Missing => "the database has no capture job: nothing is captured".to_owned(),
            Trouble::Stopped => "the capture job does not run: nothing is captured".to_owned(),
            Trouble::Behind(seconds) => format!("the capture job is {seconds} s behind"),
            Trouble::Fails(errors, Some(number)) => {
                format!(
                    "the capture job met {errors} errors in its last scan, the last of them {number}: nothing is captured until it is mended"
                )
            }
            Trouble::Fails(errors, None) => {
                format!("the capture job met {errors} errors in its last scan: see sys.dm_cdc_errors")
            }
        }
    }

    /// What mends it.
    pub(crate) fn mend(&self) -> &'static str {
        match self {
            Trouble::Missing => "EXEC sys.sp_cdc_add_job @job_type = N'capture' (after a failover: on the new primary)",
            Trouble::Stopped => "EXEC sys.sp_cdc_start_job @job_type = N'capture', and see that SQL Server Agent runs",
            Trouble::Behind(_) => {
                "EXEC sys.sp_cdc_change_job @job_type = N'capture', @maxtrans = 5000, @maxscans = 100; then stop and start the job"
            }
            // A column got another size or type, and the change table has the old one.
            Trouble::Fails(_, Some(2628 | 8115 | 8152)) => {
                "SELECT * FROM sys.dm_cdc_errors tells the table; make its capture instance anew (sys.sp_cdc_disable_table, \
                 sys.sp_cdc_enable_table), then start the task once with --reload TABLE"
            }
            // A column of a CLR type of the system, by a server that lacks the mend.
            Trouble::Fails(_, Some(913)) => {
                "install the server's latest cumulative update, then stop and start the capture job (sys.sp_cdc_stop_job, \
                 sys.sp_cdc_start_job)"
            }
            Trouble::Fails(..) => "SELECT * FROM sys.dm_cdc_errors",
        }
    }
}

const JOBS: &str = "list the jobs of change data capture";

/// The jobs: by a procedure for owners of the database, else from the table that it reads.
pub(crate) async fn jobs(session: &mut Session) -> Result<Vec<Row>, Error> {
    match session.rows(JOBS, sql::CDC_JOBS, &[]).await {
        Err(refused @ Error::Statement { .. }) if !refused.is_transient() => {
            match session.rows(JOBS, sql::CDC_JOBS_TABLE, &[]).await {
                Err(Error::Statement { .. }) => Err(refused),
                other => other,
            }
        }
        other => other,
    }
}

impl Health {
    pub(crate) fn new(has_jobs: bool) -> Self {
        Health { has_jobs, asked: None, told: None, hidden: false, interval: None }
    }

    /// How long the capture job rests between two scans, where it says.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Looks from time to time, and tells what is wrong.
    pub(crate) async fn watch(&mut self, session: &mut Session) -> Result<(), Error> {
        if self.asked.is_some_and(|asked| asked.elapsed() < EVERY) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        let found = self.look(session).await?;
        let kind = |trouble: &Trouble| std::mem::discriminant(trouble);
        match (&found, &self.told) {
            (Some(trouble), told) => {
                let known =
                    told.as_ref().is_some_and(|(old, at)| kind(old) == kind(trouble) && at.elapsed() < TOLD_EVERY);
                if !known {
                    warn!("{}; to mend it: {}", trouble.what(), trouble.mend());
                    self.told = Some((trouble.clone(), Instant::now()));
                }
            }
            (None, Some(_)) => {
                info!("the capture job is well again");
                self.told = None;
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// What is wrong just now.
    pub(crate) async fn look(&mut self, session: &mut Session) -> Result<Option<Trouble>, Error> {
        if !self.has_jobs {
            return Ok(None);
        }
        let jobs = self.visible(jobs(session).await)?;
        let mut interval = INTERVAL_S;
        if let Some(jobs) = jobs {
            let mut capture = None;
            for row in &jobs {
                let row = Reader { row, doing: JOBS };
                if row.text("job_type")?.eq_ignore_ascii_case("capture") {
                    capture = Some(row.optional::<i64>("pollinginterval")?.unwrap_or(INTERVAL_S));
                }
            }
            match capture {
                Some(seconds) => {
                    interval = seconds;
                    self.interval = u64::try_from(seconds).ok().map(Duration::from_secs);
                }
                None => return Ok(Some(Trouble::Missing)),
            }
        }
        const DOING: &str = "ask for the last scan of the log";
        let Some(scans) = self.visible(session.rows(DOING, sql::CDC_SCANS, &[]).await)? else { return Ok(None) };
        let Some(row) = scans.first() else { return Ok(Some(Trouble::Stopped)) };
        let row = Reader { row, doing: DOING };
        let age = i64::from(row.optional::<i32>("seconds_ago")?.unwrap_or(0));
        if age > interval.saturating_mul(3).saturating_add(SILENT_S) {
            return Ok(Some(Trouble::Stopped));
        }
        if let Some(errors) = row.optional::<i32>("errors")?.filter(|&n| n > 0) {
            let last = self.visible(session.rows("ask for errors of capturing", sql::CDC_ERRORS, &[]).await)?;
            let number = last.and_then(|rows| rows.first()?.try_get::<i32, _>("number").ok().flatten());
            return Ok(Some(Trouble::Fails(errors, number)));
        }
        Ok(row.optional::<i32>("latency")?.filter(|&s| s > BEHIND_S).map(Trouble::Behind))
    }

    /// Rows, if we may see them.
    fn visible<T>(&mut self, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(rows) => Ok(Some(rows)),
            Err(e @ Error::Statement { .. }) => {
                if !self.hidden {
                    info!("{e}: a capture job that is dead will not be told from a database at rest");
                    self.hidden = true;
                }
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microsoft's known issues: a column that is resized (2628, 8115), and columns of CLR types (913), stop capturing, silently.
    #[test]
    fn errors_of_capturing_say_what_mends_them() {
        let check = |number, expect: &str| {
            let trouble = Trouble::Fails(3, number);
            assert!(trouble.mend().contains(expect), "{number:?}: {}", trouble.mend());
            assert!(number.is_none_or(|number| trouble.what().contains(&number.to_string())), "{}", trouble.what());
        };
        check(Some(2628), "--reload");
        check(Some(8115), "sys.sp_cdc_enable_table");
        check(Some(913), "cumulative update");
        check(Some(1), "sys.dm_cdc_errors");
        check(None, "sys.dm_cdc_errors");
    }
}
