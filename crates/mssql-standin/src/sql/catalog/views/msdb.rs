//! What `msdb` knows of backups and of the jobs of CDC.

use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::super::value::Value;
use super::super::shape::{Rows, b, lsn, n, t, view as table};

const BACKUP_SETS: &str = "backup_set_id int, backup_set_uuid guid?, media_set_id int, first_family_number tinyint?=1, first_media_number smallint?=1, last_family_number tinyint?=1, last_media_number smallint?=1, catalog_family_number tinyint?=1, catalog_media_number smallint?=1, position int?=1, expiration_date datetime?, software_vendor_id int?=4608, name n128?, description n255?, user_name n128?, software_major_version tinyint?=13, software_minor_version tinyint?=0, software_build_version smallint?=5026, time_zone smallint?=0, mtf_minor_version tinyint?=0, first_lsn lsn?, last_lsn lsn?, checkpoint_lsn lsn?, database_backup_lsn lsn?, database_creation_date datetime?, backup_start_date datetime?, backup_finish_date datetime?, type char1?, sort_order smallint?=52, code_page smallint?=228, compatibility_level tinyint?=130, database_version int?=852, backup_size num20?, database_name n128?, server_name n128?, machine_name n128?, flags int?=0, unicode_locale int?=1033, unicode_compare_style int?=196609, collation_name n128?, is_password_protected bit?=0, recovery_model n60?=FULL, has_bulk_logged_data bit?=0, is_snapshot bit?=0, is_readonly bit?=0, is_single_user bit?=0, has_backup_checksums bit?=0, is_damaged bit?=0, begins_log_chain bit?=0, has_incomplete_metadata bit?=0, is_force_offline bit?=0, is_copy_only bit?=0, first_recovery_fork_guid guid?, last_recovery_fork_guid guid?, fork_point_lsn lsn?, database_guid guid?, family_guid guid?, differential_base_lsn lsn?, differential_base_guid guid?, compressed_backup_size num20?, key_algorithm n32?, encryptor_thumbprint varbin20?, encryptor_type n32?";

/// The tables of backups, as far as they are asked for.
pub(super) fn view(state: &State, name: &str) -> Option<(Vec<Column>, Rows)> {
    let sets = || state.backup_sets.iter().enumerate().map(|(at, set)| (at as i64 + 1, set));
    Some(match name {
        "cdc_jobs" => {
            let mut rows = Vec::new();
            for (at, db) in state.databases.iter().enumerate() {
                let Some(cdc) = db.as_ref().and_then(|db| db.cdc.as_ref()) else { continue };
                let id = |kind: u8| {
                    let mut id = [0; 16];
                    (id[0], id[1]) = (kind, at as u8);
                    Value::Guid(id)
                };
                let number = n(State::database_id(at));
                if let Some(job) = &cdc.capture {
                    let s = job.settings;
                    rows.push([
                        number.clone(),
                        t("capture"),
                        id(1),
                        n(s.maxtrans),
                        n(s.maxscans),
                        b(s.continuous),
                        n(s.polling_s),
                        n(0),
                        n(0),
                    ]);
                }
                if let Some(job) = &cdc.cleanup {
                    let ends = [n(job.retention_min), n(job.threshold)];
                    let [retention, threshold] = ends;
                    rows.push([number, t("cleanup"), id(2), n(0), n(0), b(false), n(0), retention, threshold]);
                }
            }
            table(
                "database_id int, job_type n20, job_id guid, maxtrans int, maxscans int, continuous bit, pollinginterval bigint, retention bigint, threshold bigint",
                [
                    "database_id",
                    "job_type",
                    "job_id",
                    "maxtrans",
                    "maxscans",
                    "continuous",
                    "pollinginterval",
                    "retention",
                    "threshold",
                ],
                rows,
            )
        }
        "backupset" => table(
            BACKUP_SETS,
            [
                "backup_set_id",
                "media_set_id",
                "first_lsn",
                "last_lsn",
                "type",
                "database_name",
                "first_recovery_fork_guid",
                "last_recovery_fork_guid",
                "database_guid",
                "family_guid",
            ],
            sets().map(|(id, set)| {
                let [own, family, fork] = set.lineage.map(Value::Guid);
                [
                    n(id),
                    n(id),
                    lsn(set.first_lsn),
                    lsn(set.last_lsn),
                    t(set.kind),
                    t(&set.database),
                    fork.clone(),
                    fork,
                    own,
                    family,
                ]
            }),
        ),
        "backupmediafamily" => table(
            "media_set_id int, family_sequence_number tinyint=1, media_family_id guid?, media_count int?=1, logical_device_name n128?, physical_device_name n260?, device_type tinyint?=2, physical_block_size int?=65536, mirror tinyint=0",
            ["media_set_id", "physical_device_name", "mirror"],
            sets().flat_map(|(id, set)| {
                let mirrors = [(0, Some(&set.device)), (1, set.mirror.as_ref())].into_iter();
                mirrors.filter_map(move |(mirror, device)| Some([n(id), t(device?), n(mirror)]))
            }),
        ),
        _ => return None,
    })
}
