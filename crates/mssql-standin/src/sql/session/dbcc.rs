//! DBCC: what shows the log, and identities. What only a server's inside would feel is accepted and does nothing.

use super::super::define;
use super::super::error::{Result, SqlError, syntax, unsupported};
use super::super::function::split_name;
use super::{Out, Session};

const LOGSPACE: &str = "SELECT d.name AS [Database Name], CAST(s.total_log_size_mb AS real) AS [Log Size (MB)], CAST(100.0 * s.active_log_size_mb / s.total_log_size_mb AS real) AS [Log Space Used (%)], 0 AS Status FROM sys.databases d CROSS APPLY sys.dm_db_log_stats(d.database_id) s ORDER BY d.database_id";

const LOGINFO: &str = "SELECT 0 AS RecoveryUnitId, CAST(file_id AS int) AS FileId, CAST(vlf_size_mb * 1048576 AS bigint) AS FileSize, vlf_begin_offset AS StartOffset, CAST(vlf_sequence_number AS int) AS FSeqNo, vlf_status AS Status, vlf_parity AS Parity, vlf_create_lsn AS CreateLSN FROM sys.dm_db_log_info(DB_ID())";

const SHRUNK: &str = "SELECT CAST(DB_ID() AS smallint) AS DbId, file_id AS FileId, size AS CurrentSize, size AS MinimumSize, size AS UsedPages, size AS EstimatedPages FROM sys.database_files WHERE type = 0";

impl Session {
    pub(super) fn dbcc(&mut self, name: &str, args: &[String], out: Out<'_>) -> Result<()> {
        match name {
            "SQLPERF" if args.first().is_some_and(|a| a.eq_ignore_ascii_case("LOGSPACE")) => {
                self.nested(LOGSPACE, out)?;
            }
            "LOGINFO" => {
                self.nested(LOGINFO, out)?;
            }
            "CHECKIDENT" => self.check_ident(args, out)?,
            "DBREINDEX" => {
                let table = split_name(args.first().map_or("", String::as_str));
                let index = args.get(1).filter(|name| !name.is_empty()).cloned();
                self.defining_tables("DBCC", &[&table], |state, s, _| {
                    define::maintain_index(state, s, index.as_deref(), &table, false)
                })?;
            }
            "SHRINKFILE" | "SHRINKDATABASE" => self.shrink(out)?,
            "TRACEON" | "TRACEOFF" | "FREEPROCCACHE" | "DROPCLEANBUFFERS" | "FREESYSTEMCACHE" | "FREESESSIONCACHE" => {}
            "CHECKDB" | "CHECKTABLE" | "PAGE" | "IND" | "LOG" | "OPENTRAN" | "INPUTBUFFER" | "USEROPTIONS"
            | "SHOW_STATISTICS" | "TRACESTATUS" | "SQLPERF" => {
                return Err(unsupported(format!("DBCC {name}")));
            }
            other => return Err(syntax(other, 0)),
        }
        let message = "DBCC execution completed. If DBCC printed error messages, contact your system administrator.";
        out.info(&SqlError { class: 0, ..SqlError::new(2528, message) });
        Ok(())
    }

    /// Shows the data file as a server does that had nothing to shrink: no page is moved, and the file stays as large as it is.
    fn shrink(&mut self, out: Out<'_>) -> Result<()> {
        self.nested(SHRUNK, out)?;
        let message = "The stand-in moves no pages: the file has the size that it had.";
        out.info(&SqlError { class: 0, ..SqlError::new(0, message) });
        Ok(())
    }

    /// `CHECKIDENT (table, NORESEED | RESEED, value)`
    fn check_ident(&mut self, args: &[String], out: Out<'_>) -> Result<()> {
        let table = args.first().cloned().unwrap_or_default();
        let reseed = args.get(1).is_none_or(|a| a.eq_ignore_ascii_case("RESEED"));
        let wanted: Option<i128> = args.get(2).and_then(|n| n.parse().ok());
        let (old, new) = self.waiting(|state, scalars, _| {
            let at = state.find_table(scalars, &split_name(&table))?.ok_or_else(|| {
                SqlError::batch(
                    2501,
                    format!("Cannot find a table or object with the name \"{table}\". Check the system catalog."),
                )
                .state(45)
            })?;
            let name = state.db(at.database).table_name(at.table).1;
            let db = state.db_mut(at.database);
            let empty = db.storage.rows(at.table).next().is_none();
            let identity = db.tables.get_mut(&at.table).and_then(|t| t.identity.as_mut()).ok_or_else(|| {
                SqlError::batch(7997, format!("'{name}' does not contain an identity column.")).state(1)
            })?;
            let old = identity.last;
            if let (true, Some(wanted)) = (reseed, wanted) {
                // Where no row was ever inserted, the value is the first one's; otherwise the next is one step further.
                identity.last = Some(if old.is_none() && empty { wanted - identity.increment } else { wanted });
            }
            Ok((old, wanted))
        })?;
        let shown = |n: Option<i128>| n.map_or("NULL".to_owned(), |n| n.to_string());
        let message = match new {
            Some(_) if reseed => format!("Checking identity information: current identity value '{}'.", shown(old)),
            _ => format!(
                "Checking identity information: current identity value '{0}', current column value '{0}'.",
                shown(old)
            ),
        };
        out.info(&SqlError { class: 0, ..SqlError::new(7998, message) });
        Ok(())
    }
}
