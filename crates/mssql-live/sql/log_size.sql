-- How much of the log cannot be used again yet.
SELECT CONVERT(float, s.active_log_size_mb) AS active_mb FROM sys.dm_db_log_stats(DB_ID()) AS s;
