//! Folders of a server that ended: the next one goes on with them, or says why not.

use logferry_mssql_format::page::{PAGE_SIZE, checksum};
use logferry_mssql_standin::sql::Server;
use logferry_mssql_standin_storage::Options;

use crate::{check, connect, run, server};

/// A folder says in which form it is written. What has another one, or lacks what this one has, is not guessed at.
#[test]
fn folders_of_other_formats_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Server::new("STANDIN").expect("a server");
    first.create_database("shop", Options::default()).expect("a database");
    run(&mut connect(&first), "CREATE TABLE t (id int PRIMARY KEY); INSERT t VALUES (1)");
    first.close_into(folder.path()).expect("files");
    let (data, beside) = (folder.path().join("shop.mdf"), folder.path().join("shop.json"));
    let reopened = || Server::new("STANDIN").expect("a server").reopen(folder.path()).map_err(|e| e.message);
    let text = std::fs::read_to_string(&beside).expect("a file");
    let cases = [
        (
            "",
            "was written by an older stand-in: it has format 1, this one reads and writes format 2; serve it with the stand-in that wrote it, or begin with a new folder.",
        ),
        (
            "\"format\": 3,",
            "was written by a newer stand-in: it has format 3, this one reads and writes format 2; serve it with the stand-in that wrote it.",
        ),
    ];
    for (written, expect) in cases {
        let other = text.replacen("\"format\": 2,", written, 1);
        assert_ne!(other, text, "the form is said");
        std::fs::write(&beside, other).expect("a file");
        assert_eq!(reopened(), Err(format!("{} {expect}", beside.display())));
    }
    std::fs::write(&beside, &text).expect("a file");
    assert_eq!(reopened(), Ok(vec!["shop".to_owned()]));
    // `sysmultiobjrefs`, as if it had never been.
    let (own, other) = ((1u64 << 48 | 75 << 16).to_le_bytes(), (1u64 << 48 | 76 << 16).to_le_bytes());
    let mut bytes = std::fs::read(&data).expect("a file");
    for at in 0..bytes.len() - own.len() {
        if bytes[at..].starts_with(&own) {
            bytes[at..at + own.len()].copy_from_slice(&other);
        }
    }
    for page in bytes.as_chunks_mut::<PAGE_SIZE>().0 {
        // What never was written has none.
        if page[60..64] != [0; 4] {
            let sum = checksum(page).to_le_bytes();
            page[60..64].copy_from_slice(&sum);
        }
    }
    std::fs::write(&data, bytes).expect("a file");
    let said = reopened().expect_err("a system table is gone");
    assert!(said.contains("shop.mdf, which lacks the system table sysmultiobjrefs"), "{said}");
}

/// A server that ends, and one that goes on with its databases.
#[test]
fn databases_go_on_in_the_next_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = server();
    let mut s = connect(&first);
    check(
        &mut s,
        &[
            (
                "CREATE TABLE customer (id int IDENTITY(10, 5) PRIMARY KEY, name nvarchar(40) NOT NULL CONSTRAINT df_name DEFAULT N'nobody', since datetime DEFAULT GETDATE(), n int CONSTRAINT ck_n CHECK (n > 0), twice AS n * 2, note nvarchar(max)); CREATE UNIQUE INDEX ux ON customer (name DESC) INCLUDE (n)",
                "",
            ),
            (
                "CREATE TABLE orders (id int NOT NULL, customer int NOT NULL REFERENCES customer (id), stamp rowversion, CONSTRAINT pk_orders PRIMARY KEY NONCLUSTERED (id)); CREATE SCHEMA more",
                "",
            ),
            ("CREATE VIEW more.named AS SELECT id, name FROM customer", ""),
            ("CREATE PROCEDURE count_them @least int AS SELECT COUNT(*) FROM customer WHERE id >= @least", ""),
            (
                "CREATE TRIGGER tr ON customer AFTER DELETE AS INSERT orders (id, customer) SELECT 1000 + id, 10 FROM deleted",
                "",
            ),
            ("CREATE TYPE more.ids AS TABLE (id int PRIMARY KEY)", ""),
            (
                "CREATE TABLE switched (a int CONSTRAINT ck_off CHECK (a > 0), b int CONSTRAINT ck_not CHECK NOT FOR REPLICATION (b > 0), g uniqueidentifier ROWGUIDCOL); ALTER TABLE switched NOCHECK CONSTRAINT ck_off",
                "",
            ),
            (
                "INSERT customer (name, n, note) VALUES (N'ä', 1, REPLICATE(CAST(N'x' AS nvarchar(max)), 20000)), (N'b', 2, NULL)",
                "#2",
            ),
            ("INSERT orders (id, customer) VALUES (1, 10), (2, 15)", "#2"),
            (
                "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N'customer', NULL, @supports_net_changes = 1",
                "",
            ),
            ("UPDATE customer SET n = 7 WHERE id = 15; DELETE orders WHERE id = 2", "#1 ; #1"),
            ("BEGIN TRAN; INSERT customer (name) VALUES (N'lost too')", "#1"),
        ],
    );
    // From here on the log is held for a log backup.
    run(&mut s, "ROLLBACK; BACKUP DATABASE shop TO DISK = 'NUL'; BEGIN TRAN; INSERT customer (name) VALUES (N'lost')");
    let log_before = run(&mut s, "SELECT MAX([Current LSN]) FROM fn_dblog(NULL, NULL)");
    let objects = "SELECT name, object_id, type FROM sys.objects WHERE is_ms_shipped = 0 ORDER BY object_id";
    let before = run(&mut connect(&first), objects);
    assert_eq!(first.close_into(folder.path()).expect("files"), ["shop"]);
    drop(s);

    for round in 0..2 {
        let next = Server::new("STANDIN").expect("a server");
        assert_eq!(next.reopen(folder.path()).expect("files"), ["shop"]);
        let mut s = connect(&next);
        if round == 0 {
            assert_eq!(run(&mut s, objects), before);
            check(
                &mut s,
                &[
                    (
                        "SELECT id, name, n, twice, LEN(note) FROM customer ORDER BY id",
                        "10, \"ä\", 1, 2, 20000 | 15, \"b\", 7, 14, null",
                    ),
                    ("SELECT * FROM more.named ORDER BY id", "10, \"ä\" | 15, \"b\""),
                    ("EXEC count_them 11", "1"),
                    (
                        "SELECT name, parent_column_id, is_disabled, is_not_trusted, is_not_for_replication FROM sys.check_constraints WHERE parent_object_id = OBJECT_ID('switched'); SELECT name FROM sys.columns WHERE is_rowguidcol = 1",
                        "\"ck_off\", 1, true, true, false | \"ck_not\", 2, false, true, true ; \"g\"",
                    ),
                    ("INSERT switched (a, b) VALUES (-1, 1)", "#1"),
                    (
                        "SELECT __$operation, id, n FROM cdc.fn_cdc_get_all_changes_dbo_customer(sys.fn_cdc_get_min_lsn('dbo_customer'), sys.fn_cdc_get_max_lsn(), N'all update old')",
                        "3, 15, 2 | 4, 15, 7",
                    ),
                    ("INSERT customer (n) VALUES (3)", "#1"),
                    (
                        "SELECT name, id FROM customer WHERE since > DATEADD(hour, -1, GETDATE()) AND n = 3",
                        "\"nobody\", 30",
                    ),
                    ("DELETE customer WHERE id = 15", "#1 ; #1"),
                    ("SELECT id FROM orders ORDER BY id", "1 | 1015"),
                    ("DECLARE @t more.ids; INSERT @t VALUES (3); SELECT id FROM @t", "#1 ; 3"),
                    ("EXEC sys.sp_cdc_scan", ""),
                    (
                        "SELECT __$operation, id FROM cdc.fn_cdc_get_all_changes_dbo_customer(sys.fn_cdc_get_min_lsn('dbo_customer'), sys.fn_cdc_get_max_lsn(), N'all') WHERE __$operation < 3",
                        "2, 30 | 1, 15",
                    ),
                    ("ALTER TABLE customer DROP CONSTRAINT ck_n; ALTER TABLE orders ADD more int NULL", ""),
                    ("ALTER TABLE orders DROP COLUMN more; ALTER TABLE customer ADD CONSTRAINT ck_n CHECK (n > 0)", ""),
                ],
            );
            for (sql, refused) in [
                ("INSERT customer (n) VALUES (3)", "!2601 "),
                ("INSERT customer (name, n) VALUES (N'c', 0)", "!547 "),
                ("INSERT orders (id, customer) VALUES (9, 999)", "!547 "),
            ] {
                let said = run(&mut s, sql);
                assert!(said.starts_with(refused), "{sql}: {said}");
            }
            // The log goes on where it ended.
            let kept = format!(
                "SELECT COUNT(*) FROM fn_dblog(NULL, NULL) WHERE [Current LSN] = {}",
                log_before.replace('"', "'")
            );
            assert_eq!(run(&mut s, &kept), "1");
            assert_eq!(next.close_into(folder.path()).expect("files"), ["shop"]);
        } else {
            check(
                &mut s,
                &[
                    ("SELECT id FROM customer ORDER BY id", "10 | 30"),
                    ("SELECT id FROM orders ORDER BY id", "1 | 1015"),
                ],
            );
        }
    }
}

/// What a view is of may be gone: the view is there all the same, in the next server too, and says so when it is read.
#[test]
fn views_of_what_is_gone_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = server();
    let mut s = connect(&first);
    for sql in [
        "CREATE TABLE gone (id int NOT NULL, name varchar(20) COLLATE Cyrillic_General_CI_AS, n decimal(9,2)); CREATE TABLE kept (a int, b int)",
        "CREATE VIEW of_gone AS SELECT id, name, n, '' AS none, GETDATE() AS now FROM gone",
        "CREATE VIEW of_kept AS SELECT * FROM kept",
        "CREATE PROCEDURE of_both AS SELECT * FROM of_gone",
        "DROP TABLE gone; ALTER TABLE kept DROP COLUMN b",
    ] {
        let said = run(&mut s, sql);
        assert!(!said.contains('!'), "{sql}: {said}");
    }
    let shown = "SELECT o.name, c.name, c.system_type_id, c.max_length, c.collation_name, c.is_nullable FROM sys.columns c JOIN sys.objects o ON o.object_id = c.object_id WHERE o.type = 'V' ORDER BY o.name, c.column_id";
    let before = run(&mut s, shown);
    assert_eq!(first.close_into(folder.path()).expect("files"), ["shop"]);
    let next = Server::new("STANDIN").expect("a server");
    assert_eq!(next.reopen(folder.path()).expect("files"), ["shop"]);
    let mut s = connect(&next);
    assert_eq!(run(&mut s, shown), before);
    check(
        &mut s,
        &[
            ("SELECT * FROM of_gone", "!208 Invalid object name 'gone'."),
            ("EXEC of_both", "!208 Invalid object name 'gone'."),
            ("CREATE TABLE gone (id int NOT NULL, name varchar(20), n int); INSERT gone VALUES (1, 'a', 2)", "#1"),
            ("SELECT id, name FROM of_gone", "1, \"a\""),
        ],
    );
}

/// Object ids are taken twenty at a time, by the statement that makes an object of the first of them. One that makes none takes none; here or in the next server.
#[test]
fn object_ids_are_taken_by_what_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = "SELECT COUNT(*) FROM fn_dblog(NULL, NULL) WHERE [Transaction Name] LIKE 'CMEDCatYukonObject%'";
    let first = Server::new("STANDIN").expect("a server");
    first.create_database("shop", Options::default()).expect("a database");
    let mut s = connect(&first);
    run(
        &mut s,
        "DECLARE @n int = 0; WHILE @n < 20 BEGIN EXEC (N'CREATE TABLE t' + CAST(@n AS nvarchar(9)) + N' (id int)'); SET @n += 1 END; INSERT t0 VALUES (1)",
    );
    assert_eq!(run(&mut s, taken), "1");
    let said = run(&mut s, "ALTER TABLE t0 ADD CONSTRAINT ck CHECK (id > 5)");
    assert!(said.starts_with("!547 "), "{said}");
    assert_eq!(run(&mut s, taken), "1");
    drop(s);
    assert_eq!(first.close_into(folder.path()).expect("files"), ["shop"]);

    let next = Server::new("STANDIN").expect("a server");
    assert_eq!(next.reopen(folder.path()).expect("files"), ["shop"]);
    let mut s = connect(&next);
    let before: u32 = run(&mut s, taken).parse().expect("a number");
    for (sql, more) in [("ALTER TABLE t0 ADD CONSTRAINT ck CHECK (id > 0)", 1), ("CREATE TABLE u (id int)", 1)] {
        run(&mut s, sql);
        assert_eq!(run(&mut s, taken), (before + more).to_string(), "{sql}");
    }
    let objects = "SELECT COUNT(*), COUNT(DISTINCT object_id) FROM sys.objects WHERE is_ms_shipped = 0";
    assert_eq!(run(&mut s, objects), "22, 22");
}
