//! Tables and capture instances that change while they are read.

use logferry_model::{ChangeSource, Fault};
use logferry_mssql_live::{CdcSettings, LiveSource};
use logferry_mssql_standin::serve::Standin;

use super::{SCAN, Target, begin, captured, open, resume, run};

/// sql-docs #9640, airbyte PR#61390, olake PR#789: a column that is added is neither missing nor NULL in the rows that change
/// before it is captured, nor in those that were there; a second instance takes over.
#[tokio::test]
async fn a_column_that_is_added_is_read_and_then_captured() {
    for enable in [true, false] {
        let standin =
            captured("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY)", &["b"]);
        run(
            &standin,
            "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL, N'logferry_old'; INSERT a VALUES (1, 1), (2, 2), (3, 3)",
        );
        run(&standin, SCAN);
        let settings = CdcSettings { enable };
        let mut source = open(&standin, settings).await.expect("a source");
        let point = source.snapshot().await.expect("a snapshot");
        let mut target = Target { at: Some(point.checkpoint), ..Target::default() };
        target.copy(&source).await;
        run(&standin, "UPDATE a SET v = 10 WHERE id = 1");
        run(&standin, "ALTER TABLE a ADD c varchar(10) NOT NULL DEFAULT 'old' WITH VALUES");
        run(&standin, "INSERT a VALUES (4, 4, 'new'); UPDATE a SET c = 'other' WHERE id = 2; DELETE a WHERE id = 3");
        run(&standin, SCAN);
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
        if !enable {
            // The task only says what is to be typed.
            run(&standin, "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL, N'second'");
        }
        run(
            &standin,
            "UPDATE a SET c = 'third' WHERE id = 4; INSERT b VALUES (1); EXEC sys.sp_cdc_stop_job N'capture'",
        );
        run(&standin, SCAN);
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        run(&standin, "UPDATE a SET c = 'fourth' WHERE id = 4; INSERT a VALUES (5, 5, 'five')");
        run(&standin, SCAN);
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
        assert_eq!(target.said, ["a 3"]);
        // Where it is ours, the old one is gone; and a reader that begins now needs nothing of the table.
        let old = standin.batch("USE shop; IF EXISTS (SELECT 1 FROM cdc.change_tables WHERE capture_instance = N'logferry_old') THROW 50000, 'x', 1");
        assert_eq!(old.is_ok(), enable, "{old:?}");
        run(&standin, "UPDATE a SET c = 'fifth' WHERE id = 1");
        run(&standin, SCAN);
        let mut source = open(&standin, settings).await.expect("a source");
        source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
    }
}

/// Identity columns are `int` or `bigint` in change tables, whatever they are in the table.
#[tokio::test]
async fn identity_columns_are_of_another_type_where_they_are_captured() {
    let types = ["tinyint", "smallint", "int", "bigint", "decimal(20, 0)"];
    let table = |(at, ty): (usize, &&str)| format!("CREATE TABLE t{at} (id {ty} IDENTITY PRIMARY KEY, v int)");
    let tables: Vec<String> = types.iter().enumerate().map(table).collect();
    let standin = captured(&tables.join("; "), &["t0", "t1", "t2", "t3", "t4"]);
    let (mut source, mut target) = begin(&standin).await;
    for at in 0..types.len() {
        run(
            &standin,
            &format!(
                "INSERT t{at} (v) VALUES (1), (2), (3); UPDATE t{at} SET v = 9 WHERE id = 2; DELETE t{at} WHERE id = 1"
            ),
        );
    }
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
}

#[tokio::test]
async fn tables_come_and_go() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)", &["a", "b"]);
    let (mut source, mut target) = begin(&standin).await;
    run(&standin, "CREATE TABLE c (id int PRIMARY KEY, v int); INSERT c VALUES (1, 1), (2, 2)");
    run(
        &standin,
        "EXEC sys.sp_cdc_enable_table N'dbo', N'c', NULL; EXEC sys.sp_cdc_stop_job N'capture'; INSERT c VALUES (3, 3)",
    );
    run(&standin, "INSERT a VALUES (1); DELETE c WHERE id = 2");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    run(&standin, "UPDATE c SET v = 7; INSERT a VALUES (2)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
    assert_eq!(target.tables.len(), 3);
    run(&standin, "DROP TABLE b; INSERT a VALUES (3)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
    assert_eq!(target.said, ["c 2", "dropped b"]);
}

/// The names of the capture instances.
fn instances(standin: &Standin) -> Vec<String> {
    crate::copy::texts(standin, "SELECT capture_instance FROM cdc.change_tables")
}

/// `redpanda-data/connect#4719`: both instances that a table may have are others'. They are read, and none is dropped.
#[tokio::test]
async fn both_slots_of_a_table_are_taken_by_other_tools() {
    let tables =
        "CREATE TABLE a (id int PRIMARY KEY, v int); INSERT a VALUES (1, 1); CREATE TABLE z (id int PRIMARY KEY)";
    let standin = captured(tables, &["z"]);
    for name in ["theirs", "of_others"] {
        run(&standin, &format!("EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL, N'{name}'"));
    }
    run(&standin, SCAN);
    let before = instances(&standin);
    let mut source = open(&standin, CdcSettings { enable: true }).await.expect("a source");
    let point = source.snapshot().await.expect("a snapshot");
    let mut target = Target::at(point.checkpoint);
    target.copy(&source).await;
    run(&standin, "ALTER TABLE a ADD c int NULL; INSERT a VALUES (2, 2, 2); UPDATE a SET c = 1");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
    assert_eq!(instances(&standin), before);
}

/// Debezium DBZ-3992, DBZ-4273: tables had another shape when what is read was captured.
#[tokio::test]
async fn a_schema_change_ahead_of_the_window_breaks_nothing() {
    for enable in [true, false] {
        let standin = captured(
            "CREATE TABLE a (id int PRIMARY KEY, v int, w varchar(20), x int); INSERT a VALUES (1, 1, 'one', 1), (2, 2, 'two', 2)",
            &["a"],
        );
        let mut source = open(&standin, CdcSettings { enable }).await.expect("a source");
        let point = source.snapshot().await.expect("a snapshot");
        let mut target = Target::at(point.checkpoint);
        target.copy(&source).await;
        run(&standin, "INSERT a VALUES (3, 3, 'three', 3); UPDATE a SET w = 'x', x = 9 WHERE id = 1");
        run(&standin, "ALTER TABLE a DROP COLUMN w");
        run(&standin, "UPDATE a SET x = 10 WHERE id = 2; ALTER TABLE a ADD y int NULL");
        run(&standin, "UPDATE a SET y = 5 WHERE id = 3; DELETE a WHERE id = 1");
        run(&standin, SCAN);
        for _ in 0..3 {
            target.drain(&mut source, 1).await.unwrap_or_else(|e| panic!("{e}"));
            run(&standin, &format!("UPDATE a SET x = x + 1; {SCAN}"));
        }
        target.drain(&mut source, 1).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
    }
}

const BAG: &str = "CREATE TABLE bag (n int, s varchar(9)); CREATE TABLE other (id int PRIMARY KEY, v int);
    INSERT bag VALUES (1, 'a'), (1, 'a'), (2, 'b'); INSERT other VALUES (1, 1)";

async fn follow_bag(standin: &Standin, enable: bool, target: &Target) -> Result<LiveSource, Fault> {
    let mut source = open(standin, CdcSettings { enable }).await?;
    source.remember(target.fences.clone());
    resume(&mut source, target.at.expect("a position")).await?;
    Ok(source)
}

/// A column of a table without a key cannot be looked up: the table is read anew, as of one position, once an instance has it.
#[tokio::test]
async fn a_table_without_a_key_gets_a_column() {
    for enable in [true, false] {
        let standin = captured(BAG, &["bag", "other"]);
        let mut source = open(&standin, CdcSettings { enable }).await.expect("a source");
        let point = source.snapshot().await.expect("a snapshot");
        let mut target = Target::at(point.checkpoint);
        target.copy(&source).await;
        source.remember(target.fences.clone());
        run(&standin, "UPDATE TOP (1) bag SET s = 'c' WHERE n = 1; UPDATE other SET v = 2");
        run(&standin, "ALTER TABLE bag ADD c int NOT NULL DEFAULT 7 WITH VALUES");
        run(
            &standin,
            "INSERT bag VALUES (1, 'a', 7), (1, 'a', 8); DELETE TOP (1) bag WHERE n = 2; UPDATE other SET v = 3",
        );
        run(&standin, SCAN);
        if enable {
            target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(instances(&standin).len(), 3, "one is made that has the column");
        } else {
            let fault = source.next(1 << 20).await.map(drop).expect_err("no instance has it");
            let said = format!("{fault} {}", fault.hint.as_deref().unwrap_or_default());
            assert!(said.contains("a column is new that no capture instance has"), "{said}");
            assert!(
                said.contains("EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'bag'"),
                "{said}"
            );
            // Nor is it forgotten by a start.
            let again = follow_bag(&standin, enable, &target).await.map(drop).expect_err("still none");
            assert!(again.to_string().contains("cannot be followed by change data capture any more"), "{again}");
            run(&standin, "EXEC sys.sp_cdc_enable_table N'dbo', N'bag', NULL, N'second'");
        }
        run(&standin, &format!("INSERT bag VALUES (5, 'e', 5); EXEC sys.sp_cdc_stop_job N'capture'; {SCAN}"));
        if !enable {
            source = follow_bag(&standin, enable, &target).await.unwrap_or_else(|e| panic!("{e}"));
        }
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
        run(&standin, &format!("UPDATE TOP (1) bag SET c = 9 WHERE n = 1; INSERT bag VALUES (5, 'e', 5); {SCAN}"));
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
        // As after a crash.
        run(&standin, &format!("DELETE TOP (1) bag WHERE n = 5; {SCAN}"));
        let mut source = follow_bag(&standin, enable, &target).await.unwrap_or_else(|e| panic!("{e}"));
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
    }
}
