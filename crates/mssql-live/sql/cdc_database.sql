-- Whether the database has CDC and SNAPSHOT isolation, the collation that capture converts text through, and whether there are jobs (not in edition 5).
SELECT
    CONVERT(int, d.is_cdc_enabled) AS is_cdc_enabled,
    d.collation_name,
    CONVERT(int, d.snapshot_isolation_state) AS snapshot_isolation_state,
    CONVERT(int, SERVERPROPERTY('EngineEdition')) AS engine_edition
FROM sys.databases AS d
WHERE d.name = DB_NAME();
