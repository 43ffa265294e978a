-- Whether the log has versions of rows: from 2019 on.
SELECT CONVERT(int, d.is_accelerated_database_recovery_on) AS is_accelerated
FROM sys.databases AS d
WHERE d.name = DB_NAME();
