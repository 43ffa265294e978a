//! Rows of a round come in pieces, however many there are and however large each is.

use std::sync::Arc;

use logferry_model::ChangeSource;
use logferry_mssql_live::{LiveSource, Mode};

use super::Target;
use crate::{settings, standin};

/// What is asked for at a time.
const ASKED: usize = 64 << 10;
/// What a batch may have: what was asked for, the piece that passes it and the row that passes that.
const BATCH_MAX: usize = ASKED + (256 << 10) + (100 << 10);

/// After a change of table `t`, no batch has much more than was asked for, and together they are right.
async fn check(made: &str, change: &str) {
    let standin = standin(&format!(
        "CREATE TABLE ten (n int NOT NULL PRIMARY KEY); INSERT ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9); {made}"
    ));
    // A chunk that has the whole table.
    let mut source =
        LiveSource::open(settings(&standin), Mode::Log, 64 << 20, Arc::new(|_| true)).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    standin.batch(&format!("USE shop; {change}")).unwrap_or_else(|e| panic!("{change}: {e}"));
    let (mut largest, mut all) = (0, 0);
    loop {
        let batch = source.next(ASKED).await.expect("events").expect("it does not end");
        if batch.events.is_empty() {
            break;
        }
        (largest, all) = (largest.max(batch.rows.byte_len()), all + batch.rows.byte_len());
        target.apply(&batch);
    }
    assert!(all > 4 * BATCH_MAX, "{change}: {all} bytes are too few to show anything");
    assert!(largest <= BATCH_MAX, "{change}: {largest} bytes in a batch");
    target.check(&standin);
}

#[tokio::test]
async fn rows_of_a_round_come_in_pieces() {
    const LARGE: &str = "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varbinary(max))";
    const SMALL: &str = "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v char(200) NOT NULL)";
    // Rows that are looked up by their keys: one statement asks for all of them.
    let rows = "SELECT a.n * 10 + b.n, CONVERT(varbinary(max), REPLICATE(CONVERT(varchar(max), 'x'), 80000 + a.n)) FROM ten a CROSS JOIN ten b";
    check(LARGE, &format!("INSERT t {rows}")).await;
    // A table that is read whole.
    let rows = "SELECT a.n * 1000 + b.n * 100 + c.n * 10 + d.n, 'r' FROM ten a CROSS JOIN ten b CROSS JOIN ten c CROSS JOIN ten d";
    check(SMALL, &format!("TRUNCATE TABLE t; INSERT t {rows}")).await;
}
