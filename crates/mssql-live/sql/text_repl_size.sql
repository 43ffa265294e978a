-- How large a value a statement may write into a captured column: bytes, -1 without a limit.
SELECT CONVERT(int, c.value_in_use) AS bytes
FROM sys.configurations AS c
WHERE c.name = N'max text repl size (B)';
