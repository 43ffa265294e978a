//! How fast the T-SQL engine is, without TDS: single-row transactions, key lookups, ranges by key, whole tables read out.
//!
//! `cargo run --release -p logferry-mssql-standin --example engine [rows]`

use std::time::Instant;

use logferry_model::{Cell, SqlType};
use logferry_mssql_standin::sql::{Login, Param, ResultSink, Server, Session, SqlError};
use logferry_mssql_standin_storage::Options;

#[derive(Default)]
struct Count {
    rows: u64,
    bytes: u64,
}

impl ResultSink for Count {
    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        self.rows += 1;
        self.bytes += cells.iter().filter_map(|c| c.bytes()).map(|c| c.len() as u64).sum::<u64>();
        true
    }
    fn error(&mut self, error: &SqlError) {
        panic!("{error}");
    }
}

fn int(name: &str, n: i32) -> Param {
    Param {
        name: name.into(),
        sql_type: SqlType::Int,
        bytes: Some(n.to_le_bytes().to_vec()),
        output: false,
        table: None,
    }
}

/// Runs a statement with one parameter `@i` again and again; says how often in a second.
fn measure(session: &mut Session, what: &str, sql: &str, times: i32) {
    let mut out = Count::default();
    let begin = Instant::now();
    for i in 0..times {
        session.execute(sql, &[int("@i", i)], &mut out).expect("the statement runs");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{what:<44} {:>9.0}/s {:>10} rows {:>8.2} s", f64::from(times) / seconds, out.rows, seconds);
}

/// Runs a statement that has its number in its text again and again, as those do that know no parameters; says how often in a second.
fn measure_texts(session: &mut Session, what: &str, sql: &str, times: i32) {
    let mut out = Count::default();
    let texts: Vec<String> = (0..times).map(|i| sql.replace("{i}", &i.to_string())).collect();
    let begin = Instant::now();
    for text in &texts {
        session.execute(text, &[], &mut out).expect("the statement runs");
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{what:<44} {:>9.0}/s {:>10} rows {:>8.2} s", f64::from(times) / seconds, out.rows, seconds);
}

fn main() {
    let rows: i32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let server = Server::new("BENCH").expect("a server");
    server.create_database("bench", Options::default()).expect("a database");
    let login = Login { name: "sa".into(), host: "here".into(), program: "engine".into(), database: "bench".into() };
    let mut s = server.connect(&login).expect("a session");
    let run = |s: &mut Session, sql: &str| s.execute(sql, &[], &mut Count::default()).expect("it runs");
    run(
        &mut s,
        "CREATE TABLE t (id int PRIMARY KEY, a int, b bigint, c varchar(20), d datetime2(3), e decimal(9,2), f bit, g nvarchar(20), h float, i int);
         CREATE TABLE u (id int IDENTITY PRIMARY KEY, code int NOT NULL UNIQUE, t int REFERENCES t (id), n int DEFAULT 1 CHECK (n > 0))",
    );
    run(&mut s, "CREATE TABLE v (id int PRIMARY KEY, n int NOT NULL, name nvarchar(20))");
    measure_texts(&mut s, "INSERT, one row, by its text", "INSERT dbo.v VALUES ({i}, 1, N'a name')", rows);
    measure_texts(&mut s, "UPDATE by key, by its text", "UPDATE dbo.v SET n = n + 1 WHERE id = {i}", rows);
    measure_texts(&mut s, "DELETE by key, by its text", "DELETE dbo.v WHERE id = {i}", rows);
    measure(
        &mut s,
        "INSERT, one row",
        "INSERT INTO t (id, a, b, c, d, e, f, g, h, i) VALUES (@i, @i % 100, @i, 'some text', '2024-01-02 03:04:05', 12.34, 1, N'more text', 1.5, 7)",
        rows,
    );
    measure(&mut s, "UPDATE by key", "UPDATE t SET a = a + 1 WHERE id = @i", rows);
    measure(&mut s, "SELECT by key", "SELECT * FROM t WHERE id = @i", rows);
    measure(&mut s, "SELECT TOP 100 after a key", "SELECT TOP (100) id, a, c FROM t WHERE id > @i ORDER BY id", 1000);
    measure(&mut s, "INSERT with unique, foreign key, check", "INSERT INTO u (code, t) VALUES (@i, @i)", 10_000);
    measure(
        &mut s,
        "BEGIN, INSERT, UPDATE, COMMIT",
        "BEGIN TRAN; UPDATE t SET b = @i WHERE id = @i; UPDATE t SET i = 1 WHERE id = @i; COMMIT",
        10_000,
    );
    measure(&mut s, "DELETE by key", "DELETE FROM u WHERE id = @i + 1", 10_000);
    measure(&mut s, "whole table, ten columns", "SELECT * FROM t", 3);
    measure(&mut s, "COUNT(*)", "SELECT COUNT(*) FROM t", 3);
}
