//! DROP TABLE: pages are given back, the rows of the system tables go.
//!
//! In the order of a server (pages first, then `sysallocunits`, `sysrscols`, ... ), but not proven record by record.

use super::space::UnitKind;
use super::system::{OBJECT_STEP, object_lock, system_rowset};
use super::xact::XactOptions;
use super::{By, Database, Error};
use logferry_mssql_format::row::RecordKind;

impl Database {
    /// Drops a table in a transaction of its own.
    ///
    /// # Errors
    /// When an open transaction has changed rows of it.
    pub fn drop_table(&mut self, table: u32) -> Result<(), Error> {
        let rowset = self.table_at(table)?.rowset;
        if self.holder_of_any(table).is_some() {
            return Err(Error::Locked);
        }
        let xact = self.begin(XactOptions { name: "DROPOBJ", ..XactOptions::default() });
        let by = By::Xact(xact.0);
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, table));
        });
        self.flush_counts();
        let mut units = Vec::new();
        for kind in [UnitKind::InRow, UnitKind::Lob, UnitKind::Overflow] {
            let Some(unit) = self.rowset(rowset).units[kind.index()].clone() else { continue };
            self.release_unit(by, rowset, kind);
            units.push(unit.id.to_le_bytes().to_vec());
        }
        let objects = vec![table.to_le_bytes().to_vec(), key_object(table).to_le_bytes().to_vec()];
        let object = vec![table.to_le_bytes().to_vec()];
        let own = vec![rowset.to_le_bytes().to_vec()];
        // sysallocunits, sysrscols, sysrowsets, sysiscols, sysidxstats, syscolpars, sysschobjs: by their first column.
        for (system, ids) in
            [(7, &units), (3, &own), (5, &own), (55, &object), (54, &object), (41, &object), (34, &objects)]
        {
            for key in self.system_keys(system, ids) {
                self.tree_ghost(by, system_rowset(system), &key);
            }
        }
        self.commit(xact)?;
        self.rowsets.remove(&rowset);
        self.tables.remove(&table);
        Ok(())
    }

    /// Keys of the rows of a system table whose first column of the key has one of these values.
    fn system_keys(&self, system: u32, values: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let rowset = self.rowset(system_rowset(system));
        let mut keys = Vec::new();
        for node in rowset.levels.first().into_iter().flatten() {
            let page = self.page(node.page);
            for row in (0..page.slot_count()).filter_map(|slot| page.row(slot)) {
                if RecordKind::of(row[0]).is_ghost() {
                    continue;
                }
                let found = rowset.layout.key_values(row);
                if found.first().is_some_and(|v| values.contains(v)) {
                    keys.push(rowset.layout.key_of_image(row));
                }
            }
        }
        keys
    }
}

/// Object id of a table's primary key: the one that was given out after the table's own.
pub fn key_object(table: u32) -> u32 {
    let id = table + OBJECT_STEP;
    if id > i32::MAX as u32 { id - i32::MAX as u32 } else { id }
}
