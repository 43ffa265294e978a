//! Keys that change hands: rows get keys before those that had them leave them.

use logferry_pg_apply::ApplyMode;

use crate::support::{run, streaming_as};

/// The rows in the end, or what is said instead.
#[track_caller]
fn check_as(mode: ApplyMode, tables: &str, changes: &str, expect: &str) {
    let found = run(async {
        let mut s = streaming_as(tables, mode).await;
        match s.apply(changes, 1).await {
            Ok(()) => s.rows().await,
            Err(fault) => format!("{:?}: {}", fault.class, fault.message),
        }
    });
    assert_eq!(found, expect, "{mode:?}: {tables}: {changes}");
}

/// `changes` to three rows, in one batch and in one batch each, in both modes.
#[track_caller]
fn check(changes: &str, expect: &str) {
    check_of("t(id:int key, v, w)", changes, "; ", expect);
    check_of("t(id:int key, v, w)", changes, " | ", expect);
}

#[test]
fn a_row_that_came_in_the_same_batch_gives_up_its_key_in_the_next() {
    let changes = "ins 4 d w; upd 1 a x > 4 a x | upd 4 d w > 7 d w";
    check_of("t(id:int key, v, w)", changes, ";", "2 b y, 3 c z, 4 a x, 7 d w");
}

/// `changes` with an `end` behind each.
#[track_caller]
fn check_of(tables: &str, changes: &str, end: &str, expect: &str) {
    let changes = format!("ins 1 a x; ins 2 b y; ins 3 c z % {} % ins 8 h p", changes.replace("; ", end));
    for mode in [ApplyMode::Exact, ApplyMode::Replace] {
        check_as(mode, tables, &changes, &format!("{expect}, 8 h p"));
    }
}

#[test]
fn keys_move_up() {
    check("upd 1 a x > 2 a x; upd 2 b y > 3 b y; upd 3 c z > 4 c z", "2 a x, 3 b y, 4 c z");
    check("upd 2 b y > 3 b y; upd 1 a x > 2 a x; upd 3 c z > 4 c z", "2 a x, 3 b y, 4 c z");
    check("upd 3 c z > 4 c z; upd 2 b y > 3 b y; upd 1 a x > 2 a x", "2 a x, 3 b y, 4 c z");
    // With other values, too.
    check("upd 1 a x > 2 d x; upd 2 b y > 3 e y; upd 3 c z > 4 f z", "2 d x, 3 e y, 4 f z");
    // Where there is another unique key, and batches that have nothing to do with it.
    for end in ["; ", " | ", " |  | ins 9 i q; del 9 i q | "] {
        let changes = "upd 2 b y > 3 b y; upd 1 a x > 2 a x; upd 3 c z > 4 c z";
        check_of("t(id:int key, v, w unique)", changes, end, "2 a x, 3 b y, 4 c z");
    }
}

#[test]
fn keys_go_round() {
    check("upd 1 a x > 2 a x; upd 2 b y > 1 b y", "1 b y, 2 a x, 3 c z");
    check("upd 1 a x > 2 a x; upd 2 b y > 3 b y; upd 3 c z > 1 c z", "1 c z, 2 a x, 3 b y");
    check("upd 3 c z > 2 c z; upd 1 a x > 3 a x; upd 2 b y > 1 b y", "1 b y, 2 c z, 3 a x");
}

#[test]
fn a_key_is_taken_from_a_row_that_goes_or_given_to_one_that_comes() {
    check("upd 1 a x > 2 a x; del 2 b y", "2 a x, 3 c z");
    check("upd 1 a x > 2 a x; upd 2 b y > 3 b y; del 3 c z", "2 a x, 3 b y");
    check("upd 1 a x > 2 a x; upd 2 b y > 3 b y; upd 3 c z > 4 c z; ins 1 d w", "1 d w, 2 a x, 3 b y, 4 c z");
}

#[test]
fn a_row_moves_on() {
    check("upd 1 a x > 5 a x; upd 5 a x > 6 a x", "2 b y, 3 c z, 6 a x");
    check("upd 1 a x > 5 a x; upd 5 a x > 1 a x", "1 a x, 2 b y, 3 c z");
    check("upd 1 a x > 5 a x; upd 5 a x > 5 d x; del 5 d x", "2 b y, 3 c z");
    check("ins 5 e v; upd 5 e v > 6 e v; del 6 e v", "1 a x, 2 b y, 3 c z");
    // The row that came is changed, moved or deleted by a later statement.
    let up = "upd 1 a x > 2 a x; upd 2 b y > 3 b y; upd 3 c z > 4 c z";
    check(&format!("{up}; upd 2 a x > 2 d x; upd 3 b y > 3 e y"), "2 d x, 3 e y, 4 c z");
    check(&format!("{up}; upd 2 a x > 7 a x; upd 3 b y > 2 b y"), "2 b y, 4 c z, 7 a x");
    check(&format!("{up}; del 2 a x; del 3 b y"), "4 c z");
    check(&format!("{up}; upd 2 a x > 3 a x; upd 3 b y > 4 b y; upd 4 c z > 5 c z"), "3 a x, 4 b y, 5 c z");
}

/// Only within a transaction may two rows have one key: what moves on in the next one is the row that came.
#[test]
fn a_row_moves_on_in_the_next_transaction() {
    check("upd 1 a x > 5 a x; end; upd 5 a x > 6 a x", "2 b y, 3 c z, 6 a x");
    check(
        "upd 1 a x > 2 a x; upd 2 b y > 4 b y; end; upd 2 a x > 1 a x; end; upd 4 b y > 2 b y",
        "1 a x, 2 b y, 3 c z",
    );
    check(
        "upd 1 a x > 5 a x; end; upd 5 ? x > 5 ? q; end; upd 5 a q > 2 a q; upd 2 b y > 6 b y",
        "2 a q, 3 c z, 6 b y",
    );
    // A row was read as it was in between, and its changes are told again.
    const TABLE: &str = "t(id:int key, v, w)";
    check_as(ApplyMode::Replace, TABLE, "ins 5 a x % upd 1 a x > 5 a x; end; upd 5 a x > 6 a x", "6 a x");
    let taken =
        "Table: 1 rows of table \"s.t\" are to have keys that other rows of it have at the end of their transaction";
    let changes = "ins 1 a x; ins 2 b y; u: ins 7 % upd 1 a x > 2 a x | u: ins 8; end; del 2 b y";
    check_as(ApplyMode::Exact, "t(id:int key, v, w), u(id:int key)", changes, taken);
}

/// But for their keys: which of them is meant cannot be told, and does not matter.
#[test]
fn rows_that_are_equal() {
    for end in ["; ", " | "] {
        for mode in [ApplyMode::Exact, ApplyMode::Replace] {
            let check = |changes: &str, expect: &str| {
                let changes = format!("ins 1 a x; ins 2 a x; ins 3 a x % {} % ins 8 h p", changes.replace("; ", end));
                check_as(mode, "t(id:int key, v, w)", &changes, &format!("{expect}, 8 h p"));
            };
            check("upd 1 a x > 2 a x; upd 2 a x > 3 a x; upd 3 a x > 4 a x", "2 a x, 3 a x, 4 a x");
            check("upd 1 a x > 2 a x; upd 2 a x > 3 a x; upd 3 a x > 1 a x", "1 a x, 2 a x, 3 a x");
            check("upd 1 a x > 2 a x; del 2 a x; upd 2 a x > 2 b x", "2 b x, 3 a x");
            check("upd 1 a x > 4 a x; upd 4 a x > 5 a x; upd 5 a x > 1 a x", "1 a x, 2 a x, 3 a x");
        }
    }
}

#[test]
fn a_table_that_is_emptied_forgets_who_waits() {
    check("upd 1 a x > 2 a x; trunc; ins 2 f v", "2 f v");
    check("upd 1 a x > 2 a x; trunc; ins 1 f v", "1 f v");
    let changes = "trunc; ins 1 f v; upd 1 f v > 2 f v | del 2 f v; ins 3 g u";
    check_of("t(id:int key, v, w)", changes, ";", "3 g u");
}

#[test]
fn rows_that_are_told_in_part() {
    const TABLE: &str = "t(id:int key, v, w)";
    const ROWS: &str = "ins 1 a x; ins 2 b y; ins 3 c z %";
    let changes = format!("{ROWS} upd 1 ? x > 2 ? x; upd 2 ? y > 3 ? y; upd 3 ? z > 1 ? z");
    check_as(ApplyMode::Exact, TABLE, &changes, "1 c z, 2 a x, 3 b y");
    let changes = format!("{ROWS} upd 1 ? x > 2 ? x | upd 2 ? y > 3 ? y; upd 3 ? z > 1 ? z");
    check_as(
        ApplyMode::Exact,
        TABLE,
        &changes,
        "Operator: changes of table \"s.t\" are incomplete: a row that waits for its key does not have all its values",
    );
}

/// Of captured rows large values are not known before a change.
#[test]
fn rows_that_differ_in_what_is_not_told() {
    const ROWS: &str = "ins 1 a x; ins 2 a y; ins 3 a z %";
    for end in ["; ", " | "] {
        let changes = "upd 1 a ? > 2 a x; upd 2 a ? > 3 a y; upd 3 a ? > 4 a z".replace("; ", end);
        check_as(ApplyMode::Replace, "t(id:int key, v, w)", &format!("{ROWS} {changes}"), "2 a x, 3 a y, 4 a z");
        let changes = "upd 1 a ? > 7 a x; upd 7 a ? > 8 a x".replace("; ", end);
        check_as(ApplyMode::Replace, "t(id:int key, v, w)", &format!("{ROWS} {changes}"), "2 a y, 3 a z, 8 a x");
    }
}

/// What a source of keys cannot have told.
#[test]
fn a_key_that_is_never_given_up() {
    const TABLE: &str = "t(id:int key, v, w)";
    const ROWS: &str = "ins 1 a x; ins 2 b y; ins 3 c z %";
    let taken =
        "Table: 1 rows of table \"s.t\" are to have keys that other rows of it have at the end of their transaction";
    for changes in [
        "upd 1 a x > 2 a x | upd 3 c z > 3 d z",
        "upd 1 a x > 2 a x | upd 2 b y > 2 d y",
        "upd 1 a x > 2 a x | ins 4 d w",
    ] {
        check_as(ApplyMode::Exact, TABLE, &format!("{ROWS} {changes}"), taken);
    }
    check_as(
        ApplyMode::Exact,
        TABLE,
        &format!("{ROWS} upd 1 a x > 2 a x; upd 2 b y > 2 d y"),
        "Table: table \"s.t\" has diverged: an insert of 1 rows hit a row that is there already: duplicate key value violates \
         unique constraint \"t_pkey\" (COPY t, line 1) [23505]",
    );
    // Rows as they are: whatever is there under a key is replaced.
    check_as(ApplyMode::Replace, TABLE, &format!("{ROWS} upd 1 a x > 2 a x | upd 3 c z > 3 d z"), "2 a x, 3 d z");
}
