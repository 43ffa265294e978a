-- Transactions that were captured, in the order of their commits.
SELECT TOP (@P3) m.start_lsn, m.tran_end_time, m.tran_id
FROM cdc.lsn_time_mapping AS m
WHERE m.start_lsn > CONVERT(binary(10), @P1) AND m.start_lsn <= CONVERT(binary(10), @P2)
ORDER BY m.start_lsn;
