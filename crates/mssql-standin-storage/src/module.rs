//! Views, procedures and triggers: what system tables say of them. Whoever runs them keeps what they are made of.
//!
//! | table | rows |
//! |---|---|
//! | `sysschobjs` | the object: `V `, `P `, `TR`; `pid` of a trigger is its table, `pclass` 0 if it has none |
//! | `sysobjvalues` | its text, class 1; `subobjid` is 1 of procedures |
//! | `syscolpars` | columns of a view, `number` 0; parameters of a procedure, `number` 1 |
//! | `sysmultiobjrefs` | columns that the text names, class 0; `status` says what it does with them |
//! | `syssoftobjrefs` | tables and views that it names, as it spells them |
//!
//! `status` of the object says the settings that it was made with, each in a change of its own: 0x40000 ANSI_NULLS, 0x80000 QUOTED_IDENTIFIER. (Procedures: as a
//! log of 2008 and one of 2008 R2 have them, record by record. No log with a view or a trigger that is made, or with anything that is altered or dropped, is at hand: the rows of views
//! are those of a data file of 2008, in the order that procedures have. Which order a server brings the tables into that a text names is not known: here it is the caller's.)

use logferry_mssql_format::encode::{ColumnImage, encode_row};

use super::change::{Stored, stored_values};
use super::constraint::{DISABLED, NOT_FOR_REPLICATION, TEXT};
use super::space::UnitKind;
use super::system::definitions::{
    SYSCOLPARS, SYSMULTIOBJREFS, SYSOBJVALUES, SYSSCHOBJS, SYSSOFTOBJREFS, system_rowset,
};
use super::system::{column_row, int, object_lock, short, text, tiny};
use super::xact::{Transaction, XactOptions};
use super::{By, ColumnDef, Database, Error};

/// Bits of `sysschobjs.status`: bound to what it is of, its settings, not kept compiled.
const SCHEMA_BOUND: u32 = 0x2_0000;
const ANSI_NULLS: u32 = 0x4_0000;
const QUOTED_IDENTIFIER: u32 = 0x8_0000;
const RECOMPILED: u32 = 0x40_0000;
/// Byte of `sysschobjs` rows that the settings are in, and their bits there.
const SETTINGS: usize = 15;
const STATUS: usize = 13;
/// `syscolpars.status` of a parameter: OUTPUT.
pub(super) const OUTPUT: u32 = 0x200;
/// Longest text that stays in its row.
const IN_ROW_MAX: usize = 7000;
/// What `sql_variant` has of the int 2, which stands beside texts.
const TWO: [u8; 6] = [0x38, 1, 2, 0, 0, 0];

/// A view, a procedure or a trigger, as system tables have it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleDef {
    /// Its object id.
    pub object: u32,
    /// Its schema; none of a trigger on the database.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// Code of what it is: `V `, `P `, `TR`; in files also functions: `FN`, `IF`, `TF`.
    pub kind: [u8; 2],
    /// The table of a trigger.
    pub parent: Option<u32>,
    /// How it was made.
    pub settings: ModuleSettings,
    /// The statement that made it.
    pub text: String,
    /// Columns of a view.
    pub columns: Vec<ColumnDef>,
    /// Parameters of a procedure, with whether they are OUTPUT.
    pub parameters: Vec<(ColumnDef, bool)>,
    /// What its text names. Not read from files.
    pub references: Vec<ModuleReference>,
    /// When it was made and changed last, as `datetime` is stored. Set by the clock where it is written.
    pub dates: [[u8; 8]; 2],
}

/// How a view, a procedure or a trigger was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleSettings {
    /// WITH SCHEMABINDING
    pub schema_bound: bool,
    /// WITH RECOMPILE
    pub recompiled: bool,
    /// SET ANSI_NULLS ON
    pub ansi_nulls: bool,
    /// SET QUOTED_IDENTIFIER ON
    pub quoted_identifier: bool,
    /// A trigger that does not fire.
    pub disabled: bool,
    /// A trigger that does not fire for what replication changes.
    pub not_for_replication: bool,
}

impl Default for ModuleSettings {
    fn default() -> Self {
        ModuleSettings {
            schema_bound: false,
            recompiled: false,
            ansi_nulls: true,
            quoted_identifier: true,
            disabled: false,
            not_for_replication: false,
        }
    }
}

impl ModuleSettings {
    fn bits(self) -> u32 {
        [
            (self.schema_bound, SCHEMA_BOUND),
            (self.recompiled, RECOMPILED),
            (self.disabled, DISABLED),
            (self.not_for_replication, NOT_FOR_REPLICATION),
        ]
        .into_iter()
        .filter_map(|(on, bit)| on.then_some(bit))
        .sum()
    }

    /// From `sysschobjs.status`.
    pub(super) fn of(status: u32) -> Self {
        let is = |bit: u32| status & bit != 0;
        ModuleSettings {
            schema_bound: is(SCHEMA_BOUND),
            recompiled: is(RECOMPILED),
            ansi_nulls: is(ANSI_NULLS),
            quoted_identifier: is(QUOTED_IDENTIFIER),
            disabled: is(DISABLED),
            not_for_replication: is(NOT_FOR_REPLICATION),
        }
    }
}

/// A table or a view that the text of another object names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleReference {
    /// Its schema, if the text says it.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// Its object id, if it is there.
    pub object: Option<u32>,
    /// `column_id`s with what is done with them, in their order.
    pub columns: Vec<(u32, ColumnUse)>,
}

/// What a text does with a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnUse {
    /// It stands for one of all columns (`*`).
    pub all: bool,
    /// It is written to.
    pub updated: bool,
    /// It is named.
    pub read: bool,
}

impl ColumnUse {
    fn bits(self) -> u32 {
        u32::from(self.all) | u32::from(self.updated) << 1 | u32::from(self.read) << 2
    }
}

impl ModuleDef {
    /// `subobjid` of the text.
    fn part(&self) -> u32 {
        u32::from(self.kind == *b"P ")
    }

    /// The name of the transaction that makes it.
    fn statement(&self) -> &'static str {
        match &self.kind {
            b"V " => "CREATE/ALTER VIEW",
            b"TR" => "CREATE/ALTER TRIGGER",
            _ => "CREATE/ALTER PROCEDURE",
        }
    }
}

impl Database {
    /// Makes a view, a procedure or a trigger.
    ///
    /// # Errors
    /// When its schema is not there, or a column has a type that cannot be stored.
    pub fn create_module(&mut self, module: &ModuleDef) -> Result<(), Error> {
        self.writable()?;
        let rows = column_rows(module)?;
        let schema = match &module.schema {
            Some(name) => *self.schemas.get(name).ok_or_else(|| Error::NotFound(format!("schema {name}")))?,
            None => 0,
        };
        let xact = self.begin_definition(XactOptions { name: module.statement(), ..XactOptions::default() }, None);
        self.hold_name(xact, &module.schema, &module.name);
        let by = By::Xact(xact.0);
        self.take_object_id(xact, module.object);
        self.lock_module(by, module.object);
        let status = module.settings.bits();
        let mut row = self.object_row(
            module.object,
            &module.name,
            schema,
            (status, module.kind),
            (module.parent.unwrap_or(0), 0),
        );
        if module.kind == *b"TR" && module.parent.is_none() {
            // `pclass`: it is of the database.
            row[7] = tiny(0);
        }
        self.insert_system_row(by, SYSSCHOBJS, &row);
        self.write_module(by, module, &rows);
        self.end_definition(xact)?;
        Ok(())
    }

    /// Makes a view, a procedure or a trigger what it is from now on.
    ///
    /// # Errors
    /// When a column has a type that cannot be stored.
    pub fn alter_module(&mut self, module: &ModuleDef) -> Result<(), Error> {
        if !self.has_system_row(SYSSCHOBJS, &[int(module.object)]) {
            return self.create_module(module);
        }
        self.writable()?;
        let rows = column_rows(module)?;
        let xact = self.begin_definition(XactOptions { name: module.statement(), ..XactOptions::default() }, None);
        self.hold_name(xact, &module.schema, &module.name);
        let by = By::Xact(xact.0);
        self.lock_module(by, module.object);
        self.forget_module(by, module.object);
        let status = module.settings.bits().to_le_bytes();
        self.change_system_row(by, SYSSCHOBJS, &[int(module.object)], STATUS, &status);
        self.note_modified(by, module.object);
        self.write_module(by, module, &rows);
        self.end_definition(xact)?;
        Ok(())
    }

    /// Sets whether a trigger fires.
    ///
    /// # Errors
    /// When nothing may be changed.
    pub fn switch_module(&mut self, module: &ModuleDef) -> Result<(), Error> {
        self.writable()?;
        let xact = self.begin_definition(XactOptions { name: "ALTER TABLE", ..XactOptions::default() }, None);
        self.hold_name(xact, &module.schema, &module.name);
        let by = By::Xact(xact.0);
        self.lock_module(by, module.object);
        let own = [int(module.object)];
        let status = self.system_word(SYSSCHOBJS, &own, STATUS) & !DISABLED;
        let status = status | if module.settings.disabled { DISABLED } else { 0 };
        self.note_modified(by, module.object);
        self.change_system_row(by, SYSSCHOBJS, &own, STATUS, &status.to_le_bytes());
        self.end_definition(xact)?;
        Ok(())
    }

    /// Drops a view, a procedure or a trigger.
    ///
    /// # Errors
    /// When nothing may be changed.
    pub fn drop_module(&mut self, object: u32, schema: Option<&str>, name: &str) -> Result<(), Error> {
        self.writable()?;
        let xact = self.begin_definition(XactOptions { name: "DROPOBJ", ..XactOptions::default() }, None);
        self.hold_name(xact, &schema.map(str::to_owned), name);
        let by = By::Xact(xact.0);
        self.lock_module(by, object);
        self.forget_module(by, object);
        self.delete_system_row(by, SYSSCHOBJS, &[int(object)]);
        self.write(by, |r, h| {
            r.invalidate_object(h, 1, object);
        });
        self.end_definition(xact)?;
        Ok(())
    }

    /// The views, procedures, functions and triggers of attached files, by their ids.
    pub fn attached_modules(&self) -> &[ModuleDef] {
        &self.attached_modules
    }

    /// Until the transaction ends nobody else is to use the name ([`name_holder`](Self::name_holder)).
    fn hold_name(&mut self, xact: Transaction, schema: &Option<String>, name: &str) {
        self.definitions.hold_name(xact, schema.clone().unwrap_or_default(), name.to_owned());
    }

    fn lock_module(&mut self, by: By, object: u32) {
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, object));
        });
    }

    /// All that depends on the row of the object, which is there.
    fn write_module(&mut self, by: By, module: &ModuleDef, rows: &[super::Row]) {
        self.insert_module_text(by, module);
        for row in rows {
            self.insert_system_row(by, SYSCOLPARS, row);
        }
        let own = [int(module.object)];
        let mut byte = (self.system_word(SYSSCHOBJS, &own, STATUS) >> 16) as u8;
        for (on, bit) in
            [(module.settings.ansi_nulls, ANSI_NULLS), (module.settings.quoted_identifier, QUOTED_IDENTIFIER)]
        {
            if on {
                byte |= (bit >> 16) as u8;
                self.change_system_row(by, SYSSCHOBJS, &own, SETTINGS, &[byte]);
            }
        }
        for reference in &module.references {
            let Some(of) = reference.object else { continue };
            for (column, used) in &reference.columns {
                let row = vec![tiny(0), int(module.object), int(0), int(of), int(*column), int(used.bits())];
                self.insert_system_row(by, SYSMULTIOBJREFS, &row);
            }
        }
        for (at, reference) in module.references.iter().enumerate() {
            let schema = reference.schema.as_deref().and_then(text);
            let (name, number) = (text(&reference.name), int(at as u32 + 1));
            let row = vec![tiny(1), int(module.object), tiny(1), name, schema, None, None, number, int(0)];
            self.insert_system_row(by, SYSSOFTOBJREFS, &row);
        }
    }

    /// Takes away all that depends on the row of the object.
    fn forget_module(&mut self, by: By, object: u32) {
        for table in [SYSSOFTOBJREFS, SYSMULTIOBJREFS, SYSCOLPARS] {
            self.delete_system_rows(by, table, &[int(object)]);
        }
        for part in [0, 1] {
            let key = [tiny(TEXT), int(object), int(part), int(0)];
            let rowset = system_rowset(SYSOBJVALUES);
            let image = self.live_row(rowset, &self.system_key(SYSOBJVALUES, &key)).map(<[u8]>::to_vec);
            let values = image.map(|image| stored_values(&self.rowset(rowset).layout, &image)).unwrap_or_default();
            for value in values {
                if let Stored::Pointer(pointer) = value {
                    self.lob_delete(by, rowset, &pointer);
                }
            }
            self.delete_system_row(by, SYSOBJVALUES, &key);
        }
    }

    /// The text; what is not in code page 1252 is lost in the file, as that of constraints is.
    fn insert_module_text(&mut self, by: By, module: &ModuleDef) {
        let bytes: Vec<u8> = module.text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        let mut row =
            vec![tiny(TEXT), int(module.object), int(module.part()), int(0), Some(TWO.to_vec()), Some(bytes.clone())];
        if bytes.len() <= IN_ROW_MAX {
            self.insert_system_row(by, SYSOBJVALUES, &row);
            return;
        }
        row.pop();
        let rowset = system_rowset(SYSOBJVALUES);
        let pointer = self.lob_write(by, rowset, UnitKind::Lob, &bytes);
        let layout = std::sync::Arc::clone(&self.rowset(rowset).layout);
        let mut images: Vec<ColumnImage<'_>> =
            row.iter().map(|v| v.as_deref().map_or(ColumnImage::Null, ColumnImage::Bytes)).collect();
        images.push(ColumnImage::Pointer(&pointer));
        let mut image = Vec::new();
        encode_row(&layout.row, &images, None, &mut image);
        let key = layout.key_of_image(&image);
        self.tree_put(by, rowset, &key, &image);
    }
}

/// The rows of `syscolpars`.
fn column_rows(module: &ModuleDef) -> Result<Vec<super::Row>, Error> {
    let columns = module.columns.iter().zip(1..).map(|(column, id)| column_row(module.object, id, column));
    let parameters = module.parameters.iter().zip(1..).map(|((parameter, output), id)| {
        let mut row = column_row(module.object, id, parameter)?;
        row[1] = short(1);
        row[10] = int(if *output { OUTPUT } else { 0 });
        row[11] = short(0);
        Ok(row)
    });
    columns.chain(parameters).collect()
}
