//! What a history is made of.

use super::TableKind;
use crate::Options;

/// What a history is made of. Chances are in percent, per step of the generator.
#[derive(Clone, Debug)]
pub struct WorkloadOptions {
    /// The database and its log.
    pub database: Options,
    /// Tables to be made.
    pub tables: Vec<TableKind>,
    /// Rows per table before the full backup.
    pub initial_rows: u32,
    /// Log backups.
    pub logs: u32,
    /// Steps (one change, or one begin or end of a transaction) per log backup.
    pub steps: u32,
    /// A differential backup after every so many log backups; 0 for none.
    pub differential_every: u32,
    /// Transactions that are open at a time, at most.
    pub open_transactions: usize,
    /// Whether transactions stay open while backups are made.
    pub open_across_backups: bool,
    /// Whether those that changed values outside of rows may stay open when a full or differential backup ends. Such a backup
    /// holds the rows without their old values, which only its log can give back.
    pub open_lobs_in_base: bool,
    /// Whether the database changes while the full backup copies its pages.
    pub fuzzy_full: bool,
    /// Chance that a transaction is rolled back when it ends.
    pub rollback_percent: u32,
    /// Chance that a step sets a savepoint or goes back to one.
    pub savepoint_percent: u32,
    /// Chance of a ghost cleanup.
    pub cleanup_percent: u32,
    /// Chance of a checkpoint.
    pub checkpoint_percent: u32,
    /// Chance, per log backup, that a table is truncated.
    pub truncate_percent: u32,
    /// Whether a table is made between two log backups.
    pub late_table: bool,
    /// Chance, per log backup, that a table gets a column, loses one, or is dropped (only the late one is).
    pub alter_percent: u32,
    /// Chance that such an alteration is one of these instead: a column or a table gets another name, a column another type, a table is
    /// dropped, or one is made of a kind that there was. There are three alterations in a row then.
    pub reshape_percent: u32,
    /// Chance that a change of a row changes a value outside of it, in its place: without a record of the row.
    pub in_place_percent: u32,
    /// Whether tables without a primary key have a clustered index of their second column, which is not unique.
    pub cluster_heaps: bool,
}

impl Default for WorkloadOptions {
    fn default() -> Self {
        WorkloadOptions {
            database: Options::default(),
            tables: TableKind::ALL.to_vec(),
            initial_rows: 200,
            logs: 4,
            steps: 600,
            differential_every: 0,
            open_transactions: 4,
            open_across_backups: true,
            open_lobs_in_base: false,
            fuzzy_full: false,
            rollback_percent: 20,
            savepoint_percent: 4,
            cleanup_percent: 1,
            checkpoint_percent: 1,
            truncate_percent: 0,
            late_table: false,
            alter_percent: 0,
            reshape_percent: 0,
            in_place_percent: 0,
            cluster_heaps: false,
        }
    }
}
