-- The log from a position on, that record included, in its own order: transactions, rows of tables, values outside of rows, pages that were
-- written with their rows, and extents that were written without a word of them.
SELECT TOP (@P2) [Current LSN] AS lsn, [Log Record] AS record, CONVERT(int, [Log Record Length]) AS length
FROM sys.fn_dblog(@P1, NULL)
WHERE [Operation] IN (N'LOP_BEGIN_XACT', N'LOP_COMMIT_XACT', N'LOP_ABORT_XACT', N'LOP_LOCK_XACT')
    OR ([Operation] IN (N'LOP_INSERT_ROWS', N'LOP_DELETE_ROWS', N'LOP_MODIFY_ROW', N'LOP_MODIFY_COLUMNS')
        AND [Context] IN (N'LCX_CLUSTERED', N'LCX_MARK_AS_GHOST', N'LCX_HEAP', N'LCX_TEXT_MIX', N'LCX_TEXT_TREE'))
    OR ([Operation] = N'LOP_FORMAT_PAGE' AND [Context] IN (N'LCX_CLUSTERED', N'LCX_HEAP'))
    OR ([Operation] = N'LOP_SET_BITS' AND [Context] = N'LCX_ML_MAP');
