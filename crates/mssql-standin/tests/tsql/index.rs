//! Nonclustered indexes reach the system tables of a backup, where the product's reader finds them.

use logferry_mssql_backup::Catalog;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;

use crate::{check, connect, server};

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
                "!40517 The SQL Server stand-in does not support the option DATA_COMPRESSION.",
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
