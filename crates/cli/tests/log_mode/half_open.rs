//! Connections to the server, or to the target, that stay open and carry nothing any more, as behind a firewall that has forgotten them: each
//! wait has a bound, and the task goes on by new ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use logferry_testkit::postgres::PrivatePostgres;

use crate::follow::{Running, change, wait_for_checkpoint, wait_until_equal};
use crate::server::write_task;
use crate::{TABLES, shop};

/// Passes bytes on between clients and a server, until it does not.
struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Connections so far.
    count: AtomicUsize,
    /// The first so many carry nothing.
    silent: AtomicUsize,
    ended: AtomicBool,
}

impl Proxy {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let all = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if all.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { continue };
                let number = all.count.fetch_add(1, Ordering::SeqCst);
                let copies = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                for (from, to) in [(client, server), (copies.1, copies.0)] {
                    let all = all.clone();
                    std::thread::spawn(move || all.pass(number, from, to));
                }
            }
        });
        Proxy { address, shared }
    }

    /// The connections that there are, and some of those that come, carry nothing from here on, in neither direction. Nobody is told.
    fn fall_silent(&self, more: usize) {
        self.shared.silent.store(self.shared.count.load(Ordering::SeqCst) + more, Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // It waits for the next one.
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    fn pass(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from.read(&mut bytes) {
            while number < self.silent.load(Ordering::SeqCst) {
                if self.ended.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&bytes[..len]).is_err() {
                break;
            }
        }
        // Whoever closes, closes both.
        to.shutdown(std::net::Shutdown::Both).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up() {
    check("log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_by_change_tables() {
    check("cdc\n  cdc: {enable: true}").await;
}

async fn check(mode: &str) {
    let capture = "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";
    let standin = shop(if mode == "log" { "" } else { capture });
    let proxy = Proxy::before(standin.address());
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, &format!("{mode}\n  answer_seconds: 2"), &standin, &database, "");
    let text = std::fs::read_to_string(&task).expect("the task");
    let (direct, through) = (standin.address().port(), proxy.address.port());
    std::fs::write(&task, text.replace(&format!("port: {direct}"), &format!("port: {through}")))
        .expect("it is written");
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_until_equal(&standin, &database, TABLES).await;
    // The second time the first new connection is not answered either.
    for (n, more) in [(1, 0), (2, 1)] {
        let before = proxy.count();
        proxy.fall_silent(more);
        change(
            &standin,
            &format!(
                "UPDATE dbo.Customers SET credit = {n} WHERE id % 2 = 0; DELETE dbo.Orders WHERE number % 7 = {n}"
            ),
        );
        wait_until_equal(&standin, &database, TABLES).await;
        assert!(running.is_alive());
        assert!(proxy.count() > before, "only a new connection can have brought that");
    }
}

/// Whatever was lost on the way to the target, a statement, a COMMIT or its answer, is found out, and nothing is lost of the rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_falls_silent_is_given_up() {
    let (standin, postgres) = (shop(""), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let proxy = logferry_testkit::proxy::Proxy::before(postgres.port()).await.expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "log", &standin, &database, "apply: {confirm_seconds: 1}\n");
    let text = std::fs::read_to_string(&task).expect("the task");
    let through = format!("{}\n  answer_seconds: 1", proxy.url(&database.url(), postgres.port()));
    std::fs::write(&task, text.replace(&database.url(), &through)).expect("it is written");
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_until_equal(&standin, &database, TABLES).await;
    // The second time some of the new connections are silent, too;
    for (n, more) in [(1, 0), (2, 2)] {
        proxy.fall_silent(more);
        change(
            &standin,
            &format!(
                "UPDATE dbo.Customers SET credit = {n} WHERE id % 2 = 0; DELETE dbo.Orders WHERE number % 7 = {n}"
            ),
        );
        wait_until_equal(&standin, &database, TABLES).await;
        assert!(running.is_alive());
    }
    // then while it is written to.
    for n in 3..6 {
        change(&standin, &format!("UPDATE dbo.Customers SET credit = {n}; DELETE dbo.Orders WHERE number % 7 = {n}"));
        tokio::time::sleep(Duration::from_millis(3 * n)).await;
        proxy.fall_silent(0);
        change(&standin, "UPDATE dbo.Customers SET credit += 1 WHERE id % 2 = 1");
        wait_until_equal(&standin, &database, TABLES).await;
        assert!(running.is_alive());
    }
}
