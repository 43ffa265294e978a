//! What holds where the task says nothing, and why.

use crate::task::{DdlPolicy, OnExisting, PerDatabase};

/// Chunks that are copied at the same time. PostgreSQL spends about as much on a `COPY` as the reading side, so that two
/// workers fill one core of each; four fill the small machines that most copies run on, and more rarely help one disk.
pub const COPY_WORKERS: u16 = 4;

/// Size of a chunk in MB of source pages. It is what a restart copies again at the most, per worker; below about 16 MB the
/// commits begin to show in the time of the copy.
pub const COPY_CHUNK_MB: u32 = 64;

/// A batch of changes is handed to the target at this size. Applying is set-wise, so larger batches net more changes of
/// the same row; past 8 MB nothing more is won and a lost connection repeats more work.
pub const APPLY_BATCH_MB: u32 = 8;

/// ... or at this many row changes: bounds the time of one commit with very small rows.
pub const APPLY_BATCH_ROWS: u32 = 50_000;

/// ... or this long after its first change, so that a quiet source is not held back by an unfilled batch. A fifth of a
/// second is below what a person notices and far above the cost of a commit.
pub const APPLY_LINGER_MS: u32 = 200;

/// How often the target is told that the source has nothing new: whoever watches the task knows after ten seconds that it is dead, and a row
/// in ten seconds costs nothing.
pub const APPLY_CONFIRM_SECONDS: u32 = 10;

/// Pages that the log has changed and that are kept in memory; the others wait in a temporary file. 96 MB hold the working set of a log of
/// some gigabytes, and leave what all else takes within 256 MB.
pub const MEMORY_PAGES_MB: u32 = 96;

/// Changes that are read and converted ahead of the target. Two batches: one being written, one being filled.
pub const MEMORY_QUEUE_MB: u32 = 16;

/// How long a lost connection is tried again. Half a day outlives a night's maintenance without a person.
pub const RETRY_CONNECTION_MINUTES: u32 = 720;

/// How often a folder is looked at. A file counts when it has not changed between two looks, so a log backup is taken up after twice this
/// time at the most; most are made every few minutes.
pub const WATCH_SECONDS: u32 = 5;

/// What is held of objects of a store in memory: eight ranges of 16 MB, two for each of four readers, one being read and one on its
/// way. Longer ranges cost more when one breaks than their number does.
pub const OBJECTS_MEMORY_MB: u32 = 128;

/// Name of a session of an assumed role, which the other account finds in its records.
pub const ROLE_SESSION: &str = "logferry";

/// Target tables that exist already and are not ours are an error: the only choice that cannot destroy anything.
pub const ON_EXISTING: OnExisting = OnExisting::Error;

/// A target that follows the source follows its tables, too; whoever must look at each change first says `stop`.
pub const DDL: DdlPolicy = DdlPolicy::Apply;

/// All databases of some files go to one of PostgreSQL: making others is a right that the account need not have.
pub const PER_DATABASE: PerDatabase = PerDatabase::Schemas;

/// How late an answer of the target may be before another connection asks whether anybody works at it. Nearly all come sooner, and the
/// question costs a connection; nobody notices a connection that is dead before four times as long.
pub const TARGET_ANSWER_SECONDS: u32 = 60;

/// Tables to take: all of them.
pub const TABLES_INCLUDE: &[&str] = &["*"];

/// Where a SQL Server listens that was not told otherwise.
pub const SERVER_PORT: u16 = 1433;

/// How long the source may think about an answer, or about its next piece. The slowest that is asked for on purpose is a walk
/// through an index; what takes longer is most likely waiting for something that does not come.
pub const ANSWER_SECONDS: u32 = 300;

/// Where the log is held: an hour of a busy server, and less than the room that most log volumes have.
pub const HOLD_LOG_MB: u32 = 4_096;
/// Where the log is held: as long as a restart or a slow target takes, not as long as a weekend.
pub const HOLD_LOG_MINUTES: u32 = 60;

/// Whether change data capture may be enabled on the source: nothing is changed there without a word.
pub const CDC_ENABLE: bool = false;

/// How often a heartbeat is written on the source: as often as the capture job looks by default, a row of some bytes of log.
pub const HEARTBEAT_SECONDS: u32 = 5;
