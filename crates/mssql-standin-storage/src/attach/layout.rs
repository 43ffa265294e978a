//! Where rows of attached tables hold their columns.

use logferry_mssql_format::catalog::{ColumnRow, RowsetColumnRow, rowset_column};
use logferry_mssql_format::encode::RowShape;
use logferry_mssql_format::row::Place;

use super::super::ddl::KeyKind;
use super::super::table::{Form, NOT_STORED, Placer, StoredColumn};
use super::super::{TableDef, TableLayout};

const BIT: u8 = 104;

/// Where rows hold a column; `None`: in a way that is not known.
pub(super) fn place_of(column: &RowsetColumnRow) -> Option<Place> {
    if column.status & rowset_column::SPARSE != 0 {
        return Some(Place::Sparse { column_id: u16::try_from(column.column).ok()? });
    }
    if column.leaf_offset < 0 {
        let index = column.leaf_offset.unsigned_abs() - 1;
        if column.status & rowset_column::UNIQUIFIER != 0 {
            return Some(Place::Variable { index });
        }
        // char, nchar and binary are variable in sparse tables; other fixed types are in vardecimal tables only.
        return match (column.xtype, column.fixed_len()) {
            (173 | 175 | 239, _) | (_, None) => Some(Place::Variable { index }),
            (_, Some(_)) => None,
        };
    }
    let offset = column.leaf_offset.unsigned_abs();
    match column.xtype {
        BIT => Some(Place::Bit { offset, bit: column.leaf_bit }),
        _ => Some(Place::Fixed { offset, len: column.fixed_len()? }),
    }
}

/// The layout as the rest of the engine knows it: for keys and for what the catalog says of columns.
pub(super) fn table_layout(
    def: &TableDef,
    kind: Option<KeyKind>,
    rows: &[&ColumnRow],
    physical: &[RowsetColumnRow],
) -> Option<TableLayout> {
    let mut own: Vec<&RowsetColumnRow> = physical.iter().filter(|p| p.leaf_null_bit > 0).collect();
    // Of those in one place, the last.
    own.sort_by_key(|p| (p.leaf_null_bit, std::cmp::Reverse(p.hobt_column)));
    let all = own.len();
    own.dedup_by_key(|p| p.leaf_null_bit);
    let mut layout = TableLayout {
        columns: Vec::new(),
        replaced: 0,
        of_logical: vec![NOT_STORED; def.columns.len()],
        key: Vec::new(),
        row: RowShape { places: Vec::new(), fixed_end: 4 },
        key_entry: RowShape { places: Vec::new(), fixed_end: 1 },
        form: Form::Row,
        nulls: kind.is_some_and(KeyKind::is_loose),
    };
    layout.replaced = (all - own.len()) as u32;
    for p in own {
        let uniquifier = p.status & rowset_column::UNIQUIFIER != 0;
        let logical = if p.is_live() { rows.iter().position(|c| c.id == p.column) } else { None };
        let column = logical.and_then(|at| def.columns.get(at));
        let Some(place) = place_of(p) else {
            if column.is_some() {
                return None;
            }
            continue;
        };
        if let Some(at) = logical {
            layout.of_logical[at] = layout.columns.len();
        }
        layout.row.fixed_end = layout.row.fixed_end.max(match place {
            Place::Fixed { offset, len } => offset + len,
            Place::Bit { offset, .. } => offset + 1,
            _ => 0,
        });
        layout.row.places.push(place);
        layout.columns.push(StoredColumn {
            logical,
            id: p.column,
            number: p.hobt_column,
            sql_type: match column {
                Some(column) => column.sql_type.clone(),
                None if uniquifier => logferry_model::SqlType::Int,
                None => logferry_model::SqlType::Unknown { code: p.xtype },
            },
            nullable: column.map_or(!uniquifier, |c| c.nullable),
            key_ordinal: p.key_ordinal,
            place,
            internal: None,
            descending: false,
            uniquifier,
        });
    }
    let mut entry = Placer::new(1);
    for at in def.primary_key.iter().filter_map(|c| layout.of_logical.get(*c).copied()) {
        let column = layout.columns.get_mut(at)?;
        let place = entry.place(&column.sql_type);
        column.internal = Some(place);
        layout.key_entry.places.push(place);
        layout.key.push(at);
    }
    if let (false, Some(at)) = (def.primary_key.is_empty(), layout.columns.iter().position(|c| c.uniquifier)) {
        layout.key_by_uniquifier(at, &mut entry);
    }
    layout.key_entry.fixed_end = entry.end;
    Some(layout)
}
