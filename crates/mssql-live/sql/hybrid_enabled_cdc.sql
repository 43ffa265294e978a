UPDATE dbo.logferry_heartbeat SET enabled_cdc = 1 WHERE id = 1;
IF @@ROWCOUNT = 0
    INSERT dbo.logferry_heartbeat (id, beat, at, enabled_cdc) VALUES (1, 0, SYSUTCDATETIME(), 1);
