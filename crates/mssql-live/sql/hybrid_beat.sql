-- The row comes back, should somebody have removed it.
UPDATE dbo.logferry_heartbeat SET beat = beat + 1, at = SYSUTCDATETIME() WHERE id = 1;
IF @@ROWCOUNT = 0
    INSERT dbo.logferry_heartbeat (id, beat, at, enabled_cdc) VALUES (1, 0, SYSUTCDATETIME(), 0);
