//! Checks and foreign keys that are switched off and on, and what the catalog says of them; options of definitions that it shows.

use crate::{check, connect, run, server};

/// disabled, not trusted, not for replication.
const STATE: &str = "SELECT name, is_disabled, is_not_trusted, is_not_for_replication FROM sys.check_constraints UNION ALL SELECT name, is_disabled, is_not_trusted, is_not_for_replication FROM sys.foreign_keys ORDER BY name";

fn conflict(statement: &str, kind: &str, name: &str, table: &str, column: &str) -> String {
    let column = if column.is_empty() { String::new() } else { format!(", column '{column}'") };
    format!(
        "!547 The {statement} statement conflicted with the {kind} constraint \"{name}\". The conflict occurred in database \"shop\", table \"dbo.{table}\"{column}."
    )
}

#[test]
fn what_rows_that_are_there_do_not_keep() {
    let check_c = conflict("ALTER TABLE", "CHECK", "c", "t", "a");
    let foreign = conflict("ALTER TABLE", "FOREIGN KEY", "f", "p", "id");
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (a int, b int); INSERT t VALUES (-1, 7)", "#1"),
            ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", &check_c),
            ("ALTER TABLE t WITH CHECK ADD CONSTRAINT c CHECK (a > 0)", &check_c),
            ("ALTER TABLE t WITH NOCHECK ADD CONSTRAINT c CHECK (a > 0)", ""),
            ("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES p", &foreign),
            ("ALTER TABLE t WITH NOCHECK ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES p", ""),
            // Rows that come are held to them; those that others do not keep do not matter.
            ("ALTER TABLE t ADD CONSTRAINT d CHECK (b > 0 AND a < 5)", ""),
            ("INSERT t VALUES (-2, NULL)", &conflict("INSERT", "CHECK", "c", "t", "a")),
            ("INSERT t VALUES (6, 1)", &conflict("INSERT", "CHECK", "d", "t", "")),
            ("INSERT t VALUES (1, 8)", &conflict("INSERT", "FOREIGN KEY", "f", "p", "id")),
            ("UPDATE t SET b = 7", &conflict("UPDATE", "CHECK", "c", "t", "a")),
            (STATE, "\"c\", false, true, false | \"d\", false, false, false | \"f\", false, true, false"),
            // A key is a key.
            (
                "INSERT t VALUES (1, NULL), (1, NULL); ALTER TABLE t WITH NOCHECK ADD CONSTRAINT u UNIQUE (a)",
                "#2 ; !1505 The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name 'dbo.t' and the index name 'u'. The duplicate key value is (1). ; !1750 Could not create constraint or index. See previous errors.",
            ),
            ("ALTER TABLE t WITH CHECK CHECK CONSTRAINT c", &check_c),
            ("ALTER TABLE t WITH CHECK CHECK CONSTRAINT ALL", &check_c),
            (STATE, "\"c\", false, true, false | \"d\", false, false, false | \"f\", false, true, false"),
            ("DELETE t WHERE a < 0; ALTER TABLE t WITH CHECK CHECK CONSTRAINT ALL", "#1"),
            (STATE, "\"c\", false, false, false | \"d\", false, false, false | \"f\", false, false, false"),
        ],
    );
}

#[test]
fn switched_off_and_on() {
    let mut s = connect(&server());
    check(
        &mut s,
        &[
            (
                "CREATE TABLE p (id int CONSTRAINT PK_p PRIMARY KEY); INSERT p VALUES (1); CREATE TABLE t (a int CONSTRAINT DF_a DEFAULT 1 CONSTRAINT c CHECK (a > 0), b int CONSTRAINT f REFERENCES p, CONSTRAINT d CHECK (a < 9))",
                "#1",
            ),
            ("ALTER TABLE t NOCHECK CONSTRAINT c, f", ""),
            (STATE, "\"c\", true, true, false | \"d\", false, false, false | \"f\", true, true, false"),
            ("INSERT t VALUES (-1, 7); DELETE p; INSERT p VALUES (1)", "#1 ; #1 ; #1"),
            ("INSERT t VALUES (9, 7)", &conflict("INSERT", "CHECK", "d", "t", "a")),
            ("ALTER TABLE t CHECK CONSTRAINT c", ""),
            (STATE, "\"c\", false, true, false | \"d\", false, false, false | \"f\", true, true, false"),
            ("INSERT t VALUES (-1, 7)", &conflict("INSERT", "CHECK", "c", "t", "a")),
            ("ALTER TABLE t WITH NOCHECK CHECK CONSTRAINT ALL", ""),
            (STATE, "\"c\", false, true, false | \"d\", false, false, false | \"f\", false, true, false"),
            ("DELETE p", "#1"),
            ("ALTER TABLE t WITH CHECK CHECK CONSTRAINT f", &conflict("ALTER TABLE", "FOREIGN KEY", "f", "p", "id")),
            ("ALTER TABLE t NOCHECK CONSTRAINT ALL", ""),
            (STATE, "\"c\", true, true, false | \"d\", true, true, false | \"f\", true, true, false"),
            (
                "TRUNCATE TABLE p",
                "!4712 Cannot truncate table 'p' because it is being referenced by a FOREIGN KEY constraint.",
            ),
            // Taken back with its transaction.
            (
                "BEGIN TRAN; ALTER TABLE t CHECK CONSTRAINT ALL; SAVE TRAN s; DELETE t; ALTER TABLE t WITH CHECK CHECK CONSTRAINT ALL; ROLLBACK TRAN s; SELECT COUNT(*) FROM t",
                "#1 ; 1",
            ),
            (STATE, "\"c\", false, true, false | \"d\", false, true, false | \"f\", false, true, false"),
            ("ROLLBACK", ""),
            (STATE, "\"c\", true, true, false | \"d\", true, true, false | \"f\", true, true, false"),
            ("ALTER TABLE t NOCHECK CONSTRAINT nosuch", "!4917 Constraint 'nosuch' does not exist."),
            ("ALTER TABLE t CHECK CONSTRAINT c, nosuch", "!4917 Constraint 'nosuch' does not exist."),
            (
                "ALTER TABLE t NOCHECK CONSTRAINT DF_a",
                "!11415 Object 'DF_a' cannot be disabled or enabled. This action applies only to foreign key and check constraints.",
            ),
            (
                "ALTER TABLE p NOCHECK CONSTRAINT PK_p",
                "!11415 Object 'PK_p' cannot be disabled or enabled. This action applies only to foreign key and check constraints.",
            ),
            (STATE, "\"c\", true, true, false | \"d\", true, true, false | \"f\", true, true, false"),
        ],
    );
}

#[test]
fn what_replication_need_not_keep_is_never_trusted() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int IDENTITY(1,1) NOT FOR REPLICATION, a int CONSTRAINT c CHECK NOT FOR REPLICATION (a > 0), b int CONSTRAINT f REFERENCES p NOT FOR REPLICATION, g uniqueidentifier ROWGUIDCOL)",
                "",
            ),
            (STATE, "\"c\", false, true, true | \"f\", false, true, true"),
            ("ALTER TABLE t WITH CHECK CHECK CONSTRAINT ALL", ""),
            (STATE, "\"c\", false, true, true | \"f\", false, true, true"),
            ("INSERT t (a) VALUES (0)", &conflict("INSERT", "CHECK", "c", "t", "a")),
            ("SELECT name, is_not_for_replication FROM sys.identity_columns", "\"id\", true"),
            (
                "SELECT name, is_rowguidcol FROM sys.columns WHERE object_id = OBJECT_ID('t') AND column_id > 2",
                "\"b\", false | \"g\", true",
            ),
            (
                "ALTER TABLE t DROP CONSTRAINT c, COLUMN a; SELECT name FROM sys.columns WHERE is_rowguidcol = 1",
                "\"g\"",
            ),
            ("ALTER TABLE t ADD h uniqueidentifier ROWGUIDCOL", "!8196 Duplicate column specified as ROWGUIDCOL."),
        ],
    );
}

#[test]
fn columns_of_constraints() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE p (id int PRIMARY KEY, k int CONSTRAINT u UNIQUE); CREATE TABLE t (x int, a int CONSTRAINT c CHECK (a > 0), CONSTRAINT d CHECK (a > 0 AND x > 0), b int CONSTRAINT f REFERENCES p (k))",
                "",
            ),
            ("SELECT name, parent_column_id FROM sys.check_constraints ORDER BY name", "\"c\", 2 | \"d\", 0"),
            (
                "SELECT f.key_index_id, i.name FROM sys.foreign_keys f JOIN sys.indexes i ON i.object_id = f.referenced_object_id AND i.index_id = f.key_index_id",
                "2, \"u\"",
            ),
            (
                "CREATE TABLE w (a int CHECK (b > 0), b int)",
                "!8141 Column CHECK constraint for column 'a' references another column, table 'w'.",
            ),
            // A column whose check rows do not keep does not come.
            ("INSERT t (x, a) VALUES (1, 1)", "#1"),
            (
                "ALTER TABLE t ADD n int NOT NULL CONSTRAINT DF_n DEFAULT 0 CONSTRAINT e CHECK (n > 0)",
                &conflict("ALTER TABLE", "CHECK", "e", "t", "n"),
            ),
            ("SELECT * FROM t; SELECT OBJECT_ID('e'), OBJECT_ID('DF_n')", "1, 1, null ; null, null"),
            (
                "ALTER TABLE t WITH NOCHECK ADD n int NOT NULL CONSTRAINT DF_n DEFAULT 0 CONSTRAINT e CHECK (n > 0); SELECT n FROM t",
                "0",
            ),
        ],
    );
}

#[test]
fn modules_say_how_they_were_made() {
    let mut s = connect(&server());
    for sql in [
        "CREATE TABLE t (a int)",
        "CREATE VIEW v WITH SCHEMABINDING AS SELECT a FROM dbo.t WITH CHECK OPTION",
        "CREATE VIEW w AS SELECT a FROM t",
        "CREATE PROCEDURE p WITH RECOMPILE, EXECUTE AS OWNER AS SELECT 1",
        "CREATE TRIGGER r ON t WITH EXECUTE AS SELF AFTER INSERT NOT FOR REPLICATION AS PRINT 'x'",
    ] {
        assert_eq!(run(&mut s, sql), "", "{sql}");
    }
    check(
        &mut s,
        &[
            ("SELECT name, with_check_option FROM sys.views", "\"v\", true | \"w\", false"),
            (
                "SELECT OBJECT_NAME(object_id), is_schema_bound, is_recompiled, execute_as_principal_id FROM sys.sql_modules",
                "\"v\", true, false, null | \"w\", false, false, null | \"p\", false, true, -2 | \"r\", false, false, 1",
            ),
            ("SELECT name, is_not_for_replication FROM sys.triggers", "\"r\", true"),
        ],
    );
}

/// What is not there fails when its turn comes, not before.
#[test]
fn filegroups_and_owners() {
    let nobody = "Cannot find the user 'nobody', because it does not exist or you do not have permission.";
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (a int PRIMARY KEY ON [PRIMARY], b text) ON [default] TEXTIMAGE_ON \"PRIMARY\"; CREATE INDEX i ON t (a) ON [primary]",
                "",
            ),
            (
                "PRINT 'before'; CREATE TABLE u (a int) ON archive",
                "i: before ; !1921 Invalid filegroup 'archive' specified.",
            ),
            ("CREATE TABLE u (a int UNIQUE ON archive)", "!1921 Invalid filegroup 'archive' specified."),
            ("CREATE TABLE u (a text) TEXTIMAGE_ON archive", "!1921 Invalid filegroup 'archive' specified."),
            ("CREATE INDEX j ON t (a) ON archive", "!1921 Invalid filegroup 'archive' specified."),
            ("SELECT OBJECT_ID('u')", "null"),
            ("CREATE SCHEMA s AUTHORIZATION dbo", ""),
            ("CREATE SCHEMA r AUTHORIZATION nobody", &format!("!15151 {nobody}")),
            ("CREATE SCHEMA AUTHORIZATION nobody", &format!("!15151 {nobody}")),
            (
                "CREATE SCHEMA r AUTHORIZATION guest",
                "!40517 The SQL Server stand-in does not support schemas of others than dbo.",
            ),
            (
                "CREATE SCHEMA r CREATE TABLE u (a int)",
                "!40517 The SQL Server stand-in does not support CREATE SCHEMA with what is in it.",
            ),
            ("SELECT name, principal_id FROM sys.schemas WHERE name IN ('r', 's', 'nobody')", "\"s\", 1"),
            ("CREATE DATABASE d COLLATE SQL_Latin1_General_CP1_CI_AS", ""),
            (
                "CREATE DATABASE e COLLATE Latin1_General_CS_AS",
                "!40517 The SQL Server stand-in does not support databases of the collation Latin1_General_CS_AS.",
            ),
        ],
    );
}
