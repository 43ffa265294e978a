//! What logferry remembers, in schema `logferry` of the target and nowhere else.
//!
//! | table | one row per | says |
//! |---|---|---|
//! | `version` | | which shape these tables have |
//! | `task` | task | its phase, and the snapshot that is being copied |
//! | `checkpoint` | task | who may write (the lease epoch), and how far the target is |
//! | `chunk` | copied chunk | written in the transaction that wrote the chunk's rows |
//! | `fence` | table whose rows are of a later moment than the copy | up to where its changes are in them |
//! | `shape` | table of the source | the columns and keys that it has on the target; NULL: it is left out (see `shape.rs`) |
//!
//! **The lease.** Who opens a task counts its epoch up. Everybody who writes ends their transaction with a
//! statement on the checkpoint row that asks for their own epoch; it finds no row once somebody else has
//! opened the task, and the transaction is rolled back. The row lock makes this exact: of an opening and a
//! commit at the same moment, one waits for the other. It comes *last* in the transaction, so a long
//! transaction never keeps a successor waiting.
//!
//! The epoch is in the row of the checkpoint, not in `task`, so that fence and checkpoint are one statement.
//! LSNs are stored as text with leading zeroes: people can read them, and they sort.

use logferry_model::{Checkpoint, CommitLsn, Lineage, Lsn, RestartLsn};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::client::Client;
use crate::error::Error;

/// How far a task has come on the target. Each step is recorded in the transaction that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Known by name; no tables yet.
    Created,
    /// Tables are there, chunks are coming.
    Copying,
    /// All chunks are there; keys are being made.
    Keys,
    /// Complete up to the checkpoint; changes are coming.
    Streaming,
}

impl Phase {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Copying => "copying",
            Phase::Keys => "keys",
            Phase::Streaming => "streaming",
        }
    }
}

/// What the target knows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskState {
    /// How far it has come.
    pub phase: Phase,
    /// The snapshot that was or is being copied.
    pub snapshot: Option<[u8; 16]>,
    /// What the source of that snapshot needs to have it again.
    pub memo: Vec<u8>,
    /// What the opener said of its settings last time (see [`crate::TaskSettings::settings_hash`]).
    pub settings_hash: Vec<u8>,
    /// How far the target is; `None` before phase [`Phase::Streaming`].
    pub checkpoint: Option<Checkpoint>,
}

/// The right to write for a task.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub task: String,
    pub epoch: i64,
}

const VERSION: i32 = 5;

/// Any constant will do: it keeps two that start at once from making the tables twice.
const MIGRATION_LOCK: i64 = 0x6c6f_6766_6572_7279;

const VERSION_1: &str = r#"
CREATE TABLE "logferry"."version" (version integer NOT NULL);
INSERT INTO "logferry"."version" VALUES (1);
CREATE TABLE "logferry"."task" (
    task text PRIMARY KEY,
    phase text NOT NULL,
    snapshot bytea,
    settings_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
-- One row is updated with every batch: room on its page keeps it there.
CREATE TABLE "logferry"."checkpoint" (
    task text PRIMARY KEY REFERENCES "logferry"."task" ON DELETE CASCADE,
    epoch bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    applied text COLLATE "C",
    restart text COLLATE "C",
    database_guid bytea,
    fork_guid bytea,
    commit_time timestamp,
    updated_at timestamptz
) WITH (fillfactor = 10);
CREATE TABLE "logferry"."chunk" (
    task text NOT NULL REFERENCES "logferry"."task" ON DELETE CASCADE,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    number bigint NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    copied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task, schema_name, table_name, number)
);
COMMENT ON SCHEMA "logferry" IS 'State of logferry tasks; written in the transactions that write the data';
"#;

/// What a source needs to go on with a copy.
const VERSION_2: &str = r#"
ALTER TABLE "logferry"."task" ADD COLUMN memo bytea NOT NULL DEFAULT '';
UPDATE "logferry"."version" SET version = 2;
"#;

/// The shapes of tables.
const VERSION_3: &str = r#"
CREATE TABLE "logferry"."shape" (
    task text NOT NULL REFERENCES "logferry"."task" ON DELETE CASCADE,
    source_id bigint NOT NULL,
    shape jsonb,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task, source_id)
);
UPDATE "logferry"."version" SET version = 3;
"#;

/// Rows of another moment than that of the copy, and keys that wait until all are of one.
const VERSION_4: &str = r#"
CREATE TABLE "logferry"."fence" (
    task text NOT NULL REFERENCES "logferry"."task" ON DELETE CASCADE,
    source_id bigint NOT NULL,
    lsn text COLLATE "C" NOT NULL,
    PRIMARY KEY (task, source_id)
);
ALTER TABLE "logferry"."task" ADD COLUMN whole_at text COLLATE "C";
UPDATE "logferry"."version" SET version = 4;
"#;

/// Tables that are to be read once more.
const VERSION_5: &str = r#"
CREATE TABLE "logferry"."reload" (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task text NOT NULL REFERENCES "logferry"."task" ON DELETE CASCADE,
    source_id bigint NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now()
);
UPDATE "logferry"."version" SET version = 5;
"#;

/// Brings the state tables to the present shape. Safe when several start at once. After an error the connection is within a transaction.
pub(crate) async fn migrate(client: &Client) -> Result<(), Error> {
    let doing = || Error::sql("set up the state tables in schema \"logferry\"");
    client.batch_execute("BEGIN").await.map_err(doing())?;
    client.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await.map_err(doing())?;
    let there = client
        .query_one("SELECT to_regnamespace('logferry') IS NOT NULL, to_regclass('logferry.version') IS NOT NULL", &[])
        .await
        .map_err(doing())?;
    // Not CREATE ... IF NOT EXISTS: that asks for the right to create even where there is nothing to do.
    if !there.get::<_, bool>(0) {
        client.batch_execute("CREATE SCHEMA \"logferry\"").await.map_err(doing())?;
    }
    let mut found = 1;
    if there.get::<_, bool>(1) {
        let row = client.query_one("SELECT max(version) FROM \"logferry\".\"version\"", &[]).await.map_err(doing())?;
        found = row.get(0);
        if found > VERSION {
            return Err(Error::NewerState { found, known: VERSION });
        }
    } else {
        client.batch_execute(VERSION_1).await.map_err(doing())?;
    }
    if found < 2 {
        client.batch_execute(VERSION_2).await.map_err(doing())?;
    }
    if found < 3 {
        client.batch_execute(VERSION_3).await.map_err(doing())?;
    }
    if found < 4 {
        client.batch_execute(VERSION_4).await.map_err(doing())?;
    }
    if found < 5 {
        client.batch_execute(VERSION_5).await.map_err(doing())?;
    }
    client.batch_execute("COMMIT").await.map_err(doing())
}

/// Takes a task, from whomever has it, and reads its state. After an error the connection is within a transaction.
pub(crate) async fn open(client: &Client, task: &str, settings_hash: &[u8]) -> Result<(Lease, TaskState), Error> {
    let doing = || Error::sql(format!("open task \"{task}\""));
    // A holder keeps the row only for the moment of a commit.
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '60s'").await.map_err(doing())?;
    client
        .execute(
            "INSERT INTO logferry.task (task, phase, settings_hash) VALUES ($1, $2, $3) ON CONFLICT (task) DO NOTHING",
            &[&task, &Phase::Created.as_str(), &settings_hash],
        )
        .await
        .map_err(doing())?;
    let row = client
        .query_one(
            "INSERT INTO logferry.checkpoint AS c (task, epoch, opened_at) VALUES ($1, 1, now()) \
             ON CONFLICT (task) DO UPDATE SET epoch = c.epoch + 1, opened_at = now() RETURNING epoch",
            &[&task],
        )
        .await
        .map_err(doing())?;
    let lease = Lease { task: task.to_owned(), epoch: row.get(0) };
    let state = read(client, task).await?;
    // Rows that were copied under other settings stay what they are, however often somebody tries.
    let sql = "UPDATE logferry.task SET settings_hash = $2 WHERE task = $1 AND phase = 'created'";
    client.execute(sql, &[&task, &settings_hash]).await.map_err(doing())?;
    client.batch_execute("COMMIT").await.map_err(doing())?;
    Ok((lease, state))
}

/// Reads the state of a task.
pub(crate) async fn read(client: &Client, task: &str) -> Result<TaskState, Error> {
    let row = client
        .query_opt(
            "SELECT t.phase, t.snapshot, t.settings_hash, c.applied, c.restart, c.database_guid, c.fork_guid, c.commit_time, t.memo \
             FROM logferry.task t JOIN logferry.checkpoint c USING (task) WHERE task = $1",
            &[&task],
        )
        .await
        .map_err(Error::sql(format!("read the state of task \"{task}\"")))?
        .ok_or_else(|| Error::TaskGone { task: task.to_owned() })?;
    let bad = |what: &str| Error::BadState { task: task.to_owned(), what: what.to_owned() };
    let phase = match row.get(0) {
        "created" => Phase::Created,
        "copying" => Phase::Copying,
        "keys" => Phase::Keys,
        "streaming" => Phase::Streaming,
        other => return Err(bad(&format!("unknown phase \"{other}\""))),
    };
    let snapshot = match row.get::<_, Option<&[u8]>>(1) {
        Some(id) => Some(id.try_into().map_err(|_| bad("the snapshot's id has not 16 bytes"))?),
        None => None,
    };
    let checkpoint = read_checkpoint(&row).map_err(|what| bad(&what))?;
    if (phase == Phase::Streaming) != checkpoint.is_some() {
        return Err(bad("phase and checkpoint contradict each other"));
    }
    Ok(TaskState { phase, snapshot, memo: row.get(8), settings_hash: row.get(2), checkpoint })
}

/// From where on rows are of one moment, while that is not reached.
pub(crate) async fn whole_at(client: &Client, task: &str) -> Result<Option<Lsn>, Error> {
    let row = client
        .query_opt("SELECT whole_at FROM logferry.task WHERE task = $1", &[&task])
        .await
        .map_err(Error::sql(format!("read the state of task \"{task}\"")))?;
    let Some(text) = row.and_then(|row| row.get::<_, Option<String>>(0)) else { return Ok(None) };
    let bad = |_| Error::BadState { task: task.to_owned(), what: format!("\"{text}\" is no LSN") };
    text.parse().map(Some).map_err(bad)
}

fn read_checkpoint(row: &Row) -> Result<Option<Checkpoint>, String> {
    let Some(applied) = row.get::<_, Option<&str>>(3) else { return Ok(None) };
    let lsn = |text: &str| text.parse::<Lsn>().map_err(|e| e.to_string());
    let guid = |i: usize| <[u8; 16]>::try_from(row.get::<_, Option<&[u8]>>(i).unwrap_or_default());
    Ok(Some(Checkpoint {
        applied: CommitLsn(lsn(applied)?),
        restart: RestartLsn(lsn(row.get::<_, Option<&str>>(4).unwrap_or_default())?),
        lineage: Lineage {
            database: guid(5).map_err(|_| "the database GUID has not 16 bytes")?,
            fork: guid(6).map_err(|_| "the fork GUID has not 16 bytes")?,
        },
        commit_time_us: row.get::<_, Option<Micros>>(7).map(|m| m.0),
    }))
}

impl Lease {
    /// Counts the epoch up once more, if it is still ours: what an earlier connection of ours may still
    /// have under way is fenced off, or waited for where it is committing.
    pub async fn renew(&mut self, client: &Client) -> Result<(), Error> {
        let row = client
            .query_opt(
                "UPDATE logferry.checkpoint SET epoch = epoch + 1, opened_at = now() \
                 WHERE task = $1 AND epoch = $2 RETURNING epoch",
                &[&self.task, &self.epoch],
            )
            .await
            .map_err(Error::sql(format!("renew the lease of task \"{}\"", self.task)))?;
        match row {
            Some(row) => self.epoch = row.get(0),
            None => return Err(self.why_lost(client, None).await),
        }
        Ok(())
    }

    /// Sees whether the lease is ours, without locking: to stop early. Only the end of a transaction decides.
    pub async fn check(&self, client: &Client) -> Result<(), Error> {
        let held = client
            .query_opt("SELECT FROM logferry.checkpoint WHERE task = $1 AND epoch = $2", &[&self.task, &self.epoch])
            .await
            .map_err(self.doing("check the lease"))?;
        if held.is_none() { Err(self.why_lost(client, None).await) } else { Ok(()) }
    }

    /// Keeps everybody else from taking the task until the transaction ends.
    pub async fn hold(&self, client: &Client) -> Result<(), Error> {
        let held = client
            .query_opt(
                "SELECT FROM logferry.checkpoint WHERE task = $1 AND epoch = $2 FOR UPDATE",
                &[&self.task, &self.epoch],
            )
            .await
            .map_err(self.doing("hold the lease"))?;
        if held.is_none() { Err(self.why_lost(client, None).await) } else { Ok(()) }
    }

    /// Writes the checkpoint, if the lease is ours and it does not go back.
    pub async fn write(&self, client: &Client, to: &Checkpoint) -> Result<(), Error> {
        let applied = to.applied.0.to_string();
        let n = client
            .execute(
                // Positions of two lineages cannot be compared; whether one may follow the other is for the source to say.
                "UPDATE logferry.checkpoint SET applied = $3, restart = $4, database_guid = $5, fork_guid = $6, \
                 commit_time = $7, updated_at = clock_timestamp() \
                 WHERE task = $1 AND epoch = $2 \
                 AND (applied IS NULL OR applied <= $3 OR database_guid <> $5 OR fork_guid <> $6)",
                &[
                    &self.task,
                    &self.epoch,
                    &applied,
                    &to.restart.0.to_string(),
                    &&to.lineage.database[..],
                    &&to.lineage.fork[..],
                    &to.commit_time_us.map(Micros),
                ],
            )
            .await
            .map_err(self.doing("write the checkpoint"))?;
        if n == 1 { Ok(()) } else { Err(self.why_lost(client, Some(to.applied.0)).await) }
    }

    /// Remembers what the opener says of its settings; in a transaction that ends with a checkpoint.
    pub async fn remember(&self, client: &Client, settings: &[u8]) -> Result<(), Error> {
        let sql = "UPDATE logferry.task SET settings_hash = $2, changed_at = now() WHERE task = $1";
        client.execute(sql, &[&self.task, &settings]).await.map(drop).map_err(self.doing("remember the settings"))
    }

    /// Says why a statement that asked for our epoch found no row.
    pub async fn why_lost(&self, client: &Client, wanted: Option<Lsn>) -> Error {
        let row =
            client.query_opt("SELECT epoch, applied FROM logferry.checkpoint WHERE task = $1", &[&self.task]).await;
        let task = self.task.clone();
        match row {
            Err(e) => self.doing("check the lease")(e),
            Ok(None) => Error::TaskGone { task },
            Ok(Some(row)) => match (row.get(0), row.get::<_, Option<String>>(1), wanted) {
                (theirs, Some(there), Some(wanted)) if theirs == self.epoch => Error::Backwards { task, there, wanted },
                (theirs, ..) => Error::Fenced { task, ours: self.epoch, theirs },
            },
        }
    }

    pub fn doing(&self, what: &str) -> impl FnOnce(tokio_postgres::Error) -> Error + use<> {
        Error::sql(format!("{what} of task \"{}\"", self.task))
    }
}

/// A timestamp in PostgreSQL's own unit: microseconds since 2000-01-01.
#[derive(Debug)]
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        i64::from_sql(ty, raw).map(Micros)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP
    }
}

impl ToSql for Micros {
    fn to_sql(&self, ty: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP
    }

    to_sql_checked!();
}
