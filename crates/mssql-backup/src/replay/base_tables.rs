//! What changes of base tables mean: the catalog is stale, a table is another one, or lost its rows.

use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{PageOp, Record};
use logferry_mssql_format::page::RowId;

use super::Replay;
use crate::error::Error;
use crate::pending::{RawChange, RawOp};

// Base tables by the object id of their pages. What 2005 has instead of sysrscols counts as the same.
pub(super) const SYSRSCOLS: u32 = 3;
pub(super) const SYSROWSETCOLUMNS_2005: u32 = 4;
pub(super) const SYSROWSETS: u32 = 5;
pub(super) const SYSALLOCUNITS: u32 = 7;
pub(super) const SYSHOBTCOLUMNS_2005: u32 = 13;
pub(super) const SYSSCHOBJS: u32 = 34;
pub(super) const SYSCOLPARS: u32 = 41;
pub(super) const SYSSCALARTYPES: u32 = 50;
pub(super) const SYSIDXSTATS: u32 = 54;
pub(super) const SYSISCOLS: u32 = 55;
pub(super) const SYSCLSOBJS: u32 = 64;

/// Those whose rows are looked at.
pub(super) const HAVE_IDS: [u32; 6] = [SYSROWSETS, SYSALLOCUNITS, SYSSCHOBJS, SYSCOLPARS, SYSIDXSTATS, SYSISCOLS];

impl Replay {
    /// Sees what a change of a base table means.
    pub(super) fn base_table_changed(&mut self, record: &Record<'_>, op: &PageOp) -> Result<(), Error> {
        if !matches!(record.op, Op::INSERT_ROWS | Op::DELETE_ROWS | Op::MODIFY_ROW | Op::MODIFY_COLUMNS)
            || matches!(record.context, Context::INDEX_LEAF | Context::INDEX_INTERIOR | Context::SCHEMA_VERSION)
        {
            return Ok(());
        }
        let is_change = matches!(record.op, Op::MODIFY_ROW | Op::MODIFY_COLUMNS);
        // Where a table's description has the id of the object; counts and the like are no change of it.
        let object_at = match op.obj_id {
            SYSSCHOBJS | SYSCOLPARS | SYSIDXSTATS | SYSISCOLS => Some(4),
            SYSROWSETS => Some(13),
            SYSALLOCUNITS if !is_change => None,
            SYSRSCOLS | SYSROWSETCOLUMNS_2005 | SYSHOBTCOLUMNS_2005 | SYSSCALARTYPES | SYSCLSOBJS => None,
            SYSALLOCUNITS => {
                self.unit_changed(record)?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.shapes.mark_stale();
        let id = record.transaction;
        if op.obj_id == SYSIDXSTATS && is_change && !record.is_compensation() && !id.is_none() {
            const ROWSET_AT: usize = 31;
            let rowset = |row| logferry_mssql_format::bytes::u64_at(row, ROWSET_AT, "rowset of an index").ok();
            if let Some(rowset) = rowset(&self.images.after).filter(|now| rowset(&self.images.before) != Some(*now)) {
                self.assembler.transaction(id, record.lsn).pointed.insert(rowset, record.lsn);
            }
        }
        if let Some(at) = object_at
            && !id.is_none()
        {
            let image = match record.op {
                Op::INSERT_ROWS | Op::DELETE_ROWS => record.element(0),
                _ => &self.images.after,
            };
            if let Ok(object) = logferry_mssql_format::bytes::u32_at(image, at, "object id") {
                self.assembler.transaction(id, record.lsn).objects.insert(object);
            }
        }
        Ok(())
    }

    /// A change of sysallocunits: a rowset whose rows lose their pages was truncated, or is being dropped.
    fn unit_changed(&mut self, record: &Record<'_>) -> Result<(), Error> {
        const KIND_AT: usize = 12;
        const OWNER_AT: usize = 13;
        const OWNER: std::ops::Range<usize> = OWNER_AT..21;
        const FIRST_IAM: std::ops::Range<usize> = 39..45;
        let (before, after) = (self.images.before.get(FIRST_IAM), self.images.after.get(FIRST_IAM));
        if self.images.before.get(OWNER) != self.images.after.get(OWNER) && !record.transaction.is_none() {
            self.shapes.mark_stale();
            self.assembler.transaction(record.transaction, record.lsn).switches = true;
        }
        let emptied = before.is_some_and(|iam| iam != [0; 6]) && after == Some(&[0; 6]);
        if !emptied || self.images.before.get(KIND_AT) != Some(&1) || record.is_compensation() {
            return Ok(());
        }
        let rowset =
            logferry_mssql_format::bytes::u64_at(&self.images.before, OWNER_AT, "owner of an allocation unit")?;
        let id = record.transaction;
        if let Some(shape) = self.shapes.of_rowset(rowset, &self.store)?
            && !id.is_none()
            && !self.assembler.is_system(id)
        {
            self.assembler.transaction(id, record.lsn).truncated.insert(rowset);
            let change = RawChange {
                lsn: record.lsn,
                op: RawOp::Truncate,
                shape,
                row: RowId::default(),
                before: &[],
                after: &[],
            };
            self.assembler.change(id, &change)?;
        }
        Ok(())
    }
}
