EXEC sys.sp_cdc_help_jobs;
