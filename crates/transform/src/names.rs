//! What schemas, tables and columns are called on the target.
//!
//! `names.case: lower` folds ASCII letters only, because that is what PostgreSQL does with a name that is written
//! without quotes: `Kunden.Straße` can then be asked for as it is on the source. Names are never shortened, since two
//! of them could become one; only names of keys are, which nobody types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use logferry_model::{AliasType, Domain, TableName, TargetTable};

use crate::error::PlanProblem;
use crate::settings::{NameCase, Names};

/// PostgreSQL's limit of a name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 63;

/// Columns that every PostgreSQL table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Finds tables of a task that would get the same name on the target. All collisions are reported at once.
pub fn check_tables<'a>(tables: impl IntoIterator<Item = &'a TargetTable>) -> Vec<PlanProblem> {
    let mut by_name: BTreeMap<(&str, &str), Vec<&TableName>> = BTreeMap::new();
    for table in tables {
        by_name.entry((&table.schema, &table.name)).or_default().push(&table.source);
    }
    let mut problems = Vec::new();
    for ((schema, name), sources) in by_name {
        for later in sources.iter().skip(1) {
            problems.push(PlanProblem {
                table: (*later).clone(),
                column: None,
                problem: format!("its name on the target, \"{schema}.{name}\", is that of \"{}\" as well", sources[0]),
                hint: format!("give one of them another name under names.tables.{later}"),
            });
        }
    }
    problems
}

impl Names {
    /// Schema and name of a table on the target.
    pub(crate) fn table(&self, source: &TableName, problems: &mut Vec<PlanProblem>) -> (String, String) {
        let rename = self.tables.get(&source.to_string());
        let given = rename.and_then(|r| r.schema.clone());
        let schema = given.unwrap_or_else(|| self.schema(&source.schema));
        let name = match rename.and_then(|r| r.name.as_ref()) {
            Some(given) => given.clone(),
            None => self.fold(&source.name).into_owned(),
        };
        let mut check = |what: &str, name: &str, hint: String| {
            if let Some(problem) = wrong_with(what, name) {
                problems.push(PlanProblem { table: source.clone(), column: None, problem, hint });
            }
        };
        check("schema", &schema, format!("give it another name under names.schemas.{}", source.schema));
        check("table", &name, format!("give it another name under names.tables.{source}"));
        (schema, name)
    }

    fn schema(&self, source: &str) -> String {
        match (self.schemas.get(source), &self.database) {
            (Some(given), _) => given.clone(),
            (None, None) => self.fold(source).into_owned(),
            (None, Some(database)) if source == "dbo" => self.fold(database).into_owned(),
            (None, Some(database)) => self.fold(&format!("{database}_{source}")).into_owned(),
        }
    }

    /// The domain of an alias type, for a column of it.
    pub(crate) fn domain(
        &self,
        table: &TableName,
        column: &str,
        alias: &AliasType,
        problems: &mut Vec<PlanProblem>,
    ) -> Domain {
        let domain = Domain { schema: self.schema(&alias.schema), name: self.fold(&alias.name).into_owned() };
        for (what, name) in [("schema", &domain.schema), ("domain", &domain.name)] {
            if let Some(problem) = wrong_with(what, name) {
                let column = Some(column.to_owned());
                let hint = "leave the column its base type: alias_types: base".to_owned();
                problems.push(PlanProblem { table: table.clone(), column, problem, hint });
            }
        }
        domain
    }

    /// Names of a table's columns on the target, in the order of `columns`.
    pub(crate) fn columns<'a>(
        &self,
        source: &TableName,
        columns: impl IntoIterator<Item = &'a str>,
        problems: &mut Vec<PlanProblem>,
    ) -> Vec<String> {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let mut names = Vec::new();
        for column in columns {
            let name = match self.columns.get(&format!("{source}.{column}")) {
                Some(given) => given.clone(),
                None => self.fold(column).into_owned(),
            };
            let mut problem = wrong_with("column", &name);
            if SYSTEM_COLUMNS.contains(&name.as_str()) {
                problem = Some(format!("\"{name}\" is a system column of every PostgreSQL table"));
            }
            if let Some(other) = taken.get(&name) {
                problem = Some(format!("its name on the target, \"{name}\", is that of column \"{other}\" as well"));
            }
            if let Some(problem) = problem {
                problems.push(PlanProblem {
                    table: source.clone(),
                    column: Some(column.to_owned()),
                    problem,
                    hint: format!("give it another name under names.columns.{source}.{column}"),
                });
            }
            taken.insert(name.clone(), column);
            names.push(name);
        }
        names
    }

    /// The name of a key or index, shortened where it has to be.
    pub(crate) fn key(&self, source: &str) -> String {
        shortened(&self.fold(source))
    }

    /// A name as it is called on the target where no map says otherwise.
    pub fn fold<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match self.case {
            NameCase::Lower => Cow::Owned(name.to_ascii_lowercase()),
            NameCase::Upper => Cow::Owned(name.to_ascii_uppercase()),
            NameCase::Preserve => Cow::Borrowed(name),
        }
    }
}

/// A name of at most [`NAME_BYTES_MAX`] bytes: a longer one is cut and ends in a hash of the whole.
pub(crate) fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    // FNV-1a: must be the same in every version, or a key would change its name.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut end = NAME_BYTES_MAX - 9;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}_{hash:08x}", &name[..end])
}

fn wrong_with(what: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some(format!("the name of its {what} on the target is empty"));
    }
    if name.contains('\0') {
        return Some(format!("the name of its {what} on the target has a NUL character"));
    }
    if name.len() > NAME_BYTES_MAX {
        let bytes = name.len();
        return Some(format!("the {what} name \"{name}\" has {bytes} bytes, PostgreSQL allows {NAME_BYTES_MAX}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TableRename;

    fn names(case: NameCase) -> Names {
        Names { case, ..Names::default() }
    }

    #[track_caller]
    fn check_table(names: &Names, source: (&str, &str), expect: (&str, &str), expect_problems: usize) {
        let mut problems = Vec::new();
        let (schema, name) = names.table(&TableName::new(source.0, source.1), &mut problems);
        assert_eq!((schema.as_str(), name.as_str()), expect);
        assert_eq!(problems.len(), expect_problems, "{problems:?}");
    }

    #[test]
    fn case_folds_ascii_letters_only() {
        check_table(&names(NameCase::Lower), ("dbo", "Order Details"), ("dbo", "order details"), 0);
        check_table(&names(NameCase::Lower), ("DBO", "ÄPFEL"), ("dbo", "Äpfel"), 0);
        check_table(&names(NameCase::Preserve), ("dbo", "Orders"), ("dbo", "Orders"), 0);
        check_table(&names(NameCase::Upper), ("dbo", "Straße"), ("DBO", "STRAßE"), 0);
    }

    #[test]
    fn maps_are_used_as_written() {
        let mut names = names(NameCase::Lower);
        names.schemas.insert("dbo".into(), "Public".into());
        names.tables.insert("dbo.Orders".into(), TableRename { schema: None, name: Some("Purchases".into()) });
        names.tables.insert("dbo.Log".into(), TableRename { schema: Some("audit".into()), name: None });
        check_table(&names, ("dbo", "Orders"), ("Public", "Purchases"), 0);
        check_table(&names, ("dbo", "Log"), ("audit", "log"), 0);
        check_table(&names, ("hr", "Orders"), ("hr", "orders"), 0);
    }

    #[test]
    fn names_past_63_bytes_are_problems() {
        let (fits, too_long) = ("t".repeat(63), "ä".repeat(32));
        check_table(&names(NameCase::Lower), ("dbo", &fits), ("dbo", &fits), 0);
        check_table(&names(NameCase::Lower), ("dbo", &too_long), ("dbo", &too_long), 1);
        check_table(&names(NameCase::Lower), (&too_long, &too_long), (&too_long, &too_long), 2);
    }

    #[track_caller]
    fn check_columns(names: &Names, columns: &[&str], expect: &[&str], expect_problems: &[&str]) {
        let mut problems = Vec::new();
        let found = names.columns(&TableName::new("dbo", "T"), columns.iter().copied(), &mut problems);
        assert_eq!(found, expect);
        let columns: Vec<_> = problems.iter().filter_map(|p| p.column.as_deref()).collect();
        assert_eq!(columns, expect_problems, "{problems:?}");
    }

    #[test]
    fn column_collisions_are_reported_all_at_once() {
        let lower = names(NameCase::Lower);
        check_columns(&lower, &["Id", "Name"], &["id", "name"], &[]);
        check_columns(&lower, &["Id", "ID", "iD"], &["id", "id", "id"], &["ID", "iD"]);
        check_columns(&names(NameCase::Preserve), &["Id", "ID"], &["Id", "ID"], &[]);
        check_columns(&lower, &["CTID", "oid"], &["ctid", "oid"], &["CTID"]);
        check_columns(&names(NameCase::Preserve), &["CTID"], &["CTID"], &[]);
        let mut mapped = names(NameCase::Lower);
        mapped.columns.insert("dbo.T.ID".into(), "id2".into());
        check_columns(&mapped, &["Id", "ID"], &["id", "id2"], &[]);
    }

    #[test]
    fn names_of_keys_are_shortened_and_stay_apart() {
        let long = format!("PK_{}", "x".repeat(80));
        let other = format!("{long}y");
        let lower = names(NameCase::Lower);
        assert_eq!(lower.key("PK_T"), "pk_t");
        assert_eq!(lower.key(&long).len(), 63);
        assert_ne!(lower.key(&long), lower.key(&other));
        assert!(lower.key(&"ä".repeat(60)).len() <= 63);
    }
}
