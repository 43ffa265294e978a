-- Only members of sysadmin may have a database captured.
SELECT CONVERT(int, IS_SRVROLEMEMBER(N'sysadmin')) AS is_sysadmin;
