DROP TABLE dbo.logferry_heartbeat;
