//! Tables that are read whole, in front of the changes that follow.

use std::sync::Arc;

use logferry_model::{Change, ChangeOp, EventBatch, Fence, SourceEvent, TableId, TransactionHead, TransactionId};

use super::CdcReader;
use crate::catalog::Table;
use crate::chunks::{self, Boundary};
use crate::error::Error;
use crate::reading::{By, Reading, Work};
use crate::session::Session;
use crate::value::Form;

/// A table that is being read whole.
pub(super) struct Reload {
    table: Arc<Table>,
    boundaries: Vec<Boundary>,
    next: usize,
    reading: Option<Reading>,
}

impl CdcReader {
    /// Tables are read whole before the next changes. Those whose changes are not all there are mended by that, where an instance serves
    /// them from now on.
    pub(crate) fn reload(&mut self, tables: &[TableId]) {
        for id in tables {
            if let Some(instead) = self.gaps.get_mut(id).and_then(|gap| gap.instead.take()) {
                self.gaps.remove(id);
                self.refused.remove(id);
                self.anew.insert(*id);
                self.served.insert(*id, instead);
            }
            let waits = self.reloads.iter().any(|table| table.version.id == *id);
            self.reloads.extend(self.served.get(id).filter(|_| !waits).map(|served| served.table.clone()));
        }
    }

    /// Reads rows of tables that are to be read whole. They are newer than the position: made right by what follows, or, where that must
    /// not be told again, with a fence.
    pub(super) async fn read_whole(
        &mut self,
        session: &mut Session,
        batch: &mut EventBatch,
        bytes_max: usize,
    ) -> Result<(), Error> {
        let at = self.applied.applied;
        batch.events.append(&mut self.events);
        while batch.rows.byte_len() < bytes_max {
            let mut reload = match self.reload.take() {
                Some(reload) => reload,
                None => {
                    let Some(table) = self.reloads.pop_front() else { return Ok(()) };
                    batch.events.push(SourceEvent::Begin(TransactionHead {
                        id: TransactionId::default(),
                        begin_lsn: at.0,
                        commit_lsn: at,
                        commit_time_us: self.applied.commit_time_us,
                        name: "reload".to_owned(),
                    }));
                    let change = Change { lsn: at.0, table: table.version.clone(), op: ChangeOp::Truncate };
                    batch.events.push(SourceEvent::Change(change));
                    let boundaries = match self.is_exact(&table) {
                        true => Vec::new(),
                        false => chunks::boundaries(session, &table, self.chunk_bytes).await?,
                    };
                    Reload { table, boundaries, next: 0, reading: None }
                }
            };
            let mut reading = match reload.reading.take() {
                Some(reading) => reading,
                None if reload.next <= reload.boundaries.len() => {
                    reload.next += 1;
                    Reading::begin(self.part(&reload.table, &reload.boundaries, reload.next - 1))
                }
                None => {
                    batch.events.push(SourceEvent::Commit(self.applied));
                    continue;
                }
            };
            match reading.next().await? {
                Some((store, refs)) => {
                    for row in refs {
                        let after = batch.rows.push_row(store.row(row).cells());
                        let (table, op) = (reload.table.version.clone(), ChangeOp::Insert { after });
                        batch.events.push(SourceEvent::Change(Change { lsn: at.0, table, op }));
                    }
                    reload.reading = Some(reading);
                }
                None => {
                    if let Some(lsn) = reading.fence() {
                        let table = reload.table.version.id;
                        self.fences.insert(table, lsn);
                        self.anew.remove(&table);
                        batch.events.push(SourceEvent::Fenced(Fence { table, lsn }));
                    }
                }
            }
            self.reload = Some(reload);
        }
        Ok(())
    }

    /// Whether no change of a table may be told again that is in its rows, or some that are in them were not captured.
    fn is_exact(&self, table: &Table) -> bool {
        let id = table.version.id;
        let is_exact = self.anew.contains(&id) || self.served.get(&id).is_some_and(|served| served.is_exact());
        self.facts.has_snapshots && is_exact
    }

    /// What reads a part of a table.
    fn part(&self, table: &Arc<Table>, boundaries: &[Boundary], number: usize) -> Work {
        let (filter, values) = chunks::filter(table.order.as_ref(), boundaries, number).unwrap_or_default();
        let form = Form::of(&table.version.columns);
        let is_exact = self.is_exact(table);
        let level =
            if self.facts.has_snapshots && !is_exact { "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; " } else { "" };
        Work {
            by: match is_exact {
                true => By::Fenced(self.pool.clone(), table.clone()),
                false => By::Pool(self.pool.clone()),
            },
            doing: format!("read table \"{}\" anew", table.version.name),
            text: format!("{level}SELECT {} FROM {}", form.select_list(), chunks::rows(table, &filter)),
            values,
            form,
        }
    }
}
