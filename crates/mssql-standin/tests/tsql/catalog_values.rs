//! Values of the catalog views for objects of each kind, as they are documented for them.

use crate::{check, connect, server};

/// `sys.columns` and `INFORMATION_SCHEMA.COLUMNS` say how long, how precise and of which collation values of a type are.
/// `sys.types` has the same numbers for the types themselves.
#[test]
fn columns_of_each_type() {
    let types: &[(&str, &str, &str)] = &[
        ("bit", "104, 104, 1, 1, 0, null", "null, null, null, null, null"),
        ("tinyint", "48, 48, 1, 3, 0, null", "null, 3, 10, 0, null"),
        ("smallint", "52, 52, 2, 5, 0, null", "null, 5, 10, 0, null"),
        ("int", "56, 56, 4, 10, 0, null", "null, 10, 10, 0, null"),
        ("bigint", "127, 127, 8, 19, 0, null", "null, 19, 10, 0, null"),
        ("decimal(9,2)", "106, 106, 5, 9, 2, null", "null, 9, 10, 2, null"),
        ("decimal(38,0)", "106, 106, 17, 38, 0, null", "null, 38, 10, 0, null"),
        ("smallmoney", "122, 122, 4, 10, 4, null", "null, 10, 10, 4, null"),
        ("money", "60, 60, 8, 19, 4, null", "null, 19, 10, 4, null"),
        ("real", "59, 59, 4, 24, 0, null", "null, 24, 2, null, null"),
        ("float", "62, 62, 8, 53, 0, null", "null, 53, 2, null, null"),
        ("date", "40, 40, 3, 10, 0, null", "null, null, null, null, 0"),
        ("time(0)", "41, 41, 3, 8, 0, null", "null, null, null, null, 0"),
        ("time(7)", "41, 41, 5, 16, 7, null", "null, null, null, null, 7"),
        ("datetime", "61, 61, 8, 23, 3, null", "null, null, null, null, 3"),
        ("smalldatetime", "58, 58, 4, 16, 0, null", "null, null, null, null, 0"),
        ("datetime2(3)", "42, 42, 7, 23, 3, null", "null, null, null, null, 3"),
        ("datetimeoffset(7)", "43, 43, 10, 34, 7, null", "null, null, null, null, 7"),
        ("uniqueidentifier", "36, 36, 16, 0, 0, null", "null, null, null, null, null"),
        ("char(5)", "175, 175, 5, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "5, null, null, null, null"),
        ("varchar(8000)", "167, 167, 8000, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "8000, null, null, null, null"),
        ("varchar(max)", "167, 167, -1, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "-1, null, null, null, null"),
        ("text", "35, 35, 16, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "2147483647, null, null, null, null"),
        ("nchar(5)", "239, 239, 10, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "5, null, null, null, null"),
        ("nvarchar(4000)", "231, 231, 8000, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "4000, null, null, null, null"),
        ("nvarchar(max)", "231, 231, -1, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "-1, null, null, null, null"),
        ("ntext", "99, 99, 16, 0, 0, \"SQL_Latin1_General_CP1_CI_AS\"", "1073741823, null, null, null, null"),
        ("binary(5)", "173, 173, 5, 0, 0, null", "5, null, null, null, null"),
        ("varbinary(8000)", "165, 165, 8000, 0, 0, null", "8000, null, null, null, null"),
        ("varbinary(max)", "165, 165, -1, 0, 0, null", "-1, null, null, null, null"),
        ("image", "34, 34, 16, 0, 0, null", "2147483647, null, null, null, null"),
        ("rowversion", "189, 189, 8, 0, 0, null", "null, null, null, null, null"),
        ("xml", "241, 241, -1, 0, 0, null", "-1, null, null, null, null"),
    ];
    let server = server();
    let mut s = connect(&server);
    for (ty, own, standard) in types {
        let make = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (c {ty})");
        check(
            &mut s,
            &[
                (&make, ""),
                (
                    "SELECT system_type_id, user_type_id, max_length, precision, scale, collation_name FROM sys.columns WHERE object_id = OBJECT_ID('t')",
                    own,
                ),
                (
                    "SELECT CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_PRECISION_RADIX, NUMERIC_SCALE, DATETIME_PRECISION FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 't'",
                    standard,
                ),
                (
                    "SELECT COUNT(*) FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.user_type_id JOIN INFORMATION_SCHEMA.COLUMNS i ON i.DATA_TYPE = t.name AND i.COLUMN_NAME = c.name WHERE c.object_id = OBJECT_ID('t')",
                    "1",
                ),
            ],
        );
    }
}

#[test]
fn objects_of_each_kind() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            ("CREATE SCHEMA sales", ""),
            (
                "CREATE TABLE sales.parent (a int NOT NULL, b int NOT NULL, CONSTRAINT PK_parent PRIMARY KEY (a, b), CONSTRAINT UQ_b UNIQUE (b))",
                "",
            ),
            (
                "CREATE TABLE sales.child (id bigint IDENTITY(10, -5) NOT FOR REPLICATION PRIMARY KEY NONCLUSTERED, a int, b int CONSTRAINT DF_b DEFAULT 7, twice AS (b * 2), kept AS (b + 1) PERSISTED NOT NULL, CONSTRAINT FK_ab FOREIGN KEY (a, b) REFERENCES sales.parent (a, b), CONSTRAINT CK_b CHECK (b > 0)); CREATE CLUSTERED INDEX cx ON sales.child (a); CREATE UNIQUE INDEX ux ON sales.child (b DESC, id) INCLUDE (kept)",
                "",
            ),
            ("CREATE VIEW sales.v AS SELECT a FROM sales.parent", ""),
            ("CREATE PROCEDURE sales.p AS SELECT 1", ""),
            ("CREATE TRIGGER sales.tr ON sales.child AFTER INSERT, DELETE AS RETURN", ""),
            ("CREATE TYPE sales.ids AS TABLE (id int)", ""),
            (
                "SELECT name, type, type_desc, SCHEMA_NAME(schema_id), OBJECT_NAME(parent_object_id), is_ms_shipped FROM sys.objects WHERE name NOT LIKE 'PK__child%' ORDER BY name",
                "\"child\", \"U \", \"USER_TABLE\", \"sales\", null, false | \"CK_b\", \"C \", \"CHECK_CONSTRAINT\", \"sales\", \"child\", false | \"DF_b\", \"D \", \"DEFAULT_CONSTRAINT\", \"sales\", \"child\", false | \"FK_ab\", \"F \", \"FOREIGN_KEY_CONSTRAINT\", \"sales\", \"child\", false | \"p\", \"P \", \"SQL_STORED_PROCEDURE\", \"sales\", null, false | \"parent\", \"U \", \"USER_TABLE\", \"sales\", null, false | \"PK_parent\", \"PK\", \"PRIMARY_KEY_CONSTRAINT\", \"sales\", \"parent\", false | \"tr\", \"TR\", \"SQL_TRIGGER\", \"sales\", \"child\", false | \"UQ_b\", \"UQ\", \"UNIQUE_CONSTRAINT\", \"sales\", \"parent\", false | \"v\", \"V \", \"VIEW\", \"sales\", null, false",
            ),
            (
                "SELECT OBJECT_NAME(object_id), name, index_id, type, type_desc, is_unique, is_primary_key, is_unique_constraint, has_filter FROM sys.indexes WHERE name NOT LIKE 'PK__child%' AND OBJECT_SCHEMA_NAME(object_id) = 'sales' ORDER BY 1, 3",
                "\"child\", \"cx\", 1, 1, \"CLUSTERED\", false, false, false, false | \"child\", \"ux\", 3, 2, \"NONCLUSTERED\", true, false, false, false | \"parent\", \"PK_parent\", 1, 1, \"CLUSTERED\", true, true, false, false | \"parent\", \"UQ_b\", 2, 2, \"NONCLUSTERED\", true, false, true, false",
            ),
            (
                "SELECT c.name, i.index_column_id, i.key_ordinal, i.is_descending_key, i.is_included_column FROM sys.index_columns i JOIN sys.columns c ON c.object_id = i.object_id AND c.column_id = i.column_id WHERE i.object_id = OBJECT_ID('sales.child') AND i.index_id = 3 ORDER BY 2",
                "\"b\", 1, 1, true, false | \"id\", 2, 2, false, false | \"kept\", 3, 0, false, true",
            ),
            (
                "SELECT name, CAST(seed_value AS bigint), CAST(increment_value AS bigint), last_value FROM sys.identity_columns WHERE object_id = OBJECT_ID('sales.child')",
                "\"id\", 10, -5, null",
            ),
            (
                "SELECT name, definition, is_persisted, is_nullable FROM sys.computed_columns WHERE object_id = OBJECT_ID('sales.child') ORDER BY column_id",
                "\"twice\", \"([b]*(2))\", false, true | \"kept\", \"([b]+(1))\", true, false",
            ),
            (
                "SELECT d.name, d.definition, c.name, d.is_system_named FROM sys.default_constraints d JOIN sys.columns c ON c.default_object_id = d.object_id",
                "\"DF_b\", \"((7))\", \"b\", false",
            ),
            (
                "SELECT name, definition, is_disabled, is_not_trusted, parent_column_id FROM sys.check_constraints",
                "\"CK_b\", \"([b]>(0))\", false, false, 3",
            ),
            (
                "SELECT name, OBJECT_NAME(referenced_object_id), key_index_id, delete_referential_action_desc, is_disabled FROM sys.foreign_keys",
                "\"FK_ab\", \"parent\", 1, \"NO_ACTION\", false",
            ),
            (
                "SELECT k.name, k.type, k.unique_index_id, k.is_system_named FROM sys.key_constraints k WHERE k.parent_object_id = OBJECT_ID('sales.parent') ORDER BY 1",
                "\"PK_parent\", \"PK\", 1, false | \"UQ_b\", \"UQ\", 2, false",
            ),
            (
                "SELECT index_id, partition_number, rows, data_compression_desc FROM sys.partitions WHERE object_id = OBJECT_ID('sales.child') ORDER BY 1",
                "1, 1, 0, \"NONE\" | 2, 1, 0, \"NONE\" | 3, 1, 0, \"NONE\"",
            ),
            (
                "SELECT name, system_type_id, is_user_defined, is_table_type, SCHEMA_NAME(schema_id) FROM sys.types WHERE is_user_defined = 1",
                "\"ids\", 243, true, true, \"sales\"",
            ),
            (
                "SELECT e.type_desc, t.is_instead_of_trigger, t.is_disabled FROM sys.triggers t JOIN sys.trigger_events e ON e.object_id = t.object_id ORDER BY e.type",
                "\"INSERT\", false, false | \"DELETE\", false, false",
            ),
            (
                "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION FROM INFORMATION_SCHEMA.ROUTINES",
                "\"sales\", \"p\", \"PROCEDURE\", \"CREATE PROCEDURE sales.p AS SELECT 1\"",
            ),
            (
                "SELECT CONSTRAINT_NAME, UNIQUE_CONSTRAINT_NAME, MATCH_OPTION, UPDATE_RULE FROM INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS",
                "\"FK_ab\", \"PK_parent\", \"SIMPLE\", \"NO ACTION\"",
            ),
            (
                "SELECT CONSTRAINT_NAME, CONSTRAINT_TYPE, IS_DEFERRABLE FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS WHERE TABLE_NAME = 'parent' OR CONSTRAINT_NAME LIKE '[CF]K%' ORDER BY 1",
                "\"CK_b\", \"CHECK\", \"NO\" | \"FK_ab\", \"FOREIGN KEY\", \"NO\" | \"PK_parent\", \"PRIMARY KEY\", \"NO\" | \"UQ_b\", \"UNIQUE\", \"NO\"",
            ),
            (
                "SELECT lob_data_space_id, max_column_id_used, is_tracked_by_cdc, temporal_type_desc, durability_desc, lock_escalation_desc FROM sys.tables WHERE name = 'child'",
                "0, 5, false, \"NON_TEMPORAL_TABLE\", \"SCHEMA_AND_DATA\", \"TABLE\"",
            ),
        ],
    );
}

#[test]
fn what_is_captured_shows() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            ("CREATE TABLE t (id smallint IDENTITY PRIMARY KEY, v varchar(10), w rowversion)", ""),
            (
                "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table 'dbo', 't', N'reader', @supports_net_changes = 1; EXEC sys.sp_cdc_stop_job N'capture'",
                "",
            ),
            ("SELECT is_cdc_enabled FROM sys.databases WHERE name = 'shop'", "true"),
            (
                "SELECT name, is_tracked_by_cdc, is_ms_shipped FROM sys.tables WHERE is_ms_shipped = 0 OR name = 'dbo_t_CT' ORDER BY name",
                "\"dbo_t_CT\", false, true | \"t\", true, false",
            ),
            (
                "SELECT c.name, TYPE_NAME(c.user_type_id), c.max_length, c.is_nullable FROM sys.columns c WHERE c.object_id = OBJECT_ID('cdc.dbo_t_CT') ORDER BY c.column_id",
                "\"__$start_lsn\", \"binary\", 10, false | \"__$end_lsn\", \"binary\", 10, true | \"__$seqval\", \"binary\", 10, false | \"__$operation\", \"int\", 4, false | \"__$update_mask\", \"varbinary\", 128, true | \"id\", \"int\", 4, true | \"v\", \"varchar\", 10, true | \"w\", \"binary\", 8, true | \"__$command_id\", \"int\", 4, true",
            ),
            (
                "SELECT name, type_desc, is_unique FROM sys.indexes WHERE object_id = OBJECT_ID('cdc.dbo_t_CT')",
                "\"dbo_t_CT_clustered_idx\", \"CLUSTERED\", true",
            ),
            (
                "SELECT capture_instance, OBJECT_NAME(source_object_id), supports_net_changes, role_name, partition_switch FROM cdc.change_tables",
                "\"dbo_t\", \"t\", true, \"reader\", true",
            ),
            (
                "SELECT column_name, column_id, column_ordinal, is_computed FROM cdc.captured_columns ORDER BY column_ordinal",
                "\"id\", 1, 1, false | \"v\", 2, 2, false | \"w\", 3, 3, false",
            ),
            ("SELECT column_name, index_ordinal, column_id FROM cdc.index_columns", "\"id\", 1, 1"),
        ],
    );
}
