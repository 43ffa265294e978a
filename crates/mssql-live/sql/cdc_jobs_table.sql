-- The same, for whoever is no owner of the database, and may read the table that the procedure reads.
SELECT j.job_type, j.maxtrans, j.maxscans, j.pollinginterval, j.retention
FROM msdb.dbo.cdc_jobs AS j
WHERE j.database_id = DB_ID();
