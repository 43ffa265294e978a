-- Captured columns, in the order of the bits of the update mask.
SELECT c.object_id, c.column_id, c.column_name
FROM cdc.captured_columns AS c
ORDER BY c.object_id, c.column_ordinal;
