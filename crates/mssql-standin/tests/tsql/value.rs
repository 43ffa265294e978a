//! Literals, types, conversions, functions.

use crate::{check, connect, server};

#[test]
fn literals_and_arithmetic() {
    check(
        &mut connect(&server()),
        &[
            ("SELECT 1", "1"),
            ("SELECT 1 AS a, 'x' AS b, N'ÿ€' c", "1, \"x\", \"ÿ€\""),
            ("SELECT 1+2*3-4", "3"),
            ("SELECT (1+2)*3", "9"),
            ("SELECT 7/2, -7/2, 7%3, -7%3", "3, -3, 1, -1"),
            ("SELECT 1.5+2", "3.5"),
            ("SELECT 10/4.0", "2.500000"),
            ("SELECT 1.0/3", "0.333333"),
            ("SELECT CAST(1 AS decimal(5,2))*CAST(2 AS decimal(5,2))", "2.0000"),
            ("SELECT 1e0/4", "0.25"),
            ("SELECT $1.5 + 1", "2.5000"),
            ("SELECT 'a'+'b'+N'c'", "\"abc\""),
            ("SELECT 0x0aFF", "\"0x0AFF\""),
            ("SELECT 5&3, 5|3, 5^3, ~5", "1, 7, 6, -6"),
            ("SELECT 2147483647+1", "!8115 Arithmetic overflow error converting expression to data type int."),
            ("SELECT 2147483648+1", "2147483649"),
            ("SELECT 1/0", "!8134 Divide by zero error encountered."),
            ("SELECT 'a'+1", "!245 Conversion failed when converting the varchar value 'a' to data type int."),
            ("SELECT '1'+1", "2"),
            ("SELECT NULL+1, NULL", "null, null"),
            ("SELECT 'it''s'", "\"it's\""),
            ("SELECT -2147483648", "-2147483648"),
            ("SELECT 1 -- comment\n, 2 /* and /* nested */ this */", "1, 2"),
        ],
    );
}

#[test]
fn conversions() {
    check(
        &mut connect(&server()),
        &[
            (
                "SELECT CAST('12' AS int), CAST(12.9 AS int), CAST(-12.9 AS int), CAST(12.5 AS decimal(3,0))",
                "12, 12, -12, 13",
            ),
            (
                "SELECT CAST('x' AS int)",
                "!245 Conversion failed when converting the varchar value 'x' to data type int.",
            ),
            ("SELECT TRY_CAST('x' AS int), TRY_CONVERT(int, '5')", "null, 5"),
            ("SELECT CAST(300 AS tinyint)", "!220 Arithmetic overflow error for data type tinyint, value = 300."),
            ("SELECT CAST(123.456 AS decimal(5,2))", "123.46"),
            (
                "SELECT CAST(1234.5 AS decimal(5,2))",
                "!8115 Arithmetic overflow error converting numeric to data type numeric.",
            ),
            ("SELECT CAST('abc' AS decimal(5,2))", "!8114 Error converting data type varchar to numeric."),
            ("SELECT CAST('abcdef' AS varchar(3)), CAST('ab' AS char(4))+'|'", "\"abc\", \"ab  |\""),
            ("SELECT CAST(12345 AS varchar(3))", "\"*\""),
            (
                "SELECT CONVERT(varchar(30), CAST('2024-02-29 13:14:15.997' AS datetime), 121)",
                "\"2024-02-29 13:14:15.997\"",
            ),
            ("SELECT CONVERT(varchar(30), CAST('2024-02-29' AS datetime))", "\"Feb 29 2024 12:00AM\""),
            ("SELECT CONVERT(varchar(10), CAST('20240229' AS date), 103)", "\"29/02/2024\""),
            ("SELECT CONVERT(varchar(8), CAST('2024-02-29' AS date), 112)", "\"20240229\""),
            (
                "SELECT CAST(CAST('2024-02-29T01:02:03.1234567' AS datetime2) AS varchar(40))",
                "\"2024-02-29 01:02:03.1234567\"",
            ),
            (
                "SELECT CAST(CAST('2024-02-29 01:02:03.1234567 +02:00' AS datetimeoffset) AS varchar(40))",
                "\"2024-02-29 01:02:03.1234567 +02:00\"",
            ),
            (
                "SELECT CAST('2023-02-29' AS date)",
                "!241 Conversion failed when converting date and/or time from character string.",
            ),
            (
                "SELECT CAST('2023-02-29' AS datetime)",
                "!242 The conversion of a varchar data type to a datetime data type resulted in an out-of-range value.",
            ),
            (
                "SELECT CAST('00000000-0000-0000-0000-0000000000FF' AS uniqueidentifier)",
                "\"00000000-0000-0000-0000-0000000000ff\"",
            ),
            (
                "SELECT CAST(CAST('6F9619FF-8B86-D011-B42D-00C04FC964FF' AS uniqueidentifier) AS varchar(36))",
                "\"6F9619FF-8B86-D011-B42D-00C04FC964FF\"",
            ),
            (
                "SELECT CAST('no' AS uniqueidentifier)",
                "!8169 Conversion failed when converting from a character string to uniqueidentifier.",
            ),
            (
                "SELECT CONVERT(varbinary(4), 258), CONVERT(varchar(20), 0x0102, 1), CONVERT(varbinary(8), '0xABCD', 1)",
                "\"0x00000102\", \"0x0102\", \"0xABCD\"",
            ),
            ("SELECT CAST(0x0102 AS int), CAST(1 AS bit), CAST('true' AS bit)", "258, true, true"),
            (
                "SELECT CAST(1.5 AS varchar(10)), CAST(CAST(1.5 AS float) AS varchar(10)), CAST(CAST(1e20 AS float) AS varchar(20))",
                "\"1.5\", \"1.5\", \"1e+020\"",
            ),
            (
                "SELECT CAST($1234.5678 AS varchar(20)), CONVERT(varchar(20), $1234.5678, 1), CONVERT(varchar(20), $1234.5678, 2)",
                "\"1234.57\", \"1,234.57\", \"1234.5678\"",
            ),
            ("SELECT CAST('3.14159' AS float), CAST('7' AS money)", "3.14159, 7.0000"),
            ("SELECT CAST('23:59:59.9999999' AS time(3))", "\"00:00:00.000\""),
        ],
    );
}

#[test]
fn three_valued_logic() {
    check(
        &mut connect(&server()),
        &[
            ("SELECT CASE WHEN NULL = NULL THEN 1 ELSE 0 END", "0"),
            ("SELECT CASE WHEN NOT (1 = NULL) THEN 1 ELSE 0 END", "0"),
            ("SELECT CASE WHEN 1 = 1 OR 1 = NULL THEN 1 ELSE 0 END", "1"),
            ("SELECT CASE WHEN 1 IN (2, NULL) THEN 1 WHEN 1 NOT IN (2, NULL) THEN 2 ELSE 3 END", "3"),
            ("SELECT CASE WHEN 'a' = 'A  ' THEN 1 ELSE 0 END", "1"),
            ("SELECT CASE WHEN N'É' = N'é' THEN 1 ELSE 0 END", "1"),
            ("SELECT CASE WHEN 'abc' LIKE 'A%' THEN 1 ELSE 0 END", "1"),
            ("SELECT CASE WHEN 'a5c' LIKE 'a[0-9]_' THEN 1 ELSE 0 END", "1"),
            ("SELECT CASE WHEN 'a5c' LIKE 'a[^0-9]c' THEN 1 ELSE 0 END", "0"),
            ("SELECT CASE WHEN '5%' LIKE '5!%' ESCAPE '!' THEN 1 ELSE 0 END", "1"),
            ("SELECT CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' END", "\"two\""),
            ("SELECT CASE WHEN 2 BETWEEN 1 AND 3 AND 4 NOT BETWEEN 1 AND 3 THEN 1 END", "1"),
            ("SELECT CASE WHEN 0x01 = 0x0100 THEN 1 ELSE 0 END", "1"),
            ("SELECT IIF(1 > 2, 'a', 'bcd')", "\"bcd\""),
        ],
    );
}

#[test]
fn functions() {
    check(
        &mut connect(&server()),
        &[
            ("SELECT ISNULL(NULL, 3), COALESCE(NULL, NULL, 'x'), NULLIF(1, 1), NULLIF(1, 2)", "3, \"x\", null, 1"),
            ("SELECT LEN('abc  '), DATALENGTH('abc  '), DATALENGTH(N'abc'), LEN(N'')", "3, 5, 6, 0"),
            (
                "SELECT SUBSTRING('abcdef', 2, 3), SUBSTRING('abc', 0, 2), LEFT('abc', 2), RIGHT('abc', 2)",
                "\"bcd\", \"a\", \"ab\", \"bc\"",
            ),
            (
                "SELECT UPPER('aé'), LOWER('ÄB'), LTRIM('  a '), RTRIM(' a  '), TRIM('  a ')",
                "\"AÉ\", \"äb\", \"a \", \" a\", \"a\"",
            ),
            (
                "SELECT REPLACE('aXbx', 'x', '--'), CHARINDEX('C', 'abc'), CHARINDEX('z', 'abc'), CONCAT('a', NULL, 1)",
                "\"a--b--\", 3, 0, \"a1\"",
            ),
            (
                "SELECT REPLICATE('ab', 3), SPACE(2)+'.', REVERSE('abc'), STUFF('abcdef', 2, 3, 'X'), QUOTENAME('a]b')",
                "\"ababab\", \"  .\", \"cba\", \"aXef\", \"[a]]b]\"",
            ),
            (
                "SELECT ABS(-5), ROUND(2.567, 2), ROUND(1250, -2), FLOOR(-1.5), CEILING(1.2), SIGN(-3)",
                "5, 2.570, 1300, -2, 2, -1",
            ),
            ("SELECT POWER(2, 10), SQRT(16), PI()", "1024, 4.0, 3.141592653589793"),
            (
                "SELECT DATEADD(month, 1, CAST('2024-01-31' AS date)), DATEDIFF(day, '2024-01-01', '2024-03-01')",
                "\"2024-02-29\", 60",
            ),
            (
                "SELECT DATEPART(year, '2024-05-06'), DATEPART(dw, '2024-05-06'), DATENAME(month, '2024-05-06'), DATEPART(iso_week, '2021-01-01')",
                "2024, 2, \"May\", 53",
            ),
            (
                "SELECT YEAR('2024-05-06'), MONTH('2024-05-06'), DAY('2024-05-06'), EOMONTH('2024-02-01')",
                "2024, 5, 6, \"2024-02-29\"",
            ),
            (
                "SELECT DATEDIFF(second, '2024-01-01 00:00:00', '2024-01-01 00:01:30'), DATEDIFF(year, '2023-12-31', '2024-01-01')",
                "90, 1",
            ),
            ("SELECT ISNUMERIC('1.5'), ISNUMERIC('x'), ISDATE('2024-01-01'), ISDATE('x')", "1, 0, 1, 0"),
            (
                "SELECT DB_NAME(), SCHEMA_NAME(), USER_NAME(), SUSER_SNAME(), APP_NAME(), HOST_NAME()",
                "\"shop\", \"dbo\", \"dbo\", \"sa\", \"test\", \"here\"",
            ),
            ("SELECT @@TRANCOUNT, @@ROWCOUNT, @@ERROR", "0, 1, 0"),
            (
                "SELECT IS_SRVROLEMEMBER('sysadmin'), IS_MEMBER('db_owner'), HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')",
                "1, 1, 1",
            ),
            (
                "SELECT CAST(SERVERPROPERTY('EngineEdition') AS int), CAST(DATABASEPROPERTYEX('shop', 'Recovery') AS varchar(9))",
                "3, \"FULL\"",
            ),
            ("SELECT ASCII('A'), CHAR(66), UNICODE(N'€'), NCHAR(8364)", "65, \"B\", 8364, \"€\""),
            ("SELECT NOSUCH(1)", "!195 'NOSUCH' is not a recognized built-in function name."),
            ("SELECT LEN()", "!174 The len function requires 1 argument(s)."),
            ("SELECT DATEADD(fortnight, 1, GETDATE())", "!155 'fortnight' is not a recognized dateadd option."),
            ("SELECT CASE WHEN NEWID() = NEWID() THEN 1 ELSE 0 END", "0"),
            ("SELECT PATINDEX('%[0-9]%', 'ab3'), CHOOSE(2, 'a', 'b'), STR(3.14159, 6, 2)", "3, \"b\", \"  3.14\""),
        ],
    );
}
