//! What becomes of whole tables: they come and go, are emptied, switched and read once more.

use logferry_model::ChangeSource;

use super::{Row, TABLES, Target, check, follow};
use crate::standin;

#[test]
fn a_truncated_table_is_read_anew() {
    check(&["TRUNCATE TABLE a; INSERT a VALUES (1, 2, 'after', '')", "INSERT a VALUES (2, 3, 'later', '')"]);
}

#[test]
fn tables_that_come_and_go_are_told() {
    let target = check(&[
        "CREATE TABLE d (id bigint NOT NULL PRIMARY KEY, v int); INSERT d VALUES (1, 1), (2, 2)",
        "INSERT d VALUES (3, 3); UPDATE d SET v = v + 1",
        "DROP TABLE c",
    ]);
    assert_eq!(target.said, ["table dbo.d 1", "dropped dbo.c"]);
}

/// The log has rows of a table that is not there any more when it is read.
#[tokio::test]
async fn a_table_that_went_while_nobody_looked_is_no_riddle() {
    let standin = standin(TABLES);
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    let at = source.snapshot().await.expect("a snapshot").checkpoint;
    target.copy(&source).await;
    drop(source);
    let batch =
        "USE shop; UPDATE c SET v = 7; UPDATE a SET n = 7 WHERE id < 5; DROP TABLE c; UPDATE a SET n = 8 WHERE id = 9";
    standin.batch(batch).expect("it is done");
    let mut source = follow(&standin).await.expect("a source");
    source.seek(at).await.expect("the position is there");
    target.drain(&mut source, 1 << 20).await.expect("the log is read");
    target.tables.retain(|id, _| source.tables().iter().any(|t| t.id == *id));
    target.check(&standin);
}

/// Rows that changed, and then all went, before anybody looked: what is there by then counts.
#[tokio::test]
async fn a_table_that_was_truncated_while_nobody_looked_is_no_riddle() {
    let standin = standin(
        "CREATE TABLE a (id int PRIMARY KEY, n int NOT NULL UNIQUE, s varchar(max)); CREATE INDEX i ON a (n);
         INSERT a VALUES (1, 1, 'x'), (2, 2, 'y')",
    );
    let mut source = follow(&standin).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    let mut target = Target::default();
    target.copy(&source).await;
    standin.batch("USE shop; UPDATE a SET n = 3 WHERE id = 1").expect("written");
    target.drain(&mut source, 1 << 20).await.expect("changes");
    let at = target.at.expect("a position");
    drop(source);
    standin
        .batch(
            "USE shop; UPDATE a SET n = 5, s = REPLICATE(CAST('z' AS varchar(max)), 20000) WHERE id = 2; DELETE a WHERE id = 1;
             TRUNCATE TABLE a; INSERT a VALUES (2, 9, 'after')",
        )
        .expect("written");
    let mut source = follow(&standin).await.expect("a source");
    source.seek(at).await.expect("it goes on");
    target.drain(&mut source, 1 << 20).await.expect("changes");
    target.check(&standin);
}

/// DMS, Qlik and change data capture itself: rows that a SWITCH moves to another table are in no record, and both tables are read anew. How
/// a server writes it down is not known; both ways that there are.
#[tokio::test]
async fn a_partition_switch_is_not_passed_over() {
    use logferry_mssql_standin_storage::SwitchBy;
    for by in [SwitchBy::Rowsets, SwitchBy::Units] {
        for running in [true, false] {
            let standin = standin(
                "CREATE TABLE sales (id int NOT NULL PRIMARY KEY, v int); CREATE TABLE archive (id int NOT NULL PRIMARY KEY, v int);
                 INSERT sales VALUES (1, 1), (2, 2), (3, 3)",
            );
            let mut source = follow(&standin).await.expect("a source");
            let mut target = Target::default();
            let at = source.snapshot().await.expect("a snapshot").checkpoint;
            target.copy(&source).await;
            standin.batch("USE shop; UPDATE sales SET v = 7 WHERE id = 2").expect("done");
            let done = standin.sql().with_storage("shop", |storage| {
                let id = |name: &str| storage.tables().find(|(_, table)| table.name == name).expect("a table").0;
                let (from, to) = (id("sales"), id("archive"));
                storage.switch_table(from, to, by)
            });
            done.expect("a database").expect("they are switched");
            standin.batch("USE shop; INSERT sales VALUES (4, 4); UPDATE archive SET v = 8 WHERE id = 3").expect("done");
            if !running {
                source = follow(&standin).await.expect("a source");
                source.seek(target.at.unwrap_or(at)).await.expect("the position is there");
            }
            target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{by:?}: {e}"));
            target.check(&standin);
        }
    }
}

/// One table is read whole once more, while others go on.
#[tokio::test]
async fn a_table_is_reloaded_while_the_others_are_followed() {
    let standin = standin(TABLES);
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    let at = source.snapshot().await.expect("a snapshot").checkpoint;
    target.copy(&source).await;
    let id = source.tables().iter().find(|t| t.name.name == "a").expect("a table").id;
    for written in [false, true] {
        // Somebody has spoiled it.
        let rows = target.tables.get_mut(&id).expect("its rows");
        let lost: Vec<Row> = rows.keys().take(50).cloned().collect();
        rows.retain(|key, _| !lost.contains(key));
        if written {
            standin.batch("USE shop; UPDATE a SET n = -n; DELETE b WHERE y = 1").expect("done");
        }
        let mut source = follow(&standin).await.expect("a source");
        source.seek(target.at.unwrap_or(at)).await.expect("the position is there");
        source.reload(&[id]).expect("it can");
        target.drain(&mut source, 10_000).await.expect("the rows");
        target.check(&standin);
    }
}
