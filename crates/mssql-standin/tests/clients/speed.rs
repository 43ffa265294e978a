//! What the server can do, measured by clients that throw away what they get. By hand:
//! `cargo test --release -p logferry-mssql-standin --test clients speed -- --ignored --nocapture --test-threads 1`

use std::thread;
use std::time::Instant;

use logferry_mssql_standin::serve::{Standin, StandinConfig};
use logferry_mssql_standin::tds::Encryption;
use logferry_mssql_standin_storage::workload::bench_table;
use logferry_mssql_standin_storage::{Database, Options, Row, XactOptions};

use crate::bare::{Bare, END};
use crate::double::PASSWORD;
use crate::server;

const ROWS: u32 = 1_000_000;

fn standin() -> Standin {
    let config = StandinConfig { password: PASSWORD.to_owned(), ..StandinConfig::default() };
    Standin::with(config).expect("a stand-in starts")
}

fn row(id: u32) -> Row {
    let name = crate::all_types::utf16("a name of twenty six units");
    let amount = [&[1][..], &u64::from(id).to_le_bytes()].concat();
    [
        id.to_le_bytes().to_vec(),
        (u64::from(id) * 1_000_003).to_le_bytes().to_vec(),
        amount,
        u64::from(id).to_le_bytes().to_vec(),
        vec![0, 1, 2, 3, 4, 0x10, 0x40, 0x0B],
        vec![0x10, 0x40, 0x0B],
        vec![(id % 2) as u8],
        name,
        b"0123456789".to_vec(),
        f64::from(id).to_le_bytes().to_vec(),
    ]
    .map(Some)
    .into()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_million_rows_of_a_table() {
    let standin = standin();
    let started = Instant::now();
    let mut database = Database::create(Options { name: "bench".into(), ..Options::default() }).unwrap();
    let table = database.create_table(bench_table()).unwrap();
    let xact = database.begin(XactOptions { name: "load", spid: 51 });
    for id in 0..ROWS {
        database.insert(xact, table, row(id)).unwrap();
    }
    database.commit(xact).unwrap();
    standin.sql().adopt_database("bench", database);
    eprintln!("{ROWS} rows inserted in {:?}", started.elapsed());
    for packet_size in [4096, 32767] {
        for sql in ["SELECT * FROM bench.dbo.Bench", "SELECT * FROM bench.dbo.Bench WHERE id >= 0 ORDER BY id"] {
            let mut bare = Bare::new(standin.address(), packet_size);
            let started = Instant::now();
            bare.batch(END, sql);
            let bytes = bare.throw_away(ROWS.into());
            eprintln!("{sql}: {bytes} bytes in packets of {packet_size}: {:?}", started.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn transactions_of_one_row() {
    let standin = standin();
    standin.batch("CREATE TABLE dbo.t (id int PRIMARY KEY, n int NOT NULL, name nvarchar(20))").unwrap();
    for clients in [1, 4, 8, 16] {
        for (what, sql) in [
            ("insert", "INSERT dbo.t VALUES ({id}, 1, N'a name')"),
            ("update", "UPDATE dbo.t SET n = n + 1 WHERE id = {id}"),
            ("delete", "DELETE dbo.t WHERE id = {id}"),
        ] {
            let started = Instant::now();
            let each = 40_000 / clients;
            let running: Vec<_> = (0..clients)
                .map(|client| {
                    let mut bare = Bare::new(standin.address(), 4096);
                    thread::spawn(move || {
                        for id in 0..each {
                            bare.batch(END, &sql.replace("{id}", &(client * each + id).to_string()));
                            let answer = bare.message();
                            assert_eq!(answer[0], 0xFD, "{}", String::from_utf8_lossy(&answer));
                        }
                    })
                })
                .collect();
            running.into_iter().for_each(|client| client.join().unwrap());
            let rate = 40_000.0 / started.elapsed().as_secs_f64();
            eprintln!("{what} by {clients} clients: {rate:.0} transactions/s");
        }
    }
}

/// The protocol alone: rows that are made as they go out, requests that do nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_million_rows_of_nothing() {
    let server = server(Encryption::Supported).await;
    for packet_size in [4096, 32767] {
        let mut bare = Bare::new(server.address(), packet_size);
        let started = Instant::now();
        bare.batch(END, "SELECT * FROM numbers(1000000)");
        let bytes = bare.throw_away(ROWS.into());
        eprintln!("{bytes} bytes in packets of {packet_size}: {:?}", started.elapsed());
    }
    let started = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut bare = Bare::new(server.address(), 4096);
            thread::spawn(move || (0..5000).for_each(|_| bare.works()))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    eprintln!("40,000 requests by 8 clients: {:?}", started.elapsed());
}
