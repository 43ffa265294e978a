-- Whether the database has CDC and SNAPSHOT isolation, the collation that capture converts text through, whether there are jobs (not in
-- Azure SQL Database), and whether they are here: on a secondary replica they are not.
SELECT
    CONVERT(int, d.is_cdc_enabled) AS is_cdc_enabled,
    d.collation_name,
    CONVERT(int, d.snapshot_isolation_state) AS snapshot_isolation_state,
    CONVERT(int, SERVERPROPERTY('EngineEdition')) AS engine_edition,
    CASE WHEN DATABASEPROPERTYEX(DB_NAME(), 'Updateability') = N'READ_ONLY' THEN 1 ELSE 0 END AS is_read_only
FROM sys.databases AS d
WHERE d.name = DB_NAME();
