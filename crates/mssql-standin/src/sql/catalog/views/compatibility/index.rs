//! `sysindexes`, `sysindexkeys`, and foreign keys.

use super::super::super::super::define::key_of;
use super::super::super::super::plan::Column;
use super::super::super::super::state::{Db, KeyDef};
use super::super::super::super::value::Value;
use super::super::super::shape::{NULL, Rows, n, t, view as table};
use super::super::space::{lengths, rowsets};
use super::super::statistics::statistics;

const INDEXES: &str = "id int, status int?, first bin6?, indid smallint?, root bin6?, minlen smallint?, keycnt smallint?, groupid smallint?=1, dpages int?, reserved int?, used int?, rowcnt bigint?, rowmodctr int?, reserved3 int?=0, reserved4 int?=0, xmaxlen smallint?, maxirow smallint?, OrigFillFactor tinyint?=0, StatVersion tinyint?=0, reserved2 int?=0, FirstIAM bin6?, impid smallint?=0, lockflags smallint?=0, pgmodctr int?=0, keys varbin816?, name sysname?, statblob image?, maxlen int?, rows int?";

/// Bits of `sysindexes.status`.
const UNIQUE: u32 = 0x2;
const CLUSTERED: u32 = 0x10;
const STATISTICS: u32 = 0x40;
const PRIMARY: u32 = 0x800;
const CONSTRAINT: u32 = 0x1000;
const AUTOMATIC: u32 = 0x80_0000;

/// Columns of a foreign key that `sysreferences` has room for.
const REFERENCES: usize = 16;

fn status(key: &KeyDef) -> u32 {
    let bits = [
        (key.unique, UNIQUE),
        (key.clustered, CLUSTERED),
        (key.primary, PRIMARY),
        (key.object.is_some() && !key.primary, CONSTRAINT),
    ];
    bits.into_iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
}

/// A view of this file.
pub(super) fn view(db: &Db, view: &str) -> Option<(Vec<Column>, Rows)> {
    match view {
        "sysindexes" => Some(sysindexes(db)),
        "sysindexkeys" => Some(sysindexkeys(db)),
        "sysforeignkeys" => Some(sysforeignkeys(db)),
        "sysreferences" => Some(sysreferences(db)),
        _ => None,
    }
}

fn sysindexes(db: &Db) -> (Vec<Column>, Rows) {
    let (held, units, alone) = (rowsets(db), db.storage.space(), statistics(db));
    let mut rows = Vec::new();
    for (id, _) in db.storage.tables() {
        let meta = db.meta(id);
        let rowset = |index: u32| held.iter().find(|r| r.table == id && r.index == index);
        let count = rowset(0).or(rowset(1)).map_or(NULL, |r| n(r.rows));
        let sum = |index: Option<u32>, kind: Option<u8>, at: usize| {
            let own = units.iter().filter(|u| u.object == id && index.is_none_or(|i| i == u.index));
            n(own.filter(|u| kind.is_none_or(|k| k == u.kind)).map(|u| u.pages[at]).sum::<i64>())
        };
        let row = |index: u32, name: &str, status: u32, keys: usize| {
            let lengths = rowset(index).map(|r| lengths(&db.storage.rowset_columns(r.hobt as u64)));
            let (shortest, longest) = lengths.map_or((NULL, NULL), |(low, high)| (n(low), n(high)));
            let in_row = units.iter().find(|u| u.object == id && u.index == index && u.kind == 1);
            let [first, root, iam] = in_row.map_or([NULL, NULL, NULL], |u| u.roots.map(|p| Value::Bytes(p.to_vec())));
            // Of the table itself, its indexes count too; entries of an index are its data.
            let [data, reserved, used] = match index {
                0 | 1 => [sum(Some(index), Some(1), 0), sum(None, None, 2), sum(None, None, 1)],
                _ => [sum(Some(index), None, 1), sum(Some(index), None, 2), sum(Some(index), None, 1)],
            };
            [
                n(id),
                n(status),
                first,
                n(index),
                root,
                shortest,
                n(keys as i64),
                data,
                reserved,
                used,
                count.clone(),
                longest,
                iam,
                if index == 0 { NULL } else { t(name) },
                count.clone(),
            ]
        };
        if !meta.keys.iter().any(|k| k.clustered) {
            rows.push(row(0, "", 0, 0));
        }
        let mut keys: Vec<&KeyDef> = meta.keys.iter().collect();
        keys.sort_by_key(|k| k.index_id);
        rows.extend(keys.iter().map(|k| row(k.index_id, &k.name, status(k), k.columns.len())));
        rows.extend(alone.iter().filter(|s| s.table == id && !s.of_index).map(|s| {
            let status = STATISTICS | if s.automatic { AUTOMATIC } else { 0 };
            row(s.id, &s.name, status, s.columns.len())
        }));
    }
    table(
        INDEXES,
        [
            "id", "status", "first", "indid", "root", "minlen", "keycnt", "dpages", "reserved", "used", "rowcnt",
            "xmaxlen", "FirstIAM", "name", "rows",
        ],
        rows,
    )
}

fn sysindexkeys(db: &Db) -> (Vec<Column>, Rows) {
    let rows = statistics(db).into_iter().flat_map(|s| {
        let columns = s.columns.into_iter().zip(1i64..);
        columns.map(move |(column, place)| [n(s.table), n(s.id), n(column), n(place)]).collect::<Vec<_>>()
    });
    table("id int, indid smallint?, colid smallint?, keyno smallint?", ["id", "indid", "colid", "keyno"], rows)
}

fn sysforeignkeys(db: &Db) -> (Vec<Column>, Rows) {
    let tables = db.storage.tables().flat_map(|(id, _)| db.meta(id).foreign.iter().map(move |f| (id, f)));
    let rows = tables.flat_map(|(id, f)| {
        let columns = f.columns.iter().zip(&f.referenced).zip(1i64..);
        let row = move |((own, other), place): ((&usize, &usize), i64)| {
            let (own, other) = (db.storage.column_id(id, *own), db.storage.column_id(f.table, *other));
            [n(f.object), n(id), n(f.table), n(own), n(other), n(place)]
        };
        columns.map(row).collect::<Vec<_>>()
    });
    table(
        "constid int, fkeyid int, rkeyid int, fkey smallint?, rkey smallint?, keyno smallint?",
        ["constid", "fkeyid", "rkeyid", "fkey", "rkey", "keyno"],
        rows,
    )
}

fn sysreferences(db: &Db) -> (Vec<Column>, Rows) {
    let numbered = |side: &str| (1..=REFERENCES).map(|at| format!("{side}{at}")).collect::<Vec<String>>();
    let columns = [numbered("fkey"), numbered("rkey")].concat();
    let list = columns.iter().map(|name| format!(", {name} smallint?=0")).collect::<String>();
    let spec = format!(
        "constid int, fkeyid int, rkeyid int?, rkeyindid smallint?, keycnt smallint?, forkeys varbin32?, refkeys varbin32?, fkeydbid smallint?=0, rkeydbid smallint?=0{list}"
    );
    let given = ["constid", "fkeyid", "rkeyid", "rkeyindid", "keycnt"];
    let given = given.into_iter().chain(columns.iter().map(String::as_str));
    let tables = db.storage.tables().flat_map(|(id, _)| db.meta(id).foreign.iter().map(move |f| (id, f)));
    let rows = tables.map(|(id, f)| {
        let head = [n(f.object), n(id), n(f.table), n(key_of(db, f)), n(f.columns.len() as i64)];
        let side = |table: u32, places: &[usize]| -> Vec<Value> {
            let ids = places.iter().map(|place| n(db.storage.column_id(table, *place)));
            ids.chain(std::iter::repeat_n(n(0), REFERENCES)).take(REFERENCES).collect()
        };
        head.into_iter().chain(side(id, &f.columns)).chain(side(f.table, &f.referenced)).collect::<Vec<_>>()
    });
    table(&spec, given, rows)
}
