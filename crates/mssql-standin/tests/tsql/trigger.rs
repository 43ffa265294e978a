//! Triggers.

use crate::{check, connect, server};

const LOG: &str =
    "CREATE TABLE ddl_log (n int IDENTITY PRIMARY KEY, event nvarchar(128), name nvarchar(300), command nvarchar(max))";

const TRIGGER: &str = "CREATE TRIGGER note ON DATABASE FOR DDL_DATABASE_LEVEL_EVENTS AS
BEGIN
    SET NOCOUNT ON
    DECLARE @e xml = EVENTDATA()
    INSERT ddl_log (event, name, command) SELECT
        @e.value('(/EVENT_INSTANCE/EventType)[1]', 'nvarchar(128)'),
        @e.value('(/EVENT_INSTANCE/SchemaName)[1]', 'nvarchar(128)') + '.' + EVENTDATA().value('(/EVENT_INSTANCE/ObjectName)[1]', 'sysname'),
        @e.value('(/EVENT_INSTANCE/TSQLCommand/CommandText)[1]', 'nvarchar(max)')
END";

#[test]
fn definitions_fire_triggers_on_the_database() {
    check(
        &mut connect(&server()),
        &[
            (LOG, ""),
            (TRIGGER, ""),
            ("CREATE TABLE t (id int PRIMARY KEY);\nALTER TABLE dbo.t ADD a int NULL, b int", ""),
            ("CREATE TABLE #t (id int); DROP TABLE #t; INSERT t (id) VALUES (1)", "#1"),
            ("CREATE INDEX i ON t (a); ALTER INDEX i ON t REBUILD; DROP INDEX i ON t", ""),
            ("CREATE VIEW v AS SELECT id FROM t WHERE id < 5", ""),
            ("CREATE OR ALTER VIEW v AS SELECT id FROM t", ""),
            (
                "EXEC sp_rename 't.a', 'c', 'COLUMN'",
                "i: Caution: Changing any part of an object name could break scripts and stored procedures.",
            ),
            ("DROP VIEW v; DROP TABLE t", ""),
            (
                "ALTER TABLE nosuch ADD a int",
                "!4902 Cannot find the object \"nosuch\" because it does not exist or you do not have permissions.",
            ),
            (
                "SELECT event, name FROM ddl_log ORDER BY n",
                "\"CREATE_TABLE\", \"dbo.t\" | \"ALTER_TABLE\", \"dbo.t\" | \"CREATE_INDEX\", \"dbo.i\" | \"ALTER_INDEX\", \"dbo.i\" | \"DROP_INDEX\", \"dbo.i\" | \"CREATE_VIEW\", \"dbo.v\" | \"ALTER_VIEW\", \"dbo.v\" | \"RENAME\", \"dbo.a\" | \"DROP_VIEW\", \"dbo.v\" | \"DROP_TABLE\", \"dbo.t\"",
            ),
            (
                "SELECT command FROM ddl_log WHERE n IN (2, 4, 6)",
                "\"ALTER TABLE dbo.t ADD a int NULL, b int\" | \"ALTER INDEX i ON t REBUILD\" | \"CREATE VIEW v AS SELECT id FROM t WHERE id < 5\"",
            ),
            ("DISABLE TRIGGER note ON DATABASE; CREATE TABLE u (id int); SELECT COUNT(*) FROM ddl_log", "10"),
            ("ENABLE TRIGGER ALL ON DATABASE; DROP TABLE u; SELECT COUNT(*) FROM ddl_log", "11"),
            ("SELECT EVENTDATA()", "null"),
        ],
    );
}

#[test]
fn the_data_of_an_event() {
    let mut session = connect(&server());
    check(
        &mut session,
        &[
            ("CREATE TABLE seen (e xml)", ""),
            ("CREATE TRIGGER note ON DATABASE AFTER CREATE_TABLE, ALTER_TABLE, CREATE_INDEX AS INSERT seen VALUES (EVENTDATA())", ""),
            ("CREATE TABLE t (a int CHECK (a < 5 AND a > 1))", "#1"),
            (
                "SELECT e.value('(/EVENT_INSTANCE/*/text())[1]', 'sysname'), e.query('/EVENT_INSTANCE/ObjectType'), e.value('/EVENT_INSTANCE[1]/SPID[1]', 'int') - @@SPID,
                 e.value('(//ServerName)[1]', 'sysname'), e.value('(//LoginName)[1]', 'sysname'), e.value('(//UserName)[1]', 'sysname'), e.value('(//DatabaseName)[1]', 'sysname'),
                 ABS(DATEDIFF(hour, e.value('(//PostTime)[1]', 'datetime'), GETDATE())), e.query('//TSQLCommand') FROM seen",
                "\"CREATE_TABLE\", \"<ObjectType>TABLE</ObjectType>\", 0, \"STANDIN\", \"sa\", \"dbo\", \"shop\", 0, \"<TSQLCommand><SetOptions ANSI_NULLS=\\\"ON\\\" ANSI_NULL_DEFAULT=\\\"ON\\\" ANSI_PADDING=\\\"ON\\\" QUOTED_IDENTIFIER=\\\"ON\\\" ENCRYPTED=\\\"FALSE\\\"/><CommandText>CREATE TABLE t (a int CHECK (a &lt; 5 AND a &gt; 1))</CommandText></TSQLCommand>\"",
            ),
            ("DELETE seen; ALTER TABLE t ADD b int, c int; CREATE INDEX i ON t (b)", "#1 ; #1 ; #1"),
            (
                "SELECT e.query('//AlterTableActionList'), e.value('(//TargetObjectName)[1]', 'sysname') FROM seen",
                "\"<AlterTableActionList><Create><Columns><Name>b</Name><Name>c</Name></Columns></Create></AlterTableActionList>\", null | \"\", \"t\"",
            ),
        ],
    );
}

#[test]
fn triggers_are_in_the_catalog() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TRIGGER a ON DATABASE FOR CREATE_TABLE, DDL_VIEW_EVENTS AS RETURN", ""),
            (
                "CREATE TRIGGER a ON DATABASE FOR DROP_TABLE AS RETURN",
                "!2714 There is already an object named 'a' in the database.",
            ),
            (
                "CREATE TRIGGER b ON DATABASE FOR NO_SUCH_EVENT AS RETURN",
                "!1084 'NO_SUCH_EVENT' is an invalid event type.",
            ),
            ("CREATE TRIGGER b ON DATABASE FOR DROP_TABLE AS SELECT )", "!102 Incorrect syntax near ')'."),
            (
                "SELECT 1; CREATE TRIGGER b ON DATABASE FOR DROP_TABLE AS SELECT 1",
                "!111 'CREATE TRIGGER' must be the first statement in a query batch.",
            ),
            (
                "SELECT name, parent_class_desc, parent_id, type, is_disabled FROM sys.triggers; SELECT e.type_desc, e.event_group_type_desc FROM sys.trigger_events e JOIN sys.triggers t ON t.object_id = e.object_id ORDER BY e.type; SELECT definition FROM sys.sql_modules",
                "\"a\", \"DATABASE\", 0, \"TR\", false ; \"CREATE_TABLE\", null | \"CREATE_VIEW\", \"DDL_VIEW_EVENTS\" | \"ALTER_VIEW\", \"DDL_VIEW_EVENTS\" | \"DROP_VIEW\", \"DDL_VIEW_EVENTS\" ; \"CREATE TRIGGER a ON DATABASE FOR CREATE_TABLE, DDL_VIEW_EVENTS AS RETURN\"",
            ),
            ("DISABLE TRIGGER a ON DATABASE", ""),
            (
                "SELECT is_disabled FROM sys.triggers; DROP TRIGGER a ON DATABASE; DROP TRIGGER IF EXISTS a ON DATABASE; SELECT COUNT(*) FROM sys.triggers",
                "true ; 0",
            ),
            (
                "DROP TRIGGER a ON DATABASE",
                "!3701 Cannot drop the trigger 'a', because it does not exist or you do not have permission.",
            ),
            ("DROP TRIGGER a ON ALL SERVER", "!40517 The SQL Server stand-in does not support triggers ON ALL SERVER."),
        ],
    );
}

#[test]
fn a_trigger_that_fails_ends_the_statement() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TRIGGER no ON DATABASE FOR CREATE_TABLE AS BEGIN PRINT 'no tables'; ROLLBACK END", ""),
            (
                "CREATE TABLE t (id int); SELECT 1",
                "i: no tables ; !3609 The transaction ended in the trigger. The batch has been aborted.",
            ),
            ("SELECT OBJECT_ID('t'), @@TRANCOUNT", "null, 0"),
            ("ALTER TRIGGER no ON DATABASE FOR CREATE_TABLE AS INSERT nosuch VALUES (1)", ""),
            ("CREATE TABLE t (id int)", "!208 Invalid object name 'nosuch'."),
            ("BEGIN TRAN; CREATE TABLE t (id int)", "!208 Invalid object name 'nosuch'."),
            ("SELECT OBJECT_ID('t'), @@TRANCOUNT", "null, 0"),
            ("ALTER TRIGGER no ON DATABASE FOR CREATE_TABLE AS SELECT @@TRANCOUNT, XACT_STATE()", ""),
            ("CREATE TABLE t (id int); SELECT @@TRANCOUNT, 1 - ISNULL(SIGN(OBJECT_ID('t')), 0)", "1, 1 ; 0, 0"),
        ],
    );
}

#[test]
fn changes_of_rows_fire_triggers_on_their_table() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int IDENTITY PRIMARY KEY, a int, s varchar(9)); CREATE TABLE seen (n int IDENTITY, what varchar(9), id int, a int, was int)",
                "",
            ),
            (
                "CREATE TRIGGER tr ON t AFTER INSERT, UPDATE, DELETE AS BEGIN SET NOCOUNT ON; INSERT seen SELECT CASE WHEN UPDATE(a) THEN 'a' ELSE 'not' END, ISNULL(i.id, d.id), i.a, d.a FROM inserted i FULL JOIN deleted d ON i.id = d.id END",
                "",
            ),
            ("INSERT t (a) VALUES (50), (51); SELECT SCOPE_IDENTITY(), @@TRANCOUNT", "#2 ; 2, 0"),
            (
                "BEGIN TRAN; UPDATE t SET s = 'y' WHERE a = 50; SELECT @@ROWCOUNT; COMMIT; DELETE t WHERE a >= 50",
                "#1 ; 1 ; #2",
            ),
            (
                "SELECT what, id, a, was FROM seen ORDER BY n",
                "\"a\", 1, 50, null | \"a\", 2, 51, null | \"not\", 1, 50, 50 | \"a\", 1, null, 50 | \"a\", 2, null, 51",
            ),
            (
                "SELECT name, type, OBJECT_NAME(parent_object_id) FROM sys.objects WHERE type = 'TR'",
                "\"tr\", \"TR\", \"t\"",
            ),
            (
                "ALTER TRIGGER tr ON t AFTER DELETE AS IF EXISTS (SELECT * FROM deleted WHERE a = 1) BEGIN RAISERROR('no', 16, 1); ROLLBACK END",
                "",
            ),
            (
                "INSERT t (a) VALUES (1); DELETE t WHERE a = 1; SELECT 1",
                "#1 ; !50000 no ; !3609 The transaction ended in the trigger. The batch has been aborted.",
            ),
            ("SELECT COUNT(*), @@TRANCOUNT FROM t", "1, 0"),
            (
                "DISABLE TRIGGER tr ON t; DELETE t WHERE a = 1; DROP TABLE t; SELECT COUNT(*) FROM sys.triggers",
                "#1 ; 0",
            ),
            (
                "CREATE TRIGGER x ON t FOR INSERT AS RETURN",
                "!8197 The object 't' does not exist or is invalid for this operation.",
            ),
            ("SELECT * FROM inserted", "!208 Invalid object name 'inserted'."),
        ],
    );
}
