//! What stands in the parentheses of CREATE TABLE: columns, constraints, indexes.

use logferry_model::SqlType;

use super::super::super::ast::{ColumnSpec, Constraint, ConstraintKind, CreateTable, Name, StmtKind};
use super::super::super::collation;
use super::super::super::error::{Result, SqlError, unsupported};
use super::super::super::token::Tok;
use super::super::Parser;

impl Parser<'_> {
    pub(super) fn create_table(&mut self) -> Result<StmtKind> {
        let name = self.name()?;
        if self.is_word("AS") {
            return Err(unsupported("node, edge and file tables"));
        }
        let table = self.table_of(name)?;
        self.storage_options("CREATE TABLE")?;
        Ok(StmtKind::CreateTable(Box::new(table)))
    }

    /// `(columns, constraints, indexes)`
    pub(in crate::sql::parse) fn table_of(&mut self, name: Name) -> Result<CreateTable> {
        self.expect_op("(")?;
        let mut table = CreateTable { name, columns: Vec::new(), constraints: Vec::new(), indexes: Vec::new() };
        loop {
            if self.is_op(")") && !table.columns.is_empty() {
                break;
            }
            if self.word("INDEX") {
                let name = self.ident()?;
                let unique = self.word("UNIQUE");
                let clustered = self.word("CLUSTERED");
                if !clustered {
                    self.word("NONCLUSTERED");
                }
                let index = self.index_rest(name, unique, clustered)?;
                table.indexes.push(index);
            } else if self.is_word("PERIOD") {
                return Err(unsupported("temporal tables"));
            } else if let Some(constraint) = self.constraint(None)? {
                table.constraints.push(constraint);
            } else {
                table.columns.push(self.column_spec()?);
            }
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(table)
    }

    pub(super) fn column_spec(&mut self) -> Result<ColumnSpec> {
        let name = self.ident()?;
        if self.word("AS") {
            let value = self.expr()?;
            let persisted = self.word("PERSISTED");
            let not_null = self.words(&["NOT", "NULL"]);
            let mut constraints = Vec::new();
            while let Some(constraint) = self.constraint(Some(&name))? {
                constraints.push(constraint);
            }
            return Ok(ColumnSpec {
                name,
                computed: Some((value, persisted)),
                sql_type: SqlType::Int,
                nullable: not_null.then_some(false),
                identity: None,
                rowguid: false,
                constraints,
            });
        }
        let bare_timestamp = name.eq_ignore_ascii_case("timestamp") && matches!(self.peek(), Tok::Op("," | ")"));
        if !bare_timestamp && matches!(self.peek(), Tok::Op("," | ")")) {
            return Err(without_type(&name, self.line()));
        }
        let sql_type = if bare_timestamp { SqlType::RowVersion } else { self.data_type()? };
        let mut column = ColumnSpec {
            name,
            computed: None,
            sql_type,
            nullable: None,
            identity: None,
            rowguid: false,
            constraints: Vec::new(),
        };
        loop {
            if self.words(&["NOT", "NULL"]) {
                column.nullable = Some(false);
            } else if self.word("NULL") {
                column.nullable = Some(true);
            } else if self.word("IDENTITY") {
                let (mut seed, mut increment) = (1, 1);
                if self.op("(") {
                    seed = self.integer()?;
                    self.expect_op(",")?;
                    increment = self.integer()?;
                    self.expect_op(")")?;
                }
                column.identity = Some((seed, increment, self.not_for_replication()));
            } else if self.word("COLLATE") {
                let name = self.ident()?;
                let of =
                    collation::named(&name).ok_or_else(|| unsupported(format!("columns of the collation {name}")))?;
                column.sql_type = collation::with(&column.sql_type, of);
            } else if self.word("ROWGUIDCOL") {
                column.rowguid = true;
            } else if self.is_word("SPARSE")
                || self.is_word("MASKED")
                || self.is_word("ENCRYPTED")
                || self.is_word("GENERATED")
                || self.is_word("FILESTREAM")
            {
                return Err(unsupported("SPARSE, MASKED, ENCRYPTED, GENERATED and FILESTREAM columns"));
            } else if self.is_word("INDEX") {
                return Err(unsupported("indexes inside a column's definition"));
            } else if let Some(constraint) = self.constraint(Some(&column.name))? {
                column.constraints.push(constraint);
            } else {
                return Ok(column);
            }
        }
    }

    pub(super) fn integer(&mut self) -> Result<i128> {
        let negative = self.op("-");
        match self.next() {
            Tok::Number(n) => {
                let n: i128 = n.parse().map_err(|_| self.unexpected())?;
                Ok(if negative { -n } else { n })
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(in crate::sql::parse) fn not_for_replication(&mut self) -> bool {
        self.words(&["NOT", "FOR", "REPLICATION"])
    }

    /// A constraint, of a column or of a table.
    pub(super) fn constraint(&mut self, column: Option<&str>) -> Result<Option<Constraint>> {
        let name = if self.word("CONSTRAINT") { Some(self.ident()?) } else { None };
        let mut not_for_replication = false;
        let kind = if self.is_word("PRIMARY") || self.is_word("UNIQUE") {
            let primary = self.words(&["PRIMARY", "KEY"]);
            if !primary && !self.word("UNIQUE") {
                return Err(self.unexpected());
            }
            let clustered = match () {
                () if self.word("CLUSTERED") => Some(true),
                () if self.word("NONCLUSTERED") => Some(false),
                () => None,
            };
            let columns = match column {
                Some(column) if !self.is_op("(") => vec![(column.to_owned(), false)],
                _ => self.key_columns()?,
            };
            self.storage_options("CREATE TABLE")?;
            ConstraintKind::Key { primary, clustered, columns }
        } else if self.word("CHECK") {
            not_for_replication = self.not_for_replication();
            self.expect_op("(")?;
            let test = self.condition()?;
            self.expect_op(")")?;
            ConstraintKind::Check(test)
        } else if self.word("DEFAULT") {
            let value = self.expr()?;
            let column = match column {
                Some(column) => column.to_owned(),
                None => {
                    self.expect_word("FOR")?;
                    self.ident()?
                }
            };
            let with_values = self.adding && self.words(&["WITH", "VALUES"]);
            ConstraintKind::Default { column, value, with_values }
        } else if self.is_word("FOREIGN") || self.is_word("REFERENCES") {
            let columns = if self.words(&["FOREIGN", "KEY"]) {
                match column {
                    Some(column) if !self.is_op("(") => vec![column.to_owned()],
                    _ => self.ident_list()?,
                }
            } else {
                column.map(|c| vec![c.to_owned()]).ok_or_else(|| self.unexpected())?
            };
            self.expect_word("REFERENCES")?;
            let table = self.name()?;
            let referenced = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
            while self.word("ON") {
                self.one_of(&["DELETE", "UPDATE"])?;
                if !self.words(&["NO", "ACTION"]) {
                    return Err(unsupported("foreign keys with CASCADE, SET NULL or SET DEFAULT"));
                }
            }
            not_for_replication = self.not_for_replication();
            ConstraintKind::Foreign { columns, table, referenced }
        } else if name.is_some() {
            return Err(self.unexpected());
        } else {
            return Ok(None);
        };
        Ok(Some(Constraint { name, kind, column: column.map(str::to_owned), not_for_replication }))
    }
}

/// 173: only `timestamp` may be a column's name and its type.
pub(super) fn without_type(column: &str, line: u32) -> SqlError {
    let message = format!("The definition for column '{column}' must include a data type.");
    SqlError::batch(173, message).class(15).at_line(line)
}
