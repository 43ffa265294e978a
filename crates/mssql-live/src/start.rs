//! Where changes begin, where nothing is copied: behind a backup that was restored on the target, say.
//!
//! A position in the log is only of use where all of it is there that transactions need which are committed behind it. So the log is
//! read from its first record on, and what was committed before the position is passed over.

use logferry_model::{Checkpoint, CommitLsn, Lineage, Lsn, RestartLsn, Start};
use tracing::info;

use crate::catalog::Reader;
use crate::cdc;
use crate::error::Error;
use crate::session::Session;
use crate::sql;

/// A start in the log.
pub(crate) async fn in_log(
    session: &mut Session,
    start: &Start,
    lineage: Lineage,
) -> Result<Option<Checkpoint>, Error> {
    const BEGIN: &str = "ask where the log begins";
    const END: &str = "ask where the log ends";
    const TIME: &str = "look for a time in the log";
    const HEADLESS: &str = "look for transactions that the log has in part";
    let none = |doing: &str| Error::Unexpected { doing: doing.to_owned(), what: "there is no record".to_owned() };
    if *start == Start::Now {
        return Ok(None);
    }
    let first = text(session, BEGIN, sql::LOG_BEGIN, None).await?.ok_or_else(|| none(BEGIN))?;
    let from = format!("0x{first}");
    let end = text(session, END, sql::LOG_END, Some(&from)).await?.ok_or_else(|| none(END))?;
    let early = |asked: String| Error::StartTooEarly { asked, what: "the log", first };
    let applied = match start {
        Start::Now => return Ok(None),
        Start::Lsn(lsn) if *lsn < first => return Err(early(lsn.to_string())),
        Start::Lsn(lsn) => before(*lsn, end)?,
        Start::Time(time) => {
            let found = text(session, TIME, sql::LOG_TIME, Some(&as_logged(time))).await?;
            found.ok_or_else(|| early(time.clone()))?
        }
    };
    if let Some(lsn) = text(session, HEADLESS, sql::LOG_HEADLESS, Some(&applied.to_string())).await? {
        return Err(early(format!("{applied}, which the transaction committed at {lsn} needs,")));
    }
    info!("changes that were committed behind {applied} are applied");
    Ok(Some(Checkpoint { applied: CommitLsn(applied), restart: RestartLsn(first), lineage, commit_time_us: None }))
}

/// A start in what was captured. Whether all instances go back so far shows when they are looked at.
pub(crate) async fn in_captured(
    session: &mut Session,
    start: &Start,
    lineage: Lineage,
) -> Result<Option<Checkpoint>, Error> {
    const DOING: &str = "look for a time in what was captured";
    let applied = match start {
        Start::Now => return Ok(None),
        Start::Lsn(lsn) => before(*lsn, cdc::captured_to(session).await?.unwrap_or(Lsn::ZERO))?,
        Start::Time(time) => {
            let rows = session.rows(DOING, sql::CDC_TIME, &[&time.as_str()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            let row = Reader { row, doing: DOING };
            let first = cdc::lsn(&row, "first_lsn")?.unwrap_or(Lsn::ZERO);
            let early = || Error::StartTooEarly { asked: time.clone(), what: "what was captured", first };
            cdc::lsn(&row, "before_lsn")?.ok_or_else(early)?
        }
    };
    info!("changes that were committed behind {applied} are applied");
    let (applied, restart) = (CommitLsn(applied), RestartLsn(applied));
    Ok(Some(Checkpoint { applied, restart, lineage, commit_time_us: None }))
}

/// The position in front of an LSN. The one behind a backup is that of a record which may not be there yet.
fn before(lsn: Lsn, end: Lsn) -> Result<Lsn, Error> {
    if lsn.vlf > end.vlf.saturating_add(1) {
        return Err(Error::StartTooLate { asked: lsn, end });
    }
    Ok(lsn.previous().min(end))
}

/// A time as the log spells it.
fn as_logged(time: &str) -> String {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{}:{fraction:0<3}", whole.replace('-', "/").replace('T', " "))
}

/// An LSN that is the only thing asked for.
async fn text(session: &mut Session, doing: &str, sql: &str, value: Option<&str>) -> Result<Option<Lsn>, Error> {
    let rows = match &value {
        Some(value) => session.rows(doing, sql, &[value]).await?,
        None => session.rows(doing, sql, &[]).await?,
    };
    let wrong = |what: String| Error::Unexpected { doing: doing.to_owned(), what };
    let Some(row) = rows.first() else { return Ok(None) };
    let text: Option<&str> = row.try_get("lsn").map_err(|e| wrong(e.to_string()))?;
    text.map(|text| text.parse().map_err(|e| wrong(format!("{e}")))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelt_as_the_log_does() {
        assert_eq!(as_logged("2026-01-31T10:00:00"), "2026/01/31 10:00:00:000");
        assert_eq!(as_logged("2026-01-31T10:00:00.5"), "2026/01/31 10:00:00:500");
        assert_eq!(as_logged("2026-01-31T10:00:00.123"), "2026/01/31 10:00:00:123");
    }

    #[test]
    fn a_record_that_is_not_there_yet_is_the_end() {
        let end = Lsn::new(5, 6, 7);
        assert_eq!(before(Lsn::new(5, 6, 3), end).expect("there"), Lsn::new(5, 6, 2));
        assert_eq!(before(Lsn::new(5, 6, 8), end).expect("next"), end);
        assert_eq!(before(Lsn::new(6, 1, 1), end).expect("next"), end);
        assert!(before(Lsn::new(7, 1, 1), end).is_err());
    }
}
