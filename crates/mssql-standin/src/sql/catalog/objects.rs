//! What there is in a database.

use super::super::cdc::is_own;
use super::super::state::State;
use super::super::value::Value;

/// A row of `sys.objects`.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub id: u32,
    pub name: String,
    pub schema: String,
    pub schema_id: u32,
    pub parent: u32,
    pub kind: &'static str,
    pub created: Value,
    pub shipped: bool,
}

/// Tables and constraints, ordered by id.
pub(super) fn objects(state: &State, database: usize) -> Vec<Object> {
    let db = state.db(database);
    let schema_of = |name: &str| db.storage.schemas().find(|(n, _)| *n == name).map_or(1, |(_, id)| id);
    let mut out = Vec::new();
    for (id, def) in db.storage.tables() {
        let meta = db.meta(id);
        let created = meta.created.clone().unwrap_or_else(|| db.created.clone());
        let schema_id = schema_of(&def.schema);
        let mut push = |id: u32, name: &str, parent: u32, kind: &'static str| {
            out.push(Object {
                id,
                name: name.to_owned(),
                schema: def.schema.clone(),
                schema_id,
                parent,
                kind,
                created: created.clone(),
                shipped: is_own(&def.schema, &def.name),
            });
        };
        push(id, &def.name, 0, "U ");
        for key in &meta.keys {
            if let Some(object) = key.object {
                push(object, &key.name, id, if key.primary { "PK" } else { "UQ" });
            }
        }
        meta.checks.iter().for_each(|c| push(c.object, &c.name, id, "C "));
        meta.defaults.iter().for_each(|d| push(d.object, &d.name, id, "D "));
        meta.foreign.iter().for_each(|f| push(f.object, &f.name, id, "F "));
    }
    for (id, module) in &db.modules {
        out.push(Object {
            id: *id,
            name: module.name.clone(),
            schema: module.schema.clone(),
            schema_id: schema_of(&module.schema),
            parent: 0,
            kind: module.code(),
            created: module.created.clone(),
            shipped: false,
        });
    }
    for (id, trigger) in &db.triggers {
        let Some(table) = trigger.table else { continue };
        let schema = db.table_name(table).0;
        out.push(Object {
            id: *id,
            name: trigger.name.clone(),
            schema_id: schema_of(&schema),
            schema,
            parent: table,
            kind: "TR",
            created: trigger.created.clone(),
            shipped: false,
        });
    }
    out.sort_by_key(|o| o.id);
    out
}

/// A row of `sys.types`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeRow {
    pub name: &'static str,
    pub system_id: u8,
    pub user_id: u32,
    pub length: i16,
    pub precision: u8,
    pub scale: u8,
    pub collated: bool,
}

/// The types of a database without types of its own.
pub(super) fn type_rows() -> &'static [TypeRow] {
    const fn row(name: &'static str, system_id: u8, user_id: u32, sizes: (i16, u8, u8), collated: bool) -> TypeRow {
        TypeRow { name, system_id, user_id, length: sizes.0, precision: sizes.1, scale: sizes.2, collated }
    }
    static ROWS: &[TypeRow] = &[
        row("image", 34, 34, (16, 0, 0), false),
        row("text", 35, 35, (16, 0, 0), true),
        row("uniqueidentifier", 36, 36, (16, 0, 0), false),
        row("date", 40, 40, (3, 10, 0), false),
        row("time", 41, 41, (5, 16, 7), false),
        row("datetime2", 42, 42, (8, 27, 7), false),
        row("datetimeoffset", 43, 43, (10, 34, 7), false),
        row("tinyint", 48, 48, (1, 3, 0), false),
        row("smallint", 52, 52, (2, 5, 0), false),
        row("int", 56, 56, (4, 10, 0), false),
        row("smalldatetime", 58, 58, (4, 16, 0), false),
        row("real", 59, 59, (4, 24, 0), false),
        row("money", 60, 60, (8, 19, 4), false),
        row("datetime", 61, 61, (8, 23, 3), false),
        row("float", 62, 62, (8, 53, 0), false),
        row("sql_variant", 98, 98, (8016, 0, 0), false),
        row("ntext", 99, 99, (16, 0, 0), true),
        row("bit", 104, 104, (1, 1, 0), false),
        row("decimal", 106, 106, (17, 38, 38), false),
        row("numeric", 108, 108, (17, 38, 38), false),
        row("smallmoney", 122, 122, (4, 10, 4), false),
        row("bigint", 127, 127, (8, 19, 0), false),
        row("hierarchyid", 240, 128, (892, 0, 0), false),
        row("geometry", 240, 129, (-1, 0, 0), false),
        row("geography", 240, 130, (-1, 0, 0), false),
        row("varbinary", 165, 165, (8000, 0, 0), false),
        row("varchar", 167, 167, (8000, 0, 0), true),
        row("binary", 173, 173, (8000, 0, 0), false),
        row("char", 175, 175, (8000, 0, 0), true),
        row("timestamp", 189, 189, (8, 0, 0), false),
        row("nvarchar", 231, 231, (8000, 0, 0), true),
        row("nchar", 239, 239, (8000, 0, 0), true),
        row("xml", 241, 241, (-1, 0, 0), false),
        row("sysname", 231, 256, (256, 0, 0), true),
    ];
    ROWS
}
