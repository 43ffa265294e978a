//! What the server is asked: the files of `sql/`.

macro_rules! texts {
    ($all:ident: $($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = include_str!(concat!("../sql/", $file));)*

        /// All of them, for tests.
        #[cfg(test)]
        pub(crate) const $all: &[(&str, &str)] = &[$(($file, $name)),*];
    };
}

// What `mode: hybrid` makes, writes and removes, all of it under names of its own.
texts! { WRITING:
    /// Makes the heartbeat.
    HEARTBEAT_TABLE = "heartbeat_table.sql";
    /// Makes the table of what the trigger notes.
    HYBRID_HISTORY = "hybrid_history.sql";
    /// Makes the trigger.
    HYBRID_TRIGGER = "hybrid_trigger.sql";
    /// Writes the heartbeat.
    HYBRID_BEAT = "hybrid_beat.sql";
    /// Notes that change data capture was enabled by us.
    HYBRID_ENABLED_CDC = "hybrid_enabled_cdc.sql";
    /// Drops the trigger.
    TEARDOWN_TRIGGER = "teardown_trigger.sql";
    /// Drops the heartbeat.
    TEARDOWN_HEARTBEAT = "teardown_heartbeat.sql";
    /// Drops what the trigger noted.
    TEARDOWN_DDL_HISTORY = "teardown_ddl_history.sql";
}

texts! { READING:
    /// The settings of every session.
    SESSION = "session.sql";
    /// How it waits: settings that not every server knows.
    SESSION_WAITS = "session_waits.sql";
    /// Whether a connection is alive.
    PING = "ping.sql";
    /// The server and the database: one row.
    DATABASE = "database.sql";
    /// Which history the database has: one row.
    LINEAGE = "lineage.sql";
    /// User tables.
    TABLES = "tables.sql";
    /// Their columns.
    COLUMNS = "columns.sql";
    /// Their unique and clustered indexes, a row per key column.
    KEYS = "keys.sql";
    /// How large they are.
    SIZES = "sizes.sql";
    /// The log from a position on: position, records at the most.
    LOG = "log.sql";
    /// Where the log ends, as the server says.
    LOG_STATE = "log_state.sql";
    /// The last record of the log: from where.
    LOG_END = "log_end.sql";
    /// The first record of the log.
    LOG_BEGIN = "log_begin.sql";
    /// The last commit of the log before a time.
    LOG_TIME = "log_time.sql";
    /// The first commit behind a position whose transaction begins before the log.
    LOG_HEADLESS = "log_headless.sql";
    /// Log backups: those that end behind a position.
    LOG_BACKUPS = "log_backups.sql";
    /// The log in one of them: from where, number of the set, files.
    BACKED_UP_LOG = "backed_up_log.sql";
    /// Begins a transaction that keeps the log from being truncated.
    HOLD = "hold.sql";
    /// How much of the log is in use.
    LOG_SIZE = "log_size.sql";
    /// Whether the log is kept until it is backed up: one row.
    LOG_BACKED = "log_backed.sql";
    /// Begins a transaction that locks a table.
    FENCE_LOCK = "fence_lock.sql";
    /// Ends it.
    FENCE_UNLOCK = "fence_unlock.sql";
    /// Puts the open transaction into the log.
    SAVE = "save.sql";
    /// Where the open transaction begins in the log.
    OWN_BEGIN = "own_begin.sql";
    /// Tables with a clustered columnstore index.
    COLUMNSTORE_TABLES = "columnstore_tables.sql";
    /// Memory-optimised tables.
    MEMORY_TABLES = "memory_tables.sql";
    /// System-versioned tables.
    TEMPORAL_TABLES = "temporal_tables.sql";
    /// Whether commits wait for the disk: one row.
    DELAYED_DURABILITY = "delayed_durability.sql";
    /// Whether recovery is accelerated: one row.
    ACCELERATED_RECOVERY = "accelerated_recovery.sql";
    /// Whether the owner of the database is known: one row.
    DATABASE_OWNER = "database_owner.sql";
    /// What this server has of an availability group: at most one row.
    AVAILABILITY = "availability.sql";
    /// Whether the log is kept for somebody who is not there: one row.
    LOG_KEPT_FOR = "log_kept_for.sql";
    /// Transactions of the last scans of the log.
    CDC_LOAD = "cdc_load.sql";
    /// The last error of capturing.
    CDC_ERRORS = "cdc_errors.sql";
    /// Captured tables whose partitions may be switched.
    CDC_SWITCHES = "cdc_switches.sql";
    /// Whether change data capture may be enabled: one row.
    MAY_ENABLE_CDC = "may_enable_cdc.sql";
    /// Whether the log may be read.
    LOG_READABLE = "log_readable.sql";
    /// Transactions that are not over.
    ACTIVE = "active.sql";
    /// Heaps and clustered indexes.
    ROWSETS = "rowsets.sql";
    /// Their allocation units.
    UNITS = "units.sql";
    /// Where key columns are in rows.
    PLACES = "places.sql";
    /// What is known of a table that is not listed: its id, its name. One row.
    UNSEEN = "unseen.sql";
    /// What the trigger noted last of a table: schema, name.
    UNSEEN_HISTORY = "unseen_history.sql";
    /// What of ours is there: one row.
    HYBRID_OBJECTS = "hybrid_objects.sql";
    /// Whether change data capture was enabled by us: one row.
    HYBRID_HAS_ENABLED_CDC = "hybrid_has_enabled_cdc.sql";
    /// Capture instances and their tables.
    TEARDOWN_INSTANCES = "teardown_instances.sql";
    /// Disables change data capture for the database.
    TEARDOWN_CDC = "teardown_cdc.sql";
    /// Begins a transaction that sees one moment.
    BEGIN = "begin.sql";
    /// Ends it.
    END = "end.sql";
    /// Whether the database has CDC, and its collation: one row.
    CDC_DATABASE = "cdc_database.sql";
    /// How far the log is captured, and what shows that instances changed: one row.
    CDC_LOOK = "cdc_look.sql";
    /// Whether tables came or went: one row.
    CDC_TABLES = "cdc_tables.sql";
    /// Capture instances.
    CDC_INSTANCES = "cdc_instances.sql";
    /// Their columns.
    CDC_COLUMNS = "cdc_columns.sql";
    /// The last captured transaction before a time, and the first one: one row.
    CDC_TIME = "cdc_time.sql";
    /// Transactions that were captured: after an LSN, up to an LSN, so many at the most.
    CDC_TRANSACTIONS = "cdc_transactions.sql";
    /// The jobs of CDC.
    CDC_JOBS = "cdc_jobs.sql";
    /// The same, of a table.
    CDC_JOBS_TABLE = "cdc_jobs_table.sql";
    /// How large a captured value may be: one row.
    TEXT_REPL_SIZE = "text_repl_size.sql";
    /// The last scan of the log.
    CDC_SCANS = "cdc_scans.sql";
    /// Enables CDC for a database.
    CDC_ENABLE_DATABASE = "cdc_enable_database.sql";
    /// Enables it for a table: schema, table, capture instance.
    CDC_ENABLE_TABLE = "cdc_enable_table.sql";
    /// Drops a capture instance: schema, table, capture instance.
    CDC_DISABLE_TABLE = "cdc_disable_table.sql";
}

/// A name in brackets.
pub(crate) fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a]b[c"), "[a]]b[c]");
    }

    #[test]
    fn what_is_written_is_ours() {
        for (file, text) in WRITING {
            for line in text.lines().filter(|l| !l.trim_start().starts_with("--")) {
                let changes =
                    ["CREATE ", "INSERT ", "UPDATE ", "DROP ", "ALTER "].iter().any(|word| line.contains(word));
                assert!(!changes || line.contains("logferry_"), "{file}: {line}");
            }
        }
    }

    #[test]
    fn texts_change_nothing() {
        for (file, text) in READING {
            let words = text.lines().filter(|l| !l.trim_start().starts_with("--")).flat_map(|l| {
                l.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_ascii_uppercase).collect::<Vec<_>>()
            });
            for word in words {
                assert!(
                    !["INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT"]
                        .contains(&word.as_str()),
                    "{file} has {word}"
                );
            }
        }
    }
}
