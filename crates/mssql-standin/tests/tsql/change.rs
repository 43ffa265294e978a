//! INSERT, UPDATE, DELETE, definitions, constraints.

use crate::{check, connect, server};

#[test]
fn changes() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int IDENTITY PRIMARY KEY, a varchar(5) NOT NULL DEFAULT 'x', b int NULL)", ""),
            ("INSERT t (b) VALUES (1), (2)", "#2"),
            ("INSERT INTO t (a, b) OUTPUT inserted.id, inserted.a SELECT 'q', b + 10 FROM t", "3, \"q\" | 4, \"q\""),
            ("SELECT SCOPE_IDENTITY(), @@IDENTITY, IDENT_CURRENT('t')", "4, 4, 4"),
            ("INSERT t DEFAULT VALUES; SELECT * FROM t WHERE id = SCOPE_IDENTITY()", "#1 ; 5, \"x\", null"),
            (
                "INSERT t (id) VALUES (9)",
                "!544 Cannot insert explicit value for identity column in table 't' when IDENTITY_INSERT is set to OFF.",
            ),
            (
                "SET IDENTITY_INSERT t ON; INSERT t (id, a) VALUES (9, 'y'); SET IDENTITY_INSERT dbo.t OFF; INSERT t (a) VALUES ('z'); SELECT MAX(id) FROM t",
                "#1 ; #1 ; 10",
            ),
            ("UPDATE t SET b = b * 2, a += '!' WHERE b IS NOT NULL", "#4"),
            ("SELECT a, b FROM t WHERE id < 5 ORDER BY id", "\"x!\", 2 | \"x!\", 4 | \"q!\", 22 | \"q!\", 24"),
            ("UPDATE t SET b = 0 OUTPUT deleted.b, inserted.b WHERE id = 1", "2, 0"),
            (
                "UPDATE x SET b = y.n FROM t x JOIN (SELECT 2 id, 77 n) y ON x.id = y.id; SELECT b FROM t WHERE id = 2",
                "#1 ; 77",
            ),
            ("DELETE FROM t WHERE id > 4", "#3"),
            ("DELETE t OUTPUT deleted.id WHERE id = 4", "4"),
            ("DELETE TOP (1) FROM t", "#1"),
            ("SELECT COUNT(*) FROM t", "2"),
            ("UPDATE t SET id = 3", "!8102 Cannot update identity column 'id'."),
            (
                "INSERT t (a) VALUES ('too long')",
                "!2628 String or binary data would be truncated in table 'shop.dbo.t', column 'a'. Truncated value: 'too l'.",
            ),
            (
                "INSERT t (a) VALUES (NULL)",
                "!515 Cannot insert the value NULL into column 'a', table 'shop.dbo.t'; column does not allow nulls. INSERT fails.",
            ),
            ("INSERT t (nosuch) VALUES (1)", "!207 Invalid column name 'nosuch'."),
            ("INSERT t VALUES (1)", "!213 Column name or number of supplied values does not match table definition."),
            ("TRUNCATE TABLE t; INSERT t DEFAULT VALUES; SELECT id FROM t", "#1 ; 1"),
            ("DROP TABLE t; SELECT * FROM t", "!208 Invalid object name 't'."),
            (
                "DROP TABLE IF EXISTS t; DROP TABLE t",
                "!3701 Cannot drop the table 't', because it does not exist or you do not have permission.",
            ),
            ("SELECT 1 AS a, 'b' AS c INTO new; SELECT * FROM new", "#1 ; 1, \"b\""),
            ("CREATE TABLE new (a int)", "!2714 There is already an object named 'new' in the database."),
            ("CREATE TABLE #tmp (a int); INSERT #tmp VALUES (1); SELECT * FROM #tmp; DROP TABLE #tmp", "#1 ; 1"),
        ],
    );
}

#[test]
fn constraints() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE p (id int NOT NULL CONSTRAINT PK_p PRIMARY KEY CLUSTERED, u int NULL CONSTRAINT UQ_p UNIQUE, c int CONSTRAINT CK_p CHECK (c > 0))",
                "",
            ),
            ("CREATE TABLE c (id int PRIMARY KEY, p int CONSTRAINT FK_c REFERENCES p (id))", ""),
            ("INSERT p VALUES (1, 1, 1), (2, 2, NULL)", "#2"),
            (
                "INSERT p VALUES (1, 3, 1)",
                "!2627 Violation of PRIMARY KEY constraint 'PK_p'. Cannot insert duplicate key in object 'dbo.p'. The duplicate key value is (1).",
            ),
            (
                "INSERT p VALUES (3, 1, 1)",
                "!2627 Violation of UNIQUE KEY constraint 'UQ_p'. Cannot insert duplicate key in object 'dbo.p'. The duplicate key value is (1).",
            ),
            (
                "INSERT p VALUES (3, 3, 0)",
                "!547 The INSERT statement conflicted with the CHECK constraint \"CK_p\". The conflict occurred in database \"shop\", table \"dbo.p\", column 'c'.",
            ),
            (
                "INSERT c VALUES (1, 9)",
                "!547 The INSERT statement conflicted with the FOREIGN KEY constraint \"FK_c\". The conflict occurred in database \"shop\", table \"dbo.p\", column 'id'.",
            ),
            ("INSERT c VALUES (1, 1), (2, NULL)", "#2"),
            (
                "DELETE p WHERE id = 1",
                "!547 The DELETE statement conflicted with the REFERENCE constraint \"FK_c\". The conflict occurred in database \"shop\", table \"dbo.c\", column 'p'.",
            ),
            ("DELETE p WHERE id = 2", "#1"),
            ("DROP TABLE p", "!3726 Could not drop object 'p' because it is referenced by a FOREIGN KEY constraint."),
            (
                "TRUNCATE TABLE p",
                "!4712 Cannot truncate table 'p' because it is being referenced by a FOREIGN KEY constraint.",
            ),
            (
                "CREATE UNIQUE INDEX ix ON c (p) INCLUDE (id); INSERT c VALUES (3, 1)",
                "!2601 Cannot insert duplicate key row in object 'dbo.c' with unique index 'ix'. The duplicate key value is (1).",
            ),
            ("DROP INDEX ix ON c; INSERT c VALUES (3, 1)", "#1"),
            (
                "ALTER TABLE c ADD CONSTRAINT DF_c DEFAULT (1) FOR p; INSERT c (id) VALUES (4); SELECT p FROM c WHERE id = 4",
                "#1 ; 1",
            ),
            (
                "ALTER TABLE c WITH CHECK ADD CONSTRAINT CK_c CHECK (id < 4)",
                "!547 The ALTER TABLE statement conflicted with the CHECK constraint \"CK_c\". The conflict occurred in database \"shop\", table \"dbo.c\", column 'id'.",
            ),
            ("ALTER TABLE c DROP CONSTRAINT FK_c; INSERT c VALUES (5, 99)", "#1"),
            ("UPDATE c SET id = id + 1; SELECT MIN(id), MAX(id), COUNT(*) FROM c", "#5 ; 2, 6, 5"),
        ],
    );
}

#[test]
fn all_types_come_back() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (a bit, b tinyint, c smallint, d int, e bigint, f decimal(38,10), g money, h smallmoney, i real, j float, k date, l time(7), m datetime, n smalldatetime, o datetime2(7), p datetimeoffset(7), q uniqueidentifier, r char(3), s varchar(max), t nchar(3), u nvarchar(max), v binary(3), w varbinary(max), x text, y ntext, z image, v2 sql_variant, rv rowversion)",
                "",
            ),
            (
                "INSERT t (a, b, c, d, e, f, g, h, i, j) VALUES (1, 255, -32768, -2147483648, 9223372036854775807, -1234567890123456789012345678.0123456789, 922337203685477.5807, -214748.3648, 1.5, -2.5e-10)",
                "#1",
            ),
            (
                "SELECT a, b, c, d, e, f, g, h, i, j FROM t",
                "true, 255, -32768, -2147483648, 9223372036854775807, -1234567890123456789012345678.0123456789, 922337203685477.5807, -214748.3648, 1.5, -2.5e-10",
            ),
            (
                "UPDATE t SET k = '9999-12-31', l = '23:59:59.9999999', m = '1753-01-01 00:00:00.003', n = '2079-06-06 23:59', o = '0001-01-01 00:00:00.0000001', p = '2024-02-29 12:00 +05:30', q = '6F9619FF-8B86-D011-B42D-00C04FC964FF'",
                "#1",
            ),
            (
                "SELECT CONVERT(varchar(30), k), CONVERT(varchar(30), l), CONVERT(varchar(30), m, 121), CONVERT(varchar(30), n, 120), CONVERT(varchar(30), o), CONVERT(varchar(40), p), q FROM t",
                "\"9999-12-31\", \"23:59:59.9999999\", \"1753-01-01 00:00:00.003\", \"2079-06-06 23:59:00\", \"0001-01-01 00:00:00.0000001\", \"2024-02-29 12:00:00.0000000 +05:30\", \"6f9619ff-8b86-d011-b42d-00c04fc964ff\"",
            ),
            (
                "UPDATE t SET r = 'a', s = REPLICATE(CAST('é' AS varchar(max)), 9000), t = N'ß', u = N'日本', v = 0x01, w = 0x, x = 'old', y = N'öld', z = 0xFF, v2 = CAST(1.5 AS decimal(5,2))",
                "#1",
            ),
            (
                "SELECT r, LEN(s), t, u, v, w, x, y, z, CAST(v2 AS varchar(9)) FROM t",
                "\"a  \", 9000, \"ß  \", \"日本\", \"0x010000\", \"0x\", \"old\", \"öld\", \"0xFF\", \"1.50\"",
            ),
            ("SELECT COUNT(*) FROM t WHERE rv > 0x00 AND DATALENGTH(rv) = 8", "1"),
            (
                "INSERT t (n) VALUES ('2079-06-07')",
                "!242 The conversion of a varchar data type to a smalldatetime data type resulted in an out-of-range value.",
            ),
            (
                "INSERT t (g) VALUES (922337203685477.5808)",
                "!8115 Arithmetic overflow error converting numeric to data type money.",
            ),
            (
                "INSERT t (rv) VALUES (0x01)",
                "!273 Cannot insert an explicit value into a timestamp column. Use INSERT with a column list to exclude the timestamp column, or insert a DEFAULT into the timestamp column.",
            ),
        ],
    );
}
