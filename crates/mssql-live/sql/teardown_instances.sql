-- Capture instances and their tables.
SELECT s.name AS schema_name, t.name, i.capture_instance
FROM cdc.change_tables AS i
JOIN sys.tables AS t ON t.object_id = i.source_object_id
JOIN sys.schemas AS s ON s.schema_id = t.schema_id
ORDER BY i.capture_instance;
