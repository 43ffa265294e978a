-- The heartbeat, a row that is written from time to time; and what was done to the database's definitions.
IF OBJECT_ID(N'dbo.logferry_heartbeat') IS NULL
BEGIN
    CREATE TABLE dbo.logferry_heartbeat (
        id int NOT NULL CONSTRAINT logferry_heartbeat_pk PRIMARY KEY,
        beat bigint NOT NULL,
        at datetime2(3) NOT NULL,
        enabled_cdc bit NOT NULL
    );
    INSERT dbo.logferry_heartbeat (id, beat, at, enabled_cdc) VALUES (1, 0, SYSUTCDATETIME(), 0);
END;
IF OBJECT_ID(N'dbo.logferry_ddl_history') IS NULL
BEGIN
    CREATE TABLE dbo.logferry_ddl_history (
        id bigint IDENTITY NOT NULL CONSTRAINT logferry_ddl_history_pk PRIMARY KEY,
        at datetime2(3) NOT NULL,
        event_type nvarchar(128) NULL,
        schema_name nvarchar(128) NULL,
        object_name nvarchar(128) NULL,
        statement nvarchar(max) NULL
    );
END;
