-- Log backups of the database that end behind a position, in their order, a row per file. What another database of this name, or this one
-- before it was restored, has at the same positions is on another recovery fork. Of mirrored media the first will do.
SELECT b.backup_set_id, b.first_lsn, b.last_lsn, CONVERT(int, b.position) AS position, f.physical_device_name
FROM msdb.dbo.backupset AS b
JOIN msdb.dbo.backupmediafamily AS f ON f.media_set_id = b.media_set_id
LEFT JOIN sys.database_recovery_status AS r ON r.database_id = DB_ID()
WHERE b.database_name = DB_NAME() AND b.type = 'L' AND b.last_lsn > CONVERT(numeric(25, 0), @P1)
    AND ISNULL(f.mirror, 0) = 0
    AND (r.recovery_fork_guid IS NULL OR b.last_recovery_fork_guid = r.recovery_fork_guid)
ORDER BY b.first_lsn, b.backup_set_id, f.family_sequence_number;
