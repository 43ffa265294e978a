//! The target goes away while a run is at work: connections are cut, the server crashes and comes back. The run goes on by
//! itself, to the same end.

use std::time::{Duration, Instant};

use logferry_mssql_standin_storage::workload::Random;
use logferry_testkit::postgres::{Database, PrivatePostgres};

use crate::process::{Run, Task};
use crate::round::History;
use crate::state::TaskState;

#[tokio::test]
async fn cut_connections_are_made_again() {
    let cluster = PrivatePostgres::shared();
    let mut cuts = 0i64;
    for seed in 7000..7003 {
        let (history, database) = (History::generate(seed), cluster.create_database().expect("a database"));
        let task = Task::write(history.folder.path(), "cut", &history.paths(), &database.url());
        let client = database.client().await.expect("the target answers");
        let mut random = Random::new(seed);
        let mut run = task.start();
        // A few times only: the waits of a run that gets nothing done become longer and longer.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(random.below(80))).await;
            let mut cut = 0;
            while cut == 0 && !run.is_over() {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE datname = current_database() AND pid <> pg_backend_pid()";
                cut = client.query_one(sql, &[]).await.expect("the target answers").get(0);
            }
            cuts += cut;
        }
        let ended = run.wait();
        let what = format!("connections cut, seed {seed}");
        ended.assert_success(&what);
        history.assert_target_equals(&client, history.files.len() - 1, &what).await;
    }
    eprintln!("{cuts} connections were cut");
    assert!(cuts >= 10, "only {cuts} connections were cut");
}

#[tokio::test]
async fn a_crashed_server_is_waited_for() {
    let cluster = PrivatePostgres::start().unwrap_or_else(|e| panic!("{e}"));
    for (seed, phase) in [(7100, "copying"), (7101, "streaming")] {
        let (history, database) = (History::generate(seed), cluster.create_database().expect("a database"));
        let task = Task::write(history.folder.path(), "crashed", &history.paths(), &database.url());
        let mut run = task.start();
        reach(&database, &mut run, phase).await;
        cluster.crash();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!run.is_over(), "the run did not wait for the server, seed {seed}");
        cluster.restart().expect("the server starts again");
        let what = format!("server crashed while {phase}, seed {seed}");
        let ended = run.wait();
        ended.assert_success(&what);
        let client = database.client().await.expect("the target answers");
        history.assert_target_equals(&client, history.files.len() - 1, &what).await;
    }
}

/// Waits until a run is in a phase, with something done in it.
pub async fn reach(database: &Database<'_>, run: &mut Run, phase: &str) -> TaskState {
    let client = database.client().await.expect("the target answers");
    let began = Instant::now();
    let mut first: Option<TaskState> = None;
    loop {
        let now = TaskState::read(&client).await;
        let in_phase = first.get_or_insert_with(|| now.clone());
        if now.phase == phase && in_phase.phase != phase {
            first = Some(now.clone());
        } else if now.phase == phase && (now.chunks, &now.applied) != (in_phase.chunks, &in_phase.applied) {
            return now;
        }
        assert!(!run.is_over(), "the run ended before it was seen {phase}: last {now:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "not {phase} in time");
    }
}
