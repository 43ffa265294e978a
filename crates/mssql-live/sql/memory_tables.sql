-- Memory-optimised tables: from 2014 on.
SELECT t.object_id FROM sys.tables AS t WHERE t.is_ms_shipped = 0 AND t.is_memory_optimized = 1;
