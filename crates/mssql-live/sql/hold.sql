-- The log from here on stays until this transaction ends. A savepoint is what puts a transaction into the log that changes nothing.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
BEGIN TRANSACTION;
SAVE TRANSACTION logferry_hold;
