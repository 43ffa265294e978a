-- The last error of capturing. Its text is not asked for: it may have values of rows.
SELECT TOP (1) CONVERT(int, e.error_number) AS number
FROM sys.dm_cdc_errors AS e
WHERE e.error_number <> 0
ORDER BY e.entry_time DESC;
