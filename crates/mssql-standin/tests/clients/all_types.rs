//! A table of every type: its least values, its greatest values, and NULL, as SQL Server stores them.

use logferry_model::SqlType;
use logferry_mssql_standin::tds::{Column, LATIN1_GENERAL};

type Row = Vec<Option<Vec<u8>>>;

/// UTF-16LE.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Its columns and rows.
pub fn table() -> (Vec<Column>, [Row; 3]) {
    let collation = LATIN1_GENERAL;
    let max_decimal = (10_u128.pow(38) - 1).to_le_bytes();
    let bytes: Vec<u8> = (0..100_000).map(|at| (at % 256) as u8).collect();
    let point = b"\xe6\x10\x00\x00\x01\x0c\0\0\0\0\0\0\xf0?\0\0\0\0\0\0\x00@".to_vec();
    let all = [
        ("bit", SqlType::Bit, vec![0], vec![1]),
        ("tinyint", SqlType::TinyInt, vec![0], vec![255]),
        ("smallint", SqlType::SmallInt, i16::MIN.to_le_bytes().into(), i16::MAX.to_le_bytes().into()),
        ("int", SqlType::Int, i32::MIN.to_le_bytes().into(), i32::MAX.to_le_bytes().into()),
        ("bigint", SqlType::BigInt, i64::MIN.to_le_bytes().into(), i64::MAX.to_le_bytes().into()),
        ("decimal38", SqlType::Decimal { precision: 38, scale: 10 }, sign(0, &max_decimal), sign(1, &max_decimal)),
        (
            "decimal5",
            SqlType::Decimal { precision: 5, scale: 2 },
            sign(0, &99_999_u32.to_le_bytes()),
            sign(1, &99_999_u32.to_le_bytes()),
        ),
        ("smallmoney", SqlType::SmallMoney, i32::MIN.to_le_bytes().into(), i32::MAX.to_le_bytes().into()),
        ("money", SqlType::Money, i64::MIN.to_le_bytes().into(), i64::MAX.to_le_bytes().into()),
        ("real", SqlType::Real, f32::MIN.to_le_bytes().into(), f32::MAX.to_le_bytes().into()),
        ("float", SqlType::Float, f64::MIN.to_le_bytes().into(), f64::MAX.to_le_bytes().into()),
        ("date", SqlType::Date, days(0), days(LAST_DAY)),
        ("time", SqlType::Time { scale: 7 }, ticks(0), ticks(LAST_TICK)),
        ("time0", SqlType::Time { scale: 0 }, vec![0, 0, 0], 86_399_u32.to_le_bytes()[..3].into()),
        ("datetime", SqlType::DateTime, [0_i32, -53_690].map(i32::to_le_bytes).concat(), {
            [25_919_999, 2_958_463].map(i32::to_le_bytes).concat()
        }),
        ("smalldatetime", SqlType::SmallDateTime, vec![0; 4], [1439, 65_535].map(u16::to_le_bytes).concat()),
        ("datetime2", SqlType::DateTime2 { scale: 7 }, [ticks(0), days(0)].concat(), {
            [ticks(LAST_TICK), days(LAST_DAY)].concat()
        }),
        (
            "datetimeoffset",
            SqlType::DateTimeOffset { scale: 7 },
            [ticks(0), days(0), 840_i16.to_le_bytes().into()].concat(),
            [ticks(LAST_TICK), days(LAST_DAY), (-840_i16).to_le_bytes().into()].concat(),
        ),
        ("uniqueidentifier", SqlType::UniqueIdentifier, vec![0; 16], (1..=16).collect()),
        ("char", SqlType::Char { length: 5, collation }, b"     ".into(), b"a\xff\x80  ".into()),
        ("varchar", SqlType::VarChar { length: Some(10), collation }, vec![], b"\xe4\xf6\xfc\x80".into()),
        ("varcharmax", SqlType::VarChar { length: None, collation }, vec![], vec![b'x'; 100_000]),
        ("text", SqlType::Text { collation }, vec![], vec![b't'; 50_000]),
        ("nchar", SqlType::NChar { length: 3, collation }, utf16("   "), utf16("a😀")),
        ("nvarchar", SqlType::NVarChar { length: Some(20), collation }, vec![], utf16("aß€😀")),
        ("nvarcharmax", SqlType::NVarChar { length: None, collation }, vec![], utf16(&"ß".repeat(70_000))),
        ("ntext", SqlType::NText { collation }, vec![], utf16(&"€".repeat(20_000))),
        ("binary", SqlType::Binary { length: 4 }, vec![0; 4], vec![0xFF; 4]),
        ("varbinary", SqlType::VarBinary { length: Some(10) }, vec![], vec![0, 0xFF]),
        ("varbinarymax", SqlType::VarBinary { length: None }, vec![], bytes.clone()),
        ("image", SqlType::Image, vec![], bytes),
        ("rowversion", SqlType::RowVersion, vec![0; 8], vec![0xFF; 8]),
        ("variant", SqlType::Variant, [&[56, 1][..], &i32::MIN.to_le_bytes()].concat(), {
            [&[231, 1, 20, 0][..], &collation.0.to_le_bytes(), &utf16("aß€")].concat()
        }),
        ("xml", SqlType::Xml, vec![], utf16("<a>ß</a>")),
        ("hierarchyid", SqlType::HierarchyId, vec![], vec![0x58]),
        ("geography", SqlType::Geography, point.clone(), point),
    ];
    let mut columns = Vec::new();
    let mut rows: [Row; 3] = Default::default();
    for (name, sql_type, least, greatest) in all {
        columns.push(Column::new(name, sql_type));
        for (row, cell) in rows.iter_mut().zip([Some(least), Some(greatest), None]) {
            row.push(cell);
        }
    }
    (columns, rows)
}

const LAST_DAY: u32 = 3_652_058;
const LAST_TICK: u64 = 863_999_999_999;

fn sign(sign: u8, magnitude: &[u8]) -> Vec<u8> {
    [&[sign], magnitude].concat()
}

fn days(days: u32) -> Vec<u8> {
    days.to_le_bytes()[..3].to_vec()
}

fn ticks(ticks: u64) -> Vec<u8> {
    ticks.to_le_bytes()[..5].to_vec()
}
