//! Statements of which real logs hold the records, done again through T-SQL: operations, contexts, elements and lengths are the same.
//!
//! What a text names is the exception: which order a server brings the tables into is not known (a hash, as it seems), here it is that of
//! their mention. So of these rows (`sysmultiobjrefs`, `syssoftobjrefs`, which are the last of a statement) the order is not compared, all else of them is.
//! Of 2008, what system tables got with 2012 is not compared ([`shape`], [`came_with_2012`]); it wrote identities, DROP TABLE and the boot page's object ids in other
//! ways than later ones, whose ways are the stand-in's. Locks of statements that look at foreign keys are not compared either: a server locks what it has to
//! read of them, which depends on what it has read before; so are those of 2008 where one transaction alters a table twice. Statistics that a server makes inside of a statement are none of its own
//! ([`is_of_statistics`]); the stand-in makes none.
//! Of those of an index over rows, the length is not compared: a server puts a histogram there, and of strings a summary of their parts; how it chooses the steps is
//! not known. The only real log of such an index is of 2008, under recovery model SIMPLE: it has no entries, as the page that holds all of them is not logged. The
//! stand-in logs it, as model FULL has to, inside of the build's own transaction. What a build of more pages writes is not known.
//! Transactions inside of a statement's are not compared, as they depend on how full pages are (`mssql-standin-storage/src/real.rs` does), but for those that
//! take object ids, and of INSERT.

use std::path::Path;

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_backup::{LogBlocks, log_dump};
use logferry_mssql_format::log::block::Block;
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::Record;
use logferry_mssql_standin_storage::{Database, LogBlock, Options};

use super::files::fixtures;
use super::{Shop, run, shape};

/// What lies between two statements of a case.
const NEXT: &str = ";\n";

/// `sysmultiobjrefs` and `syssoftobjrefs`, as [`shape::shape`] ends with them.
const NAMED: [&str; 2] = [" 75/", " 98/"];

/// What is run and not compared.
pub(crate) const ONLY_RUN: (u32, u32, u16) = (0, 0, 0);

/// Of a real log: the LSN of a statement's begin and the slot of its end, or block and slot where that is in a later one, and the statement.
pub(crate) type Case<'a> = ((u32, u32, u16), u32, &'a str);

/// An end in a later block.
pub(crate) const fn at(block: u32, slot: u32) -> u32 {
    block << 16 | slot
}

fn records<'a>(blocks: impl Iterator<Item = Block<'a>>) -> Vec<Record<'a>> {
    blocks.flat_map(|b| b.records().map(|r| r.expect("a record")).collect::<Vec<_>>()).collect()
}

/// The blocks of a log file or of a log backup, their sectors restored.
fn real_blocks(log: &Path) -> Vec<Vec<u8>> {
    let mut blocks = log_dump::open(&[log], None).expect("it has a log");
    let mut all = Vec::new();
    while let Some(block) = blocks.next_block().expect("a block") {
        all.push(block.bytes().to_vec());
    }
    all
}

/// The records of the first transaction, without its begin and its end, with those of the transactions inside of it that take object ids.
fn of_one(
    records: &[Record<'_>],
    (old, versions): (bool, bool),
    (locks, inner): (bool, bool),
    gone: &[u8],
) -> Vec<String> {
    let none = TransactionId::default();
    let mut xacts = Vec::new();
    // That which goes on, or begins first.
    let begun: Vec<TransactionId> = records.iter().filter(|r| r.op == Op::BEGIN_XACT).map(|r| r.transaction).collect();
    let goes_on = records.iter().map(|r| r.transaction).find(|t| *t != none && !begun.contains(t));
    let mut ours: Vec<TransactionId> = goes_on.or(begun.first().copied()).into_iter().collect();
    let own = ours.first().copied().unwrap_or_default();
    let mut out = Vec::new();
    for record in records {
        if record.op == Op::BEGIN_XACT && (inner || record.element(0).starts_with(b"C\0M\0E\0D\0")) {
            ours.push(record.transaction);
        }
        let ends = matches!(record.op, Op::BEGIN_XACT | Op::COMMIT_XACT | Op::ABORT_XACT) && record.transaction == own;
        let counts = ours.contains(&record.transaction) || record.transaction == none;
        let unlike = !locks && record.op == Op::LOCK_XACT || record.element(0).starts_with(gone) && !gone.is_empty();
        if old && came_with_2012(record) || unlike {
            continue;
        }
        if counts && !ends && shape::left_out(record).is_none() {
            let line = shape::shape(record, &mut xacts, (old, versions));
            // 2008 says it twice that a rowset has a column more.
            if !(old && record.op == Op::HOBT_DDL && out.last() == Some(&line)) {
                out.push(line);
            }
        }
    }
    // The order of what a text names.
    let named = |line: &String| NAMED.iter().any(|table| line.contains(table));
    if let Some(first) = out.iter().position(named)
        && out[first..].iter().all(named)
    {
        out[first..].sort();
    }
    out
}

/// Rows of `syssingleobjrefs` that say which data space or index something is on, and what a record of the boot page was before.
fn came_with_2012(record: &Record<'_>) -> bool {
    let class = match shape::rowset_of(record) {
        Some((74, 1)) => record.element(0).get(4),
        Some((74, 2)) => record.element(0).get(5),
        _ => None,
    };
    let object_id = record.op == Op::MODIFY_ROW && record.context == Context::OBJECT_ID && record.element(0).len() == 4;
    object_id || record.op == Op::INSERT_ROWS && matches!(class, Some(8 | 93))
}

/// Rows that say what statistics there are, of which columns, and what is in them (`sysidxstats`, `sysiscols`, `sysobjvalues`): a server makes them for the query that looks
/// at the rows of a foreign key, which has none of its own there.
fn is_of_statistics(record: &Record<'_>) -> bool {
    matches!(shape::rowset_of(record), Some((54 | 55 | 60, _)))
}

/// Runs statements in their order, and compares the records of each with those that a server wrote into a log file or a log backup.
#[track_caller]
pub(crate) fn check(log: &str, old: bool, before: &str, cases: &[Case<'_>]) {
    let Some(folder) = fixtures() else { return };
    let blocks = real_blocks(&folder.join(log));
    let all = records(blocks.iter().map(|b| Block::read_restored(b).expect("a block")));
    // What Entity Framework made has READ_COMMITTED_SNAPSHOT.
    let how = (old, log.contains("shelter"));
    let mut shop = Shop::with(Options { row_versions: how.1, ..Options::default() });
    if !before.is_empty() {
        shop.run(before);
    }
    let gone = if log.contains("2019") { shape::GONE_WITH_2019 } else { &[] };
    let mut text = String::new();
    for ((vlf, block, slot), last, sql) in cases {
        if *vlf == 0 {
            shop.run(sql);
            continue;
        }
        // Of rows, all of it.
        let inner = ["INSERT", "UPDATE", "DELETE"].iter().any(|of| sql.starts_with(of));
        let looks = ["FOREIGN KEY", "DROP COLUMN", "ALTER COLUMN"].iter().any(|of| sql.contains(of));
        let locks = !(looks || old && sql.contains(";\nALTER TABLE"));
        let last_block = if *last >> 16 == 0 { *block } else { *last >> 16 };
        let range = Lsn::new(*vlf, *block, *slot)..=Lsn::new(*vlf, last_block, *last as u16);
        let looks_at_rows = old && sql.starts_with("ALTER TABLE") && sql.contains("FOREIGN KEY");
        let of_query = |r: &Record<'_>| looks_at_rows && is_of_statistics(r);
        let theirs: Vec<Record<'_>> = all.iter().filter(|r| range.contains(&r.lsn) && !of_query(r)).cloned().collect();
        let theirs = of_one(&theirs, how, (locks, inner), gone);
        assert!(!theirs.is_empty(), "the log has {vlf:x}:{block:x}:{slot:x}");
        let storage =
            |work: &mut dyn FnMut(&mut Database)| shop.server.with_storage("shop", work).expect("it is there");
        // What an open transaction has deleted stays.
        if run(&mut shop.session, "SELECT @@TRANCOUNT") == ["0 "] {
            storage(&mut |db| {
                db.ghost_cleanup();
            });
        }
        let mut begin = Lsn::ZERO;
        storage(&mut |db| begin = db.end_of_log());
        for one in sql.split(NEXT) {
            run(&mut shop.session, one);
        }
        let blocks: Vec<LogBlock> =
            shop.server.with_storage("shop", |db| db.log_blocks(begin).collect()).expect("the database is there");
        let ours = of_one(&records(blocks.iter().map(LogBlock::block)), how, (locks, inner), gone);
        if ours == theirs {
            continue;
        }
        text += &format!("\n{vlf:x}:{block:x}:{slot:x} {sql}\n");
        for n in 0..ours.len().max(theirs.len()) {
            let line = |of: &[String]| of.get(n).cloned().unwrap_or_default();
            let mark = if ours.get(n) == theirs.get(n) { " " } else { "!" };
            text += &format!("{mark} {:<80} | {}\n", line(&theirs), line(&ours));
        }
    }
    assert!(text.is_empty(), "a server's | the stand-in's:{text}");
}

const NORTHWIND: (&str, &str) = ("pairs/northwind-2008/northwnd.mdf", "pairs/northwind-2008/northwnd.ldf");

/// The tables that the log of Northwind finds there.
const NORTHWIND_TABLES: &str = "
    CREATE TABLE Employees (EmployeeID int IDENTITY (1, 1) NOT NULL, LastName nvarchar(20) NOT NULL, FirstName nvarchar(10) NOT NULL, Title nvarchar(30) NULL, TitleOfCourtesy nvarchar(25) NULL, BirthDate datetime NULL, HireDate datetime NULL, Address nvarchar(60) NULL, City nvarchar(15) NULL, Region nvarchar(15) NULL, PostalCode nvarchar(10) NULL, Country nvarchar(15) NULL, HomePhone nvarchar(24) NULL, Extension nvarchar(4) NULL, Photo image NULL, Notes ntext NULL, ReportsTo int NULL, PhotoPath nvarchar(255) NULL,
        CONSTRAINT PK_Employees PRIMARY KEY CLUSTERED (EmployeeID), CONSTRAINT FK_Employees_Employees FOREIGN KEY (ReportsTo) REFERENCES Employees (EmployeeID), CONSTRAINT CK_Birthdate CHECK (BirthDate < getdate()));
    CREATE TABLE Categories (CategoryID int IDENTITY (1, 1) NOT NULL, CategoryName nvarchar(15) NOT NULL, Description ntext NULL, Picture image NULL, CONSTRAINT PK_Categories PRIMARY KEY CLUSTERED (CategoryID));
    CREATE TABLE Customers (CustomerID nchar(5) NOT NULL, CompanyName nvarchar(40) NOT NULL, ContactName nvarchar(30) NULL, ContactTitle nvarchar(30) NULL, Address nvarchar(60) NULL, City nvarchar(15) NULL, Region nvarchar(15) NULL, PostalCode nvarchar(10) NULL, Country nvarchar(15) NULL, Phone nvarchar(24) NULL, Fax nvarchar(24) NULL, CONSTRAINT PK_Customers PRIMARY KEY CLUSTERED (CustomerID));
    CREATE TABLE Shippers (ShipperID int IDENTITY (1, 1) NOT NULL, CompanyName nvarchar(40) NOT NULL, Phone nvarchar(24) NULL, CONSTRAINT PK_Shippers PRIMARY KEY CLUSTERED (ShipperID));
    CREATE TABLE Suppliers (SupplierID int IDENTITY (1, 1) NOT NULL, CompanyName nvarchar(40) NOT NULL, ContactName nvarchar(30) NULL, CONSTRAINT PK_Suppliers PRIMARY KEY CLUSTERED (SupplierID));
    CREATE TABLE Orders (OrderID int IDENTITY (1, 1) NOT NULL, CustomerID nchar(5) NULL, EmployeeID int NULL, OrderDate datetime NULL, RequiredDate datetime NULL, ShippedDate datetime NULL, ShipVia int NULL, Freight money NULL CONSTRAINT DF_Orders_Freight DEFAULT (0), ShipName nvarchar(40) NULL,
        CONSTRAINT PK_Orders PRIMARY KEY CLUSTERED (OrderID), CONSTRAINT FK_Orders_Customers FOREIGN KEY (CustomerID) REFERENCES Customers (CustomerID), CONSTRAINT FK_Orders_Employees FOREIGN KEY (EmployeeID) REFERENCES Employees (EmployeeID), CONSTRAINT FK_Orders_Shippers FOREIGN KEY (ShipVia) REFERENCES Shippers (ShipperID));
    CREATE TABLE Products (ProductID int IDENTITY (1, 1) NOT NULL, ProductName nvarchar(40) NOT NULL, SupplierID int NULL, CategoryID int NULL, QuantityPerUnit nvarchar(20) NULL, UnitPrice money NULL CONSTRAINT DF_Products_UnitPrice DEFAULT (0), UnitsInStock smallint NULL, UnitsOnOrder smallint NULL, ReorderLevel smallint NULL, Discontinued bit NOT NULL,
        CONSTRAINT PK_Products PRIMARY KEY CLUSTERED (ProductID), CONSTRAINT FK_Products_Categories FOREIGN KEY (CategoryID) REFERENCES Categories (CategoryID), CONSTRAINT FK_Products_Suppliers FOREIGN KEY (SupplierID) REFERENCES Suppliers (SupplierID),
        CONSTRAINT CK_Products_UnitPrice CHECK (UnitPrice >= 0), CONSTRAINT CK_ReorderLevel CHECK (ReorderLevel >= 0), CONSTRAINT CK_UnitsInStock CHECK (UnitsInStock >= 0), CONSTRAINT CK_UnitsOnOrder CHECK (UnitsOnOrder >= 0));
    CREATE TABLE [Order Details] (OrderID int NOT NULL, ProductID int NOT NULL, UnitPrice money NOT NULL, Quantity smallint NOT NULL, Discount real NOT NULL, CONSTRAINT PK_Order_Details PRIMARY KEY CLUSTERED (OrderID, ProductID));
    ALTER TABLE Orders NOCHECK CONSTRAINT ALL";

#[test]
fn northwind_switches_constraints() {
    check(
        NORTHWIND.1,
        true,
        NORTHWIND_TABLES,
        &[
            ((0x2E, 0x182, 1), 0x20, "ALTER TABLE Orders CHECK CONSTRAINT ALL"),
            ((0x2E, 0x187, 1), 0x33, "ALTER TABLE Products NOCHECK CONSTRAINT ALL"),
            ((0x2F, 0xC1, 1), 0x2C, "ALTER TABLE Products CHECK CONSTRAINT ALL"),
            ((0x2F, 0xC8, 1), 4, "ALTER TABLE Shippers NOCHECK CONSTRAINT ALL"),
            ((0x2F, 0xCF, 1), 5, "ALTER TABLE Shippers CHECK CONSTRAINT ALL"),
            ((0x2F, 0xD0, 1), 4, "ALTER TABLE Suppliers NOCHECK CONSTRAINT ALL"),
            ((0x2F, 0x11B, 1), 5, "ALTER TABLE Suppliers CHECK CONSTRAINT ALL"),
        ],
    );
}

/// Procedures by the texts that the data file has of them.
fn procedures(files: (&str, &str), before: &str, cases: &[Case<'_>]) {
    let Some(folder) = fixtures() else { return };
    let real = Database::attach(&folder.join(files.0), &folder.join(files.1), Options::default()).expect("the pair");
    let text = |name: &str| real.attached_modules().iter().find(|m| m.name == name).expect("it is there").text.clone();
    let texts: Vec<(_, _, String)> = cases.iter().map(|(from, to, name)| (*from, *to, text(name))).collect();
    let cases: Vec<Case<'_>> = texts.iter().map(|(from, to, text)| (*from, *to, text.as_str())).collect();
    check(files.1, true, before, &cases);
}

#[test]
fn northwind_creates_procedures() {
    procedures(
        NORTHWIND,
        NORTHWIND_TABLES,
        &[
            ((0x2F, 0x11C, 2), 0x1F, "CustOrdersDetail"),
            ((0x2F, 0x125, 2), 0x19, "CustOrdersOrders"),
            ((0x2F, 0x12C, 2), 0x25, "CustOrderHist"),
            ((0x2F, 0x137, 2), 0x2F, "SalesByCategory"),
        ],
    );
}

#[test]
fn northwind_creates_tables_and_their_keys() {
    check(
        NORTHWIND.1,
        true,
        NORTHWIND_TABLES,
        &[
            (
                (0x2F, 0x145, 2),
                0x1A,
                "CREATE TABLE [dbo].[CustomerCustomerDemo] ([CustomerID] nchar (5) NOT NULL, [CustomerTypeID] [nchar] (10) NOT NULL) ON [PRIMARY]",
            ),
            // 2008 wrote the columns of a rowset before the rowset had all of its allocation units.
            (
                ONLY_RUN,
                0,
                "CREATE TABLE [dbo].[CustomerDemographics] ([CustomerTypeID] [nchar] (10) NOT NULL, [CustomerDesc] [ntext] NULL) ON [PRIMARY]",
            ),
            (
                (0x2F, 0x156, 2),
                0x1A,
                "CREATE TABLE [dbo].[Region] ([RegionID] [int] NOT NULL, [RegionDescription] [nchar] (50) NOT NULL) ON [PRIMARY]",
            ),
            (
                (0x2F, 0x15D, 2),
                0x1D,
                "CREATE TABLE [dbo].[Territories] ([TerritoryID] [nvarchar] (20) NOT NULL, [TerritoryDescription] [nchar] (50) NOT NULL, [RegionID] [int] NOT NULL) ON [PRIMARY]",
            ),
            (
                (0x2F, 0x165, 2),
                0x1A,
                "CREATE TABLE [dbo].[EmployeeTerritories] ([EmployeeID] [int] NOT NULL, [TerritoryID] [nvarchar] (20) NOT NULL) ON [PRIMARY]",
            ),
            (
                (0x30, 0x25, 1),
                0x1E,
                "ALTER TABLE CustomerCustomerDemo ADD CONSTRAINT [PK_CustomerCustomerDemo] PRIMARY KEY NONCLUSTERED ([CustomerID], [CustomerTypeID]) ON [PRIMARY]",
            ),
            (
                (0x30, 0x2D, 1),
                0x1B,
                "ALTER TABLE CustomerDemographics ADD CONSTRAINT [PK_CustomerDemographics] PRIMARY KEY NONCLUSTERED ([CustomerTypeID]) ON [PRIMARY]",
            ),
            (
                (0x30, 0x34, 1),
                0x1A,
                "ALTER TABLE CustomerCustomerDemo ADD CONSTRAINT [FK_CustomerCustomerDemo] FOREIGN KEY ([CustomerTypeID]) REFERENCES [dbo].[CustomerDemographics] ([CustomerTypeID])",
            ),
            (
                (0x30, 0x39, 1),
                0x1C,
                "ALTER TABLE CustomerCustomerDemo ADD CONSTRAINT [FK_CustomerCustomerDemo_Customers] FOREIGN KEY ([CustomerID]) REFERENCES [dbo].[Customers] ([CustomerID])",
            ),
            (ONLY_RUN, 0, "INSERT Region VALUES (1, 'Eastern'), (2, 'Western'), (3, 'Northern'), (4, 'Southern')"),
            (ONLY_RUN, 0, "INSERT Territories VALUES ('01581', 'Westboro', 1), ('01730', 'Bedford', 1)"),
            (ONLY_RUN, 0, "INSERT EmployeeTerritories VALUES (1, '01581'), (2, '01730')"),
            (
                (0x30, 0x3F, 1),
                0x2A,
                "ALTER TABLE Region ADD CONSTRAINT [PK_Region] PRIMARY KEY NONCLUSTERED ([RegionID]) ON [PRIMARY]",
            ),
            (
                (0x30, 0x49, 1),
                0x3D,
                "ALTER TABLE Territories ADD CONSTRAINT [PK_Territories] PRIMARY KEY NONCLUSTERED ([TerritoryID]) ON [PRIMARY]",
            ),
            // Takes the next twenty object ids, which the server did elsewhere.
            (ONLY_RUN, 0, "CREATE TABLE t (id int)"),
            (
                (0x30, 0x62, 1),
                0x22,
                "ALTER TABLE Territories ADD CONSTRAINT [FK_Territories_Region] FOREIGN KEY ([RegionID]) REFERENCES [dbo].[Region] ([RegionID])",
            ),
            (
                (0x30, 0x6A, 1),
                0x39,
                "ALTER TABLE EmployeeTerritories ADD CONSTRAINT [PK_EmployeeTerritories] PRIMARY KEY NONCLUSTERED ([EmployeeID], [TerritoryID]) ON [PRIMARY]",
            ),
            (ONLY_RUN, 0, "INSERT Employees (LastName, FirstName) VALUES ('Davolio', 'Nancy'), ('Fuller', 'Andrew')"),
            (
                (0x30, 0x77, 1),
                0x21,
                "ALTER TABLE EmployeeTerritories ADD CONSTRAINT [FK_EmployeeTerritories_Employees] FOREIGN KEY ([EmployeeID]) REFERENCES [dbo].[Employees] ([EmployeeID])",
            ),
            (
                (0x30, 0x7E, 1),
                0x2E,
                "ALTER TABLE EmployeeTerritories ADD CONSTRAINT [FK_EmployeeTerritories_Territories] FOREIGN KEY ([TerritoryID]) REFERENCES [dbo].[Territories] ([TerritoryID])",
            ),
        ],
    );
}

const WEBTOOL: (&str, &str) =
    ("pairs/webtool-2008r2/second/WebTool.mdf", "pairs/webtool-2008r2/second/WebTool_log.ldf");
const WEBTOOL_TABLES: &str = "
    CREATE TABLE [dbo].[Users] ([UserId] [int] IDENTITY(1,1) NOT NULL, [UserName] [nvarchar](50) NOT NULL, [Password] [nvarchar](100) NULL, [CreationDate] [datetime] NULL, CONSTRAINT [PK_Users] PRIMARY KEY CLUSTERED ([UserId] ASC));
    CREATE TABLE [dbo].[WOL] ([WOLID] [int] IDENTITY(1,1) NOT NULL, [UserId] [int] NOT NULL, [WOLName] [nvarchar](50) NULL, [MACAddress] [nvarchar](20) NULL, [SubnetMask] [nvarchar](20) NULL, [HostName] [nvarchar](50) NULL, [Port] [int] NULL, [Protocol] [nvarchar](20) NULL, CONSTRAINT [PK_WOL] PRIMARY KEY CLUSTERED ([WOLID] ASC))";

#[test]
fn webtool_creates_indexes() {
    check(
        WEBTOOL.1,
        true,
        WEBTOOL_TABLES,
        &[
            ((0x13, 0xBA, 1), 0x13, "CREATE NONCLUSTERED INDEX [IX_UserName] ON [dbo].[Users] ([UserName] ASC)"),
            ((0x13, 0xD1, 1), 0x13, "CREATE NONCLUSTERED INDEX [IX_WOL_UserId] ON [dbo].[WOL] ([UserId] ASC)"),
            ((0x13, 0xD6, 1), 0x13, "CREATE NONCLUSTERED INDEX [IX_WOL_WOLName] ON [dbo].[WOL] ([WOLName] ASC)"),
        ],
    );
}

#[test]
fn webtool_creates_procedures() {
    let cases = [((0x13, 0xDB, 2), 0x3A, "SelectUser"), ((0x13, 0xE7, 2), 0x31, "SelectWOL")];
    procedures(WEBTOOL, WEBTOOL_TABLES, &cases);
}

/// What Entity Framework makes of a model, in one transaction, to where the table of its migrations begins; and what it made of it later.
#[test]
fn shelter_is_created_and_changed() {
    let create = "BEGIN TRAN;
CREATE TABLE [dbo].[Employees] ([Id] [int] NOT NULL IDENTITY, [FirstName] [nvarchar](max) NOT NULL, [LastName] [nvarchar](max) NOT NULL, [Email] [nvarchar](max), [Phone] [nvarchar](max), [Login] [nvarchar](max), [Password] [nvarchar](max), [ShelterId] [int] NOT NULL, CONSTRAINT [PK_dbo.Employees] PRIMARY KEY ([Id]));
CREATE INDEX [IX_ShelterId] ON [dbo].[Employees]([ShelterId]);
CREATE TABLE [dbo].[Shelters] ([Id] [int] NOT NULL IDENTITY, [City] [nvarchar](max), [Street] [nvarchar](max), [Number] [int] NOT NULL, [Phone] [nvarchar](max), CONSTRAINT [PK_dbo.Shelters] PRIMARY KEY ([Id]));
CREATE TABLE [dbo].[Pets] ([Id] [int] NOT NULL IDENTITY, [PetName] [nvarchar](max) NOT NULL, [Species] [nvarchar](max), [Breed] [nvarchar](max), [Description] [nvarchar](max), [ShelterId] [int] NOT NULL, [BirthDate] [datetime] NOT NULL, [IsAdopted] [bit] NOT NULL, CONSTRAINT [PK_dbo.Pets] PRIMARY KEY ([Id]));
CREATE INDEX [IX_ShelterId] ON [dbo].[Pets]([ShelterId]);
ALTER TABLE [dbo].[Employees] ADD CONSTRAINT [FK_dbo.Employees_dbo.Shelters_ShelterId] FOREIGN KEY ([ShelterId]) REFERENCES [dbo].[Shelters] ([Id]);
ALTER TABLE [dbo].[Pets] ADD CONSTRAINT [FK_dbo.Pets_dbo.Shelters_ShelterId] FOREIGN KEY ([ShelterId]) REFERENCES [dbo].[Shelters] ([Id]);
COMMIT";
    check(
        "pairs/shelter-2016/shelter_log.ldf",
        false,
        "",
        &[
            ((0x22, 0xE8, 1), at(0xF0, 0x124), create),
            ((0x23, 0x1C8, 1), 0xB, "ALTER TABLE [dbo].[Pets] ADD [Color] [bit]"),
            ((0x23, 0x3F8, 1), 0x14, "ALTER TABLE [dbo].[Pets] DROP COLUMN [Color]"),
            ((0x23, 0x690, 1), 0xB, "ALTER TABLE [dbo].[Pets] ADD [PhotoPath] [nvarchar](max)"),
            (
                (0x23, 0xAD8, 1),
                0x1A,
                "BEGIN TRAN;
ALTER TABLE [dbo].[Pets] ADD [AddedDate] [datetime];
ALTER TABLE [dbo].[Pets] DROP COLUMN [BirthDate];
COMMIT",
            ),
            (
                ONLY_RUN,
                0,
                "INSERT [dbo].[Shelters] VALUES (N'a', N'b', 1, N'c'); INSERT [dbo].[Pets] VALUES (N'a', N'b', N'c', N'd', 1, 0, N'e', '2020-05-28'), (N'a', N'b', N'c', N'd', 1, 0, N'e', '2020-05-28')",
            ),
            // Rows have version tags.
            (
                (0x25, 0x240, 1),
                0x27,
                "BEGIN TRAN;
ALTER TABLE [dbo].[Pets] ALTER COLUMN [AddedDate] [datetime] NOT NULL",
            ),
        ],
    );
}

#[test]
fn tax_is_created_and_dropped() {
    // The first tables are gone: what is known of them are the lengths of their names.
    let first = "CREATE TABLE [Employee] ([EmployeeId] int NOT NULL IDENTITY, [first name xx] nvarchar(max) NULL, [second name x] nvarchar(max) NULL, [third name ] nvarchar(max) NULL, [the fourth one] nvarchar(max) NULL, [the fifth on] nvarchar(max) NULL, CONSTRAINT [PK_Employee] PRIMARY KEY ([EmployeeId]))";
    let last = "CREATE TABLE [Employee] ([EmployeeId] int NOT NULL IDENTITY, [Name] nvarchar(max) NULL, [Income] float NOT NULL, [PostalCode] nvarchar(max) NULL, [TaxCalculated] float NOT NULL, [CreatedDate] datetime2 NULL, CONSTRAINT [PK_Employee] PRIMARY KEY ([EmployeeId]))";
    let row = "INSERT Employee ([first name xx]) VALUES (N'a')";
    check(
        "pairs/tax-2019/tax_log.ldf",
        false,
        "CREATE TABLE t (id int); DROP TABLE t",
        &[
            ((0x25, 0x593, 0x3B), 0x72, first),
            (ONLY_RUN, 0, row),
            ((0x25, 0x628, 1), 0x56, "DROP TABLE [Employee]"),
            ((0x25, 0x63A, 0x3E), 0x75, last),
        ],
    );
}

/// A heap that is emptied and filled again.
#[test]
fn steps_are_truncated_and_inserted() {
    check(
        "chains/steps-2016/RestoreTimeClean_1.trn",
        false,
        "CREATE TABLE steps (step int NULL, dt datetime2 NULL); DECLARE @n int = 0; WHILE @n < 40 BEGIN INSERT steps VALUES (@n, '2019-05-02T20:00:00.5'); SET @n += 1 END",
        &[
            ((0x27, 0x1E1, 1), 3, "INSERT steps VALUES (10, '2019-05-02T20:59:58.7')"),
            ((0x27, 0x1E2, 1), 0x10, "TRUNCATE TABLE steps"),
            ((0x27, 0x20E, 1), 0x1F, "INSERT steps VALUES (1, '2019-05-02T21:00:55.887')"),
            ((0x27, 0x214, 1), 3, "INSERT steps VALUES (2, '2019-05-02T21:01:25.9')"),
        ],
    );
}
