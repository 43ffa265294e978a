-- Whether the log is kept for a reader of replication or capture, and whether the database has any.
SELECT
    CASE WHEN d.log_reuse_wait_desc = N'REPLICATION' THEN 1 ELSE 0 END AS is_kept,
    CASE WHEN d.is_cdc_enabled = 1 OR d.is_published = 1 OR d.is_merge_published = 1 THEN 1 ELSE 0 END AS is_read
FROM sys.databases AS d
WHERE d.name = DB_NAME();
