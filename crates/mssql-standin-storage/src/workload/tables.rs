//! Tables of the workload, and values for their columns.

use logferry_model::SqlType;

use super::Random;
use crate::{ColumnDef, DEFAULT_COLLATION, Row, TableDef};

/// Kinds of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// `dbo.Accounts`: an `int` key.
    Keyed,
    /// `dbo.OrderLines`: a key of a string, an `int` and a date.
    Composite,
    /// `dbo.Devices`: a `uniqueidentifier` key, so that rows come in the middle of the table.
    Guid,
    /// `dbo.Events`: no key.
    Heap,
    /// `sales.AllTypes`: a column of each type.
    AllTypes,
    /// `dbo.Documents`: values that are too long for their rows.
    Lobs,
    /// `dbo.Papers`: values that are too long for their rows, and no key.
    LobHeap,
    /// `dbo.Late`: for a table that is made while the history goes on.
    Late,
}

impl TableKind {
    /// All but [`TableKind::LobHeap`] and [`TableKind::Late`].
    pub const ALL: &[TableKind] = &[
        TableKind::Keyed,
        TableKind::Composite,
        TableKind::Guid,
        TableKind::Heap,
        TableKind::AllTypes,
        TableKind::Lobs,
    ];

    /// What the table is made of.
    pub fn def(self) -> TableDef {
        use SqlType as T;
        let c = ColumnDef::new;
        let (name, key, columns): (&str, &[usize], Vec<ColumnDef>) = match self {
            TableKind::Keyed => (
                "Accounts",
                &[0],
                vec![
                    c("id", T::Int).not_null(),
                    c("name", nvarchar(100)).not_null(),
                    c("balance", T::Decimal { precision: 18, scale: 4 }),
                    c("opened", T::DateTime2 { scale: 7 }),
                    c("active", T::Bit).not_null(),
                    c("note", varchar(400)),
                ],
            ),
            TableKind::Composite => (
                "OrderLines",
                &[2, 0, 3],
                vec![
                    c("line", T::Int).not_null(),
                    c("quantity", T::SmallInt),
                    c("customer", varchar(20)).not_null(),
                    c("day", T::Date).not_null(),
                    c("price", T::Money),
                    c("comment", nvarchar(200)),
                ],
            ),
            TableKind::Guid => (
                "Devices",
                &[1],
                vec![
                    c("label", nvarchar(60)),
                    c("device", T::UniqueIdentifier).not_null(),
                    c("seen", T::DateTime),
                    c("payload", T::VarBinary { length: Some(300) }),
                ],
            ),
            TableKind::Heap => (
                "Events",
                &[],
                vec![
                    c("at", T::DateTime2 { scale: 3 }).not_null(),
                    c("level", T::TinyInt),
                    c("message", nvarchar(600)),
                    c("code", T::Int),
                ],
            ),
            TableKind::AllTypes => ("AllTypes", &[0], all_types()),
            TableKind::Lobs => (
                "Documents",
                &[0],
                vec![
                    c("id", T::BigInt).not_null().identity(),
                    c("title", nvarchar(80)),
                    c("body", T::NVarChar { length: None, collation: DEFAULT_COLLATION }),
                    c("raw", T::VarBinary { length: None }),
                    c("ascii", T::VarChar { length: None, collation: DEFAULT_COLLATION }),
                    c("wide1", varchar(8000)),
                    c("wide2", nvarchar(4000)),
                    c("memo", T::Text { collation: DEFAULT_COLLATION }),
                    c("nmemo", T::NText { collation: DEFAULT_COLLATION }),
                    c("picture", T::Image),
                ],
            ),
            TableKind::LobHeap => (
                "Papers",
                &[],
                vec![
                    c("level", T::TinyInt),
                    c("body", T::NVarChar { length: None, collation: DEFAULT_COLLATION }),
                    c("raw", T::VarBinary { length: None }),
                    c("wide", varchar(8000)),
                    c("memo", T::Text { collation: DEFAULT_COLLATION }),
                ],
            ),
            TableKind::Late => (
                "Late",
                &[0],
                vec![
                    c("id", T::Int).not_null().identity(),
                    c("text", nvarchar(50)),
                    c("when", T::DateTimeOffset { scale: 7 }),
                ],
            ),
        };
        TableDef { schema: "dbo".into(), name: name.into(), columns, primary_key: key.to_vec() }
    }
}

fn nvarchar(length: u16) -> SqlType {
    SqlType::NVarChar { length: Some(length), collation: DEFAULT_COLLATION }
}

fn varchar(length: u16) -> SqlType {
    SqlType::VarChar { length: Some(length), collation: DEFAULT_COLLATION }
}

fn all_types() -> Vec<ColumnDef> {
    use SqlType as T;
    let collation = DEFAULT_COLLATION;
    let types = vec![
        ("c_bit", T::Bit),
        ("c_tinyint", T::TinyInt),
        ("c_smallint", T::SmallInt),
        ("c_int", T::Int),
        ("c_bigint", T::BigInt),
        ("c_decimal9", T::Decimal { precision: 9, scale: 2 }),
        ("c_decimal19", T::Decimal { precision: 19, scale: 0 }),
        ("c_decimal28", T::Decimal { precision: 28, scale: 10 }),
        ("c_decimal38", T::Decimal { precision: 38, scale: 20 }),
        ("c_smallmoney", T::SmallMoney),
        ("c_money", T::Money),
        ("c_real", T::Real),
        ("c_float", T::Float),
        ("c_date", T::Date),
        ("c_time0", T::Time { scale: 0 }),
        ("c_time7", T::Time { scale: 7 }),
        ("c_datetime", T::DateTime),
        ("c_smalldatetime", T::SmallDateTime),
        ("c_datetime2_0", T::DateTime2 { scale: 0 }),
        ("c_datetime2_4", T::DateTime2 { scale: 4 }),
        ("c_datetime2_7", T::DateTime2 { scale: 7 }),
        ("c_datetimeoffset_2", T::DateTimeOffset { scale: 2 }),
        ("c_datetimeoffset_7", T::DateTimeOffset { scale: 7 }),
        ("c_uniqueidentifier", T::UniqueIdentifier),
        ("c_char", T::Char { length: 12, collation }),
        ("c_varchar", T::VarChar { length: Some(120), collation }),
        ("c_varchar_max", T::VarChar { length: None, collation }),
        ("c_nchar", T::NChar { length: 9, collation }),
        ("c_nvarchar", T::NVarChar { length: Some(90), collation }),
        ("c_nvarchar_max", T::NVarChar { length: None, collation }),
        ("c_binary", T::Binary { length: 7 }),
        ("c_varbinary", T::VarBinary { length: Some(70) }),
        ("c_varbinary_max", T::VarBinary { length: None }),
        ("c_rowversion", T::RowVersion),
        ("c_bit2", T::Bit),
        ("c_text", T::Text { collation }),
        ("c_ntext", T::NText { collation }),
        ("c_image", T::Image),
    ];
    let mut columns = vec![ColumnDef::new("id", T::BigInt).not_null()];
    columns.extend(types.into_iter().map(|(name, sql_type)| {
        let not_null = sql_type == T::RowVersion;
        ColumnDef { nullable: !not_null, ..ColumnDef::new(name, sql_type) }
    }));
    columns
}

/// A column to be added to a table.
pub(super) fn added_column(serial: i32, random: &mut Random) -> ColumnDef {
    let types = [
        SqlType::Int,
        SqlType::Bit,
        nvarchar(40),
        varchar(200),
        SqlType::DateTime2 { scale: 7 },
        SqlType::Decimal { precision: 12, scale: 3 },
        SqlType::VarBinary { length: None },
        SqlType::UniqueIdentifier,
    ];
    let which = random.below(types.len() as u64) as usize;
    ColumnDef::new(format!("added_{serial}"), types[which].clone())
}

/// What a column may become, if anything: a longer text, a wider number, one that may be NULL.
pub(super) fn retyped(column: &ColumnDef) -> Option<ColumnDef> {
    let sql_type = match &column.sql_type {
        SqlType::SmallInt => SqlType::Int,
        SqlType::Int => SqlType::BigInt,
        SqlType::VarChar { length: Some(n), collation } if *n < 500 => {
            SqlType::VarChar { length: Some(n + 10), collation: *collation }
        }
        SqlType::NVarChar { length: Some(n), collation } if *n < 500 => {
            SqlType::NVarChar { length: Some(n + 10), collation: *collation }
        }
        same if !column.nullable && column.identity.is_none() => same.clone(),
        _ => return None,
    };
    // The rows of a column in a new place are NULL until they are written again, in a transaction of its own here.
    Some(ColumnDef { sql_type, nullable: true, ..column.clone() })
}

/// A number of a narrower type, as one of the column's.
pub(super) fn widened(mut value: Vec<u8>, column: &ColumnDef) -> Vec<u8> {
    let len = match column.sql_type {
        SqlType::Int => 4,
        SqlType::BigInt => 8,
        _ => return value,
    };
    let sign = value.last().is_some_and(|b| b & 0x80 != 0);
    value.resize(len, if sign { 0xFF } else { 0 });
    value
}

/// A row for a table; `serial` makes its key unlike those before it.
pub fn random_row(kind: TableKind, def: &TableDef, serial: i32, random: &mut Random) -> Row {
    (0..def.columns.len()).map(|column| random_value(kind, def, column, serial, random)).collect()
}

/// A value for a column of a table.
pub fn random_value(
    kind: TableKind,
    def: &TableDef,
    column: usize,
    serial: i32,
    random: &mut Random,
) -> Option<Vec<u8>> {
    let held = &def.columns[column];
    let is_key = def.primary_key.contains(&column);
    if held.nullable && random.percent(15) {
        return None;
    }
    Some(match &held.sql_type {
        SqlType::Int if is_key => key_number(serial, random).to_le_bytes().to_vec(),
        SqlType::BigInt if is_key => i64::from(key_number(serial, random)).to_le_bytes().to_vec(),
        SqlType::VarChar { length: Some(_), .. } if is_key => format!("c{:05}", random.below(4000)).into_bytes(),
        sql_type => value_of(sql_type, kind == TableKind::Lobs, random),
    })
}

/// Mostly ascending numbers, some from the middle: pages fill at the end and split within.
fn key_number(serial: i32, random: &mut Random) -> i32 {
    if random.percent(70) { serial * 8 } else { random.between(-1000, i64::from(serial) * 8) as i32 }
}

fn value_of(sql_type: &SqlType, long: bool, random: &mut Random) -> Vec<u8> {
    use SqlType as T;
    let edge = random.percent(8);
    let number = |random: &mut Random, low: i64, high: i64| match random.below(12) {
        0 => low,
        1 => high,
        2 => 0.clamp(low, high),
        _ => random.between(low, high),
    };
    match sql_type {
        T::Bit => vec![random.below(2) as u8],
        T::TinyInt => vec![random.next() as u8],
        T::SmallInt => (number(random, -32_768, 32_767) as i16).to_le_bytes().to_vec(),
        T::Int => (number(random, i64::from(i32::MIN), i64::from(i32::MAX)) as i32).to_le_bytes().to_vec(),
        T::SmallMoney => (number(random, i64::from(i32::MIN), i64::from(i32::MAX)) as i32).to_le_bytes().to_vec(),
        T::BigInt | T::Money => (if edge { i64::MIN } else { random.next() as i64 }).to_le_bytes().to_vec(),
        T::Real => (random.between(-1_000_000, 1_000_000) as f32 / 64.0).to_le_bytes().to_vec(),
        T::Float => {
            let exponent = random.between(-200, 200) as i32;
            (random.between(-1_000_000_007, 1_000_000_007) as f64 * 10f64.powi(exponent)).to_le_bytes().to_vec()
        }
        T::Decimal { precision, .. } => {
            let len = match precision {
                0..=9 => 4,
                10..=19 => 8,
                20..=28 => 12,
                _ => 16,
            };
            let limit = 10u128.pow(u32::from(*precision));
            let wide = u128::from(random.next()) << 64 | u128::from(random.next());
            let digits = 10u128.pow(random.below(u64::from(*precision)) as u32 + 1);
            let magnitude = if edge { limit - 1 } else { wide % digits };
            let mut value = vec![u8::from(magnitude == 0 || random.percent(60))];
            value.extend(&magnitude.to_le_bytes()[..len]);
            value
        }
        T::Date => date(random, edge),
        T::Time { scale } => time(random, *scale, edge),
        T::DateTime2 { scale } => {
            let mut value = time(random, *scale, edge);
            value.extend(date(random, edge));
            value
        }
        T::DateTimeOffset { scale } => {
            let mut value = time(random, *scale, edge);
            // Not on the first or last day, so that the local time exists.
            value.extend(&(random.between(1, 3_652_056) as u32).to_le_bytes()[..3]);
            value.extend((random.between(-14 * 4, 14 * 4) as i16 * 15).to_le_bytes());
            value
        }
        T::DateTime => {
            let mut value = (random.below(86_400 * 300) as u32).to_le_bytes().to_vec();
            // 1753-01-01 to 9999-12-31
            let days = if edge { -53_690 } else { random.between(-53_690, 2_958_463) };
            value.extend((days as i32).to_le_bytes());
            value
        }
        T::SmallDateTime => {
            let mut value = (random.below(1440) as u16).to_le_bytes().to_vec();
            value.extend((random.below(65_536) as u16).to_le_bytes());
            value
        }
        T::UniqueIdentifier => random.bytes(16),
        T::RowVersion => random.next().to_be_bytes().to_vec(),
        T::Char { length, .. } => {
            let count = random.below(u64::from(*length) + 1) as usize;
            let mut value = ascii(random, count);
            value.resize(usize::from(*length), b' ');
            value
        }
        T::NChar { length, .. } => {
            let count = random.below(u64::from(*length) + 1) as usize;
            let mut value = utf16(random, count);
            value.extend([b' ', 0].repeat(usize::from(*length) - value.len() / 2));
            value
        }
        T::VarChar { length: Some(length), .. } => {
            let count = length_of(random, usize::from(*length), long);
            ascii(random, count)
        }
        T::NVarChar { length: Some(length), .. } => {
            let count = length_of(random, usize::from(*length), long);
            utf16(random, count)
        }
        T::VarBinary { length: Some(length) } => {
            let count = length_of(random, usize::from(*length), long);
            random.bytes(count)
        }
        T::VarChar { length: None, .. } | T::Text { .. } => {
            let count = lob_length(random, long);
            ascii(random, count)
        }
        T::NVarChar { length: None, .. } | T::NText { .. } => {
            let count = lob_length(random, long) / 2;
            utf16(random, count)
        }
        T::VarBinary { length: None } | T::Image => {
            let count = lob_length(random, long);
            random.bytes(count)
        }
        T::Binary { length } => random.bytes(usize::from(*length)),
        other => panic!("no values for {other:?}"),
    }
}

/// Mostly short; the full length now and then, or often where rows shall overflow.
fn length_of(random: &mut Random, most: usize, long: bool) -> usize {
    match random.below(20) {
        0 => 0,
        1 => most,
        2..=5 if long => most / 2,
        _ => random.below(most as u64 / if long { 20 } else { 3 } + 1) as usize,
    }
}

fn lob_length(random: &mut Random, long: bool) -> usize {
    let most = match random.below(if long { 24 } else { 200 }) {
        0 => 300_000,
        1 => 50_000,
        2..=4 => 20_000,
        5..=8 => 8_100,
        _ => 200,
    };
    random.below(most) as usize
}

fn date(random: &mut Random, edge: bool) -> Vec<u8> {
    let days = match (edge, random.below(2)) {
        (true, 0) => 0,
        (true, _) => 3_652_058,
        _ => random.below(3_652_059) as u32,
    };
    days.to_le_bytes()[..3].to_vec()
}

fn time(random: &mut Random, scale: u8, edge: bool) -> Vec<u8> {
    let units = 86_400 * 10u64.pow(u32::from(scale));
    let value = if edge { units - 1 } else { random.below(units) };
    let len = match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    value.to_le_bytes()[..len].to_vec()
}

/// Code page 1252: ASCII, and now and then a letter beyond.
fn ascii(random: &mut Random, count: usize) -> Vec<u8> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.'\"\\\t\xE9\xFC\x80";
    let mut out = Vec::with_capacity(count + 8);
    while out.len() < count {
        // Eight letters of one number.
        let mut number = random.next();
        for _ in 0..8 {
            out.push(LETTERS[(number % LETTERS.len() as u64) as usize]);
            number /= LETTERS.len() as u64;
        }
    }
    out.truncate(count);
    out
}

/// UTF-16: mostly Latin letters, some from further away, some pairs of surrogates.
fn utf16(random: &mut Random, count: usize) -> Vec<u8> {
    const FAR: &[char] = &['ä', 'ß', 'Ж', '漢', '€', '\u{1F600}', '\u{10FFFD}', '\n'];
    let mut out: Vec<u16> = Vec::with_capacity(count + 8);
    while out.len() < count {
        let mut number = random.next();
        if number.is_multiple_of(8) {
            let far = FAR[(number >> 8) as usize % FAR.len()];
            if out.len() + far.len_utf16() <= count {
                out.extend_from_slice(far.encode_utf16(&mut [0; 2]));
            }
            continue;
        }
        for _ in 0..6 {
            out.push(b'a' as u16 + (number % 26) as u16);
            number /= 26;
        }
        out.truncate(count);
    }
    out.iter().flat_map(|u| u.to_le_bytes()).collect()
}
