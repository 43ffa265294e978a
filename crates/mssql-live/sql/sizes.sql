-- How large tables are, by the server's own count: partitions of heaps and clustered indexes.
SELECT p.object_id, SUM(p.row_count) AS row_count, SUM(p.used_page_count) AS used_pages
FROM sys.dm_db_partition_stats AS p
WHERE p.index_id IN (0, 1)
GROUP BY p.object_id;
