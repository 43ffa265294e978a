//! The rows of the base tables, gathered.

use logferry_mssql_format::boot::{BOOT_PAGE, Boot};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::catalog::{
    AllocUnitRow, ClassObjectRow, ColumnRow, DefaultRow, IndexColumnRow, IndexRow, ObjectRow, RowsetColumn2005,
    RowsetColumnRow, RowsetRow, ScalarTypeRow, base_rowset, object,
};
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageId};
use logferry_mssql_format::row::FixedVar;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::pages::PageSource;
use crate::scan::{read_records, visit_records};

/// Columns of rowsets are in `sysrscols` from this version on.
const VERSION_2008: u16 = 655;
/// Kind of the allocation unit of rows.
const IN_ROW: u8 = 1;

/// What user tables are described by.
pub(super) struct BaseTables {
    pub boot: Boot,
    pub alloc_units: FxHashMap<u64, Vec<AllocUnitRow>>,
    /// Rowsets of heaps, clustered and nonclustered indexes.
    pub rowsets: Vec<RowsetRow>,
    /// Columns by rowset.
    pub rowset_columns: FxHashMap<u64, Vec<RowsetColumnRow>>,
    /// Values of columns that were added later, by rowset and column of it.
    pub defaults: FxHashMap<(u64, u64), Option<Vec<u8>>>,
    /// User tables only.
    pub tables: Vec<ObjectRow>,
    pub schemas: FxHashMap<u32, String>,
    /// By `user_type_id`.
    pub alias_types: FxHashMap<u32, ScalarTypeRow>,
    /// By object, of user tables only.
    pub columns: FxHashMap<u32, Vec<ColumnRow>>,
    pub indexes: FxHashMap<u32, Vec<IndexRow>>,
    pub index_columns: FxHashMap<(u32, u32), Vec<IndexColumnRow>>,
}

impl BaseTables {
    pub fn read(pages: &dyn PageSource) -> Result<Self> {
        let mut page = Box::new([0; PAGE_SIZE]);
        pages.read_page(BOOT_PAGE, &mut page)?;
        let boot = Boot::read(&page)?;
        if boot.version < 611 {
            let why = format!("database version {} is of before SQL Server 2005", boot.version);
            return Err(Malformed::new(why, 4).within("boot page 1:9").into());
        }
        let alloc_units = alloc_units(pages, boot.first_sysallocunits).map_err(maybe_encrypted)?;
        let source = Source { pages, alloc_units: &alloc_units };

        let rowset_rows = source.all(base_rowset(object::SYSROWSETS, 0), RowsetRow::read)?;
        let index_rows = source.with_rowsets(&rowset_rows);
        let tables: Vec<ObjectRow> =
            index_rows.all(object::SYSSCHOBJS, ObjectRow::read)?.into_iter().filter(ObjectRow::is_user_table).collect();
        let ids: FxHashSet<u32> = tables.iter().map(|table| table.id).collect();
        let rowsets: Vec<RowsetRow> = rowset_rows.iter().copied().filter(|row| ids.contains(&row.object)).collect();
        let wanted: FxHashSet<u64> = rowsets.iter().map(|row| row.id).collect();

        let mut rowset_columns: FxHashMap<u64, Vec<RowsetColumnRow>> = FxHashMap::default();
        for column in source.rowset_columns(boot.version, &wanted)? {
            rowset_columns.entry(column.rowset).or_default().push(column);
        }
        let mut schemas = FxHashMap::default();
        for row in index_rows.all(object::SYSCLSOBJS, ClassObjectRow::read)? {
            if row.class == ClassObjectRow::SCHEMA {
                schemas.insert(row.id, row.name);
            }
        }
        let types = index_rows.all(object::SYSSCALARTYPES, ScalarTypeRow::read)?;
        let alias_types = types.into_iter().filter(ScalarTypeRow::is_alias).map(|row| (row.id, row)).collect();
        let mut columns: FxHashMap<u32, Vec<ColumnRow>> = FxHashMap::default();
        for row in index_rows.all(object::SYSCOLPARS, ColumnRow::read)? {
            if row.number == 0 && ids.contains(&row.object) {
                columns.entry(row.object).or_default().push(row);
            }
        }
        columns.values_mut().for_each(|columns| columns.sort_by_key(|column| column.id));
        let mut indexes: FxHashMap<u32, Vec<IndexRow>> = FxHashMap::default();
        for row in index_rows.all(object::SYSIDXSTATS, IndexRow::read)? {
            if ids.contains(&row.object) {
                indexes.entry(row.object).or_default().push(row);
            }
        }
        indexes.values_mut().for_each(|indexes| indexes.sort_by_key(|index| index.index));
        let mut index_columns: FxHashMap<(u32, u32), Vec<IndexColumnRow>> = FxHashMap::default();
        for row in index_rows.all(object::SYSISCOLS, IndexColumnRow::read)? {
            if row.key_ordinal > 0 && ids.contains(&row.object) {
                index_columns.entry((row.object, row.index)).or_default().push(row);
            }
        }
        index_columns.values_mut().for_each(|columns| columns.sort_by_key(|column| column.key_ordinal));
        let mut defaults = FxHashMap::default();
        for row in index_rows.all(object::SYSSEOBJVALUES, DefaultRow::read)?.into_iter().flatten() {
            defaults.insert((row.rowset, row.hobt_column), row.value);
        }
        Ok(BaseTables {
            boot,
            rowsets,
            rowset_columns,
            defaults,
            tables,
            schemas,
            alias_types,
            columns,
            indexes,
            index_columns,
            alloc_units,
        })
    }
}

/// `sysallocunits`, by rowset: found by the leaf pages' links, because its IAM chain is in itself.
/// Transparent data encryption leaves page headers and the boot page as they are, so this is where it shows first. No file of such a
/// database is at hand: what tells it from damage is not known.
fn maybe_encrypted(error: Error) -> Error {
    let why = "the first base table is damaged, or the database is encrypted (TDE), which is not supported";
    match error {
        Error::Page { path, page, source } => Error::Page { path, page, source: source.within(why) },
        Error::Malformed(source) => source.within(why).into(),
        other => other,
    }
}

fn alloc_units(pages: &dyn PageSource, first: PageId) -> Result<FxHashMap<u64, Vec<AllocUnitRow>>> {
    let mut units: FxHashMap<u64, Vec<AllocUnitRow>> = FxHashMap::default();
    let mut page = Box::new([0; PAGE_SIZE]);
    let mut seen = FxHashSet::default();
    let mut id = first;
    while !id.is_none() {
        if !seen.insert(id) {
            return Err(Malformed::new(format!("the pages of sysallocunits loop at {id}"), 16).into());
        }
        pages.read_page(id, &mut page)?;
        let header = Page::read(&page)?.header;
        if header.obj_id != object::SYSALLOCUNITS {
            let why = format!("page {id} should be of sysallocunits (7), it is of object {}", header.obj_id);
            return Err(Malformed::new(why, 24).into());
        }
        visit_records(&page, id, &mut |row: &FixedVar<'_>| {
            let unit = AllocUnitRow::read(row)?;
            units.entry(unit.owner).or_default().push(unit);
            Ok(())
        })?;
        id = header.next;
    }
    Ok(units)
}

struct Source<'s> {
    pages: &'s dyn PageSource,
    alloc_units: &'s FxHashMap<u64, Vec<AllocUnitRow>>,
}

impl<'s> Source<'s> {
    fn all<T>(&self, rowset: u64, read: fn(&FixedVar<'_>) -> Result<T, Malformed>) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.each(rowset, |row| {
            rows.push(read(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    fn each(&self, rowset: u64, mut visit: impl FnMut(&FixedVar<'_>) -> Result<()>) -> Result<()> {
        match self.alloc_units.get(&rowset).into_iter().flatten().find(|unit| unit.kind == IN_ROW) {
            Some(unit) => read_records(&self.pages, unit.first_iam, &mut visit),
            None => Ok(()),
        }
    }

    fn with_rowsets(&'s self, rowsets: &[RowsetRow]) -> ByObject<'s> {
        let of_object = |row: &&RowsetRow| row.index <= 1 && row.object < 100;
        ByObject { source: self, rowsets: rowsets.iter().filter(of_object).map(|row| (row.object, row.id)).collect() }
    }

    fn rowset_columns(&self, version: u16, wanted: &FxHashSet<u64>) -> Result<Vec<RowsetColumnRow>> {
        if version >= VERSION_2008 {
            let all = self.all(base_rowset(object::SYSRSCOLS, 0), RowsetColumnRow::read)?;
            return Ok(all.into_iter().filter(|column| wanted.contains(&column.rowset)).collect());
        }
        let mut halves: FxHashMap<(u64, u32), RowsetColumn2005> = FxHashMap::default();
        self.each(base_rowset(object::SYSROWSETCOLUMNS, 0), |row| {
            let half = RowsetColumn2005::read(row)?;
            if wanted.contains(&half.rowset) {
                halves.insert((half.rowset, half.hobt_column), half);
            }
            Ok(())
        })?;
        let mut columns = Vec::new();
        self.each(base_rowset(object::SYSHOBTCOLUMNS, 0), |row| {
            if let Some(half) = halves.get(&RowsetColumn2005::hobt_key(row)?) {
                columns.push(half.with(row)?);
            }
            Ok(())
        })?;
        Ok(columns)
    }
}

/// Reads base tables by their object ids.
struct ByObject<'s> {
    source: &'s Source<'s>,
    rowsets: FxHashMap<u32, u64>,
}

impl ByObject<'_> {
    /// All rows of a base table; none where this version does not have it.
    fn all<T>(&self, object: u32, read: fn(&FixedVar<'_>) -> Result<T, Malformed>) -> Result<Vec<T>> {
        match self.rowsets.get(&object) {
            Some(rowset) => self.source.all(*rowset, read),
            None => Ok(Vec::new()),
        }
    }
}
