-- What the trigger noted last of a table of this name.
SELECT TOP (1) h.event_type
FROM dbo.logferry_ddl_history AS h
WHERE h.schema_name = @P1 AND h.object_name = @P2
ORDER BY h.id DESC;
