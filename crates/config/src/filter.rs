//! Which tables a task takes.

use logferry_model::TableName;

/// A table name with wildcards: `*` is any run of characters, `?` any one. With a dot it is compared with
/// `schema.table`, without one with the table's name in any schema. Case does not matter, as on most servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern of its text.
    pub fn new(text: impl Into<String>) -> Self {
        Pattern(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the table is meant.
    pub fn matches(&self, table: &TableName) -> bool {
        let name = if self.0.contains('.') { table.to_string() } else { table.name.clone() };
        wildcard(&fold(&self.0), &fold(&name))
    }
}

/// The tables of a task: those that an `include` pattern names and no `exclude` pattern does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFilter {
    /// Tables to take.
    pub include: Vec<Pattern>,
    /// Tables to leave out.
    pub exclude: Vec<Pattern>,
    /// Tables of which some rows are taken only.
    pub conditions: Vec<RowCondition>,
}

/// Which rows of a table are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCondition {
    /// The table, as `schema.table`; case does not matter.
    pub table: String,
    /// T-SQL.
    pub sql: String,
}

impl RowCondition {
    /// Whether the table is meant.
    pub fn is_of(&self, table: &TableName) -> bool {
        self.table.to_lowercase() == table.to_string().to_lowercase()
    }
}

impl TableFilter {
    /// Whether the table belongs to the task.
    pub fn takes(&self, table: &TableName) -> bool {
        self.include.iter().any(|p| p.matches(table)) && !self.exclude.iter().any(|p| p.matches(table))
    }

    /// Which rows of a table are taken; `None`: all.
    pub fn condition(&self, table: &TableName) -> Option<&str> {
        self.conditions.iter().find(|c| c.is_of(table)).map(|c| c.sql.as_str())
    }

    /// Conditions of tables that are not there: most likely a slip of the pen.
    pub fn idle_conditions(&self, tables: &[&TableName]) -> Vec<&RowCondition> {
        self.conditions.iter().filter(|c| !tables.iter().any(|t| c.is_of(t))).collect()
    }

    /// Patterns that match none of the tables: most likely a slip of the pen. The lone `*` may match nothing.
    pub fn idle_patterns<'a>(&'a self, tables: &[&TableName]) -> Vec<&'a Pattern> {
        let idle = |p: &&Pattern| p.0 != "*" && !tables.iter().any(|t| p.matches(t));
        self.include.iter().chain(&self.exclude).filter(idle).collect()
    }
}

fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Compares with `*` and `?`; linear but for the last `*`, to which it goes back.
fn wildcard(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, schema: &str, name: &str, expect: bool) {
        assert_eq!(Pattern::new(pattern).matches(&TableName::new(schema, name)), expect, "{pattern} {schema}.{name}");
    }

    #[test]
    fn patterns() {
        check("*", "dbo", "Orders", true);
        check("dbo.*", "dbo", "Orders", true);
        check("dbo.*", "sales", "Orders", false);
        check("ORDERS", "dbo", "Orders", true);
        check("Order", "dbo", "Orders", false);
        check("order?", "dbo", "Orders", true);
        check("*.Order*", "dbo", "Order Details", true);
        check("dbo.a.b", "dbo", "a.b", true);
        check("*a*b*", "x", "cacbc", true);
        check("*a*b", "x", "cacbc", false);
        check("", "x", "", true);
        check("", "x", "y", false);
    }

    #[test]
    fn excluded_wins_and_idle_patterns_are_told() {
        let filter = TableFilter {
            include: vec![Pattern::new("dbo.*"), Pattern::new("nope")],
            exclude: vec![Pattern::new("tmp*")],
            conditions: vec![RowCondition { table: "DBO.orders".to_owned(), sql: "a = 1".to_owned() }],
        };
        let (orders, tmp) = (TableName::new("dbo", "orders"), TableName::new("dbo", "tmp1"));
        assert!(filter.takes(&orders));
        assert!(!filter.takes(&tmp));
        assert_eq!(filter.idle_patterns(&[&orders, &tmp]), [&Pattern::new("nope")]);
        assert_eq!((filter.condition(&orders), filter.condition(&tmp)), (Some("a = 1"), None));
        assert_eq!((filter.idle_conditions(&[&orders]).len(), filter.idle_conditions(&[&tmp]).len()), (0, 1));
    }
}
