-- What of ours is there.
SELECT
    (SELECT COUNT(*) FROM sys.triggers AS t WHERE t.name = N'logferry_ddl' AND t.parent_class = 0) AS ddl_trigger,
    (SELECT COUNT(*) FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id
        WHERE s.name = N'dbo' AND t.name = N'logferry_heartbeat') AS heartbeat,
    (SELECT COUNT(*) FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id
        WHERE s.name = N'dbo' AND t.name = N'logferry_ddl_history') AS ddl_history;
