//! Partitions, allocation units, files: where tables and their indexes are.

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::state::{Db, State};
use super::super::super::types;
use super::super::super::value::Value;
use super::super::shape::{Rows, b, n, none, t, view as table};
use super::log::{bytes_since, not_backed_up};
use logferry_mssql_standin_storage::PhysicalColumn;

const UNIT_NAMES: [&str; 4] = ["DROPPED", "IN_ROW_DATA", "LOB_DATA", "ROW_OVERFLOW_DATA"];

const FILES: &str = "database_id int, file_id int, file_guid guid?, type tinyint, type_desc n60?, data_space_id int, name sysname, physical_name n260, state tinyint?=0, state_desc n60?=ONLINE, size int, max_size int=-1, growth int=8192, is_media_read_only bit=0, is_read_only bit=0, is_sparse bit=0, is_percent_growth bit=0, is_name_reserved bit=0, create_lsn lsn?, drop_lsn lsn?, read_only_lsn lsn?, read_write_lsn lsn?, differential_base_lsn lsn?, differential_base_guid guid?, differential_base_time datetime?, redo_start_lsn lsn?, redo_start_fork_guid guid?, redo_target_lsn lsn?, redo_target_fork_guid guid?, backup_lsn lsn?, credential_id int?";

const PARTITION_COLUMNS: &str = "partition_id bigint, partition_column_id int, modified_count bigint=0, max_inrow_length smallint?, is_replicated bit=0, is_logged_for_replication bit=0, is_dropped bit, system_type_id tinyint, max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, is_filestream bit=0, key_ordinal smallint, is_nullable bit, is_descending_key bit=0, is_uniqueifier bit=0, leaf_offset smallint, internal_offset smallint, leaf_bit_position tinyint, internal_bit_position tinyint=0, leaf_null_bit smallint, internal_null_bit smallint, is_anti_matter bit=0, partition_column_guid guid?, is_sparse bit=0";

const PARTITIONS: &str = "partition_id bigint, object_id int, index_id int, partition_number int=1, rows bigint, filestream_filegroup_id smallint=0, filestream_guid guid?, is_orphaned bit=0, dropped_lob_column_state tinyint=0, is_unique bit, is_replicated bit=0, is_logged_for_replication bit=0, is_sereplicated bit=0, max_null_bit_used smallint, max_leaf_length int, min_leaf_length smallint, max_internal_length smallint=0, min_internal_length smallint=0, allows_nullable_keys bit=0, allow_row_locks bit=1, allow_page_locks bit=1, is_data_row_format bit=1, is_not_versioned bit=0";

/// A heap or an index and what the views say of it.
pub(super) struct Rowset {
    pub table: u32,
    pub index: u32,
    unique: bool,
    pub hobt: i64,
    pub rows: i64,
    /// Id, type, pages: with data, used, taken.
    pub units: Vec<(u64, u8, [i64; 3])>,
}

/// All of a database.
pub(super) fn rowsets(db: &Db) -> Vec<Rowset> {
    let of = |(table, _)| {
        db.storage.table_rowsets(table).into_iter().map(move |r| Rowset {
            table,
            index: r.index,
            unique: r.unique,
            hobt: r.id as i64,
            rows: db.storage.rowset_rows(r.id),
            units: db.storage.rowset_units(r.id),
        })
    };
    db.storage.tables().flat_map(of).collect()
}

impl Rowset {
    pub fn pages(&self, kind: u8) -> [i64; 3] {
        self.units.iter().find(|u| u.1 == kind).map_or([0; 3], |u| u.2)
    }
}

/// The shortest and the longest that a row can be.
pub(super) fn lengths(columns: &[PhysicalColumn]) -> (i64, i64) {
    let fixed = columns.iter().filter(|c| c.leaf_offset > 0).map(|c| {
        let (length, ..) = types::sizes(&c.sql_type);
        i64::from(c.leaf_offset) + i64::from(length)
    });
    (fixed.max().unwrap_or(4) + 2 + (columns.len() as i64 + 7) / 8, 8060)
}

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let units = || {
        rowsets(db).into_iter().flat_map(|r| {
            let (table, hobt) = (r.table, r.hobt);
            r.units.into_iter().map(move |unit| (table, hobt, unit))
        })
    };
    Some(match view {
        "partitions" => table(
            "partition_id bigint, object_id int, index_id int, partition_number int=1, hobt_id bigint, rows bigint?, filestream_filegroup_id smallint=0, data_compression tinyint=0, data_compression_desc n60?=NONE",
            ["partition_id", "object_id", "index_id", "hobt_id", "rows"],
            rowsets(db).iter().map(|r| [n(r.hobt), n(r.table), n(r.index), n(r.hobt), n(r.rows)]),
        ),
        "dm_db_partition_stats" => table(
            "partition_id bigint?, object_id int, index_id int, partition_number int=1, in_row_data_page_count bigint?, in_row_used_page_count bigint?, in_row_reserved_page_count bigint?, lob_used_page_count bigint?, lob_reserved_page_count bigint?, row_overflow_used_page_count bigint?, row_overflow_reserved_page_count bigint?, used_page_count bigint?, reserved_page_count bigint?, row_count bigint?",
            [
                "partition_id",
                "object_id",
                "index_id",
                "in_row_data_page_count",
                "in_row_used_page_count",
                "in_row_reserved_page_count",
                "lob_used_page_count",
                "lob_reserved_page_count",
                "row_overflow_used_page_count",
                "row_overflow_reserved_page_count",
                "used_page_count",
                "reserved_page_count",
                "row_count",
            ],
            rowsets(db).iter().map(|r| {
                let (rows, lobs, overflow) = (r.pages(1), r.pages(2), r.pages(3));
                [
                    n(r.hobt),
                    n(r.table),
                    n(r.index),
                    n(rows[0]),
                    n(rows[1]),
                    n(rows[2]),
                    n(lobs[1]),
                    n(lobs[2]),
                    n(overflow[1]),
                    n(overflow[2]),
                    n(rows[1] + lobs[1] + overflow[1]),
                    n(rows[2] + lobs[2] + overflow[2]),
                    n(r.rows),
                ]
            }),
        ),
        "allocation_units" => table(
            "allocation_unit_id bigint, type tinyint, type_desc n60?, container_id bigint, data_space_id int=1, total_pages bigint, used_pages bigint, data_pages bigint",
            ["allocation_unit_id", "type", "type_desc", "container_id", "total_pages", "used_pages", "data_pages"],
            units().map(|(_, hobt, (unit, kind, [data, used, reserved]))| {
                let name = UNIT_NAMES.get(usize::from(kind)).copied().unwrap_or_default();
                [n(unit as i64), n(kind), t(name), n(hobt), n(reserved), n(used), n(data)]
            }),
        ),
        "system_internals_allocation_units" => table(
            "allocation_unit_id bigint, type tinyint, type_desc n60?, container_id bigint, filegroup_id smallint=1, total_pages bigint, used_pages bigint, data_pages bigint, first_page bin6, root_page bin6, first_iam_page bin6",
            [
                "allocation_unit_id",
                "type",
                "type_desc",
                "container_id",
                "total_pages",
                "used_pages",
                "data_pages",
                "first_page",
                "root_page",
                "first_iam_page",
            ],
            units().map(|(_, hobt, (unit, kind, [data, used, reserved]))| {
                let roots = db.storage.unit_roots(hobt as u64).into_iter().find(|r| r.id == unit);
                let [first, root, iam] = roots.map_or([[0; 6]; 3], |r| r.pages).map(|p| Value::Bytes(p.to_vec()));
                let name = UNIT_NAMES.get(usize::from(kind)).copied().unwrap_or_default();
                [n(unit as i64), n(kind), t(name), n(hobt), n(reserved), n(used), n(data), first, root, iam]
            }),
        ),
        "system_internals_partitions" => table(
            PARTITIONS,
            [
                "partition_id",
                "object_id",
                "index_id",
                "rows",
                "is_unique",
                "max_null_bit_used",
                "max_leaf_length",
                "min_leaf_length",
            ],
            rowsets(db).iter().map(|r| {
                let columns = db.storage.rowset_columns(r.hobt as u64);
                let (shortest, longest) = lengths(&columns);
                [
                    n(r.hobt),
                    n(r.table),
                    n(r.index),
                    n(r.rows),
                    b(r.unique),
                    n(columns.len() as i64),
                    n(longest),
                    n(shortest),
                ]
            }),
        ),
        "system_internals_partition_columns" => table(
            PARTITION_COLUMNS,
            [
                "partition_id",
                "partition_column_id",
                "max_inrow_length",
                "is_dropped",
                "system_type_id",
                "max_length",
                "precision",
                "scale",
                "collation_name",
                "key_ordinal",
                "is_nullable",
                "is_uniqueifier",
                "leaf_offset",
                "internal_offset",
                "leaf_bit_position",
                "leaf_null_bit",
                "internal_null_bit",
            ],
            rowsets(db).iter().flat_map(|r| {
                let hobt = r.hobt;
                db.storage.rowset_columns(r.hobt as u64).into_iter().map(move |c| {
                    let (length, precision, scale) = types::sizes(&c.sql_type);
                    [
                        n(hobt),
                        n(c.id),
                        n(if length == -1 { 8000 } else { length }),
                        b(c.dropped),
                        n(types::code(&c.sql_type)),
                        n(length),
                        n(precision),
                        n(scale),
                        super::collation_name(&c.sql_type),
                        n(c.key_ordinal),
                        b(c.nullable),
                        b(c.uniquifier),
                        n(c.leaf_offset),
                        n(c.internal_offset),
                        n(c.leaf_bit),
                        n(c.null_bit),
                        n(if c.internal_offset == 0 { 0 } else { c.null_bit }),
                    ]
                })
            }),
        ),
        "data_spaces" | "filegroups" => {
            let list = "name sysname, data_space_id int=1, type char2=FG, type_desc n60?=ROWS_FILEGROUP, is_default bit?=1, is_system bit?=0";
            let more =
                ", filegroup_guid guid?, log_filegroup_id int?, is_read_only bit?=0, is_autogrow_all_files bit?=0";
            let spec = if view == "filegroups" { format!("{list}{more}") } else { list.to_owned() };
            table(&spec, ["name"], [[t("PRIMARY")]])
        }
        "partition_schemes" => none(
            "name sysname, data_space_id int, type char2, type_desc n60?, is_default bit?, is_system bit?, function_id int",
        ),
        "partition_functions" => none(
            "name sysname, function_id int, type char2, type_desc n60?, fanout int, boundary_value_on_right bit, is_system bit, create_date datetime, modify_date datetime",
        ),
        "destination_data_spaces" => none("partition_scheme_id int, destination_id int, data_space_id int"),
        "database_files" | "master_files" => {
            let wanted = |d: &usize| view == "master_files" || *d == at;
            let every = (0..state.databases.len()).filter(|d| state.databases[*d].is_some()).filter(wanted);
            let (mut columns, mut rows) = table(
                FILES,
                [
                    "database_id",
                    "file_id",
                    "type",
                    "type_desc",
                    "data_space_id",
                    "name",
                    "physical_name",
                    "size",
                    "is_name_reserved",
                ],
                every.flat_map(|d| {
                    let (id, db) = (State::database_id(d), state.db(d));
                    let file = |file: i64, kind: i64, desc: &str, name: String, end: &str, pages: i64| {
                        let path = t(&format!("{name}{end}"));
                        [n(id), n(file), n(kind), t(desc), n(1 - kind), t(&name), path, n(pages), b(false)]
                    };
                    [
                        file(1, 0, "ROWS", db.name.clone(), ".mdf", i64::from(db.storage.file_pages())),
                        file(
                            2,
                            1,
                            "LOG",
                            format!("{}_log", db.name),
                            ".ldf",
                            (db.storage.log_state().file_bytes / 8192) as i64,
                        ),
                    ]
                }),
            );
            if view == "database_files" {
                columns.remove(0);
                columns.pop();
                rows.iter_mut().for_each(|r| {
                    r.remove(0);
                    r.pop();
                });
            }
            (columns, rows)
        }
        "dm_db_log_space_usage" => {
            let log = db.storage.log_state();
            let used = bytes_since(&db.storage, log.start);
            let since_backup = bytes_since(&db.storage, not_backed_up(&log));
            table(
                "database_id smallint, total_log_size_in_bytes bigint, used_log_space_in_bytes bigint, used_log_space_in_percent real, log_space_in_bytes_since_last_backup bigint",
                [
                    "database_id",
                    "total_log_size_in_bytes",
                    "used_log_space_in_bytes",
                    "used_log_space_in_percent",
                    "log_space_in_bytes_since_last_backup",
                ],
                [[
                    n(State::database_id(at)),
                    n(log.file_bytes as i64),
                    n(used as i64),
                    Value::Float(used as f64 / log.file_bytes as f64 * 100.0),
                    n(since_backup as i64),
                ]],
            )
        }
        _ => return None,
    })
}
