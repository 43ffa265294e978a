UPDATE dbo.logferry_heartbeat SET enabled_cdc = 1 WHERE id = 1;
