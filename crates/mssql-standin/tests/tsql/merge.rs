//! MERGE, OUTPUT INTO, table variables, INSERT ... EXEC, DBCC.

use crate::{check, connect, run, server};

#[test]
fn merge() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int IDENTITY PRIMARY KEY, a int, s varchar(9) DEFAULT 'x'); INSERT t (a) VALUES (1), (2), (3)",
                "#3",
            ),
            (
                "MERGE INTO t USING (VALUES (1, 10), (2, 0), (9, 90)) AS n (id, a) ON t.id = n.id
                 WHEN MATCHED AND n.a = 0 THEN DELETE
                 WHEN MATCHED THEN UPDATE SET a = n.a, s = DEFAULT
                 WHEN NOT MATCHED THEN INSERT (a, s) VALUES (n.a, DEFAULT)
                 WHEN NOT MATCHED BY SOURCE AND t.a = 3 THEN UPDATE SET a += 1
                 OUTPUT $action, inserted.id, deleted.a AS was;",
                "\"DELETE\", null, 2 | \"UPDATE\", 1, 1 | \"UPDATE\", 3, 3 | \"INSERT\", 4, null",
            ),
            ("SELECT id, a FROM t ORDER BY id", "1, 10 | 3, 4 | 4, 90"),
            (
                "WITH n AS (SELECT 5 AS a) MERGE t AS x USING n ON x.a = n.a WHEN NOT MATCHED BY TARGET THEN INSERT (a) VALUES (n.a); SELECT @@ROWCOUNT",
                "#1 ; 1",
            ),
            (
                "MERGE t USING (SELECT 1 AS id UNION ALL SELECT 1) n ON t.id = n.id WHEN MATCHED THEN DELETE;",
                "!8672 The MERGE statement attempted to UPDATE or DELETE the same row more than once. This happens when a target row matches more than one source row. A MERGE statement cannot UPDATE/DELETE the same row of the target table multiple times. Refine the ON clause to ensure a target row matches at most one source row, or use the GROUP BY clause to group the source rows.",
            ),
            ("SELECT COUNT(*) FROM t", "4"),
            (
                "MERGE t USING t u ON t.id = u.id WHEN MATCHED THEN DELETE",
                "!10713 A MERGE statement must be terminated by a semi-colon (;).",
            ),
            (
                "MERGE t USING t u ON t.id = u.id WHEN MATCHED THEN INSERT (a) VALUES (1);",
                "!156 Incorrect syntax near the keyword 'INSERT'.",
            ),
        ],
    );
}

#[test]
fn table_variables_and_output_into() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int IDENTITY PRIMARY KEY, a int)", ""),
            (
                "DECLARE @o TABLE (n int IDENTITY, id int, a int);
                 INSERT INTO t (a) OUTPUT inserted.id, inserted.a INTO @o (id, a) VALUES (5), (6);
                 SELECT SCOPE_IDENTITY();
                 UPDATE t SET a = 7 OUTPUT deleted.id, deleted.a INTO @o WHERE a = 5;
                 DELETE FROM @o WHERE a = 6;
                 SELECT o.n, t.a, o.a FROM @o o JOIN t ON t.id = o.id",
                "#2 ; 2 ; #1 ; #1 ; 1, 7, 5 | 3, 7, 5",
            ),
            ("SELECT * FROM @o", "!1087 Must declare the table variable \"@o\"."),
            (
                "DECLARE @o TABLE (a int); EXEC ('DECLARE @o TABLE (b int); INSERT @o VALUES (1); SELECT b FROM @o'); SELECT COUNT(*) FROM @o",
                "#1 ; 1 ; 0",
            ),
            ("SELECT COUNT(*) FROM tempdb.sys.tables", "0"),
            ("INSERT t (a) EXEC ('SELECT 77; SELECT 78'); SELECT a FROM t WHERE a > 10 ORDER BY a", "#2 ; 77 | 78"),
            (
                "DBCC CHECKIDENT ('t', RESEED, 200); INSERT t (a) VALUES (1); SELECT MAX(id) FROM t",
                "i: Checking identity information: current identity value '4'. ; i: DBCC execution completed. If DBCC printed error messages, contact your system administrator. ; #1 ; 201",
            ),
            ("DBCC CHECKDB", "!40517 The SQL Server stand-in does not support DBCC CHECKDB."),
            ("DBCC NOSUCH", "!102 Incorrect syntax near 'NOSUCH'."),
        ],
    );
    let server = server();
    let mut session = connect(&server);
    let found = run(&mut session, "DBCC SQLPERF (LOGSPACE)");
    assert!(found.contains("\"master\"") && found.contains("\"shop\""), "{found}");
}

#[test]
fn without_read_committed_snapshot_readers_wait() {
    let server = server();
    let (mut writer, mut reader) = (connect(&server), connect(&server));
    check(
        &mut writer,
        &[
            ("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int); INSERT t VALUES (1)", "#1"),
            ("ALTER DATABASE shop SET READ_COMMITTED_SNAPSHOT OFF; BEGIN TRAN; INSERT t VALUES (2)", "#1"),
            ("SELECT COUNT(*) FROM t", "2"),
        ],
    );
    check(
        &mut reader,
        &[
            ("SET LOCK_TIMEOUT 10; SELECT COUNT(*) FROM u; SELECT COUNT(*) FROM t WITH (NOLOCK)", "0 ; 1"),
            ("SELECT COUNT(*) FROM t", "!1222 Lock request time out period exceeded."),
        ],
    );
    check(&mut writer, &[("COMMIT", "")]);
    check(&mut reader, &[("SELECT COUNT(*) FROM t", "2")]);
}
