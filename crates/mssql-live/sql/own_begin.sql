-- Where the transaction of this session begins in the log.
SELECT d.database_transaction_begin_lsn AS begin_lsn
FROM sys.dm_tran_session_transactions AS s
JOIN sys.dm_tran_database_transactions AS d ON d.transaction_id = s.transaction_id
WHERE s.session_id = @@SPID AND d.database_id = DB_ID() AND d.database_transaction_begin_lsn IS NOT NULL;
