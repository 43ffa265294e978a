-- The last record of the log.
SELECT MAX([Current LSN]) AS lsn FROM sys.fn_dblog(NULL, NULL);
