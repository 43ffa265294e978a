//! Statistics of attached files that are of no index.

use std::collections::BTreeMap;

use logferry_mssql_format::catalog::index;

use super::super::Database;
use super::tables::BaseTables;

/// Statistics of columns, without an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsDef {
    /// `stats_id`
    pub id: u32,
    /// Their name.
    pub name: String,
    /// `column_id`s, in their order.
    pub columns: Vec<u32>,
    /// Whether the server made them by itself.
    pub automatic: bool,
}

impl BaseTables {
    pub(super) fn statistics(&self) -> BTreeMap<u32, Vec<StatisticsDef>> {
        let mut out: BTreeMap<u32, Vec<StatisticsDef>> = BTreeMap::new();
        for row in self.indexes.iter().filter(|i| i.index > 0 && i.status & index::INDEX == 0) {
            let mut own: Vec<_> =
                self.index_columns.iter().filter(|c| c.object == row.object && c.index == row.index).collect();
            own.sort_by_key(|c| c.place);
            out.entry(row.object).or_default().push(StatisticsDef {
                id: row.index,
                name: row.name.clone(),
                columns: own.iter().map(|c| c.column).collect(),
                automatic: row.status & index::AUTOMATIC != 0,
            });
        }
        out
    }
}

impl Database {
    /// Statistics of a table that are of no index.
    pub fn statistics(&self, table: u32) -> &[StatisticsDef] {
        self.attached_statistics.get(&table).map_or(&[], Vec::as_slice)
    }
}
