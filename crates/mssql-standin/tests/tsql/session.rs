//! Variables, control of flow, transactions, sessions side by side, and what reaches the storage.

use std::time::Duration;

use logferry_mssql_backup::Catalog;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::scan::read_table;

use crate::{check, connect, numbers, run, server};

#[test]
fn control_of_flow() {
    check(
        &mut connect(&server()),
        &[
            (
                "DECLARE @a int = 2, @b varchar(10); SET @a += 3; SELECT @b = 'x' + CAST(@a AS varchar(5)); SELECT @a, @b",
                "5, \"x5\"",
            ),
            (
                "DECLARE @n int = 0 WHILE @n < 10 BEGIN SET @n = @n + 1 IF @n = 3 CONTINUE IF @n = 5 BREAK PRINT @n END SELECT @n",
                "i: 1 ; i: 2 ; i: 4 ; 5",
            ),
            ("IF 1 = 2 SELECT 1 ELSE IF EXISTS (SELECT 1) SELECT 2 ELSE SELECT 3", "2"),
            ("IF 1 = 1 BEGIN SELECT 1; SELECT 2 END", "1 ; 2"),
            ("SELECT 1 RETURN SELECT 2", "1"),
            ("RAISERROR('low %d %s', 10, 1, 5, 'x')", "i: low 5 x"),
            ("RAISERROR('high', 16, 1); SELECT @@ERROR", "!50000 high ; 50000"),
            ("THROW 50001, 'thrown', 1; SELECT 1", "!50001 thrown"),
            (
                "BEGIN TRY SELECT 1/0 END TRY BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_MESSAGE() END CATCH",
                "8134, \"Divide by zero error encountered.\"",
            ),
            ("BEGIN TRY RAISERROR('x', 16, 1) END TRY BEGIN CATCH THROW END CATCH", "!50000 x"),
            ("EXEC sp_executesql N'SELECT @p + 1', N'@p int', @p = 4", "5"),
            ("DECLARE @o int; EXEC sp_executesql N'SET @q = 7', N'@q int OUTPUT', @q = @o OUTPUT; SELECT @o", "7"),
            ("EXEC('SELECT 1 AS a')", "1"),
            (
                "SET NOCOUNT ON; SET ANSI_NULLS, QUOTED_IDENTIFIER ON SET TRANSACTION ISOLATION LEVEL READ COMMITTED SET LOCK_TIMEOUT 100 SELECT @@LOCK_TIMEOUT",
                "100",
            ),
            ("SET NOSUCH ON", "!195 'NOSUCH' is not a recognized SET option."),
            ("USE master; SELECT DB_NAME(); USE shop", "use master ; \"master\" ; use shop"),
        ],
    );
}

#[test]
fn transactions() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    check(
        &mut a,
        &[
            ("CREATE TABLE t (id int PRIMARY KEY, n int)", ""),
            ("COMMIT", "!3902 The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."),
            ("ROLLBACK", "!3903 The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."),
            ("BEGIN TRAN; INSERT t VALUES (1, 1); SELECT @@TRANCOUNT", "#1 ; 1"),
        ],
    );
    check(&mut b, &[("SELECT COUNT(*) FROM t", "0")]);
    check(&mut a, &[("SELECT COUNT(*) FROM t", "1"), ("ROLLBACK; SELECT COUNT(*), @@TRANCOUNT FROM t", "0, 0")]);
    check(
        &mut a,
        &[
            (
                "BEGIN TRAN INSERT t VALUES (1, 1) SAVE TRAN s INSERT t VALUES (2, 2) ROLLBACK TRAN s COMMIT SELECT id FROM t",
                "#1 ; #1 ; 1",
            ),
            ("BEGIN TRAN BEGIN TRAN COMMIT SELECT @@TRANCOUNT COMMIT SELECT @@TRANCOUNT", "1 ; 0"),
        ],
    );
    // A statement that fails in its middle leaves nothing, and the transaction stays.
    let failed = run(&mut a, "BEGIN TRAN INSERT t VALUES (5, 5) INSERT t VALUES (6, 6), (1, 1)");
    assert!(failed.starts_with("#1 ; !2627 Violation of PRIMARY KEY constraint 'PK__t__"), "{failed}");
    check(&mut a, &[("SELECT @@TRANCOUNT COMMIT SELECT id FROM t", "1 ; 1 | 5")]);
    check(
        &mut a,
        &[
            (
                "SET XACT_ABORT ON BEGIN TRAN INSERT t VALUES (8, 8) SELECT 1/0 SELECT 'not reached'",
                "#1 ; !8134 Divide by zero error encountered.",
            ),
            ("SELECT @@TRANCOUNT", "0"),
        ],
    );
}

#[test]
fn writers_wait_and_time_out() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    check(
        &mut a,
        &[(
            "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 1), (2, 2); BEGIN TRAN; UPDATE t SET n = 10 WHERE id = 1",
            "#2 ; #1",
        )],
    );
    check(
        &mut b,
        &[
            ("SELECT n FROM t WHERE id = 1", "1"),
            ("SET LOCK_TIMEOUT 50; UPDATE t SET n = 20 WHERE id = 1", "!1222 Lock request time out period exceeded."),
            ("UPDATE t SET n = 20 WHERE id = 2; SET LOCK_TIMEOUT -1", "#1"),
        ],
    );
    let waiter =
        std::thread::spawn(move || run(&mut b, "UPDATE t SET n = n + 1 WHERE id = 1; SELECT n FROM t WHERE id = 1"));
    std::thread::sleep(Duration::from_millis(50));
    check(&mut a, &[("COMMIT", "")]);
    assert_eq!(waiter.join().expect("it ends"), "#1 ; 11");
}

#[test]
fn a_circle_has_a_victim() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    check(
        &mut a,
        &[(
            "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 1), (2, 2); BEGIN TRAN; UPDATE t SET n = 10 WHERE id = 1",
            "#2 ; #1",
        )],
    );
    check(&mut b, &[("BEGIN TRAN; UPDATE t SET n = 20 WHERE id = 2", "#1")]);
    let waiter = std::thread::spawn(move || run(&mut a, "UPDATE t SET n = 11 WHERE id = 2; COMMIT; SELECT n FROM t"));
    std::thread::sleep(Duration::from_millis(100));
    let victim = run(&mut b, "UPDATE t SET n = 21 WHERE id = 1");
    assert!(victim.starts_with("!1205 Transaction (Process ID 52) was deadlocked"), "{victim}");
    assert_eq!(b.transaction_count(), 0);
    assert_eq!(waiter.join().expect("it ends"), "#1 ; 10 | 11");
}

#[test]
fn snapshots_see_one_moment() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    check(&mut a, &[("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 1), (2, 2), (3, 3)", "#3")]);
    check(&mut b, &[("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT COUNT(*) FROM t", "3")]);
    check(
        &mut a,
        &[("UPDATE t SET n = 9 WHERE id = 1; DELETE t WHERE id = 2; INSERT t VALUES (4, 4)", "#1 ; #1 ; #1")],
    );
    check(
        &mut b,
        &[
            ("SELECT * FROM t", "1, 1 | 2, 2 | 3, 3"),
            ("SELECT n FROM t WHERE id = 1; SELECT n FROM t WHERE id = 4", "1 ; (none)"),
            ("UPDATE t SET n = 30 WHERE id = 3; SELECT n FROM t WHERE id = 3", "#1 ; 30"),
        ],
    );
    let conflict = run(&mut b, "UPDATE t SET n = 0 WHERE id = 1");
    assert!(conflict.starts_with("!3960 Snapshot isolation transaction aborted"), "{conflict}");
    check(&mut b, &[("SELECT @@TRANCOUNT; SELECT * FROM t", "0 ; 1, 9 | 3, 3 | 4, 4")]);
}

#[test]
fn statements_reach_pages_log_and_backup() {
    let server = server();
    let mut s = connect(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.bak");
    let before = server.with_storage("shop", |db| db.end_of_log()).expect("the database");
    check(
        &mut s,
        &[
            (
                "CREATE TABLE gone (id int PRIMARY KEY, s varchar(max)); INSERT gone VALUES (1, REPLICATE(CAST('x' AS varchar(max)), 20000))",
                "#1",
            ),
            (
                "CREATE TABLE kept (id int PRIMARY KEY, s nvarchar(50)); INSERT kept VALUES (1, N'one'), (2, N'two'), (3, N'three')",
                "#3",
            ),
            ("CREATE TABLE heap (a int, b varchar(10)); INSERT heap VALUES (1, 'a'), (2, 'b')", "#2"),
            (
                "UPDATE kept SET s = N'TWO' WHERE id = 2; DELETE kept WHERE id = 3; DELETE heap WHERE a = 1",
                "#1 ; #1 ; #1",
            ),
            ("BEGIN TRAN INSERT kept VALUES (7, N'not') ROLLBACK", "#1"),
            ("DROP TABLE gone", ""),
            (&format!("BACKUP DATABASE shop TO DISK = N'{}' WITH INIT", path.display()), ""),
        ],
    );
    let after = server.with_storage("shop", |db| db.end_of_log()).expect("the database");
    assert!(after > before, "the log grew");
    let backups = Backups::find(&[path]).expect("the backup can be opened");
    let chain = backups.plan(None, PlanOptions::default()).expect("the backup is a chain");
    chain.verify().expect("the backup is sound");
    let pages = chain.base_pages().expect("pages");
    let catalog = Catalog::read(&&pages).expect("the catalog can be read");
    let mut found = Vec::new();
    for (at, table) in catalog.tables.iter().enumerate() {
        let counted = read_table(&&pages, &catalog, at, |cells| {
            found.push(format!(
                "{} {:?}",
                table.version.name,
                cells.first().and_then(|c| c.bytes()).map(<[u8]>::to_vec)
            ));
            Ok::<_, logferry_mssql_backup::Error>(())
        })
        .expect("the rows can be read");
        assert_eq!(counted.read, counted.recorded);
    }
    found.sort();
    assert_eq!(found, ["dbo.heap Some([2, 0, 0, 0])", "dbo.kept Some([1, 0, 0, 0])", "dbo.kept Some([2, 0, 0, 0])"]);
}

/// Readers of these levels lock tables, whether READ COMMITTED reads versions or not.
#[test]
fn what_was_read_stays_in_repeatable_read_and_serializable() {
    const TIMEOUT: &str = "!1222 Lock request time out period exceeded.";
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let server = server();
        let (mut a, mut b) = (connect(&server), connect(&server));
        let set = format!("SET TRANSACTION ISOLATION LEVEL {level}");
        check(
            &mut a,
            &[
                (
                    "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT t VALUES (1, 10), (2, 20); CREATE TABLE u (n int)",
                    "#2",
                ),
                (&format!("{set}; BEGIN TRAN; SELECT v FROM t WHERE id = 1"), "10"),
            ],
        );
        check(
            &mut b,
            &[
                ("SET LOCK_TIMEOUT 20; UPDATE t SET v = 11 WHERE id = 1", TIMEOUT),
                ("INSERT t VALUES (3, 30)", TIMEOUT),
                ("ALTER TABLE t ADD w int", TIMEOUT),
                ("SELECT v FROM t WHERE id = 1", "10"),
            ],
        );
        check(&mut a, &[("UPDATE t SET v = 15 WHERE id = 1; SELECT COUNT(*) FROM t; COMMIT", "#1 ; 2")]);
        check(&mut b, &[("BEGIN TRAN; UPDATE t SET v = 12 WHERE id = 2", "#1")]);
        check(
            &mut a,
            &[
                ("SET LOCK_TIMEOUT 20; SELECT v FROM t WHERE id = 1", TIMEOUT),
                ("IF EXISTS (SELECT 1 FROM t) PRINT 'there'", TIMEOUT),
                ("INSERT u SELECT id FROM t", TIMEOUT),
                ("SELECT v FROM t WITH (NOLOCK) WHERE id = 1", "15"),
            ],
        );
        check(&mut b, &[("COMMIT", "")]);
        for reads in [
            "DECLARE @n int = (SELECT MAX(v) FROM t)",
            "INSERT u SELECT id FROM t",
            "UPDATE t SET v = 0 WHERE id = 77",
            "DELETE t WHERE id = 77",
            "MERGE u USING t ON t.id = u.n WHEN MATCHED THEN UPDATE SET n = 0;",
        ] {
            run(&mut a, &format!("BEGIN TRAN; {reads}"));
            check(&mut b, &[("INSERT t VALUES (4, 40)", TIMEOUT)]);
            run(&mut a, "ROLLBACK");
        }
        check(&mut b, &[("INSERT t VALUES (4, 40)", "#1")]);
    }
}

/// A table is read so by its hint, whatever the level.
#[test]
fn what_was_read_with_a_hint_stays() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    run(&mut a, "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int)");
    run(&mut b, "SET LOCK_TIMEOUT 20");
    for hint in ["HOLDLOCK", "SERIALIZABLE", "REPEATABLEREAD", "TABLOCK, HOLDLOCK", "ROWLOCK HOLDLOCK"] {
        run(&mut a, &format!("BEGIN TRAN; SELECT COUNT(*) FROM t WITH ({hint}) CROSS JOIN u"));
        check(
            &mut b,
            &[("INSERT t VALUES (1)", "!1222 Lock request time out period exceeded."), ("INSERT u VALUES (1)", "#1")],
        );
        run(&mut a, "COMMIT");
        check(&mut b, &[("INSERT t VALUES (1); DELETE t", "#1 ; #1")]);
    }
}

/// What another session may do while one has locked a table by a hint.
#[test]
fn hints_lock_tables() {
    const LATE: &str = "!1222 Lock request time out period exceeded.";
    const OTHERS: [&str; 6] = [
        "SELECT n FROM t WHERE id = 1",
        "SELECT n FROM t WITH (HOLDLOCK) WHERE id = 1",
        "SELECT n FROM t WITH (UPDLOCK) WHERE id = 1",
        "SELECT n FROM t WITH (XLOCK) WHERE id = 1",
        "UPDATE t SET n = 1 WHERE id = 1",
        "SELECT n FROM t WITH (NOLOCK) WHERE id = 1",
    ];
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT t VALUES (1, 1), (2, 2)");
    run(&mut b, "SET LOCK_TIMEOUT 20");
    // Whether others read the versions that were committed, the statement, and which of the others wait then.
    let cases = [
        ("OFF", "SELECT n FROM t WITH (ROWLOCK)", "......"),
        ("OFF", "SELECT n FROM t WITH (TABLOCK)", "......"),
        ("OFF", "SELECT n FROM t WITH (HOLDLOCK)", "...!!."),
        ("OFF", "SELECT n FROM t WITH (UPDLOCK)", "..!!!."),
        ("OFF", "SELECT n FROM t WITH (UPDLOCK, HOLDLOCK, ROWLOCK)", "..!!!."),
        ("OFF", "SELECT n FROM t WITH (XLOCK)", "!!!!!."),
        ("OFF", "SELECT n FROM t (TABLOCKX)", "!!!!!."),
        ("OFF", "UPDATE t WITH (TABLOCK) SET n = 2 WHERE id = 2", "!!!!!."),
        ("OFF", "DELETE t WITH (UPDLOCK) WHERE id = 7", "..!!!."),
        ("OFF", "INSERT t WITH (TABLOCKX) SELECT 3, 3 WHERE 1 = 0", "!!!!!."),
        (
            "OFF",
            "MERGE t WITH (HOLDLOCK) USING (SELECT 7 AS id) AS s ON t.id = s.id WHEN MATCHED THEN DELETE;",
            "...!!.",
        ),
        ("ON", "SELECT n FROM t WITH (UPDLOCK)", "..!!!."),
        ("ON", "SELECT n FROM t WITH (XLOCK)", ".!!!!."),
    ];
    let mut wrong = String::new();
    for (versions, sql, expect) in cases {
        run(&mut a, &format!("ALTER DATABASE shop SET READ_COMMITTED_SNAPSHOT {versions}"));
        run(&mut a, &format!("BEGIN TRAN; {sql}"));
        let found: String = OTHERS.iter().map(|other| if run(&mut b, other) == LATE { '!' } else { '.' }).collect();
        if found != expect {
            wrong += &format!("{versions} {sql}: expected {expect}, found {found}\n");
        }
        run(&mut a, "ROLLBACK");
        assert!(OTHERS.iter().all(|other| run(&mut b, other) != LATE), "{sql}: nothing is locked behind it");
    }
    assert!(wrong.is_empty(), "{wrong}");
    run(&mut a, "BEGIN TRAN; SELECT n FROM t WITH (UPDLOCK)");
    let locks = "SELECT request_mode, OBJECT_NAME(resource_associated_entity_id) FROM sys.dm_tran_locks WHERE resource_type = 'OBJECT'";
    check(&mut b, &[(locks, "\"U\", \"t\"")]);
    let refused = |hint: &str| format!("!40517 The SQL Server stand-in does not support the hint {hint}.");
    check(
        &mut b,
        &[
            ("SELECT n FROM t WITH (READPAST)", &refused("READPAST")),
            ("SELECT n FROM t WITH (UPDLOCK, NOWAIT)", &refused("NOWAIT")),
            ("SELECT n FROM t WITH (SNAPSHOT)", &refused("SNAPSHOT")),
            (
                "DELETE t WITH (NOLOCK)",
                "!1065 The NOLOCK and READUNCOMMITTED lock hints are not allowed for target tables of INSERT, UPDATE, DELETE or MERGE statements.",
            ),
        ],
    );
}

/// Two that have read the same to change it wait for one another at once, not when both have read.
#[test]
fn who_reads_to_change_is_alone() {
    let server = server();
    run(&mut connect(&server), "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT t VALUES (1, 0)");
    let sessions: Vec<_> = (0..4).map(|_| connect(&server)).collect();
    let change = "DECLARE @n int = 0, @v int; WHILE @n < 25 BEGIN BEGIN TRAN; SELECT @v = v FROM t WITH (UPDLOCK) WHERE id = 1; UPDATE t SET v = @v + 1 WHERE id = 1; COMMIT; SET @n += 1 END";
    let all: Vec<_> = sessions.into_iter().map(|mut s| std::thread::spawn(move || run(&mut s, change))).collect();
    let said: Vec<String> = all.into_iter().map(|t| t.join().expect("no panic")).collect();
    assert!(said.iter().all(|s| !s.contains('!')), "{said:?}");
    check(&mut connect(&server), &[("SELECT v FROM t", "100")]);
}

/// A key that is there twice ends the statement and not the batch, and says so.
#[test]
fn a_duplicate_key_terminates_the_statement() {
    let mut s = connect(&server());
    run(&mut s, "CREATE TABLE t (a int NOT NULL, b varchar(9)); INSERT t VALUES (1, 'x'), (1, 'X')");
    let duplicate = "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name 'dbo.t' and the index name 'ux'. The duplicate key value is (1, X).";
    check(&mut s, &[("CREATE UNIQUE INDEX ux ON t (a, b); SELECT COUNT(*) FROM t", &format!("!1505 {duplicate} ; 2"))]);
    assert_eq!(numbers(&mut s, "CREATE UNIQUE INDEX ux ON t (a)"), [1505, 3621]);
    assert_eq!(numbers(&mut s, "ALTER TABLE t ADD CONSTRAINT pk PRIMARY KEY (a)"), [1505, 1750, 3621]);
}

/// Two that have read the same and want to change it wait for each other.
#[test]
fn one_of_two_serializable_transactions_is_the_deadlocks_victim() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT t VALUES (1, 0)");
    let read = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRAN; SELECT v FROM t";
    check(&mut a, &[(read, "0")]);
    check(&mut b, &[(read, "0")]);
    let change = "UPDATE t SET v += 1; IF @@TRANCOUNT > 0 COMMIT";
    let first = std::thread::spawn(move || run(&mut a, change));
    let second = run(&mut b, change);
    let said = [first.join().expect("no panic"), second];
    let victims = said.iter().filter(|s| s.starts_with("!1205 ")).count();
    assert!(victims == 1 && said.contains(&"#1".to_owned()), "{said:?}");
    check(&mut connect(&server), &[("SELECT v FROM t", "1")]);
}

/// What servers send in pairs; the second one is what CATCH and `@@ERROR` know.
#[test]
fn errors_come_in_pairs() {
    const CREATED: &str = "!1750 Could not create constraint or index. See previous errors.";
    let mut s = connect(&server());
    check(
        &mut s,
        &[
            ("CREATE TABLE t (id int NOT NULL CONSTRAINT pk PRIMARY KEY, n int NULL, m int NULL)", ""),
            (
                "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (n) REFERENCES nosuch (id)",
                &format!("!1767 Foreign key references invalid table 'nosuch'. ; {CREATED}"),
            ),
            (
                "ALTER TABLE t ADD CONSTRAINT pk UNIQUE (n)",
                &format!("!2714 There is already an object named 'pk' in the database. ; {CREATED}"),
            ),
            (
                "CREATE TABLE u (id int NULL PRIMARY KEY)",
                &format!("!8111 Cannot define PRIMARY KEY constraint on nullable column in table 'u'. ; {CREATED}"),
            ),
            (
                "ALTER TABLE t DROP CONSTRAINT nosuch",
                "!3728 'nosuch' is not a constraint. ; !3727 Could not drop constraint. See previous errors.",
            ),
            (
                "BEGIN TRY ALTER TABLE t DROP CONSTRAINT nosuch END TRY BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_MESSAGE() END CATCH",
                "3727, \"Could not drop constraint. See previous errors.\"",
            ),
            (
                "BEGIN TRY EXEC('ALTER TABLE t DROP COLUMN id') END TRY BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_STATE() END CATCH",
                "4922, 9",
            ),
        ],
    );
}
