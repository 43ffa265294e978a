-- Where the columns of keys are in their rows: clustered keys, and all columns of tables whose primary key is not clustered.
SELECT
    CONVERT(bigint, c.partition_id) AS partition_id,
    CONVERT(int, c.partition_column_id) AS column_id,
    CONVERT(int, c.key_ordinal) AS key_ordinal,
    CONVERT(int, c.leaf_offset) AS leaf_offset,
    CONVERT(int, c.leaf_null_bit) AS leaf_null_bit
FROM sys.partitions AS p
JOIN sys.tables AS t ON t.object_id = p.object_id
JOIN sys.system_internals_partition_columns AS c ON c.partition_id = p.partition_id
WHERE t.is_ms_shipped = 0
    AND p.index_id IN (0, 1)
    AND (c.key_ordinal > 0
        OR p.object_id IN (SELECT i.object_id FROM sys.indexes AS i WHERE i.is_primary_key = 1 AND i.index_id > 1))
ORDER BY c.partition_id, c.key_ordinal;
