//! Connections that look alive and forward nothing are given up, and answers that somebody works at are waited for.

use std::time::Duration;

use logferry_pg_apply::Target;
use logferry_testkit::postgres::PrivatePostgres;
use logferry_testkit::proxy::Proxy;

use crate::support::{database, run};

/// How late an answer may be here.
const LATE: Duration = Duration::from_millis(300);
/// Only an answer that is never given up takes so long.
const NEVER: Duration = Duration::from_secs(60);

/// What becomes of a connection within a transaction that has locked a row.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// What is sent on it is lost.
    Lost,
    /// The same, and its backend has ended.
    Ended,
    /// Nothing that is sent by whatever connection arrives.
    Unreachable,
    /// New ones come through at the second try.
    HardToReach,
}

#[track_caller]
fn check_given_up(fate: Fate) {
    run(async {
        let postgres = PrivatePostgres::shared();
        // Of its own: of what nobody can reach, a lock stays.
        let database = postgres.create_database().unwrap();
        let direct = database.client().await.unwrap();
        direct.batch_execute("CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
        let proxy = Proxy::before(postgres.port()).await.unwrap();
        let url = proxy.url(&database.url(), postgres.port());
        let client = Target::parse(&url).unwrap().given_up_after(LATE).connect().await.unwrap();
        client.batch_execute("BEGIN; UPDATE public.t SET a = 2").await.unwrap();
        proxy.fall_silent(match fate {
            Fate::Lost | Fate::Ended => 0,
            Fate::HardToReach => 1,
            Fate::Unreachable => 1_000_000,
        });
        if let Fate::Ended = fate {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'logferry' AND datname = current_database()";
            assert_eq!(direct.query(end, &[]).await.unwrap().len(), 1);
        }
        let answer = tokio::time::timeout(NEVER, client.batch_execute("COMMIT")).await;
        let error = answer.expect("it is given up").expect_err("nothing was answered");
        assert!(error.is_closed(), "{fate:?}: {error}");
        if let Fate::Unreachable = fate {
            return;
        }
        // Its locks are gone, too.
        let update = direct.batch_execute("SET lock_timeout = '50s'; UPDATE t SET a = 3");
        update.await.unwrap_or_else(|e| panic!("{fate:?}: {e}"));
    });
}

#[test]
fn a_connection_that_forwards_nothing_is_given_up_with_its_locks() {
    for fate in [Fate::Lost, Fate::Ended, Fate::HardToReach, Fate::Unreachable] {
        check_given_up(fate);
    }
}

/// What somebody works at takes ten times as long as an answer may be late.
#[test]
fn what_somebody_works_at_is_waited_for() {
    run(async {
        let database = database().await;
        let target = Target::parse(&database.url()).unwrap().given_up_after(LATE);
        let (client, other) = (target.connect().await.unwrap(), target.connect().await.unwrap());
        let long = (LATE * 10).as_secs_f64();
        client.batch_execute(&format!("SELECT pg_sleep({long})")).await.unwrap();
        // A lock that somebody else has, whose connection is at rest all the while.
        other.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7)").await.unwrap();
        let (waited, released) = tokio::join!(client.batch_execute("SELECT pg_advisory_xact_lock(7)"), async {
            tokio::time::sleep(LATE * 10).await;
            other.batch_execute("COMMIT").await
        });
        waited.unwrap();
        released.unwrap();
    });
}

/// A server that takes connections and says nothing.
#[test]
fn a_connection_is_made_in_time_or_not() {
    run(async {
        let (postgres, database) = (PrivatePostgres::shared(), database().await);
        let proxy = Proxy::before(postgres.port()).await.unwrap();
        proxy.fall_silent(1);
        let target = Target::parse(&proxy.url(&database.url(), postgres.port())).unwrap().given_up_after(LATE);
        let error = target.connect().await.err().expect("nobody answers").to_string();
        assert!(error.contains("takes the connection and does not answer"), "{error}");
        target.connect().await.unwrap();
    });
}
