-- The last scan of the log: when it ended, how old that is, and how far behind it was.
SELECT TOP (1)
    CONVERT(nvarchar(33), s.end_time, 126) AS end_time,
    DATEDIFF(second, s.end_time, GETDATE()) AS seconds_ago,
    CONVERT(int, s.latency) AS latency,
    CONVERT(int, s.error_count) AS errors
FROM sys.dm_cdc_log_scan_sessions AS s
WHERE s.session_id <> 0 AND s.end_time IS NOT NULL
ORDER BY s.end_time DESC;
