//! Change data capture: what gets into change tables, how it is read, and how that fails.

use logferry_mssql_standin::sql::Session;

use crate::{check, connect, run, server};

const ENABLE: &str = "EXEC sys.sp_cdc_enable_db";

/// An instance of `dbo.<table>`; the job is stopped, so that scans come when they are asked for.
fn enable(session: &mut Session, table: &str, more: &str) {
    let sql = format!(
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'{table}', @role_name = NULL{more}; EXEC sys.sp_cdc_stop_job N'capture'"
    );
    check(session, &[(&sql, "")]);
}

/// Changes as they are read with all images, without their LSNs.
fn changes(instance: &str, columns: &str) -> String {
    format!(
        "SELECT __$operation, __$update_mask, {columns} FROM cdc.fn_cdc_get_all_changes_{instance}(sys.fn_cdc_get_min_lsn('{instance}'), sys.fn_cdc_get_max_lsn(), N'all update old')"
    )
}

const SCAN: &str = "EXEC sys.sp_cdc_scan";

#[test]
fn changes_of_rows_as_rows() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            (
                "CREATE TABLE orders (id int NOT NULL PRIMARY KEY, customer nvarchar(50), amount decimal(18,4), notes nvarchar(max), old ntext)",
                "",
            ),
            ("INSERT orders VALUES (100, N'before', 1, NULL, NULL)", "#1"),
            (ENABLE, ""),
        ],
    );
    enable(&mut s, "orders", "");
    check(
        &mut s,
        &[
            (
                "SELECT sys.fn_cdc_get_max_lsn(), sys.fn_cdc_get_min_lsn('dbo_orders')",
                "null, \"0x00000000000000000000\"",
            ),
            (
                "INSERT orders VALUES (1, N'acme', 10.5, N'first', N'o'); INSERT orders VALUES (2, N'globex', 20, NULL, NULL)",
                "#1 ; #1",
            ),
            ("UPDATE orders SET amount = 99.9999 WHERE id = 1; DELETE orders WHERE id = 2", "#1 ; #1"),
            ("UPDATE orders SET notes = N'second' WHERE id = 1; UPDATE orders SET amount = amount", "#1 ; #2"),
            ("BEGIN TRAN INSERT orders VALUES (3, N'x', 0, N'', N'') ROLLBACK", "#1"),
            (
                "BEGIN TRAN INSERT orders VALUES (4, N'x', 0, N'', N'') SAVE TRAN t DELETE orders WHERE id = 100 ROLLBACK TRAN t COMMIT",
                "#1 ; #1",
            ),
            ("SELECT COUNT(*) FROM cdc.dbo_orders_CT", "0"),
            (SCAN, ""),
            (
                &changes("dbo_orders", "id, customer, amount, notes, old"),
                "2, \"0x1F\", 1, \"acme\", 10.5000, \"first\", \"o\" | 2, \"0x1F\", 2, \"globex\", 20.0000, null, null | 3, \"0x04\", 1, \"acme\", 10.5000, null, null | 4, \"0x04\", 1, \"acme\", 99.9999, \"first\", \"o\" | 1, \"0x1F\", 2, \"globex\", 20.0000, null, null | 3, \"0x08\", 1, \"acme\", 99.9999, \"first\", null | 4, \"0x08\", 1, \"acme\", 99.9999, \"second\", \"o\" | 2, \"0x1F\", 4, \"x\", 0.0000, \"\", \"\"",
            ),
            (
                "SELECT COUNT(*), MIN(__$command_id), MAX(__$command_id), COUNT(__$end_lsn) FROM cdc.dbo_orders_CT",
                "8, 1, 1, 0",
            ),
            ("UPDATE orders SET id = 40 WHERE id = 4", "#1"),
            (SCAN, ""),
            (
                "SELECT __$operation, __$command_id, id FROM cdc.dbo_orders_CT WHERE __$start_lsn = sys.fn_cdc_get_max_lsn()",
                "1, 1, 4 | 2, 2, 40",
            ),
        ],
    );
    // Positions are those of the records in the log.
    check(
        &mut s,
        &[
            (
                "SELECT DISTINCT l.Operation FROM cdc.dbo_orders_CT c JOIN fn_dblog(NULL, NULL) l ON l.[Current LSN] = STUFF(STUFF(LOWER(CONVERT(varchar(20), c.__$start_lsn, 2)), 17, 0, ':'), 9, 0, ':')",
                "\"LOP_COMMIT_XACT\"",
            ),
            (
                "SELECT DISTINCT c.__$operation, l.Operation FROM cdc.dbo_orders_CT c JOIN fn_dblog(NULL, NULL) l ON l.[Current LSN] = STUFF(STUFF(LOWER(CONVERT(varchar(20), c.__$seqval, 2)), 17, 0, ':'), 9, 0, ':') WHERE l.AllocUnitName LIKE 'dbo.orders.%' AND c.__$operation < 3 ORDER BY c.__$operation",
                "1, \"LOP_DELETE_ROWS\" | 2, \"LOP_INSERT_ROWS\"",
            ),
            (
                "SELECT COUNT(*) FROM cdc.lsn_time_mapping m WHERE m.tran_id <> 0x00 AND EXISTS (SELECT 1 FROM cdc.dbo_orders_CT c WHERE c.__$start_lsn = m.start_lsn) AND m.tran_begin_lsn < m.start_lsn AND DATEDIFF(minute, tran_end_time, GETUTCDATE()) < 5",
                "7",
            ),
        ],
    );
}

#[test]
fn ranges_outside_of_the_timeline_are_error_313() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)");
    let all = "!313 An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_all_changes_ ... .";
    let net = "!313 An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_net_changes_ ... .";
    let read =
        |range: &str, option: &str| format!("SELECT id FROM cdc.fn_cdc_get_all_changes_dbo_t({range}, {option})");
    let whole = "sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn()";
    check(
        &mut s,
        &[
            ("SELECT sys.fn_cdc_get_max_lsn()", "!208 Invalid object name 'cdc.lsn_time_mapping'."),
            (&read(whole, "'all'"), "!208 Invalid object name 'cdc.fn_cdc_get_all_changes_dbo_t'."),
            (
                "EXEC sys.sp_cdc_enable_table 'dbo', 't', NULL",
                "!22901 The database 'shop' is not enabled for Change Data Capture. Ensure that the correct database context is set and retry the operation. To report on the databases enabled for Change Data Capture, query the is_cdc_enabled column in the sys.databases catalog view.",
            ),
            (ENABLE, ""),
            (ENABLE, ""),
        ],
    );
    enable(&mut s, "t", "");
    check(
        &mut s,
        &[
            (&read(whole, "'all'"), all),
            ("INSERT t VALUES (1, 1)", "#1"),
            (SCAN, ""),
            (&read(whole, "'all'"), "1"),
            (&read(whole, "'nonsense'"), all),
            (&read("NULL, sys.fn_cdc_get_max_lsn()", "'all'"), all),
            (&read("0x01, sys.fn_cdc_get_max_lsn()", "'all'"), all),
            (
                &read("sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_increment_lsn(sys.fn_cdc_get_max_lsn())", "'all'"),
                all,
            ),
            (&read("sys.fn_cdc_increment_lsn(sys.fn_cdc_get_max_lsn()), sys.fn_cdc_get_max_lsn()", "'all'"), all),
            (&format!("SELECT id FROM cdc.fn_cdc_get_net_changes_dbo_t({whole}, 'all update old')"), net),
            (
                "SELECT * FROM cdc.fn_cdc_get_all_changes_dbo_t(0x00)",
                "!313 An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_all_changes_dbo_t.",
            ),
            ("EXEC sys.sp_cdc_disable_table N'dbo', N't', N'all'", ""),
            (&read(whole, "'all'"), "!208 Invalid object name 'cdc.fn_cdc_get_all_changes_dbo_t'."),
            ("SELECT * FROM cdc.dbo_t_CT", "!208 Invalid object name 'cdc.dbo_t_CT'."),
            ("SELECT COUNT(*) FROM cdc.change_tables", "0"),
            ("SELECT is_tracked_by_cdc FROM sys.tables WHERE name = 't'", "false"),
            ("EXEC sys.sp_cdc_disable_db", ""),
            ("SELECT is_cdc_enabled FROM sys.databases WHERE name = 'shop'; SELECT SCHEMA_ID('cdc')", "false ; null"),
            (ENABLE, ""),
        ],
    );
}

#[test]
fn net_changes_are_of_the_whole_range() {
    let server = server();
    let mut s = connect(&server);
    run(
        &mut s,
        "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(10)); INSERT t VALUES (4, 'old'), (5, 'old'), (6, 'old'), (7, 'old')",
    );
    run(&mut s, ENABLE);
    enable(&mut s, "t", ", @supports_net_changes = 1");
    run(
        &mut s,
        "INSERT t VALUES (1, 'a'); INSERT t VALUES (2, 'a'); UPDATE t SET v = 'b' WHERE id = 2;
         INSERT t VALUES (3, 'a'); DELETE t WHERE id = 3; UPDATE t SET v = 'new' WHERE id = 4; DELETE t WHERE id = 5;
         DELETE t WHERE id = 6; INSERT t VALUES (6, 'reborn'); UPDATE t SET v = 'doomed' WHERE id = 7; DELETE t WHERE id = 7;
         INSERT t VALUES (8, 'a'); DELETE t WHERE id = 8; INSERT t VALUES (8, 'again');
         BEGIN TRAN INSERT t VALUES (20, 'x') DELETE t WHERE id = 20 COMMIT",
    );
    run(&mut s, SCAN);
    let net = |option: &str, order: &str| {
        format!(
            "SELECT __$operation, id, v FROM cdc.fn_cdc_get_net_changes_dbo_t(sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn(), '{option}'){order}"
        )
    };
    check(
        &mut s,
        &[
            (
                &net("all", " ORDER BY id"),
                "2, 1, \"a\" | 2, 2, \"b\" | 4, 4, \"new\" | 1, 5, \"old\" | 4, 6, \"reborn\" | 1, 7, \"doomed\" | 2, 8, \"again\"",
            ),
            (
                &net("all with merge", " ORDER BY id"),
                "5, 1, \"a\" | 5, 2, \"b\" | 5, 4, \"new\" | 1, 5, \"old\" | 5, 6, \"reborn\" | 1, 7, \"doomed\" | 5, 8, \"again\"",
            ),
            (
                "SELECT __$update_mask FROM cdc.fn_cdc_get_net_changes_dbo_t(sys.fn_cdc_get_min_lsn('dbo_t'), sys.fn_cdc_get_max_lsn(), 'all with mask') WHERE id IN (1, 4) ORDER BY id",
                "null | \"0x02\"",
            ),
            ("CREATE TABLE heap (a int)", ""),
            (
                "EXEC sys.sp_cdc_enable_table N'dbo', N'heap', NULL, @supports_net_changes = 1",
                "!22939 The parameter @supports_net_changes is set to 1, but the source table does not have a primary key defined and no alternate unique index has been specified.",
            ),
        ],
    );
    enable(&mut s, "heap", "");
    check(
        &mut s,
        &[(
            "SELECT * FROM cdc.fn_cdc_get_net_changes_dbo_heap(0x00, 0x00, 'all')",
            "!208 Invalid object name 'cdc.fn_cdc_get_net_changes_dbo_heap'.",
        )],
    );
}

#[test]
fn two_instances_while_the_table_changes() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY, a int, b int)");
    run(&mut s, ENABLE);
    enable(&mut s, "t", ", @captured_column_list = N'[b], id'");
    check(
        &mut s,
        &[
            ("INSERT t VALUES (1, 1, 1); UPDATE t SET a = 2", "#1 ; #1"),
            ("ALTER TABLE t ADD region varchar(10) NULL", ""),
            ("INSERT t VALUES (2, 2, 2, 'EU')", "#1"),
        ],
    );
    enable(&mut s, "t", ", @capture_instance = N'v2'");
    check(
        &mut s,
        &[
            ("INSERT t VALUES (3, 3, 3, 'US')", "#1"),
            (SCAN, ""),
            (
                "SELECT __$operation, __$update_mask, id, b FROM cdc.dbo_t_CT",
                "2, \"0x03\", 1, 1 | 2, \"0x03\", 2, 2 | 2, \"0x03\", 3, 3",
            ),
        ],
    );
    check(
        &mut s,
        &[
            (&changes("v2", "id, a, b, region"), "2, \"0x0F\", 3, 3, 3, \"US\""),
            (
                "SELECT t.capture_instance, h.ddl_command FROM cdc.ddl_history h JOIN cdc.change_tables t ON t.object_id = h.object_id",
                "\"dbo_t\", \"ALTER TABLE t ADD region varchar(10) NULL\"",
            ),
            (
                "SELECT t.capture_instance, c.column_ordinal, c.column_name, c.column_type FROM cdc.captured_columns c JOIN cdc.change_tables t ON t.object_id = c.object_id WHERE t.capture_instance = 'dbo_t' ORDER BY 2",
                "\"dbo_t\", 1, \"id\", \"int\" | \"dbo_t\", 2, \"b\", \"int\"",
            ),
            (
                "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'v3'",
                "!22962 Two capture instances already exist for source table 'dbo.t'. A table can have at most two capture instances. If the current tracking options are not appropriate, disable change tracking for the obsolete instance by using sys.sp_cdc_disable_table and retry the operation.",
            ),
            (
                "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'v2'",
                "!22926 Could not create a capture instance because the capture instance name 'v2' already exists in the current database. Specify an explicit unique name for the parameter @capture_instance.",
            ),
            (
                "TRUNCATE TABLE t",
                "!4711 Cannot truncate table 't' because it is published for replication or enabled for Change Data Capture.",
            ),
            ("SELECT COUNT(*) FROM cdc.change_tables WHERE start_lsn IS NULL OR end_lsn IS NOT NULL", "0"),
            (
                "SELECT sys.fn_cdc_get_column_ordinal('dbo_t', 'b'), sys.fn_cdc_is_bit_set(2, 0x02), sys.fn_cdc_has_column_changed('v2', 'region', 0x08)",
                "2, true, true",
            ),
            ("EXEC sys.sp_cdc_disable_table N'dbo', N't', N'dbo_t'; INSERT t VALUES (4, 4, 4, 'UK')", "#1"),
            (SCAN, ""),
            ("SELECT COUNT(*) FROM cdc.v2_CT", "2"),
            (
                "DROP TABLE t; SELECT COUNT(*) FROM cdc.change_tables; SELECT * FROM cdc.v2_CT",
                "0 ; !208 Invalid object name 'cdc.v2_CT'.",
            ),
        ],
    );
}

#[test]
fn what_is_cleaned_up_cannot_be_read() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY)");
    run(&mut s, ENABLE);
    enable(&mut s, "t", "");
    check(
        &mut s,
        &[
            ("INSERT t VALUES (1); INSERT t VALUES (2); INSERT t VALUES (3)", "#1 ; #1 ; #1"),
            (SCAN, ""),
            (
                "DECLARE @from binary(10) = sys.fn_cdc_get_min_lsn('dbo_t'), @max binary(10) = sys.fn_cdc_get_max_lsn(); EXEC sys.sp_cdc_cleanup_change_table N'dbo_t', @max; SELECT id FROM cdc.dbo_t_CT; SELECT COUNT(*) FROM cdc.lsn_time_mapping; SELECT id FROM cdc.fn_cdc_get_all_changes_dbo_t(@from, @max, 'all')",
                "3 ; 1 ; !313 An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_all_changes_ ... .",
            ),
            ("SELECT CASE WHEN start_lsn = sys.fn_cdc_get_max_lsn() THEN 1 END FROM cdc.change_tables", "1"),
            (
                "EXEC sys.sp_cdc_change_job @job_type = N'cleanup', @retention = 0; INSERT t VALUES (4); WAITFOR DELAY '00:00:00.020'; EXEC sys.sp_cdc_scan",
                "#1",
            ),
        ],
    );
    let low = run(&mut s, "SELECT sys.fn_cdc_get_min_lsn('dbo_t')");
    run(&mut s, "EXEC sys.sp_MScdc_cleanup_job");
    assert_ne!(run(&mut s, "SELECT sys.fn_cdc_get_min_lsn('dbo_t')"), low, "the low endpoint moved");
    let wrong = run(&mut s, "EXEC sys.sp_cdc_cleanup_change_table N'dbo_t', 0x01");
    assert!(wrong.starts_with("!22957 LSN 0x01000000000000000000, specified as the new low end point"), "{wrong}");
}

#[test]
fn a_job_captures_and_holds_the_log_when_it_is_stopped() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY, s varchar(4000)); BACKUP DATABASE shop TO DISK = 'NUL'");
    run(&mut s, ENABLE);
    enable(&mut s, "t", "");
    check(&mut s, &[("EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = 0", "")]);
    run(&mut s, "DECLARE @n int = 0; WHILE @n < 300 BEGIN INSERT t VALUES (@n, REPLICATE('x', 3000)); SET @n += 1 END");
    let why = "CHECKPOINT; BACKUP LOG shop TO DISK = 'NUL'; SELECT log_reuse_wait_desc FROM sys.databases WHERE name = 'shop'";
    check(&mut s, &[(why, "\"REPLICATION\""), ("EXEC sys.sp_cdc_start_job N'capture'", "")]);
    // The job needs no call: it ends when everything is there.
    for _ in 0..1000 {
        if run(&mut s, "SELECT COUNT(*) FROM cdc.dbo_t_CT") == "300" {
            break;
        }
        run(&mut s, "WAITFOR DELAY '00:00:00.010'");
    }
    check(&mut s, &[("SELECT COUNT(*) FROM cdc.dbo_t_CT", "300"), (why, "\"NOTHING\"")]);
    check(
        &mut s,
        &[
            (
                "EXEC sys.sp_cdc_change_job @pollinginterval = 100000",
                "!22990 The value specified for the parameter @pollinginterval must be greater than or equal to 0 and less than 24 hours(Max: 86399 seconds). Specify a polling interval (in seconds) that is less than 24 hours (86,400 seconds).",
            ),
            ("SELECT name FROM sys.tables WHERE is_ms_shipped = 0", "\"t\""),
            ("SELECT is_tracked_by_cdc FROM sys.tables WHERE name = 't'", "true"),
        ],
    );
}

#[test]
fn times_and_positions() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY)");
    run(&mut s, ENABLE);
    enable(&mut s, "t", "");
    run(&mut s, "INSERT t VALUES (1)");
    run(&mut s, SCAN);
    check(
        &mut s,
        &[
            (
                "DECLARE @max binary(10) = sys.fn_cdc_get_max_lsn(); SELECT CASE WHEN sys.fn_cdc_map_time_to_lsn('largest less than or equal', GETUTCDATE()) = @max THEN 1 END, CASE WHEN sys.fn_cdc_map_time_to_lsn('largest less than or equal', sys.fn_cdc_map_lsn_to_time(@max)) = @max THEN 1 END, sys.fn_cdc_map_time_to_lsn('smallest greater than', sys.fn_cdc_map_lsn_to_time(@max)), sys.fn_cdc_map_lsn_to_time(0x01)",
                "1, 1, null, null",
            ),
            (
                "DECLARE @max binary(10) = sys.fn_cdc_get_max_lsn(); SELECT CASE WHEN sys.fn_cdc_decrement_lsn(sys.fn_cdc_increment_lsn(@max)) = @max THEN 1 END",
                "1",
            ),
        ],
    );
}

#[test]
fn records_of_tracked_tables_are_marked_for_the_log_reader() {
    let server = server();
    let mut s = connect(&server);
    check(
        &mut s,
        &[
            (
                "CREATE TABLE kept (id int PRIMARY KEY, a int); CREATE INDEX ix ON kept (a); CREATE TABLE other (id int)",
                "",
            ),
            ("INSERT kept VALUES (1, 1); INSERT other VALUES (1)", "#1 ; #1"),
            (ENABLE, ""),
        ],
    );
    enable(&mut s, "kept", "");
    check(
        &mut s,
        &[
            (
                "BEGIN TRAN INSERT kept VALUES (2, 2) INSERT other VALUES (2) COMMIT; INSERT other VALUES (3)",
                "#1 ; #1 ; #1",
            ),
            (
                "SELECT Operation, Context, COUNT(*) FROM fn_dblog(NULL, NULL) WHERE [Flag Bits] = 0x0A00 GROUP BY Operation, Context ORDER BY Operation",
                "\"LOP_COMMIT_XACT\", \"LCX_NULL\", 1 | \"LOP_INSERT_ROWS\", \"LCX_CLUSTERED\", 1",
            ),
        ],
    );
}

/// A scan that fails leaves no transaction, and loses nothing.
#[test]
fn a_scan_that_fails_leaves_everything_as_it_was() {
    const OPEN: &str = "SELECT COUNT(*) FROM sys.dm_tran_database_transactions";
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int)");
    run(&mut s, ENABLE);
    enable(&mut s, "t", "");
    run(&mut s, "INSERT t VALUES (1, 1); INSERT t VALUES (2, 2)");
    check(&mut other, &[("BEGIN TRAN; UPDATE cdc.change_tables SET role_name = N'mine'", "#1")]);
    check(
        &mut s,
        &[
            ("SET LOCK_TIMEOUT 50", ""),
            (SCAN, "!1222 Lock request time out period exceeded."),
            // That of the other session.
            (OPEN, "1"),
        ],
    );
    run(&mut other, "ROLLBACK");
    check(
        &mut s,
        &[
            (SCAN, ""),
            (&changes("dbo_t", "id, n"), "2, \"0x03\", 1, 1 | 2, \"0x03\", 2, 2"),
            ("SELECT COUNT(*) FROM sys.dm_cdc_errors", "0"),
            ("DELETE t WHERE id = 1", "#1"),
        ],
    );
    let table = |storage: &mut logferry_mssql_standin_storage::Database| {
        let id = storage.table("cdc", "dbo_t_CT").expect("the change table");
        storage.drop_table(id).expect("it is dropped");
    };
    server.with_storage("shop", table).expect("the database");
    for _ in 0..2 {
        let said = run(&mut s, SCAN);
        assert!(said.starts_with("!8630 "), "{said}");
    }
    check(
        &mut s,
        &[
            (OPEN, "0"),
            ("SELECT COUNT(*), MAX(error_number) FROM sys.dm_cdc_errors", "2, 8630"),
            (
                "SELECT error_count, tran_count, empty_scan_count FROM sys.dm_cdc_log_scan_sessions ORDER BY session_id DESC",
                "1, 0, 0 | 1, 0, 0 | 0, 0, 1 | 0, 2, 0",
            ),
        ],
    );
}

/// Enabling a table marks it in the catalog, which waits for whoever has changed it.
#[test]
fn an_instance_waits_for_open_transactions() {
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    run(&mut s, "CREATE TABLE t (id int NOT NULL PRIMARY KEY, n int); SET LOCK_TIMEOUT 50");
    run(&mut s, ENABLE);
    let enable_it = "EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL";
    let disable_it = "EXEC sys.sp_cdc_disable_table N'dbo', N't', N'all'";
    check(&mut other, &[("BEGIN TRAN; INSERT t VALUES (1, 1)", "#1")]);
    check(&mut s, &[(enable_it, "!1222 Lock request time out period exceeded.")]);
    check(&mut other, &[("INSERT t VALUES (2, 2); COMMIT", "#1")]);
    check(
        &mut s,
        &[
            (enable_it, ""),
            ("EXEC sys.sp_cdc_stop_job N'capture'; INSERT t VALUES (3, 3)", "#1"),
            (SCAN, ""),
            (&changes("dbo_t", "id, n"), "2, \"0x03\", 3, 3"),
        ],
    );
    check(&mut other, &[("BEGIN TRAN; DELETE t WHERE id = 1", "#1")]);
    check(&mut s, &[(disable_it, "!1222 Lock request time out period exceeded.")]);
    check(&mut other, &[("ROLLBACK", "")]);
    check(&mut s, &[(disable_it, "")]);
}
