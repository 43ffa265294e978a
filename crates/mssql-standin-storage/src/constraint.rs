//! Defaults, checks, foreign keys, and keys kept by nonclustered indexes: what system tables say of them. Whoever changes rows sees to it that they are kept.
//!
//! | kind | `sysschobjs` | other rows |
//! |---|---|---|
//! | default | `D `, status 0x20000, `intprop` the column | its text in `sysobjvalues`, `syscolpars.dflt` |
//! | check | `C `, status 0x120000, `intprop` its column; of several columns 0x20000 and 0 | its text in `sysobjvalues`; `sysmultiobjrefs`: class 1, each column that it names |
//! | key | `PK`, `UQ` | `syssingleobjrefs`: class 93 on its index |
//! | foreign key | `F `, `intprop` its first column; not trusted until the rows were looked at | `syssingleobjrefs`: class 27 on the key it refers to, 28 and 29 by column |
//!
//! Status 4: the server made the name up; 0x100: disabled; 0x200: not for replication (not seen in a file); 0x400: not trusted. The text stands as `varchar` in `imageval`; `value` is the int 2. (Observed on 2008, 2016 and
//! 2019; checks of several columns are in none of these files, nor is a check in a log: the order of its rows is that of procedures.)

use super::system::definitions::{SYSCOLPARS, SYSMULTIOBJREFS, SYSOBJVALUES, SYSSCHOBJS};
use super::system::{CLASS_CONSTRAINT, int, object_lock, short, tiny};
use super::xact::{Transaction, XactOptions};
use super::{By, Database, Error};

/// Bits of `sysschobjs.status`: named by the server; a default or a check.
pub(super) const SYSTEM_NAMED: u32 = 0x4;
const EXPRESSION: u32 = 0x2_0000;
const OF_COLUMN: u32 = 0x10_0000;
pub(super) const DISABLED: u32 = 0x100;
pub(super) const NOT_FOR_REPLICATION: u32 = 0x200;
pub(super) const NOT_TRUSTED: u32 = 0x400;
/// Offset of `status` in rows of `sysschobjs`.
const STATUS: usize = 13;
/// Offset of `dflt` in rows of `syscolpars`.
const DEFAULT: usize = 37;
/// `sysobjvalues.valclass` of texts.
pub(super) const TEXT: u8 = 1;
/// Class of `sysmultiobjrefs`: what may not change while it is named.
const BOUND: u8 = 1;
/// Classes of `syssingleobjrefs`: a foreign key on the key it refers to, its columns, those that they refer to.
pub(super) const REFERENCE: [u8; 3] = [0x1B, 0x1C, 0x1D];

/// A default, a check or a foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintDef {
    /// Its object id.
    pub object: u32,
    /// Its name.
    pub name: String,
    /// Whether the server made the name up.
    pub system_named: bool,
    /// What it is.
    pub kind: ConstraintKind,
    /// Of checks and foreign keys: whether it is kept.
    pub switch: ConstraintSwitch,
}

/// Whether a check or a foreign key is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConstraintSwitch {
    /// Rows are not held to it.
    pub disabled: bool,
    /// There may be rows that do not keep it.
    pub not_trusted: bool,
    /// Replication is not held to it.
    pub not_for_replication: bool,
}

/// What a constraint asks for; columns by `column_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// DEFAULT: column, text with its parentheses.
    Default(u32, String),
    /// CHECK
    Check {
        /// Its column, if it is one's.
        column: Option<u32>,
        /// Its text.
        text: String,
        /// The columns that the text names, in their order.
        named: Vec<u32>,
    },
    /// PRIMARY KEY or UNIQUE of a nonclustered index, which is named by its id.
    Key {
        /// PRIMARY KEY
        primary: bool,
        /// `index_id`
        index: u32,
    },
    /// FOREIGN KEY: columns with those that they refer to, the table and the index of the key there.
    Foreign {
        /// own column, column of the other table
        columns: Vec<(u32, u32)>,
        /// object id of the other table
        table: u32,
        /// index that keeps the key there
        index: u32,
    },
}

impl ConstraintSwitch {
    fn bits(self) -> u32 {
        [(self.disabled, DISABLED), (self.not_for_replication, NOT_FOR_REPLICATION), (self.not_trusted, NOT_TRUSTED)]
            .into_iter()
            .filter_map(|(on, bit)| on.then_some(bit))
            .sum()
    }
}

impl ConstraintDef {
    fn same_but_switch(&self, other: &ConstraintDef) -> bool {
        (self.object, &self.name, self.system_named, &self.kind)
            == (other.object, &other.name, other.system_named, &other.kind)
    }
}

impl ConstraintKind {
    fn code(&self) -> [u8; 2] {
        match self {
            ConstraintKind::Default(..) => *b"D ",
            ConstraintKind::Check { .. } => *b"C ",
            ConstraintKind::Key { primary: true, .. } => *b"PK",
            ConstraintKind::Key { primary: false, .. } => *b"UQ",
            ConstraintKind::Foreign { .. } => *b"F ",
        }
    }

    fn column(&self) -> u32 {
        match self {
            ConstraintKind::Default(column, _) => *column,
            ConstraintKind::Check { column, .. } => column.unwrap_or(0),
            ConstraintKind::Key { .. } => 0,
            ConstraintKind::Foreign { columns, .. } => columns.first().map_or(0, |(own, _)| *own),
        }
    }
}

impl Database {
    /// Makes the constraints of a table what a list says; keys are not among them.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn set_constraints(&mut self, table: u32, wanted: &[ConstraintDef]) -> Result<(), Error> {
        let schema = self.table_at(table)?.def.schema.clone();
        let known = self.constraints.get(&table).cloned().unwrap_or_default();
        if known == wanted {
            return Ok(());
        }
        self.writable()?;
        let schema = self.schemas.get(&schema).copied().unwrap_or(1);
        let is_in = |list: &[ConstraintDef], c: &ConstraintDef| list.iter().any(|other| other.same_but_switch(c));
        for gone in known.iter().filter(|c| !is_in(wanted, c)) {
            let xact = self.begin_ddl("ALTER TABLE", table);
            self.drop_constraint(By::Xact(xact.0), table, gone);
            self.end_definition(xact)?;
        }
        self.write_switches(table, &known, wanted)?;
        for new in wanted.iter().filter(|c| !is_in(&known, c)) {
            // Its index or its column has locked the table.
            let locked = matches!(new.kind, ConstraintKind::Key { .. }) || self.is_of_new_column(table, new);
            let xact = match locked {
                true => {
                    let options = XactOptions { name: "ALTER TABLE", ..XactOptions::default() };
                    self.begin_definition(options, Some(table))
                }
                false => self.begin_ddl("ALTER TABLE", table),
            };
            self.write_constraint(xact, table, schema, new);
            self.end_definition(xact)?;
        }
        self.constraints.insert(table, wanted.to_vec());
        Ok(())
    }

    /// CHECK or NOCHECK CONSTRAINT ALL of a table that has none.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn switch_nothing(&mut self, table: u32) -> Result<(), Error> {
        self.writable()?;
        self.unlocked(table)?;
        let xact = self.begin_ddl("ALTER TABLE", table);
        self.lock_identity(By::Xact(xact.0), table);
        self.end_definition(xact)?;
        Ok(())
    }

    fn write_switches(&mut self, table: u32, known: &[ConstraintDef], wanted: &[ConstraintDef]) -> Result<(), Error> {
        let mut switched: Vec<(ConstraintSwitch, &ConstraintDef)> = (wanted.iter())
            .filter_map(|c| Some((known.iter().find(|old| old.same_but_switch(c))?.switch, c)))
            .filter(|(before, c)| *before != c.switch)
            .collect();
        if !switched.is_empty() {
            // As a server has them: the last one first.
            switched.sort_by_key(|(_, c)| std::cmp::Reverse(c.object));
            let xact = self.begin_ddl("ALTER TABLE", table);
            if !switched.iter().any(|(before, c)| is_checked(*before, c)) {
                self.lock_identity(By::Xact(xact.0), table);
            }
            for (at, (before, constraint)) in switched.into_iter().enumerate() {
                match is_checked(before, constraint) {
                    true => self.check_constraint(By::Xact(xact.0), (table, at == 0), before, constraint),
                    false => self.switch_constraint(By::Xact(xact.0), (table, at == 0), before, constraint),
                }
            }
            self.end_definition(xact)?;
        }
        Ok(())
    }

    /// The constraints of a table but those that its clustered index is for.
    pub fn constraints(&self, table: u32) -> &[ConstraintDef] {
        self.constraints.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The constraints of a table are these: its system tables say so already.
    pub fn know_constraints(&mut self, table: u32, known: Vec<ConstraintDef>) {
        self.constraints.insert(table, known);
    }

    /// Takes the rows of all constraints of a table out of the system tables.
    pub(super) fn forget_constraints(&mut self, by: By, table: u32) {
        for gone in self.constraints.remove(&table).unwrap_or_default() {
            self.forget_constraint(by, table, &gone);
        }
    }

    fn write_constraint(&mut self, xact: Transaction, table: u32, schema: u32, new: &ConstraintDef) {
        let by = By::Xact(xact.0);
        if !self.is_of_new_column(table, new) {
            self.note_modified(by, table);
        }
        self.take_object_id(xact, new.object);
        self.lock_object(by, new.object);
        let expression = matches!(new.kind, ConstraintKind::Default(..) | ConstraintKind::Check { .. });
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        let of_column = matches!(new.kind, ConstraintKind::Check { column: Some(_), .. });
        let status = bit(new.system_named, SYSTEM_NAMED)
            | bit(expression, EXPRESSION)
            | bit(of_column, OF_COLUMN)
            | new.switch.bits();
        // What is not known yet: whether the rows keep a foreign key, and that a default's name was made up.
        let first = match new.kind {
            ConstraintKind::Foreign { .. } => status | NOT_TRUSTED,
            ConstraintKind::Default(..) => status & !SYSTEM_NAMED,
            _ => status,
        };
        let row = self.object_row(new.object, &new.name, schema, (first, new.kind.code()), (table, new.kind.column()));
        self.insert_system_row(by, SYSSCHOBJS, &row);
        match &new.kind {
            ConstraintKind::Default(column, text) => {
                self.set_default(by, table, *column, new.object);
                self.change_system_row(by, SYSSCHOBJS, &[int(new.object)], STATUS, &status.to_le_bytes());
                self.insert_text(by, new.object, text);
            }
            ConstraintKind::Check { text, named, .. } => {
                self.insert_text(by, new.object, text);
                for column in named {
                    let row = vec![tiny(BOUND), int(new.object), int(0), int(table), int(*column), int(0)];
                    self.insert_system_row(by, SYSMULTIOBJREFS, &row);
                }
            }
            ConstraintKind::Key { index, .. } => self.insert_reference(by, (CLASS_CONSTRAINT, new.object, 0), *index),
            ConstraintKind::Foreign { columns, table: other, index } => {
                self.lock_object(by, *other);
                if self.tables.contains_key(other) {
                    self.note_modified(by, *other);
                }
                self.insert_reference_to(by, (REFERENCE[0], new.object, 0), (*other, *index));
                for (at, (own, referenced)) in columns.iter().enumerate() {
                    let place = at as u32 + 1;
                    self.insert_reference_to(by, (REFERENCE[1], new.object, place), (table, *own));
                    self.insert_reference_to(by, (REFERENCE[2], new.object, place), (*other, *referenced));
                }
                if first != status {
                    self.lock_for_rows(by, table, new.object, *other);
                    self.change_system_row(by, SYSSCHOBJS, &[int(new.object)], STATUS, &status.to_le_bytes());
                }
            }
        }
    }

    /// What is locked while it is looked at whether rows keep a foreign key. (A server also locks what it has to read of other constraints of both tables, which
    /// depends on what it has read before: here it is all that refer to the same table.)
    fn lock_for_rows(&mut self, by: By, table: u32, object: u32, other: u32) {
        let refers = |c: &&ConstraintDef| matches!(c.kind, ConstraintKind::Foreign { table: to, .. } if to == other);
        let all = self.constraints.iter().flat_map(|(of, all)| all.iter().filter(refers).map(|c| (c.object, *of)));
        let mut all: Vec<(u32, u32)> = all.filter(|(known, _)| *known != object).collect();
        all.sort_unstable();
        all.extend([(object, table), (object, table)]);
        self.lock_object(by, table);
        for (constraint, of) in all.into_iter().chain([(table, other), (table, other)]) {
            self.lock_object(by, constraint);
            self.lock_object(by, of);
        }
    }

    /// Whether a constraint is the default of a column that the same statement has added, which changed the table's date.
    fn is_of_new_column(&self, table: u32, new: &ConstraintDef) -> bool {
        matches!(new.kind, ConstraintKind::Default(..)) && self.definitions.is_altered(table)
    }

    /// What WITH CHECK does once the rows were looked at: the constraint is trusted. A server goes through the foreign keys of the table, the last one first. (Observed on 2016,
    /// of foreign keys.)
    fn check_constraint(
        &mut self,
        by: By,
        (table, is_first): (u32, bool),
        before: ConstraintSwitch,
        new: &ConstraintDef,
    ) {
        let other = match new.kind {
            ConstraintKind::Foreign { table, .. } => Some(table),
            _ => None,
        };
        let locked = [new.object, table, table, table].into_iter().chain(other).chain([table, table]);
        locked.for_each(|object| self.lock_object(by, object));
        if is_first {
            self.note_modified(by, table);
        }
        self.note_modified(by, new.object);
        if let Some(other) = other {
            self.lock_object(by, other);
            if self.tables.contains_key(&other) && other != table {
                self.note_modified(by, other);
            }
        }
        let known = self.constraints.get(&table).into_iter().flatten();
        let mut all: Vec<u32> = (known.filter(|c| matches!(c.kind, ConstraintKind::Foreign { .. })))
            .map(|c| c.object)
            .chain(other.is_none().then_some(new.object))
            .collect();
        all.sort_unstable_by_key(|object| std::cmp::Reverse(*object));
        for object in all {
            self.lock_object(by, object);
            self.lock_object(by, table);
            if object == new.object {
                let read = other.map_or(vec![table], |other| vec![table, other, table, other]);
                read.into_iter().for_each(|object| self.lock_object(by, object));
                let own = [int(new.object)];
                let status = self.system_word(SYSSCHOBJS, &own, STATUS) & !before.bits();
                self.change_system_row(by, SYSSCHOBJS, &own, STATUS, &(status | new.switch.bits()).to_le_bytes());
            }
        }
    }

    /// What a switch does to the rows of a constraint and of its tables; that it is not trusted any more is said by itself.
    /// The table's own date changes with the first of them.
    fn switch_constraint(
        &mut self,
        by: By,
        (table, is_first): (u32, bool),
        before: ConstraintSwitch,
        new: &ConstraintDef,
    ) {
        let own = [int(new.object)];
        let other = match new.kind {
            ConstraintKind::Foreign { table, .. } => Some(table),
            _ => None,
        };
        self.lock_object(by, new.object);
        self.lock_object(by, table);
        if let Some(other) = other {
            self.lock_object(by, other);
            self.lock_identity(by, other);
        }
        self.lock_object(by, table);
        if is_first {
            self.note_modified(by, table);
        }
        self.note_modified(by, new.object);
        if let Some(other) = other.filter(|_| before.disabled && !new.switch.disabled) {
            self.lock_object(by, other);
            if self.tables.contains_key(&other) {
                self.note_modified(by, other);
            }
        }
        let status = self.system_word(SYSSCHOBJS, &own, STATUS) & !before.bits();
        let first = ConstraintSwitch { not_trusted: before.not_trusted, ..new.switch };
        if first != before {
            self.change_system_row(by, SYSSCHOBJS, &own, STATUS, &(status | first.bits()).to_le_bytes());
        }
        if new.switch.not_trusted != before.not_trusted {
            self.lock_object(by, table);
            self.change_system_row(by, SYSSCHOBJS, &own, STATUS, &(status | new.switch.bits()).to_le_bytes());
        }
    }

    /// What DROP CONSTRAINT does. (Observed on 2016, of foreign keys.)
    fn drop_constraint(&mut self, by: By, table: u32, gone: &ConstraintDef) {
        [gone.object, table, table, table, table, table].into_iter().for_each(|object| self.lock_object(by, object));
        self.note_modified(by, table);
        self.note_modified(by, gone.object);
        if let ConstraintKind::Foreign { table: other, .. } = gone.kind {
            self.lock_object(by, other);
            if self.tables.contains_key(&other) && other != table {
                self.note_modified(by, other);
            }
        }
        self.lock_object(by, table);
        self.lock_metadata(by, gone.object);
        self.delete_constraint(by, table, gone);
        self.invalidate_object(by, gone.object);
    }

    /// What becomes of a constraint when its table is dropped. (Observed on 2016, of foreign keys.)
    fn forget_constraint(&mut self, by: By, table: u32, gone: &ConstraintDef) {
        [gone.object, table, table].into_iter().for_each(|object| self.lock_object(by, object));
        self.note_modified(by, gone.object);
        if let ConstraintKind::Foreign { table: other, .. } = gone.kind {
            self.lock_object(by, other);
            if self.tables.contains_key(&other) && other != table {
                self.note_modified(by, other);
            }
        }
        self.lock_object(by, table);
        self.lock_metadata(by, gone.object);
        self.delete_constraint(by, table, gone);
    }

    fn delete_constraint(&mut self, by: By, table: u32, gone: &ConstraintDef) {
        match &gone.kind {
            ConstraintKind::Default(column, _) => self.set_default(by, table, *column, 0),
            ConstraintKind::Check { .. } => self.delete_system_rows(by, SYSMULTIOBJREFS, &[int(gone.object)]),
            ConstraintKind::Key { .. } => self.delete_reference(by, CLASS_CONSTRAINT, gone.object, 0),
            ConstraintKind::Foreign { columns, .. } => {
                self.delete_reference(by, REFERENCE[0], gone.object, 0);
                for place in 1..=columns.len() as u32 {
                    self.delete_reference(by, REFERENCE[1], gone.object, place);
                    self.delete_reference(by, REFERENCE[2], gone.object, place);
                }
            }
        }
        self.delete_system_row(by, SYSOBJVALUES, &[tiny(TEXT), int(gone.object), int(0), int(0)]);
        self.delete_system_row(by, SYSSCHOBJS, &[int(gone.object)]);
    }

    fn lock_object(&mut self, by: By, object: u32) {
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, object));
        });
    }

    /// The lock on the identity of a table that has one.
    pub(super) fn lock_identity(&mut self, by: By, table: u32) {
        let has_one = self.tables.get(&table).is_some_and(|t| t.def.columns.iter().any(|c| c.identity.is_some()));
        if has_one {
            let mut lock = vec![5, 0x0A, 0, 0x10, 3, 0, 0, 0, 0];
            lock.extend(table.to_le_bytes());
            lock.extend([0, 0, 0]);
            self.write(by, |r, h| {
                r.lock_xact(h, &lock);
            });
        }
    }

    /// The text of a default or a check; what is not in code page 1252 is lost, as it would be there.
    fn insert_text(&mut self, by: By, object: u32, text: &str) {
        let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        // sql_variant: int, version 1, 2
        let value = vec![0x38, 1, 2, 0, 0, 0];
        let row = vec![tiny(TEXT), int(object), int(0), int(0), Some(value), Some(bytes)];
        self.insert_system_row(by, SYSOBJVALUES, &row);
    }

    /// `syscolpars.dflt`; nothing where the column is gone.
    fn set_default(&mut self, by: By, table: u32, column: u32, object: u32) {
        let key = [int(table), short(0), int(column)];
        if self.has_system_row(SYSCOLPARS, &key) {
            self.change_system_row(by, SYSCOLPARS, &key, DEFAULT, &object.to_le_bytes());
        }
    }
}

/// Whether a switch was WITH CHECK: the constraint is trusted from now on.
fn is_checked(before: ConstraintSwitch, new: &ConstraintDef) -> bool {
    before.not_trusted && !new.switch.not_trusted
}
