-- From the first row that is read on, rows are as they are committed at that moment.
SET TRANSACTION ISOLATION LEVEL SNAPSHOT;
BEGIN TRANSACTION;
