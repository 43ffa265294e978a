-- What is done to the database's definitions is noted here.
CREATE TABLE dbo.logferry_ddl_history (
    id bigint IDENTITY NOT NULL CONSTRAINT logferry_ddl_history_pk PRIMARY KEY,
    at datetime2(3) NOT NULL,
    event_type nvarchar(128) NULL,
    schema_name nvarchar(128) NULL,
    object_name nvarchar(128) NULL,
    statement nvarchar(max) NULL
);
