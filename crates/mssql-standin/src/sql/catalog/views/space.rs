//! Partitions, allocation units, files.

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::super::value::Value;
use super::{Rows, b, columns, n, t};

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let tables = || db.storage.tables().map(|(id, def)| (id, def, db.meta(id)));
    let long = |v: i64| Value::Int(v);
    Some(match view {
        "partitions" | "dm_db_partition_stats" => {
            let stats = view != "partitions";
            let list = match stats {
                false => {
                    "partition_id bigint, object_id int, index_id int, partition_number int, hobt_id bigint, rows bigint?, filestream_filegroup_id smallint, data_compression tinyint, data_compression_desc n60?"
                }
                true => {
                    "partition_id bigint?, object_id int, index_id int, partition_number int, in_row_data_page_count bigint?, in_row_used_page_count bigint?, in_row_reserved_page_count bigint?, lob_used_page_count bigint?, lob_reserved_page_count bigint?, row_overflow_used_page_count bigint?, row_overflow_reserved_page_count bigint?, used_page_count bigint?, reserved_page_count bigint?, row_count bigint?"
                }
            };
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                let Some((hobt, units)) = db.storage.storage_ids(id) else { continue };
                let (count, [_, used, reserved]) = db.storage.size_of(id);
                let of = |kind: u8| units.iter().find(|u| u.1 == kind).map_or([0; 3], |u| u.2);
                let index = u32::from(meta.keys.iter().any(|k| k.clustered));
                rows.push(match stats {
                    false => vec![
                        long(hobt as i64),
                        n(id),
                        n(index),
                        n(1),
                        long(hobt as i64),
                        long(count),
                        n(0),
                        n(0),
                        t("NONE"),
                    ],
                    true => {
                        let [data, in_used, in_reserved] = of(1);
                        vec![
                            long(hobt as i64),
                            n(id),
                            n(index),
                            n(1),
                            long(data),
                            long(in_used),
                            long(in_reserved),
                            long(of(2)[1]),
                            long(of(2)[2]),
                            long(of(3)[1]),
                            long(of(3)[2]),
                            long(used),
                            long(reserved),
                            long(count),
                        ]
                    }
                });
            }
            (columns(list), rows)
        }
        "allocation_units" => {
            let list = "allocation_unit_id bigint, type tinyint, type_desc n60?, container_id bigint, data_space_id int, total_pages bigint, used_pages bigint, data_pages bigint";
            let mut rows = Vec::new();
            for (id, ..) in tables() {
                let Some((hobt, units)) = db.storage.storage_ids(id) else { continue };
                for (unit, kind, [data, used, reserved]) in units {
                    let names = ["DROPPED", "IN_ROW_DATA", "LOB_DATA", "ROW_OVERFLOW_DATA"];
                    let name = names.get(usize::from(kind)).copied().unwrap_or_default();
                    rows.push(vec![
                        long(unit as i64),
                        n(kind),
                        t(name),
                        long(hobt as i64),
                        n(1),
                        long(reserved),
                        long(used),
                        long(data),
                    ]);
                }
            }
            (columns(list), rows)
        }
        "data_spaces" | "filegroups" => {
            let list = "name sysname, data_space_id int, type char2, type_desc n60?, is_default bit?, is_system bit?";
            (columns(list), vec![vec![t("PRIMARY"), n(1), t("FG"), t("ROWS_FILEGROUP"), b(true), b(false)]])
        }
        "database_files" | "master_files" => {
            let list = "database_id int, file_id int, type tinyint, type_desc n60?, data_space_id int, name sysname, physical_name n260, state tinyint?, state_desc n60?, size int, max_size int, growth int, is_read_only bit, is_percent_growth bit";
            let mut list = columns(list);
            let all: Vec<usize> = if view == "master_files" {
                (0..state.databases.len()).filter(|d| state.databases[*d].is_some()).collect()
            } else {
                vec![at]
            };
            let mut rows: Rows = Vec::new();
            for d in all {
                let (id, name) = (State::database_id(d), &state.db(d).name);
                let pages = i64::from(state.db(d).storage.options().pages);
                rows.push(vec![
                    n(id),
                    n(1),
                    n(0),
                    t("ROWS"),
                    n(1),
                    t(name),
                    t(&format!("{name}.mdf")),
                    n(0),
                    t("ONLINE"),
                    long(pages),
                    n(-1),
                    n(8192),
                    b(false),
                    b(false),
                ]);
                let log = state.db(d).storage.options().vlf_bytes / 8192;
                rows.push(vec![
                    n(id),
                    n(2),
                    n(1),
                    t("LOG"),
                    n(0),
                    t(&format!("{name}_log")),
                    t(&format!("{name}_log.ldf")),
                    n(0),
                    t("ONLINE"),
                    long(log as i64),
                    n(-1),
                    n(8192),
                    b(false),
                    b(false),
                ]);
            }
            if view == "database_files" {
                list.remove(0);
                rows.iter_mut().for_each(|r| drop(r.remove(0)));
            }
            (list, rows)
        }
        _ => return None,
    })
}
