//! The rows of a chunk.

use logferry_model::{Cell, ChunkId, ChunkReader, Fault, Fill, Lsn};

use super::LiveSource;
use crate::catalog::Isolation;
use crate::chunks;
use crate::reading::{By, Reading, Work};
use crate::value::Form;

/// Reads the rows of a chunk.
pub struct LiveChunkReader(State);

impl LiveChunkReader {
    pub(super) fn open(source: &LiveSource, chunk: &ChunkId) -> Result<Self, Fault> {
        let cut = source.cut(chunk.table)?;
        if let Some(why) = source.changes.as_ref().and_then(|changes| changes.refused(&cut.table.version)) {
            return Err(why);
        }
        let filter = chunks::filter(cut.table.order.as_ref(), &cut.boundaries, chunk.number as usize);
        let (filter, values) =
            filter.ok_or_else(|| Fault::bug(format!("table {} has no chunk {}", chunk.table, chunk.number)))?;
        let form = Form::of(&cut.table.version.columns);
        let fenced = source.changes.as_ref().is_some_and(|changes| changes.is_fenced(cut.table.version.id));
        let level = match source.database.isolation {
            // The transaction of a fence sees one moment by itself.
            Isolation::Snapshot if !fenced => "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; ",
            _ => "",
        };
        let text = format!("{level}SELECT {} FROM {}", form.select_list(), chunks::rows(&cut.table, &filter));
        let doing = format!("read table \"{}\"", cut.table.version.name);
        let by = match fenced {
            true => By::Fenced(source.pool.clone(), cut.table.clone()),
            false => By::Pool(source.pool.clone()),
        };
        let work = Work { by, doing, text, values, form };
        Ok(LiveChunkReader(State::NotBegun(Some(Box::new(work)))))
    }
}

enum State {
    NotBegun(Option<Box<Work>>),
    Reading(Reading),
}

impl ChunkReader for LiveChunkReader {
    async fn fill(
        &mut self,
        visit: &mut (dyn for<'a> FnMut(&[Cell<'a>]) -> Result<(), Fault> + Send),
    ) -> Result<Fill, Fault> {
        if let State::NotBegun(work) = &mut self.0 {
            let work = work.take().ok_or_else(|| Fault::bug("a chunk is read that was not opened"))?;
            self.0 = State::Reading(Reading::begin(*work));
        }
        let State::Reading(reading) = &mut self.0 else {
            return Err(Fault::bug("a chunk is read that was not opened"));
        };
        let Some((store, refs)) = reading.next().await? else { return Ok(Fill::End) };
        let mut cells = Vec::new();
        for row in refs {
            cells.clear();
            cells.extend(store.row(row).cells());
            visit(&cells)?;
        }
        Ok(Fill::More)
    }

    fn fence(&self) -> Option<Lsn> {
        match &self.0 {
            State::Reading(reading) => reading.fence(),
            State::NotBegun(_) => None,
        }
    }
}
