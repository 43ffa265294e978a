//! Requests to a session: batches, calls, and the prepared statements that the system procedures keep.
//!
//! Like SQL Server, `sp_prepare` keeps the text under a number and `sp_execute` runs it; what a plan would save is not ours to save.

use std::collections::HashMap;

use logferry_model::{Cell, SqlType};

use super::answer::Answer;
use super::request::{Call, Procedure};
use super::session::{Parameter, Request, Results, SentTable, Session, SqlError, Stopped, Transaction};
use super::wire::utf16;

/// What a message asks for.
#[derive(Debug)]
pub(super) enum Work {
    Batch(String),
    Calls(Vec<Call>),
    Transaction(Transaction),
    Bulk(SentTable),
    /// It is answered by this error.
    Refused(SqlError),
    /// The same, and the transaction is rolled back.
    RolledBack(SqlError),
}

impl Work {
    /// What a rule for faults sees.
    pub(super) fn text(&self) -> String {
        match self {
            Work::Batch(text) => text.clone(),
            Work::Calls(calls) => calls.iter().map(text_of_call).collect::<Vec<_>>().join("\n"),
            Work::Bulk(_) => "bulk load".to_owned(),
            Work::Transaction(_) | Work::Refused(_) | Work::RolledBack(_) => String::new(),
        }
    }
}

fn text_of_call(call: &Call) -> String {
    let text = |index| call.parameters.get(index).and_then(text_of).unwrap_or_default();
    match &call.procedure {
        Procedure::ExecuteSql => text(0),
        Procedure::Prepare | Procedure::PrepareExecute => text(2),
        Procedure::Execute => "sp_execute".to_owned(),
        Procedure::Unprepare => "sp_unprepare".to_owned(),
        Procedure::Unknown(number) => Procedure::name_of(*number).to_owned(),
        Procedure::Named(name) => name.clone(),
    }
}

/// Statements by their numbers.
#[derive(Default)]
pub(super) struct Prepared {
    statements: HashMap<i32, Statement>,
    last: i32,
}

#[derive(Clone)]
struct Statement {
    text: String,
    declarations: String,
}

impl Prepared {
    /// Forgets all, as a reset does.
    pub(super) fn clear(&mut self) {
        self.statements.clear();
    }

    pub(super) fn run(&mut self, work: Work, session: &mut dyn Session, answer: &mut Answer) -> Result<(), Stopped> {
        match work {
            Work::Batch(text) => session.execute(&Request::Batch(text), answer),
            Work::Transaction(transaction) => session.execute(&Request::Transaction(transaction), answer),
            Work::Bulk(rows) => session.execute(&Request::Bulk(rows), answer),
            Work::Refused(error) => answer.error(&error),
            Work::RolledBack(error) => {
                session.roll_back(answer)?;
                answer.error(&error)
            }
            Work::Calls(calls) => {
                for call in calls {
                    answer.begin_procedure();
                    match self.call(call, session, answer)? {
                        Ok(()) => {}
                        Err(error) => {
                            answer.return_status(error.number)?;
                            answer.error(&error)?;
                        }
                    }
                    answer.end_procedure()?;
                }
                Ok(())
            }
        }
    }

    fn call(
        &mut self,
        call: Call,
        session: &mut dyn Session,
        answer: &mut Answer,
    ) -> Result<Result<(), SqlError>, Stopped> {
        let mut parameters = call.parameters.into_iter();
        let mut next = || parameters.next();
        let request = match call.procedure {
            Procedure::ExecuteSql => {
                let Some(text) = next().as_ref().and_then(text_of) else { return Ok(Err(expects("@statement"))) };
                let declarations = next().as_ref().and_then(text_of).unwrap_or_default();
                Request::Sql { text, declarations, parameters: parameters.collect() }
            }
            Procedure::Prepare => {
                let name = next().map(|handle| handle.name).unwrap_or_default();
                let declarations = next().as_ref().and_then(text_of).unwrap_or_default();
                let Some(text) = next().as_ref().and_then(text_of) else { return Ok(Err(expects("@stmt"))) };
                let columns = match session.describe(&text, &declarations) {
                    Ok(columns) => columns,
                    Err(error) => {
                        answer.error(&error)?;
                        return Ok(Err(SqlError::new(8180, 16, "Statement(s) could not be prepared.")));
                    }
                };
                if !columns.is_empty() {
                    answer.columns(&columns)?;
                    answer.done(None)?;
                }
                let handle = self.keep(Statement { text, declarations });
                return handle_out(&name, handle, answer).map(Ok);
            }
            Procedure::PrepareExecute => {
                let name = next().map(|handle| handle.name).unwrap_or_default();
                let declarations = next().as_ref().and_then(text_of).unwrap_or_default();
                let Some(text) = next().as_ref().and_then(text_of) else { return Ok(Err(expects("@stmt"))) };
                let handle = self.keep(Statement { text: text.clone(), declarations: declarations.clone() });
                handle_out(&name, handle, answer)?;
                Request::Sql { text, declarations, parameters: parameters.collect() }
            }
            Procedure::Execute => {
                let handle = next().as_ref().and_then(number_of).unwrap_or_default();
                let Some(Statement { text, declarations }) = self.statements.get(&handle).cloned() else {
                    return Ok(Err(no_such_handle(handle)));
                };
                Request::Sql { text, declarations, parameters: parameters.collect() }
            }
            Procedure::Unprepare => {
                let handle = next().as_ref().and_then(number_of).unwrap_or_default();
                return Ok(match self.statements.remove(&handle) {
                    Some(_) => Ok(()),
                    None => Err(no_such_handle(handle)),
                });
            }
            Procedure::Unknown(number) => return Ok(Err(no_such_procedure(Procedure::name_of(number)))),
            Procedure::Named(name) => Request::Procedure { name, parameters: parameters.collect() },
        };
        session.execute(&request, answer).map(Ok)
    }

    fn keep(&mut self, statement: Statement) -> i32 {
        self.last = self.last.wrapping_add(1);
        self.statements.insert(self.last, statement);
        self.last
    }
}

/// The parameter is named as the client named it: `tedious` looks for that.
fn handle_out(name: &str, handle: i32, answer: &mut Answer) -> Result<(), Stopped> {
    answer.output(0, name, &SqlType::Int, Cell::Bytes(&handle.to_le_bytes()))
}

fn text_of(parameter: &Parameter) -> Option<String> {
    match parameter.sql_type {
        SqlType::NVarChar { .. } | SqlType::NChar { .. } | SqlType::NText { .. } => {
            parameter.value.as_deref().map(utf16)
        }
        _ => None,
    }
}

fn number_of(parameter: &Parameter) -> Option<i32> {
    Some(i32::from_le_bytes(parameter.value.as_deref()?.try_into().ok()?))
}

fn expects(parameter: &str) -> SqlError {
    let text = format!("Procedure expects parameter '{parameter}' of type 'ntext/nchar/nvarchar'.");
    SqlError { state: 2, ..SqlError::new(214, 16, text) }
}

fn no_such_handle(handle: i32) -> SqlError {
    SqlError::new(8179, 16, format!("Could not find prepared statement with handle {handle}."))
}

fn no_such_procedure(name: &str) -> SqlError {
    SqlError { state: 62, ..SqlError::new(2812, 16, format!("Could not find stored procedure '{name}'.")) }
}
