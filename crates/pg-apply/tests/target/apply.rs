//! What changes come to.

use logferry_model::Class;

use logferry_pg_apply::ApplyMode;

use crate::support::{run, streaming, streaming_as};

/// Applies the changes, which start on empty tables, and compares the rows.
#[track_caller]
fn check(tables: &str, changes: &str, expect: &str) {
    let found = run(async {
        let mut s = streaming(tables).await;
        match s.apply(changes, 1).await {
            Ok(()) => s.rows().await,
            Err(fault) => {
                // What went before the batch at fault is there, nothing of it is.
                format!("{} | {:?}: {}", s.rows().await, fault.class, fault.message)
            }
        }
    });
    assert_eq!(found, expect, "{changes}");
}

const KEYED: &str = "t(id:int key, v, w)";

#[test]
fn the_last_change_of_a_key_wins() {
    check(KEYED, "ins 1 a b; upd 1 a b > 1 c d; ins 2 x ~", "1 c d, 2 x ~");
    check(KEYED, "ins 1 a b; upd 1 a b > 1 c d; del 1 c d", "");
    check(KEYED, "ins 1 a b; del 1 a b; ins 1 c d", "1 c d");
    check(KEYED, "ins 1 a b % upd 1 a b > 1 c d; upd 1 c d > 1 e ~", "1 e ~");
    check(KEYED, "ins 1 a b % del 1 a b", "");
    check(KEYED, "ins 1 a b % del 1 a b; ins 1 c d", "1 c d");
    check(KEYED, "ins 1 a b % del 1 a b; ins 1 c d; del 1 c d", "");
    check(KEYED, "ins 1 a b % upd 1 a b > 1 a b", "1 a b");
}

#[test]
fn keys_move() {
    check(KEYED, "ins 1 a b % upd 1 a b > 2 a b", "2 a b");
    check(KEYED, "ins 1 a b; ins 2 c d % upd 1 a b > 3 a b; upd 2 c d > 1 c d; upd 3 a b > 2 a b", "1 c d, 2 a b");
    check(KEYED, "ins 1 a b % upd 1 a b > 2 a b; upd 2 a b > 1 a b", "1 a b");
    check(KEYED, "ins 1 a b % upd 1 a b > 2 a b; ins 1 c d; del 2 a b", "1 c d");
    // Every row moves up by one, as `UPDATE t SET id = id + 1` does.
    check(
        KEYED,
        "ins 1 a b; ins 2 c d; ins 3 e f % upd 3 e f > 4 e f; upd 2 c d > 3 c d; upd 1 a b > 2 a b",
        "2 a b, 3 c d, 4 e f",
    );
}

#[test]
fn unchanged_values_stay() {
    check(KEYED, "ins 1 a big % upd 1 a ? > 1 b ?", "1 b big");
    check(KEYED, "ins 1 a big % upd 1 a ? > 1 ~ ?; upd 1 ~ ? > 1 c ?", "1 c big");
    check(KEYED, "ins 1 a big % upd 1 a ? > ? b ?", "1 b big");
    check(KEYED, "ins 1 a big; upd 1 a ? > 1 b ?", "1 b big");
    check(KEYED, "ins 1 a big % upd 1 a big > 1 b ?", "1 b big");
    check(KEYED, "ins 1 a big % upd 1 a ? > 1 b ?; upd 1 b ? > 1 b new", "1 b new");
    check(KEYED, "ins 1 a big; ins 2 c huge % upd 1 a ? > 1 b ?; upd 2 ? huge > 2 ? ~", "1 b big, 2 c ~");
    // Moved, and even to where another row was: its values come from where it was before the batch.
    check(KEYED, "ins 1 a big % upd 1 a ? > 2 b ?", "2 b big");
    check(KEYED, "ins 1 a big % upd 1 a ? > 2 b ?; upd 2 b ? > 3 c ?; ins 1 x y", "1 x y, 3 c big");
    check(
        KEYED,
        "ins 1 a big; ins 2 c huge % upd 1 a ? > 9 a ?; upd 2 c ? > 1 c ?; upd 9 a ? > 2 a ?",
        "1 c huge, 2 a big",
    );
    check(KEYED, "ins 1 a big % upd 1 a ? > 2 b ?; upd 2 b ? > 1 c ?", "1 c big");
    check(KEYED, "ins 1 a big % upd 1 a ? > 2 b ?; del 2 b ?", "");
    check(KEYED, "ins 1 a big % upd 1 a ? > 2 a ? | upd 2 a ? > 3 a ? | upd 3 a ? > 1 z ?", "1 z big");
    check(
        KEYED,
        "ins 1 a ?",
        " | Operator: changes of table \"s.t\" are incomplete: an inserted row does not have all its values",
    );
    check(
        KEYED,
        "upd ? a b > ? c d",
        " | Operator: changes of table \"s.t\" are incomplete: a row does not have its key",
    );
}

#[test]
fn unique_values_change_hands() {
    let t = "t(id:int key, u unique, w)";
    check(t, "ins 1 a b; ins 2 c d % upd 1 a b > 1 x b; upd 2 c d > 2 a d; upd 1 x b > 1 c b", "1 c b, 2 a d");
    check(t, "ins 1 a b % del 1 a b; ins 2 a c", "2 a c");
    check(t, "ins 1 a b % ins 3 x y; del 1 a b; upd 3 x y > 3 a y", "3 a y");
    check(
        t,
        "ins 1 a big; ins 2 c huge % upd 1 a ? > 1 x ?; upd 2 c ? > 2 a ?; upd 1 x ? > 1 c ?",
        "1 c big, 2 a huge",
    );
    check(t, "ins 1 a big % upd 1 a ? > 1 ~ ?; ins 2 a q", "1 ~ big, 2 a q");
    check(t, "ins 1 a b % del 1 a b; ins 1 z b; ins 2 a b", "1 z b, 2 a b");
    check(t, "ins 1 a b % upd 1 a b > 1 a c", "1 a c");
}

#[test]
fn a_truncation_is_an_end_and_a_beginning() {
    check(KEYED, "ins 1 a b; trunc", "");
    check(KEYED, "ins 1 a b % ins 2 c d; trunc; ins 1 e f", "1 e f");
    check(KEYED, "ins 1 a b % upd 1 a b > 1 c d; trunc; ins 1 e f; trunc; ins 3 g h", "3 g h");
    check(KEYED, "ins 1 a b % trunc | ins 1 c d | trunc | ins 2 e f", "2 e f");
    check(
        KEYED,
        "ins 1 a b % trunc; upd 1 a b > 1 c d",
        "1 a b | Bug: changes of table \"s.t\" contradict each other: a row changes that went with the truncation of the table",
    );
    check("t(v)", "ins a; ins a % ins b; trunc; ins c", "c");
}

#[test]
fn keys_of_several_columns_and_nothing_but_keys() {
    check("t(a key, v, b:int key)", "ins x 1 1; ins x 2 2 % upd x 1 1 > x 3 1; del x 2 2; ins y 4 2", "x 3 1, y 4 2");
    check("t(a key, b:int key)", "ins x 1; ins x 2 % upd x 1 > x 1; upd x 2 > y 2", "x 1, y 2");
    check("t(a:char5 key, v)", "ins x 1 % upd x 1 > x 2", "x 2");
    check("we\"ird(na\"me:int key, sel'ect)", "ins 1 a % upd 1 a > 1 b; ins 2 c | del 2 c", "1 b");
}

#[test]
fn tables_without_a_key_are_multisets() {
    let t = "t(a, b:int)";
    check(t, "ins x 1; ins x 1; ins y ~ % del x 1", "x 1, y ~");
    check(t, "ins x 1; ins x 1; ins x 1; ins y ~; ins y ~ % del x 1; del y ~; del x 1", "x 1, y ~");
    check(t, "ins x 1 % upd x 1 > x 2; upd x 2 > x 3; ins x 1; del x 1", "x 3");
    check(t, "ins x 1; ins ~ ~ % upd ~ ~ > ~ 5; upd ~ 5 > z ?", "x 1, z 5");
    check(
        t,
        "ins x 1; ins x 1 % del x 1; del x 1; del x 1",
        "x 1, x 1 | Table: table \"s.t\" has diverged: a delete found 2 of 3 rows",
    );
    check(
        t,
        "ins x 1 % upd ? 1 > ? 2",
        "x 1 | Operator: changes of table \"s.t\" are incomplete: the table has no key, and a row does not have all its values",
    );
}

#[test]
fn any_type_can_be_matched_without_a_key() {
    check("t(x:xml, n:int!)", "ins <a/> 1; ins <a/> 1; ins <b/> 1 % del <a/> 1; upd <b/> 1 > ~ 1", "<a/> 1, ~ 1");
    // Arrays go as text in arrays of arrays: 16777217 / 3 and the smallest number of the type come back as they were.
    check(
        "t(id:int key, v:reals, w)",
        "ins 1 1.5,-2 a; ins 2 0.1 b; ins 3 ~ c % upd 1 1.5,-2 a > 1 5592405.5,1e-45,3.4028235e38 d; upd 2 ? b > 2 ? e; upd 3 ~ c > 3 NaN f",
        "1 {5.5924055e+06,1e-45,3.4028235e+38} d, 2 {0.1} e, 3 {NaN} f",
    );
    check("t(p:ltree key, v)", "ins 1.2_5 a; ins 1 b % upd 1.2_5 a > 1.2_5 c; del 1 b", "1.2_5 c");
    check("t(p:ltree, n:int!)", "ins 1.2 1; ins 1.2 1; ins ~ 1 % del 1.2 1; upd ~ 1 > 1 1", "1 1, 1.2 1");
    check("t(c:citext key, v)", "ins Ab 1; ins b 2 % upd ab 1 > AB 3; del B 2", "AB 3");
    check("t(c:citext, n:int!)", "ins a 1; ins A 1; ins ~ 1 % del A 1", "a 1, ~ 1");
    check("t(v:reals, n:int!)", "ins 1,2 1; ins 1,2 1; ins 2,1 1 % del 1,2 1; upd 2,1 1 > 3 1", "{1,2} 1, {3} 1");
    check("t(x:xml)", "ins <a/>; ins ~; ins <a/> % del <a/>; del ~", "<a/>");
    check("t(j:jsonb)", "ins {\"a\":1}; ins {\"a\":2} % del {\"a\":1}", "{\"a\": 2}");
    check("t(f:float!)", "ins 0; ins -0; ins NaN; ins NaN % del -0; del NaN", "0, NaN");
    check("t(f:float)", "ins 0; ins -0; ins NaN % del 0; del NaN", "-0");
    check("t(c:char5!, v:varchar3)", "ins x a; ins x ~ % del x ~", "x a");
    check("t(c:char5)", "ins x; ins xy % del x", "xy");
    check("t(a)", "ins ''; ins ~; ins '' % del ''", ", ~");
}

#[test]
fn a_collation_of_icu_is_made_for_columns_that_do_not_tell_case_apart() {
    // The source has one row for a key, however it is spelled, and may spell it otherwise from then on.
    check("t(c:ci key, v)", "ins Ab 1; ins b 2 % upd Ab 1 > AB 3; del b 2; ins B 4", "AB 3, B 4");
    check("t(c:ci key, v:ci unique)", "ins a x; ins b y % upd a x > a Y; upd b y > b X", "a Y, b X");
    check("t(c:ci!, n:int!)", "ins a 1; ins A 1; ins a 1 % del A 1; upd a 1 > b 2", "a 1, b 2");
}

#[test]
fn columns_may_be_of_domains() {
    check(
        "t(c:varchar3@code key, v:int@count)",
        "ins a 1; ins b ~; ins c 3 % upd a 1 > d 2; upd b ~ > b 4; del c 3",
        "b 4, d 2",
    );
    check("t(c:varchar3@code key, v)", "ins a x; ins b y % upd a ? > a z; upd b y > c ?", "a z, c y");
    check("t(c:varchar3!@code, v:int@count)", "ins a 1; ins a 1; ins b ~ % del a 1; upd b ~ > c 2", "a 1, c 2");
    check("t(c:varchar3@code)", "ins a; ins ~; ins a % del a; del ~", "a");
}

#[test]
fn a_row_that_is_not_as_it_should_be_is_a_fault() {
    let diverged = |op: &str, found: u32, of: u32| {
        format!("1 a b | Table: table \"s.t\" has diverged: {op} found {found} of {of} rows")
    };
    check(KEYED, "ins 1 a b % upd 2 a b > 2 c d", &diverged("an update", 0, 1));
    check(KEYED, "ins 1 a b % upd 1 a b > 1 c d; upd 2 a b > 2 c d", &diverged("an update", 1, 2));
    check(KEYED, "ins 1 a b % upd 2 a ? > 2 c ?", &diverged("an update", 0, 1));
    check(KEYED, "ins 1 a b % upd 2 a ? > 3 c ?", &diverged("an update", 0, 1));
    check(KEYED, "ins 1 a b % del 1 a b; del 2 a b", &diverged("a delete", 1, 2));
    let duplicate = "1 a b | Table: table \"s.t\" has diverged: an insert of 2 rows hit a row that is there already: \
                     duplicate key value violates unique constraint \"t_pkey\" (COPY t, line 1) [23505]";
    check(KEYED, "ins 1 a b % ins 3 e f; ins 1 a b", duplicate);
    check(
        KEYED,
        "ins 1 a b; ins 1 c d",
        " | Bug: changes of table \"s.t\" contradict each other: a row comes to be that is there already",
    );
    check(
        KEYED,
        "ins 1 a b; upd 1 a b > 2 a b; del 1 a b",
        " | Bug: changes of table \"s.t\" contradict each other: a row changes that is gone",
    );
    // A value that PostgreSQL refuses: the message has the column, not the value.
    let refused = " | Table: table \"s.t\" refused an insert of 1 rows: value too long for type character varying(3) (COPY t, line 1, column v) [22001]";
    check("t(id:int key, v:varchar3)", "ins 1 secret", refused);
}

#[test]
fn several_tables_in_one_transaction() {
    check(
        "t(id:int key, v), u(v), w(id:int key)",
        "ins 1 a; u: ins x; u: ins x; w: ins 5 % u: del x; upd 1 a > 1 b | w: del 5; w: ins 6; u: ins y",
        "1 b | x, y | 6",
    );
}

#[test]
fn a_transaction_in_several_batches_is_one() {
    run(async {
        let mut s = streaming(KEYED).await;
        s.apply("ins 1 a b", 1).await.unwrap();
        s.apply("upd 1 a b > 1 c d | upd 1 c d > 2 c d | ins 1 x y |", 2).await.unwrap();
        assert_eq!(s.rows().await, "1 a b");
        s.apply("upd 2 c d > 2 e f", 2).await.unwrap();
        assert_eq!(s.rows().await, "1 x y, 2 e f");
    });
}

#[test]
fn large_batches_are_applied_in_parts() {
    run(async {
        let mut s = streaming(KEYED).await;
        let n = 40_000;
        let text = |f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<Vec<_>>().join(";");
        s.apply(&text(&|i| format!("ins {i} a b")), 1).await.unwrap();
        s.apply(&text(&|i| format!("upd {i} a b > {i} c{i} b")), 2).await.unwrap();
        s.apply(&text(&|i| if i % 2 == 0 { format!("del {i} a b") } else { format!("upd {i} ? ? > {i} z ?") }), 3)
            .await
            .unwrap();
        let row = s
            .client
            .query_one("SELECT count(*), count(*) FILTER (WHERE v = 'z' AND w = 'b' AND id % 2 = 1) FROM s.t", &[])
            .await
            .unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (20_000, 20_000));
    });
}

#[test]
fn a_table_may_change_its_shape() {
    use logferry_model::ChangeSink;
    run(async {
        let mut s = streaming("t(id:int key, v)").await;
        s.apply("ins 1 a; upd 1 a > 2 ? % upd 2 ? > 3 ?", 1).await.unwrap();
        s.client.batch_execute("ALTER TABLE s.t ADD COLUMN n int").await.unwrap();
        s.tables = crate::support::tables("t(id:int key, v, n:int)");
        let fault = s.apply("ins 5 x 1", 3).await.unwrap_err();
        assert_eq!(
            (fault.class, fault.message.as_str()),
            (Class::Bug, "changes of table \"s.t\" came before its definition")
        );
        let fault = s.apply("ins 5 x 1", 3).await.unwrap_err();
        assert_eq!(fault.message, "the target connection was used after an error");
        s.sink = s.task.sink().await.unwrap();
        s.sink.define(crate::support::tables("t(id:int key, v)").remove(0)).await.unwrap();
        s.apply("", 3).await.unwrap();
        s.sink.define(s.tables[0].clone()).await.unwrap();
        s.apply("upd 3 ? ~ > 4 ? 7", 4).await.unwrap();
        assert_eq!(s.rows().await, "4 a 7");
    });
}

#[test]
fn triggers_and_foreign_keys_do_not_fire() {
    run(async {
        let mut s = streaming("p(id:int key), c(id:int key, p:int)").await;
        s.client
            .batch_execute(
                "ALTER TABLE s.c ADD FOREIGN KEY (p) REFERENCES s.p; \
                 CREATE FUNCTION s.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''fired''; END'; \
                 CREATE TRIGGER no BEFORE INSERT ON s.c FOR EACH ROW EXECUTE FUNCTION s.no()",
            )
            .await
            .unwrap();
        s.apply("c: ins 1 10; ins 10", 1).await.unwrap();
        assert_eq!(s.rows().await, "10 | 1 10");
        assert!(s.sink.notes().is_empty());
    });
}

#[test]
fn wide_tables_are_applied_too() {
    let columns: Vec<String> = (1..1000).map(|i| format!("c{i}:int")).collect();
    let values = |first: &str, v: &str| format!("{first} {}", vec![v; 999].join(" "));
    let table = format!("t(id:int key, {})", columns.join(", "));
    let changes = format!(
        "ins {}; ins {} % upd {} > {}; upd {} > {}",
        values("1", "7"),
        values("2", "8"),
        values("1", "7"),
        values("1", "9"),
        values("2", "?"),
        values("3", "?")
    );
    check(&table, &changes, &format!("{}, {}", values("1", "9"), values("3", "8")));
}

#[test]
fn a_user_with_few_rights_is_told_what_that_means() {
    run(async {
        let mut s = streaming("p(id:int key, v), c(id:int key)").await;
        s.client
            .batch_execute(
                "DO $$ BEGIN CREATE ROLE plain LOGIN PASSWORD 'plain'; EXCEPTION WHEN duplicate_object THEN END $$; \
                 GRANT USAGE ON SCHEMA s, logferry TO plain; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA s, logferry TO plain",
            )
            .await
            .unwrap();
        let as_plain = s.database.url();
        let (_, address) = as_plain.split_once('@').unwrap();
        let target = logferry_pg_apply::Target::parse(&format!("postgres://plain:plain@{address}")).unwrap();
        let (task, _) =
            logferry_pg_apply::TaskTarget::open(&target, logferry_pg_apply::TaskSettings::new("test")).await.unwrap();
        s.sink = task.sink().await.unwrap();
        assert!(s.sink.notes()[0].starts_with("triggers and foreign keys of the target fire"), "{:?}", s.sink.notes());
        for table in s.tables.clone() {
            logferry_model::ChangeSink::define(&mut s.sink, table).await.unwrap();
        }
        s.apply("ins 1 a; c: ins 5 % upd 1 a > 2 ?", 1).await.unwrap();
        assert_eq!(s.rows().await, "2 a | 5");
        let fault = s.apply("c: trunc", 3).await.unwrap_err();
        assert_eq!(fault.message, "could not truncate table \"s.c\": permission denied for table c [42501]");
        assert_eq!(fault.hint.as_deref(), Some("grant the right to the user of the target connection"));
    });
}

/// A source that tells rows as they are now may tell them twice, and of rows that the target never had.
#[test]
fn rows_that_are_told_as_they_are_replace_what_is_there() {
    let check_as = |table: &str, changes: &str, expect: &str| {
        let found = run(async {
            let mut s = streaming_as(table, ApplyMode::Replace).await;
            s.apply(changes, 1).await.expect("nothing is asked of what is there");
            s.rows().await
        });
        assert_eq!(found, expect, "{changes}");
    };
    let check = |changes: &str, expect: &str| {
        check_as("t(id:int key, v, w unique)", changes, expect);
        check_as(KEYED, changes, expect);
    };
    check("ins 1 a b % ins 1 c d", "1 c d");
    check("ins 1 a b; ins 1 c d", "1 c d");
    check("del 1 a b % del 1 a b; ins 2 c d; del 3 x y", "2 c d");
    check("ins 1 a b % del 1 a b; ins 1 a b", "1 a b");
    check("ins 1 a b % upd 1 a b > 2 a b; del 1 ? ?; ins 3 c d", "2 a b, 3 c d");
    // A value of another unique key changes hands.
    check("ins 1 a x; ins 2 b y % ins 1 a y; ins 2 b x", "1 a y, 2 b x");
    // What is not told stays, where there is anything.
    check("ins 1 a b % upd 1 ? ? > 1 c ?; upd 7 ? ? > 7 c ?", "1 c b");
    check("ins 1 a b % upd 1 ? ? > 1 c ?; upd 1 ? ? > 1 ? d", "1 c d");
    check("ins 1 a b % ins 1 x y; upd 1 ? ? > 1 c ?", "1 c y");
    check("ins 1 a b % del 1 ? ?; upd 1 ? ? > 1 c ?", "");
    check("ins 1 a b % upd 1 ? ? > 1 c ?; del 1 ? ?", "");
    check("ins 1 a b % upd 1 ? ? > 1 c ?; ins 1 x y; upd 1 ? ? > 1 ? ~", "1 x ~");
    check("ins 1 a b; ins 2 c d % trunc; ins 2 e f; ins 3 g h; upd 9 ? ? > 9 i ?", "2 e f, 3 g h");
    check(
        "ins 1 a b; ins 2 c d % del 1 ? ?; ins 2 c d; ins 3 e f; ins 4 g h % ins 3 e i; ins 5 k l",
        "2 c d, 3 e i, 4 g h, 5 k l",
    );
    // All columns are the key.
    check_as("t(a key, b:int key)", "ins x 1; ins x 2 % ins x 2; ins y 1; del x 1", "x 2, y 1");
    // Keys that are equal and differ.
    check_as("t(k:ci key, v)", "ins a x; ins b y % ins A z", "A z, b y");
    check_as("t(k:ci key, v)", "ins a x % del a ?; ins A z", "A z");
    check_as("t(k:float key, v)", "ins 0 x % ins -0 x; ins 1 y", "-0 x, 1 y");
    check_as(
        "t(id:int key, a:xml, b:jsonb, c:reals, d:ltree, e:citext, f:float, g:char5, h:varchar3)",
        "ins 1 <a/> {} 1,2 a.b x 0 y z; ins 2 <a/> {} 1,2 a.b x 0 y z; ins 3 ~ ~ ~ ~ ~ ~ ~ ~ \
         % ins 1 <a/> {} 1,2 a.b x 0 y z; ins 2 <b/> [] 1,3 a.c X -0 y ~; ins 3 ~ ~ ~ ~ ~ ~ y ~",
        "1 <a/> {} {1,2} a.b x 0 y z, 2 <b/> [] {1,3} a.c X -0 y ~, 3 ~ ~ ~ ~ ~ ~ y ~",
    );
    let large = "x".repeat((1 << 20) + 1);
    check_as(
        "t(id:int key, v)",
        &format!("ins 1 a; ins 2 b % ins 1 {large}; ins 2 c; ins 3 d % ins 1 e"),
        "1 e, 2 c, 3 d",
    );
    check_as("t(id:int key, v)", &format!("ins 1 a % ins 1 {large}"), &format!("1 {large}"));
}

/// A row that is there is updated: nothing else of it is lost, and indexes whose columns stay are left alone.
#[test]
fn a_replaced_row_keeps_what_else_the_target_has_of_it() {
    for table in ["t(id:int key, v, w)", "t(id:int key, v, w unique)"] {
        check_kept(table, if table.contains("unique") { "~" } else { "mine" });
    }
}

/// What is `kept` of a row whose last value is another one.
#[track_caller]
fn check_kept(table: &str, kept: &str) {
    run(async {
        let mut s = streaming_as(table, ApplyMode::Replace).await;
        s.apply("ins 1 a b; ins 2 c d; ins 4 l m", 1).await.expect("they are new");
        s.client.batch_execute("ALTER TABLE s.t ADD own text; UPDATE s.t SET own = 'mine'").await.expect("a column");
        s.apply("ins 1 e b; ins 3 g h; del 2 ? ?; ins 2 i d; ins 4 l n", 2)
            .await
            .expect("nothing is asked of what is there");
        let found =
            s.client.query("SELECT id || v || w || coalesce(own, '~') FROM s.t ORDER BY id", &[]).await.expect("rows");
        let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, ["1ebmine", "2idmine", "3gh~", &format!("4ln{kept}")]);
        // What is told again as it is costs no write.
        let places = "SELECT string_agg(ctid::text, ' ' ORDER BY id) FROM s.t";
        let before: String = s.client.query_one(places, &[]).await.expect("places").get(0);
        s.apply("ins 1 e b; ins 3 g h; ins 2 i d; ins 4 l n", 3).await.expect("they are there");
        let after: String = s.client.query_one(places, &[]).await.expect("places").get(0);
        assert_eq!(before, after);
    });
}

/// Of a table without a key nothing can be told twice.
#[test]
fn rows_without_a_key_are_counted_in_either_mode() {
    run(async {
        let mut s = streaming_as("t(a, b)", ApplyMode::Replace).await;
        s.apply("ins x y; ins x y; ins z ~ % upd x y > x z; del z ~", 1).await.expect("they are there");
        assert_eq!(s.rows().await, "x y, x z");
        assert!(s.apply("del q q", 7).await.is_err(), "a row that is not there cannot go");
    });
}
