//! Changes, set-wise.
//!
//! A batch is first netted in memory ([`net`]): per key, what the target has before the batch and what it
//! must have after it. What happened in between, once or a hundred times, costs nothing on the target. Then
//! each table gets a few statements, whatever the number of rows:
//!
//! ```text
//!  TRUNCATE, if there was one
//!  DELETE ... USING unnest(keys)                 all deletes, and rows whose key or unique value moves
//!  UPDATE ... FROM unnest(keys, columns)         one per set of known columns
//!  COPY ... FROM STDIN BINARY                    all inserts, and the moved rows again
//! ```
//!
//! All deletes come before all inserts, so that keys and unique values may change hands inside a batch (of a transaction of several,
//! [`waiting`] and [`unique`]), and every count is checked: a row that is not there is never passed over.
//!
//! Measured side by side (`benches/apply.rs`, batches of 10,000): arrays are as fast as a COPY into a temporary table,
//! and need one round trip and no catalog; `UPDATE` beats `DELETE` and `COPY` by a quarter or more, and leaves other
//! indexes alone where their columns stay.
//!
//! Where a source tells rows as they are now ([`ApplyMode::Replace`]), it is asked first which of them are there (`SELECT ... JOIN
//! unnest(keys)`): these are updated, unless they are as they are to be, and the others inserted: 1.6 times as fast as to delete and insert all, where a
//! table has one other index, and twice as fast where rows are told again.
//!
//! A few settings make this fast whatever the statistics say, see [`sink`]'s session: the arrays are joined by
//! nested loops over the key's index only.

mod ensured;
mod keyed;
mod keyless;
mod net;
mod one_table;
mod params;
mod schema;
mod sink;
mod table;
mod unique;
mod waiting;

pub use sink::PgSink;

/// What the changes of a source mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ApplyMode {
    /// What happened, each once: a row that should be there and is not, or the other way round, is an error.
    #[default]
    Exact,
    /// What is now, perhaps told again: a row replaces whatever is there under its key. Of tables without a key each change is to be
    /// told once.
    Replace,
}
