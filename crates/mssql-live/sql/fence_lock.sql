-- Waits only for a moment: whoever comes later waits behind us.
SET LOCK_TIMEOUT 500;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
BEGIN TRANSACTION;
