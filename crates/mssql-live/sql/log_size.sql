-- How much of the log is in use, and cannot be used again yet.
SELECT CONVERT(float, u.used_log_space_in_bytes) / 1048576 AS active_mb FROM sys.dm_db_log_space_usage AS u;
