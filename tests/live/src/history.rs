//! A server that is written to all the while: copied, followed, killed, followed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::process::{Running, Task};
use crate::source::Session;
use crate::target::{rows, wait_until};
use crate::{Mode, Rig};

/// Tables, and how both sides show their rows as the same text.
struct Shape {
    table: &'static str,
    /// Whether it has a key: without one the log alone does not serve it.
    keyed: bool,
    made: &'static str,
    source: &'static str,
    target: &'static str,
}

const SHAPES: &[Shape] = &[
    Shape {
        table: "customers",
        keyed: true,
        made: "id int NOT NULL PRIMARY KEY, name nvarchar(60) NOT NULL, credit decimal(19, 4) NULL, since datetime2(3) NULL",
        source: "CONVERT(nvarchar(20), id), name, CONVERT(nvarchar(40), credit), CONVERT(nvarchar(30), since, 121)",
        target: "id::text, name, credit::text, to_char(since, 'YYYY-MM-DD HH24:MI:SS.MS')",
    },
    // A key of two columns, one of them text; a large value that changes alone.
    Shape {
        table: "orders",
        keyed: true,
        made: "customer int NOT NULL, code varchar(20) NOT NULL, total decimal(12, 2) NULL, note nvarchar(max) NULL, \
               raw varbinary(max) NULL, PRIMARY KEY (customer, code)",
        source: "CONVERT(nvarchar(20), customer), CONVERT(nvarchar(20), code), CONVERT(nvarchar(20), total), note, \
                 CONVERT(nvarchar(max), raw, 2)",
        target: "customer::text, code, total::text, note, upper(encode(raw, 'hex'))",
    },
    // Another unique key, whose values change places.
    Shape {
        table: "seats",
        keyed: true,
        made: "id int NOT NULL PRIMARY KEY, seat int NOT NULL UNIQUE, who nvarchar(20) NULL",
        source: "CONVERT(nvarchar(20), id), CONVERT(nvarchar(20), seat), who",
        target: "id::text, seat::text, who",
    },
    // Rows that are equal keep their number.
    Shape {
        table: "bag",
        keyed: false,
        made: "n int NULL, s nvarchar(20) NULL, d decimal(9, 2) NULL",
        source: "CONVERT(nvarchar(20), n), s, CONVERT(nvarchar(20), d)",
        target: "n::text, s, d::text",
    },
];

fn shapes(mode: Mode) -> impl Iterator<Item = &'static Shape> {
    SHAPES.iter().filter(move |shape| shape.keyed || mode != Mode::Log)
}

const ROWS: u32 = 300;
const WRITERS: u32 = 3;

/// Copies while others write, is killed so many times, and has every row in the end.
pub(crate) async fn history(rig: &Rig, mode: Mode, kills: u32) {
    let (name, mut source, task) = begin(rig, mode, "history").await;
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(rig.clone(), name.clone(), mode, number, enough.clone())))
        .collect();
    for kill in 0..kills {
        let mut running = task.start();
        // In the copy, shortly after it, and later.
        tokio::time::sleep(Duration::from_millis(100 + u64::from(kill * 577 % 1900))).await;
        running.alive();
    }
    let mut running = task.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    wait_until_equal(rig, mode, &mut source, &mut running).await;
}

/// What a history does not have, one after the other: maintenance, and what changes all rows of a table.
pub(crate) async fn maintenance(rig: &Rig, mode: Mode) {
    let (_, mut source, task) = begin(rig, mode, "maintenance").await;
    let mut running = task.start();
    wait_until_equal(rig, mode, &mut source, &mut running).await;
    for text in [
        // A value outside of its row, alone.
        "UPDATE dbo.orders SET note = REPLICATE(CAST(N'long ' AS nvarchar(max)), 20000) WHERE customer = 1",
        "UPDATE dbo.orders SET raw = NULL WHERE customer = 2",
        // Keys that change places, and one that changes its case only.
        "UPDATE dbo.seats SET seat = CASE seat WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE seat END",
        "UPDATE dbo.customers SET id = id + 100000 WHERE id < 20",
        "UPDATE dbo.orders SET code = UPPER(code) WHERE customer = 3",
        // A large transaction, and one that is taken back in part.
        "UPDATE dbo.customers SET credit = credit + 1",
        "BEGIN TRAN; DELETE dbo.customers WHERE id = 50; SAVE TRAN a; DELETE dbo.customers; ROLLBACK TRAN a; COMMIT",
        // Rows that are equal, some of them.
        "DELETE TOP (3) FROM dbo.bag WHERE n = 1; UPDATE TOP (2) dbo.bag SET s = N'y' WHERE n = 2; INSERT dbo.bag VALUES (3, N'x', 1)",
        // What changes no row.
        "CREATE INDEX by_name ON dbo.customers (name)",
        "UPDATE dbo.customers SET name = name + N'!' WHERE id % 7 = 0",
    ] {
        if text.contains("dbo.bag") && mode == Mode::Log {
            continue;
        }
        source.run(text).await;
        wait_until_equal(rig, mode, &mut source, &mut running).await;
    }
    if mode == Mode::Log {
        source.run("TRUNCATE TABLE dbo.orders").await;
        source.run(&order(1, "after", 1)).await;
        wait_until_equal(rig, mode, &mut source, &mut running).await;
    }
}

async fn begin(rig: &Rig, mode: Mode, what: &str) -> (String, Session, Task) {
    let name = format!("{what}_{}", mode.name());
    let mut source = rig.server.create_database(&name).await;
    for Shape { table, made, .. } in shapes(mode) {
        source.run(&format!("CREATE TABLE dbo.{table} ({made})")).await;
    }
    source
        .run(&format!(
            "DECLARE @n int = 0; BEGIN TRAN;
             WHILE @n < {ROWS} BEGIN
                 INSERT dbo.customers VALUES (@n, N'Jos\u{e9} ' + CAST(@n AS nvarchar(9)), @n * 1.25, '2024-02-29T12:00:00.123');
                 INSERT dbo.orders VALUES (@n % 10, 'o' + CAST(@n AS varchar(9)), @n / 7.0,
                     REPLICATE(N'\u{4e2d} ', @n % 50), NULL);
                 INSERT dbo.seats VALUES (@n, @n, NULL);
                 SET @n += 1
             END; COMMIT"
        ))
        .await;
    if mode != Mode::Log {
        source.run("INSERT dbo.bag SELECT id % 9, N'x', 1 FROM dbo.seats; INSERT dbo.bag SELECT id % 9, NULL, 1 FROM dbo.seats").await;
    }
    let task = Task::new(rig, mode, &name);
    (name, source, task)
}

fn order(customer: u32, code: &str, length: u32) -> String {
    format!(
        "INSERT dbo.orders VALUES ({customer}, '{code}', {length}.5, REPLICATE(CAST(N'n\u{e9}' AS nvarchar(max)), {length}),
             CONVERT(varbinary(max), REPLICATE(CAST('raw' AS varchar(max)), {length})))"
    )
}

/// Inserts, updates, deletes, moves and takes back until it is enough.
async fn write(rig: Rig, database: String, mode: Mode, number: u32, enough: Arc<AtomicBool>) {
    let mut session = rig.server.connect(&database).await;
    for n in 0.. {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let id = (n * 7 + number * 31) % ROWS;
        let length = if n % 13 == 0 { 9000 } else { n % 300 };
        let bag = match mode {
            Mode::Log => String::new(),
            _ => format!(
                "INSERT dbo.bag VALUES ({n} % 9, N'x', 1), ({n} % 9, N'x', 1); DELETE TOP (2) FROM dbo.bag WHERE n = {id} % 9;
                 UPDATE TOP (1) dbo.bag SET d = d + 1 WHERE n = ({id} + 1) % 9;"
            ),
        };
        let batch = format!(
            "SET XACT_ABORT ON; BEGIN TRAN;
             UPDATE dbo.customers SET credit = credit + 1.5, name = REPLICATE(N'x', {n} % 60) WHERE id = {id};
             DELETE dbo.orders WHERE code = 'o{id}';
             {};
             UPDATE dbo.orders SET note = N'{n}' WHERE customer = {} AND code = 'o{}';
             UPDATE dbo.seats SET seat = -seat - 1, who = N'{number}' WHERE id = {id};
             {bag} {}",
            order((id + number) % 10, &format!("o{id}"), length),
            id % 10,
            (id + 1) % ROWS,
            if n % 11 == 3 { "ROLLBACK" } else { "COMMIT" }
        );
        if session.attempt(&batch).await.is_err() {
            // A deadlock's victim changes nothing; its connection may have ended.
            session = rig.server.connect(&database).await;
        }
    }
}

async fn wait_until_equal(rig: &Rig, mode: Mode, source: &mut Session, running: &mut Running) {
    let client = rig.target.connect().await;
    for Shape { table, source: select, target, .. } in shapes(mode) {
        let mut expected = source.rows(&format!("SELECT {select} FROM dbo.{table}")).await;
        expected.sort();
        wait_until(table, async || {
            running.alive();
            let mut found = rows(&client, &format!("SELECT {target} FROM dbo.{table}")).await.unwrap_or_default();
            found.sort();
            if found == expected {
                return Ok(());
            }
            let differs = expected.iter().zip(&found).find(|(e, f)| e != f);
            Err(format!("{} rows, not {}; the first that differs: {differs:?}", found.len(), expected.len()))
        })
        .await;
    }
}
