SELECT COUNT(*) AS enabled FROM dbo.logferry_heartbeat WHERE enabled_cdc = 1;
