//! Triggers that fire: in the transaction of the statement, which ends with them if they fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::ast::{Stmt, StmtKind};
use super::super::change::Images;
use super::super::error::{Result, SqlError};
use super::super::trigger::{DdlEvent, event_data, events_of};
use super::{Flow, Out, Session};

impl Session {
    /// Runs a statement, and the triggers of what it defines.
    pub(super) fn watched(&mut self, stmt: &Stmt, out: Out<'_>, in_try: bool) -> Result<Flow> {
        let events = self.watched_events(stmt)?;
        let alone = self.scalars.depth == 0;
        if alone && events.is_empty() && !self.rows_watched(stmt) {
            return self.kind(stmt, out, in_try);
        }
        if alone {
            self.begin(None);
        }
        let result = self.kind(stmt, out, in_try).and_then(|flow| {
            for event in &events {
                self.fire_for(event, &stmt.text, out)?;
            }
            Ok(flow)
        });
        if alone && self.scalars.depth > 0 {
            match &result {
                Ok(_) => drop(self.commit()?),
                Err(_) => self.roll_back_all(),
            }
        }
        result
    }

    /// The events of a statement that triggers watch.
    fn watched_events(&mut self, stmt: &Stmt) -> Result<Vec<DdlEvent>> {
        let defines = matches!(
            stmt.kind,
            StmtKind::CreateTable(_)
                | StmtKind::AlterTable(..)
                | StmtKind::DropTable { .. }
                | StmtKind::CreateIndex(..)
                | StmtKind::AlterIndex { .. }
                | StmtKind::DropIndex { .. }
                | StmtKind::CreateSchema(_)
                | StmtKind::DefineModule(_)
                | StmtKind::DropModule { .. }
                | StmtKind::DefineTrigger(_)
                | StmtKind::DropTrigger { .. }
                | StmtKind::Exec { .. }
        );
        if !defines {
            return Ok(Vec::new());
        }
        self.waiting(|state, scalars, _| {
            if !state.db(scalars.database).triggers.values().any(|t| t.table.is_none() && !t.disabled) {
                return Ok(Vec::new());
            }
            events_of(state, scalars, stmt)
        })
    }

    /// Whether a statement changes rows where triggers on tables are.
    fn rows_watched(&self, stmt: &Stmt) -> bool {
        let changes = matches!(
            stmt.kind,
            StmtKind::Insert(_)
                | StmtKind::Update(_)
                | StmtKind::Delete(_)
                | StmtKind::Merge(_)
                | StmtKind::InsertExec(..)
        );
        changes && {
            let state = self.shared.lock();
            state.databases.iter().flatten().any(|db| db.triggers.values().any(|t| t.table.is_some() && !t.disabled))
        }
    }

    /// Runs the triggers of what a statement did to rows.
    pub(super) fn fire_rows(&mut self, images: Vec<Images>, out: Out<'_>) -> Result<()> {
        for images in images {
            let triggers: Vec<(u32, String)> = {
                let state = self.shared.lock();
                let all = state.db(images.database).triggers.iter();
                all.filter(|(_, t)| t.watches_rows(images.table, images.verb))
                    .map(|(id, t)| (*id, t.body.clone()))
                    .collect()
            };
            let outer = self.scalars.images.replace(Arc::new(images));
            let result = triggers.into_iter().try_for_each(|(id, body)| self.fire(id, &body, out));
            self.scalars.images = outer;
            result?;
        }
        Ok(())
    }

    fn fire_for(&mut self, event: &DdlEvent, command: &str, out: Out<'_>) -> Result<()> {
        let (triggers, data) = {
            let state = self.shared.lock();
            let all = state.db(self.scalars.database).triggers.iter();
            let fire: Vec<(u32, String)> =
                all.filter(|(_, t)| t.watches(event.event)).map(|(id, t)| (*id, t.body.clone())).collect();
            (fire, event_data(&state, &self.scalars, event, command))
        };
        let outer = self.scalars.event.replace(Arc::from(data));
        let result = triggers.into_iter().try_for_each(|(id, body)| self.fire(id, &body, out));
        self.scalars.event = outer;
        result
    }

    /// Runs a trigger's text, unless it is what runs now. XACT_ABORT is on in it.
    pub(super) fn fire(&mut self, id: u32, body: &str, out: Out<'_>) -> Result<()> {
        if self.scalars.firing.contains(&id) {
            return Ok(());
        }
        self.scalars.firing.push(id);
        let options = self.scalars.options.clone();
        self.scalars.options.insert("XACT_ABORT".into(), true);
        let (rowcount, identity) = (self.scalars.rowcount, self.scalars.identity);
        let outer = self.variables.replace(BTreeMap::new());
        let result = self.nested(body, out);
        *self.variables.borrow_mut() = outer;
        (self.scalars.rowcount, self.scalars.identity) = (rowcount, identity);
        self.scalars.options = options;
        self.scalars.firing.pop();
        result?;
        match self.scalars.depth {
            0 => Err(SqlError::batch(3609, "The transaction ended in the trigger. The batch has been aborted.")),
            _ => Ok(()),
        }
    }
}
