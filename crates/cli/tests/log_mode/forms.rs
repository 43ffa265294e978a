//! Types in other forms than those of the defaults: with columns beside them, with collations of ICU.

use std::time::{Duration, Instant};

use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::{Database, PrivatePostgres};

use crate::follow::{Running, wait_for_checkpoint};
use crate::server::write_task;

const ALL: &str = "SELECT coalesce(string_agg(concat_ws(' ', name, to_char(at, 'HH24:MI:SS.US'), at_100ns, at_offset, until, until_100ns), \
     ', ' ORDER BY at, at_100ns), '') FROM dbo.visits";

async fn wait_for(database: &Database<'_>, expect: &str) {
    let client = database.client().await.expect("a connection");
    let began = Instant::now();
    loop {
        // Until the copy begins there is no such table.
        let found = client.query_one(ALL, &[]).await.map(|row| row.get::<_, String>(0));
        if found.as_ref().is_ok_and(|found| found == expect) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "the target never has {expect:?}: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_have_columns_beside_them_from_the_copy_on() {
    let standin = Standin::start().expect("a stand-in");
    let change = |batch: &str| standin.batch(&format!("USE shop; {batch}")).expect("it is done");
    standin.batch("CREATE DATABASE shop").expect("a database");
    change(
        "CREATE TABLE dbo.Visits (At datetimeoffset(7) NOT NULL PRIMARY KEY,
            Name varchar(20) COLLATE Latin1_General_CI_AS NOT NULL UNIQUE, Until time(7));
         INSERT dbo.Visits VALUES ('2020-01-01 10:00:00.1234567 +01:00', 'Ann', '23:59:59.9999999'),
            ('2020-01-01 10:00:00.1234568 +01:00', 'Bob', NULL)",
    );
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    let types = "types: {hundred_ns: remainder, offset: column, collation: icu}\n";
    write_task(&task, "log", &standin, &database, types);
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_for(&database, "Ann 09:00:00.123456 7 60 23:59:59.999999 9, Bob 09:00:00.123456 8 60").await;
    // The two differ in the seventh digit of their key; names change hands, and their spelling.
    change("UPDATE dbo.Visits SET Until = '00:00:00.0000001' WHERE Name = 'BOB'; DELETE dbo.Visits WHERE Name = 'ann'");
    change("UPDATE dbo.Visits SET Name = 'bob'; INSERT dbo.Visits VALUES ('2020-01-01 00:00:00 -02:00', 'ANN', NULL)");
    wait_for(&database, "ANN 02:00:00.000000 0 -120, bob 09:00:00.123456 8 60 00:00:00 1").await;
    // A table that comes later is made like the others; a column that changes its type loses the one beside it.
    change("ALTER TABLE dbo.Visits ALTER COLUMN Until time(3)");
    change(
        "CREATE TABLE dbo.Later (Id int NOT NULL PRIMARY KEY, At datetime2(7)); INSERT dbo.Later VALUES (1, '2020-01-01 00:00:00.0000003')",
    );
    let client = database.client().await.expect("a connection");
    let began = Instant::now();
    while client.query_one("SELECT at_100ns FROM dbo.later", &[]).await.map_or(true, |row| row.get::<_, i16>(0) != 3) {
        assert!(began.elapsed() < Duration::from_secs(120), "the later table does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(running);
    let sql = "SELECT string_agg(attname, ' ' ORDER BY attnum), bool_or(collname = 'case_insensitive') \
               FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation \
               WHERE attrelid = 'dbo.visits'::regclass AND attnum > 0 AND NOT attisdropped";
    let row = client.query_one(sql, &[]).await.expect("an answer");
    assert_eq!((row.get(0), row.get(1)), (Some("at name until at_100ns at_offset"), Some(true)));
}
