-- Which server, which database, and how it may be read.
SELECT
    CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')) AS product_version,
    CONVERT(int, SERVERPROPERTY('EngineEdition')) AS engine_edition,
    CONVERT(nvarchar(128), SERVERPROPERTY('ServerName')) AS server_name,
    d.name,
    d.recovery_model_desc,
    CONVERT(int, d.snapshot_isolation_state) AS snapshot_isolation_state,
    CONVERT(int, d.is_read_committed_snapshot_on) AS is_read_committed_snapshot_on
FROM sys.databases AS d
WHERE d.name = DB_NAME();
