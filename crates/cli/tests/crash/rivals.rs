//! Two processes with the same task: the second takes it over, and the first can commit nothing from there on.

use std::time::Duration;

use logferry_mssql_standin_storage::workload::Random;
use logferry_testkit::postgres::PrivatePostgres;

use crate::outages::reach;
use crate::process::Task;
use crate::round::History;

#[tokio::test]
async fn the_second_takes_over_and_the_first_ends() {
    for (seed, phase) in [(8000, "copying"), (8001, "streaming")] {
        let history = History::generate(seed);
        let database = PrivatePostgres::shared().create_database().expect("a database");
        let task = Task::write(history.folder.path(), "rivals", &history.paths(), &database.url());
        let mut first = task.start();
        let seen = reach(&database, &mut first, phase).await;
        let second = task.start();
        let (first, second) = (first.wait(), second.wait());
        let what = format!("two runs from {phase} on, seed {seed}");
        second.assert_success(&what);
        assert_eq!(first.status.code(), Some(1), "{what}: the first run\n{}", first.said);
        assert!(first.said.contains("another logferry"), "{what}: the first run says why:\n{}", first.said);
        let client = database.client().await.expect("the target answers");
        crate::state::TaskState::read(&client).await.assert_not_before(&seen, &what);
        history.assert_target_equals(&client, history.files.len() - 1, &what).await;
    }
}

#[tokio::test]
async fn of_two_that_start_at_once_one_ends_the_work() {
    for seed in 8100..8104 {
        let history = History::generate(seed);
        let database = PrivatePostgres::shared().create_database().expect("a database");
        let task = Task::write(history.folder.path(), "rivals", &history.paths(), &database.url());
        let a = task.start();
        std::thread::sleep(Duration::from_millis(Random::new(seed).below(15)));
        let b = task.start();
        let ended = [a.wait(), b.wait()];
        let what = format!("two runs at once, seed {seed}");
        let through = ended.iter().filter(|e| e.status.success()).count();
        assert_eq!(through, 1, "{what}:\n{}\n{}", ended[0].said, ended[1].said);
        let client = database.client().await.expect("the target answers");
        history.assert_target_equals(&client, history.files.len() - 1, &what).await;
    }
}
