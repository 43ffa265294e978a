-- The last captured transaction before a time of the server's clock; the first one that is left.
SELECT sys.fn_cdc_map_time_to_lsn(N'largest less than', CONVERT(datetime, @P1, 126)) AS before_lsn,
    (SELECT MIN(start_lsn) FROM cdc.lsn_time_mapping) AS first_lsn;
