//! T-SQL in, rows and errors out: each case is a batch and what it gives, in one line.
//!
//! `1, "a" | 2, null` are rows; `#2` is a count of changed rows; `!208 ...` an error; `i: ...` a message. Results of one batch
//! are separated by ` ; `.

mod tsql {
    pub mod access;
    pub mod attach;
    pub mod catalog;
    pub mod catalog_values;
    pub mod cdc;
    pub mod change;
    pub mod clr;
    pub mod compatibility;
    pub mod constraint;
    pub mod dblog;
    pub mod define;
    pub mod help;
    pub mod index;
    pub mod keep;
    pub mod merge;
    pub mod module;
    pub mod query;
    pub mod session;
    pub mod stored;
    pub mod syntax;
    pub mod trigger;
    pub mod value;
    pub mod views;
    pub mod window;
    pub mod xml;
}

// Where the engine's own tests find real files.
#[path = "../../mssql-standin-storage/src/real/files.rs"]
mod files;

use logferry_model::{Cell, SqlType};
use logferry_mssql_format::render;
use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, Server, Session, SqlError};
use logferry_mssql_standin_storage::Options;

/// What a batch gave, as text.
#[derive(Default)]
struct Seen {
    types: Vec<SqlType>,
    nullable: Vec<bool>,
    rows: Vec<String>,
    open: bool,
    out: Vec<String>,
    /// Of errors and messages.
    numbers: Vec<i32>,
}

impl Seen {
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let rows = std::mem::take(&mut self.rows);
            self.out.push(if rows.is_empty() { "(none)".into() } else { rows.join(" | ") });
        }
    }
}

impl ResultSink for Seen {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.close();
        self.types = columns.iter().map(|c| c.sql_type.clone()).collect();
        self.nullable = columns.iter().map(|c| c.nullable).collect();
        self.open = true;
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        assert_eq!(cells.len(), self.types.len(), "a row that is not of its columns");
        for (at, (cell, nullable)) in cells.iter().zip(&self.nullable).enumerate() {
            assert!(*nullable || cell.bytes().is_some(), "NULL in column {at}, which says that it has none");
        }
        let cells: Vec<String> = cells
            .iter()
            .zip(&self.types)
            .map(|(cell, ty)| {
                let mut text = String::new();
                render::cell(*cell, ty, &mut text);
                text
            })
            .collect();
        self.rows.push(cells.join(", "));
        true
    }

    fn done(&mut self, rows: Option<u64>) {
        if self.open {
            return self.close();
        }
        if let Some(n) = rows {
            self.out.push(format!("#{n}"));
        }
    }

    fn info(&mut self, message: &SqlError) {
        self.numbers.push(message.number);
        if message.number != 3621 {
            self.out.push(format!("i: {}", message.message));
        }
    }

    fn error(&mut self, error: &SqlError) {
        self.numbers.push(error.number);
        self.close();
        self.out.push(format!("!{} {}", error.number, error.message));
    }

    fn changed_database(&mut self, name: &str) {
        self.out.push(format!("use {name}"));
    }

    fn output(&mut self, name: &str, sql_type: &SqlType, bytes: Option<&[u8]>) {
        let mut text = String::new();
        render::cell(bytes.map_or(Cell::Null, Cell::Bytes), sql_type, &mut text);
        self.out.push(format!("{name}={text}"));
    }
}

pub(crate) fn server() -> Server {
    let server = Server::new("STANDIN").expect("a server starts");
    server.create_database("shop", Options::default()).expect("a database is made");
    server
}

/// A server that has Northwind as `nw`, where the real files are.
fn with_northwind() -> Option<Server> {
    let pair = files::fixtures()?.join("pairs/northwind-2008");
    let server = server();
    server.attach_database("nw", &pair.join("northwnd.mdf"), &pair.join("northwnd.ldf")).expect("the pair is attached");
    Some(server)
}

pub(crate) fn connect(server: &Server) -> Session {
    server
        .connect(&Login { name: "sa".into(), host: "here".into(), program: "test".into(), database: "shop".into() })
        .expect("the session begins")
}

pub(crate) fn run(session: &mut Session, sql: &str) -> String {
    let mut seen = Seen::default();
    // Errors are in what was seen.
    let _status = session.execute(sql, &[], &mut seen);
    seen.close();
    seen.out.join(" ; ")
}

/// The numbers of all errors and messages.
pub(crate) fn numbers(session: &mut Session, sql: &str) -> Vec<i32> {
    let mut seen = Seen::default();
    let _status = session.execute(sql, &[], &mut seen);
    seen.numbers
}

/// Runs all cases in one session, in their order; says all that differ.
#[track_caller]
pub(crate) fn check(session: &mut Session, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (sql, expect) in cases {
        let found = run(session, sql);
        if found != *expect {
            wrong.push_str(&format!("\n{sql}\n  expected {expect}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
