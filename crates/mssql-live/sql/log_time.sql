-- The last commit before a time, as the log spells times: 2026/01/31 10:00:00:000.
SELECT MAX([Current LSN]) AS lsn FROM sys.fn_dblog(NULL, NULL)
WHERE [Operation] = N'LOP_COMMIT_XACT' AND [End Time] < @P1;
