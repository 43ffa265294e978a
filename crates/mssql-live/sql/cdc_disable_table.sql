-- One capture instance of a table.
EXEC sys.sp_cdc_disable_table @source_schema = @P1, @source_name = @P2, @capture_instance = @P3;
