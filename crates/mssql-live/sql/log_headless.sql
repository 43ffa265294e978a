-- A commit behind a position whose transaction began before what is left of the log.
SELECT MIN([Current LSN]) AS lsn FROM sys.fn_dblog(NULL, NULL)
WHERE [Operation] = N'LOP_COMMIT_XACT' AND [Current LSN] > @P1
    AND [Transaction ID] NOT IN (
        SELECT [Transaction ID] FROM sys.fn_dblog(NULL, NULL) WHERE [Operation] = N'LOP_BEGIN_XACT');
