//! Views and procedures.

use crate::{check, connect, server};

#[test]
fn views() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int PRIMARY KEY, a int, s varchar(9)); INSERT t VALUES (1, 10, 'x'), (2, 20, 'y')",
                "#2",
            ),
            ("CREATE VIEW v AS SELECT id, a * 2 AS twice FROM t WHERE a > 5", ""),
            ("CREATE VIEW dbo.w (k, n) WITH SCHEMABINDING AS SELECT s, COUNT(*) FROM t GROUP BY s", ""),
            (
                "SELECT * FROM v ORDER BY id DESC; SELECT x.k, v.twice FROM dbo.w x JOIN v ON v.id = x.n",
                "2, 40 | 1, 20 ; \"x\", 20 | \"y\", 20",
            ),
            ("WITH t AS (SELECT 1 AS id, 9 AS a) SELECT * FROM v WHERE id = 1", "1, 20"),
            ("CREATE VIEW v AS SELECT 1 AS a", "!2714 There is already an object named 'v' in the database."),
            ("ALTER VIEW v AS SELECT id FROM t", ""),
            ("CREATE OR ALTER VIEW v AS SELECT id, s FROM t", ""),
            ("SELECT * FROM v", "1, \"x\" | 2, \"y\""),
            (
                "CREATE VIEW bad AS SELECT a + 1 FROM t",
                "!4511 Create View or Function failed because no column name was specified for column 1.",
            ),
            ("CREATE VIEW bad AS SELECT nosuch FROM t", "!207 Invalid column name 'nosuch'."),
            (
                "SELECT 1; CREATE VIEW bad AS SELECT 1 AS a",
                "!111 'CREATE VIEW' must be the first statement in a query batch.",
            ),
            (
                "SELECT name, type_desc FROM sys.objects WHERE type = 'V' ORDER BY name; SELECT TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS ORDER BY 1; SELECT definition FROM sys.sql_modules WHERE object_id = OBJECT_ID('w', 'V')",
                "\"v\", \"VIEW\" | \"w\", \"VIEW\" ; \"v\" | \"w\" ; \"CREATE VIEW dbo.w (k, n) WITH SCHEMABINDING AS SELECT s, COUNT(*) FROM t GROUP BY s\"",
            ),
            (
                "SELECT TABLE_TYPE, COUNT(*) FROM INFORMATION_SCHEMA.TABLES GROUP BY TABLE_TYPE ORDER BY 1",
                "\"BASE TABLE\", 1 | \"VIEW\", 2",
            ),
            (
                "SELECT c.name, c.column_id, TYPE_NAME(c.user_type_id) FROM sys.columns c WHERE c.object_id = OBJECT_ID('w') ORDER BY 2; SELECT COLUMN_NAME, DATA_TYPE, ORDINAL_POSITION FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'v' ORDER BY 3",
                "\"k\", 1, \"varchar\" | \"n\", 2, \"int\" ; \"id\", \"int\", 1 | \"s\", \"varchar\", 2",
            ),
            ("INSERT v VALUES (5, 'z')", "!208 Invalid object name 'v'."),
            (
                "DROP VIEW v, w; DROP VIEW IF EXISTS v; DROP VIEW v",
                "!3701 Cannot drop the view 'v', because it does not exist or you do not have permission.",
            ),
        ],
    );
}

/// What system tables have of them goes with the transaction, and others wait for its end.
#[test]
fn definitions_are_the_transactions_own() {
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    let long = format!("CREATE PROCEDURE long AS SELECT 1 AS n -- {}", "x".repeat(20_000));
    check(
        &mut s,
        &[
            ("CREATE TABLE t (id int PRIMARY KEY, a int)", ""),
            ("CREATE VIEW v AS SELECT * FROM t", ""),
            ("CREATE TRIGGER tr ON t AFTER INSERT AS UPDATE t SET a = 9 FROM t JOIN inserted i ON i.id = t.id", ""),
            (&long, ""),
            (
                "BEGIN TRAN; DROP VIEW v; DROP PROCEDURE long; DROP TRIGGER tr; DISABLE TRIGGER ALL ON DATABASE; ROLLBACK",
                "",
            ),
            ("INSERT t VALUES (1, 1); SELECT * FROM v; EXEC long", "#1 ; #1 ; 1, 9 ; 1"),
            ("BEGIN TRAN; DROP VIEW v", ""),
        ],
    );
    check(
        &mut other,
        &[(
            "SET LOCK_TIMEOUT 10; EXEC('CREATE VIEW v AS SELECT 1 AS one')",
            "!1222 Lock request time out period exceeded.",
        )],
    );
    check(&mut s, &[("COMMIT", "")]);
    check(&mut other, &[("CREATE VIEW v AS SELECT 2 AS two", ""), ("SELECT * FROM v", "2")]);
    check(
        &mut s,
        &[
            ("ALTER VIEW v AS SELECT id FROM t", ""),
            ("DISABLE TRIGGER tr ON t; ENABLE TRIGGER tr ON t; DISABLE TRIGGER ALL ON t", ""),
            ("INSERT t VALUES (2, 2); SELECT a FROM t WHERE id = 2", "#1 ; 2"),
            ("DROP TABLE t; DROP VIEW v; DROP PROCEDURE long", ""),
            ("SELECT name FROM sys.objects WHERE is_ms_shipped = 0", "(none)"),
        ],
    );
}

#[test]
fn procedures() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int PRIMARY KEY, a int)", ""),
            (
                "CREATE PROCEDURE put @id int, @a int = 7, @was int OUTPUT AS\nBEGIN\n  SET NOCOUNT ON\n  SELECT @was = COUNT(*) FROM t\n  INSERT t VALUES (@id, @a)\n  RETURN 3\nEND",
                "",
            ),
            (
                "DECLARE @n int, @r int; EXEC @r = put 1, 5, @n OUTPUT; SELECT @n, @r; EXEC put @id = 2, @was = @n OUTPUT; SELECT @n, a FROM t ORDER BY id",
                "0, 3 ; 1, 5 | 1, 7",
            ),
            ("EXEC put", "!201 Procedure or function 'put' expects parameter '@id', which was not supplied."),
            ("CREATE PROC bad AS SELECT 1 WHERE )", "!102 Incorrect syntax near ')'."),
            ("ALTER PROC put AS SELECT 1 AS one", ""),
            ("EXEC dbo.put", "1"),
            (
                "SELECT name FROM sys.procedures; DROP PROC put; EXEC put",
                "\"put\" ; !2812 Could not find stored procedure 'put'.",
            ),
        ],
    );
}
