-- How far the log is captured, and when that was committed. Where one of the others is another than last time, instances came, went or were cleaned up.
SELECT
    sys.fn_cdc_get_max_lsn() AS max_lsn,
    sys.fn_cdc_map_lsn_to_time(sys.fn_cdc_get_max_lsn()) AS max_time,
    (SELECT SUM(CONVERT(bigint, t.object_id)) FROM cdc.change_tables AS t) AS instances,
    (SELECT MAX(t.start_lsn) FROM cdc.change_tables AS t) AS newest_lsn,
    (SELECT MAX(h.ddl_lsn) FROM cdc.ddl_history AS h) AS ddl_lsn;
