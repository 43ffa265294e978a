-- Tables of kinds that not every mode follows.
SELECT
    t.object_id,
    CONVERT(int, t.is_memory_optimized) AS is_memory_optimized,
    CASE WHEN t.temporal_type = 2 THEN 1 ELSE 0 END AS is_temporal,
    (SELECT COUNT(*) FROM sys.indexes AS i WHERE i.object_id = t.object_id AND i.type = 5) AS is_columnstore
FROM sys.tables AS t
WHERE t.is_ms_shipped = 0;
