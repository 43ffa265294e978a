//! What names what: the rows of `syssoftobjrefs`, which are names, and of `sysmultiobjrefs`, which are columns.

use logferry_mssql_format::bytes::Result as FormatResult;
use logferry_mssql_format::row::FixedVar;

use super::change::plain_row;
use super::system::definitions::{SYSMULTIOBJREFS, SYSSOFTOBJREFS, system_rowset};
use super::{Database, Row};

/// That the text of an object names something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The object whose text it is.
    pub object: u32,
    /// Its column, where the text is of one; otherwise 0.
    pub part: u32,
    /// What is named.
    pub named: Named,
}

/// What a text names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// An object, as the text spells it: server, database, schema, name.
    Name([Option<String>; 4]),
    /// A column, by the ids of its table and of itself; whether the table must not change while it is named.
    Column(u32, u32, bool),
}

impl Database {
    /// What the texts of objects name, in the order of the objects.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let rows = |table: u32| {
            let rowset = system_rowset(table);
            let layout = std::sync::Arc::clone(&self.rowset(rowset).layout);
            let keys = self.keys_from(rowset, &[]).into_iter();
            keys.filter_map(move |key| Some(plain_row(&layout, self.live_row(rowset, &key)?)))
        };
        let names = rows(SYSSOFTOBJREFS).filter_map(|row| {
            let name = [6, 5, 4, 3].map(|at| value(&row, at).map(text_of));
            is_object(byte(&row, 2)).then(|| Dependency { object: word(&row, 1), part: 0, named: Named::Name(name) })
        });
        let columns = rows(SYSMULTIOBJREFS).map(|row| Dependency {
            object: word(&row, 1),
            part: word(&row, 2),
            named: Named::Column(word(&row, 3), word(&row, 4), byte(&row, 0) != 0),
        });
        let mut all: Vec<Dependency> = names.chain(columns).chain(self.attached_dependencies.iter().cloned()).collect();
        all.sort();
        all
    }
}

/// `indepclass`: objects, not types or schemas of XML.
fn is_object(class: u8) -> bool {
    class == 1
}

fn value(row: &Row, at: usize) -> Option<&[u8]> {
    row.get(at)?.as_deref()
}

fn byte(row: &Row, at: usize) -> u8 {
    value(row, at).and_then(|v| v.first().copied()).unwrap_or(0)
}

fn word(row: &Row, at: usize) -> u32 {
    value(row, at).and_then(|v| v.first_chunk()).map_or(0, |v| u32::from_le_bytes(*v))
}

fn text_of(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// A row of `syssoftobjrefs` of a file.
pub(super) fn read_name(row: &FixedVar<'_>) -> FormatResult<Option<Dependency>> {
    let [class] = row.fixed_array(9)?;
    let mut name = [None, None, None, None];
    for (to, at) in name.iter_mut().rev().zip(0..) {
        *to = row.variable(at)?.filter(|v| !v.bytes.is_empty()).map(|v| text_of(v.bytes));
    }
    let object = u32::from_le_bytes(row.fixed_array(5)?);
    Ok(is_object(class).then_some(Dependency { object, part: 0, named: Named::Name(name) }))
}

/// A row of `sysmultiobjrefs` of a file.
pub(super) fn read_column(row: &FixedVar<'_>) -> FormatResult<Option<Dependency>> {
    let [class] = row.fixed_array(4)?;
    let [object, part, table, column] = [5, 9, 13, 17].map(|at| row.fixed_array(at).map(u32::from_le_bytes));
    Ok(Some(Dependency { object: object?, part: part?, named: Named::Column(table?, column?, class != 0) }))
}
