//! Nonclustered indexes: what system tables say of them. They have no pages, and changes of rows no records for them.

use super::system::definitions::{SYSIDXSTATS, SYSISCOLS};
use super::system::{int, text, tiny};
use super::{By, Database, Error};

/// Bits of `sysidxstats.status`: an index, unique, a primary key, a unique constraint.
const INDEX: u32 = 0x0008_0003;
const UNIQUE: u32 = 0x8;
const PRIMARY_KEY: u32 = 0x20;
const UNIQUE_CONSTRAINT: u32 = 0x40;
/// Bits of `sysiscols.status`: a column of the key, in descending order, included.
const KEY_COLUMN: u32 = 0x3;
const DESCENDING: u32 = 0x4;
const INCLUDED: u32 = 0x10;
const NONCLUSTERED: u8 = 2;

/// A nonclustered index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDef {
    /// `index_id`, from 2.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Whether no key is there twice.
    pub unique: bool,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether it is a constraint's.
    pub constraint: bool,
    /// `column_id`s of the key, with whether they are in descending order.
    pub columns: Vec<(u32, bool)>,
    /// `column_id`s of included columns.
    pub included: Vec<u32>,
}

impl Database {
    /// Makes the nonclustered indexes of a table what a list says.
    pub fn set_indexes(&mut self, table: u32, wanted: &[IndexDef]) -> Result<(), Error> {
        self.table_at(table)?;
        let known = self.indexes.get(&table).cloned().unwrap_or_default();
        if known == wanted {
            return Ok(());
        }
        self.writable()?;
        for index in known.iter().filter(|i| !wanted.contains(i)) {
            let xact = self.begin_ddl("DROP INDEX", table);
            self.forget_index(By::Xact(xact.0), table, index);
            self.commit(xact)?;
        }
        for index in wanted.iter().filter(|i| !known.contains(i)) {
            let xact = self.begin_ddl(if index.constraint { "ALTER TABLE" } else { "CREATE INDEX" }, table);
            self.write_index(By::Xact(xact.0), table, index);
            self.commit(xact)?;
        }
        self.indexes.insert(table, wanted.to_vec());
        Ok(())
    }

    /// Takes the rows of all indexes of a table out of the system tables.
    pub(super) fn forget_indexes(&mut self, by: By, table: u32) {
        for index in self.indexes.remove(&table).unwrap_or_default() {
            self.forget_index(by, table, &index);
        }
    }

    fn write_index(&mut self, by: By, table: u32, index: &IndexDef) {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        let status = INDEX
            | bit(index.unique, UNIQUE)
            | bit(index.primary, PRIMARY_KEY)
            | bit(index.constraint && !index.primary, UNIQUE_CONSTRAINT);
        let row = vec![
            int(table),
            int(index.id),
            text(&index.name),
            int(status),
            int(0),
            tiny(0),
            tiny(NONCLUSTERED),
            tiny(0),
            int(1),
            int(0),
            Some(0i64.to_le_bytes().to_vec()),
        ];
        self.insert_system_row(by, SYSIDXSTATS, &row);
        let key = index.columns.iter().map(|(id, descending)| (*id, KEY_COLUMN | bit(*descending, DESCENDING), true));
        let included = index.included.iter().map(|id| (*id, INCLUDED, false));
        for (at, (column, status, is_key)) in key.chain(included).enumerate() {
            let place = at as u8 + 1;
            let row = vec![
                int(table),
                int(index.id),
                int(u32::from(place)),
                int(status),
                int(column),
                tiny(if is_key { place } else { 0 }),
                tiny(0),
                tiny(0),
                tiny(0),
            ];
            self.insert_system_row(by, SYSISCOLS, &row);
        }
    }

    fn forget_index(&mut self, by: By, table: u32, index: &IndexDef) {
        self.delete_system_row(by, SYSIDXSTATS, &[int(table), int(index.id)]);
        for at in 1..=index.columns.len() + index.included.len() {
            self.delete_system_row(by, SYSISCOLS, &[int(table), int(index.id), int(at as u32)]);
        }
    }
}
