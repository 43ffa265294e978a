//! Procedures that tell people what there is: `sp_help` and its kin.

use logferry_mssql_standin::sql::Session;

use crate::{connect, numbers, server, with_northwind};

/// As [`crate::check`], with `when` for what has the date of the test.
#[track_caller]
fn check(session: &mut Session, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (sql, expect) in cases {
        let found = crate::run(session, sql);
        let parts =
            found.split('"').map(|part| if part.starts_with("20") && part.contains('T') { "when" } else { part });
        let found = parts.collect::<Vec<_>>().join("\"");
        if found != *expect {
            wrong.push_str(&format!("\n{sql}\n  expected {expect}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn objects_are_told() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            (
                "CREATE TABLE p (a int, b int, CONSTRAINT PK_p PRIMARY KEY (a, b)); CREATE TABLE t (id int IDENTITY(5, -1) CONSTRAINT PK_t PRIMARY KEY NONCLUSTERED, g uniqueidentifier ROWGUIDCOL, a int, b int CONSTRAINT DF_b DEFAULT 7 CONSTRAINT CK_b CHECK (b > 0), v varchar(20), m decimal(9, 2) NOT NULL, twice AS (b * 2), CONSTRAINT FK_ab FOREIGN KEY (a, b) REFERENCES p (a, b)); CREATE CLUSTERED INDEX cx ON t (v); CREATE INDEX ix ON t (m DESC, a)",
                "",
            ),
            ("CREATE PROCEDURE q @one int, @two nvarchar(10) OUTPUT AS\r\nSELECT 1\r\n", ""),
            ("CREATE VIEW w AS SELECT a, v FROM t", ""),
            ("CREATE TABLE lone (x real)", ""),
            (
                "SELECT 'x'; EXEC sp_help",
                "\"x\" ; \"w\", \"dbo\", \"view\" | \"lone\", \"dbo\", \"user table\" | \"p\", \"dbo\", \"user table\" | \"t\", \"dbo\", \"user table\" | \"q\", \"dbo\", \"stored procedure\" | \"PK_p\", \"dbo\", \"primary key cns\" | \"PK_t\", \"dbo\", \"primary key cns\" | \"FK_ab\", \"dbo\", \"foreign key cns\" | \"DF_b\", \"dbo\", \"default (maybe cns)\" | \"CK_b\", \"dbo\", \"check cns\"",
            ),
            (
                "EXEC sp_help 't'",
                "\"t\", \"dbo\", \"user table\", \"when\" ; \"id\", \"int\", \"no\", 4, \"10   \", \"0    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"g\", \"uniqueidentifier\", \"no\", 16, \"     \", \"     \", \"yes\", \"(n/a)\", \"(n/a)\", null | \"a\", \"int\", \"no\", 4, \"10   \", \"0    \", \"yes\", \"(n/a)\", \"(n/a)\", null | \"b\", \"int\", \"no\", 4, \"10   \", \"0    \", \"yes\", \"(n/a)\", \"(n/a)\", null | \"v\", \"varchar\", \"no\", 20, \"     \", \"     \", \"yes\", \"no\", \"yes\", \"SQL_Latin1_General_CP1_CI_AS\" | \"m\", \"decimal\", \"no\", 5, \"9    \", \"2    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"twice\", \"int\", \"yes\", 4, \"10   \", \"0    \", \"yes\", \"(n/a)\", \"(n/a)\", null ; \"id\", 5, -1, 0 ; \"g\" ; \"PRIMARY\" ; \"cx\", \"clustered located on PRIMARY\", \"v\" | \"ix\", \"nonclustered located on PRIMARY\", \"m(-), a\" | \"PK_t\", \"nonclustered, unique, primary key located on PRIMARY\", \"id\" ; \"CHECK on column b\", \"CK_b\", \"(n/a)\", \"(n/a)\", \"Enabled\", \"Is_For_Replication\", \"([b]>(0))\" | \"DEFAULT on column b\", \"DF_b\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"((7))\" | \"FOREIGN KEY\", \"FK_ab\", \"No Action\", \"No Action\", \"Enabled\", \"Is_For_Replication\", \"a, b\" | \" \", \" \", \" \", \" \", \" \", \" \", \"REFERENCES shop.dbo.p (a, b)\" | \"PRIMARY KEY (non-clustered)\", \"PK_t\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"id\" ; i: No foreign keys reference table 't', or you do not have permissions on referencing tables.",
            ),
            (
                "EXEC sp_help 'dbo.p'",
                "\"p\", \"dbo\", \"user table\", \"when\" ; \"a\", \"int\", \"no\", 4, \"10   \", \"0    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"b\", \"int\", \"no\", 4, \"10   \", \"0    \", \"no\", \"(n/a)\", \"(n/a)\", null ; \"No identity column defined.\", null, null, null ; \"No rowguidcol column defined.\" ; \"PRIMARY\" ; \"PK_p\", \"clustered, unique, primary key located on PRIMARY\", \"a, b\" ; \"PRIMARY KEY (clustered)\", \"PK_p\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"a, b\" ; \"shop.dbo.t: FK_ab\"",
            ),
            (
                "sp_help w",
                "\"w\", \"dbo\", \"view\", \"when\" ; \"a\", \"int\", \"no\", 4, \"10   \", \"0    \", \"yes\", \"(n/a)\", \"(n/a)\", null | \"v\", \"varchar\", \"no\", 20, \"     \", \"     \", \"yes\", \"no\", \"yes\", \"SQL_Latin1_General_CP1_CI_AS\" ; \"No identity column defined.\", null, null, null ; \"No rowguidcol column defined.\" ; i: The object 'w' does not have any indexes, or you do not have permissions. ; i: No constraints are defined on object 'w', or you do not have permissions. ; i: No foreign keys reference table 'w', or you do not have permissions on referencing tables.",
            ),
            (
                "EXEC sp_help @objname = 'q'",
                "\"q\", \"dbo\", \"stored procedure\", \"when\" ; \"@one\", \"int\", 4, 10, 0, 1 | \"@two\", \"nvarchar\", 20, 10, null, 2",
            ),
            (
                "EXEC sp_help 'lone'",
                "\"lone\", \"dbo\", \"user table\", \"when\" ; \"x\", \"real\", \"no\", 4, \"24   \", null, \"yes\", \"(n/a)\", \"(n/a)\", null ; \"No identity column defined.\", null, null, null ; \"No rowguidcol column defined.\" ; \"PRIMARY\" ; i: The object 'lone' does not have any indexes, or you do not have permissions. ; i: No constraints are defined on object 'lone', or you do not have permissions. ; i: No foreign keys reference table 'lone', or you do not have permissions on referencing tables.",
            ),
            (
                "EXEC sp_help 'decimal'; EXEC sp_help 'sysname'",
                "\"decimal\", \"decimal\", 17, 38, 38, \"yes\", null, null, null ; \"sysname\", \"nvarchar\", 256, 128, null, \"no\", null, null, \"SQL_Latin1_General_CP1_CI_AS\"",
            ),
            (
                "EXEC sp_help 'nosuch'; SELECT 'goes on'",
                "!15009 The object 'nosuch' does not exist in database 'shop' or is invalid for this operation. ; \"goes on\"",
            ),
            (
                "EXEC sp_help 'master.dbo.x'",
                "!15250 The database name component of the object qualifier must be the name of the current database.",
            ),
            (
                "EXEC sp_helpindex 't'; EXEC sp_helpindex 'p'; EXEC sp_helpindex 'lone'",
                "\"cx\", \"clustered located on PRIMARY\", \"v\" | \"ix\", \"nonclustered located on PRIMARY\", \"m(-), a\" | \"PK_t\", \"nonclustered, unique, primary key located on PRIMARY\", \"id\" ; \"PK_p\", \"clustered, unique, primary key located on PRIMARY\", \"a, b\" ; i: The object 'lone' does not have any indexes, or you do not have permissions.",
            ),
            (
                "EXEC sp_helpindex",
                "!201 Procedure or function 'sp_helpindex' expects parameter '@objname', which was not supplied.",
            ),
            (
                "EXEC sp_helptext 'q'; EXEC sp_helptext 'CK_b'; EXEC sp_helptext 't', 'twice'",
                "\"CREATE PROCEDURE q @one int, @two nvarchar(10) OUTPUT AS\\r\\n\" | \"SELECT 1\\r\\n\" ; \"([b]>(0))\" ; \"([b]*(2))\"",
            ),
            ("EXEC sp_helptext 't'", "!15197 There is no text for object 't'."),
            ("EXEC sp_helptext 't', 'a'", "!15646 Column 'a' is not a computed column."),
            ("EXEC sp_helptext 't', 'nosuch'", "!15645 Column 'nosuch' does not exist."),
            (
                "EXEC sp_pkeys 'p'; EXEC sp_fkeys @fktable_name = 't'",
                "\"shop\", \"dbo\", \"p\", \"a\", 1, \"PK_p\" | \"shop\", \"dbo\", \"p\", \"b\", 2, \"PK_p\" ; \"shop\", \"dbo\", \"p\", \"a\", \"shop\", \"dbo\", \"t\", \"a\", 1, 1, 1, \"FK_ab\", \"PK_p\", 7 | \"shop\", \"dbo\", \"p\", \"b\", \"shop\", \"dbo\", \"t\", \"b\", 2, 1, 1, \"FK_ab\", \"PK_p\", 7",
            ),
            (
                "EXEC sp_statistics 't'",
                "\"shop\", \"dbo\", \"t\", null, null, null, 0, null, null, null, 0, 0, null | \"shop\", \"dbo\", \"t\", 0, \"t\", \"PK_t\", 3, 1, \"id\", \"A\", 0, 0, null | \"shop\", \"dbo\", \"t\", 1, \"t\", \"cx\", 1, 1, \"v\", \"A\", 0, 0, null | \"shop\", \"dbo\", \"t\", 1, \"t\", \"ix\", 3, 1, \"m\", \"D\", 0, 0, null | \"shop\", \"dbo\", \"t\", 1, \"t\", \"ix\", 3, 2, \"a\", \"A\", 0, 0, null",
            ),
            ("EXEC sp_helpnosuch", "!2812 Could not find stored procedure 'sp_helpnosuch'."),
        ],
    );
    assert_eq!(numbers(&mut s, "EXEC sp_help 'lone'"), [15472, 15469, 15470]);
}

#[test]
fn the_server_is_told() {
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    crate::run(
        &mut other,
        "CREATE TABLE t (id int PRIMARY KEY, pad char(5000)); INSERT t VALUES (1, ''), (2, ''), (3, '')",
    );
    check(
        &mut s,
        &[
            (
                "EXEC sp_who",
                "51, 0, \"runnable                      \", \"sa                                                                                                                              \", \"here                                                                                                                            \", \"0    \", \"shop                                                                                                                            \", \"SELECT          \", 0 | 52, 0, \"sleeping                      \", \"sa                                                                                                                              \", \"here                                                                                                                            \", \"0    \", \"shop                                                                                                                            \", \"AWAITING COMMAND\", 0",
            ),
            (
                "EXEC sp_who 52",
                "52, 0, \"sleeping                      \", \"sa                                                                                                                              \", \"here                                                                                                                            \", \"0    \", \"shop                                                                                                                            \", \"AWAITING COMMAND\", 0",
            ),
            (
                "EXEC sp_who 'active'",
                "51, 0, \"runnable                      \", \"sa                                                                                                                              \", \"here                                                                                                                            \", \"0    \", \"shop                                                                                                                            \", \"SELECT          \", 0",
            ),
            ("EXEC sp_who 'nobody'", "!15007 'nobody' is not a valid login or you do not have permission."),
            (
                "EXEC sp_spaceused 't'; EXEC sp_spaceused",
                "\"t\", \"3                   \", \"72 KB\", \"24 KB\", \"16 KB\", \"32 KB\" ; \"shop\", \"9.01 MB\", \"6.10 MB\" ; \"1944 KB\", \"152 KB\", \"344 KB\", \"1448 KB\"",
            ),
            (
                "EXEC sp_spaceused @oneresultset = 1",
                "\"shop\", \"9.01 MB\", \"6.10 MB\", \"1944 KB\", \"152 KB\", \"344 KB\", \"1448 KB\"",
            ),
            (
                "EXEC sp_spaceused 'nosuch'",
                "!15009 The object 'nosuch' does not exist in database 'shop' or is invalid for this operation.",
            ),
            (
                "EXEC sp_spaceused 't', 'maybe'",
                "!15143 'maybe' is not a valid option for the @updateusage parameter. Enter either 'true' or 'false'.",
            ),
            (
                "EXEC sp_databases",
                "\"master\", 9224, null | \"model\", 9224, null | \"msdb\", 9224, null | \"shop\", 9224, null | \"tempdb\", 9224, null",
            ),
            (
                "EXEC sp_helpdb 'nosuch'",
                "!15010 The database 'nosuch' does not exist. Supply a valid database name. To see available databases, use sys.databases.",
            ),
            (
                "EXEC sp_server_info 2; EXEC sp_server_info @attribute_id = 500",
                "2, \"DBMS_VER\", \"Microsoft SQL Server 2016 - 13.0.5026.0\" ; 500, \"SYS_SPROC_VERSION\", \"13.00.5026\"",
            ),
            ("SELECT SUM(size) * 8 FROM sys.master_files WHERE database_id = DB_ID()", "9224"),
        ],
    );
    let told = crate::run(&mut s, "EXEC sp_helpdb 'shop'");
    assert!(told.starts_with("\"shop\", \"     "), "{told}");
    assert!(
        told.contains("MB\", \"sa\", 5, \"") && told.contains("Status=ONLINE, Updateability=READ_WRITE, "),
        "{told}"
    );
    assert!(told.contains("\"data only\" | \"shop_log"), "{told}");
    assert_eq!(crate::run(&mut s, "EXEC sp_server_info").split(" | ").count(), 29);
}

/// Northwind as a server of 2008 left it.
#[test]
fn of_a_real_file() {
    let Some(server) = with_northwind() else { return };
    check(
        &mut connect(&server),
        &[
            ("USE nw", "use nw"),
            (
                "EXEC sp_help 'Order Details'",
                "\"Order Details\", \"dbo\", \"user table\", \"when\" ; \"OrderID\", \"int\", \"no\", 4, \"10   \", \"0    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"ProductID\", \"int\", \"no\", 4, \"10   \", \"0    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"UnitPrice\", \"money\", \"no\", 8, \"19   \", \"4    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"Quantity\", \"smallint\", \"no\", 2, \"5    \", \"0    \", \"no\", \"(n/a)\", \"(n/a)\", null | \"Discount\", \"real\", \"no\", 4, \"24   \", null, \"no\", \"(n/a)\", \"(n/a)\", null ; \"No identity column defined.\", null, null, null ; \"No rowguidcol column defined.\" ; \"PRIMARY\" ; \"OrderID\", \"nonclustered located on PRIMARY\", \"OrderID\" | \"OrdersOrder_Details\", \"nonclustered located on PRIMARY\", \"OrderID\" | \"PK_Order_Details\", \"clustered, unique, primary key located on PRIMARY\", \"OrderID, ProductID\" | \"ProductID\", \"nonclustered located on PRIMARY\", \"ProductID\" | \"ProductsOrder_Details\", \"nonclustered located on PRIMARY\", \"ProductID\" ; \"CHECK on column Discount\", \"CK_Discount\", \"(n/a)\", \"(n/a)\", \"Enabled\", \"Is_For_Replication\", \"([Discount]>=(0) AND [Discount]<=(1))\" | \"CHECK on column Quantity\", \"CK_Quantity\", \"(n/a)\", \"(n/a)\", \"Enabled\", \"Is_For_Replication\", \"([Quantity]>(0))\" | \"CHECK on column UnitPrice\", \"CK_UnitPrice\", \"(n/a)\", \"(n/a)\", \"Enabled\", \"Is_For_Replication\", \"([UnitPrice]>=(0))\" | \"DEFAULT on column Discount\", \"DF_Order_Details_Discount\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"((0))\" | \"DEFAULT on column Quantity\", \"DF_Order_Details_Quantity\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"((1))\" | \"DEFAULT on column UnitPrice\", \"DF_Order_Details_UnitPrice\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"((0))\" | \"FOREIGN KEY\", \"FK_Order_Details_Orders\", \"No Action\", \"No Action\", \"Enabled\", \"Is_For_Replication\", \"OrderID\" | \" \", \" \", \" \", \" \", \" \", \" \", \"REFERENCES nw.dbo.Orders (OrderID)\" | \"FOREIGN KEY\", \"FK_Order_Details_Products\", \"No Action\", \"No Action\", \"Enabled\", \"Is_For_Replication\", \"ProductID\" | \" \", \" \", \" \", \" \", \" \", \" \", \"REFERENCES nw.dbo.Products (ProductID)\" | \"PRIMARY KEY (clustered)\", \"PK_Order_Details\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"(n/a)\", \"OrderID, ProductID\" ; i: No foreign keys reference table 'Order Details', or you do not have permissions on referencing tables.",
            ),
            (
                "EXEC sp_helptext 'CustOrdersOrders'",
                "\"-- Batch submitted through debugger: instnwnd.sql|9054|0|\\\\\\\\psf\\\\Home\\\\Downloads\\\\SQL2000.Sample.Databases.(Northwind,pubs)\\\\instnwnd.sql\\r\\n\" | \"\\r\\n\" | \"CREATE PROCEDURE CustOrdersOrders @CustomerID nchar(5)\\r\\n\" | \"AS\\r\\n\" | \"SELECT OrderID, \\r\\n\" | \"\\tOrderDate,\\r\\n\" | \"\\tRequiredDate,\\r\\n\" | \"\\tShippedDate\\r\\n\" | \"FROM Orders\\r\\n\" | \"WHERE CustomerID = @CustomerID\\r\\n\" | \"ORDER BY OrderID\\r\\n\"",
            ),
            (
                "EXEC sp_spaceused 'Order Details'",
                "\"Order Details\", \"2155                \", \"312 KB\", \"72 KB\", \"192 KB\", \"48 KB\"",
            ),
            (
                "EXEC sp_helpindex 'Orders'",
                "\"CustomerID\", \"nonclustered located on PRIMARY\", \"CustomerID\" | \"CustomersOrders\", \"nonclustered located on PRIMARY\", \"CustomerID\" | \"EmployeeID\", \"nonclustered located on PRIMARY\", \"EmployeeID\" | \"EmployeesOrders\", \"nonclustered located on PRIMARY\", \"EmployeeID\" | \"OrderDate\", \"nonclustered located on PRIMARY\", \"OrderDate\" | \"PK_Orders\", \"clustered, unique, primary key located on PRIMARY\", \"OrderID\" | \"ShippedDate\", \"nonclustered located on PRIMARY\", \"ShippedDate\" | \"ShippersOrders\", \"nonclustered located on PRIMARY\", \"ShipVia\" | \"ShipPostalCode\", \"nonclustered located on PRIMARY\", \"ShipPostalCode\"",
            ),
            (
                "EXEC sp_spaceused",
                "\"nw\", \"4.25 MB\", \"0.16 MB\" ; \"3168 KB\", \"1368 KB\", \"1576 KB\", \"224 KB\"",
            ),
            (
                "EXEC sp_fkeys 'Orders'",
                "\"nw\", \"dbo\", \"Orders\", \"OrderID\", \"nw\", \"dbo\", \"Order Details\", \"OrderID\", 1, 1, 1, \"FK_Order_Details_Orders\", \"PK_Orders\", 7",
            ),
        ],
    );
}
