//! Indexes and constraints.

use super::super::super::bind::Binder;
use super::super::super::define::key_of;
use super::super::super::plan::Column;
use super::super::super::state::Switch;
use super::super::super::value::Value;
use super::super::shape::{NULL, Rows, b, columns, n, t};
use super::{object_rows, with};

/// `is_disabled`, `is_not_for_replication`, `is_not_trusted`.
fn switches(of: Option<Switch>) -> [Value; 3] {
    let of = of.unwrap_or_default();
    [b(of.disabled), b(of.not_for_replication), b(of.not_trusted)]
}

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let tables = || db.storage.tables().map(|(id, def)| (id, def, db.meta(id)));
    Some(match view {
        "indexes" => {
            let list = "object_id int, name sysname?, index_id int, type tinyint, type_desc n60?, is_unique bit?, data_space_id int, ignore_dup_key bit?, is_primary_key bit?, is_unique_constraint bit?, fill_factor tinyint, is_padded bit?, is_disabled bit?, is_hypothetical bit?, allow_row_locks bit?, allow_page_locks bit?, has_filter bit?, filter_definition nmax?, compression_delay int?";
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                let row = |name: Value, index: u32, kind: u8, unique: bool, primary: bool, constraint: bool| {
                    vec![
                        n(id),
                        name,
                        n(index),
                        n(kind),
                        t(["HEAP", "CLUSTERED", "NONCLUSTERED"][usize::from(kind)]),
                        b(unique),
                        n(1),
                        b(false),
                        b(primary),
                        b(constraint),
                        n(0),
                        b(false),
                        b(false),
                        b(false),
                        b(true),
                        b(true),
                        b(false),
                        NULL,
                        NULL,
                    ]
                };
                if !meta.keys.iter().any(|k| k.clustered) {
                    rows.push(row(NULL, 0, 0, false, false, false));
                }
                let mut keys: Vec<_> = meta.keys.iter().collect();
                keys.sort_by_key(|k| k.index_id);
                for k in keys {
                    rows.push(row(
                        t(&k.name),
                        k.index_id,
                        if k.clustered { 1 } else { 2 },
                        k.unique,
                        k.primary,
                        k.object.is_some() && !k.primary,
                    ));
                }
            }
            (columns(list), rows)
        }
        "index_columns" => {
            let list = "object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint, partition_ordinal tinyint, is_descending_key bit?, is_included_column bit?";
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                for k in &meta.keys {
                    let all = k
                        .columns
                        .iter()
                        .map(|(c, d)| (*c, *d, false))
                        .chain(k.included.iter().map(|c| (*c, false, true)));
                    for (place, (column, descending, included)) in all.enumerate() {
                        let ordinal = place as i64 + 1;
                        rows.push(vec![
                            n(id),
                            n(k.index_id),
                            n(ordinal),
                            n(db.storage.column_id(id, column)),
                            n(if included { 0 } else { ordinal }),
                            n(0),
                            b(descending),
                            b(included),
                        ]);
                    }
                }
            }
            (columns(list), rows)
        }
        "key_constraints" => {
            let list = with("unique_index_id int?, is_system_named bit");
            let rows = object_rows(state, at, &["PK", "UQ"]).into_iter().map(|(id, mut row)| {
                let key = tables().flat_map(|(_, _, m)| &m.keys).find(|k| k.object == Some(id));
                row.extend([key.map_or(NULL, |k| n(k.index_id)), b(key.is_some_and(|k| k.named_by_system))]);
                row
            });
            (list, rows.collect())
        }
        "check_constraints" => {
            let list = with(
                "is_disabled bit, is_not_for_replication bit, is_not_trusted bit, parent_column_id int, definition nmax?, uses_database_collation bit?, is_system_named bit",
            );
            let rows = object_rows(state, at, &["C "]).into_iter().map(|(id, mut row)| {
                let all = tables().flat_map(|(table, _, m)| m.checks.iter().map(move |c| (table, c)));
                let check = tables().flat_map(|(_, _, m)| &m.checks).find(|c| c.object == id);
                let column =
                    all.into_iter().find_map(|(table, c)| (c.object == id).then(|| Some((table, c.column?)))?);
                row.extend(switches(check.map(|c| c.switch)));
                row.extend([
                    n(column.map_or(0, |(table, place)| db.storage.column_id(table, place))),
                    check.map_or(NULL, |c| t(&c.text)),
                    b(false),
                    b(check.is_some_and(|c| c.named_by_system)),
                ]);
                row
            });
            (list, rows.collect())
        }
        "default_constraints" => {
            let list = with("parent_column_id int, definition nmax?, is_system_named bit");
            let rows = object_rows(state, at, &["D "]).into_iter().map(|(id, mut row)| {
                let all = tables().flat_map(|(table, _, m)| m.defaults.iter().map(move |d| (table, d)));
                let owner = all.into_iter().find(|(_, d)| d.object == id);
                let found = owner.map(|(_, d)| d);
                row.extend([
                    n(owner.map_or(0, |(table, d)| db.storage.column_id(table, d.column))),
                    found.map_or(NULL, |d| t(&d.text)),
                    b(found.is_some_and(|d| d.named_by_system)),
                ]);
                row
            });
            (list, rows.collect())
        }
        "foreign_keys" => {
            let list = with(
                "referenced_object_id int?, key_index_id int?, is_disabled bit, is_not_for_replication bit, is_not_trusted bit, delete_referential_action tinyint?, delete_referential_action_desc n60?, update_referential_action tinyint?, update_referential_action_desc n60?, is_system_named bit",
            );
            let rows = object_rows(state, at, &["F "]).into_iter().map(|(id, mut row)| {
                let found = tables().flat_map(|(_, _, m)| &m.foreign).find(|f| f.object == id);
                row.extend([found.map_or(NULL, |f| n(f.table)), found.map_or(NULL, |f| n(key_of(db, f)))]);
                row.extend(switches(found.map(|f| f.switch)));
                row.extend([n(0), t("NO_ACTION"), n(0), t("NO_ACTION"), b(found.is_some_and(|f| f.named_by_system))]);
                row
            });
            (list, rows.collect())
        }
        "foreign_key_columns" => {
            let list = "constraint_object_id int, constraint_column_id int, parent_object_id int, parent_column_id int, referenced_object_id int, referenced_column_id int";
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                for f in &meta.foreign {
                    for (place, (own, other)) in f.columns.iter().zip(&f.referenced).enumerate() {
                        rows.push(vec![
                            n(f.object),
                            n(place as i64 + 1),
                            n(id),
                            n(db.storage.column_id(id, *own)),
                            n(f.table),
                            n(db.storage.column_id(f.table, *other)),
                        ]);
                    }
                }
            }
            (columns(list), rows)
        }
        _ => return None,
    })
}
