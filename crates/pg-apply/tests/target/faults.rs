//! Broken connections, lost answers, two daemons.

use std::sync::Arc;

use logferry_model::{ChangeSink, Class, TargetBatch};
use logferry_pg_apply::{Phase, Target, TaskSettings, TaskTarget};
use logferry_testkit::postgres::PrivatePostgres;

use crate::support::{checkpoint, database, rows, run, snapshot, streaming, tables};
use logferry_testkit::proxy::{Cut, Proxy};

#[test]
fn a_second_daemon_fences_the_first() {
    run(async {
        let mut s = streaming("t(id:int key, v)").await;
        s.apply("ins 1 a % ins 2 b |", 1).await.unwrap();
        let target = Target::parse(&s.database.url()).unwrap();
        // The first is in the middle of a transaction: the second does not wait for it.
        let (second, state) = TaskTarget::open(&target, TaskSettings::new("test")).await.unwrap();
        assert_eq!(state.checkpoint, Some(checkpoint(1)));
        let fault = s.apply("ins 3 c", 2).await.unwrap_err();
        assert_eq!(fault.class, Class::Operator);
        assert_eq!(fault.message, "another logferry took over task \"test\" (lease epoch 3 > 2)");
        assert_eq!(s.rows().await, "1 a");
        // Nor does a new connection or a chunk help it.
        assert!(s.task.sink().await.err().unwrap().message.contains("took over"));
        assert!(s.task.copy_chunk(&s.tables[0], 0).await.err().unwrap().message.contains("took over"));
        s.sink = second.sink().await.unwrap();
        s.sink.define(s.tables[0].clone()).await.unwrap();
        assert_eq!(s.sink.resume_point().await.unwrap(), Some(checkpoint(1)));
        s.apply("ins 4 d", 2).await.unwrap();
        assert_eq!(s.rows().await, "1 a, 4 d");
    });
}

#[test]
fn a_takeover_in_the_middle_of_a_chunk_leaves_nothing_of_it() {
    run(async {
        let database = database().await;
        let t = tables("t(v)");
        let target = Target::parse(&database.url()).unwrap();
        let (first, _) = TaskTarget::open(&target, TaskSettings::new("test")).await.unwrap();
        first.create_tables(&t, &snapshot(1)).await.unwrap();
        let mut chunk = first.copy_chunk(&t[0], 0).await.unwrap();
        chunk.send(bytes::Bytes::from_static(b"\0\x01\0\0\0\x01x")).await.unwrap();
        let (second, _) = TaskTarget::open(&target, TaskSettings::new("test")).await.unwrap();
        let error = chunk.finish(1).await.unwrap_err().to_string();
        assert_eq!(error, "another logferry took over task \"test\" (lease epoch 2 > 1)");
        assert_eq!(rows(&database.client().await.unwrap(), &t).await, "");
        assert_eq!(second.finished_chunks().await.unwrap(), []);
    });
}

#[test]
fn the_checkpoint_never_goes_back() {
    run(async {
        let mut s = streaming("t(id:int key, v)").await;
        s.apply("ins 1 a", 5).await.unwrap();
        s.apply("ins 2 b", 5).await.unwrap();
        let fault = s.apply("ins 3 c", 4).await.unwrap_err();
        assert_eq!(fault.class, Class::Operator);
        let expect =
            "the checkpoint of task \"test\" would go back from 00000005:00000007:0001 to 00000004:00000007:0001";
        assert_eq!(fault.message, expect);
        assert_eq!(s.rows().await, "1 a, 2 b");
        // Of another history, positions say nothing.
        s.sink = s.task.sink().await.unwrap();
        let mut other = checkpoint(2);
        other.lineage.fork = [9; 16];
        other.commit_time_us = None;
        s.sink.apply(&TargetBatch { checkpoint: Some(other), ..TargetBatch::default() }).await.unwrap();
        assert_eq!(s.sink.resume_point().await.unwrap(), Some(other));
    });
}

/// Applies `ins 2 b` by way of a proxy that cuts at the commit; says what the sink made of it, and where the target then is.
fn cut_at_commit(cut: Cut) -> (Class, Option<u32>, String) {
    run(async {
        let mut s = streaming("t(id:int key, v)").await;
        s.apply("ins 1 a", 1).await.unwrap();
        let port = PrivatePostgres::shared().port();
        let proxy = Proxy::before(port).await.unwrap();
        let target = Target::parse(&proxy.url(&s.database.url(), port)).unwrap();
        let (task, _) = TaskTarget::open(&target, TaskSettings::new("test")).await.unwrap();
        s.sink = task.sink().await.unwrap();
        s.sink.define(s.tables[0].clone()).await.unwrap();
        proxy.cut(0, cut);
        let fault = s.apply("ins 2 b", 2).await.unwrap_err();
        assert!(proxy.was_cut());
        let mut again = task.sink().await.unwrap();
        let resume = again.resume_point().await.unwrap();
        (fault.class, resume.map(|c| c.applied.0.vlf), s.rows().await)
    })
}

#[test]
fn a_lost_commit_answer_is_settled_by_the_resume_point() {
    assert_eq!(cut_at_commit(Cut::BeforeCommit), (Class::Transient, Some(1), "1 a".to_owned()));
    assert_eq!(cut_at_commit(Cut::AfterCommit), (Class::Transient, Some(2), "1 a, 2 b".to_owned()));
}

/// Copies a chunk by way of a proxy that cuts at its commit.
fn chunk_cut_at_commit(cut: Cut) -> (Result<u64, Class>, usize, String) {
    run(async {
        let database = database().await;
        let t = tables("t(v)");
        let port = PrivatePostgres::shared().port();
        let proxy = Proxy::before(port).await.unwrap();
        let target = Target::parse(&proxy.url(&database.url(), port)).unwrap();
        let (task, _) = TaskTarget::open(&target, TaskSettings::new("test")).await.unwrap();
        task.create_tables(&t, &snapshot(1)).await.unwrap();
        let mut chunk = task.copy_chunk(&t[0], 0).await.unwrap();
        chunk.send(bytes::Bytes::from_static(b"\0\x01\0\0\0\x01x")).await.unwrap();
        proxy.cut(0, cut);
        let done = chunk.finish(1).await.map(|c| c.rows).map_err(|e| e.class());
        assert!(proxy.was_cut());
        let chunks = task.finished_chunks().await.unwrap().len();
        (done, chunks, rows(&database.client().await.unwrap(), &t).await)
    })
}

#[test]
fn a_lost_answer_to_a_chunk_is_settled_by_its_mark() {
    assert_eq!(chunk_cut_at_commit(Cut::BeforeCommit), (Err(Class::Transient), 0, String::new()));
    assert_eq!(chunk_cut_at_commit(Cut::AfterCommit), (Ok(1), 1, "x".to_owned()));
}

/// Cuts the connection at every place of the life of a task, and goes on each time.
#[test]
fn a_cut_anywhere_between_nothing_and_streaming_is_survived() {
    run(async {
        let port = PrivatePostgres::shared().port();
        let mut cuts = 0;
        for bytes in (0..).step_by(307) {
            let database = database().await;
            let proxy = Proxy::before(port).await.unwrap();
            let target = Target::parse(&proxy.url(&database.url(), port)).unwrap();
            let t = tables("t(id:int key, u unique), u(v)");
            proxy.cut(0, Cut::Bytes(bytes));
            let mut attempts = 0;
            while let Err(fault) = life(&target, &t).await {
                assert_eq!(fault.class, Class::Transient, "{bytes}: {fault}");
                attempts += 1;
                assert!(attempts < 3, "{bytes}: {fault}");
            }
            assert_eq!(rows(&database.client().await.unwrap(), &t).await, "1 a, 3 c | x, z", "cut after {bytes} bytes");
            if !proxy.was_cut() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 30, "only {cuts} cuts");
    });
}

async fn life(target: &Target, t: &[Arc<logferry_model::TargetTable>]) -> Result<(), logferry_model::Fault> {
    let (task, state) = TaskTarget::open(target, TaskSettings::new("test")).await?;
    let mut sink = if state.phase == Phase::Streaming {
        task.sink().await?
    } else {
        task.create_tables(t, &snapshot(1)).await?;
        let done = task.finished_chunks().await?;
        for (table, tuples) in [(&t[0], &b"\0\x02\0\0\0\x04\0\0\0\x01\0\0\0\x01a"[..]), (&t[1], b"\0\x01\0\0\0\x01x")] {
            if !done.iter().any(|c| c.table == table.name) {
                let mut chunk = task.copy_chunk(table, 0).await?;
                chunk.send(bytes::Bytes::from_static(tuples)).await?;
                chunk.finish(1).await?;
            }
        }
        let fixups = crate::support::batches(t, "ins 2 b", 0).remove(0);
        task.finish_copy(&[(t[0].clone(), 1), (t[1].clone(), 1)], &fixups).await?
    };
    for table in t {
        sink.define(table.clone()).await?;
    }
    let from = sink.resume_point().await?.map(|c| c.applied.0.vlf);
    for batch in crate::support::batches(t, "del 2 b | u: ins z % ins 3 c", 1) {
        if batch.checkpoint.is_none_or(|c| from < Some(c.applied.0.vlf))
            && (from < Some(1) || batch.checkpoint == Some(checkpoint(2)))
        {
            sink.apply(&batch).await?;
        }
    }
    Ok(())
}
