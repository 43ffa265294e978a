//! Values of unique keys that change hands in a transaction of several batches.

use logferry_pg_apply::ApplyMode;

use crate::support::{Streaming, run, streaming_as};

const TABLE: &str = "t(id:int key, v, w unique)";

/// A unique index that the target has besides, and a table of its own.
const OWN: &str = "CREATE UNIQUE INDEX own ON s.t (v) WHERE v <> 'free'; CREATE TABLE s.child (w text)";

/// What the target has of unique keys.
async fn keys(s: &Streaming) -> String {
    let sql = "SELECT string_agg(pg_get_indexdef(i.indexrelid) || coalesce(' ' || pg_get_constraintdef(c.oid), ''), '; ' ORDER BY i.indexrelid::regclass::text)
        FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid WHERE i.indrelid = 's.t'::regclass";
    s.client.query_one(sql, &[]).await.expect("an answer").get(0)
}

/// The rows, or what is said instead; the keys are as before in any case.
#[track_caller]
fn check_as(mode: ApplyMode, more: &str, changes: &str, expect: &str) {
    let found = run(async {
        let mut s = streaming_as(TABLE, mode).await;
        s.client.batch_execute(OWN).await.expect("an index");
        s.client.batch_execute(more).await.expect("more of it");
        let before = keys(&s).await;
        let applied = s.apply(changes, 1).await;
        let found = match applied {
            Ok(()) => s.rows().await,
            Err(fault) => format!("{:?}: {}", fault.class, fault.message),
        };
        drop(s.sink);
        s.client.batch_execute("DROP TABLE s.child").await.expect("it is there");
        s.sink = s.task.sink().await.expect("a sink");
        assert_eq!(keys(&s).await, before, "{changes}");
        found
    });
    assert_eq!(found, expect, "{mode:?}: {changes}");
}

#[track_caller]
fn check(changes: &str, expect: &str) {
    check_as(ApplyMode::Exact, "", changes, expect);
    check_as(
        ApplyMode::Replace,
        "",
        &changes.replace("upd 1 a x >", "ins").replace("upd 2 b y >", "ins").replace("upd 3 c z >", "ins"),
        expect,
    );
}

const ROWS: &str = "ins 1 a x; ins 2 b y; ins 3 c z %";

#[test]
fn values_change_hands_between_the_batches_of_a_transaction() {
    check(&format!("{ROWS} upd 1 a x > 1 a y | upd 2 b y > 2 b x"), "1 a y, 2 b x, 3 c z");
    check(&format!("{ROWS} upd 1 a x > 1 a y | upd 2 b y > 2 b z | upd 3 c z > 3 c x"), "1 a y, 2 b z, 3 c x");
    // An index of the target's own, and both at once.
    check(&format!("{ROWS} upd 1 a x > 1 b x | upd 2 b y > 2 a y"), "1 b x, 2 a y, 3 c z");
    check(&format!("{ROWS} upd 1 a x > 1 b y | upd 2 b y > 2 a x; upd 3 c z > 3 d z"), "1 b y, 2 a x, 3 d z");
    // In the transaction after that, too.
    check(
        &format!("{ROWS} upd 1 a x > 1 a y | upd 2 b y > 2 b x % ins 4 d w | ins 5 e v"),
        "1 a y, 2 b x, 3 c z, 4 d w, 5 e v",
    );
}

#[test]
fn rows_that_are_told_in_part_keep_their_other_values() {
    let changes = format!("{ROWS} upd 1 ? x > 1 ? y; upd 3 c z > 3 f z | upd 2 ? y > 2 ? x");
    check_as(ApplyMode::Exact, "", &changes, "1 a y, 2 b x, 3 f z");
}

#[test]
fn what_is_there_twice_at_the_commit_is_told() {
    check(
        &format!("{ROWS} upd 1 a x > 1 a y | upd 3 c z > 3 c w"),
        "Table: could not make unique key \"u_w\" of table \"s.t\" again: could not create unique index \"u_w\" [23505]",
    );
    let twice = "Table: table \"s.t\" has diverged: an insert of 1 rows hit a row that is there already: duplicate key value violates unique constraint \"u_w\" (COPY t, line 1) [23505]";
    // Of one batch nothing waits.
    check(&format!("{ROWS} upd 1 a x > 1 a y"), twice);
    // Others refer to it.
    let refers = "INSERT INTO s.child VALUES ('x'); ALTER TABLE s.t DROP CONSTRAINT IF EXISTS u_w; ALTER TABLE s.t ADD CONSTRAINT u_w UNIQUE (w);
        TRUNCATE s.child; ALTER TABLE s.child ADD FOREIGN KEY (w) REFERENCES s.t (w)";
    check_as(ApplyMode::Exact, refers, &format!("{ROWS} upd 1 a x > 1 a y | upd 2 b y > 2 b x"), twice);
}
