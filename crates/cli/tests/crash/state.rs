//! What the target says about the task.

use tokio_postgres::Client;

/// A task on the target, as its tables say. Ordered as a task goes on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TaskState {
    /// `none` where there are no tables of logferry's yet.
    pub phase: String,
    /// Who has written last.
    pub epoch: i64,
    /// The last commit that the target shows.
    pub applied: Option<String>,
    /// The oldest record that is needed to go on.
    pub restart: Option<String>,
    /// Chunks that are there.
    pub chunks: i64,
}

/// The phases of a task, in their order.
pub const PHASES: [&str; 5] = ["none", "created", "copying", "keys", "streaming"];

impl TaskState {
    /// Reads the state of the only task of a database.
    pub async fn read(client: &Client) -> Self {
        let sql = "SELECT to_regclass('logferry.chunk') IS NOT NULL";
        let there: bool = client.query_one(sql, &[]).await.expect("the target answers").get(0);
        let sql = "SELECT t.phase, c.epoch, c.applied, c.restart, (SELECT count(*) FROM logferry.chunk) \
                   FROM logferry.task t JOIN logferry.checkpoint c USING (task)";
        let row = if there { client.query_opt(sql, &[]).await.expect("the target answers") } else { None };
        match row {
            None => TaskState { phase: "none".into(), ..TaskState::default() },
            Some(row) => TaskState {
                phase: row.get(0),
                epoch: row.get(1),
                applied: row.get(2),
                restart: row.get(3),
                chunks: row.get(4),
            },
        }
    }

    /// Where the phase stands in [`PHASES`].
    pub fn step(&self) -> usize {
        PHASES.iter().position(|p| *p == self.phase).unwrap_or_else(|| panic!("unknown phase {}", self.phase))
    }

    /// Panics where the task went back.
    #[track_caller]
    pub fn assert_not_before(&self, earlier: &TaskState, what: &str) {
        // LSNs are stored with leading zeroes: they sort as text.
        let forward = self.step() >= earlier.step()
            && self.epoch >= earlier.epoch
            && self.applied >= earlier.applied
            && self.restart >= earlier.restart
            && self.chunks >= earlier.chunks;
        assert!(forward, "{what}: the task went back from {earlier:?} to {self:?}");
    }
}
