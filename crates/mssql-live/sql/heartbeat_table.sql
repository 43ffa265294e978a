-- The heartbeat: a row that is written from time to time, and says whether capturing was enabled by us. The table is never there without it.
BEGIN TRANSACTION;
CREATE TABLE dbo.logferry_heartbeat (
    id int NOT NULL CONSTRAINT logferry_heartbeat_pk PRIMARY KEY,
    beat bigint NOT NULL,
    at datetime2(3) NOT NULL,
    enabled_cdc bit NOT NULL
);
INSERT dbo.logferry_heartbeat (id, beat, at, enabled_cdc) VALUES (1, 0, SYSUTCDATETIME(), 0);
COMMIT TRANSACTION;
