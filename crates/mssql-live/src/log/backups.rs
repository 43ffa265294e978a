//! What the log has no more is read from log backups, where they are.
//!
//! `msdb` tells which log backups there were and in which files; `sys.fn_dump_dblog` reads these where they are: on the server. Nothing
//! but the connection is needed for that, so files are never opened from here, which would be another machine as a rule.
//!
//! ```text
//!            truncated                      │ there
//!  ──[ backup 1 ]──[ backup 2 ]──[ backup 3 ]┴────────────► log
//!          ▲ here                            ▲ the end of the last backup is the begin of what is not backed up
//! ```

use logferry_model::Lsn;
use tracing::info;

use super::LogReader;
use crate::error::Error;
use crate::session::Session;
use crate::sql;

/// Parameters for files that `fn_dump_dblog` has.
const FILES_MAX: usize = 64;

/// A log backup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Backup {
    first: Lsn,
    /// Where the next one begins.
    last: Lsn,
    position: i32,
    files: Vec<String>,
}

/// Backups that end behind a position, in their order.
async fn list(session: &mut Session, from: Lsn) -> Result<Vec<Backup>, Error> {
    const DOING: &str = "ask which log backups there are";
    let wrong = |what: String| Error::Unexpected { doing: DOING.to_owned(), what };
    let decimal = from.to_decimal().to_string();
    let mut backups: Vec<(i32, Backup)> = Vec::new();
    for row in session.rows(DOING, sql::LOG_BACKUPS, &[&decimal.as_str()]).await? {
        let lsn = |name: &'static str| {
            let n = row.try_get::<tiberius::numeric::Numeric, _>(name).ok().flatten();
            let lsn = n.and_then(|n| u128::try_from(n.value()).ok()).and_then(Lsn::from_decimal);
            lsn.ok_or_else(|| wrong(format!("{name} is no LSN")))
        };
        let int = |name: &'static str| row.try_get::<i32, _>(name).ok().flatten();
        let id = int("backup_set_id").ok_or_else(|| wrong("a backup has no id".to_owned()))?;
        let file = row.try_get::<&str, _>("physical_device_name").ok().flatten().unwrap_or_default().to_owned();
        match backups.last_mut() {
            Some((last, backup)) if *last == id => backup.files.push(file),
            _ => {
                let (first, last) = (lsn("first_lsn")?, lsn("last_lsn")?);
                let position = int("position").unwrap_or(1);
                backups.push((id, Backup { first, last, position, files: vec![file] }));
            }
        }
    }
    Ok(backups.into_iter().map(|(_, backup)| backup).collect())
}

/// The text that reads a backup of so many files.
fn text(files: usize) -> String {
    let files = files.clamp(1, FILES_MAX);
    let mut list: Vec<String> = (0..files).map(|n| format!("@P{}", n + 3)).collect();
    list.resize(FILES_MAX, "DEFAULT".to_owned());
    sql::BACKED_UP_LOG.replace("{files}", &list.join(", "))
}

/// The first record of the log that is there.
async fn begin_of_log(session: &mut Session) -> Result<Option<Lsn>, Error> {
    let rows = session.rows("ask where the log begins", sql::LOG_BEGIN, &[]).await?;
    let begins = rows.first().and_then(|row| row.try_get::<&str, _>("lsn").ok().flatten());
    Ok(begins.and_then(|text| text.parse().ok()))
}

impl LogReader {
    /// Whether the log begins behind what is to be read next.
    pub(super) async fn is_truncated(&self) -> bool {
        let begins = async { begin_of_log(&mut *self.pool.session().await?).await };
        begins.await.is_ok_and(|begins| begins.is_some_and(|begins| begins > self.at))
    }

    /// The log says that it does not have the record to go on from: reads log backups as far as they lead. When this returns, the
    /// log may be asked again.
    ///
    /// # Errors
    /// [`Error::Gap`] where they do not lead on.
    pub(super) async fn read_backups(&mut self, said: String) -> Result<Reached, Error> {
        let mut session = self.pool.session().await?;
        let begins = begin_of_log(&mut session).await?;
        if self.first && begins.is_none_or(|begins| begins <= self.at) {
            // A backup ended here, and nothing was written since.
            return Ok(Reached::NothingYet);
        }
        let gap = |from: Lsn, said: String| Error::Gap { from, begins, said };
        let refused = |e: Error| match e {
            Error::Statement { .. } if !e.is_transient() => gap(self.at, format!("{said} {e}")),
            other => other,
        };
        let backups = list(&mut session, self.at).await.map_err(refused)?;
        let from = self.at;
        for backup in backups {
            if backup.first > self.at {
                break;
            }
            if backup.last <= self.at {
                continue;
            }
            info!(from = %self.at, to = %backup.last, files = ?backup.files, "the log was truncated: a log backup is read in its place");
            let (at, doing) = (self.at, "read a log backup");
            let lowest = at.to_string();
            let mut values: Vec<&dyn tiberius::ToSql> = vec![&lowest, &backup.position];
            values.extend(backup.files.iter().take(FILES_MAX).map(|file| file as &dyn tiberius::ToSql));
            let refused = |e: Error| match e {
                Error::Statement { .. } if !e.is_transient() => gap(at, format!("{said}; {e}")),
                other => other,
            };
            let text = text(backup.files.len());
            let mut answer = session.ask(doing, &text, &values).await.map_err(refused)?;
            while let Some(row) = answer.next().await.map_err(refused)? {
                self.take(&row, doing)?;
            }
            drop(answer);
            // What comes next begins here, and was not read.
            self.at = self.at.max(backup.last);
            self.first = true;
        }
        match self.at > from {
            true => Ok(Reached::Further),
            false => Err(gap(from, said)),
        }
    }
}

/// What backups gave.
pub(super) enum Reached {
    /// The log goes on from another place now.
    Further,
    /// All was read that there is.
    NothingYet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_backup_are_named() {
        for (files, expect) in [(1, "@P2, @P3, DEFAULT,"), (2, "@P2, @P3, @P4, DEFAULT,")] {
            let text = text(files);
            assert!(text.contains(expect), "{text}");
            assert_eq!(text.matches(", DEFAULT").count(), FILES_MAX - files);
        }
        assert_eq!(text(64).matches(", DEFAULT").count(), 0);
    }
}
