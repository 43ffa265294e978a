//! Every type, at its bounds: what T-SQL writes is what PostgreSQL shows.

use crate::process::{Running, Task};
use crate::target::{rows, wait_until};
use crate::{Mode, Rig};

/// A column's type; its values in T-SQL, and how PostgreSQL shows each (time zone UTC).
type Case = (&'static str, &'static [(&'static str, &'static str)]);

/// NULL is a value of every one of them, and is not listed.
const CASES: &[Case] = &[
    ("bit", &[("0", "false"), ("1", "true")]),
    ("tinyint", &[("0", "0"), ("255", "255")]),
    ("smallint", &[("-32768", "-32768"), ("32767", "32767")]),
    ("int", &[("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
    ("bigint", &[("-9223372036854775808", "-9223372036854775808"), ("9223372036854775807", "9223372036854775807")]),
    ("decimal(9, 4)", &[("-99999.9999", "-99999.9999"), ("0", "0.0000")]),
    (
        "decimal(38, 0)",
        &[
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
            ("-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"),
        ],
    ),
    ("numeric(38, 38)", &[("0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001")]),
    ("numeric(19, 10)", &[("123456789.0123456789", "123456789.0123456789")]),
    ("money", &[("922337203685477.5807", "922337203685477.5807"), ("-922337203685477.5808", "-922337203685477.5808")]),
    ("smallmoney", &[("214748.3647", "214748.3647"), ("-214748.3648", "-214748.3648")]),
    ("float", &[("1.7976931348623157E+308", "1.7976931348623157e+308"), ("-2.5E0", "-2.5"), ("0.1E0", "0.1")]),
    ("real", &[("CAST(0.1E0 AS real)", "0.1"), ("CAST(-3.4E38 AS real)", "-3.4e+38")]),
    ("char(5)", &[("'ab'", "ab"), ("''", "")]),
    ("nchar(5)", &[("N'\u{e9}\u{4e2d}'", "\u{e9}\u{4e2d}")]),
    ("varchar(20)", &[("'trailing  '", "trailing  "), ("''", ""), ("'caf\u{e9}'", "caf\u{e9}")]),
    ("nvarchar(20)", &[("N'\u{3b1}\u{3b2} \u{1f600}'", "\u{3b1}\u{3b2} \u{1f600}"), ("N''", "")]),
    ("varchar(max)", &[("'short'", "short"), ("''", "")]),
    ("nvarchar(max)", &[("N'\u{4e2d}\u{6587}'", "\u{4e2d}\u{6587}")]),
    ("varchar(20) COLLATE Cyrillic_General_CI_AS", &[("N'\u{416}\u{44f}'", "\u{416}\u{44f}")]),
    ("varchar(20) COLLATE Japanese_CI_AS", &[("N'\u{65e5}\u{672c}'", "\u{65e5}\u{672c}")]),
    ("text", &[("'old'", "old")]),
    ("ntext", &[("N'\u{fc}'", "\u{fc}")]),
    ("binary(4)", &[("0x01", "\\x01000000")]),
    ("varbinary(8)", &[("0x", "\\x"), ("0x00FF", "\\x00ff")]),
    ("varbinary(max)", &[("0xDEADBEEF", "\\xdeadbeef")]),
    ("image", &[("0x0102", "\\x0102")]),
    ("date", &[("'0001-01-01'", "0001-01-01"), ("'9999-12-31'", "9999-12-31")]),
    ("time(0)", &[("'23:59:59'", "23:59:59")]),
    ("time(6)", &[("'23:59:59.999999'", "23:59:59.999999")]),
    ("time(7)", &[("'23:59:59.9999999'", "23:59:59.999999"), ("'00:00:00.0000014'", "00:00:00.000001")]),
    (
        "datetime",
        &[
            ("'1753-01-01T00:00:00'", "1753-01-01 00:00:00"),
            ("'9999-12-31T23:59:59.997'", "9999-12-31 23:59:59.997"),
            ("'2024-02-29T12:34:56.003'", "2024-02-29 12:34:56.003"),
        ],
    ),
    (
        "smalldatetime",
        &[("'1900-01-01T00:00:00'", "1900-01-01 00:00:00"), ("'2079-06-06T23:59:00'", "2079-06-06 23:59:00")],
    ),
    ("datetime2(0)", &[("'0001-01-01T00:00:00'", "0001-01-01 00:00:00")]),
    ("datetime2(3)", &[("'2024-02-29T01:02:03.004'", "2024-02-29 01:02:03.004")]),
    ("datetime2(7)", &[("'9999-12-31T23:59:59.9999999'", "9999-12-31 23:59:59.999999")]),
    ("datetimeoffset(3)", &[("'2024-02-29T01:02:03.004+05:30'", "2024-02-28 19:32:03.004+00")]),
    ("datetimeoffset(7)", &[("'0001-01-01T14:00:00+14:00'", "0001-01-01 00:00:00+00")]),
    ("uniqueidentifier", &[("'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "6f9619ff-8b86-d011-b42d-00c04fc964ff")]),
    (
        "sql_variant",
        &[
            ("CAST(5 AS int)", "5"),
            ("CAST(N'\u{e9}' AS nvarchar(5))", "\u{e9}"),
            ("CAST(12.50 AS decimal(9, 2))", "12.50"),
            ("CAST('2024-02-29' AS date)", "2024-02-29"),
        ],
    ),
];

/// A value longer than a page, and the statement that makes it.
const LONG: usize = 100_000;

fn table(number: usize) -> String {
    format!("types_{number:02}")
}

/// Copies all values; where the mode follows, inserts them once more, and updates the copied ones.
pub(crate) async fn types(rig: &Rig, mode: Mode) {
    let name = format!("types_{}", mode.name());
    let mut source = rig.server.create_database(&name).await;
    for (number, (sql_type, values)) in CASES.iter().enumerate() {
        let t = table(number);
        source.run(&format!("CREATE TABLE dbo.{t} (id int NOT NULL PRIMARY KEY, v {sql_type} NULL)")).await;
        source.run(&insert(&t, values, 0)).await;
    }
    source.run("CREATE TABLE dbo.long_values (id int NOT NULL PRIMARY KEY, v nvarchar(max), b varbinary(max))").await;
    source.run(&long_value(1)).await;
    let task = Task::new(rig, mode, &name);
    let mut running = if mode.follows() {
        Some(task.start())
    } else {
        task.run();
        None
    };
    for (number, (sql_type, values)) in CASES.iter().enumerate() {
        check(rig, running.as_mut(), sql_type, &table(number), &expected(values, &[0])).await;
    }
    check_long(rig, running.as_mut(), 1).await;
    let Some(running) = &mut running else { return };
    for (number, (_, values)) in CASES.iter().enumerate() {
        let t = table(number);
        // A first value becomes NULL, and all come once more; NULL becomes the first value.
        source.run(&format!("UPDATE dbo.{t} SET v = NULL WHERE id = 1; {}", insert(&t, values, 100))).await;
        source.run(&format!("UPDATE dbo.{t} SET v = {} WHERE id = 0", values[0].0)).await;
        source.run(&format!("DELETE dbo.{t} WHERE id = 100")).await;
    }
    source.run(&long_value(2)).await;
    source.run("UPDATE dbo.long_values SET b = CONVERT(varbinary(max), v) WHERE id = 1").await;
    for (number, (sql_type, values)) in CASES.iter().enumerate() {
        let mut rows = expected(values, &[0, 100]);
        rows.retain(|row| row[0].as_deref() != Some("100"));
        for row in &mut rows {
            match row[0].as_deref() {
                Some("0") => row[1] = Some(values[0].1.to_owned()),
                Some("1") => row[1] = None,
                _ => {}
            }
        }
        check(rig, Some(running), sql_type, &table(number), &rows).await;
    }
    check_long(rig, Some(running), 2).await;
}

/// Row `at` is NULL, those after it are the values.
fn insert(table: &str, values: &[(&str, &str)], at: usize) -> String {
    let mut text = format!("INSERT dbo.{table} (id, v) VALUES ({at}, NULL)");
    for (n, (value, _)) in values.iter().enumerate() {
        text.push_str(&format!("; INSERT dbo.{table} (id, v) VALUES ({}, {value})", at + n + 1));
    }
    text
}

fn expected(values: &[(&str, &str)], at: &[usize]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for at in at {
        rows.push(vec![Some(at.to_string()), None]);
        for (n, (_, shown)) in values.iter().enumerate() {
            rows.push(vec![Some((at + n + 1).to_string()), Some((*shown).to_owned())]);
        }
    }
    rows
}

async fn check(
    rig: &Rig,
    mut running: Option<&mut Running>,
    sql_type: &str,
    table: &str,
    expected: &[Vec<Option<String>>],
) {
    let client = rig.target.connect().await;
    let ask = format!("SELECT t.id::text, t.v::text FROM dbo.{table} AS t ORDER BY t.id");
    wait_until(sql_type, async || {
        if let Some(running) = running.as_deref_mut() {
            running.alive();
        }
        let found = rows(&client, &ask).await;
        if found.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
    })
    .await;
}

fn long_value(id: u32) -> String {
    format!(
        "INSERT dbo.long_values VALUES ({id}, REPLICATE(CAST(N'a\u{e9}\u{4e2d}{id}' AS nvarchar(max)), {LONG} / 4), \
         CONVERT(varbinary(max), REPLICATE(CAST('0123456789' AS varchar(max)), {LONG} / 10)))"
    )
}

async fn check_long(rig: &Rig, mut running: Option<&mut Running>, count: usize) {
    let client = rig.target.connect().await;
    let text = |id: usize| format!("a\u{e9}\u{4e2d}{id}").repeat(LONG / 4);
    let digits = "30313233343536373839".repeat(LONG / 10);
    wait_until("values of many pages", async || {
        if let Some(running) = running.as_deref_mut() {
            running.alive();
        }
        let found = rows(&client, "SELECT v, encode(b, 'hex') FROM dbo.long_values ORDER BY id").await;
        let mut expected: Vec<Vec<Option<String>>> =
            (1..=count).map(|id| vec![Some(text(id)), Some(digits.clone())]).collect();
        if count == 2 {
            // A value outside of the row that was written anew: the other one as it is stored, UTF-16.
            let utf16: String = text(1).encode_utf16().map(|unit| format!("{:04x}", unit.swap_bytes())).collect();
            expected[0][1] = Some(utf16);
        }
        let sizes = |rows: &[Vec<Option<String>>]| -> Vec<Vec<usize>> {
            rows.iter().map(|row| row.iter().map(|v| v.as_ref().map_or(0, String::len)).collect()).collect()
        };
        if found.as_ref() == Some(&expected) {
            return Ok(());
        }
        Err(format!("lengths {:?}, not {:?}", found.as_deref().map(sizes), sizes(&expected)))
    })
    .await;
}
