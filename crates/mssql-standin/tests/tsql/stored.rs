//! Rows that are given as they are stored are those that are evaluated.

use crate::{check, connect, run, server};

#[test]
fn stored_rows_are_the_rows_that_are_evaluated() {
    let server = server();
    let mut session = connect(&server);
    let made = run(
        &mut session,
        "CREATE TABLE dbo.k (a int, b bigint, s varchar(10), d decimal(9,2), PRIMARY KEY (a, b));
         INSERT dbo.k VALUES (2, -1, 'x', 1.5), (1, 5, NULL, NULL), (2, 3, 'z', -2), (-7, 0, '', 0);
         ALTER TABLE dbo.k ADD late int NULL; UPDATE dbo.k SET late = 9 WHERE a = 1;
         CREATE TABLE dbo.text (s varchar(10) PRIMARY KEY); INSERT dbo.text VALUES ('b'), ('A'), ('c'), ('_');
         CREATE TABLE dbo.heap (n int, m int); INSERT dbo.heap VALUES (3, 1), (1, 2), (2, NULL);
         BEGIN TRAN; INSERT dbo.k (a, b) VALUES (0, 0); DELETE dbo.k WHERE s = 'z'",
    );
    assert!(!made.contains('!'), "{made}");
    for (list, rest) in [
        ("a, b, s, d, late", "FROM dbo.k"),
        ("d, a, a, s", "FROM dbo.k ORDER BY a, b"),
        ("a, b", "FROM dbo.k WHERE a > 0 ORDER BY a"),
        ("s, b", "FROM dbo.k WHERE s IS NOT NULL ORDER BY b"),
        ("a, b", "FROM dbo.k ORDER BY a DESC, b DESC"),
        ("a, b", "FROM dbo.k ORDER BY a, b OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY"),
        ("TOP (2) a, b", "FROM dbo.k ORDER BY a, b"),
        ("TOP (2) a, b", "FROM dbo.k WHERE a >= 1 ORDER BY a, b"),
        ("TOP (0) a", "FROM dbo.k"),
        ("TOP (1) WITH TIES a", "FROM dbo.k WHERE a = 2 ORDER BY a"),
        ("DISTINCT a", "FROM dbo.k"),
        ("s", "FROM dbo.text ORDER BY s"),
        ("TOP (2) s", "FROM dbo.text ORDER BY s"),
        ("m, n", "FROM dbo.heap ORDER BY n"),
        ("n", "FROM dbo.heap WHERE m IS NULL"),
        ("late", "FROM dbo.k WHERE a = 1 AND b = 5"),
    ] {
        let stored = run(&mut session, &format!("SELECT {list} {rest}"));
        // With a constant beside them they are made of values.
        let evaluated = run(&mut session, &format!("SELECT {list}, 77 {rest}"));
        let rows: Vec<_> = evaluated.split(" | ").map(|row| row.strip_suffix(", 77").unwrap_or(row)).collect();
        assert_eq!(stored, rows.join(" | "), "SELECT {list} {rest}");
    }
}

#[test]
fn rows_that_were_loaded_in_bulk_are_seen() {
    let (database, _) = logferry_mssql_standin_storage::workload::bench_database(3000, 7).unwrap();
    let server = server();
    server.adopt_database("bench", database);
    check(
        &mut connect(&server),
        &[
            ("USE bench; SELECT COUNT(*), MIN(id), MAX(id) FROM Bench", "use bench ; 3000, 1, 3000"),
            (
                "UPDATE Bench SET code = 'x' WHERE id = 2000; DELETE Bench WHERE id = 2001; SELECT COUNT(*) FROM Bench WHERE id > 1999",
                "#1 ; #1 ; 1000",
            ),
        ],
    );
}

#[test]
fn types_of_tables() {
    let mut s = connect(&server());
    check(
        &mut s,
        &[
            ("CREATE TYPE dbo.pairs AS TABLE (id int NOT NULL PRIMARY KEY, name nvarchar(20) DEFAULT N'none')", ""),
            (
                "CREATE TYPE pairs AS TABLE (id int)",
                "!219 The type 'dbo.pairs' already exists, or you do not have permission to create it.",
            ),
            (
                "SELECT name, user_type_id, is_table_type, is_user_defined FROM sys.table_types; SELECT COUNT(*) FROM sys.types WHERE is_table_type = 1",
                "\"pairs\", 257, true, true ; 1",
            ),
            (
                "DECLARE @t dbo.pairs; INSERT @t (id) VALUES (1), (2); SELECT * FROM @t",
                "#2 ; 1, \"none\" | 2, \"none\"",
            ),
            ("DECLARE @t dbo.nosuch", "!2715 Column, parameter, or variable #1: Cannot find data type dbo.nosuch."),
        ],
    );
    check(
        &mut s,
        &[(
            "CREATE PROCEDURE dbo.total @rows dbo.pairs READONLY, @add int = 1 AS SELECT SUM(id) + @add FROM @rows",
            "",
        )],
    );
    check(
        &mut s,
        &[
            (
                "DECLARE @t dbo.pairs; INSERT @t (id) VALUES (1), (2); EXEC dbo.total @t; EXEC dbo.total @rows = @t, @add = 5; EXEC dbo.total",
                "#2 ; 4 ; 8 ; null",
            ),
            ("CREATE PROCEDURE dbo.spoil @rows dbo.pairs READONLY AS DELETE @rows", ""),
            (
                "DECLARE @t dbo.pairs; INSERT @t (id) VALUES (1); DELETE @t; EXEC dbo.spoil @t",
                "#1 ; #1 ; !10700 The table-valued parameter \"@rows\" is READONLY and cannot be modified.",
            ),
            (
                "BEGIN TRAN; DROP TYPE dbo.pairs; CREATE TYPE dbo.others AS TABLE (a int); ROLLBACK; SELECT name FROM sys.table_types",
                "\"pairs\"",
            ),
            (
                "DROP TYPE dbo.pairs; DROP TYPE IF EXISTS dbo.pairs; DROP TYPE dbo.pairs",
                "!3701 Cannot drop the type 'dbo.pairs', because it does not exist or you do not have permission.",
            ),
        ],
    );
}
