//! Compatibility views: what the system tables of SQL Server 2000 said. They are found in `sys`, in `dbo`, and without a schema.
//!
//! What their pages call internal is 0 or NULL, but for what old scripts look at: `sysobjects.userstat` and `sysstat`,
//! `sysindexes.status`, and the numbers that types had.

mod column;
mod index;

use super::super::super::bind::{Binder, TableAt};
use super::super::super::plan::Column;
use super::super::super::state::{Db, State};
use super::super::super::value::Value;
use super::super::objects::objects;
use super::super::shape::{NULL, Rows, n, t, view as table};
use super::server::PRINCIPALS;

/// The views of this chapter, and others of their kind.
pub(super) const NAMES: &[&str] = &[
    "syscolumns",
    "syscomments",
    "sysdatabases",
    "sysforeignkeys",
    "sysindexes",
    "sysindexkeys",
    "syslanguages",
    "sysobjects",
    "sysprocesses",
    "sysreferences",
    "systypes",
    "sysusers",
];

const OBJECTS: &str = "name sysname, id int, xtype char2, uid smallint?, info smallint?=0, status int?=0, base_schema_ver int?=0, replinfo int?=0, parent_obj int, crdate datetime, ftcatid smallint?=0, schema_ver int?=0, stats_schema_ver int?=0, type char2?, userstat smallint?, sysstat smallint?, indexdel smallint?=0, refdate datetime, version int?=0, deltrig int?, instrig int?, updtrig int?, seltrig int?=0, category int?, cache smallint?=0";

const USERS: &str = "uid smallint?, status smallint?=0, name sysname, sid varbin85?, roles varbin2048?, createdate datetime, updatedate datetime, altuid smallint?, password varbin256?, gid smallint?, environ v255?, hasdbaccess int?, islogin int?, isntname int?=0, isntgroup int?=0, isntuser int?=0, issqluser int?, isaliased int?=0, issqlrole int?, isapprole int?=0";

const DATABASES: &str = "name sysname, dbid smallint?, sid varbin85?, mode smallint?=0, status int?, status2 int?=0, crdate datetime, reserved datetime?, category int?=0, cmptlevel tinyint=130, filename n260?, version smallint?=852";

/// `sysdatabases.status`: checksums of pages; the log is cut at checkpoints; read-only.
const CHECKSUM: u32 = 65_536;
const TRUNCATED: u32 = 8;
const READ_ONLY: u32 = 1024;

/// Characters of a text in one row of `syscomments`.
const TEXT_PART: usize = 4000;

/// The type in `sysstat`, as scripts compare it.
fn sysstat(kind: &str) -> i64 {
    match kind {
        "V " => 2,
        "U " => 3,
        "P " => 4,
        "D " => 6,
        "TR" => 8,
        "PK" | "UQ" => 9,
        "C " => 10,
        "F " => 11,
        _ => 0,
    }
}

/// A view of this chapter.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let db = binder.state.db(at);
    match view {
        "sysobjects" => Some(sysobjects(binder, at)),
        "sysusers" => Some(sysusers(db)),
        "sysdatabases" => Some(sysdatabases(binder.state)),
        "syscomments" => Some(syscomments(db)),
        _ => column::view(db, view).or_else(|| index::view(db, view)),
    }
}

fn sysobjects(binder: &Binder<'_>, at: usize) -> (Vec<Column>, Rows) {
    let (state, db) = (binder.state, binder.state.db(at));
    let is_seen = |id: u32| state.is_seen(binder.scalars, TableAt { database: at, table: id });
    let trigger = |table: u32, verb: &str| {
        let is =
            |t: &super::super::super::trigger::TriggerDef| t.table == Some(table) && t.events.iter().any(|e| e == verb);
        n(db.triggers.iter().find(|(_, t)| is(t)).map_or(0, |(id, _)| *id))
    };
    table(
        OBJECTS,
        [
            "name",
            "id",
            "xtype",
            "uid",
            "parent_obj",
            "crdate",
            "type",
            "userstat",
            "sysstat",
            "refdate",
            "deltrig",
            "instrig",
            "updtrig",
            "category",
        ],
        objects(state, at).into_iter().filter(|o| is_seen(o.id)).map(|o| {
            [
                t(&o.name),
                n(o.id),
                t(o.kind),
                n(o.schema_id),
                n(o.parent),
                o.created.clone(),
                t(if matches!(o.kind, "PK" | "UQ") { "K " } else { o.kind }),
                n(u8::from(o.kind == "U ")),
                n(sysstat(o.kind)),
                o.created,
                trigger(o.id, "DELETE"),
                trigger(o.id, "INSERT"),
                trigger(o.id, "UPDATE"),
                n(if o.shipped { 2 } else { 0 }),
            ]
        }),
    )
}

fn sysusers(db: &Db) -> (Vec<Column>, Rows) {
    table(
        USERS,
        [
            "uid",
            "name",
            "sid",
            "createdate",
            "updatedate",
            "altuid",
            "gid",
            "hasdbaccess",
            "islogin",
            "issqluser",
            "issqlrole",
        ],
        PRINCIPALS.iter().map(|(name, id, _)| {
            let user = (1..=4).contains(id);
            [
                n(*id),
                t(name),
                if *id == 1 { Value::Bytes(vec![1]) } else { NULL },
                db.created.clone(),
                db.created.clone(),
                if user { NULL } else { n(1) },
                n(if user { 0 } else { *id }),
                n(u8::from(*id == 1)),
                n(u8::from(user)),
                n(u8::from(user)),
                n(u8::from(!user)),
            ]
        }),
    )
}

fn sysdatabases(state: &State) -> (Vec<Column>, Rows) {
    let every = state.databases.iter().enumerate().filter_map(|(at, db)| Some((at, db.as_ref()?)));
    table(
        DATABASES,
        ["name", "dbid", "sid", "status", "crdate", "filename"],
        every.map(|(at, db)| {
            let of = |on: bool, bit: u32| if on { bit } else { 0 };
            let status = CHECKSUM | of(db.simple_recovery, TRUNCATED) | of(db.storage.is_read_only(), READ_ONLY);
            [
                t(&db.name),
                n(State::database_id(at)),
                Value::Bytes(vec![1]),
                n(status),
                db.created.clone(),
                t(&format!("{}.mdf", db.name)),
            ]
        }),
    )
}

/// Texts of modules, triggers, checks and defaults, in parts.
fn syscomments(db: &Db) -> (Vec<Column>, Rows) {
    let modules = db.modules.iter().map(|(id, m)| (*id, i64::from(m.code() == "P "), &m.text));
    let triggers = db.triggers.iter().map(|(id, trigger)| (*id, 0, &trigger.text));
    let constraints = db.storage.tables().flat_map(|(table, _)| {
        let meta = db.meta(table);
        let checks = meta.checks.iter().map(|c| (c.object, 0, &c.text));
        checks.chain(meta.defaults.iter().map(|d| (d.object, 0, &d.text)))
    });
    let rows = modules.chain(triggers).chain(constraints).flat_map(|(id, number, text)| {
        let units: Vec<u16> = text.encode_utf16().collect();
        let part = move |(units, place): (&[u16], i64)| {
            let bytes = units.iter().flat_map(|u| u.to_le_bytes()).collect();
            [n(id), n(number), n(place), Value::Bytes(bytes), t(&String::from_utf16_lossy(units))]
        };
        units.chunks(TEXT_PART).zip(1..).map(part).collect::<Vec<_>>()
    });
    table(
        "id int, number smallint?, colid smallint, status smallint?=0, ctext varbin8000?, texttype smallint?=0, language smallint?=0, encrypted bit?=0, compressed bit?=0, text n4000?",
        ["id", "number", "colid", "ctext", "text"],
        rows,
    )
}
