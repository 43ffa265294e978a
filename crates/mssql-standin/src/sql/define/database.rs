//! Databases, schemas, backups.

use super::super::error::{Result, SqlError, unsupported};
use super::super::parse::option::{Place, is_accepted};
use super::super::state::{BackupSet, SYSTEM_DATABASES, Scalars, State, from_storage};
use super::super::value::same_name;

pub(crate) fn create_schema(state: &mut State, scalars: &Scalars, name: &str) -> Result<()> {
    if state.find_schema(scalars.database, name).is_some() {
        return Err(
            SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(6)
        );
    }
    state.db_mut(scalars.database).storage.create_schema(name).map(drop).map_err(from_storage)
}

pub(crate) fn drop_database(state: &mut State, scalars: &Scalars, name: &str, if_exists: bool) -> Result<()> {
    let Some(at) = state.find_database(name) else {
        return match if_exists {
            true => Ok(()),
            false => Err(SqlError::batch(
                3701,
                format!("Cannot drop the database '{name}', because it does not exist or you do not have permission."),
            )
            .class(11)),
        };
    };
    if SYSTEM_DATABASES.iter().any(|s| same_name(s, name)) {
        return Err(SqlError::batch(
            3708,
            format!("Cannot drop the database '{name}' because it is a system database."),
        ));
    }
    if at == scalars.database || state.sessions.values().any(|s| s.database == at) {
        return Err(
            SqlError::batch(3702, format!("Cannot drop database \"{name}\" because it is currently in use.")).state(4)
        );
    }
    state.databases[at] = None;
    Ok(())
}

pub(crate) fn alter_database(
    state: &mut State,
    scalars: &Scalars,
    name: Option<&str>,
    options: &[(String, String)],
) -> Result<()> {
    let at = match name {
        None => scalars.database,
        Some(name) => state.find_database(name).ok_or_else(|| {
            SqlError::batch(5011, format!("User does not have permission to alter database '{name}', the database does not exist, or the database is not in a state that allows access checks.")).state(5)
        })?,
    };
    for (option, value) in options {
        let on = value == "ON";
        let db = state.db_mut(at);
        match option.as_str() {
            "READ_COMMITTED_SNAPSHOT" => db.read_committed_snapshot = on,
            "ALLOW_SNAPSHOT_ISOLATION" => db.allow_snapshot = on,
            "RECOVERY" if value == "FULL" => db.simple_recovery = false,
            "RECOVERY" => return Err(unsupported("recovery models other than FULL")),
            other if is_accepted(Place::Database, other) => {}
            other => return Err(unsupported(format!("ALTER DATABASE ... SET {other}"))),
        }
    }
    Ok(())
}

/// `BACKUP DATABASE | LOG`: `kind` is whether it is of the log, and whether it is a differential.
pub(crate) fn backup(
    state: &mut State,
    kind: (bool, bool),
    database: &str,
    [path, mirror]: [&str; 2],
    overwrite: bool,
) -> Result<()> {
    let at = state.find_database(database).ok_or_else(|| {
        SqlError::batch(
            911,
            format!("Database '{database}' does not exist. Make sure that the name is entered correctly."),
        )
    })?;
    let nowhere = path.eq_ignore_ascii_case("NUL");
    let device = path.to_owned();
    let path = state.backups.join(if nowhere { "/dev/null" } else { path });
    let name = state.db(at).name.clone();
    let storage = &mut state.db_mut(at).storage;
    let before = storage.log_archived().unwrap_or(logferry_model::Lsn::ZERO);
    storage.append_backups(!nowhere && !overwrite);
    match kind {
        (true, _) => storage.backup_log(&path),
        (false, true) => storage.backup_diff(&path),
        (false, false) => storage.backup_full(&path),
    }
    .map_err(from_storage)?;
    let (last_lsn, lineage) = (storage.last_backup_lsn(), storage.lineage());
    let mirror = Some(mirror).filter(|m| !m.is_empty()).map(str::to_owned);
    if let Some(mirror) = &mirror {
        std::fs::copy(&path, state.backups.join(mirror)).map_err(|e| SqlError::batch(3201, e.to_string()))?;
    }
    state.backup_sets.push(BackupSet {
        database: name,
        kind: match kind {
            (true, _) => "L",
            (false, true) => "I",
            (false, false) => "D",
        },
        first_lsn: if kind.0 { before } else { last_lsn },
        last_lsn,
        device,
        mirror,
        lineage,
    });
    Ok(())
}
