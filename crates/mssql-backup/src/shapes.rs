//! What the rows of user tables look like at a point of the log.
//!
//! The catalog is a function of the pages, so at every point of the log it can be read from the page store. It is read anew
//! before the first row that follows a change of the base tables; a table whose shape is other than before gets a new version.
//!
//! What is *published* is what committed transactions made of it: only that is told as events.

use std::sync::Arc;

use logferry_model::{SourceEvent, TableId, TableVersion};
use logferry_mssql_format::row::RowLayout;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::catalog::{AllocUnitKind, Catalog};
use crate::error::Error;
use crate::pages::PageSource;

/// Where the columns of a table are in the rows of one of its rowsets.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The rowset.
    pub(crate) rowset: u64,
    /// The table.
    pub(crate) table: Arc<TableVersion>,
    /// Where its columns are.
    pub(crate) layout: Arc<RowLayout>,
    /// Why its rows cannot be read, where they cannot.
    pub(crate) unreadable: Option<Arc<str>>,
}

/// Rows that went from one table to another without being touched.
#[derive(Clone, Debug)]
pub(crate) struct Switched {
    pub(crate) from: Arc<TableVersion>,
    pub(crate) to: Arc<TableVersion>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// `None` before it was read first.
    catalog: Option<Catalog>,
    stale: bool,
    /// All shapes that ever were: changes that wait name them by their index.
    shapes: Vec<Arc<Shape>>,
    by_rowset: FxHashMap<u64, u32>,
    /// Rowsets by the allocation unit that has their rows.
    by_unit: FxHashMap<u64, u64>,
    /// The version last seen of each table, and the highest number given out.
    seen: FxHashMap<TableId, (Arc<TableVersion>, u32)>,
    published: FxHashMap<TableId, Arc<TableVersion>>,
    /// Tables by the allocation units of their rows, as committed transactions left them.
    owners: FxHashMap<u64, Arc<TableVersion>>,
    /// A table could not be published because another transaction was changing it, too.
    pub(crate) behind: bool,
}

impl Shapes {
    /// Reads the catalog; the tables that it has are published.
    pub(crate) fn read(pages: &dyn PageSource) -> Result<Self, Error> {
        let mut shapes = Shapes { stale: true, ..Shapes::default() };
        shapes.refresh(pages)?;
        shapes.publish_all();
        shapes.switched(&FxHashSet::default());
        Ok(shapes)
    }

    /// The tables of now are known to the world, without events.
    fn publish_all(&mut self) {
        self.published = self.tables().map(|t| (t.id, t.clone())).collect();
    }

    /// The base tables changed.
    pub(crate) fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// The catalog of now.
    pub(crate) fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref()
    }

    fn tables(&self) -> impl Iterator<Item = &Arc<TableVersion>> {
        self.catalog.iter().flat_map(|c| &c.tables).map(|table| &table.version)
    }

    /// The shape of a number.
    pub(crate) fn shape(&self, number: u32) -> Option<&Arc<Shape>> {
        self.shapes.get(number as usize)
    }

    /// What the rowset of a shape looks like now: rows of every earlier shape can be read by it, columns that they lack are NULL
    /// or their default. The shape itself where the rowset is gone.
    pub(crate) fn now(&self, number: u32) -> Option<&Arc<Shape>> {
        let then = self.shape(number)?;
        let now = self.by_rowset.get(&then.rowset).and_then(|&now| self.shape(now));
        Some(now.filter(|now| now.table.id == then.table.id).unwrap_or(then))
    }

    /// The shape of a rowset's rows now; `None` where it is no user table's.
    pub(crate) fn of_rowset(&mut self, rowset: u64, pages: &dyn PageSource) -> Result<Option<u32>, Error> {
        self.refresh(pages)?;
        Ok(self.by_rowset.get(&rowset).copied())
    }

    /// The table of a rowset, as far as it is known without looking at the pages.
    pub(crate) fn known_table(&self, rowset: u64) -> Option<TableId> {
        Some(self.shape(*self.by_rowset.get(&rowset)?)?.table.id)
    }

    /// The same, by the allocation unit of the rows.
    pub(crate) fn of_unit(&mut self, unit: u64, pages: &dyn PageSource) -> Result<Option<u32>, Error> {
        self.refresh(pages)?;
        Ok(self.by_unit.get(&unit).and_then(|rowset| self.by_rowset.get(rowset)).copied())
    }

    /// Reads the catalog anew if the base tables changed since.
    pub(crate) fn refresh(&mut self, pages: &dyn PageSource) -> Result<(), Error> {
        if !std::mem::take(&mut self.stale) {
            return Ok(());
        }
        let mut catalog = Catalog::read(pages).inspect_err(|_| self.stale = true)?;
        for table in &mut catalog.tables {
            table.version = self.version(&table.version);
        }
        let before = std::mem::take(&mut self.by_rowset);
        self.by_unit.clear();
        for (index, table) in catalog.tables.iter().enumerate() {
            let unreadable = table.unreadable.as_deref();
            for rowset in catalog.rowsets_of(index) {
                let units = rowset.alloc_units.iter().filter(|unit| unit.kind == AllocUnitKind::InRow);
                self.by_unit.extend(units.map(|unit| (unit.id, rowset.id)));
                let same = |shape: &Arc<Shape>| {
                    Arc::ptr_eq(&shape.table, &table.version)
                        && shape.layout == rowset.layout
                        && shape.unreadable.as_deref() == unreadable
                };
                let number = before.get(&rowset.id).filter(|&&n| self.shape(n).is_some_and(same)).copied();
                let number = number.unwrap_or_else(|| {
                    self.shapes.push(Arc::new(Shape {
                        rowset: rowset.id,
                        table: table.version.clone(),
                        layout: rowset.layout.clone(),
                        unreadable: unreadable.map(Arc::from),
                    }));
                    (self.shapes.len() - 1) as u32
                });
                self.by_rowset.insert(rowset.id, number);
            }
        }
        self.catalog = Some(catalog);
        Ok(())
    }

    /// The version that a table has: one that is known, or a new one.
    fn version(&mut self, found: &Arc<TableVersion>) -> Arc<TableVersion> {
        let published = self.published.get(&found.id);
        let seen = self.seen.get(&found.id);
        let known =
            published.into_iter().chain(seen.map(|(version, _)| version)).find(|known| same_shape(known, found));
        if let Some(known) = known {
            let known = known.clone();
            let highest = seen.map_or(known.version, |(_, highest)| *highest);
            self.seen.insert(found.id, (known.clone(), highest));
            return known;
        }
        let number = seen.map_or(1, |(_, highest)| highest + 1);
        let version = Arc::new(TableVersion { version: number, ..(**found).clone() });
        self.seen.insert(found.id, (version.clone(), number));
        version
    }

    /// Publishes what a committed transaction made of the tables: events for tables that are new or have another shape, and for
    /// those that are gone. Tables of `not_yet` are of other transactions, which are open.
    pub(crate) fn publish(&mut self, not_yet: &FxHashSet<u32>) -> (Vec<SourceEvent>, Vec<SourceEvent>) {
        let (mut changed, mut dropped) = (Vec::new(), Vec::new());
        self.behind = false;
        let now: FxHashMap<TableId, Arc<TableVersion>> = self.tables().map(|t| (t.id, t.clone())).collect();
        let tables: Vec<Arc<TableVersion>> = self.tables().cloned().collect();
        for table in tables {
            let is_known = self.published.get(&table.id).is_some_and(|p| Arc::ptr_eq(p, &table));
            self.behind |= !is_known && not_yet.contains(&table.id.0);
            if !is_known && !not_yet.contains(&table.id.0) {
                self.published.insert(table.id, table.clone());
                changed.push(SourceEvent::Table(table));
            }
        }
        self.published.retain(|id, table| {
            let keep = now.contains_key(id) || not_yet.contains(&id.0);
            if !keep {
                dropped.push(SourceEvent::Dropped(table.clone()));
            }
            keep
        });
        dropped.sort_by_key(|event| match event {
            SourceEvent::Dropped(table) => Some(table.id),
            _ => None,
        });
        (changed, dropped)
    }

    /// Rows that another table had before, and that table: partitions were switched, which no record of a row tells. Tables of `not_yet`
    /// are of other transactions, which are open.
    pub(crate) fn switched(&mut self, not_yet: &FxHashSet<u32>) -> Option<Switched> {
        let catalog = self.catalog.as_ref()?;
        let mut found = None;
        let mut owners = FxHashMap::default();
        for (index, table) in catalog.tables.iter().enumerate() {
            for rowset in catalog.rowsets_of(index) {
                for unit in rowset.alloc_units.iter().filter(|unit| unit.kind == AllocUnitKind::InRow) {
                    let before = self.owners.get(&unit.id);
                    let is_open = |table: &TableVersion| not_yet.contains(&table.id.0);
                    match before.filter(|before| before.id != table.version.id) {
                        Some(before) if is_open(before) || is_open(&table.version) => {
                            owners.insert(unit.id, before.clone());
                            continue;
                        }
                        Some(before) if !unit.first_iam.is_none() => {
                            let (from, to) = (before.clone(), table.version.clone());
                            found = Some(Switched { from, to });
                        }
                        _ => {}
                    }
                    owners.insert(unit.id, table.version.clone());
                }
            }
        }
        self.owners = owners;
        found
    }

    /// The tables that are known to the world, in the order of their names.
    pub(crate) fn published(&self) -> Vec<Arc<TableVersion>> {
        let mut tables: Vec<_> = self.published.values().cloned().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    /// Whether a version of a table is the one that committed transactions made.
    pub(crate) fn is_current(&self, table: &Arc<TableVersion>) -> bool {
        self.published.get(&table.id).is_some_and(|published| Arc::ptr_eq(published, table))
    }

    /// What rows of a shape are to be told as: its table, or where its rowset went in the transaction that commits, what became of the
    /// table. `None` where that is gone as well.
    pub(crate) fn told_as(&self, shape: &Shape) -> Option<Arc<TableVersion>> {
        if self.has_rowset(shape.rowset) {
            return Some(shape.table.clone());
        }
        let now = || self.tables().find(|table| table.id == shape.table.id);
        self.published.get(&shape.table.id).or_else(now).cloned()
    }

    /// Whether a table was known before the transaction that commits now.
    pub(crate) fn is_published(&self, table: TableId) -> bool {
        self.published.contains_key(&table)
    }

    /// Whether a rowset holds rows of a table now.
    pub(crate) fn has_rowset(&self, rowset: u64) -> bool {
        self.by_rowset.contains_key(&rowset)
    }

    /// The rowsets of a table now.
    pub(crate) fn rowsets_of(&self, table: TableId) -> Vec<u64> {
        let Some(catalog) = &self.catalog else { return Vec::new() };
        let index = catalog.tables.iter().position(|t| t.version.id == table);
        index.map(|i| catalog.rowsets_of(i).map(|r| r.id).collect()).unwrap_or_default()
    }
}

/// Whether two versions mean the same: the last identity value and the notes do not count.
fn same_shape(a: &TableVersion, b: &TableVersion) -> bool {
    let columns = |t: &TableVersion| t.columns.len();
    columns(a) == columns(b)
        && a.columns.iter().zip(&b.columns).all(|(x, y)| {
            let identity = |c: &logferry_model::SourceColumn| c.identity.map(|i| (i.seed, i.increment));
            x.id == y.id
                && x.name == y.name
                && x.sql_type == y.sql_type
                && x.nullable == y.nullable
                && x.computed == y.computed
                // Nothing of it is seen outside, but the next change of the column is told by it.
                && x.stored == y.stored
                && identity(x) == identity(y)
        })
        && a.id == b.id
        && a.name == b.name
        && a.primary_key == b.primary_key
        && a.unique_keys == b.unique_keys
}
