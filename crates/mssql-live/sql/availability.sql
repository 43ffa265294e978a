-- Whether the database is in an availability group, and has its primary replica on this server: no row where it is in none.
SELECT CONVERT(int, s.is_primary_replica) AS is_primary
FROM sys.dm_hadr_database_replica_states AS s
WHERE s.database_id = DB_ID() AND s.is_local = 1;
