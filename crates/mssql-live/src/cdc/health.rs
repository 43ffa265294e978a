//! Whether anybody captures: a database in which nothing happens looks the same as one whose capture job is dead.
//!
//! The server keeps a list of its scans of the log, and says which jobs there are. Who may not see them is told so once, and
//! can only trust.

use std::time::{Duration, Instant};

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
    /// It runs, and fails.
    Fails(i32),
}

impl Trouble {
    /// What is wrong.
    pub(crate) fn what(&self) -> String {
        match self {
            Trouble::Missing => "the database has no capture job: nothing is captured".to_owned(),
            Trouble::Stopped => "the capture job does not run: nothing is captured".to_owned(),
            Trouble::Behind(seconds) => format!("the capture job is {seconds} s behind"),
            Trouble::Fails(errors) => {
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
            Trouble::Fails(_) => "SELECT * FROM sys.dm_cdc_errors",
        }
    }
}

impl Health {
    pub(crate) fn new(has_jobs: bool) -> Self {
        Health { has_jobs, asked: None, told: None, hidden: false }
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
        let jobs = self.visible(session.rows("list the jobs of change data capture", sql::CDC_JOBS, &[]).await)?;
        let mut interval = INTERVAL_S;
        if let Some(jobs) = jobs {
            const DOING: &str = "list the jobs of change data capture";
            let mut capture = None;
            for row in &jobs {
                let row = Reader { row, doing: DOING };
                if row.text("job_type")?.eq_ignore_ascii_case("capture") {
                    capture = Some(row.optional::<i64>("pollinginterval")?.unwrap_or(INTERVAL_S));
                }
            }
            match capture {
                Some(seconds) => interval = seconds,
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
            return Ok(Some(Trouble::Fails(errors)));
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
