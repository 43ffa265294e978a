-- User tables. Those that CDC and replication make for themselves, or we, are not asked for.
SELECT t.object_id, s.name AS schema_name, t.name
FROM sys.tables AS t
JOIN sys.schemas AS s ON s.schema_id = t.schema_id
WHERE t.is_ms_shipped = 0 AND s.name <> N'cdc'
    AND t.name NOT IN (N'logferry_heartbeat', N'logferry_ddl_history')
ORDER BY s.name, t.name;
