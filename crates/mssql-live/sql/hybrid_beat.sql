UPDATE dbo.logferry_heartbeat SET beat = beat + 1, at = SYSUTCDATETIME() WHERE id = 1;
