//! Statistics, dependencies, permissions, jobs, and the views of SQL Server 2000: by statements, and of a file of a real server.

use logferry_mssql_standin::sql::{Rights, Session};

use crate::{check, connect, server, with_northwind};

/// Tables with everything that the views tell.
const TABLES: &[&str] = &[
    "CREATE SCHEMA sales",
    "CREATE TABLE sales.parent (a int NOT NULL, b int NOT NULL, CONSTRAINT PK_parent PRIMARY KEY (a, b), CONSTRAINT UQ_b UNIQUE (b))",
    "CREATE TABLE sales.child (id bigint IDENTITY PRIMARY KEY NONCLUSTERED, a int, b int CONSTRAINT DF_b DEFAULT 7, s varchar(20) NOT NULL, m decimal(9, 2), twice AS (b * 2), CONSTRAINT FK_ab FOREIGN KEY (a, b) REFERENCES sales.parent (a, b), CONSTRAINT CK_b CHECK (b > 0)); CREATE CLUSTERED INDEX cx ON sales.child (a, s); CREATE INDEX ix ON sales.child (m DESC) INCLUDE (b)",
    "CREATE TABLE heap (x nvarchar(max)); INSERT heap VALUES (N'one'), (N'two')",
    "CREATE VIEW sales.v AS SELECT a, twice FROM sales.child",
    "CREATE VIEW sales.bound WITH SCHEMABINDING AS SELECT a FROM sales.parent",
    "CREATE PROCEDURE sales.p @one int, @two nvarchar(10) OUTPUT AS SELECT name FROM sysobjects; SELECT x FROM heap",
    "CREATE TRIGGER sales.tr ON sales.child AFTER INSERT, DELETE AS SELECT 1",
];

#[track_caller]
fn make(s: &mut Session) {
    for sql in TABLES {
        let said = crate::run(s, sql);
        assert!(!said.contains('!'), "{sql}: {said}");
    }
}

#[test]
fn statistics_are_those_of_indexes() {
    let server = server();
    let mut s = connect(&server);
    make(&mut s);
    check(
        &mut s,
        &[
            (
                "SELECT OBJECT_NAME(s.object_id), s.name, s.stats_id, s.auto_created, s.user_created, c.stats_column_id, COL_NAME(c.object_id, c.column_id) FROM sys.stats s JOIN sys.stats_columns c ON c.object_id = s.object_id AND c.stats_id = s.stats_id WHERE s.name NOT LIKE 'PK__%' ORDER BY 1, 3, 6",
                "\"child\", \"cx\", 1, false, false, 1, \"a\" | \"child\", \"cx\", 1, false, false, 2, \"s\" | \"child\", \"ix\", 3, false, false, 1, \"m\" | \"parent\", \"UQ_b\", 2, false, false, 1, \"b\"",
            ),
            (
                "SELECT COUNT(*) FROM sys.indexes i LEFT JOIN sys.stats s ON s.object_id = i.object_id AND s.stats_id = i.index_id AND s.name = i.name WHERE i.index_id > 0 AND s.name IS NULL",
                "0",
            ),
            ("SELECT name, type_desc, fanout FROM sys.partition_functions", "(none)"),
            (
                "SELECT s.name, d.destination_id FROM sys.partition_schemes s JOIN sys.destination_data_spaces d ON d.partition_scheme_id = s.data_space_id",
                "(none)",
            ),
            ("SELECT name FROM sys.periods", "(none)"),
            (
                "SELECT name, assembly_id, permission_set_desc, is_visible, is_user_defined FROM sys.assemblies",
                "\"Microsoft.SqlServer.Types\", 1, \"UNSAFE_ACCESS\", true, false",
            ),
            (
                "SELECT OBJECT_NAME(object_id), name, parameter_id, TYPE_NAME(user_type_id), max_length, is_output FROM sys.parameters ORDER BY 3",
                "\"p\", \"@one\", 1, \"int\", 4, false | \"p\", \"@two\", 2, \"nvarchar\", 20, true",
            ),
        ],
    );
}

/// A server would make some, for the foreign key and for the query.
#[test]
fn statistics_of_columns_are_not_made() {
    let server = server();
    let mut s = connect(&server);
    let sql = "CREATE TABLE dbo.one (a int NOT NULL PRIMARY KEY); CREATE TABLE dbo.two (a int NULL, b int NULL); INSERT dbo.one VALUES (1), (2); INSERT dbo.two VALUES (1, 1), (2, 2);
        ALTER TABLE dbo.two ADD CONSTRAINT FK_two FOREIGN KEY (a) REFERENCES dbo.one (a)";
    let said = crate::run(&mut s, sql);
    assert!(!said.contains('!'), "{said}");
    check(
        &mut s,
        &[
            ("SELECT a FROM dbo.two WHERE b = 2", "2"),
            (
                "SELECT OBJECT_NAME(object_id), auto_created FROM sys.stats WHERE object_id IN (OBJECT_ID('dbo.one'), OBJECT_ID('dbo.two'))",
                "\"one\", false",
            ),
            (
                "SELECT MAX(CASE WHEN [Transaction Name] LIKE '%QPStats' THEN 1 ELSE 0 END), MAX(CASE WHEN [Transaction Name] = 'ALTER TABLE' THEN 1 ELSE 0 END) FROM fn_dblog(NULL, NULL)",
                "0, 1",
            ),
        ],
    );
}

#[test]
fn old_views_show_the_same() {
    let server = server();
    let mut s = connect(&server);
    make(&mut s);
    check(
        &mut s,
        &[
            (
                "SELECT COUNT(*) FROM dbo.sysobjects o JOIN sys.objects n ON n.object_id = o.id AND n.name = o.name AND n.parent_object_id = o.parent_obj AND n.type = o.xtype",
                "13",
            ),
            (
                "SELECT COUNT(*) FROM sysobjects; SELECT COUNT(*) FROM shop..sysobjects; SELECT COUNT(*) FROM shop.sys.sysobjects; SELECT COUNT(*) FROM sys.objects",
                "13 ; 13 ; 13 ; 13",
            ),
            (
                "SELECT name, xtype, type, uid, OBJECT_NAME(parent_obj), userstat, sysstat, category FROM sysobjects WHERE name NOT LIKE 'PK__%' ORDER BY name",
                "\"bound\", \"V \", \"V \", 5, null, 0, 2, 0 | \"child\", \"U \", \"U \", 5, null, 1, 3, 0 | \"CK_b\", \"C \", \"C \", 5, \"child\", 0, 10, 0 | \"DF_b\", \"D \", \"D \", 5, \"child\", 0, 6, 0 | \"FK_ab\", \"F \", \"F \", 5, \"child\", 0, 11, 0 | \"heap\", \"U \", \"U \", 1, null, 1, 3, 0 | \"p\", \"P \", \"P \", 5, null, 0, 4, 0 | \"parent\", \"U \", \"U \", 5, null, 1, 3, 0 | \"tr\", \"TR\", \"TR\", 5, \"child\", 0, 8, 0 | \"UQ_b\", \"UQ\", \"K \", 5, \"parent\", 0, 9, 0 | \"v\", \"V \", \"V \", 5, null, 0, 2, 0",
            ),
            (
                "IF EXISTS (SELECT * FROM sysobjects WHERE id = OBJECT_ID('heap') AND OBJECTPROPERTY(id, 'IsUserTable') = 1) PRINT 'yes'",
                "i: yes",
            ),
            (
                "SELECT OBJECT_NAME(deltrig), OBJECT_NAME(instrig), updtrig FROM sysobjects WHERE name = 'child'",
                "\"tr\", \"tr\", 0",
            ),
            (
                "SELECT c.name, c.colid, t.name, c.length, c.prec, c.scale, c.isnullable, c.iscomputed, c.status, c.colstat, OBJECT_NAME(c.cdefault), c.type, c.usertype, c.collation FROM syscolumns c JOIN systypes t ON t.xusertype = c.xusertype WHERE c.id = OBJECT_ID('sales.child') ORDER BY c.colid",
                "\"id\", 1, \"bigint\", 8, 19, 0, 0, 0, 128, 1, null, 63, 0, null | \"a\", 2, \"int\", 4, 10, 0, 1, 0, 8, 0, null, 56, 7, null | \"b\", 3, \"int\", 4, 10, 0, 1, 0, 8, 0, \"DF_b\", 56, 7, null | \"s\", 4, \"varchar\", 20, 20, null, 0, 0, 16, 0, null, 39, 2, \"SQL_Latin1_General_CP1_CI_AS\" | \"m\", 5, \"decimal\", 5, 9, 2, 1, 0, 8, 0, null, 55, 24, null | \"twice\", 6, \"int\", 4, 10, 0, 1, 1, 8, 4, null, 56, 7, null",
            ),
            (
                "SELECT name, colid, number, isoutparam, prec FROM syscolumns WHERE id = OBJECT_ID('sales.p') ORDER BY colid",
                "\"@one\", 1, 1, 0, 10 | \"@two\", 2, 1, 1, 10",
            ),
            (
                "SELECT name, xtype, xusertype, length, usertype, variable, allownulls, type, prec, scale FROM systypes ORDER BY xusertype",
                "\"image\", 34, 34, 16, 20, false, true, 34, null, null | \"text\", 35, 35, 16, 19, false, true, 35, null, null | \"uniqueidentifier\", 36, 36, 16, 0, false, true, 37, 16, null | \"date\", 40, 40, 3, 0, false, true, null, 10, 0 | \"time\", 41, 41, 5, 0, false, true, null, 16, 7 | \"datetime2\", 42, 42, 8, 0, false, true, null, 27, 7 | \"datetimeoffset\", 43, 43, 10, 0, false, true, null, 34, 7 | \"tinyint\", 48, 48, 1, 5, false, true, 48, 3, 0 | \"smallint\", 52, 52, 2, 6, false, true, 52, 5, 0 | \"int\", 56, 56, 4, 7, false, true, 56, 10, 0 | \"smalldatetime\", 58, 58, 4, 22, false, true, 58, 16, 0 | \"real\", 59, 59, 4, 23, false, true, 59, 24, null | \"money\", 60, 60, 8, 11, false, true, 60, 19, 4 | \"datetime\", 61, 61, 8, 12, false, true, 61, 23, 3 | \"float\", 62, 62, 8, 8, false, true, 62, 53, null | \"sql_variant\", 98, 98, 8016, 0, false, true, 39, 8016, null | \"ntext\", 99, 99, 16, 0, false, true, 35, null, null | \"bit\", 104, 104, 1, 16, false, true, 50, 1, null | \"decimal\", 106, 106, 17, 24, false, true, 55, 38, 38 | \"numeric\", 108, 108, 17, 10, false, true, 63, 38, 38 | \"smallmoney\", 122, 122, 4, 21, false, true, 122, 10, 4 | \"bigint\", 127, 127, 8, 0, false, true, 63, 19, 0 | \"hierarchyid\", 240, 128, 892, 0, false, true, null, 892, null | \"geometry\", 240, 129, -1, 0, false, true, null, -1, null | \"geography\", 240, 130, -1, 0, false, true, null, -1, null | \"varbinary\", 165, 165, 8000, 4, true, true, 37, 8000, null | \"varchar\", 167, 167, 8000, 2, true, true, 39, 8000, null | \"binary\", 173, 173, 8000, 3, false, true, 45, 8000, null | \"char\", 175, 175, 8000, 1, false, true, 47, 8000, null | \"timestamp\", 189, 189, 8, 80, false, false, 45, 8, null | \"nvarchar\", 231, 231, 8000, 0, true, true, 39, 4000, null | \"nchar\", 239, 239, 8000, 0, false, true, 47, 4000, null | \"xml\", 241, 241, -1, 0, false, true, null, -1, null | \"sysname\", 231, 256, 256, 18, true, false, 39, 128, null",
            ),
            (
                "SELECT OBJECT_NAME(id), name, indid, status, keycnt, minlen, dpages, reserved, used, rowcnt, rows FROM sysindexes WHERE OBJECT_SCHEMA_NAME(id) = 'sales' AND ISNULL(name, '') NOT LIKE 'PK__child%' OR OBJECT_NAME(id) = 'heap' ORDER BY 1, 3",
                "\"child\", \"cx\", 1, 16, 2, 28, 0, 0, 0, 0, 0 | \"child\", \"ix\", 3, 0, 1, 17, 0, 0, 0, 0, 0 | \"heap\", null, 0, 0, 0, 7, 1, 9, 2, 2, 2 | \"parent\", \"PK_parent\", 1, 2066, 2, 15, 0, 0, 0, 0, 0 | \"parent\", \"UQ_b\", 2, 4098, 1, 12, 0, 0, 0, 0, 0",
            ),
            (
                "SELECT i.id, i.indid FROM sysindexes i JOIN sys.system_internals_allocation_units u ON u.first_page = i.first AND u.root_page = i.root AND u.first_iam_page = i.FirstIAM WHERE i.id = OBJECT_ID('heap') AND u.type = 1",
                "693577509, 0",
            ),
            (
                "SELECT OBJECT_NAME(id), indid, colid, keyno FROM sysindexkeys WHERE id = OBJECT_ID('sales.child') ORDER BY 2, 4",
                "\"child\", 1, 2, 1 | \"child\", 1, 4, 2 | \"child\", 2, 1, 1 | \"child\", 3, 5, 1",
            ),
            (
                "SELECT OBJECT_NAME(constid), OBJECT_NAME(fkeyid), OBJECT_NAME(rkeyid), fkey, rkey, keyno FROM sysforeignkeys ORDER BY keyno",
                "\"FK_ab\", \"child\", \"parent\", 2, 1, 1 | \"FK_ab\", \"child\", \"parent\", 3, 2, 2",
            ),
            (
                "SELECT OBJECT_NAME(constid), rkeyindid, keycnt, fkey1, fkey2, fkey3, rkey1, rkey2, rkey16 FROM sysreferences",
                "\"FK_ab\", 1, 2, 2, 3, 0, 1, 2, 0",
            ),
            (
                "SELECT name, uid, gid, hasdbaccess, islogin, issqluser, issqlrole FROM sysusers WHERE uid < 5 OR name = 'db_owner' ORDER BY uid",
                "\"public\", 0, 0, 0, 0, 0, 1 | \"dbo\", 1, 0, 1, 1, 1, 0 | \"guest\", 2, 0, 0, 1, 1, 0 | \"INFORMATION_SCHEMA\", 3, 0, 0, 1, 1, 0 | \"sys\", 4, 0, 0, 1, 1, 0 | \"db_owner\", 16384, 16384, 0, 0, 0, 1",
            ),
            (
                "SELECT name, dbid, status, cmptlevel FROM master.dbo.sysdatabases WHERE name IN ('master', 'shop') ORDER BY dbid",
                "\"master\", 1, 65536, 130 | \"shop\", 5, 65536, 130",
            ),
            (
                "SELECT OBJECT_NAME(id), number, colid, text FROM syscomments WHERE id IN (OBJECT_ID('sales.v'), OBJECT_ID('sales.CK_b'), OBJECT_ID('sales.DF_b')) ORDER BY 1",
                "\"CK_b\", 0, 1, \"([b]>(0))\" | \"DF_b\", 0, 1, \"((7))\" | \"v\", 0, 1, \"CREATE VIEW sales.v AS SELECT a, twice FROM sales.child\"",
            ),
            ("SELECT COUNT(*) FROM sysnosuch", "!208 Invalid object name 'sysnosuch'."),
            ("SELECT COUNT(*) FROM dbo.stats", "!208 Invalid object name 'dbo.stats'."),
        ],
    );
}

#[test]
fn texts_say_what_they_name() {
    let server = server();
    let mut s = connect(&server);
    make(&mut s);
    check(
        &mut s,
        &[
            (
                "SELECT OBJECT_NAME(referencing_id), referencing_minor_id, referencing_class_desc, is_schema_bound_reference, referenced_schema_name, referenced_entity_name, OBJECT_NAME(referenced_id), referenced_minor_id, is_caller_dependent FROM sys.sql_expression_dependencies ORDER BY 1, 2, 6, 8",
                "\"bound\", 0, \"OBJECT_OR_COLUMN\", true, \"sales\", \"parent\", \"parent\", 0, false | \"bound\", 0, \"OBJECT_OR_COLUMN\", true, \"sales\", \"parent\", \"parent\", 1, false | \"CK_b\", 0, \"OBJECT_OR_COLUMN\", true, \"sales\", \"child\", \"child\", 3, false | \"p\", 0, \"OBJECT_OR_COLUMN\", false, null, \"heap\", \"heap\", 0, false | \"v\", 0, \"OBJECT_OR_COLUMN\", false, \"sales\", \"child\", \"child\", 0, false",
            ),
            (
                "DROP VIEW sales.v; SELECT COUNT(*) FROM sys.sql_expression_dependencies WHERE referenced_id = OBJECT_ID('sales.child') AND is_schema_bound_reference = 0",
                "0",
            ),
        ],
    );
}

#[test]
fn sessions_may_do_everything() {
    let server = server();
    let mut s = connect(&server);
    make(&mut s);
    check(
        &mut s,
        &[
            (
                "SELECT entity_name, COUNT(*) FROM sys.fn_my_permissions(NULL, 'SERVER') GROUP BY entity_name; SELECT entity_name, COUNT(*) FROM fn_my_permissions(NULL, 'DATABASE') GROUP BY entity_name",
                "\"server\", 34 ; \"database\", 74",
            ),
            (
                "SELECT permission_name FROM fn_my_permissions('sales.parent', 'OBJECT') WHERE subentity_name = '' ORDER BY 1",
                "\"ALTER\" | \"CONTROL\" | \"DELETE\" | \"INSERT\" | \"REFERENCES\" | \"SELECT\" | \"TAKE OWNERSHIP\" | \"UPDATE\" | \"VIEW CHANGE TRACKING\" | \"VIEW DEFINITION\"",
            ),
            (
                "SELECT subentity_name, permission_name FROM fn_my_permissions('sales.parent', 'OBJECT') WHERE subentity_name <> '' ORDER BY 1, 2",
                "\"a\", \"REFERENCES\" | \"a\", \"SELECT\" | \"a\", \"UPDATE\" | \"b\", \"REFERENCES\" | \"b\", \"SELECT\" | \"b\", \"UPDATE\"",
            ),
            (
                "SELECT t.name, p.permission_name FROM sys.tables t CROSS APPLY fn_my_permissions(SCHEMA_NAME(t.schema_id) + '.' + t.name, 'OBJECT') p WHERE p.subentity_name = '' AND p.permission_name = 'SELECT' ORDER BY 1",
                "\"child\", \"SELECT\" | \"heap\", \"SELECT\" | \"parent\", \"SELECT\"",
            ),
            (
                "SELECT permission_name FROM fn_my_permissions('sales.p', 'OBJECT') ORDER BY 1",
                "\"ALTER\" | \"CONTROL\" | \"EXECUTE\" | \"TAKE OWNERSHIP\" | \"VIEW DEFINITION\"",
            ),
            ("SELECT * FROM fn_my_permissions('nosuch', 'OBJECT')", "(none)"),
        ],
    );
}

#[test]
fn what_is_lost_is_no_permission() {
    let database = "SELECT permission_name FROM fn_my_permissions(NULL, 'DATABASE') ORDER BY 1";
    let table = "SELECT subentity_name, permission_name FROM fn_my_permissions('dbo.t', 'OBJECT') ORDER BY 1, 2";
    let cases = [
        (Rights::Lost, "\"CONNECT\"", "(none)"),
        (Rights::SelectDenied, "\"CONNECT\" | \"VIEW DEFINITION\"", "\"\", \"VIEW DEFINITION\""),
        (Rights::ViewDenied, "\"CONNECT\"", "\"\", \"SELECT\" | \"id\", \"SELECT\""),
    ];
    for (rights, of_database, of_table) in cases {
        let server = server();
        let mut s = connect(&server);
        check(&mut s, &[("CREATE TABLE t (id int)", "")]);
        server.hide("test", "shop", &["dbo.t"], rights).expect("the table is there");
        check(&mut s, &[(database, of_database), (table, of_table)]);
    }
}

#[test]
fn capturing_databases_have_jobs() {
    let server = server();
    check(
        &mut connect(&server),
        &[
            ("SELECT COUNT(*) FROM msdb.dbo.sysjobs", "0"),
            (
                "CREATE TABLE t (id int PRIMARY KEY); EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table 'dbo', 't', NULL",
                "",
            ),
            (
                "SELECT j.name, j.enabled, j.description, j.category_id, c.job_type, s.step_id, s.step_name, s.subsystem, s.command, s.on_success_action, s.database_name FROM msdb.dbo.sysjobs j JOIN msdb.dbo.cdc_jobs c ON c.job_id = j.job_id JOIN msdb.dbo.sysjobsteps s ON s.job_id = j.job_id ORDER BY 1, 6",
                "\"cdc.shop_capture\", 1, \"CDC Log Scan Job\", 13, \"capture\", 1, \"Starting Change Data Capture Collection Agent\", \"TSQL\", \"RAISERROR(22801, 10, -1)\", 3, \"shop\" | \"cdc.shop_capture\", 1, \"CDC Log Scan Job\", 13, \"capture\", 2, \"Change Data Capture Collection Agent\", \"TSQL\", \"sys.sp_MScdc_capture_job\", 1, \"shop\" | \"cdc.shop_cleanup\", 1, \"CDC Cleanup Job\", 16, \"cleanup\", 1, \"Change Data Capture Cleanup Agent\", \"TSQL\", \"sys.sp_MScdc_cleanup_job\", 1, \"shop\"",
            ),
            ("EXEC sys.sp_cdc_drop_job 'cleanup'; SELECT name FROM msdb..sysjobs", "\"cdc.shop_capture\""),
        ],
    );
}

/// What the system tables of Northwind say, which a server of 2008 wrote.
#[test]
fn of_a_real_file() {
    let Some(server) = with_northwind() else { return };
    check(
        &mut connect(&server),
        &[
            ("USE nw", "use nw"),
            (
                "SELECT COUNT(*), SUM(CAST(auto_created AS int)), SUM(CAST(user_created AS int)) FROM sys.stats",
                "46, 7, 0",
            ),
            (
                "SELECT s.name, s.stats_id, s.auto_created, COL_NAME(c.object_id, c.column_id) FROM sys.stats s JOIN sys.stats_columns c ON c.object_id = s.object_id AND c.stats_id = s.stats_id WHERE s.object_id = OBJECT_ID('Orders') ORDER BY 2, c.stats_column_id",
                "\"PK_Orders\", 1, false, \"OrderID\" | \"CustomerID\", 2, false, \"CustomerID\" | \"CustomersOrders\", 3, false, \"CustomerID\" | \"EmployeeID\", 4, false, \"EmployeeID\" | \"EmployeesOrders\", 5, false, \"EmployeeID\" | \"OrderDate\", 6, false, \"OrderDate\" | \"ShippedDate\", 7, false, \"ShippedDate\" | \"ShippersOrders\", 8, false, \"ShipVia\" | \"ShipPostalCode\", 9, false, \"ShipPostalCode\"",
            ),
            (
                "SELECT OBJECT_NAME(referencing_id), referenced_schema_name, referenced_entity_name, OBJECT_NAME(referenced_id), referenced_minor_id, is_schema_bound_reference FROM sys.sql_expression_dependencies WHERE OBJECT_NAME(referencing_id) IN ('CustOrderHist', 'Invoices', 'CK_Discount', 'Product Sales for 1997', 'Category Sales for 1997') ORDER BY 1, 3, 5",
                "\"Category Sales for 1997\", null, \"Product Sales for 1997\", \"Product Sales for 1997\", 0, false | \"CK_Discount\", \"dbo\", \"Order Details\", \"Order Details\", 5, true | \"CustOrderHist\", null, \"Customers\", \"Customers\", 0, false | \"CustOrderHist\", null, \"Order Details\", \"Order Details\", 0, false | \"CustOrderHist\", null, \"Orders\", \"Orders\", 0, false | \"CustOrderHist\", null, \"Products\", \"Products\", 0, false | \"Invoices\", null, \"Customers\", \"Customers\", 0, false | \"Invoices\", null, \"Employees\", \"Employees\", 0, false | \"Invoices\", null, \"Order Details\", \"Order Details\", 0, false | \"Invoices\", null, \"Orders\", \"Orders\", 0, false | \"Invoices\", null, \"Products\", \"Products\", 0, false | \"Invoices\", null, \"Shippers\", \"Shippers\", 0, false | \"Product Sales for 1997\", null, \"Categories\", \"Categories\", 0, false | \"Product Sales for 1997\", null, \"Order Details\", \"Order Details\", 0, false | \"Product Sales for 1997\", null, \"Orders\", \"Orders\", 0, false | \"Product Sales for 1997\", null, \"Products\", \"Products\", 0, false",
            ),
            ("SELECT COUNT(*) FROM sys.sql_expression_dependencies WHERE referenced_id IS NULL", "0"),
            (
                "SELECT name, indid, status, rowcnt, rows, dpages, reserved, used FROM sysindexes WHERE id = OBJECT_ID('Order Details') ORDER BY indid",
                "\"PK_Order_Details\", 1, 2066, 2155, 2155, 9, 39, 33 | \"OrderID\", 2, 0, 2155, 2155, 5, 5, 5 | \"OrdersOrder_Details\", 3, 0, 2155, 2155, 5, 5, 5 | \"ProductID\", 4, 0, 2155, 2155, 6, 6, 6 | \"ProductsOrder_Details\", 5, 0, 2155, 2155, 6, 6, 6",
            ),
            (
                "SELECT COUNT(*) FROM sysforeignkeys f JOIN sys.foreign_key_columns c ON c.constraint_object_id = f.constid AND c.parent_column_id = f.fkey AND c.referenced_column_id = f.rkey; SELECT COUNT(*) FROM sys.foreign_key_columns",
                "13 ; 13",
            ),
            (
                "SELECT COUNT(*) FROM syscolumns o JOIN sys.columns c ON c.object_id = o.id AND c.column_id = o.colid AND c.name = o.name AND c.max_length = o.length WHERE o.number = 0; SELECT COUNT(*) FROM sys.columns",
                "190 ; 190",
            ),
            (
                "SELECT SUBSTRING(text, CHARINDEX('CREATE', text), 40), number, colid FROM syscomments WHERE id = OBJECT_ID('CustOrderHist')",
                "\"CREATE PROCEDURE CustOrderHist @Customer\", 1, 1",
            ),
            (
                "SELECT used_page_count, in_row_data_page_count, reserved_page_count, row_count FROM sys.dm_db_partition_stats WHERE object_id = OBJECT_ID('Orders')",
                "22, 20, 25, 830",
            ),
            ("SELECT name, size FROM sys.database_files", "\"nw\", 416 | \"nw_log\", 128"),
        ],
    );
}
