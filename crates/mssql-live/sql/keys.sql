-- Unique indexes and clustered ones, a row per key column.
SELECT
    i.object_id,
    i.index_id,
    i.name,
    CONVERT(int, i.type) AS type,
    CONVERT(int, i.is_unique) AS is_unique,
    CONVERT(int, i.is_primary_key) AS is_primary_key,
    CONVERT(int, i.has_filter) AS has_filter,
    CONVERT(int, i.is_disabled) AS is_disabled,
    ic.column_id
FROM sys.indexes AS i
JOIN sys.tables AS t ON t.object_id = i.object_id
JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id
WHERE t.is_ms_shipped = 0
    AND i.is_hypothetical = 0
    AND (i.is_unique = 1 OR i.index_id = 1)
    AND ic.key_ordinal > 0
ORDER BY i.object_id, i.index_id, ic.key_ordinal;
