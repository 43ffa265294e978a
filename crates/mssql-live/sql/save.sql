-- A savepoint is what puts a transaction into the log that changes nothing.
SAVE TRANSACTION logferry_fence;
