-- System-versioned tables: from 2016 on.
SELECT t.object_id FROM sys.tables AS t WHERE t.is_ms_shipped = 0 AND t.temporal_type = 2;
