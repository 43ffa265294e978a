-- Allocation units of the rows of heaps and clustered indexes.
SELECT u.allocation_unit_id, p.object_id
FROM sys.allocation_units AS u
JOIN sys.partitions AS p ON p.hobt_id = u.container_id
WHERE u.type = 1 AND p.index_id IN (0, 1);
