-- The first record of the log that is there.
SELECT TOP (1) [Current LSN] AS lsn FROM sys.fn_dblog(NULL, NULL);
