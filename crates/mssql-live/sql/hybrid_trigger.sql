CREATE TRIGGER logferry_ddl ON DATABASE WITH EXECUTE AS 'dbo' FOR DDL_DATABASE_LEVEL_EVENTS AS
BEGIN
    -- An error here would take the DDL back. So: the settings that methods of xml need, whatever the session has; and no table, no row.
    SET NOCOUNT ON;
    SET ANSI_PADDING ON;
    SET ANSI_WARNINGS ON;
    SET ARITHABORT ON;
    SET CONCAT_NULL_YIELDS_NULL ON;
    SET NUMERIC_ROUNDABORT OFF;
    IF OBJECT_ID(N'dbo.logferry_ddl_history') IS NULL RETURN;
    DECLARE @event xml = EVENTDATA();
    INSERT dbo.logferry_ddl_history (at, event_type, schema_name, object_name, statement) SELECT
        SYSUTCDATETIME(),
        @event.value('(/EVENT_INSTANCE/EventType)[1]', 'nvarchar(128)'),
        @event.value('(/EVENT_INSTANCE/SchemaName)[1]', 'nvarchar(128)'),
        @event.value('(/EVENT_INSTANCE/ObjectName)[1]', 'nvarchar(128)'),
        @event.value('(/EVENT_INSTANCE/TSQLCommand/CommandText)[1]', 'nvarchar(max)');
END
