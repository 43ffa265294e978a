//! Ids that are handed out, and the boot page that remembers some of them.

use logferry_mssql_format::log::op::Context;

use super::super::xact::{SystemXact, Transaction};
use super::super::{BOOT_PAGE, By, Database, Error};
use super::OBJECT_STEP;
use super::definitions::SYSOBJVALUES;
use super::rows::{int, tiny};

/// The transaction that takes object ids, by the 32 characters that a log has of its name.
const TAKES_IDS: &str = "CMEDCatYukonObject::PreAllocateO";
/// How many it takes.
const TAKEN: u32 = 20;
/// The first id of an object of a user's: a server's model database has taken those before. (Observed on 2016 and 2019.)
pub(crate) const FIRST_OBJECT: u32 = 565_577_053;
/// Where the int of `value` is in the row of `sysobjvalues` that says which ids are taken.
const VALUE: usize = 26;

impl Database {
    /// The row of `sysobjvalues` that says which object ids are taken: class 7, object 101, part 34.
    pub(crate) fn insert_taken_ids(&mut self, by: By) {
        let value = [&[0x38, 1][..], &FIRST_OBJECT.to_le_bytes()].concat();
        let row = [taken_ids().to_vec(), vec![Some(value), None]].concat();
        self.insert_system_row(by, SYSOBJVALUES, &row);
    }

    /// An id for an object that a definition makes.
    pub(crate) fn next_object_id(&mut self, xact: Transaction) -> u32 {
        let id = self.promise_object_id();
        self.take_object_id(xact, id);
        id
    }

    /// An id for an object that a definition is about to make, which takes it then.
    ///
    /// # Errors
    /// When nothing may be changed.
    pub fn new_object_id(&mut self) -> Result<u32, Error> {
        self.writable()?;
        Ok(self.promise_object_id())
    }

    /// The same, of what is made by nobody or by a transaction that takes it itself.
    pub(crate) fn promise_object_id(&mut self) -> u32 {
        let id = self.next_object;
        if !self.untaken_objects.is_empty() || id == self.system_word(SYSOBJVALUES, &taken_ids(), VALUE) {
            self.untaken_objects.push(id);
        }
        self.next_object = after(id);
        id
    }

    /// The object of an id is being made. Ids are taken twenty at a time, by a transaction inside of the definition's that stays whatever becomes of it.
    pub(crate) fn take_object_id(&mut self, xact: Transaction, id: u32) {
        while self.untaken_objects.contains(&id) {
            let key = taken_ids();
            let first = self.system_word(SYSOBJVALUES, &key, VALUE);
            let until = (0..TAKEN).fold(first, |id, _| after(id));
            let nested = self.begin_system(xact.0, TAKES_IDS, SystemXact::Inside);
            self.change_system_row(By::Xact(nested), SYSOBJVALUES, &key, VALUE, &until.to_le_bytes());
            self.end_system(nested);
            let taken = self.untaken_objects.len().min(TAKEN as usize);
            self.untaken_objects.drain(..taken);
        }
    }

    /// An id for an allocation unit; the boot page remembers the next one.
    pub(crate) fn next_unit_id(&mut self) -> u64 {
        let id = self.next_unit;
        self.next_unit += 1 << 16;
        // The number is kept shifted: as the upper parts of the id.
        let stored = |id: u64| {
            let mut b = ((id >> 16) as u32).to_le_bytes().to_vec();
            b.extend(((id >> 48) as u32).to_le_bytes());
            b
        };
        self.change_boot(By::None, Context::OBJECT_ID, 736, &stored(self.next_unit), 2);
        id
    }

    /// Changes bytes of the boot page's record.
    pub(crate) fn change_boot(&mut self, by: By, context: Context, offset: u16, after: &[u8], elements: usize) {
        let at = 96 + usize::from(offset);
        let before = self.page(BOOT_PAGE).bytes()[at..at + after.len()].to_vec();
        self.write_page(by, BOOT_PAGE, 0, |r, h, t| {
            r.modify_special(h, context, t, offset, (&before, after), &[], elements);
        });
        self.page_mut(BOOT_PAGE).bytes_mut()[at..at + after.len()].copy_from_slice(after);
    }
}

/// The key of the row that says which object ids are taken.
fn taken_ids() -> [Option<Vec<u8>>; 4] {
    [tiny(7), int(101), int(34), int(0)]
}

/// The object id that is given out after another one.
pub(crate) fn after(id: u32) -> u32 {
    match id + OBJECT_STEP {
        next if next > i32::MAX as u32 => next - i32::MAX as u32,
        next => next,
    }
}
