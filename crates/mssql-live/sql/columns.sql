-- Columns of user tables. Of an alias type the system type is that of its base.
SELECT
    c.object_id,
    c.column_id,
    c.name,
    CONVERT(int, c.system_type_id) AS system_type_id,
    CONVERT(int, c.user_type_id) AS user_type_id,
    CONVERT(int, c.max_length) AS max_length,
    CONVERT(int, c.[precision]) AS [precision],
    CONVERT(int, c.scale) AS scale,
    CONVERT(int, c.is_nullable) AS is_nullable,
    CONVERT(int, c.is_computed) AS is_computed,
    CONVERT(int, cc.is_persisted) AS is_persisted,
    CONVERT(int, c.is_column_set) AS is_column_set,
    CONVERT(int, COLLATIONPROPERTY(c.collation_name, 'CollationID')) AS collation_id,
    c.collation_name,
    CONVERT(decimal(38, 0), ic.seed_value) AS identity_seed,
    CONVERT(decimal(38, 0), ic.increment_value) AS identity_increment,
    CONVERT(decimal(38, 0), ic.last_value) AS identity_last,
    SCHEMA_NAME(a.schema_id) AS alias_schema,
    a.name AS alias_name
FROM sys.columns AS c
JOIN sys.tables AS t ON t.object_id = c.object_id
LEFT JOIN sys.types AS a
    ON a.user_type_id = c.user_type_id AND a.is_user_defined = 1 AND a.is_assembly_type = 0 AND a.is_table_type = 0
LEFT JOIN sys.computed_columns AS cc ON cc.object_id = c.object_id AND cc.column_id = c.column_id
LEFT JOIN sys.identity_columns AS ic ON ic.object_id = c.object_id AND ic.column_id = c.column_id
WHERE t.is_ms_shipped = 0
ORDER BY c.object_id, c.column_id;
