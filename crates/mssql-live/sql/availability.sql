-- Whether the database is in an availability group, and has its primary replica on this server: no row where it is in none. The role is
-- that of the replica, as databases do not tell theirs before 2014.
SELECT CASE WHEN r.role = 1 THEN 1 ELSE 0 END AS is_primary
FROM sys.dm_hadr_database_replica_states AS s
JOIN sys.dm_hadr_availability_replica_states AS r ON r.replica_id = s.replica_id
WHERE s.database_id = DB_ID() AND s.is_local = 1;
