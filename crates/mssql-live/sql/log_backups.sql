-- Log backups of the database that end behind a position, in their order, a row per file.
SELECT b.backup_set_id, b.first_lsn, b.last_lsn, CONVERT(int, b.position) AS position, f.physical_device_name
FROM msdb.dbo.backupset AS b
JOIN msdb.dbo.backupmediafamily AS f ON f.media_set_id = b.media_set_id
WHERE b.database_name = DB_NAME() AND b.type = 'L' AND b.last_lsn > CONVERT(numeric(25, 0), @P1)
ORDER BY b.first_lsn, b.backup_set_id, f.family_sequence_number;
