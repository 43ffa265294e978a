-- Where the log ends, and its last checkpoint: cheap, and from 2016 SP2 on.
SELECT s.log_end_lsn, s.log_checkpoint_lsn
FROM sys.dm_db_log_stats(DB_ID()) AS s;
