-- Tables with a clustered columnstore index.
SELECT i.object_id
FROM sys.indexes AS i
JOIN sys.tables AS t ON t.object_id = i.object_id
WHERE t.is_ms_shipped = 0 AND i.type = 5;
