//! The catalog of a server with many tables: how long it takes to read it, with the plan of none of them. The statements are few, however
//! many tables there are (`mssql-live/tests/live/session.rs`); what is measured is mostly the server's own work, here the stand-in's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::ChangeSource;
use logferry_mssql_live::{Address, Conditions, LiveSource, Mode, Settings, Trust};
use logferry_mssql_standin::serve::Standin;

use crate::{Sizes, shown};

const TABLES: u32 = 5_000;

pub async fn run(sizes: Sizes) {
    println!("\n== the catalog of {TABLES} tables ==");
    let standin = Standin::start().expect("a stand-in");
    standin.batch("CREATE DATABASE shop").expect("a database");
    for part in (0..TABLES).collect::<Vec<_>>().chunks(500) {
        let table = |n: &u32| {
            format!(
                "CREATE TABLE t{n} (id int NOT NULL PRIMARY KEY, a nvarchar(40), b decimal(12, 2), c datetime2, d bit, \
                 e varchar(max), f bigint NOT NULL UNIQUE, g date, h uniqueidentifier, i float); "
            )
        };
        let tables: String = part.iter().map(table).collect();
        standin.batch(&format!("USE shop; {tables}")).expect("tables");
    }
    let mut times = Vec::new();
    for _ in 0..sizes.rounds {
        times.push(read(&standin).await);
    }
    println!("connected, asked and understood     {}", shown(&mut times));
}

async fn read(standin: &Standin) -> Duration {
    let settings = Settings {
        host: "127.0.0.1".to_owned(),
        address: Address::Port(standin.address().port()),
        database: "shop".to_owned(),
        user: standin.user().to_owned(),
        password: standin.password().to_owned(),
        token: None,
        application: "logferry bench".to_owned(),
        trust: Trust::Any,
        certificate_name: None,
        strict: false,
        read_only: false,
        connect_timeout: Duration::from_secs(15),
        answer_timeout: Duration::from_secs(300),
        connections_max: 4,
        conditions: Conditions::default(),
    };
    let began = Instant::now();
    // None of them is copied: tables that are copied are cut into chunks, which asks about each.
    let opened = LiveSource::open(settings, Mode::Snapshot, 1 << 26, Arc::new(|_| false)).await;
    let mut source = opened.expect("a source");
    source.snapshot().await.expect("the catalog");
    let took = began.elapsed();
    assert_eq!(source.tables().len(), TABLES as usize);
    took
}
