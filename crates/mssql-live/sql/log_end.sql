-- The last record of the log, which is read from a position on; NULL: all of it.
SELECT MAX([Current LSN]) AS lsn FROM sys.fn_dblog(@P1, NULL);
