//! An engine without T-SQL: it knows some statements by heart, and answers what is needed to see TDS at work.
//!
//! | text | answer |
//! |---|---|
//! | `SELECT * FROM all_types` | three rows: every type's least value, its greatest, NULL |
//! | `SELECT * FROM numbers(n)` | n rows of ten columns |
//! | `SELECT @a, @b, …` | the parameters, in the types they were sent as |
//! | `SELECT 1`, `SELECT @@VERSION`, `SELECT @@TRANCOUNT`, … | one cell |
//! | `SELECT 1/0` | error 8134 |
//! | `WAITFOR` | waits until it is told to stop |
//! | `BEGIN TRAN`, `COMMIT`, `ROLLBACK`, `SAVE TRAN` | a transaction, with nothing in it |
//! | `SET …`, `IF @@TRANCOUNT > 0 …` | done |
//! | `EXEC` of `plus_one` | `@n + 1` as output, status 7 |
//! | other text | error 102 |

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use logferry_model::{Cell, SqlType};
use logferry_mssql_standin::tds::{
    Column, Engine, Environment, LATIN1_GENERAL, LoggedIn, Login, Request, Results, Session, SqlError, Stopped,
    Transaction,
};

use crate::all_types;

/// The password of `sa`.
pub const PASSWORD: &str = "Pass;w0rd=\"ü{}";

/// Sessions without tables.
#[derive(Default)]
pub struct Double {
    transactions: std::sync::Arc<AtomicU64>,
}

impl Engine for Double {
    fn login(&self, login: &Login) -> Result<LoggedIn, Vec<SqlError>> {
        if login.user != "sa" || login.password.0 != PASSWORD {
            return Err(vec![SqlError::login_failed(&login.user)]);
        }
        let database = match login.database.as_str() {
            "" => "master",
            known @ ("master" | "standin") => known,
            other => return Err(vec![SqlError::cannot_open_database(other), SqlError::login_failed(&login.user)]),
        };
        let session = DoubleSession { transactions: self.transactions.clone(), depth: 0, transaction: 0 };
        Ok(LoggedIn { session: Box::new(session), database: database.to_owned(), spid: 51, collation: LATIN1_GENERAL })
    }
}

struct DoubleSession {
    transactions: std::sync::Arc<AtomicU64>,
    depth: u32,
    transaction: u64,
}

impl DoubleSession {
    fn begin(&mut self, results: &mut dyn Results) -> Result<(), Stopped> {
        self.depth += 1;
        if self.depth == 1 {
            self.transaction = self.transactions.fetch_add(1, Ordering::Relaxed) + 1;
            results.environment(Environment::Began(self.transaction))?;
        }
        Ok(())
    }

    fn commit(&mut self, results: &mut dyn Results) -> Result<(), Stopped> {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 { results.environment(Environment::Committed(self.transaction)) } else { Ok(()) }
    }

    fn undo(&mut self, results: &mut dyn Results) -> Result<(), Stopped> {
        self.depth = 0;
        results.environment(Environment::RolledBack(self.transaction))
    }

    fn transaction(&mut self, transaction: &Transaction, results: &mut dyn Results) -> Result<(), Stopped> {
        match transaction {
            Transaction::Begin { .. } => self.begin(results)?,
            Transaction::Commit { then_begin, .. } => {
                self.commit(results)?;
                if then_begin.is_some() {
                    self.begin(results)?;
                }
            }
            Transaction::Rollback { name, .. } if !name.is_empty() => {}
            Transaction::Rollback { then_begin, .. } => {
                self.undo(results)?;
                if then_begin.is_some() {
                    self.begin(results)?;
                }
            }
            Transaction::Save { .. } => {}
        }
        results.done(None)
    }

    fn statement(&mut self, line: &str, results: &mut dyn Results) -> Result<(), Stopped> {
        let upper = line.trim().trim_end_matches(';').trim_end().to_ascii_uppercase();
        let upper = upper.strip_prefix("IF @@TRANCOUNT > 0 ").unwrap_or(&upper);
        // How FreeTDS asks for a result's columns.
        let columns_only = upper.strip_prefix("SET FMTONLY ON ").and_then(|rest| rest.strip_suffix(" SET FMTONLY OFF"));
        if columns_only.is_some_and(|rest| rest.starts_with("SELECT * FROM NUMBERS")) {
            return numbers(0, results);
        }
        let none = self.depth == 0;
        match upper {
            "BEGIN TRAN" | "BEGIN TRANSACTION" => {
                self.begin(results)?;
                results.done(None)
            }
            "COMMIT" | "COMMIT TRAN" | "COMMIT TRANSACTION" if none => {
                results.error(&SqlError::new(
                    3902,
                    16,
                    "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.",
                ))?;
                results.done(None)
            }
            "COMMIT" | "COMMIT TRAN" | "COMMIT TRANSACTION" => {
                self.commit(results)?;
                results.done(None)
            }
            "ROLLBACK" | "ROLLBACK TRAN" | "ROLLBACK TRANSACTION" => {
                if !none {
                    self.undo(results)?;
                }
                results.done(None)
            }
            "SELECT 1/0" => {
                results.columns(&[Column { nullable: true, ..Column::new("", SqlType::Int) }])?;
                results.error(&SqlError::new(8134, 16, "Divide by zero error encountered."))?;
                results.done(None)
            }
            "SELECT @@TRANCOUNT" => one(SqlType::Int, &self.depth.to_le_bytes(), results),
            "SELECT @@SPID" => one(SqlType::SmallInt, &51_i16.to_le_bytes(), results),
            "SELECT @@VERSION" => one_text("Microsoft SQL Server 2022: a stand-in", results),
            "SELECT * FROM ALL_TYPES" => {
                let (columns, rows) = all_types::table();
                results.columns(&columns)?;
                for row in &rows {
                    let cells: Vec<_> =
                        row.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Bytes)).collect();
                    results.row(&cells)?;
                }
                results.done(Some(rows.len() as u64))
            }
            "EXEC NESTED ERROR" => {
                let error =
                    SqlError { procedure: "dbo.nested".into(), line: 7, state: 9, ..SqlError::new(50001, 14, "mine") };
                results.error(&error)?;
                results.done(None)
            }
            "PRINT 'HELLO'" => {
                results.error(&SqlError::new(0, 0, "hello"))?;
                results.done(None)
            }
            _ if upper.starts_with("WAITFOR") => loop {
                results.wanted()?;
                sleep(Duration::from_millis(2));
            },
            _ if upper.is_empty() || upper.starts_with("SET ") || upper.starts_with("SAVE TRAN") => results.done(None),
            _ if upper.starts_with("ROLLBACK TRAN ") => results.done(None),
            _ => {
                if let Some(count) = upper.strip_prefix("SELECT * FROM NUMBERS(").and_then(|n| n.strip_suffix(')')) {
                    return numbers(count.parse().unwrap_or(0), results);
                }
                if let Some(text) = line.trim().strip_prefix("SELECT '").and_then(|text| text.strip_suffix('\'')) {
                    return one_text(text, results);
                }
                if let Some(Ok(number)) = upper.strip_prefix("SELECT ").map(str::parse::<i32>) {
                    return one(SqlType::Int, &number.to_le_bytes(), results);
                }
                let near = upper.split_whitespace().next().unwrap_or_default();
                results.error(&SqlError::new(102, 15, format!("Incorrect syntax near '{near}'.")))?;
                results.done(None)
            }
        }
    }
}

impl Session for DoubleSession {
    fn execute(&mut self, request: &Request, results: &mut dyn Results) -> Result<(), Stopped> {
        match request {
            Request::Transaction(transaction) => self.transaction(transaction, results),
            Request::Bulk(_) => results.error(&SqlError::new(50000, 16, "bulk load")),
            Request::Batch(text) => text
                .split(['\n', ';'])
                .filter(|line| !line.trim().is_empty())
                .try_for_each(|line| self.statement(line, results)),
            Request::Sql { text, parameters, .. }
                if text.trim_start().to_ascii_uppercase().starts_with("SELECT @") && !text.contains("@@") =>
            {
                let named = |name: &str| if name.is_empty() { "nameless" } else { name }.to_owned();
                let columns: Vec<_> =
                    parameters.iter().map(|sent| Column::new(named(&sent.name), sent.sql_type.clone())).collect();
                results.columns(&columns)?;
                results.row(&parameters.iter().map(|sent| sent.cell()).collect::<Vec<_>>())?;
                results.done(Some(1))
            }
            Request::Sql { text, .. } => text
                .split(['\n', ';'])
                .filter(|line| !line.trim().is_empty())
                .try_for_each(|line| self.statement(line, results)),
            Request::Procedure { name, parameters } if name == "plus_one" => {
                for (ordinal, sent) in parameters.iter().enumerate().filter(|(_, sent)| sent.output) {
                    let number = parameters
                        .first()
                        .and_then(|first| first.value.as_deref())
                        .and_then(|bytes| bytes.try_into().ok());
                    let next = i32::from_le_bytes(number.unwrap_or_default()) + 1;
                    results.output(ordinal, &sent.name, &SqlType::Int, Cell::Bytes(&next.to_le_bytes()))?;
                }
                results.return_status(7)
            }
            Request::Procedure { name, .. } => results.error(&SqlError {
                state: 62,
                ..SqlError::new(2812, 16, format!("Could not find stored procedure '{name}'."))
            }),
        }
    }

    fn describe(&mut self, sql: &str, _declarations: &str) -> Result<Vec<Column>, SqlError> {
        match sql.contains("BROKEN") {
            true => Err(SqlError::new(102, 15, "Incorrect syntax near 'BROKEN'.")),
            false => Ok(Vec::new()),
        }
    }

    fn roll_back(&mut self, results: &mut dyn Results) -> Result<(), Stopped> {
        if self.depth > 0 { self.undo(results) } else { Ok(()) }
    }

    fn reset(&mut self, keep_transaction: bool, results: &mut dyn Results) -> Result<(), Stopped> {
        if self.depth > 0 && !keep_transaction { self.undo(results) } else { Ok(()) }
    }
}

fn one(sql_type: SqlType, cell: &[u8], results: &mut dyn Results) -> Result<(), Stopped> {
    results.columns(&[Column { nullable: false, ..Column::new("", sql_type) }])?;
    results.row(&[Cell::Bytes(cell)])?;
    results.done(Some(1))
}

fn one_text(text: &str, results: &mut dyn Results) -> Result<(), Stopped> {
    one(SqlType::NVarChar { length: Some(300), collation: LATIN1_GENERAL }, &all_types::utf16(text), results)
}

/// Rows as those of the baselines: about 160 bytes each.
fn numbers(count: u32, results: &mut dyn Results) -> Result<(), Stopped> {
    let collation = LATIN1_GENERAL;
    let column = |name: &str, sql_type| Column { nullable: name != "id", ..Column::new(name, sql_type) };
    results.columns(&[
        column("id", SqlType::Int),
        column("big", SqlType::BigInt),
        column("amount", SqlType::Decimal { precision: 18, scale: 4 }),
        column("at", SqlType::DateTime2 { scale: 7 }),
        column("name", SqlType::NVarChar { length: Some(50), collation }),
        column("note", SqlType::VarChar { length: Some(200), collation }),
        column("uuid", SqlType::UniqueIdentifier),
        column("flag", SqlType::Bit),
        column("ratio", SqlType::Float),
        column("bytes", SqlType::VarBinary { length: Some(16) }),
    ])?;
    let name = all_types::utf16("a name of twenty six units");
    let note = [b'n'; 60];
    let uuid = [7; 16];
    let at = [0, 1, 2, 3, 4, 0x10, 0x40, 0x0B];
    for id in 0..count {
        let big = u64::from(id) * 1_000_003;
        let mut amount = [1; 9];
        amount[1..].copy_from_slice(&u64::from(id).to_le_bytes());
        let ratio = f64::from(id) / 3.0;
        results.row(&[
            Cell::Bytes(&id.to_le_bytes()),
            Cell::Bytes(&big.to_le_bytes()),
            Cell::Bytes(&amount),
            Cell::Bytes(&at),
            Cell::Bytes(&name),
            if id % 10 == 3 { Cell::Null } else { Cell::Bytes(&note) },
            Cell::Bytes(&uuid),
            Cell::Bytes(&[(id % 2) as u8]),
            Cell::Bytes(&ratio.to_le_bytes()),
            Cell::Bytes(&uuid),
        ])?;
    }
    results.done(Some(count.into()))
}
