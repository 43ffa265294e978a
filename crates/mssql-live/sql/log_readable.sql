-- Whether the log may be read.
SELECT TOP (1) [Current LSN] AS lsn FROM sys.fn_dblog(NULL, NULL);
