//! What `msdb` knows of backups.

use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::shape::{Rows, lsn, n, t, view as table};

/// The tables of backups, as far as they are asked for.
pub(super) fn view(state: &State, name: &str) -> Option<(Vec<Column>, Rows)> {
    let sets = || state.backup_sets.iter().enumerate().map(|(at, set)| (at as i64 + 1, set));
    Some(match name {
        "backupset" => table(
            "backup_set_id int, media_set_id int, position int?=1, name n128?, first_lsn lsn?, last_lsn lsn?, type char1?, database_name n128?, is_copy_only bit?=0",
            ["backup_set_id", "media_set_id", "first_lsn", "last_lsn", "type", "database_name"],
            sets()
                .map(|(id, set)| [n(id), n(id), lsn(set.first_lsn), lsn(set.last_lsn), t(set.kind), t(&set.database)]),
        ),
        "backupmediafamily" => table(
            "media_set_id int, family_sequence_number tinyint=1, physical_device_name n260?, device_type tinyint?=2",
            ["media_set_id", "physical_device_name"],
            sets().map(|(id, set)| [n(id), t(&set.device)]),
        ),
        _ => return None,
    })
}
