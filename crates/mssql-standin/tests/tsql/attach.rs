//! Files of real servers, served: every row and every record as the product's own readers have them.

use logferry_model::Cell;
use logferry_mssql_backup::log_file::LogFiles;
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_backup::{Catalog, DataFiles, Error, LogBlocks};

use crate::files::fixtures;
use crate::tsql::dblog::{cells, texts};
use crate::{check, connect, run, server, with_northwind};

/// Attaches a pair and compares all of it; `numbers` are what `fn_dblog` must count: records, commits, aborts.
#[track_caller]
fn check_pair(data: &str, log: &str, numbers: (u64, u64, u64)) {
    let Some(folder) = fixtures() else { return };
    let (data, log) = (folder.join("pairs").join(data), folder.join("pairs").join(log));
    let server = server();
    let mut s = connect(&server);
    let attach = format!(
        "CREATE DATABASE [real] ON (FILENAME = N'{}'), (FILENAME = N'{}') FOR ATTACH; USE [real]",
        data.display(),
        log.display()
    );
    check(&mut s, &[(&attach, "use real")]);

    let files = DataFiles::open(&[&data]).expect("a data file");
    let catalog = Catalog::read(&files).expect("a catalog");
    for (at, table) in catalog.tables.iter().enumerate() {
        let mut expect: Vec<Vec<Option<Vec<u8>>>> = Vec::new();
        read_table(&files, &catalog, at, |row| {
            expect.push(row.iter().map(|c| if let Cell::Bytes(b) = c { Some(b.to_vec()) } else { None }).collect());
            Ok::<_, Error>(())
        })
        .expect("the rows can be read");
        let name = &table.version.name;
        let columns: Vec<String> = table.version.columns.iter().map(|c| format!("[{}]", c.name)).collect();
        let mut found = cells(&mut s, &format!("SELECT {} FROM [{}].[{}]", columns.join(", "), name.schema, name.name));
        expect.sort();
        found.sort();
        assert_eq!(found, expect, "{name}");
        let id =
            texts(&mut s, &format!("SELECT CAST(OBJECT_ID(N'[{}].[{}]') AS nvarchar(20))", name.schema, name.name));
        assert_eq!(id, [table.version.id.0.to_string()], "object id of {name}");
    }
    let found = texts(
        &mut s,
        "SELECT s.name + '.' + t.name FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id ORDER BY 1",
    );
    let mut expect: Vec<String> = catalog.tables.iter().map(|t| t.version.name.to_string()).collect();
    expect.sort_by_key(|n| n.to_lowercase());
    assert_eq!(found, expect);

    let rows = cells(&mut s, "SELECT [Current LSN], [Log Record Length], [Log Record] FROM fn_dblog(NULL, NULL)");
    let logs = LogFiles::open(&[log]).expect("a log file");
    let mut blocks = logs.blocks(None).expect("its blocks");
    let mut at = 0;
    while let Some(block) = blocks.next_block().expect("a block") {
        for record in block.records().map(|r| r.expect("a record")) {
            let lsn: Vec<u8> = record.lsn.to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
            let bytes = record.bytes();
            let expect = [
                Some(lsn),
                Some((bytes.len() as i16).to_le_bytes().to_vec()),
                Some(bytes.get(..8000).unwrap_or(bytes).to_vec()),
            ];
            assert_eq!(rows.get(at).map(Vec::as_slice), Some(&expect[..]), "record {}", record.lsn);
            at += 1;
        }
    }
    assert_eq!(rows.len(), at);
    let count = |what: &str| format!("SELECT COUNT(*) FROM fn_dblog(NULL, NULL) WHERE Operation LIKE 'LOP_{what}'");
    let (records, commits, aborts) = numbers;
    check(
        &mut s,
        &[
            (&count("%"), &records.to_string()),
            (&count("COMMIT_XACT"), &commits.to_string()),
            (&count("ABORT_XACT"), &aborts.to_string()),
            ("SELECT is_read_only FROM sys.databases WHERE name = 'real'", "true"),
            ("CREATE TABLE t (a int)", "!3906 Failed to update database \"real\" because the database is read-only."),
            ("CHECKPOINT", ""),
            (&count("%"), &records.to_string()),
        ],
    );
}

#[test]
fn flights() {
    check_pair("flights-2016/flightdb.mdf", "flights-2016/flightdb_log.ldf", (6732, 399, 29));
}

#[test]
fn health() {
    check_pair("health-2019/health.mdf", "health-2019/health_log.ldf", (3812, 208, 3));
}

#[test]
fn shelter() {
    check_pair("shelter-2016/shelter.mdf", "shelter-2016/shelter_log.ldf", (4603, 379, 2));
}

#[test]
fn tax() {
    check_pair("tax-2019/tax.mdf", "tax-2019/tax_log.ldf", (3598, 167, 0));
}

#[test]
fn trivia() {
    check_pair("trivia-2008/before/Database1.mdf", "trivia-2008/before/Database1_log.ldf", (2833, 101, 5));
    check_pair("trivia-2008/after/Database1.mdf", "trivia-2008/after/Database1_log.ldf", (2182, 123, 8));
}

#[test]
fn webtool() {
    check_pair("webtool-2008r2/first/WebTool.mdf", "webtool-2008r2/first/WebTool_log.ldf", (1171, 54, 2));
    check_pair("webtool-2008r2/second/WebTool.mdf", "webtool-2008r2/second/WebTool_log.ldf", (1315, 65, 2));
}

#[test]
fn northwind() {
    check_pair("northwind-2008/northwnd.mdf", "northwind-2008/northwnd.ldf", (4877, 477, 0));
    let Some(folder) = fixtures().map(|f| f.join("pairs/northwind-2008")) else { return };
    let server = server();
    let mut s = connect(&server);
    server
        .attach_database("Northwind", &folder.join("northwnd.mdf"), &folder.join("northwnd.ldf"))
        .expect("the pair is attached");
    check(
        &mut s,
        &[
            (
                "USE Northwind; SELECT COUNT(*) FROM Orders; SELECT COUNT(*) FROM [Order Details]; SELECT CompanyName FROM Customers WHERE CustomerID = 'ALFKI'",
                "use Northwind ; 830 ; 2155 ; \"Alfreds Futterkiste\"",
            ),
            (
                "SELECT TOP 1 c.CategoryName, SUM(d.Quantity) FROM [Order Details] d JOIN Products p ON p.ProductID = d.ProductID JOIN Categories c ON c.CategoryID = p.CategoryID GROUP BY c.CategoryName ORDER BY 2 DESC",
                "\"Beverages\", 9532",
            ),
            (
                "SELECT COUNT(*) FROM fn_dblog(NULL, NULL) WHERE Operation = 'LOP_INSERT_ROWS' AND AllocUnitName LIKE 'dbo.Territories%' AND Context = 'LCX_HEAP'",
                "53",
            ),
            (
                "INSERT Region VALUES (9, 'x')",
                "!3906 Failed to update database \"Northwind\" because the database is read-only.",
            ),
            (
                "UPDATE Region SET RegionDescription = 'x'",
                "!3906 Failed to update database \"Northwind\" because the database is read-only.",
            ),
            (
                "BACKUP DATABASE Northwind TO DISK = 'nul'",
                "!3906 Failed to update database \"Northwind\" because the database is read-only.",
            ),
        ],
    );
    let other = run(
        &mut s,
        &format!(
            "CREATE DATABASE n2 ON (FILENAME = '{0}/northwnd.mdf'), (FILENAME = '{0}/../tax-2019/tax_log.ldf') FOR ATTACH",
            folder.display()
        ),
    );
    assert!(other.ends_with("it belongs to another database than the data file."), "{other}");
    let none = run(&mut s, "CREATE DATABASE n3 ON (FILENAME = 'no.mdf'), (FILENAME = 'no.ldf') FOR ATTACH");
    assert!(none.starts_with("!5120 Unable to open the physical file \"no.mdf\"."), "{none}");
}

#[test]
fn files_that_were_written_when_a_server_ended_are_served() {
    let folder = std::env::temp_dir().join(format!("logferry-standin-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let first = server();
    check(
        &mut connect(&first),
        &[(
            "CREATE TABLE t (id int PRIMARY KEY, s nvarchar(20), x xml); INSERT t VALUES (1, 'a', '<a/>'), (2, NULL, NULL); BEGIN TRAN; INSERT t VALUES (3, 'open', NULL)",
            "#2 ; #1",
        )],
    );
    assert_eq!(first.close_into(&folder).unwrap(), ["shop"]);
    let second = server();
    second.attach_database("again", &folder.join("shop.mdf"), &folder.join("shop_log.ldf")).unwrap();
    let found = run(&mut connect(&second), "USE again; SELECT id, s, x FROM t ORDER BY id; INSERT t (id) VALUES (5)");
    assert!(found.starts_with("use again ; 1, \"a\", \"<a/>\" | 2, null, null ; !"), "{found}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A data file of one moment with the log of a later one, as of a server that was killed.
#[test]
fn files_that_were_not_shut_down_are_recovered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, log) = (folder.path().join("shop.mdf"), folder.path().join("shop.ldf"));
    let server = server();
    let (mut s, mut other, mut third) = (connect(&server), connect(&server), connect(&server));
    run(
        &mut s,
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(50)); CREATE TABLE h (id int, v varchar(50)); CREATE INDEX ix ON t (v)",
    );
    run(
        &mut s,
        "INSERT t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'); INSERT h VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    );
    server.with_storage("shop", |db| db.write_data_file(&data)).expect("the database").expect("a data file");
    // What is committed after that comes back, with a table that is new and pages that were split.
    run(
        &mut s,
        "UPDATE t SET v = 'changed' WHERE id = 2; DELETE h WHERE id = 1; CREATE TABLE late (id int PRIMARY KEY, pad char(3000))",
    );
    run(
        &mut s,
        "INSERT late VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'); DELETE late WHERE id = 3; BEGIN TRAN; INSERT t VALUES (9, 'rolled back'); ROLLBACK",
    );
    // What is not goes.
    run(
        &mut other,
        "BEGIN TRAN; INSERT t VALUES (5, 'lost'); DELETE t WHERE id = 1; UPDATE t SET v = 'throw' WHERE id = 3; SAVE TRAN x; INSERT t VALUES (6, 'x'); ROLLBACK TRAN x",
    );
    run(
        &mut third,
        "BEGIN TRAN; INSERT h VALUES (7, 'lost'); DELETE h WHERE id = 2; UPDATE h SET v = 'throw' WHERE id = 3",
    );
    server.with_storage("shop", |db| db.write_log_file(&log)).expect("the database").expect("a log file");
    let attach = format!(
        "CREATE DATABASE again ON (FILENAME = '{}'), (FILENAME = '{}') FOR ATTACH; USE again",
        data.display(),
        log.display()
    );
    check(
        &mut s,
        &[
            (&attach, "use again"),
            ("SELECT * FROM t ORDER BY id", "1, \"one\" | 2, \"changed\" | 3, \"three\" | 4, \"four\""),
            ("SELECT * FROM h ORDER BY id", "2, \"two\" | 3, \"three\""),
            ("SELECT id, RTRIM(pad) FROM late ORDER BY id", "1, \"a\" | 2, \"b\" | 4, \"d\" | 5, \"e\""),
            (
                "INSERT t VALUES (8, 'no')",
                "!3906 Failed to update database \"again\" because the database is read-only.",
            ),
        ],
    );
}

/// Views and procedures as the script of Northwind left them: shown, and run where their text is understood.
#[test]
fn attached_files_have_their_views_and_procedures() {
    let Some(server) = with_northwind() else { return };
    check(
        &mut connect(&server),
        &[
            ("USE nw", "use nw"),
            (
                "SELECT type, COUNT(*) FROM sys.objects WHERE type IN ('V', 'P', 'TR') GROUP BY type ORDER BY 1; SELECT COUNT(*) FROM sys.views; SELECT COUNT(*) FROM sys.procedures; SELECT COUNT(*) FROM sys.triggers",
                "\"P \", 7 | \"V \", 16 ; 16 ; 7 ; 0",
            ),
            (
                "SELECT name, object_id, create_date FROM sys.procedures WHERE name LIKE 'CustOrder%' ORDER BY name",
                "\"CustOrderHist\", 949578421, \"2012-01-24T19:10:40.157\" | \"CustOrdersDetail\", 917578307, \"2012-01-24T19:10:40.140\" | \"CustOrdersOrders\", 933578364, \"2012-01-24T19:10:40.140\"",
            ),
            (
                "SELECT SUBSTRING(definition, CHARINDEX('CREATE', definition), 200) FROM sys.sql_modules WHERE object_id = OBJECT_ID('CustOrdersOrders')",
                "\"CREATE PROCEDURE CustOrdersOrders @CustomerID nchar(5)\\r\\nAS\\r\\nSELECT OrderID, \\r\\n\\tOrderDate,\\r\\n\\tRequiredDate,\\r\\n\\tShippedDate\\r\\nFROM Orders\\r\\nWHERE CustomerID = @CustomerID\\r\\nORDER BY OrderID\\r\\n\"",
            ),
            (
                "SELECT c.name, TYPE_NAME(c.user_type_id), c.max_length, c.is_nullable FROM sys.columns c WHERE c.object_id = OBJECT_ID('Customer and Suppliers by City') ORDER BY c.column_id",
                "\"City\", \"nvarchar\", 30, true | \"CompanyName\", \"nvarchar\", 80, false | \"ContactName\", \"nvarchar\", 60, true | \"Relationship\", \"varchar\", 9, false",
            ),
            (
                "SELECT COUNT(*) FROM Invoices; SELECT COUNT(*) FROM [Products Above Average Price]; SELECT TOP 1 CategoryName, CategorySales FROM [Category Sales for 1997] ORDER BY 2 DESC",
                "2155 ; 25 ; \"Dairy Products\", 114749.7800",
            ),
            (
                "EXEC CustOrdersDetail 10248",
                "\"Queso Cabrales\", 14.0000, 12, 0, 168.0000 | \"Singaporean Hokkien Fried Mee\", 9.8000, 10, 0, 98.0000 | \"Mozzarella di Giovanni\", 34.8000, 5, 0, 174.0000",
            ),
            ("DROP VIEW Invoices", "!3906 Failed to update database \"nw\" because the database is read-only."),
        ],
    );
}

/// The same of files that this engine wrote, with triggers.
#[test]
fn attached_files_have_their_triggers() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = server();
    let long = format!("CREATE PROCEDURE long AS SELECT '{}' AS x", "ab".repeat(9_000));
    let mut s = connect(&first);
    for sql in [
        "CREATE TABLE t (id int PRIMARY KEY, a int)",
        "CREATE VIEW v WITH SCHEMABINDING AS SELECT id, a AS b FROM dbo.t",
        "CREATE TRIGGER tr ON t FOR INSERT, UPDATE NOT FOR REPLICATION AS PRINT 'x'",
        "CREATE TRIGGER quiet ON t AFTER DELETE AS PRINT 'y'",
        "DISABLE TRIGGER quiet ON t",
        "CREATE TRIGGER ddl ON DATABASE FOR CREATE_TABLE AS PRINT 'z'",
        &long,
    ] {
        let said = run(&mut s, sql);
        assert!(!said.contains('!'), "{sql}: {said}");
    }
    let asked = [
        "SELECT name, object_id, type, parent_object_id FROM sys.objects WHERE is_ms_shipped = 0 ORDER BY object_id",
        "SELECT name, parent_class, parent_id, is_disabled, is_not_for_replication FROM sys.triggers ORDER BY name",
        "SELECT t.name, e.type_desc FROM sys.trigger_events e JOIN sys.triggers t ON t.object_id = e.object_id ORDER BY 1, 2",
        "SELECT object_id, definition, is_schema_bound FROM sys.sql_modules ORDER BY object_id",
        "SELECT name, system_type_id, is_nullable FROM sys.columns WHERE object_id = OBJECT_ID('v') ORDER BY column_id",
    ];
    let before = asked.map(|sql| run(&mut s, sql));
    assert!(before[1].contains("\"quiet\", 1") && before[3].contains("abab"), "{before:?}");
    assert_eq!(first.close_into(folder.path()).expect("files"), ["shop"]);
    let second = server();
    let (data, log) = (folder.path().join("shop.mdf"), folder.path().join("shop_log.ldf"));
    second.attach_database("again", &data, &log).expect("the pair is attached");
    let mut s = connect(&second);
    assert_eq!(run(&mut s, "USE again"), "use again");
    for (sql, before) in asked.into_iter().zip(&before) {
        assert_eq!(run(&mut s, sql), *before, "{sql}");
    }
}

/// Defaults, checks and foreign keys as the script of Northwind left them: what it loaded with NOCHECK is not trusted.
#[test]
fn attached_tables_have_their_constraints() {
    let Some(server) = with_northwind() else { return };
    check(
        &mut connect(&server),
        &[
            ("USE nw", "use nw"),
            (
                "SELECT name, parent_column_id, definition, is_disabled, is_not_trusted, is_system_named FROM sys.check_constraints WHERE parent_object_id IN (OBJECT_ID('Employees'), OBJECT_ID('Order Details')) ORDER BY name",
                "\"CK_Birthdate\", 6, \"([BirthDate]<getdate())\", false, true, false | \"CK_Discount\", 5, \"([Discount]>=(0) AND [Discount]<=(1))\", false, true, false | \"CK_Quantity\", 4, \"([Quantity]>(0))\", false, true, false | \"CK_UnitPrice\", 3, \"([UnitPrice]>=(0))\", false, true, false",
            ),
            (
                "SELECT d.name, c.name, d.definition FROM sys.default_constraints d JOIN sys.columns c ON c.default_object_id = d.object_id WHERE d.parent_object_id = OBJECT_ID('Order Details') ORDER BY c.column_id",
                "\"DF_Order_Details_UnitPrice\", \"UnitPrice\", \"((0))\" | \"DF_Order_Details_Quantity\", \"Quantity\", \"((1))\" | \"DF_Order_Details_Discount\", \"Discount\", \"((0))\"",
            ),
            ("SELECT COUNT(*) FROM sys.default_constraints; SELECT COUNT(*) FROM sys.check_constraints", "9 ; 8"),
            (
                "SELECT f.name, OBJECT_NAME(f.parent_object_id), OBJECT_NAME(f.referenced_object_id), f.key_index_id, f.is_not_trusted, k.parent_column_id, k.referenced_column_id FROM sys.foreign_keys f JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id WHERE f.name LIKE 'FK_Orders%' OR f.name LIKE 'FK_Terr%' OR f.name = 'FK_Employees_Employees' ORDER BY f.name",
                "\"FK_Employees_Employees\", \"Employees\", \"Employees\", 1, true, 17, 1 | \"FK_Orders_Customers\", \"Orders\", \"Customers\", 1, true, 2, 1 | \"FK_Orders_Employees\", \"Orders\", \"Employees\", 1, true, 3, 1 | \"FK_Orders_Shippers\", \"Orders\", \"Shippers\", 1, true, 7, 1 | \"FK_Territories_Region\", \"Territories\", \"Region\", 2, false, 3, 1",
            ),
            ("SELECT COUNT(*) FROM sys.foreign_keys", "13"),
        ],
    );
}

/// Keys as the system tables of the files have them: clustered indexes that are no primary key, nonclustered ones.
#[test]
fn attached_tables_have_their_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = server();
    check(
        &mut connect(&first),
        &[
            ("CREATE TABLE a (id int NOT NULL, n varchar(10)); CREATE CLUSTERED INDEX cx ON a (n)", ""),
            (
                "CREATE TABLE b (id int NOT NULL CONSTRAINT pk_b PRIMARY KEY NONCLUSTERED, n int UNIQUE CLUSTERED, m int); CREATE INDEX ix ON b (m DESC) INCLUDE (n)",
                "",
            ),
            ("CREATE TABLE c (id int PRIMARY KEY, k int, j int, UNIQUE (j, k)); CREATE TABLE d (id int)", ""),
            (
                "CREATE TABLE e (a int DEFAULT 7, b int CONSTRAINT ck_b CHECK NOT FOR REPLICATION (b > 0), t varchar(20) CONSTRAINT df_t DEFAULT 'ä''', x int REFERENCES c, y int, z int, CHECK (a < b), CONSTRAINT fk_yz FOREIGN KEY (y, z) REFERENCES c (j, k)); ALTER TABLE e NOCHECK CONSTRAINT fk_yz",
                "",
            ),
            (
                "INSERT a VALUES (1, 'b'), (2, 'a'), (3, 'b'), (4, NULL); INSERT b VALUES (1, 9, 5), (2, NULL, 6)",
                "#4 ; #2",
            ),
        ],
    );
    let keys = "SELECT t.name, i.name, i.index_id, i.type_desc, i.is_unique, i.is_primary_key, i.is_unique_constraint FROM sys.indexes i JOIN sys.tables t ON t.object_id = i.object_id ORDER BY 1, 3";
    let columns = "SELECT t.name, c.index_id, c.index_column_id, c.column_id, c.key_ordinal, c.is_descending_key, c.is_included_column FROM sys.index_columns c JOIN sys.tables t ON t.object_id = c.object_id ORDER BY 1, 2, 3";
    let constraints =
        "SELECT name, object_id, type, unique_index_id, is_system_named FROM sys.key_constraints ORDER BY object_id";
    let checks = "SELECT name, object_id, parent_object_id, parent_column_id, definition, is_disabled, is_not_trusted, is_not_for_replication, is_system_named FROM sys.check_constraints ORDER BY object_id";
    let defaults = "SELECT name, object_id, parent_object_id, parent_column_id, definition, is_system_named FROM sys.default_constraints ORDER BY object_id";
    let foreign = "SELECT f.name, f.object_id, f.referenced_object_id, f.key_index_id, f.is_disabled, f.is_not_trusted, f.is_system_named, k.constraint_column_id, k.parent_column_id, k.referenced_column_id FROM sys.foreign_keys f JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id ORDER BY f.object_id, k.constraint_column_id";
    let asked = [keys, columns, constraints, checks, defaults, foreign];
    let before = asked.map(|sql| run(&mut connect(&first), sql));
    assert!(before[5].matches("\"fk_yz\"").count() == 2 && before[4].contains("'ä'''"), "{before:?}");
    assert!(before[0].contains("\"a\", \"cx\", 1, \"CLUSTERED\", false, false, false"), "{}", before[0]);
    assert_eq!(first.close_into(folder.path()).expect("files"), ["shop"]);
    let second = server();
    let (data, log) = (folder.path().join("shop.mdf"), folder.path().join("shop_log.ldf"));
    second.attach_database("again", &data, &log).expect("the pair is attached");
    let mut s = connect(&second);
    assert_eq!(run(&mut s, "USE again"), "use again");
    for (sql, before) in asked.into_iter().zip(&before) {
        assert_eq!(run(&mut s, sql), *before, "{sql}");
    }
    check(
        &mut s,
        &[
            ("SELECT id FROM a", "4 | 2 | 1 | 3"),
            ("SELECT id FROM a WHERE n = 'b'", "1 | 3"),
            ("SELECT id, n FROM b", "2, null | 1, 9"),
        ],
    );
}
