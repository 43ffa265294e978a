//! The records of a model that Entity Framework made tables of and changed twice, in the log of 2019, and of the rows that came to it.

use super::records::{ONLY_RUN, check};

const LOG: &str = "pairs/health-2019/health_log.ldf";

/// What the first migration makes.
const TABLES: &str = "CREATE TABLE [dbo].[Employees] ([EmpNo] [int] NOT NULL IDENTITY, [Designation] [nvarchar](max), [JoinDate] [datetime] NOT NULL, [FirstName] [nvarchar](max), [LastName] [nvarchar](max), [Username] [nvarchar](max), [Password] [nvarchar](max), [Address] [nvarchar](max), [ContactNo] [nvarchar](max), [State] [nvarchar](max), [Country] [nvarchar](max), [City] [nvarchar](max), [PolicyId] [int] NOT NULL, [PolicyStatus] [nvarchar](max), CONSTRAINT [PK_dbo.Employees] PRIMARY KEY ([EmpNo]));
CREATE TABLE [dbo].[Policies] ([PolicyId] [int] NOT NULL IDENTITY, [PolicyName] [nvarchar](max), [PolicyDescription] [nvarchar](max), [CompanyId] [int] NOT NULL, [MedicalId] [nvarchar](max), CONSTRAINT [PK_dbo.Policies] PRIMARY KEY ([PolicyId]));
CREATE TABLE [dbo].[InsuranceCompanies] ([CompanyId] [int] NOT NULL IDENTITY, [CompanyName] [nvarchar](max), [Address] [nvarchar](max), [Phone] [nvarchar](max), [CompanyWebsite] [nvarchar](max), CONSTRAINT [PK_dbo.InsuranceCompanies] PRIMARY KEY ([CompanyId]));
CREATE INDEX [IX_PolicyId] ON [dbo].[Employees]([PolicyId]);
CREATE INDEX [IX_CompanyId] ON [dbo].[Policies]([CompanyId]);
ALTER TABLE [dbo].[Employees] ADD CONSTRAINT [FK_dbo.Employees_dbo.Policies_PolicyId] FOREIGN KEY ([PolicyId]) REFERENCES [dbo].[Policies] ([PolicyId]);
ALTER TABLE [dbo].[Policies] ADD CONSTRAINT [FK_dbo.Policies_dbo.InsuranceCompanies_CompanyId] FOREIGN KEY ([CompanyId]) REFERENCES [dbo].[InsuranceCompanies] ([CompanyId])";

#[test]
fn health_is_created_and_filled() {
    let create = format!("BEGIN TRAN;\n{TABLES};\nCOMMIT");
    check(
        LOG,
        false,
        "",
        &[
            ((0x25, 0x180, 1), 0x133, &create),
            (
                (0x25, 0x1E8, 0xC),
                0x26,
                "INSERT InsuranceCompanies VALUES (N'A', N'CT', N'+84932961706', N'https://facebook.com')",
            ),
            (
                (0x25, 0x1F0, 2),
                4,
                "INSERT InsuranceCompanies VALUES (N'A2', N'CT', N'+84932961706', N'https://facebook.com')",
            ),
            ((0x25, 0x1F8, 1), 3, "UPDATE InsuranceCompanies SET CompanyWebsite += N' ' WHERE CompanyId = 2"),
            (
                (0x25, 0x288, 2),
                4,
                "INSERT InsuranceCompanies VALUES (N'A2', N'VN', N'+84932961706', N'https://youtube.com')",
            ),
            ((0x25, 0x320, 1), 5, "DELETE InsuranceCompanies WHERE CompanyId = 3"),
            (
                ONLY_RUN,
                0,
                "ALTER TABLE Policies ADD Description nvarchar(max) NOT NULL DEFAULT ''; ALTER TABLE Policies DROP COLUMN PolicyDescription",
            ),
            (
                (0x25, 0x830, 2),
                4,
                "INSERT InsuranceCompanies VALUES (N'A', N'CT', N'+8493296170', N'https://aptechcantho.cusc.vn')",
            ),
            (
                (0x25, 0x838, 1),
                3,
                "UPDATE InsuranceCompanies SET Address = N'Can Tho' + NCHAR(13) + NCHAR(10), CompanyWebsite += N' ' WHERE CompanyId = 1",
            ),
            ((0x25, 0x860, 2), 0x35, "INSERT Policies VALUES (N'Insurance1', 1, N'Heart Diagnose', N'Desc1')"),
            (
                (0x25, 0xC40, 2),
                4,
                "INSERT InsuranceCompanies VALUES (N'A2', N'VN', N'+84932961706', N'https://            dasdsadasdasdasdasdasdasdasdasdasdasdasdasdasdasdsadasd')",
            ),
            ((0x25, 0xD30, 1), 5, "DELETE InsuranceCompanies WHERE CompanyId = 5"),
            ((0x25, 0xD38, 1), 3, "DELETE InsuranceCompanies WHERE CompanyId = 4"),
            ((0x25, 0xD40, 5), 9, "DELETE InsuranceCompanies WHERE CompanyId = 2"),
            (
                (0x25, 0xD48, 5),
                7,
                "INSERT InsuranceCompanies VALUES (N'A', N'CT', N'+8493296170', N'https://facebook.com')",
            ),
            ((0x25, 0xD50, 1), 5, "DELETE InsuranceCompanies WHERE CompanyId = 6"),
            (
                (0x25, 0xD58, 4),
                6,
                "INSERT InsuranceCompanies VALUES (N'A', N'Viet Nam', N'+8493296170', N'https://youtube.com')",
            ),
            ((0x25, 0xD60, 1), 3, "UPDATE InsuranceCompanies SET CompanyWebsite += N' ' WHERE CompanyId = 1"),
            (
                (0x25, 0xD68, 1),
                3,
                "UPDATE InsuranceCompanies SET CompanyWebsite = N'https://fullstack.edu.vn' WHERE CompanyId = 1",
            ),
            (
                (0x25, 0xD70, 1),
                3,
                "INSERT InsuranceCompanies VALUES (N'A', N'Kien Giang Province', N'+8493296170', N'https://vuighe.net')",
            ),
            (
                (0x25, 0xD78, 1),
                3,
                "UPDATE InsuranceCompanies SET CompanyName = N'Company 1', CompanyWebsite += N' ' WHERE CompanyId = 7",
            ),
            (
                (0x25, 0xD80, 1),
                3,
                "UPDATE InsuranceCompanies SET CompanyName = N'Company 2', CompanyWebsite += N' ' WHERE CompanyId = 1",
            ),
            (
                (0x25, 0xD88, 1),
                3,
                "UPDATE InsuranceCompanies SET CompanyName = N'Company 3', CompanyWebsite += N' ' WHERE CompanyId = 8",
            ),
        ],
    );
}

/// A column with a default, one that goes, and columns that the row gets which is there (by an edition that changes the rows).
#[test]
fn health_changes_columns() {
    check(
        LOG,
        false,
        "CREATE TABLE Policies (PolicyId int IDENTITY NOT NULL, PolicyName nvarchar(max) NOT NULL, PolicyDescription nvarchar(max) NULL, CompanyId int NOT NULL, MedicalId nvarchar(max) NOT NULL, CONSTRAINT [PK_dbo.Policies] PRIMARY KEY (PolicyId)); DECLARE @n int = 0; WHILE @n < 18 BEGIN EXEC (N'CREATE TABLE t' + CAST(@n AS nvarchar(9)) + N' (id int)'); SET @n += 1 END",
        &[
            (
                (0x25, 0x7D0, 1),
                0x29,
                "BEGIN TRAN;
ALTER TABLE Policies ADD Description nvarchar(max) NOT NULL DEFAULT '';
ALTER TABLE Policies DROP COLUMN PolicyDescription;
COMMIT",
            ),
            // As long as the row that was there, and the rest of the twenty object ids.
            (ONLY_RUN, 0, "INSERT Policies VALUES (N'ten of all', 1, N'and here 14 of', N'five.')"),
            (
                ONLY_RUN,
                0,
                "DECLARE @n int = 20; WHILE @n < 39 BEGIN EXEC (N'CREATE TABLE t' + CAST(@n AS nvarchar(9)) + N' (id int)'); SET @n += 1 END",
            ),
            (
                (0x25, 0x930, 1),
                0x33,
                "BEGIN TRAN;
ALTER TABLE Policies ADD Amount decimal(18, 2) NOT NULL DEFAULT 0;
ALTER TABLE Policies ADD EMI decimal(18, 2) NOT NULL DEFAULT 0;
COMMIT",
            ),
            ((0x25, 0x950, 1), 3, "UPDATE Policies SET Amount = 10000, EMI = 1000"),
        ],
    );
}

/// Columns that get another type, or may not be NULL any more.
#[test]
fn health_alters_columns() {
    check(
        LOG,
        false,
        "CREATE TABLE Employees (a int IDENTITY NOT NULL, b nvarchar(max) NOT NULL, c nvarchar(max) NOT NULL, d nvarchar(max) NOT NULL, e datetime NOT NULL, f nvarchar(max) NOT NULL, g nvarchar(max) NOT NULL, h nvarchar(max) NOT NULL, i int NOT NULL, j nvarchar(max) NULL, k nvarchar(max) NULL, l nvarchar(max) NULL, m nvarchar(max) NULL, n nvarchar(max) NULL, CONSTRAINT [PK_dbo.Employees] PRIMARY KEY (a)); DECLARE @n int = 0; WHILE @n < 18 BEGIN EXEC (N'CREATE TABLE t' + CAST(@n AS nvarchar(9)) + N' (id int)'); SET @n += 1 END",
        &[
            (
                (0x26, 0xE8, 1),
                0x15,
                "BEGIN TRAN;
ALTER TABLE Employees ADD Salary decimal(18, 2) NOT NULL DEFAULT 0",
            ),
            ((0x26, 0xE8, 0x16), 0x2D, "ALTER TABLE Employees ALTER COLUMN f nvarchar(16) NOT NULL"),
            ((0x26, 0xE8, 0x2E), 0x43, "ALTER TABLE Employees ALTER COLUMN g nvarchar(16) NOT NULL"),
            ((0x26, 0xE8, 0x44), 0x57, "ALTER TABLE Employees ALTER COLUMN n nvarchar(max) NOT NULL"),
        ],
    );
}

/// The migrations of a model: of each a row with the model, until a page has no room for one more. The first one comes to a table that its
/// transaction made.
#[test]
fn health_keeps_its_history() {
    let history = "CREATE TABLE [dbo].[__MigrationHistory] ([MigrationId] [nvarchar](150) NOT NULL, [ContextKey] [nvarchar](300) NOT NULL, [Model] [varbinary](max) NOT NULL, [ProductVersion] [nvarchar](32) NOT NULL, CONSTRAINT [PK_dbo.__MigrationHistory] PRIMARY KEY ([MigrationId], [ContextKey]))";
    let row = |id: &str, model: usize| {
        let (context, model) = ("HealthInsuranceManagementSystem.Models.ApplicationDbContext", "61".repeat(model));
        format!("INSERT [dbo].[__MigrationHistory] VALUES (N'{id}', N'{context}', 0x{model}, N'6.4.4')")
    };
    check(
        LOG,
        false,
        "",
        &[
            (ONLY_RUN, 0, &format!("BEGIN TRAN; {TABLES}")),
            ((0x25, 0x180, 0x134), 0x164, history),
            ((0x25, 0x180, 0x165), 0x175, &row("202312211511268_InitialCreate", 2009)),
            (ONLY_RUN, 0, "COMMIT; BEGIN TRAN"),
            ((0x25, 0x7D0, 0x2A), 0x2A, &row("202312221558508_ApplicationDbContext", 2008)),
            (ONLY_RUN, 0, "COMMIT; BEGIN TRAN"),
            ((0x25, 0x930, 0x34), 0x34, &row("202312221642467_ApplicationDbContext1", 2072)),
            (ONLY_RUN, 0, "COMMIT; BEGIN TRAN; UPDATE [dbo].[__MigrationHistory] SET [ProductVersion] = N'6.4.4'"),
            ((0x26, 0xE8, 0x58), 0x6E, &row("202312250900014_ApplicationDbContext2", 2098)),
        ],
    );
}
