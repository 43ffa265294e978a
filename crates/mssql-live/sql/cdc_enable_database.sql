EXEC sys.sp_cdc_enable_db;
