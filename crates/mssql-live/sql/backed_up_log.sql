-- The same of the log in a backup: its first files are parameters, the other DEFAULTs of 64 are put in.
SELECT [Current LSN] AS lsn, [Log Record] AS record, CONVERT(int, [Log Record Length]) AS length
FROM sys.fn_dump_dblog(NULL, NULL, N'DISK', @P2, {files})
WHERE [Current LSN] >= @P1
    AND ([Operation] IN (N'LOP_BEGIN_XACT', N'LOP_COMMIT_XACT', N'LOP_ABORT_XACT', N'LOP_LOCK_XACT')
    OR ([Operation] IN (N'LOP_INSERT_ROWS', N'LOP_DELETE_ROWS', N'LOP_MODIFY_ROW', N'LOP_MODIFY_COLUMNS')
        AND [Context] IN (N'LCX_CLUSTERED', N'LCX_MARK_AS_GHOST', N'LCX_HEAP', N'LCX_TEXT_MIX', N'LCX_TEXT_TREE'))
    OR ([Operation] = N'LOP_FORMAT_PAGE' AND [Context] IN (N'LCX_CLUSTERED', N'LCX_HEAP'))
    OR ([Operation] = N'LOP_SET_BITS' AND [Context] = N'LCX_ML_MAP'));
