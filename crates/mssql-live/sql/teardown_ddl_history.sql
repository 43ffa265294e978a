DROP TABLE dbo.logferry_ddl_history;
