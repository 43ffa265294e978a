//! The source as the pipeline knows it.

use std::sync::Arc;

use logferry_model::{
    ChangeSource, Checkpoint, ChunkId, EventBatch, Fault, Fence, Lsn, SnapshotPoint, Start, TableId, TableName,
    TableVersion,
};

use super::chunk::LiveChunkReader;
use super::{Changes, LiveSource, Memo, Mode};
use crate::door::door;

impl ChangeSource for LiveSource {
    type Reader = LiveChunkReader;

    fn tables(&self) -> Vec<Arc<TableVersion>> {
        self.tables.iter().map(|cut| cut.table.version.clone()).collect()
    }

    fn memo(&self) -> Vec<u8> {
        let at = self.checkpoint();
        let cuts = self.tables.iter().filter(|cut| !cut.boundaries.is_empty());
        let wanted = self.tables.iter().map(|cut| (cut.table.version.id, &cut.table.version.name));
        let wanted = wanted.filter(|(_, name)| (self.wanted)(name));
        let memo = Memo {
            id: self.id,
            database: self.lineage.database,
            fork: self.lineage.fork,
            applied: at.applied.0.to_be_bytes(),
            restart: at.restart.0.to_be_bytes(),
            cuts: cuts.map(|cut| (cut.table.version.id.0, cut.boundaries.to_vec())).collect(),
            tables: wanted.map(|(id, name)| (id.0, name.schema.clone(), name.name.clone())).collect(),
        };
        // Without it the copy begins anew after a crash: that is slow, and right.
        serde_json::to_vec(&memo).unwrap_or_default()
    }

    fn recall(&mut self, memo: &[u8]) {
        let memo: Option<Memo> = serde_json::from_slice(memo).ok();
        self.recalled = memo.filter(|m| (m.database, m.fork) == (self.lineage.database, self.lineage.fork));
    }

    fn snapshot(&mut self) -> impl Future<Output = Result<SnapshotPoint, Fault>> + Send {
        door(self.cut_tables())
    }

    fn start(&mut self, start: &Start) -> impl Future<Output = Result<SnapshotPoint, Fault>> + Send {
        let start = start.clone();
        door(async move { self.begin_at(&start).await })
    }

    fn chunks(&self, table: usize) -> Result<Vec<ChunkId>, Fault> {
        let cut = self.cut(table)?;
        let count = cut.boundaries.len() as u64 + 1;
        let bytes_estimate = cut.table.size.map_or(0, |size| size.bytes) / count;
        Ok((0..count as u32).map(|number| ChunkId { table, number, bytes_estimate }).collect())
    }

    fn open_chunk(&self, chunk: &ChunkId) -> Result<LiveChunkReader, Fault> {
        LiveChunkReader::open(self, chunk)
    }

    async fn fixups(&mut self) -> Result<EventBatch, Fault> {
        Ok(EventBatch::default())
    }

    fn not_gone(&mut self, tables: &[(TableId, TableName)]) -> impl Future<Output = Result<Vec<Fault>, Fault>> + Send {
        let tables = tables.to_vec();
        door(async move { self.why_not_gone(&tables).await })
    }

    fn seek(&mut self, checkpoint: Checkpoint) -> impl Future<Output = Result<(), Fault>> + Send {
        door(self.go_on_at(checkpoint))
    }

    fn reload(&mut self, tables: &[TableId]) -> Result<(), Fault> {
        match &mut self.changes {
            Some(changes) => changes.reload(tables),
            None => return Err(Fault::operator("tables can be read once more only where their changes are followed")),
        }
        Ok(())
    }

    fn remember(&mut self, fences: Vec<Fence>) {
        if let Some(changes) = &mut self.changes {
            changes.remember(&fences);
        }
        self.fences = fences;
    }

    fn whole_at(&mut self) -> impl Future<Output = Result<Option<Lsn>, Fault>> + Send {
        door(self.copy_whole_at())
    }

    fn can_add(&self) -> bool {
        self.mode != Mode::Snapshot
    }

    fn add(&mut self, tables: &[TableId], left_out: &[TableId]) -> Result<(), Fault> {
        match &mut self.changes {
            Some(Changes::Log(log)) => log.add(tables),
            Some(Changes::Cdc(cdc)) => cdc.add(tables, left_out)?,
            Some(Changes::Hybrid(hybrid)) => hybrid.add(tables, left_out)?,
            None => {}
        }
        Ok(())
    }

    fn next(&mut self, bytes_max: usize) -> impl Future<Output = Result<Option<EventBatch>, Fault>> + Send {
        door(self.next_changes(bytes_max))
    }
}
