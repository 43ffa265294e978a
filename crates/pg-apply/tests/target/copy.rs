//! The full copy: from nothing to streaming, with interruptions.

use std::sync::Arc;

use bytes::Bytes;
use logferry_model::{Cell, ChangeSink, Class, Fault, Fence, Identity, RowStore, TargetBatch, TargetTable};
use logferry_pg_apply::{ExistingTables, Phase, Target, TaskSettings, TaskState, TaskTarget};
use logferry_testkit::postgres::Database;

use crate::support::{batches, checkpoint, database, push_row, rows, run, snapshot, tables};

async fn open(database: &Database<'_>, existing_tables: ExistingTables) -> (TaskTarget, TaskState) {
    let target = Target::parse(&database.url()).unwrap();
    let settings = TaskSettings { existing_tables, ..TaskSettings::new("test") };
    TaskTarget::open(&target, settings).await.unwrap()
}

fn tuples(table: &TargetTable, text: &str) -> (Bytes, u64) {
    let mut store = RowStore::new();
    let mut out = Vec::new();
    let mut n = 0;
    for row in text.split(';').filter(|r| !r.trim().is_empty()) {
        let row = push_row(&mut store, table, row);
        out.extend_from_slice(&(table.columns.len() as i16).to_be_bytes());
        for cell in store.row(row).cells() {
            match cell {
                Cell::Bytes(b) => {
                    out.extend_from_slice(&(b.len() as i32).to_be_bytes());
                    out.extend_from_slice(b);
                }
                _ => out.extend_from_slice(&(-1i32).to_be_bytes()),
            }
        }
        n += 1;
    }
    (Bytes::from(out), n)
}

async fn copy(task: &TaskTarget, table: &TargetTable, number: u32, text: &str) -> Result<u64, Fault> {
    let mut chunk = task.copy_chunk(table, number).await?;
    let (bytes, n) = tuples(table, text);
    // Pieces end anywhere.
    for piece in bytes.chunks(7) {
        chunk.send(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(chunk.finish(n).await?.rows)
}

fn fixups(tables: &[Arc<TargetTable>], text: &str) -> TargetBatch {
    let mut batch = batches(tables, text, 0).pop().unwrap_or_default();
    batch.checkpoint = Some(checkpoint(0));
    batch
}

#[test]
fn a_copy_goes_on_where_it_was_cut() {
    run(async {
        let database = database().await;
        let t = tables("t(id:int key, u unique), u(v)");
        let (task, state) = open(&database, ExistingTables::Error).await;
        assert_eq!((state.phase, state.checkpoint), (Phase::Created, None));
        assert_eq!(task.create_tables(&t, &snapshot(1)).await.unwrap(), Phase::Copying);
        assert_eq!(copy(&task, &t[0], 0, "1 a; 2 b").await.unwrap(), 2);
        // Cut in the middle of a chunk.
        let mut chunk = task.copy_chunk(&t[0], 1).await.unwrap();
        chunk.send(tuples(&t[0], "9 x").0).await.unwrap();
        drop(chunk);
        drop(task);

        let (task, state) = open(&database, ExistingTables::Error).await;
        assert_eq!((state.phase, state.snapshot), (Phase::Copying, Some([1; 16])));
        assert_eq!(task.create_tables(&t, &snapshot(1)).await.unwrap(), Phase::Copying);
        let done = task.finished_chunks().await.unwrap();
        assert_eq!(
            done.iter().map(|c| (c.table.as_str(), c.number, c.rows, c.bytes)).collect::<Vec<_>>(),
            [("t", 0, 2, 30)]
        );
        let all = [(t[0].clone(), 2), (t[1].clone(), 1)];
        let fault = task.finish_copy(&all, &fixups(&t, "")).await.err().unwrap();
        assert_eq!(fault.message, "the copy of table \"s.t\" is not complete: 1 of 2 chunks are recorded");
        copy(&task, &t[0], 1, "3 c; 4 ~").await.unwrap();
        // The same chunk again, as after a lost answer: it is there once.
        assert_eq!(copy(&task, &t[0], 1, "3 c; 4 ~").await.unwrap(), 2);
        copy(&task, &t[1], 0, "").await.unwrap();
        let client = database.client().await.unwrap();
        assert_eq!(rows(&client, &t).await, "1 a, 2 b, 3 c, 4 ~ | ");
        let sink = task.finish_copy(&all, &fixups(&t, "del 4 ~; u: ins z")).await.unwrap();
        assert_eq!(rows(&client, &t).await, "1 a, 2 b, 3 c | z");
        drop(sink);

        let (task, state) = open(&database, ExistingTables::Error).await;
        assert_eq!((state.phase, state.checkpoint), (Phase::Streaming, Some(checkpoint(0))));
        let fault = task.finish_copy(&all, &fixups(&t, "")).await.err().unwrap();
        assert_eq!(fault.message, "task \"test\" is in phase \"streaming\": ending the copy does not fit");
        let keys = client
            .query_one("SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE contype IN ('p', 'u') AND connamespace = 's'::regnamespace", &[])
            .await
            .unwrap();
        assert_eq!(keys.get::<_, &str>(0), "t_pkey u_u");
    });
}

/// Rows of several moments, two of which have the same value of a unique key: it is made when all are of one.
#[test]
fn keys_by_which_no_row_is_found_wait_until_all_rows_are_of_one_moment() {
    run(async {
        let database = database().await;
        let t = tables("t(id:int key, u unique)");
        let (task, _) = open(&database, ExistingTables::Error).await;
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        copy(&task, &t[0], 0, "1 a; 2 a").await.unwrap();
        let all = [(t[0].clone(), 1)];
        let whole_at = checkpoint(2).applied.0;
        drop(task.finish_copy_whole_at(&all, &fixups(&t, ""), Some(whole_at)).await.unwrap());
        let client = database.client().await.unwrap();
        let count = async || {
            let sql = "SELECT count(*) FROM pg_constraint WHERE contype = 'u' AND connamespace = 's'::regnamespace";
            client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
        };
        // In another run it waits, too.
        let mut sink = task.sink().await.unwrap();
        sink.define(t[0].clone()).await.unwrap();
        for (batch, expect) in batches(&t, "upd 1 a > 1 b % upd 2 a > 2 c", 1).iter().zip([0, 1]) {
            sink.apply(batch).await.unwrap();
            assert_eq!(count().await, expect);
        }
        let mut sink = task.sink().await.unwrap();
        sink.define(t[0].clone()).await.unwrap();
        for batch in batches(&t, "ins 3 d", 3) {
            sink.apply(&batch).await.unwrap();
        }
        assert_eq!(rows(&client, &t).await, "1 b, 2 c, 3 d");
    });
}

/// Up to where the changes of a table are in its rows is known when the rows are there, and not before.
#[test]
fn fences_come_with_their_rows() {
    run(async {
        let database = database().await;
        let t = tables("t(id:int key), bag(v)");
        let fence = |table: &TargetTable, commit| Fence { table: table.source_id, lsn: checkpoint(commit).applied.0 };
        let (task, _) = open(&database, ExistingTables::Error).await;
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        let mut chunk = task.copy_chunk(&t[1], 0).await.unwrap();
        chunk.fence(fence(&t[1], 4).lsn);
        drop(chunk);
        assert_eq!(task.fences().await.unwrap(), []);
        let mut chunk = task.copy_chunk(&t[1], 0).await.unwrap();
        let (bytes, n) = tuples(&t[1], "x; x");
        chunk.send(bytes).await.unwrap();
        chunk.fence(fence(&t[1], 5).lsn);
        chunk.finish(n).await.unwrap();
        assert_eq!(task.fences().await.unwrap(), [fence(&t[1], 5)]);
        copy(&task, &t[0], 0, "1").await.unwrap();
        let mut sink = task.finish_copy(&[(t[0].clone(), 1), (t[1].clone(), 1)], &fixups(&t, "")).await.unwrap();
        let mut batch = batches(&t, "bag: del x", 6).pop().unwrap();
        batch.fences.push(fence(&t[1], 7));
        sink.apply(&batch).await.unwrap();
        assert_eq!(task.fences().await.unwrap(), [fence(&t[1], 7)]);
        assert_eq!(rows(&database.client().await.unwrap(), &t).await, "1 | x");
    });
}

#[test]
fn keys_are_made_once_however_often_it_is_cut() {
    run(async {
        let database = database().await;
        let t = tables("t(id:int key, u unique)");
        let (task, _) = open(&database, ExistingTables::Error).await;
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        copy(&task, &t[0], 0, "1 a; 2 a").await.unwrap();
        let all = [(t[0].clone(), 1)];
        let fault = task.finish_copy(&all, &fixups(&t, "")).await.err().unwrap();
        assert_eq!(fault.class, Class::Table);
        assert_eq!(
            fault.message,
            "could not make key \"u_u\" of table \"s.t\": could not create unique index \"u_u\" [23505]"
        );
        let client = database.client().await.unwrap();
        client.batch_execute("DELETE FROM s.t WHERE id = 2").await.unwrap();
        let (task, state) = open(&database, ExistingTables::Error).await;
        assert_eq!(state.phase, Phase::Keys);
        assert_eq!(task.create_tables(&t, &snapshot(1)).await.unwrap(), Phase::Keys);
        task.finish_copy(&all, &fixups(&t, "")).await.unwrap();
        assert_eq!(task.state().await.unwrap().phase, Phase::Streaming);
    });
}

#[test]
fn another_snapshot_begins_anew() {
    run(async {
        let database = database().await;
        let t = tables("t(id:int key), u(v)");
        let (task, _) = open(&database, ExistingTables::Error).await;
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        copy(&task, &t[0], 0, "1; 2").await.unwrap();
        let (task, _) = open(&database, ExistingTables::Error).await;
        assert_eq!(task.create_tables(&t, &snapshot(2)).await.unwrap(), Phase::Copying);
        assert_eq!(task.finished_chunks().await.unwrap(), []);
        copy(&task, &t[0], 0, "1; 3").await.unwrap();
        // A table that was dropped in between is copied again, and only that.
        copy(&task, &t[1], 0, "x").await.unwrap();
        let client = database.client().await.unwrap();
        client.batch_execute("DROP TABLE s.u").await.unwrap();
        task.create_tables(&t, &snapshot(2)).await.unwrap();
        assert_eq!(task.finished_chunks().await.unwrap().len(), 1);
        assert_eq!(rows(&client, &t).await, "1, 3 | ");
    });
}

/// Tables that are there before the first run: what happens to `t(id, v)` with row `1 old`, and to a foreign key on it.
#[track_caller]
fn check_types(columns: &str, there: &str, expect: &str) {
    let found = run(async {
        let database = database().await;
        let client = database.client().await.unwrap();
        client.batch_execute(there).await.unwrap();
        let t = tables(&format!("t(id:int key, {columns})"));
        let (task, _) = open(&database, ExistingTables::Error).await;
        let done = match task.create_tables(&t, &snapshot(1)).await {
            Ok(_) => "made".to_owned(),
            Err(fault) => fault.message,
        };
        let made = client.query_one("SELECT to_regclass('s.t') IS NOT NULL", &[]).await.unwrap();
        assert_eq!(made.get::<_, bool>(0), done == "made");
        done
    });
    assert_eq!(found, expect);
}

#[test]
fn types_that_an_extension_has_are_looked_for_before_anything_is_made() {
    let lacks = |column, name, extension| {
        format!(
            "the target lacks types: column \"{column}\" of \"s.t\" is of type public.{name}, which extension {extension} has"
        )
    };
    check_types("p:ltree", "", &lacks("p", "ltree", "ltree"));
    check_types("p:ltree", "CREATE EXTENSION ltree", "made");
    check_types("p:ltree", "CREATE SCHEMA e; CREATE EXTENSION ltree SCHEMA e", &lacks("p", "ltree", "ltree"));
    check_types("v:vector", "", &lacks("v", "vector", "vector"));
    check_types("c:citext", "", &lacks("c", "citext", "citext"));
    check_types("g:geometry", "", &lacks("g", "geometry", "postgis"));
}

#[test]
fn domains_are_made_once_and_what_is_there_must_be_the_same() {
    let differs =
        |found: &str| format!("domain \"s\".\"code\" would be of varchar(3); on the target that name has {found}");
    check_types("c:varchar3@code, d:varchar3@code, n:int@count", "", "made");
    check_types("c:varchar3@code", "CREATE SCHEMA s; CREATE DOMAIN s.code AS varchar(3) CHECK (VALUE <> '')", "made");
    check_types(
        "c:varchar3@code",
        "CREATE SCHEMA s; CREATE DOMAIN s.code AS varchar(4)",
        &differs("character varying(4)"),
    );
    check_types("c:varchar3@code", "CREATE SCHEMA s; CREATE TYPE s.code AS ENUM ()", &differs("no domain"));
}

#[track_caller]
fn check_existing(policy: ExistingTables, there: &str, expect: &str) {
    let found = run(async {
        let database = database().await;
        let client = database.client().await.unwrap();
        client.batch_execute(there).await.unwrap();
        let t = tables("t(id:int key, v), u(v)");
        let (task, _) = open(&database, policy).await;
        match task.create_tables(&t, &snapshot(1)).await {
            Ok(_) => rows(&client, &t).await,
            Err(fault) => fault.message,
        }
    });
    assert_eq!(found, expect);
}

#[test]
fn existing_tables_are_treated_as_told() {
    let one =
        "CREATE SCHEMA s; CREATE TABLE s.t(v varchar, id int PRIMARY KEY, more int); INSERT INTO s.t VALUES ('old', 1)";
    let two = format!("{one}; CREATE VIEW s.u AS SELECT 1");
    let other = "CREATE SCHEMA s; CREATE TABLE s.t(id bigint)";
    check_existing(ExistingTables::Error, "", " | ");
    check_existing(ExistingTables::Error, &two, "these tables are on the target already: \"s.t\", \"s.u\"");
    check_existing(ExistingTables::Ignore, one, "1 old | ");
    check_existing(ExistingTables::Truncate, one, " | ");
    check_existing(ExistingTables::Recreate, one, " | ");
    check_existing(ExistingTables::Recreate, other, " | ");
    let differ = "tables on the target do not fit: column \"id\" of \"s.t\" is of type int8, not int4; \"s.t\" has no column \"v\"";
    check_existing(ExistingTables::Ignore, other, differ);
    check_existing(ExistingTables::Truncate, other, differ);
}

#[test]
fn identities_go_on() {
    run(async {
        let database = database().await;
        let mut all = Vec::new();
        let identities = [
            ("up", Identity { seed: 1, increment: 1, last: Some(17) }),
            ("rows", Identity { seed: 1, increment: 1, last: None }),
            ("down", Identity { seed: -5, increment: -2, last: Some(-7) }),
            ("zero", Identity { seed: 0, increment: 10, last: None }),
            // A row that was given a number below the first one, and a counter that was set below it.
            ("below", Identity { seed: 1, increment: 1, last: None }),
            ("reseeded", Identity { seed: 1, increment: 1, last: Some(-3) }),
        ];
        for (name, identity) in identities {
            let mut t = TargetTable::clone(&tables(&format!("{name}(id:int key, v)"))[0]);
            t.columns[0].identity = Some(identity);
            all.push(Arc::new(t));
        }
        let (task, _) = open(&database, ExistingTables::Error).await;
        task.create_tables(&all, &snapshot(1)).await.unwrap();
        copy(&task, &all[0], 0, "3 a").await.unwrap();
        copy(&task, &all[1], 0, "41 a").await.unwrap();
        copy(&task, &all[4], 0, "-3 a").await.unwrap();
        let chunks: Vec<_> = all.iter().cloned().zip([1, 1, 0, 0, 1, 0]).collect();
        task.finish_copy(&chunks, &fixups(&all, "")).await.unwrap();
        let client = database.client().await.unwrap();
        for (name, next) in [("up", 18), ("rows", 42), ("down", -9), ("zero", 0), ("below", 1), ("reseeded", -2)] {
            let row =
                client.query_one(&format!("INSERT INTO s.{name}(v) VALUES ('n') RETURNING id"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), next, "{name}");
        }
    });
}

#[test]
fn refused_rows_are_named_and_nothing_of_the_chunk_stays() {
    run(async {
        let database = database().await;
        let t = tables("t(id:int key, v:varchar3)");
        let (task, _) = open(&database, ExistingTables::Error).await;
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        let fault = copy(&task, &t[0], 0, "1 abc; 2 secret").await.unwrap_err();
        let expect = "table \"s.t\" refused the copy of 2 rows: value too long for type character varying(3) (COPY t, line 2, column v) [22001]";
        assert_eq!((fault.class, fault.message.as_str()), (Class::Table, expect));
        let mut chunk = task.copy_chunk(&t[0], 0).await.unwrap();
        chunk.send(tuples(&t[0], "1 abc").0).await.unwrap();
        let error = chunk.finish(2).await.unwrap_err();
        assert_eq!(error.to_string(), "chunk 0 of table \"s.t\": 2 rows were sent, PostgreSQL counted 1");
        let gone = tables("gone(id:int)");
        let fault = task.copy_chunk(&gone[0], 0).await.err().unwrap();
        assert!(fault.message.contains("relation \"s.gone\" does not exist [42P01]"), "{}", fault.message);
        // The pool has thrown those connections away; the task goes on.
        copy(&task, &t[0], 0, "1 abc").await.unwrap();
        assert_eq!(rows(&database.client().await.unwrap(), &t).await, "1 abc");
    });
}

#[test]
fn chunks_are_copied_in_parallel() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = database().await;
        let t = tables("t(id:int key, v)");
        let (task, _) = open(&database, ExistingTables::Error).await;
        let task = Arc::new(task);
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        let mut work = tokio::task::JoinSet::new();
        for number in 0..16u32 {
            let (task, table) = (task.clone(), t[0].clone());
            work.spawn(async move {
                let text: Vec<_> = (0..500).map(|i| format!("{} v", number * 500 + i)).collect();
                copy(&task, &table, number, &text.join(";")).await.unwrap()
            });
        }
        assert_eq!(work.join_all().await.iter().sum::<u64>(), 8000);
        task.finish_copy(&[(t[0].clone(), 16)], &fixups(&t, "")).await.unwrap();
        let client = database.client().await.unwrap();
        let row = client.query_one("SELECT count(DISTINCT id) FROM s.t", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 8000);
    });
}

#[test]
fn several_may_start_at_once() {
    run(async {
        let database = database().await;
        let target = Target::parse(&database.url()).unwrap();
        let opened = (0..6).map(|i| TaskTarget::open(&target, TaskSettings::new(format!("task {}", i % 3))));
        for opened in futures_util::future::join_all(opened).await {
            opened.unwrap();
        }
        let client = database.client().await.unwrap();
        let row = client.query_one("SELECT string_agg(epoch::text, ' ') FROM logferry.checkpoint", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "2 2 2");
    });
}

#[test]
fn both_ways_in_work() {
    run(async {
        let database = database().await;
        for url in [database.url(), database.socket_url()] {
            Target::parse(&url).unwrap().connect().await.unwrap();
        }
        let wrong = Target::parse(&format!("{}_gone", database.url())).unwrap();
        let fault = TaskTarget::open(&wrong, TaskSettings::new("test")).await.err().unwrap();
        assert_eq!(fault.class, Class::Operator);
        assert_eq!(fault.hint.as_deref(), Some("create the database first"));
        assert!(
            fault.message.ends_with(&format!("database \"{}_gone\" does not exist [3D000]", database.name())),
            "{fault}"
        );
        let nobody = Target::parse("postgres://u:s3cret@127.0.0.1:1/d").unwrap();
        let fault = TaskTarget::open(&nobody, TaskSettings::new("test")).await.err().unwrap();
        assert_eq!(fault.class, Class::Transient);
        assert!(
            fault.message.starts_with("could not connect to u@127.0.0.1:1/d: error connecting to server"),
            "{fault}"
        );
    });
}
