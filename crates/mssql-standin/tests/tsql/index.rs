//! Nonclustered indexes reach the system tables of a backup, where the product's reader finds them.

use logferry_mssql_backup::Catalog;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;

use crate::{check, connect, run, server};

#[test]
fn keys_of_a_backup() {
    let server = server();
    let mut s = connect(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.bak");
    check(
        &mut s,
        &[
            (
                "CREATE TABLE heap (a int NOT NULL, b varchar(20) NOT NULL, c int, CONSTRAINT pk_heap PRIMARY KEY NONCLUSTERED (b, a DESC))",
                "",
            ),
            ("CREATE TABLE tree (id int PRIMARY KEY, code char(3) NOT NULL CONSTRAINT uq_code UNIQUE, n int)", ""),
            ("CREATE UNIQUE INDEX ux_n ON tree (n) INCLUDE (code); CREATE INDEX ix_n ON tree (n)", ""),
            (
                "CREATE TABLE less (id int PRIMARY KEY, n int); CREATE UNIQUE INDEX ux ON less (n); DROP INDEX ux ON less",
                "",
            ),
            (
                "CREATE TABLE without (id int PRIMARY KEY, n int); CREATE UNIQUE INDEX ux ON without (n); DROP TABLE without",
                "",
            ),
            ("ALTER TABLE less ADD CONSTRAINT uq UNIQUE (n, id); INSERT less VALUES (1, 1)", "#1"),
            (&format!("BACKUP DATABASE shop TO DISK = N'{}'", path.display()), ""),
        ],
    );
    let backups = Backups::find(&[path]).expect("the backup can be opened");
    let chain = backups.plan(None, PlanOptions::default()).expect("the backup is a chain");
    let catalog = Catalog::read(&&chain.base_pages().expect("pages")).expect("the catalog can be read");
    let mut found = Vec::new();
    for table in &catalog.tables {
        let v = &table.version;
        let primary = v.primary_key.as_ref().map(|k| format!("{:?} {}", k.columns, k.clustered)).unwrap_or_default();
        let mut unique: Vec<String> = v.unique_keys.iter().map(|k| format!("{} {:?}", k.name, k.columns)).collect();
        unique.sort();
        found.push(format!("{}: {primary}; {}", v.name, unique.join(", ")));
    }
    assert_eq!(
        found,
        ["dbo.heap: [1, 0] false; ", "dbo.less: [0] true; uq [1, 0]", "dbo.tree: [0] true; uq_code [1], ux_n [2]",]
    );
}

#[test]
fn values_of_a_unique_index_change_places() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            ("CREATE TABLE seats (id int PRIMARY KEY, seat int NOT NULL UNIQUE, who nvarchar(9))", ""),
            ("INSERT seats VALUES (1, 1, N'a'), (2, 2, N'b'), (3, 3, N'c')", "#3"),
            ("UPDATE seats SET seat = CASE seat WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE seat END", "#3"),
            ("UPDATE seats SET seat = seat + 1", "#3"),
            ("SELECT id, seat, who FROM seats ORDER BY id", "1, 3, \"a\" | 2, 2, \"b\" | 3, 4, \"c\""),
        ],
    );
}

#[test]
fn maintenance() {
    let ended = "i: DBCC execution completed. If DBCC printed error messages, contact your system administrator.";
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int CONSTRAINT PK_t PRIMARY KEY, n int); CREATE INDEX ix ON t (n); INSERT t VALUES (1, 2), (2, 1)",
                "#2",
            ),
            (
                "ALTER INDEX ALL ON t REBUILD; ALTER INDEX ix ON dbo.t REBUILD PARTITION = ALL WITH (SORT_IN_TEMPDB = ON, MAXDOP = 1); ALTER INDEX PK_t ON t REORGANIZE; SELECT * FROM t WHERE n = 1",
                "2, 1",
            ),
            ("ALTER INDEX nosuch ON t REBUILD", "!2727 Cannot find index 'nosuch'."),
            (
                "ALTER INDEX ALL ON nosuch REORGANIZE",
                "!1088 Cannot find the object \"nosuch\" because it does not exist or you do not have permissions.",
            ),
            (
                "ALTER TABLE t REBUILD WITH (DATA_COMPRESSION = PAGE)",
                "!40517 The SQL Server stand-in does not support the option DATA_COMPRESSION = PAGE.",
            ),
            ("ALTER INDEX ix ON t DISABLE", "!40517 The SQL Server stand-in does not support ALTER INDEX ... DISABLE."),
            ("DBCC DBREINDEX('t')", ended),
            (
                "DBCC SHRINKFILE(1); SELECT COUNT(*) FROM t",
                &format!(
                    "5, 1, 1024, 1024, 1024, 1024 ; i: The stand-in moves no pages: the file has the size that it had. ; {ended} ; 2"
                ),
            ),
        ],
    );
}

/// Clustered indexes that are no primary key: rows in their order, unique or told apart by a number.
#[test]
fn clustered_indexes_of_all_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            (
                "CREATE TABLE loose (id int NOT NULL PRIMARY KEY, a int, b varchar(3000), n nvarchar(max), INDEX cx CLUSTERED (a, b)); CREATE INDEX ix ON loose (b) INCLUDE (id)",
                "",
            ),
            (
                "SELECT name, type_desc, is_unique, is_primary_key, index_id FROM sys.indexes WHERE object_id = OBJECT_ID('loose') AND name NOT LIKE 'PK%' ORDER BY index_id",
                "\"cx\", \"CLUSTERED\", false, false, 1 | \"ix\", \"NONCLUSTERED\", false, false, 3",
            ),
            (
                "SELECT partition_column_id, is_dropped, is_uniqueifier, key_ordinal, leaf_offset, leaf_null_bit FROM sys.system_internals_partition_columns c JOIN sys.partitions p ON p.partition_id = c.partition_id WHERE p.object_id = OBJECT_ID('loose') AND p.index_id = 1 ORDER BY leaf_null_bit",
                "0, false, true, 3, -1, 1 | 2, false, false, 1, 4, 2 | 3, false, false, 2, -2, 3 | 1, false, false, 0, 8, 4 | 4, false, false, 0, -3, 5",
            ),
            (
                "INSERT loose VALUES (1, 5, 'x', NULL), (2, 5, 'x', N'two'), (3, NULL, 'x', NULL), (4, 5, 'x', REPLICATE(CAST(N'l' AS nvarchar(max)), 9000)), (5, NULL, NULL, N''), (6, 1, 'y', NULL)",
                "#6",
            ),
            ("SELECT id FROM loose", "5 | 3 | 6 | 1 | 2 | 4"),
            ("SELECT id, LEN(n) FROM loose WHERE a = 5 AND b = 'x'", "1, null | 2, 3 | 4, 9000"),
            ("DELETE loose WHERE id = 2; INSERT loose VALUES (7, 5, 'x', NULL)", "#1 ; #1"),
            (
                "UPDATE loose SET n = N'longer' WHERE id = 4; UPDATE loose SET a = 5 WHERE id = 6; UPDATE loose SET b = 'x' WHERE a = 5",
                "#1 ; #1 ; #4",
            ),
            (
                "SELECT id, a, b, n FROM loose WHERE a >= 5 ORDER BY a, id",
                "1, 5, \"x\", null | 4, 5, \"x\", \"longer\" | 6, 5, \"x\", null | 7, 5, \"x\", null",
            ),
            ("BEGIN TRAN; DELETE loose WHERE a = 5; INSERT loose VALUES (8, 5, 'x', NULL); ROLLBACK", "#4 ; #1"),
            ("SELECT COUNT(*) FROM loose WITH (INDEX (ix)) WHERE b = 'x'", "5"),
            (
                "CREATE CLUSTERED INDEX other ON loose (id)",
                "!1902 Cannot create more than one clustered index on table 'loose'. Drop the existing clustered index 'cx' before creating another.",
            ),
            // Of a table with rows.
            (
                "CREATE TABLE heap (k int NULL, v char(1200) NULL, CONSTRAINT uq_k UNIQUE (k)); INSERT heap VALUES (3, 'c'), (1, 'a'), (NULL, 'n'), (2, 'b')",
                "#4",
            ),
            (
                "CREATE UNIQUE CLUSTERED INDEX cu ON heap (k); SELECT k, RTRIM(v) FROM heap",
                "null, \"n\" | 1, \"a\" | 2, \"b\" | 3, \"c\"",
            ),
            ("UPDATE heap SET k = 9 WHERE k = 1; SELECT k FROM heap WHERE k > 2", "#1 ; 3 | 9"),
            (
                "CREATE TABLE keyed (k int NOT NULL, w int); INSERT keyed VALUES (2, 2), (1, 1); ALTER TABLE keyed ADD CONSTRAINT pk_keyed PRIMARY KEY CLUSTERED (k)",
                "#2",
            ),
            (
                "SELECT * FROM keyed; SELECT i.name, i.type_desc FROM sys.key_constraints k JOIN sys.indexes i ON i.object_id = k.parent_object_id AND i.index_id = k.unique_index_id WHERE k.name = 'pk_keyed'",
                "1, 1 | 2, 2 ; \"pk_keyed\", \"CLUSTERED\"",
            ),
            (
                "ALTER TABLE keyed ADD PRIMARY KEY (w)",
                "!1779 Table 'keyed' already has a primary key defined on it. ; !1750 Could not create constraint or index. See previous errors.",
            ),
            (
                "CREATE TABLE uq (a int NOT NULL CONSTRAINT uqc UNIQUE CLUSTERED, b int NOT NULL PRIMARY KEY); INSERT uq VALUES (2, 1), (1, 2); SELECT a FROM uq",
                "#2 ; 1 | 2",
            ),
            (
                "SET NOCOUNT ON; DECLARE @n int = 0; WHILE @n < 400 BEGIN INSERT loose VALUES (100 + @n, @n % 3, REPLICATE('p', 90), NULL); SET @n += 1 END; SET NOCOUNT OFF; ALTER INDEX ALL ON loose REBUILD",
                "",
            ),
            ("SELECT a, COUNT(*) FROM loose WHERE id >= 100 GROUP BY a ORDER BY a", "0, 134 | 1, 133 | 2, 133"),
            (
                "DELETE loose WHERE id >= 100 AND id % 2 = 0; INSERT loose VALUES (1000, 1, REPLICATE('p', 90), NULL)",
                "#200 ; #1",
            ),
        ],
    );
    for (sql, refused) in [
        ("INSERT heap VALUES (2, 'x')", "!26"),
        ("INSERT keyed VALUES (2, 0)", "!2627 "),
        ("INSERT uq VALUES (1, 9)", "!2627 "),
    ] {
        let said = run(&mut s, sql);
        assert!(said.starts_with(refused), "{sql}: {said}");
    }
    let all = "SELECT id, a, b, n FROM loose; SELECT k FROM heap; SELECT * FROM keyed; SELECT * FROM uq";
    let before = run(&mut s, all);
    assert_eq!(server.close_into(folder.path()).expect("files"), ["shop"]);
    let next = logferry_mssql_standin::sql::Server::new("STANDIN").expect("a server");
    next.reopen(folder.path()).expect("files");
    let mut s = connect(&next);
    assert_eq!(run(&mut s, all), before);
    check(
        &mut s,
        &[("INSERT loose VALUES (2000, 5, 'x', NULL); SELECT id FROM loose WHERE a = 5", "#1 ; 1 | 4 | 7 | 6 | 2000")],
    );
}
