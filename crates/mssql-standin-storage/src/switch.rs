//! Partitions, as system tables tell them: tables whose rows change places, or go to another table.

use super::system::definitions::{SYSIDXSTATS, SYSROWSETS};
use super::system::{int, long};
use super::{By, Database, Error};

/// What of two tables changes places in a SWITCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchBy {
    /// The rowsets, with all that they have.
    Rowsets,
    /// The allocation units of the rowsets.
    Units,
}

impl Database {
    /// Makes the rows of a table the second partition of another one of the same columns, in the system tables alone: so a partitioned table looks
    /// to readers, while the engine knows two tables.
    ///
    /// # Errors
    /// When a transaction has changed one of the tables and not ended.
    pub fn lend_partition(&mut self, from: u32, to: u32) -> Result<(), Error> {
        self.writable()?;
        let rowset = self.unlocked(from)?.rowset;
        self.unlocked(to)?;
        let xact = self.begin_ddl("ALTER TABLE", from);
        let owner = [&to.to_le_bytes()[..], &1u32.to_le_bytes(), &2u32.to_le_bytes()].concat();
        self.change_system_row(By::Xact(xact.0), SYSROWSETS, &[long(rowset)], 13, &owner);
        self.commit(xact).map(drop)
    }

    /// ALTER TABLE SWITCH between two tables of the same columns: their rows change places, which only system tables tell.
    ///
    /// How a server writes it down is not known: no log with one is at hand. Both ways that there are can be had.
    ///
    /// # Errors
    /// When a transaction has changed one of the tables and not ended.
    pub fn switch_table(&mut self, from: u32, to: u32, by: SwitchBy) -> Result<(), Error> {
        self.writable()?;
        let (a, b) = (self.unlocked(from)?.rowset, self.unlocked(to)?.rowset);
        self.flush_counts();
        let xact = self.begin_ddl("ALTER TABLE", from);
        let writer = By::Xact(xact.0);
        match by {
            SwitchBy::Rowsets => {
                let index = self.rowset(a).index_id;
                for (rowset, owner) in [(a, to), (b, from)] {
                    self.change_system_row(writer, SYSROWSETS, &[long(rowset)], 13, &owner.to_le_bytes());
                    let key = [int(owner), int(index)];
                    self.change_system_row(writer, SYSIDXSTATS, &key, 31, &rowset.to_le_bytes());
                    self.rowset_mut(rowset).object_id = owner;
                }
            }
            SwitchBy::Units => {
                for (rowset, owner) in [(a, b), (b, a)] {
                    let units: Vec<u64> = self.rowset(rowset).units.iter().flatten().map(|unit| unit.id).collect();
                    for unit in units {
                        let (page, slot) = self.find_alloc_unit(unit);
                        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
                        row[13..21].copy_from_slice(&owner.to_le_bytes());
                        self.modify_system_row(writer, page, slot, &row);
                    }
                }
                let (units, levels, rows) = {
                    let held = self.rowset(b);
                    (held.units.clone(), held.levels.clone(), held.rows)
                };
                let held = self.rowset_mut(a);
                let units = std::mem::replace(&mut held.units, units);
                let levels = std::mem::replace(&mut held.levels, levels);
                let rows = std::mem::replace(&mut held.rows, rows);
                let held = self.rowset_mut(b);
                (held.units, held.levels, held.rows) = (units, levels, rows);
            }
        }
        self.commit(xact)?;
        let committed = std::mem::take(&mut self.tables.get_mut(&from).expect("it is there").committed);
        let other = self.tables.get_mut(&to).expect("it is there");
        let committed = std::mem::replace(&mut other.committed, committed);
        if by == SwitchBy::Rowsets {
            other.rowset = a;
        }
        let this = self.tables.get_mut(&from).expect("it is there");
        this.committed = committed;
        if by == SwitchBy::Rowsets {
            this.rowset = b;
        }
        Ok(())
    }
}
