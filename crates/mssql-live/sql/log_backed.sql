-- Whether the log is kept until it is backed up: not before the first full backup.
SELECT CONVERT(int, CASE WHEN r.last_log_backup_lsn IS NULL THEN 0 ELSE 1 END) AS is_kept
FROM sys.database_recovery_status AS r
WHERE r.database_id = DB_ID();
