//! The statements of one table, prepared once.

use std::fmt::Write;
use std::sync::Arc;

use logferry_model::{PgType, TargetTable};
use rustc_hash::FxHashMap;
use tokio_postgres::Statement;

use super::keyed::Known;
use crate::client::Client;
use crate::copy::copy_statement;
use crate::error::Error;
use crate::names::{column_list, element_type, equals, qualified, quoted, shown, sql_type, type_name};

/// A table that changes may come for.
pub(super) struct Defined {
    pub table: Arc<TargetTable>,
    /// Columns that are not in the key.
    pub values: Vec<usize>,
    prepared: FxHashMap<Kind, Statement>,
    number: usize,
    /// Whether the temporary table is made.
    aside: bool,
}

/// A statement of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Takes rows.
    Copy,
    /// `$1..`: key columns.
    Delete,
    /// `$1..`: key columns, then all others.
    Update,
    /// `$1..`: key columns, then the known others.
    PartialUpdate(Known),
    /// Numbers, from 1, of the keys that there are rows of: of those with these values of other unique keys, and of the others. `$1..`: key
    /// columns, then [`Defined::unique_columns`].
    Find,
    /// `$1..`: key columns, then those whose equal values may differ ([`Defined::replaced_key`]), then all others.
    Replace,
    /// Keeps old rows for [`Kind::BringBack`]. `$1..`: key columns.
    PutAside,
    /// Inserts rows of which some cells come from rows put aside. `$1..`: key columns of those, then the known columns.
    BringBack(Known),
    /// Removes rows without a key. `$1..`: all columns, then how many.
    Remove,
    /// The same, of rows with NULLs in columns that have none but while they get their values row by row, as they do with another type.
    RemoveHollow,
}

/// Types whose equality is none, or another than that of their bytes.
fn without_equality(t: &PgType) -> bool {
    matches!(t, PgType::Xml | PgType::Geometry | PgType::Geography)
}

impl Defined {
    /// `number` tells the tables of a session apart.
    pub fn new(table: Arc<TargetTable>, number: usize) -> Self {
        let values = (0..table.columns.len()).filter(|c| !table.key.contains(c)).collect();
        Defined { table, values, prepared: FxHashMap::default(), number, aside: false }
    }

    /// The statement, prepared at its first use.
    pub async fn statement(&mut self, client: &Client, kind: Kind) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(&kind) {
            return Ok(statement.clone());
        }
        let doing = || Error::sql(format!("prepare changes of table {}", shown(&self.table)));
        if kind == Kind::PutAside && !self.aside {
            let sql = format!(
                "CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DELETE ROWS",
                self.aside_name(),
                qualified(&self.table)
            );
            client.batch_execute(&sql).await.map_err(doing())?;
            self.aside = true;
        }
        let statement = client.prepare(&self.sql(&kind)).await.map_err(doing())?;
        self.prepared.insert(kind, statement.clone());
        Ok(statement)
    }

    /// The temporary table for rows that come back.
    pub fn aside_name(&self) -> String {
        format!("pg_temp.\"aside_{}\"", self.number)
    }

    /// Columns of the key of which two values may be equal and yet differ: in case, or in the sign of a zero.
    pub fn replaced_key(&self) -> Vec<usize> {
        let exact = |t: &PgType| matches!(t, PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Uuid | PgType::Bytea);
        self.table.key.iter().copied().filter(|&c| !exact(&self.table.columns[c].pg_type)).collect()
    }

    /// Columns of unique keys other than the key.
    pub fn unique_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self.table.unique.iter().flat_map(|(_, columns)| columns).copied().collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The columns that a partial row knows, apart from the key.
    pub fn known_values(&self, known: &Known) -> Vec<usize> {
        self.values.iter().copied().filter(|&c| known.has(c)).collect()
    }

    /// The columns that a row knows.
    pub fn known_columns(&self, known: &Known) -> Vec<usize> {
        (0..self.table.columns.len()).filter(|&c| known.has(c)).collect()
    }

    fn sql(&self, kind: &Kind) -> String {
        let table = &*self.table;
        let name = qualified(table);
        let key = &table.key;
        match kind {
            Kind::Copy => copy_statement(table),
            Kind::Delete => {
                format!("DELETE FROM {name} AS t USING {} WHERE {}", self.rows(key, &[]), self.by_key("t"))
            }
            Kind::Update => self.update(&self.values),
            Kind::PartialUpdate(known) => self.update(&self.known_values(known)),
            Kind::Find => {
                let unique = self.unique_columns();
                let same = match unique.is_empty() {
                    true => "true".to_owned(),
                    false => format!("record_image_eq({}, {})", self.image("t", &unique), self.image("s", &unique)),
                };
                format!(
                    "SELECT coalesce(array_agg(s.n) FILTER (WHERE {same}), '{{}}'), coalesce(array_agg(s.n) FILTER (WHERE NOT {same}), '{{}}') \
                     FROM {name} AS t JOIN {} ON {}",
                    self.numbered(key, &unique),
                    self.by_key("t")
                )
            }
            Kind::Replace => {
                let values: Vec<usize> = self.replaced_key().into_iter().chain(self.values.iter().copied()).collect();
                // What is told again as it is costs no write.
                format!(
                    "{} AND NOT record_image_eq({}, {})",
                    self.update(&values),
                    self.image("t", &values),
                    self.image("s", &values)
                )
            }
            Kind::PutAside => {
                let all = 0..table.columns.len();
                let from_t = all.clone().map(|c| format!("t.{}", self.column(c))).collect::<Vec<_>>().join(", ");
                format!(
                    "INSERT INTO {} ({}) SELECT {from_t} FROM {name} AS t JOIN {} ON {}",
                    self.aside_name(),
                    column_list(table, all),
                    self.rows(key, &[]),
                    self.by_key("t")
                )
            }
            Kind::BringBack(known) => {
                let from = |c| if known.has(c) { self.value(c) } else { format!("o.{}", self.column(c)) };
                let all = 0..table.columns.len();
                format!(
                    "INSERT INTO {name} ({}) SELECT {} FROM {} JOIN {} AS o ON {}",
                    column_list(table, all.clone()),
                    all.map(from).collect::<Vec<_>>().join(", "),
                    self.rows(key, &self.known_columns(known)),
                    self.aside_name(),
                    self.by_key("o")
                )
            }
            Kind::Remove => self.remove(false),
            Kind::RemoveHollow => self.remove(true),
        }
    }

    fn update(&self, values: &[usize]) -> String {
        let set =
            values.iter().map(|&c| format!("{} = {}", self.column(c), self.value(c))).collect::<Vec<_>>().join(", ");
        format!(
            "UPDATE {} AS t SET {set} FROM {} WHERE {}",
            qualified(&self.table),
            self.rows(&self.table.key, values),
            self.by_key("t")
        )
    }

    /// Of each row value, as many rows as are asked for, by their place in the table.
    ///
    /// Whole rows are compared byte by byte, so that NULL equals NULL, types without equality (xml) can be
    /// compared, and -0 is not 0. That comparison cannot be hashed, so columns that are never NULL narrow the
    /// rows down before; where there are none, or they are NULL for now, the row's text does.
    fn remove(&self, hollow: bool) -> String {
        let table = &*self.table;
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let hashed = |&c: &usize| !table.columns[c].nullable && !without_equality(&table.columns[c].pg_type);
        let mut narrow: Vec<String> = all
            .iter()
            .filter(|c| !hollow && hashed(c))
            .map(|&c| {
                let t = &table.columns[c].pg_type;
                format!("t.{} {} s.c{c}::{}", self.column(c), equals(t), type_name(t))
            })
            .collect();
        if narrow.is_empty() {
            narrow.push(format!("{}::text = {}::text", self.image("t", &all), self.image("s", &all)));
        }
        let mut arrays = String::new();
        let mut names = String::new();
        for &c in &all {
            let _fits = write!(arrays, "${}::{}[], ", c + 1, element_type(&table.columns[c].pg_type));
            let _fits = write!(names, "c{c}, ");
        }
        let name = qualified(table);
        format!(
            "WITH hit AS (SELECT t.ctid AS place, row_number() OVER (PARTITION BY s.ord) AS nth, s.wanted \
             FROM {name} AS t JOIN unnest({arrays}${}::int8[]) WITH ORDINALITY AS s({names}wanted, ord) \
             ON {} AND record_image_eq({}, {})) \
             DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT place FROM hit WHERE nth <= wanted))",
            all.len() + 1,
            narrow.join(" AND "),
            self.image("t", &all),
            self.image("s", &all),
        )
    }

    /// A row of some columns, of the table (`t`) or of the arrays (`s`), to be compared byte by byte.
    fn image(&self, of: &str, columns: &[usize]) -> String {
        let cells = columns.iter().map(|&c| {
            let t = &self.table.columns[c].pg_type;
            // The array's element has no length or precision; the stored value went through them.
            if of == "t" {
                format!("t.{}::{}", self.column(c), sql_type(t))
            } else {
                format!("s.c{c}::{}::{}", type_name(t), sql_type(t))
            }
        });
        format!("ROW({})", cells.collect::<Vec<_>>().join(", "))
    }

    /// Arrays as rows: key columns `k..`, then other columns `c..`.
    fn rows(&self, key: &[usize], columns: &[usize]) -> String {
        let (arrays, names) = self.arrays(key, columns);
        format!("unnest({arrays}) AS s({names})")
    }

    /// The same, with their numbers `n`, from 1.
    fn numbered(&self, key: &[usize], columns: &[usize]) -> String {
        let (arrays, names) = self.arrays(key, columns);
        format!("unnest({arrays}) WITH ORDINALITY AS s({names}, n)")
    }

    fn arrays(&self, key: &[usize], columns: &[usize]) -> (String, String) {
        let all = || key.iter().map(|c| ('k', c)).chain(columns.iter().map(|c| ('c', c)));
        let arrays = all()
            .enumerate()
            .map(|(i, (_, &c))| format!("${}::{}[]", i + 1, element_type(&self.table.columns[c].pg_type)))
            .collect::<Vec<_>>();
        let names = all().map(|(letter, c)| format!("{letter}{c}")).collect::<Vec<_>>();
        (arrays.join(", "), names.join(", "))
    }

    fn by_key(&self, alias: &str) -> String {
        let equals = |c: usize| equals(&self.table.columns[c].pg_type);
        let equal = self.table.key.iter().map(|&c| format!("{alias}.{} {} s.k{c}", self.column(c), equals(c)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// A column of the arrays.
    fn value(&self, c: usize) -> String {
        match &self.table.columns[c].pg_type {
            t @ PgType::Float4Array => format!("s.c{c}::{}", type_name(t)),
            _ => format!("s.c{c}"),
        }
    }

    fn column(&self, c: usize) -> String {
        quoted(&self.table.columns[c].name)
    }
}
