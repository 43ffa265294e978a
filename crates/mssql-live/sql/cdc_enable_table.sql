-- All columns, without a role that readers would have to have.
EXEC sys.sp_cdc_enable_table
    @source_schema = @P1,
    @source_name = @P2,
    @role_name = NULL,
    @capture_instance = @P3,
    @supports_net_changes = 0;
