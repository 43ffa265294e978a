-- Tables of several partitions whose capture lets partitions be switched, and does not see it.
SELECT DISTINCT t.source_object_id AS object_id
FROM cdc.change_tables AS t
WHERE t.partition_switch = 1
    AND EXISTS (SELECT 1 FROM sys.partitions AS p
        WHERE p.object_id = t.source_object_id AND p.index_id IN (0, 1) AND p.partition_number > 1);
