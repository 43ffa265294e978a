//! The records of a database project that is published twice, in the log of 2016: all tables are made, then one of them is made anew.

use super::records::{ONLY_RUN, at, check};

#[test]
fn flights_are_created_and_changed() {
    check(
        "pairs/flights-2016/flightdb_log.ldf",
        false,
        "",
        &[
            (
                (0x21, 0x316, 1),
                at(0x318, 0x34),
                "CREATE TABLE [dbo].[Admin] ([adminID] INT NOT NULL PRIMARY KEY IDENTITY, [adminIC] NVARCHAR(MAX) NOT NULL, [adminEmail] NVARCHAR(MAX) NOT NULL, [adminContactNo] NVARCHAR(MAX) NOT NULL, [adminPassword] NVARCHAR(50) NOT NULL)",
            ),
            (
                (0x21, 0x333, 1),
                0x43,
                "CREATE TABLE [dbo].[User] ([username] NVARCHAR(20) NOT NULL PRIMARY KEY, [userIC] NVARCHAR(MAX) NOT NULL, [userEmail] NVARCHAR(MAX) NOT NULL, [userContactNo] NVARCHAR(MAX) NOT NULL, [userPassword] NVARCHAR(50) NOT NULL)",
            ),
            (
                (0x21, 0x346, 1),
                0x3E,
                "CREATE TABLE [dbo].[Ticket] ([ticketID] INT NOT NULL PRIMARY KEY IDENTITY, [ticketPrice] NUMERIC(18, 2) NOT NULL, [seatNo] NVARCHAR(MAX) NOT NULL)",
            ),
            (
                (0x21, 0x35D, 1),
                0x2C,
                "CREATE TABLE [dbo].[Flight] ([flightID] INT NOT NULL PRIMARY KEY IDENTITY, [flightName] NVARCHAR(MAX) NOT NULL, [totalSeats] INT NOT NULL)",
            ),
            (
                (0x21, 0x369, 0x68),
                0xDB,
                "BEGIN TRAN;
CREATE TABLE [dbo].[Reservation] ([reservationID] INT NOT NULL PRIMARY KEY IDENTITY, [fromLocation] NVARCHAR(MAX) NOT NULL, [toDestination] NVARCHAR(MAX) NOT NULL, [departureDate] NVARCHAR(MAX) NOT NULL, [departureTime] NVARCHAR(MAX) NOT NULL, [returnDate] NVARCHAR(MAX) NULL, [returnTime] NVARCHAR(MAX) NULL, [reservationDate] NVARCHAR(MAX) NULL, [flightID] INT NOT NULL, [adminID] INT NOT NULL, [username] NVARCHAR(20) NULL);
ALTER TABLE [dbo].[Reservation] WITH NOCHECK ADD CONSTRAINT [FK_Reservation_Flight] FOREIGN KEY ([flightID]) REFERENCES [dbo].[Flight] ([flightID]);
ALTER TABLE [dbo].[Reservation] WITH NOCHECK ADD CONSTRAINT [FK_Reservation_Admin] FOREIGN KEY ([adminID]) REFERENCES [dbo].[Admin] ([adminID]);
ALTER TABLE [dbo].[Reservation] WITH NOCHECK ADD CONSTRAINT [FK_Reservation_User] FOREIGN KEY ([username]) REFERENCES [dbo].[User] ([username]);
COMMIT",
            ),
            (
                (0x21, 0x392, 1),
                0x19,
                "ALTER TABLE [dbo].[Reservation] WITH CHECK CHECK CONSTRAINT [FK_Reservation_Flight]",
            ),
            (
                (0x21, 0x396, 4),
                0x1C,
                "ALTER TABLE [dbo].[Reservation] WITH CHECK CHECK CONSTRAINT [FK_Reservation_Admin]",
            ),
            (
                (0x21, 0x39A, 4),
                0x1C,
                "ALTER TABLE [dbo].[Reservation] WITH CHECK CHECK CONSTRAINT [FK_Reservation_User]",
            ),
            (
                (0x21, 0x39E, 1),
                0x2A,
                "BEGIN TRAN;
ALTER TABLE [dbo].[Ticket] ADD [reservationID] INT NOT NULL;
ALTER TABLE [dbo].[Ticket] WITH NOCHECK ADD CONSTRAINT [FK_Ticket_Reservation] FOREIGN KEY ([reservationID]) REFERENCES [dbo].[Reservation] ([reservationID]);
COMMIT",
            ),
            (
                (0x21, 0x3A7, 1),
                0x15,
                "ALTER TABLE [dbo].[Ticket] WITH CHECK CHECK CONSTRAINT [FK_Ticket_Reservation]",
            ),
            (
                (0x21, 0x3AA, 1),
                0x41,
                "BEGIN TRAN;
CREATE TABLE [dbo].[Payment] ([paymentID] INT NOT NULL PRIMARY KEY IDENTITY, [paymentType] NVARCHAR(MAX) NOT NULL, [paymentDate] NVARCHAR(MAX) NOT NULL, [reservationID] INT NOT NULL);
ALTER TABLE [dbo].[Payment] WITH NOCHECK ADD CONSTRAINT [FK_Payment_Reservation] FOREIGN KEY ([reservationID]) REFERENCES [dbo].[Reservation] ([reservationID]);
COMMIT",
            ),
            (
                (0x21, 0x3BB, 1),
                0x15,
                "ALTER TABLE [dbo].[Payment] WITH CHECK CHECK CONSTRAINT [FK_Payment_Reservation]",
            ),
            (ONLY_RUN, 0, "CREATE TABLE t1 (id int); CREATE TABLE t2 (id int); CREATE TABLE t3 (id int)"),
            // A table is made anew, with all that refers to it.
            (
                (0x21, 0x475, 1),
                0x21,
                "BEGIN TRAN;
ALTER TABLE [dbo].[Ticket] DROP CONSTRAINT [FK_Ticket_Reservation]",
            ),
            ((0x21, 0x475, 0x22), 0x3B, "ALTER TABLE [dbo].[Reservation] DROP CONSTRAINT [FK_Reservation_Flight]"),
            ((0x21, 0x475, 0x3C), 0x54, "ALTER TABLE [dbo].[Reservation] DROP CONSTRAINT [FK_Reservation_Admin]"),
            ((0x21, 0x475, 0x55), 0x6D, "ALTER TABLE [dbo].[Reservation] DROP CONSTRAINT [FK_Reservation_User]"),
            ((0x21, 0x475, 0x6E), 0x86, "ALTER TABLE [dbo].[Payment] DROP CONSTRAINT [FK_Payment_Reservation]"),
            (
                (0x21, 0x475, 0x87),
                at(0x48D, 0x44),
                "CREATE TABLE [dbo].[tmp_ms_xx_Reservation] ([reservationID] INT IDENTITY (1, 1) NOT NULL, [reservationDate] NVARCHAR(MAX) NULL, [totalSeat] INT NOT NULL, [scheduleID] INT NULL, [username] NVARCHAR(20) NULL, PRIMARY KEY CLUSTERED ([reservationID] ASC))",
            ),
            ((0x21, 0x48D, 0x45), 0x96, "DROP TABLE [dbo].[Reservation]"),
            ((0x21, 0x48D, 0x97), 0xA1, "EXEC sp_rename 'dbo.tmp_ms_xx_Reservation', 'Reservation'"),
            (
                (0x21, 0x48D, 0xA2),
                0xE8,
                "CREATE TABLE [dbo].[Schedule] ([scheduleID] INT IDENTITY NOT NULL, [origin] NVARCHAR(50) NOT NULL, [destination] NVARCHAR(50) NOT NULL, [departureDate] NVARCHAR(50) NOT NULL, [departureTime] NVARCHAR(50) NOT NULL, [arrivalDate] NVARCHAR(50) NOT NULL, [arrivalTime] NVARCHAR(50) NOT NULL, [adminID] INT NOT NULL, [flightID] INT NOT NULL, PRIMARY KEY CLUSTERED ([scheduleID] ASC))",
            ),
            (
                (0x21, 0x48D, 0xE9),
                0xF7,
                "ALTER TABLE [dbo].[Ticket] WITH NOCHECK ADD CONSTRAINT [FK_Ticket_Reservation] FOREIGN KEY ([reservationID]) REFERENCES [dbo].[Reservation] ([reservationID])",
            ),
            (
                (0x21, 0x48D, 0xF8),
                0x106,
                "ALTER TABLE [dbo].[Reservation] WITH NOCHECK ADD CONSTRAINT [FK_Reservation_User] FOREIGN KEY ([username]) REFERENCES [dbo].[User] ([username])",
            ),
            (
                (0x21, 0x48D, 0x107),
                0x115,
                "ALTER TABLE [dbo].[Payment] WITH NOCHECK ADD CONSTRAINT [FK_Payment_Reservation] FOREIGN KEY ([reservationID]) REFERENCES [dbo].[Reservation] ([reservationID])",
            ),
            (
                (0x21, 0x48D, 0x116),
                0x136,
                "ALTER TABLE [dbo].[Reservation] WITH NOCHECK ADD CONSTRAINT [FK_Reservation_Schedule] FOREIGN KEY ([scheduleID]) REFERENCES [dbo].[Schedule] ([scheduleID])",
            ),
            (
                (0x21, 0x48D, 0x137),
                0x145,
                "ALTER TABLE [dbo].[Schedule] WITH NOCHECK ADD CONSTRAINT [FK_Table_Admin] FOREIGN KEY ([adminID]) REFERENCES [dbo].[Admin] ([adminID])",
            ),
            (
                (0x21, 0x48D, 0x146),
                0x154,
                "ALTER TABLE [dbo].[Schedule] WITH NOCHECK ADD CONSTRAINT [FK_Table_Flight] FOREIGN KEY ([flightID]) REFERENCES [dbo].[Flight] ([flightID])",
            ),
            (ONLY_RUN, 0, "COMMIT"),
            (
                (0x21, 0x4E6, 1),
                0x15,
                "ALTER TABLE [dbo].[Ticket] WITH CHECK CHECK CONSTRAINT [FK_Ticket_Reservation]",
            ),
            (
                (0x21, 0x4E9, 4),
                0x1A,
                "ALTER TABLE [dbo].[Reservation] WITH CHECK CHECK CONSTRAINT [FK_Reservation_User]",
            ),
            (
                (0x21, 0x4ED, 1),
                0x15,
                "ALTER TABLE [dbo].[Payment] WITH CHECK CHECK CONSTRAINT [FK_Payment_Reservation]",
            ),
            (
                (0x21, 0x4F0, 4),
                0x1A,
                "ALTER TABLE [dbo].[Reservation] WITH CHECK CHECK CONSTRAINT [FK_Reservation_Schedule]",
            ),
            (
                (0x21, 0x4F4, 4),
                0x1A,
                "ALTER TABLE [dbo].[Schedule] WITH CHECK CHECK CONSTRAINT [FK_Table_Admin]",
            ),
            (
                (0x21, 0x4F8, 4),
                0x1A,
                "ALTER TABLE [dbo].[Schedule] WITH CHECK CHECK CONSTRAINT [FK_Table_Flight]",
            ),
            ((0x21, 0x5CE, 1), 0x25, "BEGIN TRAN;
ALTER TABLE [dbo].[Schedule] DROP COLUMN [arrivalDate], COLUMN [arrivalTime];
COMMIT"),
            ((0x21, 0xCBE, 1), 0x58, "BEGIN TRAN;
DROP TABLE [dbo].[Ticket];
COMMIT"),
            (
                ONLY_RUN,
                0,
                "INSERT [dbo].[Admin] VALUES (N'a', N'b', N'c', N'd'); INSERT [dbo].[Flight] VALUES (N'a', 1); INSERT [dbo].[Schedule] VALUES (N'Malaysia', N'Taiwan', N'2020-04-12', N'12:00', 1, 1)",
            ),
            // Takes the rest of the object ids, which the server did elsewhere.
            (
                ONLY_RUN,
                0,
                "DECLARE @n int = 0; WHILE @n < 10 BEGIN EXEC (N'CREATE TABLE f' + CAST(@n AS nvarchar(9)) + N' (id int)'); SET @n += 1 END",
            ),
            // The new columns could not be NULL, and there was a row.
            (
                (0x21, 0xCD0, 0x41),
                0x49,
                "BEGIN TRAN;
EXEC sp_rename '[dbo].[Schedule].[adminID]', 'adultPrice', 'COLUMN'",
            ),
            ((0x21, 0xCD0, 0x4A), 0x50, "EXEC sp_rename '[dbo].[Schedule].[flightID]', 'childrenPrice', 'COLUMN'"),
            ((0x21, 0xCD0, 0x51), 0x6F, "ALTER TABLE [dbo].[Schedule] DROP CONSTRAINT [FK_Table_Admin]"),
            ((0x21, 0xCD0, 0x70), 0x88, "ALTER TABLE [dbo].[Schedule] DROP CONSTRAINT [FK_Table_Flight]"),
            ((0x21, 0xCD0, 0x89), 0xAA, "ALTER TABLE [dbo].[Schedule] ALTER COLUMN [adultPrice] FLOAT (53) NOT NULL"),
            (
                (0x21, 0xCD0, 0xAB),
                0xCE,
                "ALTER TABLE [dbo].[Schedule] ALTER COLUMN [childrenPrice] FLOAT (53) NOT NULL",
            ),
            ((0x21, 0xCD0, 0xD0), 0x11F, "ROLLBACK"),
            ((0x21, 0xCD0, 0x126), 0x129, "DELETE [dbo].[Schedule]"),
            (
                (0x21, 0xD06, 0x2),
                0xA,
                "BEGIN TRAN;
EXEC sp_rename '[dbo].[Schedule].[adminID]', 'adultPrice', 'COLUMN'",
            ),
            ((0x21, 0xD06, 0xB), 0x11, "EXEC sp_rename '[dbo].[Schedule].[flightID]', 'childrenPrice', 'COLUMN'"),
            ((0x21, 0xD06, 0x12), 0x30, "ALTER TABLE [dbo].[Schedule] DROP CONSTRAINT [FK_Table_Admin]"),
            ((0x21, 0xD06, 0x31), 0x49, "ALTER TABLE [dbo].[Schedule] DROP CONSTRAINT [FK_Table_Flight]"),
            ((0x21, 0xD06, 0x4A), 0x69, "ALTER TABLE [dbo].[Schedule] ALTER COLUMN [adultPrice] FLOAT (53) NOT NULL"),
            (
                (0x21, 0xD06, 0x6A),
                0x7F,
                "ALTER TABLE [dbo].[Schedule] ALTER COLUMN [childrenPrice] FLOAT (53) NOT NULL",
            ),
            (
                (0x21, 0xD06, 0x80),
                0x8D,
                "ALTER TABLE [dbo].[Schedule] ADD [adminID] INT NOT NULL, [flightID] INT NOT NULL",
            ),
            (
                (0x21, 0xD06, 0x8E),
                at(0xD23, 0xD),
                "ALTER TABLE [dbo].[Schedule] WITH NOCHECK ADD CONSTRAINT [FK_Table_Admin] FOREIGN KEY ([adminID]) REFERENCES [dbo].[Admin] ([adminID])",
            ),
            (
                (0x21, 0xD23, 0xE),
                0x1F,
                "ALTER TABLE [dbo].[Schedule] WITH NOCHECK ADD CONSTRAINT [FK_Table_Flight] FOREIGN KEY ([flightID]) REFERENCES [dbo].[Flight] ([flightID]);
COMMIT",
            ),
            ((0x21, 0xD2A, 0x1), 0x17, "ALTER TABLE [dbo].[Schedule] WITH CHECK CHECK CONSTRAINT [FK_Table_Admin]"),
            ((0x21, 0xD2D, 0x4), 0x1A, "ALTER TABLE [dbo].[Schedule] WITH CHECK CHECK CONSTRAINT [FK_Table_Flight]"),
        ],
    );
}
