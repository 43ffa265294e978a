//! One statement: what each kind does, and control of flow.

use std::path::PathBuf;
use std::time::Duration;

use logferry_model::SqlType;

use super::super::ast::{Expr, Stmt, StmtKind};
use super::super::cdc;
use super::super::change::{self, Outcome};
use super::super::error::{Effect, Result, SqlError, unsupported};
use super::super::trigger::{define_trigger, drop_trigger, switch_trigger};
use super::super::value::{Value, to_bytes};
use super::super::{define, types};
use super::select::{cells_of, result_columns};
use super::stop::STOPPED;
use super::{Flow, Out, Session};
use logferry_mssql_standin_storage::Options;

impl Session {
    pub(super) fn kind(&mut self, stmt: &Stmt, out: Out<'_>, in_try: bool) -> Result<Flow> {
        self.refuse_in_transaction(stmt)?;
        match &stmt.kind {
            StmtKind::Select(query) => self.select(query, out)?,
            StmtKind::Insert(insert) => {
                let rows = self.changes(&mut |state, s, v| change::insert(state, s, v, insert))?;
                self.changed(rows, out)?;
            }
            StmtKind::Update(update) => {
                let rows = self.changes(&mut |state, s, v| change::update(state, s, v, update))?;
                self.changed(rows, out)?;
            }
            StmtKind::Delete(delete) => {
                let rows = self.changes(&mut |state, s, v| change::delete(state, s, v, delete))?;
                self.changed(rows, out)?;
            }
            StmtKind::Merge(merge) => {
                let rows = self.changes(&mut |state, s, v| change::merge(state, s, v, merge))?;
                self.changed(rows, out)?;
            }
            StmtKind::InsertExec(insert, exec) => self.insert_exec(insert, exec, out)?,
            StmtKind::DeclareTable(table) => {
                let made = self.waiting(|state, s, _| {
                    define::create_table(state, s, table)?;
                    state.find_table(s, &table.name)
                })?;
                self.scalars.table_variables.extend(made.map(|at| at.table));
            }
            StmtKind::DeclareOf(name, of) => self.declare_of(name, of)?,
            StmtKind::CreateType(table, text) => {
                self.defining_in("CREATE TYPE", |state, s, _| define::create_type(state, s, table, text))?;
                out.done(None);
            }
            StmtKind::DropType { name, if_exists } => {
                self.defining_in("DROP TYPE", |state, s, _| define::drop_type(state, s, name, *if_exists))?;
                out.done(None);
            }
            StmtKind::InsertBulk(bulk) => {
                self.expect_bulk(bulk)?;
                out.done(None);
            }
            StmtKind::Dbcc(name, args) => self.dbcc(name, args, out)?,
            StmtKind::Truncate(name) => {
                self.defining_tables("TRUNCATE TABLE", &[name], |state, s, _| define::truncate(state, s, name))?;
                out.done(None);
            }
            StmtKind::CreateTable(table) => {
                self.defining_tables("CREATE TABLE", &[&table.name], |state, s, _| {
                    define::create_table(state, s, table)?;
                    define::note_indexes(state, s, &table.name)
                })?;
                out.done(None);
            }
            StmtKind::DropTable { names, if_exists } => self.drop_tables(names, *if_exists, out)?,
            StmtKind::CreateIndex(index, table) => {
                self.defining_tables("CREATE INDEX", &[table], |state, s, _| {
                    define::create_index(state, s, index, table)?;
                    define::note_indexes(state, s, table)
                })?;
                out.done(None);
            }
            StmtKind::DropIndex { index, table, if_exists } => {
                self.defining_tables("DROP INDEX", &[table], |state, s, _| {
                    define::drop_index(state, s, index, table, *if_exists)?;
                    define::note_indexes(state, s, table)
                })?;
                out.done(None);
            }
            StmtKind::AlterIndex { index, table, reorganize } => {
                let names: &[&_] = if *reorganize { &[] } else { &[table] };
                self.defining_tables("ALTER INDEX", names, |state, s, _| {
                    define::maintain_index(state, s, index.as_deref(), table, *reorganize)
                })?;
                out.done(None);
            }
            StmtKind::AlterTable(table, change) => {
                self.defining_tables("ALTER TABLE", &[table], |state, s, v| {
                    cdc::check_alter(state, s, table, change)?;
                    define::alter_table(state, s, v, table, change)?;
                    define::note_indexes(state, s, table)
                })?;
                self.note_alter(table, &stmt.text)?;
                out.done(None);
            }
            StmtKind::DefineModule(module) => {
                self.defining_in(module.transaction(), |state, s, _| define::define_module(state, s, module))?;
                out.done(None);
            }
            StmtKind::DropModule { view, names, if_exists } => {
                for name in names {
                    self.defining_in("DROPOBJ", |state, s, _| define::drop_module(state, s, *view, name, *if_exists))?;
                }
                out.done(None);
            }
            StmtKind::DefineTrigger(trigger) => {
                self.defining_in("CREATE/ALTER TRIGGER", |state, s, _| define_trigger(state, s, trigger))?;
                out.done(None);
            }
            StmtKind::DropTrigger { names, if_exists, on_database } => {
                for name in names {
                    self.defining_in("DROPOBJ", |state, s, _| drop_trigger(state, s, name, *if_exists, *on_database))?;
                }
                out.done(None);
            }
            StmtKind::SwitchTrigger { enable, names, on } => {
                self.defining_in("ALTER TABLE", |state, s, _| switch_trigger(state, s, names, on, *enable))?;
                out.done(None);
            }
            StmtKind::CreateSchema(name) => {
                self.defining_in("CREATE SCHEMA", |state, s, _| define::create_schema(state, s, name))?;
                out.done(None);
            }
            StmtKind::Fails(error) => return Err(error.clone()),
            StmtKind::CreateDatabase(name) => {
                self.waiting(|state, s, _| state.create_database(name, s.now, Options::default()).map(drop))?;
                out.done(None);
            }
            StmtKind::Attach(name, files) => {
                let mut paths = Vec::new();
                for file in files {
                    paths.push(PathBuf::from(self.scalar(file)?.as_text().unwrap_or_default()));
                }
                let [data, log] = &paths[..] else {
                    return Err(unsupported("attaching other than one data file and one log file"));
                };
                self.waiting(|state, s, _| state.attach(name, (data, log), s.now))?;
                out.done(None);
            }
            StmtKind::DropDatabase { names, if_exists } => {
                for name in names {
                    self.waiting(|state, s, _| define::drop_database(state, s, name, *if_exists))?;
                }
                out.done(None);
            }
            StmtKind::AlterDatabase { name, options } => {
                self.waiting(|state, s, _| define::alter_database(state, s, name.as_deref(), options))?;
                out.done(None);
            }
            StmtKind::Backup { log, database, path, mirror, differential, overwrite } => {
                let path = self.scalar(path)?.as_text().unwrap_or_default();
                let mirror = mirror.as_ref().map(|mirror| self.scalar(mirror)).transpose()?;
                let mirror = mirror.and_then(|mirror| mirror.as_text()).unwrap_or_default();
                let kind = (*log, *differential);
                self.waiting(|state, _, _| define::backup(state, kind, database, [&path, &mirror], *overwrite))?;
                out.done(None);
            }
            StmtKind::Checkpoint => {
                self.waiting(|state, s, _| {
                    state.db_mut(s.database).storage.checkpoint();
                    Ok(())
                })?;
                out.done(None);
            }
            StmtKind::Declare(list) => {
                for (name, ty, value) in list {
                    let name = name.to_ascii_lowercase();
                    let value = match value {
                        Some(e) => self.typed(e, ty)?,
                        None => Value::Null,
                    };
                    self.variables.borrow_mut().insert(name, (ty.clone(), value));
                }
            }
            StmtKind::SetVar { name, op, value } => {
                let key = name.to_ascii_lowercase();
                let ty = self.variables.borrow().get(&key).map(|(ty, _)| ty.clone());
                let Some(ty) = ty else {
                    return Err(SqlError::batch(137, format!("Must declare the scalar variable \"{name}\".")).class(15));
                };
                let value = match op {
                    Some(op) => {
                        let e = Expr::Binary(*op, Box::new(Expr::Var(name.clone())), Box::new(value.clone()));
                        self.typed(&e, &ty)?
                    }
                    None => self.typed(value, &ty)?,
                };
                self.variables.borrow_mut().insert(key, (ty, value));
                self.scalars.rowcount = 1;
            }
            StmtKind::SetOption(words) => self.set_option(words)?,
            StmtKind::If { test, then, other } => {
                if self.condition(test)? {
                    return self.statement(then, out, in_try);
                }
                if let Some(other) = other {
                    return self.statement(other, out, in_try);
                }
            }
            StmtKind::While { test, body } => {
                while self.condition(test)? {
                    match self.statement(body, out, in_try)? {
                        Flow::Break => break,
                        Flow::Return(status) => return Ok(Flow::Return(status)),
                        Flow::Next | Flow::Continue => {}
                    }
                }
            }
            StmtKind::Block(list) => return self.statements(list, out, in_try),
            StmtKind::TryCatch { body, handler } => match self.statements(body, out, true) {
                Ok(flow) => return Ok(flow),
                Err(e) if e.number == STOPPED => return Err(e),
                // Syntax and names that are not there are errors of the whole batch.
                Err(e) if e.effect == Effect::Batch && matches!(e.number, 102 | 156 | 207 | 208 | 40517) => {
                    return Err(e);
                }
                Err(e) => {
                    let previous = self.scalars.caught.replace(e.last().clone());
                    let flow = self.statements(handler, out, in_try);
                    self.scalars.caught = previous;
                    return flow;
                }
            },
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Return(value) => {
                let status = match value {
                    Some(e) => self.typed(e, &SqlType::Int)?.as_int().unwrap_or(0) as i32,
                    None => 0,
                };
                return Ok(Flow::Return(status));
            }
            StmtKind::Print(e) => {
                let text = self.typed(e, &types::nvarchar(4000))?.as_text().unwrap_or_default();
                out.info(&SqlError { class: 0, line: stmt.line, ..SqlError::new(0, text) });
            }
            StmtKind::RaisError { args, options } => return self.raiserror(args, options, stmt.line, out),
            StmtKind::Throw(args) => {
                let Some((number, rest)) = args.split_first() else {
                    return Err(match self.scalars.caught.clone() {
                        Some(e) => SqlError { effect: Effect::Batch, ..e },
                        None => SqlError::batch(
                            10704,
                            "To rethrow an error, a THROW statement must be used inside a CATCH block. Insert the THROW statement inside a CATCH block, or add error parameters to the THROW statement.",
                        )
                        .class(15),
                    });
                };
                let number = self.typed(number, &SqlType::Int)?.as_int().unwrap_or(50000) as i32;
                let message = match rest.first() {
                    Some(e) => self.typed(e, &types::nvarchar(2048))?.as_text().unwrap_or_default(),
                    None => String::new(),
                };
                let state = match rest.get(1) {
                    Some(e) => self.typed(e, &SqlType::TinyInt)?.as_int().unwrap_or(1) as u8,
                    None => 1,
                };
                return Err(SqlError::batch(number, message).state(state));
            }
            StmtKind::Begin(name) => {
                let change = self.begin(name.as_deref());
                if self.scalars.depth == 1 {
                    out.transaction(change);
                }
                out.done(None);
            }
            StmtKind::Commit => {
                if let Some(change) = self.commit()? {
                    out.transaction(change);
                }
                out.done(None);
            }
            StmtKind::Rollback(name) => {
                if let Some(change) = self.rollback(name.as_deref())? {
                    out.transaction(change);
                }
                out.done(None);
            }
            StmtKind::Save(name) => {
                self.save(name)?;
                out.done(None);
            }
            StmtKind::Use(name) => {
                let found = self.shared.lock().find_database(name);
                let Some(at) = found else {
                    return Err(SqlError::batch(
                        911,
                        format!("Database '{name}' does not exist. Make sure that the name is entered correctly."),
                    ));
                };
                self.scalars.database = at;
                if let Some(row) = self.shared.lock().sessions.get_mut(&self.scalars.spid) {
                    row.database = at;
                }
                let name = self.database();
                out.changed_database(&name);
            }
            StmtKind::WaitDelay(e) => {
                let value = self.typed(e, &SqlType::DateTime)?;
                if let Value::DateTime(days, ticks) = value {
                    let seconds = f64::from(days) * 86_400.0 + f64::from(ticks) / 300.0;
                    self.scalars.stop.sleep(Duration::from_secs_f64(seconds.max(0.0)))?;
                }
                out.done(None);
            }
            StmtKind::Exec { into, name, args } => {
                let mut list = Vec::new();
                let mut targets = Vec::new();
                for (named, e, output) in args {
                    if let Expr::Var(v) = e
                        && let Some(rows) = self.table_argument(v)?
                    {
                        let (ty, value) = self.keep_sent(rows);
                        list.push((named.clone(), ty, value, false));
                        continue;
                    }
                    let (ty, value) = self.evaluate(e)?;
                    if let (true, Expr::Var(v)) = (*output, e) {
                        targets.push((named.clone(), list.len(), v.to_ascii_lowercase()));
                    }
                    list.push((named.clone(), ty, value, *output));
                }
                let (status, outputs) = self.procedure(&name.join("."), list, out)?;
                for (target, (_, _, value)) in targets.iter().zip(outputs) {
                    if let Some(held) = self.variables.borrow_mut().get_mut(&target.2) {
                        held.1 = value;
                    }
                }
                if let Some(into) = into {
                    let key = into.to_ascii_lowercase();
                    if let Some(held) = self.variables.borrow_mut().get_mut(&key) {
                        held.1 = Value::Int(i64::from(status));
                    }
                }
            }
            StmtKind::ExecText(e) => {
                let text = self.typed(e, &types::nvarchar_max())?.as_text().unwrap_or_default();
                let outer = self.variables.take();
                let result = self.nested(&text, out);
                *self.variables.borrow_mut() = outer;
                result?;
            }
        }
        Ok(Flow::Next)
    }

    pub(super) fn changed(&mut self, outcome: Outcome, out: Out<'_>) -> Result<()> {
        self.scalars.rowcount = outcome.count as i64;
        self.fire_rows(outcome.images, out)?;
        if let Some((columns, rows)) = outcome.output {
            out.columns(&result_columns(&columns));
            for row in rows {
                let cells: Vec<Option<Vec<u8>>> =
                    row.iter().zip(&columns).map(|(v, c)| to_bytes(&c.ty, v).unwrap_or(None)).collect();
                if !out.row(&cells_of(&cells)) {
                    break;
                }
            }
        }
        out.done(self.counted(outcome.count));
        Ok(())
    }
}
