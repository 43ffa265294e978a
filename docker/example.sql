-- A small shop that can be read in every mode.
IF DB_ID(N'Shop') IS NULL CREATE DATABASE Shop;
GO
ALTER DATABASE Shop SET RECOVERY FULL;
ALTER DATABASE Shop SET ALLOW_SNAPSHOT_ISOLATION ON;
GO
-- Until the first full backup the log is cut off at every checkpoint, as in recovery model SIMPLE.
BACKUP DATABASE Shop TO DISK = N'/var/opt/mssql/data/Shop.bak' WITH INIT, COMPRESSION;
GO
USE Shop;
GO
IF OBJECT_ID(N'dbo.Customers') IS NULL
BEGIN
    CREATE TABLE dbo.Customers (
        CustomerID int IDENTITY(1, 1) NOT NULL CONSTRAINT PK_Customers PRIMARY KEY,
        Name nvarchar(80) NOT NULL,
        Credit money NOT NULL CONSTRAINT DF_Customers_Credit DEFAULT 0,
        Since datetime2(3) NOT NULL CONSTRAINT DF_Customers_Since DEFAULT SYSUTCDATETIME()
    );
    CREATE TABLE dbo.Orders (
        OrderID bigint IDENTITY(1, 1) NOT NULL CONSTRAINT PK_Orders PRIMARY KEY,
        CustomerID int NOT NULL CONSTRAINT FK_Orders_Customers REFERENCES dbo.Customers,
        Total decimal(12, 2) NOT NULL,
        Note nvarchar(max) NULL,
        Details xml NULL
    );
    INSERT dbo.Customers (Name, Credit)
    SELECT TOP (1000) CONCAT(N'Customer ', ROW_NUMBER() OVER (ORDER BY (SELECT NULL))), 100
    FROM sys.all_objects;
    INSERT dbo.Orders (CustomerID, Total, Note)
    SELECT CustomerID, CustomerID * 1.25, REPLICATE(CONVERT(nvarchar(max), N'note '), CustomerID % 3000)
    FROM dbo.Customers;
END;
GO
