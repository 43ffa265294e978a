-- What is known of a table that is not listed: its id, its last name as [schema].[table]. A principal sees what it has a right on; who
-- may see the definitions of a whole database sees all of them, but for those that are denied. What is granted on an object goes with it.
SELECT
    USER_NAME() AS user_name,
    HAS_PERMS_BY_NAME(QUOTENAME(DB_NAME()), N'DATABASE', N'VIEW DEFINITION') AS sees_all,
    (SELECT COUNT(*) FROM sys.objects AS o WHERE o.object_id = @P1) AS objects,
    (SELECT COUNT(*) FROM sys.database_permissions AS p WHERE p.class = 1 AND p.major_id = @P1) AS rights,
    (SELECT COUNT(*) FROM sys.database_permissions AS p
        WHERE p.class = 3 AND p.state = 'D' AND p.type IN ('VW', 'CL') AND USER_NAME() <> N'dbo'
            AND (p.grantee_principal_id = USER_ID() OR IS_MEMBER(USER_NAME(p.grantee_principal_id)) = 1)) AS denied_schemas,
    CASE WHEN OBJECT_ID(@P2) IS NULL THEN 0 ELSE 1 END AS is_replaced;
