//! What turns one shape of a table into another: a pure comparison of the two.
//!
//! Columns are the same where the source says so (`TargetColumn::source_id`), whatever they are called. Of what the target has
//! beside them (columns, indexes, constraints that somebody added) nothing is known here, and nothing is touched.
//!
//! Some of it holds only once the rows are there that come with the change: a new column that must not be NULL may get its values
//! row by row, a new key may be unique only after a deletion. So there are steps in front of these rows, and steps behind them.

use std::fmt;

use logferry_model::{PgType, Reshaped, TargetColumn, TargetTable};

use super::{identity_of, sequence_options};
use crate::names::{column_type, fit, qualified, quoted, shown, type_name};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A statement.
    Run(String),
    /// A statement with a value in the middle.
    Fill {
        /// What comes before the value.
        before: String,
        /// The value, in PostgreSQL's binary form, and its type.
        value: Vec<u8>,
        /// What the value is of.
        pg_type: PgType,
        /// What comes behind it.
        after: String,
    },
    /// Drops the key over these columns, whatever it is called; there may be none.
    DropKey {
        /// Whether it is the primary key.
        primary: bool,
        /// Its columns, in order.
        columns: Vec<String>,
    },
    /// Makes a key over these columns.
    AddKey {
        /// Whether it is the primary key.
        primary: bool,
        /// Its name, if that is free.
        name: String,
        /// Its columns, in order.
        columns: Vec<String>,
    },
}

/// Values are left out: this is for messages.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |primary: &bool| if *primary { "primary key" } else { "unique key" };
        match self {
            Step::Run(sql) => f.write_str(sql),
            Step::Fill { before, after, .. } => write!(f, "{before} '...'{after}"),
            Step::DropKey { primary, columns } => write!(f, "drop {} ({})", kind(primary), columns.join(", ")),
            Step::AddKey { primary, name, columns } => {
                write!(f, "add {} \"{name}\" ({})", kind(primary), columns.join(", "))
            }
        }
    }
}

/// The steps of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alteration {
    /// In front of the rows that come with the change.
    pub before: Vec<Step>,
    /// Behind them.
    pub after: Vec<Step>,
}

/// Compares the two shapes of a table, which has its new name already ([`rename`]).
///
/// # Errors
/// What PostgreSQL has no way to do: a sentence.
pub(crate) fn alter(reshaped: &Reshaped) -> Result<Alteration, String> {
    let (from, to) = (&*reshaped.from, &*reshaped.to);
    let table = qualified(to);
    let run = |what: String| Step::Run(format!("ALTER TABLE {table} {what}"));
    let mut steps = Alteration::default();

    let (old_keys, new_keys) = (Keys::of(from), Keys::of(to));
    for (primary, ids) in old_keys.without(&new_keys) {
        let columns = ids.iter().filter_map(|&id| find(from, id)).map(|c| c.name.clone()).collect();
        steps.before.push(Step::DropKey { primary, columns });
    }
    for column in from.columns.iter().filter(|c| find(to, c.source_id).is_none()) {
        steps.before.push(run(format!("DROP COLUMN {}", quoted(&column.name))));
    }
    steps.before.extend(renamed_columns(from, to).into_iter().map(run));
    for (at, column) in to.columns.iter().enumerate() {
        let filled = reshaped.filled.iter().find(|(c, _)| *c == at).map(|(_, value)| value.as_deref());
        match find(from, column.source_id) {
            None => new_column(&table, column, filled.flatten(), &mut steps),
            Some(old) => changed_column(&table, old, column, filled, &mut steps)
                .map_err(|why| format!("column \"{}\" of table {} {why}", column.name, shown(to)))?,
        }
    }
    for (primary, ids) in new_keys.without(&old_keys) {
        let columns = ids.iter().filter_map(|&id| find(to, id)).map(|c| c.name.clone()).collect();
        let name = if primary {
            Some(to.key_name.clone().unwrap_or_else(|| fit(&to.name, "_pkey")))
        } else {
            let same = |columns: &[usize]| columns.iter().map(|&c| to.columns[c].source_id).eq(ids.iter().copied());
            to.unique.iter().find(|(_, columns)| same(columns)).map(|(name, _)| name.clone())
        };
        steps.after.push(Step::AddKey { primary, name: name.unwrap_or_else(|| to.name.clone()), columns });
    }
    Ok(steps)
}

/// Statements that give a table another name or schema. Its present name may be another one than that of `from`.
pub(crate) fn rename(from: &TargetTable, present: &str, to: &TargetTable) -> Vec<String> {
    let mut statements = Vec::new();
    let mut name = present.to_owned();
    let mut called = |name: &mut String, schema: &str, other: &str| {
        if name != other {
            statements.push(format!("ALTER TABLE {}.{} RENAME TO {}", quoted(schema), quoted(name), quoted(other)));
            other.clone_into(name);
        }
    };
    if from.schema != to.schema {
        // Under its own name it may meet another table there, and under the new one here.
        called(&mut name, &from.schema, &passing_name(to));
        let moved = format!("ALTER TABLE {}.{} SET SCHEMA {}", quoted(&from.schema), quoted(&name), quoted(&to.schema));
        called(&mut name, &to.schema, &to.name);
        statements.insert(statements.len() - 1, moved);
    } else {
        called(&mut name, &to.schema, &to.name);
    }
    statements
}

/// A name that a table has for a moment, while names change hands.
pub(crate) fn passing_name(table: &TargetTable) -> String {
    format!("logferry_passing_{}", table.source_id.0)
}

/// Keys by the ids of their columns. What they are called does not matter.
struct Keys(Vec<(bool, Vec<u32>)>);

impl Keys {
    fn of(table: &TargetTable) -> Keys {
        let ids = |columns: &[usize]| columns.iter().map(|&c| table.columns[c].source_id).collect();
        // What rows are found by is the primary key here, even where it is only a unique one of the source.
        let primary = (!table.key.is_empty()).then(|| (true, ids(&table.key)));
        Keys(primary.into_iter().chain(table.unique.iter().map(|(_, columns)| (false, ids(columns)))).collect())
    }

    fn without(&self, others: &Keys) -> Vec<(bool, Vec<u32>)> {
        self.0.iter().filter(|key| !others.0.contains(key)).cloned().collect()
    }
}

fn find(table: &TargetTable, source_id: u32) -> Option<&TargetColumn> {
    table.columns.iter().find(|c| c.source_id == source_id)
}

/// Renames, in an order in which no name is taken.
fn renamed_columns(from: &TargetTable, to: &TargetTable) -> Vec<String> {
    let pairs: Vec<(&TargetColumn, &TargetColumn)> = to
        .columns
        .iter()
        .filter_map(|new| Some((find(from, new.source_id)?, new)))
        .filter(|(old, new)| old.name != new.name)
        .collect();
    let given_up = |name: &str| pairs.iter().any(|(old, _)| old.name == name);
    let passing = |column: &TargetColumn| format!("logferry_passing_{}", column.source_id);
    let mut renames = Vec::new();
    let mut rename = |a: &str, b: &str| renames.push(format!("RENAME COLUMN {} TO {}", quoted(a), quoted(b)));
    // The names that are wanted by others are given up first.
    let wanted = |old: &TargetColumn| pairs.iter().any(|(_, new)| new.name == old.name);
    for (old, _) in pairs.iter().filter(|(old, _)| wanted(old)) {
        rename(&old.name, &passing(old));
    }
    for (old, new) in &pairs {
        debug_assert!(given_up(&old.name), "it is one of the pairs");
        let present = if wanted(old) { passing(old) } else { old.name.clone() };
        rename(&present, &new.name);
    }
    renames
}

fn new_column(table: &str, column: &TargetColumn, value: Option<&[u8]>, steps: &mut Alteration) {
    let name = quoted(&column.name);
    let add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", column_type(column));
    match value {
        // Rows that are there get the value without being written; the default is not kept for those that come.
        Some(value) => {
            let (value, pg_type) = (value.to_vec(), column.pg_type.clone());
            steps.before.push(Step::Fill { before: format!("{add} DEFAULT"), value, pg_type, after: String::new() });
            steps.before.push(Step::Run(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")));
        }
        None => steps.before.push(Step::Run(add)),
    }
    if !column.nullable {
        steps.after.push(Step::Run(format!("ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL")));
    }
    if identity_of(column).is_some() {
        steps.after.push(Step::Run(add_identity(table, column)));
    }
}

fn changed_column(
    table: &str,
    old: &TargetColumn,
    new: &TargetColumn,
    filled: Option<Option<&[u8]>>,
    steps: &mut Alteration,
) -> Result<(), String> {
    let name = quoted(&new.name);
    let alter = |what: &str| Step::Run(format!("ALTER TABLE {table} ALTER COLUMN {name} {what}"));
    let identity = |c: &TargetColumn| identity_of(c).map(|i| (i.seed, i.increment));
    let (had, has) = (identity(old), identity(new));
    if had.is_some() && had != has {
        steps.before.push(alter("DROP IDENTITY IF EXISTS"));
    }
    let emptied = filled == Some(None);
    // An identity column cannot be NULL in PostgreSQL, and is never written anew by the source.
    let loosened = !old.nullable && (new.nullable || emptied && has.is_none());
    if loosened {
        steps.before.push(alter("DROP NOT NULL"));
    }
    let (to_type, cast) = (column_type(new), type_name(&new.pg_type));
    match filled {
        Some(None) => steps.before.push(alter(&format!("TYPE {to_type} USING NULL::{cast}"))),
        Some(Some(value)) => steps.before.push(Step::Fill {
            before: format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {to_type} USING"),
            value: value.to_vec(),
            pg_type: new.pg_type.clone(),
            after: format!("::{cast}"),
        }),
        None if (&old.pg_type, old.comparison, &old.domain) != (&new.pg_type, new.comparison, &new.domain) => {
            steps.before.push(match conversion(&old.pg_type, &new.pg_type, &name)? {
                Some(using) => alter(&format!("TYPE {to_type} USING {using}")),
                None => alter(&format!("TYPE {to_type}")),
            });
        }
        None => {}
    }
    if !new.nullable && (old.nullable || loosened) {
        steps.after.push(alter("SET NOT NULL"));
    }
    if has.is_some() && had != has {
        steps.after.push(Step::Run(add_identity(table, new)));
    }
    Ok(())
}

fn add_identity(table: &str, column: &TargetColumn) -> String {
    let options = identity_of(column).map(|identity| sequence_options(column, identity)).unwrap_or_default();
    format!(
        "ALTER TABLE {table} ALTER COLUMN {} ADD GENERATED BY DEFAULT AS IDENTITY ({options})",
        quoted(&column.name)
    )
}

/// How values of one type become those of another: an expression, or nothing where PostgreSQL does it by itself. It does so
/// without writing the rows anew where a `varchar` gets longer, or becomes `text`, a `numeric` gets more digits in front, or a time
/// more behind; and refuses texts that are too long, which the source would have refused as well.
fn conversion(from: &PgType, to: &PgType, name: &str) -> Result<Option<String>, String> {
    use PgType::{
        Bool, Bytea, Char, CiText, Date, Float4, Float8, Int2, Int4, Int8, Jsonb, Numeric, Text, Time, Timestamp,
        TimestampTz, Uuid, VarChar, Xml,
    };
    let is_text = |t: &PgType| matches!(t, Text | CiText | VarChar { .. } | Char { .. });
    let is_number = |t: &PgType| matches!(t, Int2 | Int4 | Int8 | Numeric { .. } | Float4 | Float8);
    let cast = format!("{name}::{}", type_name(to));
    Ok(match (from, to) {
        (a, b) if is_text(a) && is_text(b) || is_number(a) && is_number(b) => None,
        (Time { .. }, Time { .. })
        | (Timestamp { .. }, Timestamp { .. })
        | (TimestampTz { .. }, TimestampTz { .. })
        | (Date, Timestamp { .. }) => None,
        (Timestamp { .. }, Date) => Some(cast),
        // Without a zone the source means UTC.
        (Timestamp { .. }, TimestampTz { .. }) | (TimestampTz { .. }, Timestamp { .. }) => {
            Some(format!("{name} AT TIME ZONE 'UTC'"))
        }
        (Bool, b) if is_number(b) => Some(format!("{name}::integer::{}", type_name(b))),
        (a, Bool) if is_number(a) => Some(format!("{name} <> 0")),
        (a, Text | CiText | VarChar { .. }) if is_number(a) || matches!(a, Uuid | Xml | Jsonb | Date) => Some(cast),
        (a, b) if is_text(a) && (is_number(b) || matches!(b, Uuid | Xml | Jsonb | Date | Bool)) => Some(cast),
        (Bytea | Xml | Jsonb | Uuid | Date | Bool | Time { .. } | Timestamp { .. } | TimestampTz { .. }, _)
        | (_, _) => {
            return Err(format!(
                "becomes {} from {}, and the source does not tell its rows' new values",
                type_name(to),
                type_name(from)
            ));
        }
    })
}

#[cfg(test)]
mod tests;
