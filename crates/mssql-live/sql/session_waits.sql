-- Waits of ours end, and where we stand in somebody's way it is us who are ended. Pools of Azure Synapse know no more than READ UNCOMMITTED.
SET LOCK_TIMEOUT 60000;
SET DEADLOCK_PRIORITY LOW;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
