//! `sp_helptext`: definitions, line by line.

use super::super::super::error::{Result, SqlError};
use super::super::super::state::{Scalars, State};
use super::super::super::value::same_name;
use super::super::shape::{t, view};
use super::{Said, find};

/// Characters of a row.
const ROW: usize = 255;

/// The text of an object, or of a computed column.
pub(super) fn help_text(state: &State, s: &Scalars, given: &str, column: Option<String>) -> Result<Vec<Said>> {
    let object = find(state, s, given)?;
    let db = state.db(s.database);
    let text = match column {
        Some(column) => {
            let Some(def) = db.storage.table_def(object.id) else {
                return Err(SqlError::new(15218, format!("Object '{given}' is not a table.")));
            };
            let place = def.columns.iter().position(|c| same_name(&c.name, &column));
            let place = place.ok_or_else(|| SqlError::new(15645, format!("Column '{column}' does not exist.")))?;
            let computed = db.meta(object.id).computed.iter().find(|c| c.column == place);
            let missing = || SqlError::new(15646, format!("Column '{column}' is not a computed column."));
            computed.ok_or_else(missing)?.text.clone()
        }
        None => {
            let meta = || db.meta(object.parent);
            let text = match object.kind {
                "C " => meta().checks.iter().find(|c| c.object == object.id).map(|c| &c.text),
                "D " => meta().defaults.iter().find(|d| d.object == object.id).map(|d| &d.text),
                "TR" => db.triggers.get(&object.id).map(|trigger| &trigger.text),
                _ => db.modules.get(&object.id).map(|module| &module.text),
            };
            text.ok_or_else(|| SqlError::new(15197, format!("There is no text for object '{given}'.")))?.clone()
        }
    };
    let rows = text.split_inclusive("\r\n").flat_map(|line| {
        let units: Vec<u16> = line.encode_utf16().collect();
        units.chunks(ROW).map(|part| [t(&String::from_utf16_lossy(part))]).collect::<Vec<_>>()
    });
    Ok(vec![Said::rows(view("Text n255?", ["Text"], rows))])
}
