//! What `msdb` knows of backups and of the jobs of CDC.

use super::super::super::plan::Column;
use super::super::super::state::{Db, State};
use super::super::super::value::Value;
use super::super::shape::{Rows, b, lsn, n, t, view as table};

const BACKUP_SETS: &str = "backup_set_id int, backup_set_uuid guid?, media_set_id int, first_family_number tinyint?=1, first_media_number smallint?=1, last_family_number tinyint?=1, last_media_number smallint?=1, catalog_family_number tinyint?=1, catalog_media_number smallint?=1, position int?=1, expiration_date datetime?, software_vendor_id int?=4608, name n128?, description n255?, user_name n128?, software_major_version tinyint?=13, software_minor_version tinyint?=0, software_build_version smallint?=5026, time_zone smallint?=0, mtf_minor_version tinyint?=0, first_lsn lsn?, last_lsn lsn?, checkpoint_lsn lsn?, database_backup_lsn lsn?, database_creation_date datetime?, backup_start_date datetime?, backup_finish_date datetime?, type char1?, sort_order smallint?=52, code_page smallint?=228, compatibility_level tinyint?=130, database_version int?=852, backup_size num20?, database_name n128?, server_name n128?, machine_name n128?, flags int?=0, unicode_locale int?=1033, unicode_compare_style int?=196609, collation_name n128?, is_password_protected bit?=0, recovery_model n60?=FULL, has_bulk_logged_data bit?=0, is_snapshot bit?=0, is_readonly bit?=0, is_single_user bit?=0, has_backup_checksums bit?=0, is_damaged bit?=0, begins_log_chain bit?=0, has_incomplete_metadata bit?=0, is_force_offline bit?=0, is_copy_only bit?=0, first_recovery_fork_guid guid?, last_recovery_fork_guid guid?, fork_point_lsn lsn?, database_guid guid?, family_guid guid?, differential_base_lsn lsn?, differential_base_guid guid?, compressed_backup_size num20?, key_algorithm n32?, encryptor_thumbprint varbin20?, encryptor_type n32?";

const JOBS: &str = "job_id guid, originating_server_id int=0, name sysname, enabled tinyint=1, description n512?, start_step_id int=1, category_id int, owner_sid varbin85, notify_level_eventlog int=2, notify_level_email int=0, notify_level_netsend int=0, notify_level_page int=0, notify_email_operator_id int=0, notify_netsend_operator_id int=0, notify_page_operator_id int=0, delete_level int=0, date_created datetime, date_modified datetime, version_number int=1";

const JOB_STEPS: &str = "job_id guid, step_id int, step_name sysname, subsystem n40=TSQL, command nmax?, flags int=0, additional_parameters ntext?, cmdexec_success_code int=0, on_success_action tinyint, on_success_step_id int=0, on_fail_action tinyint, on_fail_step_id int=0, server sysname?, database_name sysname?, database_user_name sysname?, retry_attempts int=0, retry_interval int=0, os_run_priority int=0, output_file_name n200?, last_run_outcome int=0, last_run_duration int=0, last_run_retries int=0, last_run_date int=0, last_run_time int=0, proxy_id int?, step_uid guid?";

/// `syscategories.category_id` of REPL-LogReader and REPL-Checkup.
const LOG_READER: u8 = 13;
const CHECKUP: u8 = 16;

/// What a job does behind a step.
const QUIT: u8 = 1;
const FAIL: u8 = 2;
const GO_ON: u8 = 3;

/// A step: name, command, what follows where it succeeds and where it fails.
type Step = (&'static str, &'static str, u8, u8);

const CAPTURE_STEPS: &[Step] = &[
    ("Starting Change Data Capture Collection Agent", "RAISERROR(22801, 10, -1)", GO_ON, GO_ON),
    ("Change Data Capture Collection Agent", "sys.sp_MScdc_capture_job", QUIT, FAIL),
];
const CLEANUP_STEPS: &[Step] = &[("Change Data Capture Cleanup Agent", "sys.sp_MScdc_cleanup_job", QUIT, FAIL)];

/// A job of CDC.
struct Job<'a> {
    id: Value,
    db: &'a Db,
    kind: &'static str,
    description: &'static str,
    category: u8,
    steps: &'static [Step],
    /// It is made with the first table.
    created: Value,
}

/// `job_id` of a job: its kind and its database.
fn job_id(kind: u8, at: usize) -> Value {
    let mut id = [0; 16];
    (id[0], id[1]) = (kind, at as u8);
    Value::Guid(id)
}

fn jobs(state: &State) -> Vec<Job<'_>> {
    let mut out = Vec::new();
    for (at, db) in state.databases.iter().enumerate() {
        let Some((db, cdc)) = db.as_ref().and_then(|db| Some((db, db.cdc.as_ref()?))) else { continue };
        let created = cdc.instances.first().map_or_else(|| db.created.clone(), |i| i.created.clone());
        if cdc.capture.is_some() {
            let (id, created) = (job_id(1, at), created.clone());
            let (kind, description, category) = ("capture", "CDC Log Scan Job", LOG_READER);
            out.push(Job { id, db, kind, description, category, steps: CAPTURE_STEPS, created });
        }
        if cdc.cleanup.is_some() {
            let (kind, description, category) = ("cleanup", "CDC Cleanup Job", CHECKUP);
            out.push(Job { id: job_id(2, at), db, kind, description, category, steps: CLEANUP_STEPS, created });
        }
    }
    out
}

/// The tables of backups and of jobs, as far as they are asked for.
pub(super) fn view(state: &State, name: &str) -> Option<(Vec<Column>, Rows)> {
    let sets = || state.backup_sets.iter().enumerate().map(|(at, set)| (at as i64 + 1, set));
    Some(match name {
        "cdc_jobs" => {
            let mut rows = Vec::new();
            for (at, db) in state.databases.iter().enumerate() {
                let Some(cdc) = db.as_ref().and_then(|db| db.cdc.as_ref()) else { continue };
                let number = n(State::database_id(at));
                if let Some(job) = &cdc.capture {
                    let s = job.settings;
                    rows.push([
                        number.clone(),
                        t("capture"),
                        job_id(1, at),
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
                    rows.push([number, t("cleanup"), job_id(2, at), n(0), n(0), b(false), n(0), retention, threshold]);
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
        "sysjobs" => table(
            JOBS,
            ["job_id", "name", "description", "category_id", "owner_sid", "date_created", "date_modified"],
            jobs(state).into_iter().map(|job| {
                [
                    job.id,
                    t(&format!("cdc.{}_{}", job.db.name, job.kind)),
                    t(job.description),
                    n(job.category),
                    Value::Bytes(vec![1]),
                    job.created.clone(),
                    job.created,
                ]
            }),
        ),
        "sysjobsteps" => table(
            JOB_STEPS,
            [
                "job_id",
                "step_id",
                "step_name",
                "command",
                "on_success_action",
                "on_fail_action",
                "server",
                "database_name",
            ],
            jobs(state).into_iter().flat_map(|job| {
                let steps = job.steps.iter().zip(1i64..);
                let row = |((name, command, done, failed), place): (&Step, i64)| {
                    let (server, database) = (t(&state.server), t(&job.db.name));
                    [job.id.clone(), n(place), t(name), t(command), n(*done), n(*failed), server, database]
                };
                steps.map(row).collect::<Vec<_>>()
            }),
        ),
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
