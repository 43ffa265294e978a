EXEC sys.sp_cdc_disable_db;
