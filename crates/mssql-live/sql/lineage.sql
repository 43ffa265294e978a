-- The history that positions belong to: a restore begins another fork of it.
SELECT r.database_guid, r.recovery_fork_guid
FROM sys.database_recovery_status AS r
WHERE r.database_id = DB_ID();
