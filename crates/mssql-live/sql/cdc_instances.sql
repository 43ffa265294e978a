-- Capture instances, and whether their change tables say in which order a transaction did what (from 2012 with updates on).
SELECT
    t.object_id,
    t.source_object_id,
    t.capture_instance,
    t.start_lsn,
    (SELECT COUNT(*) FROM sys.columns AS c WHERE c.object_id = t.object_id AND c.name = N'__$command_id') AS commands
FROM cdc.change_tables AS t;
