//! `syscolumns` and `systypes`, with the numbers that types had.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::super::super::ast::{ModuleKind, ParameterType};
use super::super::super::super::collation;
use super::super::super::super::plan::Column;
use super::super::super::super::state::Db;
use super::super::super::super::types;
use super::super::super::super::value::Value;
use super::super::super::objects::type_rows;
use super::super::super::shape::{NULL, Rows, b, n, t, view as table};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

const COLUMNS: &str = "name sysname?, id int, xtype tinyint, typestat tinyint?=0, xusertype smallint?, length smallint, xprec tinyint, xscale tinyint, colid smallint?, xoffset smallint?=0, bitpos tinyint?=0, reserved tinyint?=0, colstat smallint?, cdefault int, domain int=0, number smallint?, colorder smallint?, autoval varbin8000?, offset smallint?, collationid int?, status tinyint?, type tinyint?, usertype smallint?, printfmt v255?, prec smallint?, scale int?, iscomputed int?, isoutparam int?, isnullable int?, collation sysname?";

const TYPES: &str = "name sysname, xtype tinyint, status tinyint?=0, xusertype smallint?, length smallint, xprec tinyint, xscale tinyint, tdefault int=0, domain int=0, uid smallint?, reserved smallint?=0, collationid int?, usertype smallint?, variable bit?, allownulls bit?, type tinyint?, printfmt v255?, prec smallint?, scale tinyint?, collation sysname?";

/// Bits of `syscolumns.status`.
const NULLABLE: u8 = 0x08;
const PADDED: u8 = 0x10;
const OUTPUT: u8 = 0x40;
const IDENTITY: u8 = 0x80;

/// `usertype` and `type` of a type by its `user_type_id`; those that came later have no `type`.
fn old_numbers(id: u32) -> (u8, Option<u8>) {
    let known = |usertype, number| (usertype, Some(number));
    match id {
        34 => known(20, 34),
        35 => known(19, 35),
        36 => known(0, 37),
        48 => known(5, 48),
        52 => known(6, 52),
        56 => known(7, 56),
        58 => known(22, 58),
        59 => known(23, 59),
        60 => known(11, 60),
        61 => known(12, 61),
        62 => known(8, 62),
        98 => known(0, 39),
        99 => known(0, 35),
        104 => known(16, 50),
        106 => known(24, 55),
        108 => known(10, 63),
        122 => known(21, 122),
        127 => known(0, 63),
        165 => known(4, 37),
        167 => known(2, 39),
        173 => known(3, 45),
        175 => known(1, 47),
        189 => known(80, 45),
        231 => known(0, 39),
        239 => known(0, 47),
        256 => known(18, 39),
        _ => (0, None),
    }
}

/// What differs from one column or parameter to another.
struct Row<'a> {
    name: &'a str,
    id: u32,
    column: u32,
    ty: &'a SqlType,
    nullable: bool,
    /// Of parameters 1.
    number: u8,
    output: bool,
    identity: bool,
    computed: bool,
    default: u32,
    offset: i16,
}

impl Row<'_> {
    fn values(&self) -> [Value; 23] {
        let ty = self.ty;
        let (length, precision, scale) = types::sizes(ty);
        let (usertype, number) = old_numbers(types::user_code(ty));
        let collation = collation::of(ty);
        let padded = (types::is_text(ty) || types::is_bytes(ty)) && !is_lob(ty) && *ty != SqlType::RowVersion;
        let bits = [(self.nullable, NULLABLE), (padded, PADDED), (self.output, OUTPUT), (self.identity, IDENTITY)];
        [
            t(self.name),
            n(self.id),
            n(types::code(ty)),
            n(types::user_code(ty)),
            n(length),
            n(precision),
            n(scale),
            n(self.column),
            n(u8::from(self.identity) | u8::from(self.computed) << 2),
            n(self.default),
            n(self.number),
            n(self.column),
            n(self.offset),
            collation.map_or(NULL, |c| n(c.0)),
            n(bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum::<u8>()),
            number.map_or(NULL, n),
            n(usertype),
            prec(ty, length, precision),
            if has_scale(types::code(ty)) { n(scale) } else { NULL },
            n(u8::from(self.computed)),
            n(u8::from(self.output)),
            n(u8::from(self.nullable)),
            collation.map_or(NULL, |c| t(&collation::name(c))),
        ]
    }
}

const GIVEN: [&str; 23] = [
    "name",
    "id",
    "xtype",
    "xusertype",
    "length",
    "xprec",
    "xscale",
    "colid",
    "colstat",
    "cdefault",
    "number",
    "colorder",
    "offset",
    "collationid",
    "status",
    "type",
    "usertype",
    "prec",
    "scale",
    "iscomputed",
    "isoutparam",
    "isnullable",
    "collation",
];

fn is_lob(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image)
}

/// Digits of numbers, characters of text, bytes of others.
fn prec(ty: &SqlType, length: i16, precision: u8) -> Value {
    match ty {
        ty if is_lob(ty) => NULL,
        _ if precision > 0 => n(precision),
        ty => types::char_len(ty).map_or(n(length), n),
    }
}

/// Types that have digits behind the point, or could have: exact numbers and times.
fn has_scale(code: u8) -> bool {
    matches!(code, 40..=43 | 48 | 52 | 56 | 58 | 60 | 61 | 106 | 108 | 122 | 127)
}

/// A view of this file.
pub(super) fn view(db: &Db, view: &str) -> Option<(Vec<Column>, Rows)> {
    match view {
        "syscolumns" => Some(syscolumns(db)),
        "systypes" => Some(systypes(db)),
        _ => None,
    }
}

fn syscolumns(db: &Db) -> (Vec<Column>, Rows) {
    let mut rows = Vec::new();
    for (id, def) in db.storage.tables() {
        let meta = db.meta(id);
        let held = db.storage.table_rowsets(id).first().map(|r| db.storage.rowset_columns(r.id)).unwrap_or_default();
        for (place, c) in def.columns.iter().enumerate() {
            let column = db.storage.column_id(id, place);
            let row = Row {
                name: &c.name,
                id,
                column,
                ty: &c.sql_type,
                nullable: c.nullable,
                number: 0,
                output: false,
                identity: c.identity.is_some(),
                computed: meta.computed.iter().any(|d| d.column == place),
                default: meta.defaults.iter().find(|d| d.column == place).map_or(0, |d| d.object),
                offset: held.iter().find(|h| h.id == column && !h.dropped).map_or(0, |h| h.leaf_offset),
            };
            rows.push(row.values());
        }
    }
    let plain = |name, id, column, ty, nullable| Row {
        name,
        id,
        column,
        ty,
        nullable,
        number: 0,
        output: false,
        identity: false,
        computed: false,
        default: 0,
        offset: 0,
    };
    for (id, module) in &db.modules {
        for (c, column) in module.shown.iter().zip(1..) {
            rows.push(plain(&c.name, *id, column, &c.ty, c.nullable).values());
        }
        let ModuleKind::Procedure { parameters, .. } = &module.kind else { continue };
        for (parameter, column) in parameters.iter().zip(1..) {
            // Parameters that are tables have the numbers of no type of then.
            let ParameterType::Scalar(ty) = &parameter.of else { continue };
            let row = Row { number: 1, output: parameter.output, ..plain(&parameter.name, *id, column, ty, true) };
            rows.push(row.values());
        }
    }
    table(COLUMNS, GIVEN, rows)
}

fn systypes(db: &Db) -> (Vec<Column>, Rows) {
    let collation = i64::from(DEFAULT_COLLATION.0);
    let system = type_rows().iter().map(|r| {
        let (usertype, number) = old_numbers(r.user_id);
        let prec = match r.system_id {
            34 | 35 | 99 => NULL,
            _ if r.precision > 0 => n(r.precision),
            231 | 239 => n(r.length / 2),
            _ => n(r.length),
        };
        [
            t(r.name),
            n(r.system_id),
            n(r.user_id),
            n(r.length),
            n(r.precision),
            n(r.scale),
            n(4),
            if r.collated { n(collation) } else { NULL },
            n(usertype),
            b(matches!(r.system_id, 165 | 167 | 231)),
            b(!matches!(r.user_id, 189 | 256)),
            number.map_or(NULL, n),
            prec,
            if has_scale(r.system_id) { n(r.scale) } else { NULL },
            if r.collated { t(super::super::COLLATION) } else { NULL },
        ]
    });
    let schemas: BTreeMap<&str, u32> = db.storage.schemas().collect();
    let tables = db.table_types.iter().map(|(id, def)| {
        let schema = schemas.get(def.schema.as_str()).copied().unwrap_or(1);
        [
            t(&def.name),
            n(243),
            n(*id),
            n(-1),
            n(0),
            n(0),
            n(schema),
            NULL,
            NULL,
            b(false),
            b(false),
            NULL,
            NULL,
            NULL,
            NULL,
        ]
    });
    table(
        TYPES,
        [
            "name",
            "xtype",
            "xusertype",
            "length",
            "xprec",
            "xscale",
            "uid",
            "collationid",
            "usertype",
            "variable",
            "allownulls",
            "type",
            "prec",
            "scale",
            "collation",
        ],
        system.chain(tables),
    )
}
