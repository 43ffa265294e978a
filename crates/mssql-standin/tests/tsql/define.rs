//! Columns: identity, computed, added, dropped, altered; what a reader of backups sees of it.

use logferry_model::Cell;
use logferry_mssql_backup::Catalog;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_format::render;

use crate::{check, connect, run, server};

#[test]
fn identity_begins_and_goes_on_as_told() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int IDENTITY(10,5) PRIMARY KEY, a int); CREATE TABLE d (id bigint IDENTITY(-1,-2), a int)",
                "",
            ),
            (
                "INSERT t (a) VALUES (1), (2), (3); INSERT d VALUES (1), (2); SELECT id FROM t; SELECT id FROM d",
                "#3 ; #2 ; 10 | 15 | 20 ; -1 | -3",
            ),
            (
                "SET IDENTITY_INSERT t ON; INSERT t (id, a) VALUES (12, 0), (100, 0); SET IDENTITY_INSERT t OFF; INSERT t (a) VALUES (9); SELECT MAX(id) FROM t",
                "#2 ; #1 ; 105",
            ),
            ("SELECT IDENT_SEED('t'), IDENT_INCR('t'), IDENT_CURRENT('d'), IDENT_INCR('d')", "10, 5, -3, -2"),
            (
                "SELECT CAST(seed_value AS int), CAST(increment_value AS int), CAST(last_value AS int) FROM sys.identity_columns WHERE object_id = OBJECT_ID('t')",
                "10, 5, 105",
            ),
            ("TRUNCATE TABLE t; INSERT t (a) VALUES (1); SELECT id FROM t", "#1 ; 10"),
            ("CREATE TABLE bad (id int IDENTITY(1,0))", "!2751 Identity column 'id' contains invalid INCREMENT."),
        ],
    );
}

#[test]
fn computed_columns() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int PRIMARY KEY, a int, b AS a * 2, c varchar(10) DEFAULT 'x', d AS a + 1 PERSISTED)",
                "",
            ),
            (
                "INSERT t (id, a) VALUES (1, 1), (2, 2); INSERT t VALUES (3, 3, 'c'); SELECT * FROM t",
                "#2 ; #1 ; 1, 1, 2, \"x\", 2 | 2, 2, 4, \"x\", 3 | 3, 3, 6, \"c\", 4",
            ),
            (
                "UPDATE t SET a = 7 OUTPUT inserted.*, deleted.b WHERE d = 2; SELECT id, b FROM t WHERE b > 4 ORDER BY b DESC",
                "1, 7, 14, \"x\", 8, 2 ; 1, 14 | 3, 6",
            ),
            (
                "SELECT x.b, y.b FROM t x JOIN t y ON x.b = y.d - 2; SELECT b % 4, COUNT(*) FROM t GROUP BY b % 4 ORDER BY 1; SELECT (SELECT t.b) FROM t",
                "6, 14 ; 0, 1 | 2, 2 ; 14 | 4 | 6",
            ),
            (
                "INSERT t (b) VALUES (1)",
                "!271 The column \"b\" cannot be modified because it is either a computed column or is the result of a UNION operator.",
            ),
            (
                "UPDATE t SET d = 1",
                "!271 The column \"d\" cannot be modified because it is either a computed column or is the result of a UNION operator.",
            ),
            (
                "SELECT name, column_id, is_computed FROM sys.columns WHERE object_id = OBJECT_ID('t') ORDER BY column_id",
                "\"id\", 1, false | \"a\", 2, false | \"b\", 3, true | \"c\", 4, false | \"d\", 5, true",
            ),
            (
                "SELECT name, definition, is_persisted FROM sys.computed_columns",
                "\"b\", \"([a]*(2))\", false | \"d\", \"([a]+(1))\", true",
            ),
            ("ALTER TABLE t ADD e AS UPPER(c) + '!'; SELECT e FROM t WHERE id = 3", "\"C!\""),
            (
                "ALTER TABLE t DROP COLUMN a",
                "!5074 The object 'b' is dependent on column 'a'. ; !4922 ALTER TABLE DROP COLUMN a failed because one or more objects access this column.",
            ),
        ],
    );
}

#[test]
fn definitions_are_kept_as_the_server_words_them() {
    let mut s = connect(&server());
    let cases = [
        ("0", "((0))"),
        ("-1", "((-1))"),
        ("'it''s'", "('it''s')"),
        ("N'x'", "(N'x')"),
        ("GETDATE()", "(getdate())"),
        ("CONVERT(varchar(10), GETDATE(), 112)", "(CONVERT([varchar](10),getdate(),(112)))"),
        ("CAST(1 AS bit)", "(CONVERT([bit],(1)))"),
        ("(1 + 2) * 3", "(((1)+(2))*(3))"),
        ("NULL", "(NULL)"),
    ];
    for (written, kept) in cases {
        let found = run(
            &mut s,
            &format!(
                "CREATE TABLE t (a varchar(50) DEFAULT {written}); SELECT definition FROM sys.default_constraints; DROP TABLE t"
            ),
        );
        assert_eq!(found, format!("\"{kept}\""), "{written}");
    }
    let cases = [
        ("a > 0 AND b IN ('x', 'y')", "([a]>(0) AND ([b]='y' OR [b]='x'))"),
        ("a BETWEEN 1 AND 5 OR b LIKE 'x%'", "([a]>=(1) AND [a]<=(5) OR [b] like 'x%')"),
        ("b IS NOT NULL AND NOT a = 3", "([b] IS NOT NULL AND NOT [a]=(3))"),
        ("LEN(b) <> 0", "(len([b])<>(0))"),
    ];
    for (written, kept) in cases {
        let found = run(
            &mut s,
            &format!(
                "CREATE TABLE t (a int, b varchar(9), CHECK ({written})); SELECT definition FROM sys.check_constraints; DROP TABLE t"
            ),
        );
        assert_eq!(found, format!("\"{kept}\""), "{written}");
    }
}

/// WITH VALUES belongs to its DEFAULT, wherever that stands.
#[test]
fn rows_get_defaults_with_values() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int PRIMARY KEY); INSERT t VALUES (1), (2)", "#2"),
            (
                "ALTER TABLE t ADD a int DEFAULT 1 WITH VALUES, b int NULL DEFAULT 2, c int CONSTRAINT DF_c DEFAULT 3 WITH VALUES CONSTRAINT CK_c CHECK (c > 2), d int DEFAULT (4) WITH VALUES NULL, CONSTRAINT CK_a CHECK (a > 0); SELECT * FROM t WHERE id = 1",
                "1, 1, null, 3, 4",
            ),
            ("INSERT t (id) VALUES (3); SELECT * FROM t WHERE id = 3", "#1 ; 3, 1, 2, 3, 4"),
            (
                "ALTER TABLE t ADD e int DEFAULT 5 WITH VALUES CONSTRAINT UQ_e UNIQUE",
                "!1505 The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name 'dbo.t' and the index name 'UQ_e'. The duplicate key value is (5). ; !1750 Could not create constraint or index. See previous errors.",
            ),
            (
                "ALTER TABLE t ADD f int NULL; ALTER TABLE t ADD CONSTRAINT DF_f DEFAULT 6 FOR f WITH VALUES; SELECT COUNT(f) FROM t",
                "0",
            ),
            (
                "ALTER TABLE t ADD g int NULL, CONSTRAINT DF_g DEFAULT 7 FOR g WITH VALUES, h int NULL, CONSTRAINT DF_h DEFAULT 8 FOR h; SELECT g, h FROM t WHERE id = 1",
                "7, null",
            ),
            ("CREATE TABLE u (a int DEFAULT 1 WITH VALUES)", "!156 Incorrect syntax near the keyword 'WITH'."),
            (
                "ALTER TABLE t SET (LOCK_ESCALATION = TABLE); ALTER TABLE t SET (LOCK_ESCALATION = AUTO)",
                "!40517 The SQL Server stand-in does not support ALTER TABLE ... SET (LOCK_ESCALATION = ...), but LOCK_ESCALATION = TABLE.",
            ),
        ],
    );
}

#[test]
fn columns_come_go_and_change() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            (
                "CREATE TABLE t (id int PRIMARY KEY, a int, c varchar(10) CONSTRAINT DF_c DEFAULT 'x'); INSERT t (id, a) VALUES (1, 10), (2, 20)",
                "#2",
            ),
            (
                "ALTER TABLE t ADD f int NULL, g varchar(5) NOT NULL CONSTRAINT DF_g DEFAULT 'q', h int DEFAULT 3 WITH VALUES; SELECT * FROM t",
                "1, 10, \"x\", null, \"q\", 3 | 2, 20, \"x\", null, \"q\", 3",
            ),
            // What the rows get is what is checked, and an error leaves nothing.
            (
                "ALTER TABLE t ADD j int NULL CONSTRAINT CK_j CHECK (j > 1) CONSTRAINT DF_j DEFAULT 1 WITH VALUES",
                "!547 The ALTER TABLE statement conflicted with the CHECK constraint \"CK_j\". The conflict occurred in database \"shop\", table \"dbo.t\", column 'j'.",
            ),
            ("ALTER TABLE t ADD j int NOT NULL DEFAULT 1 / 0", "!8134 Divide by zero error encountered."),
            (
                "SELECT COUNT(*) FROM sys.columns WHERE name = 'j'; SELECT COUNT(*) FROM sys.default_constraints WHERE name LIKE 'DF%j%'",
                "0 ; 0",
            ),
            (
                "ALTER TABLE t DROP COLUMN g",
                "!5074 The object 'DF_g' is dependent on column 'g'. ; !4922 ALTER TABLE DROP COLUMN g failed because one or more objects access this column.",
            ),
            ("ALTER TABLE t DROP CONSTRAINT DF_g, COLUMN g, f; SELECT * FROM t WHERE id = 2", "2, 20, \"x\", 3"),
            (
                "ALTER TABLE t DROP COLUMN nosuch",
                "!4924 ALTER TABLE DROP COLUMN failed because column 'nosuch' does not exist in table 't'.",
            ),
            ("ALTER TABLE t DROP COLUMN IF EXISTS nosuch", ""),
            ("ALTER TABLE t ALTER COLUMN c varchar(50) NULL; UPDATE t SET c = REPLICATE('y', 30) WHERE id = 1", "#1"),
            (
                "ALTER TABLE t ALTER COLUMN a bigint NOT NULL; UPDATE t SET a = 5000000000 WHERE id = 1; SELECT a, LEN(c) FROM t",
                "#1 ; 5000000000, 30 | 20, 1",
            ),
            (
                "SELECT name, column_id, system_type_id, is_nullable FROM sys.columns WHERE object_id = OBJECT_ID('t')",
                "\"id\", 1, 56, false | \"a\", 2, 127, false | \"c\", 3, 167, true | \"h\", 6, 56, true",
            ),
            (
                "ALTER TABLE t ALTER COLUMN c int",
                "!5074 The object 'DF_c' is dependent on column 'c'. ; !4922 ALTER TABLE ALTER COLUMN c failed because one or more objects access this column.",
            ),
            ("ALTER TABLE t ADD k varchar(5); UPDATE t SET k = 'no'", "#2"),
            (
                "ALTER TABLE t ALTER COLUMN k int",
                "!245 Conversion failed when converting the varchar value 'no' to data type int.",
            ),
            (
                "ALTER TABLE t ADD z int NOT NULL",
                "!4901 ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified, or the column being added is an identity or timestamp column, or alternatively if none of the previous conditions are satisfied the table must be empty to allow addition of this column. Column 'z' cannot be added to non-empty table 't' because it does not satisfy these conditions.",
            ),
            (
                "CREATE TABLE v (id int IDENTITY(3,1), a int, b AS a PERSISTED, n AS a, c int); INSERT v VALUES (1, 2)",
                "#1",
            ),
        ],
    );
    assert_eq!(
        rows_in_backup(&server, &mut s),
        [
            "t: 1, 5000000000, \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\", 3, \"no\"",
            "t: 2, 20, \"x\", 3, \"no\"",
            "v: 3, 1, 1, 2"
        ]
    );
}

#[test]
fn names_change() {
    let caution = "i: Caution: Changing any part of an object name could break scripts and stored procedures.";
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int CONSTRAINT PK PRIMARY KEY, v int CONSTRAINT CK CHECK (v > 0)); CREATE INDEX ix ON t (v); INSERT t VALUES (1, 9)",
                "#1",
            ),
            ("EXEC sp_rename 't.id', 'key', 'COLUMN'", caution),
            ("EXEC sp_rename 'dbo.t.ix', 'iy', 'INDEX'", caution),
            ("EXEC sp_rename 'CK', 'CK2', 'OBJECT'", caution),
            ("EXEC sp_rename 't', 'tt'", caution),
            (
                "SELECT [key], v FROM tt; SELECT name FROM sys.columns; SELECT name FROM sys.indexes ORDER BY name; SELECT name FROM sys.check_constraints",
                "1, 9 ; \"key\" | \"v\" ; \"iy\" | \"PK\" ; \"CK2\"",
            ),
            (
                "EXEC sp_rename 'nosuch', 'x'",
                "!15225 No item by the name of 'nosuch' could be found in the current database 'shop', given that @itemtype was input as '(null)'.",
            ),
        ],
    );
}

#[test]
fn definitions_in_transactions() {
    let begin = "BEGIN TRAN; CREATE TABLE t (a int); CREATE INDEX ix ON t (a); INSERT t VALUES (1);";
    check(
        &mut connect(&server()),
        &[
            (&format!("{begin} ROLLBACK; SELECT OBJECT_ID('t')"), "#1 ; null"),
            (&format!("{begin} COMMIT; SELECT a FROM t"), "#1 ; 1"),
            ("BEGIN TRAN; CREATE TABLE u (a int); DROP TABLE u; ROLLBACK; SELECT @@TRANCOUNT", "0"),
            (
                "BEGIN TRAN; ALTER TABLE t ADD b int; INSERT t VALUES (2, 3); SELECT * FROM t; ROLLBACK",
                "#1 ; 1, null | 2, 3",
            ),
            (
                "SELECT *, @@TRANCOUNT FROM t; ROLLBACK",
                "1, 0 ; !3903 The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ),
            ("BEGIN TRAN; DROP TABLE t; ROLLBACK; SELECT * FROM t", "1"),
            (
                "BEGIN TRAN; INSERT t VALUES (7); TRUNCATE TABLE t; INSERT t VALUES (5); SELECT * FROM t; COMMIT; SELECT * FROM t",
                "#1 ; #1 ; 5 ; 5",
            ),
            (
                "BEGIN TRAN; INSERT t VALUES (6); SAVE TRAN s; ALTER TABLE t ADD b int; EXEC sp_rename 't', 'v'; ROLLBACK TRAN s; SELECT * FROM t; COMMIT; SELECT * FROM t",
                "#1 ; i: Caution: Changing any part of an object name could break scripts and stored procedures. ; 5 | 6 ; 5 | 6",
            ),
            // A statement that fails has done nothing, and the transaction goes on.
            (
                "BEGIN TRAN; ALTER TABLE t ADD b int, CONSTRAINT c CHECK (a < 6); SELECT * FROM t; INSERT t VALUES (8); COMMIT; SELECT * FROM t",
                "!547 The ALTER TABLE statement conflicted with the CHECK constraint \"c\". The conflict occurred in database \"shop\", table \"dbo.t\", column 'a'.",
            ),
            ("SELECT * FROM t; SELECT @@TRANCOUNT", "5 | 6 ; 1"),
            ("COMMIT", ""),
            (
                "SET XACT_ABORT ON; BEGIN TRAN; CREATE TABLE x (a int CONSTRAINT PK_x PRIMARY KEY); ALTER TABLE t ADD c int; INSERT x VALUES (1); INSERT x VALUES (1)",
                "#1 ; !2627 Violation of PRIMARY KEY constraint 'PK_x'. Cannot insert duplicate key in object 'dbo.x'. The duplicate key value is (1).",
            ),
            ("SELECT OBJECT_ID('x'), @@TRANCOUNT; SELECT * FROM t", "null, 0 ; 5 | 6"),
        ],
    );
}

/// What cannot be taken back is refused before anything happens.
#[test]
fn what_a_rollback_could_not_take_back_is_refused() {
    let refused = |what: &str| format!("!226 {what} statement not allowed within multi-statement transaction.");
    check(
        &mut connect(&server()),
        &[
            ("BEGIN TRAN; CREATE DATABASE other", &refused("CREATE DATABASE")),
            ("ALTER DATABASE shop SET READ_COMMITTED_SNAPSHOT OFF", &refused("ALTER DATABASE")),
            ("DROP DATABASE shop", &refused("DROP DATABASE")),
            (
                "BACKUP DATABASE shop TO DISK = 'NUL'",
                "!3021 Cannot perform a backup or restore operation within a transaction.",
            ),
            (
                "EXEC sys.sp_cdc_enable_db",
                "!40517 The SQL Server stand-in does not support sp_cdc_enable_db inside of a transaction, which could not take it back.",
            ),
            (
                "SELECT @@TRANCOUNT, DB_ID('other'), is_cdc_enabled FROM sys.databases WHERE name = 'shop'; ROLLBACK",
                "1, null, false",
            ),
        ],
    );
}

/// Nobody else sees a definition before it is committed: whoever names the table waits.
#[test]
fn others_wait_for_definitions() {
    let server = server();
    let (mut one, mut other) = (connect(&server), connect(&server));
    check(
        &mut one,
        &[(
            "CREATE TABLE t (a int); INSERT t VALUES (1); BEGIN TRAN; ALTER TABLE t ADD b int; CREATE TABLE u (a int); DROP TABLE u",
            "#1",
        )],
    );
    check(
        &mut one,
        &[(
            "CREATE TABLE w (a int); EXEC sp_rename 't', 'v'",
            "i: Caution: Changing any part of an object name could break scripts and stored procedures.",
        )],
    );
    let waits = "!1222 Lock request time out period exceeded.";
    for sql in [
        "SELECT * FROM v",
        "SELECT * FROM t",
        "SELECT * FROM w",
        "INSERT v VALUES (2)",
        "IF EXISTS (SELECT * FROM v) PRINT 'there'",
        "SELECT name FROM sys.tables",
        "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS",
        "DROP TABLE v",
        "SET IDENTITY_INSERT v ON",
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED; SELECT * FROM v",
    ] {
        check(&mut other, &[(&format!("SET LOCK_TIMEOUT 30; {sql}"), waits)]);
    }
    // Others may go on with what is not defined, and define other things.
    check(&mut other, &[("CREATE TABLE mine (a int); INSERT mine VALUES (1); SELECT * FROM mine", "#1 ; 1")]);
    check(&mut one, &[("ROLLBACK", "")]);
    check(&mut other, &[("SELECT * FROM t; SELECT name FROM sys.tables ORDER BY name", "1 ; \"mine\" | \"t\"")]);
}

/// The rows of all tables, as they are read from a full backup.
fn rows_in_backup(
    server: &logferry_mssql_standin::sql::Server,
    s: &mut logferry_mssql_standin::sql::Session,
) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.bak");
    check(s, &[(&format!("BACKUP DATABASE shop TO DISK = N'{}' WITH INIT", path.display()), "")]);
    let known = server.with_storage("shop", |db| db.tables().count());
    let backups = Backups::find(&[path]).expect("the backup can be opened");
    let chain = backups.plan(None, PlanOptions::default()).expect("the backup is a chain");
    let pages = chain.base_pages().expect("pages");
    let catalog = Catalog::read(&&pages).expect("the catalog can be read");
    assert_eq!(known, Some(catalog.tables.len()));
    let mut found = Vec::new();
    for (at, table) in catalog.tables.iter().enumerate() {
        let types: Vec<_> = table.version.columns.iter().map(|c| c.sql_type.clone()).collect();
        read_table(&&pages, &catalog, at, |cells| {
            let mut row = Vec::new();
            for (cell, ty) in cells.iter().zip(&types) {
                let mut text = String::new();
                render::cell(cell.bytes().map_or(Cell::Null, Cell::Bytes), ty, &mut text);
                row.push(text);
            }
            found.push(format!("{}: {}", table.version.name.name, row.join(", ")));
            Ok::<_, logferry_mssql_backup::Error>(())
        })
        .expect("the rows can be read");
    }
    found.sort();
    found
}
