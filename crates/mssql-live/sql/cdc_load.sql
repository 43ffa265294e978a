-- How many transactions the last scans of the log took that found any.
SELECT TOP (20) CONVERT(bigint, s.tran_count) AS transactions
FROM sys.dm_cdc_log_scan_sessions AS s
WHERE s.session_id <> 0 AND s.tran_count > 0
ORDER BY s.session_id DESC;
