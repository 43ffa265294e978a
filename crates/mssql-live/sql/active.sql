-- Transactions that have written something and are not over.
SELECT d.database_transaction_begin_lsn AS begin_lsn
FROM sys.dm_tran_database_transactions AS d
WHERE d.database_id = DB_ID() AND d.database_transaction_begin_lsn IS NOT NULL;
