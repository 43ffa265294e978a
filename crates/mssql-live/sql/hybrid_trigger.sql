CREATE TRIGGER logferry_ddl ON DATABASE WITH EXECUTE AS 'dbo' FOR DDL_DATABASE_LEVEL_EVENTS AS
BEGIN
    SET NOCOUNT ON;
    DECLARE @event xml = EVENTDATA();
    INSERT dbo.logferry_ddl_history (at, event_type, schema_name, object_name, statement) SELECT
        SYSUTCDATETIME(),
        @event.value('(/EVENT_INSTANCE/EventType)[1]', 'nvarchar(128)'),
        @event.value('(/EVENT_INSTANCE/SchemaName)[1]', 'nvarchar(128)'),
        @event.value('(/EVENT_INSTANCE/ObjectName)[1]', 'nvarchar(128)'),
        @event.value('(/EVENT_INSTANCE/TSQLCommand/CommandText)[1]', 'nvarchar(max)');
END
