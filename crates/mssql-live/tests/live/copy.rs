//! Tables as chunks: every row once, every value as it is stored.

use logferry_model::{Cell, ChangeSource, ChunkReader, Class, Fault, Fill, SqlType};
use logferry_mssql_live::LiveSource;
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::tds;

use crate::{open, settings, standin};

type Row = Vec<Option<Vec<u8>>>;

/// The rows of a table's chunks, chunk by chunk.
async fn chunks(source: &LiveSource, table: &str) -> Result<Vec<Vec<Row>>, Fault> {
    let tables = source.tables();
    let index = tables.iter().position(|t| t.name.name == table).expect("the table is there");
    let mut found = Vec::new();
    for chunk in source.chunks(index)? {
        let mut rows = Vec::new();
        let mut reader = source.open_chunk(&chunk)?;
        let mut visit = |cells: &[Cell<'_>]| {
            rows.push(cells.iter().map(|c| c.bytes().map(<[u8]>::to_vec)).collect());
            Ok(())
        };
        while reader.fill(&mut visit).await? == Fill::More {}
        found.push(rows);
    }
    Ok(found)
}

/// The rows of an answer as texts that can be compared, in order.
pub fn texts(standin: &Standin, question: &str) -> Vec<String> {
    let mut rows: Vec<String> = answer(standin, question).iter().map(|row| format!("{:?}", shown(row))).collect();
    rows.sort();
    rows
}

fn shown(row: &Row) -> Vec<String> {
    let text = |cell: &Vec<u8>| {
        let wide = cell.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect::<Vec<_>>();
        let is_text = cell.len() >= 2 && cell.len().is_multiple_of(2) && wide.iter().all(|c| (32..127).contains(c));
        if is_text { String::from_utf16_lossy(&wide) } else { format!("{cell:?}") }
    };
    row.iter().map(|cell| cell.as_ref().map_or("NULL".to_owned(), text)).collect()
}

/// The rows of a table on the pages of the stand-in, as cells.
pub fn stored(standin: &Standin, table: &str) -> Vec<Row> {
    answer(standin, &format!("SELECT * FROM {table}"))
}

fn answer(standin: &Standin, question: &str) -> Vec<Row> {
    use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, SqlError, TransactionChange};
    #[derive(Default)]
    struct Rows(Vec<Row>);
    impl ResultSink for Rows {
        fn columns(&mut self, _: &[ResultColumn]) {}
        fn row(&mut self, cells: &[Cell<'_>]) -> bool {
            self.0.push(cells.iter().map(|c| c.bytes().map(<[u8]>::to_vec)).collect());
            true
        }
        fn done(&mut self, _: Option<u64>) {}
        fn info(&mut self, _: &SqlError) {}
        fn error(&mut self, error: &SqlError) {
            panic!("{error}");
        }
        fn changed_database(&mut self, _: &str) {}
        fn transaction(&mut self, _: TransactionChange) {}
        fn output(&mut self, _: &str, _: &SqlType, _: Option<&[u8]>) {}
    }
    let login =
        Login { name: "sa".to_owned(), host: String::new(), program: String::new(), database: "shop".to_owned() };
    let mut rows = Rows::default();
    let mut session = standin.sql().connect(&login).expect("a session");
    session.execute(question, &[], &mut rows).expect("the rows");
    rows.0
}

/// Makes a table, copies it in chunks of `chunk_bytes`, and compares with what is stored. Gives the sizes of the chunks.
async fn check(batch: &str, table: &str, chunk_bytes: u64) -> Vec<usize> {
    let standin = standin(batch);
    let mut source = open(settings(&standin), chunk_bytes).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    let chunks = chunks(&source, table).await.expect("the rows");
    let sizes = chunks.iter().map(Vec::len).collect();
    let (mut found, mut expect): (Vec<Row>, _) = (chunks.into_iter().flatten().collect(), stored(&standin, table));
    found.sort();
    expect.sort();
    assert_eq!(found.len(), expect.len(), "rows of {table}");
    for (found, expect) in found.iter().zip(&expect) {
        assert_eq!(found, expect);
    }
    sizes
}

const TYPES: &str = "
    CREATE TABLE types (
        id int NOT NULL PRIMARY KEY, a bit, b tinyint, c smallint, d bigint, e decimal(9,2), f numeric(38,38), g money,
        h smallmoney, i real, j float, k date, l time(0), m time(7), n datetime, o smalldatetime, p datetime2(3),
        q datetimeoffset(7), r uniqueidentifier, s char(5), t varchar(20), u varchar(max), v nchar(3), w nvarchar(9),
        x nvarchar(max), y binary(4), z varbinary(9), aa varbinary(max));
    INSERT types (id) VALUES (0);
    INSERT types VALUES (1, 1, 255, -32768, -9223372036854775808, -1234567.89, 0.99999999999999999999999999999999999999,
        922337203685477.5807, -214748.3648, 1.5, -1e300, '9999-12-31', '23:59:59', '23:59:59.9999999',
        '1753-01-01 23:59:59.997', '2079-06-06 23:59', '9999-12-31 23:59:59.999', '0001-01-01 14:00:00 +14:00',
        '00112233-4455-6677-8899-AABBCCDDEEFF', 'ab', 'caf\u{e9} \u{20ac}', '', N'\u{df}', N'\u{1f600}', N'long', 0x01, 0x, 0x00FF);
    INSERT types (id, g, h, u, x, aa) VALUES (2, -922337203685477.5808, 214748.3647, REPLICATE(CAST('x' AS varchar(max)), 100000),
        REPLICATE(CAST(N'\u{e9}' AS nvarchar(max)), 50000), CAST(REPLICATE(CAST('y' AS varchar(max)), 70000) AS varbinary(max)));
    -- Half a surrogate pair is legal, and no text that a client could decode.
    INSERT types (id, w, x) VALUES (3, NCHAR(55357), NCHAR(55357) + N'a');
";

#[tokio::test]
async fn every_value_comes_as_it_is_stored() {
    check(TYPES, "types", 1 << 30).await;
}

fn numbers(key: &str, values: &str) -> String {
    format!(
        "CREATE TABLE t (k {key}, pad char(400) NOT NULL); DECLARE @n int = 0;
         BEGIN TRAN; WHILE @n < 2000 BEGIN INSERT t VALUES ({values}, 'x'); SET @n += 1 END; COMMIT"
    )
}

/// Any number of chunks is a partition of the rows, whatever the key's type and order.
#[tokio::test]
async fn chunks_have_every_row_once() {
    for (key, values) in [
        ("int NOT NULL PRIMARY KEY", "@n * 2 - 1000"),
        ("bigint NOT NULL PRIMARY KEY", "CAST(@n AS bigint) * 4611686018427387"),
        ("uniqueidentifier NOT NULL PRIMARY KEY", "NEWID()"),
        ("varchar(30) NOT NULL PRIMARY KEY", "'caf\u{e9} ' + CAST(@n AS varchar(9))"),
        ("nvarchar(30) NOT NULL PRIMARY KEY", "N'\u{1f600}' + CAST(@n AS nvarchar(9))"),
        ("datetime2(7) NOT NULL PRIMARY KEY", "DATEADD(second, @n, CAST('2020-01-01' AS datetime2(7)))"),
        ("decimal(20,4) NOT NULL PRIMARY KEY", "@n / 8.0"),
    ] {
        let sizes = check(&numbers(key, values), "t", 100_000).await;
        assert!(sizes.len() > 5 && sizes.iter().filter(|&&n| n > 0).count() > 5, "{key}: {sizes:?}");
    }
}

#[tokio::test]
async fn tables_without_a_key_are_one_chunk() {
    for key in ["int NOT NULL", "int NULL UNIQUE"] {
        assert_eq!(check(&numbers(key, "@n"), "t", 100_000).await, [2000], "{key}");
    }
}

/// A heap, and a table whose clustered index is not unique, are cut by another unique key: into few chunks, as each may cost a look at all rows.
#[tokio::test]
async fn heaps_are_cut_by_a_unique_key() {
    for key in ["int NOT NULL PRIMARY KEY NONCLUSTERED", "uniqueidentifier NOT NULL UNIQUE NONCLUSTERED"] {
        let values = if key.starts_with("int") { "@n * 2 - 1000" } else { "NEWID()" };
        for more in ["", "; CREATE CLUSTERED INDEX cx ON t (pad)"] {
            for (chunk_bytes, most) in [(100_000, 12), (10_000, 16)] {
                let sizes = check(&format!("{}{more}", numbers(key, values)), "t", chunk_bytes).await;
                let is_cut = sizes.len() > 5 && sizes.len() <= most && sizes.iter().all(|&n| n < 500);
                assert!(is_cut, "{key}{more}: {sizes:?}");
            }
        }
    }
}

#[tokio::test]
async fn several_key_columns_cut_as_one() {
    let batch = "CREATE TABLE t (a int NOT NULL, b varchar(10) NOT NULL, pad char(400) NOT NULL, PRIMARY KEY (a, b));
        DECLARE @n int = 0;
        BEGIN TRAN; WHILE @n < 2000 BEGIN INSERT t VALUES (@n % 3, CAST(@n AS varchar(10)), 'x'); SET @n += 1 END; COMMIT";
    let sizes = check(batch, "t", 100_000).await;
    assert!(sizes.len() > 5 && sizes.iter().all(|&n| n < 500), "{sizes:?}");
}

#[tokio::test]
async fn an_empty_table_is_a_chunk() {
    assert_eq!(check("CREATE TABLE t (id int PRIMARY KEY)", "t", 1).await, [0]);
}

#[tokio::test]
async fn the_same_rows_are_the_same_snapshot() {
    let standin = standin(&numbers("int NOT NULL PRIMARY KEY", "@n"));
    let mut ids = Vec::new();
    for chunk_bytes in [100_000, 100_000, 50_000] {
        let mut source = open(settings(&standin), chunk_bytes).await.expect("a source");
        ids.push(source.snapshot().await.expect("a snapshot").id);
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2], "other chunks are another snapshot");
}

/// A copy that was begun goes on with the chunks that it had, though the table has grown.
#[tokio::test]
async fn a_snapshot_is_recalled_with_its_chunks() {
    let standin = standin(&numbers("int NOT NULL PRIMARY KEY", "@n"));
    let mut source = open(settings(&standin), 100_000).await.expect("a source");
    let point = source.snapshot().await.expect("a snapshot");
    let (chunks, memo) = (source.chunks(0).expect("chunks"), source.memo());
    standin.batch("USE shop; INSERT t SELECT k + 5000, pad FROM t").expect("it has grown");
    let mut again = open(settings(&standin), 100_000).await.expect("a source");
    again.recall(&memo);
    assert_eq!(again.snapshot().await.expect("a snapshot"), point);
    assert_eq!(again.chunks(0).expect("chunks").len(), chunks.len());
    assert_eq!(self::chunks(&again, "t").await.expect("rows").concat().len(), 4000);
    // What cannot be read is as good as nothing.
    again.recall(b"{");
    assert_ne!(again.snapshot().await.expect("a snapshot").id, point.id);
}

/// A connection whose answer was not read to its end is never met again by somebody else.
#[tokio::test]
async fn an_answer_given_up_takes_its_connection_with_it() {
    let standin = standin(&numbers("int NOT NULL PRIMARY KEY", "@n"));
    let mut one = settings(&standin);
    one.connections_max = 1;
    let mut source = open(one, 1 << 30).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    let chunk = source.chunks(0).expect("chunks").remove(0);
    for _ in 0..5 {
        let mut reader = source.open_chunk(&chunk).expect("a reader");
        assert_eq!(reader.fill(&mut |_| Ok(())).await.expect("rows"), Fill::More);
    }
    assert_eq!(chunks(&source, "t").await.expect("rows").concat().len(), 2000);
}

/// The connection breaks in the middle: that is said, and is worth another try; what came before is not a whole chunk.
#[tokio::test]
async fn a_connection_that_breaks_is_no_end_of_the_rows() {
    let standin = standin(&numbers("int NOT NULL PRIMARY KEY", "@n"));
    let mut source = open(settings(&standin), 1 << 30).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    for fault in [tds::Fault::DropBefore, tds::Fault::Cut { after_bytes: 100_000 }, tds::Fault::DropBeforeDone] {
        standin.faults().set(move |seen| seen.text.contains("[pad]").then(|| fault.clone()));
        let fault = chunks(&source, "t").await.expect_err("the connection broke");
        assert_eq!(fault.class, Class::Transient, "{fault}");
        standin.faults().clear();
        assert_eq!(chunks(&source, "t").await.expect("rows").concat().len(), 2000);
    }
}

#[tokio::test]
async fn a_table_that_went_is_named() {
    let standin = standin("CREATE TABLE t (id int PRIMARY KEY)");
    let mut source = open(settings(&standin), 1 << 30).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    standin.batch("USE shop; DROP TABLE t").expect("it is dropped");
    let fault = chunks(&source, "t").await.expect_err("the table is gone");
    let said = "could not read table \"dbo.t\": Invalid object name 'dbo.t'. (error 208)";
    assert_eq!((fault.class, fault.to_string().as_str()), (Class::Operator, said));
}
