//! The compiled plan of one version of a table: what the target looks like and how a row gets there.
//!
//! ```text
//! COPY BINARY:  PGCOPY\n\377\r\n\0  0 0  ( i16 fields  ( i32 length  bytes )* )*  -1
//! ```
//!
//! All that can be wrong with a table shows when the plan is compiled, and all of it at once. What is left for the
//! rows are values that PostgreSQL cannot hold; what the settings allow to be changed in them is counted per column.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logferry_model::{
    Cell, Change, ChangeOp, PgType, RowRef, RowStore, SourceColumn, TableVersion, TargetChange, TargetColumn,
    TargetTable,
};

use crate::convert::{Converter, mapping};
use crate::encode::text::Changed;
use crate::encode::{FIELD_BYTES_MAX, within_limit};
use crate::error::{CellError, ConvertError, PlanNote, PlanProblem};
use crate::names::{check_tables, shortened};
use crate::settings::{AliasTypes, Settings};

/// What a COPY BINARY stream begins with.
pub const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What a COPY BINARY stream ends with.
pub const COPY_TRAILER: &[u8] = &[0xff, 0xff];

/// PostgreSQL's limit of columns.
const COLUMNS_MAX: usize = 1_600;

/// How the rows of one version of a table become rows of the target.
#[derive(Debug)]
pub struct TablePlan {
    source: Arc<TableVersion>,
    target: Arc<TargetTable>,
    /// Those that the source's make, in the order of the source's, then those beside them.
    columns: Vec<Column>,
    /// For each column of the target which of `columns` it is, where they are not the same in the same order.
    order: Option<Vec<Option<usize>>>,
    notes: Vec<PlanNote>,
}

#[derive(Debug)]
struct Column {
    /// Index of the column of the source that it is fed from.
    source: usize,
    converter: Converter,
    counts: Counts,
}

/// Relaxed counters: they are added to only where a value was changed, from any number of tasks.
#[derive(Debug, Default)]
struct Counts {
    replaced_texts: AtomicU64,
    nul_texts: AtomicU64,
    rounded_times: AtomicU64,
}

/// How many values of a column could not be taken over as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnCounts {
    /// Name on the source.
    pub column: String,
    /// Values with something that is no text, replaced by U+FFFD.
    pub replaced_texts: u64,
    /// Values with NUL characters, removed or replaced.
    pub nul_texts: u64,
    /// Times that lost their seventh digit.
    pub rounded_times: u64,
}

impl TablePlan {
    /// Decides names and types of a table.
    ///
    /// # Errors
    /// All that keeps the table from being copied.
    pub fn compile(table: &Arc<TableVersion>, settings: &Settings) -> Result<TablePlan, Vec<PlanProblem>> {
        let mut problems = Vec::new();
        let (schema, name) = settings.names.table(&table.name, &mut problems);
        let mut notes: Vec<_> = table.notes.iter().map(|note| PlanNote { column: None, note: note.clone() }).collect();
        let mut columns = Vec::with_capacity(table.columns.len());
        let mut target_columns = Vec::with_capacity(table.columns.len());
        let mut all_beside = Vec::new();
        for (index, source) in table.columns.iter().enumerate() {
            let own = settings.columns.get(&format!("{}.{}", table.name, source.name));
            let types = own.map_or(settings.types, |own| settings.types.with(own));
            let mapping = match mapping(&source.sql_type, types) {
                Ok(mapping) => mapping,
                Err(problem) => {
                    let hint = "check the source with DBCC CHECKDB".to_owned();
                    let column = Some(source.name.clone());
                    problems.push(PlanProblem { table: table.name.clone(), column, problem, hint });
                    continue;
                }
            };
            let mut note = |note: String| notes.push(PlanNote { column: Some(source.name.clone()), note });
            mapping.notes.into_iter().for_each(&mut note);
            if mapping.converter.loses_digits() && in_a_key(table, source.id) {
                note(
                    "is part of a key and loses its seventh digit: keys that differ in it alone become equal; \
                      hundred_ns: text or remainder keeps them apart"
                        .to_owned(),
                );
            }
            if source.computed {
                note("is computed on the source, a plain column with the same values on the target".to_owned());
            }
            let identity = source.identity.filter(|_| {
                let integer = matches!(mapping.pg_type, PgType::Int2 | PgType::Int4 | PgType::Int8);
                if !integer {
                    note("is an identity of a type that PostgreSQL has no identities of: new rows need a value".into());
                }
                integer
            });
            let nullable = source.nullable;
            let domain = source.alias.as_ref().filter(|_| {
                let mapping_of_all = crate::convert::mapping(&source.sql_type, settings.types);
                // PostgreSQL has no identities of domains. A column that is mapped otherwise than all does not have the domain's type.
                types.alias_types == AliasTypes::Domain
                    && identity.is_none()
                    && mapping_of_all.is_ok_and(|all| all.pg_type == mapping.pg_type)
            });
            let domain = domain.map(|alias| settings.names.domain(&table.name, &source.name, alias, &mut problems));
            target_columns.push(TargetColumn {
                source_id: source.id,
                name: source.name.clone(),
                pg_type: mapping.pg_type,
                domain,
                comparison: mapping.comparison,
                nullable,
                identity,
            });
            columns.push(Column { source: index, converter: mapping.converter, counts: Counts::default() });
            all_beside.extend(mapping.beside.into_iter().map(|beside| (index, beside)));
        }
        // For each column of the source the one that keys have besides.
        let mut key_beside = BTreeMap::new();
        for (index, beside) in all_beside {
            let source = &table.columns[index];
            if beside.tells_apart {
                key_beside.insert(index, target_columns.len());
            }
            target_columns.push(TargetColumn {
                source_id: source.id | beside.id,
                name: format!("{}{}", source.name, beside.suffix),
                pg_type: PgType::Int2,
                domain: None,
                comparison: None,
                nullable: source.nullable,
                identity: None,
            });
            columns.push(Column { source: index, converter: beside.converter, counts: Counts::default() });
        }
        let names = settings.names.columns(&table.name, target_columns.iter().map(|c| c.name.as_str()), &mut problems);
        if target_columns.len() > COLUMNS_MAX {
            problems.push(PlanProblem {
                table: table.name.clone(),
                column: None,
                problem: format!("it has {} columns, PostgreSQL allows {COLUMNS_MAX}", target_columns.len()),
                hint: "leave columns out".to_owned(),
            });
        }
        for (column, name) in target_columns.iter_mut().zip(names) {
            column.name = name;
        }
        if !problems.is_empty() {
            return Err(problems);
        }

        let key_name = |name: &str| settings.names.key(name);
        let on_target = |columns: &[usize]| -> Vec<usize> {
            columns.iter().flat_map(|c| std::iter::once(*c).chain(key_beside.get(c).copied())).collect()
        };
        let primary = table.primary_key.as_ref();
        let target = TargetTable {
            source_id: table.id,
            schema,
            name,
            columns: target_columns,
            key: on_target(table.row_key().unwrap_or_default()),
            key_name: primary.map(|key| key_name(&key.name)),
            unique: table.unique_keys.iter().map(|key| (key_name(&key.name), on_target(&key.columns))).collect(),
            source: table.name.clone(),
            condition: None,
        };
        if target.key.is_empty() {
            let note = "has no key: a change finds its row by all values".to_owned();
            notes.push(PlanNote { column: None, note });
        }
        Ok(TablePlan { source: Arc::clone(table), target: Arc::new(target), columns, order: None, notes })
    }

    /// The same, where the target is to have some rows only: the condition is noted with the table.
    #[must_use]
    pub fn with_condition(mut self, condition: Option<&str>) -> TablePlan {
        Arc::make_mut(&mut self.target).condition = condition.map(str::to_owned);
        self
    }

    /// The same rows, for a table on the target that is to stay as it is: of columns that it lacks the values are left out, columns
    /// that the source lost keep what they have.
    ///
    /// # Errors
    /// Why its rows cannot be taken by that table.
    pub fn onto(mut self, known: &Arc<TargetTable>) -> Result<TablePlan, PlanProblem> {
        let problem = |column: Option<&TargetColumn>, problem: &str| PlanProblem {
            table: self.source.name.clone(),
            column: column.map(|c| c.name.clone()),
            problem: problem.to_owned(),
            hint: "this change of the schema cannot be ignored: set ddl to apply".to_owned(),
        };
        let ids = |table: &TargetTable, columns: &[usize]| -> Vec<u32> {
            columns.iter().filter_map(|&c| table.columns.get(c)).map(|c| c.source_id).collect()
        };
        let find = |id: u32| self.target.columns.iter().position(|c| c.source_id == id);
        let mut order = Vec::with_capacity(known.columns.len());
        for column in &known.columns {
            let at = find(column.source_id);
            let text =
                |t: &PgType| matches!(t, PgType::Text | PgType::CiText | PgType::VarChar { .. } | PgType::Char { .. });
            match at.and_then(|at| self.target.columns.get(at)) {
                Some(new) if new.pg_type == column.pg_type || text(&new.pg_type) && text(&column.pg_type) => {}
                Some(_) => return Err(problem(Some(column), "has another type on the source now")),
                None if !column.nullable => {
                    return Err(problem(Some(column), "is gone on the source, and must not be NULL on the target"));
                }
                None if known.key.is_empty() => {
                    return Err(problem(Some(column), "is gone on the source, and the table is found by whole rows"));
                }
                None => {}
            }
            order.push(at);
        }
        if ids(&self.target, &self.target.key) != ids(known, &known.key) {
            return Err(problem(None, "it has another key on the source now"));
        }
        let same = order.len() == self.columns.len() && order.iter().enumerate().all(|(at, &c)| c == Some(at));
        self.order = (!same).then_some(order);
        self.target = Arc::clone(known);
        Ok(self)
    }

    /// What a column of the target is in rows that were written before it was added; NULL where there is no value.
    ///
    /// # Errors
    /// Where the target cannot hold the value.
    pub fn missing(&self, column: usize) -> Result<Option<Vec<u8>>, ConvertError> {
        let Some(value) = self.feeding(column).and_then(|source| source.missing.as_ref()) else { return Ok(None) };
        let mut out = Vec::new();
        let converter = &self.columns[column];
        converter.convert(value, &mut out).map_err(|reason| self.cell_error(converter.source, reason))?;
        Ok(Some(out))
    }

    /// The column of the source that feeds a column of the target, which has to be as it was compiled.
    pub fn feeding(&self, column: usize) -> Option<&SourceColumn> {
        self.source.columns.get(self.columns.get(column)?.source)
    }

    /// Plans of all tables of a task, in their order.
    ///
    /// Indexes and tables share their names in a schema of PostgreSQL, indexes of SQL Server only theirs in a table:
    /// where two would collide, the later key gets the name of its table in front.
    ///
    /// # Errors
    /// All that keeps any of the tables from being copied, names that two tables would share included.
    pub fn compile_all(tables: &[Arc<TableVersion>], settings: &Settings) -> Result<Vec<TablePlan>, Vec<PlanProblem>> {
        let mut plans = Vec::new();
        let mut problems = Vec::new();
        for table in tables {
            match TablePlan::compile(table, settings) {
                Ok(plan) => plans.push(plan),
                Err(more) => problems.extend(more),
            }
        }
        problems.extend(check_tables(plans.iter().map(|plan| &*plan.target)));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut taken: BTreeSet<(String, String)> =
            plans.iter().map(|plan| (plan.target.schema.clone(), plan.target.name.clone())).collect();
        for plan in &mut plans {
            plan.keep_keys_apart(&mut taken);
        }
        Ok(plans)
    }

    fn keep_keys_apart(&mut self, taken: &mut BTreeSet<(String, String)>) {
        let mut target = (*self.target).clone();
        let (schema, table) = (target.schema.clone(), target.name.clone());
        let names = target.key_name.iter_mut().chain(target.unique.iter_mut().map(|(name, _)| name));
        for name in names {
            let wanted = name.clone();
            let mut number = 1_u32;
            while !taken.insert((schema.clone(), name.clone())) {
                *name = match number {
                    1 => shortened(&format!("{table}_{wanted}")),
                    _ => shortened(&format!("{table}_{wanted}_{number}")),
                };
                number += 1;
            }
            if *name != wanted {
                let note = format!("key \"{wanted}\" is called \"{name}\" on the target, the name is taken");
                self.notes.push(PlanNote { column: None, note });
            }
        }
        self.target = Arc::new(target);
    }

    /// The version of the table that rows must be of.
    pub fn source(&self) -> &Arc<TableVersion> {
        &self.source
    }

    /// The table that rows go to; its columns are in the order of the source's.
    pub fn target(&self) -> &Arc<TargetTable> {
        &self.target
    }

    /// What the user should know.
    pub fn notes(&self) -> &[PlanNote] {
        &self.notes
    }

    /// Values that were changed so far, of columns that had any.
    pub fn counts(&self) -> Vec<ColumnCounts> {
        let of = |column: &Column| ColumnCounts {
            column: self.source.columns.get(column.source).map(|c| c.name.clone()).unwrap_or_default(),
            replaced_texts: column.counts.replaced_texts.load(Ordering::Relaxed),
            nul_texts: column.counts.nul_texts.load(Ordering::Relaxed),
            rounded_times: column.counts.rounded_times.load(Ordering::Relaxed),
        };
        let mut counts: Vec<_> = self.columns.iter().map(of).collect();
        counts.retain(|c| c.replaced_texts + c.nul_texts + c.rounded_times > 0);
        counts
    }

    /// Appends a row as a tuple of COPY BINARY.
    ///
    /// # Errors
    /// A value that the target cannot hold, an unchanged one, or another number of values than there are columns;
    /// `out` is then as it was.
    pub fn copy_row(&self, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), ConvertError> {
        let row = out.len();
        self.copy_cells(cells, out).inspect_err(|_| out.truncate(row))
    }

    fn copy_cells(&self, cells: &[Cell<'_>], out: &mut Vec<u8>) -> Result<(), ConvertError> {
        self.check_shape(cells.len())?;
        // At most COLUMNS_MAX.
        out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        for column in &self.columns {
            // The number of cells was checked.
            match cells.get(column.source).unwrap_or(&Cell::Unchanged) {
                Cell::Null => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Cell::Unchanged => return Err(self.cell_error(column.source, CellError::Missing)),
                Cell::Bytes(bytes) => {
                    let length_at = out.len();
                    out.extend_from_slice(&[0; 4]);
                    column.convert(bytes, out).map_err(|reason| self.cell_error(column.source, reason))?;
                    // Checked by `convert` to be less than 1 GiB.
                    let length = (out.len() - length_at - 4) as u32;
                    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
                }
            }
        }
        Ok(())
    }

    /// Adds a row in PostgreSQL's binary form to a store. Unchanged values stay unchanged.
    ///
    /// # Errors
    /// A value that the target cannot hold, or another number of values than there are columns.
    pub fn convert_row<'a>(
        &self,
        cells: impl ExactSizeIterator<Item = Cell<'a>>,
        store: &mut RowStore,
    ) -> Result<RowRef, ConvertError> {
        self.convert_cells(cells, Cell::Null, store)
    }

    /// `absent`: the cells of columns that the source does not have any more.
    fn convert_cells<'a>(
        &self,
        cells: impl ExactSizeIterator<Item = Cell<'a>>,
        absent: Cell<'a>,
        store: &mut RowStore,
    ) -> Result<RowRef, ConvertError> {
        self.check_shape(cells.len())?;
        let mut row = store.start_row();
        let mut add = |column: Option<&Column>, cell: Cell<'a>| {
            match (cell, column) {
                (Cell::Null, _) => row.null(),
                (Cell::Unchanged, _) | (Cell::Bytes(_), None) => row.unchanged(),
                (Cell::Bytes(bytes), Some(column)) => row
                    .has_room(FIELD_BYTES_MAX)
                    .map_err(CellError::from)
                    .and_then(|()| row.value(|out| column.convert(bytes, out)))
                    .map_err(|reason| self.cell_error(column.source, reason))?,
            }
            Ok(())
        };
        if self.order.is_none() && self.columns.len() == self.source.columns.len() {
            self.columns.iter().zip(cells).try_for_each(|(column, cell)| add(Some(column), cell))?;
            return Ok(row.finish());
        }
        let cells: Vec<Cell<'a>> = cells.collect();
        let mut add_column = |column: Option<&Column>| {
            add(column, column.and_then(|column| cells.get(column.source)).copied().unwrap_or(absent))
        };
        match &self.order {
            None => self.columns.iter().try_for_each(|column| add_column(Some(column)))?,
            Some(order) => {
                order.iter().try_for_each(|at| add_column(at.and_then(|at| self.columns.get(at))))?;
            }
        }
        Ok(row.finish())
    }

    /// A change of this version of the table, with its rows in `rows`, for the target, with its rows in `store`.
    ///
    /// # Errors
    /// As [`convert_row`](Self::convert_row).
    pub fn convert_change(
        &self,
        change: &Change,
        rows: &RowStore,
        store: &mut RowStore,
    ) -> Result<TargetChange, ConvertError> {
        let mut convert = |row, absent| self.convert_cells(rows.row(row).cells(), absent, store);
        let op = match change.op {
            ChangeOp::Insert { after } => ChangeOp::Insert { after: convert(after, Cell::Null)? },
            ChangeOp::Update { before, after } => {
                ChangeOp::Update { before: convert(before, Cell::Unchanged)?, after: convert(after, Cell::Unchanged)? }
            }
            ChangeOp::Delete { before } => ChangeOp::Delete { before: convert(before, Cell::Unchanged)? },
            ChangeOp::Truncate => ChangeOp::Truncate,
        };
        Ok(TargetChange { table: Arc::clone(&self.target), op })
    }

    fn check_shape(&self, found: usize) -> Result<(), ConvertError> {
        let expected = self.source.columns.len();
        if found == expected {
            return Ok(());
        }
        Err(ConvertError::Shape { table: self.source.name.clone(), expected, found })
    }

    #[cold]
    fn cell_error(&self, column: usize, reason: CellError) -> ConvertError {
        let column = self.source.columns.get(column).map(|c| c.name.clone()).unwrap_or_default();
        ConvertError::Cell { table: self.source.name.clone(), column, reason }
    }
}

impl Column {
    fn convert(&self, cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
        let start = out.len();
        let changed = self.converter.convert(cell, out)?;
        within_limit(out.len() - start)?;
        if changed.any() {
            self.counts.add(changed);
        }
        Ok(())
    }
}

impl Counts {
    fn add(&self, changed: Changed) {
        let kinds = [
            (changed.replaced, &self.replaced_texts),
            (changed.nul, &self.nul_texts),
            (changed.rounded, &self.rounded_times),
        ];
        for (_, count) in kinds.iter().filter(|(changed, _)| *changed) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn in_a_key(table: &TableVersion, column_id: u32) -> bool {
    let keys = table.primary_key.iter().chain(&table.unique_keys);
    keys.flat_map(|key| &key.columns).any(|&c| table.columns.get(c).is_some_and(|c| c.id == column_id))
}
