-- Where rows are: heaps and clustered indexes, a row per partition.
SELECT p.partition_id, p.object_id, CONVERT(int, p.index_id) AS index_id, CONVERT(int, p.data_compression) AS compression
FROM sys.partitions AS p
WHERE p.index_id IN (0, 1);
