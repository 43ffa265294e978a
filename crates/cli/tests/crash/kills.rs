//! Kills at random moments, in rounds: each a fresh database, killed again and again until the task is through.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use logferry_mssql_standin_storage::workload::Random;
use logferry_testkit::postgres::PrivatePostgres;

use crate::process::Task;
use crate::round::History;
use crate::state::{PHASES, TaskState};

/// Rounds at the same time.
const WORKERS: u64 = 2;

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_doubled() {
    let kills: u32 = number("LOGFERRY_CRASH_KILLS").unwrap_or(200) as u32;
    let seed = number("LOGFERRY_CRASH_SEED").unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is after 1970");
        now.as_secs()
    });
    eprintln!("{kills} kills with LOGFERRY_CRASH_SEED={seed}");
    let began = Instant::now();
    let total = Total::default();
    total.whole_run_ms.store(whole_run(seed).as_millis() as u64, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let total = &total;
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    while !total.is_enough(kills) {
                        let round = total.rounds.fetch_add(1, Ordering::Relaxed);
                        runtime.block_on(play(seed.wrapping_add(round), worker, kills, total));
                    }
                })
            })
            .collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let hit = total.hit.into_inner().expect("no worker panicked");
    let rounds = total.rounds.load(Ordering::Relaxed);
    eprintln!("kills by durable phase: {hit:?}; {rounds} rounds, {:.1} s", began.elapsed().as_secs_f64());
    let (killed, count) = (hit.values().sum::<u32>(), |phase| hit.get(phase).copied().unwrap_or(0));
    assert!(killed >= kills, "{killed} kills of {kills}");
    for phase in MUST_BE_HIT {
        assert!(count(phase) * 10 >= kills, "too few kills while {phase}: {hit:?}");
    }
}

/// A test that kills only in one place has shown little: a tenth of the kills must be in each of these.
const MUST_BE_HIT: [&str; 2] = [PHASES[COPYING], "streaming"];
const COPYING: usize = 2;

/// What all rounds share.
#[derive(Default)]
struct Total {
    rounds: AtomicU64,
    kills: AtomicU32,
    hit: Mutex<BTreeMap<&'static str, u32>>,
    /// How long a run takes that is not killed, in milliseconds.
    whole_run_ms: AtomicU64,
}

impl Total {
    /// Whether all kills are done, and in all places. How long each phase takes depends on the machine, so there may have
    /// to be more of them; but not without end.
    fn is_enough(&self, kills: u32) -> bool {
        let hit = self.hit.lock().expect("no worker panicked");
        let everywhere = MUST_BE_HIT.iter().all(|phase| hit.get(phase).copied().unwrap_or(0) * 10 >= kills);
        let done = self.kills.load(Ordering::Relaxed);
        done >= kills && everywhere || done >= kills.saturating_mul(3)
    }
}

/// Runs a task without killing it, to know how long that takes.
fn whole_run(seed: u64) -> Duration {
    // The first round that has many small rows: most have.
    let seed = if seed.is_multiple_of(5) { seed + 1 } else { seed };
    let history = History::generate(seed);
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let began = Instant::now();
    Task::write(history.folder.path(), "whole", &history.paths(), &database.url())
        .start()
        .wait()
        .assert_success("a run");
    eprintln!("a whole run takes {:?}", began.elapsed());
    began.elapsed()
}

/// One round: runs and kills until a run ends by itself; then the comparison.
async fn play(seed: u64, worker: u64, kills: u32, total: &Total) {
    let mut random = Random::new(seed);
    let history = History::generate(seed);
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let task = Task::write(history.folder.path(), "crash", &history.paths(), &database.url());
    let client = database.client().await.expect("the target answers");
    let mut before = TaskState::read(&client).await;
    let mut moments = Vec::new();
    loop {
        let what = format!("round {seed} (worker {worker}), after kills at {moments:?}");
        let mut run = task.start();
        // As long as a whole run takes now and then, mostly less, so that a round has more than a few kills.
        let whole = total.whole_run_ms.load(Ordering::Relaxed) * 1000;
        let within = if random.percent(50) { whole } else { whole / 2 };
        let enough = total.is_enough(kills);
        let mut delay = Duration::from_micros(random.below(within) + 1000);
        if before.step() <= COPYING && random.percent(25) {
            // The copy is short: now and then its begin is waited for.
            while TaskState::read(&client).await.step() < COPYING && !run.is_over() {}
            delay /= 8;
        }
        let ended = if enough { Ok(run.wait()) } else { run.wait_for(delay) };
        match ended {
            Ok(ended) => {
                ended.assert_success(&what);
                break;
            }
            Err(run) => {
                let said = run.kill();
                assert!(!said.contains("panicked"), "{what}: {said}");
            }
        }
        total.kills.fetch_add(1, Ordering::Relaxed);
        let after = TaskState::read(&client).await;
        moments.push((after.phase.clone(), delay.as_millis()));
        *total.hit.lock().expect("no worker panicked").entry(PHASES[after.step()]).or_default() += 1;
        after.assert_not_before(&before, &what);
        before = after;
    }
    let what = format!("round {seed}, after kills at {moments:?}");
    let after = TaskState::read(&client).await;
    after.assert_not_before(&before, &what);
    assert_eq!(after.phase, "streaming", "{what}");
    let last = history.files.len() - 1;
    history.assert_target_equals(&client, last, &what).await;
    // Nothing is left to do, and nothing is done.
    task.start().wait().assert_success(&what);
    let again = TaskState::read(&client).await;
    assert_eq!((again.applied, again.chunks), (after.applied, after.chunks), "{what}: a run with nothing to do");
    history.assert_target_equals(&client, last, &format!("{what}, run once more")).await;
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
