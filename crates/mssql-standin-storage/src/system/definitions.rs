//! Which system tables there are, and what is in them from the first.

use logferry_model::SqlType;

use crate::{ColumnDef, DEFAULT_COLLATION, IndexDef, TableDef};

pub const SYSRSCOLS: u32 = 3;
pub const SYSROWSETS: u32 = 5;
pub const SYSALLOCUNITS: u32 = 7;
pub const SYSSCHOBJS: u32 = 34;
pub const SYSCOLPARS: u32 = 41;
pub const SYSSCALARTYPES: u32 = 50;
pub const SYSIDXSTATS: u32 = 54;
pub const SYSISCOLS: u32 = 55;
pub const SYSOBJVALUES: u32 = 60;
pub const SYSCLSOBJS: u32 = 64;
pub const SYSSINGLEOBJREFS: u32 = 74;
pub const SYSMULTIOBJREFS: u32 = 75;
pub const SYSSOFTOBJREFS: u32 = 98;

/// Name, object id, columns, key. The names are those that the server gives them.
pub fn definitions() -> Vec<(u32, TableDef)> {
    use SqlType as T;
    let name = || T::NVarChar { length: Some(128), collation: DEFAULT_COLLATION };
    let kind = || T::Char { length: 2, collation: DEFAULT_COLLATION };
    let page = || T::Binary { length: 6 };
    let bytes = |n| T::VarBinary { length: Some(n) };
    let table = |id: u32, table: &str, key: &[usize], columns: Vec<(&str, SqlType, bool)>| {
        let columns = columns
            .into_iter()
            .map(|(name, sql_type, nullable)| ColumnDef { nullable, ..ColumnDef::new(name, sql_type) })
            .collect();
        (id, TableDef { schema: "sys".into(), name: table.into(), columns, primary_key: key.to_vec() })
    };
    let (no, yes) = (false, true);
    vec![
        table(
            SYSALLOCUNITS,
            "sysallocunits",
            &[0],
            vec![
                ("auid", T::BigInt, no),
                ("type", T::TinyInt, no),
                ("ownerid", T::BigInt, no),
                ("status", T::Int, no),
                ("fgid", T::SmallInt, no),
                ("pgfirst", page(), no),
                ("pgroot", page(), no),
                ("pgfirstiam", page(), no),
                ("pcused", T::BigInt, no),
                ("pcdata", T::BigInt, no),
                ("pcreserved", T::BigInt, no),
            ],
        ),
        table(
            SYSROWSETS,
            "sysrowsets",
            &[0],
            vec![
                ("rowsetid", T::BigInt, no),
                ("ownertype", T::TinyInt, no),
                ("idmajor", T::Int, no),
                ("idminor", T::Int, no),
                ("numpart", T::Int, no),
                ("status", T::Int, no),
                ("fgidfs", T::SmallInt, no),
                ("rcrows", T::BigInt, no),
                ("cmprlevel", T::TinyInt, no),
                ("fillfact", T::TinyInt, no),
                ("maxnullbit", T::SmallInt, no),
                ("maxleaf", T::Int, no),
                ("maxint", T::SmallInt, no),
                ("minleaf", T::SmallInt, no),
                ("minint", T::SmallInt, no),
                ("rsguid", bytes(16), yes),
                ("lockres", bytes(8), yes),
                ("scope_id", T::Int, yes),
            ],
        ),
        table(
            SYSRSCOLS,
            "sysrscols",
            &[0, 2],
            vec![
                ("rsid", T::BigInt, no),
                ("rscolid", T::Int, no),
                ("hbcolid", T::Int, no),
                ("rcmodified", T::BigInt, no),
                ("ti", T::Int, no),
                ("cid", T::Int, no),
                ("ordkey", T::SmallInt, no),
                ("maxinrowlen", T::SmallInt, no),
                ("status", T::Int, no),
                ("offset", T::Int, no),
                ("nullbit", T::Int, no),
                ("bitpos", T::SmallInt, no),
                ("colguid", bytes(16), yes),
            ],
        ),
        table(
            SYSSCHOBJS,
            "sysschobjs",
            &[0],
            vec![
                ("id", T::Int, no),
                ("name", name(), no),
                ("nsid", T::Int, no),
                ("nsclass", T::TinyInt, no),
                ("status", T::Int, no),
                ("type", kind(), no),
                ("pid", T::Int, no),
                ("pclass", T::TinyInt, no),
                ("intprop", T::Int, no),
                ("created", T::DateTime, no),
                ("modified", T::DateTime, no),
                ("status2", T::Int, no),
            ],
        ),
        table(
            SYSCOLPARS,
            "syscolpars",
            &[0, 1, 2],
            vec![
                ("id", T::Int, no),
                ("number", T::SmallInt, no),
                ("colid", T::Int, no),
                ("name", name(), yes),
                ("xtype", T::TinyInt, no),
                ("utype", T::Int, no),
                ("length", T::SmallInt, no),
                ("prec", T::TinyInt, no),
                ("scale", T::TinyInt, no),
                ("collationid", T::Int, no),
                ("status", T::Int, no),
                ("maxinrow", T::SmallInt, no),
                ("xmlns", T::Int, no),
                ("dflt", T::Int, no),
                ("chk", T::Int, no),
                ("idtval", bytes(64), yes),
            ],
        ),
        table(
            SYSSCALARTYPES,
            "sysscalartypes",
            &[0],
            vec![
                ("id", T::Int, no),
                ("schid", T::Int, no),
                ("name", name(), no),
                ("xtype", T::TinyInt, no),
                ("length", T::SmallInt, no),
                ("prec", T::TinyInt, no),
                ("scale", T::TinyInt, no),
                ("collationid", T::Int, no),
                ("status", T::Int, no),
                ("created", T::DateTime, no),
                ("modified", T::DateTime, no),
                ("dflt", T::Int, no),
                ("chk", T::Int, no),
            ],
        ),
        table(
            SYSIDXSTATS,
            "sysidxstats",
            &[0, 1],
            vec![
                ("id", T::Int, no),
                ("indid", T::Int, no),
                ("name", name(), yes),
                ("status", T::Int, no),
                ("intprop", T::Int, no),
                ("fillfact", T::TinyInt, no),
                ("type", T::TinyInt, no),
                ("tinyprop", T::TinyInt, no),
                ("dataspace", T::Int, no),
                ("lobds", T::Int, no),
                ("rowset", T::BigInt, no),
            ],
        ),
        table(
            SYSISCOLS,
            "sysiscols",
            &[0, 1, 2],
            vec![
                ("idmajor", T::Int, no),
                ("idminor", T::Int, no),
                ("subid", T::Int, no),
                ("status", T::Int, no),
                ("intprop", T::Int, no),
                ("tinyprop1", T::TinyInt, no),
                ("tinyprop2", T::TinyInt, no),
                ("tinyprop3", T::TinyInt, no),
                ("tinyprop4", T::TinyInt, no),
            ],
        ),
        table(
            SYSOBJVALUES,
            "sysobjvalues",
            &[0, 1, 2, 3],
            vec![
                ("valclass", T::TinyInt, no),
                ("objid", T::Int, no),
                ("subobjid", T::Int, no),
                ("valnum", T::Int, no),
                ("value", T::Variant, yes),
                ("imageval", T::VarBinary { length: None }, yes),
            ],
        ),
        table(
            SYSSINGLEOBJREFS,
            "syssingleobjrefs",
            &[1, 0, 2],
            vec![
                ("class", T::TinyInt, no),
                ("depid", T::Int, no),
                ("depsubid", T::Int, no),
                ("indepid", T::Int, no),
                ("indepsubid", T::Int, no),
                ("status", T::Int, no),
            ],
        ),
        table(
            SYSMULTIOBJREFS,
            "sysmultiobjrefs",
            &[1, 0, 2, 3, 4],
            vec![
                ("class", T::TinyInt, no),
                ("depid", T::Int, no),
                ("depsubid", T::Int, no),
                ("indepid", T::Int, no),
                ("indepsubid", T::Int, no),
                ("status", T::Int, no),
            ],
        ),
        table(
            SYSSOFTOBJREFS,
            "syssoftobjrefs",
            &[1, 0, 3, 4, 2, 7],
            vec![
                ("depclass", T::TinyInt, no),
                ("depid", T::Int, no),
                ("indepclass", T::TinyInt, no),
                ("indepname", name(), no),
                ("indepschema", name(), yes),
                ("indepdb", name(), yes),
                ("indepserver", name(), yes),
                ("number", T::Int, no),
                ("status", T::Int, no),
            ],
        ),
        table(
            SYSCLSOBJS,
            "sysclsobjs",
            &[0, 1],
            vec![
                ("class", T::TinyInt, no),
                ("id", T::Int, no),
                ("name", name(), no),
                ("status", T::Int, no),
                ("type", kind(), no),
                ("intprop", T::Int, no),
                ("created", T::DateTime, no),
                ("modified", T::DateTime, no),
            ],
        ),
    ]
}

/// Nonclustered indexes of system tables: table, index id, name, columns by their places, whether entries have NULL bits
/// though no column allows NULL. All have unique keys. (As in databases of 2016 and 2019.)
#[rustfmt::skip]
pub const INDEXES: &[(u32, u32, &str, &[usize], bool)] = &[
    (SYSALLOCUNITS, 2, "nc", &[2, 1, 0], true),
    (SYSSCHOBJS, 2, "nc1", &[3, 2, 1], false),
    (SYSSCHOBJS, 3, "nc2", &[1, 2, 3], false),
    (SYSSCHOBJS, 4, "nc3", &[6, 7, 0], false),
    (SYSCOLPARS, 2, "nc", &[0, 3, 1], false),
    (SYSSCALARTYPES, 2, "nc1", &[1, 2], false),
    (SYSSCALARTYPES, 3, "nc2", &[2, 1], false),
    (SYSIDXSTATS, 2, "nc", &[0, 2], false),
    (SYSISCOLS, 2, "nc1", &[0, 4, 2, 1], true),
    (SYSCLSOBJS, 2, "nc", &[2, 0], false),
    (SYSSINGLEOBJREFS, 2, "nc1", &[3, 0, 4, 1, 2], false),
    (SYSMULTIOBJREFS, 2, "nc1", &[3, 0, 4, 1, 2], false),
    (SYSSOFTOBJREFS, 2, "nc1", &[3, 4, 2, 1, 0, 7], false),
];

/// User type id, schema 4, type code, length, precision, scale, collation: the rows of `sysscalartypes`.
#[rustfmt::skip]
pub const SCALAR_TYPES: &[(u32, &str, u8, u16, u8, u8, bool)] = &[
    (34, "image", 34, 16, 0, 0, false), (35, "text", 35, 16, 0, 0, true), (36, "uniqueidentifier", 36, 16, 0, 0, false),
    (40, "date", 40, 3, 10, 0, false), (41, "time", 41, 5, 16, 7, false), (42, "datetime2", 42, 8, 27, 7, false),
    (43, "datetimeoffset", 43, 10, 34, 7, false), (48, "tinyint", 48, 1, 3, 0, false), (52, "smallint", 52, 2, 5, 0, false),
    (56, "int", 56, 4, 10, 0, false), (58, "smalldatetime", 58, 4, 16, 0, false), (59, "real", 59, 4, 24, 0, false),
    (60, "money", 60, 8, 19, 4, false), (61, "datetime", 61, 8, 23, 3, false), (62, "float", 62, 8, 53, 0, false),
    (98, "sql_variant", 98, 8016, 0, 0, false), (99, "ntext", 99, 16, 0, 0, true), (104, "bit", 104, 1, 1, 0, false),
    (106, "decimal", 106, 17, 38, 38, false), (108, "numeric", 108, 17, 38, 38, false),
    (122, "smallmoney", 122, 4, 10, 4, false), (127, "bigint", 127, 8, 19, 0, false),
    (128, "hierarchyid", 240, 892, 0, 0, false), (129, "geometry", 240, 0xFFFF, 0, 0, false),
    (130, "geography", 240, 0xFFFF, 0, 0, false), (165, "varbinary", 165, 8000, 0, 0, false),
    (167, "varchar", 167, 8000, 0, 0, true), (173, "binary", 173, 8000, 0, 0, false), (175, "char", 175, 8000, 0, 0, true),
    (189, "timestamp", 189, 8, 0, 0, false), (231, "nvarchar", 231, 8000, 0, 0, true), (239, "nchar", 239, 8000, 0, 0, true),
    (241, "xml", 241, 0xFFFF, 0, 0, false), (256, "sysname", 231, 256, 0, 0, true),
];

/// An index of a system table.
pub fn system_index(index: &(u32, u32, &str, &[usize], bool)) -> IndexDef {
    IndexDef {
        id: index.1,
        name: index.2.to_owned(),
        unique: true,
        primary: false,
        constraint: false,
        columns: index.3.iter().map(|place| (*place as u32 + 1, false)).collect(),
        included: Vec::new(),
    }
}

/// The rowset of a system table; its allocation unit has the same id.
pub fn system_rowset(object: u32) -> u64 {
    let index: u64 = if object <= SYSALLOCUNITS { 0 } else { 1 };
    index << 48 | u64::from(object) << 16
}
