//! mssql-standin
