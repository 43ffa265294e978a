-- The last scan of the log: how old its end is, or its begin where it is under way, and how far behind it was.
SELECT TOP (1)
    DATEDIFF(second, ISNULL(s.end_time, s.start_time), GETDATE()) AS seconds_ago,
    CONVERT(int, s.latency) AS latency,
    CONVERT(int, s.error_count) AS errors
FROM sys.dm_cdc_log_scan_sessions AS s
WHERE s.session_id <> 0
ORDER BY ISNULL(s.end_time, s.start_time) DESC;
