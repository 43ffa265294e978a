-- Whether a commit may be told before it is on disk: from 2014 on.
SELECT CASE WHEN d.delayed_durability_desc IN (N'ALLOWED', N'FORCED') THEN 1 ELSE 0 END AS is_delayed
FROM sys.databases AS d
WHERE d.name = DB_NAME();
