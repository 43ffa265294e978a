//! Tables that are to be read once more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use logferry_model::{ChangeSource, Fault, TableId, TableVersion};
use logferry_pg_apply::{KnownTable, ReloadRequest, TaskTarget};
use tracing::{info, warn};

use super::Runner;
use crate::plans::Plans;

impl Runner<'_> {
    /// Tables that are to be read once more: those that this run was started for, and those that somebody has asked for since.
    pub(super) async fn requests(
        &self,
        target: &TaskTarget,
        known: &[KnownTable],
        tables: &[Arc<TableVersion>],
    ) -> Result<Vec<ReloadRequest>, Fault> {
        if !self.task.follows_server() {
            return match self.task.reload.is_empty() {
                true => Ok(Vec::new()),
                false => {
                    Err(Fault::operator("tables can be read once more only where the changes of a server are followed"))
                }
            };
        }
        let there = |id: TableId| {
            known.iter().any(|known| match known {
                KnownTable::There(table) | KnownTable::Kept(table) => table.source_id == id,
                KnownTable::LeftOut(_) => false,
            })
        };
        if !self.has_asked.load(Ordering::Relaxed) {
            let is_named = |t: &&Arc<TableVersion>| {
                self.task.reload.iter().any(|name| t.name.to_string().eq_ignore_ascii_case(name)) && there(t.id)
            };
            let named: Vec<TableId> = tables.iter().filter(is_named).map(|t| t.id).collect();
            target.request_reloads(&named).await?;
            self.has_asked.store(true, Ordering::Relaxed);
        }
        let mut requests = target.reload_requests().await?;
        let is_gone = |request: &ReloadRequest| !there(request.table) || !tables.iter().any(|t| t.id == request.table);
        for gone in requests.extract_if(.., |request| is_gone(request)) {
            warn!(table = gone.table.0, "a table that was to be read once more is gone: that is forgotten");
            target.forget_reload(gone).await?;
        }
        Ok(requests)
    }

    /// Has tables read once more: those that are asked for.
    pub(super) fn reload<S: ChangeSource>(
        &self,
        source: &mut S,
        plans: &Plans,
        new: &[TableId],
        requests: &[ReloadRequest],
    ) -> Result<(), Fault> {
        let tables = source.tables();
        for name in &self.task.reload {
            let mut called = tables.iter().filter(|t| t.name.to_string().eq_ignore_ascii_case(name));
            if !called.any(|t| new.contains(&t.id) || plans.of(t).is_some()) {
                return Err(Fault::operator(format!("the task has no table \"{name}\" to be read once more"))
                    .with_hint("give it as schema.table, with the schema and name that it has on the source"));
            }
        }
        let mut ids = Vec::new();
        for table in tables.iter().filter(|t| plans.of(t).is_some() && !new.contains(&t.id)) {
            if requests.iter().any(|request| request.table == table.id) {
                info!(table = %table.name, "the table is read once more");
                ids.push(table.id);
            }
        }
        if ids.is_empty() { Ok(()) } else { source.reload(&ids) }
    }
}
