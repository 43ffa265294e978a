//! Statistics: one of each index, and those of attached files that are of none.

use super::super::super::plan::Column;
use super::super::super::state::Db;
use super::super::super::value::Value;
use super::super::shape::{Rows, b, n, t, view as table};

/// Statistics of a table.
pub(super) struct Statistics {
    pub table: u32,
    pub id: u32,
    pub name: String,
    /// `column_id`s
    pub columns: Vec<u32>,
    pub automatic: bool,
    pub of_index: bool,
}

/// All of a database, by table and id.
pub(super) fn statistics(db: &Db) -> Vec<Statistics> {
    let mut out = Vec::new();
    for (table, _) in db.storage.tables() {
        let of_index = db.meta(table).keys.iter().map(|k| Statistics {
            table,
            id: k.index_id,
            name: k.name.clone(),
            columns: k.columns.iter().map(|(place, _)| db.storage.column_id(table, *place)).collect(),
            automatic: false,
            of_index: true,
        });
        let alone = db.storage.statistics(table).iter().map(|s| Statistics {
            table,
            id: s.id,
            name: s.name.clone(),
            columns: s.columns.clone(),
            automatic: s.automatic,
            of_index: false,
        });
        let at = out.len();
        out.extend(of_index.chain(alone));
        out[at..].sort_by_key(|s| s.id);
    }
    out
}

/// A view of this file.
pub(super) fn view(db: &Db, view: &str) -> Option<(Vec<Column>, Rows)> {
    Some(match view {
        "stats" => table(
            "object_id int, name sysname?, stats_id int, auto_created bit?, user_created bit?, no_recompute bit?=0, has_filter bit?=0, filter_definition nmax?, is_temporary bit?=0, is_incremental bit?=0",
            ["object_id", "name", "stats_id", "auto_created", "user_created"],
            statistics(db)
                .into_iter()
                .map(|s| [n(s.table), t(&s.name), n(s.id), b(s.automatic), b(!s.of_index && !s.automatic)]),
        ),
        "stats_columns" => table(
            "object_id int, stats_id int, stats_column_id int?, column_id int?",
            ["object_id", "stats_id", "stats_column_id", "column_id"],
            statistics(db).into_iter().flat_map(|s| {
                let columns = s.columns.into_iter().zip(1i64..);
                columns
                    .map(move |(column, place)| [n(s.table), n(s.id), n(place), n(column)])
                    .collect::<Vec<[Value; 4]>>()
            }),
        ),
        _ => return None,
    })
}
