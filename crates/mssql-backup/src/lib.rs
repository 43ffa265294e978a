//! mssql-backup
