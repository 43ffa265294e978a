-- Whether the login that 'dbo' stands for is known to this server: after a restore from another one it often is not.
SELECT CASE WHEN SUSER_SNAME(p.sid) IS NULL THEN 0 ELSE 1 END AS is_known
FROM sys.database_principals AS p
WHERE p.name = N'dbo';
