//! Catalog views.

use crate::{check, connect, server};

#[test]
fn views_show_what_there_is() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE SCHEMA sales", ""),
            (
                "CREATE TABLE sales.t (id int IDENTITY CONSTRAINT PK_t PRIMARY KEY, name nvarchar(20) NOT NULL, p decimal(9,2) CONSTRAINT DF_p DEFAULT ((0)), x varchar(max)); CREATE INDEX ix ON sales.t (name DESC)",
                "",
            ),
            ("CREATE TABLE c (id int PRIMARY KEY, t int CONSTRAINT FK_t FOREIGN KEY REFERENCES sales.t (id))", ""),
            (
                "SELECT s.name, t.name FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id ORDER BY t.name",
                "\"dbo\", \"c\" | \"sales\", \"t\"",
            ),
            (
                "SELECT c.name, ty.name, c.max_length, c.precision, c.scale, c.is_nullable, c.is_identity FROM sys.columns c JOIN sys.types ty ON ty.user_type_id = c.user_type_id WHERE c.object_id = OBJECT_ID('sales.t') ORDER BY c.column_id",
                "\"id\", \"int\", 4, 10, 0, false, true | \"name\", \"nvarchar\", 40, 0, 0, false, false | \"p\", \"decimal\", 5, 9, 2, true, false | \"x\", \"varchar\", -1, 0, 0, true, false",
            ),
            (
                "SELECT name, index_id, type_desc, is_unique, is_primary_key FROM sys.indexes WHERE object_id = OBJECT_ID(N'[sales].[t]') ORDER BY index_id",
                "\"PK_t\", 1, \"CLUSTERED\", true, true | \"ix\", 2, \"NONCLUSTERED\", false, false",
            ),
            (
                "SELECT index_id, column_id, key_ordinal, is_descending_key FROM sys.index_columns WHERE object_id = OBJECT_ID('sales.t') ORDER BY 1",
                "1, 1, 1, false | 2, 2, 1, true",
            ),
            (
                "SELECT name, type_desc FROM sys.objects WHERE parent_object_id = OBJECT_ID('sales.t') ORDER BY name",
                "\"DF_p\", \"DEFAULT_CONSTRAINT\" | \"PK_t\", \"PRIMARY_KEY_CONSTRAINT\"",
            ),
            ("SELECT name, definition FROM sys.default_constraints", "\"DF_p\", \"((0))\""),
            (
                "SELECT f.name, OBJECT_NAME(f.parent_object_id), OBJECT_SCHEMA_NAME(f.referenced_object_id), k.parent_column_id, k.referenced_column_id FROM sys.foreign_keys f JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id",
                "\"FK_t\", \"c\", \"sales\", 2, 1",
            ),
            ("SELECT name, CAST(seed_value AS int) FROM sys.identity_columns", "\"id\", 1"),
            (
                "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES ORDER BY 2",
                "\"dbo\", \"c\", \"BASE TABLE\" | \"sales\", \"t\", \"BASE TABLE\"",
            ),
            (
                "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, IS_NULLABLE FROM information_schema.columns WHERE TABLE_NAME = 't' ORDER BY ORDINAL_POSITION",
                "\"id\", \"int\", null, 10, \"NO\" | \"name\", \"nvarchar\", 20, null, \"NO\" | \"p\", \"decimal\", null, 9, \"YES\" | \"x\", \"varchar\", -1, null, \"YES\"",
            ),
            (
                "SELECT tc.CONSTRAINT_TYPE, k.COLUMN_NAME FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS tc JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE k ON k.CONSTRAINT_NAME = tc.CONSTRAINT_NAME WHERE tc.TABLE_NAME = 't'",
                "\"PRIMARY KEY\", \"id\"",
            ),
            (
                "INSERT sales.t (name) VALUES (N'a'), (N'b'); SELECT SUM(p.rows) FROM sys.partitions p WHERE p.object_id = OBJECT_ID('sales.t') AND p.index_id IN (0, 1)",
                "#2 ; 2",
            ),
            ("SELECT name, database_id FROM sys.databases WHERE database_id > 4", "\"shop\", 5"),
            (
                "SELECT recovery_model_desc, is_cdc_enabled, snapshot_isolation_state FROM master.sys.databases WHERE name = DB_NAME()",
                "\"FULL\", false, 1",
            ),
            (
                "SELECT COLUMNPROPERTY(OBJECT_ID('sales.t'), 'id', 'IsIdentity'), OBJECTPROPERTY(OBJECT_ID('sales.t'), 'TableHasPrimaryKey'), COL_LENGTH('sales.t', 'name'), OBJECT_ID('nosuch')",
                "1, 1, 40, null",
            ),
            ("SELECT COUNT(*) FROM sys.extended_properties", "0"),
            ("SELECT * FROM sys.nosuch", "!208 Invalid object name 'sys.nosuch'."),
            (
                "SELECT type, COUNT(*) FROM sys.objects GROUP BY type ORDER BY type",
                "\"D \", 1 | \"F \", 1 | \"PK\", 2 | \"U \", 2",
            ),
        ],
    );
}

#[test]
fn every_view_has_its_columns() {
    // A row that has more or fewer values than its view has columns is caught here.
    let mut session = connect(&server());
    crate::run(&mut session, "CREATE TABLE t (id int PRIMARY KEY, a varchar(max)); INSERT t VALUES (1, 'x')");
    let views = [
        "databases",
        "database_recovery_status",
        "configurations",
        "database_principals",
        "server_principals",
        "servers",
        "dm_os_sys_info",
        "dm_server_services",
        "dm_exec_sessions",
        "dm_exec_connections",
        "dm_exec_requests",
        "dm_tran_database_transactions",
        "dm_tran_active_transactions",
        "dm_tran_session_transactions",
        "dm_tran_current_transaction",
        "dm_tran_locks",
        "partitions",
        "dm_db_partition_stats",
        "allocation_units",
        "system_internals_allocation_units",
        "system_internals_partitions",
        "system_internals_partition_columns",
        "filegroups",
        "database_files",
        "master_files",
        "dm_db_log_space_usage",
        "schemas",
        "objects",
        "tables",
        "columns",
        "types",
        "indexes",
        "index_columns",
        "key_constraints",
        "sysprocesses",
    ];
    for view in views {
        let found =
            crate::run(&mut session, &format!("BEGIN TRAN; UPDATE t SET a = 'y'; SELECT * FROM sys.{view}; ROLLBACK"));
        assert!(found.starts_with("#1 ; ") && !found.contains('!') && !found.contains("(none)"), "{view}: {found}");
    }
}

#[test]
fn internals_tell_where_columns_are() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (a varchar(10) NULL, id int NOT NULL PRIMARY KEY, b bit, c bit, d bigint, e nvarchar(max))",
                "",
            ),
            (
                "SELECT pc.partition_column_id, pc.system_type_id, pc.key_ordinal, pc.leaf_offset, pc.leaf_bit_position, pc.leaf_null_bit, pc.internal_offset, pc.is_dropped FROM sys.system_internals_partition_columns pc JOIN sys.partitions p ON p.partition_id = pc.partition_id WHERE p.object_id = OBJECT_ID('t') ORDER BY pc.leaf_null_bit",
                "2, 56, 1, 4, 0, 1, 1, false | 1, 167, 0, -1, 0, 2, 0, false | 3, 104, 0, 8, 0, 3, 0, false | 4, 104, 0, 8, 1, 4, 0, false | 5, 127, 0, 9, 0, 5, 0, false | 6, 231, 0, -2, 0, 6, 0, false",
            ),
            (
                "SELECT au.type_desc, au.total_pages FROM sys.system_internals_allocation_units au JOIN sys.partitions p ON p.hobt_id = au.container_id WHERE p.object_id = OBJECT_ID('t') ORDER BY au.type",
                // A row that may be longer than a page would have ROW_OVERFLOW_DATA too.
                "\"IN_ROW_DATA\", 0 | \"LOB_DATA\", 0",
            ),
            (
                "SELECT CASE WHEN family_guid = recovery_fork_guid THEN 1 ELSE 0 END, last_log_backup_lsn FROM sys.database_recovery_status WHERE database_id = DB_ID()",
                "1, null",
            ),
            (
                "BEGIN TRAN; INSERT t (id) VALUES (1); SELECT COUNT(*) FROM sys.dm_tran_database_transactions d JOIN sys.dm_tran_session_transactions s ON s.transaction_id = d.transaction_id WHERE s.session_id = @@SPID AND d.database_transaction_begin_lsn IS NOT NULL; COMMIT",
                "#1 ; 1",
            ),
        ],
    );
}

#[test]
fn procedures_of_clients() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (a int, b int, c varchar(5), CONSTRAINT PK_t PRIMARY KEY (b, a))", ""),
            (
                "EXEC sp_pkeys 't'",
                "\"shop\", \"dbo\", \"t\", \"b\", 1, \"PK_t\" | \"shop\", \"dbo\", \"t\", \"a\", 2, \"PK_t\"",
            ),
            (
                "EXEC sp_tables @table_name = 't', @table_type = '''TABLE'''",
                "\"shop\", \"dbo\", \"t\", \"TABLE\", null",
            ),
            (
                "EXEC sp_columns @table_name = 't', @column_name = 'c'",
                "\"shop\", \"dbo\", \"t\", \"c\", 12, \"varchar\", 5, 5, null, null, 1, null, null, 167, null, 5, 3, \"YES\", 167",
            ),
            (
                "EXEC sp_describe_first_result_set N'SELECT a FROM t WHERE a = @p', N'@p int'",
                "false, 1, \"a\", false, 56, \"int\", 4, 10, 0, null, null, null, null, null, null, null, null, null, null, false, false, false, null, null, null, null, null, false, null, true, false, false, null, null, null, 56, 4, null, null",
            ),
            (
                "SELECT PARSENAME('a.b.c', 1), PARSENAME('[x.y].b', 2), CAST(SQL_VARIANT_PROPERTY(SERVERPROPERTY('EngineEdition'), 'BaseType') AS varchar(9)), sys.fn_varbintohexstr(0x01AB)",
                "\"c\", \"x.y\", \"int\", \"0x01ab\"",
            ),
        ],
    );
}

#[test]
fn space_of_the_log_is_what_is_used_of_it() {
    let server = server();
    let mut s = connect(&server);
    let used = |s: &mut crate::Session| -> Vec<f64> {
        let sql = "SELECT total_log_size_in_bytes, used_log_space_in_bytes, used_log_space_in_percent, log_space_in_bytes_since_last_backup FROM sys.dm_db_log_space_usage";
        crate::run(s, sql).split(", ").map(|n| n.parse().expect("a number")).collect()
    };
    crate::run(
        &mut s,
        "CREATE TABLE t (a char(4000)); BACKUP DATABASE shop TO DISK = 'NUL'; BACKUP LOG shop TO DISK = 'NUL'",
    );
    let before = used(&mut s);
    crate::run(&mut s, "DECLARE @n int = 0; WHILE @n < 200 BEGIN INSERT t VALUES ('x'); SET @n += 1 END; CHECKPOINT");
    let after = used(&mut s);
    for at in [1, 3] {
        assert!(after[at] - before[at] > 800_000.0 && after[at] < after[0], "{before:?} {after:?}");
    }
    assert!((after[2] - after[1] / after[0] * 100.0).abs() < 0.001, "{after:?}");
    crate::run(&mut s, "BACKUP LOG shop TO DISK = 'NUL'");
    let backed_up = used(&mut s);
    assert!(backed_up[3] < after[3] - 800_000.0, "{after:?} {backed_up:?}");
}
