//! `fn_dblog` beside the log file as the product's own reader sees it, and its arguments.

use logferry_model::Cell;
use logferry_mssql_backup::LogBlocks;
use logferry_mssql_backup::log_file::LogFiles;
use logferry_mssql_standin::sql::{ResultSink, Session, SqlError};

use crate::{check, connect, run, server};

/// The bytes of the cells of a result.
#[derive(Default)]
struct Cells(Vec<Vec<Option<Vec<u8>>>>);

impl ResultSink for Cells {
    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        let bytes = |cell: &Cell<'_>| match cell {
            Cell::Bytes(bytes) => Some(bytes.to_vec()),
            Cell::Null | Cell::Unchanged => None,
        };
        self.0.push(cells.iter().map(bytes).collect());
        true
    }
    fn error(&mut self, error: &SqlError) {
        panic!("{error}");
    }
}

pub(crate) fn cells(session: &mut Session, sql: &str) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut cells = Cells::default();
    session.execute(sql, &[], &mut cells).expect("the query runs");
    cells.0
}

/// A column of text of a query.
pub(crate) fn texts(session: &mut Session, sql: &str) -> Vec<String> {
    let text = |b: &Vec<u8>| {
        let units: Vec<u16> = b.as_chunks::<2>().0.iter().map(|u| u16::from_le_bytes(*u)).collect();
        String::from_utf16_lossy(&units)
    };
    cells(session, sql).iter().map(|row| row[0].as_ref().map_or_else(|| "null".into(), text)).collect()
}

const WORK: &str = "
    CHECKPOINT;
    CREATE TABLE t (id int PRIMARY KEY, s varchar(max), n int);
    CREATE TABLE heap (a int, b varchar(900));
    DECLARE @n int = 0;
    WHILE @n < 400 BEGIN
        INSERT t VALUES (@n, REPLICATE(CAST('x' AS varchar(max)), @n * 50), @n);
        INSERT heap VALUES (@n, REPLICATE('y', @n));
        IF @n % 3 = 0 UPDATE t SET n = -1 WHERE id = @n / 2;
        IF @n % 5 = 0 DELETE t WHERE id = @n / 3;
        SET @n += 1
    END
    BEGIN TRAN; INSERT t VALUES (1000, 'rolled back', 0); SAVE TRAN s; DELETE heap WHERE a < 9; ROLLBACK TRAN s; ROLLBACK;
    BEGIN TRAN; UPDATE t SET n = 5 WHERE id = 399";

#[test]
fn the_rows_are_the_records_of_the_log_file() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, WORK);
    let rows = cells(
        &mut s,
        "SELECT [Current LSN], [Previous LSN], [Log Record Length], [Log Record] FROM sys.fn_dblog(NULL, NULL)",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop_log.ldf");
    server.with_storage("shop", |db| db.write_log_file(&path)).expect("the database").expect("the file is written");

    let start = server.with_storage("shop", |db| db.start_of_log()).expect("the database");
    let utf16 = |text: String| Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let mut expect = Vec::new();
    let mut blocks = LogFiles::open(&[path]).expect("a log file").blocks(Some(start)).expect("its blocks");
    while let Some(block) = blocks.next_block().expect("a block") {
        for record in block.records().map(|r| r.expect("a record")).filter(|r| r.lsn >= start) {
            let bytes = record.bytes();
            expect.push(vec![
                utf16(record.lsn.to_string()),
                utf16(record.prev_lsn.to_string()),
                Some((bytes.len() as i16).to_le_bytes().to_vec()),
                Some(bytes.get(..8000).unwrap_or(bytes).to_vec()),
            ]);
        }
    }
    assert!(expect.len() > 2000, "{} records", expect.len());
    assert!(expect.iter().any(|r| r[3].as_ref().is_some_and(|b| b.len() == 8000)), "one is longer than a cell");
    assert_eq!(rows.len(), expect.len());
    for (found, expect) in rows.iter().zip(&expect) {
        assert_eq!(found, expect);
    }
}

#[test]
fn statements_as_records() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int CONSTRAINT pk PRIMARY KEY, a char(3), b varchar(10)); CREATE TABLE h (a int)");
    let start = texts(&mut s, "SELECT MAX([Current LSN]) FROM sys.fn_dblog(NULL, NULL)").remove(0);
    run(&mut s, "INSERT t VALUES (1, 'abc', 'x')");
    let found = texts(
        &mut s,
        &format!(
            "SELECT Operation + ' ' + Context FROM sys.fn_dblog('0x{start}', NULL) WHERE [Current LSN] > '{start}'"
        ),
    );
    assert_eq!(found.first().map(String::as_str), Some("LOP_BEGIN_XACT LCX_NULL"), "{found:?}");
    assert!(found.iter().any(|f| f == "LOP_FORMAT_PAGE LCX_IAM"), "a first row takes pages: {found:?}");
    assert_eq!(found.last().map(String::as_str), Some("LOP_COMMIT_XACT LCX_NULL"), "{found:?}");

    // From the second row on no page has to be taken.
    let start = texts(&mut s, "SELECT MAX([Current LSN]) FROM fn_dblog(DEFAULT, DEFAULT)").remove(0);
    run(&mut s, "INSERT t VALUES (2, 'abc', 'x'); UPDATE t SET a = 'abd' WHERE id = 2; DELETE t WHERE id = 2");
    let log = format!("FROM sys.fn_dblog('0x{start}', NULL) WHERE [Current LSN] > '{start}'");
    check(
        &mut s,
        &[
            (
                &format!("SELECT Operation, Context, AllocUnitName, [Slot ID] {log}"),
                "\"LOP_BEGIN_XACT\", \"LCX_NULL\", null, null | \"LOP_INSERT_ROWS\", \"LCX_CLUSTERED\", \"dbo.t.pk\", 1 | \"LOP_COMMIT_XACT\", \"LCX_NULL\", null, null | \"LOP_BEGIN_XACT\", \"LCX_NULL\", null, null | \"LOP_MODIFY_ROW\", \"LCX_CLUSTERED\", \"dbo.t.pk\", 1 | \"LOP_COMMIT_XACT\", \"LCX_NULL\", null, null | \"LOP_BEGIN_XACT\", \"LCX_NULL\", null, null | \"LOP_DELETE_ROWS\", \"LCX_MARK_AS_GHOST\", \"dbo.t.pk\", 1 | \"LOP_MODIFY_HEADER\", \"LCX_PFS\", \"Unknown Alloc Unit\", 0 | \"LOP_SET_BITS\", \"LCX_PFS\", \"dbo.t.pk\", 0 | \"LOP_COMMIT_XACT\", \"LCX_NULL\", null, null",
            ),
            (
                &format!("SELECT [Transaction Name], SPID, [Xact Type] {log} AND Operation = 'LOP_BEGIN_XACT'"),
                "\"INSERT\", 51, 1 | \"UPDATE\", 51, 1 | \"DELETE\", 51, 1",
            ),
            (
                &format!(
                    "SELECT [RowLog Contents 0], [Offset in Row], [Num Elements] {log} AND Operation = 'LOP_INSERT_ROWS'"
                ),
                "\"0x30000B00020000006162630300000100130078\", 0, 3",
            ),
            (
                &format!(
                    "SELECT [RowLog Contents 0], [RowLog Contents 1], [RowLog Contents 2], [RowLog Contents 4], [Offset in Row], [Modify Size] {log} AND Operation = 'LOP_MODIFY_ROW'"
                ),
                "\"0x63\", \"0x64\", \"0x1602000000010000\", \"0x\", 10, 1",
            ),
        ],
    );
}

#[test]
fn arguments() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int PRIMARY KEY); INSERT t VALUES (1)");
    let lsns = texts(&mut s, "SELECT [Current LSN] FROM sys.fn_dblog(NULL, NULL)");
    let (first, third) = (&lsns[0], &lsns[2]);
    let start = server.with_storage("shop", |db| db.start_of_log()).expect("the database");
    assert_eq!(*first, start.to_string());
    let decimal = format!("{}:{}:{}", start.vlf, start.block, start.slot);
    assert_eq!(texts(&mut s, &format!("SELECT [Current LSN] FROM fn_dblog('{decimal}', '0x{third}')")), lsns[..3]);
    assert_eq!(
        texts(&mut s, &format!("SELECT [Current LSN] FROM shop.sys.fn_dblog('0x{third}', NULL) AS l")),
        lsns[2..]
    );
    let older = format!("'{}:{}:1'", start.vlf, start.block - 1);
    check(
        &mut s,
        &[
            (
                "SELECT * FROM fn_dblog('nonsense', NULL)",
                "!9005 Either start LSN or end LSN specified in OpenRowset(DBLog, ...) is invalid.",
            ),
            (
                "SELECT * FROM sys.fn_dblog(NULL)",
                "!313 An insufficient number of arguments were supplied for the procedure or function sys.fn_dblog.",
            ),
            ("DECLARE @s nvarchar(25) = NULL; SELECT COUNT(*) FROM (SELECT TOP 3 * FROM fn_dblog(@s, @s)) AS l", "3"),
            ("SELECT COUNT(*) FROM master.sys.fn_dblog(NULL, NULL) WHERE AllocUnitName LIKE 'dbo.%'", "0"),
        ],
    );
    let old = run(&mut s, &format!("SELECT * FROM fn_dblog({older}, NULL)"));
    assert!(old.starts_with("!9003 The log scan number ("), "{old}");
}

#[test]
fn a_backup_of_the_log_truncates_it() {
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    let folder = tempfile::tempdir().expect("a folder");
    let to = |name: &str| folder.path().join(name).display().to_string();
    run(&mut s, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 1)");
    let count = "SELECT COUNT(*) FROM fn_dblog(NULL, NULL) WHERE [Transaction Name] = 'INSERT'";
    check(
        &mut s,
        &[
            (count, "1"),
            (&format!("BACKUP DATABASE shop TO DISK = '{}'", to("full.bak")), ""),
            ("INSERT t VALUES (2, 2); CHECKPOINT", "#1"),
        ],
    );
    assert_eq!(run(&mut s, count), "1", "a checkpoint does not truncate what is not backed up");
    run(&mut other, "BEGIN TRAN; INSERT t VALUES (3, 3)");
    check(
        &mut s,
        &[
            ("INSERT t VALUES (4, 4)", "#1"),
            (&format!("BACKUP LOG shop TO DISK = '{}'", to("1.trn")), ""),
            ("CHECKPOINT", ""),
            (count, "1"),
            ("SELECT COUNT(*) FROM fn_dblog(NULL, NULL) WHERE [Transaction Name] = 'user_transaction'", "1"),
        ],
    );
    run(&mut other, "COMMIT");
    check(&mut s, &[(&format!("CHECKPOINT; BACKUP LOG shop TO DISK = '{}'", to("2.trn")), ""), (count, "0")]);
}

#[test]
fn a_log_backup_as_rows() {
    let server = server();
    let mut s = connect(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let to = |name: &str| folder.path().join(name).display().to_string();
    let (full, first, second) = (to("full.bak"), to("1.trn"), to("2.trn"));
    run(&mut s, &format!("CREATE TABLE t (id int PRIMARY KEY, n int); BACKUP DATABASE shop TO DISK = '{full}'"));
    let mut insert =
        String::from("DECLARE @n int = 0; WHILE @n < 3000 BEGIN INSERT t VALUES (@n, @n); SET @n += 1 END;");
    insert.push_str("UPDATE t SET n = -1 WHERE id = 7; CHECKPOINT");
    run(&mut s, &insert);
    let start = server.with_storage("shop", |db| db.start_of_log()).expect("the database");
    let columns = "[Current LSN], Operation, [Transaction ID], [Log Record]";
    let log = cells(&mut s, &format!("SELECT {columns} FROM fn_dblog(NULL, NULL)"));
    check(&mut s, &[(&format!("BACKUP LOG shop TO DISK = '{first}' WITH CHECKSUM, STATS = 10"), "")]);
    check(&mut s, &[(&format!("INSERT t VALUES (9000, 1); BACKUP LOG shop TO DISK = '{second}'"), "#1")]);
    let dump = |of: &str, what: &str, range: &str| {
        format!("SELECT {what} FROM sys.fn_dump_dblog({range}, 'DISK', 1, N'{of}'{})", ", DEFAULT".repeat(63))
    };
    let found = cells(&mut s, &dump(&first, columns, "NULL, NULL"));
    let end = &log.last().expect("a record")[0];
    let whole: Vec<_> = found.iter().take_while(|r| r[0] <= *end).cloned().collect();
    assert!(log.len() > 9000, "{} records", log.len());
    // The backup begins where the full one began, the block that it begins in is whole.
    let skipped = whole.iter().position(|r| r[0] == log[0][0]).expect("the first record is there");
    assert_eq!(whole[skipped..], log[..], "from {start} on");
    check(
        &mut s,
        &[
            (
                &dump(&second, "COUNT(*)", "NULL, NULL")
                    .replace("COUNT(*)", "COUNT(CASE WHEN [Transaction Name] = 'INSERT' THEN 1 END)"),
                "1",
            ),
            (
                &dump(&first, "TOP 1 Operation", &format!("'{}:{}:{}', NULL", start.vlf, start.block, start.slot)),
                "\"LOP_BEGIN_CKPT\"",
            ),
            (
                &dump(&first, "*", "NULL, NULL").replace("'DISK', 1,", "'DISK', 2,"),
                &format!("!4038 Cannot find file ID 2 on device '{first}'."),
            ),
            (
                "SELECT * FROM fn_dump_dblog(NULL, NULL)",
                "!313 An insufficient number of arguments were supplied for the procedure or function fn_dump_dblog.",
            ),
            // Without INIT a set is appended.
            (&format!("BACKUP LOG shop TO DISK = '{second}'"), ""),
            (
                &dump(&second, "CASE WHEN COUNT(*) > 0 THEN 'a log' END", "NULL, NULL")
                    .replace("'DISK', 1,", "'DISK', 2,"),
                "\"a log\"",
            ),
            (&dump(&second, "COUNT(CASE WHEN [Transaction Name] = 'INSERT' THEN 1 END)", "NULL, NULL"), "1"),
            (&format!("BACKUP LOG shop TO DISK = '{second}' WITH INIT"), ""),
            (
                &dump(&second, "*", "NULL, NULL").replace("'DISK', 1,", "'DISK', 2,"),
                &format!("!4038 Cannot find file ID 2 on device '{second}'."),
            ),
            (
                "BACKUP LOG shop TO DISK = 'x' WITH COMPRESSION",
                "!40517 The SQL Server stand-in does not support BACKUP WITH COMPRESSION.",
            ),
            ("BACKUP LOG shop TO DISK = 'x' WITH NONSENSE", "!102 Incorrect syntax near 'NONSENSE'."),
        ],
    );
}

#[test]
fn what_holds_the_log_is_said() {
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    let why = "SELECT log_reuse_wait_desc FROM sys.databases WHERE name = 'shop'";
    let fill = "DECLARE @n int = 0; WHILE @n < 300 BEGIN INSERT t VALUES (@n, REPLICATE('x', 3000)); SET @n += 1 END; DELETE t WHERE id >= 0";
    run(
        &mut s,
        "CREATE TABLE t (id int PRIMARY KEY, s varchar(4000)); CHECKPOINT; BACKUP DATABASE shop TO DISK = 'nul'",
    );
    let backup = "CHECKPOINT; BACKUP LOG shop TO DISK = 'NUL'";
    check(&mut s, &[(why, "\"NOTHING\""), (fill, &format!("{}#300", "#1 ; ".repeat(300))), (why, "\"LOG_BACKUP\"")]);
    check(
        &mut s,
        &[
            ("SELECT COUNT(*) FROM sys.dm_db_log_info(DB_ID('shop')) WHERE vlf_active = 0", "0"),
            (backup, ""),
            (why, "\"NOTHING\""),
            ("SELECT MAX(CAST(vlf_active AS int)), SUM(CAST(vlf_active AS int)) FROM sys.dm_db_log_info(NULL)", "1, 1"),
        ],
    );
    run(&mut other, "BEGIN TRAN; INSERT t VALUES (-1, 'open')");
    run(&mut s, fill);
    run(&mut s, backup);
    check(
        &mut s,
        &[
            (why, "\"ACTIVE_TRANSACTION\""),
            (
                "SELECT d.name, l.log_truncation_holdup_reason, l.recovery_model FROM sys.databases d CROSS APPLY sys.dm_db_log_stats(d.database_id) l WHERE d.name = 'shop'",
                "\"shop\", \"ACTIVE_TRANSACTION\", \"FULL\"",
            ),
            (
                "SELECT COUNT(*) FROM sys.dm_tran_database_transactions t CROSS APPLY sys.dm_db_log_stats(DB_ID()) l WHERE t.database_id = DB_ID() AND t.database_transaction_begin_lsn > 0",
                "1",
            ),
        ],
    );
    run(&mut other, "ROLLBACK");
    run(&mut s, backup);
    check(&mut s, &[(why, "\"NOTHING\"")]);
    server.with_storage("shop", |db| {
        let end = db.end_of_log();
        db.hold_for_replication(Some(end));
    });
    run(&mut s, fill);
    run(&mut s, backup);
    check(&mut s, &[(why, "\"REPLICATION\"")]);
    server.with_storage("shop", |db| db.hold_for_replication(None));
    check(&mut s, &[(why, "\"NOTHING\"")]);
    let (before, after) = (
        "SELECT COUNT(*), MAX(vlf_sequence_number) FROM sys.dm_db_log_info(NULL)",
        "SELECT COUNT(*) FROM sys.dm_db_log_info(NULL)",
    );
    let count = run(&mut s, before);
    let files = count.split(',').next().unwrap_or_default().to_owned();
    for _ in 0..5 {
        run(&mut s, fill);
        run(&mut s, backup);
    }
    assert_eq!(run(&mut s, after), files, "virtual log files are used again");
    assert_ne!(run(&mut s, before), count, "under new numbers");
}

#[test]
fn the_lineage_of_a_database() {
    let server = server();
    let mut s = connect(&server);
    let [own, family, fork] = server.with_storage("shop", |db| db.lineage()).expect("the database");
    assert_eq!(family, fork);
    let found = cells(
        &mut s,
        "SELECT database_guid, recovery_fork_guid, last_log_backup_lsn FROM sys.database_recovery_status WHERE database_id = DB_ID()",
    );
    assert_eq!(found, [vec![Some(own.to_vec()), Some(fork.to_vec()), None]]);
    run(&mut s, "BACKUP DATABASE shop TO DISK = 'NUL'; BACKUP LOG shop TO DISK = 'NUL'");
    let end = server.with_storage("shop", |db| db.log_state().backed_up).expect("the database");
    check(
        &mut s,
        &[(
            "SELECT last_log_backup_lsn FROM sys.database_recovery_status WHERE database_id = DB_ID()",
            &end.to_decimal().to_string(),
        )],
    );
}
