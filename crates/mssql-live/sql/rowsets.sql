-- Where rows are, and entries of nonclustered indexes: a row per partition.
SELECT p.partition_id, p.object_id, CONVERT(int, p.index_id) AS index_id, CONVERT(int, p.data_compression) AS compression
FROM sys.partitions AS p;
